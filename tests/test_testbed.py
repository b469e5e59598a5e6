"""The two testbeds of paper 003: their losses, their courses, exact resumption (S3.7-S3.22)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.autograd import gradcheck

from gantools.networks.layers import minibatch_stddev
from gantools.ops.haar import iwt
from gantools.ops.spectrum import reduced
from gantools.spectra import testbed_results, testbed_run, toyset
from gantools.spectra.discriminator_testbed import (
    EMA,
    EXTRA,
    R1,
    Critic,
    DiscriminatorBed,
    DiscriminatorSetup,
    Extra,
    Spatial,
    convolutional,
    matched_factor,
    matched_width,
    parameters,
    spectral_part,
    wanted_parameters,
)
from gantools.spectra.generator_testbed import (
    GeneratorBed,
    GeneratorSetup,
    network,
    spectral_loss,
    widths,
)
from gantools.spectra.testbed import Shape, Together, quality, step_by
from gantools.spectra.testbed_results import high_power
from gantools.training.losses import r1_penalty

FULL, TINY = Shape(64, 8), Shape(8, 64)


def pictures(n: int, side: int = 8) -> Tensor:
    drawn = [pixels for pixels, _ in zip(toyset.official(side), range(n), strict=False)]
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float() / 127.5 - 1


def discriminator(spatial: Spatial, extra: Extra, n: int = 2, **more: Any) -> DiscriminatorBed:
    rates = {"lr": 1e-3, "tensor_lr": 1e-2} | more
    setup = DiscriminatorSetup(spatial, extra, n)
    return DiscriminatorBed(setup, pictures(n), TINY, seed=0, **rates)


def test_counts_s3_8_s3_13_s3_15() -> None:
    for how in ("bilinear", "nearest", "zeros"):
        assert parameters(network(FULL, how)) == 351_907
    assert parameters(network(FULL, "reshape")) == 357_507
    assert widths(64, "zeros", 8) == (64, 64, 64, 64, 32)
    for kind in ("avg", "blurpool", "stride"):
        assert parameters(convolutional(FULL, 10, kind)) == 353_194
    assert parameters(Critic(DiscriminatorSetup("mlp", "none", 10), FULL)) == 346_818
    assert parameters(Critic(DiscriminatorSetup("avg", "sd", 10), FULL)) == 353_194 + 2_632


def test_match_params_s3_21() -> None:
    """SD and SD-CNN-FT come within 1 % of SD-FT's 1,623,434."""
    assert wanted_parameters(FULL, 10) == 1_623_434
    for extra in ("sd", "sd-cnn-ft"):
        made = spectral_part(DiscriminatorSetup("avg", extra, 10, matched=True), FULL)
        assert made is not None
        assert parameters(made) == pytest.approx(1_623_434, rel=0.01)
    assert matched_width(FULL, 10) > 10_000
    assert 2 < matched_factor(FULL, 10) < 3


def test_equal_samples_deviate_by_epsilon_s3_13() -> None:
    x = torch.randn(1, 4, 4, 4).expand(10, -1, -1, -1)
    made = minibatch_stddev(x, 16)
    torch.testing.assert_close(made[:, 4:], torch.full((10, 1, 4, 4), 1e-4))


def test_spectral_loss_fixture_s3_10(fixtures: Path) -> None:
    t = load_file(fixtures / "numerics/spectral_loss.safetensors")
    told = json.loads((fixtures / "numerics/spectral_loss.json").read_text())["values"]
    x, y = t["x"].double().requires_grad_(), t["y"].double()
    loss = spectral_loss(x, y)
    both = (loss + F.mse_loss(x, y)).detach()
    assert float(loss.detach()) == pytest.approx(told["loss_spec"], rel=1e-6)
    assert float(both) == pytest.approx(told["loss_sum_1_1"], rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, x)
    scale = float(t["grad_spec"].abs().max())
    torch.testing.assert_close(gradient, t["grad_spec"], atol=1e-6 * scale, rtol=0)


def test_spectral_loss_sees_no_shift_s3_10() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 6, 6, generator=g, dtype=torch.float64) * 2 - 1
    assert float(spectral_loss(x.roll((1, 2), (2, 3)), x)) < 1e-20
    y = torch.rand(1, 3, 6, 6, generator=g, dtype=torch.float64)
    assert gradcheck(lambda z: spectral_loss(z, y), x[:1].requires_grad_())


def test_spectral_loss_of_a_factor_s3_10() -> None:
    """L(a x, x) is the mean of log²((1 + a² S) / (1 + S)); its slope in a is that formula's."""
    x = pictures(2).double()
    s, a = reduced(x), torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    loss = spectral_loss(a * x, x)
    log = ((1 + 1.69 * s) / (1 + s)).log()
    torch.testing.assert_close(loss.detach(), log.square().mean())
    (slope,) = torch.autograd.grad(loss, a)
    torch.testing.assert_close(slope, (2 * log * 2.6 * s / (1 + 1.69 * s)).mean())


def test_psnr_of_exact_pictures_is_capped_s3_6() -> None:
    x = pictures(2)
    assert quality(x, x) == 100
    assert quality(x + 1 / 127.5 + 1e-4, x - 1e-4 + 1e-4) == pytest.approx(48.13, abs=4)


def test_a_step_is_adams_whatever_the_strides() -> None:
    """With beta 0 the first step is the rate times the gradient's sign, number by number."""
    table = nn.Parameter(torch.zeros(2, 3, 4, 5))
    wanted = torch.randn(5, 4, 3, 2, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam([table], lr=0.5, betas=(0.0, 0.99), fused=True)
    step_by(optimiser, (table.permute(3, 2, 1, 0) * wanted).sum())
    expected = -0.5 * wanted.sign().permute(3, 2, 1, 0)
    torch.testing.assert_close(table.detach(), expected)


@pytest.mark.parametrize("spectral", [False, True])
def test_a_generator_learns_two_pictures_s3_7(spectral: bool) -> None:
    setup = GeneratorSetup("reshape", spectral, 2)
    bed = GeneratorBed(setup, pictures(2), Shape(8, 32), lr=1e-2, seed=0)
    start = quality(bed.pictures(), bed.targets)
    for _ in range(120):
        bed.step()
    assert quality(bed.pictures(), bed.targets) > start + 6


def test_latents_do_not_depend_on_their_number_s3_28() -> None:
    one, two = (
        GeneratorBed(GeneratorSetup("zeros", False, n), pictures(3), TINY, lr=1e-3, seed=4)
        for n in (1, 3)
    )
    assert torch.equal(one.z, two.z[:1])


def test_gan_step_fixture_s3_16(fixtures: Path) -> None:
    """BCE of both discriminators' logits, R1 of their sum without a half, and their gradients."""
    t = load_file(fixtures / "numerics/sd_testbed_step.safetensors")
    told = json.loads((fixtures / "numerics/sd_testbed_step.json").read_text())["values"]
    labels = t["labels"]
    shape = Shape(32, 64)
    critic = Critic(DiscriminatorSetup("mlp", "sd", 6), shape).double()
    spatial = nn.Sequential(
        nn.Flatten(), nn.Linear(3072, 8, bias=False), nn.Tanh(), nn.Linear(8, 6, bias=False)
    ).double()
    spatial[1].weight.data, spatial[3].weight.data = t["D_w1"], t["D_w2"][labels]
    sd = critic.parts[1]
    weights = {n[3:]: v for n, v in t.items() if n.startswith("sd.")}
    ordered = {n: v[labels] if ".2." in n else v for n, v in weights.items()}
    sd.load_state_dict(ordered)
    critic.parts = nn.ModuleList([spatial, sd])
    real, fake = (
        ((t[f"{kind}_images"].float() / 255 - 0.5) / 0.5).double().requires_grad_()
        for kind in ("real", "fake")
    )
    own, judged = critic(real), critic(fake)
    torch.testing.assert_close(own[:, None], t["logits_real"])
    losses = F.softplus(-own).mean(), F.softplus(judged).mean()
    assert [x.item() for x in losses] == pytest.approx([told["dloss_real"], told["dloss_fake"]])
    penalty = r1_penalty(own, real, 2 * R1)
    assert penalty.item() == pytest.approx(told["reg"])
    gloss = F.softplus(-judged).mean()
    assert gloss.item() == pytest.approx(told["gloss"])
    (by_fake,) = torch.autograd.grad(gloss, fake, retain_graph=True)
    torch.testing.assert_close(by_fake, t["gloss_grad_fake"])
    found = torch.autograd.grad(losses[0] + losses[1] + penalty, list(sd.parameters()))
    for (name, _), gradient in zip(sd.named_parameters(), found, strict=True):
        wanted = t[f"sd_grad.{name}"]
        torch.testing.assert_close(gradient, wanted[labels] if ".2." in name else wanted)


def test_a_logit_teaches_its_own_picture_s3_12() -> None:
    """No gradient reaches the pictures of other classes; minibatch stddev aside, so of the MLP."""
    bed = discriminator("mlp", "sd", 3)
    table = bed.table.pictures
    logits = bed.critic(table)
    (gradient,) = torch.autograd.grad(logits[1] + logits[4], table)
    assert gradient[1].any()
    assert not gradient[0].any()
    assert not gradient[2].any()


def test_average_closed_form_s3_12() -> None:
    """After n steps of pictures that stand still: 1 - 0.999^n of them."""
    bed = discriminator("mlp", "none", tensor_lr=1e-30)
    bed.ema.pictures.data.zero_()
    for _ in range(20):
        bed.step()
    torch.testing.assert_close(bed.pictures(), bed.table.pictures * (1 - EMA**20))


@pytest.mark.parametrize("extra", [extra for extra in EXTRA if extra != "sd-cnn-ft"])
def test_pictures_come_near_through_an_mlp_s3_12(extra: Extra) -> None:
    bed = discriminator("mlp", extra)
    start = bed.measure()["psnr_raw"]
    for _ in range(60):
        bed.step()
    told = bed.measure()
    assert told["psnr_raw"] > start + 2
    assert abs(told["d_loss"] - 2 * math.log(2)) < 0.5


def test_convolutions_of_the_dft_teach_s3_21() -> None:
    """Half of the logits are theirs, and their gradient reaches every number of the picture."""
    bed = discriminator("mlp", "sd-cnn-ft", 3)
    logits = bed.critic(bed.table.pictures)
    assert logits.shape == (6,)
    (gradient,) = torch.autograd.grad(logits[3:].sum(), bed.table.pictures)
    assert gradient.bool().all()


def test_sd_alone_teaches_the_spectrum_only_s3_16() -> None:
    bed = discriminator("none", "sd", lr=1e-2, tensor_lr=1e-3)

    def away() -> float:
        spectra = [reduced(x).mean(0).log1p() for x in (bed.table.pictures, bed.targets)]
        return float((spectra[0] - spectra[1]).square().mean().detach())

    before, psnr = away(), bed.measure()["psnr_raw"]
    for _ in range(250):
        bed.step()
    told = bed.measure()
    assert away() < before / 20
    assert told["psnr_raw"] < psnr
    assert told["d_loss"] == pytest.approx(2 * math.log(2), abs=0.05), "the equilibrium"


@pytest.mark.parametrize(
    ("told", "there"),
    [
        ({"d_loss": 2 * math.log(2), "r1": 0.0, "logit": 0.0}, True),
        ({"d_loss": 1.3, "r1": 0.0, "logit": 0.0}, False),
        ({"d_loss": 1.386, "r1": 0.2, "logit": 0.0}, False),
        ({"d_loss": 1.386, "r1": 0.0, "logit": 0.3}, False),
    ],
)
def test_equilibrium_is_told_s3_12(told: dict[str, float], there: bool) -> None:
    """All logits 0: losses of logits that are not may cancel to 2 log 2."""
    bed, course = discriminator("mlp", "none"), testbed_run.Course()
    course.add(1, {"psnr": 1.0, **told}, reduced(bed.targets).mean(0).numpy())
    entry = testbed_results.entry(bed, course, {"mlp": {"toyset": 26.2}})
    assert entry["equilibrium"] is there
    assert entry["paper"] == {"toyset": 26.2}


def test_wavelets_are_learned_s3_19() -> None:
    """The table holds coefficients; its pictures are their inverse transform."""
    bed = discriminator("avg", "wavelet")
    bed.step()
    assert bed.table.pictures.shape == (2, 12, 4, 4)
    torch.testing.assert_close(bed.pictures(), iwt(bed.ema.pictures))


def test_power_of_the_corners() -> None:
    """1 of the pictures themselves; a quarter of half as much contrast."""
    x = pictures(2, 16)
    spectra = [reduced(a * x.double()).mean(0).numpy() for a in (1, 0.5)]
    found = [high_power(x, spectrum) for spectrum in spectra]
    assert found == pytest.approx([1, 0.25])
    assert high_power(x * 0, spectra[0]) == math.inf


ARGS = ("--size", 8, "--divisor", 64, "--num", 2, "--every", 4, "-q")
GENERATOR = ("spectrum", "testbed", "generator", *ARGS, "--upsample", "zeros,reshape",
             "--spectral-loss", "both")  # fmt: skip
DISCRIMINATOR = ("spectrum", "testbed", "discriminator", *ARGS, "--discriminator", "avg,mlp",
                 "--with", "none,f-mining")  # fmt: skip


@pytest.mark.parametrize("command", [GENERATOR, DISCRIMINATOR], ids=["generator", "discriminator"])
def test_a_killed_run_is_the_same_run(
    command: tuple[Any, ...], gt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two states, with measurements in the log that the state does not know."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    if command is DISCRIMINATOR:
        monkeypatch.setattr(testbed_results, "curves", lambda *_: b"")
    assert gt(*command, "--steps", 12, "-o", f"{whole}/").code == 0
    measure, save, left = testbed_run._Run._measure, testbed_run._Run._save, [2, 5]

    def dying(self: testbed_run._Run) -> None:
        measure(self)
        left[0] -= 1
        if not left[0]:
            raise MemoryError  # nothing is written any more, as after kill -9

    def seldom(self: testbed_run._Run) -> None:
        left[1] -= 1
        if left[1] == 0:
            save(self)

    with monkeypatch.context() as m:
        m.setattr(testbed_run, "STATE_SECONDS", 0)
        m.setattr(testbed_run._Run, "_measure", dying)
        m.setattr(testbed_run._Run, "_save", seldom)
        assert gt(*command, "--steps", 12, "-o", f"{killed}/").code != 0
    assert (killed / "state.safetensors").is_file()
    assert gt(*command, "--steps", 12, "-o", f"{killed}/").code == 0
    names = {file.name for file in whole.iterdir()}
    assert names == {"state.safetensors", "log.jsonl", "results.json", "evolution.png",
                     "psnr.png", "pictures.png", "pictures.safetensors"}  # fmt: skip
    for name in names:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


def test_more_steps_go_on_and_other_flags_do_not(
    gt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for figure in ("evolution", "curves"):  # they cost more than the run
        monkeypatch.setattr(testbed_results, figure, lambda *_: b"")
    run, longer = f"{tmp_path}/run/", f"{tmp_path}/longer/"
    assert gt(*GENERATOR, "--steps", 6, "-o", run).code == 0
    assert gt(*GENERATOR, "--steps", 9, "-o", run).code == 0
    assert gt(*GENERATOR, "--steps", 9, "-o", longer).code == 0
    one, other = (json.loads(Path(f, "results.json").read_text()) for f in (run, longer))
    assert one == other
    assert one["configurations"][0]["steps"] == [4, 8, 9]
    for flags, told in (
        (("--lr", 0.1), "--lr differs"),
        (("--seed", 1), "the pictures, --seed differ"),
        (("--toyset", "pink"), "the pictures differ"),
    ):
        refused = gt(*GENERATOR, "--steps", 9, *flags, "-o", run)
        assert refused.code == 2
        assert f"{told} from the run" in refused.err
    state = tmp_path / "run" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-5])
    damaged = gt(*GENERATOR, "--steps", 9, "-o", run)
    assert damaged.code == 2
    assert damaged.err.count("\n") == 1


def test_a_configuration_does_not_depend_on_others_s3_22_s3_28(gt: Any) -> None:
    """Alone or among others, with one number of pictures or with several; beside the paper's."""
    many = gt(*DISCRIMINATOR, "--steps", 4, "--num", "1,2", "--json")
    alone = gt("spectrum", "testbed", "discriminator", *ARGS, "--steps", 4, "--json",
               "--discriminator", "mlp", "--with", "f-mining")  # fmt: skip
    assert (many.code, alone.code) == (0, 0)
    (wanted,) = json.loads(alone.text)["configurations"]
    found = json.loads(many.text)["configurations"]
    assert [(entry["name"], entry["num"]) for entry in found] == [
        (name, num) for num in (1, 2) for name in ("avg", "mlp", "avg+f-mining", "mlp+f-mining")
    ]
    assert found[-1] == wanted
    assert [entry["paper"] for entry in found[:3]] == [
        {"toyset": 16.3, "celeba": 25.4}, {"toyset": 26.2, "celeba": 28.1}, {}
    ]  # fmt: skip


def test_table_has_the_papers_numbers_s3_11_s3_22(gt: Any, tmp_path: Path) -> None:
    done = gt(*GENERATOR, "--steps", 4, "-o", "-", "-o", tmp_path / "x.svg")
    assert done.code == 0
    lines = [line.split("\t") for line in done.text.splitlines()]
    assert lines[0] == ["name", "num", "parameters", "psnr", "loss", "power_high",
                        "paper toyset", "paper celeba"]  # fmt: skip
    assert lines[1][0] == "zeros"
    assert lines[1][-2:] == ["38.6", "42.4"]
    assert lines[4][0] == "reshape+spectral"
    assert lines[4][-2:] == ["36.5", "40.9"]
    assert (tmp_path / "x.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.long
def test_upsamplings_have_the_papers_order_s3_7_s3_11(gt: Any) -> None:
    """Zeros >= Reshape > NN > Bilinear, and the first two alone have power in the corners."""
    done = gt("spectrum", "testbed", "generator", "--size", 16, "--num", 2, "--steps", 300,
              "--every", 300, "--json", "-q")  # fmt: skip
    found = {entry["name"]: entry for entry in json.loads(done.text)["configurations"]}
    order = ["zeros", "reshape", "nearest", "bilinear"]
    assert sorted(found, key=lambda name: -found[name]["psnr"]) == order
    assert found["zeros"]["psnr"] > found["nearest"]["psnr"] + 5
    power = [found[name]["power_high"] for name in order]
    assert min(power[:2]) > 0.7
    assert max(power[2:]) < 0.5


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("generator", "--upsample", "zeros,cubic"), "cubic is none of"),
        (("generator", "--size", 48), "a power of two"),
        (("generator", "--lr", 0), "above 0"),
        (("generator", "-o", "a/", "-o", "b/"), "second run folder"),
        (("generator", "-o", "x.txt"), "results go to"),
        (("discriminator", "--discriminator", "none"), "goes with sd"),
        (("discriminator", "--with", "none", "--match-params"), "names neither"),
        (("discriminator", "--discriminator", "avg", "--mlp-width", 9), "not named"),
    ],
)
def test_wrong_usage(flags: tuple[Any, ...], told: str, gt: Any) -> None:
    refused = gt("spectrum", "testbed", flags[0], *ARGS, "--steps", 1, *flags[1:])
    if flags[-1] == "none":
        refused = gt("spectrum", "testbed", *flags, "--with", "none")
    assert refused.code == 2
    assert told in refused.err
    assert refused.err.count("\n") == 1


def test_too_few_pictures(gt: Any, tmp_path: Path) -> None:
    assert gt("spectrum", "toyset", "--num", 2, "--size", 8, "-o", f"{tmp_path}/toys/").code == 0
    asked = ("spectrum", "testbed", "generator", tmp_path / "toys", *ARGS, "--steps", 1)
    assert gt(*asked, "--json").code == 0
    refused = gt(*asked, "--num", 3)
    assert refused.code == 2
    assert "--num 3: there are only 2 pictures" in refused.err
    beside = gt(*asked, "-o", f"{tmp_path}/toys/../toys/")
    assert beside.code == 2 and "the pictures to learn are there" in beside.err
    assert len(list((tmp_path / "toys").iterdir())) == 2
    (tmp_path / "toys" / "clean000001.png").write_bytes(b"no picture")
    refused = gt(*asked)
    assert f"{tmp_path}/toys/clean000001.png: not an image" in refused.err
    assert refused.code == 2 and "--num 2: there are only 1" in refused.err


@pytest.mark.gpu
def test_one_graph_computes_what_single_steps_do() -> None:
    """On a GPU, all configurations in one CUDA graph."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")

    def beds() -> list[Any]:
        x = pictures(2).cuda()
        one = GeneratorBed(GeneratorSetup("zeros", True, 2), x, TINY, lr=1e-3, seed=0)
        setup = DiscriminatorSetup("blurpool", "sd", 2)
        return [one, DiscriminatorBed(setup, x, TINY, lr=1e-3, tensor_lr=1e-2, seed=0)]

    plain, graphed = beds(), beds()
    together = Together(graphed)
    for _ in range(10):
        together()
        for bed in plain:
            bed.step()
    for a, b in zip(plain, graphed, strict=True):
        torch.testing.assert_close(a.pictures(), b.pictures(), atol=1e-3, rtol=1e-3)
