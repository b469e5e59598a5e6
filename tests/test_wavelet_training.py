"""train --wavelet: networks that work on Haar coefficients, SWAGAN's way (S3.19)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_training as stylegan2
import torch
from test_spectral_training import SMALL, critic, faces, made

from gantools.networks.network import open_network
from gantools.ops.haar import bands_down, bands_up, dwt, iwt
from gantools.ops.resample import downsample, fir_kernel, upsample
from gantools.report import Usage
from gantools.training import growing_presets, networks, presets, snapshots
from gantools.training.reader import in_memory

__all__ = ["faces"]


def drawn(family: str) -> Any:
    """A trainer with wavelets, StyleGAN2's of 16x16."""
    if family != "stylegan2":
        return made(family, wavelet=True)
    config = stylegan2.config(resolution=16, wavelet=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), dtype=np.uint8)
    return stylegan2.Trainer(config, networks.new_networks(config), in_memory(config, pixels))


def test_bands_follow_the_picture_s3_19() -> None:
    """A network's skip path on coefficients is that on the pictures that they stand for."""
    kernel = fir_kernel((1, 3, 3, 1)).double()
    x = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(iwt(bands_up(dwt(x), kernel)), upsample(x, kernel))
    torch.testing.assert_close(iwt(bands_down(dwt(x), kernel)), downsample(x, kernel))


@pytest.mark.parametrize("family", ["pggan", "stylegan2", "sngan"])
def test_networks_learn_and_are_kept_s3_19(family: str, tmp_path: Path) -> None:
    """Pictures have their size; every ToRGB and FromRGB moves; the file has the run's network."""
    run = drawn(family)
    old = {n: t.clone() for net in (run.g, run.d) for n, t in net.state_dict().items()}
    run.step()
    assert run.is_finite()
    now = {n: t for net in (run.g, run.d) for n, t in net.state_dict().items()}
    rgb = [n for n in now if n.endswith(("torgb.weight", "fromrgb.weight"))]
    assert all(not torch.equal(now[n], old[n]) for n in rgb)
    if family != "sngan":
        sides = len(run.g.cfg.widths)
        assert len(rgb) == 2 * sides and run.g.cfg.size == (4 << sides,) * 2
    path = tmp_path / "n.safetensors"
    snapshots.save_network(path, run, {})
    kept = open_network(str(path), discriminator=True)
    assert kept.size == run.config.size
    one, other = (next(snapshots.sample(g, 2, 0, "test", None)) for g in (run.g_ema, kept.g))
    assert np.array_equal(one, other) and one.shape[1:3] == run.config.size


@pytest.mark.parametrize("family", ["pggan", "sngan"])
def test_a_generator_of_flat_bands_makes_cells_s3_19(family: str) -> None:
    """Without detail coefficients every 2x2 cell has one colour."""
    run = made(family, wavelet=True)
    g = run.g.eval()
    with torch.no_grad():
        for name, tensor in g.named_parameters():
            if "torgb" in name:
                tensor[3:] = 0
        last = f"b{g.cfg.resolutions[-1]}.torgb." if family == "pggan" else "torgb."
        for name, tensor in g.named_parameters():
            if "torgb" in name and not name.startswith(last):
                tensor.zero_()
        x = g(torch.randn(2, g.cfg.z_dim))
    cells = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    torch.testing.assert_close(cells, cells[..., :1].expand_as(cells))
    assert x.std() > 0


def test_what_cannot_be_is_refused_s3_19() -> None:
    with pytest.raises(Usage, match="--no-grow"):
        growing_presets.resolve("pggan", "auto", 16, {"wavelet": True})
    with pytest.raises(Usage, match="--fnz"):
        presets.resolve("auto", 16, {"wavelet": True, "fnz": 2})
    with pytest.raises(Usage, match="16 pixels"):
        presets.resolve("auto", 8, {"wavelet": True})


def test_a_run_with_sd_and_on_from_it_s3_19(gt: Any, faces: Path, tmp_path: Path) -> None:
    assert critic(wavelet=True, spectral_d="log1p").kind == "log1p"
    argv = ("train", "pggan", faces, *SMALL, "--images", "1k")
    run = tmp_path / "run"
    first = gt(*argv, "--wavelet", "--spectral-d", "log1p", "-o", run)
    assert first.code == 0, first.err
    net = run / "network-000001.safetensors"
    told = json.loads(gt("model", "info", net, "--json").text)
    assert told["config"]["g"]["wavelet"] and told["size"] == [16, 16]
    done = gt("generate", "--net", net, "--seeds", "1", "-o", tmp_path / "one.png")
    assert done.code == 0, done.err
    refused = gt(*argv, "--net", net, "-o", tmp_path / "b")
    assert refused.code == 2 and "give --wavelet" in refused.err
    again = gt(*argv, "--net", net, "--wavelet", "-o", tmp_path / "c")
    assert again.code == 0, again.err


def test_a_stylegan2_is_shown_and_projected_into_s3_19(gt: Any, tmp_path: Path) -> None:
    """model info, generate, project; spaces with features are refused in one line."""
    run = drawn("stylegan2")
    net = tmp_path / "n.safetensors"
    snapshots.save_network(net, run, {})
    told = json.loads(gt("model", "info", net, "--json").text)
    assert told["config"]["g"]["architecture"] == "wavelet" and told["size"] == [16, 16]
    picture = tmp_path / "one.png"
    assert gt("generate", "--net", net, "--seeds", "1", "-o", picture).code == 0
    done = gt("project", picture, "--net", net, "--steps", "2", "--perceptual", "pyramid",
              "-o", tmp_path / "w.safetensors", "-q")  # fmt: skip
    assert done.code == 0, done.err
    refused = gt("project", picture, "--net", net, "--steps", "2", "--space", "fw+2",
                 "--perceptual", "pyramid", "-o", tmp_path / "f.safetensors", "-q")  # fmt: skip
    assert refused.code in (1, 2) and "wavelet" in refused.err
