"""Spaces and conversions, mixing, directions, walks, rendering."""
