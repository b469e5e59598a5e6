"""Fixtures that every test shares: the in-process runner, the picture packs, tiny networks."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# Threads of several processes that wait for each other on two cores cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background has Ctrl-C ignored, for them and their children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine may be busy: how long an example takes is no property of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

FIXTURES = Path(__file__).parent / "fixtures"
MATPLOTLIB = os.environ.get("MPLCONFIGDIR") or str(Path.home() / ".cache" / "matplotlib")


@dataclass
class Result:
    """What a command left behind: exit status, bytes on stdout, text on stderr."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """stdout as text."""
        return self.out.decode()


class _Bytes(io.BytesIO):
    """A stdout or stdin that is no terminal and survives being closed by a wrapper."""

    def close(self) -> None: ...


@pytest.fixture
def gt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command line in this process: `gt("edit", "--dir", "age", stdin=b"…")`."""
    from gantools import cli

    def run(*argv: object, stdin: bytes = b"") -> Result:
        out, err = _Bytes(), io.StringIO()
        with monkeypatch.context() as m:
            m.setattr(sys, "stdin", io.TextIOWrapper(_Bytes(stdin)))
            m.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
            m.setattr(sys, "stderr", err)
            code = cli.run([str(a) for a in argv])
            sys.stdout.flush()
        return Result(int(code), out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """tests/fixtures."""
    return FIXTURES


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the picture packs: $GANTOOLS_SHARED, or `shared` beside the checkout."""
    folder = Path(os.environ.get("GANTOOLS_SHARED") or FIXTURES.parents[2] / "shared")
    if not (folder / "data").is_dir():
        pytest.skip("no picture packs: set GANTOOLS_SHARED to the folder that holds data/")
    return folder


@pytest.fixture(autouse=True)
def _no_surprises(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No test reads the user's own networks, weights or features."""
    empty = tmp_path_factory.getbasetemp() / "no-user-data"
    monkeypatch.setenv("XDG_DATA_HOME", str(empty))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("MPLCONFIGDIR", MATPLOTLIB)  # finding all fonts again takes seconds
    for name in ("GANTOOLS_NET", "GANTOOLS_WEIGHTS", "GANTOOLS_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def make_network(
    path: Path,
    *,
    resolution: int = 16,
    seed: int = 0,
    w_dim: int = 16,
    c_dim: int = 0,
    channels: int = 8,
    alpha: str | None = None,
    **config: object,
) -> Path:
    """A seeded, untrained StyleGAN2 network file, with its discriminator.

    config: more of the generator's; D gets what both have. alpha: the header's entry.
    """
    import torch

    from gantools.io.network import Checkpoint, save
    from gantools.networks.network import numbers
    from gantools.networks.stylegan2 import Generator
    from gantools.networks.stylegan2_config import GeneratorConfig
    from gantools.networks.stylegan2_discriminator import Discriminator, DiscriminatorConfig

    torch.manual_seed(seed)
    count = int(np.log2(resolution)) - 1
    g = GeneratorConfig(
        resolution,
        (channels,) * count,
        z_dim=w_dim,
        w_dim=w_dim,
        c_dim=c_dim,
        mapping_layers=2,
        **config,
    )  # type: ignore[arg-type]
    both = {n: config[n] for n in ("img_channels", "first_block") if n in config}
    d = DiscriminatorConfig(
        resolution, (channels,) * count, c_dim=c_dim, cmap_dim=channels if c_dim else 0,
        **both,  # type: ignore[arg-type]
    )  # fmt: skip
    net = Generator(g)
    with torch.no_grad():
        for layer in net.synthesis.layers():
            layer.noise_strength.fill_(0.1)
        net.mapping.w_avg.copy_(
            net.mapping.styles(
                torch.randn(64, w_dim),
                torch.eye(c_dim)[torch.arange(64) % c_dim] if c_dim else None,
            ).mean(0)
        )
    tensors = {f"g_ema.{n}": t for n, t in numbers(net).items()}
    tensors |= {f"d.{n}": t for n, t in numbers(Discriminator(d)).items()}
    crop = {
        "landmarks": [[0.33, 0.31], [0.68, 0.31], [0.5, 0.52], [0.35, 0.67], [0.66, 0.67]],
        "spread": [0.033, 0.028, 0.011, 0.009],
        "count": 496,
    }
    meta = {"images_shown": 0, "trained_on": "nothing (a test's random weights)", "crop": crop}
    if alpha:
        meta["alpha"] = alpha
    save(path, Checkpoint("stylegan2", {"g": g.to_dict(), "d": d.to_dict()}, tensors, meta))
    return path


@pytest.fixture(scope="session")
def tiny_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16x16 StyleGAN2 network file with random weights and its discriminator."""
    return make_network(tmp_path_factory.mktemp("networks") / "tiny.safetensors")
