# SPDX-License-Identifier: Apache-2.0
"""Where a window meets padding: results that meet the same taps have the same bias.

A constant that every element of a channel has (a normalisation's offset, folded into the layer that
reads it) adds weight times constant for each tap that meets an element, and nothing for a tap that
meets padding. So a padded layer has one bias inside and others along its border.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.ops import Weighted
from bramcast.pack.graph.tensor import FloatArray
from bramcast.pack.graph.window import Window

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Results ``first`` to ``end`` along an axis, which all meet the same taps: bool [kernel]."""

    first: int
    end: int
    taps: BoolArray

    @property
    def results(self) -> int:
        return self.end - self.first


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """The results of a window over a picture, as bands of rows and of columns.

    >>> bands = Bands.over((4, 5), Window((3, 3), padding=(1, 1, 1, 1)))
    >>> [(b.first, b.end) for b in bands.rows], [b.taps.tolist() for b in bands.columns][0]
    ([(0, 1), (1, 3), (3, 4)], [False, True, True])
    >>> bands.totals(np.ones((3, 3))).astype(int).tolist()
    [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
    >>> bands.picture(bands.totals(np.ones((3, 3)))).shape
    (4, 5)
    """

    rows: tuple[Band, ...]
    columns: tuple[Band, ...]

    @classmethod
    def over(cls, size: tuple[int, int], window: Window) -> "Bands":
        """The bands of a picture of (height, width) under a window."""
        top, left, bottom, right = window.padding
        sides = ((top, bottom), (left, right))
        rows, columns = (_bands(size[axis], *sides[axis], window, axis) for axis in (0, 1))
        return cls(rows, columns)

    @classmethod
    def of(cls, op: Weighted) -> "Bands":
        """Those of a dense or depthwise operation; its view has no border of zeros."""
        return cls.over((op.view.shape[1], op.view.shape[2]), op.window)

    @property
    def count(self) -> int:
        """Pairs of a band of rows and a band of columns."""
        return len(self.rows) * len(self.columns)

    @property
    def met(self) -> tuple[FloatArray, FloatArray]:
        """Which taps each row and each column of results meets, 0 or 1: [OY, KY] and [OX, KX]."""
        rows, columns = (
            np.concatenate([np.tile(b.taps, (b.results, 1)) for b in bands]).astype(np.float64)
            for bands in (self.rows, self.columns)
        )
        return rows, columns

    def totals(self, taps: FloatArray) -> FloatArray:
        """Sums over the taps that each pair meets: [..., KY, KX] -> [..., rows, columns]."""
        rows, columns = (
            np.array([b.taps for b in bands], np.float64) for bands in (self.rows, self.columns)
        )
        return np.asarray(rows @ taps @ columns.T)

    def picture(self, values: NDArray[Any]) -> NDArray[Any]:
        """A value for each result from one for each pair: [..., rows, columns] -> [..., OY, OX]."""
        tall = np.repeat(values, [b.results for b in self.rows], axis=-2)
        return np.repeat(tall, [b.results for b in self.columns], axis=-1)


def _bands(size: int, before: int, after: int, window: Window, axis: int) -> tuple[Band, ...]:
    met = taps_met(size, before, after, window, axis)
    edges = [0, *(np.flatnonzero((met[1:] != met[:-1]).any(axis=1)) + 1).tolist(), len(met)]
    ends = zip(edges[:-1], edges[1:], strict=True)
    return tuple(Band(first, end, met[first]) for first, end in ends)


def taps_met(size: int, before: int, after: int, window: Window, axis: int) -> BoolArray:
    """Which taps of each result along an axis meet an element, not padding: bool [O, kernel]."""
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    results = (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
    place = np.arange(results)[:, None] * stride + np.arange(kernel) * dilation - before
    return np.asarray((place >= 0) & (place < size))
