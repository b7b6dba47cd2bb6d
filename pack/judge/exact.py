# SPDX-License-Identifier: Apache-2.0
"""Networks of integers: whether the images compute exactly what forward() does.

Such a network rounds for itself, or its samples and weights are integers of a few bits (times
powers of two), so that its author expects the same numbers. What a format can't hold is said.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.grid import grid_of, rounds_to
from bramcast.pack.graph.ops import Op, Weighted
from bramcast.pack.graph.tensor import FloatArray, IntArray
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.run.calibrate import integer_results, real_results

FEW_BITS = 16  # of samples, and of the weights of one output channel; a float32 has 24
BIAS_BITS = 24  # an accumulator's unit is finer


def is_integer(values: FloatArray, bits: int = FEW_BITS) -> bool:
    """Whether all values are multiples of one power of two, none above 2**bits times that.

    >>> is_integer(np.array([0.5, -31.75])), is_integer(np.array([1.0, 2.0**-17]))
    (True, False)
    """
    grid = grid_of(values)
    return grid is not None and float(np.abs(values).max(initial=0.0)) * 2.0**grid <= 2.0**bits


def of_integers(graph: Graph, samples: FloatArray) -> bool:
    """Whether sums, maxima and averages of integers are all that there is.

    Args:
        samples: as ``Graph.framed`` gives them.
    """

    def small(op: Op) -> bool:
        if op.activation is not None:
            return False
        if not isinstance(op, Weighted):
            return True
        rows = op.weight.reshape(len(op.weight), -1)
        return all(is_integer(row) for row in rows) and is_integer(op.bias, BIAS_BITS)

    return is_integer(samples) and all(small(op) for op in graph.ops)


def exactness_notes(
    asked: Graph,
    graph: Graph,
    formats: Formats,
    quantized: dict[str, QuantizedOp],
    planes: Planes | None,
    samples: NDArray[np.floating],
) -> Iterator[str]:
    """What a network of integers loses, and where; nothing for others.

    Where forward() rounds, every layer that loses something by itself is named, else the first one.

    Args:
        asked: what forward() computes.
        graph: the same with the channel scales and biases that were quantized.
        samples: of calibration, real numbers [N, *sample shape].
    """
    exact = samples.astype(np.float64)
    rounds = any(op.rounds is not None for op in asked.ops)
    if not rounds and not of_integers(asked, asked.framed(exact)):
        return
    fmt = formats.of(graph.input)
    lost = _Lost(
        graph,
        quantized,
        real_results(asked, exact, planes),
        integer_results(graph, quantized, fmt, planes, exact),
    )
    notes = lost.notes(asked.framed(exact), fmt, planes)
    if rounds:
        yield from notes
    for note in notes:
        yield f"{note} (a network of integers is met exactly if it rounds and clamps to 8 bits)"
        return


@dataclass(frozen=True, slots=True, eq=False)
class _Lost:
    """Results of every operation by its name: forward()'s, float64, and the integers, int64."""

    graph: Graph
    quantized: dict[str, QuantizedOp]
    real: dict[str, FloatArray]
    integers: dict[str, IntArray]

    def notes(self, framed: FloatArray, fmt: QFormat, planes: Planes | None) -> Iterator[str]:
        """A sentence for each layer that does not make of exact operands what forward() makes."""
        other: set[int] = set()  # tensors that are not exactly what forward() has
        where = str(fmt) if planes is None else f"two planes of {fmt}"
        lost = int(((planes or fmt).rounded(framed) != framed).sum())
        if lost:
            other.add(self.graph.input.index)
            yield (
                f"input: {lost:,} of {framed.size:,} values of calibration samples lie outside or "
                f"between the numbers of {where}, so results can differ from forward()'s"
            )
        for op in self.graph.ops:
            follows = bool(other.intersection(self.graph.operands(op)))
            why = self._of(op, follows)
            if why is not None:
                yield f"layer {op.name!r}: {why}"
            if follows or why is not None:
                other.add(op.out.index)

    def _of(self, op: Op, follows: bool) -> str | None:
        """Why an operation's results can differ from forward()'s; None if they do not, or only
        as its operands do."""
        q, real = self.quantized[op.name], self.real[op.name]
        got = q.out.real(self.integers[op.name])
        differs = not follows and bool((got != real).any())
        if q.inexact and (op.rounds is not None or self.graph.is_wide(op) or differs):
            return (
                f"{q.inexact:,} of its weights and biases have no exact integers, so results can "
                "differ from forward()'s"
            )
        if op.rounds is not None and q.table is None and q.out.frac < op.rounds and q.shift.any():
            return (
                f"forward() rounds its results to {rounds_to(op)}, but {q.out} is what reaches "
                "them all: clamp them, or give output by hand"
            )
        if not differs:
            return None
        outside = int((q.out.rounded(real) != real).sum())
        if outside:
            return (
                f"{outside:,} of {real.size:,} results on calibration samples lie outside or "
                f"between the numbers of {q.out}, so they differ from forward()'s"
            )
        return (
            f"{int((got != real).sum()):,} of {real.size:,} results on calibration samples differ "
            "from forward()'s, as refining moved its channels or biases: set quantize.refine = "
            "false"
        )
