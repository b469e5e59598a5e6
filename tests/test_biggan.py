"""BigGAN and BigGAN-deep against their own code, and the forms of both: formats.md 2d, S4.1."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from gantools.networks import biggan, biggan_discriminator, network
from gantools.networks.attention import SelfAttention
from gantools.networks.batch_norm import Moments
from gantools.networks.biggan import GeneratorConfig, generator_config
from gantools.networks.biggan_blocks import initial
from gantools.networks.biggan_discriminator import DiscriminatorConfig, discriminator_config
from gantools.networks.biggan_statistics import between, row_at, rows_at
from gantools.networks.network import Network, open_network
from gantools.networks.spectral_norm import Dense, SpectralNorm
from gantools.report import Usage

TRUNCATIONS = (400, 405, 500, 580, 1000)  # thousandths


def expected(fixtures: Path, name: str) -> dict[str, Tensor]:
    arrays = load_file(fixtures / f"{name}.expected.safetensors")
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def close(found: Tensor, wanted: Tensor, atol: float) -> None:
    np.testing.assert_allclose(found.detach(), wanted, rtol=1e-4, atol=atol)


@pytest.fixture(scope="module")
def ajbrock(fixtures: Path) -> Network:
    return open_network(str(fixtures / "ajbrock_biggan_r32"), discriminator=True)


@pytest.fixture(scope="module")
def hugging(fixtures: Path) -> Network:
    return open_network(str(fixtures / "hf_biggan_r32"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


# Parity with the originals.


def test_ajbrocks_generator_2d(ajbrock: Network, fixtures: Path) -> None:
    """G_ema and G, of class numbers, of their embedding and of a mix of embeddings."""
    wanted = expected(fixtures, "ajbrock_biggan_r32")
    z, label = wanted["z"], torch.eye(7)[wanted["y"]]
    with torch.no_grad():
        close(ajbrock.g.embedded(label), wanted["y_embed"], 0)
        close(ajbrock.g(z, label), wanted["image"], 6e-5)
        close(ajbrock.g(z, wanted["y_embed"]), wanted["image"], 6e-5)
        close(ajbrock.g(z[:1], wanted["y_embed_mix"]), wanted["image_mix"], 6e-5)
    ckpt = network.files.load(fixtures / "ajbrock_biggan_r32")
    g = network.generator("biggan", ckpt.config["g"], ckpt.part("g")).eval()
    close(g(z, label), wanted["G_image"], 6e-5)
    assert torch.equal(g(z, label)[1:2], g(z, label)[1:2])


def test_ajbrocks_discriminator_2d(ajbrock: Network, fixtures: Path) -> None:
    wanted = expected(fixtures, "ajbrock_biggan_r32")
    assert ajbrock.d is not None
    logits = ajbrock.d(wanted["image_in"], torch.eye(7)[wanted["d_y"]])
    close(logits, wanted["logits"], 6e-5)


@pytest.mark.parametrize("t", TRUNCATIONS)
def test_huggingfaces_generator_2d(hugging: Network, fixtures: Path, t: int) -> None:
    """Statistics of the right rows, and with the switch those that the peer takes."""
    wanted = expected(fixtures, "hf_biggan_r32")
    z, label = wanted[f"z_t{t:04d}"] / (t / 1000), wanted["class_onehot"]
    right = wanted.get(f"image_t{t:04d}_lerp", wanted[f"image_t{t:04d}_hf"])
    peer = biggan.Generator(replace(hugging.g.cfg, peer_rows=True)).eval()
    peer.load_state_dict(hugging.g.state_dict())
    with torch.no_grad():
        close(hugging.g(z, label, psi=t / 1000), right, 5e-5)
        close(peer(z, label, psi=t / 1000), wanted[f"image_t{t:04d}_hf"], 5e-5)
        each = hugging.g(z, label, psi=[t / 1000, 0.5])
        assert torch.equal(each[0], hugging.g(z[:1], label[:1], psi=t / 1000)[0])


def test_alone_or_in_a_batch_to_the_bit_2d(hugging: Network, ajbrock: Network) -> None:
    for net in (hugging, ajbrock):
        cfg = net.g.cfg
        z, label = torch.randn(3, cfg.z_dim), torch.eye(cfg.c_dim)[:3]
        with torch.no_grad():
            both = net.g(z, label, psi=0.5)
            assert torch.equal(both[1:2], net.g(z[1:2], label[1:2], psi=0.5))
        # All at once, as on a GPU or with gradients: the same but for rounding.
        close(net.g(z.requires_grad_(), label, psi=0.5), both, 1e-4)


# Which statistics: rows of a table by truncation.


def test_rows_by_truncation_2d() -> None:
    """51 rows for 0, 0.02, …, 1; what is a row but for rounding is that row."""
    assert [row_at(i / 50, 51) for i in range(51)] == [(i, i, 0.0) for i in range(51)]
    first, second, share = row_at(0.405, 51)
    assert (first, second) == (20, 21)
    assert share == pytest.approx(0.25)
    assert row_at(0.58, 51, peer=True)[0] == 28  # 0.58 / 0.02 = 28.999999999999996
    assert row_at(0.405, 51, peer=True)[2] == pytest.approx(0.75)
    assert row_at(1, 51, peer=True) == (50, 50, 0.0)
    for psi in (-0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="0 to 1"):
            row_at(psi, 51)


def test_between_rows_2d() -> None:
    table = torch.tensor([[0.0, 1.0], [10.0, 3.0], [30.0, 5.0]])
    rows = rows_at([0, 0.25, 0.5, 0.9, 1], 3, torch.device("cpu"))
    wanted = torch.tensor([[0.0, 1.0], [5, 2], [10, 3], [26, 4.6], [30, 5]])
    torch.testing.assert_close(between(table, rows), wanted)
    assert rows_at([0.3], 1, torch.device("cpu")) is None


# How large the published ones are (on no device: shapes alone).


@pytest.mark.parametrize(("resolution", "millions"), [(128, 50.4), (256, 55.9), (512, 56.2)])
def test_parameters_of_the_deep_ones_2d(resolution: int, millions: float) -> None:
    """Of huggingface's three files, with the 125 channels of the last layer that none sees."""
    with torch.device("meta"):
        config = generator_config(resolution, ch=128, deep=True, c_dim=1000, n_stats=51)
        g = biggan.Generator(config)
    assert sum(p.numel() for p in g.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert config.attention == (8,)  # as attention_layer_position


PAPER: list[tuple[dict[str, Any], dict[str, Any], float]] = [
    ({"ch": 64}, {"hier": False, "embed_dim": 0, "z_dim": 128}, 81.5),
    ({"ch": 96}, {"hier": False, "embed_dim": 0, "z_dim": 128}, 173.5),
    ({"ch": 96}, {"hier": False, "z_dim": 128}, 160.6),
    ({"ch": 96}, {}, 158.3),
]


@pytest.mark.parametrize(("unit", "less", "millions"), PAPER)
def test_parameters_of_the_papers_table_1(
    unit: dict[str, Any], less: dict[str, Any], millions: float
) -> None:
    """G and D together at 128 pixels: channels 64 and 96, then shared embedding, then chunks."""
    with torch.device("meta"):
        config = generator_config(128, c_dim=1000, **unit)
        pair: tuple[nn.Module, ...] = (
            biggan.Generator(replace(config, **less)),
            biggan_discriminator.Discriminator(discriminator_config(128, c_dim=1000, **unit)),
        )
    found = sum(p.numel() for net in pair for p in net.parameters()) / 1e6
    assert found == pytest.approx(millions, abs=0.2)
    if not less:
        assert config.z_dim == 120
        assert config.condition == 148


# Parts.


def test_spectral_norm_of_columns_is_one_power_iteration_2d() -> None:
    """σ = ‖W v‖ with v = Wᵀu, normalised: what the original makes of its stored u."""
    weight, u = torch.randn(5, 7, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    v = weight.t() @ u
    norm = SpectralNorm(7, columns=True).double().eval()
    norm.u.copy_(v / v.norm())
    after = weight @ norm.u
    wanted = (after / after.norm()) @ weight @ norm.u
    torch.testing.assert_close(norm.sigma(weight), wanted)
    norm.train()
    for _ in range(3000):
        norm(weight)
    torch.testing.assert_close(norm.eval().sigma(weight), torch.linalg.svdvals(weight)[0])


def test_attention_by_loops_2d() -> None:
    """Cell by cell, in numbers; and nothing at all while gamma is 0."""
    layer = SelfAttention(8).eval()
    x = torch.randn(1, 8, 4, 2)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    theta, phi, g = layer.theta(x)[0], layer.phi(x)[0], layer.g(x)[0]
    pooled = {}
    for name, part in (("phi", phi), ("g", g)):
        pooled[name] = torch.stack(
            [part[:, i : i + 2, 0:2].flatten(1).max(dim=1).values for i in (0, 2)], dim=1
        )  # [C, 2]
    wanted = torch.empty(1, 4, 4, 2)
    for i in range(4):
        for j in range(2):
            share = torch.softmax(theta[:, i, j] @ pooled["phi"], dim=0)
            wanted[0, :, i, j] = pooled["g"] @ share
    torch.testing.assert_close(layer(x), x + 0.7 * layer.o(wanted))


def tiny(**changes: Any) -> GeneratorConfig:
    """16 pixels, two doublings."""
    base = GeneratorConfig(16, (16, 16, 8), (0, 1), (1,), z_dim=9, c_dim=3, embed_dim=4)
    return replace(base, **changes)


KINDS: dict[str, dict[str, Any]] = {
    "chunks": {},
    "not hierarchical": {"hier": False},
    "labels alone": {"hier": False, "embed_dim": 0},
    "no classes": {"c_dim": 0, "embed_dim": 0},
    "deep": {"deep": True, "widths": (16, 16, 16, 16, 8), "doubles": (1, 3), "attention": (2,)},
    "multiplied out": {"spectral_norm": False},
    "rows": {"n_stats": 3},
    "rgba": {"img_channels": 4, "last": 5},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_file_holds_rebuilds_it_2d(kind: str) -> None:
    """Configuration and tensors, through JSON; and pictures of the size that it says."""
    cfg = tiny(**KINDS[kind])
    g = biggan.Generator(cfg).eval()
    for module in g.modules():
        if isinstance(module, Moments):
            nn.init.uniform_(module.mean)
            nn.init.uniform_(module.var, 0.5, 2)
    again = biggan.Generator(GeneratorConfig.from_dict(json.loads(json.dumps(cfg.to_dict()))))
    network.fill(again, network.numbers(g))
    z, label = torch.randn(2, cfg.z_dim), torch.eye(3)[:2] if cfg.c_dim else None
    images = g(z, label, psi=0.5)
    assert torch.equal(images, again.eval()(z, label, psi=0.5))
    assert images.shape == (2, cfg.img_channels, 16, 16)
    assert images.abs().max() <= 1
    if cfg.n_stats == 1:
        torch.testing.assert_close(images, g(0.5 * z, label))
    else:
        assert not torch.allclose(images, g(0.5 * z, label))
        with pytest.raises(ValueError, match="not trained"):
            again.train()(z, label)


def test_what_blocks_read_2d() -> None:
    """Chunks: the first to the first layer, one to each block. Deep: all of z to all."""
    g = biggan.Generator(tiny()).eval()
    z, label = torch.randn(1, 9), torch.eye(3)[:1]
    first, blocks = g._conditions(z, g.embedded(label))
    assert torch.equal(first, z[:, :3])
    y = g.shared(label)
    assert torch.equal(blocks[1], torch.cat([y, z[:, 6:]], 1))
    deep = biggan.Generator(tiny(**KINDS["deep"]))
    first, blocks = deep._conditions(z, deep.embedded(label))
    assert torch.equal(first, torch.cat([z, deep.shared(label)], 1))
    assert len(blocks) == 4
    # Classes mix linearly: half of each label is half of each embedding.
    half = torch.tensor([[0.5, 0.5, 0.0]])
    mean = (g.shared.weight[:, 0] + g.shared.weight[:, 1])[None] / 2
    torch.testing.assert_close(g(z, half), g(z, mean))
    with pytest.raises(ValueError, match="label"):
        g(z)


@pytest.mark.parametrize(
    "wrong",
    [
        {"z_dim": 10}, {"resolution": 32}, {"last": 2}, {"hier": False, "c_dim": 0},
        {"deep": True, "hier": False}, {"img_channels": 0},
    ],
)  # fmt: skip
def test_impossible_configurations_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"BigGAN|chunks|pictures"):
        tiny(**wrong)


@pytest.mark.parametrize("deep", [False, True])
def test_a_step_of_training_uses_every_weight_2d(deep: bool) -> None:
    """Hinge losses of both players reach every parameter; sizes are those of the picture."""
    g = biggan.Generator(tiny(**KINDS["deep"]) if deep else tiny())
    d_config = DiscriminatorConfig(16, (8, 16), (0, 1), (1,), stem=8 if deep else 0, c_dim=3)
    d = biggan_discriminator.Discriminator(d_config)
    for net in (g, d):
        initial(net)
        for module in net.modules():
            if isinstance(module, SelfAttention):
                nn.init.constant_(module.gamma, 0.5)
    label = torch.eye(3)[[0, 1, 2, 0]]
    fake, real = g(torch.randn(4, 9), label), torch.rand(4, 3, 16, 16)
    assert [x.shape[2] for x in d.features(real)] == [8, 4]
    loss = (1 - d(real, label)).relu().mean() + (1 + d(fake, label)).relu().mean()
    (loss - 2 * d(fake, label).mean()).backward()
    unused = [
        name
        for net in (g, d)
        for name, p in net.named_parameters()
        if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    ]
    # A batch norm takes a constant shift away again, and a bias before it is one.
    assert all(re.fullmatch(r"blocks\.\d\.conv[0-2]\.bias", name) for name in unused), unused


def test_orthogonal_weights() -> None:
    layer = Dense(4, 6)
    initial(layer)
    torch.testing.assert_close(layer.weight.t() @ layer.weight, torch.eye(4), atol=1e-6, rtol=0)


def test_wide_or_not_and_projection_2d() -> None:
    for wide in (True, False):
        config = DiscriminatorConfig(16, (8, 16), (0, 1), wide=wide, c_dim=3)
        d = biggan_discriminator.Discriminator(config).eval()
        assert d.blocks[1].conv0.weight.shape[0] == (16 if wide else 8)
        images, label = torch.rand(2, 3, 16, 16), torch.eye(3)[:2]
        features = d.features(images)[-1].relu().sum(dim=(2, 3))
        wanted = d.out(features) + (features * d.embed(label)).sum(dim=1, keepdim=True)
        torch.testing.assert_close(d(images, label), wanted)


def test_resolutions_without_an_architecture() -> None:
    with pytest.raises(Usage, match="16 pixels"):
        generator_config(16)
    with pytest.raises(Usage, match="16 pixels"):
        discriminator_config(16)
    with pytest.raises(Usage, match="BigGAN-deep"):
        discriminator_config(512, deep=True)
