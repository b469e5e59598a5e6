"""Which pictures a run sees at which position: nothing of it has to be saved (S1.13, S2.23)."""

from __future__ import annotations

import numpy as np

from gantools.io import seeds


class Order:
    """Which pictures the run sees: epoch after epoch, each shuffled from (seed, epoch) alone.

    With mirror the set is doubled: index i >= n is picture i - n, flipped (S1.13). Nothing has to
    be saved but the number of pictures shown.
    """

    def __init__(self, n: int, seed: int, *, mirror: bool) -> None:
        self.n, self.seed = n, seed
        self.length = 2 * n if mirror else n
        self._epoch, self._shuffled = -1, np.zeros(0, np.int64)

    def _of(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            rng = np.random.default_rng(seeds.derive(self.seed, str(epoch), "order"))
            self._epoch, self._shuffled = epoch, rng.permutation(self.length)
        return self._shuffled

    def take(self, position: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(picture numbers [count], flipped [count]) from `position` on."""
        chunks = []
        while count:
            epoch, start = divmod(position, self.length)
            chunks.append(self._of(epoch)[start : start + count])
            position, count = position + len(chunks[-1]), count - len(chunks[-1])
        index = np.concatenate(chunks)
        return index % self.n, index >= self.n


class Drawn:
    """Which crops the run sees: crop k is drawn from (seed, k), of n places and their mirrored."""

    def __init__(self, n: int, seed: int, *, mirror: bool, purpose: str = "crops") -> None:
        self.n = n
        self.length = 2 * n if mirror else n
        self._key = seeds.derive(seed, str(self.length), purpose)

    def take(self, position: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(places [count], flipped [count]) from crop `position` on."""
        bits = np.random.Philox(key=self._key)
        bits.advance(position)  # by its blocks of four numbers: crop k has block k
        raw = bits.random_raw(4 * count)[::4]
        # 64 random bits times the length, without the lower 64: uniform up to length / 2^64.
        index = np.array([int(x) * self.length >> 64 for x in raw], np.int64)
        return index % self.n, index >= self.n
