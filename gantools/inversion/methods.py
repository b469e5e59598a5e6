"""What one projection minimises and how: the published projectors as rows of one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gantools.inversion.noise import Rule
from gantools.io.space import split


@dataclass(frozen=True)
class Method:
    """Settings of one optimisation; weights multiply per-sample losses."""

    space: str = "w+"  # where it projects to unless another space is asked for
    steps: int = 1000
    feature_steps: int | None = None  # the same in spaces with features; None: as in the others
    lr: float = 0.1  # peak of the schedule, in units of w
    ramp_up: float = 0.05  # share of the steps with a linear warm-up
    warm_up: int | None = None  # the same in steps; None: by ramp_up
    ramp_down: float = 0.25  # share of the steps with a cosine ramp-down
    w_noise: float = 0.05  # noise added to w at the start, in units of w's deviation
    w_noise_length: float = 0.75  # share of the steps until it has gone
    perceptual: float = 1.0  # weight of the perceptual distance
    mse: float = 0.0  # weight of the mean squared difference of pixels in [-1,1]
    cos: float = 0.0  # weight of 1 − cosine of the pictures (S4.3)
    ssim: float = 0.0  # weight of 1 − SSIM (S4.4)
    areas: tuple[float, float] = (0.0, 0.0)  # weights of the centred areas AT1 and AT2 (S4.6)
    prior: float = 0.0  # weight of the prior of w (inversion.prior)
    dist: float = 0.0  # weight of the distribution of numbers (inversion.distribution)
    style_smooth: float = 0.0  # weight of what blur takes from style maps (S2.26)
    style_radius: float = 0.1  # that blur's deviation, in sides of the map
    style_cells: int | None = None  # style maps are optimised with at most so many cells a side
    style_falloff: float = 1.0  # learning rate of a style map against the block's before it
    noise_reg: float = 1e5  # weight of the regulariser of optimised noise maps
    noise_rule: Rule = "official"
    betas: tuple[float, float] = (0.9, 0.999)
    optimiser: Literal["adam", "lreq", "lbfgs"] = "adam"  # lreq: LREQAdam (S4.11)
    init: str | None = None  # where it starts; None: at what a kept encoder sees, else the mean
    curvature: int = 0  # own samples that tell how the loss bends (inversion.curvature); 0: none
    own_distance: str | None = None  # its own perceptual distance; None: the usual one
    echo: float = 0.0  # weight of MSE(w, E(G(w))) (S4.16)
    latent: float = 0.0  # weight of L_LV while the encoder is tuned (S4.14)
    norm: float = 0.0  # weight of ‖w‖ while it is
    in_w: Mapping[str, Any] = field(default_factory=dict)  # what differs where w alone is optimised

    def for_space(self, space: str, changes: Mapping[str, Any]) -> Method:
        """The settings in a space, with those that are changed."""
        own = {"steps": self.feature_steps} if self.feature_steps and split(space)[1] else {}
        own |= self.in_w if space in ("w", "w+") else {}
        return replace(self, **(own | dict(changes)))

    @property
    def ramp(self) -> float:
        """The warm-up as a share of the steps."""
        return self.ramp_up if self.warm_up is None else self.warm_up / self.steps


ONE_PASS = ("encoder", "psp", "alae")
"""Methods that are one pass of an encoder."""
ENCODED = (*ONE_PASS, "hybrid", "idinvert", "dse-finetune")
"""Methods that begin with an encoder."""

L_IMG: dict[str, Any] = {
    "mse": 5.0, "cos": 3.0, "perceptual": 2.0, "ssim": 1.0, "areas": (0.375, 0.625)
}  # fmt: skip
"""The image loss of S4.3 with the weights of its areas in S4.14."""

FRAMED: dict[str, Any] = {"optimiser": "lbfgs", "curvature": 128, "lr": 0.3}
"""L-BFGS in coordinates of the loss's curvature; lr is the length of its first step."""

METHODS = {
    # gantools' own: as much picture as a minute of two CPU cores gives, near enough to the
    # network's own w that it can be edited.
    "quick": Method(steps=400, ramp_down=0.5, w_noise=0.0, mse=5.0, prior=0.03, in_w=FRAMED),
    # What an encoder sees (S4.8), pSp's alone (S4.18), that which its network was trained with
    # (S4.17); and what an encoder sees followed by a quarter of quick's steps.
    "encoder": Method(steps=0),
    "psp": Method(steps=0),
    "alae": Method(space="w", steps=0),
    "hybrid": Method(steps=100, ramp_down=0.5, w_noise=0.0, mse=5.0, prior=0.03, in_w=FRAMED),
    # The StyleGAN2 projector (S2.12, second baseline): one w for all layers, and noise maps.
    "stylegan2": Method(space="nw"),
    # Paper 002 (S2.11, S2.12): warm-up of 50 steps, no ramp-down; features need fewer steps.
    "thesis": Method(
        space="nw+",
        feature_steps=250,
        warm_up=50,
        ramp_down=0.0,
        w_noise=0.0,
        mse=0.25,
        noise_reg=4e5,
        noise_rule="thesis",
    ),
    # Image2StyleGAN (S4.15): a w per layer from the mean, no schedule.
    "i2s": Method(
        steps=5000, lr=0.01, ramp_up=0.0, ramp_down=0.0, w_noise=0.0, mse=1.0,
        init="mean",
    ),
    # The same as paper 004's code runs it: L_IMG with its areas, w of N(0, 1), LREQAdam.
    "i2s-lreq": Method(
        steps=30_000, lr=0.0015, ramp_up=0.0, ramp_down=0.0, w_noise=0.0, optimiser="lreq",
        init="normal", **L_IMG,
    ),
    # In-Domain GAN inversion (S4.16): from what an encoder sees, which has to see it again.
    "idinvert": Method(
        steps=100, lr=0.01, ramp_up=0.0, ramp_down=0.0, w_noise=0.0, mse=1.0, perceptual=5e-5,
        own_distance="vgg16", echo=2.0,
    ),
    # DSE (E) (S4.14): the encoder's weights are optimised, for every picture anew.
    "dse-finetune": Method(
        steps=2001, lr=0.005, ramp_up=0.0, ramp_down=0.0, w_noise=0.0, optimiser="lreq",
        latent=0.01, norm=3e-4, **L_IMG,
    ),
}  # fmt: skip
EXTRA = ("cos", "ssim", "echo", "latent", "norm")
"""Weights that headers name where they are not 0."""
FAMILIES: dict[tuple[str, str], dict[str, Any]] = {
    ("dse-finetune", "stylegan"): {"steps": 1501},
    ("dse-finetune", "biggan"): {"steps": 1501, "lr": 3e-4},
}
"""What a method does otherwise in a family of networks (S4.14)."""


def story(method: Method, space: str) -> dict[str, Any]:
    """What headers say of a method's numbers in a space, of most of them only where they count."""
    kind, _ = split(space)
    told: dict[str, Any] = {
        "steps": method.steps,
        "lr": method.lr,
        "perceptual_weight": method.perceptual,
        "mse_weight": method.mse,
        "prior_weight": method.prior,
        "dist_weight": method.dist,
    }
    told |= {f"{name}_weight": value for name in EXTRA if (value := getattr(method, name))}
    if any(method.areas):
        told["area_weights"] = list(method.areas)
    if method.curvature:
        told["curvature"] = method.curvature
    if method.optimiser != "adam":
        told["optimiser"] = method.optimiser
    if "n" in kind:
        told |= {"noise_reg": method.noise_reg, "noise_rule": method.noise_rule}
    if "s" in kind:
        told |= {"style_smooth": method.style_smooth, "style_radius": method.style_radius}
        told |= {"style_cells": method.style_cells, "style_falloff": method.style_falloff}
    return told
