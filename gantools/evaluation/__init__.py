"""Features and one file per metric."""
