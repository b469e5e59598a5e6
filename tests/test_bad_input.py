"""Twenty kinds of bad input: each one clear line, the right status, nothing lost.

Pictures go through `prefilter --crop facenet` (decoding) or `project`; the rest through the
command where a person would meet it. A line is complete: what, where, what is wrong.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_network
from PIL import Image

from gantools.io.image import story

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _net(tiny_network: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANTOOLS_NET", str(tiny_network))
    monkeypatch.chdir(tmp_path)


def picture(size: tuple[int, int] = (40, 40), mode: str = "RGB", **save: Any) -> bytes:
    """A smooth picture as bytes."""
    rows = np.linspace(40, 215, size[1])[:, None] + np.linspace(-30, 30, size[0])[None, :]
    grey = Image.fromarray(rows.clip(0, 255).astype(np.uint8))
    out = io.BytesIO()
    grey.convert(mode).save(out, save.pop("format", "PNG"), **save)
    return out.getvalue()


def project(gt: Run, name: str, data: bytes) -> Any:
    """Project one file, quickly and without looking for a face."""
    Path(name).write_bytes(data)
    return gt("project", name, "--align", "never", "--steps", "1", "-o", "out.safetensors", "-q")


def complaint(result: Any, status: int, *words: str) -> None:
    """Exactly one line on stderr with the words, nothing on stdout, no traceback."""
    assert result.code == status, result.err
    assert result.err.count("\n") == 1, result.err
    assert result.err.startswith("gantools "), result.err
    assert "internal error" not in result.err, result.err
    for word in words:
        assert word in result.err.lower(), result.err
    assert result.out == b""


def huge_png() -> bytes:
    """A PNG header that claims 20000 x 10000 pixels over a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 20000, 10000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("text.jpg", b"this is no picture", ["text.jpg"]),  # 1 not an image
        ("cut.png", picture()[:-40], ["cut.png"]),  # 2 truncated PNG
        ("huge.png", huge_png(), ["huge.png", "pixel"]),  # 3 200 megapixels
        ("empty.jpg", b"", ["empty.jpg"]),  # 10 empty file
    ],
)
def test_unreadable_pictures_fail_alone(name: str, data: bytes, words: list[str], gt: Run) -> None:
    complaint(project(gt, name, data), 1, *words)
    assert not Path("out.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cmyk.jpg", picture(mode="CMYK", format="JPEG")),  # 4
        ("deep.png", picture(mode="I;16")),  # 5 16-bit
        ("grey.png", picture(mode="L")),  # 6
        ("alpha.png", picture(mode="RGBA")),  # 7
        ("turned.jpg", picture(format="JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")),  # 8  # noqa: E501
        ("moving.gif", picture(mode="P", format="GIF", save_all=True,
                               append_images=[Image.new("P", (40, 40), 3)])),  # 9
    ],
)  # fmt: skip
def test_odd_pictures_are_read(name: str, data: bytes, gt: Run) -> None:
    result = project(gt, name, data)
    assert result.code == 0, result.err
    assert result.err == ""
    assert Path("out.safetensors").stat().st_size > 100


def test_a_folder_without_pictures(gt: Run) -> None:
    """11: a folder with a README only."""
    Path("folder").mkdir()
    Path("folder/README.txt").write_text("nothing here")
    result = gt("project", "folder", "-o", "out/", "-q")
    complaint(result, 2, "folder")


def test_an_unknown_direction(gt: Run) -> None:
    """12: the line lists what there is."""
    gt("generate", "--seeds", "0", "--space", "w", "-o", "w.safetensors")
    complaint(gt("edit", "w.safetensors", "--dir", "wisdom", "-o", "x.safetensors"), 2, "wisdom")


def test_a_latent_of_another_network(gt: Run, tmp_path: Path) -> None:
    """13: refused by id, and the line says whose it is."""
    other = make_network(tmp_path / "other.safetensors", seed=9)
    gt("generate", "--net", other, "--seeds", "0", "--space", "w", "-o", "w.safetensors")
    complaint(gt("generate", "w.safetensors", "-o", "x.png"), 1, "other")
    assert not Path("x.png").exists()


def test_seeds_that_run_backwards(gt: Run) -> None:
    """14: 5-1."""
    complaint(gt("generate", "--seeds", "5-1", "-o", "x/"), 2, "5-1")


@pytest.mark.parametrize("output", ["x.png", "x.tar", "d/", "x.mp4"])
def test_a_full_disk(output: str, tmp_path: Path, tiny_network: Path) -> None:
    """15: a file-size limit stands for the disk; nothing half-written stays."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)); "
        "from gantools import cli; sys.exit(cli.run(sys.argv[1:]))"
    )
    seeds = "0" if output == "x.png" else "0-3"
    run = subprocess.run(
        [sys.executable, "-c", code, "generate", "--seeds", seeds, "-o", output],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120,
        env={**os.environ, "GANTOOLS_NET": str(tiny_network)},
    )  # fmt: skip
    assert run.returncode == 2, run.stderr
    assert run.stderr.count("\n") == 1, run.stderr
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not left, left


def test_an_unreadable_file(gt: Run) -> None:
    """16: a name that is not there, a file that may not be read: that sample fails."""
    complaint(gt("project", "nowhere.jpg", "-o", "x.safetensors"), 1, "nowhere.jpg")


def test_duplicate_keys(gt: Run) -> None:
    """17: a/x.png and b/x.png would both be x."""
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "x.png").write_bytes(picture())
    complaint(gt("project", "a/x.png", "b/x.png", "-o", "out/"), 2, "a/x.png", "b/x.png")
    assert not Path("out").exists()


def tar_of(name: str, data: bytes, size: int | None = None) -> bytes:
    """A tar with one member, whose header may lie about its size."""
    out = io.BytesIO()
    info = tarfile.TarInfo(name)
    info.size = len(data) if size is None else size
    out.write(info.tobuf(tarfile.USTAR_FORMAT if size is None else tarfile.GNU_FORMAT))
    out.write(data + b"\0" * (-len(data) % 512) + b"\0" * 1024)
    return out.getvalue()


def test_a_name_that_is_not_utf8(gt: Run, tmp_path: Path) -> None:
    """The key is the name as `cp` would keep it: in outputs, stories, seeds and reports."""
    name = os.fsencode(tmp_path) + b"/bad\xffname"
    Path(os.fsdecode(name + b".png")).write_bytes(picture())
    out, source = f"{tmp_path}/out/", os.fsdecode(name + b".png")
    result = gt("project", source, "--steps", 1, "--align", "never", "-o", out + "{}.png")
    assert result.code == 0, result.err
    made = Path(os.fsdecode(os.fsencode(out) + b"bad\xffname.png"))
    read = story(made.read_bytes())
    assert read is not None and read["key"] == "bad\udcffname"
    result = gt("prefilter", source, "-o", out, "--report", tmp_path / "r.jsonl")
    assert json.loads((tmp_path / "r.jsonl").read_text())["key"] == "bad\udcffname"


def test_dots_in_a_tar_stay_inside(gt: Run, tmp_path: Path) -> None:
    """18: `..` and a leading / are cleaned before they touch a path."""
    gt("generate", "--seeds", "0", "--space", "w", "-o", "w.safetensors")
    latent = Path("w.safetensors").read_bytes()
    inside = tmp_path / "inside"
    for name in ("../../evil.safetensors", "/evil.safetensors"):
        result = gt("generate", "-", "-o", f"{inside}/", stdin=tar_of(name, latent))
        assert result.code == 0, result.err
    assert [p.relative_to(inside).as_posix() for p in inside.rglob("*.png")] == ["evil.png"]
    assert not list(tmp_path.parent.glob("evil*"))


def test_a_tar_header_that_claims_terabytes(gt: Run) -> None:
    """19: no memory is taken for what is not there."""
    result = gt("generate", "-", "-o", "x/", stdin=tar_of("a.safetensors", b"abc", 2**42))
    assert result.code == 2
    assert result.err.count("\n") <= 2, result.err
    assert "internal" not in result.err


def test_a_closed_stdin(tmp_path: Path) -> None:
    """20: `<&-` is one line."""
    run = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gantools edit - --dir age -o x/ <&-"],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1, run.stderr
