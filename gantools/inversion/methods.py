"""What one projection minimises and how: the published projectors as rows of one table."""

from __future__ import annotations

from dataclasses import dataclass

from gantools.inversion.noise import Rule


@dataclass(frozen=True)
class Method:
    """Settings of one optimisation; weights multiply per-sample losses."""

    space: str = "w+"  # where it projects to unless another space is asked for
    steps: int = 1000
    lr: float = 0.1  # peak of the schedule, in units of w
    ramp_up: float = 0.05  # share of the steps with a linear warm-up
    warm_up: int | None = None  # the same in steps; None: by ramp_up
    ramp_down: float = 0.25  # share of the steps with a cosine ramp-down
    w_noise: float = 0.05  # noise added to w at the start, in units of w's deviation
    w_noise_length: float = 0.75  # share of the steps until it has gone
    perceptual: float = 1.0  # weight of the perceptual distance
    mse: float = 0.0  # weight of the mean squared difference of pixels in [-1,1]
    prior: float = 0.0  # weight of the prior of w (inversion.prior)
    dist: float = 0.0  # weight of the distribution of w's numbers (inversion.distribution)
    noise_reg: float = 1e5  # weight of the regulariser of optimised noise maps
    noise_rule: Rule = "official"
    betas: tuple[float, float] = (0.9, 0.999)

    @property
    def ramp(self) -> float:
        """The warm-up as a share of the steps."""
        return self.ramp_up if self.warm_up is None else self.warm_up / self.steps


METHODS = {
    # gantools' own: as much picture as a minute of two CPU cores gives, near enough to the
    # network's own w that it can be edited.
    "quick": Method(steps=400, ramp_down=0.5, w_noise=0.0, mse=5.0, prior=0.03),
    # The StyleGAN2 projector (S2.12, second baseline): one w for all layers, and noise maps.
    "stylegan2": Method(space="nw"),
    # Paper 002 (S2.12): a w per layer and noise maps, warm-up of 50 steps, no ramp-down.
    "thesis": Method(
        space="nw+",
        warm_up=50,
        ramp_down=0.0,
        w_noise=0.0,
        mse=0.25,
        noise_reg=4e5,
        noise_rule="thesis",
    ),
    # Image2StyleGAN (S4.15): a w per layer from the mean, no schedule.
    "i2s": Method(steps=5000, lr=0.01, ramp_up=0.0, ramp_down=0.0, w_noise=0.0, mse=1.0),
}
