"""How near one picture is to another: a table of reconstructions (S1.19, S3.6, S4.6, S4.19)."""

from __future__ import annotations

from torch import Tensor

from gantools.ops import similarity

PROTOCOL = {
    "psnr": "range 255, 8 bits rounded; psnr_trunc: cut off in float32",
    "psnr_mean": "over the pairs that differ, of bounded psnr; inf where none does",
    "ssim": "7x7 uniform window, sample covariance, range 255, mean of the channels",
    "ssim_gauss": "11x11 Gaussian, sigma 1.5, zero border, on [-1, 1] with the constants of 1",
    "mse": "grey levels squared",
    "cosine": "of pictures in [-1, 1]",
    "msssim": "5 levels, 11x11 Gaussian, sigma 1.5, range 255",
}
"""What the measures are, for a protocol."""


def measure(target: Tensor, result: Tensor) -> dict[str, Tensor]:
    """Each measure per picture, [N], of pictures [N, C, H, W] in [-1, 1] of equal shape.

    psnr and psnr_trunc: dB on 8 bits, rounded (our writer) and truncated (S3.6). ssim: 7x7 uniform
    window on grey levels (S4.19). ssim_gauss: 11x11 Gaussian on [-1, 1] (S4.4). mse: grey levels
    squared. cosine: of the flattened [-1, 1]. msssim: on grey levels (S1.19). ValueError where a
    side is below 7 pixels.
    """
    a, b = similarity.levels(target), similarity.levels(result)
    truncated = [similarity.levels(x, "truncate") for x in (target, result)]
    return {
        "psnr": similarity.psnr(a, b),
        "psnr_trunc": similarity.psnr(truncated[0], truncated[1]),
        "ssim": similarity.ssim(a, b),
        "ssim_gauss": similarity.ssim_gaussian(target, result),
        "mse": similarity.mse(a, b),
        "cosine": similarity.cosine(target, result),
        "msssim": similarity.ms_ssim(a, b),
    }
