# SPDX-License-Identifier: Apache-2.0
"""Chooses by the error of the network's output: channel scales, formats and biases.

``choose_formats`` looks at each tensor alone. What counts is the output, so here the quantized
graph itself runs on calibration samples and keeps what leaves less error there:

1. cross-layer equalization (pack/passes/equalize.py), none, half the way or all of it;
2. each tensor's fraction length one up or one down;
3. biases corrected by each channel's mean error (Nagel et al., "Data-Free Quantization Through
   Weight Equalization and Bias Correction", 2019); before 2, too, where that wins much.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import weights_of
from bramcast.pack.passes.equalize import equalize
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.integers import quantize
from bramcast.pack.run.calibrate import Calibrated, Progress, calibrate, channel_maxima
from bramcast.pack.run.score import PERFECT_DB, Scorer
from bramcast.pack.samples.inputs import Inputs

SAMPLES = 128  # that the quantized graph runs on for each trial
MAXIMA_SAMPLES = 256
# Power, largest factor, and whether along residual sums, too: the last is for gains that a layer
# undoes which the one before made.
EQUALIZATIONS = ((0.5, 16.0, False), (1.0, 16.0, False), (1.0, 256.0, False), (1.0, 2.0**24, True))
FAR_GAIN_DB = 3.0  # what the last must win
EQUALIZE_GAIN_DB = 1.0  # an equalization must win so much
MEANS_GAIN_DB = 3.0  # biases are corrected before, too, where the means are what is wrong
STEP_GAIN_DB = 0.05  # another fraction length, or other biases
INTERFACE_GAIN_DB = 1.0  # another fraction length of the input or of what the last layer reads
GOOD_DB = 40.0  # "auto" tries nothing beyond; less is enough where classes are all that counts:
GOOD_CLASSES_DB = 24.5  # beyond it accuracy moves by chance, refined or not
LEAST_SAMPLES = 16  # fewer say too little about an output

Choose = Callable[[Graph, Calibrated], Formats]


@dataclass(frozen=True, slots=True)
class Refined:
    """A network, its formats, and how near the quantized graph comes to it at the output, in
    decibels, before and after (0 where nothing was measured).

    ``exact`` has the same real results as ever; in ``graph`` biases may make up for rounding.
    ``tried``: others were tried.
    """

    exact: Graph
    graph: Graph
    formats: Formats
    before_db: float
    after_db: float
    tried: bool = False


def refine(
    graph: Graph,
    inputs: Inputs,
    planes: Planes | None,
    weight_bits: Mapping[str, int],
    choose: Choose,
    progress: Progress,
    wanted: Literal["auto"] | bool = "auto",
    formats_only: bool = False,
) -> Refined:
    """Formats for a folded network, and channel scales and biases that suit them.

    Args:
        graph: without a layout's copies; not changed.
        weight_bits: as ``quantize`` takes them.
        choose: formats by each tensor's own statistics; those in ``Formats.fixed`` stay.
        wanted: "auto" leaves a network alone whose output is near already, or whose formats the
            recipe or forward() gives.
        formats_only: leave the graph as it is: neither equalize nor correct biases.

    Raises:
        RangeError: no legal weights, even without any change.
    """
    formats = choose(graph, calibrate(graph, inputs, planes, progress))
    given = formats.rules.by_hand or bool(formats.rounded)
    if wanted is False or (wanted == "auto" and given) or len(inputs.calibration) < LEAST_SAMPLES:
        return Refined(graph, graph, formats, 0.0, 0.0)
    quantize(graph, formats.copy(), weight_bits)  # what is wrong shows here
    judge = Scorer(graph, _some(inputs.calibration, SAMPLES), planes, weight_bits)
    before = best = judge.accept(graph, formats)
    classes = inputs.y is not None and graph.output.size > 1 and not graph.parts
    enough = GOOD_CLASSES_DB if classes else GOOD_DB
    near = before if classes else before + judge.constant  # an answer is what varies
    if near >= enough if wanted == "auto" else before >= PERFECT_DB:
        return Refined(graph, graph, formats, before, before)
    start, chosen_formats = graph, formats
    keep = frozenset(t.index for t in graph.tensors if formats.same.find(t.index) in formats.fixed)
    maxima = channel_maxima(graph, _some(inputs.calibration, MAXIMA_SAMPLES), planes)
    # Formats by hand suit the weights as they are.
    equalizations = () if formats.rules.by_hand or formats_only else EQUALIZATIONS
    tried = start
    for power, largest, far in equalizations:
        trial = equalize(start, maxima, power, largest, keep, sums=far)
        if _alike(trial, tried):  # no channel needs a larger factor
            continue
        tried = trial
        chosen = choose(trial, calibrate(trial, inputs, planes, progress))
        least = best + FAR_GAIN_DB if far else max(best, before + EQUALIZE_GAIN_DB)
        if judge.of(trial, chosen) > least:
            graph, chosen_formats, best = trial, chosen, judge.accept(trial, chosen)
    plain = graph
    if not formats_only:  # so that formats are judged by what varies
        graph, best = _corrected(plain, graph, chosen_formats, judge, best, MEANS_GAIN_DB)
    formats, best = _other_fractions(graph, chosen_formats, judge, best, progress)
    if not formats_only:
        graph, best = _corrected(plain, graph, formats, judge, best)
    return Refined(plain, graph, formats, before, best, True)


def _alike(a: Graph, b: Graph) -> bool:
    pairs = zip(a.ops, b.ops, strict=True)
    return all(x is y or np.array_equal(weights_of(x), weights_of(y)) for x, y in pairs)


def _some(samples: NDArray[np.floating], count: int) -> NDArray[np.floating]:
    """At most ``count`` samples from everywhere: files are often sorted by class."""
    chosen = np.random.default_rng(0).permutation(len(samples))[:count]
    return samples[chosen]


def _other_fractions(
    graph: Graph, formats: Formats, judge: Scorer, best: float, progress: Progress
) -> tuple[Formats, float]:
    """Each class of tensors one bit finer or coarser, in the order of execution."""
    find = formats.same.find
    stored = [graph.input, *(op.out for op in graph.ops if not graph.leaves(op))]
    given = formats.fixed.keys() | formats.rounded
    classes = [c for c in dict.fromkeys(find(t.index) for t in stored) if c not in given]
    # Another input or output format is another interface: it must be worth it.
    ends = [graph.operands(op) for op in graph.ops if graph.leaves(op)]
    interface = {find(i) for i in (graph.input.index, *frozenset[int]().union(*ends))}
    for done, root in enumerate(classes, 1):
        least = INTERFACE_GAIN_DB if root in interface else STEP_GAIN_DB
        for step in (1, -1):
            trial = formats.copy()
            trial.frac[root] += step
            got = judge.of(graph, trial)
            if got > best + least:
                formats, best = trial, judge.accept(graph, trial)
                break
        progress("choosing formats", done, len(classes))
    return formats, best


def _corrected(
    plain: Graph,
    graph: Graph,
    formats: Formats,
    judge: Scorer,
    best: float,
    least: float = STEP_GAIN_DB,
) -> tuple[Graph, float]:
    """Each layer's bias moved by its channels' mean error, layer by layer, where that is better.

    Args:
        plain: with the biases of the real network.
        graph: what is kept otherwise.
        least: decibels that must be won.
    """
    trial = judge.corrected(plain, formats)
    got = judge.of(trial, formats)
    return (trial, judge.accept(trial, formats)) if got > best + least else (graph, best)
