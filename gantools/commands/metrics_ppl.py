"""gantools metrics ppl: perceptual path length of a network (S0.17)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import __version__, options, report
from gantools.commands import _parts, _ranks
from gantools.commands._project_options import Perceptual
from gantools.report import Usage

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gantools.evaluation.shards import Rows
    from gantools.networks.network import Network


class Path(StrEnum):
    """Paths between latents; latents.paths.PATHS."""

    zfull = "zfull"
    wfull = "wfull"
    zend = "zend"
    wend = "wend"


class Crop(StrEnum):
    """Parts of a picture."""

    none = "none"
    face = "face"


class Shrink(StrEnum):
    """What the downscaling for networks of photographs goes by."""

    picture = "picture"
    crop = "crop"


Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=2,
        help="Pairs of latents. Default: 100000.",
        show_default=False,
    ),
]
PathOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--path",
        help="Arcs in z or lines in w, from any point (full) or from a latent (end). Repeatable. "
        "Default: all that the network has.",
        show_default=False,
    ),
]
PerceptualOption = Annotated[
    Perceptual,
    typer.Option(
        "--perceptual",
        help="The distance. Published figures use lpips-vgg; nothing replaces one whose weights "
        "are missing. discriminator is the network's own.",
    ),
]
CropOption = Annotated[
    Crop | None,
    typer.Option(
        "--crop",
        help="face: where FFHQ has the face, as in ppl_zfull and its like of NVIDIA; none: as in "
        "ppl2_wend. Default: face where the file says that eyes and mouth lie in it, else none.",
        show_default=False,
    ),
]
ShrinkOption = Annotated[
    Shrink,
    typer.Option(
        "--downscale",
        help="Cropped pictures are shrunk by max(1, side/256): the side of the whole picture, as "
        "in stylegan2-ada-pytorch, or of the crop, as in StyleGAN's code.",
    ),
]
Epsilon = Annotated[
    float,
    typer.Option(
        "--epsilon", metavar="X", min=1e-6, max=1, callback=options.finite, help="Step along t."
    ),
]
DEFAULT_NUM = 100_000


def ppl(
    parts: _parts.Operands = None,
    *,
    net: options.Net = None,
    num: Num = None,
    path: PathOption = None,
    perceptual: PerceptualOption = Perceptual.lpips_vgg,
    crop: CropOption = None,
    downscale: ShrinkOption = Shrink.picture,
    epsilon: Epsilon = 1e-4,
    shard: options.Shard = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    json: options.Json = False,
    output: _parts.Outputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Perceptual path length (PPL): how much pictures change along paths between latents.

    The mean of d(G(p(t)), G(p(t + epsilon))) / epsilon² without the largest and the smallest
    hundredth: ppl_zfull, ppl_wfull, ppl_zend, ppl_wend, each with its 95 % interval. Both pictures
    of a pair have the same noise and class; psi is 1, arithmetic float32. With --shard each process
    measures its pairs into -o part.safetensors, and parts as operands make the result of all. A
    plot has the histograms of the distances and where they are cut.

    $ gantools metrics ppl --net ffhq.pkl --num 50000 --path wend --crop none --json

    $ gantools metrics ppl --num 2000 --perceptual discriminator -o ppl.png

    $ gantools metrics ppl --shard "$SLURM_PROCID/$SLURM_NTASKS" -o part-$SLURM_PROCID.safetensors

    $ gantools metrics ppl part-*.safetensors
    """
    report.begin("metrics ppl", quiet=quiet)
    text = _parts.check(output, shard=shard, given=bool(parts))
    given = [net, num, path, crop, shard]
    if parts and any(value is not None for value in given):
        raise Usage("parts say what was measured: leave --net, --num, --path, --crop, --shard out")
    if parts:
        _ranks.alone("parts")
    options.set_threads(threads)
    if parts:
        rows = _parts.read(parts, "ppl")
    else:
        job = _Job(net, num or DEFAULT_NUM, path, perceptual.value, crop, downscale, epsilon,
                   shard, seed, batch, device)  # fmt: skip
        rows = job.measured()
    _parts.keep(output, rows, "ppl")
    from gantools.evaluation import path_length, plots
    from gantools.io import results

    columns = _columns(rows)
    found: dict[str, Any] = {}
    for name, distances in columns.items():
        found |= path_length.summary(name, distances, int(rows.protocol.get("seed", 0)))
    found["protocol"] = {**rows.protocol, **_parts.told(rows)}
    results.write(found, text, as_json=json, plot=lambda kind: plots.of_paths(columns, kind))


def _columns(rows: Rows) -> dict[str, np.ndarray]:
    """The distances of each path that are numbers; Usage where there are none."""
    import numpy as np

    finite = np.isfinite(rows.values).all(axis=1)
    if not finite.any():
        raise Usage("no pair could be measured")
    return {name: rows.column(name)[finite] for name in rows.columns}


@dataclass
class _Job:
    """The flags, as they are meant."""

    net: str | None
    num: int
    given_paths: list[Path] | None
    perceptual: str
    given_crop: Crop | None
    downscale: Shrink
    epsilon: float
    shard: str | None
    seed: int
    batch: int
    device: str

    @cached_property
    def network(self) -> Network:
        from gantools.networks.network import open_network

        wants = self.perceptual == "discriminator"
        device = options.pick_device(self.device)
        return open_network(self.net, device=device, discriminator=wants)

    @cached_property
    def paths(self) -> list[str]:
        """Those of --path in their usual order, or all of the network's."""
        every = [path.value for path in Path]
        wanted = {path.value for path in self.given_paths or ()}
        if not wanted:
            return [path for path in every if self.network.has_w or path.startswith("z")]
        for path in wanted:
            if path.startswith("w"):
                self.network.need_w(f"--path {path}")
        return [path for path in every if path in wanted]

    @cached_property
    def crop(self) -> Crop:
        from gantools.evaluation.path_length import has_face

        height, width = self.network.size
        if self.given_crop is None:
            here = has_face(self.network.meta.get("crop")) and height == width
            return Crop.face if here else Crop.none
        if self.given_crop is Crop.face and (height != width or height < 8):
            raise Usage(f"--crop face: pictures of {width}x{height} are not square, or too small")
        return self.given_crop

    def distance(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The distance of pictures: cropped, shrunk, seen."""
        from gantools.evaluation.path_length import face
        from gantools.inversion import distances, perceptual

        cropped = self.crop is Crop.face
        seen = min(self.network.size)
        if cropped and self.downscale is Shrink.crop:
            seen //= 2
        embed = distances.embedding(
            self.perceptual, self.network, resolution=seen, smallest=self.smallest
        )

        def between(a: Tensor, b: Tensor) -> Tensor:
            pictures = (face(x) if cropped else x for x in (a, b))
            return perceptual.distance(*map(embed, pictures))

        return between

    @property
    def smallest(self) -> int:
        """The smallest picture that the trunk sees as it is: VGGs see what NVIDIA's code shows."""
        from gantools.inversion.perceptual import SMALLEST

        return {"lpips-vgg": 16, "vgg19": 4}.get(self.perceptual, SMALLEST)

    def measured(self) -> Rows:
        """The distances of the shard's pairs."""
        import numpy as np

        from gantools.evaluation.shards import Rows
        from gantools.io.source import parse_shard

        first, step = parse_shard(self.shard)
        wanted = range(first, self.num, step)
        names = self.paths
        found = [*_ranks.together(self._rows(_ranks.share(wanted)), wanted)]
        index = [i for i, _ in found]
        values = np.array([row for _, row in found]).reshape(-1, len(names))
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        for i in bad:
            report.failed(f"pair {index[i]}", "its distance is not finite; it is left out")
        values[bad] = np.nan
        shards = [] if self.shard is None else [self.shard]
        return Rows(np.array(index, np.int64), values, [*names], self.protocol(), shards)

    def _rows(self, index: range) -> Iterator[tuple[int, np.ndarray]]:
        """The distances [paths] of these pairs."""
        from gantools.latents import paths

        network, distance = self.network, self.distance()
        bar = report.progress(index, total=len(index), unit="pairs")
        pairs = (paths.pair(network, i, self.seed) for i in bar)
        blocks = paths.lengths(
            network, pairs, self.paths, distance, epsilon=self.epsilon, batch=self.batch
        )
        return zip(index, chain.from_iterable(blocks), strict=True)

    def protocol(self) -> dict[str, Any]:
        """What two laboratories have to agree on."""
        from gantools.evaluation import bootstrap, path_length

        network = self.network
        story: dict[str, Any] = {"network": network.name, "network_id": network.id}
        story |= {"pairs": self.num, "epsilon": self.epsilon, "seed": self.seed, "psi": 1.0}
        story["interpolation"] = "slerp in z, of unit directions; lerp in w"
        if network.g.noise_shapes:
            story["noise"] = "random, the same at both ends"
        if network.g.cfg.c_dim:
            story["classes"] = "uniform, the same at both ends"
        story |= _distance_story(self.perceptual, network)
        story["crop"] = self.crop.value
        if self.perceptual not in ("discriminator", "pyramid"):
            story["downscale"] = f"area, max(1, side of the {self.downscale.value}/256)"
            story["enlarged_below"] = self.smallest
        story |= {"quantisation": "none, not clamped", "arithmetic": "float32"}
        story["mean"] = path_length.RULE
        story["interval"] = f"{bootstrap.NAMED} of the pairs, cut anew in each"
        return {**story, "version": f"gantools {__version__}"}


def _distance_story(perceptual: str, network: Network) -> dict[str, str]:
    """The distance's name and the sha256 of its weights; of the discriminator the network's id."""
    return {"perceptual": perceptual, **_sha256(perceptual, network)}


def _sha256(perceptual: str, network: Network) -> dict[str, str]:
    from gantools.inversion.perceptual import TRUNKS
    from gantools.io import weights

    if perceptual == "pyramid":
        return {}
    if perceptual == "discriminator":
        return {"perceptual_sha256": network.id}
    trunk = perceptual.removeprefix("lpips-")
    names: Sequence[str] = [trunk] if trunk == perceptual else [TRUNKS[trunk], perceptual]
    return {"perceptual_sha256": " ".join(weights.KNOWN[name].sha256 for name in names)}
