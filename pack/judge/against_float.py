# SPDX-License-Identifier: Apache-2.0
"""Judges a packed network against the float one: the quantized graph, which golden equals bit for
bit, on the recipe's samples. Imports torch.
"""

from dataclasses import dataclass

import numpy as np

from bramcast.pack.bundle.judgement import Moments, classes_of, has_classes, least, varying
from bramcast.pack.bundle.manifest import Judgement, OutputJudgement
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
    labels = inputs.y[floats.chosen] if inputs.y is not None else None
    if floats.accuracy is None:
        labels = None
    labelled = inputs.y_of
    found, signals = [], []
    for number, (real, ours) in enumerate(zip(graph.cut(exact), graph.cut(got), strict=True)):
        own = labels if number == labelled else None
        found.append(_of_output(graph, number, real, ours, own))
        signals.append(varying(real) or 1.0)
    shares = blame(graph, quantized, fmt, planes, samples, signals if graph.parts else (1.0,))
    growth = None
    if inputs.y is None and graph.output.size > 1 and graph.output.shape == graph.input_shape:
        growth = _growth(samples.reshape(len(samples), -1).astype(np.float64), exact, got)
    mine = found[labelled]
    agreements = [mine.agreement] if labels is not None else [one.agreement for one in found]
    return Judged(
        Judgement(
            samples=len(samples),
            snr=least([one.snr for one in found]),
            agreement=least(agreements),
            accuracy=mine.accuracy,
            float_accuracy=mine.of_float,
            error_growth=growth,
            worst_layer=shares.worst(),
            input_share=shares.share(shares.input),
            outputs=[
                OutputJudgement(part.name, one.snr, one.agreement)
                for part, one in zip(graph.parts, found, strict=False)
            ],
        ),
        shares,
        mine.pairs,
    )


@dataclass(frozen=True, slots=True)
class _Likeness:
    """One output beside the float network's; with labels the accuracies and ``Judged.pairs``."""

    snr: float | None
    agreement: float | None = None
    accuracy: float | None = None
    of_float: float | None = None
    pairs: tuple[int, int] = (0, 0)


def _of_output(
    graph: Graph, number: int, exact: FloatArray, got: FloatArray, labels: IntArray | None
) -> _Likeness:
    """
    Args:
        exact, got: the output's results, real numbers [N, elements].
    """
    seen = Moments(exact.shape[1])
    seen.observe(exact, got)
    shape = graph.results[number].shape
    if not has_classes(shape, graph.input_shape, labels is not None):
        return _Likeness(seen.decibels())
    middle = class_middle(graph, number)
    mine, real = classes_of(got, middle), classes_of(exact, middle)
    agreement = float((mine == real).mean())
    if labels is None:
        return _Likeness(seen.decibels(), agreement)
    apart = mine != real
    return _Likeness(
        seen.decibels(),
        agreement,
        float((mine == labels).mean()),
        float((real == labels).mean()),
        (int((apart & (real == labels)).sum()), int((apart & (mine == labels)).sum())),
    )


def _growth(wanted: FloatArray, exact: FloatArray, got: FloatArray) -> float | None:
    """Percent by which the squared error against the input is larger than the float network's."""
    before, after = (float(((result - wanted) ** 2).sum()) for result in (exact, got))
    return round(100 * (after / before - 1), 3) if before else None
