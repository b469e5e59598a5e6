"""Bytes in, bytes out; no torch at import."""
