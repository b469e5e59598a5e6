"""The residual encoders of paper 004: rows S4.8, S4.9 and S4.10."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gantools.inversion import encoder_files
from gantools.inversion.dse import DseConfig, DseEncoder
from gantools.inversion.dse_blocks import Dense, rates
from gantools.io import encoder as files
from gantools.networks import biggan, pggan, stylegan2, stylegan2_config
from gantools.networks.network import Network
from gantools.report import Usage

RENAMED = {
    "FromRGB.from_rgb": "from_rgb",
    "decode_block": "blocks",
    "inver_mod": "style",
    "conv_3": "short",
    "conv_1": "conv1",
    "conv_2": "conv2",
    "noise_weight_1": "finish1.noise",
    "bias_1": "finish1.bias",
    "noise_weight_2": "finish2.noise",
    "bias_2": "finish2.bias",
}


def ours(name: str) -> str:
    """Our name of the reference's tensor."""
    for theirs, own in RENAMED.items():
        name = name.replace(theirs, own)
    return name


@pytest.mark.parametrize(
    ("fixture", "config"),
    [
        ("dse_encoder_E", DseConfig((32, 32), 3, (4, 4), 4, 16, 8, 512)),
        (
            "dse_encoder_E_Blur",
            DseConfig((64, 64), 3, (4, 4), 4, 8, 10, 512, blur=True, fused=4),
        ),
    ],
)
def test_s4_8_fixture(fixtures: Path, fixture: str, config: DseConfig) -> None:
    """E and E_Blur with the reference's weights, with its noise and without."""
    folder = fixtures / "numerics"
    told = json.loads((folder / f"{fixture}.json").read_text())
    tensors = load_file(folder / f"{fixture}.safetensors")
    encoder = DseEncoder(config, {}).eval().requires_grad_(False)
    state = encoder.state_dict()
    for name, value in tensors.items():
        if name.startswith("weight.") and (key := ours(name.removeprefix("weight."))) in state:
            state[key] = value.float().reshape(state[key].shape)
    encoder.load_state_dict(state)
    used = {ours(n.removeprefix("weight.")) for n in tensors if n.startswith("weight.")}
    assert set(state) <= used
    last = f"blocks.{config.halvings}.finish2"
    assert used - set(state) == {f"{last}.noise", f"{last}.bias"}  # the reference never uses them
    drawn = iter(tensors[f"noise_{i:02d}"] for i in range(told["values"]["n_noise"]))
    noise = [[next(drawn) for _ in shapes] for shapes in encoder.noise_shapes()]
    images = tensors["images_u8"].float() / 127.5 - 1
    tolerance = {"atol": told["tolerance"]["atol"], "rtol": told["tolerance"]["rtol"]}
    for suffix, maps in {"": noise, "_no_noise": None}.items():
        made = encoder(images, noise=maps)
        torch.testing.assert_close(made.w, tensors["w" + suffix], **tolerance)
        torch.testing.assert_close(made.features, tensors["const_out" + suffix], **tolerance)


@pytest.mark.parametrize(("side", "used"), [(1024, 24277184), (512, 24235904), (256, 24139520)])
def test_s4_8_parameters(side: int, used: int) -> None:
    """As derived in the row; the channels at the picture's size are 16, 32 and 64."""
    count = side.bit_length() - 2
    with torch.device("meta"):
        g = stylegan2.Generator(stylegan2_config.GeneratorConfig(side, (512,) * count))
        network = Network("n", "a" * 64, "stylegan2", g, None)
        config = DseConfig.of(network)
        encoder = DseEncoder(config, {})
    assert config.start == 16384 // side
    assert (config.num_ws, len(encoder.blocks)) == (2 * count, count)
    assert sum(p.numel() for p in encoder.parameters()) == used


def small(resolution: int = 32) -> Network:
    """An untrained StyleGAN2 of 8 channels."""
    cfg = stylegan2_config.GeneratorConfig(resolution, (8,) * (resolution.bit_length() - 2), 8, 8)
    return Network("n", "a" * 64, "stylegan2", stylegan2.Generator(cfg).eval(), None)


def test_s4_8_the_coarsest_styles_stand_in_front() -> None:
    """What only the last block sees changes rows 0 and 1 alone; a toy of 32 pixels has 8 rows."""
    torch.manual_seed(0)
    encoder = DseEncoder(DseConfig.of(small()), {}).eval().requires_grad_(False)
    images = torch.randn(2, 3, 32, 32)
    before = encoder(images).w
    assert before is not None and before.shape == (2, 8, 8)
    handle = encoder.blocks[-1].register_forward_pre_hook(
        lambda module, args: (args[0] * 2 + torch.randn_like(args[0]), *args[1:])
    )
    after = encoder(images).w
    handle.remove()
    assert after is not None
    changed = (after - before).abs().amax((0, 2)) > 0
    assert changed.tolist() == [True] * 2 + [False] * 6


def test_s4_8_no_chance_without_noise_maps() -> None:
    """Twice the same picture, and whatever stands beside it: the same latents."""
    encoder = DseEncoder(DseConfig.of(small()), {}).eval()
    images = torch.randn(3, 3, 32, 32)
    first = encoder.latents(["a", "b", "c"], images)
    again = encoder.latents(["c"], images[2:])[0]
    np.testing.assert_allclose(first[2].tensors["w"], again.tensors["w"], rtol=1e-4, atol=1e-5)
    assert first[2].space == "w+" and first[2].header["network"] == {}


def test_a_constant_picture_has_finite_gradients() -> None:
    """Every channel is constant, and its deviation 0."""
    encoder = DseEncoder(DseConfig.of(small(16)), {})
    images = torch.zeros(1, 3, 16, 16, requires_grad=True)
    encoder(images).w.sum().backward()
    assert images.grad is not None and images.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


def test_s4_9_pggan_has_one_fully_connected_layer_of_8192() -> None:
    """512·4·4 -> 512, no styles; what the published file lacks, a gradient, reaches it."""
    with torch.device("meta"):
        g = pggan.Generator(pggan.GeneratorConfig(128, (512,) * 6))
        config = DseConfig.of(Network("p", "b" * 64, "pggan", g, None))
        assert DseEncoder(config, {}).to_z.weight.shape == (512, 8192)
    g = pggan.Generator(pggan.GeneratorConfig(16, (8, 8, 4), z_dim=8))
    network = Network("p", "b" * 64, "pggan", g, None)
    encoder = DseEncoder(DseConfig.of(network), network.story())
    made = encoder(torch.randn(2, 3, 16, 16))
    assert made.w is None and made.z is not None and made.z.shape == (2, 8)
    g(made.z).square().sum().backward()
    assert encoder.to_z.weight.grad is not None and encoder.to_z.weight.grad.abs().sum() > 0
    encoder.check(network)
    (latent,) = encoder.eval().latents(["a"], torch.randn(1, 3, 16, 16))
    network.check(latent)
    assert latent.space == "z"


def deep(side: int = 128) -> biggan.GeneratorConfig:
    """BigGAN-deep as huggingface's, with few channels."""
    return biggan.generator_config(side, ch=4, deep=True, c_dim=10, attention=0)


def test_s4_10_biggan_gives_256_and_128_numbers() -> None:
    """c' of 256, from 512·4·4, and z' of 128 from it; 128, 64 and 32 channels at the picture."""
    for side, start in {128: 128, 256: 64, 512: 32}.items():
        with torch.device("meta"):
            network = Network("b", "c" * 64, "biggan", biggan.Generator(deep(side)), None)
            encoder = DseEncoder(DseConfig.of(network, 512), {})
        assert encoder.config.start == start
        assert encoder.to_c.weight.shape == (256, 8192)
        assert encoder.to_z.weight.shape == (128, 256)


@pytest.mark.parametrize("cbn", ["batch", "affine"])
def test_s4_10_classes(cbn: str) -> None:
    """The class changes what is said; latents render with the psi that was learned from."""
    torch.manual_seed(0)
    cfg = biggan.generator_config(32, ch=4, c_dim=5, embed_dim=6, attention=0)
    network = Network("b", "c" * 64, "biggan", biggan.Generator(cfg).eval(), None)
    encoder = DseEncoder(DseConfig.of(network, 8, cbn=cbn, psi=0.4), network.story())  # type: ignore[arg-type]
    images, y = torch.randn(4, 3, 32, 32), torch.randn(4, 6)
    moved = encoder.blocks[0].norm1.mean
    encoder.train()(images, y)
    assert bool(moved.abs().sum()) == (cbn == "batch")  # as released: never updated
    encoder.eval()
    assert not torch.equal(encoder(images, y).z, encoder(images, -y).z)
    with pytest.raises(ValueError, match="needs the picture's"):
        encoder(images)
    latent = encoder.latents(["a"], images[:1], y[:1])[0]
    network.check(latent)
    assert (latent.space, latent.header["psi"]) == ("zy", 0.4)
    read = encoder(images[:1], y[:1]).z
    torch.testing.assert_close(0.4 * torch.from_numpy(latent.tensors["z"]), read[0].detach())


def test_s4_11_rates_are_the_deviations_of_the_weights() -> None:
    torch.manual_seed(0)
    encoder = DseEncoder(replace(DseConfig.of(small()), start=64, widest=64), {})
    found = rates(encoder)
    assert found["blocks.0.conv1.weight"] == pytest.approx((2 / (64 * 9)) ** 0.5)
    assert found["blocks.0.style1.weight"] == pytest.approx(128**-0.5)
    own = dict(encoder.named_parameters())
    weight = own["blocks.0.conv1.weight"]
    assert float(weight.detach().std()) == pytest.approx(found["blocks.0.conv1.weight"], rel=0.02)
    assert not [n for n in own if own[n].ndim > 1 and n not in found]
    assert isinstance(encoder.blocks[0].style1, Dense)


@pytest.mark.parametrize(
    ("change", "why"),
    [({"fnz": 1}, "starts from sampled features"), ({}, "is a sngan network")],
)
def test_networks_without_such_an_encoder(change: dict[str, int], why: str) -> None:
    cfg = stylegan2_config.GeneratorConfig(16, (8,) * 3, 8, 8, **change)
    family = "stylegan2" if change else "sngan"
    network = Network("n", "a" * 64, family, stylegan2.Generator(cfg), None)
    with pytest.raises(Usage, match=why):
        DseConfig.of(network)


def test_the_file_of_an_encoder(tmp_path: Path) -> None:
    """What is read says the same, to the bit; what is no such configuration is one line."""
    torch.manual_seed(0)
    network = small()
    encoder = DseEncoder(DseConfig.of(network, blur=True), network.story()).eval()
    path = tmp_path / "n.encoder.safetensors"
    files.write(path, encoder_files.to_file(encoder, {"steps": 3}))
    found = encoder_files.load(path)
    assert isinstance(found, DseEncoder) and found.config == encoder.config
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(found(images).w, encoder(images).w)
    found.check(network)
    own = {**network.meta, "id": network.id}
    assert files.kept_for(path, own, 1, "dse") == path
    assert files.kept_for(path, own, 5) is None  # an encoder of features is asked for
    whole = files.read(path)
    for change in ({"w_dim": 0}, {"num_ws": 3}, {"start": 0}, {"cbn": "x"}, {"size": [32, 9e9]}):
        files.write(path, replace(whole, config={**whole.config, **change}))
        with pytest.raises(Usage, match="not an encoder this version can build"):
            encoder_files.load(path)
