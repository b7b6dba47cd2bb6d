"""Chooses by the error of the network's output: channel scales, formats and biases.

``choose_formats`` looks at each tensor alone. What counts is the output, so here the quantized
graph itself runs on calibration samples and keeps what leaves less error there:

1. cross-layer equalization (pack/equalize.py), none, half the way or all of it;
2. each tensor's fraction length one up or one down;
3. biases corrected by each channel's mean error (Nagel et al., "Data-Free Quantization Through
   Weight Equalization and Bias Correction", 2019).
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.by_hand import Rules
from bramcast.pack.calibrate import (
    Progress,
    calibrate,
    channel_maxima,
    integer_results,
    real_results,
)
from bramcast.pack.equalize import equalize, replace_ops
from bramcast.pack.errors import RangeError
from bramcast.pack.formats import Formats, choose_formats
from bramcast.pack.graph import FloatArray, Graph
from bramcast.pack.inputs import Inputs
from bramcast.pack.planes import Planes
from bramcast.pack.qformat import QFormat
from bramcast.pack.quantize import quantize

SAMPLES = 128  # that the quantized graph runs on for each trial
MAXIMA_SAMPLES = 256
EQUALIZE_GAIN_DB = 1.0  # an equalization must win so much
STEP_GAIN_DB = 0.05  # another fraction length, or other biases
INPUT_GAIN_DB = 1.0  # another fraction length of the input
GOOD_DB = 60.0  # nothing is tried beyond
LEAST_SAMPLES = 16  # fewer say too little about an output


@dataclass(frozen=True, slots=True)
class Refined:
    """A network with the same real results, its formats, and how near the quantized graph comes
    to it at the output, in decibels, before and after."""

    graph: Graph
    formats: Formats
    before_db: float
    after_db: float


class _Judge:
    """Runs candidates on the same samples."""

    def __init__(
        self,
        graph: Graph,
        samples: NDArray[np.floating],
        planes: Planes | None,
        weight_bits: Mapping[str, int],
        classes: bool,
    ) -> None:
        self.planes, self.weight_bits, self.samples = planes, weight_bits, samples
        self.classes = classes
        self.size = _batch_size(graph)
        self.exact = np.concatenate(
            [self.real(graph, part)[graph.ops[-1].name] for part in self.batches()]
        )

    def batches(self) -> list[NDArray[np.floating]]:
        return [self.samples[i : i + self.size] for i in range(0, len(self.samples), self.size)]

    def real(self, graph: Graph, samples: NDArray[np.floating]) -> dict[str, FloatArray]:
        """Every operation's real result [N, C, H, W]."""
        return real_results(graph, samples, self.planes)

    def quantized(
        self, graph: Graph, formats: Formats, samples: NDArray[np.floating]
    ) -> dict[str, FloatArray]:
        """Every operation's result of the quantized graph as real numbers."""
        settled = deepcopy(formats)
        ops = quantize(graph, settled, self.weight_bits, graph.ops[-1])
        integers = integer_results(graph, ops, settled.of(graph.input), self.planes, samples)
        return {name: ops[name].out.real(values) for name, values in integers.items()}

    def nearness(self, graph: Graph, formats: Formats) -> float:
        """How near the output comes, decibels; -inf where no legal weights are left.

        Signal to noise; where the outputs are classes, also how little their probabilities (by
        softmax) diverge: errors of large logits matter to the noise, errors between near ones to
        the class.
        """
        name = graph.ops[-1].name
        try:
            parts = [self.quantized(graph, formats, part)[name] for part in self.batches()]
        except RangeError:
            return float("-inf")
        got = np.concatenate(parts)
        noise = float(((got - self.exact) ** 2).sum()) / max(float((self.exact**2).sum()), 1e-30)
        result = min(GOOD_DB, -10.0 * float(np.log10(max(noise, 1e-30))))
        if self.classes:
            result += -10.0 * float(
                np.log10(_divergence(self.exact, got) + 10.0 ** (-GOOD_DB / 10))
            )
        return result


def _divergence(exact: FloatArray, got: FloatArray) -> float:
    """Mean Kullback-Leibler divergence of the classes' probabilities, nats."""
    a, b = (_log_softmax(v.reshape(len(v), -1)) for v in (exact, got))
    return max(0.0, float((np.exp(a) * (a - b)).sum(axis=1).mean()))


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _batch_size(graph: Graph) -> int:
    largest = max(t.elements for t in graph.tensors)
    return max(1, min(64, (1 << 22) // largest))


def refine(
    graph: Graph,
    inputs: Inputs,
    planes: Planes | None,
    bits: int,
    fixed: QFormat | None,
    rules: Rules,
    progress: Progress,
    formats_only: bool = False,
) -> Refined:
    """Formats for a folded network, and channel scales and biases that suit them.

    Args:
        graph: with the layout's copies; not changed.
        bits: width of an activation.
        fixed: the input's format where it is not to be chosen.
        rules: what the recipe says about formats; what it gives by hand is not touched.
        formats_only: leave the graph as it is: neither equalize nor correct biases.

    Raises:
        RangeError: no legal weights, even without any change.
    """
    weight_bits = rules.weight_bits
    statistics = calibrate(graph, inputs, planes, progress)
    formats = choose_formats(graph, statistics, bits, fixed, rules)
    quantize(graph, deepcopy(formats), weight_bits, graph.ops[-1])  # what is wrong shows here
    if len(inputs.calibration) < LEAST_SAMPLES:
        return Refined(graph, formats, 0.0, 0.0)
    classes = inputs.y is not None and graph.output.size > 1
    judge = _Judge(graph, inputs.calibration[:SAMPLES], planes, weight_bits, classes)
    before = best = judge.nearness(graph, formats)
    if before >= GOOD_DB * (1 + classes):
        return Refined(graph, formats, before, before)
    start = graph
    maxima = channel_maxima(graph, inputs.calibration[:MAXIMA_SAMPLES], planes)
    fixed_weights = rules.by_hand or formats_only  # given formats suit the given weights
    for power in () if fixed_weights else (0.5, 1.0):
        trial = equalize(start, maxima, power)
        if all(a is b for a, b in zip(trial.ops, start.ops, strict=True)):
            break
        seen = calibrate(trial, inputs, planes, progress)
        chosen = choose_formats(trial, seen, bits, fixed, rules)
        got = judge.nearness(trial, chosen)
        if got > max(best, before + EQUALIZE_GAIN_DB):
            graph, formats, best = trial, chosen, got
    formats, best = _other_fractions(graph, formats, judge, best, progress)
    if not formats_only:
        graph, best = _corrected(graph, formats, judge, best)
    return Refined(graph, formats, before, best)


def _other_fractions(
    graph: Graph,
    formats: Formats,
    judge: _Judge,
    best: float,
    progress: Callable[[str, int, int], None],
) -> tuple[Formats, float]:
    """Each class of tensors one bit finer or coarser, in the order of execution."""
    stored = [graph.input, *(op.out for op in graph.ops[:-1])]
    classes = list(dict.fromkeys(formats.same.find(t.index) for t in stored))
    classes = [c for c in classes if c not in formats.fixed and c not in formats.rounded]
    for done, root in enumerate(classes, 1):
        # Another input format is another interface: it must be worth it.
        is_input = root == formats.same.find(graph.input.index)
        least = INPUT_GAIN_DB if is_input else STEP_GAIN_DB
        for step in (1, -1):
            trial = deepcopy(formats)
            trial.frac[root] += step
            got = judge.nearness(graph, trial)
            if got > best + least:
                formats, best = trial, got
                break
        progress("choosing formats", done, len(classes))
    return formats, best


def _corrected(graph: Graph, formats: Formats, judge: _Judge, best: float) -> tuple[Graph, float]:
    """Each layer's bias moved by its channels' mean error, layer by layer."""
    samples = judge.batches()[0]
    exact = judge.real(graph, samples)
    trial = graph
    weights = [op.weight.tobytes() for op in graph.ops]
    for i, op in enumerate(graph.ops):
        if op.kind not in ("dense", "depthwise") or op.exact or weights.count(weights[i]) > 1:
            continue  # layers that share weights share their biases, too
        got = judge.quantized(trial, formats, samples)[op.name]
        error = (exact[op.name] - got).mean(axis=(0, 2, 3))
        ops = list(trial.ops)
        bias = op.bias if op.bias.size else np.zeros(len(error))
        ops[i] = replace(ops[i], bias=bias + error)
        trial = replace_ops(trial, ops)
    got_db = judge.nearness(trial, formats)
    return (trial, got_db) if got_db > best + STEP_GAIN_DB else (graph, best)
