"""gantools: a command-line toolbox for generative adversarial networks on faces."""

__version__ = "0.1.0"
