"""Learning rate and w noise of the StyleGAN2 projector, per step (papers.md S2.12)."""

from __future__ import annotations

import math


def learning_rate(
    step: int, steps: int, peak: float, ramp_up: float = 0.05, ramp_down: float = 0.25
) -> float:
    """peak · cosine ramp-down over the last `ramp_down` · linear ramp-up over the first `ramp_up`.

    Ramps are shares of all steps, 0 for none; with a ramp-up the first step has rate 0.
    """
    t = step / steps
    down = min(1.0, (1 - t) / ramp_down) if ramp_down else 1.0
    up = min(1.0, t / ramp_up) if ramp_up else 1.0
    return peak * (0.5 - 0.5 * math.cos(math.pi * down)) * up


def w_noise(step: int, steps: int, strength: float = 0.05, length: float = 0.75) -> float:
    """Deviation of the noise on w, in units of w's own: strength · max(0, 1 − t/length)²."""
    return strength * max(0.0, 1.0 - step / steps / length) ** 2 if length else 0.0
