"""Where results go: the output's name decides (gantools(1), OUTPUT).

absent, -                            a stream on standard output
.png .jpg .webp .safetensors         that kind, bare, one after another, on standard output
x.tar                                a stream in a file
x.png x.jpg x.webp x.safetensors     exactly one sample
x.mp4 x.gif x.webm                   the samples as frames of a video
DIR/ or an existing folder           a file per sample, of the command's own kind
DIR/{}.png                           a file per sample, {} is the key
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from gantools import report
from gantools.io import atomic, outputs, sample
from gantools.io.video import VideoFile

if TYPE_CHECKING:
    from gantools.io.image import Pixels

Kind = Literal["latent", "image"]
_PICTURES = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".webp": "webp"}
_BARE = (*_PICTURES, ".safetensors")
_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_VIDEOS = (".mp4", ".gif", ".webm")
_Output = outputs.Stream | outputs.Bare | outputs.Single | outputs.PerKey | VideoFile


class Sink:
    """Takes samples of one `kind`; a context manager that ends well, or leaves nothing behind.

    kind: what `put` takes, "latent" or "image". image_format: how images are written.
    """

    def __init__(self, output: _Output, kind: Kind, image_format: str = "png") -> None:
        self.kind = kind
        self.image_format = image_format
        self._output = output
        self._keys: set[str] = set()

    def wanted(self, key: str) -> bool:
        """False where `--no-clobber` and the sample's file is there: it need not be computed."""
        return self._output.wanted(sample.clean_key(key))

    def put(self, key: str, data: bytes) -> None:
        """One sample's file. SampleError where its name cannot be, Usage where nothing can."""
        key = self._new(key)
        if isinstance(self._output, VideoFile):
            from gantools.io import image

            self._output.frame(image.decode(data))
        else:
            self._output.put(key, self._in_format(data))

    def put_frame(self, key: str, pixels: Pixels, story: dict[str, Any] | None = None) -> None:
        """One picture, uint8 [H, W, 1, 3 or 4]: encoded, or given to the video."""
        key = self._new(key)
        if isinstance(self._output, VideoFile):
            self._output.frame(pixels)
            return
        from gantools.io import image

        self._output.put(key, image.encode(pixels, self.image_format, story))

    @property
    def takes_strips(self) -> bool:
        """Whether `put_strips` writes a picture of which nobody ever has all pixels: PNG files."""
        if not isinstance(self._output, outputs.Single | outputs.PerKey):
            return False
        return self.image_format == "png" and self._output.takes_parts

    def put_strips(
        self,
        key: str,
        shape: tuple[int, int, int],
        strips: Iterable[Pixels],
        story: dict[str, Any] | None = None,
    ) -> None:
        """`put_frame` of a picture of shape (H, W, C) that is made while it is written."""
        key = self._new(key)
        assert isinstance(self._output, outputs.Single | outputs.PerKey)
        from gantools.io import image

        self._output.put_parts(key, image.encode_strips(shape, strips, story))

    def _in_format(self, data: bytes) -> bytes:
        """A picture of another format becomes what its name will say."""
        magic = {"png": b"\x89PNG", "jpg": b"\xff\xd8\xff", "webp": b"RIFF"}[self.image_format]
        if self.kind == "latent" or data.startswith(magic) or sample.kind(data) != "image":
            return data
        from gantools.io import image

        return image.encode(image.decode(data), self.image_format, image.story(data))

    def _new(self, key: str) -> str:
        cleaned = sample.clean_key(key)
        if cleaned in self._keys:
            raise report.SampleError(f"a sample with the key {cleaned} was already written")
        self._keys.add(cleaned)
        return cleaned

    def __enter__(self) -> Sink:
        self._output.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        if kind is not None:
            self._output.abort()
            return
        try:
            self._output.finish()
        except BaseException:
            self._output.abort()
            raise


def open_sink(output: str | None, *, own: Kind, no_clobber: bool = False, fps: float = 30) -> Sink:
    """The sink for an output's name. Usage, before any work, for a name that cannot be written.

    own: the kind that the command makes ("image", or "latent", which is rendered where the name
    asks for pictures). fps: frames per second of a video.
    """
    own_suffix = ".png" if own == "image" else ".safetensors"
    if output is None or output in _STDOUT:
        report.refuse_terminal()
        return Sink(outputs.Stream(None, own_suffix, False), own)
    if not output:
        raise report.Usage("-o: an empty name")
    suffix = Path(output).suffix.lower()
    if output.lower() in _BARE:
        kind, form = _kind(output.lower(), output, own)
        report.refuse_terminal()
        return Sink(outputs.Bare(), kind, form)
    if "{}" in output:
        kind, form = _kind(suffix, output, own)
        return Sink(outputs.PerKey(output, no_clobber), kind, form)
    if output.endswith("/") or Path(output).is_dir():
        pattern = f"{output.rstrip('/')}/{{}}{own_suffix}"
        return Sink(outputs.PerKey(pattern, no_clobber), own)
    if suffix in _VIDEOS:
        return Sink(VideoFile(atomic.real_target(Path(output)), suffix, fps, no_clobber), "image")
    is_pipe = atomic.is_special(Path(output)) and suffix not in _BARE
    if suffix == ".tar" or is_pipe:
        path = atomic.real_target(Path(output))
        return Sink(outputs.Stream(path, own_suffix, no_clobber and not is_pipe), own)
    kind, form = _kind(suffix, output, own)
    path = atomic.real_target(Path(output))
    return Sink(outputs.Single(path, output, no_clobber), kind, form)


def _kind(suffix: str, output: str, own: Kind) -> tuple[Kind, str]:
    """The kind and the picture format that a suffix asks for."""
    if suffix in _PICTURES:
        return "image", _PICTURES[suffix]
    if suffix == ".safetensors":
        if own == "latent":
            return "latent", "png"
        raise report.Usage(f"-o {output}: this command makes images, and {suffix} is for latents")
    others = "" if "{}" in output else " .tar .mp4 .gif .webm, or DIR/"
    raise report.Usage(
        f"-o {output}: its suffix says what to write: .png .jpg .webp .safetensors{others}"
    )
