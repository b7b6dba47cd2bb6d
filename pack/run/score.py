# SPDX-License-Identifier: Apache-2.0
"""Measures how near a quantized graph's output comes to the real one, for many candidates.

Candidates differ little, so what they share is computed once: integers of operations in equal
circumstances (``quantize``'s ``known``), and the results up to the first operation that differs.
Most candidates are worse, and some samples are enough to see it. Imports torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import RangeError
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Op, Weighted, weights_of
from bramcast.pack.graph.tensor import FloatArray
from bramcast.pack.graph.twins import twins_of
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.quantize.cache import IntegerCache
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.integers import quantize
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.run import execute
from bramcast.pack.run.calibrate import frame_values, integer_frame

SCREEN = 32  # samples on which a candidate must not be much worse
SCREEN_LOSS_DB = 1.0
PERFECT_DB = 60.0  # nothing is to be won beyond

Store = dict[int, torch.Tensor]


class Scorer:
    """Runs candidates on the same samples and compares them with the last accepted one."""

    def __init__(
        self,
        graph: Graph,
        samples: NDArray[np.floating],
        planes: Planes | None,
        weight_bits: Mapping[str, int],
    ) -> None:
        self._planes, self._weight_bits = planes, weight_bits
        largest = max(t.elements for t in graph.tensors)
        size = max(1, min(SCREEN, (1 << 22) // largest))
        self._batches = [samples[i : i + size] for i in range(0, len(samples), size)]
        with torch.no_grad():
            self._exact = [self._real(graph, batch) for batch in self._batches]
        # The accepted candidate.
        self._known = IntegerCache()
        self._ops: dict[str, QuantizedOp] = {}
        self._format: QFormat | None = None
        self._got: list[list[FloatArray]] = []
        self._position = 0  # how many operations ``_stores`` has behind it
        self._stores: list[Store] = []

    def of(self, graph: Graph, formats: Formats) -> float:
        """The signal to noise of a candidate's output, decibels; -inf where it is clearly worse."""
        try:
            fmt, ops = self._quantized(graph, formats, self._known.fork())
        except RangeError:
            return float("-inf")
        first = self._first_change(graph, fmt, ops)
        if first is None:
            return self.near(self._got)
        screen = -(-SCREEN // len(self._batches[0]))
        got: list[list[FloatArray]] = []
        for number in range(len(self._batches)):
            got.append(self._output(graph, fmt, ops, first, number))
            if len(got) == screen < len(self._batches):
                if self.near(got) < self.near(self._got[:screen]) - SCREEN_LOSS_DB:
                    return float("-inf")
        return self.near(got)

    def accept(self, graph: Graph, formats: Formats) -> float:
        """Make a candidate the one to compare with; its signal to noise, decibels."""
        fmt, ops = self._quantized(graph, formats, self._known)
        first = self._first_change(graph, fmt, ops)
        if fmt != self._format:
            self._stores = [
                {graph.input.index: integer_frame(graph, fmt, self._planes, batch)}
                for batch in self._batches
            ]
            self._frames = [store[graph.input.index] for store in self._stores]
        if first is not None:
            if first < self._position:
                self._stores = [{graph.input.index: frame} for frame in self._frames]
                self._position = 0
            count = range(len(self._batches))
            self._format = fmt
            self._graph, self._ops = graph, ops
            self._got = [self._output(graph, fmt, ops, first, number) for number in count]
        return self.near(self._got)

    def near(self, got: list[list[FloatArray]]) -> float:
        """Signal to noise of results of the first batches, decibels; the mean over the outputs."""
        pairs = zip(_joined(self._exact[: len(got)]), _joined(got), strict=True)
        ratios = [float(((b - a) ** 2).sum()) / max(float((a**2).sum()), 1e-30) for a, b in pairs]
        noise = sum(ratios) / len(ratios)
        return min(PERFECT_DB, -10.0 * float(np.log10(max(noise, 1e-30))))

    @property
    def constant(self) -> float:
        """By how many decibels the output's signal is less where each element's mean over the
        samples does not count, at most 0; of several outputs the least."""
        least = 0.0
        for exact in _joined(self._exact):
            power, moving = float((exact**2).mean()), float(exact.var(axis=0).mean())
            ratio = max(moving, 1e-12 * power, 1e-30) / max(power, 1e-30)
            least = min(least, 10.0 * float(np.log10(ratio)))
        return least

    def corrected(
        self, graph: Graph, formats: Formats, weight_bits: Mapping[str, int] | None = None
    ) -> Graph:
        """A graph whose biases make up for each channel's mean error, layer by layer.

        The error is that of the sums before clamp and table, which is where a bias is added. Layers
        that share weights, also a part of them as a first time step does, share their biases, too,
        and stay as they are, as do those that do the same to all channels.

        Args:
            formats: with the input's format of the accepted candidate.
            weight_bits: other widths than those of the candidates.
        """
        with torch.no_grad():
            bits = self._weight_bits if weight_bits is None else weight_bits
            return self._corrected(graph, formats, bits)

    def _corrected(self, graph: Graph, formats: Formats, bits: Mapping[str, int]) -> Graph:
        real: list[Store] = [
            {graph.input.index: frame_values(graph, batch, self._planes)} for batch in self._batches
        ]
        integer: list[Store] = [{graph.input.index: frame} for frame in self._frames]
        weights = [weights_of(op).tobytes() for op in graph.ops]
        steps = {op.name for ops in twins_of(graph) for op in ops}
        known, trial = self._known.fork(), graph
        ops = quantize(graph, formats.copy(), bits, known)
        for number, op in enumerate(graph.ops):
            shared = weights.count(weights[number]) > 1 or op.name in steps
            if isinstance(op, Weighted) and not (
                op.exact or shared or op.uniform or op.rounds is not None
            ):
                settled = formats.copy()
                ops = quantize(trial, settled, bits, known)
                lsb = ops[op.name].out.lsb if graph.is_wide(op) else settled.clamped(op).lsb
                error = _mean_error(trial, op, ops[op.name], lsb, real, integer)
                bias = op.bias if op.bias.size else np.zeros(len(error))
                changed = list(trial.ops)
                changed[number] = replace(op, bias=bias + error)
                trial = trial.with_ops(changed)
                ops = quantize(trial, formats.copy(), bits, known)
            _advance(graph, real, number, number + 1, execute.real_compute)
            _advance(trial, integer, number, number + 1, execute.integer_compute(ops))
        return trial

    def _real(self, graph: Graph, samples: NDArray[np.floating]) -> list[FloatArray]:
        frame = frame_values(graph, samples, self._planes)
        found = execute.outputs(graph, frame, execute.real_compute)
        return [np.asarray(result.double().numpy()) for result in found]

    def _quantized(
        self, graph: Graph, formats: Formats, known: IntegerCache
    ) -> tuple[QFormat, dict[str, QuantizedOp]]:
        """The input's format and the integers of a candidate."""
        settled = formats.copy()
        ops = quantize(graph, settled, self._weight_bits, known)
        return settled.of(graph.input), ops

    def _first_change(
        self, graph: Graph, fmt: QFormat, ops: Mapping[str, QuantizedOp]
    ) -> int | None:
        """The first operation that does not do the same as the accepted candidate's."""
        if fmt != self._format:
            return 0
        numbers = enumerate(graph.ops)
        return next((n for n, op in numbers if ops[op.name] is not self._ops.get(op.name)), None)

    def _output(
        self, graph: Graph, fmt: QFormat, ops: dict[str, QuantizedOp], first: int, number: int
    ) -> list[FloatArray]:
        """A candidate's results on one batch, real numbers, of each output."""
        with torch.no_grad():
            if fmt != self._format:
                store = {
                    graph.input.index: integer_frame(
                        graph, fmt, self._planes, self._batches[number]
                    )
                }
            elif first < self._position:
                store, first = {graph.input.index: self._frames[number]}, 0
            else:
                compute = execute.integer_compute(self._ops)
                _advance(self._graph, self._stores, self._position, first, compute)
                self._position, store = first, dict(self._stores[number])
            for _ in execute.resume(graph, store, first, execute.integer_compute(ops)):
                pass
            found = execute.real_numbers(graph, ops, execute.leaving(graph, store))
            return [np.asarray(result.numpy()) for result in found]


def _joined(batches: Sequence[list[FloatArray]]) -> list[FloatArray]:
    """The results of all batches, of each output."""
    return [np.concatenate(results) for results in zip(*batches, strict=True)]


def _advance(
    graph: Graph, stores: list[Store], first: int, stop: int, compute: execute.Compute
) -> None:
    for store in stores:
        for _ in execute.resume(graph, store, first, compute, stop):
            pass


def _mean_error(
    graph: Graph, op: Op, q: QuantizedOp, lsb: float, real: list[Store], integer: list[Store]
) -> FloatArray:
    """By how much a channel's sums are too small on average, real numbers, float64 [C]."""
    scale = torch.from_numpy(2.0**-q.shift * lsb)
    total = torch.zeros(op.out.channels, dtype=torch.float64)
    count = 0
    for exact, store in zip(real, integer, strict=True):
        a = execute.real_sum(op, [execute.take(graph, exact, view) for view in op.views]).double()
        b = execute.accumulated(op, q, [execute.take(graph, store, view) for view in op.views])
        total += a.sum(dim=(0, 2, 3)) - b.double().sum(dim=(0, 2, 3)) * scale
        count += a.numel() // op.out.channels
    return np.asarray((total / count).numpy())
