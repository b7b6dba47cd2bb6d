# SPDX-License-Identifier: Apache-2.0
"""How a nest's results divide into groups and sub-words; docs/format.md is the contract."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.strips import result_banks, tiles_of
from bramcast.pack.bundle.manifest import Core, NestInfo
from bramcast.pack.bundle.program import Nest


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a nest: ``width`` results are computed side by side.

    Results are kept in *rows* of one sub-word each, ordered by group, pixel, sub-word of the
    group. The last group has ``tail`` valid results, and only the sub-words that hold them.

    Attributes:
        lanes: elements of a sub-word (LANES).
        width: results of a whole group: LANES, in lane-wise nests LANES * TAPS.
        count: groups.
        tail: valid results of the last group.
        pixels: output positions (oy, ox); where several tiles write, of the first tile, then of
            the second, and so on.

    >>> nest = Nest((2, 1, 3, 1, 1, 1), 0, (0,) * 6, 0, (0,) * 6, 0, (8, 0, 4), 0, 1, 0, 0, tail=5,
    ...             lanewise=True)
    >>> core = Core(4, 4, 8, 8, 2, 64, 1, 1, 0, 8)
    >>> g = Groups.of(nest, core)
    >>> g.width, g.subs, g.last_subs, g.rows, g.results
    (16, 4, 2, 18, 63)
    >>> g.addresses(nest, core, 0).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 8, 9, 12, 13, 16, 17]
    >>> g.place(13)
    (1, 0, 1)
    """

    lanes: int
    width: int
    count: int
    tail: int
    pixels: int

    @classmethod
    def of(cls, nest: Nest, core: Core) -> "Groups":
        pixels = tiles_of(nest, core) * nest.counts[1] * nest.counts[2]
        return cls(core.lanes, core.group(nest.lanewise), nest.counts[0], nest.tail, pixels)

    @property
    def subs(self) -> int:
        """Sub-words of a whole group."""
        return self.width // self.lanes

    @property
    def last_subs(self) -> int:
        """Sub-words of the last group."""
        return -(-self.tail // self.lanes)

    @property
    def ragged(self) -> bool:
        """Whether the last group has fewer sub-words than the others."""
        return self.last_subs < self.subs

    @property
    def rows(self) -> int:
        """Sub-words of all results."""
        return self.pixels * ((self.count - 1) * self.subs + self.last_subs)

    @property
    def results(self) -> int:
        """Valid results, the beats of a stream nest."""
        return self.pixels * ((self.count - 1) * self.width + self.tail)

    def valid(self, group: int) -> int:
        """Valid results of a group."""
        return self.tail if group == self.count - 1 else self.width

    def subs_of(self, group: int) -> int:
        """Sub-words of a group."""
        return self.last_subs if group == self.count - 1 else self.subs

    def place(self, row: int) -> tuple[int, int, int]:
        """Group, pixel and sub-word of the group that a row holds."""
        group = min(row // (self.pixels * self.subs), self.count - 1)
        pixel, sub = divmod(row - group * self.pixels * self.subs, self.subs_of(group))
        return group, pixel, sub

    def pixel_addresses(self, nest: Nest, core: Core, bank: int) -> NDArray[np.int64]:
        """Sub-word address of each pixel's first result, int64 [pixels]; ``bank`` as below."""
        _, step_y, step_x = nest.result_steps
        row, ox = np.divmod(np.arange(self.pixels, dtype=np.int64), nest.counts[2])
        here = result_banks(nest, core)[row] * bank + row % nest.counts[1] * step_y + ox * step_x
        found: NDArray[np.int64] = nest.result_base + here
        return found

    def addresses(self, nest: Nest, core: Core, bank: int) -> NDArray[np.int64]:
        """Sub-word address of each row, int64 [rows]; 0 in every row of a stream nest.

        Args:
            bank: sub-words from a bank of the scratchpad to the next one, with TILES > 1.
        """
        step_g = nest.result_steps[0]
        pixel = self.pixel_addresses(nest, core, bank)
        sub = np.arange(self.subs, dtype=np.int64) * (not nest.stream)
        group = np.arange(self.count - 1, dtype=np.int64) * step_g
        whole = group[:, None, None] + pixel[:, None] + sub
        last = (self.count - 1) * step_g + pixel[:, None] + sub[: self.last_subs]
        return np.concatenate([whole.reshape(-1), last.reshape(-1)])


@dataclass(frozen=True, slots=True, eq=False)
class LayerPart:
    """Elements of a layer that some lanes of a nest make.

    Attributes:
        lanes: their places in the groups, int64 [n]; channels: the layer's, int64 [n].
        y, x: rows and columns of the layer that the nest's pixels (oy, ox) are, with TILES > 1
            those of all tiles; of both only so many as the layer has.
    """

    lanes: NDArray[np.int64]
    channels: NDArray[np.int64]
    y: slice
    x: slice

    @property
    def rows(self) -> int:
        """How many of the nest's rows are the layer's."""
        return len(range(self.y.start, self.y.stop, self.y.step))

    @property
    def columns(self) -> int:
        """How many of the nest's columns are the layer's."""
        return len(range(self.x.start, self.x.stop, self.x.step))

    @property
    def elements(self) -> int:
        return len(self.lanes) * self.columns * self.rows


def layer_parts(
    nest: Nest, info: NestInfo, shape: Sequence[int], tiles: int = 1
) -> list[LayerPart]:
    """What the lanes of a nest make of a layer: one part for each column.

    Args:
        shape: of the layer, (y, x, c).
        tiles: TILES of the core.

    >>> nest = Nest((1, 1, 2, 1, 1, 1), 0, (0,) * 6, 0, (0,) * 6, 0, (0, 1, 1), 0, 1, 0, 0, tail=4)
    >>> info = NestInfo(0, [0, 1, 0, 1], (0, 0), (1, 2), [0, 0, 1, 1])
    >>> parts = layer_parts(nest, info, (1, 3, 2))
    >>> [(part.lanes.tolist(), part.x, part.elements) for part in parts]
    [([0, 1], slice(0, 3, 2), 4), ([2, 3], slice(1, 3, 2), 2)]
    """
    channels = np.array(info.channels, np.int64)
    columns = np.array(info.columns or [0] * len(channels), np.int64)
    y, x = layer_pixels(nest, info, tiles)
    if nest.strips:  # behind the picture
        y = slice(y.start, min(y.stop, shape[0]), y.step)
    parts = []
    for column in np.unique(columns[channels >= 0]).tolist():
        lanes = np.flatnonzero((channels >= 0) & (columns == column))
        moved = slice(x.start + column, min(x.stop + column, shape[1]), x.step)
        parts.append(LayerPart(lanes, channels[lanes], y, moved))
    return parts


def layer_pixels(nest: Nest, info: NestInfo, tiles: int = 1) -> tuple[slice, slice]:
    """Rows and columns of the layer that a nest's pixels (oy, ox) are; rows of all ``tiles``.

    >>> nest = Nest((1, 2, 3, 1, 1, 1), 0, (0,) * 6, 0, (0,) * 6, 0, (0, 3, 1), 0, 1, 0, 0, tail=1)
    >>> layer_pixels(nest, NestInfo(0, [0], (1, 0), (2, 1)))
    (slice(1, 4, 2), slice(0, 3, 1))
    """
    rows = nest.counts[1] * (tiles if nest.strips else 1)
    y, x = (
        slice(start, start + (count - 1) * step + 1, step)
        for start, count, step in zip(info.origin, (rows, nest.counts[2]), info.stride, strict=True)
    )
    return y, x
