"""train --upsample, --downsample, --preset freqbias (S3.9, S3.14, S3.23)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_spectral_training import faces, made, pggan

from gantools.networks.network import open_network
from gantools.ops.resample import (
    DOWNSAMPLINGS,
    UPSAMPLINGS,
    conv_down,
    conv_up,
    down,
    downsample,
    fir_kernel,
    up,
    upsample,
)
from gantools.report import Usage
from gantools.training import growing_presets, networks, presets, snapshots
from gantools.training.presets import DOWNSAMPLE, UPSAMPLE

__all__ = ["faces"]
SMALL = ("--batch", "32", "--images", "1k", "--snapshot", "1k", "--device", "cpu", "-q")


def inner(x: torch.Tensor) -> torch.Tensor:
    """Without the border, where filters see zeros and interpolation sees itself."""
    return x[..., 3:-3, 3:-3]


def test_filters_are_the_papers_ways_s3_9_s3_14() -> None:
    """StyleGAN2's filters give the same samples; its convolutions stand behind or before them."""
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    turned = weight.flip([2, 3])  # conv_up's transposed convolution is a true one
    for way, taps in UPSAMPLE.items():
        kernel, wanted = fir_kernel(taps).double(), up(x, way)  # type: ignore[arg-type]
        torch.testing.assert_close(inner(upsample(x, kernel)), inner(wanted))
        both = torch.nn.functional.conv2d(wanted, turned, padding=1)
        torch.testing.assert_close(inner(conv_up(x, weight, kernel)), inner(both))
    for way, taps in DOWNSAMPLE.items():
        kernel = fir_kernel(taps).double()
        torch.testing.assert_close(inner(downsample(x, kernel)), inner(down(x, way)))  # type: ignore[arg-type]
        # the halving of what a convolution gave is a convolution of stride 2 of what a filter gave
        whole = torch.nn.functional.conv2d(x, weight, padding=1)
        found = conv_down(x, weight, kernel)
        torch.testing.assert_close(inner(found), inner(down(whole, way)))  # type: ignore[arg-type]


FITTING = [
    *(("pggan", {"upsample": way}) for way in UPSAMPLINGS),
    *(("pggan", {"downsample": way}) for way in DOWNSAMPLINGS),
    *(("sngan", {"upsample": way}) for way in ("bilinear", "nearest", "zeros")),
    *(("sngan", {"downsample": way}) for way in DOWNSAMPLINGS),
    *(("stylegan2", {"upsample": way, "downsample": "stride"}) for way in UPSAMPLE),
    *(("stylegan2", {"downsample": way}) for way in DOWNSAMPLE),
]


@pytest.mark.parametrize(("family", "ways"), FITTING)
def test_networks_learn_and_are_kept_s3_9_s3_14(
    family: str, ways: dict[str, str], tmp_path: Path
) -> None:
    """One step moves both; the file names the way and makes the same pictures."""
    run = made(family, **ways)
    path = tmp_path / "n.safetensors"
    run.step()
    assert run.is_finite()
    snapshots.save_network(path, run, {})
    kept = open_network(str(path), discriminator=True)
    for flag, way in ways.items():
        cfg = kept.g.cfg if flag == "upsample" else kept.d.cfg  # type: ignore[union-attr]
        if family == "stylegan2":
            taps = (UPSAMPLE if flag == "upsample" else DOWNSAMPLE)[way]
            assert cfg.resample_filter == taps
        else:
            assert getattr(cfg, flag) == way
    one, other = (
        next(iter(snapshots.sample(g, 2, 0, "test", None))) for g in (run.g_ema, kept.g)
    )  # fmt: skip
    assert np.array_equal(one, other)


def test_ways_differ_s3_9_s3_14() -> None:
    """The same weights, other pictures and other logits."""
    plain = pggan()
    z, x = torch.randn(2, 16), torch.randn(2, 3, 16, 16)
    for way in ("bilinear", "zeros"):
        other = pggan(upsample=way)
        assert not torch.allclose(plain.g(z, lod=0.0), other.g(z, lod=0.0))
    for way in ("blurpool", "stride"):
        other = pggan(downsample=way)
        assert not torch.allclose(plain.d(x, lod=0.0), other.d(x, lod=0.0))


def test_reshape_has_two_thirds_of_the_channels_s3_9() -> None:
    config = growing_presets.resolve("pggan", "freqbias", 64, {"upsample": "reshape"})
    assert config.network_configs()[0]["widths"] == (42, 42, 42, 42, 21)
    assert config.network_configs()[1]["widths"] == (64, 64, 64, 64, 32)


def test_freqbias_s3_23() -> None:
    """S3.8's generator and S3.13's discriminator with one logit; what the table says is chosen."""
    config = growing_presets.resolve("pggan", "freqbias", 64, {})
    nets = networks.new_networks(config)
    count = [sum(p.numel() for p in net.parameters()) for net in (nets.g, nets.d)]
    assert count == [351_907, 353_194 - 9 * 65]
    assert (config.loss, config.gamma, config.batch, config.lr) == ("logistic", 10.0, 64, 0.002)
    assert growing_presets.total_images(config) == 5_000_000
    now = config.schedule().at(0)
    assert (now.lod, now.resolution, now.batch) == (0, 64, 64)
    assert nets.g.cfg.upsample == "nearest" and nets.d.cfg.downsample == "avg"
    with pytest.raises(Usage, match="--grow"):
        growing_presets.resolve("pggan", "freqbias", 64, {"growing": True})


@pytest.mark.parametrize(("family", "way"), [("sngan", "reshape"), ("stylegan2", "zeros")])
def test_ways_that_a_family_lacks_are_refused(family: Any, way: str) -> None:
    with pytest.raises(Usage, match=f"--upsample {way}"):
        if family == "sngan":
            growing_presets.resolve("sngan", "auto", 32, {"upsample": way})
        else:
            presets.resolve("auto", 32, {"upsample": way})


def test_freqbias_on_the_command_line_s3_23(gt: Any, faces: Path, tmp_path: Path) -> None:
    """Trained with SD, shown by model info, used, gone on from with its own ways alone."""
    argv = ("train", "pggan", faces, *SMALL, "--preset", "freqbias", "--resolution", "16",
            "--channel-max", "8")  # fmt: skip
    run = tmp_path / "run"
    first = gt(*argv, "--spectral-d", "log1p", "--upsample", "zeros", "--downsample", "stride",
               "-o", run)  # fmt: skip
    assert first.code == 0, first.err
    net = run / "network-000001.safetensors"
    told = json.loads(gt("model", "info", net, "--json").text)["config"]
    assert told["g"]["upsample"] == "zeros" and told["d"]["downsample"] == "stride"
    assert not told["g"]["growing"]
    assert gt("generate", "--net", net, "--seeds", "0-3", "-o", tmp_path / "x.tar").code == 0
    refused = gt(*argv, "--net", net, "--upsample", "nearest", "-o", tmp_path / "b")
    assert refused.code == 2 and "--upsample nearest" in refused.err
    grown = gt("train", "pggan", faces, *SMALL, "--net", net, "-o", tmp_path / "c")
    assert grown.code == 2 and "--no-grow" in grown.err
    again = gt(*argv, "--net", net, "--f-mining", "-o", tmp_path / "d")
    assert again.code == 0, again.err
