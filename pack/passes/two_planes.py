# SPDX-License-Identifier: Apache-2.0
"""Two-plane input: each feature comes as a coarse and a fine element, worth about 11 bits.

W x     ->     W hi + (W 2**-s) lo,     x = hi + 2**-s lo
"""

from dataclasses import dataclass, replace
from math import log2

import numpy as np

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Dense, Op
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, Tensor


@dataclass(frozen=True, slots=True)
class Planes:
    """value = (hi + lo * 2**-shift) * fmt.lsb, hi and lo integers of the same format."""

    fmt: QFormat
    shift: int

    def split(self, values: FloatArray) -> tuple[IntArray, IntArray]:
        """hi and lo of real values, int64 of the same shape.

        >>> hi, lo = Planes(QFormat(8, 0), 4).split(np.array([1.25, -3.0, 130.0]))
        >>> hi, lo
        (array([  1,  -3, 127]), array([ 4,  0, 48]))
        """
        hi = self.fmt.quantize(values)
        rest = (np.asarray(values, np.float64) / self.fmt.lsb - hi) * 2.0**self.shift
        return hi, QFormat(self.fmt.bits, 0).quantize(rest)

    def real(self, hi: IntArray, lo: IntArray) -> FloatArray:
        """The real values that two planes stand for."""
        return (hi + lo * 2.0**-self.shift) * self.fmt.lsb

    def rounded(self, values: FloatArray) -> FloatArray:
        """What is left of real values in two planes, as ``QFormat.rounded`` for one."""
        return self.real(*self.split(values))


def can_split(graph: Graph) -> bool:
    """Whether every reader of the input is a dense layer that reads nothing else."""
    readers = graph.consumers(graph.input)
    return bool(readers) and all(
        isinstance(op, Dense) and op.groups == 1 and graph.owners(op.view) == [graph.input]
        for op in readers
    )


def choose_planes(values: FloatArray, bits: int, weights: list[FloatArray]) -> Planes:
    """Format and distance of the planes with the least error.

    The fine plane's weights are rounded to the coarse one's LSB, so a larger distance trades
    the data's error for the weights': the optimum is 2**(4 k) = 12 * mean(w**2), w in LSBs.
    """
    squares = []
    for weight in weights:
        rows = np.abs(weight.reshape(len(weight), -1))
        top = rows.max(axis=1, keepdims=True)
        scaled = rows / np.where(top > 0, top, 1.0) * 96.0
        squares.append(float(np.mean(scaled**2)))
    shift = max(2, min(6, round(log2(12.0 * max(float(np.mean(squares)), 1.0)) / 4)))
    magnitude = max(float(np.abs(values).max()), 1e-30)
    start = int(np.floor(log2((1 << (bits - 1)) / magnitude)))

    def error(frac: int) -> float:
        planes = Planes(QFormat(bits, frac), shift)
        return float(np.mean((planes.rounded(values) - values) ** 2))

    return Planes(QFormat(bits, min(range(start, start + 4), key=error)), shift)


def split_input(graph: Graph, shift: int) -> Graph:
    """Double the input's channels: 2c is the coarse, 2c + 1 the fine plane of c.

    The fine plane's real values are held 2**shift too large, so both planes have one format;
    their weights are smaller by the same factor.
    """
    old = graph.input
    added = old.elements
    new = Tensor(0, old.name, 2 * old.channels, old.height, old.width, 0)
    readers = set(graph.consumers(old))
    area = old.height * old.width

    def moved(view: IntArray) -> IntArray:
        return np.where(view >= old.elements, view + added, view)

    def doubled(view: IntArray) -> IntArray:
        channel, pixel = np.divmod(view, area)
        hi = np.where(view == ZERO, ZERO, 2 * channel * area + pixel)
        lo = np.where(view == ZERO, ZERO, (2 * channel + 1) * area + pixel)
        return np.stack([hi, lo], axis=1).reshape(2 * len(view), *view.shape[1:])

    tensors = (new, *(replace(t, first=t.first + added) for t in graph.tensors[1:]))
    ops: list[Op] = []
    for op in graph.ops:
        out = tensors[op.out.index]
        if op in readers:
            assert isinstance(op, Dense), "can_split() said so"
            fine = op.weight * 2.0**-shift
            weight = np.stack([op.weight, fine], axis=2)
            shape = (op.weight.shape[0], 2 * op.weight.shape[1], *op.weight.shape[2:])
            views: tuple[IntArray, ...] = (doubled(op.view),)
            ops.append(replace(op, views=views, out=out, weight=weight.reshape(shape)))
        else:
            ops.append(replace(op, views=tuple(moved(v) for v in op.views), out=out))
    return replace(graph, tensors=tensors, ops=tuple(ops), output=moved(graph.output))
