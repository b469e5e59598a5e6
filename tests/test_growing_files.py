"""PGGAN and StyleGAN1 as files: TensorFlow's pickles read, and every command that they allow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_writers import python2

from gantools.io import foreign, image, network, pickles, tensorflow_growing
from gantools.io.inert import Budget, Malformed
from gantools.io.latent import Latent
from gantools.io.tensorflow_network import Network
from gantools.networks import pggan, pggan_discriminator, stylegan
from gantools.networks.network import build, numbers

Run = Callable[..., Any]

STYLE, Z_ONLY = "sg1_tf_uncond.pkl", "pggan_tf_unfused.pkl"


# -- readers --------------------------------------------------------------------------------------


def written(module: Any, *, out_in: bool = False, fused: int = 0) -> dict[str, np.ndarray]:
    """A module's numbers under TensorFlow's names; fused: from this output size on, flipped."""
    part = "synthesis/" if isinstance(module, stylegan.Generator) else ""
    made = {}
    for name, value in numbers(module).items():
        *path, leaf = name.removeprefix("synthesis.").split(".")
        if path[0] == "mapping":
            made[_mapping_name(path, leaf)] = value.T
            continue
        size = int(path[0][1:])
        key = _layer_name(module, size, path[1:], leaf, fused=bool(fused or part))
        flipped = "_up" in key and 0 < fused <= size
        made[part + key] = _tensorflow_layout(leaf, value, flipped=flipped, out_in=out_in)
    return made


def _mapping_name(path: list[str], leaf: str) -> str:
    if len(path) == 1:
        return "dlatent_avg"
    if path[1] == "embed":
        return "mapping/LabelConcat/weight"
    return f"mapping/{path[1].replace('fc', 'Dense')}/{leaf}"


def _layer_name(module: Any, size: int, path: list[str], leaf: str, *, fused: bool) -> str:
    layer = path[0] if path else "const"
    lod = int(np.log2(module.cfg.resolution // size))
    if leaf == "noise_const":
        return f"noise{2 * int(np.log2(size // 4)) + int(layer[-1])}"
    critic = isinstance(module, pggan_discriminator.Discriminator)
    up = "_up" if fused and not critic else ""
    down = "_down" if critic and module.cfg.fused_scale else ""
    names = {
        "dense": "4x4/Dense", "conv": "4x4/Conv", "fc": "4x4/Dense0", "out": "4x4/Dense1",
        "torgb": f"ToRGB_lod{lod}", "fromrgb": f"FromRGB_lod{lod}", "const": "4x4/Const",
        "conv0": f"{size}x{size}/Conv0{up}" if size > 4 else "4x4/Const",
        "conv1": f"{size}x{size}/Conv1{down}" if size > 4 else "4x4/Conv",
    }  # fmt: skip
    inner = f"StyleMod/{leaf}" if len(path) > 1 else leaf
    return f"{names[layer]}/{inner.replace('noise_strength', 'Noise/weight')}"


def _tensorflow_layout(leaf: str, value: np.ndarray, *, flipped: bool, out_in: bool) -> np.ndarray:
    if leaf == "noise_const":
        return value[None, None]
    if leaf == "const":
        return value[None]
    if value.ndim < 4:
        return value.T
    kernel = value.transpose(2, 3, 1, 0)
    if not flipped:
        return kernel
    return kernel[::-1, ::-1].swapaxes(2, 3) if out_in else kernel[::-1, ::-1]


def same(module: Any, tensors: dict[str, np.ndarray]) -> None:
    wanted = numbers(module)
    assert set(wanted) == set(tensors)
    for name, value in wanted.items():
        assert np.array_equal(tensors[name], value), name


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("fused", [0, 8])
@pytest.mark.parametrize("c_dim", [0, 3])
def test_pggan_in_every_layout(version: int, fused: int, c_dim: int) -> None:
    """formats.md 2b: fused kernels flipped, [.., out, in] in version 2; labels behind z."""
    torch.manual_seed(0)
    cfg = pggan.GeneratorConfig(16, (6, 5, 4), z_dim=7, c_dim=c_dim, lod=0.5)
    g = pggan.Generator(cfg)
    variables = written(g, out_in=version == 2, fused=fused)
    assert ("8x8/Conv0_up/weight" in variables) == bool(fused)
    variables["lod"] = np.float32(0.5)[()] * np.ones((), np.float32)
    settings = {"label_size": c_dim, "fused_scale": bool(fused), "latent_size": 7}
    config, tensors = tensorflow_growing.pggan(Network("Gs", version, variables, settings))
    assert pggan.GeneratorConfig.from_dict(config) == cfg
    same(g, tensors)
    d_cfg = pggan_discriminator.DiscriminatorConfig(
        16, (6, 5, 4), c_dim=c_dim, fused_scale=bool(fused), mbstd_group=16
    )
    d = pggan_discriminator.Discriminator(d_cfg)
    critic = Network("D", version, written(d), {"mbstd_group_size": 16})
    config, tensors = tensorflow_growing.discriminator(critic, blurred=False)
    assert pggan_discriminator.DiscriminatorConfig.from_dict(config) == d_cfg
    same(d, tensors)


@pytest.mark.parametrize(("said", "fused"), [("auto", 128), (True, 8), (False, 1 << 20)])
@pytest.mark.parametrize("c_dim", [0, 3])
def test_stylegan_in_every_layout(said: Any, fused: int, c_dim: int) -> None:
    """formats.md 2b: Conv0_up is flipped from 128 pixels on, or as fused_scale says; labels."""
    torch.manual_seed(0)
    channels = (3, 3, 2, 2, 2, 2)
    cfg = stylegan.GeneratorConfig(
        128, channels, z_dim=4, w_dim=4, c_dim=c_dim, mapping_layers=2, mapping_lr_mult=0.1
    )
    g = stylegan.Generator(cfg)
    settings = {"fused_scale": said, "mapping_lrmul": 0.1, "truncation_psi": 0.7}
    found = Network("Gs", 3, written(g, fused=fused), settings)
    config, tensors = tensorflow_growing.stylegan(found)
    assert stylegan.GeneratorConfig.from_dict(config) == cfg
    same(g, tensors)
    d_cfg = pggan_discriminator.DiscriminatorConfig(
        128, channels, c_dim=c_dim, **stylegan.discriminator_defaults()
    )
    d = pggan_discriminator.Discriminator(d_cfg)
    critic = Network("D", 3, written(d), {"label_size": c_dim})
    config, tensors = tensorflow_growing.discriminator(critic, blurred=True)
    assert pggan_discriminator.DiscriminatorConfig.from_dict(config) == d_cfg
    same(d, tensors)


def test_stylegan_without_noise_or_blur() -> None:
    """use_noise False: maps of strength 0, which change nothing; another blur is kept."""
    torch.manual_seed(0)
    cfg = stylegan.GeneratorConfig(8, (3, 3), z_dim=4, w_dim=4, resample_filter=(1, 3, 3, 1))
    variables = written(stylegan.Generator(cfg))
    variables = {n: v for n, v in variables.items() if "oise" not in n}
    settings = {"use_noise": False, "blur_filter": [1, 3, 3, 1]}
    config, tensors = tensorflow_growing.stylegan(Network("Gs", 3, variables, settings))
    assert config["resample_filter"] == [1, 3, 3, 1]
    settings["blur_filter"] = None
    plain, _ = tensorflow_growing.stylegan(Network("Gs", 3, variables, settings))
    assert plain["resample_filter"] == [1]
    made = stylegan.Generator(stylegan.GeneratorConfig.from_dict(plain))
    assert made(torch.randn(1, 4)).shape == (1, 3, 8, 8)
    assert not tensors["synthesis.b8.conv1.noise_strength"].any()
    assert tensors["synthesis.b8.conv1.noise_const"].shape == (8, 8)


def test_settings_that_change_the_network_are_kept_or_refused() -> None:
    """S1.14's choices are read; what no network here does is named, not ignored."""
    g = pggan.Generator(pggan.GeneratorConfig(8, (4, 4), z_dim=3))
    settings: dict[str, Any] = {"use_pixelnorm": False, "use_leakyrelu": False, "use_wscale": False}
    config, _ = tensorflow_growing.pggan(
        Network("Gs", 2, written(g), settings | {"normalize_latents": False})
    )
    assert [config[n] for n in ("norm", "activation", "equalized", "latent_norm")] == [
        "none", "relu", False, False,
    ]  # fmt: skip
    style = written(stylegan.Generator(stylegan.GeneratorConfig(8, (3, 3), z_dim=4, w_dim=4)))
    for read, variables, setting, value in [
        (tensorflow_growing.pggan, written(g), "pixelnorm_epsilon", 1e-4),
        (tensorflow_growing.stylegan, style, "use_instance_norm", False),
        (tensorflow_growing.stylegan, style, "const_input_layer", False),
        (tensorflow_growing.stylegan, style, "fused_scale", "sometimes"),
    ]:
        with pytest.raises(Malformed, match=f"Gs: its {setting} is"):
            read(Network("Gs", 3, variables, {setting: value}))


@pytest.mark.parametrize("lod", [0.5, 1.0, 1.75])
@pytest.mark.parametrize("name", [STYLE, Z_ONLY])
def test_a_pickle_saved_while_growing(
    name: str, lod: float, fixtures: Path, tmp_path: Path, gt: Run
) -> None:
    """S1.7: the file's lod is the picture's, in G, Gs and D; the fixture knows that picture."""
    from safetensors.torch import load_file

    data = (fixtures / name).read_bytes()
    value, _ = pickles.load(memoryview(data), Budget.of(len(data)))
    for net in value:
        variables = dict(net.state["variables"])
        variables["lod"].args = (variables["lod"].args[0], np.float32(lod).tobytes())
    (tmp_path / "x.pkl").write_bytes(python2(value, text=False))
    ckpt = foreign.read(tmp_path / "x.pkl")
    assert (ckpt.config["g"]["lod"], ckpt.config["d"]["lod"]) == (lod, lod)
    assert not ckpt.meta.get("left_out")
    made = build(ckpt, "x", discriminator=True)
    assert made.size == (32 >> int(lod),) * 2
    expected = load_file(fixtures / f"{Path(name).stem}.expected.safetensors")
    key = f"lod{lod}".replace(".", "p")
    wanted = expected.get(f"image_{key}", expected.get(f"image_{key}_const"))
    if wanted is not None:
        images = torch.nn.functional.interpolate(made.g(expected["z"]), size=32)
        torch.testing.assert_close(images, wanted, atol=2e-4, rtol=1e-4)
    done = gt("generate", "--net", tmp_path / "x.pkl", "--seeds", "0", "-o", ".png")
    assert done.code == 0
    assert image.decode(done.out).shape[0] == 32 >> int(lod)


def test_a_lod_beyond_4x4_is_refused() -> None:
    g = pggan.Generator(pggan.GeneratorConfig(8, (4, 4), z_dim=3))
    variables = written(g) | {"lod": np.ones((), np.float32) * 2}
    with pytest.raises(Malformed, match="lod 2 of 2 resolutions"):
        tensorflow_growing.pggan(Network("Gs", 2, variables, {}))


def test_what_a_file_lacks_is_named() -> None:
    """A lacking, a surplus and a misshapen variable."""
    variables = written(pggan.Generator(pggan.GeneratorConfig(8, (4, 4), z_dim=3)))
    lacking = {n: v for n, v in variables.items() if n != "ToRGB_lod1/bias"}
    for given, words in [
        (lacking, "lacks the tensor b4.torgb.bias"),
        (variables | {"8x8/Extra/weight": np.zeros((3, 3, 4, 4))}, "not read: 8x8/Extra/weight"),
        (variables | {"8x8/Conv1/bias": np.zeros(5, np.float32)}, r"b8\.conv0\.weight is"),
        ({}, "lacks the tensor"),
    ]:
        with pytest.raises(Malformed, match=words):
            tensorflow_growing.pggan(Network("Gs", 2, given, {}))


# -- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [STYLE, Z_ONLY])
def test_import_and_info(name: str, gt: Run, fixtures: Path, tmp_path: Path) -> None:
    """Issue 3: `model import` keeps every bit; `model info` and `list` say what it is."""
    assert gt("model", "import", fixtures / name, "-o", tmp_path / "n.safetensors").code == 0
    found, again = foreign.read(fixtures / name), network.load(tmp_path / "n.safetensors")
    assert again.config == found.config
    assert all(np.array_equal(v, again.tensors[n]) for n, v in found.tensors.items())
    known = json.loads(gt("model", "info", tmp_path / "n.safetensors", "--json").text)
    assert known["family"] == found.family
    assert known["config"]["g"]["resolution"] == 32
    assert known["parts"] == ["g_ema", "g", "d"]
    assert len(known["layers"]) == (8 if name == STYLE else 0)
    if name == STYLE:
        assert known["layers"][0]["modules"] == "b4.const b4.conv0"
        assert known["layers"][7]["modules"] == "b32.conv1 b32.torgb"
    first, second = (
        gt("generate", "--net", net, "--seeds", "3", "-o", ".png").out
        for net in (fixtures / name, tmp_path / "n.safetensors")
    )
    assert np.array_equal(image.decode(first), image.decode(second))


def test_stylegan_through_the_commands(gt: Run, fixtures: Path, tmp_path: Path) -> None:
    """generate, project, convert, mix, edit and SeFa on a StyleGAN1 pickle."""
    net = ("--net", fixtures / STYLE)
    done = gt("generate", *net, "--seeds", "0-1", "--psi", "0.7", "-o", f"{tmp_path}/p/")
    assert (done.code, done.err) == (0, "")
    short = ("--steps", "4", "--align", "never", "-o", f"{tmp_path}/l/")
    done = gt("project", *net, f"{tmp_path}/p", "--space", "nw+", *short)
    assert (done.code, done.err) == (0, "")
    latents = [tmp_path / "l" / f"seed00000{i}.safetensors" for i in (0, 1)]
    own = Latent.from_bytes(latents[0].read_bytes(), "seed000000")
    assert own.tensors["w"].shape == (8, 32)
    assert sorted(own.noise) == list(range(1, 9))  # every layer has noise, the constant's too
    assert [own.noise[j].shape[1] for j in range(1, 9)] == [4, 4, 8, 8, 16, 16, 32, 32]
    shown = gt("generate", *net, latents[0], "-o", ".png")
    assert image.story(shown.out)["noise"] == {"mode": "own"}  # type: ignore[index]
    mixed = gt("mix", *net, *latents, "--layers", "0-3", "-o", tmp_path / "m.safetensors")
    assert mixed.code == 0
    m = Latent.from_bytes((tmp_path / "m.safetensors").read_bytes(), "m")
    other = Latent.from_bytes(latents[1].read_bytes(), "b")
    assert np.array_equal(m.tensors["w"][:4], other.tensors["w"][:4])
    assert np.array_equal(m.tensors["w"][4:], own.tensors["w"][4:])
    assert np.array_equal(m.noise[4], other.noise[4])
    assert np.array_equal(m.noise[5], own.noise[5])
    some = ("--method", "sefa", "--components", "2", "--samples", "100")
    assert gt("train", "direction", *net, *some, "-o", tmp_path / "d.safetensors").code == 0
    by = ("--dir", f"{tmp_path}/d.safetensors:sefa01", "--strength", "2")
    edited = gt("edit", *net, latents[0], *by, "-o", tmp_path / "e.png")
    assert (edited.code, edited.err) == (0, "")
    pixels = image.decode((tmp_path / "e.png").read_bytes())
    assert not np.array_equal(pixels, image.decode(shown.out))
    for figure, extra in (("noise", ()), ("truncation", ()), ("mixing", ("--sources", "5-6"))):
        sheet = gt("generate", *net, "--seeds", "0", "--figure", figure, *extra, "-o", ".png")
        assert (sheet.code, sheet.err) == (0, "")


def test_noise_of_the_constant_is_a_layer(gt: Run, fixtures: Path) -> None:
    """--noise-layers counts all L layers; each of them changes the picture."""
    net = ("--net", fixtures / STYLE, "--seeds", "0", "-o", ".png")
    none = gt("generate", *net, "--noise-mode", "none").out
    pictures = {none}
    for layer in ("0", "1", "7", "0-7"):
        pictures.add(gt("generate", *net, "--noise-layers", layer).out)
    assert len(pictures) == 5
    refused = gt("generate", *net, "--noise-layers", "8")
    assert refused.code == 2
    assert refused.err.count("\n") == 1


def test_z_of_pggan_through_the_commands(gt: Run, fixtures: Path, tmp_path: Path) -> None:
    """generate from seeds and from z; mix and edit z; a grid, a walk."""
    net = ("--net", fixtures / Z_ONLY)
    out = f"{tmp_path}/z/"
    assert gt("generate", *net, "--seeds", "0-1", "--space", "z", "-o", out).code == 0
    latents = [tmp_path / "z" / f"seed00000{i}.safetensors" for i in (0, 1)]
    own = Latent.from_bytes(latents[0].read_bytes(), "a")
    assert (own.space, own.tensors["z"].shape) == ("z", (32,))
    assert np.array_equal(
        own.tensors["z"], np.random.RandomState(0).randn(1, 32)[0].astype(np.float32)
    )
    shown = gt("generate", *net, latents[0], "-o", ".png")
    seeded = gt("generate", *net, "--seeds", "0", "--psi", "1", "-o", ".png")
    assert np.array_equal(image.decode(shown.out), image.decode(seeded.out))
    mixed = gt("mix", *net, *latents, "--at", "0", "-o", tmp_path / "m.png")
    assert (mixed.code, mixed.err) == (0, "")
    same_picture = image.decode((tmp_path / "m.png").read_bytes())
    assert np.array_equal(same_picture, image.decode(shown.out))
    assert gt("mix", *net, *latents, "--frames", "3", "-o", f"{tmp_path}/f/").code == 0
    np.save(tmp_path / "up.npy", np.ones((1, 32), np.float32))
    by = ("--dir", tmp_path / "up.npy", "--strength", "0.5")
    edited = gt("edit", *net, latents[0], *by, "-o", ".safetensors")
    assert edited.code == 0
    moved = Latent.from_bytes(edited.out, "a").tensors["z"]
    assert np.allclose(moved, own.tensors["z"] + 0.5)
    assert gt("generate", *net, "--seeds", "0-3", "--grid", "2x2", "-o", ".png").code == 0
    walk = ("--video", "--seconds", "0.1", "--fps", "30", "-o", f"{tmp_path}/w/")
    assert gt("generate", *net, *walk).code == 0
    assert len(list((tmp_path / "w").rglob("*.png"))) == 3


def test_classes_of_pggan_through_the_commands(gt: Run, tmp_path: Path) -> None:
    """S1.11: --class; z with a class is mixed (the classes too) and edited (the class stays)."""
    torch.manual_seed(0)
    cfg = pggan.GeneratorConfig(8, (4, 4), z_dim=5, c_dim=3)
    tensors = {f"g_ema.{n}": t for n, t in numbers(pggan.Generator(cfg)).items()}
    checkpoint = network.Checkpoint("pggan", {"g": cfg.to_dict(), "d": None}, tensors)
    network.save(tmp_path / "n.safetensors", checkpoint)
    net = ("--net", tmp_path / "n.safetensors")
    for i in (0, 2):
        out = f"{tmp_path}/{i}/"
        some = ("--seeds", str(i), "--class", str(i), "--space", "z", "-o", out)
        assert gt("generate", *net, *some).code == 0
    latents = [tmp_path / f"{i}" / f"seed00000{i}.safetensors" for i in (0, 2)]
    half = gt("mix", *net, *latents, "-o", ".safetensors")
    assert (half.code, half.err) == (0, "")
    mixed = Latent.from_bytes(half.out, "m")
    assert mixed.space == "zy"
    assert np.array_equal(mixed.tensors["y"], [0.5, 0, 0.5])
    np.save(tmp_path / "up.npy", np.ones(5, np.float32))
    by = ("--dir", tmp_path / "up.npy", "--strength", "2")
    edited = gt("edit", *net, latents[0], *by, "-o", ".safetensors")
    assert (edited.code, edited.err) == (0, "")
    before, after = (
        Latent.from_bytes(b, "x").tensors for b in (latents[0].read_bytes(), edited.out)
    )
    assert np.allclose(after["z"], before["z"] + 2)
    assert np.array_equal(after["y"], before["y"])
    pictures = {gt("generate", *net, path, "-o", ".png").out for path in latents}
    assert len(pictures) == 2
    gt("generate", "--seeds", "1", "--space", "z", "-o", tmp_path / "plain.safetensors")
    plain = Latent.from_bytes((tmp_path / "plain.safetensors").read_bytes(), "p")
    plain = Latent("p", "z", {"z": plain.tensors["z"][:5]}, {})
    (tmp_path / "plain.safetensors").write_bytes(plain.to_bytes())
    refused = gt("mix", latents[0], tmp_path / "plain.safetensors", "-o", ".safetensors")
    assert refused.code == 2
    assert "some of the latents have a class and some have none" in refused.err


def test_what_pggan_has_not_is_refused_in_one_line(gt: Run, fixtures: Path, tmp_path: Path) -> None:
    """No w: no truncation, no spaces of w, no noise, no projection to w; nothing is left."""
    net = ("--net", fixtures / Z_ONLY)
    gt("generate", *net, "--seeds", "0", "--space", "z", "-o", tmp_path / "z.safetensors")
    style = ("--net", fixtures / STYLE)
    gt("generate", *style, "--seeds", "0", "--space", "w", "-o", tmp_path / "w.safetensors")
    gt("generate", *net, "--seeds", "0", "-o", tmp_path / "p.png")
    before = sorted(tmp_path.iterdir())
    seeds = ("generate", *net, "--seeds", "0")
    no_w = "is a pggan network, which has z and no w"
    project = ("project", *net, "--space", "w+", "-o", tmp_path / "x.safetensors")
    for argv, words in [
        ((*seeds, "--psi", "0.7", "-o", tmp_path / "x.png"), f"--psi: pggan_tf_unfused {no_w}"),
        ((*seeds, "--cutoff", "2", "--psi", "0.7", "-o", tmp_path / "x.png"), "--cutoff: "),
        ((*seeds, "--space", "w", "-o", tmp_path / "x.safetensors"), "--space w: "),
        ((*seeds, "--space", "w+", "-o", tmp_path / "x.safetensors"), "--space w+: "),
        ((*seeds, "--noise-mode", "none", "-o", tmp_path / "x.png"), "this network has no noise"),
        ((*seeds, "--figure", "truncation", "-o", tmp_path / "x.png"), no_w),
        ((*seeds, "--figure", "mixing", "--sources", "1", "-o", tmp_path / "x.png"), no_w),
        ((*project, tmp_path / "p.png"), no_w),
        ((*project, tmp_path / "z.safetensors"), no_w),
        (("train", "direction", *net, "--method", "pca", "-o", tmp_path / "x.safetensors"), no_w),
    ]:
        done = gt(*argv)
        assert (done.code, done.out) == (2, b""), argv
        assert words in done.err, done.err
        assert done.err.count("\n") == 1
    # A single sample fails alone: a latent of w, or a z whose truncation is its own.
    foreign_w = gt("generate", *net, tmp_path / "w.safetensors", "-o", f"{tmp_path}/out/")
    assert foreign_w.code == 1
    latent = Latent.from_bytes((tmp_path / "z.safetensors").read_bytes(), "z")
    latent.header["psi"] = 0.5
    truncated = gt("generate", *net, "-o", f"{tmp_path}/out/", "-", stdin=_stream(latent))
    assert truncated.code == 1
    assert "its psi is 0.5, and pggan networks have no w to truncate" in truncated.err
    own = Latent("w", "w", {"w": np.zeros((1, 32), np.float32)}, {})
    refused = gt("generate", *net, "-o", f"{tmp_path}/out/", "-", stdin=_stream(own))
    assert refused.code == 1
    assert "a w latent, and pggan networks have z and no w" in refused.err
    left = sorted(p for p in tmp_path.iterdir() if p.name != "out")
    assert left == before


def _stream(latent: Latent) -> bytes:
    import io

    from gantools.io.stream import StreamWriter

    out = io.BytesIO()
    writer = StreamWriter(out)
    writer.write(f"{latent.key}.safetensors", latent.to_bytes())
    writer.close()
    return out.getvalue()
