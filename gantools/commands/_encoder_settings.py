"""What was asked of `train encoder` as the settings of its kinds (S2.10, S4.12, S4.13, S4.18)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gantools import report
from gantools.commands import _encoder_options as own
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.networks.network import Network
    from gantools.training.encoder_trainer import Training


def check(arch: str, given: dict[str, Any]) -> None:
    """Usage where nothing would be learned, and for an option that another one leaves idle."""
    learns = given["latent_weight"]
    if arch == "dse":
        learns = learns and any(given.get(f"{n}_weight", 1) for n in ("mse", "cos", "kl"))
    if not learns and not sees_pictures(arch, given):
        raise Usage("the weights are all 0, or of terms without a gradient: nothing is learned")
    if given.get("gamma") is not None and not given.get("adv_weight"):
        raise Usage("--gamma goes with --adv-weight: without it no discriminator learns")
    if given.get("cam") and given.get("tsa") != own.Tsa.gradcam:
        raise Usage("--cam goes with --tsa gradcam")
    if given.get("resize_crops") and given.get("tsa", own.Tsa.centre) != own.Tsa.centre:
        raise Usage("--resize-crops goes with --tsa centre")


def check_own(given: dict[str, Any], *, photographs: bool) -> None:
    """Usage where pSp is to learn from photographs alone and is asked about samples."""
    if not photographs:
        if given.get("own") is not None:
            raise Usage("--own goes with DATA: without photographs there are samples alone")
        return
    asked = [f"--{n}" for n in ("psi", "cutoff", "samples") if n in given]
    asked += ["--latent-weight"] if given["latent_weight"] else []
    if asked and not given.get("own"):
        raise Usage(f"{asked[0]} is of the network's own samples, and here are none: add --own")


def sees_pictures(arch: str, given: dict[str, Any]) -> bool:
    """Whether pictures give it a gradient."""
    names = ["mse", "perceptual"]
    if given.get("id_weight") or given.get("adv_weight"):
        return True
    if arch == "dse":
        detached = given.get("detach") or (own.Detach.all if given.get("strategy") == 1 else None)
        if detached == own.Detach.all:
            return False
        names += ["cos", "ssim", "kl"]
    return any(given.get(f"{name}_weight", name != "kl") for name in names)


def fw(network: Network, given: dict[str, Any]) -> Training:
    """Of features and styles; Usage for --width of another backbone than the small one."""
    from gantools.inversion.encoder import WIDTH
    from gantools.inversion.encoder_backbones import default
    from gantools.training.encoder import EncoderTraining

    asked = given.pop("backbone", None)
    trunk = asked.value if asked else default(network.size)
    if "width" in given and trunk != "small":
        raise Usage(f"--width is the small backbone's, and this is {trunk}: leave it out")
    return EncoderTraining(**{"width": WIDTH, **given, "backbone": trunk})


def dse(network: Network, given: dict[str, Any]) -> Training:
    """Paper 004's, whose strategy says what the others are by default; Usage."""
    from gantools.training.dse import STRATEGIES, DseTraining
    from gantools.training.encoder_samples import usual_truncation

    psi, cutoff = usual_truncation(network)
    if "cutoff" in given and not network.has_w:
        raise Usage("--cutoff: the network has no layers of styles")
    areas, detach, blur = STRATEGIES[given.pop("strategy", 2)]
    if "area_weights" in given:
        given["area_weights"] = own.pair(given["area_weights"])
    before = {"psi": psi, "cutoff": cutoff, "area_weights": areas, "detach": detach, "blur": blur}
    named: dict[str, Any] = {
        n: v.value if isinstance(v, StrEnum) else v for n, v in (before | given).items()
    }
    return DseTraining(**named)


def psp(network: Network, given: dict[str, Any]) -> Training:
    """pSp's; whether identity counts, and by which weights, is said where it is not asked for."""
    from gantools.inversion.arcface import WEIGHTS
    from gantools.inversion.psp import DEPTH, PspConfig
    from gantools.io import weights
    from gantools.training.encoder_samples import usual_truncation
    from gantools.training.psp import ID_WEIGHT, PspTraining, fits_arcface

    depth = int(given.pop("depth").value) if "depth" in given else DEPTH
    shape = PspConfig.of(network, given.get("width"), depth)
    psi, cutoff = usual_truncation(network)
    there = weights.present(WEIGHTS)
    known = there and network.meta.get("crop") is not None and network.channels != 4
    if not known and "id_weight" not in given:
        why = "this is no network of faces" if there else f"no weights {WEIGHTS}"
        report.note(f"identity counts nothing: {why} (published: --id-weight {ID_WEIGHT:g})")
    before: dict[str, Any] = {
        "psi": psi, "cutoff": cutoff, "depth": depth, "pretrained": there and fits_arcface(shape),
        "id_weight": ID_WEIGHT if known else 0.0,
    }  # fmt: skip
    named: dict[str, Any] = {
        n: v.value if isinstance(v, StrEnum) else v for n, v in (before | given).items()
    }
    return PspTraining(**named)
