"""gantools prefilter: --dry-run, --mosaic, --keep, crops without faces (S0.4, S1.15, S1.17)."""

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
from scipy.ndimage import gaussian_filter

from gantools.commands._best import Best
from gantools.faces.mosaic import CELL, GAP, Mosaic
from gantools.faces.quality import quality
from gantools.io.image import decode, encode


@pytest.fixture(scope="module")
def pictures(fixtures: Path) -> dict[str, np.ndarray]:
    data = load_file(fixtures / "numerics" / "mtcnn_facenet_tf.safetensors")
    return {n: data[f"{n}.image"] for n in ("border", "noface", "single", "two")}


@pytest.fixture
def folder(tmp_path: Path, pictures: dict[str, np.ndarray]) -> Path:
    """Four pictures, one of them without a face, and a text named .jpg."""
    place = tmp_path / "in"
    place.mkdir()
    for name, pixels in pictures.items():
        (place / f"{name}.png").write_bytes(encode(pixels))
    (place / "text.jpg").write_text("no picture")
    return place


def lines(path: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["key"]: line for line in found}


def files(place: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()
    }


def test_a_dry_run_decides_the_same_and_writes_no_pictures(
    gt: Callable, folder: Path, tmp_path: Path
) -> None:
    """S0.4: the report of a dry run is the report of the run; with -o, without, and with a tar."""
    wet, dry = tmp_path / "wet.jsonl", tmp_path / "dry.jsonl"
    done = gt("prefilter", folder, "-o", f"{tmp_path}/o/", "--report", wet, "--size", 48)
    assert done.code == 1 and len(files(tmp_path / "o")) == 3
    for output in ([], ["-o", "-"], ["-o", f"{tmp_path}/p/"], ["-o", tmp_path / "x.tar"]):
        again = gt("prefilter", folder, "--dry-run", "--report", dry, "--size", 48, *output)
        assert (again.code, again.out, again.err) == (1, b"", done.err)
        assert dry.read_text() == wet.read_text()
    assert not (tmp_path / "p").exists() and not (tmp_path / "x.tar").exists()
    assert gt("prefilter", folder, "--dry-run", "-o", "x.safetensors").code == 2
    # With --no-clobber, what is there is not looked at: the earlier report's lines stay.
    (tmp_path / "o" / "two.png").unlink()
    flags = ["--dry-run", "--no-clobber", "-o", f"{tmp_path}/o/", "--report", wet, "--size", 48]
    assert gt("prefilter", folder, *flags).err == done.err
    assert wet.read_text() == dry.read_text() and len(files(tmp_path / "o")) == 2


def test_the_report_is_complete(gt: Callable, folder: Path, tmp_path: Path) -> None:
    """path, box, score, landmarks, crop and quality; quality is that of the picture written."""
    report = tmp_path / "r.jsonl"
    gt("prefilter", folder, "-o", f"{tmp_path}/o/", "--report", report, "--select", "all")
    found = lines(report)
    assert found["two"]["path"] == f"{folder}/two.png"
    assert found["text"]["path"] == f"{folder}/text.jpg"
    chosen = [f for line in found.values() for f in line["faces"] if f["chosen"]]
    assert len(chosen) == 4
    for face in chosen:
        assert {"box", "score", "landmarks", "crop", "output", "quality"} <= set(face)
        pixels = decode((tmp_path / "o" / f"{face['output']}.png").read_bytes())
        assert face["quality"] == pytest.approx(quality(pixels), abs=1e-6)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder / "single.png", "d/single.png")
    gt("prefilter", "--dry-run", "--report", report, stdin=buffer.getvalue())
    ((key, line),) = lines(report).items()
    assert key == "d/single" and line["path"].endswith("d/single.png")


def test_turned_photographs_are_reported_upright(
    gt: Callable, pictures: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """S0.4: boxes and crops in px after EXIF's orientation."""
    upright = Image.fromarray(pictures["single"])
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "plain.png")
    report = tmp_path / "r.jsonl"
    gt("prefilter", tmp_path, "--dry-run", "--report", report)
    found = lines(report)
    (plain,), (turned,) = (found[key]["faces"] for key in ("plain", "turned"))
    assert (plain.pop("output"), turned.pop("output")) == ("plain", "turned")
    assert plain == turned


# ------------------------------------------------------------------------------------ mosaics


def test_mosaics_show_what_was_decided(
    gt: Callable, folder: Path, tmp_path: Path, pictures: dict[str, np.ndarray]
) -> None:
    """Figs. 1-4: the crops, and the rejected pictures whole; --batch and order do not matter."""
    sheets = []
    for batch in (1, 16):
        place = tmp_path / f"m{batch}"
        flags = ["--mosaic", f"{place}/", "--dry-run", "--size", 64, "--batch", batch]
        assert gt("prefilter", folder, *flags).code == 1
        sheets.append(files(place))
    assert sheets[0] == sheets[1] and sorted(sheets[0]) == ["accepted.png", "rejected.png"]
    rejected = decode(sheets[0]["rejected.png"])
    assert rejected.shape == (CELL, CELL, 3)
    height = round(160 * CELL / 240)
    small = Image.fromarray(pictures["noface"]).resize((CELL, height), Image.Resampling.LANCZOS)
    top = (CELL - height) // 2
    assert (rejected[top : top + height] == np.asarray(small)).all()
    assert (rejected[:top] == 255).all()
    accepted = decode(sheets[0]["accepted.png"])
    assert accepted.shape == (2 * CELL + GAP, 2 * CELL + GAP, 3)  # three of four cells
    gt("prefilter", folder / "single.png", "-o", tmp_path / "x.png", "--size", 64)
    face = decode((tmp_path / "x.png").read_bytes())
    cells = [accepted[y : y + CELL, x : x + CELL] for y in (0, 130) for x in (0, 130)]
    inner = slice((CELL - 64) // 2, (CELL + 64) // 2)
    assert sum((cell[inner, inner] == face).all() for cell in cells) == 1
    others = ["--mosaic", f"{tmp_path}/s/", "--dry-run", "--size", 64, "--seed", 5]
    gt("prefilter", folder, *others)
    assert files(tmp_path / "s")["accepted.png"] != sheets[0]["accepted.png"]
    (tmp_path / "file").write_text("")
    done = gt("prefilter", folder, "--dry-run", "--mosaic", tmp_path / "file")
    assert done.code == 2 and done.err.count("\n") == 1


def test_a_mosaic_draws_evenly_and_forgets() -> None:
    """Each of many is as likely; memory holds the cells; the order of arrival is nothing."""
    cell = np.zeros((2, 2, 3), np.uint8)
    shown = np.zeros(40)
    for seed in range(200):
        mosaic = Mosaic(seed, cells=10)
        for i in range(40):
            mosaic.add(str(i), cell)
            assert len(mosaic._heap) <= 10
        for _, key, _ in mosaic._heap:
            shown[int(key)] += 1
    assert shown.sum() == 2000
    assert ((shown - 50) ** 2 / 37.5).sum() < 75  # chi², 39 degrees of freedom: 72.1 at p = 0.001
    pictures = {f"p{i}": np.full((9, 9, 3), i, np.uint8) for i in range(100)}
    sheets = []
    for names in (list(pictures), list(pictures)[::-1]):
        mosaic = Mosaic(0)
        for name in names:
            mosaic.add(name, pictures[name])
        sheets.append(mosaic.picture())
    assert (sheets[0] == sheets[1]).all() and sheets[0].shape[:2] == (8 * 130 - 2, 8 * 130 - 2)
    assert (Mosaic(0).picture() == 255).all()


# --------------------------------------------------------------------------------------- keep


@pytest.fixture
def blurs(tmp_path: Path, pictures: dict[str, np.ndarray]) -> Path:
    """The same face ever more blurred: e is sharp, a is not; n has no face."""
    place = tmp_path / "blurs"
    place.mkdir()
    photo = pictures["single"].astype(np.float64)
    for name, sigma in zip("abcde", (2.0, 1.4, 0.9, 0.5, 0.0), strict=True):
        x = gaussian_filter(photo, (sigma, sigma, 0)).round().astype(np.uint8)
        (place / f"{name}.png").write_bytes(encode(x))
    (place / "n.png").write_bytes(encode(pictures["noface"]))
    return place


def test_keep_takes_the_sharpest(gt: Callable, blurs: Path, tmp_path: Path) -> None:
    """S1.17: the N best of the run, in the run's order, whatever --batch; the report says why."""
    report = tmp_path / "r.jsonl"
    gt("prefilter", blurs, "-o", f"{tmp_path}/all/", "--size", 96)
    for batch in (1, 16):
        place = tmp_path / f"o{batch}"
        flags = ["--keep", 2, "--report", report, "--size", 96, "--batch", batch]
        done = gt("prefilter", blurs, "-o", f"{place}/", *flags)
        assert done.code == 0 and "2 accepted, 4 rejected, 0 unreadable, 6 in all" in done.err
        assert sorted(files(place)) == ["d.png", "e.png"]
        assert all(files(tmp_path / "all")[name] == data for name, data in files(place).items())
    found = lines(report)
    assert list(found) == ["a", "b", "c", "d", "e", "n"]
    scores = [found[name]["faces"][0]["quality"] for name in "abcde"]
    assert scores == sorted(scores) and len(set(scores)) == 5
    assert found["a"]["reason"] == f"quality {scores[0]:.4f}: not among the 2 best"
    assert not found["a"]["faces"][0]["chosen"] and "output" not in found["a"]["faces"][0]
    assert found["n"]["reason"] == "no face found"
    assert "number" not in report.read_text()
    out = gt("prefilter", blurs, "--keep", 3, "--size", 96, "-q").out
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert tar.getnames() == ["c.png", "d.png", "e.png"]
    one = gt("prefilter", blurs, "--keep", 1, "-o", tmp_path / "best.png")
    assert one.code == 0 and (tmp_path / "best.png").exists()
    more = gt("prefilter", blurs, "--keep", 99, "-o", f"{tmp_path}/more/", "--size", 96)
    assert more.code == 0 and files(tmp_path / "more") == files(tmp_path / "all")


def test_keep_with_mosaics_and_faces_of_one_picture(
    gt: Callable, folder: Path, blurs: Path, tmp_path: Path
) -> None:
    """What drops out is shown among the rejected; each face of a picture is ranked by itself."""
    flags = ["--keep", 2, "--dry-run", "--mosaic", tmp_path / "m"]
    assert gt("prefilter", blurs, *flags).code == 0
    made = {name: decode(data) for name, data in files(tmp_path / "m").items()}
    assert made["accepted.png"].shape[:2] == (CELL, 2 * CELL + GAP)
    assert made["rejected.png"].shape[:2] == (2 * CELL + GAP, 2 * CELL + GAP)  # a b c n
    report = tmp_path / "r.jsonl"
    flags = ["--keep", 1, "--select", "all", "--report", report]
    assert gt("prefilter", folder / "two.png", "-o", f"{tmp_path}/o/", *flags).code == 0
    (line,) = lines(report).values()
    assert line["accepted"] and [face["chosen"] for face in line["faces"]].count(True) == 1
    (kept,) = [face for face in line["faces"] if face["chosen"]]
    assert kept["quality"] == max(face["quality"] for face in line["faces"])
    assert list(files(tmp_path / "o")) == [f"{kept['output']}.png"]


def test_keep_of_a_damaged_stream(gt: Callable, folder: Path, tmp_path: Path) -> None:
    """The best of what came whole; and nothing stays in the temporary folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("single.png", "border.png", "two.png"):
            tar.add(folder / name, name)
    whole = buffer.getvalue()
    cut = whole[: whole.index(b"two.png") + 600]
    done = gt("prefilter", "--keep", 1, "-o", f"{tmp_path}/o/", stdin=cut)
    assert done.code == 2 and len(files(tmp_path / "o")) == 1


def test_the_best_are_the_best() -> None:
    """Any order, equal scores too: the N best, the earlier of equals; N files at most."""
    rng = np.random.default_rng(0)
    for count in (1, 3, 10, 50):
        scores = rng.integers(0, 12, 30) / 12
        with Best(count) as best:
            place = Path(best._folder.name)
            for i, score in enumerate(scores):
                entry = {"quality": score, "output": str(i)}
                best.offer(entry, b"%d" % i)
                line = {"key": str(i), "faces": [], "decision": "accepted", "reason": None}
                best.note({**line, "accepted": True, **entry})
                assert len([p for p in place.iterdir() if p.name.isdigit()]) <= count
            put: list[str] = []
            told = list(best.settle(lambda key, data, put=put: put.append(key)))
        assert not place.exists()
        order = sorted(range(30), key=lambda i: (-scores[i], i))[:count]
        assert put == [str(i) for i in sorted(order)]
        assert [line["key"] for line in told if line["accepted"]] == put
        assert len(told) == 30


# --------------------------------------------------------------------- crops without a face


def test_crops_that_need_no_face(gt: Callable, tmp_path: Path) -> None:
    """S1.15: CelebA's rows and columns, as they are; other sizes are rejected; LSUN's square."""
    rng = np.random.default_rng(0)
    aligned = rng.integers(0, 256, (218, 178, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encode(aligned))
    (tmp_path / "in" / "b.png").write_bytes(encode(aligned[:100]))
    report = tmp_path / "r.jsonl"
    flags = ["-o", f"{tmp_path}/o/", "--report", report]
    done = gt("prefilter", tmp_path / "in", "--crop", "celeba", *flags)
    assert done.code == 0 and "1 accepted, 1 rejected" in done.err
    made = files(tmp_path / "o")
    assert (decode(made["a.png"]) == aligned[57:185, 25:153]).all() and len(made) == 1
    found = lines(report)
    assert found["a"]["crop"]["box"] == [25, 57, 153, 185] and found["a"]["faces"] == []
    assert found["a"]["quality"] > 0
    assert found["b"]["reason"] == "178x100 px: CelebA's aligned pictures have 178x218"
    keep = ["--keep", 1, "--crop", "square", "--size", 40]
    assert gt("prefilter", tmp_path / "in", *keep, *flags).code == 0
    found = lines(report)
    assert sorted(line["accepted"] for line in found.values()) == [False, True]
    assert found["b"]["crop"]["box"] == [39, 0, 139, 100]


@pytest.mark.parametrize("crop", ["celebahq", "ffhq"])
def test_the_turned_squares_of_the_sets(
    crop: str, gt: Callable, folder: Path, tmp_path: Path
) -> None:
    """S1.16: a square that follows the landmarks; a face at the border is cut out too."""
    report = tmp_path / "r.jsonl"
    flags = ["--crop", crop, "--size", 64, "--report", report, "-o", f"{tmp_path}/o/"]
    assert gt("prefilter", folder / "single.png", folder / "border.png", *flags).code == 0
    for line in lines(report).values():
        (face,) = [face for face in line["faces"] if face["chosen"]]
        quad = np.array(face["crop"]["quad"])
        eyes = np.array(face["landmarks"])[:2]
        side = np.hypot(*(quad[3] - quad[0]))
        assert side >= 4 * np.hypot(*(eyes[1] - eyes[0])) - 1e-2
        assert decode((tmp_path / "o" / f"{line['key']}.png").read_bytes()).shape == (64, 64, 3)


def test_facenets_detector(gt: Callable, folder: Path, fixtures: Path, tmp_path: Path) -> None:
    """S0.2: --mtcnn facenet gives the original's crops; the default's are others at the border."""
    golden = json.loads((fixtures / "numerics" / "mtcnn_facenet_tf.json").read_text())["values"]
    report = tmp_path / "r.jsonl"
    boxes = {}
    for rules in ("facenet", "facenet-pytorch"):
        gt("prefilter", folder, "--dry-run", "--report", report, "--mtcnn", rules)
        told = lines(report)
        boxes[rules] = {
            key: next((f["crop"]["box"] for f in told[key]["faces"] if f["chosen"]), None)
            for key in golden
        }
    assert boxes["facenet"] == {key: said["crop_box"] for key, said in golden.items()}
    assert boxes["facenet-pytorch"]["border"] != boxes["facenet"]["border"]
