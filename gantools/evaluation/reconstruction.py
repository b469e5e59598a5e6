"""How near one picture is to another: the measures of a table of reconstructions (S3.6, S4.19)."""

from __future__ import annotations

from torch import Tensor

from gantools.ops import similarity


def measure(target: Tensor, result: Tensor) -> dict[str, Tensor]:
    """Each measure per picture, [N], of pictures [N, C, H, W] in [-1, 1] of equal shape.

    psnr and psnr_trunc: dB on 8 bits, rounded (our writer) and truncated (S3.6). ssim: 7x7 uniform
    window on grey levels (S4.19). ssim_gauss: 11x11 Gaussian on [-1, 1] (S4.4). mse: grey levels
    squared. cosine: of the flattened [-1, 1]. ValueError where a side is below 7 pixels.
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
    }
