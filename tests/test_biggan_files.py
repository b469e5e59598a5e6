"""Files of BigGAN's two projects, and what the commands make of them: formats.md 2d."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import Tensor

from gantools.io import foreign, image
from gantools.io import network as files
from gantools.io.latent import Latent
from gantools.networks import biggan, biggan_discriminator
from gantools.networks.biggan import GeneratorConfig
from gantools.networks.biggan_discriminator import DiscriminatorConfig
from gantools.networks.network import build, open_network
from gantools.report import Usage

HUGGING, AJBROCK = "hf_biggan_r32", "ajbrock_biggan_r32"


@pytest.fixture
def hugging(fixtures: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(fixtures / HUGGING, tmp_path / HUGGING))


@pytest.fixture
def ajbrock(fixtures: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fixtures / AJBROCK, tmp_path / AJBROCK))


def state(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)  # type: ignore[no-any-return]


# Reading.


def test_folder_file_and_safetensors_are_one_network(hugging: Path) -> None:
    """huggingface: the folder, the .bin in it, the same numbers as safetensors, older torch."""
    wanted = files.load(hugging)
    assert wanted.family == "biggan"
    assert wanted.config["g"]["doubles"] == [1, 3, 5]
    assert wanted.meta["sources"][0]["name"] == "pytorch_model.bin"
    assert files.load(hugging / "pytorch_model.bin").meta["id"] == wanted.meta["id"]
    numbers = state(hugging / "pytorch_model.bin")
    torch.save(numbers, hugging / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert files.load(hugging).meta["id"] == wanted.meta["id"]
    save_file(numbers, hugging / "model.safetensors")
    (hugging / "pytorch_model.bin").unlink()
    for path in (hugging, hugging / "model.safetensors"):
        assert files.load(files.find(str(path))).meta["id"] == wanted.meta["id"]


def test_weights_of_huggingface_without_spectral_norm(hugging: Path) -> None:
    """Some convert them to plain `weight`: read as they are."""
    wanted = {name: tensor.copy() for name, tensor in files.load(hugging).tensors.items()}
    numbers = state(hugging / "pytorch_model.bin")
    plain = {n: t for n, t in numbers.items() if not n.endswith(("_u", "_v", "_orig"))}
    for name, weight in numbers.items():
        if name.endswith("weight_orig"):
            base = name.removesuffix("_orig")
            sigma = numbers[base + "_u"] @ weight.flatten(1) @ numbers[base + "_v"]
            plain[base] = weight / sigma
    torch.save(plain, hugging / "pytorch_model.bin")
    found = files.load(hugging).tensors
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        np.testing.assert_allclose(found[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_run_of_ajbrocks(ajbrock: Path) -> None:
    """The folder has all three networks; G.pth alone is that network; flags come from beside."""
    whole = files.load(ajbrock)
    assert {n.split(".")[0] for n in whole.tensors} == {"g_ema", "g", "d"}
    assert [s["name"] for s in whole.meta["sources"]] == ["G_ema.pth", "G.pth", "D.pth"]
    assert files.load(ajbrock / "G_ema.pth").meta["id"] == whole.meta["id"]
    alone = files.load(ajbrock / "G.pth")
    assert {n.split(".")[0] for n in alone.tensors} == {"g_ema"}
    assert np.array_equal(alone.part("g_ema")["fc.weight"], whole.part("g")["fc.weight"])
    for name in ("G_ema", "G", "D", "state_dict"):
        (ajbrock / f"{name}.pth").rename(ajbrock / f"{name}_best0.pth")
    run = torch.load(ajbrock / "state_dict_best0.pth", weights_only=False)
    run["config"]["BN_eps"] = 1e-3
    run["config"]["G_activation"] = torch.nn.ReLU()  # a module: inert
    torch.save(run, ajbrock / "state_dict_best0.pth")
    best = files.load(ajbrock / "G_ema_best0.pth")
    assert best.part("d")
    assert best.config["g"]["bn_eps"] == 1e-3
    assert best.config["g"]["out_eps"] == 1e-5


def ours_as_theirs(module: Any) -> dict[str, Tensor]:
    """The names and the forms of ajbrock's files; u0 [1, O] such that ours is its other side."""
    made: dict[str, Tensor] = {}
    deep = getattr(module.cfg, "deep", False) or getattr(module.cfg, "stem", 0)
    ends = {"fc": "linear", "out": "linear", "norm": "output_layer.0", "torgb": "output_layer.2",
            "stem": "input_conv", "shared": "shared", "embed": "embed"}  # fmt: skip
    numbers = module.state_dict()
    for name, tensor in numbers.items():
        keys = name.split(".")
        leaf = {"mean": "stored_mean", "var": "stored_var", "shift": "bias"}.get(keys[-1], keys[-1])
        if keys[0] == "blocks":
            kind = keys[2].rstrip("0123")
            layer = {"norm": "bn", "skip": "conv_sc"}.get(kind, kind)
            layer += "" if kind == "skip" else str(int(keys[2][len(kind) :]) + 1)
            parts = [{"shift": "bias"}.get(k, k) for k in keys[3:-1] if k != "spectral_norm"]
            base = ".".join(["blocks", keys[1], "0", layer, *parts])
        elif keys[0] == "attention":
            parts = [k for k in keys[2:-1] if k != "spectral_norm"]
            base = ".".join(["blocks", str(int(keys[1]) - 1), "1", *parts])
        else:
            base = ends[keys[0]]
        if leaf != "u":
            turned = keys[0] in ("shared", "embed") and leaf == "weight"
            made[f"{base}.{leaf}"] = tensor.t() if turned else tensor
            continue
        weight = numbers[name.replace("spectral_norm.u", "weight")].flatten(1)
        weight = weight.t() if keys[0] == "embed" else weight
        u = torch.randn(1, len(weight))
        v = (u @ weight)[0]
        tensor.copy_(v / v.norm())
        made[f"{base}.u0"], made[f"{base}.sv0"] = u, torch.ones(1)
    assert not deep or "blocks.0.0.conv4.weight" in made
    return made


DEEP = GeneratorConfig(
    32, (16, 16, 16, 16, 16, 16, 8), (1, 3, 5), (2,), True, 6, 3, 4, last=8
)  # fmt: skip
PLAIN = GeneratorConfig(32, (16, 16, 8, 8), (0, 1, 2), (2,), z_dim=6, c_dim=3, embed_dim=4,
                        hier=False)  # fmt: skip
BARE = replace(PLAIN, embed_dim=0)
DEEP_D = DiscriminatorConfig(32, (8, 8, 16, 16, 16, 16), (0, 2), (2,), stem=8, c_dim=3)
THIN_D = DiscriminatorConfig(32, (8, 16, 16, 16), (0, 1), (), wide=False, c_dim=3)


@pytest.mark.parametrize(("config", "critic"), [(DEEP, DEEP_D), (PLAIN, THIN_D), (BARE, None)])
def test_other_forms_of_ajbrocks_2d(
    config: GeneratorConfig, critic: DiscriminatorConfig | None, tmp_path: Path
) -> None:
    """BigGAN-deep, not hierarchical, an embedding for each batch norm, a thin D: as written."""
    torch.manual_seed(0)
    g = biggan.Generator(config).eval()
    numbers = ours_as_theirs(g)
    if not config.embed_dim:  # nn.Embedding: [classes, C]
        numbers = {n: t.t() if n.endswith(("gain.weight", "bias.weight")) else t
                   for n, t in numbers.items()}  # fmt: skip
    torch.save(numbers, tmp_path / "G_ema.pth")
    d = biggan_discriminator.Discriminator(critic).eval() if critic else None
    if d is not None:
        torch.save(ours_as_theirs(d), tmp_path / "D.pth")
    read = open_network(str(tmp_path), discriminator=d is not None)
    assert read.g.cfg == replace(config, spectral_norm=False)  # multiplied out
    z, label = torch.randn(2, 6), torch.eye(3)[:2]
    torch.testing.assert_close(read.g(z, label), g(z, label), atol=1e-5, rtol=1e-4)
    if d is not None and read.d is not None:
        assert read.d.cfg == critic
        images = torch.rand(2, 3, 32, 32)
        torch.testing.assert_close(read.d(images, label), d(images, label), atol=1e-5, rtol=1e-4)


def test_batch_norms_of_their_own_2d(ajbrock: Path) -> None:
    """--mybn and cross-replica files name the same statistics otherwise."""
    wanted = files.load(ajbrock / "G_ema.pth").meta["id"]
    for own in ("stored", "running"):
        numbers = {
            n.replace("stored_mean", f"bn.{own}_mean").replace("stored_var", f"bn.{own}_var"): t
            for n, t in state(ajbrock / "G_ema.pth").items()
        }
        numbers["output_layer.0.bn.accumulation_counter"] = torch.zeros(1)
        torch.save(numbers, ajbrock / "G_ema_x.pth")
        assert files.load(ajbrock / "G_ema_x.pth").meta["id"] == wanted


# Damage: one line.


def _edited(**flags: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        run = torch.load(folder / "state_dict.pth", weights_only=False)
        run["config"] |= flags
        torch.save(run, folder / "state_dict.pth")

    return edit


def _changed(file: str, change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        numbers = state(folder / file)
        change(numbers)
        torch.save(numbers, folder / file)

    return edit


def _drop(name: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda numbers: numbers.pop(name)


def _put(name: str, *shape: int) -> Callable[[dict[str, Tensor]], Any]:
    return lambda numbers: numbers.update({name: torch.ones(shape)})


BIN = "pytorch_model.bin"
DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    (AJBROCK, _edited(norm_style="in"), "--norm_style in"),
    (AJBROCK, _edited(G_nl="selu"), "--G_nl selu"),
    (AJBROCK, _changed("G_ema.pth", _drop("linear.bias")), "lacks the tensor fc.bias"),
    (AJBROCK, _changed("G_ema.pth", _drop("blocks.1.0.conv1.weight")), "one after another"),
    (AJBROCK, _changed("G_ema.pth", _put("blocks.0.0.conv1.u1", 1, 24)), "num_SVs"),
    (AJBROCK, _changed("G_ema.pth", _put("blocks.0.0.conv1.u0", 1, 23)), "does not fit"),
    (AJBROCK, _changed("G_ema.pth", _put("blocks.0.0.conv9.weight", 3)), "conv9"),
    (AJBROCK, _changed("G_ema.pth", _put("mystery", 3)), "mystery"),
    (AJBROCK, _changed("D.pth", _put("linear.bias", 2)), "D: out.bias"),
    (AJBROCK, lambda f: (f / "D.pth").rename(f / "G_ema.pth"), "discriminator alone"),
    (HUGGING, lambda f: (f / "config.json").unlink(), "without their config.json"),
    (HUGGING, lambda f: (f / "config.json").write_text("{") and None, "damaged"),
    (HUGGING, _changed(BIN, _drop("generator.bn.bias")), "lacks the tensor norm.shift"),
    (HUGGING, _changed(BIN, _put("generator.gen_z.weight_u", 7)), "of other sizes"),
    (HUGGING, _changed(BIN, _put("generator.bn.running_means", 3, 4)), "norm.mean"),
    (HUGGING, _changed(BIN, _put("generator.layers.0.bn_9.x", 3)), "bn_9"),
    (
        HUGGING,
        _changed(BIN, lambda n: n["generator.gen_z.weight_u"].zero_()),
        "its spectral normalisation is 0",
    ),
]


@pytest.mark.parametrize(("which", "damage", "why"), DAMAGE)
def test_damage_is_told_in_one_line(
    gt: Any, fixtures: Path, tmp_path: Path, which: str, damage: Callable[[Path], None], why: str
) -> None:
    folder = Path(shutil.copytree(fixtures / which, tmp_path / "net"))
    damage(folder)
    with pytest.raises(Usage) as caught:
        foreign.read(folder)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


# The commands.


def test_model_info_and_import(gt: Any, fixtures: Path, tmp_path: Path) -> None:
    """What it is, with its parameters; converted it makes the same pictures to the bit."""
    for name, parts in ((HUGGING, ["g_ema"]), (AJBROCK, ["g_ema", "g", "d"])):
        known = json.loads(gt("model", "info", fixtures / name, "--json").out)
        assert (known["family"], known["parts"], known["layers"]) == ("biggan", parts, [])
        made = tmp_path / f"{name}.safetensors"
        done = gt("model", "import", fixtures / name, "-o", made)
        assert done.code == 0, done.err
        ours = open_network(str(made))
        theirs = build(files.load(fixtures / name), name)
        assert known["parameters"]["g_ema"] == sum(p.numel() for p in ours.g.parameters())
        assert (ours.id, ours.g.cfg) == (theirs.id, theirs.g.cfg)
        z, label = torch.randn(1, ours.g.cfg.z_dim), torch.eye(ours.g.cfg.c_dim)[:1]
        assert torch.equal(ours.g(z, label), theirs.g(z, label))
    assert load_file(tmp_path / f"{AJBROCK}.safetensors")["d.embed.weight"].shape == (24, 7)
    listed = gt("model", "info", tmp_path / f"{AJBROCK}.safetensors")
    assert listed.code == 0 and "G_ema.pth" in listed.text


def test_class_names_and_the_peers_rows(gt: Any, fixtures: Path, tmp_path: Path) -> None:
    """Both are kept by the file; the switch gives the peer's picture at 0.58 (2d)."""
    (tmp_path / "names.txt").write_text("".join(f"thing {i}\n" for i in range(10)))
    made = tmp_path / "x.safetensors"
    done = gt("model", "import", fixtures / HUGGING, "-o", made, "--peer-rows", "--class-names",
              tmp_path / "names.txt")  # fmt: skip
    assert done.code == 0, done.err
    wanted = load_file(fixtures / f"{HUGGING}.expected.safetensors")
    asked = ("--seeds", "2010", "--psi", "0.58", "-o", ".png")
    number = int(wanted["class_onehot"][0].argmax())
    for net, name, form in (
        (made, f"thing {number}", "hf"),
        (fixtures / HUGGING, str(number), "lerp"),
    ):
        done = gt("generate", "--net", net, "--class", name, *asked)
        assert done.code == 0, done.err
        shown = image.decode(done.out).astype(float)
        right = (wanted[f"image_t0580_{form}"][0].transpose(1, 2, 0) + 1) * 127.5
        assert np.abs(shown - right).max() <= 0.51
    for args, why in (
        ((fixtures / AJBROCK, "--peer-rows"), "no batch statistics by truncation"),
        ((fixtures / AJBROCK, "--class-names", tmp_path / "names.txt"), "has 7 classes"),
        ((fixtures / HUGGING, "--class-names", tmp_path / "none.txt"), "no such file"),
    ):
        done = gt("model", "import", *args, "-o", tmp_path / "y.safetensors")
        assert (done.code, why in done.err, done.err.count("\n")) == (2, True, 1), done.err
    assert not (tmp_path / "y.safetensors").exists()


def test_seeds_classes_and_truncation(gt: Any, fixtures: Path, tmp_path: Path) -> None:
    """The peer's z of a seed, its 8-bit picture to a level, and its story in the latent."""
    wanted = load_file(fixtures / f"{HUGGING}.expected.safetensors")
    net = ("--net", fixtures / HUGGING)
    number = int(wanted["class_onehot"][0].argmax())
    args = ("--seeds", "2010", "--class", str(number), "--psi", "0.4")
    done = gt("generate", *net, *args, "--space", "z", "-o", ".safetensors")
    latent = Latent.from_bytes(done.out, "a")
    np.testing.assert_allclose(latent.tensors["z"], wanted["z_t1000"][0], atol=1e-6)
    assert (latent.space, latent.header["psi"]) == ("zy", 0.4)
    (tmp_path / "a.safetensors").write_bytes(done.out)
    pictures = [gt("generate", *net, *args, "-o", ".png"),
                gt("generate", *net, tmp_path / "a.safetensors", "-o", ".png")]  # fmt: skip
    for shown in pictures:
        off = image.decode(shown.out).astype(int) - wanted["uint8_t0400"][0]
        assert np.abs(off).max() <= 1
    # psi is asked for again: 0 is the picture of z = 0, with the statistics for 0.
    zero = gt("generate", *net, tmp_path / "a.safetensors", "--psi", "0", "-o", ".png")
    g = open_network(str(net[1])).g
    flat = g(torch.zeros(1, 16), torch.from_numpy(wanted["class_onehot"][:1]), psi=0.0)
    pixels = (flat[0].permute(1, 2, 0) + 1) * 127.5
    assert np.abs(pixels.detach().numpy() - image.decode(zero.out)).max() <= 0.51
    sheet = gt("generate", *net, *args[:4], "--figure", "truncation", "--psi", "0.4,1", "-o",
               ".png")  # fmt: skip
    assert sheet.code == 0, sheet.err
    first = image.decode(sheet.out)[:32, :32]
    assert np.array_equal(first, image.decode(pictures[0].out))
    walk = gt("generate", *net, "--video", "--seconds", "0.1", "--fps", "30", "--class", "1",
              "--psi", "0.5", "-o", f"{tmp_path}/walk/")  # fmt: skip
    assert walk.code == 0, walk.err
    assert len(list((tmp_path / "walk").rglob("*.png"))) == 3


def test_classes_are_mixed_and_z_is_edited(gt: Any, fixtures: Path, tmp_path: Path) -> None:
    """Half of two classes is half of both embeddings; a direction moves z and keeps psi."""
    net = ("--net", fixtures / AJBROCK)
    for name, number in (("a", "1"), ("b", "4")):
        done = gt("generate", *net, "--seeds", "3", "--class", number, "--space", "z",
                  "-o", tmp_path / f"{name}.safetensors")  # fmt: skip
        assert done.code == 0, done.err
    both = (tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    done = gt("mix", *net, *both, "--at", "0.5", "-o", ".safetensors")
    half = Latent.from_bytes(done.out, "m")
    assert half.tensors["y"][[1, 4]].tolist() == [0.5, 0.5]
    shown = gt("mix", *net, *both, "--at", "0.5", "-o", ".png")
    g = open_network(str(net[1])).g
    mean = (g.shared.weight[:, 1] + g.shared.weight[:, 4])[None] / 2
    made = g(torch.from_numpy(half.tensors["z"])[None], mean)
    pixels = (made[0].permute(1, 2, 0) + 1) * 127.5
    assert np.abs(pixels.detach().numpy() - image.decode(shown.out)).max() <= 0.52
    np.save(tmp_path / "up.npy", np.ones((1, 40), np.float32))
    edited = gt("edit", *net, both[0], "--dir", tmp_path / "up.npy", "--strength", "0.5", "-o",
                ".safetensors")  # fmt: skip
    assert edited.code == 0, edited.err
    before = Latent.from_bytes(both[0].read_bytes(), "a")
    after = Latent.from_bytes(edited.out, "a")
    np.testing.assert_allclose(after.tensors["z"], before.tensors["z"] + 0.5, atol=1e-6)
    # The class as its embedding renders alike; another length is refused.
    embedded = before.tensors["y"] @ g.shared.weight.numpy().T
    for y, code in ((embedded, 0), (embedded[:5], 1)):
        own = replace(before, tensors={**before.tensors, "y": y.astype(np.float32)})
        (tmp_path / "e.safetensors").write_bytes(own.to_bytes())
        done = gt("generate", *net, tmp_path / "e.safetensors", "-o", ".png")
        assert done.code == code, done.err
    assert "the network takes 16 or 7" in done.err or "7 or 16" in done.err


def test_what_it_has_not_is_refused_in_one_line(gt: Any, fixtures: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(image.encode(np.zeros((32, 32, 3), np.uint8)))
    generate = ("generate", "--net", fixtures / HUGGING, "--seeds", "0")
    project = ("project", "--net", fixtures / HUGGING, tmp_path / "x.png")
    for args, why in (
        (generate, "give --class 0-9"),
        ((*generate, "--class", "10"), "classes 0-9"),
        ((*generate, "--class", "1", "--psi", "1.2"), "--psi 1.2: hf_biggan_r32 has batch stat"),
        ((*generate, "--class", "1", "--cutoff", "2", "--psi", "0.5"), "which has z and no w"),
        ((*generate, "--class", "1", "--figure", "noise"), "which has z and no w"),
        ((*generate, "--class", "1", "--noise-mode", "none"), "has no noise"),
        ((*generate, "--class", "1", "--space", "w"), "which has z and no w"),
        ((*project, "--space", "w+"), "which has z and no w"),
        ((*project, "--space", "z"), "has classes: --space zy"),
    ):
        out = ".safetensors" if "--space" in args or "project" in args else ".png"
        done = gt(*args, "-o", out)
        assert (done.code, why in done.err, done.err.count("\n")) == (2, True, 1), done.err


def test_model_standing(gt: Any, fixtures: Path, tmp_path: Path) -> None:
    """A table by truncation for a network that had none; latents of the old one still fit."""
    net, made = fixtures / AJBROCK, tmp_path / "x.safetensors"
    done = gt("generate", "--net", net, "--seeds", "3", "--class", "2", "--space", "z", "--psi",
              "0.5", "-o", tmp_path / "a.safetensors")  # fmt: skip
    assert done.code == 0, done.err
    done = gt("model", "standing", net, "-o", made, "--rows", "3", "--num", "8", "--batch", "8",
              "--device", "cpu")  # fmt: skip
    assert (done.code, done.out) == (0, b""), done.err
    story = files.header(made)
    assert story["derived_from"] == [files.load(net).meta["id"]]
    assert (story["standing"]["rows"], story["config"]["d"]) == (3, None)
    pictures = [
        gt("generate", "--net", n, tmp_path / "a.safetensors", "-o", ".png") for n in (net, made)
    ]
    assert [p.code for p in pictures] == [0, 0]
    assert pictures[0].out != pictures[1].out
    before = made.read_bytes()
    for args, why in (
        ((made, "-o", made), "the network itself"),
        ((net, "-o", tmp_path / "y.pkl"), "x.safetensors"),
        ((net, "-o", tmp_path / "no" / "y.safetensors"), "no such folder"),
        ((fixtures / "pggan_tf_unfused.pkl", "-o", tmp_path / "y.safetensors"), "not a BigGAN"),
    ):
        done = gt("model", "standing", *args)
        assert (done.code, why in done.err, done.err.count("\n")) == (2, True, 1), done.err
    assert made.read_bytes() == before
    halves = gt("model", "standing", net, "-o", tmp_path / "y.safetensors", "--rows", "3",
                "--num", "8", "--batch", "4", "--device", "cpu")  # fmt: skip
    assert halves.code == 0
    assert files.header(tmp_path / "y.safetensors")["id"] != story["id"]
    page = gt("model", "standing", "--help").out.decode()
    assert "another N gives another network" in " ".join(page.split())
