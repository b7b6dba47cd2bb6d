# SPDX-License-Identifier: Apache-2.0
"""The integers of one operation."""

from dataclasses import dataclass, field

import numpy as np

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.tensor import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedOp:
    """The integers of one operation.

    Attributes:
        weight: int64, shape of the operation's ``weight``.
        bias, shift: int64 [C].
        border: what results along the border have beside the bias, int64 [C, bands of rows, bands
            of columns] (``Bands``); empty where every result has the same.
        lo, hi: clamp of the requantized value.
        out: the result's format (32 bits if wide).
        bound: largest possible |accumulator + bias|, over all channels.
        weight_bits: width of a stored weight.
        table: int64 [256], the result for each low byte of the clamped value; 16 bits: lines,
            int64 [256, 2]; None without one.
        weight_frac: fraction length of each output channel's weights; empty without weights.
        saturated: weights that their format can't hold.
        spared: those of them whose inputs hardly move in calibration, so that it costs nothing.
        inexact: weights and biases that their integers are not exactly.
    """

    weight: IntArray
    bias: IntArray
    shift: IntArray
    lo: int
    hi: int
    out: QFormat
    bound: int
    weight_bits: int = 8
    table: IntArray | None = None
    weight_frac: tuple[int, ...] = ()
    saturated: int = 0
    inexact: int = 0
    spared: int = 0
    border: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
