"""The sheets of `gantools project --figure` (papers.md S4.22)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_dse_training import network_file
from test_project_encoder import kept_beside
from torch import nn

from gantools.commands._project_options import method_names
from gantools.inversion import cam
from gantools.inversion.areas import areas_of
from gantools.io import image
from gantools.networks.network import open_network
from gantools.ops.crops import part

QUICK = ("--align", "never", "--perceptual", "pyramid", "--steps", "3")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StyleGAN of 16 pixels with an encoder beside it."""
    found = network_file(tmp_path_factory.mktemp("net") / "net.safetensors", "stylegan")
    kept_beside(found)
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures as large as the network's, and between them a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in "ac":
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        (folder / f"{name}.png").write_bytes(image.encode(pixels))
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:60])
    return folder


def cells(sheet: bytes, columns: int) -> list[list[np.ndarray]]:
    """The pictures of a sheet, row by row."""
    pixels = image.decode(sheet)
    side = pixels.shape[1] // columns
    rows = pixels.reshape(-1, side, columns, side, 3).swapaxes(1, 2)
    return [list(row) for row in rows]


def test_s4_22_methods_below_the_photographs(gt: Any, net: Path, photos: Path, tmp_path: Path):
    """Each row is what the command gives for that method alone; a bad file has no column."""
    sheet = tmp_path / "sheet.png"
    args = ("project", photos, "--net", net, *QUICK)
    named = ("--figure", "methods", "--method", "encoder,quick,dse-finetune")
    result = gt(*args, *named, "-o", sheet)
    assert result.code == 1 and "b.png" in result.err.splitlines()[0]
    assert "rows: original; encoder" in result.err and "dB; dse-finetune" in result.err
    original, *rows = cells(sheet.read_bytes(), 2)
    for name, shown in zip("ac", original, strict=True):
        assert np.array_equal(shown, image.decode((photos / f"{name}.png").read_bytes()))
    story = image.story(sheet.read_bytes())
    assert story["rows"] == ["original", "encoder", "quick", "dse-finetune"]
    assert story["cells"] == ["a", "c"] * 4
    assert str(tmp_path) not in str(story)
    for method, row in zip(("encoder", "quick", "dse-finetune"), rows, strict=True):
        flags = () if method == "encoder" else QUICK[2:]
        gt("project", photos, "--net", net, *QUICK[:2], *flags, "--method", method,
           "-o", f"{tmp_path}/{method}/{{}}.png")  # fmt: skip
        for name, shown in zip("ac", row, strict=True):
            alone = image.decode((tmp_path / method / f"{name}.png").read_bytes())
            assert np.array_equal(shown, alone)
    again = tmp_path / "one-by-one.png"
    gt(*args, *named, "--batch", "1", "-o", again)
    assert np.array_equal(image.decode(again.read_bytes()), image.decode(sheet.read_bytes()))


def test_s4_22_a_row_for_each_encoder(gt: Any, net: Path, photos: Path, tmp_path: Path) -> None:
    """Fig 6: two encoders of one network; names without folders."""
    one = net.with_name("net.encoder.safetensors")
    two = tmp_path / "two.safetensors"
    two.write_bytes(one.read_bytes())
    args = ("project", photos / "a.png", "--net", net, "--align", "never", "--method", "encoder")
    result = gt(*args, "--figure", "methods", "--init", f"{one},{two}", "-o", ".png")
    assert result.code == 0, result.err
    assert image.story(result.out)["rows"][1:] == [
        "encoder from net.encoder.safetensors",
        "encoder from two.safetensors",
    ]
    rows = cells(result.out, 1)
    assert len(rows) == 3 and np.array_equal(rows[1], rows[2])


def test_s4_6_areas_in_three_blocks(gt: Any, net: Path, photos: Path) -> None:
    """Figs 2 and 10: the crops of S4.6, each in the middle of a white cell."""
    result = gt("project", photos / "a.png", "--net", net, "--align", "never", "--figure", "areas",
                "--method", "encoder", "-o", ".png")  # fmt: skip
    assert result.code == 0, result.err
    found = [row[0] for row in cells(result.out, 1)]
    assert image.story(result.out)["rows"] == [
        f"{area} of {name}" for area in ("whole", "at1", "at2") for name in ("original", "encoder")
    ]
    for i, name in ((2, "at1"), (4, "at2")):
        rows, columns = part(name, 16, 16)
        for whole, area in zip(found[:2], found[i : i + 2], strict=True):
            crop = whole[rows, columns]
            top, left = (16 - crop.shape[0]) // 2, (16 - crop.shape[1]) // 2
            white = np.full_like(whole, 255)
            white[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
            assert np.array_equal(area, white)


def test_s4_7_heat_in_colours(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fig 3: AT1 runs from blue to red, AT2 is the picture with it; a flat picture is blue."""
    conv = nn.Conv2d(3, 4, 5, stride=4, padding=2)
    nn.init.constant_(conv.weight, 1.0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    nn.init.constant_(head[2].weight, 1.0)
    seen = cam.Classifier(conv.requires_grad_(False), head.requires_grad_(False))
    monkeypatch.setattr(cam, "vgg16", lambda device: seen)
    look = areas_of(open_network(str(net)), "gradcam")
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:, 8:] = 255
    whole, heat, labelled = look(picture)
    assert np.array_equal(whole, picture) and heat.shape == labelled.shape == (16, 16, 3)
    assert heat[8, 0, 2] > heat[8, 0, 0] and heat[8, 15, 0] > heat[8, 15, 2]
    assert labelled[8, 15].astype(int).sum() > labelled[8, 0].astype(int).sum()
    flat = look(np.full((16, 16, 1), 0, np.uint8))[1]  # grey, as of a network of one channel
    assert (flat[..., 2] > 0).all() and not flat[..., :2].any()


def test_s4_22_with_the_term_of_ssim_and_without(gt: Any, net: Path, photos: Path) -> None:
    """Fig 12: two rows, which are the ones of --ssim-weight 0 and 1."""
    args = ("project", photos / "a.png", "--net", net, *QUICK, "--method", "dse-finetune")
    sheet = cells(gt(*args, "--figure", "ssim", "-o", ".png").out, 1)
    for weight, row in (("0", sheet[1]), ("1", sheet[2])):
        alone = image.decode(gt(*args, "--ssim-weight", weight, "-o", ".png").out)
        assert np.array_equal(row[0], alone)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--method", "encoder,quick"), "give --figure methods"),
        (("--method", "encoder,fast"), "'fast' is none of"),
        (("--tsa", "centre"), "--tsa goes with --figure areas"),
        (("--figure", "methods", "--paste"), "no place for --paste"),
        (("--figure", "methods", "--progress-video", "x.mp4"), "no place for"),
        (("--figure", "ssim"), "take dse-finetune, or give --ssim-weight"),
        (("--figure", "methods", "--method", "quick,encoder", "--init", "mean"), "no encoder"),
        (("--figure", "methods", "--method", "encoder", "--steps", "3"), "optimises nothing"),
    ],
)
def test_what_has_no_sheet_is_one_line(
    gt: Any, net: Path, photos: Path, flags: tuple[str, ...], why: str
) -> None:
    result = gt("project", photos, "--net", net, *flags, "-o", ".png")
    assert (result.code, result.out) == (2, b"")
    assert why in result.err and len(result.err.splitlines()) == 1


def test_the_shell_completes_each_of_several_methods() -> None:
    assert method_names("encoder,id") == ["encoder,idinvert"]
    assert "hybrid" in method_names("") and method_names("encoder,x") == []
