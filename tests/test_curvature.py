"""L-BFGS of a batch, and coordinates in which a projection's loss bends alike (hybrid)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gantools.inversion import lbfgs
from gantools.inversion.curvature import Frame, axes, curvature
from gantools.inversion.methods import METHODS
from gantools.inversion.perceptual import pyramid
from gantools.inversion.project import Projector, to_tensor
from gantools.networks.network import open_network

Evaluated = tuple[Tensor, Tensor]


def bowls(count: int, size: int) -> tuple[Tensor, Tensor]:
    """Positive matrices [N, D, D], condition about 1000, and minima [N, D]."""
    generator = torch.Generator().manual_seed(0)
    turned = torch.linalg.qr(torch.randn(count, size, size, generator=generator).double())[0]
    bends = torch.logspace(-1, 2, size, dtype=torch.float64)
    matrices = turned @ torch.diag(bends) @ turned.transpose(1, 2)
    return matrices, torch.randn(count, size, generator=generator).double()


def quadratic(matrices: Tensor, minima: Tensor) -> lbfgs.Evaluate:
    def evaluate(x: Tensor) -> Evaluated:
        away = x - minima
        slope = torch.einsum("nij,nj->ni", matrices, away)
        return (away * slope).sum(1) / 2, slope

    return evaluate


def test_lbfgs_finds_the_minimum_of_a_quadratic() -> None:
    """Condition 1000, 12 numbers: to 1e-6 in 60 evaluations, from where descent is far away."""
    matrices, minima = bowls(3, 12)
    x, loss = lbfgs.minimise(torch.zeros_like(minima), quadratic(matrices, minima), 60, 0.3)
    torch.testing.assert_close(x, minima, rtol=0, atol=1e-4)
    assert float(loss.max()) < 1e-8


def test_lbfgs_is_as_good_in_a_batch_as_alone() -> None:
    """Each sample has its own history, also where one of them cannot go on."""
    matrices, minima = bowls(3, 6)
    minima[1] = 0  # starts at its minimum: a gradient of 0
    begin = torch.zeros_like(minima)
    x, loss = lbfgs.minimise(begin, quadratic(matrices, minima), 15, 0.3)
    assert torch.equal(x[1], begin[1]) and float(loss[1]) == 0
    for i in (0, 2):
        one = quadratic(matrices[i : i + 1], minima[i : i + 1])
        alone, its = lbfgs.minimise(begin[:1], one, 15, 0.3)
        torch.testing.assert_close(alone[0], x[i], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(its[0], loss[i], rtol=1e-9, atol=1e-12)


def test_lbfgs_gives_the_best_that_it_saw() -> None:
    """Rosenbrock's valley; and a cliff behind which the loss is no number is not stepped over."""

    def rosenbrock(x: Tensor) -> Evaluated:
        free = x.detach().requires_grad_(True)
        a, b = free.unbind(1)
        loss = (1 - a) ** 2 + 100 * (b - a**2) ** 2
        return loss.detach(), torch.autograd.grad(loss.sum(), free)[0]

    seen: list[float] = []

    def cliff(x: Tensor) -> Evaluated:
        """Falls towards 1, beyond which there is nothing."""
        loss = torch.where(x[:, 0] < 1, (x[:, 0] - 1.2) ** 2, torch.full_like(x[:, 0], torch.nan))
        seen.append(float(loss))
        return loss, 2 * (x - 1.2) * torch.where(x < 1, 1.0, torch.nan)

    x, loss = lbfgs.minimise(torch.tensor([[-1.2, 1.0]]).double(), rosenbrock, 80, 0.3)
    torch.testing.assert_close(x, torch.ones_like(x), rtol=0, atol=1e-4)
    x, loss = lbfgs.minimise(torch.zeros(1, 1).double(), cliff, 20, 2.0)
    assert len(seen) == 20 and any(map(math.isnan, seen))
    lowest = min(value for value in seen if not math.isnan(value))
    assert float(x) < 1 and float(loss) == lowest


def test_curvature_of_linear_residuals() -> None:
    """r = B w: 2 B^T B, here by 20,000 random projections; the axes make it the identity."""
    generator = torch.Generator().manual_seed(0)
    layers = torch.randn(2, 8, 5, generator=generator)

    def residuals(w: Tensor) -> list[Tensor]:
        return [torch.einsum("krd,nkd->nkr", layers, w)]

    w = torch.zeros(20_000, 2, 5)
    found = curvature(residuals, w, torch.Generator().manual_seed(1))
    true = 2 * layers.double().transpose(1, 2) @ layers.double()
    assert float((found - true).norm() / true.norm()) < 0.02
    a = axes(true, flattest=0.0).double()
    one = torch.eye(5, dtype=torch.float64).expand(2, -1, -1)
    torch.testing.assert_close(a.transpose(1, 2) @ true @ a, one, rtol=0, atol=1e-5)
    assert bool(axes(torch.zeros(1, 3, 3, dtype=torch.float64)).isfinite().all())


def test_a_frame_begins_at_its_origin() -> None:
    """And moves w along its axes, layer by layer."""
    origin, matrices = torch.randn(2, 3, 4), torch.randn(3, 4, 4)
    frame = Frame(origin, matrices)
    assert torch.equal(frame(frame.begin())["w"], origin)
    u = torch.randn(2, 12)
    layer = origin[1, 2] + matrices[2] @ u[1, 8:]
    torch.testing.assert_close(frame(u)["w"][1, 2], layer)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_hybrid_comes_lower_in_its_frame(tiny_network: Path, space: str) -> None:
    """30 evaluations from the mean end below 30 of Adam's; each picture as alone; it is told."""
    network = open_network(str(tiny_network))
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(2, network.g.cfg.z_dim, generator=generator)
    with torch.no_grad():
        images = network.g.synthesis(network.g.mapping(z), "const").clamp(-1, 1)
    pixels = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert to_tensor(list(pixels), network).shape == images.shape
    plain = METHODS["hybrid"].for_space("nw", {"steps": 30})
    framed = METHODS["hybrid"].for_space(space, {"steps": 30})
    assert (plain.optimiser, plain.curvature) == ("adam", 0)
    found = {}
    for name, method in (("plain", plain), ("framed", framed)):
        projector = Projector(network, space, "hybrid", method, "pyramid")
        assert projector.embed is pyramid
        found[name] = projector.run(["a", "b"], list(pixels))
    losses = {n: [x.header["projection"]["loss"] for x in both] for n, both in found.items()}
    assert sum(losses["framed"]) < sum(losses["plain"])
    told = found["framed"][0].header["projection"]
    assert (told["optimiser"], told["curvature"]) == ("lbfgs", 128)
    # Few steps: what rounding differs by, which many would make larger, is no neighbour.
    few = METHODS["hybrid"].for_space(space, {"steps": 8})
    projector = Projector(network, space, "hybrid", few, "pyramid")
    both, alone = projector.run(["a", "b"], list(pixels)), projector.run(["b"], [pixels[1]])
    near = [torch.from_numpy(one.tensors["w"]) for one in (alone[0], both[1])]
    torch.testing.assert_close(*near, rtol=1e-4, atol=1e-5)
