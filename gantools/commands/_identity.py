"""metrics recon --identity: whether a result shows the person of its target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gantools import report
from gantools.report import SampleError

if TYPE_CHECKING:
    import numpy as np

    from gantools.commands._pairs import Pair

PROTOCOL = (
    "cosine of FaceNet's embeddings (InceptionResnetV1, VGGFace2) of the box that MTCNN finds in "
    "the target, without margin, in both pictures, stretched to 160x160, bilinear"
)


class Identity:
    """FaceNet, and the detector that finds the targets' faces."""

    def __init__(self, device: str) -> None:
        from gantools.evaluation import facenet
        from gantools.faces.detect import Detector
        from gantools.io import weights

        self.net = facenet.load(weights.locate("facenet")).to(device)
        self.device = device
        self.detector = Detector(device)

    def __call__(self, group: Sequence[Pair]) -> dict[str, float]:
        """Each pair's identity by its key. One in whose target is no face is reported, left out."""
        import torch

        from gantools.commands._pairs import stacked
        from gantools.evaluation import facenet
        from gantools.faces.find import find

        keys, targets, results = [], [], []
        found = find([target for _, target, _ in group], self.detector)
        for (key, target, result), faces in zip(group, found, strict=True):
            try:
                if not faces:
                    raise SampleError("no face found in the target, so no identity; left out")
                first, second = _faces(faces[0].box, target, result)
            except SampleError as e:
                report.failed(key, e)
                continue
            keys.append(key)
            targets.append(first)
            results.append(second)
        if not keys:
            return {}
        with torch.inference_mode():
            both = stacked(targets, self.device), stacked(results, self.device)
            cosines = facenet.identity(self.net, *both).tolist()
        return dict(zip(keys, cosines, strict=True))


def _faces(box: Sequence[float], *pictures: np.ndarray) -> list[np.ndarray]:
    """The same box of both pictures, as the network takes it."""
    from gantools.evaluation import facenet
    from gantools.faces import crop

    height, width = pictures[0].shape[:2]
    inside = crop.facenet_box(box, height, width, margin=0)
    return [crop.facenet_crop(picture, inside, facenet.SIDE) for picture in pictures]
