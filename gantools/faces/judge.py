"""What becomes of a picture in the prefilter, and why (S0.3, S0.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from gantools.faces import crop, framing, warp
from gantools.faces.detect import Face
from gantools.report import SampleError

Framing = Literal["facenet", "celebahq", "network"]
Which = Literal["one", "largest", "all"]


@dataclass(frozen=True)
class Rules:
    """How faces are accepted and cut out.

    framing: facenet's box (S0.3), CelebA-HQ's square (S1.16), or a network's `crop`, given in
    `network`. margin: px of the picture in all per axis, for facenet's box alone. size: px.
    """

    framing: Framing = "facenet"
    size: int = 256
    margin: float = 50
    which: Which = "one"
    min_score: float = 0.0
    min_face: int = 20
    network: dict[str, Any] | None = None


@dataclass
class Cut:
    """One picture cut out: its key, uint8 [size, size, 3], and where it was."""

    key: str
    pixels: np.ndarray
    crop: dict[str, Any]


@dataclass
class Decision:
    """One line of the report: `accepted`, `rejected` or `unreadable`, and why if not accepted."""

    key: str | None
    decision: Literal["accepted", "rejected", "unreadable"]
    reason: str | None = None
    size: tuple[int, int] | None = None  # width, height
    faces: list[dict[str, Any]] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        """The report's JSON object; boxes and landmarks in px of the upright picture."""
        accepted = self.decision == "accepted"
        head = {"key": self.key, "accepted": accepted, "decision": self.decision}
        return {**head, "reason": self.reason, "size": self.size, "faces": self.faces}


def judge(
    key: str, photo: np.ndarray, found: Sequence[Face], rules: Rules
) -> tuple[Decision, list[Cut]]:
    """Accept or reject a uint8 [H, W, 3] picture with the faces found in it, and cut them out.

    With `all`, the cuts have the keys `key/0`, `key/1`, …, S0.3's choice first.
    """
    height, width = photo.shape[:2]
    decision = Decision(key, "accepted", size=(width, height))
    decision.faces = [_told(face) for face in found]
    good = [i for i, face in enumerate(found) if face.score >= rules.min_score]
    chosen = _chosen([found[i] for i in good], height, width, rules.which)
    cuts: list[Cut] = []
    for n, i in enumerate(good[j] for j in chosen):
        name = f"{key}/{n}" if rules.which == "all" else key
        told = decision.faces[i]
        try:
            cut = Cut(name, *_cut(photo, found[i], rules))
        except SampleError as e:
            told["reason"] = str(e)
            continue
        cuts.append(cut)
        told.update(chosen=True, output=cut.key, crop=cut.crop)
    if not cuts:
        decision.decision = "rejected"
        decision.reason = _why(decision.faces, bool(good), min(height, width), rules)
    return decision, cuts


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
    crop_of: dict[str, Any] = {"size": rules.size, "source": [width, height]}
    if rules.framing == "facenet":
        box = crop.facenet_box(face.box, height, width, rules.margin)
        pixels = crop.facenet_crop(photo, box, rules.size)
        x1, y1, x2, y2 = box
        corners = np.array([[x1, y1], [x1, y2], [x2, y2], [x2, y1]], np.float64)
        crop_of["box"] = list(box)
    else:
        if rules.framing == "celebahq":
            corners = crop.celebahq_quad(face.points - 0.5)  # it counts px from 0
        else:
            assert rules.network is not None
            corners = framing.quad(face.points, rules.network)
        pixels = warp.crop_quad(photo, corners, rules.size)
    crop_of["quad"] = corners.round(3).tolist()
    return pixels, crop_of
