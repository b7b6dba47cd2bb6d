# SPDX-License-Identifier: Apache-2.0
"""Functions that forward() makes of any operators: what their tables can't hold.

An 8-bit table has each code's own result; a code without a finite one has the end of the format, or
the result of the nearest code that has one. With 16 bits a table is straight lines: how far they
are off is said, and a function that jumps is refused.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.activations import Activation
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import MaxPool, Op
from bramcast.pack.graph.tensor import FloatArray, IntArray
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.line_tables import look_up
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.run import execute
from bramcast.pack.run.calibrate import integer_frame

HALVINGS = 40  # of a code's width, until what is left of a step is a jump
LEAST_JUMP = 2  # units in the last place of the result
SAMPLES = 256  # of calibration
BATCH = 32


def function_notes(
    graph: Graph,
    formats: Formats,
    quantized: dict[str, QuantizedOp],
    planes: Planes | None,
    samples: NDArray[np.floating],
) -> Iterator[str]:
    """A sentence for each function that meets codes without a result, or that lines replace.

    Args:
        samples: of calibration, real numbers [N, *sample shape].

    Raises:
        UnsupportedLayer: a function that jumps, with 16-bit data.
    """
    found = [_Table.of(graph, formats, op, quantized[op.name]) for op in graph.ops]
    tables = [table for table in found if table is not None]
    if not tables:
        return
    fmt = formats.of(graph.input)
    _count(graph, quantized, _frames(graph, fmt, planes, samples[:SAMPLES]), tables)
    for table in tables:
        yield from table.notes()


def _frames(
    graph: Graph, fmt: QFormat, planes: Planes | None, samples: NDArray[np.floating]
) -> Iterator[torch.Tensor]:
    """Samples as frames of integers, batch by batch."""
    for batch in execute.batches(samples, BATCH):
        yield integer_frame(graph, fmt, planes, batch)


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """A table of such a function, and how often calibration meets each of its codes.

    Attributes:
        counts: by the code's bits, int64 [2**bits].
    """

    op: Op
    activation: Activation
    seen: QFormat
    out: QFormat
    table: IntArray
    counts: IntArray

    @classmethod
    def of(cls, graph: Graph, formats: Formats, op: Op, q: QuantizedOp) -> "_Table | None":
        """None where there is no table, or one of a known activation that has all its results."""
        if op.activation is None or q.table is None:
            return None
        seen = formats.of(graph.owners(op.view)[0])
        seen = seen if isinstance(op, MaxPool) else formats.clamped(op)
        made = cls(op, op.activation, seen, q.out, q.table, np.zeros(1 << seen.bits, np.int64))
        return made if op.activation.operators or made._without(made._codes()).any() else None

    def _codes(self) -> IntArray:
        return np.arange(self.seen.min, self.seen.max + 1, dtype=np.int64)

    def _without(self, codes: IntArray) -> NDArray[np.bool_]:
        """Which codes have no finite result."""
        results = np.asarray(self.activation.apply(self.seen.real(codes)))
        return np.asarray(~np.isfinite(results), np.bool_)

    @property
    def _names(self) -> str:
        names = self.activation.operators or [str(self.activation)]
        return ", ".join(dict.fromkeys(names))

    def notes(self) -> Iterator[str]:
        codes = self._codes()
        counts = self.counts[codes & (len(self.counts) - 1)]
        reached = codes[counts > 0]
        if not reached.size:
            return
        lost = int(counts[self._without(codes)].sum())
        if lost:
            yield (
                f"layer {self.op.name!r}: {self._names} has no finite result for {lost:,} of the "
                f"{int(counts.sum()):,} values that it meets on calibration samples: they get the "
                f"end of {self.out}, or what the nearest value with a result has"
            )
        if "round_even" in self.activation.operators and self.seen.bits == 8:
            yield (
                f"layer {self.op.name!r}: round() is a table of 8-bit values, so what lies near a "
                "tie may be rounded to the other side: torch.floor(x + 0.5) is exact"
            )
        if self.seen.bits > 8 and self.activation.operators:
            inside = np.arange(reached.min(), reached.max() + 1, dtype=np.int64)
            self._refuse_jump(inside)
            yield from self._error(inside)

    def _error(self, codes: IntArray) -> Iterator[str]:
        want = self._results(self.seen.real(codes))
        error = np.abs(self.out.real(look_up(self.table, codes)) - want)
        worst = float(error.max())
        yield (
            f"layer {self.op.name!r}: with 16-bit data {self._names} is straight lines, at most "
            f"{worst:.2g} off ({worst / self.out.lsb:.0f} LSB of {self.out}) where calibration "
            "samples lie"
        )

    def _results(self, values: FloatArray) -> FloatArray:
        """The function within the result's format."""
        ends = self.out.min * self.out.lsb, self.out.max * self.out.lsb
        return np.clip(self.activation.numbers(values), *ends)

    def _refuse_jump(self, codes: IntArray) -> None:
        place = jump(self._results, self.seen.real(codes), LEAST_JUMP * self.out.lsb)
        if place is not None:
            raise UnsupportedLayer(
                f"{self.op.source}: layer {self.op.name!r}: {self._names} jumps at {place:.6g}, "
                "and with 16-bit data a function is straight lines: set "
                "quantize.activation_bits = 8, where it is a table"
            )


def jump(
    function: Callable[[FloatArray], FloatArray], points: FloatArray, least: float
) -> float | None:
    """Where a function makes a step of more than ``least`` that does not shrink, however near the
    points; None where it does not.

    >>> jump(np.sign, np.array([-1.0, 0.5]), 0.1), jump(np.tanh, np.array([-9.0, 9.0]), 0.1)
    (0.0, None)
    """
    left, right = points[:-1], points[1:]
    at_left, at_right = function(left), function(right)
    for _ in range(HALVINGS):
        steep = np.abs(at_right - at_left) > least
        if not steep.any():
            return None
        left, right, at_left, at_right = (v[steep] for v in (left, right, at_left, at_right))
        middle = 0.5 * (left + right)
        at_middle = function(middle)
        low = np.abs(at_middle - at_left) >= np.abs(at_right - at_middle)
        left, at_left = np.where(low, left, middle), np.where(low, at_left, at_middle)
        right, at_right = np.where(low, middle, right), np.where(low, at_middle, at_right)
    steep = np.abs(at_right - at_left) > least
    return float(np.round(left[steep][0], 9)) + 0.0 if steep.any() else None


def _count(
    graph: Graph,
    quantized: dict[str, QuantizedOp],
    frames: Iterator[torch.Tensor],
    tables: list[_Table],
) -> None:
    """Run the quantized graph and count what the tables meet."""
    by_name = {table.op.name: table for table in tables}

    def compute(op: Op, operands: list[torch.Tensor]) -> torch.Tensor:
        q = quantized[op.name]
        total = execute.accumulated(op, q, operands)
        table = by_name.get(op.name)
        if table is not None:
            codes = execute.narrowed(replace(q, table=None), total).to(torch.int64).numpy()
            bits = codes.ravel() & (len(table.counts) - 1)
            table.counts[:] += np.bincount(bits, minlength=len(table.counts))
        return execute.narrowed(q, total)

    with torch.no_grad():
        for frame in frames:
            for _ in execute.run(graph, frame, compute):
                pass
