"""Pictures of the tensors that a projection optimises, in every space (papers.md S2.1, S2.11).

The pictures of spaces with features are as large as their features say, those of the others as
the network's. Style maps may be optimised with fewer cells than their block has (S2.26).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional

from gantools.inversion.optimise import Tensors
from gantools.io.space import Size, scaled, split, told
from gantools.latents.spatial import laid
from gantools.networks.network import Network
from gantools.networks.stylegan2_blocks import State, first, picture_from
from gantools.networks.stylegan2_tiles import cell
from gantools.report import SampleError, Usage

SMALLEST = 4  # a picture has at least one 4th of the network's height and width


def unit(network: Network, space: str) -> Size:
    """(height, width) in px of which the pictures of a space are multiples (S2.15).

    A cell of R or, before block 3, of F; the network's own size where there are no features.
    Usage where the network has no such space.
    """
    index = split(space)[1]
    if index is None:
        return network.size
    if index > network.g.num_ws:
        raise Usage(f"--space {space}: the network has blocks 1 to {network.g.num_ws}")
    each = cell(network.g.cfg, index) * (2 if index > 2 else 1)  # R is half as high and wide
    return each, each


@dataclass
class Canvas:
    """A space of a network, and the size of its pictures in px, a multiple of `unit`.

    SampleError where the size does not fit.
    """

    network: Network
    space: str
    size: Size
    style_cells: int | None = None  # style maps are optimised with at most so many a side
    _const: list[Tensor] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.kind, index = split(self.space)
        self.first = index or 1
        self._check_size()
        if self.spatial and "n" not in self.kind:
            cfg = self.network.g.cfg
            stored = self.network.g.synthesis.layers()[self.first - cfg.first :]
            shapes = self.noise_sizes.values()
            pairs = zip(stored, shapes, strict=True)
            self._const = [laid(x.noise_const, ((0, h), (0, w))) for x, (h, w) in pairs]

    def _check_size(self) -> None:
        own, step = self.network.size, unit(self.network, self.space)
        if any(n % k or n * SMALLEST < m for n, k, m in zip(self.size, step, own, strict=True)):
            least = own[0] // SMALLEST, own[1] // SMALLEST
            raise SampleError(
                f"{told(self.size)} px, and pictures of {self.space} are multiples of "
                f"{told(step)}, from {told(least)} on"
            )

    @property
    def spatial(self) -> bool:
        """Whether it holds style maps or features."""
        return "s" in self.kind or "f" in self.kind

    @property
    def blocks(self) -> range:
        """The blocks that have styles."""
        return range(self.first, int(self.network.g.num_ws) + 1)

    @property
    def cells(self) -> Size:
        """The size of F in front of the first block."""
        each = cell(self.network.g.cfg, self.first)
        return self.size[0] // each, self.size[1] // each

    @property
    def noise_sizes(self) -> dict[int, Size]:
        """(height, width) of the noise maps, by block."""
        if not self.spatial:
            return dict(enumerate(self.network.g.noise_shapes, 1))
        return {j: scaled(self.cells, self.first, j + 1) for j in self.blocks[:-1]}

    def style_size(self, block: int) -> Size:
        """The size of a block's style map."""
        return scaled(self.cells, self.first, block)

    def reduced(self, tensors: Tensors) -> Tensors:
        """Latents' tensors as they are optimised: style maps by their means over larger cells."""
        return {
            name: functional.adaptive_avg_pool2d(t, self._free(t)) if name[:2] == "s." else t
            for name, t in tensors.items()
        }

    def _free(self, style: Tensor) -> Size:
        height, width = style.shape[2:]
        most = self.style_cells or max(height, width)
        shrink = max(1, -(-max(height, width) // most))
        return max(1, height // shrink), max(1, width // shrink)

    def full(self, tensors: Tensors) -> Tensors:
        """Optimised tensors as latents have them: style maps at their size, bilinear."""
        return {
            name: self._grown(t, self.style_size(int(name[2:]))) if name[:2] == "s." else t
            for name, t in tensors.items()
        }

    def _grown(self, style: Tensor, size: Size) -> Tensor:
        if tuple(style.shape[2:]) == size:
            return style
        return functional.interpolate(style, size, mode="bilinear")

    def __call__(self, tensors: Tensors) -> Tensor:
        """Pictures [N,C,H,W] of optimised tensors; spaces without noise: with the stored maps."""
        g, dtype = self.network.g, self.network.dtype
        maps: Sequence[Tensor] = [t for name, t in tensors.items() if name[:2] == "n."]
        if not self.spatial:
            ws = tensors["w"].expand(-1, g.num_ws, -1)
            if not g.noise_shapes:
                return g.synthesis(ws, dtype=dtype)
            return g.synthesis(ws, maps or "const", dtype=dtype)
        made = self.full(tensors)
        state = self._state(made)
        styles = (
            [made[f"s.{j}"] for j in self.blocks] if "s" in self.kind else list(made["w"].unbind(1))
        )
        return picture_from(g.synthesis, state, styles, maps or self._const, dtype=dtype)

    def _state(self, tensors: Tensors) -> State:
        if "f" in tensors:
            return State(self.first, tensors["f"], tensors.get("r"))
        count = len(next(iter(tensors.values())))
        return first(self.network.g.synthesis, count)
