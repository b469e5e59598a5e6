"""`gantools project --method encoder` and `hybrid` (papers.md S4.8-S4.10)."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_dse_training import network_file

from gantools.inversion import encoder_files, perceptual
from gantools.io import encoder as files
from gantools.io import image
from gantools.io.latent import Latent
from gantools.latents.render import images
from gantools.networks.network import open_network
from gantools.training.dse import DseTraining, begun
from gantools.training.encoder import EncoderTraining
from gantools.training.encoder_samples import usual_truncation


def kept_beside(net: Path) -> Path:
    """An untrained encoder beside its network."""
    network = open_network(str(net))
    psi, cutoff = usual_truncation(network)
    config = DseTraining(network=network.story(), psi=psi, cutoff=cutoff, width=8, seed=1)
    path = net.with_name(net.stem + files.SUFFIX)
    files.write(path, encoder_files.to_file(begun(config, network).eval(), {}))
    return path


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Networks with encoders beside them, each in a folder of its own."""
    found = {}
    for family in ("stylegan2", "stylegan", "pggan", "biggan"):
        folder = tmp_path_factory.mktemp(family)
        found[family] = network_file(folder / "net.safetensors", family)
        kept_beside(found[family])
    return found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of 40x40."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        (folder / f"{i}.png").write_bytes(image.encode(pixels))
    return folder


def latents_of(stream: bytes) -> list[Latent]:
    """The latents of a stream."""
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        members = [(m.name, tar.extractfile(m)) for m in tar if m.name.endswith(".safetensors")]
        return [Latent.from_bytes(f.read(), n) for n, f in members if f is not None]


@pytest.mark.parametrize(
    ("family", "space"), [("stylegan2", "w+"), ("stylegan", "w+"), ("pggan", "z"), ("biggan", "zy")]
)
def test_one_pass_gives_latents_of_the_network(
    gt: Any, nets: dict[str, Path], pictures: Path, family: str, space: str
) -> None:
    """Whatever the batch; each says how near it comes, and renders so."""
    flags = ["--class", "1"] if family == "biggan" else []
    args = ("project", "--net", nets[family], pictures, "--method", "encoder", "--align", "never")
    result = gt(*args, *flags, "-q")
    assert result.code == 0, result.err
    found = latents_of(result.out)
    assert result.out == gt(*args, *flags, "-q", "--batch", "2").out
    assert [x.space for x in found] == [space] * 3
    network = open_network(str(nets[family]))
    for latent in found:
        network.check(latent)
        assert latent.header["projection"]["method"] == "encoder"
    shown = network.pixels(images(network, found[:1]))[0]
    told = found[0].header["projection"]["psnr"]
    one = ("project", "--net", nets[family], pictures / "0.png", *args[4:], *flags, "-q")
    assert np.array_equal(image.decode(gt(*one, "-o", ".png").out), shown)
    assert 3 < told < 40


def test_the_encoder_is_found_by_its_networks_identity(
    gt: Any, nets: dict[str, Path], pictures: Path, tmp_path: Path
) -> None:
    """Beside the network; --init names another; a stranger's is refused."""
    other = network_file(tmp_path / "pggan.safetensors", "pggan")
    (tmp_path / "other.encoder.safetensors").write_bytes(
        nets["stylegan2"].with_name("net.encoder.safetensors").read_bytes()
    )
    args = ("project", "--net", other, pictures, "--method", "encoder", "-q")
    result = gt(*args)
    assert result.code == 2
    assert "no encoder is kept for pggan: train one" in result.err
    stranger = gt(*args, "--init", tmp_path / "other.encoder.safetensors")
    assert (stranger.code, "not for pggan" in stranger.err) == (2, True)
    none = gt(*args, "--init", "mean")
    assert "no encoder, with which --method encoder begins" in none.err
    typo = gt(*args, "--init", tmp_path / "othr")
    assert (typo.code, "othr: no such file or folder; --method encoder" in typo.err) == (2, True)
    own = kept_beside(other)
    assert gt(*args, "--init", own).code == 0


def test_what_is_no_file_beside_a_network_is_passed_by(
    gt: Any, pictures: Path, tmp_path: Path
) -> None:
    """A named pipe, a folder and a dead link that are called as encoders are; nothing waits."""
    net = network_file(tmp_path / "net.safetensors", "pggan")
    os.mkfifo(tmp_path / f"a{files.SUFFIX}")
    (tmp_path / f"b{files.SUFFIX}").mkdir()
    (tmp_path / f"c{files.SUFFIX}").symlink_to("nowhere")
    args = ("project", "--net", net, pictures, "--method", "encoder", "-q")
    assert "no encoder is kept for net: train one" in gt(*args).err
    kept_beside(net)
    assert gt(*args).code == 0


def test_an_encoder_is_no_network(gt: Any, nets: dict[str, Path]) -> None:
    encoder = nets["pggan"].with_name("net.encoder.safetensors")
    result = gt("generate", "--net", encoder, "--seeds", "0")
    assert "net.encoder.safetensors: an encoder file, not a network" in result.err
    result = gt("project", "--net", nets["pggan"], encoder, "--space", "z")
    assert "an encoder file, not a latent" in result.err


@pytest.mark.parametrize(
    ("family", "flags", "why"),
    [
        ("stylegan2", ["--lr", "0.1"], "optimises nothing"),
        ("stylegan2", ["--steps", "3"], "optimises nothing"),
        ("stylegan2", ["--perceptual", "pyramid"], "optimises nothing"),
        ("stylegan2", ["--class", "1"], "has no classes"),
        ("biggan", [], "give --class"),
        ("biggan", ["--class", "9"], "9"),
        ("stylegan2", ["--space", "w"], "no encoder for w is kept"),
    ],
)
def test_what_cannot_be_is_one_line(
    gt: Any, nets: dict[str, Path], pictures: Path, family: str, flags: list[str], why: str
) -> None:
    args = ("project", "--net", nets[family], pictures, "--method", "encoder", "-q")
    result = gt(*args, *flags)
    assert result.code == 2
    assert why in result.err and len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("family", "flags", "why"),
    [
        ("stylegan2", ["encoder", "--space", "z"], "nothing leads back from w to z"),
        ("stylegan2", ["encoder", "--space", "w"], "changes the picture; --lossy does it"),
        ("stylegan2", ["hybrid", "--space", "w", "--lossy"], "changes the picture\n"),
        ("stylegan", ["encoder", "--space", "fw+3"], "is StyleGAN2's"),
        ("pggan", ["encoder", "--space", "w+"], "has z and no w"),
    ],
)
def test_a_space_that_it_never_reaches_is_refused_before_any_work(
    gt: Any, nets: dict[str, Path], pictures: Path, family: str, flags: list[str], why: str
) -> None:
    """Once, and not for every picture; an optimisation has no use for --lossy."""
    encoder = nets[family].with_name("net.encoder.safetensors")
    args = ("project", "--net", nets[family], pictures, "--init", encoder, "-q", "--method")
    result = gt(*args, *flags)
    assert (result.code, result.err.count("\n"), why in result.err) == (2, 1, True)


def test_class_is_for_an_encoder(gt: Any, nets: dict[str, Path], pictures: Path) -> None:
    result = gt("project", "--net", nets["stylegan2"], pictures, "--class", "1", "-q")
    assert (result.code, "has no classes" in result.err) == (2, True)


def test_hybrid_begins_with_what_the_encoder_sees(
    gt: Any, nets: dict[str, Path], pictures: Path
) -> None:
    """Without steps it is that; with some it is nearer; also of z."""
    args = ("project", "--net", nets["stylegan2"], pictures / "0.png", "--align", "never", "-q")
    (seen,) = latents_of(gt(*args, "--method", "encoder").out)
    more = ("--method", "hybrid", "--perceptual", "pyramid", "--steps")
    (start,) = latents_of(gt(*args, *more, "0").out)
    np.testing.assert_allclose(start.tensors["w"], seen.tensors["w"], rtol=1e-5, atol=1e-6)
    result = gt(*args, *more, "12")
    assert result.code == 0, result.err
    (near,) = latents_of(result.out)
    assert near.header["projection"]["init"] == "encoder" and near.space == "w+"
    assert near.header["projection"]["psnr"] > start.header["projection"]["psnr"]
    args = ("project", "--net", nets["pggan"], pictures / "0.png", "-q", *more, "2")
    (found,) = latents_of(gt(*args, "--method", "hybrid").out)
    assert found.space == "z" and found.header["projection"]["init"] == "encoder"


def test_the_mean_is_no_longer_the_start_of_w_plus(
    gt: Any, nets: dict[str, Path], pictures: Path
) -> None:
    """Where an encoder is kept; of w, to which it does not convert, it is."""
    args = ("project", "--net", nets["stylegan2"], pictures / "0.png", "--align", "never", "-q")
    for space, init in {"w+": "encoder", "w": "mean"}.items():
        more = ("--space", space, "--steps", "0", "--perceptual", "pyramid")
        result = gt(*args, *more)
        assert result.code == 0, result.err
        (latent,) = latents_of(result.out)
        assert latent.header["projection"]["init"] == init


def test_the_packaged_network_has_one_too(gt: Any, pictures: Path) -> None:
    """That of its features (S2.10), which their space names beside any of whole latents."""
    args = ("project", pictures / "0.png", "--method", "encoder", "--align", "never", "-q")
    result = gt(*args, "--space", "fw+5")
    assert result.code == 0, result.err
    (latent,) = latents_of(result.out)
    assert latent.space == "fw+5"
    assert json.dumps(latent.header["projection"])
    assert latents_of(gt(*args, "--space", "fnw+5").out)[0].space == "fnw+5"
    assert torch.from_numpy(latent.tensors["f"]).isfinite().all()


@pytest.mark.parametrize(
    ("family", "method", "end"),
    [("stylegan", "encoder", 2), ("stylegan2", "encoder", 3), ("stylegan", "dse-finetune", 2)],
)
def test_s4_21_what_encoders_found_is_edited_in_its_first_layers(
    gt: Any, nets: dict[str, Path], pictures: Path, tmp_path: Path, family: str, method: str,
    end: int,
) -> None:  # fmt: skip
    """Strength 0: the same latent and picture; a boundary of length 1; later layers to the bit."""
    net, found, out = nets[family], tmp_path / "found.safetensors", tmp_path / "out.safetensors"
    optimised = () if method == "encoder" else ("--steps", "3", "--perceptual", "pyramid")
    made = gt("project", pictures / "0.png", "--net", net, "--method", method, *optimised,
              "--align", "never", "-o", found)  # fmt: skip
    assert made.code == 0, made.err
    start = Latent.from_bytes(found.read_bytes(), "found")
    w = start.tensors["w"]
    d = np.random.default_rng(0).normal(size=(1, w.shape[1]))
    d /= np.linalg.norm(d)
    np.save(tmp_path / "smile.npy", d)
    words = ("edit", found, "--net", net, "--dir", tmp_path / "smile.npy", "--layers", f"0-{end}")
    for strength in (70.0, -5.0, 0.0):
        done = gt(*words, "--strength", f"{strength:g}", "-o", out)
        assert done.code == 0, done.err
        edited = Latent.from_bytes(out.read_bytes(), "out")
        change = edited.tensors["w"][: end + 1].astype(np.float64) - w[: end + 1]
        np.testing.assert_allclose(change, np.tile(strength * d, (end + 1, 1)), atol=1e-5)
        assert edited.tensors["w"][end + 1 :].tobytes() == w[end + 1 :].tobytes()
        assert edited.header["projection"] == start.header["projection"]
    assert edited.tensors["w"].tobytes() == w.tobytes()
    same = gt(*words, "--strength", "0", "-o", ".png")
    shown = gt("project", pictures / "0.png", "--net", net, "--method", method, *optimised,
               "--align", "never", "-o", ".png")  # fmt: skip
    assert np.array_equal(image.decode(same.out), image.decode(shown.out))
    most = len(w) - 1
    beyond = gt(*words[:-1], f"0-{most + 1}", "--strength", "1", "-o", out)
    assert beyond.code == 1 and f"layers 0-{most}" in beyond.err


def test_hybrid_is_usual_where_an_encoder_is_kept(
    gt: Any, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the user's folder: that of w+ beside one of features, which alone leaves it at quick."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "gantools" / "networks"
    folder.mkdir(parents=True)
    net = network_file(folder / "small.safetensors", "stylegan2")
    network = open_network(str(net))
    settings = EncoderTraining(network=network.story(), first=3, width=4)
    features = settings.trainer(network, perceptual.pyramid, None, fresh=False).encoder.eval()
    files.write(folder / "small.encoder.safetensors", encoder_files.to_file(features, {}))
    args = ("project", pictures / "0.png", "--net", "small", "--align", "never", "-q",
            "--perceptual", "pyramid", "--steps", "1")  # fmt: skip

    def story(*flags: str) -> tuple[str, str, str]:
        result = gt(*args, *flags)
        assert result.code == 0, result.err
        (found,) = latents_of(result.out)
        told = found.header["projection"]
        return told["method"], told["init"], found.space

    assert story() == ("quick", "mean", "w+")
    kept_beside(net).rename(folder / "small.dse.encoder.safetensors")
    files.write(folder / "small.encoder.safetensors", encoder_files.to_file(features, {}))
    assert story() == story("--space", "w+") == ("hybrid", "encoder", "w+")
    assert story("--space", "nw+") == ("hybrid", "encoder", "nw+")
    assert story("--space", "fw+3") == ("quick", "encoder", "fw+3")
    assert story("--space", "w") == ("quick", "mean", "w")
    assert story("--init", "mean") == ("quick", "mean", "w+")
    assert story("--method", "quick") == ("quick", "encoder", "w+")


def test_an_encoder_that_waits_for_a_class_changes_nothing_without(
    gt: Any, nets: dict[str, Path], pictures: Path
) -> None:
    """S4.10: of a BigGAN it is told the class. That of a PGGAN is taken, also for --space z."""
    args = ("project", pictures / "0.png", "-q", "--perceptual", "pyramid", "--steps", "1", "--net")
    wanted = [
        ((nets["biggan"],), "quick"),
        ((nets["biggan"], "--class", "1"), "hybrid"),
        ((nets["pggan"],), "hybrid"),
        ((nets["pggan"], "--space", "z"), "hybrid"),
    ]
    for flags, method in wanted:
        result = gt(*args, *flags)
        assert result.code == 0, result.err
        (found,) = latents_of(result.out)
        assert found.header["projection"]["method"] == method
