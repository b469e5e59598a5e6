"""What becomes of a picture in the prefilter, and why (S0.3, S0.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from gantools.faces import crop, framing, padding, warp
from gantools.faces.detect import Face, Implementation
from gantools.io import alpha
from gantools.report import SampleError

Framing = Literal["facenet", "celebahq", "ffhq", "network", "celeba", "square", "pad"]
Which = Literal["largest-centred", "largest", "all"]
WHOLE: dict[str, Callable[[np.ndarray, int], tuple[int, int, int, int]]] = {
    "celeba": lambda photo, _: crop.celeba_box(photo),
    "square": lambda photo, _: crop.square_box(photo),
    "pad": crop.padded_box,
}
"""Framings that follow from the picture's size and --size alone: no face is looked for."""


@dataclass(frozen=True)
class Rules:
    """How faces are accepted and cut out.

    framing: facenet's box (S0.3), the turned square of CelebA-HQ and FFHQ (S1.16), a network's
    `crop`, given in `network`, or S1.15's `celeba`, `square` and `pad`. margin: px of the picture
    in all per axis, for facenet's box alone. size: px. mtcnn: whose detector (S0.2, X.6).
    """

    framing: Framing = "facenet"
    size: int = 256
    margin: float = 50
    which: Which = "largest-centred"
    min_score: float = 0.0
    min_face: int = 20
    network: dict[str, Any] | None = None
    mtcnn: Implementation = "facenet-pytorch"

    @property
    def wants_faces(self) -> bool:
        """Whether faces have to be looked for."""
        return self.framing not in WHOLE


@dataclass
class Cut:
    """One picture cut out: key, uint8 [size, size, 3] (or 4), where it was, the report's entry."""

    key: str
    pixels: np.ndarray
    crop: dict[str, Any]
    told: dict[str, Any]


@dataclass
class Decision:
    """One line of the report: `accepted`, `rejected` or `unreadable`, and why if not accepted.

    whole: the entry of the cut where no face was looked for.
    """

    key: str | None
    decision: Literal["accepted", "rejected", "unreadable"]
    reason: str | None = None
    size: tuple[int, int] | None = None  # width, height
    faces: list[dict[str, Any]] = field(default_factory=list)
    path: str | None = None
    whole: dict[str, Any] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """The report's JSON object; boxes and landmarks in px of the upright picture."""
        accepted = self.decision == "accepted"
        return {
            "key": self.key,
            "path": self.path,
            "accepted": accepted,
            "decision": self.decision,
            "reason": self.reason,
            "size": self.size,
            "faces": self.faces,
            **self.whole,
        }


def judge(
    key: str, photo: np.ndarray, found: Sequence[Face], rules: Rules
) -> tuple[Decision, list[Cut]]:
    """Accept or reject a uint8 [H, W, 3] picture with the faces found in it, and cut them out.

    With straight alpha, [H, W, 4], so have the cuts.
    With `all`, the cuts have the keys `key/0`, `key/1`, …, S0.3's choice first.
    """
    height, width = photo.shape[:2]
    decision = Decision(key, "accepted", size=(width, height))
    if not rules.wants_faces:
        return _judge_whole(decision, photo, rules)
    decision.faces = [_told(face) for face in found]
    good = [i for i, face in enumerate(found) if face.score >= rules.min_score]
    chosen = _chosen([found[i] for i in good], height, width, rules.which)
    cuts: list[Cut] = []
    for n, i in enumerate(good[j] for j in chosen):
        name = f"{key}/{n}" if rules.which == "all" else key
        told = decision.faces[i]
        try:
            cut = Cut(name, *_cut(photo, found[i], rules), told)
        except SampleError as e:
            told["reason"] = str(e)
            continue
        cuts.append(cut)
        told.update(chosen=True, output=cut.key, crop=cut.crop)
    if not cuts:
        decision.decision = "rejected"
        decision.reason = _why(decision.faces, bool(good), min(height, width), rules)
    return decision, cuts


def _judge_whole(decision: Decision, photo: np.ndarray, rules: Rules) -> tuple[Decision, list[Cut]]:
    """The picture itself, with no face looked for."""
    assert decision.key is not None
    try:
        box = WHOLE[rules.framing](photo, rules.size)
    except SampleError as e:
        decision.decision, decision.reason = "rejected", str(e)
        return decision, []
    where = {**_where(photo, rules), "box": list(box), "quad": _corners(box).tolist()}
    decision.whole.update(output=decision.key, crop=where)
    pixels = alpha.through(photo, lambda whole: crop.box_crop(whole, box, rules.size))
    return decision, [Cut(decision.key, pixels, where, decision.whole)]


def _told(face: Face) -> dict[str, Any]:
    return {
        "box": [round(v, 3) for v in face.box],
        "score": round(face.score, 6),
        "landmarks": face.landmarks.round(3).tolist(),
        "chosen": False,
    }


def _chosen(faces: list[Face], height: int, width: int, which: Which) -> list[int]:
    """Indices of the faces that are wanted."""
    if which == "largest":
        return sorted(range(len(faces)), key=lambda i: -faces[i].area)[:1]
    wanted = crop.order(faces, height, width)
    return wanted if which == "all" else wanted[:1]


def _why(faces: list[dict[str, Any]], any_good: bool, shorter: int, rules: Rules) -> str:
    """Why nothing was cut out."""
    if any_good:
        return next(str(face["reason"]) for face in faces if "reason" in face)
    if faces:
        best = max(face["score"] for face in faces)
        return f"no face with a score of {rules.min_score:g}: the best has {best:g}"
    if shorter < rules.min_face:
        return f"no face found: the picture is smaller than the smallest face, {rules.min_face} px"
    return "no face found"


def _cut(photo: np.ndarray, face: Face, rules: Rules) -> tuple[np.ndarray, dict[str, Any]]:
    """The face cut out, and its `crop`: corners in the picture, size, the picture's own size."""
    height, width = photo.shape[:2]
    where = _where(photo, rules)
    if rules.framing == "facenet":
        box = crop.facenet_box(face.box, height, width, rules.margin)

        def cut(whole: np.ndarray) -> np.ndarray:
            return crop.facenet_crop(whole, box, rules.size)

        corners = _corners(box)
        where["box"] = list(box)
    elif rules.framing == "network":
        assert rules.network is not None
        corners = framing.quad(face.points, rules.network)

        def cut(whole: np.ndarray) -> np.ndarray:
            return warp.crop_quad(whole, corners, rules.size)

    else:
        corners = crop.celebahq_quad(face.points - 0.5)  # it counts px from 0
        enlarge = rules.framing == "celebahq"

        def cut(whole: np.ndarray) -> np.ndarray:
            return padding.crop_padded(whole, corners, rules.size, enlarge=enlarge)

    where["quad"] = corners.round(3).tolist()
    return alpha.through(photo, cut), where


def _where(photo: np.ndarray, rules: Rules) -> dict[str, Any]:
    """The beginning of a `crop`."""
    height, width = photo.shape[:2]
    return {"size": rules.size, "source": [width, height]}


def _corners(box: tuple[int, int, int, int]) -> np.ndarray:
    """A box's corners as a quad [4, 2]."""
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x1, y2], [x2, y2], [x2, y1]], np.float64)
