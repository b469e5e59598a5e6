"""What `project` takes of a photograph: the aligned face, or all of it in some size (S2.15)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gantools.io import alpha
from gantools.io.space import Size
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.faces.detect import Detector
    from gantools.networks.network import Network


@dataclass
class Cropper:
    """--align and --size of a run; the detector is made when the first face is looked for."""

    network: Network
    space: str
    align: Literal["auto", "always", "never"]
    size: Size | Literal["own", "faces"] | None
    device: str
    _detector: Detector | None = field(init=False, default=None)

    def __call__(self, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of a size that the space has, of uint8 [H,W,3 or 4], and their corners [4, 2].

        SampleError where a face is needed and there is none; Usage where the network cannot.
        """
        return self._aligned(photo) if self.size is None else self._sized(photo)

    def _sized(self, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The photograph in its own size, or its middle in another; mirrored up to whole cells."""
        from gantools.faces.centre import centred, mirrored
        from gantools.inversion.canvas import unit

        wish = self.size
        size = wish if isinstance(wish, tuple) else (photo.shape[0], photo.shape[1])
        if wish == "faces":
            scale = self._scale_of_faces(alpha.on_white(photo))
            size = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
        pixels, quad = centred(photo, size)
        return mirrored(pixels, quad, unit(self.network, self.space))

    def _scale_of_faces(self, photo: np.ndarray) -> float:
        """By how much the median face of a photograph is larger in the network's pictures."""
        from gantools.faces.detect import Detector
        from gantools.faces.find import find
        from gantools.faces.framing import scale

        framing = self.network.meta.get("crop")
        if framing is None:
            raise Usage(f"--size faces: {self.network.name} does not say how large its faces are")
        self._detector = self._detector or Detector(self.device)
        (faces,) = find([photo], self._detector)
        if not faces:
            raise SampleError("no face found")
        return scale(faces, framing, self.network.size[0])

    def _aligned(self, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from gantools.faces.align import align
        from gantools.faces.centre import centred
        from gantools.faces.detect import Detector

        framing, mode = self.network.meta.get("crop"), self.align
        height, width = self.network.size
        if height != width and mode == "always":
            raise Usage(
                "--align always: faces are brought to squares, and the network's pictures are "
                f"{height} high and {width} wide"
            )
        if height != width or (photo.shape[2] == 4 and (framing is None or mode == "never")):
            return centred(photo, self.network.size)
        if self._detector is None and framing is not None and mode != "never":
            self._detector = Detector(self.device)
        seen = alpha.on_white(photo)
        pixels, quad, _ = align(seen, framing, height, mode, self._detector)
        return (pixels if photo.shape[2] == 3 else _with_alpha(photo, quad, height)), quad


def _with_alpha(photo: np.ndarray, quad: np.ndarray, size: int) -> np.ndarray:
    """The quad of a photograph [H,W,4] in straight colour: cut out premultiplied."""
    from gantools.faces.warp import crop_quad

    return alpha.through(photo, lambda whole: crop_quad(whole, quad, size))
