"""Checkpoints of pixel2style2pixel by `model import` (papers.md S4.18, formats.md 2c)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gantools.inversion import encoder_files
from gantools.inversion.psp import PspConfig, PspEncoder
from gantools.io import foreign, image, network
from gantools.networks.network import open_network

LAYERS = 8  # of 32x32


@pytest.fixture
def published(fixtures: Path) -> dict[str, Any]:
    """A file as pSp's training writes it, of a network of 32 pixels: only its size is not theirs.

    Tensors that are not read, of other parts and of batch norms' counts, are in it too.
    """
    raw = torch.load(fixtures / "rosinality_converted.pt", weights_only=True)
    torch.manual_seed(0)
    encoder = PspEncoder(PspConfig((32, 32), 3, LAYERS, 32, 16, 10), {})
    state: dict[str, Tensor] = {f"decoder.{n}": t for n, t in raw["g_ema"].items()}
    for name, tensor in encoder.state_dict().items():
        if name != "mean":
            value = tensor + 0.01 * torch.randn_like(tensor)
            state["encoder." + name.removeprefix("trunk.")] = value
    state["encoder.input_layer.1.num_batches_tracked"] = torch.tensor(7)
    options = {"encoder_type": "GradualStyleEncoder", "output_size": 32, "exp_dir": "a/b"}
    avg = raw["latent_avg"].repeat(LAYERS, 1)
    return {"state_dict": state, "opts": options, "latent_avg": avg}


def imported(gt: Any, file: dict[str, Any], folder: Path) -> Any:
    """The result of the command."""
    torch.save(file, folder / "psp_ffhq_encode.pt")
    return gt("model", "import", folder / "psp_ffhq_encode.pt", "-o", folder / "ffhq.safetensors")


def test_s4_18_network_and_encoder_of_one_file(
    gt: Any, published: dict[str, Any], fixtures: Path, tmp_path: Path
) -> None:
    """The network is that of rosinality's file; the encoder is found beside it, bit for bit."""
    result = imported(gt, published, tmp_path)
    assert result.code == 0, result.err
    assert "its encoder, for project --method psp" in result.err
    net = tmp_path / "ffhq.safetensors"
    alone = foreign.read(fixtures / "rosinality_converted.pt")
    assert network.load(net).meta["id"] == alone.meta["id"]
    found = encoder_files.load(tmp_path / "ffhq.psp.encoder.safetensors")
    assert isinstance(found, PspEncoder)
    assert found.config == PspConfig((32, 32), 3, LAYERS, 32, 16, 10)
    found.check(open_network(str(net)))
    for name, tensor in found.state_dict().items():
        theirs = published["state_dict"].get("encoder." + name.removeprefix("trunk."))
        assert torch.equal(tensor, published["latent_avg"] if name == "mean" else theirs)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(image.encode(pixels))
    args = ("project", tmp_path / "a.png", "--net", net, "--method", "psp", "--align", "never")
    assert gt(*args, "-o", tmp_path / "w.safetensors", "-q").code == 0


def test_other_encoders_are_left_out_and_named(
    gt: Any, published: dict[str, Any], tmp_path: Path
) -> None:
    """e4e has the same names and another sense; sketches have one channel; 256 is not 32."""
    state = published["state_dict"]
    deeper = {
        f"encoder.styles.0.convs.{i}.{part}": state[f"encoder.styles.0.convs.0.{part}"]
        for i in (2, 4, 6)
        for part in ("weight", "bias")
    }
    grey = {"encoder.input_layer.0.weight": state["encoder.input_layer.0.weight"][:, :1]}
    for changes, options, why in (
        ({}, {"encoder_type": "Encoder4Editing"}, "of the kind Encoder4Editing"),
        (grey, published["opts"], "pictures of 1 channels"),
        (deeper, published["opts"], "it reads 256x256 pixels, and the network makes 32x32"),
    ):
        file = {**published, "state_dict": state | changes, "opts": options}
        result = imported(gt, file, tmp_path)
        assert result.code == 0, result.err
        assert "left out: the encoder: " in result.err and why in result.err
        assert not (tmp_path / "ffhq.psp.encoder.safetensors").exists()


def test_damaged_files_are_one_line(gt: Any, published: dict[str, Any], tmp_path: Path) -> None:
    """And nothing is written."""
    state = published["state_dict"]
    short = {n: t for n, t in state.items() if n != "encoder.latlayer1.bias"}
    thin = state | {"encoder.body.0.res_layer.1.weight": torch.zeros(1)}
    for changed, why in (
        (short, "latlayer1.bias is missing or of another shape"),
        (thin, "res_layer.1.weight is missing or of another shape"),
        (state | {"encoder.tail.weight": torch.zeros(1)}, "not read: tail.weight"),
        ({n: t for n, t in state.items() if "input_layer.0" not in n}, "the encoder lacks"),
    ):
        result = imported(gt, {**published, "state_dict": changed}, tmp_path)
        assert (result.code, len(result.err.splitlines())) == (2, 1), result.err
        assert why in result.err
        assert [p.name for p in tmp_path.iterdir()] == ["psp_ffhq_encode.pt"]


SHAPED = """
import sys, torch
from gantools.inversion import alae, dse, encoder, psp
shapes = [
    (psp.PspEncoder, psp.PspConfig((64, 64), 3, 10, 8, width=8, depth=10)),
    (dse.DseEncoder, dse.DseConfig((64, 64), 3, (4, 4), 8, 16, num_ws=10, w_dim=8, blur=True)),
    (alae.AlaeEncoder, alae.AlaeConfig(16, (8, 8, 8), w_dim=8)),
]
with torch.device("meta"):
    for kind, config in shapes:
        kind(config, {})
print("torch._dynamo" in sys.modules)
"""


def test_shaping_an_encoder_costs_no_compiler() -> None:
    """Some operations on the meta device import torch._dynamo: a second of a command's start."""
    said = subprocess.run(
        [sys.executable, "-c", SHAPED], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"
