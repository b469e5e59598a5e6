"""The numbers of paper 003's tables: PSNR in dB of its testbeds (S3.11, S3.22)."""

from __future__ import annotations

GENERATOR: dict[str, dict[str, float]] = {
    "bilinear": {"toyset": 21.1, "celeba": 34.9},
    "nearest": {"toyset": 30.7, "celeba": 40.9},
    "zeros": {"toyset": 38.6, "celeba": 42.4},
    "reshape": {"toyset": 38.6, "celeba": 42.3},
    "bilinear+spectral": {"toyset": 20.9, "celeba": 37.0},
    "nearest+spectral": {"toyset": 30.7, "celeba": 39.8},
    "zeros+spectral": {"toyset": 38.0, "celeba": 43.6},
    "reshape+spectral": {"toyset": 36.5, "celeba": 40.9},
}
"""By the upsampling, with the spectral loss or without (S3.11)."""

DISCRIMINATOR: dict[str, dict[str, float]] = {
    "avg": {"toyset": 16.3, "celeba": 25.4},
    "blurpool": {"toyset": 23.3, "celeba": 24.2},
    "stride": {"toyset": 23.3, "celeba": 25.5},
    "mlp": {"toyset": 26.2, "celeba": 28.1},
    "avg+sd": {"toyset": 19.2, "celeba": 27.0, "appendix": 31.6},
    "blurpool+sd": {"toyset": 15.6, "celeba": 24.4, "appendix": 26.2},
    "stride+sd": {"toyset": 24.1, "celeba": 25.6, "appendix": 27.7},
    "mlp+sd": {"toyset": 46.5, "celeba": 33.7},
    "avg+sd-ft": {"appendix": 53.9},
    "blurpool+sd-ft": {"appendix": 53.0},
    "stride+sd-ft": {"appendix": 46.3},
    "avg+sd-cnn-ft": {"appendix": 27.5},
    "blurpool+sd-cnn-ft": {"appendix": 24.9},
    "stride+sd-cnn-ft": {"appendix": 26.0},
}
"""By discriminator and addition; the appendix does not name its pictures (S3.22)."""
