"""spectrum toyset: the published pictures, clean ones, the high-pass filter (S3.4, S3.5)."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file

from gantools.ops import spectrum
from gantools.spectra import toyset


def test_official_fixture_s3_4(fixtures: Path) -> None:
    """S3.4: the script's own pictures of its seed 0; its rings and peaks with recorded draws."""
    t = load_file(fixtures / "numerics/toyset_official.safetensors")
    for wanted, found in zip(t["official"], toyset.official(64), strict=False):
        away = np.abs(found.astype(int) - wanted)
        assert away.max() <= 1 and (away > 0).sum() < 20
    for i in range(2):
        for p, of in enumerate(toyset.RANGES):
            f = toyset._frequency(torch.from_numpy(t["inj.u"][i, p : p + 1]), of)
            ring = toyset.official_ring(32, f)
            np.testing.assert_allclose(ring.numpy(), t["inj.magnitude"][i, p], rtol=1e-4, atol=1e-6)
            peak = toyset.official_peak(ring, torch.from_numpy(t["inj.phase_u"][i, p]))
            np.testing.assert_allclose(peak.numpy(), t["inj.peak_images"][i, p], atol=2e-3)


def spectra(pictures: list[np.ndarray]) -> np.ndarray:
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).double() / 127.5 - 1
    return spectrum.reduced(x).numpy()


def test_two_peaks_s3_4() -> None:
    """S3.4: power above 1000 in bins 2-7 and 33-38 (one more for skirts), 100 times the valley."""
    drawn = toyset.official(64)
    official = [next(drawn) for _ in range(40)]
    clean = [toyset.clean(64, torch.Generator().manual_seed(i)) for i in range(40)]
    peaks = {*range(2, 8), *range(33, 39)}
    for pictures, skirts in ((official, set()), (clean, {1, 39})):
        mean = spectra(pictures).mean(0)
        assert set(np.flatnonzero(mean > 1000)) <= peaks | skirts
        assert mean[2:8].max() > 100 * mean[16:20].max()
        assert mean[33:39].max() > 100 * mean[16:20].max()
        assert 0.4 < (np.stack(pictures) / 127.5 - 1).std() < 0.62
    one = spectra(clean[:1])[0]  # one picture: two narrow peaks of about equal height
    assert 0.5 < one[2:8].max() / one[33:39].max() < 2


def test_drawn_frequencies_and_levels_s3_4() -> None:
    """S3.4: both peaks are inside their intervals at the ends of u too; all levels are used."""
    for low, high in toyset.RANGES:
        ends = toyset._frequency(torch.tensor([0.0, 0.5, 1.0]), (low, high)) / 2**0.5
        torch.testing.assert_close(ends, torch.tensor([low, (low + high) / 2, high]))
    u = torch.rand(3, 128, 65, generator=torch.Generator().manual_seed(0))
    for share in (0.05, 0.1, 0.15, 0.75, 0.8, 0.85):  # of f_nyq: the peak is in its bin
        peak = toyset._clean_peak(128, torch.tensor(share * 2**0.5), u)
        at = spectrum.frequencies(128, 128)[int(spectrum.reduced(peak[None])[0].argmax())]
        assert share - 0.013 < at <= share
    drawn = toyset.official(64)
    some = np.stack([next(drawn) for _ in range(4)])
    assert some.min() == 0 and some.max() == 255
    again = toyset.official(64)
    assert all(np.array_equal(one, next(again)) for one in some)


def test_clean_phases_are_uniform_s3_4() -> None:
    """S3.4: the official phases have cos >= 0, which piles power up in the corner; clean do not."""
    generator = torch.Generator().manual_seed(0)
    u, phase = toyset._drawn(64, generator)
    f = toyset._frequency(u, toyset.RANGES[1])
    folded = toyset.official_peak(toyset.official_ring(64, f), phase)
    right = toyset._clean_peak(64, f, phase)
    assert folded[:, 0, 0].min() > 2 * right.abs().max()
    for peak, first in ((right, 1), (folded, 0)):  # the official mirror image is a row off
        power = torch.fft.rfft2(peak[2], norm="ortho").abs()[:, 1:-1]
        mirrored = power[32 + first :].flip(0)
        torch.testing.assert_close(power[first:32], mirrored, rtol=1e-3, atol=1e-3)


def test_high_pass_s3_5(fixtures: Path) -> None:
    """S3.5: the published filter; a constant gives 0, a checkerboard ±4."""
    t = load_file(fixtures / "numerics/resampling_layers.safetensors")
    found = toyset.high_pass(torch.from_numpy(t["highpass.x"])[None])[0]
    np.testing.assert_allclose(found.numpy(), t["highpass.y"], atol=1e-5)
    assert toyset.high_pass(torch.full((1, 3, 8, 6), 0.7)).abs().max() == 0
    i = torch.arange(8)
    board = ((-1.0) ** (i[:, None] + i))[None, None]
    torch.testing.assert_close(toyset.high_pass(board).abs(), torch.full((1, 1, 8, 8), 4.0))


def test_the_command_s3_4(gt: Callable, tmp_path: Path) -> None:
    """A picture depends on seed and key; a stream on stdout; photographs, filtered; refusals."""
    args = ("spectrum", "toyset", "--size", 32)
    assert gt(*args, "--num", 3, "-o", f"{tmp_path}/a/").code == 0
    done = gt(*args, "--num", 2)
    with tarfile.open(fileobj=io.BytesIO(done.out)) as tar:
        names = tar.getnames()
        members = [tar.extractfile(name).read() for name in names]  # type: ignore[union-attr]
    assert names == ["clean000000.png", "clean000001.png"]
    assert [(tmp_path / "a" / n).read_bytes() for n in names] == members
    other = gt(*args, "--num", 1, "--seed", 1, "-o", ".png")
    assert other.out != members[0] and other.out.startswith(b"\x89PNG")
    for kind in ("official", "pink"):
        assert gt(*args, "--kind", kind, "--num", 1, "-o", tmp_path / f"{kind}.png").code == 0
        assert np.asarray(Image.open(tmp_path / f"{kind}.png")).shape == (32, 32, 3)
    first = next(toyset.official(32))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "official.png")), first)
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(photo)
    assert gt(*args, photo, "--high-pass", "-o", tmp_path / "p.png").code == 0
    assert (np.asarray(Image.open(tmp_path / "p.png")) == 128).all()
    small = tmp_path / "pictures" / "small.png"
    small.parent.mkdir()
    Image.fromarray(np.full((31, 60, 3), 200, np.uint8)).save(small)
    (small.parent / "cut.png").write_bytes(photo.read_bytes()[:60])
    done = gt(*args, photo, small.parent, "-o", f"{tmp_path}/b/")
    assert done.code == 1 and [file.name for file in (tmp_path / "b").iterdir()] == ["photo.png"]
    assert f"{small}: 60x31 pixels: too small for 32x32" in done.err
    assert f"{small.parent}/cut.png: damaged" in done.err, "the file, not its key"
    for wrong, why in ((("--size", 33), "even number"), ((photo, "--kind", "pink"), "drawn")):
        refused = gt("spectrum", "toyset", *wrong, "-o", tmp_path / "x.png")
        assert refused.code == 2 and why in refused.err
