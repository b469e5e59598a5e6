"""gantools prefilter: detection, choice, crops, the report of every decision (S0.2-S0.4)."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from gantools.faces.detect import Detector, Face
from gantools.faces.judge import Rules, judge
from gantools.io.image import decode, encode, story


def png(pixels: np.ndarray) -> bytes:
    return encode(pixels)


@pytest.fixture(scope="module")
def pictures(fixtures: Path) -> dict[str, np.ndarray]:
    """single: one face; two: two faces; noface; border: a face at the edge."""
    data = load_file(fixtures / "numerics" / "mtcnn_facenet_tf.safetensors")
    return {n: data[f"{n}.image"] for n in ("border", "noface", "single", "two")}


@pytest.fixture
def folder(tmp_path: Path, pictures: dict[str, np.ndarray]) -> Path:
    """The four pictures, a text named .jpg, an empty file, a cut PNG and a README."""
    place = tmp_path / "in"
    (place / "sub").mkdir(parents=True)
    for name, pixels in pictures.items():
        (place / f"{name}.png").write_bytes(png(pixels))
    (place / "sub" / "text.jpg").write_text("no picture")
    (place / "empty.jpg").write_bytes(b"")
    (place / "cut.png").write_bytes(png(pictures["two"])[:3000])
    (place / "README.txt").write_text("not a sample")
    return place


def lines(path: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({line["key"] for line in found}) == len(found)
    return {line["key"]: line for line in found}


def files(place: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()
    }


def test_every_picture_is_accepted_rejected_or_unreadable(
    gt: Callable, folder: Path, tmp_path: Path
) -> None:
    """S0.4: accepted + rejected + unreadable = total; unreadable ones are failures."""
    report = tmp_path / "report.jsonl"
    done = gt("prefilter", folder, "-o", tmp_path / "out", "--report", report, "--size", 64)
    assert done.code == 2  # `out` is no folder yet, and has no suffix
    done = gt("prefilter", folder, "-o", f"{tmp_path / 'out'}/", "--report", report, "--size", 64)
    assert done.code == 1 and done.out == b""
    assert "3 accepted, 1 rejected, 3 unreadable, 7 in all" in done.err
    for name in ("text.jpg", "empty.jpg", "cut.png"):
        assert done.err.count(name) == 1
    found = lines(report)
    assert {key: line["decision"] for key, line in found.items()} == {
        "border": "accepted",
        "cut": "unreadable",
        "empty": "unreadable",
        "noface": "rejected",
        "single": "accepted",
        "sub/text": "unreadable",
        "two": "accepted",
    }
    assert list(found) == sorted(found)
    assert found["noface"]["reason"] == "no face found" and found["noface"]["faces"] == []
    assert "damaged" in found["cut"]["reason"]
    assert found["empty"]["reason"] == "empty file (0 bytes)"
    assert found["sub/text"]["reason"] == "not an image"
    assert [line["accepted"] for line in found.values()].count(True) == 3
    suffixes = {"sub/text": "jpg", "empty": "jpg"}
    for key, line in found.items():
        assert line["path"] == f"{folder}/{key}.{suffixes.get(key, 'png')}"
    made = files(tmp_path / "out")
    assert sorted(made) == ["border.png", "single.png", "two.png"]
    assert all(decode(data).shape == (64, 64, 3) for data in made.values())


def test_the_crop_is_facenets(
    gt: Callable, folder: Path, fixtures: Path, tmp_path: Path, pictures: dict[str, np.ndarray]
) -> None:
    """S0.3: margin 50 in all, in px of the picture; the report and the PNG say where."""
    report = tmp_path / "r.jsonl"
    out = tmp_path / "x.png"
    done = gt("prefilter", folder / "single.png", "-o", out, "--report", report)
    assert done.code == 0 and "1 accepted, 0 rejected, 0 unreadable, 1 in all" in done.err
    (line,) = lines(report).values()
    (face,) = line["faces"]
    golden = load_file(fixtures / "numerics" / "mtcnn_facenet_pytorch.safetensors")
    box = golden["single.boxes"][0]
    np.testing.assert_allclose([*face["box"], face["score"]], box, atol=2e-3)
    np.testing.assert_allclose(face["landmarks"], golden["single.landmarks"][0], atol=2e-3)
    height, width = pictures["single"].shape[:2]
    low = [int(max(v - 25, 0)) for v in box[:2]]
    high = [int(min(v + 25, limit)) for v, limit in zip(box[2:4], (width, height), strict=True)]
    assert face["crop"]["box"] == [*low, *high] and line["size"] == [width, height]
    part = pictures["single"][low[1] : high[1], low[0] : high[0]]
    expected = Image.fromarray(part).resize((256, 256), Image.Resampling.BILINEAR)
    made = out.read_bytes()
    assert (decode(made) == np.asarray(expected)).all()
    told = story(made)
    assert told is not None and told["crop"] == face["crop"] and told["key"] == "single"
    assert told["history"][0]["command"] == "prefilter"
    assert str(tmp_path) not in json.dumps(told)


def test_the_result_does_not_depend_on_batches_shards_or_repetition(
    gt: Callable, folder: Path, tmp_path: Path
) -> None:
    results = []
    for name, flags in {
        "a": [["--batch", "16"]],
        "b": [["--batch", "1"]],
        "c": [["--batch", "2"], ["--batch", "3"]],
        "d": [["--shard", "0/2"], ["--shard", "1/2"]],
    }.items():
        out = tmp_path / name
        for flag in flags:
            assert gt("prefilter", folder, "-o", f"{out}/", "--size", 48, *flag).code == 1
        results.append(files(out))
    assert len(results[0]) == 3
    assert all(r == results[0] for r in results)


def test_shards_cover_every_decision(gt: Callable, folder: Path, tmp_path: Path) -> None:
    keys: list[str] = []
    for i in range(3):
        report = tmp_path / f"{i}.jsonl"
        gt("prefilter", folder, "-o", f"{tmp_path}/o/", "--shard", f"{i}/3", "--report", report)
        keys += lines(report)
    assert len(keys) == len(set(keys)) == 7


def test_a_second_run_changes_nothing(
    gt: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0.4: idempotent; with --no-clobber what is there is not even looked at."""
    report = tmp_path / "r.jsonl"
    run = ["prefilter", folder, "-o", f"{tmp_path}/o/", "--report", report]
    assert gt(*run).code == 1
    made, told = files(tmp_path / "o"), report.read_text()
    assert gt(*run).code == 1
    assert (files(tmp_path / "o"), report.read_text()) == (made, told)
    (tmp_path / "o" / "two.png").unlink()
    looked: list[tuple[int, ...]] = []
    detect = Detector.detect

    def counted(self: Detector, images: list[np.ndarray]) -> list[list[Face]]:
        looked.extend(image.shape for image in images)
        return detect(self, images)

    monkeypatch.setattr(Detector, "detect", counted)
    done = gt(*run, "--no-clobber")
    assert done.code == 1 and "3 accepted, 1 rejected, 3 unreadable, 7 in all" in done.err
    assert sorted(looked) == [(160, 240, 3), (200, 320, 3)]  # noface, and two, which is gone
    assert (files(tmp_path / "o"), report.read_text()) == (made, told)


def test_streams_in_and_out(gt: Callable, folder: Path, tmp_path: Path) -> None:
    """A tar comes in, a stream of PNGs goes out, with the keys that came in."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("single.png", "noface.png", "sub/text.jpg", "two.png"):
            tar.add(folder / name, f"d/{name}")
    report = tmp_path / "r.jsonl"
    done = gt("prefilter", "--report", report, "-q", stdin=buffer.getvalue())
    assert done.code == 1 and done.err.count("\n") == 1 and "text.jpg" in done.err
    with tarfile.open(fileobj=io.BytesIO(done.out)) as tar:
        assert tar.getnames() == ["d/single.png", "d/two.png"]
    told = [json.loads(line) for line in report.read_text().splitlines()]
    expected = ["accepted", "rejected", "unreadable", "accepted"]
    assert [line["decision"] for line in told] == expected
    bare = gt("prefilter", folder / "single.png", "-o", ".png")
    assert bare.code == 0 and decode(bare.out).shape == (256, 256, 3)


def test_a_damaged_stream_gives_what_was_whole(gt: Callable, folder: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("single.png", "two.png", "border.png"):
            tar.add(folder / name, name)
    size = (folder / "single.png").stat().st_size
    report = tmp_path / "r.jsonl"
    flags = ["-o", f"{tmp_path}/o/", "--report", report]
    done = gt("prefilter", *flags, stdin=buffer.getvalue()[: 512 + size + 2000])
    assert done.code == 2
    assert sorted(files(tmp_path / "o")) == ["single.png"]
    assert list(lines(report)) == ["single"]


def test_all_faces_have_keys_below_the_pictures(
    gt: Callable, folder: Path, tmp_path: Path, pictures: dict[str, np.ndarray]
) -> None:
    report = tmp_path / "r.jsonl"
    flags = ["--select", "all", "--report", report, "--size", 32]
    done = gt(
        "prefilter", folder / "two.png", folder / "single.png", "-o", f"{tmp_path}/o/", *flags
    )
    assert done.code == 0
    assert sorted(files(tmp_path / "o")) == ["single/0.png", "two/0.png", "two/1.png"]
    faces = lines(report)["two"]["faces"]
    assert {face["output"] for face in faces} == {"two/0", "two/1"}
    one = tmp_path / "one.png"
    gt("prefilter", folder / "two.png", "-o", one, "--size", 32)
    assert (decode(one.read_bytes()) == decode((tmp_path / "o/two/0.png").read_bytes())).all()


def test_min_score_and_min_face(gt: Callable, folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.jsonl"
    run = ["prefilter", folder / "single.png", "-o", f"{tmp_path}/o/", "--report", report]
    done = gt(*run, "--min-score", 1)
    (line,) = lines(report).values()
    assert done.code == 0 and line["decision"] == "rejected"
    assert line["reason"].startswith("no face with a score of 1: the best has 0.9")
    assert len(line["faces"]) == 1 and not line["faces"][0]["chosen"]
    assert gt(*run, "--min-face", 200).code == 0
    assert lines(report)["single"]["reason"] == "no face found"
    assert gt(*run, "--min-face", 300).code == 0
    assert "smaller than the smallest face, 300 px" in lines(report)["single"]["reason"]
    assert not files(tmp_path / "o")


def test_nothing_accepted_for_one_file_is_a_failure(
    gt: Callable, folder: Path, tmp_path: Path
) -> None:
    done = gt("prefilter", folder / "noface.png", "-o", tmp_path / "x.png")
    assert done.code == 1 and not (tmp_path / "x.png").exists()
    done = gt("prefilter", folder / "single.png", folder / "two.png", "-o", tmp_path / "x.png")
    assert done.code == 2 and not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--crop", "oval"],
        ["--crop", "celeba", "--select", "all"],
        ["--crop", "square", "--min-score", "0.5"],
        ["--crop", "square", "--mtcnn", "facenet"],
        ["--margin", "5", "--crop", "ffhq"],
        ["--faces", "all"],
        ["--keep", "0"],
        ["--keep", "2", "--no-clobber"],
        ["--mosaic", "m/", "--no-clobber"],
        ["--seed", "1"],
        ["--size", "0"],
        ["--margin", "-1"],
        ["--margin", "5", "--crop", "celebahq"],
        ["--min-score", "1.5"],
        ["--shard", "2/2"],
        ["-o", "x.safetensors"],
        ["--net", "x.safetensors"],
        ["--crop", "network", "--net", "missing.safetensors"],
        ["--report", "missing/r.jsonl"],
        ["--device", "cuda:99"],
    ],
)
def test_wrong_usage(
    flags: list[str], gt: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    done = gt(
        "prefilter", folder / "single.png", *(["-o", "o.tar"] if "-o" not in flags else []), *flags
    )
    assert done.code == 2 and done.out == b"" and done.err.count("\n") == 1
    assert files(tmp_path) == before


def face_at(x: float, y: float, side: float, score: float = 0.99) -> Face:
    box = (x, y, x + side, y + side)
    points = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]])
    return Face(box, score, points * side + [x, y])


def test_choice_among_faces() -> None:
    """S0.3: area - 2 distance²; largest; all; and low scores are no candidates."""
    photo = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    faces = [face_at(2, 2, 70), face_at(120, 120, 60), face_at(110, 90, 90, score=0.7)]

    def kept(**rules: Any) -> list[int]:
        decision, cuts = judge("k", photo, faces, Rules(size=16, **rules))
        chosen = [i for i, face in enumerate(decision.faces) if face["chosen"]]
        assert len(chosen) == len(cuts)
        return chosen

    assert kept() == [2]
    assert kept(min_score=0.9) == [1]
    assert kept(min_score=0.9, which="largest") == [0]
    assert kept(which="all") == [0, 1, 2]


@pytest.mark.parametrize("which", ["celebahq", "network"])
def test_turned_squares(which: Any) -> None:
    """S1.16 and a network's framing: the landmarks come where the framing says."""
    crop = {"landmarks": [[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.4, 0.7], [0.6, 0.7]]}
    photo = np.zeros((300, 300, 3), np.uint8)
    face = face_at(100, 80, 100)
    decision, cuts = judge("k", photo, [face], Rules(which, size=64, network=crop))
    quad = np.array(decision.faces[0]["crop"]["quad"])
    x, y = quad[3] - quad[0], quad[1] - quad[0]
    inside = np.linalg.solve(np.stack([x, y], 1), (face.points - quad[0]).T).T
    if which == "network":
        assert np.abs(inside - np.array(crop["landmarks"])).max() < 0.05
    else:
        np.testing.assert_allclose(np.hypot(*x), max(4 * 40, 3.6 * 40), atol=1e-3)
        np.testing.assert_allclose(inside[:2].mean(0), [0.5, 0.475], atol=1e-3)
    assert cuts[0].pixels.shape == (64, 64, 3)


def test_a_networks_framing(gt: Callable, tiny_network: Path, folder: Path, tmp_path: Path) -> None:
    """--crop network: the square of the network's own `crop`, and none for one without."""
    from gantools.io import network

    flags = ["--crop", "network", "--size", 16]
    out = tmp_path / "x.png"
    done = gt("prefilter", folder / "single.png", "-o", out, "--net", tiny_network, *flags)
    assert done.code == 0
    told = story(out.read_bytes())
    assert told is not None and "box" not in told["crop"] and told["crop"]["size"] == 16
    quad = np.array(told["crop"]["quad"])
    x, y = quad[3] - quad[0], quad[1] - quad[0]
    assert abs(x @ y) < 1e-2 * (x @ x) and np.hypot(*x) == pytest.approx(np.hypot(*y), rel=1e-3)
    faceless = network.load(tiny_network)
    del faceless.meta["crop"]
    network.save(tmp_path / "faceless.safetensors", faceless)
    flags += ["--net", tmp_path / "faceless.safetensors"]
    done = gt("prefilter", folder / "single.png", "-o", out, *flags)
    assert done.code == 2 and "does not say where" in done.err


def test_faces_outside_the_picture_are_told(gt: Callable) -> None:
    """A box whose crop is empty rejects the picture and says why."""
    photo = np.zeros((100, 100, 3), np.uint8)
    decision, cuts = judge("k", photo, [face_at(140, 20, 30)], Rules())
    assert not cuts and decision.decision == "rejected"
    assert decision.reason == "the face lies outside the picture"
    assert decision.line()["accepted"] is False


@pytest.mark.data
def test_portraits_of_the_pack(gt: Callable, shared: Path, tmp_path: Path) -> None:
    """The broken folder as its rows say: refused ones unreadable, tiny ones rejected."""
    report = tmp_path / "r.jsonl"
    broken = shared / "data" / "faces-wild" / "broken"
    done = gt("prefilter", broken, "-o", f"{tmp_path}/o/", "--report", report)
    assert done.code == 1
    found = {key: line["decision"] for key, line in lines(report).items()}
    refused = {"truncated", "empty", "text", "obama_cut_half"}
    tiny = {"palette_10x10", "one_pixel", "line_3000x1"}
    assert {k for k, v in found.items() if v == "unreadable"} == refused
    assert {k for k, v in found.items() if v == "rejected"} == tiny
    assert len(found) == 13 and len(files(tmp_path / "o")) == 6
