"""`gantools edit --equalize` and `gantools project --dist-weight` (S2.18, S2.19)."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gantools.io.latent import Latent
from gantools.io.stream import read_stream
from gantools.latents.distribution import parts, scalars
from gantools.latents.labelling import sample_w
from gantools.latents.targets import of_features
from gantools.networks.network import open_network
from gantools.ops.quantiles import Distribution, w1


@pytest.fixture(scope="module")
def target(tiny_network: Path) -> Distribution:
    """The scalars of W, as the command draws them: 4096 z."""
    return Distribution.of(sample_w(open_network(str(tiny_network)), 4096))


@pytest.fixture
def far(tmp_path: Path, tiny_network: Path) -> Path:
    """A w+ latent with noise whose numbers are far from W's."""
    rng = np.random.default_rng(0)
    network = open_network(str(tiny_network))
    w = 3 * rng.standard_normal((network.g.num_ws, 16)) + 1
    tensors = {"w": w.astype(np.float32), "n.1": np.ones((1, 4, 4), np.float32)}
    path = tmp_path / "far.safetensors"
    path.write_bytes(Latent("far", "nw+", tensors, {"network": network.story()}).to_bytes())
    return path


def load(path: Path) -> Latent:
    return Latent.from_bytes(path.read_bytes(), path.stem)


def test_s2_18_the_command(
    gt: Callable, tmp_path: Path, tiny_network: Path, far: Path, target: Distribution
) -> None:
    """c = 1 gives the quantiles at the old ranks, c = 0 the very numbers; noise stays."""
    before = load(far).tensors
    for c in (0, 0.25, 1):
        out = tmp_path / f"{c}.safetensors"
        done = gt("edit", far, "--net", tiny_network, "--equalize", c, "-o", out)
        assert done.code == 0, done.err
        after = load(out)
        quantiles = target.targets(before["w"].size)[np.argsort(np.argsort(before["w"].ravel()))]
        expected = (1 - c) * before["w"] + c * quantiles.reshape(before["w"].shape)
        np.testing.assert_allclose(after.tensors["w"], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(after.tensors["n.1"], before["n.1"])
        assert after.header["history"][-1]["args"] == {"equalize": c}
        assert (after.space, after.header["network"]["name"]) == ("nw+", "tiny")
    np.testing.assert_array_equal(load(tmp_path / "0.safetensors").tensors["w"], before["w"])


def test_s2_18_metrics_w1_falls_linearly(gt: Callable, tiny_network: Path, far: Path) -> None:
    """What `metrics w1` says of the edited latents; the rest at c = 1 is the mean of quantiles."""
    found = []
    for c in (0, 0.5, 1):
        edited = gt("edit", far, "--net", tiny_network, "--equalize", c)
        done = gt("metrics", "w1", "--net", tiny_network, "--json", stdin=edited.out)
        found.append(json.loads(done.text)["w1"])
    assert found[1] == pytest.approx(found[0] / 2, rel=0.03)
    assert found[2] < 0.03 * found[0]


def test_s2_18_before_a_direction_and_as_frames(
    gt: Callable, tmp_path: Path, tiny_network: Path, far: Path
) -> None:
    """With --dir it comes first; without, frames go from the latent to C."""
    np.save(tmp_path / "d.npy", np.ones(16))
    argv = ("edit", far, "--net", tiny_network, "--equalize", 0.5)
    both = gt(*argv, "--dir", tmp_path / "d.npy", "--strength", 2, "-o", tmp_path / "b.safetensors")
    assert both.code == 0, both.err
    assert gt(*argv, "-o", tmp_path / "one.safetensors").code == 0
    equal, moved = (load(tmp_path / f"{n}.safetensors") for n in ("one", "b"))
    np.testing.assert_allclose(moved.tensors["w"], equal.tensors["w"] + 2, rtol=1e-6)
    args = moved.header["history"][-1]["args"]
    assert (args["equalize"], args["dir"], args["strength"]) == (0.5, ["d"], [2.0])
    frames = gt(*argv, "--frames", 3, "-o", f"{tmp_path}/frames.tar")
    assert frames.code == 0, frames.err
    with (tmp_path / "frames.tar").open("rb") as file:
        made = [
            Latent.from_bytes(data, name.removesuffix(".safetensors"))
            for name, data in read_stream(file, "frames.tar")
        ]
    assert [latent.key for latent in made] == ["far/0000", "far/0001", "far/0002"]
    np.testing.assert_array_equal(made[0].tensors["w"], load(far).tensors["w"])
    np.testing.assert_array_equal(made[2].tensors["w"], equal.tensors["w"])


def test_s2_18_refusals(gt: Callable, tmp_path: Path, tiny_network: Path, far: Path) -> None:
    """One line each: usage is status 2, a latent that cannot be equalised 1."""
    cases = [
        (("--equalize", 1.5), "1.5 is not in the range"),
        (("--equalize", "nan"), "nan is not"),
        (("--equalize", 1, "--strength", 2), "--strength is for directions"),
        (("--equalize", 1, "--absolute"), "--absolute is for directions"),
        ((), "give a direction with --dir NAME"),
    ]
    for flags, why in cases:
        done = gt("edit", far, "--net", tiny_network, *flags)
        assert (done.code, why in done.err, done.err.count("\n")) == (2, True, 1), done.err
    done = gt("edit", "--equalize", 0, "--list")
    assert done.code == 2 and "--equalize does nothing with --list" in done.err
    z = gt("generate", "--net", tiny_network, "--seeds", "0", "--space", "z")
    done = gt("edit", "--net", tiny_network, "--equalize", 1, stdin=z.out)
    assert done.code == 1 and "takes styles and features, not z" in done.err
    latent = load(far)
    latent.header["network"] = {"name": "other", "id": "e" * 64}
    far.write_bytes(latent.to_bytes())
    done = gt("edit", far, "--net", tiny_network, "--equalize", 1)
    assert done.code == 1 and "a latent of network other" in done.err


def test_s2_19_projection_keeps_the_distribution(
    gt: Callable, tmp_path: Path, tiny_network: Path, target: Distribution
) -> None:
    """A picture of noise draws w far from W; with the regulariser it stays, in w and in nw+."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for space in ("w", "nw+"):
        found = {}
        for weight in (0, 10):
            out = tmp_path / f"{space}{weight}.safetensors"
            done = gt(
                *(
                    "project",
                    tmp_path / "a.png",
                    "--net",
                    tiny_network,
                    "--space",
                    space,
                    "-o",
                    out,
                ),
                *("--method", "thesis", "--steps", 60, "--align", "never"),
                *("--perceptual", "pyramid", "--dist-weight", weight),
            )
            assert done.code == 0, done.err
            latent = load(out)
            assert latent.header["projection"]["dist_weight"] == weight
            found[weight] = w1(Distribution.of(latent.tensors["w"]), target)
        assert found[10] < 0.4 * found[0], (space, found)


@pytest.mark.parametrize(("first", "space"), [(3, "fnw+3"), (2, "fw+2"), (4, "fnsw+4")])
def test_s2_18_features_and_styles_each_to_their_own(
    gt: Callable, tmp_path: Path, tiny_network: Path, target: Distribution, first: int, space: str
) -> None:
    """Styles, F and R of every space with features; far features come to those of the block."""
    net = ("--net", tiny_network)
    made = gt("generate", *net, "--seeds", "0", "--space", "w")
    features = gt("project", *net, "--space", space, "-", stdin=made.out)
    assert features.code == 0, features.err
    ((_, data),) = read_stream(io.BytesIO(features.out), "stdin")
    latent = Latent.from_bytes(data, "a")
    for name in latent.tensors:
        if not name.startswith("n."):
            latent.tensors[name] = 4 * latent.tensors[name] + 2
    (tmp_path / "a.safetensors").write_bytes(latent.to_bytes())
    out = tmp_path / "b.safetensors"
    done = gt("edit", tmp_path / "a.safetensors", *net, "--equalize", 1, "-o", out)
    assert done.code == 0, done.err
    after = load(out)
    own = of_features(open_network(str(tiny_network)), first)
    assert set(own) == ({"f"} if first < 3 else {"f", "r"})
    for part, names in parts(after).items():
        wanted = {"w": target, **own}[part]
        before, moved = (Distribution.of(scalars(x, names)) for x in (latent, after))
        assert w1(moved, wanted) < 0.1 * w1(before, wanted), part
    for j, noise in latent.noise.items():
        np.testing.assert_array_equal(after.noise[j], noise)


def test_edit_without_it_still_loads_no_torch(tmp_path: Path, far: Path, tiny_network) -> None:
    """The network is opened for --equalize alone."""
    np.save(tmp_path / "d.npy", np.ones(16))
    code = (
        "import sys; from gantools import cli; "
        f"cli.run(['edit', {str(far)!r}, '--dir', {str(tmp_path / 'd.npy')!r}, "
        f"'-o', {str(tmp_path / 'x.safetensors')!r}]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False", done.stderr
