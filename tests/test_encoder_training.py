"""`gantools train encoder`: the loss, the samples and the run of papers.md S2.10."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network
from torch import Tensor

from gantools.inversion import encoder_files, perceptual
from gantools.inversion.encoder import Encoded, Encoder, EncoderConfig
from gantools.io import encoder as files
from gantools.io import image, tensorfile
from gantools.networks.network import open_network
from gantools.training import encoder_report
from gantools.training import encoder_state as state
from gantools.training.encoder import EncoderTrainer, EncoderTraining, begun, decoded, draw

SMALL = ("--first", "5", "--width", "4", "--batch", "2", "--perceptual", "pyramid", "-q")


def trainer_of(net: Path, **changes: Any) -> EncoderTrainer:
    """A trainer of a small encoder."""
    found = open_network(str(net))
    config = EncoderTraining(network=found.story(), width=4, batch=4, **changes)
    return EncoderTrainer(config, found, begun(config, found), perceptual.pyramid)


def numbers(path: Path) -> dict[str, bytes]:
    """The tensors of a state, by name."""
    return {name: value.tobytes() for name, value in tensorfile.read(path)[1].items()}


# --- samples and loss ---


@pytest.mark.parametrize("first", [1, 2, 3, 5])
def test_s2_10_what_an_encoder_should_say_gives_the_picture(tiny_network: Path, first: int) -> None:
    """f, r, styles and noise maps from block i on decode to the sample's own picture."""
    net = open_network(str(tiny_network))
    example = draw(net, first, 0, range(4))
    whole = net.g.synthesis(example.encoded.w[:, :1].expand(-1, net.g.num_ws, -1), "none")
    assert (whole - example.images).abs().max() > 0.01  # its noise maps are other ones
    again = decoded(net, first, example.encoded, example.noise)
    torch.testing.assert_close(again, example.images, rtol=1e-4, atol=1e-4)


def test_s2_10_one_z_per_sample_and_new_noise_maps(tiny_network: Path) -> None:
    net = open_network(str(tiny_network))
    example = draw(net, 3, 0, range(2))
    assert torch.equal(example.encoded.w, example.encoded.w[:, :1].expand(-1, 4, -1))
    assert not torch.equal(example.encoded.w[0], example.encoded.w[1])
    assert [tuple(n.shape) for n in example.noise] == [(2, 1, 8, 8), (2, 1, 16, 16), (2, 1, 16, 16)]
    assert not torch.equal(example.noise[0][0], example.noise[0][1])


def test_a_sample_does_not_depend_on_its_batch(tiny_network: Path) -> None:
    net = open_network(str(tiny_network))
    whole, alone = draw(net, 5, 0, range(3)), draw(net, 5, 0, range(2, 3))
    torch.testing.assert_close(whole.images[2:], alone.images, rtol=1e-5, atol=1e-5)
    assert torch.equal(whole.noise[0][2:], alone.noise[0])
    other = draw(net, 5, 1, range(2, 3))
    assert not torch.equal(other.noise[0], alone.noise[0])


class Known(torch.nn.Module):
    """Says what it is told to, whatever the picture."""

    def __init__(self, encoded: Encoded) -> None:
        super().__init__()
        self.encoded = encoded

    def forward(self, _: Tensor) -> Encoded:
        return self.encoded


def test_s2_10_loss_is_the_weighted_sum_of_its_parts(tiny_network: Path) -> None:
    """0 for the true latents; offsets of a, b and c in f, r and w cost a² + b² + c²."""
    trainer = trainer_of(tiny_network, latent_weight=2.0, mse_weight=0.0, perceptual_weight=0.0)
    example = draw(trainer.network, 5, 0, range(4))
    true = example.encoded
    trainer.encoder = Known(true)  # type: ignore[assignment]
    assert trainer.loss(example) == 0
    assert true.r is not None
    off = Encoded(true.f + 0.1, true.r + 0.2, true.w + 0.3)
    trainer.encoder = Known(off)  # type: ignore[assignment]
    assert float(trainer.loss(example)) == pytest.approx(2 * (0.01 + 0.04 + 0.09), rel=1e-4)
    trainer.config = replace(
        trainer.config, latent_weight=0.0, mse_weight=3.0, perceptual_weight=0.5
    )
    images = decoded(trainer.network, 5, off, example.noise)
    mse = (images - example.images).square().mean()
    seen = perceptual.distance(perceptual.pyramid(images), perceptual.pyramid(example.images))
    assert float(trainer.loss(example)) == pytest.approx(float(3 * mse + seen.mean() / 2), rel=1e-4)
    trainer.encoder = Known(true)  # type: ignore[assignment]
    assert float(trainer.loss(example)) < 1e-6


def test_s2_10_a_batch_can_be_learned(tiny_network: Path) -> None:
    """The loss of one batch drops tenfold."""
    trainer = trainer_of(tiny_network, lr=0.01)
    example = draw(trainer.network, 5, 0, range(4))
    before = float(trainer.loss(example).detach())
    for _ in range(150):
        trainer.adam.zero_grad()
        loss = trainer.loss(example)
        loss.backward()
        trainer.adam.step()
    assert float(loss.detach()) < before / 10


def test_training_learns_more_than_the_mean(tiny_network: Path) -> None:
    """On samples that were not trained on, against the fresh encoder, which says the mean."""
    trainer = trainer_of(tiny_network, lr=3e-3, ema_kimg=0.05)
    unseen = draw(trainer.network, 5, 0, range(-64, 0))
    config = trainer.config

    def loss() -> float:
        judged = EncoderTrainer(config, trainer.network, trainer.ema, perceptual.pyramid)
        judged.encoder = trainer.ema
        with torch.no_grad():
            return float(judged.loss(unseen))

    before = loss()
    for _ in range(60):
        trainer.step()
    assert loss() < 0.8 * before


@pytest.mark.parametrize(("side", "seen"), [(64, 64), (256, 256), (512, 256), (1024, 256)])
def test_s2_14_lpips_sees_pictures_reduced_by_resolution_over_256(side: int, seen: int) -> None:
    sizes = []

    def embed(images: Tensor) -> list[Tensor]:
        sizes.append(tuple(images.shape[2:]))
        return [images]

    perceptual.at_photograph_size(embed, side)(torch.zeros(1, 3, side, side))
    assert sizes == [(seen, seen)]


# --- runs ---


def test_a_run_leaves_an_encoder_a_sheet_and_a_log(
    gt: Any, tiny_network: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    args = ("train", "encoder", *SMALL, "--net", tiny_network, "-o", folder, "--snapshot", "3")
    assert gt(*args, "--steps", "5").code == 0
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 5]
    assert {"loss", "f", "r", "w", "mse", "perceptual", "psnr"} <= set(lines[0])
    assert lines[-1]["images"] == 10
    sheet = image.decode((folder / "samples" / lines[-1]["samples"]).read_bytes())
    assert sheet.shape == (4 * 16, 8 * 16, 3)  # two rows of targets, each above what was made
    found = encoder_files.load(folder)
    found.check(open_network(str(tiny_network)))
    assert files.read(folder).training["steps"] == 5
    assert "device" not in files.read(folder).training
    assert json.loads((folder / "config.json").read_text())["perceptual"] == "pyramid"
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and "5 steps, 10 images in" in page
    drawn = [name for _, names in encoder_report.CURVES for name in names if name in lines[0]]
    assert set(drawn) == set(lines[0]) - {"step", "images", "seconds", "samples"}
    assert all(f">{name}</span>" in page for name in drawn)
    assert "&quot;pyramid&quot;" in page and str(tmp_path) not in page
    again = gt(*args[:-2], "--steps", "5")
    assert again.code == 0


def test_a_run_in_pieces_is_the_same_run(gt: Any, tiny_network: Path, tmp_path: Path) -> None:
    straight, pieces = tmp_path / "straight", tmp_path / "pieces"
    args = ("train", "encoder", *SMALL, "--net", tiny_network, "--snapshot", "2")
    assert gt(*args, "-o", straight, "--steps", "6").code == 0
    for steps in ("2", "4", "6"):
        assert gt(*args, "-o", pieces, "--steps", steps).code == 0
    assert numbers(straight / state.NAME) == numbers(pieces / state.NAME)
    for name in (files.NAME, "samples/000006.png"):
        assert (straight / name).read_bytes() == (pieces / name).read_bytes()


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.long)])
def test_a_killed_run_goes_on_bit_for_bit(
    gt: Any, tiny_network: Path, tmp_path: Path, kills: int
) -> None:
    """kill -9 in the midst of it; what was logged after the last state is logged again, once."""
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    args = ("train", "encoder", *SMALL, "--net", tiny_network, "--snapshot", "4")
    rng = np.random.default_rng(0)
    for _ in range(kills):
        _kill_after(killed, rng.random(), [*args, "-o", killed, "--steps", "1M"])
    with (killed / "log.jsonl").open("a") as log:
        log.write('{"step": 9')
    saved = state.read(killed)
    assert saved is not None
    steps = str(saved.iteration + 6)
    assert gt(*args, "-o", killed, "--steps", steps).code == 0
    assert gt(*args, "-o", straight, "--steps", steps).code == 0
    assert (killed / files.NAME).read_bytes() == (straight / files.NAME).read_bytes()
    assert numbers(killed / state.NAME) == numbers(straight / state.NAME)
    assert not list(killed.glob(".*"))
    logs = [
        [
            {n: v for n, v in json.loads(line).items() if n != "seconds"}
            for line in (folder / "log.jsonl").read_text().splitlines()
        ]
        for folder in (killed, straight)
    ]
    assert logs[0] == logs[1]


def _kill_after(folder: Path, seconds: float, command: list[object]) -> None:
    """Start a run, and kill it so long after it has written a state of its own."""
    path = folder / state.NAME
    before = path.stat().st_mtime_ns if path.exists() else 0
    with subprocess.Popen(
        [sys.executable, "-m", "gantools", *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(encoder_files.__file__).parents[2],
    ) as process:
        end = time.monotonic() + 60
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.poll() is None
            assert time.monotonic() < end, "no state has come"
            time.sleep(0.005)
        time.sleep(seconds)
        process.kill()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_with_its_state_written(
    tiny_network: Path, tmp_path: Path, number: int
) -> None:
    """The work since the last snapshot is not lost."""
    folder = tmp_path / "run"
    args = ["train", "encoder", *SMALL, "--net", tiny_network, "-o", folder, "--steps", "1M"]
    with subprocess.Popen(
        [sys.executable, "-m", "gantools", *map(str, args)],
        cwd=Path(encoder_files.__file__).parents[2],
    ) as process:
        end = time.monotonic() + 60
        while not (folder / "log.jsonl").exists() or not (folder / "log.jsonl").stat().st_size:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(number)
        process.wait(60)
    assert process.returncode == -number
    saved = state.read(folder)
    assert saved is not None
    assert saved.iteration >= 100


def test_other_flags_or_another_network_are_refused_by_name(
    gt: Any, tiny_network: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    args = ("train", "encoder", *SMALL, "-o", folder, "--steps", "1", "--net")
    assert gt(*args, tiny_network).code == 0
    before = numbers(folder / state.NAME)
    result = gt(*args, tiny_network, "--lr", "0.1", "--seed", "3", "--steps", "9")
    assert result.code == 2
    assert "--lr, --seed differ from the run in this folder" in result.err
    other = make_network(tmp_path / "other.safetensors", seed=1)
    result = gt(*args, other, "--steps", "9")
    assert result.code == 2
    assert "--net differs from the run in this folder" in result.err
    assert numbers(folder / state.NAME) == before


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--first", "7"], "--first 7: tiny has the blocks 1 to 6"),
        (["--backbone", "efficientnet-b0-scratch"], "--first 5: f and r are 16x16 and 8x8"),
        (["--backbone", "efficientnet-b0", "--first", "3"], "take --backbone small or"),
        (["--steps", "0"], "--steps 0"),
        (["--lr", "nan"], "not a finite number"),
        (["--arch", "dse"], "dse"),
    ],
)
def test_what_cannot_be_is_one_line(
    gt: Any, tiny_network: Path, tmp_path: Path, flags: list[str], why: str
) -> None:
    args = ["--first", "5", "--perceptual", "pyramid", "--net", tiny_network, "-o", tmp_path / "r"]
    result = gt("train", "encoder", *args, *flags)
    assert result.code == 2
    assert why in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "r" / files.NAME).exists()


def test_weights_of_nothing_and_a_width_of_efficientnet(
    gt: Any, tiny_network: Path, tmp_path: Path
) -> None:
    args = ("train", "encoder", "--net", tiny_network, "-o", tmp_path / "r")
    zero = [f"--{name}-weight=0" for name in ("latent", "mse", "perceptual")]
    assert "the weights are all 0" in gt(*args, *zero).err
    wide = gt(*args, "--backbone", "efficientnet-b0-scratch", "--width", "8")
    assert (wide.code, "--width is the small backbone's" in wide.err) == (2, True)


def test_a_folder_of_another_command_is_refused(
    gt: Any, tiny_network: Path, tmp_path: Path
) -> None:
    tensorfile.write(
        tmp_path / state.NAME, {"a": np.zeros(1)}, {"format": 1, "kind": "training state"}
    )
    result = gt("train", "encoder", *SMALL, "--net", tiny_network, "-o", tmp_path)
    assert (result.code, "the run of another train command" in result.err) == (2, True)


def test_a_damaged_state_is_one_line(gt: Any, tiny_network: Path, tmp_path: Path) -> None:
    args = ("train", "encoder", *SMALL, "--net", tiny_network, "-o", tmp_path, "--steps")
    assert gt(*args, "1").code == 0
    path = tmp_path / state.NAME
    story, tensors = tensorfile.read(path)
    tensors = dict(tensors)
    gone = next(name for name in tensors if name.startswith("ema."))
    del tensors[gone]
    tensorfile.write(path, tensors, story)
    result = gt(*args, "2")
    assert (result.code, f"{gone} is missing" in result.err) == (2, True)
    path.write_bytes(path.read_bytes()[:-3])
    assert gt(*args, "2").code == 2


@pytest.mark.parametrize("config", [{"c_dim": 3}, {"img_channels": 4}, {"first_block": (4, 6)}])
def test_networks_with_classes_alpha_or_another_shape(
    gt: Any, tmp_path: Path, config: dict[str, Any]
) -> None:
    net = make_network(tmp_path / "n.safetensors", **config)
    args = ("train", "encoder", *SMALL, "--net", net, "-o", tmp_path / "r", "--steps", "2")
    result = gt(*args)
    assert result.code == 0, result.err
    encoder_files.load(tmp_path / "r").check(open_network(str(net)))


def test_a_network_without_blocks_is_refused(gt: Any, tmp_path: Path) -> None:
    net = make_network(tmp_path / "n.safetensors", architecture="orig")
    result = gt("train", "encoder", *SMALL, "--net", net, "-o", tmp_path / "r")
    assert result.code == 2
    assert "its architecture is orig" in result.err
    assert not (tmp_path / "r").exists()


def test_efficientnet_trains_from_scratch(tmp_path: Path) -> None:
    """A step changes what its batch norms have seen, and no batch is dropped at random."""
    net = make_network(tmp_path / "n.safetensors", resolution=32)
    first, again = (trainer_of(net, backbone="efficientnet-b0-scratch", first=5) for _ in range(2))
    for trainer in (first, again):
        trainer.step()
    left, right = (numbers_of(t.encoder) for t in (first, again))
    assert left == right
    norm = first.encoder.backbone.features[0][1]
    assert not torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))


def numbers_of(encoder: Encoder) -> dict[str, bytes]:
    """An encoder's tensors as bytes."""
    return {
        name: value.tobytes() for name, value in encoder_files.to_file(encoder, {}).tensors.items()
    }


def test_the_configuration_of_a_file_is_the_networks(tiny_network: Path) -> None:
    net = open_network(str(tiny_network))
    config = EncoderConfig.of(net, 5, "small", 4)
    assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


# --- photographs beside the samples ---


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder of twelve pictures of 20x20."""
    folder = tmp_path / "faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
        (folder / f"{i:03d}.png").write_bytes(image.encode(pixels))
    return folder


def test_photographs_count_as_pictures_alone(tiny_network: Path) -> None:
    """Their squared errors stand beside the samples' in one mean; their latents are not known."""
    trainer = trainer_of(tiny_network, latent_weight=0.0, perceptual_weight=0.0, mse_weight=2.0)
    trainer.encoder.eval()
    example, shown = draw(trainer.network, 5, 0, range(4)), torch.randn(2, 3, 16, 16)
    alone = float(trainer.loss(example).detach())
    both = float(trainer.loss(example, shown).detach())
    made = decoded(trainer.network, 5, trainer.encoder(shown), trainer._noise(2))
    of_shown = 2 * float((made - shown).square().mean().detach())
    assert both == pytest.approx((alone + of_shown) / 2, rel=1e-4)


def test_a_run_with_photographs_goes_on_as_if_in_one_piece(
    gt: Any, tiny_network: Path, faces: Path, tmp_path: Path
) -> None:
    straight, pieces = tmp_path / "straight", tmp_path / "pieces"
    args = ("train", "encoder", faces, *SMALL, "--net", tiny_network, "--snapshot", "2")
    args = (*args, "--mirror", "--hold-out", "5")
    assert gt(*args, "-o", straight, "--steps", "4").code == 0
    for steps in ("2", "4"):
        assert gt(*args, "-o", pieces, "--steps", steps, "--workers", "1").code == 0
    assert numbers(straight / state.NAME) == numbers(pieces / state.NAME)
    assert (straight / files.NAME).read_bytes() == (pieces / files.NAME).read_bytes()
    assert files.read(straight).training["pictures"] == "faces: 9 pictures"
    line = json.loads((straight / "log.jsonl").read_text().splitlines()[-1])
    assert {"mse_real", "perceptual_real", "psnr_held"} <= set(line)
    sheet = image.decode((straight / "samples" / line["samples"]).read_bytes())
    assert sheet.shape == (6 * 16, 8 * 16, 3)  # three held out: one more pair of rows
    assert not sheet[4 * 16 :, 3 * 16 :].any()
    (faces / "001.png").unlink()
    result = gt(*args, "-o", pieces, "--steps", "6")
    assert result.code == 2
    assert "DATA differs from the run in this folder" in result.err


def test_flags_of_photographs_without_any(
    gt: Any, tiny_network: Path, faces: Path, tmp_path: Path
) -> None:
    args = ("train", "encoder", "--net", tiny_network, "-o", tmp_path / "r")
    assert "there are none: name DATA" in gt(*args, "--hold-out", "10").err
    zero = ["--mse-weight=0", "--perceptual-weight=0"]
    assert "nothing is learned of photographs" in gt(*args, faces, *zero).err
