"""The FW+_i encoder and its file: papers.md S2.10."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from conftest import make_network

from gantools.inversion import encoder_backbones as backbones
from gantools.inversion import encoder_files
from gantools.inversion.encoder import Encoded, Encoder, EncoderConfig
from gantools.io import encoder as files
from gantools.io import network as networks
from gantools.io import tensorfile, weights
from gantools.networks.network import Network, open_network
from gantools.networks.stylegan2 import Generator
from gantools.networks.stylegan2_blocks import table
from gantools.networks.stylegan2_config import GeneratorConfig
from gantools.report import Usage


def network_of(resolution: int, channels: int = 8, **config: object) -> Network:
    """An untrained network of that size."""
    count = resolution.bit_length() - 2
    cfg = GeneratorConfig(resolution, (channels,) * count, z_dim=8, w_dim=8, **config)  # type: ignore[arg-type]
    return Network("test", "a" * 64, "stylegan2", Generator(cfg).eval(), None)


def encoder_of(network: Network, first: int, backbone: str = "small", width: int = 4) -> Encoder:
    """A fresh encoder whose heads are drawn, so that its outputs depend on the picture."""
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig.of(network, first, backbone, width), network.story())
    for head in (encoder.f, encoder.s, *([encoder.r] if encoder.config.r else [])):
        torch.nn.init.normal_(head.weight, std=0.1)
    return encoder.eval().requires_grad_(False)


@pytest.mark.parametrize("first", [1, 3, 5, 7])
@pytest.mark.parametrize(
    ("resolution", "backbone"), [(32, "small"), (64, "efficientnet-b0-scratch")]
)
def test_s2_10_gives_what_block_i_takes(resolution: int, backbone: str, first: int) -> None:
    network = network_of(resolution)
    encoded = encoder_of(network, first, backbone)(torch.randn(2, 3, resolution, resolution))
    row = table(network.g.cfg)[first - 1]
    assert encoded.f.shape == (2, *row.f)
    assert (encoded.r is None) == (row.r is None)
    if encoded.r is not None:
        assert encoded.r.shape == (2, *(row.r or ()))
    assert encoded.w.shape == (2, network.g.num_ws + 1 - first, 8)


def test_s2_10_of_256_pixels_efficientnet_has_the_papers_maps() -> None:
    net = backbones.EfficientNet().eval()
    with torch.no_grad():
        maps, vector = net(torch.zeros(1, 3, 256, 256))
    shapes = {tuple(x.shape[1:]) for x in maps.values()}
    assert shapes == {(16, 128, 128), (24, 64, 64), (40, 32, 32), (112, 16, 16), (320, 8, 8)}
    assert vector.shape == (1, 1280)


def test_s2_10_heads_at_1024_are_the_papers() -> None:
    """F: 112 -> C at 16x16, R: 320 -> 3 at 8x8, S: 1280 -> 14 styles, of a picture at a quarter."""
    network = network_of(1024, channels=4)
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig.of(network, 5, "efficientnet-b0-scratch"), {})
    assert (encoder.config.factor, encoder.f_stride, encoder.r_stride) == (4, 16, 32)
    assert encoder.f.weight.shape == (4, 112, 1, 1)
    assert encoder.r.weight.shape == (3, 320, 1, 1)
    assert encoder.s.weight.shape == (14 * 8, 1280)


@pytest.mark.parametrize(
    ("resolution", "factor"), [(64, 1), (128, 1), (256, 1), (512, 2), (1024, 4)]
)
def test_s2_10_pictures_are_reduced_by_resolution_over_256(resolution: int, factor: int) -> None:
    assert EncoderConfig.of(network_of(resolution, 1), 3, "small").factor == factor


@pytest.mark.parametrize("backbone", ["small", "efficientnet-b0-scratch"])
def test_s2_10_is_convolutional_on_pictures_that_are_not_square(backbone: str) -> None:
    """f and r follow the picture; in a wide one, a shift of it shifts them where all is seen."""
    encoder = encoder_of(network_of(32), 5, backbone)
    cell = encoder.config.cell
    wide = torch.randn(1, 3, 32 + cell, 64 + 3 * cell)
    encoded = encoder(wide)
    assert encoded.f.shape[2:] == (wide.shape[2] // 2, wide.shape[3] // 2)
    assert encoded.r is not None
    assert encoded.r.shape[2:] == (wide.shape[2] // 4, wide.shape[3] // 4)
    assert encoded.w.shape == (1, 4, 8)
    with pytest.raises(ValueError, match=f"multiples of {cell} pixels"):
        encoder(wide[:, :, :, 1:])


def test_s2_10_maps_of_a_shifted_picture_are_shifted() -> None:
    encoder = encoder_of(network_of(32), 7)
    shift = encoder.backbone.strides[-1]
    picture = torch.randn(1, 3, 32, 256)
    here, there = encoder(picture).f, encoder(picture.roll(shift, 3)).f
    cells = shift // int(encoder.f_stride)
    inner = slice(96, 160)  # far from both borders
    torch.testing.assert_close(here.roll(cells, 3)[..., inner], there[..., inner])


def test_a_fresh_encoder_gives_the_networks_mean() -> None:
    network = network_of(16)
    encoder = Encoder(EncoderConfig.of(network, 5, "small", 4), network.story()).eval()
    own = Encoded(torch.randn(50, 8, 16, 16) + 3, torch.randn(50, 3, 8, 8), torch.randn(50, 2, 8))
    halves = [[x[i : i + 25] for x in (own.f, own.r, own.w)] for i in (0, 25)]  # type: ignore[index]
    encoder.start_at(Encoded(*half) for half in halves)
    torch.testing.assert_close(encoder.f_sd.flatten(), own.f.std((0, 2, 3), correction=0))
    encoded = encoder(torch.randn(1, 3, 16, 16))
    torch.testing.assert_close(encoded.f[0, :, 0, 0], own.f.mean((0, 2, 3)))
    torch.testing.assert_close(encoded.w[0, 0], own.w.mean((0, 1)))
    assert encoded.r is not None
    torch.testing.assert_close(encoded.r[0, :, 5, 5], own.r.mean((0, 2, 3)))  # type: ignore[union-attr]


def test_pictures_with_alpha_and_in_grey() -> None:
    grey, alpha = network_of(16, img_channels=1), network_of(16, img_channels=4)
    assert encoder_of(grey, 3)(torch.zeros(1, 1, 16, 16)).r.shape == (1, 1, 4, 4)  # type: ignore[union-attr]
    assert encoder_of(alpha, 3)(torch.zeros(1, 4, 16, 16)).r.shape == (1, 4, 4, 4)  # type: ignore[union-attr]
    wide = network_of(64, img_channels=1)
    encoder_of(wide, 3, "efficientnet-b0-scratch")(torch.zeros(1, 1, 64, 64))
    with pytest.raises(Usage, match="colour alone"):
        encoder_of(alpha, 3, "efficientnet-b0")


def test_a_map_that_the_backbone_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(Usage, match=r"f and r are 64x64 and 32x32.*maps of 32x32, 16x16, 8x8"):
        encoder_of(network_of(64), 9, "efficientnet-b0-scratch")
    with pytest.raises(Usage, match="--first 11: test has the blocks 1 to 10"):
        encoder_of(network_of(64), 11)


# --- files ---


def saved(path: Path, encoder: Encoder, dtype: str = "float32") -> Path:
    """The encoder as a file."""
    files.write(path, encoder_files.to_file(encoder, {"images": 12}, dtype))
    return path


@pytest.mark.parametrize("first", [2, 5])
def test_a_file_gives_the_encoder_again(tmp_path: Path, first: int) -> None:
    network = open_network(str(make_network(tmp_path / "n.safetensors")))
    encoder = encoder_of(network, first)
    path = saved(tmp_path / files.NAME, encoder)
    assert files.is_one(path)
    assert files.is_one(tmp_path)  # a run folder
    assert not files.is_one(tmp_path / "n.safetensors")
    picture = torch.randn(1, 3, 16, 16)
    for found in (encoder_files.load(path), encoder_files.load(tmp_path)):
        assert (found.first, found.network_id, found.training) == (first, network.id, False)
        found.check(network)
        assert torch.equal(found(picture).f, encoder(picture).f)
        assert torch.equal(found(picture).w, encoder(picture).w)
    again = saved(tmp_path / "again.safetensors", encoder_files.load(path))
    assert again.read_bytes() == path.read_bytes()
    half = saved(tmp_path / "half.safetensors", encoder, "float16")
    torch.testing.assert_close(
        encoder_files.load(half)(picture).f, encoder(picture).f, rtol=0.01, atol=0.01
    )


def test_an_encoder_of_another_network_is_refused(tmp_path: Path) -> None:
    one = open_network(str(make_network(tmp_path / "one.safetensors")))
    other = open_network(str(make_network(tmp_path / "other.safetensors", seed=1)))
    encoder = encoder_files.load(saved(tmp_path / "e.safetensors", encoder_of(one, 3)))
    with pytest.raises(Usage, match=r"an encoder for one .*, not for other"):
        encoder.check(other)


def test_an_encoder_is_found_beside_its_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By network and block, beside the network's file first, then in the user's folder."""
    nets = tmp_path / "nets"
    nets.mkdir()
    one = open_network(str(make_network(nets / "one.safetensors")))
    other = open_network(str(make_network(nets / "other.safetensors", seed=1)))
    meta = {**one.meta, "id": one.id}
    path = nets / "one.safetensors"
    assert files.kept_for(path, meta, 5) is None
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    user = tmp_path / "own" / "gantools" / "networks"
    user.mkdir(parents=True)
    kept = saved(user / "one.encoder.safetensors", encoder_of(one, 5))
    saved(nets / "other.encoder.safetensors", encoder_of(other, 5))
    (nets / "text.encoder.safetensors").write_text("no encoder")
    assert files.kept_for(path, meta, 5) == kept
    assert files.kept_for(None, meta, 5) == kept
    assert "one.encoder" not in {name for name, _ in networks.known()}
    assert files.kept_for(path, meta, 3) is None
    assert files.kept_for(path, meta, 6) == kept  # what it gives is run on from there
    near = saved(nets / "one.encoder.safetensors", encoder_of(one, 5))
    assert files.kept_for(path, meta, 5) == near
    assert files.kept_for(path, meta, 5, arch="dse") is None


def damaged(path: Path, **changes: object) -> Path:
    """The file with other entries in its story."""
    story, tensors = tensorfile.read(path)
    target = path.with_name("damaged.safetensors")
    tensorfile.write(target, tensors, {**story, **changes})
    return target


def test_damaged_files_are_one_line(tmp_path: Path, tiny_network: Path) -> None:
    path = saved(tmp_path / "e.safetensors", encoder_of(open_network(str(tiny_network)), 5))
    config = files.read(path).config
    cases = {
        "a network file, not an encoder": tiny_network,
        "format 9 is unknown": damaged(path, format=9),
    }
    for why, file in cases.items():
        with pytest.raises(Usage, match=why):
            encoder_files.load(file)
    for change, why in (
        ({"config": [1]}, "without its configuration"),
        ({"arch": "e4e"}, "--arch e4e"),
        ({"config": {**config, "backbone": "resnet"}}, "'resnet'"),
        ({"config": {**config, "wide": 1}}, "unknown configuration entry 'wide'"),
        ({"config": {**config, "first": "5"}}, "impossible configuration"),
        ({"config": {**config, "f": [8, 0, 16]}}, "impossible configuration"),
        ({"config": {**config, "w_dim": 60000, "styles": 60000}}, "another shape"),
        ({"config": {**config, "width": 60000}}, "another shape"),
    ):
        with pytest.raises(Usage, match=why):
            encoder_files.load(damaged(path, **change))
    short = tmp_path / "short.safetensors"
    short.write_bytes(path.read_bytes()[:-10])
    text = tmp_path / "text.safetensors"
    text.write_text("no encoder")
    for file in (short, text):
        with pytest.raises(Usage):
            encoder_files.load(file)
    with pytest.raises(Usage, match=r"a folder without encoder\.safetensors"):
        encoder_files.load(tmp_path)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, tiny_network: Path) -> None:
    encoder = encoder_of(open_network(str(tiny_network)), 5)
    encoder.s.bias[0] = float("nan")
    with pytest.raises(Usage, match=r"s\.bias holds values that are not finite"):
        encoder_files.load(saved(tmp_path / "e.safetensors", encoder))


# --- ImageNet's weights ---


def test_weights_of_imagenet_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file in torchvision's layout; without one, a line that says its name and sha256."""
    from torchvision import models

    torch.manual_seed(3)
    theirs = models.efficientnet_b0(weights=None)
    path = tmp_path / weights.KNOWN[backbones.WEIGHTS].file
    torch.save(theirs.state_dict(), path)
    monkeypatch.setenv("GANTOOLS_WEIGHTS", str(tmp_path))
    net = backbones.EfficientNet()
    with pytest.raises(Usage, match=r"efficientnet-b0.*another file.*7f5810bc"):
        net.fill()
    entry = weights.Weights(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "a test's")
    monkeypatch.setitem(weights.KNOWN, backbones.WEIGHTS, entry)
    net.fill()
    x = torch.rand(2, 3, 64, 64)
    theirs.eval()
    net.eval()
    with torch.no_grad():
        wanted = theirs.features((x - net.mean) / net.sd).mean((2, 3))
        torch.testing.assert_close(net(2 * x - 1)[1], wanted)
