# SPDX-License-Identifier: Apache-2.0
"""Activation tables for 16-bit data: 256 straight lines, one for each upper byte of what is seen.

An entry is a start and a slope; a value v = 256 * i + rest lies on line i:

    result = start + ((slope * rest + 128) >> 8)        rest = v & 255, i = (v >> 8) & 255

``start`` and ``start + slope`` are results themselves, rounded and saturated. slope * rest / 256
lies between 0 and slope, both integers, and so does its rounded value: no result leaves the range
between the line's ends, and the core needs no clamp behind the table.
"""

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.activations import Activation

LINES = 256
REST_BITS = 8
SLOPES = -(1 << 15), (1 << 15) - 1

IntArray = NDArray[np.int64]


def line_table(activation: Activation, seen: QFormat, out: QFormat) -> IntArray:
    """Start and slope of each line, int64 [256, 2]; entry i is for values whose upper byte is i.

    A line is parallel to the chord between the function's values at both ends, and lies between the
    chord and the function: half the chord's error, of both signs. A slope that needs 17 bits (the
    function jumps over half of the output's range within a line) saturates; ``_choose_seen``
    measures that error like any other.

    >>> from bramcast.pack.graph.activations import Function
    >>> double = Activation((Function("scale", (2.0, 0.5)),))
    >>> line_table(double, QFormat(16, 12), QFormat(16, 12))[[0, 1, 255]]
    array([[2048,  512],
           [2560,  512],
           [1536,  512]])
    >>> line_table(double, QFormat(16, 0), QFormat(16, 0, False))[[0, 64, 127, 128]]
    array([[    1,   512],
           [32769,   512],
           [65025,   510],
           [    0,     0]])
    """
    index = np.arange(LINES, dtype=np.int64)
    first = (index - ((index >> 7) << 8) if seen.signed else index) << REST_BITS
    points = first[:, None] + np.array([0, 1 << (REST_BITS - 1), 1 << REST_BITS])
    values = activation.numbers(seen.real(points))
    ends = values[:, ::2]
    shifted = ends + 0.5 * (values[:, 1:2] - ends.mean(axis=1, keepdims=True))
    start, end = out.quantize(np.clip(shifted, *activation.bounds)).T
    return np.stack([start, np.clip(end - start, *SLOPES)], axis=1)


def look_up(table: IntArray, values: IntArray) -> IntArray:
    """What the core makes of clamped values, any shape: of 8 bits, or of 16 with lines.

    >>> look_up(np.array([[100, -3]] * 256), np.array([0, 42, 43, 128, 255, 256]))
    array([100, 100,  99,  99,  97, 100])
    """
    if table.ndim == 1:
        return np.asarray(table[values & 255])
    line = table[(values >> REST_BITS) & (LINES - 1)]
    rest = values & ((1 << REST_BITS) - 1)
    return np.asarray(line[..., 0] + ((line[..., 1] * rest + 128) >> REST_BITS))
