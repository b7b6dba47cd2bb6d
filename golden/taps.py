# SPDX-License-Identifier: Apache-2.0
"""What a nest reads: addresses and masks of its taps."""

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.arith import FLOAT32_EXACT
from bramcast.golden.loops import ranges
from bramcast.golden.memories import Memories
from bramcast.golden.strips import tap_rows
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import Nest


class Taps:
    """Addresses and masks of a nest's taps, as docs/format.md writes them.

    A dense tap of the hardware is TAPS taps here: element a + t, and lanes t * LANES and up of the
    weight word, which ``Memories.steps`` gives as a row of its own.
    """

    def __init__(self, nest: Nest, core: Core, bank: int = 0) -> None:
        """
        Args:
            bank: elements from a bank of the scratchpad to the next one, with TILES > 1.
        """
        self.nest = nest
        self.parts = 1 if nest.lanewise else core.taps
        self.count = nest.taps * self.parts
        rows = tap_rows(nest, core)
        ox, kx = (np.arange(nest.counts[n], dtype=np.int64) for n in (2, 4))
        x = nest.x_start + ox[:, None] * nest.x_step_ox + kx * nest.x_step_kx
        self.rows = rows.offsets + rows.banks * bank  # [oy of all tiles, ky]
        self.valid_y = rows.valid
        self.valid_x = (x >= 0) & (x < nest.x_limit)  # [ox, kx]
        self.masked = not (bool(np.all(self.valid_y)) and bool(np.all(self.valid_x)))
        self.one_weight = nest.weight_steps[1] == 0 and nest.weight_steps[2] == 0

    def _loops(self, taps: slice) -> list[NDArray[np.int64]]:
        """ky, kx, ci and t of each tap."""
        tap, t = np.divmod(np.arange(taps.start, taps.stop), self.parts)
        k, ci = np.divmod(tap, self.nest.counts[5])
        return [*np.divmod(k, self.nest.counts[4]), ci, t]

    def acts(self, pixels: slice, taps: slice) -> NDArray[np.int64]:
        """Element addresses of group 0: [pixels, taps]."""
        oy, ox = np.divmod(np.arange(pixels.start, pixels.stop), self.nest.counts[2])
        ky, kx, ci, t = self._loops(taps)
        s = self.nest.act_steps
        base = self.nest.act_base + ox * s[2]
        rows: NDArray[np.int64] = base[:, None] + (kx * s[4] + ci * s[5] + t)
        rows += self.rows[oy[:, None], ky]
        return rows

    def valid(self, pixels: slice, taps: slice) -> NDArray[np.bool_]:
        """Which taps count: [pixels, taps]."""
        oy, ox = np.divmod(np.arange(pixels.start, pixels.stop), self.nest.counts[2])
        ky, kx, _, _ = self._loops(taps)
        both: NDArray[np.bool_] = self.valid_y[oy[:, None], ky] & self.valid_x[ox[:, None], kx]
        return both

    def weights(self, groups: slice, pixels: slice, taps: slice) -> NDArray[np.int64]:
        """Rows of ``Memories.steps`` [groups, pixels, taps]; one pixel if all have the same."""
        pixels = slice(0, 1) if self.one_weight else pixels
        g = np.arange(groups.start, groups.stop)
        oy, ox = np.divmod(np.arange(pixels.start, pixels.stop), self.nest.counts[2])
        oy = oy % self.nest.counts[1]  # the same in every tile
        ky, kx, ci, t = self._loops(taps)
        s = self.nest.weight_steps
        base = self.nest.weight_base + g[:, None] * s[0] + oy * s[1] + ox * s[2]
        steps: NDArray[np.int64] = base[:, :, None] + (ky * s[3] + kx * s[4] + ci * s[5])
        return steps * self.parts + t


def largest_sum(memories: Memories, taps: Taps) -> int:
    """A bound on any lane's |sum of products|: from the weights where they are few, else coarse."""
    nest, core = taps.nest, memories.core
    largest = (1 << core.data_bits) - 1 if nest.x_unsigned else 1 << (core.data_bits - 1)
    coarse = largest * taps.count << (core.weight_bits - 1)
    if coarse < FLOAT32_EXACT or not taps.one_weight:
        return coarse
    total = 0
    for g in range(nest.counts[0] if nest.weight_steps[0] else 1):
        column = np.zeros(core.group(nest.lanewise), np.int64)
        for run in ranges(taps.count, 1 << 20):
            address = taps.weights(slice(g, g + 1), slice(0, 1), run)[0, 0]
            column += np.abs(memories.steps(nest)[address].astype(np.int64)).sum(axis=0)
        total = max(total, int(column.max()))
    return max(1, total * largest)
