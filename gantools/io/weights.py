"""Weights from outside (VGG, LPIPS heads, EfficientNet …): where they lie, and their sha256.

Nothing is downloaded here (io.fetch does, for `model fetch` alone) and nothing is replaced in
silence: a file that is missing, or that is not the published one, is one line that says its name,
its sha256 and how to get it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

from gantools.io.published import KNOWN, Weights
from gantools.report import Usage

__all__ = ["KNOWN", "Weights", "data_folder", "folders", "home", "hub_folder", "locate",
           "present", "sha256"]  # fmt: skip


def data_folder() -> Path:
    """$XDG_DATA_HOME/gantools: the user's own networks and weights."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "gantools"


def hub_folder() -> Path:
    """The folder into which torch.hub downloads."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("TORCH_HOME") or Path(cache) / "torch") / "hub" / "checkpoints"


def folders() -> list[Path]:
    """Where weights are looked for, in this order; $GANTOOLS_WEIGHTS may name several folders."""
    named = [Path(f) for f in os.environ.get("GANTOOLS_WEIGHTS", "").split(os.pathsep) if f]
    return [*named, data_folder() / "weights", hub_folder()]


def _candidates(name: str) -> list[Path]:
    file = Path(KNOWN[name].file)
    places = [folder / part for folder in folders() for part in (file, Path(file.name))]
    if name == "facenet":  # where facenet-pytorch puts it
        places.append(hub_folder().parents[1] / "checkpoints" / file.name)
    if name == "ir-se50":  # as ArcFace's own repository and pSp's name it
        places += [folder / "model_ir_se50.pth" for folder in folders()]
    if name.startswith("lpips-"):  # the package lpips carries its heads
        package = importlib.util.find_spec("lpips")
        for folder in (package.submodule_search_locations or []) if package else []:
            places.append(Path(folder) / "weights" / "v0.1" / file.name)
    return places


def present(name: str) -> bool:
    """Whether a file of these weights is there; it is not read, so it may still be refused."""
    return any(path.is_file() for path in _candidates(name))


def locate(name: str) -> Path:
    """The checked file of the weights `name` (a key of KNOWN); Usage where there is none.

    Where it is not there, the published file of the same numbers, which is read as well. A file of
    that name with other bytes is passed over, and named if no other is right.
    """
    wanted = KNOWN[name]
    wrong: Path | None = None
    for path in _candidates(name):
        if path.is_file():
            if sha256(path) == wanted.sha256:
                return path
            wrong = wrong or path
    if wanted.instead is not None and present(wanted.instead):
        return locate(wanted.instead)
    why = f"{wrong.name} in {wrong.parent} is another file" if wrong else "missing"
    has_url = wanted.url is not None or wanted.instead is not None
    get = f"gantools model fetch {name}, or " if has_url else ""
    raise Usage(f"weights {name} ({wanted.what}): {why}; {get}{_put(wanted)}")


def _put(wanted: Weights) -> str:
    return (
        f"put {wanted.file} (sha256 {wanted.sha256}) into $GANTOOLS_WEIGHTS, "
        f"{data_folder() / 'weights'} or {hub_folder()}"
    )


def home() -> Path:
    """Where new weights go: the first folder of $GANTOOLS_WEIGHTS that can be written, or ours."""
    named = folders()[:-2]
    ours = data_folder() / "weights"
    return next((f for f in named if f.is_dir() and os.access(f, os.W_OK | os.X_OK)), ours)


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
