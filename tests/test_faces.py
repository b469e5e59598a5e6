"""Detection, crops, alignment, pasting back (papers.md S0.2, S0.3, S1.16, X.6)."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file
from scipy.ndimage import gaussian_filter

from gantools.faces import align, area, boxes, crop, find, framing, padding, warp
from gantools.faces.detect import MOST_PIXELS, Detector, Face
from gantools.faces.framing import similarity
from gantools.faces.paste import mask, paste
from gantools.io.image import decode
from gantools.report import SampleError, Usage

# Measured by mean_landmarks over 500 pictures of CelebA, cropped and 64x64.
CELEBA = {
    "landmarks": [
        [0.33278, 0.32633],
        [0.66126, 0.32662],
        [0.50313, 0.53073],
        [0.3522, 0.68615],
        [0.64098, 0.68593],
    ],
    "spread": [0.0329, 0.02836, 0.0113, 0.00924],
    "count": 497,
}
FIXTURES = Path(__file__).parent / "fixtures" / "numerics"
NAMES = ("single", "noface", "two", "border")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """Grace Hopper's photograph in matplotlib's sample data, [600, 512, 3]."""
    import matplotlib

    folder = Path(matplotlib.__file__).parent / "mpl-data" / "sample_data"
    return decode((folder / "grace_hopper.jpg").read_bytes())


@pytest.fixture(scope="module")
def golden(fixtures: Path) -> tuple[dict, dict]:
    """facenet-pytorch's numbers, and the TensorFlow original's with the pictures."""
    folder = fixtures / "numerics"
    names = ("mtcnn_facenet_pytorch", "mtcnn_facenet_tf")
    ours, original = (load_file(folder / f"{name}.safetensors") for name in names)
    return ours, original


def same(a: list[Face], b: list[Face]) -> bool:
    return len(a) == len(b) and all(
        x.box == y.box and x.score == y.score and (x.landmarks == y.landmarks).all()
        for x, y in zip(a, b, strict=True)
    )


# ------------------------------------------------------------------------------ detection (S0.2)


@pytest.mark.parametrize("name", NAMES)
def test_mtcnn_gives_the_librarys_faces(name: str, detector: Detector, golden: tuple) -> None:
    """S0.2: boxes, scores and landmarks of facenet-pytorch, in its order."""
    expected, original = golden
    (faces,) = detector.detect([original[f"{name}.image"]])
    rows = np.array([[*f.box, f.score] for f in faces]).reshape(-1, 5)
    assert rows.shape == expected[f"{name}.boxes"].shape
    np.testing.assert_allclose(rows, expected[f"{name}.boxes"], atol=1e-3)
    if faces:
        points = np.stack([f.landmarks for f in faces])
        np.testing.assert_allclose(points, expected[f"{name}.landmarks"], atol=1e-3)


@pytest.mark.parametrize("name", ["single", "two"])
def test_mtcnn_is_near_the_tensorflow_original(
    name: str, detector: Detector, golden: tuple
) -> None:
    """S0.2, X.6: away from the border the two versions differ by the resampling only."""
    original = golden[1]
    (faces,) = detector.detect([original[f"{name}.image"]])
    found = np.array([[*f.box, f.score] for f in faces])
    expected = original[f"{name}.boxes"]
    assert found.shape == expected.shape
    for row in found:
        assert np.abs(row - expected).max(1).min() < 6
    points = original[f"{name}.points"].T.reshape(-1, 2, 5).transpose(0, 2, 1)
    for f in faces:
        assert np.abs(f.landmarks - points).max((1, 2)).min() < 4


@pytest.mark.parametrize("name", NAMES)
def test_facenets_rules_give_the_tensorflow_originals_faces(name: str, golden: tuple) -> None:
    """S0.2, X.6: --mtcnn facenet, also at the border: boxes, scores, landmarks, crop."""
    original = golden[1]
    photo = original[f"{name}.image"]
    (faces,) = Detector(rules="facenet").detect([photo])
    rows = np.array([[*f.box, f.score] for f in faces]).reshape(-1, 5)
    assert rows.shape == original[f"{name}.boxes"].shape
    np.testing.assert_allclose(rows, original[f"{name}.boxes"], atol=0.02)
    if not faces:
        return
    points = original[f"{name}.points"].T.reshape(-1, 2, 5).transpose(0, 2, 1)
    np.testing.assert_allclose(np.stack([f.landmarks for f in faces]), points, atol=0.02)
    box = crop.facenet_box(rows[crop.choose(rows, *photo.shape[:2]), :4], *photo.shape[:2])
    said = json.loads((FIXTURES / "mtcnn_facenet_tf.json").read_text())["values"][name]
    assert list(box) == said["crop_box"]
    made = crop.facenet_crop(photo, box, 256).astype(float)
    means = made.reshape(64, 4, 64, 4, 3).mean((1, 3))
    if name == "single":
        assert np.abs(made - original["single.crop256"]).mean() < 0.5
    else:
        assert np.abs(means - original[f"{name}.crop256_mean4x4"]).mean() < 0.5


def test_facenets_rules_do_not_depend_on_the_batch(golden: tuple) -> None:
    detector = Detector(rules="facenet")
    images = [np.roll(golden[1]["single.image"], 5 * i, 1) for i in range(3)]
    images += [golden[1]["border.image"]] * 2
    together = detector.detect(images)
    assert sum(map(len, together)) >= 5
    for image, faces in zip(images, together, strict=True):
        assert same(detector.detect([image])[0], faces)
    for shape in ((1, 1), (1, 3000), (20, 20), (21, 700)):
        picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        assert detector.detect([picture]) == [[]]


def test_a_single_cell_takes_the_mirrored_regression() -> None:
    """X.6: facenet's slip, of which its boxes at the border consist; per picture."""
    reg = torch.arange(2 * 4 * 3 * 5).reshape(2, 4, 3, 5).float()
    prob = torch.zeros(2, 3, 5)
    prob[0, 1, 4] = prob[1, 1, 4] = prob[1, 2, 2] = 0.9
    owner, rows = boxes.cells(reg, prob, 0.5, 0.6, flip_single=True)
    assert owner.tolist() == [0, 1, 1]
    assert rows[0, 5:].tolist() == reg[0, :, 1, 0].tolist()
    assert rows[1, 5:].tolist() == reg[1, :, 1, 4].tolist()
    _, plain = boxes.cells(reg, prob, 0.5, 0.6)
    assert plain[0, 5:].tolist() == reg[0, :, 1, 4].tolist()
    assert (plain[:, :5] == rows[:, :5]).all() and (plain[1:] == rows[1:]).all()


@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    size=st.tuples(st.integers(1, 25), st.integers(1, 25)),
)
@settings(max_examples=40, deadline=None)
def test_fractional_area_means(height: int, width: int, size: tuple[int, int]) -> None:
    """Bins that share px: the same as each px enlarged `size` times and averaged in blocks."""
    rng = np.random.default_rng(height * 31 + width)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    big = np.repeat(np.repeat(pixels.astype(np.float64), size[0], 0), size[1], 1)
    means = big.reshape(size[0], height, size[1], width, 3).mean((1, 3))
    sums = area.integral(torch.from_numpy(pixels)[None])
    level = area.fractional_level(sums, size)[0].permute(1, 2, 0) * 128 + 127.5
    clear = np.abs(means % 1 - 0.5) > 1e-6
    assert (np.abs(level.numpy() - np.rint(means)) < 1e-3)[clear].all()
    # A box two px wider all around is black there.
    side = size[0]
    low, high = torch.tensor([[-2, -2]]), torch.tensor([[width + 2, height + 2]])
    found = area.fractional_contents(sums, torch.zeros(1).long(), low, high, side)[0]
    padded = np.pad(pixels, ((2, 2), (2, 2), (0, 0))).astype(np.float64)
    big = np.repeat(np.repeat(padded, side, 0), side, 1)
    expected = big.reshape(side, height + 4, side, width + 4, 3).mean((1, 3))
    np.testing.assert_allclose(found.permute(1, 2, 0) * 128 + 127.5, expected, atol=1e-3)


def test_the_networks_with_random_weights(fixtures: Path) -> None:
    """S0.2: P-, R- and O-Net forward passes and parameter counts."""
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    data = load_file(fixtures / "numerics" / "mtcnn_random_nets.safetensors")
    for name, kind, count in (("pnet", PNet, 6632), ("rnet", RNet, 100178), ("onet", ONet, 389040)):
        net = kind(pretrained=False)
        assert sum(p.numel() for p in net.parameters()) == count
        state = {
            k.removeprefix(f"{name}."): torch.from_numpy(v.astype(np.float32))
            for k, v in data.items()
            if k.startswith(f"{name}.") and k.endswith(("weight", "bias"))
        }
        net.load_state_dict(state)
        with torch.inference_mode():
            outputs = net(torch.from_numpy(data[f"{name}.input"]))
        for i, out in enumerate(outputs):
            np.testing.assert_allclose(out.numpy(), data[f"{name}.out{i}"], atol=1e-4)


def test_a_face_does_not_depend_on_the_number_of_threads(
    detector: Detector, portrait: np.ndarray
) -> None:
    """Pictures side by side in threads: the same to the bit, and torch has its threads back."""
    pictures = [portrait, portrait[:, ::-1].copy(), portrait[20:], portrait[20:, ::-1].copy()]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = Detector()
        found = several.detect(pictures)
        assert (several.workers, torch.get_num_threads()) == (3, 3)
        torch.set_num_threads(1)
        alone = [Detector().detect([picture])[0] for picture in pictures]
    finally:
        torch.set_num_threads(before)
    for a, b in zip(found, alone, strict=True):
        assert a and same(a, b)


def test_a_face_does_not_depend_on_its_batch(
    detector: Detector, golden: tuple, portrait: np.ndarray
) -> None:
    """The same to the bit: alone, in any batch, in any order, in mixed sizes."""
    first = golden[1]["single.image"]
    images = [np.roll(first, 3 * i, 1) for i in range(7)]
    images += [golden[1][f"{name}.image"] for name in NAMES]
    images += [np.asarray(Image.fromarray(im).resize((80, 80))) for im in images[:5]]
    images += [portrait]
    alone = [detector.detect([image])[0] for image in images]
    assert sum(map(len, alone)) > 8
    together = detector.detect(images)
    assert all(map(same, alone, together))
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = detector.detect([images[i] for i in order])
    assert all(same(alone[i], faces) for i, faces in zip(order, shuffled, strict=True))
    assert detector.detect([]) == []


@pytest.mark.parametrize("shape", [(1, 1), (10, 10), (1, 3000), (19, 400), (20, 20), (21, 700)])
def test_pictures_that_the_library_crashes_on(shape: tuple[int, int], detector: Detector) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detector.detect([picture, np.zeros_like(picture)]) == [[], []]


def test_candidates_outside_the_picture_are_dropped(detector: Detector) -> None:
    """The library keeps their rows and loses their pictures, and crashes."""
    sums = area.integral(torch.zeros(1, 40, 50, 3, dtype=torch.uint8))
    rows = torch.tensor(
        [[5.0, 5, 25, 25, 0.9], [60, 5, 80, 25, 0.9], [-30, -30, -1, -1, 0.9], [-9, 20, 60, 90, 1]]
    )
    with torch.inference_mode():
        look = detector.cascade._look(
            detector.cascade.rnet, (24, 4), sums, torch.zeros(4).long(), rows
        )
    owner, kept, outputs = look
    assert kept.tolist() == rows[[0, 3]].tolist() and len(owner) == 2
    assert [len(out) for out in outputs] == [2, 2]


def test_a_large_picture_is_searched_in_bounds(detector: Detector, portrait: np.ndarray) -> None:
    """Above MOST_PIXELS the picture is shrunk, and the face is where it was."""
    big = np.asarray(Image.fromarray(portrait).resize((512 * 5, 600 * 5), Image.Resampling.BICUBIC))
    assert big.shape[0] * big.shape[1] > MOST_PIXELS
    (small_face,) = detector.detect([portrait])[0]
    (face,) = detector.detect([big])[0]
    np.testing.assert_allclose(face.points / 5, small_face.points, atol=4)


def test_pyramid(detector: Detector) -> None:
    """S0.2 check (b): scales for a 218x178 picture."""
    scales = detector.cascade.scales(218, 178)
    assert scales[0] == 0.6
    np.testing.assert_allclose(np.diff(np.log(scales)), np.log(0.709))
    assert 178 * scales[-1] >= 12 > 178 * scales[-1] * 0.709


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
@settings(max_examples=40, deadline=None)
def test_area_means(height: int, width: int, size: tuple[int, int]) -> None:
    """Four look-ups are torch's area interpolation, shrinking or enlarging."""
    rng = np.random.default_rng(height * 41 + width)
    pixels = torch.from_numpy(rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8))
    expected = torch.nn.functional.interpolate(
        pixels.permute(0, 3, 1, 2).float(), size=size, mode="area"
    )
    level = area.level(area.integral(pixels), size) * 128 + 127.5
    torch.testing.assert_close(level, expected, atol=1e-3, rtol=1e-5)


def test_contents_are_area_means_of_the_part() -> None:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (2, 50, 60, 3), dtype=np.uint8))
    x1, y1, x2, y2 = (torch.tensor(v) for v in ([3, 0], [5, 10], [45, 60], [31, 50]))
    found = area.contents(
        area.integral(pixels),
        torch.tensor([1, 0]),
        area.bins(y1, y2, 24),
        area.bins(x1, x2, 24),
    )
    for i, owner in enumerate((1, 0)):
        part = pixels[owner, y1[i] : y2[i], x1[i] : x2[i]].permute(2, 0, 1)[None].float()
        expected = torch.nn.functional.interpolate(part, size=24, mode="area")[0]
        torch.testing.assert_close(found[i] * 128 + 127.5, expected, atol=1e-3, rtol=1e-5)


def test_non_maximum_suppression() -> None:
    """S0.2 check (c): by IoU, by the smaller area with the +1 px, and picture by picture."""
    rows = torch.tensor([[0.0, 0, 9, 9, 0.8], [0, 0, 9, 4, 0.9], [20, 20, 29, 29, 0.7]])
    zero = torch.zeros(3, dtype=torch.long)
    # +1: 10x5 inside 10x10, overlap 1 of the smaller; IoU 36/81 without the +1
    assert boxes.nms_of_smaller(zero, rows, 0.7).tolist() == [1, 2]
    assert boxes.nms(zero, rows, 0.4).tolist() == [1, 2]
    assert boxes.nms(zero, rows, 0.5).tolist() == [1, 0, 2]
    apart = torch.tensor([0, 1, 0])
    assert boxes.nms_of_smaller(apart, rows, 0.7).tolist() == [0, 2, 1]
    none = torch.zeros(0, 5)
    assert boxes.nms(zero[:0], none, 0.5).tolist() == []
    assert boxes.nms_of_smaller(zero[:0], none, 0.5).tolist() == []


def test_translation_moves_the_boxes(detector: Detector, portrait: np.ndarray) -> None:
    """S0.2 check (d): 2 px of a level are 2/scale px of a box; and so for the whole cascade."""
    level = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 60, 70))).float()
    with torch.inference_mode():
        maps = [detector.cascade.pnet(x) for x in (level, level[..., 2:, 4:].contiguous())]
    (whole, part) = (boxes.cells(reg, prob[:, 1], 0.5, 0.0)[1][:, :4] for reg, prob in maps)
    shift = torch.tensor([8.0, 4, 8, 4])
    moved = {tuple(row) for row in (part + shift).tolist()}
    assert moved < {tuple(row) for row in whole.tolist()} and len(moved) > 400
    reg = [maps[0][0][..., 1:, 2:], maps[1][0]]
    torch.testing.assert_close(reg[0], reg[1], atol=1e-5, rtol=1e-4)
    found = []
    for offset in (20, 40):
        picture = np.full((700, 640, 3), 128, np.uint8)
        picture[offset : offset + 600, offset : offset + 512] = portrait
        found.append(max(detector.detect([picture])[0], key=lambda f: f.score))
    np.testing.assert_allclose(found[1].landmarks - found[0].landmarks, 20, atol=6)


def counts(faces: list[Face]) -> tuple[str, str]:
    return str(len(faces)), str(sum(f.score >= 0.9 for f in faces))


def rows_of(pack: Path) -> list[dict[str, str]]:
    with (pack / "expected.csv").open() as f:
        return list(csv.DictReader(f))


@pytest.mark.data
@pytest.mark.long
def test_faces_in_the_wild(detector: Detector, shared: Path) -> None:
    """Every file of the pack has the counts of facenet-pytorch, but for the huge crowd (below).

    One differs for a reason: the 16-bit picture, which a careless reader turns white (and finds
    nothing), holds the one face that the eye finds.
    """
    pack = shared / "data" / "faces-wild"
    wrong, refused = {}, []
    for row in rows_of(pack):
        if row["file"] == "groups/ulfg_17.jpg":
            continue
        try:
            (faces,) = detector.detect([decode((pack / row["file"]).read_bytes())])
        except SampleError:
            refused.append(row["file"])
            assert row["faces_by_eye"].startswith("error")
            continue
        expected = (row["mtcnn_n"], row["mtcnn_n_p90"])
        if expected == ("error", "error"):  # smaller than a face: the library crashes
            expected = (row["faces_by_eye"], "0")
        if counts(faces) != expected:
            wrong[row["file"]] = counts(faces)
    assert wrong == {"broken/obama_gray16.png": ("1", "1")}
    assert len(refused) == 4


@pytest.mark.data
@pytest.mark.long
def test_a_crowd(detector: Detector, shared: Path) -> None:
    """312 faces, 277 of them sure."""
    pack = shared / "data" / "faces-wild"
    row = next(r for r in rows_of(pack) if r["file"] == "groups/ulfg_17.jpg")
    (faces,) = detector.detect([decode((pack / row["file"]).read_bytes())])
    assert counts(faces) == (row["mtcnn_n"], row["mtcnn_n_p90"]) == ("312", "277")


# ----------------------------------------------------------------------- crops (S0.3, S1.16, X.6)


def test_face_choice_and_crop_box(fixtures: Path) -> None:
    """S0.3: which face, and the integers of its crop, as facenet writes them."""
    cases = json.loads((fixtures / "numerics" / "facenet_crop_boxes.json").read_text())["values"]
    assert len(cases["cases"]) > 20
    for case in cases["cases"]:
        height, width = case["image_hw"]
        found = np.array(case["boxes"])
        box = found[crop.choose(found, height, width)][:4]
        for margin in (50, 44):
            got = crop.facenet_box(box.tolist(), height, width, margin)
            assert list(got) == case[f"crop_margin{margin}"]


def test_facenet_crop_pixels(golden: tuple) -> None:
    """S0.3: the crop of the original, from its own box: bilinear, always square."""
    original = golden[1]
    made = crop.facenet_crop(original["single.image"], (65, 5, 158, 112), 256).astype(float)
    assert np.abs(made - original["single.crop256"]).mean() < 0.5
    with pytest.raises(SampleError, match="outside"):
        crop.facenet_crop(original["single.image"], (90, 5, 90, 112), 256)


def test_order_puts_the_choice_first() -> None:
    def face(x: float, side: float) -> Face:
        return Face((x, x, x + side, x + side), 0.9, np.zeros((5, 2)))

    faces = [face(0, 30), face(200, 60), face(110, 50), face(0, 45)]
    assert crop.order(faces, 300, 300)[0] == 2  # smaller than the second, but in the middle
    assert crop.order(faces, 300, 300) == [2, 1, 3, 0]
    assert crop.order([], 10, 10) == []


def test_celebahq_quads(fixtures: Path) -> None:
    """S1.16, X.6-7: fifty sets of landmarks, and the worked example (without the 0.5 px)."""
    data = load_file(fixtures / "numerics" / "celebahq_quads.safetensors")
    assert len(data["quad"]) == 50
    for points, expected in zip(data["landmarks"], data["quad"], strict=True):
        np.testing.assert_allclose(crop.celebahq_quad(points), expected, rtol=1e-5, atol=1e-3)
    example = np.array([[40, 50], [80, 52], [60, 70], [48, 95], [76, 96]]) - 0.5
    found = crop.celebahq_quad(example)
    np.testing.assert_allclose(found.mean(0), [60.2, 55.45], atol=1e-9)
    np.testing.assert_allclose(found[3] - found[0], [160.3617, 0], atol=1e-3)


def test_both_conventions_of_the_quarter_turn(fixtures: Path) -> None:
    """S1.16, X.7: (u, v) -> (v, -u) with the paper's y', (-v, u) with the code's -y'; not mixed."""
    data = load_file(fixtures / "numerics" / "celebahq_quads.safetensors")

    def quads(turn: tuple[int, int], sign: int) -> np.ndarray:
        e0, e1, _, m0, m1 = (data["landmarks"].astype(np.float64) + 0.5).transpose(1, 0, 2)
        across, up = e1 - e0, sign * ((e0 + e1) / 2 - (m0 + m1) / 2)
        x = across - up[:, ::-1] * turn
        side = np.maximum(4 * np.hypot(*across.T), 3.6 * np.hypot(*up.T))
        x *= (side / 2 / np.hypot(*x.T))[:, None]
        y = x[:, ::-1] * [-1, 1]
        c = (e0 + e1) / 2 - 0.1 * sign * up
        return np.stack([c - x - y, c - x + y, c + x + y, c + x - y], 1)

    for turn, sign in (((1, -1), 1), ((-1, 1), -1)):
        np.testing.assert_allclose(quads(turn, sign), data["quad"], rtol=1e-5, atol=1e-3)
    ours = np.stack([crop.celebahq_quad(p) for p in data["landmarks"]])
    np.testing.assert_allclose(ours, quads((1, -1), 1), atol=1e-9)
    assert np.abs(quads((-1, 1), 1) - data["quad"]).max() > 10


@pytest.mark.parametrize("name", ["inside", "padded"])
def test_celebahq_end_to_end(name: str, fixtures: Path) -> None:
    """S1.16: enlarged, mirrored, blurred, faded, turned and reduced as by the official script."""
    folder = fixtures / "numerics"
    data = load_file(folder / "celebahq_crop_image.safetensors")
    allowed = json.loads((folder / "celebahq_crop_image.json").read_text())["tolerance"]
    quad = crop.celebahq_quad(data[f"{name}.landmarks"])
    made = padding.crop_padded(data[f"{name}.image"], quad, 1024, enlarge=True)
    planes = made.transpose(2, 0, 1).astype(np.float64)
    means = planes.reshape(3, 64, 16, 64, 16).mean((2, 4))
    away = np.abs(means - data[f"{name}.out_64_box_mean"])
    assert away.max() <= allowed["box_mean_atol"]
    centre = planes[:, 480:544, 480:544] - data[f"{name}.out_centre_64"]
    assert np.abs(centre).mean() <= allowed["centre_mean_abs"]


def test_padding_is_continuous_and_leaves_the_inside() -> None:
    """S1.16: the mask is 0 and the picture itself inside; a square inside is a plain crop."""
    pad = (30, 40, 50, 20)
    inside = padding.mask(200, 220, pad)
    assert inside.max() == 1 and inside[:, 0].min() == 1 and inside[-1].min() == 1
    assert inside[40, 30] == pytest.approx(0, abs=1e-6) and (inside[41:179, 31:169] < 0).all()
    assert np.abs(np.diff(inside, axis=0)).max() <= 1 / 20 + 1e-6
    photo = smooth_picture(300, 320)
    quad = turned(square_quad(-50, -50, 100), 0.3, 1, (160, 150))
    plain = warp.crop_quad(photo, quad, 64).astype(int)
    for enlarge in (True, False):
        made = padding.crop_padded(photo, quad, 64, enlarge=enlarge).astype(int)
        assert np.abs(made - plain).max() <= (4 if enlarge else 2)
    beyond = padding.crop_padded(photo, quad - [130, 0], 64, enlarge=False)
    plain = warp.crop_quad(photo, quad - [130, 0], 64)
    x = np.linspace(0, 100, 64) - 50
    columns = 30 + x[None] * np.cos(0.3) - x[:, None] * np.sin(0.3)
    far, near = columns > 60, columns < -15
    assert np.abs(beyond.astype(int) - plain)[far].max() <= 2
    # Far outside it is the median colour, and nowhere does it jump.
    assert beyond[near].std(0).max() < 0.7 * plain[near].std(0).max()
    step = max(np.abs(np.diff(beyond.astype(int), axis=a)).max() for a in (0, 1))
    assert step <= 16
    with pytest.raises(SampleError, match="outside"):
        padding.crop_padded(photo, quad + 5000, 64, enlarge=False)
    with pytest.raises(SampleError, match="larger"):
        padding.crop_padded(photo, square_quad(160, 150, 1), 8192 * 4, enlarge=True)


@pytest.mark.parametrize("sigma", [3.0, 8.0, 13.3, 27.5])
def test_the_fast_blur_is_a_gaussian(sigma: float) -> None:
    """Also for sizes that no factor divides, up to the edges; constant pictures stay."""
    photo = smooth_picture(203, 247)
    photo[60:120, 90:95] = 255
    photo[:40, :50] = 0
    x = photo.astype(np.float32)
    exact = gaussian_filter(x.astype(np.float64), (sigma, sigma, 0))
    assert np.abs(padding.blurred(x, sigma) - exact).max() < 1
    np.testing.assert_allclose(padding.blurred(x * 0 + 77, sigma), 77, atol=1e-3)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_reflected_indices(length: int) -> None:
    """As numpy's reflect, however far outside."""
    found = padding.reflected(-9, length + 8, length)
    assert found.tolist() == np.pad(np.arange(length), (9, 8), mode="reflect").tolist()


def test_preparations_by_size(fixtures: Path) -> None:
    """S1.15: CelebA's rows 57:185 and columns 25:153; the centred square in whole px."""
    said = json.loads((fixtures / "numerics" / "dataset_pyramid.json").read_text())["values"]
    photo = np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8)
    x1, y1, x2, y2 = crop.celeba_box(photo)
    assert [y1, y2] == said["celeba128_rows"] and [x1, x2] == said["celeba128_cols"]
    assert (crop.box_crop(photo, (x1, y1, x2, y2), 128) == photo[57:185, 25:153]).all()
    assert crop.square_box(photo) == (0, 20, 178, 198)
    with pytest.raises(SampleError, match="178x218"):
        crop.celeba_box(photo.swapaxes(0, 1))


def turned(points: np.ndarray, angle: float, scale: float, shift: tuple) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return points @ np.array([[c, s], [-s, c]]) + np.array(shift)


ANGLES = st.floats(-3.1, 3.1)
SCALES = st.floats(0.05, 20)
SHIFTS = st.tuples(st.floats(-500, 500), st.floats(-500, 500))


@given(angle=ANGLES, scale=SCALES, shift=SHIFTS)
@settings(max_examples=50, deadline=None)
def test_quads_follow_the_face(angle: float, scale: float, shift: tuple) -> None:
    """S1.16 and alignment: turning, scaling, moving the landmarks does it to the quad."""
    points = np.array([[40.0, 50], [80, 52], [58, 72], [48, 95], [76, 96]])
    moved = turned(points, angle, scale, shift)
    for quad_of in (
        lambda p: crop.celebahq_quad(p - 0.5),
        lambda p: framing.quad(p, CELEBA),
    ):
        before, after = quad_of(points), quad_of(moved)
        np.testing.assert_allclose(after, turned(before, angle, scale, shift), atol=1e-6 * scale)
        sides = np.linalg.norm(np.roll(after, -1, 0) - after, axis=1)
        np.testing.assert_allclose(sides, sides[0])  # a square
        assert abs((after[1] - after[0]) @ (after[3] - after[0])) < 1e-6 * sides[0] ** 2


# ------------------------------------------------------------------------ similarity transform


@given(angle=ANGLES, scale=SCALES, shift=SHIFTS, seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_similarity_is_found_exactly(angle: float, scale: float, shift: tuple, seed: int) -> None:
    source = np.random.default_rng(seed).normal(size=(5, 2)) * 10
    found = similarity(source, turned(source, angle, scale, shift))
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    np.testing.assert_allclose(found[:, :2], [[c, -s], [s, c]], atol=1e-8 * scale)
    np.testing.assert_allclose(found[:, 2], shift, atol=1e-6)


def test_similarity_is_the_least_squares_one() -> None:
    """Against numpy's solver of the four linear unknowns; and Umeyama's rotation by SVD."""
    rng = np.random.default_rng(3)
    source, target = rng.normal(size=(2, 5, 2))
    one, zero = np.ones(5), np.zeros(5)
    x, y = source.T
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, tx, ty = np.linalg.lstsq(rows, np.concatenate(target.T), rcond=None)[0]
    found = similarity(source, target)
    np.testing.assert_allclose(found, [[a, -b, tx], [b, a, ty]], atol=1e-12)
    covariance = (target - target.mean(0)).T @ (source - source.mean(0))
    u, _, vt = np.linalg.svd(covariance)
    rotation = u @ np.diag([1, np.sign(np.linalg.det(u @ vt))]) @ vt
    np.testing.assert_allclose(found[:, :2] / np.hypot(a, b), rotation, atol=1e-12)


def test_similarity_never_reflects() -> None:
    source = np.array([[0.0, 0], [1, 0], [0.5, 1], [0, 2], [1, 2]])
    found = similarity(source, source * [-1, 1] + [5, 0])
    assert np.linalg.det(found[:, :2]) > 0
    with pytest.raises(SampleError, match="coincide"):
        similarity(np.ones((5, 2)), source)
    with pytest.raises(SampleError, match="direction"):
        framing.quad(np.ones((5, 2)), CELEBA)


# ------------------------------------------------------------------------------- resampling


def smooth_picture(height: int = 200, width: int = 240) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 17 + c) * np.cos(y / 23 - c) * 100 + 128 for c in range(3)]
    return np.stack(waves, -1).round().astype(np.uint8)


def square_quad(x: float, y: float, side: float) -> np.ndarray:
    return np.array([[x, y], [x, y + side], [x + side, y + side], [x + side, y]])


def test_crops_without_resampling_are_exact() -> None:
    """At its own size, and by quarter turns, the crop is the photograph's own px."""
    photo = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    quad = square_quad(10, 20, 32)
    part = photo[20:52, 10:42]
    assert (warp.crop_quad(photo, quad, 32) == part).all()
    for turns in (1, 2, 3):
        made = warp.crop_quad(photo, np.roll(quad, turns, 0), 32)
        assert (made == np.rot90(part, turns)).all()


def test_beyond_the_edge_the_photograph_is_mirrored() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    made = warp.crop_quad(photo, square_quad(-12, -9, 70), 70)
    expected = np.pad(photo, ((9, 21), (12, 28), (0, 0)), mode="symmetric")
    assert (made == expected).all()
    assert warp.mirrored(-4, 8, 3).tolist() == [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]


@pytest.mark.parametrize("side", [130.0, 240.0, 400.0, 777.0])
def test_shrinking_does_not_alias(side: float) -> None:
    """The finest checkerboard becomes flat grey, however it is turned."""
    y, x = np.mgrid[:400, :400]
    photo = np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, 2)
    quad = turned(square_quad(-side / 2, -side / 2, side), 0.3, 0.7, (200, 200))
    made = warp.crop_quad(photo, quad, 32).astype(int)
    inner = made[6:-6, 6:-6]  # mirrored edges break the pattern
    assert np.abs(inner - 127.5).max() < 26
    assert abs(inner.mean() - 127.5) < 1


@pytest.mark.parametrize("scale", [0.21, 0.5, 1.0, 2.3, 3.0, 5.7])
def test_ramps_stay_where_they_are(scale: float) -> None:
    """No shift in position at any scale: a linear ramp is sampled at the px centres."""
    photo = np.broadcast_to(np.arange(250, dtype=np.uint8)[None, :, None], (250, 250, 3)).copy()
    size = 40
    quad = square_quad(11.3, 9.7, size * scale)
    made = warp.crop_quad(photo, quad, size)[..., 0].astype(float)
    expected = 11.3 + (np.arange(size) + 0.5) * scale - 0.5
    keep = slice(4, -4)
    assert np.abs(made[:, keep] - expected[keep]).max() <= 1.0  # rounded twice


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2, 3.0])
def test_alignment_is_equivariant(angle: float) -> None:
    """The crop of a turned, scaled, moved photograph is the crop of the photograph."""
    photo = smooth_picture(320, 340)
    eyes_and_mouth = np.array([[-20.0, -20], [20, -20], [0, 0], [-15, 20], [15, 20]])
    points = turned(eyes_and_mouth, 0.1, 1, (170, 160))
    # The photograph in a turned frame: `frame` in the photograph is [0, 240]² in the new one.
    frame = turned(square_quad(-100, -100, 200), angle, 1, (175, 155))
    moved = warp.crop_quad(photo, frame, 240)
    onto = similarity(frame, square_quad(0, 0, 240))
    there = points @ onto[:, :2].T + onto[:, 2]
    one = warp.crop_quad(photo, framing.quad(points, CELEBA), 48).astype(float)
    two = warp.crop_quad(moved, framing.quad(there, CELEBA), 48).astype(float)
    assert np.abs(one - two).mean() < 1 and np.abs(one - two).max() < 4


def test_quads_that_are_none() -> None:
    photo = smooth_picture()
    with pytest.raises(SampleError, match="parallelogram"):
        warp.crop_quad(photo, np.array([[0, 0], [0, 9], [20, 9], [9, 0]]), 8)
    with pytest.raises(SampleError, match="area"):
        warp.crop_quad(photo, np.zeros((4, 2)), 8)
    with pytest.raises(SampleError, match="larger"):
        warp.crop_quad(photo, square_quad(0, 0, 1e6), 8)


# ------------------------------------------------------------------------------- pasting back


def test_pasting_the_same_crop_changes_nothing() -> None:
    """But for the resampling: at any turn, and where the crop reaches out of the photograph."""
    photo = smooth_picture()
    for angle, x in ((0.0, 60), (0.5, 100), (-0.9, 10)):
        quad = turned(square_quad(0, 0, 90), angle, 1, (x, 60))
        back = paste(photo, warp.crop_quad(photo, quad, 128), quad)
        assert np.abs(back.astype(int) - photo).max() <= 2
    whole = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    quad = square_quad(0, 0, 64)
    assert (paste(whole, warp.crop_quad(whole, quad, 64), quad) == whole).all()


@pytest.mark.parametrize("angle", [0.0, 0.6, 2.0])
def test_outside_the_quad_is_the_photograph(angle: float) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (120, 150, 3), dtype=np.uint8)
    quad = turned(square_quad(-25, -25, 50), angle, 1, (70, 60))
    pixels = np.full((32, 32, 3), 255, np.uint8)
    back = paste(photo, pixels, quad)
    y, x = np.mgrid[:120, :150] + 0.5
    c, s = np.cos(angle), np.sin(angle)
    u, v = (x - 70) * c + (y - 60) * s, -(x - 70) * s + (y - 60) * c
    outside = np.maximum(np.abs(u), np.abs(v)) >= 25
    inside = np.maximum(np.abs(u), np.abs(v)) <= 25 * 0.74
    assert outside.sum() > 5000 and inside.sum() > 500
    assert (back[outside] == photo[outside]).all()
    assert (back[inside] == 255).all()
    assert (paste(photo, pixels, quad + 1000) == photo).all()


def test_the_mask_is_continuous() -> None:
    """0 on the edge and beyond, 1 inside, no step in value or slope."""
    t = np.linspace(-0.1, 1.1, 12001)
    across = mask(t, np.full_like(t, 0.5))
    assert across[t <= 0].max() == across[t >= 1].max() == 0
    assert (across[(t > 0.126) & (t < 0.874)] == 1).all()
    step = t[1] - t[0]
    slope = np.diff(across) / step
    assert np.abs(slope).max() < 1.6 / 0.125
    assert np.abs(np.diff(slope)).max() < 7 / 0.125**2 * step
    np.testing.assert_allclose(across, across[::-1], atol=1e-12)


def test_scale_enlarges_the_whole() -> None:
    photo = smooth_picture(81, 97)
    quad = turned(square_quad(-15, -15, 30), 0.2, 1, (50, 40))
    sharp = warp.crop_quad(photo, quad, 128)
    big = paste(photo, 255 - sharp, quad, 2)
    assert big.shape == (162, 194, 3)
    lanczos = np.asarray(Image.fromarray(photo).resize((194, 162), Image.Resampling.LANCZOS))
    changed = (big != lanczos).any(2)
    rows, columns = np.nonzero(changed)
    assert abs(rows.mean() - 80) < 2 and abs(columns.mean() - 100) < 2
    assert changed.sum() <= 60 * 60
    again = paste(photo, sharp, quad, 2)
    assert np.abs(again.astype(int) - lanczos).max() <= 3
    with pytest.raises(SampleError, match="too large"):
        paste(photo, sharp, quad, 1000)


# --------------------------------------------------------------------------------- alignment


def test_the_portrait_comes_to_the_networks_landmarks(
    detector: Detector, portrait: np.ndarray
) -> None:
    pixels, quad, face = align.align(portrait, CELEBA, 128, "auto", detector)
    assert pixels.shape == (128, 128, 3) and pixels.dtype == np.uint8
    assert face is not None and np.abs(quad - quad.mean(0)).max() > 100
    ((found, *_),) = find.find([pixels], detector)
    assert np.abs(found.points / 128 - np.array(CELEBA["landmarks"])).max() < 0.045
    # What `align` made is framed, so `auto` takes it as it is, and `always` hardly moves it.
    again, whole, _ = align.align(pixels, CELEBA, 128, "auto", detector)
    assert (again == pixels).all() and (whole == square_quad(0, 0, 128)).all()
    _, near, _ = align.align(pixels, CELEBA, 128, "always", detector)
    assert np.abs(near - whole).max() < 128 * 0.05
    assert not framing.is_framed(face, *portrait.shape[:2], CELEBA)


def test_a_turned_photograph_gives_the_same_crop(detector: Detector, portrait: np.ndarray) -> None:
    """Turned and scaled about, the portrait is cut out at the same place, to 3 % of its side."""
    _, straight, _ = align.align(portrait, CELEBA, 64, "always", detector)
    side = np.linalg.norm(straight[3] - straight[0])
    for angle, width in ((0.2, 500.0), (-0.25, 420.0), (0.1, 600.0)):
        frame = turned(square_quad(-width / 2, -width / 2, width), angle, 1, (265, 230))
        picture = warp.crop_quad(portrait, frame, 400)
        _, quad, _ = align.align(picture, CELEBA, 64, "always", detector)
        onto = similarity(square_quad(0, 0, 400), frame)
        back = quad @ onto[:, :2].T + onto[:, 2]
        assert np.linalg.norm(back - straight, axis=1).max() < 0.03 * side


def test_align_modes(detector: Detector, portrait: np.ndarray) -> None:
    pixels, quad, face = align.align(portrait, CELEBA, 64, "never", None)
    assert face is None and (quad == square_quad(0, 44, 512)).all()
    small = Image.fromarray(portrait[44:556]).resize((64, 64), Image.Resampling.LANCZOS)
    assert np.abs(pixels.astype(int) - np.asarray(small)).mean() < 1.5
    same_pixels, same_quad, _ = align.align(portrait, None, 64, "auto", None)
    assert (same_pixels == pixels).all() and (same_quad == quad).all()
    with pytest.raises(Usage, match="does not say"):
        align.align(portrait, None, 64, "always", None)
    grey = np.full((100, 120, 3), 127, np.uint8)
    for mode in ("auto", "always"):
        with pytest.raises(SampleError, match="no face found"):
            align.align(grey, CELEBA, 64, mode, detector)
    framed = align.align(grey[:64, :64], CELEBA, 64, "auto", detector)
    assert (framed[0] == 127).all() and framed[2] is None
    with pytest.raises(SampleError, match="no face found"):
        align.align(grey[:64, :64], CELEBA, 64, "always", detector)


def test_of_several_faces_the_large_central_one(detector: Detector, golden: tuple) -> None:
    """S0.3's choice is what `align` cuts out."""
    image = golden[1]["two.image"]
    (faces,) = find.find([image], detector)
    assert len(faces) > 1
    assert crop.choose(np.array([f.box for f in faces]), *image.shape[:2]) == 0
    _, quad, face = align.align(image, CELEBA, 64, "always", detector)
    assert face is not None and face.box == faces[0].box
    assert np.abs(quad.mean(0) - face.points.mean(0)).max() < 0.1 * face.area**0.5


def test_framing_without_a_spread() -> None:
    """A crop that names landmarks alone takes CelebA's spread; a wrong one is told."""
    points = np.array(CELEBA["landmarks"]) * 64 + 0.5
    face = Face((10, 10, 50, 50), 1.0, points)
    bare = {"landmarks": CELEBA["landmarks"]}
    assert framing.is_framed(face, 64, 64, bare)
    assert not framing.is_framed(face, 64, 80, bare)
    assert not framing.is_framed(face, 100, 100, bare)
    with pytest.raises(Usage, match="spread"):
        framing.is_framed(face, 64, 64, {**bare, "spread": [1, 2, 3, 4, 5]})


def test_small_pictures_are_enlarged_for_the_search(
    detector: Detector, portrait: np.ndarray
) -> None:
    """Landmarks of a 64 px crop are as good as those of the crop at 256 px."""
    large, _, _ = align.align(portrait, CELEBA, 256, "auto", detector)
    small = np.asarray(Image.fromarray(large).resize((64, 64), Image.Resampling.LANCZOS))
    ((a, *_), (b, *_)) = find.find([large, small], detector)
    assert np.abs(a.points / 256 - b.points / 64).max() < 0.02
    assert np.abs(np.array(a.box) / 256 - np.array(b.box) / 64).max() < 0.08


def test_mean_landmarks(detector: Detector, portrait: np.ndarray) -> None:
    """Crops made for known landmarks are measured to have them; faceless ones are left out."""
    pictures = [align.align(portrait, CELEBA, 96, "always", detector)[0]]
    pictures += [np.roll(pictures[0], 4, 1), np.full((96, 96, 3), 90, np.uint8)]
    found = align.mean_landmarks(iter(pictures), detector)
    assert found["count"] == 2
    error = np.array(found["landmarks"]) - np.array(CELEBA["landmarks"]) - [2 / 96, 0]
    assert np.abs(error).max() < 0.045
    assert found["spread"][2] == pytest.approx(2 / 96, abs=0.01)
    json.dumps(found)
    with pytest.raises(Usage, match="no face"):
        align.mean_landmarks([pictures[-1]], detector)


@pytest.mark.data
def test_what_counts_as_framed(detector: Detector, shared: Path) -> None:
    """Held-out CelebA pictures are framed as CelebA's; FFHQ's and LFW's are not."""

    def share(archive: str, names: list[str]) -> float:
        with zipfile.ZipFile(shared / "data" / archive) as z:
            pictures = [np.array(Image.open(io.BytesIO(z.read(n))).convert("RGB")) for n in names]
        found = find.find(pictures, detector)
        framed = [
            framing.is_framed(faces[0], *picture.shape[:2], CELEBA)
            for picture, faces in zip(pictures, found, strict=True)
            if faces
        ]
        assert len(framed) >= 0.9 * len(names)
        return float(np.mean(framed))

    held_out = [f"{i:05d}.jpg" for i in range(2360, 22350, 500)]
    assert share("faces-celeba64/celeba64_20k.zip", held_out) >= 0.9
    assert share("faces-ffhq128/ffhq128_5k.zip", [f"{i:05d}.jpg" for i in range(0, 5000, 250)]) == 0
    with zipfile.ZipFile(shared / "data/faces-wild/lfw1000.zip") as z:
        lfw = [n for n in z.namelist() if n.startswith("lfw250/") and n.endswith(".jpg")][::40]
    assert share("faces-wild/lfw1000.zip", lfw) == 0
