"""Spectra of pictures and of networks: the frequency bias of GANs (paper 003)."""
