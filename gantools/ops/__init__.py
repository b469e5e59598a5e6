"""Resampling, modulated convolution, activation, similarity: the arithmetic below the networks."""
