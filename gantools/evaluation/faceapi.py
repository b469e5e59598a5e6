"""Age and gender as face-api reads them: a tiny Xception, quantised tfjs weights, plain torch.

The weights (age_gender_model of vladmandic/face-api, MIT) are looked for and never fetched here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.report import Usage

MODEL = "age_gender_model"
SIZE = 112
MEAN = (122.782, 117.001, 104.298)  # RGB, of 0..255
MAIN_BLOCKS = 2


def load(folder: Path) -> dict[str, Tensor]:
    """The network's float32 tensors by name, dequantised, convolutions as torch wants them.

    folder: the one that holds `age_gender_model-weights_manifest.json` and its `.bin`, or a folder
    above it named as in the weights pack (`faceapi/`). Usage where they are missing or damaged.
    """
    folder = next((f for f in (folder, folder / "faceapi") if _manifest(f).is_file()), folder)
    try:
        groups = json.loads(_manifest(folder).read_bytes())
        data = b"".join((folder / name).read_bytes() for group in groups for name in group["paths"])
        entries = [entry for group in groups for entry in group["weights"]]
        return _dequantise(entries, data)
    except FileNotFoundError as e:
        raise Usage(f"{Path(e.filename).name}: face-api's weights are not in {folder}") from None
    except (ValueError, KeyError, TypeError) as e:
        raise Usage(f"{MODEL}: damaged weights ({e})") from None


def _manifest(folder: Path) -> Path:
    return folder / f"{MODEL}-weights_manifest.json"


# weight = uint8 * scale + min, or float32 where no quantisation is named, in manifest order.
def _dequantise(entries: list[dict], data: bytes) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    offset = 0
    for entry in entries:
        shape, packed = entry["shape"], entry.get("quantization")
        kind = np.dtype(packed["dtype"] if packed else entry["dtype"])
        count = int(np.prod(shape))
        value = np.frombuffer(data, kind, count, offset).astype(np.float32).reshape(shape)
        offset += count * kind.itemsize
        if packed:
            value = value * np.float32(packed["scale"]) + np.float32(packed["min"])
        tensors[entry["name"]] = torch.from_numpy(_for_torch(entry["name"], value))
    if offset != len(data):
        raise ValueError(f"{len(data)} bytes of weights where the manifest describes {offset}")
    return tensors


# [kh,kw,I,O] -> [O,I,kh,kw]; depthwise [kh,kw,C,1] -> [C,1,kh,kw]; dense [I,O] -> [O,I].
def _for_torch(name: str, value: np.ndarray) -> np.ndarray:
    if name.endswith("depthwise_filter"):
        return np.ascontiguousarray(value.transpose(2, 3, 0, 1))
    if value.ndim == 4:
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
    return np.ascontiguousarray(value.T) if value.ndim == 2 else value.copy()


# TensorFlow's "same": the odd pixel of padding goes to the end.
def _pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    sides: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides, value=value)


def _conv(x: Tensor, t: dict[str, Tensor], name: str, stride: int) -> Tensor:
    weight = t[f"{name}/filters"]
    return F.conv2d(_pad_same(x, weight.shape[2], stride), weight, t[f"{name}/bias"], stride)


def _separable(x: Tensor, t: dict[str, Tensor], name: str) -> Tensor:
    depthwise = t[f"{name}/depthwise_filter"]
    x = F.conv2d(x, depthwise, padding=1, groups=depthwise.shape[0])
    return F.conv2d(x, t[f"{name}/pointwise_filter"], t[f"{name}/bias"])


def _reduction(x: Tensor, t: dict[str, Tensor], name: str, *, first: bool = False) -> Tensor:
    y = _separable(x if first else F.relu(x), t, f"{name}/separable_conv0")
    y = _separable(F.relu(y), t, f"{name}/separable_conv1")
    y = F.max_pool2d(_pad_same(y, 3, 2, -torch.inf), 3, 2)
    return y + _conv(x, t, f"{name}/expansion_conv", 2)


def _main(x: Tensor, t: dict[str, Tensor], name: str) -> Tensor:
    y = x
    for i in range(3):
        y = _separable(F.relu(y), t, f"{name}/separable_conv{i}")
    return x + y


def features(x: Tensor, t: dict[str, Tensor]) -> Tensor:
    """Normalised pictures [N,3,112,112] to pooled features [N,512]."""
    x = F.relu(_conv(x, t, "entry_flow/conv_in", 2))
    x = _reduction(x, t, "entry_flow/reduction_block_0", first=True)
    x = _reduction(x, t, "entry_flow/reduction_block_1")
    for i in range(MAIN_BLOCKS):
        x = _main(x, t, f"middle_flow/main_block_{i}")
    x = _reduction(x, t, "exit_flow/reduction_block")
    x = F.relu(_separable(x, t, "exit_flow/separable_conv"))
    return x.mean((2, 3))  # 7x7 average pooling of a 7x7 map


def _read(pixels: Tensor, t: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    size = (SIZE, SIZE)
    x = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
    f = features((x - x.new_tensor(MEAN).view(1, 3, 1, 1)) / 255, t)
    age = F.linear(f, t["fc/age/weights"], t["fc/age/bias"])[:, 0]
    male = F.linear(f, t["fc/gender/weights"], t["fc/gender/bias"]).softmax(1)[:, 0]
    return age, male


def age_and_male(
    images: np.ndarray,
    weights: dict[str, Tensor],
    *,
    crops: tuple[float, ...] = (1.0, 0.8),
    batch: int = 64,
) -> tuple[np.ndarray, np.ndarray]:
    """Age in years [N] and probability of male [N] of uint8 faces [N,H,W,3].

    The mean over the central shares `crops` of each picture: the whole and 80 % by default.
    """
    ages, males = [], []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            part = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).float()
            read = [_read(_central(part, share), weights) for share in crops]
            ages.append(torch.stack([age for age, _ in read]).mean(0))
            males.append(torch.stack([male for _, male in read]).mean(0))
    return torch.cat(ages).numpy(), torch.cat(males).numpy()


def _central(x: Tensor, share: float) -> Tensor:
    cut = [round(size * (1 - share) / 2) for size in x.shape[2:]]
    return x[:, :, cut[0] : x.shape[2] - cut[0], cut[1] : x.shape[3] - cut[1]]


def share_raised(before: np.ndarray, after: np.ndarray, years: float = 10.0) -> float:
    """The share of faces whose age rose by `years` or more; ages [N] in years."""
    return float(np.mean(np.asarray(after) - np.asarray(before) >= years))
