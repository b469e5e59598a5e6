"""Features of pictures: which network, its sha256, how it resizes; in streams, and in files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gantools import report
from gantools.evaluation import mobilenet, vgg16
from gantools.evaluation.feature_cache import FeatureCache
from gantools.io import weights
from gantools.io.alpha import on_white
from gantools.networks.network import Network
from gantools.report import Usage

CHUNK = 16  # pictures that a network sees at once on a CPU: what its caches hold
GATHERED = 1024  # rows of features that are handed on together

Picture = tuple[str, np.ndarray]  # name for messages, uint8 [H, W, C]
Layer = Literal["pool", "logits", "logits without bias"]
"""Of a classifier: its pooled features, its logits, or those as the weights alone make them."""


@dataclass(frozen=True)
class Extractor:
    """uint8 pictures [N, 3, 1 or 4, H, W] -> features float32 [N, dim] on the device.

    resize: what happens to pictures of another size than the network's, in words. Those with alpha
    (straight colour) are laid on white.
    """

    name: str
    sha256: str
    dim: int
    resize: str
    device: str
    network: Callable[[Tensor], Tensor]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if images.shape[1] == 4:
            opaque = on_white(images.permute(0, 2, 3, 1).cpu().numpy())
            images = torch.from_numpy(opaque).permute(0, 3, 1, 2)
        size = CHUNK if self.device == "cpu" else len(images)
        parts = [self.network(part.to(self.device)) for part in images.split(max(size, 1))]
        return torch.cat(parts).float()

    def protocol(self) -> dict[str, Any]:
        """What two laboratories have to agree on about features."""
        return {
            "features": self.name,
            "features_sha256": self.sha256,
            "dimensions": self.dim,
            "resize": self.resize,
            "alpha": "laid on white",
        }


def extractor(
    name: str, device: str = "cpu", network: Network | None = None, layer: Layer = "pool"
) -> Extractor:
    """The extractor `inception`, `mobilenet`, `vgg16` or `discriminator` (the network's own).

    layer: of inception and mobilenet; the others have none but their features. Usage where its
    weights are not there: none is replaced by another.
    """
    if name == "mobilenet":
        return mobilenet_v2(device, layer)
    if name == "inception":
        return inception(device, layer)
    if name == "vgg16" and layer == "pool":
        return vgg16_fc2(device)
    if name == "discriminator" and layer == "pool":
        if network is None:
            raise Usage("features of a discriminator need a network: --net FILE")
        return discriminator(network)
    raise Usage(f"features {name}: expected inception, mobilenet, vgg16 or discriminator")


def weights_of(name: str) -> Path:
    """The checked file of an extractor's weights; Usage where it is not there."""
    if name not in ("inception", "mobilenet", "vgg16"):
        raise Usage(f"features {name}: expected inception, mobilenet or vgg16")
    return weights.locate(name)


def mobilenet_v2(device: str = "cpu", layer: Layer = "pool") -> Extractor:
    """The 1280 pooled features of MobileNetV2 (ImageNet), or its 1001 logits."""
    net = mobilenet.load(weights_of("mobilenet")).to(device)
    head: Callable[[Tensor], Tensor] | None = None
    if layer == "logits":
        head = net.head
    elif layer == "logits without bias":
        head = partial(functional.linear, weight=net.head.weight)

    def run(images: Tensor) -> Tensor:
        pooled: Tensor = net(resized(images, (mobilenet.SIZE,) * 2) / 127.5 - 1)
        return pooled if head is None else head(pooled)

    resize = f"bilinear, antialiased, stretched to {mobilenet.SIZE}x{mobilenet.SIZE}"
    sha256 = weights.KNOWN["mobilenet"].sha256  # of whichever file: the numbers are the same
    dim = mobilenet.DIM if head is None else mobilenet.CLASSES
    return Extractor(_named("mobilenet", layer), sha256, dim, resize, device, run)


def inception(device: str = "cpu", layer: Layer = "pool") -> Extractor:
    """TensorFlow's Inception of 2015-12-05, through torch-fidelity: 2048 pooled, 1008 logits."""
    path = weights_of("inception")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    theirs = {"pool": "2048", "logits": "logits", "logits without bias": "logits_unbiased"}[layer]
    with torch.random.fork_rng(devices=[]):  # its start, soon overwritten, draws random numbers
        net = FeatureExtractorInceptionV3(
            "inception-v3-compat", [theirs], feature_extractor_weights_path=str(path)
        ).to(device)

    def run(images: Tensor) -> Tensor:
        features: Tensor = net(images)[0]
        return features

    resize = "bilinear as in TensorFlow 1, not antialiased, stretched to 299x299"
    sha256, dim = weights.KNOWN["inception"].sha256, 2048 if layer == "pool" else 1008
    return Extractor(_named("inception", layer), sha256, dim, resize, device, run)


def vgg16_fc2(device: str = "cpu") -> Extractor:
    """The 4096 features of VGG16's last hidden layer, after its relu (torchvision's weights)."""
    net = vgg16.load(weights_of("vgg16")).to(device)
    side = vgg16.SIDE
    resize = f"bilinear as in TensorFlow 1, not antialiased, stretched to {side}x{side}"
    sha256 = weights.KNOWN["vgg16"].sha256
    return Extractor("vgg16's fc2 after relu", sha256, vgg16.DIM, resize, device, net)


def _named(name: str, layer: Layer) -> str:
    return name if layer == "pool" else f"{name}'s {layer}"


def discriminator(network: Network) -> Extractor:
    """The spatial means of every block of the network's own discriminator, side by side."""
    d = network.d
    if d is None:
        raise Usage(f"{network.name} holds no discriminator to take features from")
    height, width = size = network.size
    channels = network.channels

    def run(images: Tensor) -> Tensor:
        x = resized(images, size) / 127.5 - 1
        if channels == 4:  # opaque, where there was alpha too: it was laid on white
            x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        return torch.cat([f.float().mean((2, 3)) for f in d.features(x[:, :channels])], dim=1)

    dim = run(torch.zeros(1, 3, *size, dtype=torch.uint8, device=network.device)).shape[1]
    resize = f"bilinear, antialiased, stretched to {width}x{height}"
    name = f"discriminator of {network.name}"
    return Extractor(name, network.id, dim, resize, network.device, run)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 [N, C, H, W] -> float32 [N, C, *size] in 0..255, not rounded again."""
    x = images.float()
    if x.shape[2:] == size:
        return x
    return functional.interpolate(x, size, mode="bilinear", antialias=True)


def of_pictures(
    pictures: Iterable[Picture],
    extract: Extractor,
    *,
    batch: int = 64,
    mirror: bool = False,
    cached: bool = False,
) -> Iterator[np.ndarray]:
    """Features of a stream of pictures, in its order, in blocks [n, dim].

    mirror: each picture is followed by its mirror image. cached: features that were computed
    before are read, and new ones kept, by the pictures' content (`feature_cache`). A picture of
    one flat colour, or one whose features are not finite, is named with `report.failed` and left
    out.
    """
    rows: list[np.ndarray] = []
    cache = cache_of(extract) if cached else None
    for names, images in _batches(varied(pictures), batch):
        both = [images, images.flip(3)] if mirror else [images]
        features = np.stack([_through(x, extract, cache) for x in both], axis=1)  # [n, 1 or 2, D]
        finite = np.isfinite(features).all(axis=(1, 2))
        for i in np.flatnonzero(~finite):
            report.failed(names[i], "its features are not finite; it is left out")
        rows.append(features[finite].reshape(-1, extract.dim))
        if sum(map(len, rows)) >= GATHERED:
            yield np.concatenate(rows)
            rows = []
    if rows:
        yield np.concatenate(rows)


def cache_of(extract: Extractor) -> FeatureCache:
    """Where the features of an extractor are kept; kinds of devices round differently."""
    story = {**extract.protocol(), "device": extract.device.partition(":")[0]}
    return FeatureCache(story, extract.dim)


def _through(images: Tensor, extract: Extractor, cache: FeatureCache | None) -> np.ndarray:
    if cache is None:
        return extract(images).cpu().numpy()
    pictures = [*images.permute(0, 2, 3, 1).numpy()]
    return cache.through(pictures, lambda new: extract(images[new]).cpu().numpy())


def varied(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """The pictures but those of one flat colour, which are named with `report.failed`."""
    for name, pixels in pictures:
        if (pixels == pixels[:1, :1]).all():
            report.failed(name, "a picture of one flat colour; it is left out")
        else:
            yield name, pixels


# Neighbours of one size go through the network together; the order stays.
def _batches(pictures: Iterable[Picture], batch: int) -> Iterator[tuple[list[str], Tensor]]:
    names: list[str] = []
    group: list[np.ndarray] = []
    for name, pixels in pictures:
        if group and (len(group) == batch or pixels.shape != group[0].shape):
            yield names, _stacked(group)
            names, group = [], []
        names.append(name)
        group.append(pixels)
    if group:
        yield names, _stacked(group)


def _stacked(group: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(group)).permute(0, 3, 1, 2)


# ---------------------------------------------------------------------------- files of features


def is_file_of_features(path: Path, array: str = "features") -> bool:
    """Whether it is an .npz or .safetensors file, by its bytes, with an array of that name."""
    from gantools.io import tensorfile

    if not path.is_file():
        return False
    if tensorfile.looks_like(path):
        return array in tensorfile.read(path)[1]
    try:
        with zipfile.ZipFile(path) as file:
            return not {f"{name}.npy" for name in _names(array)}.isdisjoint(file.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _names(array: str) -> tuple[str, ...]:
    return (array, "feats") if array == "features" else (array,)  # clean-fid's files for KID


def load(path: Path, array: str = "features") -> tuple[np.ndarray, dict[str, Any]]:
    """(features float32 [N, D], story) of a file; Usage where it is damaged or of another shape.

    The story is the extractor's protocol, or empty where the file does not say.
    """
    from gantools.io import tensorfile

    story: dict[str, Any] = {}
    try:
        if tensorfile.looks_like(path):
            story, tensors = tensorfile.read(path)
            features = tensors[array]
        else:
            with np.load(path, allow_pickle=False) as file:
                features = file[next((n for n in _names(array) if n in file), array)]
    except (KeyError, ValueError, EOFError, MemoryError, OSError, zipfile.BadZipFile) as e:
        raise Usage(f"{path.name}: damaged {array} ({e})") from None
    if features.ndim != 2 or features.dtype.kind not in "fiu":
        raise Usage(f"{path.name}: its {array} are {list(features.shape)}, expected [N, D]")
    features = features.astype(np.float32, copy=False)
    for start in range(0, len(features), GATHERED):
        finite = np.isfinite(features[start : start + GATHERED]).all(axis=1)
        if not finite.all():
            row = start + int(finite.argmin())
            raise Usage(f"{path.name}: row {row} of its {array} is not finite")
    return features, story


def save(path: Path, features: np.ndarray, extract: Extractor) -> None:
    """Write features [N, D] atomically as safetensors, with the extractor's protocol beside."""
    from gantools.io import tensorfile

    tensorfile.write(path, {"features": features.astype(np.float32)}, extract.protocol())
