# SPDX-License-Identifier: Apache-2.0
"""Which tile reads and writes which bank, row for row; docs/format.md, "Strips", is the contract.

Golden runs the tiles one after the other: a nest that all of them work on has ``oy`` rows of the
first tile, then those of the second one, and so on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import ALL_BANKS, Nest


def tiles_of(nest: Nest, core: Core) -> int:
    """How many tiles write results of their own: all, or one."""
    return core.tiles if nest.strips or (nest.bank == ALL_BANKS and not nest.stream) else 1


@dataclass(frozen=True, slots=True, eq=False)
class TapRows:
    """Where the rows of a nest's taps lie, each [tiles * oy, ky].

    Attributes:
        offsets: elements behind act_base and what the loops over x and channels add.
        banks: of the scratchpad; 0 for rows outside the picture.
        valid: whether the row is inside.
    """

    offsets: NDArray[np.int64]
    banks: NDArray[np.int64]
    valid: NDArray[np.bool_]


def tap_rows(nest: Nest, core: Core) -> TapRows:
    """The rows of all taps of a nest."""
    oy, ky = (np.arange(nest.counts[n], dtype=np.int64) for n in (1, 3))
    linear = oy[:, None] * nest.act_steps[1] + ky * nest.act_steps[3]
    rows = nest.rows
    if rows is None:
        y = nest.y_start + oy[:, None] * nest.y_step_oy + ky * nest.y_step_ky
        return TapRows(linear, np.zeros_like(linear), (y >= 0) & (y < nest.y_limit))
    tiles = tiles_of(nest, core)
    u = rows.start + oy[:, None] * rows.step_oy + ky * rows.step_ky
    strip = np.arange(tiles)[:, None, None] * (rows.span * nest.strips)
    u = (u + strip).reshape(-1, len(ky))
    valid = (u >= 0) & (u < rows.limit)
    bank, offset = np.divmod(np.where(valid, u, 0), rows.span)
    return TapRows(np.tile(linear, (tiles, 1)) + offset, bank, valid)


def result_banks(nest: Nest, core: Core) -> NDArray[np.int64]:
    """The bank that each row of results goes to, int64 [tiles * oy]."""
    if nest.rows is None or nest.stream:
        return np.zeros(nest.counts[1], np.int64)
    tiles = tiles_of(nest, core)
    banks = np.arange(tiles) if tiles > 1 else np.array([nest.bank])
    return np.repeat(banks, nest.counts[1])
