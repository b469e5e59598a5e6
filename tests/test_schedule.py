"""Growing schedules against the reference codes' tables, and S1.14's ablation: S0.9-S0.11, S1.7."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gantools.commands import train_biggan, train_pggan, train_sngan, train_stylegan
from gantools.networks import pggan, pggan_discriminator
from gantools.report import Usage
from gantools.training import ablations, control, growing_presets, losses, schedule
from gantools.training.ablations import ABLATIONS, Ablation
from gantools.training.growing_config import GrowingConfig
from gantools.training.schedule import Schedule


@pytest.fixture(scope="module")
def golden(fixtures: Path) -> dict[str, Any]:
    story: dict[str, Any] = json.loads(
        (fixtures / "numerics" / "growing_schedule.json").read_text()
    )
    return story["values"]


def preset(name: str) -> Schedule:
    """The schedule that a table of the fixture was made from."""
    family, *rest = name.split("_")
    resolution = int(rest[-1])
    if name == "stylegan1_defaults_rampup500_1024":  # the training loop's own defaults
        return Schedule(
            1024, 25_000, initial_resolution=8, rampup_kimg=500, ticks=schedule.STYLEGAN_TICKS,
            lrs={}, batch=16,
        )  # fmt: skip
    gpus = next(int(part[0]) for part in rest if part.endswith("gpu"))
    if family == "stylegan1":
        return schedule.stylegan(resolution, gpus)
    if rest[0] == "v1":  # the TensorFlow code's version has no ramp-up
        return replace(schedule.pggan_paper(resolution), rampup_kimg=0)
    return schedule.pggan(resolution, gpus)


NAMES = (
    *(f"{kind}_{gpus}gpu_{size}" for kind in ("pggan_v2", "stylegan1") for gpus in (1, 2, 4, 8)
      for size in (256, 1024)),
    "pggan_v1_1gpu_1024", "stylegan1_defaults_rampup500_1024",
)  # fmt: skip


def test_every_table_is_known(golden: dict[str, Any]) -> None:
    assert sorted(golden["tables"]) == sorted(NAMES)
    assert golden["columns"] == ["kimg", "lod", "resolution", "minibatch", "lr", "tick_kimg"]


@pytest.mark.parametrize("name", NAMES)
def test_tables_of_the_reference_s0_10_s1_7_s1_12(golden: dict[str, Any], name: str) -> None:
    """lod to 1e-9, everything else exactly."""
    plan = preset(name)
    for kimg, lod, resolution, batch, lr, tick in golden["tables"][name]:
        now = plan.at(round(kimg * 1000))
        assert now.lod == pytest.approx(lod, abs=1e-9)
        assert (now.resolution, now.batch, now.tick_kimg) == (resolution, batch, tick), kimg
        assert now.lr == pytest.approx(lr, rel=1e-12)


def test_presets_of_the_reference_s0_10_s1_12(golden: dict[str, Any]) -> None:
    for gpus, wanted in golden["minibatch_presets"].items():
        base, table = schedule.MINIBATCHES[int(gpus)]
        assert base == wanted["base"]
        assert {str(k): v for k, v in table.items()} == wanted["dict"]
    for gpus, wanted in golden["pggan_lr"].items():
        assert {str(k): v for k, v in schedule.PGGAN_LRS[int(gpus)].items()} == wanted
    assert {str(k): v for k, v in schedule.STYLEGAN_LRS.items()} == golden["stylegan1_lr"]


def test_lod_s0_10() -> None:
    """The row's table at 256 pixels, and what stands around its corners."""
    plan = schedule.stylegan(256)
    rows = {0: 5, 600: 5, 750: 4.75, 900: 4.5, 1200: 4, 1800: 4, 2400: 3, 6000: 0, 25_000: 0}
    for kimg, lod in rows.items():
        assert plan.at(kimg * 1000).lod == lod, kimg
    assert [plan.at(k * 1000).resolution for k in (0, 600, 601, 1200, 5999, 6000)] == [
        8, 8, 16, 16, 256, 256,
    ]  # fmt: skip
    assert plan.at(900_000).fade == 0.5
    assert plan.at(1_200_000).fade == 0
    assert plan.total_kimg == 25_000


def test_lod_s1_7() -> None:
    """From 4x4, 800 + 800 kimg: full resolution is complete at 12,800 of 19,000 kimg."""
    plan = schedule.pggan_paper(1024)
    rows = {0: 8, 800: 8, 1200: 7.5, 1600: 7, 12_400: 0.5, 12_799: 0.00125, 12_800: 0, 19_000: 0}
    for kimg, lod in rows.items():
        assert plan.at(kimg * 1000).lod == pytest.approx(lod, abs=1e-12), kimg
    sizes = [plan.at(k * 1000).batch for k in (0, 8000, 10_000, 11_500, 13_000)]
    assert sizes == [16, 16, 14, 6, 3]
    assert plan.total_kimg == 19_000


def test_lod_never_rises_and_never_jumps_s1_7() -> None:
    """Every look moves it down by at most what was shown over the fading time."""
    plan = schedule.pggan(64, gpus=2)
    found = [plan.at(images).lod for images in range(0, 6_000_000, 10_000)]
    assert all(0 <= a - b <= 10 / 600 + 1e-9 for a, b in itertools.pairwise(found))
    assert (found[0], found[-1]) == (4, 0)


def test_without_fading_and_without_growing_s1_14() -> None:
    steps = Schedule(32, 1000, stable_kimg=100, fade_kimg=0)
    assert [steps.at(k * 1000).lod for k in (0, 99, 100, 199, 200, 299, 300, 900)] == [
        3, 3, 2, 2, 1, 1, 0, 0,
    ]  # fmt: skip
    full = Schedule(32, 1000, initial_resolution=32, stable_kimg=0, fade_kimg=0)
    assert (full.at(0).lod, full.at(0).resolution) == (0, 32)


def test_what_cannot_grow() -> None:
    with pytest.raises(Usage, match="doubled"):
        Schedule(48, 100, initial_resolution=4)
    with pytest.raises(Usage, match="doubled"):
        Schedule(4, 100, initial_resolution=8)
    with pytest.raises(Usage, match="thousand"):
        Schedule(8, 100, stable_kimg=0, fade_kimg=0)
    for make in (schedule.stylegan, schedule.pggan):
        with pytest.raises(Usage, match="GPUs, not for 3"):
            make(64, 3)
    assert Schedule(48, 100, initial_resolution=6).at(0).lod == 3


def test_batch_by_gpus_s1_12() -> None:
    """It is divisible by them, and each takes no more than its limit."""
    plan = Schedule(16, 100, gpus=3, batch=17, batch_per_gpu={8: 4}, stable_kimg=1, fade_kimg=1)
    assert [plan.at(images).batch for images in (0, 1500, 3500)] == [15, 12, 15]


def test_rampup_s0_10_s1_12() -> None:
    """StyleGAN's is linear, PGGAN's own exp(-5 (1 - t)^2); none is 1 at once."""
    assert [schedule.rampup(k, 40) for k in (0, 10, 40, 90)] == [0, 0.25, 1, 1]
    smooth = [schedule.rampup(k, 40, "smooth") for k in (0, 20, 40)]
    assert smooth == pytest.approx([math.exp(-5), math.exp(-1.25), 1])
    assert schedule.rampup(0, 0) == schedule.rampup(0, 0, "smooth") == 1
    plan = schedule.pggan_paper(128)
    assert plan.at(0).lr == pytest.approx(0.001 * math.exp(-5))
    assert plan.at(40_000).lr == 0.001


def test_linear_decay_s3_25() -> None:
    steps = 100_000
    assert [schedule.linear_decay(s, steps) for s in (0, 25_000, steps, 2 * steps)] == [
        1, 0.75, 0, 0,
    ]  # fmt: skip


def test_optimisers_are_reset_where_a_resolution_starts_or_ends_fading_s0_9() -> None:
    """Twice per resolution, at the corners of the schedule and nowhere else."""
    plan = Schedule(16, 100, stable_kimg=10, fade_kimg=10)
    looks = [plan.at(k * 1000) for k in range(60)]
    pairs = itertools.pairwise(looks)
    found = [now.kimg for a, now in pairs if schedule.resets_optimisers(a.lod, now.lod)]
    assert found == [11, 20, 31, 40]
    assert not schedule.resets_optimisers(0.0, 0.0)


def test_layers_that_mixing_may_cut_s0_11() -> None:
    """L - 2 floor(lod): 14 at 256, 4 of them at its first 8x8; cutoffs are drawn below."""
    plan = schedule.stylegan(256)
    found = [schedule.mixable_layers(14, plan.at(k * 1000).lod) for k in (0, 601, 1200, 6000)]
    assert found == [4, 6, 6, 14]
    generator = torch.Generator().manual_seed(0)
    cutoffs = losses.draw_cutoffs(500, found[0], 1.0, generator)
    assert sorted(set(cutoffs.tolist())) == [1, 2, 3]


def test_half_life_is_the_inverse_of_beta_s0_9() -> None:
    beta = control.ema_beta(10, None, 32, 0)
    assert schedule.half_life_kimg(beta, 32) == pytest.approx(10)
    assert schedule.half_life_kimg(0.999, 16) == pytest.approx(11.085, abs=1e-3)


# The presets, as they train.


def preset_of(family: Any, name: str, resolution: int | None, **given: Any) -> GrowingConfig:
    return growing_presets.resolve(family, name, resolution, given)


def test_celebahq_of_pggan_is_the_papers_s1_7_s1_12() -> None:
    """Batch 16, 14, 6 and 3, 800 + 800 kimg, 19,000 in all, 40 kimg of rising learning rate."""
    made = preset_of("pggan", "celebahq", 1024)
    plan = made.schedule()
    assert plan == schedule.pggan_paper(1024)
    assert (made.mirror, made.loss, made.gp_target, made.drift) == (True, "wgan-gp", 1.0, 0.001)
    assert growing_presets.total_images(made) == 19_000_000
    g, d = made.network_configs()
    assert (g["widths"], g["z_dim"]) == ((512,) * 4 + (256, 128, 64, 32, 16), 512)
    assert d["mbstd_group"] == 16  # S1.6: of the whole batch
    assert made.ema_kimg == pytest.approx(schedule.half_life_kimg(0.999, 16))


def test_lsun_of_pggan_s1_13() -> None:
    """256 pixels, batch 16 throughout, 20,000 kimg; mirrored but for bedrooms and dogs."""
    made = preset_of("pggan", "lsun", None)
    plan = made.schedule()
    assert (made.resolution, made.mirror) == (256, True)
    assert {plan.at(k * 1000).batch for k in range(0, 20_000, 100)} == {16}
    assert (plan.stable_kimg, plan.fade_kimg, plan.rampup_kimg) == (800, 800, 40)
    assert growing_presets.total_images(made) == 20_000_000
    assert not preset_of("pggan", "lsun", None, mirror=False).mirror


def test_cifar10_of_pggan_s1_21() -> None:
    made = preset_of("pggan", "cifar10", None)
    plan = made.schedule()
    assert (made.resolution, made.mirror, made.gp_target, made.d_steps) == (32, False, 750.0, 1)
    assert (plan.stable_kimg, plan.fade_kimg) == (400, 400)
    assert growing_presets.total_images(made) == 20_000_000
    # S1.12: of 16, at a learning rate of 0.001 from the first step on.
    assert {(plan.at(k * 1000).batch, plan.at(k * 1000).lr) for k in (0, 500, 3000)} == {
        (16, 0.001)
    }
    g, d = made.network_configs()
    assert g["widths"] == d["widths"] == (128,) * 4  # fmap_base 4096, at most 128
    assert g["z_dim"] == 128


def test_mnist_rgb_of_pggan_s1_22() -> None:
    """Five steps of D with 64 pictures each, no drift, 500 + 2000 of 15,000 kimg, fmap_base 64."""
    made = preset_of("pggan", "mnist-rgb", None)
    plan = made.schedule()
    assert (made.resolution, made.mirror, made.d_steps, made.drift) == (32, False, 5, 0.0)
    assert (plan.stable_kimg, plan.fade_kimg, plan.at(0).batch) == (500, 2000, 64)
    assert growing_presets.total_images(made) == 15_000_000
    g, _ = made.network_configs()
    assert (g["widths"], g["z_dim"]) == ((64, 32, 16, 8), 64)
    assert made.ema_kimg == pytest.approx(schedule.half_life_kimg(0.999, 320))


MODES = {
    "mnist-rgb-wgan-gp": (False, "batch", False, 1),
    "mnist-rgb-norm": (False, "pixel", True, 1),
    "mnist-rgb-stddev": (False, "pixel", True, 64),
    "mnist-rgb": (True, "pixel", True, 64),
}


@pytest.mark.parametrize("crippled", [1, 2, 4])
@pytest.mark.parametrize("name", MODES)
def test_variants_of_mode_counting_s1_22(name: str, crippled: int) -> None:
    """WGAN-GP alone, + own normalisation, + minibatch stddev, + growing; D with K/2, K/4."""
    made = preset_of("pggan", name, None, **{"d_channel_base": 256 // crippled} if crippled > 1
                     else {})  # fmt: skip
    growing, norm, equalized, _ = MODES[name]
    g, d = made.network_configs()
    assert (made.growing, g["norm"], g["equalized"], d["mbstd_group"]) == MODES[name]
    assert (d["norm"], d["equalized"]) == ("none" if norm == "pixel" else "batch", equalized)
    assert g["widths"] == (64, 32, 16, 8)
    assert d["widths"] == tuple(w // crippled for w in g["widths"])
    assert growing_presets.total_images(made) == (15_000_000 if growing else 10_000_000)
    plan = made.schedule()
    assert {plan.at(k * 1000).batch for k in (0, 500, 9000)} == {64}
    assert {plan.at(k * 1000).lod for k in (0, 9000)} == ({3.0, 0.0} if growing else {0.0})
    assert (made.loss, made.d_steps, made.drift, made.gp_target) == ("wgan-gp", 5, 0.0, 1.0)


def test_a_discriminator_without_channels_is_refused() -> None:
    with pytest.raises(Usage, match="--d-channel-base 16: that leaves no channel at 32 pixels"):
        preset_of("pggan", "mnist-rgb", None, d_channel_base=16)
    with pytest.raises(Usage, match="--channel-base 16: that leaves"):
        preset_of("stylegan", "auto", 32, channel_base=16)


@pytest.mark.parametrize("name", ["auto", "ffhq", "celebahq"])
def test_presets_of_stylegan_s0_9_s0_10(name: str) -> None:
    made = preset_of("stylegan", name, 1024)
    assert made.mirror == (name != "auto")  # S1.13
    assert (made.loss, made.gamma, made.mixing, made.ema_kimg, made.beta2) == (
        "logistic", 10.0, 0.9, 10.0, 0.99,
    )  # fmt: skip
    assert made.schedule() == schedule.stylegan(1024)
    assert growing_presets.total_images(made) == 25_000_000
    assert (made.latent_dim, made.map_depth, made.network_configs()[1]["mbstd_group"]) == (
        512, 8, 4,
    )  # fmt: skip


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_tables_by_the_number_of_gpus_s0_10_s1_12(gpus: int) -> None:
    """--gpus: paper 000 trained StyleGAN on two."""
    for family, table in (("stylegan", schedule.stylegan), ("pggan", schedule.pggan)):
        made = preset_of(family, "auto", 256, gpus=gpus)
        assert made.schedule() == table(256, gpus)
    two = preset_of("stylegan", "ffhq", 256, gpus=2).schedule()
    found = [two.at(k * 1000).batch for k in (0, 601, 1801, 3001, 4201, 5401)]
    assert found == [256, 128, 64, 32, 16, 8]


@pytest.mark.parametrize(
    ("name", "given", "why"),
    [
        ("auto", {"gpus": 3}, "for 1, 2, 4 or 8 GPUs, not for 3"),
        ("auto", {"gpus": 2, "batch": 8}, "--batch or the preset gives one"),
        ("cifar10", {"gpus": 2}, "--batch or the preset gives one"),
        ("celebahq", {"gpus": 2}, "preset celebahq is for one"),
    ],
)
def test_there_is_no_table(name: str, given: dict[str, Any], why: str) -> None:
    with pytest.raises(Usage, match=why):
        preset_of("pggan", name, 64, **given)


def test_every_preset_can_be_named_and_builds() -> None:
    """The choices of the command line are those there are; each makes a schedule and networks."""
    offered = {
        "pggan": train_pggan.Preset, "stylegan": train_stylegan.Preset,
        "sngan": train_sngan.Preset, "biggan": train_biggan.Preset,
    }  # fmt: skip
    for family, choices in offered.items():
        names = growing_presets.NAMES[family]  # type: ignore[index]
        assert [choice.value for choice in choices] == list(names)
        for name in names:
            known = growing_presets.has_resolution(family, name)  # type: ignore[arg-type]
            more = {"labels": "folders"} if family == "biggan" else {}
            made = preset_of(family, name, None if known else 32, **more)
            assert growing_presets.total_images(made) > 0
            assert GrowingConfig.from_dict(json.loads(json.dumps(made.to_dict()))) == made
            made.network_configs()


def test_a_run_of_before_there_were_tables_goes_on() -> None:
    """Its settings lack what is newer, and mean the schedule that it had."""
    values = preset_of("pggan", "auto", 64).to_dict()
    for name in ("course", "gpus"):
        del values[name]
    assert GrowingConfig.from_dict(values).schedule() == schedule.pggan(64)


# The ablation.


def differences(a: Ablation, b: Ablation) -> set[str]:
    """The fields in which two rows differ."""
    return {name for name, value in asdict(a).items() if value != getattr(b, name)}


def test_ablation_rows_are_cumulative_s1_14() -> None:
    rows = ABLATIONS
    assert list(rows) == ["a", "b", "c", "d", "e", "e*", "f", "g"]
    assert differences(rows["a"], rows["b"]) == {"growing"}
    assert differences(rows["b"], rows["c"]) == {"batch", "ema_beta"}
    assert differences(rows["c"], rows["d"]) == {
        "d_steps", "beta2", "drift", "ema_beta", "latent_dim", "normalize_latents", "leaky",
        "batchnorm", "tanh", "layernorm",
    }  # fmt: skip
    assert differences(rows["d"], rows["e"]) == differences(rows["d"], rows["e*"]) == {"minibatch"}
    assert differences(rows["e"], rows["f"]) == {"equalized", "lr"}
    assert differences(rows["f"], rows["g"]) == {"pixelnorm"}


@pytest.mark.parametrize("name", ABLATIONS)
def test_averaging_has_one_half_life_s1_14(name: str) -> None:
    """0.999^20, 0.999^5 and 0.999 per step of G are all 11.1 kimg of images shown."""
    row = ABLATIONS[name]
    shown = row.batch * row.d_steps
    assert schedule.half_life_kimg(row.ema_beta, shown) == pytest.approx(11.085, abs=1e-3)


def test_final_row_is_the_papers_network_s1_14() -> None:
    """(g) at 128 pixels: what S1.1-S1.6 describe, with fmap_base 2048."""
    g, d = ablations.networks(ABLATIONS["g"])
    assert g.widths == d.widths == (512, 512, 256, 128, 64, 32)
    assert replace(g, widths=()) == pggan.GeneratorConfig(128, ())
    assert replace(d, widths=()) == pggan_discriminator.DiscriminatorConfig(128, (), mbstd_group=0)


def test_flags_change_an_ablation_s1_14() -> None:
    given = {"channel_base": 128, "channel_max": 16, "latent_dim": 8}
    g, d = growing_presets.resolve("pggan", "ablation-a", 32, given).network_configs()
    assert g["widths"] == d["widths"] == (16, 16, 8, 4)
    assert (g["z_dim"], g["norm"], d["norm"]) == (8, "batch", "layer")
    g, d = growing_presets.resolve("pggan", "ablation-a", None, {}).network_configs()
    assert (g["widths"], g["z_dim"]) == ((512, 512, 256, 128, 64, 32), 128)


def test_schedules_of_the_ablation_s1_14() -> None:
    first, last = (ablations.schedule(ABLATIONS[name]) for name in ("a", "g"))
    assert {first.at(k * 1000).lod for k in (0, 900, 5000, 9999)} == {0}
    assert (first.at(0).batch, first.at(0).lr, first.total_kimg) == (64, 0.0001, 10_000)
    assert [last.at(k * 1000).lod for k in (0, 800, 1200, 1600, 8000)] == [5, 5, 4.5, 4, 0]
    assert (last.at(0).batch, last.at(0).lr, last.total_kimg) == (16, 0.001, 10_000)


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_row_builds_and_steps_once_s1_14(name: str) -> None:
    """On 8x8 pictures, halfway between 4x4 and 8x8 where it grows: both players' weights move."""
    row = ABLATIONS[name]
    g_config, d_config = ablations.networks(row, resolution=8)
    torch.manual_seed(0)
    g = pggan.Generator(replace(g_config, widths=(8, 8)))
    d = pggan_discriminator.Discriminator(replace(d_config, widths=(8, 8)))
    lod = 0.5 if row.growing else 0.0
    before = [p.detach().clone() for p in (*g.parameters(), *d.parameters())]
    adams = [
        torch.optim.Adam(net.parameters(), lr=row.lr, betas=(0.0, row.beta2)) for net in (g, d)
    ]
    for _ in range(row.d_steps):
        fakes, reals = g(torch.randn(4, row.latent_dim), lod=lod).detach(), torch.rand(4, 3, 8, 8)
        real = d(reals, lod=lod)
        mixed = losses.mixed_images(reals, fakes, torch.rand(4, 1, 1, 1))
        loss = losses.wgan_discriminator_loss(real, d(fakes, lod=lod))
        loss = loss + losses.gradient_penalty(d(mixed, lod=lod), mixed)
        adams[1].zero_grad()
        (loss + losses.drift_penalty(real, row.drift)).backward()
        adams[1].step()
    adams[0].zero_grad()
    losses.wgan_generator_loss(d(g(torch.randn(4, row.latent_dim), lod=lod), lod=lod)).backward()
    adams[0].step()
    after = [*g.parameters(), *d.parameters()]
    assert all(p.isfinite().all() for p in after)
    moved = [not torch.equal(p, old) for p, old in zip(after, before, strict=True)]
    assert sum(moved) > 0.6 * len(moved)
