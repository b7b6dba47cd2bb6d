# SPDX-License-Identifier: Apache-2.0
"""Judges a packed network against the float one: the quantized graph, which golden equals bit for
bit, on the recipe's samples. Imports torch.
"""

from dataclasses import dataclass

import numpy as np

from bramcast.pack.bundle.judgement import Moments, classes_of, has_classes
from bramcast.pack.bundle.manifest import Judgement
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.tensor import FloatArray, IntArray
from bramcast.pack.judge.blame import Blame, blame
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.run.calibrate import FloatRun, class_middle, integer_outputs
from bramcast.pack.samples.inputs import Inputs

MOST_STEPS = 4_000_000_000  # of all judged samples together: less than a second
RESULT_STEPS = 16  # a result costs as much as so many multiply-adds
MOST_RESULTS = 1 << 22


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgement, whose rounding the error is, and of how many samples only the float network
    has the label, and only the packed one."""

    judgement: Judgement
    blame: Blame
    pairs: tuple[int, int]


def judged_samples(graph: Graph, inputs: Inputs) -> IntArray:
    """Which samples of ``x`` the network is judged by, by number: all, or as many as are cheap."""
    steps = sum(op.macs + RESULT_STEPS * op.out.elements for op in graph.ops)
    most = max(1, min(MOST_STEPS // max(1, steps), MOST_RESULTS // graph.output.size))
    everything = np.arange(len(inputs.x), dtype=np.int64)
    if most >= len(everything):
        return everything
    return np.sort(np.random.default_rng(0).permutation(everything)[:most])


def judge(
    graph: Graph,
    quantized: dict[str, QuantizedOp],
    fmt: QFormat,
    planes: Planes | None,
    inputs: Inputs,
    floats: FloatRun,
) -> Judged:
    """Compare the quantized graph with what the float network gave.

    Args:
        graph: with the real network's biases; the integers may have others.
        fmt: the input's.
        floats: with the samples to judge by.
    """
    samples, exact = inputs.x[floats.chosen], floats.outputs
    got = integer_outputs(graph, quantized, fmt, planes, samples)
    seen = Moments(exact.shape[1])
    seen.observe(exact, got)
    shares = blame(graph, quantized, fmt, planes, samples)
    labels = inputs.y[floats.chosen] if inputs.y is not None else None
    if floats.accuracy is None:
        labels = None
    agreement = accuracy = of_float = None
    pairs = 0, 0
    if has_classes(graph.output.shape, graph.input_shape, labels is not None):
        middle = class_middle(graph)
        mine, real = classes_of(got, middle), classes_of(exact, middle)
        agreement = float((mine == real).mean())
        if labels is not None:
            accuracy, of_float = float((mine == labels).mean()), float((real == labels).mean())
            apart = mine != real
            pairs = int((apart & (real == labels)).sum()), int((apart & (mine == labels)).sum())
    growth = None
    if inputs.y is None and graph.output.size > 1 and graph.output.shape == graph.input_shape:
        growth = _growth(samples.reshape(len(samples), -1).astype(np.float64), exact, got)
    return Judged(
        Judgement(
            samples=len(samples),
            snr=seen.decibels(),
            agreement=agreement,
            accuracy=accuracy,
            float_accuracy=of_float,
            error_growth=growth,
            worst_layer=shares.worst(),
            input_share=shares.share(shares.input),
        ),
        shares,
        pairs,
    )


def _growth(wanted: FloatArray, exact: FloatArray, got: FloatArray) -> float | None:
    """Percent by which the squared error against the input is larger than the float network's."""
    before, after = (float(((result - wanted) ** 2).sum()) for result in (exact, got))
    return round(100 * (after / before - 1), 3) if before else None
