# SPDX-License-Identifier: Apache-2.0
"""Stored tensors and views of their elements.

Every element of every stored tensor has a number of its own. A *view* is an int64 array of such
numbers in the shape that the network's author sees (without the batch axis); ``ZERO`` marks a
constant zero. Reshape, permute, slice, concat and zero padding only make new views: they cost
nothing until an operation reads one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

ZERO = -1


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that will lie in the scratchpad.

    Element (c, y, x) has the number first + (c * height + y) * width + x.
    """

    index: int
    name: str
    channels: int
    height: int
    width: int
    first: int

    @property
    def elements(self) -> int:
        return self.channels * self.height * self.width

    @property
    def ids(self) -> IntArray:
        """The numbers of all elements, int64 [channels, height, width]."""
        numbers = np.arange(self.first, self.first + self.elements, dtype=np.int64)
        return numbers.reshape(self.channels, self.height, self.width)

    @property
    def end(self) -> int:
        """The number behind the last element's."""
        return self.first + self.elements

    def mine(self, view: IntArray) -> NDArray[np.bool_]:
        """Which elements of a view are this tensor's, of the view's shape."""
        return np.asarray((view >= self.first) & (view < self.end))


def seen_through(view: IntArray, old: Tensor, numbers: IntArray) -> IntArray:
    """A view that shows ``numbers`` (one for each element of ``old``) in place of ``old``."""
    mine = old.mine(view)
    if not mine.any():
        return view
    result = view.copy()
    result[mine] = numbers.ravel()[view[mine] - old.first]
    return result


def is_whole(view: IntArray, tensor: Tensor) -> bool:
    """Whether a view shows every element of ``tensor`` exactly once, in any order."""
    if view.size != tensor.elements:
        return False
    order = np.sort(view.ravel())
    return bool(order[0] == tensor.first and (np.diff(order) == 1).all())


def strip_zeros(view: IntArray) -> tuple[IntArray, tuple[int, int, int, int]]:
    """Cut a border of constant zeros off a [C, H, W] view.

    Returns:
        The inner view and the border's widths (top, left, bottom, right). A view of nothing but
        zeros comes back as it is.
    """
    filled = view != ZERO
    rows = np.flatnonzero(filled.any(axis=(0, 2)))
    columns = np.flatnonzero(filled.any(axis=(0, 1)))
    if not rows.size:
        return view, (0, 0, 0, 0)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    border = (top, left, view.shape[1] - bottom, view.shape[2] - right)
    return view[:, top:bottom, left:right], border


def as_pixels(shape: Sequence[int]) -> tuple[int, int, int]:
    """How an array [C], [C, L] or [C, H, W] is taken as (channels, height, width); of more axes
    those in the middle are one. A single number is one of them all.

    >>> as_pixels(())
    (1, 1, 1)
    >>> as_pixels((12,)), as_pixels((4, 9)), as_pixels((3, 8, 6)), as_pixels((2, 5, 8, 6))
    ((12, 1, 1), (4, 1, 9), (3, 8, 6), (2, 40, 6))
    """
    if len(shape) < 2:
        return prod(shape), 1, 1
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    return shape[0], prod(shape[1:-1]), shape[-1]
