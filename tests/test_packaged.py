"""What comes with the package: a network, its directions, and the README's first command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gantools.inversion import encoder_files
from gantools.io import attribute_model, direction, encoder, image, network
from gantools.io.latent import Latent
from gantools.networks.network import open_network
from gantools.ops import similarity
from gantools.training.encoder import decoded, draw

ASSETS = network.assets_folder()


def test_the_package_stays_small() -> None:
    """Code, network and directions together: 20 MB at most."""
    files = [p for p in ASSETS.parent.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(p.stat().st_size for p in files) < 20e6


def test_the_network_says_what_it_is() -> None:
    """Found without a name; both halves; trained on, licence and framing are told."""
    path = network.find(None)
    assert path.parent == ASSETS
    ckpt = network.load(path)
    assert ckpt.part("g_ema") and ckpt.part("d")
    assert ckpt.config["g"]["resolution"] >= 64
    assert "research" in ckpt.meta["licence"]
    assert ckpt.meta["trained_on"] and ckpt.meta["images_shown"] > 0
    assert len(ckpt.meta["crop"]["landmarks"]) == 5


@pytest.mark.parametrize("wanted", [None, network.PACKAGED])
def test_what_stands_in_the_current_folder_is_not_taken_for_it(
    wanted: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a folder of its name, nor a network that nobody asked for by that name."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / network.PACKAGED
    folder.mkdir()
    assert network.find(wanted).parent == ASSETS
    (folder / "best.safetensors").write_bytes(b"a run's")
    assert network.find(wanted).parent == (ASSETS if wanted is None else Path(network.PACKAGED))
    (folder / "best.safetensors").unlink()
    folder.rmdir()
    folder.write_bytes(b"a file")
    assert network.find(wanted).parent == (ASSETS if wanted is None else Path())


def test_the_encoder_is_this_network_s() -> None:
    """It is found for fw+5, and gives back samples that it has not seen (S2.10)."""
    net = open_network()
    path = encoder.kept_for(None, {**net.meta, "id": net.id}, 5)
    assert path is not None
    assert path.parent == ASSETS
    found = encoder_files.load(path)
    found.check(net)
    example = draw(net, 5, 0, range(-200, -192))
    shown = example.images.clamp(-1, 1)
    with torch.no_grad():
        made = decoded(net, 5, found(shown), example.noise)
    psnr = similarity.psnr(similarity.levels(shown), similarity.levels(made))
    assert float(psnr.mean()) > 24


def test_hybrid_starts_from_the_encoder_of_the_package(gt: Any, tmp_path: Path) -> None:
    """Without a flag (S4.8): unseen samples come near in one pass, and nearer in 10 steps."""
    net = open_network()
    path = encoder.kept_for(None, {**net.meta, "id": net.id}, 5, "dse")
    assert path is not None and path.parent == ASSETS
    shown = tmp_path / "shown"
    assert gt("generate", "--seeds", "0-3", "--psi", 0.7, "-o", f"{shown}/").code == 0
    found = {}
    for name, more in (("one pass", ("--method", "encoder")), ("hybrid", ("--steps", 10))):
        out = tmp_path / name
        done = gt("project", shown, "--align", "never", *more, "-o", f"{out}/")
        assert (done.code, done.err) == (0, "")
        latents = [Latent.from_bytes(p.read_bytes(), p.stem) for p in sorted(out.iterdir())]
        found[name] = [x.header["projection"] for x in latents]
    assert {x["method"] for x in found["hybrid"]} == {"hybrid"}
    assert {x["init"] for x in found["hybrid"]} == {"encoder"}
    means = {name: np.mean([x["psnr"] for x in each]) for name, each in found.items()}
    assert 18 < means["one pass"] < means["hybrid"] - 1


def test_the_directions_are_this_network_s(gt: Any) -> None:
    """age, smile, male and yaw, for this very network, with a strength each."""
    found = direction.read(ASSETS / f"{network.PACKAGED}.directions.safetensors")
    assert {"age", "smile", "male", "yaw"} <= set(found)
    identity = network.header(network.find(None))["id"]
    for one in found.values():
        assert one.network["id"] == identity
        assert one.default_strength > 0
        assert one.unit == "sd"
    listed = gt("edit", "--list").text
    assert all(name in listed for name in found)


def test_a_direction_moves_what_it_names(gt: Any, tmp_path: Path) -> None:
    """S2.8: brightness up and down shows in the pixels of generated faces."""
    assert gt("generate", "--seeds", "0-7", "--space", "w", "-o", tmp_path / "w.tar").code == 0
    means = []
    for strength in ("-2", "2"):
        out = tmp_path / strength
        words = ("--dir", "brightness", "--strength", strength, "-o", f"{out}/{{}}.png")
        assert gt("edit", tmp_path / "w.tar", *words).code == 0
        means.append(sum(image.decode(p.read_bytes()).mean() for p in out.iterdir()) / 8)
    assert means[1] - means[0] > 20


def test_the_attribute_models_are_this_network_s(gt: Any, tmp_path: Path) -> None:
    """S2.9: nearer to w+ than styles alone; found by name, for features as they come."""
    found = attribute_model.read(ASSETS / f"{network.PACKAGED}.attributes.safetensors")
    identity = network.header(network.find(None))["id"]
    for model in found.values():
        assert model.direction.network["id"] == identity
        held = model.training["held_out"]
        assert held["distance"] < 0.7 * held["distance_styles_only"]
    start = tmp_path / "start"
    assert gt("generate", "--seeds", "0", "--space", "w", "-o", tmp_path / "w.tar").code == 0
    assert gt("project", tmp_path / "w.tar", "--space", "fnw+5", "-o", f"{start}/").code == 0
    for name in found:
        done = gt("edit", start, "--dir", name, "-o", f"{tmp_path}/{name}/")
        assert (done.code, done.err) == (0, "")
        before, after = (
            Latent.from_bytes((folder / "seed000000.safetensors").read_bytes(), "x")
            for folder in (start, tmp_path / name)
        )
        for tensor in ("f", "r", "w"):
            assert not np.array_equal(before.tensors[tensor], after.tensors[tensor])


@pytest.mark.long
def test_readme_command_one(tmp_path: Path) -> None:
    """From a photograph to an older face, as real processes; the projection reaches 20 dB."""
    g = f"{sys.executable} -m gantools"
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c",
         f"{g} project example:portrait | tee face.tar | {g} edit --dir age -o older.png"],
        cwd=tmp_path, capture_output=True, check=False, env={**os.environ},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    older = (tmp_path / "older.png").read_bytes()
    assert image.decode(older).shape[0] >= 64
    story = image.story(older)
    assert story is not None
    assert [entry["command"] for entry in story["history"]] == ["project", "edit"]
    subprocess.run(["tar", "xf", "face.tar"], cwd=tmp_path, check=True)
    latent = Latent.from_bytes((tmp_path / "portrait.safetensors").read_bytes(), "portrait")
    assert latent.header["projection"]["psnr"] >= 20, json.dumps(latent.header["projection"])
