"""gantools metrics recon: how near results are to their targets, pair by pair (S3.6, S4.19)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from gantools import __version__, options, report
from gantools.commands import _pairs, _sources
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="The pictures as they should be: a folder, a tar or zip archive, a file, - for a "
        "stream.",
    ),
]
Result = Annotated[
    str,
    typer.Argument(
        metavar="RESULT",
        help="What was made of them, under the same keys, in the same forms; or latents, which "
        "--net renders.",
    ),
]


class Lpips(StrEnum):
    """Trunks of LPIPS."""

    vgg = "vgg"
    alex = "alex"
    squeeze = "squeeze"


class Crop(StrEnum):
    """Parts of a face (S4.6)."""

    full = "full"
    at1 = "at1"
    at2 = "at2"


LpipsOption = Annotated[
    Lpips | None,
    typer.Option(
        "--lpips",
        help="LPIPS with this trunk. Without it: vgg, where its weights are found, else no lpips.",
        show_default=False,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="N|HxW",
        help="First bring both pictures to this size (bilinear, antialiased). Without it they "
        "must be equal. Paper 004 measures at 512.",
        show_default=False,
    ),
]
CropOption = Annotated[
    Crop,
    typer.Option(
        "--crop",
        help="Measure a part: at1 leaves an eighth out on the left and on the right, at2 5/32 on "
        "every side.",
    ),
]
IdentityOption = Annotated[
    bool,
    typer.Option(
        "--identity",
        help="Also whether it is the same person: the cosine of FaceNet's embeddings of the face "
        "in TARGET and of the same place in RESULT (needs gantools model fetch facenet).",
    ),
]
Each = Annotated[bool, typer.Option("--each", help="Also the measures of each pair, by its key.")]
SHOWN = 8  # worst pairs on a plot


def recon(
    target: Target,
    result: Result,
    *,
    size: Size = None,
    crop: CropOption = Crop.full,
    lpips: LpipsOption = None,
    identity: IdentityOption = False,
    each: Each = False,
    net: options.Net = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    json: options.Json = False,
    output: options.PlotOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """How near results are to their targets: PSNR, SSIM, MS-SSIM, LPIPS, MSE, cosine, identity.

    Pictures are paired by key (two single files are a pair), and have to be framed alike:
    photographs as `prefilter` crops them. Every measure is a mean over the
    pairs with its 95 % bootstrap interval: psnr in dB of 8 bits that are rounded, psnr_trunc of
    bits cut off (both over the pairs that differ, where any does; identical counts the others),
    ssim with scikit-image's 7x7 window, ssim_gauss with 11x11 Gaussian windows on
    [-1, 1], mse in grey levels squared, cosine on [-1, 1]. A plot has the histograms and the pairs
    with the largest mse, the target above its result.

    $ gantools metrics recon faces/ projected.tar --size 512 --json

    $ gantools project faces/ | gantools metrics recon faces/ - --each -o recon.png
    """
    report.begin("metrics recon", quiet=quiet)
    from gantools.io import results

    results.check(output, plots=True)
    wanted = None if size is None else options.parse_size(size, "--size")
    asked = _sources.Drawn(
        net=net,
        given_num=None,
        given_psi=None,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        threads=threads,
        noise=None,
    )
    options.set_threads(threads)
    pairs = _pairs.open_pairs(target, result, asked, lambda x: _fit(x, wanted, crop))
    measuring = _Measuring(options.pick_device(device), _trunk(lpips), identity)
    plots_wanted = any(results.is_plot(out) for out in output or [])
    measuring.run(report.progress(pairs, unit="pairs"), batch, shown=SHOWN if plots_wanted else 0)
    measured = measuring.results(seed)
    if each:
        measured["each"] = measuring.values
    protocol = {"target": _called(target), "result": _called(result), **measuring.protocol()}
    protocol["resize"] = "none" if wanted is None else f"bilinear, antialiased, to {size}"
    protocol |= {"crop": crop.value, "seed": seed, "version": f"gantools {__version__}"}

    def plot(kind: str) -> bytes:
        from gantools.evaluation import plots

        worst = measuring.worst_pairs()
        return plots.of_pairs(measuring.columns(), worst, "largest mse: target above result", kind)

    results.write({**measured, "protocol": protocol}, output, as_json=json, plot=plot)


def _called(operand: str) -> str:
    from pathlib import Path

    return "stdin" if operand == "-" else Path(operand).name or "."


def _fit(pixels: np.ndarray, size: tuple[int, int] | None, crop: Crop) -> np.ndarray:
    import numpy as np
    import torch

    from gantools.evaluation.features import resized
    from gantools.ops.crops import part

    if size is not None and pixels.shape[:2] != size:
        x = resized(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None], size)
        pixels = x[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    rows, columns = part(crop.value, *pixels.shape[:2])
    return pixels[rows, columns]


def _trunk(asked: Lpips | None) -> str | None:
    """The trunk of LPIPS: the one that was asked for, or vgg if its weights are there."""
    from gantools.io import weights

    if asked is not None:
        return asked.value
    return "vgg" if weights.present("vgg16") and weights.present("lpips-vgg") else None


@dataclass
class _Measuring:
    """Measures of pairs as they come, by key, and the worst pairs."""

    device: str
    trunk: str | None
    identity: bool = False
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    worst: list[tuple[float, str, np.ndarray, np.ndarray]] = field(default_factory=list)
    sizes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        from gantools.commands._identity import Identity

        self._lpips = _distance(self.trunk, self.device) if self.trunk else None
        self._identity = Identity(self.device) if self.identity else None

    def run(self, pairs: Iterator[_pairs.Pair], batch: int, shown: int) -> None:
        """Measure them all; `shown` of the worst are kept. Usage where there is none."""
        for group, identities in self._of_faces(_pairs.grouped(pairs, batch)):
            try:
                table = {**self._measured(group), **identities}
            except SampleError as e:
                for key, *_ in group:
                    report.failed(key, e)
                continue
            for i, (key, a, b) in enumerate(group):
                self.values[key] = {name: column[i] for name, column in table.items()}
                self.sizes.add(f"{a.shape[1]}x{a.shape[0]}")
                if shown:
                    heapq.heappush(self.worst, (self.values[key]["mse"], key, a, b))
                    self.worst = heapq.nlargest(shown, self.worst, key=lambda w: w[:2])
                    heapq.heapify(self.worst)
        if not self.values:
            raise Usage("no pair could be measured")

    def _of_faces(
        self, groups: Iterator[list[_pairs.Pair]]
    ) -> Iterator[tuple[list[_pairs.Pair], dict[str, list[float]]]]:
        """The groups and, with --identity, its column; there without pairs that have no face."""
        for group in groups:
            if self._identity is None:
                yield group, {}
                continue
            found = self._identity(group)
            seen = [pair for pair in group if pair[0] in found]
            if seen:
                yield seen, {"identity": [found[key] for key, *_ in seen]}

    def _measured(self, group: list[_pairs.Pair]) -> dict[str, list[float]]:
        import torch

        from gantools.evaluation import reconstruction

        with torch.inference_mode():
            a = _pairs.stacked([target for _, target, _ in group], self.device) / 127.5 - 1
            b = _pairs.stacked([result for _, _, result in group], self.device) / 127.5 - 1
            try:
                found = reconstruction.measure(a, b)
            except ValueError as e:
                raise SampleError(str(e)) from None
            if self._lpips is not None:
                found["lpips"] = self._lpips(a, b)
            return {name: column.double().tolist() for name, column in found.items()}

    def columns(self) -> dict[str, list[float]]:
        """Each measure's values."""
        names = next(iter(self.values.values()))
        return {name: [row[name] for row in self.values.values()] for name in names}

    def worst_pairs(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """The pairs with the largest mse, the largest first."""
        return [(key, a, b) for _, key, a, b in sorted(self.worst, key=lambda w: w[:2])[::-1]]

    def results(self, seed: int) -> dict[str, Any]:
        """Means and their intervals."""
        import numpy as np

        from gantools.evaluation import bootstrap

        # In the keys' order: an interval does not depend on the order in which pairs came.
        rows = [self.values[key] for key in sorted(self.values)]
        found: dict[str, Any] = {}
        for name in rows[0]:
            column = np.array([row[name] for row in rows])
            bounded = column[np.isfinite(column)]  # of equal pictures psnr is infinite
            found |= bootstrap.summary(name, bounded if len(bounded) else column, seed)
        return {**found, "identical": sum(row["mse"] == 0 for row in rows)}

    def protocol(self) -> dict[str, Any]:
        """What two laboratories have to agree on."""
        from gantools.evaluation import bootstrap, reconstruction
        from gantools.io import weights

        story: dict[str, Any] = {"pairs": len(self.values)}
        story["size"] = next(iter(self.sizes)) if len(self.sizes) == 1 else "several"
        story |= reconstruction.PROTOCOL
        if self.trunk:
            from gantools.inversion.perceptual import SMALLEST, TRUNKS

            names = (TRUNKS[self.trunk], f"lpips-{self.trunk}")
            story["lpips"] = f"0.1, {self.trunk}; pictures below {SMALLEST} pixels enlarged"
            story["lpips_sha256"] = " ".join(weights.KNOWN[name].sha256 for name in names)
        if self.identity:
            from gantools.commands._identity import PROTOCOL

            story["identity"] = PROTOCOL
            story["identity_sha256"] = weights.KNOWN["facenet"].sha256
        return {**story, "interval": f"{bootstrap.NAMED} of the pairs"}


def _distance(trunk: str, device: str) -> Callable[[Tensor, Tensor], Tensor]:
    from gantools.inversion import perceptual

    backbone = next(name for name in get_args(perceptual.Backbone) if name == trunk)
    net = perceptual.lpips(backbone).to(device)
    embed = perceptual.at_photograph_size(net, perceptual.LARGEST)  # enlarged, never shrunk
    return lambda a, b: perceptual.distance(embed(a), embed(b))
