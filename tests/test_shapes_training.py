"""Training on pictures that are not square, or that have alpha: runs, resume, what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gantools.io import alpha, image, network, tensorfile
from gantools.networks.network import open_network
from gantools.training import measure, presets, report_html, shape

FAMILIES = ("pggan", "sngan", "stylegan", "stylegan2")
SIZE = {"sngan": (32, 48)}
SHORT: dict[str, tuple[str, ...]] = {
    "pggan": ("--stable", "500", "--fade", "500", "--latent-dim", "8"),
    "stylegan": ("--stable", "500", "--fade", "500", "--latent-dim", "8", "--map-depth", "1"),
    "stylegan2": ("--map-depth", "1", "--gamma", "0.05", "--aug", "ada"),
    "sngan": ("--d-steps", "1", "--latent-dim", "8"),
}


def picture(i: int, size: tuple[int, int]) -> bytes:
    """A colour with noise in an ellipse of its own colour, all around it transparent magenta."""
    rng = np.random.default_rng(i)
    height, width = size
    pixels = np.empty((height, width, 4))
    pixels[...] = (255, 0, 255, 0)
    y, x = np.mgrid[:height, :width]
    away = ((y + 0.5) / height * 2 - 1) ** 2 + ((x + 0.5) / width * 2 - 1) ** 2
    inside = np.clip(rng.integers(0, 256, 3) + rng.normal(0, 20, (height, width, 3)), 0, 255)
    pixels[away < 0.8, :3] = inside[away < 0.8]
    pixels[..., 3] = np.clip((0.8 - away) * 5, 0, 1) * 255
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A zip of 60 pictures with alpha for each family, of its size."""
    made = {}
    for family in FAMILIES:
        made[family] = tmp_path_factory.mktemp(family) / "wide.zip"
        with zipfile.ZipFile(made[family], "w") as archive:
            for i in range(60):
                archive.writestr(f"{i:05d}.png", picture(i, SIZE.get(family, (16, 24))))
    return made


def command(family: str, pack: Path, channels: int) -> tuple[Any, ...]:
    return (
        "train", family, pack, "--batch", "128", "--channel-max", "4", "--snapshot", "1k",
        "--device", "cpu", "--workers", "2", "--channels", channels, "--mirror", "-q",
        *SHORT[family],
    )  # fmt: skip


def tensors(run: Path) -> dict[str, bytes]:
    state = tensorfile.read(run / "state.safetensors")[1]
    return {n: t.tobytes() for n, t in state.items()}


@pytest.mark.parametrize(
    ("family", "channels"), [("pggan", 4), ("sngan", 1), ("stylegan", 1), ("stylegan2", 4)]
)
def test_runs_resume_to_the_same_numbers(
    gt: Any, packs: dict[str, Path], tmp_path: Path, family: str, channels: int
) -> None:
    """The first picture says the size; an interrupted run ends as the straight one, to the bit."""
    args = command(family, packs[family], channels)
    for folder, stops in (("straight", ["2k"]), ("broken", ["1k", "2k"])):
        for images in stops:
            done = gt(*args, "-o", tmp_path / folder, "--images", images)
            assert (done.code, done.err) == (0, ""), done.err
    assert tensors(tmp_path / "straight") == tensors(tmp_path / "broken")
    height, width = SIZE.get(family, (16, 24))
    with Image.open(tmp_path / "straight" / "samples" / "000002.png") as grid:
        assert grid.size == (8 * width, 8 * height)
        assert grid.mode == {1: "L", 4: "RGBA"}[channels]
    made = tmp_path / "straight" / "network-000002.safetensors"
    head = network.header(made)
    assert head["config"]["g"]["first_block"] == [4, 6]
    assert head.get("alpha") == (alpha.PREMULTIPLIED if channels == 4 else None)
    opened = open_network(str(made), discriminator=True)
    assert (opened.size, opened.channels) == ((height, width), channels)
    done = gt("generate", "--net", made, "--seeds", "0", "-o", tmp_path / "x.png")
    assert done.code == 0, done.err
    with Image.open(tmp_path / "x.png") as one:
        assert (one.size, one.mode) == ((width, height), {1: "L", 4: "RGBA"}[channels])
    page = (tmp_path / "straight" / "report.html").read_text()
    assert "conic-gradient" in page
    if family in ("pggan", "stylegan"):
        assert "16x24" in page
    # A run of another shape does not start from its weights.
    more = (*args, "-o", tmp_path / "more", "--images", "1k", "--net", made)
    done = gt(*more, "--resolution", "32x32" if family == "sngan" else "16")
    assert done.code == 2 and f"{height}x{width} pixels" in done.err


def test_other_sizes_and_wrong_flags(gt: Any, packs: dict[str, Path], tmp_path: Path) -> None:
    """Every one of them a line, and nothing else is written."""
    pack = packs["stylegan2"]
    args = (*command("stylegan2", pack, 3), "--images", "1k")
    assert gt(*args, "-o", tmp_path / "run").code == 0
    done = gt(*args, "--resolution", "8x12", "-o", tmp_path / "run")
    assert done.code == 2 and "--resolution differs" in done.err
    crop = tmp_path / "crop.json"
    crop.write_text(json.dumps({"landmarks": [[0.1, 0.2]] * 5}))
    for flags, why in (
        (("--resolution", "16x25"), "near sizes: 16x24"),
        (("--resolution", "wide"), "HEIGHTxWIDTH"),
        (("--channels", "5"), "1, 3 or 4"),
        (("--crop", crop), "faces are brought to squares"),
        (("--resolution", "24x16"), "shape of the network's 24x16"),
        (("--resolution", "16"), "is not square"),
        (("--resolution", "32x48"), "smaller than the network's pictures, 32x48"),
    ):
        done = gt(*args, *flags, "-o", tmp_path / "other")
        assert done.code == 2 and why in done.err, done.err
        assert "Traceback" not in done.err
        assert not (tmp_path / "other" / "state.safetensors").exists()
    done = gt(*command("sngan", pack, 3), "-o", tmp_path / "other")
    assert done.code == 2 and "4 to 16 times 8, 16 or 32" in done.err


def test_shapes_of_runs() -> None:
    """Widths and lod go by the square network; old runs, and damaged ones, are read back."""
    wide = presets.resolve("auto", 64, {"first_block": (4, 6)})
    assert (wide.size, wide.resolution) == ((64, 96), 64)
    square = presets.resolve("auto", 64, {})
    assert wide.gamma == pytest.approx(1.5 * square.gamma)  # by the area
    assert presets.TrainConfig.from_dict(json.loads(json.dumps(wide.to_dict()))) == wide
    old = {n: v for n, v in square.to_dict().items() if n != "first_block"}
    assert presets.TrainConfig.from_dict(old).size == (64, 64)
    with pytest.raises(presets.Usage, match="damaged training state: first_block"):
        presets.TrainConfig.from_dict({**old, "first_block": [1, 10**12]})
    changed = presets.changed(wide, presets.resolve("auto", 128, {"first_block": (6, 4)}))
    assert changed == ["--resolution"]
    assert presets.changed(wide, square) == ["--resolution"]
    lines = [
        {"resolution": 16, "images_per_second": 3.0},
        {"resolution": 64, "images_per_second": 1.0},
    ]
    table = report_html._throughput(lines, wide)[1]
    assert "16x24" in table and "64x96" in table
    assert shape.told(64, 96) == "64x96"


def test_training_score_sees_pictures_on_white() -> None:
    """S0.15 for pictures with alpha: premultiplied ones as the decoder shows their files."""
    pixels = image.decode_channels(picture(3, (16, 24)), 4)
    shown = measure._shown(alpha.premultiplied(pixels)[None])
    seen = alpha.on_white(shown.permute(0, 2, 3, 1).numpy())[0]
    wanted = image.decode(picture(3, (16, 24)))
    assert np.abs(seen.astype(int) - wanted).max() <= 1
    grey = np.zeros((2, 4, 6, 1), np.uint8)
    assert torch.equal(measure._shown(grey), torch.zeros(2, 1, 4, 6, dtype=torch.uint8))
