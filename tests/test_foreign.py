"""io.foreign: other projects' files become the right tensors and configurations (formats.md 2, 7).

Images and logits of the same fixtures are compared in test_networks.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_writers import (
    PERSISTENT,
    Called,
    dumped,
    nvidia,
    pretended,
    python2,
    stylegan2_attributes,
)
from safetensors.numpy import load_file

from gantools.io import foreign, network, pickles, stylegan2, tensorfile
from gantools.io.inert import Budget
from gantools.report import Usage

# name, widths, architecture, conv_clamp, fp16 resolutions, mapping layers, torgb_all, has d
KNOWN = [
    ("sg2ada_pt_r16_era.pkl", [16, 16, 16], "skip", 256.0, 1, 4, False, True),
    ("sg2ada_pt_r32_skip.pkl", [32, 32, 32, 16], "skip", None, 0, 2, False, True),
    ("sg3repo_sg2_r32.pkl", [24, 24, 24, 16], "skip", 256.0, 3, 8, False, True),
    ("sg2_tf_v4_skip.pkl", [24, 24, 24, 16], "skip", None, 0, 4, False, True),
    ("sg2_tf_v4_labelconcat.pkl", [16, 16, 16], "skip", None, 0, 2, False, True),
    ("sg2_tf_v4_configD_revised.pkl", [16, 16, 16], "orig", None, 0, 2, True, True),
    ("sg2_tf_v5_ada_uncond.pkl", [16, 16, 16], "skip", 256.0, 0, 2, False, True),
    ("rosinality_converted.pt", [24, 24, 24, 24], "skip", None, 0, 8, False, False),
    ("rosinality_converted_gd.pt", [16, 16, 16], "skip", None, 0, 8, False, True),
]
GROWING = ["pggan_tf_unfused.pkl", "pggan_in_sg1repo_fused.pkl", "sg1_tf_uncond.pkl"]
NAMES = [row[0] for row in KNOWN] + ["sg3t_r32.pkl", *GROWING]


@pytest.mark.parametrize("row", KNOWN, ids=lambda row: row[0])
def test_configuration_of_every_stylegan2_file(row: tuple[Any, ...], fixtures: Path) -> None:
    """S2.0: what shapes tell, and what each layer stores (formats.md 7.7)."""
    name, widths, architecture, clamp, fp16, layers, torgb_all, has_d = row
    found = foreign.read(fixtures / name)
    g, d = found.config["g"], found.config["d"]
    assert found.family == "stylegan2"
    assert g["widths"] == widths
    assert g["resolution"] == 4 * 2 ** (len(widths) - 1)
    assert (g["architecture"], g["conv_clamp"], g["num_fp16_res"]) == (architecture, clamp, fp16)
    assert (g["mapping_layers"], g["torgb_all"]) == (layers, torgb_all)
    assert g["resample_filter"] == [1, 3, 3, 1]
    assert (d is not None) == has_d
    if d is not None:
        assert d["resolution"] == g["resolution"]
        assert d["architecture"] == ("orig" if torgb_all else "resnet")
        assert d["fromrgb_all"] == torgb_all
        # formats.md 7.3: TensorFlow's default is 4, not the whole batch.
        assert d["mbstd_group"] == (2 if name == "sg2ada_pt_r16_era.pkl" else 4)
    assert found.part("g") or name == "rosinality_converted.pt"
    assert all("resample_filter" not in n and "kernel" not in n for n in found.tensors)


def test_conditional_tensorflow_file_keeps_its_label_forms(fixtures: Path) -> None:
    """formats.md 2b: LabelConcat before one normalisation; D's outputs times the label."""
    found = foreign.read(fixtures / "sg2_tf_v4_labelconcat.pkl")
    assert (found.config["g"]["c_dim"], found.config["g"]["label_mode"]) == (4, "concat")
    assert (found.config["d"]["c_dim"], found.config["d"]["label_mode"]) == (4, "logits")
    assert found.tensors["g_ema.mapping.embed.weight"].shape == (32, 4)
    assert found.tensors["d.b4.out.weight"].shape == (4, 16)


def test_stylegan3_file(fixtures: Path) -> None:
    """formats.md 2a, StyleGAN3 G: numpy scalars and arrays in the stream, absent filters."""
    found = foreign.read(fixtures / "sg3t_r32.pkl")
    g = found.config["g"]
    assert found.family == "stylegan3"
    assert (g["channel_base"], g["channel_max"], g["conv_kernel"]) == (512, 16, 3)
    assert (g["num_layers"], g["num_critical"], g["margin_size"]) == (14, 2, 10)
    assert not g["use_radial_filters"]
    assert found.tensors["g_ema.synthesis.L5_52_16.up_filter"].shape == (24,)
    assert "g_ema.synthesis.L14_32_3.up_filter" not in found.tensors
    assert found.meta["augment_p"] == pytest.approx(0.0802)
    assert found.config["d"]["widths"] == [16, 16, 16, 8]


def test_meta_says_where_a_file_came_from(fixtures: Path) -> None:
    """design.md 3: sources carry the sha256 of the file; names are without folders."""
    import hashlib

    path = fixtures / "sg2ada_pt_r16_era.pkl"
    meta = foreign.read(path).meta
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert meta["sources"] == [{"name": path.name, "sha256": digest}]
    assert meta["trained_on"] == "x.zip"  # the stream says ./datasets/x.zip
    assert meta["augment_p"] == pytest.approx(0.2055)
    assert len(meta["id"]) == 64


def test_rosinality_tensors_are_torchs_own(fixtures: Path) -> None:
    """formats.md 2c, bit for bit against torch's own reader."""
    raw = torch.load(fixtures / "rosinality_converted_gd.pt", weights_only=True)
    found = foreign.read(fixtures / "rosinality_converted_gd.pt").tensors
    pairs = {
        "g_ema.synthesis.b4.const": raw["g_ema"]["input.input"][0],
        "g_ema.mapping.w_avg": raw["latent_avg"],
        "g_ema.mapping.fc7.weight": raw["g_ema"]["style.8.weight"],
        "g_ema.synthesis.b8.conv0.weight": raw["g_ema"]["convs.0.conv.weight"][0],
        "g_ema.synthesis.b16.conv1.noise_strength": raw["g_ema"]["convs.3.noise.weight"][0],
        "g_ema.synthesis.b16.torgb.bias": raw["g_ema"]["to_rgbs.1.bias"].flatten(),
        "g_ema.synthesis.b16.conv0.noise_const": raw["g_ema"]["noises.noise_3"][0, 0],
        "g.synthesis.b8.torgb.affine.bias": raw["g"]["to_rgbs.0.conv.modulation.bias"],
        "d.b16.fromrgb.weight": raw["d"]["convs.0.0.weight"],
        "d.b8.skip.weight": raw["d"]["convs.2.skip.1.weight"],
        "d.b4.out.bias": raw["d"]["final_linear.1.bias"],
    }
    for name, value in pairs.items():
        assert np.array_equal(found[name], value.numpy()), name


def test_rosinality_training_checkpoint(fixtures: Path, tmp_path: Path) -> None:
    """formats.md 2c: {g, d, g_ema, optimisers, args, ada_aug_p}, no latent_avg, half the maps gone.

    The mean w is that of 4096 z (seed 0) through the file's own mapping.
    """
    import argparse

    raw = torch.load(fixtures / "rosinality_converted_gd.pt", weights_only=True)
    del raw["latent_avg"]
    raw |= {
        "g_optim": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 0.002, "betas": (0, 0.99)}]},
        "d_optim": {},
        "args": argparse.Namespace(path="a/b", size=16),
        "ada_aug_p": 0.25,
    }
    for layout, zipped in (("zip", True), ("stream", False)):
        path = tmp_path / f"{layout}.pt"
        torch.save(raw, path, _use_new_zipfile_serialization=zipped)
        found = foreign.read(path)
        assert "4096" in found.meta["w_avg"]
        assert found.meta["augment_p"] == 0.25
        w_avg = found.tensors["g_ema.mapping.w_avg"]
        mapping = _mapping(found)
        z = torch.from_numpy(np.random.RandomState(0).randn(4096, 32).astype(np.float32))
        assert np.allclose(w_avg, mapping.styles(z).mean(0).detach(), atol=1e-5)
        assert found.part("d")


def _mapping(found: network.Checkpoint) -> Any:
    from gantools.networks.mapping import Mapping
    from gantools.networks.stylegan2_config import GeneratorConfig

    mapping = Mapping(GeneratorConfig.from_dict(found.config["g"]))
    tensors = found.part("g_ema")
    state = {
        n[8:]: torch.from_numpy(t.copy()) for n, t in tensors.items() if n.startswith("mapping")
    }
    mapping.load_state_dict(state)
    return mapping


def test_old_rosinality_file_without_noise_maps(fixtures: Path, tmp_path: Path) -> None:
    """formats.md 2c: noises.* are absent in old checkpoints; maps of seed 0 take their place."""
    raw = torch.load(fixtures / "rosinality_converted.pt", weights_only=True)
    raw["g_ema"] = {n: t for n, t in raw["g_ema"].items() if not n.startswith("noises")}
    torch.save(raw, tmp_path / "old.pt")
    first, second = foreign.read(tmp_path / "old.pt"), foreign.read(tmp_path / "old.pt")
    name = "g_ema.synthesis.b32.conv1.noise_const"
    assert first.tensors[name].shape == (32, 32)
    assert abs(first.tensors[name].std() - 1) < 0.1
    assert first.meta["id"] == second.meta["id"]


@pytest.mark.parametrize("name", NAMES)
def test_import_round_trips_bit_exactly(name: str, fixtures: Path, tmp_path: Path) -> None:
    """Issue 1: import writes every tensor bit for bit; safetensors' own reader agrees."""
    found = foreign.read(fixtures / name)
    written = network.save(tmp_path / "y.safetensors", found)
    ours = network.load(tmp_path / "y.safetensors")
    theirs = load_file(tmp_path / "y.safetensors")
    assert set(ours.tensors) == set(theirs) == set(found.tensors)
    for key, value in found.tensors.items():
        assert value.dtype == theirs[key].dtype == ours.tensors[key].dtype
        assert value.tobytes() == theirs[key].tobytes() == ours.tensors[key].tobytes(), key
    assert (ours.family, ours.config) == (found.family, found.config)
    assert written == found.meta["id"] == ours.meta["id"]
    assert ours.meta["sources"] == found.meta["sources"]


def test_nothing_heavy_and_nothing_named_by_the_file_is_imported(fixtures: Path) -> None:
    """design.md 3: the reader imports no torch, and no module that a file names."""
    import subprocess

    code = (
        "import sys; from pathlib import Path; from gantools.io import foreign\n"
        "foreign.read(Path(sys.argv[1]))\n"
        "bad = {'torch', 'dnnlib', 'torch_utils', 'pickle'} & set(sys.modules)\n"
        "print(sorted(bad - set(sys.argv[2:])))"
    )
    # numpy itself imports pickle.
    run = [sys.executable, "-c", code, str(fixtures / "sg3t_r32.pkl"), "pickle"]
    root = Path(__file__).parent.parent
    assert (
        subprocess.run(run, capture_output=True, text=True, cwd=root, check=True).stdout == "[]\n"
    )


@pytest.mark.parametrize("text", [False, True], ids=["protocol2", "protocol0"])
@pytest.mark.parametrize("name", ["sg2_tf_v4_skip.pkl", "sg2_tf_v4_configD_revised.pkl"])
def test_files_of_python_2(name: str, text: bool, fixtures: Path, tmp_path: Path) -> None:
    """formats.md 2b: Python 2's protocols keep weights in str; the numbers are the same."""
    path = fixtures / name
    data = memoryview(path.read_bytes())
    value, _ = pickles.load(data, Budget.of(len(data)))
    (tmp_path / "old.pkl").write_bytes(python2(value, text=text))
    old, new = foreign.read(tmp_path / "old.pkl"), foreign.read(path)
    assert old.config == new.config
    assert old.meta["id"] == new.meta["id"]


def _tensors(found: network.Checkpoint, part: str) -> dict[str, torch.Tensor]:
    return {n: torch.from_numpy(t.copy()) for n, t in found.part(part).items()}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_projected_gan_file_with_inert_records(
    protocol: int, fixtures: Path, tmp_path: Path
) -> None:
    """formats.md 2a: D is a plain module full of unknown classes, written by dill; G_ema loads.

    The stream is made by this test, in the form of projected-gan's and StyleGAN-XL's files.
    """
    tensors = _tensors(foreign.read(fixtures / "sg2ada_pt_r16_era.pkl"), "g_ema")
    names = [
        PERSISTENT,
        ("pg_modules.discriminator", "ProjectedDiscriminator"),
        ("timm.models.efficientnet", "EfficientNet"),
        ("dill._dill", "_create_function"),
        ("dill._dill", "_load_type"),
    ]
    with pretended(*names) as (rebuild, critic, backbone, function, load_type):
        d, net = critic(), backbone()
        net.__dict__ |= {"_modules": {}, "_parameters": {"weight": torch.ones(3)}, "_buffers": {}}
        d.__dict__ |= {"_modules": {"feature_network": net}, "_parameters": {}, "_buffers": {}}
        d.__dict__["forward"] = Called(function, b"code", {"os": Called(load_type, "module")})
        g = nvidia(rebuild, tensors, stylegan2_attributes(tensors, 256))
        file = {"training_set_kwargs": {"path": "C:\\data\\pokemon.zip"}, "D": d, "G_ema": g}
        file["progress"] = {"cur_nimg": torch.tensor(4_000_000), "cur_tick": 3}
        (tmp_path / "pg.pkl").write_bytes(dumped(file, protocol))
    found = foreign.read(tmp_path / "pg.pkl")
    assert found.config["d"] is None
    assert found.meta["left_out"] == ["D (ProjectedDiscriminator)"]
    assert (found.meta["trained_on"], found.meta["images_shown"]) == ("pokemon.zip", 4_000_000)
    assert found.meta["id"] == foreign.read(fixtures / "sg2ada_pt_r16_era.pkl").meta["id"]


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("c_dim", [0, 5])
def test_every_architecture_from_our_own_networks(
    architecture: Any, c_dim: int, tmp_path: Path
) -> None:
    """formats.md 2a: the stream is made by this test from our networks; all comes back."""
    from gantools.networks.stylegan2 import Generator
    from gantools.networks.stylegan2_config import GeneratorConfig
    from gantools.networks.stylegan2_discriminator import Discriminator, DiscriminatorConfig

    g_cfg = GeneratorConfig(
        16, (12, 8, 4), z_dim=6, w_dim=10, c_dim=c_dim, img_channels=1, mapping_layers=3,
        mapping_lr_mult=0.02, architecture=architecture, conv_clamp=64.0,
    )  # fmt: skip
    d_cfg = DiscriminatorConfig(
        16, (12, 8, 4), c_dim=c_dim, img_channels=1, architecture=architecture, mapping_layers=2,
        mapping_lr_mult=0.1 if c_dim else 0.01, cmap_dim=7 if c_dim else 0, mbstd_features=2,
    )  # fmt: skip
    if not c_dim:
        d_cfg = DiscriminatorConfig.from_dict({**d_cfg.to_dict(), "mapping_layers": 8})
    g, d = dict(Generator(g_cfg).state_dict()), dict(Discriminator(d_cfg).state_dict())
    flags = stylegan2_attributes(g, 64)
    flags["mapping.fc0"]["bias_gain"] = 0.02
    with pretended(PERSISTENT) as (rebuild,):
        file = {
            "G_ema": nvidia(rebuild, g, flags),
            "D": nvidia(rebuild, d, {"mapping.fc0": {"bias_gain": 0.1}}, "Discriminator"),
        }
        (tmp_path / "x.pkl").write_bytes(dumped(file))
    found = foreign.read(tmp_path / "x.pkl")
    assert GeneratorConfig.from_dict(found.config["g"]) == g_cfg
    assert DiscriminatorConfig.from_dict(found.config["d"]) == d_cfg
    for part, state in (("g_ema", g), ("d", d)):
        tensors = found.part(part)
        assert set(tensors) == set(state)
        assert all(np.array_equal(tensors[n], t.numpy()) for n, t in state.items())


def test_stylegan3_r_file(tmp_path: Path) -> None:
    """formats.md 2a: SG3-R has 1x1 convolutions and radial filters. The stream is made by this
    test from our own generator."""
    from gantools.networks import stylegan3

    cfg = stylegan3.GeneratorConfig(
        resolution=16, z_dim=8, w_dim=8, c_dim=3, conv_kernel=1, use_radial_filters=True,
        channel_base=256, channel_max=8, num_layers=6, conv_clamp=128.0,
    )  # fmt: skip
    tensors = dict(stylegan3.Generator(cfg).state_dict())
    own = {"img_resolution": 16, "z_dim": 8, "w_dim": 8, "c_dim": 3, "img_channels": 3}
    flags: dict[str, Any] = {"": own, "mapping": {"num_layers": 2}}
    flags["synthesis"] = {"num_layers": 6, "num_critical": 2, "margin_size": np.int64(10)}
    flags["synthesis"]["_init_kwargs"] = {"channel_base": 256, "channel_max": 8}
    for spec in stylegan3.plan(cfg):
        flags[f"synthesis.{spec.name}"] = {
            "is_torgb": spec.rgb,
            "conv_kernel": 1,
            "conv_clamp": 128,
            "down_radial": not spec.critical,
        }
    with pretended(PERSISTENT) as (rebuild,):
        (tmp_path / "r.pkl").write_bytes(dumped({"G_ema": nvidia(rebuild, tensors, flags)}))
    found = foreign.read(tmp_path / "r.pkl")
    assert stylegan3.GeneratorConfig.from_dict(found.config["g"]) == cfg
    assert {n: t.tobytes() for n, t in found.part("g_ema").items()} == {
        n: t.numpy().tobytes() for n, t in tensors.items()
    }


@pytest.mark.parametrize("kind", [torch.float16, torch.float64, torch.bfloat16])
def test_other_element_types(kind: torch.dtype, fixtures: Path, tmp_path: Path) -> None:
    """float16 and float64 are kept, bfloat16 is widened without loss."""
    raw = torch.load(fixtures / "rosinality_converted.pt", weights_only=True)
    raw["g_ema"] = {n: t.to(kind) for n, t in raw["g_ema"].items()}
    torch.save(raw, tmp_path / "x.pt")
    value = foreign.read(tmp_path / "x.pt").tensors["g_ema.synthesis.b4.const"]
    wanted = raw["g_ema"]["input.input"][0]
    wanted = wanted.float() if kind == torch.bfloat16 else wanted
    assert value.dtype == wanted.numpy().dtype
    assert np.array_equal(value, wanted.numpy())


def test_strided_views_of_one_storage(fixtures: Path, tmp_path: Path) -> None:
    """Tensors that share a storage, transposed and offset, come out as torch sees them."""
    raw = torch.load(fixtures / "rosinality_converted.pt", weights_only=True)
    base = torch.randn(3, 32, 32)
    raw["g_ema"]["style.1.weight"] = base[1].T
    raw["g_ema"]["style.2.weight"] = base[2, :, :].flip(0).contiguous()[::1]
    raw["g_ema"]["style.3.weight"] = base.permute(2, 0, 1)[:, 1]
    for zipped in (True, False):
        torch.save(raw, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        tensors = foreign.read(tmp_path / "x.pt").tensors
        for i in (1, 2, 3):
            wanted = raw["g_ema"][f"style.{i}.weight"].numpy()
            assert np.array_equal(tensors[f"g_ema.mapping.fc{i - 1}.weight"], wanted)


def test_one_module_alone_in_a_torch_file(fixtures: Path, tmp_path: Path) -> None:
    """torch.save(G): a tuned generator as pivotal tuning's own code leaves it."""
    wanted = foreign.read(fixtures / "sg2ada_pt_r32_skip.pkl")
    tensors = _tensors(wanted, "g_ema")
    with pretended(PERSISTENT) as (rebuild,):
        torch.save(nvidia(rebuild, tensors, stylegan2_attributes(tensors, None)), tmp_path / "g.pt")
    assert foreign.read(tmp_path / "g.pt").meta["id"] == wanted.meta["id"]


def test_growing_tensorflow_file_is_refused(fixtures: Path, tmp_path: Path) -> None:
    """S1.7: a network saved between two resolutions has another picture than its weights say."""
    data = (fixtures / "sg2_tf_v4_configD_revised.pkl").read_bytes()
    value, _ = pickles.load(memoryview(data), Budget.of(len(data)))
    for net in value:
        variables = (
            dict(net.state["components"]["synthesis"].state["variables"])
            if (net.state["components"])
            else dict(net.state["variables"])
        )
        variables["lod"].args = (variables["lod"].args[0], np.float32(1.5).tobytes())
    (tmp_path / "x.pkl").write_bytes(python2(value, text=False))
    with pytest.raises(Usage, match=r"still growing \(lod 1\.5"):
        foreign.read(tmp_path / "x.pkl")


def test_missing_and_unknown_tensors_are_named(fixtures: Path, tmp_path: Path) -> None:
    """A file that lacks a layer, or has one that we do not know, is no network of ours."""
    raw = torch.load(fixtures / "rosinality_converted.pt", weights_only=True)
    lacking = {**raw, "g_ema": {n: t for n, t in raw["g_ema"].items() if n != "to_rgb1.bias"}}
    torch.save(lacking, tmp_path / "a.pt")
    with pytest.raises(Usage, match=r"a\.pt: g_ema lacks the tensor synthesis\.b4\.torgb\.bias"):
        foreign.read(tmp_path / "a.pt")
    torch.save({**raw, "g_ema": {**raw["g_ema"], "extra.weight": torch.ones(2)}}, tmp_path / "b.pt")
    with pytest.raises(Usage, match=r"extra\.weight"):
        foreign.read(tmp_path / "b.pt")


def test_resampling_filter_is_read_back() -> None:
    """(1,3,3,1) and others from the normalised outer product that layers store."""
    for wanted in ([1, 3, 3, 1], [1, 2, 1], [1, 4, 6, 4, 1], [1, 1]):
        row = np.array(wanted, np.float32)
        assert stylegan2.taps(np.outer(row, row) / np.sum(np.outer(row, row))) == wanted


def test_estimated_mean_does_not_depend_on_pieces() -> None:
    """The 4096 z are RandomState(0)'s own, however they are drawn."""
    random = np.random.RandomState(3)
    cfg = {"z_dim": 4, "w_dim": 6, "c_dim": 0, "mapping_layers": 1, "mapping_lr_mult": 1.0}
    weight = random.randn(6, 4).astype(np.float32)
    tensors = {"mapping.fc0.weight": weight, "mapping.fc0.bias": np.zeros(6, np.float32)}
    z = np.random.RandomState(0).randn(4096, 4)
    z /= np.sqrt((z**2).mean(1, keepdims=True))
    y = z @ weight.T / 2
    wanted = (np.where(y < 0, y * 0.2, y) * np.sqrt(2)).mean(0)
    assert np.allclose(stylegan2.estimated_w_avg(tensors, cfg), wanted, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_give_a_network_or_one_line(
    name: str, fixtures: Path, tmp_path: Path
) -> None:
    """Issue 1: cuts, changed bytes, removed and doubled pieces never give anything else."""
    random = np.random.default_rng(NAMES.index(name))
    whole = (fixtures / name).read_bytes()
    path = tmp_path / "x.bin"
    outcomes = set()
    for i in range(30):
        path.write_bytes(_mutated(whole, i % 4, random))
        try:
            outcomes.add(network.load(path).family)
        except Usage as why:
            outcomes.add("refused")
            assert "\n" not in str(why)
    assert "refused" in outcomes


def _mutated(whole: bytes, way: int, random: np.random.Generator) -> bytes:
    data = bytearray(whole)
    at, other = random.integers(len(data), size=2)
    count = int(random.integers(1, 60))
    if way == 0:
        del data[at:]
    elif way == 1:
        for i in random.integers(len(data), size=8):
            data[i] = random.integers(256)
    elif way == 2:
        del data[at : at + count]
    else:
        data[at:at] = data[other : other + count]
    return bytes(data)


def test_our_own_files_mutated(fixtures: Path, tmp_path: Path) -> None:
    """The same for safetensors: headers are where the danger is."""
    network.save(tmp_path / "y.safetensors", foreign.read(fixtures / "sg2ada_pt_r16_era.pkl"))
    whole = (tmp_path / "y.safetensors").read_bytes()
    random = np.random.default_rng(1)
    for i in range(200):
        head = 8 + int.from_bytes(whole[:8], "little")
        data = bytearray(whole)
        for at in random.integers(head if i % 2 else 40, size=1 + i % 3):
            data[at] = random.integers(32, 127)
        (tmp_path / "x.safetensors").write_bytes(data)
        try:
            network.load(tmp_path / "x.safetensors")
        except Usage as why:
            assert "\n" not in str(why)


def test_safetensors_writer_is_deterministic_and_aligned(tmp_path: Path) -> None:
    """Wide elements first; scalars, empty, strided and big-endian arrays as they are."""
    tensors = {
        "b": np.float32(3.5).reshape(()),
        "a": np.arange(12, dtype=np.float64).reshape(3, 4).T,
        "half": np.ones((3,), np.float16),
        "none": np.zeros((0, 4), np.float32),
        "big": np.arange(5, dtype=">i4"),
        "flag": np.array([True, False]),
    }
    tensorfile.write(tmp_path / "a", tensors, {"k": 1})
    tensorfile.write(tmp_path / "b", dict(reversed(tensors.items())), {"k": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    theirs = load_file(tmp_path / "a")
    story, ours = tensorfile.read(tmp_path / "a")
    assert story == {"k": 1}
    for name, value in tensors.items():
        assert np.array_equal(theirs[name], value)
        assert np.array_equal(ours[name], value)
        assert ours[name].flags.aligned


def test_bfloat16_safetensors_are_widened(tmp_path: Path) -> None:
    """Files that others wrote in bfloat16."""
    from safetensors.torch import save_file

    value = torch.randn(5, 3).to(torch.bfloat16)
    save_file({"x": value}, tmp_path / "x.safetensors")
    _, found = tensorfile.read(tmp_path / "x.safetensors")
    assert np.array_equal(found["x"], value.float().numpy())
