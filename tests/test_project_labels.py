"""`gantools project --labels`: each picture's own class (papers.md S4.8, S4.10)."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network
from test_dse_training import network_file
from test_project_encoder import kept_beside
from test_project_figures import cells

from gantools.inversion import coded, encoder_files
from gantools.io import encoder as files
from gantools.io import image
from gantools.io.latent import Latent
from gantools.io.network import load, save
from gantools.networks.network import open_network
from gantools.report import Usage

NAMES = ["cat", "ship", "0"]  # the last is called as the first's number
PLAIN = ("--align", "never", "-q")
RATE = 1e-3  # what Adam makes of a batch's rounding stays below a few of them
THREE = ("--steps", "3", "--lr", str(RATE), "--perceptual", "pyramid")
STEPS = {"encoder": (), "hybrid": THREE, "idinvert": THREE, "dse-finetune": THREE, "quick": THREE}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BigGAN of three classes with an encoder beside it, which is told them."""
    path = network_file(tmp_path_factory.mktemp("net") / "net.safetensors", "biggan")
    ckpt = load(path)
    ckpt.tensors["g_ema.norm.gain"] = ckpt.tensors["g_ema.norm.gain"] * 0.05  # its tanh is flat
    save(path, replace(ckpt, meta={"classes": NAMES}))
    kept_beside(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cats and between them a ship, in folders of their classes."""
    folder = tmp_path_factory.mktemp("photos")
    ramp = np.linspace(40, 200, 32)
    one = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 128.0), 2).astype(np.uint8)
    pixels = {"cat/a": one, "cat/c": 255 - one, "ship/b": one[:, ::-1]}
    for key, picture in pixels.items():
        path = folder / f"{key}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image.encode(np.ascontiguousarray(picture)))
    return folder


def latents_of(stream: bytes) -> dict[str, Latent]:
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        found = [(m.name.rpartition(".")[0], tar.extractfile(m)) for m in tar]
        return {key: Latent.from_bytes(f.read(), key) for key, f in found if f is not None}


def near(one: Latent, other: Latent) -> bool:
    """Whether they are the same but for the rounding of their batches."""
    pairs = [(value, other.tensors[name]) for name, value in one.tensors.items()]
    return all(np.allclose(a, b, rtol=1e-4, atol=6 * RATE) for a, b in pairs)


# ----------------------------------------------------------------------- each picture has its own


@pytest.mark.parametrize("method", STEPS)
def test_s4_10_each_picture_has_its_own_class(
    gt: Any, net: Path, photos: Path, method: str
) -> None:
    """As with --class of it, in one batch with other classes and one by one."""
    args = ("project", "--net", net, *PLAIN, "--method", method, *STEPS[method])
    made = gt(*args, photos, "--labels", "folders")
    assert (made.code, made.err) == (0, "")
    found = latents_of(made.out)
    assert list(found) == ["cat/a", "cat/c", "ship/b"]
    alone = latents_of(gt(*args, photos, "--labels", "folders", "--batch", "1").out)
    for name in ("cat", "ship"):
        for key, latent in latents_of(gt(*args, photos, "--class", name).out).items():
            same = key.startswith(name)
            assert near(found[key], latent) == near(alone[key], latent) == same
    if method == "quick":  # a class that is known stays
        rows = [latent.tensors["y"].tolist() for latent in found.values()]
        assert rows == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    if method == "encoder":
        assert gt(*args, photos, "--labels", "folders", "--batch", "2").out == made.out


def test_s4_10_a_stream_keeps_its_folders(gt: Any, net: Path, photos: Path) -> None:
    """Pictures of a tar on standard input have the classes of their keys."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(photos.rglob("*.png")):
            tar.add(path, path.relative_to(photos))
    args = ("project", "--net", net, *PLAIN, "--method", "encoder", "--labels", "folders")
    assert gt(*args, stdin=buffer.getvalue()).out == gt(*args, photos).out


def test_s4_8_rows_of_what_an_encoder_is_told(net: Path) -> None:
    """The embedding of each class in its row; the echo of a batch is that of each alone."""
    network = open_network(str(net))
    encoder = encoder_files.load(net.with_name("net" + files.SUFFIX), "cpu")
    rows = coded.told(network, encoder, [2, 0])
    assert rows is not None
    weight = network.g.shared.weight.detach()
    torch.testing.assert_close(rows, weight.T[[2, 0]])
    generator = torch.Generator().manual_seed(0)
    tensors = {"z": torch.randn(2, network.g.cfg.z_dim, generator=generator)}
    tensors["y"] = torch.randn(2, 6, generator=generator)
    pictures = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    both = coded.echo(encoder, 5.0, rows)(tensors, pictures)
    for i, label in enumerate([2, 0]):
        one = {name: t[i : i + 1] for name, t in tensors.items()}
        alone = coded.echo(encoder, 5.0, coded.told(network, encoder, [label]))
        torch.testing.assert_close(alone(one, pictures[i : i + 1]), both[i : i + 1])
        wrong = coded.echo(encoder, 5.0, coded.told(network, encoder, [1]))
        assert not torch.allclose(wrong(one, pictures[i : i + 1]), both[i : i + 1])
    with pytest.raises(Usage, match="give --class, or --labels"):
        coded.told(network, encoder, None)


def test_s4_10_an_encoder_as_the_start_of_quick_is_told_too(
    gt: Any, net: Path, photos: Path
) -> None:
    """--init ENCODER: z of what it sees, the class given; without one it is asked for at once."""
    own = net.with_name("net" + files.SUFFIX)
    args = ("project", "--net", net, photos, *PLAIN)
    quick = (*args, "--method", "quick", "--init", own, "--steps", "0", "--perceptual", "pyramid")
    seen = latents_of(gt(*args, "--method", "encoder", "--labels", "folders").out)
    psi = ("--psi", "0.4")  # the encoder's
    for key, latent in latents_of(gt(*quick, *psi, "--labels", "folders").out).items():
        bounded = seen[key].tensors["z"].clip(-2, 2)
        np.testing.assert_allclose(latent.tensors["z"], bounded, rtol=1e-5)
        assert latent.tensors["y"].argmax() == NAMES.index(key.partition("/")[0])
    without = gt(*quick)
    assert without.code == 2 and "give --class, or --labels" in without.err
    # Without a method: hybrid, for which the kept encoder waited.
    usual = gt(*args, "--labels", "folders", "--steps", "1", "--perceptual", "pyramid")
    told = latents_of(usual.out)["ship/b"].header["projection"]
    assert (told["method"], told["init"]) == ("hybrid", "encoder")


def test_s4_22_on_a_sheet(gt: Any, net: Path, photos: Path, tmp_path: Path) -> None:
    """Every row is what its method gives with each picture's class."""
    args = ("project", photos, "--net", net, *PLAIN, "--labels", "folders")
    sheet = gt(*args, "--figure", "methods", "--method", "encoder,quick", *STEPS["quick"], "-o",
               ".png")  # fmt: skip
    assert sheet.code == 0, sheet.err
    for method, row in zip(("encoder", "quick"), cells(sheet.out, 3)[1:], strict=True):
        gt(*args, "--method", method, *STEPS[method], "-o", f"{tmp_path}/{method}/{{}}.png")
        for key, shown in zip(("cat/a", "cat/c", "ship/b"), row, strict=True):
            alone = (tmp_path / method / f"{key}.png").read_bytes()
            assert np.array_equal(shown, image.decode(alone))


# ------------------------------------------------------------------------------ where they stand


def classes_of(gt: Any, net: Path, operand: Path, labels: object, *more: str) -> list[int]:
    """The classes that pictures keep, in the order of their keys."""
    found = gt("project", operand, "--net", net, *PLAIN, "--method", "quick", "--steps", "0",
               "--perceptual", "pyramid", "--labels", labels, *more)  # fmt: skip
    assert found.code == 0, found.err
    made = sorted(latents_of(found.out).items())
    return [int(latent.tensors["y"].argmax()) for _, latent in made]


def test_sources_are_those_of_train(gt: Any, net: Path, photos: Path, tmp_path: Path) -> None:
    """A CSV by names or numbers, with a column; dataset.json in a folder and a zip; IDX."""
    table = tmp_path / "own.csv"
    table.write_text("key,kind,n\ncat/a.png,cat,2\ncat/c,1,1\nship/b.png,0,0\n")
    assert classes_of(gt, net, photos, table, "--label-column", "kind") == [0, 1, 2]
    # A name comes before a number: 0 is the third class's name.
    assert classes_of(gt, net, photos, table, "--label-column", "n") == [2, 1, 2]
    packed = tmp_path / "set.zip"
    pairs = [["x/a.png", 1], ["x/b.png", [0, 1, 0]], ["x/c.png", 2.0]]
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(photos.rglob("*.png")):
            archive.write(path, f"x/{path.name}")
        archive.writestr("dataset.json", json.dumps({"labels": pairs}))
    assert classes_of(gt, net, packed, "dataset") == [1, 1, 2]
    folder = tmp_path / "set"
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    assert classes_of(gt, net, folder, "dataset") == [1, 1, 2]
    # All of one class is no set to train on, but one to project.
    one = {"labels": [[f"x/{n}.png", 0] for n in "abc"]}
    (folder / "dataset.json").write_text(json.dumps(one))
    assert classes_of(gt, net, folder, "dataset") == [2, 2, 2]
    pixels = [image.decode(path.read_bytes()) for path in sorted(photos.rglob("*.png"))]
    images = tmp_path / "my-images-idx3-ubyte"
    images.write_bytes(struct.pack(">4B4I", 0, 0, 8, 4, 3, 32, 32, 3) + np.stack(pixels).tobytes())
    labels = tmp_path / "my-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(struct.pack(">4BI3B", 0, 0, 8, 1, 3, 1, 0, 2)))
    assert classes_of(gt, net, images, labels) == [1, 2, 2]


def test_a_picture_without_a_class_fails_alone(
    gt: Any, net: Path, photos: Path, tmp_path: Path
) -> None:
    """No row, an empty cell, no folder, a class that the network has not: a line for each."""
    lost = tmp_path / "set"
    shutil.copytree(photos, lost)
    shutil.copy(photos / "ship" / "b.png", lost / "bare.png")
    (lost / "lion").mkdir()
    shutil.copy(photos / "ship" / "b.png", lost / "lion" / "d.png")
    args = ("project", lost, "--net", net, "--align", "never", "--method", "encoder")
    made = gt(*args, "--labels", "folders")
    bare, lion = made.err.splitlines()
    assert made.code == 1 and list(latents_of(made.out)) == ["cat/a", "cat/c", "ship/b"]
    assert bare.endswith("bare.png: --labels folders: no class for bare")
    told = "lion/d.png: --labels folders: class lion, and the network has classes 0-2 (cat, ship, 0"
    assert told in lion
    table = tmp_path / "own.csv"
    table.write_text("key,kind\ncat/a,ship\ncat/c,\nlion/d,3\n")
    made = gt(*args, "--labels", table)
    assert made.code == 1 and list(latents_of(made.out)) == ["cat/a"]
    lines = [line.rpartition("--labels ")[2] for line in made.err.splitlines()]
    none = [f"own.csv: no class for {key}" for key in ("bare", "cat/c", "ship/b")]
    assert sorted(line for line in lines if "no class" in line) == none
    assert sum("class 3, and the network has" in line for line in lines) == 1
    sheet = gt(*args, "--labels", table, "--figure", "methods", "-o", ".png")
    assert sheet.code == 1 and len(cells(sheet.out, 1)) == 2


@pytest.mark.parametrize(
    ("family", "flags", "why"),
    [
        ("biggan", ("--labels", "folders", "--class", "cat"), "each one's own: give one"),
        ("biggan", ("--label-column", "x"), "a column of which file"),
        ("biggan", ("--labels", "folders", "--label-column", "x"), "has no columns"),
        ("biggan", ("--labels", "dataset"), "no dataset.json in it"),
        ("biggan", ("--labels", "none.csv"), "none.csv: no such file"),
        ("pggan", ("--labels", "folders"), "--labels: the network has no classes"),
        ("stylegan2", ("--labels", "folders"), "--labels is for networks of z"),
    ],
)
def test_labels_that_cannot_be_are_one_line(
    gt: Any, net: Path, photos: Path, tmp_path: Path, family: str, flags: Any, why: str
) -> None:
    if family == "pggan":
        net = network_file(tmp_path / "plain.safetensors", "pggan")
    elif family == "stylegan2":
        net = make_network(tmp_path / "classes.safetensors", c_dim=3)
    result = gt("project", photos, "--net", net, "--perceptual", "pyramid", *flags)
    assert result.code == 2 and why in result.err and result.err.count("\n") == 1, result.err
