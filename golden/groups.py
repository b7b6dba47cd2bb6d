# SPDX-License-Identifier: Apache-2.0
"""How a nest's results divide into groups and sub-words; docs/format.md is the contract."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
        pixels: output positions (oy, ox).

    >>> nest = Nest((2, 1, 3, 1, 1, 1), 0, (0,) * 6, 0, (0,) * 6, 0, (8, 0, 4), 0, 1, 0, 0, tail=5,
    ...             lanewise=True)
    >>> g = Groups.of(nest, Core(4, 4, 8, 8, 2, 64, 1, 1, 0, 8))
    >>> g.width, g.subs, g.last_subs, g.rows, g.results
    (16, 4, 2, 18, 63)
    >>> g.addresses(nest).tolist()
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
        width = core.group(nest.lanewise)
        return cls(core.lanes, width, nest.counts[0], nest.tail, nest.counts[1] * nest.counts[2])

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

    def addresses(self, nest: Nest) -> NDArray[np.int64]:
        """Sub-word address of each row, int64 [rows]; 0 in every row of a stream nest."""
        step_g, step_y, step_x = nest.result_steps
        oy, ox = np.divmod(np.arange(self.pixels, dtype=np.int64), nest.counts[2])
        pixel = nest.result_base + oy * step_y + ox * step_x
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
        y, x: rows and columns of the layer that the nest's pixels (oy, ox) are; of the columns,
            only so many as the layer has.
    """

    lanes: NDArray[np.int64]
    channels: NDArray[np.int64]
    y: slice
    x: slice

    @property
    def columns(self) -> int:
        """How many of the nest's columns are the layer's."""
        return len(range(self.x.start, self.x.stop, self.x.step))

    @property
    def elements(self) -> int:
        return len(self.lanes) * self.columns * len(range(self.y.start, self.y.stop, self.y.step))


def layer_parts(nest: Nest, info: NestInfo, width: int) -> list[LayerPart]:
    """What the lanes of a nest make of a layer of that ``width``: one part for each column.

    >>> nest = Nest((1, 1, 2, 1, 1, 1), 0, (0,) * 6, 0, (0,) * 6, 0, (0, 1, 1), 0, 1, 0, 0, tail=4)
    >>> info = NestInfo(0, [0, 1, 0, 1], (0, 0), (1, 2), [0, 0, 1, 1])
    >>> [(part.lanes.tolist(), part.x, part.elements) for part in layer_parts(nest, info, 3)]
    [([0, 1], slice(0, 3, 2), 4), ([2, 3], slice(1, 3, 2), 2)]
    """
    channels = np.array(info.channels, np.int64)
    columns = np.array(info.columns or [0] * len(channels), np.int64)
    y, x = layer_pixels(nest, info)
    parts = []
    for column in np.unique(columns[channels >= 0]).tolist():
        lanes = np.flatnonzero((channels >= 0) & (columns == column))
        moved = slice(x.start + column, min(x.stop + column, width), x.step)
        parts.append(LayerPart(lanes, channels[lanes], y, moved))
    return parts


def layer_pixels(nest: Nest, info: NestInfo) -> tuple[slice, slice]:
    """Rows and columns of the layer that a nest's pixels (oy, ox) are.

    >>> nest = Nest((1, 2, 3, 1, 1, 1), 0, (0,) * 6, 0, (0,) * 6, 0, (0, 3, 1), 0, 1, 0, 0, tail=1)
    >>> layer_pixels(nest, NestInfo(0, [0], (1, 0), (2, 1)))
    (slice(1, 4, 2), slice(0, 3, 1))
    """
    y, x = (
        slice(start, start + (count - 1) * step + 1, step)
        for start, count, step in zip(info.origin, nest.counts[1:3], info.stride, strict=True)
    )
    return y, x
