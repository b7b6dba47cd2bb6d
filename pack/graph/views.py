# SPDX-License-Identifier: Apache-2.0
"""Views as nests take them: whose pixels they show, and whether these are points."""

from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from bramcast.pack.graph.graph import Questions
from bramcast.pack.graph.ops import Dense, Op
from bramcast.pack.graph.tensor import ZERO, IntArray, strip_zeros


@dataclass(frozen=True, slots=True)
class PixelView:
    """A [C, H, W] view whose channels all move together over the pixels of stored tensors.

    View pixel (i, j) reads pixel ``numbers[i, j]`` (y * width + x in the stored tensor), channel
    ``channel[c]`` of ``tensor[c]``; tensor[c] is -1 where the whole channel is constant zero.
    ``border`` is what was cut off (top, left, bottom, right).
    """

    tensor: IntArray
    channel: IntArray
    numbers: IntArray
    border: tuple[int, int, int, int]


def pixel_view(graph: Questions, view: IntArray) -> PixelView | None:
    """The regular structure of a [C, H, W] view, or None where it has none."""
    inner, border = strip_zeros(view)
    channels, height, width = inner.shape
    flat = inner.reshape(channels, -1)
    empty = (flat == ZERO).all(axis=1)
    if (flat[~empty] == ZERO).any() or empty.all():
        return None
    firsts = graph.firsts
    owner = np.where(empty[:, None], -1, np.searchsorted(firsts, flat, side="right") - 1)
    if (owner != owner[:, :1]).any():
        return None
    tensor = owner[:, 0]
    sizes = np.array([(t.height, t.width) for t in graph.tensors], dtype=np.int64)
    if len({(int(h), int(w)) for h, w in sizes[tensor[~empty]]}) != 1:
        return None
    tall, wide = (int(v) for v in sizes[tensor[~empty][0]])
    local = flat[~empty] - firsts[tensor[~empty]][:, None]
    channel = np.full(channels, -1, np.int64)
    channel[~empty] = local[:, 0] // (tall * wide)
    pixel = local % (tall * wide)
    if (local // (tall * wide) != channel[~empty][:, None]).any() or (pixel != pixel[:1]).any():
        return None
    numbers = pixel[0].reshape(height, width)
    if grid_steps(numbers) is None:
        return None
    return PixelView(tensor, channel, numbers, border)


def grid_steps(values: IntArray) -> tuple[int, int] | None:
    """Steps (y, x) of an evenly spaced [H, W] array."""
    height, width = values.shape
    sy = int(values[1, 0] - values[0, 0]) if height > 1 else 0
    sx = int(values[0, 1] - values[0, 0]) if width > 1 else 0
    grid = values[0, 0] + sy * np.arange(height)[:, None] + sx * np.arange(width)[None, :]
    return None if (values != grid).any() else (sy, sx)


def strides_of(order: IntArray) -> list[int] | None:
    """Strides of an affine order, none of them negative: order[y, x, c] = y * s0 + x * s1 + c * s2.

    >>> strides_of(np.arange(6).reshape(1, 2, 3)), strides_of(np.array([[[1, 0]]]))
    ([0, 3, 1], None)
    """
    strides = [
        int(np.moveaxis(order, axis, 0)[1, 0, 0]) if size > 1 else 0
        for axis, size in enumerate(order.shape)
    ]
    grid = sum(s * g for s, g in zip(strides, np.indices(order.shape), strict=True))
    return strides if np.array_equal(order, grid) and min(strides) >= 0 else None


def places_of(order: IntArray) -> tuple[list[int], list[int]] | None:
    """Strides of an order whose channels may lie at no even distance, and the places of these.

    order[y, x, c] = y * s0 + x * s1 + places[c]; places are empty where strides do, [s0, s1, s2].

    >>> places_of(np.array([[[2, 0]], [[6, 4]]])), places_of(np.array([[[1]], [[0]]]))
    (([4, 0, 0], [2, 0]), None)
    """
    strides = strides_of(order)
    if strides is not None:
        return strides, []
    places = order[0, 0]
    rest = order - places
    strides = strides_of(rest[:, :, :1])
    if strides is None or (rest != rest[:, :, :1]).any():
        return None
    return strides, places.tolist()


def is_point(view: IntArray) -> bool:
    """Whether a view is one pixel (beside constant zeros): its elements may lie anywhere."""
    return strip_zeros(view)[0].shape[1:] == (1, 1)


def is_flat(op: Op) -> TypeGuard[Dense]:
    """Whether a dense op sees one pixel only: it may read elements wherever they lie."""
    if not isinstance(op, Dense) or op.groups > 1 or op.view.shape[1:] != (1, 1):
        return False
    return op.window.kernel == (1, 1) and not any(op.window.padding)
