"""Discriminators of the spectra of pictures, and the features that they see (S3.16-S3.21)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from gantools.networks.spectral_norm import Dense
from gantools.ops.spectrum import bins, reduced, ring_means

Form = Literal["log1p", "jung"]
GREY = (0.299, 0.587, 0.114)
SSD_GREY = (0.2989, 0.5870, 0.1140)
DROPPED = (1, 2)  # of SSD-GAN's bins: DC, and the last two


def log_spectrum(x: Tensor) -> Tensor:
    """log(1 + S) with the orthonormal DFT: [N, C, H, W] -> [N, bins] (S3.16)."""
    return (reduced(x) / (x.shape[2] * x.shape[3])).log1p()


def jung_profile(x: Tensor) -> Tensor:
    """Jung & Keuper's: means of 20 log(|F|² + 1e-8) over rings, each picture's from 0 to 1 (S3.17).

    x [N, 3 or 1, H, W] in [-1, 1] -> [N, bins]. A factor on the picture changes nothing but for
    the 1e-8. The half-plane's numbers count once each, as in the published code.
    """
    grey = _grey((x.float() + 1) / 2, GREY)
    power = torch.view_as_real(torch.fft.rfft2(grey)).square().sum(3)
    return _spread(ring_means(20 * (power + 1e-8).log(), x.shape[3], whole=False))


def ssd_profile(x: Tensor) -> Tensor:
    """SSD-GAN's phi: means of log |F| over rings without three, from 0 to 1 (S3.18).

    x [N, 3 or 1, H, W] -> [N, bins - 3]: 20 at 32 pixels, 43 at 64.
    """
    parts = torch.view_as_real(torch.fft.rfft2(_grey(x.float(), SSD_GREY)))
    magnitude = (parts + 1e-8).square().sum(3).sqrt()
    means = ring_means(magnitude.log(), x.shape[3], whole=True)
    return _spread(means[:, DROPPED[0] : -DROPPED[1]])


def fourier_parts(x: Tensor) -> Tensor:
    """Real and imaginary parts of the orthonormal rfft2, [N, 2 C H (W/2 + 1)] (S3.20)."""
    return torch.view_as_real(torch.fft.rfft2(x, norm="ortho")).flatten(1)


def fourier_map(x: Tensor) -> Tensor:
    """The orthonormal DFT with 0 in the middle: [N, 2C, H, W], real parts first (S3.21)."""
    whole = torch.fft.fftshift(torch.fft.fft2(x, norm="ortho"), dim=(2, 3))
    return torch.cat([whole.real, whole.imag], dim=1)


def _grey(x: Tensor, weights: Sequence[float]) -> Tensor:
    """[N, 3, H, W] -> [N, H, W]; of one channel, that."""
    if x.shape[1] == 1:
        return x[:, 0]
    red, green, blue = (channel * w for channel, w in zip(x.unbind(1), weights, strict=True))
    return red + green + blue


def _spread(x: Tensor) -> Tensor:
    """Each row from 0 to 1; a row of equal numbers is all 0."""
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    return (x - low) / (high - low).clamp_min(1e-12)


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Fully connected layers [N, widths[0]] -> [N, widths[-1]] with leaky ReLU 0.2 between."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


class SpectralDiscriminator(nn.Module):
    """Logits [N, outputs] of the reduced spectra of pictures [N, C, H, W].

    form: log1p with a hidden layer is paper 003's (S3.16), 2,632 parameters for 10 outputs at 64
    pixels; jung without one is Jung & Keuper's, with as many as bins their nonlinear one (S3.17).
    hidden: that layer's width, 0: none; by default as many as bins with log1p, none with jung.
    """

    def __init__(
        self,
        size: tuple[int, int],
        outputs: int = 1,
        *,
        form: Form = "log1p",
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        inputs = bins(*size)
        if hidden is None:
            hidden = inputs if form == "log1p" else 0
        self.features: Callable[[Tensor], Tensor] = {
            "log1p": log_spectrum,
            "jung": jung_profile,
        }[form]
        self.main = mlp([inputs, hidden, outputs] if hidden else [inputs, outputs])

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """x [N, C, H, W] -> [N, outputs]; seen [N, bins]: factors of what it sees, as dropout's."""
        found = self.features(x)
        return self.main(found if seen is None else found * seen)  # type: ignore[no-any-return]


class FourierDiscriminator(nn.Module):
    """Logits [N, outputs] from all of the DFT, two layers: SD-FT (S3.20)."""

    def __init__(
        self, size: tuple[int, int], outputs: int = 1, *, hidden: int = 128, channels: int = 3
    ) -> None:
        super().__init__()
        height, width = size
        self.main = mlp([2 * channels * height * (width // 2 + 1), hidden, outputs])

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, outputs]."""
        return self.main(fourier_parts(x))  # type: ignore[no-any-return]


class SpectralScore(nn.Module):
    """SSD-GAN's C: scores [N, outputs] of phi, one layer with spectral normalisation (S3.18).

    Neither player gets a gradient through it: `combined` detaches it, and phi is of no gradient.
    """

    def __init__(self, size: tuple[int, int], outputs: int = 1) -> None:
        super().__init__()
        self.main = Dense(bins(*size) - sum(DROPPED), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, outputs]."""
        with torch.no_grad():
            phi = ssd_profile(x)
        return self.main(phi)  # type: ignore[no-any-return]


def combined(spatial: Tensor, spectral: Tensor) -> Tensor:
    """D_ssd = D(x) / 2 + C(phi(x)) / 2, the latter a weight without a gradient (S3.18)."""
    return 0.5 * spatial + 0.5 * spectral.detach()
