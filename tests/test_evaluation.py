"""FID and KID: golden numbers, closed forms, torch-fidelity, extractors (S0.15, S0.16, S1.23)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from safetensors.numpy import load_file

from gantools import report
from gantools.evaluation import features, frechet, kernel, matrices, mobilenet
from gantools.evaluation.frechet import Gaussian
from gantools.io import weights


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def golden(fixtures: Path, name: str) -> tuple[dict, dict[str, np.ndarray]]:
    folder = fixtures / "numerics"
    values = json.loads((folder / f"{name}.json").read_text())["values"]
    return values, load_file(folder / f"{name}.safetensors")


# ---------------------------------------------------------------------------- FID


@pytest.mark.parametrize("name", ["full", "low", "degenerate"])
def test_fid_fixture_s0_16_s1_23(fixtures: Path, name: str) -> None:
    """S0.16, S1.23: pytorch-fid (N - 1), NVIDIA (N), torch-fidelity; fewer samples than dims."""
    values, t = golden(fixtures, "fid_features")
    expected = values[name]
    real, fake = t[f"{name}.real"], t[f"{name}.gen"]
    ours = [frechet.fid_from_features(real, fake, ddof) for ddof in (1, 0)]
    trace = expected["trace_real"] + expected["trace_gen"]
    tight = {"rel": 1e-8} if name == "full" else {"abs": 1e-6 * trace}
    assert ours[0] == pytest.approx(expected["eigenvalue_route_ddof1"], **tight)
    assert ours[1] == pytest.approx(expected["eigenvalue_route_ddof0"], **tight)
    loose = {"rel": 1e-5} if name == "full" else {"abs": 1e-3 * trace}
    assert ours[0] == pytest.approx(expected["pytorch_fid"], **loose)
    assert ours[0] == pytest.approx(expected["torch_fidelity_f32_features"], **loose)
    assert ours[1] == pytest.approx(expected["nvidia_ada_ddof0"], **loose)
    assert abs(frechet.fid_from_features(real, real)) < 1e-9 * trace


def test_fid_of_gaussians_closed_form_s0_16() -> None:
    """S0.16, X.3: diagonal covariances: Σ (m1 - m2)² + Σ (s1 - s2)²."""
    m1, m2 = np.arange(5.0), np.array([1.0, 1, 3, 3, 3])
    s1, s2 = np.array([0.0, 1, 2, 3, 4]), np.array([1.0, 1, 0, 5, 1e-4])
    distance = frechet.fid(Gaussian(m1, np.diag(s1**2)), Gaussian(m2, np.diag(s2**2)))
    expected = ((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum()
    assert distance == pytest.approx(expected, rel=1e-12)


def test_fid_of_two_points_by_hand_s0_16() -> None:
    """S0.16: sets {0, 2} and {1, 5} on a line: means 1 and 3, deviations √2 and 2√2."""
    real, fake = np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])
    assert frechet.fid_from_features(real, fake) == pytest.approx(4 + 2, rel=1e-12)
    assert frechet.fid_from_features(real, fake, ddof=0) == pytest.approx(4 + 1, rel=1e-12)


@pytest.mark.parametrize("samples", [400, 64, 20])
def test_fid_equals_sqrtm_and_the_eigenvalues_s0_16(rng: np.random.Generator, samples: int) -> None:
    """S0.16: 64 dimensions against scipy.linalg.sqrtm and the eigenvalues of Σr Σf, to 1e-6."""
    scale = np.geomspace(1, 1e-3, 64)
    sets = [rng.standard_normal((samples, 64)) * scale @ rng.standard_normal((64, 64)) / 8]
    sets.append(rng.standard_normal((samples + 5, 64)) * scale + 0.1)
    cov = [np.cov(s, rowvar=False) for s in sets]
    ours = frechet.trace_of_root(cov[0], cov[1])
    eigenvalues = np.linalg.eigvals(cov[0] @ cov[1]).astype(complex)
    assert ours == pytest.approx(np.sqrt(eigenvalues).sum().real, abs=1e-6)
    if samples > 64:  # scipy's root of a singular matrix is not accurate
        root = scipy.linalg.sqrtm(cov[0] @ cov[1])
        assert ours == pytest.approx(np.trace(root).real, abs=1e-6)


def test_root_of_disjoint_supports_is_zero(rng: np.random.Generator) -> None:
    """Rank-deficient sets: covariances on different axes share nothing, to rounding."""
    a, b = np.zeros((40, 40)), np.zeros((40, 40))
    a[:20, :20] = np.cov(rng.standard_normal((100, 20)), rowvar=False)
    b[20:, 20:] = np.cov(rng.standard_normal((100, 20)), rowvar=False)
    assert frechet.trace_of_root(a, b) == 0
    turn = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    assert frechet.trace_of_root(turn @ a @ turn.T, turn @ b @ turn.T) < 1e-6
    assert frechet.trace_of_root(np.zeros((3, 3)), np.eye(3)) == 0


@pytest.mark.parametrize("samples", [30, 300])
def test_fid_of_a_set_with_itself_is_zero_and_symmetric(
    rng: np.random.Generator, samples: int
) -> None:
    """S0.16: FID(A, A) = 0 below 1e-6 whatever the rank; FID(A, B) = FID(B, A)."""
    decay = np.geomspace(10, 1e-6, 100)  # squares below rounding: what makes roots inaccurate
    a = rng.standard_normal((samples, 100)) * decay @ rng.standard_normal((100, 100))
    b = rng.standard_normal((samples + 3, 100)) * decay
    assert frechet.fid_from_features(a, a) < 1e-6
    there, back = frechet.fid_from_features(a, b), frechet.fid_from_features(b, a)
    assert there == pytest.approx(back, rel=1e-10)


def test_moments_merge_free_of_order_to_1e_10(rng: np.random.Generator) -> None:
    """Partial sums of shards merge in any order and cut to what the whole set gives, to 1e-10."""
    x = (rng.standard_normal((500, 12)) * 3 + 1000).astype(np.float32)  # a mean that cancels
    whole = frechet.Moments.of(x)
    np.testing.assert_allclose(
        np.divide(*whole.divided()), np.cov(x.astype(float), rowvar=False), rtol=1e-9
    )
    for cuts in ([1, 2, 450], [250], [7, 7, 499]):
        parts = [frechet.Moments.of(p) for p in np.split(x, cuts)]
        for order in (parts, parts[::-1]):
            merged = frechet.total(order)
            assert merged.count == 500
            np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
            np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-10, atol=1e-8)
    rest = whole.without(frechet.Moments.of(x[100:150]))
    without = frechet.Moments.of(np.delete(x, slice(100, 150), axis=0))
    np.testing.assert_allclose(rest.scatter, without.scatter, rtol=1e-9, atol=1e-7)


def test_accumulate_counts_each_row_once_in_its_part(rng: np.random.Generator) -> None:
    """The parts of an interval do not depend on how the stream is cut into blocks."""
    x = rng.standard_normal((31, 3))
    for sizes in ([31], [1, 2, 3, 25], [10, 0, 21]):
        blocks = np.split(x, np.cumsum(sizes)[:-1])
        parts = frechet.accumulate(blocks, 3, 4)
        for k, part in enumerate(parts):
            assert part.count == len(x[k::4])
            np.testing.assert_allclose(part.mean, x[k::4].mean(axis=0), rtol=1e-12)


def test_fid_equals_torch_fidelity(rng: np.random.Generator) -> None:
    """torch-fidelity's own function on the same features, to 1e-6 relative."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    real, fake = rng.standard_normal((300, 24)), rng.standard_normal((200, 24)) * 1.3 + 0.2
    stats = [fid_features_to_statistics(torch.from_numpy(x)) for x in (real, fake)]
    theirs = fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet.fid_from_features(real, fake) == pytest.approx(theirs, rel=1e-6)


def test_fid_interval_covers_the_truth(rng: np.random.Generator) -> None:
    """The jackknife's interval holds the distance of the distributions in most of 40 draws."""
    held = 0
    for _ in range(40):  # N(0, 1) against N(0.5, 1) in 2 dimensions: 0.5
        sets = [rng.standard_normal((2000, 2)), rng.standard_normal((2000, 2)) + 0.5]
        low, high = frechet.interval(*(frechet.accumulate([s], 2, 10) for s in sets))
        assert low < frechet.fid_from_features(sets[0], sets[1]) < high
        held += low < 0.5 < high
    assert held >= 33


def test_measure_names_what_is_too_small(rng: np.random.Generator) -> None:
    """One line instead of a division by zero."""
    x = rng.standard_normal((9, 2))
    with pytest.raises(report.Usage, match="two pictures or more, here are 1"):
        frechet.measure([x], [x[:1]], 2)
    with pytest.raises(report.Usage, match="5 parts need 10 pictures or more, here are 9"):
        frechet.measure([x], [x], 2, splits=5)
    with pytest.raises(report.Usage, match="here are 0"):
        kernel.measure([], [x])
    with pytest.raises(report.Usage, match="5 parts need 10"):
        kernel.measure([x], [x], splits=5)


# ---------------------------------------------------------------------------- KID


def test_kid_fixture_with_recorded_subsets(fixtures: Path) -> None:
    """S0.16 family: NVIDIA's KID per subset, and torch-fidelity's stream of subsets."""
    values, t = golden(fixtures, "kid_features")
    recorded = [(real, fake) for fake, real in t["subset_idx"]]
    per_subset = kernel.kid(t["real"], t["gen"], recorded)
    np.testing.assert_allclose(per_subset, values["kid_per_subset"], rtol=1e-4)
    assert per_subset.mean() == pytest.approx(values["kid_nvidia"], rel=1e-4)
    state = np.random.RandomState(2020)
    drawn = [(state.choice(120, 40, False), state.choice(100, 40, False)) for _ in range(6)]
    found, wanted = kernel.kid(t["real"], t["gen"], drawn), values["torch_fidelity"]
    assert found.mean() == pytest.approx(wanted["kernel_inception_distance_mean"], rel=1e-4)
    assert found.std() == pytest.approx(wanted["kernel_inception_distance_std"], rel=1e-4)


def test_kid_equals_torch_fidelity(rng: np.random.Generator) -> None:
    """torch-fidelity's own MMD on the same float64 features, to 1e-6 relative."""
    from torch_fidelity.metric_kid import kernel_mmd

    real, fake = rng.standard_normal((60, 8)), rng.standard_normal((60, 8)) + 0.3
    theirs = kernel_mmd(real, fake, kid_kernel="poly", kid_kernel_poly_degree=3)
    assert kernel.mmd2(real, fake) == pytest.approx(theirs, rel=1e-6)


def test_kid_of_float32_equals_torch_fidelity_in_float64(rng: np.random.Generator) -> None:
    """Pooled features in float32, the same subsets: torch-fidelity's MMD in float64, to 1e-6."""
    from torch_fidelity.metric_kid import kernel_mmd

    mixing = rng.standard_normal((16, 512)).astype(np.float32)
    real, fake = (
        np.maximum(rng.standard_normal((900, 16), np.float32) @ mixing * scale, 0)
        for scale in (0.25, 0.27)
    )
    subsets = [(rng.permutation(900)[:600], rng.permutation(900)[:600]) for _ in range(3)]
    theirs = [
        kernel_mmd(real[i].astype(float), fake[j].astype(float), kid_kernel="poly")
        for i, j in subsets
    ]
    np.testing.assert_allclose(kernel.kid(real, fake, subsets), theirs, rtol=1e-6)


def test_mmd2_by_hand_and_in_blocks(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pair by the definition, sets of unequal size; the blocks change nothing."""
    x, y = rng.standard_normal((7, 3)), rng.standard_normal((11, 3))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    xx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    expected = xx + yy - 2 * np.mean([k(a, b) for a in x for b in y])
    assert kernel.mmd2(x, y) == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(matrices, "TILE", 3)
    assert kernel.mmd2(x, y) == pytest.approx(expected, rel=1e-12)


def test_kid_is_unbiased_and_its_interval_honest(rng: np.random.Generator) -> None:
    """Equal distributions: the mean over draws is 0 within its error, the interval holds 0."""
    held, values = 0, []
    for _ in range(40):
        x, y = rng.standard_normal((2, 400, 4))
        values.append(kernel.mmd2(x, y))
        low, high = kernel.interval(x, y, 8)
        held += low < 0 < high
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(40)
    assert held >= 33


def test_subsets_follow_from_the_generator() -> None:
    """The same seed draws the same subsets; no index twice; never more than there are."""
    first, second = (list(kernel.draw_subsets(np.random.default_rng(1), 9, 5, 3)) for _ in range(2))
    for (a, b), (c, d) in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
        assert len(a) == len(b) == len(set(a)) == len(set(b)) == 5
    values, protocol = kernel.measure([np.eye(6)], [np.eye(6)[:5]], subsets=4, size=3)
    assert set(values) == {"kid", "kid_std"} and protocol["subset_size"] == 3
    assert set(kernel.measure([np.eye(6)], [np.eye(6)], subsets=0)[0]) == {"kid"}


# ---------------------------------------------------------------------------- extractors


@pytest.fixture
def random_mobilenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of random weights in the published layout, which the look-up accepts."""
    generator = np.random.default_rng(0)
    net, arrays = mobilenet.MobileNetV2(), {}
    for i, layer in enumerate([*net.convolutions(), net.head]):
        shape = (*layer.weight.shape, 1, 1)[:4]
        fan_in = int(np.prod(shape[1:]))
        arrays[f"c{i:02d}.w"] = generator.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"c{i:02d}.zp"] = np.float32(127)
        arrays[f"c{i:02d}.scale"] = np.float32(1.7 / (74 * np.sqrt(fan_in)))
        arrays[f"c{i:02d}.b"] = generator.normal(0, 0.1, shape[0]).astype(np.float32)
    path = tmp_path / "mobilenet.npz"
    np.savez(path, **arrays)
    entry = weights.Weights(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "a test's")
    monkeypatch.setitem(weights.KNOWN, "mobilenet", entry)
    monkeypatch.setenv("GANTOOLS_WEIGHTS", str(tmp_path))
    return path


def as_tensorflow(arrays: dict[str, np.ndarray], x: torch.Tensor) -> torch.Tensor:
    """The same network written out: explicit SAME padding, layers by their numbers."""

    def conv(x: torch.Tensor, i: int, stride: int = 1, relu6: bool = True) -> torch.Tensor:
        w, zp = arrays[f"c{i:02d}.w"].astype(np.float32), arrays[f"c{i:02d}.zp"]
        weight = torch.from_numpy((w - zp) * arrays[f"c{i:02d}.scale"]).double()
        k, size = weight.shape[2], x.shape[2]
        pad = max((-(-size // stride) - 1) * stride + k - size, 0)
        x = torch.nn.functional.pad(x, (pad // 2, pad - pad // 2) * 2)
        groups = x.shape[1] // weight.shape[1]
        bias = torch.from_numpy(arrays[f"c{i:02d}.b"]).double()
        x = torch.nn.functional.conv2d(x, weight, bias, stride, groups=groups)
        return x.clamp(0, 6) if relu6 else x

    x = conv(conv(conv(x, 0, 2), 1), 2, relu6=False)
    strided = {4, 10, 19, 40}  # depthwise layers of the published graph with stride 2
    for i in range(3, 51, 3):
        y = conv(conv(conv(x, i), i + 1, 2 if i + 1 in strided else 1), i + 2, relu6=False)
        x = x + y if x.shape == y.shape else y
    return conv(x, 51).mean((2, 3))


def test_mobilenet_is_the_published_graph(random_mobilenet: Path) -> None:
    """Turned kernels on turned pictures give what TensorFlow's SAME padding gives."""
    x = torch.rand(1, 3, 96, 96, dtype=torch.float64) * 2 - 1
    with np.load(random_mobilenet) as file:
        expected = as_tensorflow(dict(file), x)
    found = mobilenet.load(random_mobilenet).double()(x)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.data
def test_mobilenet_graph_file(shared: Path) -> None:
    """Strides, residual sums and groups are those of the published graph."""
    graph = json.loads((shared / "data/weights/mobilenet_v2_imagenet_graph.json").read_text())
    steps = [step for step in graph if step["op"].endswith("CONV_2D")]
    net = mobilenet.MobileNetV2()
    convs = net.convolutions()
    assert len(steps) == len(convs) + 1
    for step, conv in zip(steps, convs, strict=False):
        assert (step["stride"], step["groups"]) == (conv.stride, conv.groups)
        assert step["relu6"] == conv.bounded
    residual = sum(getattr(module, "residual", False) for module in net.trunk)
    assert residual == sum(step["op"] == "ADD" for step in graph)


@pytest.mark.data
def test_mobilenet_names_photographs(shared: Path) -> None:
    """ImageNet photographs whose file names carry their class: most are named rightly."""
    from PIL import Image

    folder = shared / "data/weights"
    labels = (folder / "imagenet_labels.txt").read_text().splitlines()
    net = mobilenet.load(folder / "mobilenet_v2_imagenet_int8.npz")

    def plain(name: str) -> str:
        return name.strip().lower().replace(" ", "_").replace("-", "_")

    right = []
    for path in sorted((shared / "data/faces-wild/nonfaces").glob("in_*.jpg"))[::2]:
        pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
        x = features.resized(pixels.permute(2, 0, 1)[None], (mobilenet.SIZE,) * 2) / 127.5 - 1
        best = net.logits(x).topk(5).indices[0].tolist()
        wanted = plain(path.stem.split("_", 2)[2])
        ranks = [wanted in map(plain, labels[i].split(",")) for i in best]
        right.append((ranks[0], any(ranks)))
    first, five = np.mean(right, axis=0)
    assert first >= 0.7 and five >= 0.9, (first, five)


def pictures(count: int, sizes: tuple[tuple[int, int], ...]) -> list[features.Picture]:
    generator = np.random.default_rng(3)
    return [
        (f"p{i}", generator.integers(0, 256, (*sizes[i % len(sizes)], 3), dtype=np.uint8))
        for i in range(count)
    ]


def test_features_do_not_depend_on_the_batch(random_mobilenet: Path) -> None:
    """Any batch, odd sizes included, gives the features of one picture at a time, in order."""
    state = torch.random.get_rng_state()
    extract = features.extractor("mobilenet")
    assert torch.equal(torch.random.get_rng_state(), state)  # training's numbers stay its own
    given = pictures(7, ((20, 20), (20, 20), (33, 17)))
    alone = torch.cat([extract(torch.from_numpy(p).permute(2, 0, 1)[None]) for _, p in given])
    for batch in (1, 2, 64):
        found = np.concatenate([*features.of_pictures(given, extract, batch=batch)])
        np.testing.assert_allclose(found, alone.numpy(), atol=1e-4)
    both = np.concatenate([*features.of_pictures(given, extract, mirror=True)])
    np.testing.assert_allclose(both[::2], alone.numpy(), atol=1e-4)
    flipped = [(name, p[:, ::-1].copy()) for name, p in given]
    mirrored = np.concatenate([*features.of_pictures(flipped, extract)])
    np.testing.assert_allclose(both[1::2], mirrored, atol=1e-4)


def test_flat_and_broken_pictures_are_named_and_left_out(capsys: pytest.CaptureFixture) -> None:
    """A constant picture, or features that are not finite, are not averaged in."""
    report.begin("metrics fid")

    def network(x: torch.Tensor) -> torch.Tensor:
        mean = x.float().mean((2, 3))
        return torch.where(mean > 200, torch.nan, mean)

    extract = features.Extractor("test", "0", 3, "none", "cpu", network)
    given = pictures(3, ((8, 8),))
    given[1] = ("flat.png", np.full((8, 8, 3), 9, np.uint8))
    given.append(("white.png", np.maximum(given[0][1], 250)))
    found = np.concatenate([*features.of_pictures(given, extract)])
    assert found.shape == (2, 3) and np.isfinite(found).all()
    told = capsys.readouterr().err
    assert "flat.png: a picture of one flat colour" in told
    assert "white.png: its features are not finite" in told
    assert report.failures() == 2
    report.reset()


def test_inception_equals_torch_fidelity_picture_by_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our batches give what torch-fidelity's extractor gives for single pictures, to 1e-4.

    Random weights of the published shapes: the published file cannot be in a test.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Theirs

    with monkeypatch.context() as m:  # its own random start as the file
        m.setattr(torch, "load", lambda *a, **k: {})
        m.setattr(Theirs, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        net = Theirs("theirs", ["2048"], feature_extractor_weights_path="none")
    path = tmp_path / weights.KNOWN["inception-pytorch-fid"].file
    torch.save(net.state_dict(), path)
    sha256 = weights.sha256(path)
    for name in ("inception", "inception-pytorch-fid"):
        entry = replace(weights.KNOWN[name], sha256=sha256)
        monkeypatch.setitem(weights.KNOWN, name, entry)
    monkeypatch.setenv("GANTOOLS_WEIGHTS", str(tmp_path))
    given = pictures(3, ((32, 32), (32, 32), (41, 27)))
    single = [net(torch.from_numpy(p).permute(2, 0, 1)[None])[0] for _, p in given]
    state = torch.random.get_rng_state()
    extract = features.extractor("inception")
    assert torch.equal(torch.random.get_rng_state(), state)  # training's numbers stay its own
    found = np.concatenate([*features.of_pictures(given, extract)])
    scale = torch.cat(single).abs().max().item()
    np.testing.assert_allclose(found, torch.cat(single).numpy(), atol=1e-4 * scale)
    assert extract.protocol()["features_sha256"] == sha256


@pytest.mark.parametrize("name", ["inception", "mobilenet"])
def test_missing_weights_are_named_with_their_sha256(name: str, tmp_path, monkeypatch) -> None:
    """One line: the file's name, its sha256, where to put it. Nothing is substituted."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(report.Usage) as caught:
        features.extractor(name)
    for part in (weights.KNOWN[name].file, weights.KNOWN[name].sha256, "GANTOOLS_WEIGHTS"):
        assert part in str(caught.value)


def test_discriminator_features(tiny_network: Path) -> None:
    """The network's own discriminator; a picture's features do not depend on its neighbours."""
    from gantools.networks.network import open_network

    network = open_network(str(tiny_network), discriminator=True)
    extract = features.extractor("discriminator", network=network)
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    together = extract(images)
    assert together.shape == (5, extract.dim)
    torch.testing.assert_close(together[2:3], extract(images[2:3]), rtol=1e-4, atol=1e-6)
    grey = extract(images[:, :1])
    torch.testing.assert_close(grey, extract(images[:, :1].expand(-1, 3, -1, -1)))
    assert extract.protocol()["features_sha256"] == network.id
    with pytest.raises(report.Usage, match="holds no discriminator"):
        features.extractor("discriminator", network=open_network(str(tiny_network)))


# ---------------------------------------------------------------------------- files of features


@pytest.fixture
def extract_three() -> features.Extractor:
    return features.Extractor("test", "ab" * 32, 3, "none", "cpu", lambda x: x.float())


def test_files_of_features_round_trip(tmp_path: Path, extract_three: features.Extractor) -> None:
    """safetensors with the protocol beside; npz without."""
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    features.save(tmp_path / "a.safetensors", x, extract_three)
    np.savez(tmp_path / "b.npz", features=x)
    for name, story in (("a.safetensors", extract_three.protocol()), ("b.npz", {})):
        assert features.is_file_of_features(tmp_path / name)
        loaded, told = features.load(tmp_path / name)
        np.testing.assert_array_equal(loaded, x)
        assert told == story


def broken() -> Iterator[tuple[str, np.ndarray | None, str]]:
    yield "shape", np.zeros(3), r"expected \[N, D\]"
    yield "words", np.array([["a", "b"]]), r"expected \[N, D\]"
    yield "nan", np.array([[0.0], [np.nan]]), "row 1 of its features is not finite"
    yield "objects", np.array([[{}]]), "damaged features"


@pytest.mark.parametrize(("name", "array", "why"), list(broken()))
def test_bad_files_of_features(tmp_path: Path, name: str, array, why: str) -> None:
    """One clear line; a pickled array is refused, not run."""
    path = tmp_path / f"{name}.npz"
    np.savez(path, features=array)
    with pytest.raises(report.Usage, match=why):
        features.load(path)


def test_truncated_file_of_features(tmp_path: Path) -> None:
    """Half a zip is not a file of features."""
    path = tmp_path / "half.npz"
    np.savez(path, features=np.zeros((100, 10)))
    path.write_bytes(path.read_bytes()[:2000])
    assert not features.is_file_of_features(path)
