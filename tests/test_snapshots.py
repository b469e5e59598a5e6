"""`metrics fid|kid --snapshots`: every network of a run, and the best of them (S0.15)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import make_network

from gantools.evaluation import features
from gantools.networks.network import open_network
from gantools.training.control import best_of


def test_ties_go_to_the_earliest_s0_15() -> None:
    """Selection on a fake list: the smallest, of equal ones the earliest, never NaN."""
    assert best_of([(3, 5.0), (1, 4.0), (2, 4.0)]) == 1
    assert best_of([(1, float("nan")), (2, 9.0)]) == 2
    assert best_of([(1, float("nan"))]) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three untrained networks, and what else is in a run's folder."""
    folder = tmp_path_factory.mktemp("my-run")
    for kimg in (8, 16, 24):
        make_network(folder / f"network-{kimg:06d}.safetensors", seed=kimg)
    shutil.copy(folder / "network-000016.safetensors", folder / "best.safetensors")
    (folder / "log.jsonl").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network whose discriminator sees all pictures."""
    return make_network(tmp_path_factory.mktemp("eyes") / "eyes.safetensors", seed=99)


@pytest.fixture(scope="module")
def real(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of the second snapshot: it has to win."""
    from gantools import cli

    folder = tmp_path_factory.mktemp("real")
    net = str(run / "network-000016.safetensors")
    assert cli.run(["generate", "--net", net, "--seeds", "100-139", "-o", f"{folder}/"]) == 0
    return folder


@pytest.mark.parametrize("verb", ["fid", "kid"])
def test_each_snapshot_is_what_it_is_alone(
    gt: Callable, run: Path, real: Path, eyes: Path, verb: str, tmp_path: Path
) -> None:
    """S0.15: the best is found; every value is that of the network given as FAKE's."""
    common = (verb, real, "--features", eyes, "--num", 20)
    out = ("-o", tmp_path / "x.json", "-o", tmp_path / "x.png", "-o", "-")
    done = gt("metrics", *common, "--snapshots", run, *out)
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "x.json").read_text())
    names = [f"network-{kimg:06d}.safetensors" for kimg in (8, 16, 24)]
    assert [row["snapshot"] for row in found["each"]] == names
    assert [row["images"] for row in found["each"]] == [8000, 16000, 24000]
    assert found["best"] == names[1] and found["images"] == 16000
    assert found[verb] == found["each"][1][verb] == min(row[verb] for row in found["each"])
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    lines = [line.split("\t") for line in done.text.splitlines()]
    assert lines[0] == [names[0], "8000", repr(found["each"][0][verb])]
    protocol = found["protocol"]
    assert protocol["fake"]["run"] == run.name and protocol["fake"]["seeds"] == "0-19"
    assert protocol["real"]["count"] == 40 and protocol["fake"]["count"] == 20
    assert protocol["features"] == "discriminator of eyes" and "network" not in protocol["fake"]
    assert done.err.count("far above") == (verb == "fid")
    # alone, through pictures in a folder
    net = ("--net", run / names[2], "--seeds", "0-19", "--noise-mode", "random")
    assert gt("generate", *net, "-o", f"{tmp_path}/alone/").code == 0
    alone = gt("metrics", verb, real, tmp_path / "alone", *common[2:4], "--json")
    assert alone.code == 0, alone.err
    assert json.loads(alone.text)[verb] == pytest.approx(found["each"][2][verb], rel=1e-4)


def test_real_is_read_once_whatever_it_is(
    gt: Callable, run: Path, real: Path, eyes: Path, tmp_path: Path, monkeypatch
) -> None:
    """Statistics and features in the place of pictures; intervals from splits."""
    eye = ("--features", eyes)
    assert gt("metrics", "stats", real, *eye, "-o", tmp_path / "s.safetensors").code == 0
    seen: list[int] = []
    call = features.Extractor.__call__

    def counted(self: features.Extractor, images: object) -> object:
        seen.append(len(images))  # type: ignore[arg-type]
        return call(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(features.Extractor, "__call__", counted)
    more = (*eye, "--num", 12, "--snapshots", run, "--json")
    found = []
    for operand, count in ((tmp_path / "s.safetensors", 36), (real, 76)):
        seen.clear()
        done = gt("metrics", "fid", operand, *more, "--no-cache")
        assert done.code == 0, done.err
        assert sum(seen) == count
        found.append([row["fid"] for row in json.loads(done.text)["each"]])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    done = gt("metrics", "fid", real, *more, "--splits", 3, "-o", tmp_path / "x.svg", "-o", "-")
    assert done.code == 0, done.err
    row = json.loads(done.text)
    assert row["fid_ci"][0] < row["fid"] < row["fid_ci"][1]
    assert [one["fid"] for one in row["each"]] == pytest.approx(found[1])
    other = open_network(str(eyes), discriminator=True)
    assert row["protocol"]["features_sha256"] == other.id


def test_a_damaged_snapshot_is_named(
    gt: Callable, run: Path, real: Path, eyes: Path, tmp_path: Path
) -> None:
    """Exit status 1; the others are measured."""
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "network-000016.safetensors").write_bytes(b"no network")
    argv = ("metrics", "fid", real, "--features", eyes, "--num", 8)
    done = gt(*argv, "--snapshots", tmp_path / "run", "--json")
    assert done.code == 1 and "network-000016.safetensors" in done.err
    assert len(json.loads(done.text)["each"]) == 2
    for kimg in (8, 24):
        (tmp_path / "run" / f"network-{kimg:06d}.safetensors").write_bytes(b"")
    done = gt(*argv, "--snapshots", tmp_path / "run", "--json")
    assert done.code == 2 and "no snapshot could be measured" in done.err and not done.out


def test_usage(gt: Callable, run: Path, real: Path, eyes: Path, tmp_path: Path) -> None:
    """One line each, exit status 2."""
    d = ("--features", "discriminator")
    cases = [
        ((real, "--snapshots", run), "leave FAKE out"),
        (("--snapshots", run, "--net", eyes), "leave --net out"),
        (("--snapshots", run, *d), "one discriminator has to see them all: --features FILE"),
        (("--snapshots", tmp_path / "no", "--features", eyes), "no such folder"),
        (("--snapshots", tmp_path, "--features", eyes), "no network-*.safetensors in it"),
        (("-o", tmp_path / "x.png"), "text results go to"),
    ]
    for argv, why in cases:
        for verb in ("fid", "kid"):
            done = gt("metrics", verb, real, *argv)
            assert done.code == 2 and why in done.err, (argv, done.err)
            assert done.err.count("\n") == 1 and not done.out
