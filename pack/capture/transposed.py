# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions as ordinary ones: a convolution for each phase of the stride.

Along one axis, with stride s: the result's pixel s * j + a sums x[j + q - m] * w[r + s * m] over m,
where q, r = divmod(a + padding, s). So phase a is a convolution with every s-th weight, turned
round. All phases become one convolution with the channels of all, and one window.
"""

from dataclasses import dataclass

import numpy as np

from bramcast.pack.graph.tensor import FloatArray
from bramcast.pack.graph.window import Window


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: sizes of kernel, data and result in pixels; padding as PyTorch means it.

    >>> rows = Axis(kernel=3, stride=2, padding=1, size=4, out=8)
    >>> rows.count, rows.reach, rows.crop, rows.pads
    (4, (0, 1), (0, 4), (0, 1))
    >>> rows.weights(np.array([1.0, 2.0, 3.0]), 0, 0), rows.weights(np.array([1.0, 2.0, 3.0]), 0, 1)
    (array([2., 0.]), array([3., 1.]))
    """

    kernel: int
    stride: int
    padding: int
    size: int
    out: int

    @property
    def count(self) -> int:
        """Results of each phase; the last ones may lie behind the picture."""
        return -(-self.out // self.stride)

    def _phase(self, phase: int) -> tuple[int, int, int]:
        """Furthest pixel that result 0 of a phase reads, its first weight, its weights' number."""
        furthest, first = divmod(phase + self.padding, self.stride)
        return furthest, first, len(range(first, self.kernel, self.stride))

    @property
    def reach(self) -> tuple[int, int]:
        """The first and the last pixel that results 0 of all phases read."""
        phases = [self._phase(phase) for phase in range(self.stride)]
        return min(q - max(0, n - 1) for q, _, n in phases), max(q for q, _, _ in phases)

    @property
    def crop(self) -> tuple[int, int]:
        """The first pixel that any result reads, and the one behind the last."""
        low, high = self.reach
        return max(0, low), min(self.size, self.count + high)

    @property
    def pads(self) -> tuple[int, int]:
        """Zeros before and behind those."""
        low, high = self.reach
        return max(0, -low), max(0, self.count + high - self.size)

    def weights(self, weight: FloatArray, axis: int, phase: int) -> FloatArray:
        """A phase's weights along an array's axis, with zeros where only other phases have some."""
        furthest, first, taps = self._phase(phase)
        low, high = self.reach

        def every(start: int | None, step: int) -> FloatArray:
            index = [slice(None)] * weight.ndim
            index[axis] = slice(start, None, step)
            result: FloatArray = weight[tuple(index)]
            return result

        weight = every(first, self.stride)
        weight = every(None, -1)
        before = furthest - max(0, taps - 1) - low if taps else 0
        parts = [weight, weight, weight]
        for place, zeros in ((0, before), (2, high - low + 1 - taps - before)):
            shape = list(weight.shape)
            shape[axis] = zeros
            parts[place] = np.zeros(shape)
        result: FloatArray = np.concatenate(parts, axis=axis)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class AllPhases:
    """The convolution of all phases: channels are (group, phase y, phase x, channel in group).

    Attributes:
        weight: float64 [O, I / groups, KY, KX]; bias: float64 [O].
    """

    y: Axis
    x: Axis
    groups: int
    weight: FloatArray
    bias: FloatArray

    @property
    def window(self) -> Window:
        (top, bottom), (left, right) = self.y.pads, self.x.pads
        kernel = (int(self.weight.shape[2]), int(self.weight.shape[3]))
        return Window(kernel, padding=(top, left, bottom, right))


def all_phases(y: Axis, x: Axis, weight: FloatArray, bias: FloatArray, groups: int) -> AllPhases:
    """The one convolution for a transposed one.

    Args:
        weight: float64 [I, O / groups, KY, KX], as PyTorch has it; bias: float64 [O].
    """
    inputs, each = weight.shape[:2]
    weight = weight.reshape(groups, inputs // groups, each, *weight.shape[2:])
    weight = weight.transpose(0, 2, 1, 3, 4)
    phases = [
        x.weights(y.weights(weight, 3, row), 4, column)
        for row in range(y.stride)
        for column in range(x.stride)
    ]
    channels = groups * len(phases) * each
    stacked = np.stack(phases, axis=1)
    repeated = np.concatenate([bias.reshape(groups, 1, each)] * len(phases), axis=1)
    return AllPhases(
        y, x, groups,
        stacked.reshape(channels, inputs // groups, *phases[0].shape[3:]),
        repeated.reshape(channels),
    )  # fmt: skip


def from_one_pixel(y: Axis, x: Axis, weight: FloatArray) -> FloatArray:
    """The matrix [out y * out x * O, I] that makes a picture of a single pixel.

    Args:
        weight: float64 [I, O, KY, KX]; the rows are pixel by pixel, the channels of each together.
    """
    for axis, rows in ((2, y), (3, x)):
        index = [slice(None)] * 4
        index[axis] = slice(rows.padding, rows.padding + rows.out)
        weight = weight[tuple(index)]
        shape = list(weight.shape)
        shape[axis] = rows.out - shape[axis]  # output_padding: no weight reaches it
        weight = np.concatenate([weight, np.zeros(shape)], axis=axis)
    result: FloatArray = weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])
    return result
