# SPDX-License-Identifier: Apache-2.0
"""Several neighbouring pixels of a row as one, where a layer has fewer channels than a core lanes.

``n`` results side by side are one result with n times the channels, whose window moves n times as
far and covers all of theirs. Each channel's weights are zero where only the other pixels read:

    y[2X + j] = sum over k of w[k] x[2X + j + k]     window of 3, 2 pixels side by side:

    x[2X .. 2X+3]     w0 w1 w2 0     -> pixel j = 0, the first half of the lanes
                      0  w0 w1 w2    -> pixel j = 1, the second half

4 taps for two pixels instead of 6. The pixels lie in one sub-word, LANES / n elements apart, so
those that read element by element still find every pixel at an even distance. The additions of two
such pictures are as wide as a word; a depthwise layer is a dense one, with a weight for one of the
inputs only, which with several taps can be faster than lane by lane.
"""

from dataclasses import dataclass, replace
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Add, Dense, Depthwise, Op
from bramcast.pack.graph.tensor import IntArray
from bramcast.pack.graph.views import is_flat
from bramcast.pack.graph.window import Window
from bramcast.pack.lower.walks import Layout, Placement
from bramcast.pack.quantize.op import QuantizedOp


def can_widen(op: Op) -> bool:
    """Whether pixels of a layer may be computed side by side."""
    if isinstance(op, Add):
        return op.out.width > 1
    if not isinstance(op, Dense | Depthwise) or op.exact or op.tap_bias.size or op.out.width == 1:
        return False
    return isinstance(op, Depthwise) or (op.groups == 1 and not is_flat(op))


def pixels_beside(op: Op, layout: Layout) -> int:
    """How many pixels of an operation are one: those of a group of results."""
    count = layout.beside.get(op.out.index, 1)
    if not isinstance(op, Add):
        return count // gcd(count, layout.across.get(op.out.index, 1))
    return count * layout.taps if count > 1 else 1


def widened(op: Op, count: int) -> Op:
    """The operation with ``count`` pixels of a row as one; channels are (pixel, channel)."""
    if count == 1:
        return op
    if isinstance(op, Depthwise):
        weight = _for_all_inputs(op, op.weight)
        op = Dense(**op.common, window=op.window, weight=weight, bias=op.bias)
    out = replace(op.out, channels=count * op.out.channels, width=-(-op.out.width // count))
    if isinstance(op, Dense):
        window, weight = _widened_window(op.window, count), _widened_weight(op, op.weight, count)
        return replace(op, out=out, window=window, weight=weight, bias=np.tile(op.bias, count))
    assert isinstance(op, Add) and op.out.width % count == 0, "checked by can_widen"
    views = tuple(_side_by_side(view, count) for view in op.views)
    return replace(op, out=out, views=views, bias=np.tile(op.bias, count))


def widened_integers(op: Op, q: QuantizedOp, count: int) -> QuantizedOp:
    """The integers of ``widened(op, count)``."""
    if count == 1:
        return q
    weight = q.weight
    if isinstance(op, Depthwise):
        weight = _for_all_inputs(op, weight)
    if isinstance(op, Dense | Depthwise):
        weight = _widened_weight(op, weight, count)
    return replace(
        q, weight=weight, bias=np.tile(q.bias, count), shift=np.tile(q.shift, count),
        weight_frac=q.weight_frac * count,
    )  # fmt: skip


def widened_place(place: Placement, count: int) -> Placement:
    """Where the results of ``widened(op, count)`` lie."""
    if count == 1:
        return place
    pixel = np.arange(count, dtype=np.int64)[:, None] * place.pitch
    return replace(
        place, pitch=count * place.pitch, position=(pixel + place.position).ravel(),
        width=-(-place.width // count), span=count * place.pitch,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What of a dense operation is computed by itself.

    Attributes:
        op: the operation with these channels alone, and as much of its window as they need; that
            may begin inside the view, and its padding be less than zero.
        chosen: the channels, int64 [n].
        window: rows and columns of the whole window.
    """

    op: Dense
    chosen: IntArray
    window: tuple[slice, slice]

    def of_weight(self, weight: IntArray) -> IntArray:
        """The part's weights of the whole operation's [O, I, KY, KX]."""
        return weight[self.chosen][:, :, *self.window]


def dense_parts(op: Dense, layout: Layout) -> list[Part]:
    """A dense operation whose pixels are wide already, by the sub-words that it writes.

    Phases of a row, each with other weights, are computed side by side where they lie so; else each
    by itself, with its own part of the window.
    """
    index, across = op.out.index, layout.across.get(op.out.index, 1)
    count = across // gcd(across, layout.beside.get(index, 1))
    if count == 1:
        whole = slice(0, op.window.kernel[0]), slice(0, op.window.kernel[1])
        return [Part(op, np.arange(len(op.weight)), whole)]
    return [_part(op, chosen) for chosen in np.split(np.arange(len(op.weight)), count)]


def _part(op: Dense, chosen: IntArray) -> Part:
    """These channels, without what only others read of the window."""
    used, edges = (op.weight[chosen] != 0).any(axis=(0, 1)), []
    for axis in (1, 0):
        filled = np.flatnonzero(used.any(axis=axis))
        edges.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 1))
    rows, columns = edges
    old = op.window
    top, left, below, behind = old.padding
    (dy, dx) = old.dilation
    padding = (top - rows.start * dy, left - columns.start * dx, below, behind)
    kernel = (rows.stop - rows.start, columns.stop - columns.start)
    alone = op.of_outputs(chosen)
    window = replace(old, kernel=kernel, padding=padding)
    weight = alone.weight[:, :, rows, columns]
    return Part(replace(alone, weight=weight, window=window), chosen, (rows, columns))


def _offsets(window: Window, count: int) -> tuple[int, IntArray]:
    """Distance between taps of the wide window, and where each pixel's own taps are in it.

    >>> _offsets(Window((1, 3), (1, 2)), 2)
    (1, array([[0, 1, 2],
           [2, 3, 4]]))
    """
    (_, kernel), stride, dilation = window.kernel, window.stride[1], window.dilation[1]
    step = gcd(stride, dilation) if kernel > 1 else stride
    pixel, tap = np.arange(count)[:, None], np.arange(kernel)
    return step, (pixel * stride + tap * dilation) // step


def _widened_window(window: Window, count: int) -> Window:
    step, offsets = _offsets(window, count)
    rows, stride, dilation = window.kernel[0], window.stride, window.dilation
    kernel = (rows, int(offsets.max()) + 1)
    return Window(kernel, (stride[0], count * stride[1]), (dilation[0], step), window.padding)


def _for_all_inputs(op: Depthwise, weight: NDArray[Any]) -> NDArray[Any]:
    """Weights [O, 1, KY, KX] for every input: zeros but for the channel's own."""
    outputs, inputs = len(weight), len(op.view)
    whole = np.zeros((outputs, inputs, *weight.shape[2:]), weight.dtype)
    whole[np.arange(outputs), np.arange(outputs) * inputs // outputs] = weight[:, 0]
    return whole


def _widened_weight(op: Dense | Depthwise, weight: NDArray[Any], count: int) -> NDArray[Any]:
    """The weights of all pixels, [count * O, I, KY, wider KX]."""
    _, offsets = _offsets(op.window, count)
    outputs, inputs, rows, _ = weight.shape
    wide = np.zeros((count, outputs, inputs, rows, int(offsets.max()) + 1), weight.dtype)
    for pixel, columns in enumerate(offsets):
        wide[pixel][..., columns] = weight
    return wide.reshape(count * outputs, *wide.shape[2:])


def _side_by_side(view: IntArray, count: int) -> IntArray:
    """A view whose pixels are ``count`` neighbours each: channels are (pixel, channel)."""
    return np.concatenate([view[:, :, pixel::count] for pixel in range(count)])


class Unfit(Exception):
    """Pixels side by side can't be read where they lie, or not be written there."""


def check_words_beside(graph: Graph, layout: Layout, op: Op) -> None:
    """Lane by lane, two pictures with the same pixels in each word are added, and nothing else.

    Depthwise layers that have several pixels side by side are dense.

    Raises:
        Unfit: an operand lies otherwise, or a row ends within a word.
    """
    count = layout.beside.get(op.out.index)
    if count is None or not isinstance(op, Add) or op.out.width % (count * layout.taps):
        raise Unfit
    for view in op.views:
        tensor = graph.owners(view)[0]
        if layout.beside.get(tensor.index) != count or not np.array_equal(view, tensor.ids):
            raise Unfit
