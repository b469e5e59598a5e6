"""What a run of `project` works with: the wishes, the network, the method in its space."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gantools.commands import _paste
from gantools.commands._classes import label_of
from gantools.commands._cropping import Cropper
from gantools.commands._starts import Start, start_of
from gantools.io.space import Size, spatial, split, without_noise
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from gantools.inversion.coded import AnyEncoder
    from gantools.inversion.encoding import Encoding
    from gantools.inversion.methods import Method
    from gantools.inversion.project import Projector
    from gantools.inversion.start import Init
    from gantools.io.classes import Classes
    from gantools.io.network import Checkpoint
    from gantools.networks.network import Network

USUAL = "quick"
STYLE_FLAGS = {
    "style_smooth": "--style-smooth",
    "style_radius": "--style-radius",
    "style_cells": "--style-cells",
    "style_falloff": "--style-falloff",
}


@dataclass
class Wishes:
    """What the command line asked for."""

    space: str | None
    method: str | None  # None: hybrid where an encoder is kept for the space, else quick
    changes: dict[str, Any]  # of the method's settings
    perceptual: str | None
    init: str | None  # None: by an encoder where one is kept for the space, else the mean
    align: Literal["auto", "always", "never"]
    size: Size | Literal["own", "faces"] | None  # height and width; None: the network's
    lossy: bool
    seed: int
    batch: int
    paste: float | None  # the scale of --paste
    tune: tuple[str, int, float] | None  # file, steps, learning rate
    label: str | None = None  # the class of all pictures, by name or number
    labels: Classes | None = None  # or each one's own
    filmed: bool = False  # --progress-video
    psi: float | None = None  # BigGAN's truncation


@dataclass
class Given:
    """The network of --net, read once, and how it computes."""

    net: str | None
    device: str
    dtype: str
    _built: dict[bool, Network] = field(default_factory=dict)

    @cached_property
    def path(self) -> Path:
        """Its file; Usage where there is none."""
        from gantools.io import network as files

        return files.find(self.net)

    @cached_property
    def ckpt(self) -> Checkpoint:
        """What is in it."""
        from gantools.io import network as files

        return files.load(self.path)

    def network(self, *, discriminator: bool) -> Network:
        """The network, with its discriminator or as it was first wanted."""
        from gantools.networks.network import build

        if True in self._built:
            return self._built[True]
        if discriminator not in self._built:
            self._built[discriminator] = build(
                self.ckpt,
                self.path.stem,
                device=self.device,
                dtype=self.dtype,
                discriminator=discriminator,
            )
        return self._built[discriminator]


@dataclass
class Setup:
    """The network and the method in its space; a projector is made for the first picture.

    Usage, before any work, for what the network and the method cannot do.
    """

    wishes: Wishes
    given: Given

    def __post_init__(self) -> None:
        from gantools.inversion.methods import ENCODED, METHODS, ONE_PASS

        self.name = self.wishes.method or USUAL
        known = METHODS[self.name]
        self.only_encoded = self.name in ONE_PASS
        self.space = self.wishes.space or known.space
        if self.name not in ENCODED:
            self._choose_method()
        self._check_encoding()
        self.path = self.given.path
        self.ckpt = self.given.ckpt
        own = known.own_distance
        self.perceptual = self.wishes.perceptual or own or self._default_perceptual()
        seen = self.perceptual == "discriminator" and not self.only_encoded
        self.network = self.given.network(discriminator=seen)
        self.label_of = label_of(self.network, self.wishes.label, self.wishes.labels)
        device = self.given.device
        told = self.label_of is not None
        self._start = Start(
            self.wishes.init, self.network, self.path, self.wishes.space, device, told
        )
        if self.wishes.method is None:
            self.name = self._start.usual_method()
        encoded = self.name in ENCODED
        if not encoded and not self.network.has_w:
            self._project_to_z()
        if self.wishes.paste is not None and self.network.channels == 4:
            raise Usage(_paste.HAS_ALPHA)
        self._encoder: AnyEncoder | None = None
        if encoded:
            self._encoder = self._start.encoder(self.name)
            self.space = self.wishes.space or self._encoder.space
            self._choose_method()
            self._check_space(self._encoder)
        self._check_psi()
        self.encoding = self._made_encoding() if self.only_encoded else None
        self.cropper = Cropper(
            self.network, self.space, self.wishes.align, self.wishes.size, device
        )

    def _choose_method(self) -> None:
        """The settings in the space, once that is known."""
        from gantools.inversion.methods import METHODS

        changes = self._of_family() | self.wishes.changes
        self.method: Method = METHODS[self.name].for_space(self.space, changes)
        self._check_wishes()

    def _of_family(self) -> dict[str, Any]:
        """What a method that begins with an encoder does otherwise in the network's family."""
        from gantools.inversion.methods import ENCODED, FAMILIES

        name = self.name
        return FAMILIES.get((name, self.network.family), {}) if name in ENCODED else {}

    def _project_to_z(self) -> None:
        """Of a network without w the space is that of its z; Usage for one of styles."""
        from gantools.inversion import z_space

        if self.wishes.space is None and "n" not in self.space:
            self.space = z_space.space_of(self.network)
            self._choose_method()
        z_space.check_space(self.network, self.space)

    def _default_perceptual(self) -> str:
        from gantools.inversion.distances import default_perceptual
        from gantools.inversion.methods import METHODS

        # The discriminator sees whole pictures alone, and some methods look at areas too.
        whole = not any(METHODS[self.name].areas)
        return default_perceptual(whole and bool(self.ckpt.config.get("d")))

    # ------------------------------------------------------------------------ refusals

    def _check_space(self, encoder: AnyEncoder) -> None:
        """Usage where what the encoder sees never becomes a latent of the space, or its start."""
        from gantools.inversion import z_space
        from gantools.latents import spaces
        from gantools.latents.source import NetworkSource

        if not self.network.has_w or ("z" in self.space and not self.only_encoded):
            z_space.check_space(self.network, self.space)
        whole = self.only_encoded or "n" in encoder.space
        wanted = self.space if whole else without_noise(self.space)
        try:
            path = spaces.way(encoder.space, wanted, NetworkSource(self.network))
            if not self.only_encoded:
                spaces.check_kept(path)
            elif not self.wishes.lossy:
                spaces.check_kept(path, spaces.LOSSY)
        except SampleError as e:
            raise Usage(f"--space {self.space}: {e}") from None

    def _check_psi(self) -> None:
        """Usage for --psi where z is not multiplied by it, or where an encoder has one of its own.

        Methods with the encoder in their loop stay at its psi; hybrid goes on from z at another.
        """
        psi, network = self.wishes.psi, self.network
        if psi is None:
            return
        if not network.truncates_z:
            raise Usage(f"--psi is BigGAN's: {network.name} is of family {network.family}")
        network.check_psi(psi, "--psi")
        if not psi > 0:
            raise Usage(f"--psi {psi:g}: every z would give the same picture")
        stays = self.only_encoded or self.method.echo or self.method.latent
        own = getattr(getattr(self._encoder, "config", None), "psi", psi)
        if stays and own != psi:
            raise Usage(f"--psi {psi:g}: --method {self.name} stays at its encoder's psi, {own:g}")

    def _check_encoding(self) -> None:
        """Usage for flags of an optimisation where there is none."""
        if not self.only_encoded:
            return
        wishes = self.wishes
        idle = [n for n in wishes.changes if n != "steps" or wishes.changes[n]]
        if idle or wishes.perceptual or wishes.filmed or wishes.tune:
            raise Usage(
                f"--method {self.name} optimises nothing: leave out the flags of an "
                "optimisation, or take --method hybrid"
            )

    def _check_wishes(self) -> None:
        """Usage for flags that the space has no use for."""
        kind, index = split(self.space)
        m = self.method
        if not any((m.perceptual, m.mse, m.cos, m.ssim)):
            raise Usage("--perceptual-weight and --mse-weight are both 0: nothing is minimised")
        if m.dist and "z" in kind:
            raise Usage(f"--dist-weight is for styles and features, and not for {self.space}")
        if "noise_reg" in self.wishes.changes and "n" not in kind:
            raise Usage(f"--noise-reg is for spaces like nw+; {self.space} has no noise maps")
        for name, flag in STYLE_FLAGS.items():
            if name in self.wishes.changes and "s" not in kind:
                raise Usage(f"{flag} is for spaces like fnsw+5; {self.space} has no style maps")
        if self.wishes.size is not None and index is None:
            raise Usage(f"--size is for spaces with features, like fnw+5, and not {self.space}")
        if self.wishes.size is not None and self.wishes.align == "always":
            raise Usage("--size takes pictures as they are: leave --align out")
        if self.wishes.tune and (spatial(self.space) or "z" in kind):
            raise Usage(f"--tune is for w, w+, nw and nw+, and not {self.space}")

    # ------------------------------------------------------------------------ what projects

    def _made_encoding(self) -> Encoding:
        from gantools.inversion.encoding import Encoding

        assert self._encoder is not None
        return Encoding(
            self.network,
            self._encoder,
            self.space,
            self.wishes.lossy,
            self.wishes.seed,
            self.name,
        )

    @cached_property
    def projector(self) -> Projector:
        """Made for the first picture: a run over latents needs no perceptual distance."""
        from gantools.inversion.project import Projector

        return Projector(
            self.network,
            self.space,
            self.name,
            self.method,
            self.perceptual,
            self._init(),
            self.wishes.seed,
            self._encoder,
            self.wishes.psi,
        )

    def _init(self) -> Init:
        from gantools.inversion import start

        if self._encoder is not None:
            return start.Given("encoder", start_of(self.network, self._encoder))
        if self.wishes.init is None and "z" in self.space:
            return "random"
        if self.wishes.init is None and self.method.init is not None:
            return self.method.init
        return replace(self._start, space=self.space).init()
