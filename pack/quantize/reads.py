# SPDX-License-Identifier: Apache-2.0
"""What calibration has seen of the inputs that an operation's weights meet.

The rounding error of a weight costs what its input makes of it: the mean of input times error is a
constant, which the bias takes, and what varies is the error times the input's deviation. So an
input that stands still costs nothing, however large a weight a folded normalisation gives it.
"""

from dataclasses import dataclass, field
from itertools import count

import numpy as np

from bramcast.pack.graph.border import taps_met
from bramcast.pack.graph.ops import Weighted
from bramcast.pack.graph.tensor import FloatArray

_NUMBERS = count()


@dataclass(slots=True, eq=False)
class Reads:
    """Mean and variance of each input channel of a dense or depthwise operation.

    ``number`` is its own among all that were ever made.
    """

    first: FloatArray = field(default_factory=lambda: np.zeros(0))  # [C], one value of each
    total: FloatArray = field(default_factory=lambda: np.zeros(0))  # of what is above ``first``
    squares: FloatArray = field(default_factory=lambda: np.zeros(0))
    count: int = 0
    number: int = field(default_factory=lambda: next(_NUMBERS))

    def observe(self, values: FloatArray) -> None:
        """Take in operands, float64 [N, C, H, W]."""
        if not self.first.size:
            self.first = values[0, :, 0, 0].copy()
            self.total, self.squares = np.zeros(len(self.first)), np.zeros(len(self.first))
        moved = values - self.first[:, None, None]
        self.total += moved.sum(axis=(0, 2, 3))
        self.squares += (moved * moved).sum(axis=(0, 2, 3))
        self.count += values.size // len(self.first)

    @property
    def mean(self) -> FloatArray:
        """Float64 [C].

        >>> r = Reads(); r.observe(np.array([[[[2048.0]], [[1.0]]], [[[2048.0]], [[3.0]]]]))
        >>> r.mean.tolist(), r.variance.tolist()
        ([2048.0, 2.0], [0.0, 1.0])
        """
        return np.asarray(self.first + self.total / self.count)

    @property
    def variance(self) -> FloatArray:
        """Float64 [C]; exactly 0 where an input never moves."""
        mean = self.total / self.count
        return np.asarray(np.maximum(self.squares / self.count - mean * mean, 0.0))

    def by_tap(self, op: Weighted) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of what each weight meets, zeros of the padding counted in.

        Where the biases know the padding (``op.tap_bias``) the mean is that of the elements alone,
        and the variance counts as often as a tap meets one.

        Returns:
            Both float64 [O, fan-in], as the rows of ``op.weight``.
        """
        share = _shares(op)
        if op.tap_bias.size:
            mean = np.broadcast_to(self.mean[:, None, None], (len(self.mean), *share.shape))
            variance = self.variance[:, None, None] * share
        else:
            mean = self.mean[:, None, None] * share
            squares = (self.variance + self.mean**2)[:, None, None] * share
            variance = np.where(share == 1.0, self.variance[:, None, None], squares - mean**2)
        outputs = len(op.weight)
        return mean[op.inputs].reshape(outputs, -1), variance[op.inputs].reshape(outputs, -1)


def _shares(op: Weighted) -> FloatArray:
    """In which share of the results each tap meets an element, not padding: float64 [KY, KX]."""
    top, left, bottom, right = op.window.padding
    height, width = op.view.shape[1:]
    rows = taps_met(height, top, bottom, op.window, 0).mean(axis=0)
    columns = taps_met(width, left, right, op.window, 1).mean(axis=0)
    return np.asarray(rows[:, None] * columns[None, :])
