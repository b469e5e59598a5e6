"""Pictures with alpha: files, colour arithmetic, augmentation, rendering, projection."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network
from PIL import Image
from safetensors.numpy import load_file

from gantools.evaluation.features import Extractor
from gantools.inversion import perceptual
from gantools.inversion.project import to_tensor
from gantools.io import alpha, image
from gantools.networks.network import open_network
from gantools.ops.pixels import to_uint8
from gantools.training import augment, data


def picture(seed: int = 0, shape: tuple[int, int] = (16, 16)) -> np.ndarray:
    """Noise with every alpha, fully transparent and opaque ones too."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*shape, 4), np.uint8)
    pixels[:4, :, 3], pixels[4:8, :, 3] = 0, 255
    return pixels


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


# ---------------------------------------------------------------------------- arithmetic, files


def test_premultiplied_and_straight_are_inverse() -> None:
    """Of all 65,536 pairs: premultiplied colour comes back exactly, straight where it can."""
    values = np.stack(np.meshgrid(np.arange(256), np.arange(256)), -1).reshape(-1, 2)
    pixels = values[:, [0, 0, 0, 1]].astype(np.uint8)[None]
    made = alpha.premultiplied(pixels)
    assert (made[..., :3] <= made[..., 3:]).all()
    exact = pixels[..., :3].astype(float) * pixels[..., 3:] / 255
    assert np.abs(made[..., :3] - exact).max() <= 0.5
    assert (alpha.premultiplied(alpha.straight(made)) == made).all()
    opaque = pixels[..., 3] == 255
    assert (alpha.straight(made)[opaque] == pixels[opaque]).all()
    assert (alpha.straight(made)[pixels[..., 3] == 0] == 0).all()
    # Colour that is more than its alpha, as networks make it, is held at 255.
    assert alpha.straight(np.array([[200, 10, 0, 100]], np.uint8)).tolist() == [[255, 26, 0, 100]]


def test_on_white_is_what_decoding_does() -> None:
    """A straight picture, its premultiplied form and the file all show the same."""
    pixels = picture()
    shown = alpha.on_white(pixels)
    assert (image.decode(png(pixels)) == shown).all()
    again = alpha.on_white(alpha.straight(alpha.premultiplied(pixels)))
    assert np.abs(again.astype(int) - shown).max() <= 1
    assert alpha.on_white(shown) is shown


def test_decode_channels() -> None:
    """Alpha where four channels are wanted, opaque where a file has none, else as `decode`."""
    pixels = picture()
    assert (image.decode_channels(png(pixels), 4) == pixels).all()
    for channels in (1, 3):
        assert (image.decode_channels(png(pixels), channels) == image.decode(png(pixels))).all()
    plain = image.decode_channels(png(np.ascontiguousarray(pixels[..., :3])), 4)
    assert (plain[..., 3] == 255).all() and (plain[..., :3] == pixels[..., :3]).all()
    grey = image.decode_channels(png(np.ascontiguousarray(pixels[..., [0, 3]])), 4)
    assert (grey == pixels[..., [0, 0, 0, 3]]).all()


def test_encode_keeps_alpha_or_lays_it_on_white() -> None:
    pixels = picture()
    assert (image.decode_channels(image.encode(pixels), 4) == pixels).all()
    with Image.open(io.BytesIO(image.encode(pixels, "webp"))) as webp:
        assert webp.mode == "RGBA"
    flat = np.full((16, 16, 4), (0, 0, 0, 0), np.uint8)  # black that nobody sees
    assert (image.decode(image.encode(flat, "jpg")) == 255).all()


# ---------------------------------------------------------------------------- crops


def test_a_change_is_made_on_premultiplied_colour() -> None:
    """Averages are those of what is seen: red beside transparent blue stays red."""
    edge = np.array([[[255, 0, 0, 255], [0, 0, 255, 0]]], np.uint8)

    def halved(whole: np.ndarray) -> np.ndarray:
        return whole.astype(np.uint16).mean(axis=1, keepdims=True).astype(np.uint8)

    assert alpha.through(edge, halved).tolist() == [[[255, 0, 0, 127]]]
    plain = picture()[..., :3]
    assert (alpha.through(plain, np.flipud) == np.flipud(plain)).all()
    for opaque in (255, 0):
        whole = picture()
        whole[..., 3] = opaque
        assert (alpha.through(whole, np.flipud) == np.flipud(whole) * (opaque > 0)).all()


@pytest.mark.parametrize("crop", ["square", "pad"])
def test_prefilter_keeps_alpha_s1_15(gt: Any, tmp_path: Path, crop: str) -> None:
    """All crops have it; whole pictures are opaque in them; the default lays them on white."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "cut.png").write_bytes(png(picture(1)))
    (folder / "whole.png").write_bytes(png(np.ascontiguousarray(picture(2)[..., :3])))
    size = 16 if crop == "square" else 20
    args = ("prefilter", folder, "--crop", crop, "--size", size, "--mosaic", tmp_path / "look")
    done = gt(*args, "--alpha", "keep", "-o", f"{tmp_path}/kept/", "--keep", "2")
    assert done.code == 0, done.err
    inner = slice(0, 16) if crop == "square" else slice(2, 18)
    wanted = {"cut": picture(1), "whole": np.dstack([picture(2)[..., :3], np.full((16, 16), 255)])}
    for key, pixels in wanted.items():
        with Image.open(tmp_path / "kept" / f"{key}.png") as file:
            assert file.mode == "RGBA"
            found = np.asarray(file)
        shown, expected = (
            alpha.premultiplied(x.astype(np.uint8)) for x in (found[inner, inner], pixels)
        )
        assert np.abs(shown.astype(int) - expected).max() <= 1
        assert (found[inner, inner, 3] == pixels[..., 3]).all()
        assert crop == "square" or (not found[:2].any() and not found[:, 18:].any())
    assert gt(*args, "-o", f"{tmp_path}/white/").code == 0
    with Image.open(tmp_path / "white" / "cut.png") as file:
        assert file.mode == "RGB"
        assert (np.asarray(file)[inner, inner] == alpha.on_white(picture(1))).all()


def test_a_face_cut_out_has_its_alpha_s1_16(fixtures: Path, gt: Any, tmp_path: Path) -> None:
    """Every framing: found on white, and where the photograph is transparent so is the crop."""
    photo = load_file(fixtures / "numerics" / "mtcnn_facenet_tf.safetensors")["single.image"]
    seen = np.full(photo.shape[:2], 255, np.uint8)
    seen[:, photo.shape[1] // 2 :] = 128
    (tmp_path / "face.png").write_bytes(png(np.dstack([photo, seen])))
    (tmp_path / "plain.png").write_bytes(png(alpha.on_white(np.dstack([photo, seen]))))
    for crop in ("facenet", "ffhq", "celebahq"):
        made = {}
        for name, more in (("face", ("--alpha", "keep")), ("plain", ())):
            out = tmp_path / f"{crop}-{name}.png"
            done = gt("prefilter", tmp_path / f"{name}.png", "--crop", crop, "--size", "64",
                      *more, "-o", out)  # fmt: skip
            assert done.code == 0, done.err
            made[name] = image.decode(out.read_bytes()).astype(int)
        with Image.open(tmp_path / f"{crop}-face.png") as file:
            shares = np.asarray(file)[..., 3]
        assert {128, 255} <= set(np.unique(shares[24:40]).tolist())
        # On white afterwards is on white before, but for what lies beyond the photograph.
        gap = np.abs(made["face"] - made["plain"])[24:40, 24:40]
        assert gap.mean() < 2 and gap.max() <= 12, crop


def test_alpha_where_it_cannot_be(gt: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(picture()))
    args = ("prefilter", tmp_path / "a.png", "--crop", "pad", "--alpha", "keep")
    for more, why in (
        (("--pack", "tfrecord", "-o", f"{tmp_path}/x/"), "--pack tfrecord has pictures of red"),
        (("--stack-rgb", "3", "-o", f"{tmp_path}/x/"), "--stack-rgb makes pictures of red"),
    ):
        done = gt(*args, *more)
        assert (done.code, why in done.err, done.err.count("\n")) == (2, True, 1), done.err
    done = gt(
        "prefilter", tmp_path / "a.png", "--zarr", "--alpha", "keep", "-o", tmp_path / "x.zarr"
    )
    assert (done.code, "without --alpha" in done.err) == (2, True), done.err


# ---------------------------------------------------------------------------- training


def test_pictures_with_alpha_are_fitted_premultiplied() -> None:
    pixels = picture()
    made = data.fit(pixels, (16, 16), 4).transpose(1, 2, 0)
    assert (made == alpha.premultiplied(pixels)).all()
    # Red on transparent blue: no blue comes in at the border, whatever is resampled.
    edge = np.zeros((32, 32, 4), np.uint8)
    edge[..., 2] = 255
    edge[8:23, 8:23] = (255, 0, 0, 255)
    small = data.fit(edge, (8, 8), 4)
    assert (small[2] == 0).all() and (small[0] <= small[3]).all()
    assert 0 < int(small[3].max()) and len(np.unique(small[3])) > 2
    assert (np.abs(small[0].astype(int) - small[3]) <= 1).all()


def test_shapes_of_pictures_that_are_not_square() -> None:
    from gantools.report import SampleError

    wide = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    assert (data.fit(wide, (16, 24)).transpose(1, 2, 0) == wide).all()
    assert data.fit(wide, (8, 12)).shape == (3, 8, 12)
    with pytest.raises(SampleError, match="smaller than the network's pictures, 32x48"):
        data.fit(wide, (32, 48))
    for size in ((16, 16), (24, 16), (16, 20)):
        with pytest.raises(SampleError, match=r"square|shape"):
            data.fit(wide, size)


def test_colour_beside_alpha_changes_by_what_is_seen() -> None:
    """y = A x + b of the straight colour, then premultiplied, at every alpha; alpha stays."""
    torch.manual_seed(0)
    drawn = augment.draw(16, torch.tensor(1.0), (6, 8), torch.Generator().manual_seed(1))
    drawn.flip[:], drawn.turns[:], drawn.shift[:], drawn.moved[:] = False, 0, 0, False
    share = torch.rand(16, 1, 6, 8, dtype=torch.float64)
    share[0], share[1] = 0, 1
    straight = torch.rand(16, 3, 6, 8, dtype=torch.float64) * 2 - 1
    drawn.colour = drawn.colour.double()

    def packed(colour: torch.Tensor) -> torch.Tensor:
        return torch.cat([(colour + 1) * share - 1, share * 2 - 1], dim=1)

    found = augment.apply(packed(straight), drawn)
    torch.testing.assert_close(found, packed(augment.apply(straight, drawn)))
    nothing = augment.apply(packed(straight)[:1], drawn.of(lambda x: x[:1]))
    torch.testing.assert_close(nothing, torch.full_like(nothing, -1.0))


def test_geometry_moves_all_four_channels_alike() -> None:
    drawn = augment.draw(8, torch.tensor(1.0), (12, 16), torch.Generator().manual_seed(3))
    drawn.colour[:] = torch.eye(3, 4)
    grey = torch.rand(8, 1, 12, 16) * 2 - 1
    images = grey.expand(-1, 4, -1, -1)
    found = augment.apply(images, drawn)
    torch.testing.assert_close(found, found[:, :1].expand(-1, 4, -1, -1))
    assert not torch.equal(found, images)


# ---------------------------------------------------------------------------- evaluation, inversion


def test_features_see_alpha_on_white() -> None:
    pixels = picture()
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    extract = Extractor("sum", "0", 3, "none", "cpu", lambda x: x.float().sum((2, 3)))
    wanted = alpha.on_white(pixels).astype(np.float32).sum((0, 1))
    assert extract(given)[0].tolist() == wanted.tolist()
    assert extract.protocol()["alpha"] == "laid on white"


@pytest.mark.parametrize("premultiplied", [True, False])
def test_photograph_networks_see_alpha_on_black_and_on_white(premultiplied: bool) -> None:
    """Half of either distance, by the compositing formula; opaque pictures have that of RGB."""
    straight, other = (torch.rand(2, 4, 5, 5, dtype=torch.float64) for _ in range(2))

    def packed(x: torch.Tensor) -> torch.Tensor:
        colour = x[:, :3] * x[:, 3:] if premultiplied else x[:, :3]
        return torch.cat([colour, x[:, 3:]], 1) * 2 - 1

    def on(x: torch.Tensor, ground: float) -> torch.Tensor:
        return (x[:, :3] * x[:, 3:] + ground * (1 - x[:, 3:])) * 2 - 1

    embed = perceptual.on_black_and_white(lambda x: [x], premultiplied=premultiplied)
    found = perceptual.distance(embed(packed(straight)), embed(packed(other)))
    wanted = sum((on(straight, g) - on(other, g)).square().sum((1, 2, 3)) for g in (0, 1)) / 2
    torch.testing.assert_close(found, wanted)
    straight[:, 3], other[:, 3] = 1, 1
    found = perceptual.distance(embed(packed(straight)), embed(packed(other)))
    torch.testing.assert_close(found, 4 * (straight - other).square().sum((1, 2, 3)))


@pytest.fixture(scope="module")
def rgba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16x24 network with premultiplied alpha."""
    path = tmp_path_factory.mktemp("rgba") / "rgba.safetensors"
    return make_network(path, img_channels=4, first_block=(4, 6), alpha=alpha.PREMULTIPLIED)


def test_network_pixels_are_straight(rgba: Path, tmp_path: Path) -> None:
    """Of a network that was trained here; another project's are as they come."""
    images = torch.rand(2, 4, 16, 24) * 2 - 1
    network = open_network(str(rgba))
    assert (network.size, network.channels, network.premultiplied) == ((16, 24), 4, True)
    levels = to_uint8(images)
    assert (network.pixels(images) == alpha.straight(levels)).all()
    foreign = open_network(str(make_network(tmp_path / "x.safetensors", img_channels=4)))
    assert not foreign.premultiplied
    assert (foreign.pixels(images) == levels).all()
    pixels = picture(1, (16, 24))
    ours, theirs = to_tensor([pixels], network), to_tensor([pixels], foreign)
    torch.testing.assert_close(theirs[:, 3], ours[:, 3])
    seen = (ours[:, :3] + 1) / 2
    torch.testing.assert_close(
        seen, (theirs[:, :3] + 1) / 2 * (theirs[:, 3:] + 1) / 2, atol=0.003, rtol=0
    )


def test_pictures_of_the_command_line(gt: Any, rgba: Path, tmp_path: Path) -> None:
    """PNG and WebP with alpha, JPEG on white, sheets and the latent's way through mix."""
    net = ("--net", rgba, "-q")
    for name, mode in (("a.png", "RGBA"), ("a.webp", "RGBA"), ("a.jpg", "RGB")):
        assert gt("generate", *net, "--seeds", "0", "-o", tmp_path / name).code == 0
        with Image.open(tmp_path / name) as made:
            assert (made.size, made.mode) == ((24, 16), mode)
    sheet = tmp_path / "sheet.png"
    assert gt("generate", *net, "--seeds", "0-2", "--grid", "2x2", "-o", sheet).code == 0
    with Image.open(sheet) as made:
        assert (made.size, made.mode) == ((48, 32), "RGBA")
    assert gt("generate", *net, "--seeds", "0-1", "--space", "w+", "-o", f"{tmp_path}/l/").code == 0
    pair = [tmp_path / "l" / f"seed00000{i}.safetensors" for i in (0, 1)]
    assert gt("mix", *net, *pair, "-o", tmp_path / "mixed.png").code == 0
    with Image.open(tmp_path / "mixed.png") as made:
        assert made.mode == "RGBA"
    said = json.loads(gt("model", "info", rgba, "--json").text)
    assert (said["size"], said["alpha"]) == ([16, 24], "premultiplied")
    assert said["layers"][0]["size"] == [4, 6]


def test_projection_with_alpha_and_without(gt: Any, rgba: Path, tmp_path: Path) -> None:
    """The middle in the network's shape is taken; faces and --paste are refused with reasons."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "clear.png").write_bytes(png(picture(2, (40, 40))))
    Image.fromarray(picture(3, (16, 24))[..., :3]).save(tmp_path / "in" / "plain.png")
    args = ("project", tmp_path / "in", "--net", rgba, "--steps", "3", "-q")
    done = gt(*args, "-o", f"{tmp_path}/out/")
    assert (done.code, done.err) == (0, "")
    from gantools.io.latent import Latent

    crop = Latent.from_bytes((tmp_path / "out" / "clear.safetensors").read_bytes(), "x").header[
        "crop"
    ]
    assert crop["size"] == [16, 24] and crop["source"] == [40, 40]
    assert np.ptp(np.array(crop["quad"]), axis=0).tolist() == [40, pytest.approx(80 / 3, abs=0.01)]
    done = gt(*args, "--align", "always", "-o", tmp_path / "x" / "{}.safetensors")
    assert done.code == 2 and "faces are brought to squares" in done.err
    done = gt(*args, "--paste", "-o", tmp_path / "x" / "{}.png")
    assert done.code == 2 and "alpha" in done.err
