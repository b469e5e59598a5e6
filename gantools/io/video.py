"""Frames to a video file through ffmpeg (the binary of imageio-ffmpeg), one frame in memory.

mp4: H.264, webm: VP9, both 4:2:0 in BT.709; gif: a palette per frame, endless. 4:2:0 needs even
sides: an odd side gets its last row or column once more, which no eye notices.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gantools import report
from gantools.io import atomic

if TYPE_CHECKING:
    from gantools.io.image import Pixels

_BT709 = (
    "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)
_GIF = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"
_ENCODERS = {
    ".mp4": ["-vf", _BT709, "-c:v", "libx264", "-crf", "16", "-preset", "medium",
             "-movflags", "+faststart", "-f", "mp4"],
    ".webm": ["-vf", _BT709, "-c:v", "libvpx-vp9", "-crf", "24", "-b:v", "0",
              "-row-mt", "1", "-f", "webm"],
    # Each frame has its own palette, so a frame must not be coded as a change of indices.
    ".gif": ["-filter_complex", _GIF, "-gifflags", "-offsetting-transdiff", "-loop", "0",
             "-f", "gif"],
}  # fmt: skip


class VideoFile:
    """A video whose size is that of its first frame; the file appears when all frames are in."""

    def __init__(self, path: Path, suffix: str, fps: float, no_clobber: bool) -> None:
        if not 0 < fps <= 1000:
            raise report.Usage(f"--fps {fps:g}: between 0 and 1000 frames per second are expected")
        if atomic.is_special(path):
            raise report.Usage(f"{path}: a video needs a file that can be written in any order")
        self._path = path
        self._suffix = suffix
        self._fps = fps
        self._skip = no_clobber and path.exists()
        self._file: atomic.AtomicFile | None = None
        self._ffmpeg: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._size = (0, 0)

    def begin(self) -> None: ...

    def wanted(self, key: str) -> bool:
        return not self._skip

    def frame(self, pixels: Pixels) -> None:
        """One more frame, uint8 [H, W, 1, 3 or 4]; alpha is laid on white.

        SampleError if its size is another than the first's.
        """
        import numpy as np

        from gantools.io.alpha import on_white

        if self._skip:
            return
        height, width = pixels.shape[:2]
        if self._ffmpeg is None:
            self._start(height, width)
        elif (height, width) != self._size:
            was = f"{self._size[1]}x{self._size[0]}"
            raise report.SampleError(f"the frame is {width}x{height}, the video is {was}")
        if pixels.ndim == 2 or pixels.shape[2] == 1:
            pixels = np.repeat(pixels.reshape(height, width, 1), 3, 2)
        pixels = on_white(pixels)
        if self._suffix != ".gif":
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        self._feed(np.ascontiguousarray(pixels).tobytes())

    def _start(self, height: int, width: int) -> None:
        import imageio_ffmpeg

        self._size = (height, width)
        even = 1 if self._suffix == ".gif" else 2
        size = f"{width + width % even}x{height + height % even}"
        self._file = atomic.AtomicFile(self._path, self._suffix)
        self._errors = tempfile.TemporaryFile()
        try:
            program = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError as e:
            raise report.Usage(f"{self._path}: no ffmpeg was found: {e}") from e
        command = [program, "-hide_banner", "-loglevel", "error", "-nostdin", "-y",
                   "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{self._fps:g}",
                   "-i", "-", "-an", "-map_metadata", "-1", "-fflags", "+bitexact",
                   "-flags:v", "+bitexact", *_ENCODERS[self._suffix],
                   f"file:{self._file.temporary}"]  # fmt: skip
        self._ffmpeg = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is ours to handle
        )

    def _feed(self, data: bytes) -> None:
        assert self._ffmpeg is not None and self._ffmpeg.stdin is not None
        try:
            self._ffmpeg.stdin.write(data)
        except OSError as e:  # ffmpeg is gone: its reason, and not a broken pipe of ours
            raise self._why() from e

    def finish(self) -> None:
        """Wait for ffmpeg and put the file in its place."""
        if self._ffmpeg is None or self._file is None:
            if not self._skip and not report.failures():
                report.failed(str(self._path), "not written: there was no frame")
            return
        assert self._ffmpeg.stdin is not None
        try:
            self._ffmpeg.stdin.close()
        except OSError as e:
            raise self._why() from e
        if self._ffmpeg.wait() != 0:
            raise self._why()
        self._close()
        self._file.commit()

    def abort(self) -> None:
        """Stop ffmpeg and leave nothing behind."""
        if self._ffmpeg is not None:
            self._ffmpeg.kill()
            self._ffmpeg.wait()
        self._close()
        if self._file is not None:
            self._file.abort()

    def _close(self) -> None:
        if self._ffmpeg is not None and self._ffmpeg.stdin is not None:
            with contextlib.suppress(OSError):  # what was not taken is of no use any more
                self._ffmpeg.stdin.close()
        if self._errors is not None:
            self._errors.close()

    def _why(self) -> report.Usage:
        assert self._ffmpeg is not None and self._errors is not None
        self._ffmpeg.wait()
        self._errors.seek(0)
        said = self._errors.read(4096).decode("utf-8", "replace").strip().splitlines()
        return report.Usage(f"{self._path}: ffmpeg: {said[0] if said else 'it ended early'}")
