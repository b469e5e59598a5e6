"""Weights from outside (VGG, LPIPS heads, EfficientNet …): where they lie, and their sha256.

Nothing is downloaded here and nothing is replaced in silence: a file that is missing, or that
is not the published one, is one line that says its name, its sha256 and where to put it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from gantools.report import Usage


@dataclass(frozen=True)
class Weights:
    """A published file: its path below a weights folder, its sha256, what it is."""

    file: str
    sha256: str
    what: str


KNOWN = {
    "vgg16": Weights(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "torchvision's VGG16",
    ),
    "alexnet": Weights(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "torchvision's AlexNet",
    ),
    "squeezenet": Weights(
        "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        "torchvision's SqueezeNet 1.1",
    ),
    "lpips-vgg": Weights(
        "lpips_lin/vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        "LPIPS 0.1 heads for VGG16",
    ),
    "lpips-alex": Weights(
        "lpips_lin/alex.pth",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        "LPIPS 0.1 heads for AlexNet",
    ),
    "lpips-squeeze": Weights(
        "lpips_lin/squeeze.pth",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        "LPIPS 0.1 heads for SqueezeNet",
    ),
    "inception": Weights(
        "weights-inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "torch-fidelity's Inception of TensorFlow",
    ),
    "inception-pytorch-fid": Weights(
        "pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "the same file under the name that pytorch-fid gives it",
    ),
    "mobilenet": Weights(
        "mobilenet_v2_imagenet_int8.npz",
        "8119765a7bd5a4d8df567fb230f0529803b79a001993795969c9528dff52f70b",
        "MobileNetV2 1.0 224 of ImageNet",
    ),
    "vgg19": Weights(
        "vgg19_conv1-3_f16.npz",
        "136f66fafa5db2b8d1c01162d7b873c374d3bbadb7d276f9213ba2c3e7040e95",
        "VGG19 conv1_1 to conv3_4 in half precision",
    ),
    "mnist-lenet": Weights(
        "mnist_lenet.pth",
        "e4bed3817dd7723c605580e7b7393538a5dfc3508aacc4890b07e7f07c16bebf",
        "LeNet-5 of MNIST, of abdulfatir/gan-metrics-pytorch",
    ),
    "efficientnet-b0": Weights(
        "efficientnet_b0_rwightman-7f5810bc.pth",
        "7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
        "torchvision's EfficientNet-B0 of ImageNet",
    ),
}


def data_folder() -> Path:
    """$XDG_DATA_HOME/gantools: the user's own networks and weights."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "gantools"


def hub_folder() -> Path:
    """The folder into which torch.hub downloads."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("TORCH_HOME") or Path(cache) / "torch") / "hub" / "checkpoints"


def folders() -> list[Path]:
    """Where weights are looked for, in this order; $GANTOOLS_WEIGHTS may name several folders."""
    named = [Path(f) for f in os.environ.get("GANTOOLS_WEIGHTS", "").split(os.pathsep) if f]
    return [*named, data_folder() / "weights", hub_folder()]


def _candidates(name: str) -> list[Path]:
    file = Path(KNOWN[name].file)
    places = [folder / part for folder in folders() for part in (file, Path(file.name))]
    if name.startswith("lpips-"):  # the package lpips carries its heads
        package = importlib.util.find_spec("lpips")
        for folder in (package.submodule_search_locations or []) if package else []:
            places.append(Path(folder) / "weights" / "v0.1" / file.name)
    return places


def present(name: str) -> bool:
    """Whether a file of these weights is there; it is not read, so it may still be refused."""
    return any(path.is_file() for path in _candidates(name))


def locate(name: str) -> Path:
    """The checked file of the weights `name` (a key of KNOWN); Usage where there is none.

    A file of that name with other bytes is passed over, and named if no other is right.
    """
    wanted = KNOWN[name]
    wrong: Path | None = None
    for path in _candidates(name):
        if path.is_file():
            if sha256(path) == wanted.sha256:
                return path
            wrong = wrong or path
    why = f"{wrong.name} in {wrong.parent} is another file" if wrong else "missing"
    raise Usage(
        f"weights {name} ({wanted.what}): {why}; put {wanted.file} (sha256 {wanted.sha256}) "
        f"into $GANTOOLS_WEIGHTS, {data_folder() / 'weights'} or {hub_folder()}"
    )


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
