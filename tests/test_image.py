"""Any picture to sRGB: depths, colour models, profiles, EXIF, alpha; and back with its story."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from gantools.io import image
from gantools.report import SampleError

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
ROUNDED = np.floor(RAMP / 257 + 0.5).astype(np.uint8)  # 0..65535 to 0..255, to the nearest


def picture(height: int = 6, width: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def saved(x: np.ndarray | Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    (x if isinstance(x, Image.Image) else Image.fromarray(x)).save(out, form, **options)
    return out.getvalue()


def png(x: np.ndarray, colour_type: int, *extra: tuple[bytes, bytes], interlace: int = 0) -> bytes:
    """A PNG of any depth, written by hand; x [H, W, C], uint8 or uint16."""
    height, width, _ = x.shape
    rows: list[bytes] = []
    passes = [(0, 0, 1, 1)]
    if interlace:  # Adam7: first row, first column, steps
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2)]
        passes += [(0, 1, 2, 2), (1, 0, 2, 1)]
    for top, left, down, right in passes:
        part = x[top::down, left::right]
        if part.size:
            rows += [b"\0" + row.astype(x.dtype.newbyteorder(">")).tobytes() for row in part]
    head = struct.pack(
        ">IIBBBBB", width, height, 8 * x.dtype.itemsize, colour_type, 0, 0, interlace
    )
    chunks = [(b"IHDR", head), *extra, (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks
    )


def test_eight_bit_formats_are_exact() -> None:
    x = picture()
    for form in ("PNG", "BMP", "TIFF", "PPM", "JPEG2000", "QOI"):
        options = {"irreversible": False} if form == "JPEG2000" else {}
        assert (image.decode(saved(x, form, **options)) == x).all(), form
    assert (image.decode(saved(x, "WEBP", lossless=True)) == x).all()
    grey = np.ascontiguousarray(x[..., 0])
    for form in ("PNG", "TIFF", "PPM"):
        assert (image.decode(saved(grey, form)) == x[..., :1]).all(), form


def test_decoded_arrays_are_writable_and_in_order() -> None:
    x = image.decode(saved(picture(), "PNG"))
    assert x.flags.writeable and x.flags.c_contiguous and x.dtype == np.uint8


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_png_is_rounded_not_cut(
    colour_type: int, channels: int, interlace: int
) -> None:
    x = np.repeat(RAMP[..., None], channels, 2)
    if channels in (2, 4):
        x[..., -1] = RAMP.T
    rgb, alpha = image.decode_with_alpha(png(x, colour_type, interlace=interlace))
    assert (rgb == ROUNDED[..., None]).all()
    assert (alpha == ROUNDED.T).all() if channels in (2, 4) else alpha is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_tiff(order: str) -> None:
    for channels in (1, 3, 4):
        data = np.repeat(RAMP[..., None], channels, 2).astype(f"{order}u2").tobytes()
        rgb, _ = image.decode_with_alpha(tiff(data, channels, 16, order))
        assert (rgb == ROUNDED[..., None]).all(), (order, channels)


def tiff(data: bytes, samples: int, bits: int, order: str) -> bytes:
    """An uncompressed 256x256 TIFF of one strip."""
    depth = struct.pack(f"{order}{samples}H", *[bits] * samples)
    tags = [
        (256, 3, 1, 256), (257, 3, 1, 256),
        (258, 3, samples, bits if samples == 1 else 8 + 2 + 12 * 9 + 4),
        (259, 3, 1, 1), (262, 3, 1, 1 if samples == 1 else 2), (273, 4, 1, 8 + 2 + 12 * 9 + 4 + 8),
        (277, 3, 1, samples), (279, 4, 1, len(data)), (338, 3, 1, 2),
    ]  # fmt: skip
    if samples != 4:
        tags[-1] = (284, 3, 1, 1)
    head = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(tags))
    body = b""
    for tag, kind, count, value in sorted(tags):
        packed = struct.pack(f"{order}H", value) + b"\0\0" if kind == 3 and count == 1 else b""
        body += struct.pack(f"{order}HHI", tag, kind, count)
        body += packed or struct.pack(f"{order}I", value)
    return head + body + bytes(4) + depth.ljust(8, b"\0") + data


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate"])
def test_sixteen_bit_grey_tiff_compressed(compression: str) -> None:
    assert (image.decode(saved(RAMP, "TIFF", compression=compression)) == ROUNDED[..., None]).all()


def test_sixteen_bit_netpbm_and_twelve_bit_tiff() -> None:
    for channels in (1, 3):
        x = np.repeat(RAMP[..., None], channels, 2)
        data = b"P%d 256 256 65535\n" % (6 if channels == 3 else 5) + x.astype(">u2").tobytes()
        assert (image.decode(data) == ROUNDED[..., None]).all()
    grey = (RAMP // 16).astype(np.uint32)  # 0..4095, two numbers in three bytes
    a, b = grey[:, ::2], grey[:, 1::2]
    packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], -1).astype(np.uint8)
    want = np.floor(grey * 255 / 4095 + 0.5)
    assert (image.decode(tiff(packed.tobytes(), 1, 12, "<")) == want[..., None]).all()


def test_floats_are_zero_to_one() -> None:
    x = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    assert (image.decode(saved(x, "TIFF"))[..., 0].ravel() == np.arange(256)).all()
    for wrong in (x * 2, x - 1, np.full_like(x, np.nan)):
        with pytest.raises(SampleError, match="grey values"):
            image.decode(saved(wrong, "TIFF"))


CMYK = {  # cyan, magenta, yellow, key: (1 - C)(1 - K) and so on
    (255, 0, 0, 0): (0, 255, 255),
    (0, 255, 0, 0): (255, 0, 255),
    (0, 0, 255, 0): (255, 255, 0),
    (0, 0, 0, 255): (0, 0, 0),
    (0, 0, 0, 0): (255, 255, 255),
    (0, 0, 0, 51): (204, 204, 204),
    (102, 0, 0, 128): (76, 127, 127),
}


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])  # Pillow writes Adobe's inverted JPEG
def test_cmyk_primaries(form: str) -> None:
    for ink, want in CMYK.items():
        data = saved(Image.new("CMYK", (16, 16), ink), form)
        assert np.abs(image.decode(data).astype(int) - want).max() <= 1, ink


def test_cmyk_jpeg_without_adobes_marker_is_not_inverted() -> None:
    data = saved(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95)
    at = data.index(b"\xff\xee\x00\x0eAdobe")
    plain = data[:at] + data[at + 16 :]  # the same numbers now mean 255 - ink
    assert np.abs(image.decode(plain).astype(int) - 0).max() <= 2  # no cyan, full M, Y and K


def test_palette_and_one_bit() -> None:
    x = picture()
    palette = Image.fromarray(x).quantize(200)
    want = np.asarray(palette.convert("RGB"))
    assert (image.decode(saved(palette, "PNG")) == want).all()
    bits = x[..., 0] > 127
    assert (image.decode(saved(Image.fromarray(bits), "PNG")) == bits[..., None] * 255).all()


def test_animated_gif_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "lime", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (image.decode(data) == (255, 0, 0)).all()
    data = saved(frames[1], "PNG", save_all=True, append_images=frames[2:])
    assert (image.decode(data) == (0, 255, 0)).all()


def test_alpha_is_laid_on_white() -> None:
    x = np.zeros((1, 256, 4), np.uint8)
    x[0, :, 0], x[0, :, 3] = 100, np.arange(256)
    a = np.arange(256) / 255
    want = np.stack([100 * a + 255 * (1 - a), 255 * (1 - a), 255 * (1 - a)], -1)
    assert np.abs(image.decode(saved(x, "PNG"))[0] - want).max() <= 0.5 + 1e-9
    rgb, alpha = image.decode_with_alpha(saved(x, "PNG"))
    assert (rgb == (100, 0, 0)).all() and alpha is not None and (alpha[0] == np.arange(256)).all()
    assert image.decode_with_alpha(saved(np.full((2, 2, 4), 255, np.uint8), "PNG"))[1] is None


def test_transparent_colours_of_png() -> None:
    grey = np.array([[[0], [7], [255]]], np.uint8)
    assert image.decode(png(grey, 0, (b"tRNS", b"\0\7")))[0, :, 0].tolist() == [0, 255, 255]
    deep = (grey * np.uint16(257)).astype(np.uint16)
    deep[0, 1] += 1
    hole = struct.pack(">H", int(deep[0, 1, 0]))
    assert image.decode(png(deep, 0, (b"tRNS", hole)))[0, :, 0].tolist() == [0, 255, 255]
    rgb = np.repeat(deep, 3, 2)
    assert image.decode(png(rgb, 2, (b"tRNS", hole * 3)))[0, :, 0].tolist() == [0, 255, 255]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    data = saved(palette, "PNG", transparency=bytes([0, 255]))
    assert image.decode(data)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_gives_the_same_picture(form: str) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16], upright[:16, 32:], upright[16:, :16] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {  # what a camera stores, so that its orientation brings it upright (EXIF 2.3, 4.6.4)
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }
    for orientation, x in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
        data = saved(np.ascontiguousarray(x), form, exif=exif, **options.get(form, {}))
        found = image.decode(data)
        assert found.shape == upright.shape, (form, orientation)
        assert np.abs(found.astype(int) - upright).max() <= 8, (form, orientation)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_is_passed_over(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (image.decode(saved(picture(), "PNG", exif=exif)) == picture()).all()
    assert (image.decode(saved(picture(), "PNG", exif=b"Exif\0\0garbage")) == picture()).all()


def profile(name: str) -> bytes:
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes())  # type: ignore[arg-type]


def swapped_primaries() -> bytes:
    """sRGB with the red and the green column of its matrix exchanged."""
    data = profile("sRGB")
    return data.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ")


def test_an_embedded_profile_goes_to_srgb() -> None:
    x = picture()
    data = saved(x, "PNG", icc_profile=swapped_primaries())
    assert np.abs(image.decode(data).astype(int) - x[..., [1, 0, 2]]).max() <= 2


def test_srgb_and_broken_profiles_leave_the_pixels_alone() -> None:
    x = picture()
    for icc in (profile("sRGB"), b"garbage", b"", profile("LAB"), profile("sRGB")[:200]):
        assert (image.decode(saved(x, "PNG", icc_profile=icc)) == x).all()
    grey = np.ascontiguousarray(x[..., 0])
    data = saved(grey, "PNG", icc_profile=profile("sRGB"))  # of another mode: does not apply
    assert (image.decode(data) == x[..., :1]).all()


def test_profile_and_alpha_together() -> None:
    x = np.dstack([picture(), np.full((6, 9), 128, np.uint8)])
    rgb, alpha = image.decode_with_alpha(saved(x, "PNG", icc_profile=swapped_primaries()))
    assert np.abs(rgb.astype(int) - x[..., [1, 0, 2]]).max() <= 2
    assert alpha is not None and (alpha == 128).all()


def test_lab_tiff() -> None:
    lab = Image.merge("LAB", [Image.new("L", (4, 4), v) for v in (255, 128, 128)])
    assert image.decode(saved(lab, "TIFF")).min() >= 253


def test_a_picture_over_the_limit_is_refused_before_memory_is_taken() -> None:
    import tracemalloc

    huge = png(np.zeros((1, 1, 3), np.uint8), 2)
    for width, height in ((14000, 14000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)):
        head = struct.pack(">II", width, height) + huge[24:29]
        bomb = huge[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + huge[33:]
        tracemalloc.start()
        with pytest.raises(SampleError, match="too large: more than 178 megapixels"):
            image.decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
        tracemalloc.stop()


@pytest.mark.long
def test_a_hundred_megapixels_are_read() -> None:
    data = saved(Image.new("L", (10_000, 10_000), 77), "PNG", compress_level=1)
    assert image.decode(data).shape == (10_000, 10_000, 3)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_cut_pictures_are_refused_in_one_line(form: str) -> None:
    data = saved(picture(64, 64), form)
    for size in (5, 20, len(data) // 2, len(data) * 3 // 4):
        with pytest.raises(SampleError) as e:
            image.decode(data[:size])
        assert "\n" not in str(e.value) and str(e.value)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(tail: bytes) -> None:
    heads = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe1", b"II*\0\x08\0\0\0", b"GIF89a",
             b"RIFF\x40\0\0\0WEBPVP8 ", b"P6\n", b"BM")  # fmt: skip
    for head in heads:
        try:
            image.decode(head + tail)
        except SampleError as e:
            assert str(e)


@given(st.integers(0, 5000), st.integers(1, 255))
def test_damaged_bytes_raise_nothing_else(at: int, flip: int) -> None:
    for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF"):
        data = bytearray(saved(picture(16, 16), form))
        data[at % len(data)] ^= flip
        try:
            image.decode(bytes(data))
        except SampleError as e:
            assert str(e)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty file"),
        (b"hello, this is text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "not an image"),  # starts no program
        (b"\0\0\0\x18ftypheic" + bytes(100), "HEIF"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
    ],
)
def test_what_is_no_picture(data: bytes, why: str) -> None:
    with pytest.raises(SampleError, match=why):
        image.decode(data)


def test_no_warning_of_pillow_leaks_and_filters_come_back() -> None:
    noisy = saved(Image.new("P", (4, 4)), "PNG", transparency=b"\0")
    large = png(np.zeros((1, 1, 1), np.uint8), 0)
    head = struct.pack(">II", 10_000, 10_000) + large[24:29]  # Pillow warns from 89 megapixels on
    large = large[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + large[33:]
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        def work() -> None:
            for _ in range(20):
                image.decode(noisy)
                with pytest.raises(SampleError, match="damaged or cut short"):
                    image.decode(large)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert caught == [] and warnings.filters == before


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_png_round_trip(height: int, width: int, channels: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    data = image.encode(x)
    assert (image.decode(data) == x).all() and data == image.encode(x)


def test_jpg_and_webp() -> None:
    x = np.asarray(Image.fromarray(picture(4, 4)).resize((64, 64), Image.Resampling.BICUBIC))
    for form, magic in (("jpg", b"\xff\xd8\xff"), ("webp", b"RIFF")):
        data = image.encode(x, form, {"story": "not kept"})
        assert data.startswith(magic) and data == image.encode(x, form)
        assert np.abs(image.decode(data).astype(int) - x).mean() < 4
    with Image.open(io.BytesIO(image.encode(x, "jpg"))) as jpg:
        assert jpg.layer[0][1:3] == jpg.layer[1][1:3] == (1, 1)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="bmp"):
        image.encode(x, "bmp")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_exact_files_keep_every_bit(dtype: type[np.uint8], channels: int) -> None:
    x = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 5, channels), dtype)
    rgb, alpha = image.decode_with_alpha(image.encode_exact(x))
    want = x if dtype is np.uint8 else np.floor(x / 257 + 0.5)
    assert (rgb == want[..., :3]).all()
    assert alpha is None if channels < 4 else (alpha == want[..., 3]).all()


stories = st.dictionaries(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    st.one_of(st.integers(), st.booleans(), st.text(st.characters(exclude_categories=("Cs",)))),
    max_size=5,
)


@given(stories)
def test_the_story_comes_back(told: dict[str, object]) -> None:
    data = image.encode(picture(), "png", told)
    assert image.story(data) == told
    assert data == image.encode(picture(), "png", dict(reversed(told.items())))
    assert (image.decode(data) == picture()).all()


def test_no_story() -> None:
    assert image.story(image.encode(picture())) is None
    for data in (
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffiTXt",
    ):
        assert image.story(data) is None
    for text in (b"not json", b"[1]", b"\xff", b"[" * 100_000):
        chunk = (b"iTXt", b"gantools\0\0\0\0\0" + text)
        assert image.story(png(picture(), 2, chunk)) is None
    packed = (b"iTXt", b"gantools\0\1\0\0\0" + zlib.compress(b'{"a":1}'))
    assert image.story(png(picture(), 2, packed)) == {"a": 1}


@pytest.mark.data
def test_broken_pictures_of_the_pack(shared: Path) -> None:
    folder = shared / "data" / "faces-wild"

    def read(name: str) -> np.ndarray:
        return image.decode((folder / "broken" / name).read_bytes()).astype(int)

    same = read("obama_is_png_named.jpg")
    assert np.abs(read("obama_exif_rot6.jpg") - same).mean() < 3  # upright, as JPEG
    assert np.abs(read("obama_cmyk.jpg") - same).mean() < 6
    grey = same @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read("obama_gray16.png")[..., 0] - grey).mean() < 2
    assert np.abs(read("obama_palette.gif") - same).mean() < 8


def test_content_is_the_pixels_and_their_shape() -> None:
    """One bit more, or another shape of the same bytes, is another picture."""
    x = picture()
    changed = x.copy()
    changed[0, 0, 0] ^= 1
    assert len({image.content(p) for p in (x, changed, x.reshape(9, 6, 3), x[::-1])}) == 4
    assert image.content(x) == image.content(np.asfortranarray(x))
