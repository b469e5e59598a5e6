"""pSp's encoder, its backbone, ArcFace beside it and its optimiser: papers.md S4.18."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_network
from test_dse_training import network_file
from torch import Tensor, nn

from gantools.inversion import arcface, encoder_files, irse, perceptual
from gantools.inversion.coded import coded
from gantools.inversion.psp import PspConfig, PspEncoder
from gantools.io import encoder as files
from gantools.io import weights
from gantools.io.published import KNOWN
from gantools.networks.network import Network, open_network
from gantools.report import Usage
from gantools.training.psp import PspTraining, begun
from gantools.training.ranger import BETAS, EPS, EVERY, Ranger


def counted(module: nn.Module) -> int:
    """The numbers that are learned."""
    return sum(p.numel() for p in module.parameters())


def units(widths: list[int], counts: tuple[int, ...]) -> int:
    """Parameters of IR-SE's units, written out."""
    total, inputs = 0, widths[0]
    for outputs, count in zip(widths, counts, strict=True):
        for _ in range(count):
            norms, slopes = 2 * inputs + 2 * outputs, outputs
            convolutions = 9 * inputs * outputs + 9 * outputs * outputs
            total += norms + slopes + convolutions + 2 * outputs * (outputs // 16)
            if inputs != outputs:
                total += inputs * outputs + 2 * outputs
            inputs = outputs
    return total


def test_s4_18_ir_se50_has_the_published_count_of_parameters() -> None:
    """43.80 million with ArcFace's head; the published file is them, moments and 70 KB of names."""
    with torch.device("meta"):
        whole = arcface.ArcFace()
    first = 27 * 64 + 2 * 64 + 64
    assert counted(whole.trunk) == first + units([64, 128, 256, 512], (3, 4, 14, 3))
    assert round(counted(whole) / 1e6, 2) == 43.80
    numbers = sum(t.numel() for t in whole.state_dict().values() if t.is_floating_point())
    size = KNOWN["ir-se50"].size
    assert size is not None and 0 < size - 4 * numbers < 100_000


def test_s4_18_the_published_shape() -> None:
    """[n, 18, 512] of 1024 pixels seen as 256; levels of 16, 32 and 64 cells; 267.1 million."""
    cfg = PspConfig((1024, 1024), 3, 18, 512)
    with torch.device("meta"):
        encoder = PspEncoder(cfg, {})
    assert [cfg.level(i) for i in (0, 2, 3, 6, 7, 17)] == [0, 0, 1, 1, 2, 2]
    heads = [sum(isinstance(m, nn.Conv2d) for m in style.modules()) for style in encoder.styles]
    assert heads == [4] * 3 + [5] * 4 + [6] * 11
    styles = sum(heads) * (9 * 512 * 512 + 512) + 18 * (512 * 512 + 512)
    lateral = 256 * 512 + 512 + 128 * 512 + 512
    assert counted(encoder) == counted(encoder.trunk) + styles + lateral == 267_136_704
    narrow, images = PspEncoder(replace(cfg, width=8), {}).eval(), torch.zeros(1, 3, 1024, 1024)
    with torch.no_grad():
        assert narrow(images).shape == (1, 18, 512)
        assert [x.shape[2:] for x in narrow.levels(images)] == [(16, 16), (32, 32), (64, 64)]


@pytest.mark.parametrize("depth", sorted(irse.UNITS))
def test_a_depth_is_its_count_of_convolutions(depth: int) -> None:
    """Two in every unit, the first and what stands behind: as residual networks are named."""
    with torch.device("meta"):
        body = irse.IrSe(3, 16, depth).body
    assert 2 * len(body) + 2 == depth
    assert sum(unit.stride == 2 for unit in body) == 4


def test_a_units_shortcut_is_a_convolution_of_stride_two() -> None:
    """As one of 3x3 with zeros around; channels last torch's own of 1x1 may end the process."""
    torch.manual_seed(0)
    unit = irse.Unit(8, 16, 2).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    plain = torch.randn(2, 8, 128, 128)
    x = plain.clone(memory_format=torch.channels_last).requires_grad_()
    found = unit(x) - unit.res_layer(x)
    weight = unit.shortcut_layer[0].weight.detach().contiguous().requires_grad_()
    centred = torch.nn.functional.pad(weight, (1, 1, 1, 1))
    wanted = unit.shortcut_layer[1](torch.nn.functional.conv2d(plain, centred, None, 2, 1))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    (own,) = torch.autograd.grad(found.square().sum(), unit.shortcut_layer[0].weight)
    (other,) = torch.autograd.grad(wanted.square().sum(), weight)
    torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("size", "layers", "levels"),
    [((16, 16), 6, 2), ((32, 32), 8, 3), ((4, 4), 2, 1), ((16, 24), 6, 2), ((512, 512), 16, 3)],
)
def test_s4_18_levels_follow_the_network(size: tuple[int, int], layers: int, levels: int) -> None:
    """A 16th, an 8th and a quarter of what is seen, one cell at least; every number has a use."""
    torch.manual_seed(0)
    cfg = PspConfig(size, 3, layers, 8, width=8, depth=10)
    encoder = PspEncoder(cfg, {}).train()
    images = torch.randn(2, 3, *size)
    maps = encoder.levels(images)
    seen = [min(n, 256) for n in size]
    assert len(maps) == levels == cfg.levels
    for x, stride in zip(maps, (16, 8, 4), strict=False):
        assert list(x.shape[2:]) == [math.ceil(n / stride) for n in seen]
    found = encoder(images)
    assert found.shape == (2, layers, 8)
    found.square().sum().backward()
    assert not idle(encoder)


def idle(encoder: PspEncoder) -> list[str]:
    """Names of what has no gradient.

    The offsets of a shortcut's norm stand before other norms, which take them away again: theirs is
    0 but for rounding where no level is made of that map.
    """
    return [
        name
        for name, p in encoder.named_parameters()
        if p.grad is None or not (p.grad.any() or name.endswith("shortcut_layer.1.bias"))
    ]


def small(path: Path) -> tuple[Network, PspEncoder]:
    """A network of 16 pixels and an encoder of it as it is drawn, around the mean w."""
    network = open_network(str(make_network(path)))
    torch.manual_seed(1)
    encoder = PspEncoder(PspConfig.of(network, 8, 10), network.story()).eval()
    encoder.start_at(network.g.mapping.w_avg)
    return network, encoder


def test_s4_18_nothing_added_is_the_mean_picture(tmp_path: Path) -> None:
    """Without the last layers' numbers w is the mean, for every picture and layer."""
    network, encoder = small(tmp_path / "n.safetensors")
    images = torch.randn(2, 3, 16, 16)
    assert not torch.equal(encoder(images)[0], encoder(images)[1])
    with torch.no_grad():
        for style in encoder.styles:
            style.linear.weight.zero_()  # type: ignore[union-attr, operator]
    w = encoder(images)
    mean = network.g.mapping.w_avg.expand(2, network.g.num_ws, -1)
    assert torch.equal(w, mean)
    made = network.g.synthesis(w.detach(), "const")
    assert torch.equal(made, network.g.synthesis(mean, "const"))


def test_s4_18_a_style_reads_its_level_alone(tmp_path: Path) -> None:
    """What changes the finer levels leaves the styles of the coarser ones as they are."""
    _, encoder = small(tmp_path / "n.safetensors")
    images = torch.randn(1, 3, 16, 16)
    before = encoder(images)
    with torch.no_grad():
        encoder.latlayer1.weight.mul_(2)
    after = encoder(images)
    assert torch.equal(after[:, :3], before[:, :3])
    assert (after[:, 3:] != before[:, 3:]).any(2).all()


def test_what_it_cannot_be_for(tmp_path: Path) -> None:
    """Networks without styles; those of other shapes, and pictures of another size."""
    network, encoder = small(tmp_path / "n.safetensors")
    encoder.check(network)
    with pytest.raises(ValueError, match="expected"):
        encoder(torch.zeros(1, 3, 16, 32))
    other = open_network(str(make_network(tmp_path / "o.safetensors", seed=3)))
    with pytest.raises(Usage, match="not for o"):
        encoder.check(other)
    pggan = open_network(str(network_file(tmp_path / "p.safetensors", "pggan")))
    with pytest.raises(Usage, match="--arch psp: p is a pggan network; it is for stylegan, style"):
        PspConfig.of(pggan)


def test_the_file_of_an_encoder(tmp_path: Path) -> None:
    """What is read says the same, to the bit; what is no such configuration is one line."""
    network, encoder = small(tmp_path / "n.safetensors")
    path = tmp_path / "n.psp.encoder.safetensors"
    files.write(path, encoder_files.to_file(encoder, {"steps": 3}))
    found = encoder_files.load(path)
    assert isinstance(found, PspEncoder) and found.config == encoder.config
    images = torch.randn(1, 3, 16, 16)
    assert torch.equal(found(images), encoder(images))
    assert torch.equal(coded(found, images).tensors["w"], found(images))
    own = {**network.meta, "id": network.id}
    assert files.arch(path) == "psp"
    assert files.kept_for(path, own, 1, "psp") == path
    assert files.kept_for(path, own, 1, "dse") is None
    whole = files.read(path)
    changes = [{"w_dim": 0}, {"num_ws": 60000}, {"depth": 7}, {"size": [16, "x"]}, {"width": 60000}]
    for change in [*changes, {"num_ws": 8}, {"size": [32, 32]}]:
        files.write(path, replace(whole, config={**whole.config, **change}))
        with pytest.raises(Usage, match="not an encoder this version can build"):
            encoder_files.load(path)


# --- ArcFace ---


def published(seed: int = 0) -> dict[str, Tensor]:
    """Numbers of ArcFace's shape under their published names."""
    torch.manual_seed(seed)
    state = arcface.ArcFace().state_dict()
    return {n.removeprefix("trunk."): t for n, t in state.items()}


def test_s4_18_arcface_sees_the_middle() -> None:
    """Rows 35 to 223 and columns 32 to 220 of 256; unit length; nothing outside has a gradient."""
    net = arcface.load(published())
    images = torch.rand(1, 3, 256, 256).requires_grad_()
    found = net(images)
    assert found.shape == (1, 512) and float(found.norm().detach()) == pytest.approx(1, abs=1e-5)
    found[0, 0].backward()
    assert images.grad is not None
    rows, columns = (images.grad[0].abs().sum(0).sum(axis) for axis in (1, 0))
    assert rows.nonzero().flatten()[[0, -1]].tolist() == [35, 222]
    assert columns.nonzero().flatten()[[0, -1]].tolist() == [32, 219]
    grey = arcface.middle(torch.full((1, 1, 64, 64), 0.25))
    torch.testing.assert_close(grey, torch.full((1, 1, 112, 112), 0.25))
    with pytest.raises(Usage, match="not the tensors of ArcFace"):
        arcface.load({"input_layer.0.weight": torch.zeros(1)})


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """As if ArcFace's weights were there."""
    state = published()
    monkeypatch.setattr(arcface, "published", lambda: state)
    monkeypatch.setattr(weights, "locate", Path)
    return state


def test_s4_18_with_its_weights_identity_counts(
    there: dict[str, Tensor], tiny_network: Path
) -> None:
    """The trainer of a configuration asks ArcFace, whose numbers stay as they are."""
    network = open_network(str(tiny_network))
    config = PspTraining(network=network.story(), width=8, depth=10, batch=2, id_weight=0.1)
    config.check(network)
    trainer = config.trainer(network, perceptual.pyramid, None, fresh=True)
    trainer.step()
    found = {n: float(v[0] / v[1]) for n, v in trainer.sums.values.items()}
    assert 0 < found["identity"] < 2
    expected = found["mse"] + 0.8 * found["perceptual"] + 0.1 * found["identity"]
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    assert isinstance(trainer.identity, arcface.ArcFace)
    assert torch.equal(trainer.identity.output_layer[3].bias, there["output_layer.3.bias"])


def test_s4_18_with_its_weights_the_backbone_begins_with_them(
    there: dict[str, Tensor], tiny_network: Path
) -> None:
    """Where they fit; the rest, and a smaller one, as it is drawn."""
    network = open_network(str(tiny_network))
    config = PspTraining(network=network.story(), width=512, pretrained=True)
    config.check(network)
    drawn, filled = begun(replace(config, pretrained=False), network), begun(config, network)
    name = "body.20.res_layer.1.weight"
    assert torch.equal(filled.trunk.state_dict()[name], there[name])
    assert not torch.equal(drawn.trunk.state_dict()[name], there[name])
    assert torch.equal(filled.latlayer1.weight, drawn.latlayer1.weight)
    with pytest.raises(Usage, match="--pretrained: the weights are those of --depth 50 --width 51"):
        replace(config, depth=34).check(network)


# --- Ranger ---


def moved(optimiser: torch.optim.Optimizer, parameter: nn.Parameter, gradient: Tensor) -> None:
    """One step with this gradient."""
    parameter.grad = gradient.clone()
    optimiser.step()


def test_s4_18_ranger_between_looks_back_is_radam() -> None:
    """Torch's, of centred gradients; every sixth weight is the mean with that of six before."""
    torch.manual_seed(0)
    a = nn.Parameter(torch.randn(3, 4, 2))
    b = nn.Parameter(a.detach().clone())
    ranger, radam = Ranger([a], 0.01), torch.optim.RAdam([b], 0.01, betas=BETAS, eps=EPS)
    slow = a.detach().clone()
    for step in range(1, 2 * EVERY + 3):
        gradient = torch.randn(3, 4, 2)
        moved(ranger, a, gradient)
        moved(radam, b, gradient - gradient.mean((1, 2), keepdim=True))
        if step % EVERY == 0:
            slow = slow + 0.5 * (b.detach() - slow)
            b.data.copy_(slow)
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_s4_18_ranger_of_a_constant_gradient() -> None:
    """Closed form: lr g without the second moment while its variance is unknown, then lr r_t."""
    x, g, lr = nn.Parameter(torch.tensor([0.0], dtype=torch.float64)), 3.0, 0.01
    ranger = Ranger([x], lr)
    beta = BETAS[1]
    longest = 2 / (1 - beta) - 1
    expected = slow = 0.0
    for t in range(1, 9):
        length = longest - 2 * t * beta**t / (1 - beta**t)
        if length > 5:
            top = (length - 4) * (length - 2) * longest
            rectified = math.sqrt(top / ((longest - 4) * (longest - 2) * length))
            root = math.sqrt(1 - beta**t)
            expected -= lr * rectified * root * g / (root * g + EPS)
        else:
            expected -= lr * g
        if t % EVERY == 0:
            slow += 0.5 * (expected - slow)
            expected = slow
        moved(ranger, x, torch.tensor([g], dtype=torch.float64))
        assert float(x.detach()) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="no closure"):
        ranger.step(lambda: 0.0)
