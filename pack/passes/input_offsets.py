# SPDX-License-Identifier: Apache-2.0
"""A number that is subtracted from each input feature: what varies gets the format, not its middle.

    W x + b     ->     W (x - c) + (b + W c)

A feature that is sent less an offset lacks what weight times offset gave: a constant, which the
bias of the first layer takes. The real network stays the same. So kelvin, pressure or an ADC's
readings around its middle use all steps of the format.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Op, Weighted
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, strip_zeros
from bramcast.pack.passes.absorb import lifted
from bramcast.pack.passes.input_scales import shared_features

SAMPLES = 256  # of calibration, which tell where a feature lies
TAILS = 1.0  # percent of its values at either end that don't count
FAR = 3.0  # its middle is so many times its half range from zero: a bit is won at least
NEAR = 1 / 6  # of the half range: so far an offset may be from the middle, to be a round number
FLOAT32_BITS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Obstacle:
    """Why an operation can't take the offsets of some features into its bias.

    Attributes:
        features: numbers of the input's channels, ascending.
        pads: it pads with zeros, which an offset moves, in a way that its biases can't make up for.
    """

    op: Op
    features: tuple[int, ...]
    pads: bool

    def __str__(self) -> str:
        what = f"layer {self.op.name!r} ({self.op.label})"
        if self.pads:
            return (
                f"{what} pads with zeros, which an offset would move, and has no biases for its "
                "border: its results leave on the stream, or its window is too large"
            )
        return (
            f"{what} has no bias for each feature: only Linear, convolutions with features as "
            "channels and scales have"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """How far the input's features lie from zero on calibration samples, float64 [C] each.

    Attributes:
        low, high: between them lie a feature's values, as they are sent, but for ``TAILS``.
        wanted: what would bring it around zero, 0 where that is not worth it.
        able: the same where the network can take it.
        obstacle: the first that keeps ``able`` from being ``wanted``.
    """

    low: FloatArray
    high: FloatArray
    wanted: FloatArray
    able: FloatArray
    obstacle: Obstacle | None


def drift(graph: Graph, samples: NDArray[np.floating]) -> Drift:
    """Where the features lie, and the offsets that "auto" takes.

    They depend on the samples only, and coarsely: short numbers, exact in float32. Features that
    share weights, as those of a recurrent network's time steps, share an offset.

    Args:
        graph: its input not yet split into planes.
        samples: calibration samples [N, *graph.input_shape].
    """
    t = graph.input
    some = samples[:: max(1, len(samples) // SAMPLES)]
    frames = graph.framed(some).reshape(-1, t.channels, t.height * t.width)
    low, high = np.percentile(frames, [TAILS, 100.0 - TAILS], axis=(0, 2))
    together = shared_features(graph)
    for features in together:
        low[features], high[features] = low[features].min(), high[features].max()
    wanted = _offsets(low, high)
    able, first = wanted.copy(), None
    while (obstacle := find_obstacle(graph, able)) is not None:
        first = first or obstacle
        for features in together:
            if set(features) & set(obstacle.features):
                able[features] = 0.0
    return Drift(low, high, wanted, able, first)


def _offsets(low: FloatArray, high: FloatArray) -> FloatArray:
    """The roundest number near the middle of each range; 0 where that is near zero.

    What never moves has an offset only if it would widen the range of what moves.

    >>> _offsets(np.array([298.9, -1.0, 0.0, 2048.3]), np.array([301.2, 1.0, 255.0, 2048.3]))
    array([ 300.        ,    0.        ,    0.        , 2048.30004883])
    >>> _offsets(np.array([0.5, -1.0]), np.array([0.5, 1.0]))
    array([0., 0.])
    """
    middle, half = (low + high) / 2, (high - low) / 2
    step = 2.0 ** np.floor(np.log2(np.maximum(np.abs(middle), 2.0**-126)))
    rounded = np.floor(middle / step + 0.5) * step
    for _ in range(FLOAT32_BITS - 1):
        step = step / 2
        finer = np.floor(middle / step + 0.5) * step
        rounded = np.where(np.abs(rounded - middle) > NEAR * half, finer, rounded)
    moves = half > 0
    result = np.where(moves & (np.abs(middle) >= FAR * half), rounded, 0.0)
    reach = np.maximum(np.abs(low - result), np.abs(high - result))
    widest = float(reach[moves].max()) if moves.any() else np.inf
    return np.asarray(np.where(moves | (reach <= widest), result, rounded))


def find_obstacle(graph: Graph, offsets: FloatArray) -> Obstacle | None:
    """The first operation that can't take the offsets of the input's channels, [C]."""
    for op in graph.consumers(graph.input):
        for view in op.views:
            lacks = _lacking(graph, view, offsets)
            flat = lacks.reshape(len(view), -1)
            bad = flat.any(axis=1)
            pads = False
            if isinstance(op, Weighted) and not op.exact and bad.any():
                inner = strip_zeros(view)[0]
                flat = _lacking(graph, inner, offsets).reshape(len(inner), -1)
                uneven = (flat != flat[:, :1]).any(axis=1)
                if uneven.any():
                    bad, pads = uneven, bool((inner[uneven] == ZERO).any())
                else:
                    pads = lifted(graph, op, flat[:, 0]) is None
                    bad &= pads
            if bad.any():
                channels = _channels(graph, view[bad])
                moved = channels[offsets[channels] != 0.0]
                return Obstacle(op, tuple(moved.tolist()), pads)
    return None


def _channels(graph: Graph, view: IntArray) -> IntArray:
    """The input's channels that a view shows, ascending."""
    t = graph.input
    mine = view[t.mine(view)]
    return np.unique((mine - t.first) // (t.height * t.width))


def _lacking(graph: Graph, view: IntArray, offsets: FloatArray) -> FloatArray:
    """What each element of a view has too little, float64 of the view's shape."""
    t = graph.input
    mine = t.mine(view)
    channel = np.where(mine, view - t.first, 0) // (t.height * t.width)
    return np.asarray(np.where(mine, offsets[channel], 0.0))


def absorbed(graph: Graph, op: Op, offsets: FloatArray) -> Op:
    """The operation whose biases have what the input's channels lack, [C]; there is no obstacle."""
    if not isinstance(op, Weighted) or graph.input.index not in graph.operands(op):
        return op
    inner = strip_zeros(op.view)[0]
    lacks = _lacking(graph, inner, offsets).reshape(len(inner), -1)[:, 0]
    made = lifted(graph, op, lacks) if lacks.any() else op
    assert made is not None, "there is no obstacle"
    return made


def offset_input(
    graph: Graph, wanted: str | float | Sequence[float], samples: NDArray[np.floating], place: str
) -> Graph:
    """The network whose input features come less a number each.

    Args:
        wanted: "auto", one number for all features, or one for each, as the manifest has them.
        place: the recipe, for messages.

    Raises:
        RecipeError: a reader of the input can't take them, or another number of features.
    """
    key, t = f"{place}: quantize.input_offsets", graph.input
    if isinstance(wanted, str):
        offsets = drift(graph, samples).able
    elif isinstance(wanted, Sequence):
        if len(wanted) != t.channels:
            raise RecipeError(
                f"{key}: {len(wanted)} numbers, the network has {t.channels} input features"
            )
        offsets = np.array(wanted, np.float64)
    else:
        offsets = np.full(t.channels, float(wanted))
    obstacle = find_obstacle(graph, offsets)
    if obstacle is not None:
        numbers = ", ".join(str(c) for c in obstacle.features[:8])
        dots = ", .." if len(obstacle.features) > 8 else ""
        raise RecipeError(
            f"{key}: {obstacle} (features {numbers}{dots}): give 0 for these, or "
            '"auto", which leaves them as they are'
        )
    if not offsets.any():
        return graph
    moved = graph.with_ops([absorbed(graph, op, offsets) for op in graph.ops])
    return replace(moved, input_offsets=np.repeat(offsets, t.height * t.width))


def offsets_note(seen: Drift, now: float, then: float, scales: bool) -> str:
    """What offsets cost and the line that takes them away.

    Args:
        now, then: decibels that the input's rounding leaves of what varies in the output, without
            and with the offsets that are wanted.
        scales: input exponents could help further.
    """
    far = np.flatnonzero(seen.wanted)
    shown = far[np.argmax(np.abs(seen.wanted[far]))]
    text = (
        f"input: {len(far):,} of {len(seen.wanted):,} features stay far from zero (feature "
        f"{shown}: {seen.low[shown]:.6g} to {seen.high[shown]:.6g}), so that rounding the input "
        f"leaves {now:.0f} dB of what varies in the output, {then:.0f} dB around their middles: "
    )
    if not seen.able.any():
        return text + (
            f"{seen.obstacle}, so subtract them in the samples and retrain, or set "
            "quantize.activation_bits = 16"
        )
    text += 'set quantize.input_offsets = "auto"'
    return text + (' and quantize.input_exponents = "auto"' if scales else "")
