"""The run of `train attribute`: a model for each direction, the file whole after each (S2.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gantools import report
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from torch import Tensor

    from gantools.io.attribute_model import AttributeModel
    from gantools.io.direction import Direction
    from gantools.latents.attribute_training import Compare, Settings
    from gantools.networks.network import Network


@dataclass(frozen=True)
class Job:
    """The flags."""

    net: str | None
    device: str
    first: int
    steps: int
    lr: float
    batch: int
    max_strength: float | None
    norm: str
    perceptual: str | None
    perceptual_weight: float
    feature_weight: float
    seed: int

    def run(self, texts: Sequence[str], output: str) -> None:
        """Train and write; Usage where a direction, the network or the output does not do."""
        from gantools.io import attribute_model as files
        from gantools.io import direction_library as library
        from gantools.io.atomic import real_target

        path = Path(output)
        if path.suffix != ".safetensors" or path.name == ".safetensors":
            raise Usage("name the file with -o FILE.safetensors")
        real_target(path)  # what cannot be written is said before the work
        if not self.perceptual_weight and not self.feature_weight:
            raise Usage("--perceptual-weight and --feature-weight are both 0: nothing is learned")
        for text in texts:
            library.check(text, self.net)
        network, compare, perceptual = self._opened()
        made: dict[str, AttributeModel] = {}
        for direction in self._directions(texts, network):
            made[direction.name] = self._model(direction, network, compare, perceptual)
            files.write(path, made)
        report.note(f"{path.name}: {', '.join(made)}, for the features of block {self.first}")

    def _opened(self) -> tuple[Network, Compare, str]:
        """The network, its distance of pictures, and the name of that."""
        from gantools.inversion.distances import default_perceptual, embedding
        from gantools.inversion.perceptual import distance
        from gantools.io import network as files
        from gantools.networks.network import build
        from gantools.networks.stylegan2_latents import need_blocks

        path = files.find(self.net)
        ckpt = files.load(path)
        name = self.perceptual or default_perceptual(bool(ckpt.config.get("d")))
        judged = name == "discriminator" and self.perceptual_weight > 0
        network = build(ckpt, path.stem, device=self.device, discriminator=judged)
        network.need_w()
        try:
            need_blocks(network.g.cfg, "an attribute model", network.family)
        except SampleError as e:
            raise Usage(str(e)) from None
        if self.first > network.g.num_ws:
            raise Usage(f"--first {self.first}: the network has blocks 1 to {network.g.num_ws}")
        if not self.perceptual_weight:
            return network, lambda a, b: a.new_zeros(len(a)), name
        embed = embedding(name, network)

        def compare(a: Tensor, b: Tensor) -> Tensor:
            return distance(embed(a), embed(b))

        return network, compare, name

    def _directions(self, texts: Sequence[str], network: Network) -> list[Direction]:
        from gantools.io import direction_library as library

        header = {**network.meta, "id": network.id}
        try:
            found = [library.pick(text, self.net, network.story(), header) for text in texts]
        except SampleError as e:
            raise Usage(str(e)) from None
        if len({d.name for d in found}) < len(found):
            raise Usage("--dir: two directions of one name do not go into one file")
        return [_whole(direction, network) for direction in found]

    def _model(
        self, direction: Direction, network: Network, compare: Compare, perceptual: str
    ) -> AttributeModel:
        from gantools.io.attribute_model import AttributeModel
        from gantools.latents import attribute_training as training

        reach = self.max_strength or training.reach_of(
            direction.vector, network.g.num_ws, self.norm
        )
        settings = self._settings(reach)
        bar = report.progress_bar(total=self.steps, unit="step", desc=direction.name)

        def watch(step: int, loss: float) -> None:
            bar.update(1)
            bar.set_postfix_str(f"loss {loss:.4g}")

        try:
            weight, held = training.learn(network.g, direction.vector, settings, compare, watch)
        except SampleError as e:
            raise Usage(f"--dir {direction.name}: {e}") from None
        finally:
            bar.close()
        ends = {"error of features": "features", f"{perceptual} distance": "distance"}
        told = [
            f"{name} {held[k]:.4g} (styles only: {held[k + '_styles_only']:.4g})"
            for name, k in ends.items()
        ]
        report.note(f"{direction.name}: strengths to {reach:.3g}; held-out {' and '.join(told)}")
        if held["distance"] >= held["distance_styles_only"]:
            report.note(
                f"{direction.name}: this model is no better than moving the styles alone "
                "(more --steps, another --lr)"
            )
        rounded = {name: float(f"{value:.4g}") for name, value in held.items()}
        story = {**settings.story(), "perceptual": perceptual, "held_out": rounded}
        channels = training.channels(network.g, self.first)
        return AttributeModel(direction, self.first, channels, weight, story)

    def _settings(self, reach: float) -> Settings:
        from gantools.latents.attribute_training import Settings

        return Settings(
            self.first,
            reach,
            self.steps,
            self.lr,
            self.batch,
            self.feature_weight,
            self.perceptual_weight,
            self.seed,
        )


def _whole(direction: Direction, network: Network) -> Direction:
    """The direction as it is applied, for this network: layers that it leaves are rows of 0."""
    import numpy as np

    count, dim = int(network.g.num_ws), int(network.g.cfg.w_dim)
    rows = np.atleast_2d(direction.vector)
    if direction.space == "z" or rows.shape[1] != dim or len(rows) not in (1, count):
        raise Usage(
            f"--dir {direction.name}: {list(direction.vector.shape)} numbers in "
            f"{direction.space or 'w'}, and the network's w is {[count, dim]}"
        )
    vector = direction.vector
    if direction.layers is not None:
        vector = np.zeros((count, dim))
        chosen = [layer for layer in direction.layers if layer < count]
        vector[chosen] = np.broadcast_to(rows, (count, dim))[chosen]
    return replace(direction, vector=vector, layers=None, network=network.story())
