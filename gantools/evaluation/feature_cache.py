"""Features of pictures that were computed before, by the pictures' content and the extractor.

One SQLite file, $XDG_CACHE_HOME/gantools/features.sqlite, which several processes may read and
write. Its bytes are never trusted: a row with another checksum, or a file that is damaged, is as
good as none. It may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gantools import __version__, report
from gantools.io.image import content

LIMIT = 4 << 30  # bytes of the file; above, the oldest quarter of the rows goes
FORMAT = 1
PATIENCE = 30.0  # seconds for another process's transaction
_AT_ONCE = 500  # rows in a query; SQLite's older limit is 999 variables


def folder() -> Path:
    """$XDG_CACHE_HOME/gantools."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gantools"


class FeatureCache:
    """Rows of features of one extractor.

    story: everything that decides about the features but the pictures (the extractor's protocol,
    the device). Versions of gantools and of torch do not share rows.
    """

    def __init__(self, story: Mapping[str, Any], dim: int, path: Path | None = None) -> None:
        import torch

        made_by = {"format": FORMAT, "gantools": __version__, "torch": torch.__version__}
        text = json.dumps({**story, **made_by}, sort_keys=True)
        self.path = path or folder() / "features.sqlite"
        self._extractor = hashlib.sha256(text.encode()).digest()
        self._dim = dim
        self._usable = True
        self._warned = False

    def through(
        self, pictures: Sequence[np.ndarray], compute: Callable[[list[int]], np.ndarray]
    ) -> np.ndarray:
        """Features float32 [N, dim] of uint8 [H, W, C]; compute: numbers of new ones -> theirs."""
        keys = [content(picture) for picture in pictures]
        known = self._read(keys)
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            made = dict(zip((keys[i] for i in new), compute(new), strict=True))
            self._write({key: row for key, row in made.items() if np.isfinite(row).all()})
            known |= made
        return np.stack([known[key] for key in keys])

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        found: dict[bytes, np.ndarray] = {}
        if not self._usable or not self.path.exists():
            return found
        with self._guarded(), contextlib.closing(self._opened()) as db:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                query = (
                    "SELECT content, checksum, row FROM features "
                    f"WHERE extractor = ? AND content IN ({marks})"
                )
                for key, checksum, row in db.execute(query, (self._extractor, *some)):
                    if len(row) == 4 * self._dim and zlib.crc32(row) == checksum:
                        found[key] = np.frombuffer(row, "<f4")
                    else:
                        self._warn("rows are damaged, their features are computed again")
        return found

    def _write(self, rows: Mapping[bytes, np.ndarray]) -> None:
        if not self._usable or not rows:
            return
        values = []
        for key, features in rows.items():
            row = features.astype("<f4").tobytes()
            values.append((self._extractor, key, zlib.crc32(row), row))
        with self._guarded():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(self._opened()) as db, db:
                _prune(db)
                db.executemany("INSERT OR REPLACE INTO features VALUES (NULL, ?, ?, ?, ?)", values)

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=PATIENCE)
        try:
            db.execute("PRAGMA synchronous = OFF")  # a power cut costs a cache at most
            db.execute(
                "CREATE TABLE IF NOT EXISTS features (id INTEGER PRIMARY KEY, extractor BLOB, "
                "content BLOB, checksum INTEGER, row BLOB, UNIQUE (extractor, content))"
            )
        except BaseException:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """A cache that cannot be used is told once, and costs time alone."""
        try:
            yield
        except sqlite3.OperationalError as e:  # locked, read-only, disk full
            self._usable = False
            self._warn(f"{e}; features are not kept")
        except sqlite3.DatabaseError:
            self._warn("the file is damaged and was removed; features are computed again")
            with contextlib.suppress(OSError):
                self.path.unlink()
        except OSError as e:
            self._usable = False
            self._warn(f"{e.strerror or e}; features are not kept")

    def _warn(self, why: str) -> None:
        if not self._warned:
            report.note(f"{self.path}: {why}")
        self._warned = True


def _prune(db: sqlite3.Connection) -> None:
    """Make room; freed pages are used again, so the file does not grow."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    if (pages - free) * size > LIMIT:
        db.execute(
            "DELETE FROM features WHERE id <= "
            "(SELECT min(id) + (max(id) - min(id)) / 4 FROM features)"
        )
