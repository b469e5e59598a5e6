"""One file per network family; the configuration stands at its top."""
