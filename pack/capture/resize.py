# SPDX-License-Identifier: Apache-2.0
"""Resizing by weights that do not depend on data. Imports torch.

A resize is a matrix along each axis: what it makes of single pixels of one. By a whole number s
these are s convolutions along the axis, the same everywhere with the border repeated outwards; of
both axes one depthwise convolution whose results lie in one another, as a transposed one's do. Any
other size is a Linear along each axis.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bramcast.pack.capture.state import Capture, Handler, Site, operand_of
from bramcast.pack.graph.ops import Dense, Depthwise
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, as_pixels
from bramcast.pack.graph.window import Window

REACH = 2  # pixels on either side that a cubic reads
EQUAL = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class _Phases:
    """Results s * j + p of an axis: weights [s, taps] of pixels j - before, .. j + behind."""

    weight: FloatArray
    before: int
    behind: int

    @classmethod
    def of(cls, matrix: FloatArray) -> "_Phases | None":
        """None where a matrix [out, size] is not the same everywhere."""
        outs, size = matrix.shape
        if outs % size or size < 2 * REACH + 1:
            return None
        step, middle = outs // size, size // 2
        taps = np.arange(-REACH, REACH + 1)
        weight = matrix[step * middle : step * (middle + 1)][:, middle + taps]
        repeated = np.zeros((size, step, size))
        for pixel in range(size):
            for number, tap in enumerate(taps):
                repeated[pixel, :, np.clip(pixel + tap, 0, size - 1)] += weight[:, number]
        if np.abs(repeated.reshape(outs, size) - matrix).max() > EQUAL:
            return None
        used = np.flatnonzero(np.abs(weight).max(axis=0) > EQUAL)
        first, last = min(int(used[0]), REACH), max(int(used[-1]), REACH)
        return cls(weight[:, first : last + 1], REACH - first, last - REACH)


def _resize(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    view, one_axis = operand_of(a), len(shape) == 2
    view = view.reshape(as_pixels(view.shape))
    if (view == ZERO).all():
        return np.full(shape, ZERO, np.int64)
    rows = np.eye(1) if one_axis else _matrix(state, a, 0, view.shape[1], 2)
    columns = _matrix(state, a, 1, view.shape[2], 1 if one_axis else 2)
    y, x = _Phases.of(rows), _Phases.of(columns)
    if one_axis:
        y = _Phases(np.ones((1, 1)), 0, 0)
    if y is not None and x is not None and not (view == ZERO).any():
        return _in_phases(state, site, view, y, x).reshape(shape)
    view = _along(state, site, view, rows, 1)
    return _along(state, site, view, columns, 2).reshape(shape)


def _matrix(state: Capture, a: dict[str, Any], axis: int, size: int, axes: int) -> FloatArray:
    """What the operator makes of each single pixel of an axis, [out, size]; the other has one."""
    assert state.call is not None
    shape = [1, size, 1, 1]
    shape[2 + axis] = size
    basis = torch.eye(size, dtype=torch.float64).reshape(shape)
    given = dict(a)
    for name, single in (("output_size", 1), ("scale_factors", 1.0)):
        if given.get(name) is not None:
            values = list(given[name])
            given[name] = [v if n == axis or axes == 1 else single for n, v in enumerate(values)]
    for n, name in enumerate(("scales_h", "scales_w")):
        if name in given and n != axis:
            given[name] = None
    name = "self" if "self" in given else "input"
    given[name] = basis if axes == 2 else basis[:, :, 0]
    result = state.call.target(**given).numpy()[0].reshape(size, -1)
    return np.ascontiguousarray(result.T)


def _in_phases(state: Capture, site: Site, view: IntArray, y: _Phases, x: _Phases) -> IntArray:
    channels, height, width = view.shape
    around = ((0, 0), (y.before, y.behind), (x.before, x.behind))
    padded = np.pad(view, around, mode="edge")
    kernel = np.einsum("pk,ql->pqkl", y.weight, x.weight)
    each = kernel.reshape(-1, *kernel.shape[2:])
    weight = np.tile(each, (channels, 1, 1))[:, None]
    out = (len(weight), height, width)
    kind = Depthwise if channels > 1 else Dense
    common = state.begin(site, kind, (padded,), out, out[0] * height * width * each[0].size)
    window = Window((each.shape[1], each.shape[2]))
    made = kind(**common, weight=weight, bias=np.zeros(len(weight)), window=window)
    steps = (len(y.weight), len(x.weight))
    numbers = state.add(made).reshape(channels, *steps, height, width)
    picture = numbers.transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(picture.reshape(channels, height * steps[0], width * steps[1]))


def _along(state: Capture, site: Site, view: IntArray, matrix: FloatArray, axis: int) -> IntArray:
    """A Linear along an axis of a picture [C, H, W]."""
    if np.array_equal(matrix, np.eye(len(matrix))):
        return view
    moved = np.ascontiguousarray(np.moveaxis(view, axis, 0))
    out = (len(matrix), moved.shape[1], moved.shape[2])
    common = state.begin(site, Dense, (moved,), out, matrix.size * moved[0].size)
    made = Dense(**common, weight=matrix[:, :, None, None], bias=np.zeros(len(matrix)))
    return np.ascontiguousarray(np.moveaxis(state.add(made), 0, axis))


RESIZED: dict[str, Handler] = {
    "upsample_bilinear2d": _resize,
    "upsample_linear1d": _resize,
    "upsample_bicubic2d": _resize,
}
