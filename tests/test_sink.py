"""Every row of the -o table; files that appear whole or not at all; what cannot be written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from gantools import report
from gantools.io import atomic, image, outputs
from gantools.io.sink import Sink, open_sink
from gantools.io.source import samples
from gantools.report import SampleError, Usage


def frame(value: int, height: int = 16, width: int = 16) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def files(folder: Path) -> list[str]:
    """Everything below a folder, hidden files too: litter would be seen."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


class Stdout(io.TextIOWrapper):
    """A stdout that is a pipe and keeps what was written and flushed."""

    def __init__(self) -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept)

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report.reset()
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[], io.BytesIO]:
    """Called in the test itself (pytest sets its own stdout before that): what is written."""

    def put() -> io.BytesIO:
        out = Stdout()
        monkeypatch.setattr(sys, "stdout", out)
        return out.kept

    return put


def fill(sink: Sink, count: int = 2) -> None:
    with sink:
        for i in range(count):
            sink.put_frame(f"k/{i}", frame(i), {"i": i})


@pytest.mark.parametrize("output", [None, "-", "/dev/stdout"])
@pytest.mark.parametrize("own", ["image", "latent"])
def test_a_stream_on_stdout(output: str | None, own: str, pipe: Callable[[], io.BytesIO]) -> None:
    stdout = pipe()
    sink = open_sink(output, own=own)  # type: ignore[arg-type]
    assert sink.kind == own
    with sink:
        sink.put("a/1", b"one")
        flushed = stdout.getvalue()
        sink.put("b", b"two")
    assert len(flushed) == 1024  # the first sample went before the second was put
    with tarfile.open(fileobj=io.BytesIO(stdout.getvalue())) as tar:
        suffix = "png" if own == "image" else "safetensors"
        assert tar.getnames() == [f"a/1.{suffix}", f"b.{suffix}"]
    assert stdout.getvalue().endswith(bytes(1024))


@pytest.mark.parametrize(
    ("output", "magic", "form"),
    [
        (".png", b"\x89PNG", "png"),
        (".jpg", b"\xff\xd8", "jpg"),
        (".jpeg", b"\xff\xd8", "jpg"),
        (".JPG", b"\xff\xd8", "jpg"),
        (".webp", b"RIFF", "webp"),
    ],
)
def test_bare_pictures_on_stdout(
    output: str, magic: bytes, form: str, pipe: Callable[[], io.BytesIO]
) -> None:
    stdout = pipe()
    for own in ("image", "latent"):
        sink = open_sink(output, own=own)  # type: ignore[arg-type]
        assert (sink.kind, sink.image_format) == ("image", form)
        fill(sink, 3)
    one = image.encode(frame(0), form, {"i": 0})
    assert stdout.getvalue().startswith(one + magic) and stdout.getvalue().count(one) == 2
    assert files(Path()) == []


def test_bare_latents_on_stdout(pipe: Callable[[], io.BytesIO]) -> None:
    stdout = pipe()
    with open_sink(".safetensors", own="latent") as sink:
        assert sink.kind == "latent"
        sink.put("a", b"one")
        sink.put("b", b"two")
    assert stdout.getvalue() == b"onetwo"


@pytest.mark.parametrize("own", ["image", "latent"])
def test_a_stream_in_a_file(own: str) -> None:
    with open_sink("x.tar", own=own) as sink:  # type: ignore[arg-type]
        assert sink.kind == own
        sink.put("a", b"one")
        assert not Path("x.tar").exists()
    suffix = "png" if own == "image" else "safetensors"
    assert files(Path()) == ["x.tar"]
    with tarfile.open("x.tar") as tar:
        assert tar.getnames() == [f"a.{suffix}"]


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.JPEG", "x.webp", "sub/x.png"])
@pytest.mark.parametrize("own", ["image", "latent"])
def test_one_picture_in_a_file(name: str, own: str) -> None:
    Path("sub").mkdir()
    sink = open_sink(name, own=own)  # type: ignore[arg-type]
    assert sink.kind == "image"
    fill(sink, 1)
    assert files(Path()) == [name]
    assert image.decode(Path(name).read_bytes()).shape == (16, 16, 3)
    if name.endswith("png"):
        assert image.story(Path(name).read_bytes()) == {"i": 0}


def test_one_latent_in_a_file() -> None:
    with open_sink("x.safetensors", own="latent") as sink:
        assert sink.kind == "latent"
        sink.put("a", b"one")
    assert Path("x.safetensors").read_bytes() == b"one"


def test_a_second_sample_for_one_file_is_an_error_and_nothing_is_written() -> None:
    Path("x.png").write_bytes(b"old")
    with pytest.raises(Usage, match=r"x\.png takes one sample.*k/0, k/1.*nothing was written"):
        fill(open_sink("x.png", own="image"), 2)
    assert Path("x.png").read_bytes() == b"old" and files(Path()) == ["x.png"]


@pytest.mark.parametrize("name", ["x.png", "x.safetensors", "x.mp4", "x.gif"])
def test_no_sample_for_one_file_is_a_failure(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_sink(name, own="latent"):
        pass
    assert report.failures() == 1 and f"{name}: not written" in capsys.readouterr().err
    with open_sink(name, own="latent"):
        pass
    assert report.failures() == 1  # the sample's own failure was told: one line is enough
    assert files(Path()) == []


def test_no_sample_for_a_stream_or_a_folder_is_none(pipe: Callable[[], io.BytesIO]) -> None:
    stdout = pipe()
    for name in (None, "x.tar", "d/"):
        with open_sink(name, own="image"):
            pass
    assert report.failures() == 0 and stdout.getvalue() == bytes(1024)
    assert Path("d").is_dir() and Path("x.tar").read_bytes() == bytes(1024)


@pytest.mark.parametrize("name", ["d/", "d", "new/", "new/deep/"])
@pytest.mark.parametrize("own", ["image", "latent"])
def test_a_file_per_sample_in_a_folder(name: str, own: str) -> None:
    Path("d").mkdir()
    with open_sink(name, own=own) as sink:  # type: ignore[arg-type]
        assert sink.kind == own
        sink.put("a/b/1", b"one")
        assert files(Path(name)) == [f"a/b/1.{'png' if own == 'image' else 'safetensors'}"]
        sink.put("2.5", b"two")  # a dot in a key is no suffix
    suffix = "png" if own == "image" else "safetensors"
    assert files(Path(name)) == [f"2.5.{suffix}", f"a/b/1.{suffix}"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("d/{}.png", ["d/k/0.png", "d/k/1.png"]),
        ("d/{}.jpg", ["d/k/0.jpg", "d/k/1.jpg"]),
        ("{}.webp", ["k/0.webp", "k/1.webp"]),
        ("pre-{}-post.png", ["pre-k/0-post.png", "pre-k/1-post.png"]),
        ("{}/{}.png", ["k/0/k/0.png", "k/1/k/1.png"]),
        ("d/{}/face.png", ["d/k/0/face.png", "d/k/1/face.png"]),
    ],
)
def test_a_file_per_sample_by_a_pattern(pattern: str, found: list[str]) -> None:
    sink = open_sink(pattern, own="latent")
    assert sink.kind == "image"
    fill(sink)
    assert files(Path()) == found


def test_a_picture_of_another_format_becomes_what_its_name_says() -> None:
    x = frame(3)
    with open_sink("{}.jpg", own="image") as sink:
        sink.put("a", image.encode(x))
        sink.put("b", image.encode(x, "jpg"))
    assert Path("a.jpg").read_bytes() == Path("b.jpg").read_bytes() == image.encode(x, "jpg")
    with open_sink("x.tar", own="image") as sink:
        sink.put("a", image.encode(x, "webp"))
        sink.put("b", image.encode(x, "png", {"its": "story"}))
    a, b = samples(["x.tar"])
    assert a.data.startswith(b"\x89PNG") and image.story(b.data) == {"its": "story"}


def test_latents_by_a_pattern() -> None:
    sink = open_sink("d/{}.safetensors", own="latent")
    assert sink.kind == "latent"
    with sink:
        sink.put("a", b"one")
    assert files(Path()) == ["d/a.safetensors"]


def frames_of(path: str) -> list[np.ndarray]:
    """Every frame of a video as its own ffmpeg reads it."""
    if path.endswith("gif"):
        with Image.open(path) as gif:
            return [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(gif)]
    program = imageio_ffmpeg.get_ffmpeg_exe()
    said = subprocess.run([program, "-i", path], capture_output=True, text=True, check=False).stderr
    found = re.search(r", (\d+)x(\d+).* (\d+) fps", said)
    assert found is not None and found.group(3) == "10"
    assert "bt709" in said and "unknown" not in said
    width, height = int(found.group(1)), int(found.group(2))
    raw = subprocess.run(
        [program, "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        capture_output=True,
        check=True,
    ).stdout
    return list(np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3))


@pytest.mark.parametrize("name", ["x.mp4", "x.webm", "x.gif"])
@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_video(name: str, size: tuple[int, int]) -> None:
    colours = [(200, 40, 60), (30, 160, 220), (90, 90, 90), (250, 240, 20)] * 2
    sink = open_sink(name, own="latent", fps=10)
    assert sink.kind == "image"
    with sink:
        for i, colour in enumerate(colours):
            x = np.full((*size, 3), colour, np.uint8)
            if i % 2:
                sink.put_frame(f"{i}", x)
            else:
                sink.put(f"{i}", image.encode(x))
        assert not Path(name).exists()
    frames = frames_of(name)
    even = 0 if name == "x.gif" else 1  # 4:2:0 has even sides
    assert len(frames) == len(colours)
    assert frames[0].shape[:2] == (size[0] + size[0] % 2 * even, size[1] + size[1] % 2 * even)
    for x, colour in zip(frames, colours, strict=True):
        assert np.abs(x.astype(int) - colour).max() <= 6, colour
    assert files(Path()) == [name]


def test_one_frame_and_grey_frames_make_a_video() -> None:
    with open_sink("x.mp4", own="image", fps=10) as sink:
        sink.put_frame("a", frame(90)[..., :1])
    assert np.abs(frames_of("x.mp4")[0].astype(int) - 90).max() <= 2


def test_videos_repeat() -> None:
    for name in ("a.mp4", "b.mp4"):
        fill(open_sink(name, own="image"), 5)
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()


def test_a_frame_of_another_size_fails_alone() -> None:
    with open_sink("x.gif", own="image") as sink:
        sink.put_frame("a", frame(1))
        with pytest.raises(SampleError, match="the frame is 8x4, the video is 16x16"):
            sink.put_frame("b", frame(1, 4, 8))
        sink.put_frame("c", frame(200))
    assert len(frames_of("x.gif")) == 2


@pytest.mark.parametrize("name", ["x.mp4", "x.tar", "x.png"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, Usage, BrokenPipeError, report.Terminated])
def test_an_exception_leaves_no_litter_and_the_old_file(
    name: str, error: type[BaseException]
) -> None:
    Path(name).write_bytes(b"old")

    def work() -> None:
        with open_sink(name, own="image") as sink:
            sink.put_frame("a", frame(1))
            raise error

    with pytest.raises(error):
        work()
    assert files(Path()) == [name] and Path(name).read_bytes() == b"old"
    report.remove_litter()
    assert files(Path()) == [name]


def test_an_exception_writes_no_end_mark(pipe: Callable[[], io.BytesIO]) -> None:
    stdout = pipe()

    def work() -> None:
        with open_sink(None, own="image") as sink:
            sink.put("a", b"one")
            raise Usage("upstream is damaged")

    with pytest.raises(Usage):
        work()
    assert len(stdout.getvalue()) == 1024 and not stdout.getvalue().endswith(bytes(1024))


def test_an_exception_keeps_what_is_complete_in_a_folder() -> None:
    def work() -> None:
        with open_sink("d/", own="image") as sink:
            sink.put("a", b"one")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert files(Path()) == ["d/a.png"]


def disk_full(*args: object, **options: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["x.png", "x.tar", "d/", "d/{}.png"])
@pytest.mark.parametrize("where", ["write", "close", "replace"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    name: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Path(name if name.startswith("x") else "d/k/0.png")
    old.parent.mkdir(exist_ok=True, parents=True)
    old.write_bytes(b"old")
    real = atomic.AtomicFile._create

    class Full:
        """A file on a disk that fills up."""

        def __init__(self, path: Path) -> None:
            self.file = path.open("wb")

        def write(self, data: bytes) -> int:
            self.file.write(data[:3])
            return disk_full() if where == "write" else len(data)

        def flush(self) -> None: ...

        def close(self) -> None:
            self.file.close()
            if where == "close":
                disk_full()

    def create(self: atomic.AtomicFile, suffix: str) -> Full:
        real(self, suffix).close()
        return Full(self.temporary)

    monkeypatch.setattr(atomic.AtomicFile, "_create", create)
    if where == "replace":
        monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(Usage, match=r"cannot write .*(x\.|d/k/0).*: No space left on device"):
        fill(open_sink(name, own="image"), 1)
    assert files(Path()) == [str(old)] and old.read_bytes() == b"old"


LIMITED = """
import resource, sys
import numpy as np
from gantools import report
from gantools.io.sink import open_sink
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
try:
    with open_sink(sys.argv[1], own="image") as sink:
        for i in range(4):
            sink.put_frame(str(i), noise)
            if sys.argv[1].endswith("png"):
                break
except report.Usage as e:
    sys.exit(f"usage: {e}")
"""


@pytest.mark.parametrize("name", ["x.png", "x.tar", "d/", "x.mp4", "x.gif"])
def test_a_real_limit_of_the_system(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, name],
        env={**os.environ, "PYTHONPATH": str(Path(report.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.startswith("usage: "), done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.count(name.rstrip("/")) == 1
    assert files(Path()) == []


def test_stdout_without_a_buffer_is_written_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONUNBUFFERED: a write may take a part only, as where the reader of a pipe goes away."""
    taken = io.BytesIO()

    class Raw(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            return taken.write(bytes(memoryview(data)[:7]))  # type: ignore[call-overload]

    class Text:
        buffer = Raw()

    monkeypatch.setattr(sys, "stdout", Text())
    assert outputs.Stdout().write(bytes(range(100))) == 100
    assert taken.getvalue() == bytes(range(100))


def test_stdout_on_a_full_disk_is_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a text layer over the device, as stdout is
        monkeypatch.setattr(sys, "stdout", full)
        for name in (None, ".png"):
            with pytest.raises(Usage, match="standard output: No space left"):
                fill(open_sink(name, own="image"))
        with contextlib.suppress(OSError):
            full.close()


@pytest.mark.parametrize("name", [None, ".png"])
def test_a_reader_that_went_away_is_a_broken_pipe(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    r, w = os.pipe()
    os.close(r)
    out = os.fdopen(w, "w")
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(BrokenPipeError):
        fill(open_sink(name, own="image"))
    with contextlib.suppress(OSError):
        out.close()


@pytest.mark.parametrize("name", [None, "-", ".png", ".safetensors"])
def test_a_terminal_is_refused_before_work(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(Usage, match="is a terminal"):
        open_sink(name, own="latent")
    open_sink("x.png", own="latent")  # a file is not stdout


def test_a_closed_stdout_is_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(Usage, match="standard output is closed"):
        open_sink(None, own="image")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere/x.png", "the folder nowhere does not exist"),
        ("nowhere/x.tar", "the folder nowhere does not exist"),
        ("nowhere/x.mp4", "the folder nowhere does not exist"),
        ("x.bmp", "its suffix says what to write"),
        ("x.tar.gz", "its suffix says what to write"),
        ("x", "its suffix says what to write"),
        ("d/{}", "its suffix says what to write"),
        ("d/{}.tar", "its suffix says what to write"),
        ("", "an empty name"),
        ("x.safetensors", "makes images"),
        (".safetensors", "makes images"),
        ("d/{}.safetensors", "makes images"),
        ("loop.png", "cannot write loop.png"),
        ("file/x.png", "file does not exist"),
        ("file/", "file is not a folder"),
    ],
)
def test_names_that_cannot_be_written_are_usage_before_work(name: str, why: str) -> None:
    Path("loop.png").symlink_to("loop.png")
    Path("file").write_bytes(b"")
    with pytest.raises(Usage, match=why):
        open_sink(name, own="image")
    assert files(Path()) == ["file", "loop.png"]


@pytest.mark.parametrize("fps", [0, -1, float("nan"), 1e9])
def test_fps(fps: float) -> None:
    with pytest.raises(Usage, match="fps"):
        open_sink("x.mp4", own="image", fps=fps)


@pytest.mark.parametrize("name", ["x.png", "x.tar", "x.mp4"])
def test_no_clobber_of_one_file(name: str) -> None:
    Path(name).write_bytes(b"old")
    sink = open_sink(name, own="image", no_clobber=True)
    assert not sink.wanted("k/0") and not sink.wanted("anything")
    fill(sink)  # a caller that does not ask overwrites nothing either
    assert Path(name).read_bytes() == b"old" and files(Path()) == [name]
    assert report.failures() == 0
    assert open_sink(name, own="image").wanted("k/0")


@pytest.mark.parametrize("name", ["d/", "d/{}.png"])
def test_no_clobber_skips_what_exists_and_does_the_rest(name: str) -> None:
    Path("d/k").mkdir(parents=True)
    Path("d/k/0.png").write_bytes(b"old")
    sink = open_sink(name, own="image", no_clobber=True)
    assert [sink.wanted(f"k/{i}") for i in (0, 1)] == [False, True]
    assert not sink.wanted("../../k//0")  # as it would be written
    fill(sink)
    assert Path("d/k/0.png").read_bytes() == b"old" and Path("d/k/1.png").exists()


@given(st.text(max_size=40))
def test_no_key_leaves_its_folder(key: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as outer:
        with open_sink(f"{outer}/d/", own="image") as sink:
            try:
                sink.put(key, b"x")
            except SampleError:
                assert len(key.encode("utf-8", "surrogatepass")) > 100
        assert len(files(Path(outer, "d"))) == 1 and len(files(Path(outer))) == 1


@pytest.mark.parametrize("key", ["../up", "/abs", "a/../../up", "..\\up", "a\0b"])
def test_keys_that_climb(key: str) -> None:
    Path("d").mkdir()
    with open_sink("d/", own="image") as sink:
        sink.put(key, b"x")
    assert len(files(Path("d"))) == 1 and len(files(Path())) == 1


def test_a_name_that_cannot_be_fails_its_sample_alone() -> None:
    with open_sink("d/", own="image") as sink:
        sink.put("a", b"1")
        with pytest.raises(SampleError, match="too long"):
            sink.put("n" * 300, b"2")
        assert sink.wanted("m" * 300)
        Path("d/b.png").mkdir()
        with pytest.raises(SampleError, match="directory"):
            sink.put("b", b"3")
        with pytest.raises(SampleError, match=r"directory|exists"):
            sink.put("a.png/c", b"4")
        with pytest.raises(SampleError, match="already written"):
            sink.put("./a", b"5")
        sink.put("z", b"6")
    assert files(Path()) == ["d/a.png", "d/z.png"] and Path("d/a.png").read_bytes() == b"1"


def test_output_onto_input() -> None:
    with open_sink("x.tar", own="image") as sink:
        for i in range(3):
            sink.put_frame(str(i), frame(i))
    with open_sink("x.tar", own="image") as sink:
        for s in samples(["x.tar"]):
            sink.put(s.key + "-again", s.data)
    assert [s.key for s in samples(["x.tar"])] == ["0-again", "1-again", "2-again"]


def test_a_link_stays_a_link() -> None:
    Path("real").mkdir()
    Path("real/x.png").write_bytes(b"old")
    Path("x.png").symlink_to("real/x.png")
    Path("new.png").symlink_to("real/new.png")
    for name in ("x.png", "new.png"):
        fill(open_sink(name, own="image"), 1)
        assert Path(name).is_symlink()
        assert image.story(Path("real", name).read_bytes()) == {"i": 0}
    assert files(Path("real")) == ["new.png", "x.png"]


def test_a_link_in_the_place_of_a_sample_is_replaced_and_never_followed() -> None:
    """A key of a stream writes into its folder only."""
    Path("d").mkdir()
    Path("secret").write_bytes(b"secret")
    Path("d/a.png").symlink_to("../secret")
    with open_sink("d/", own="image") as sink:
        sink.put("a", b"new")
    assert Path("secret").read_bytes() == b"secret" and Path("d/a.png").read_bytes() == b"new"


def test_named_pipes_and_devices_are_written_as_they_are() -> None:
    fill(open_sink("/dev/null", own="image"))
    os.mkfifo("pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as cat:
        fill(open_sink("pipe", own="image", no_clobber=True))
        out, _ = cat.communicate()
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert tar.getnames() == ["k/0.png", "k/1.png"]
    with pytest.raises(Usage, match="any order"):
        os.mkfifo("x.mp4")
        open_sink("x.mp4", own="image")


def test_new_files_obey_the_umask() -> None:
    before = os.umask(0o027)
    try:
        fill(open_sink("x.png", own="image"), 1)
    finally:
        os.umask(before)
    assert Path("x.png").stat().st_mode & 0o777 == 0o640


def test_temporary_files_are_known_to_the_signal_handler() -> None:
    """`report.remove_litter` is what a signal runs."""
    with pytest.raises(Usage), open_sink("x.tar", own="image") as sink:
        sink.put("a", b"one")
        (hidden,) = files(Path())
        assert hidden.startswith(".gantools-")
        report.remove_litter()
        assert files(Path()) == []
        raise Usage("the end")
    with open_sink("d/", own="image") as sink:
        sink.put("a", b"one")
    report.remove_litter()
    assert files(Path()) == ["d/a.png"]
