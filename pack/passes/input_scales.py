# SPDX-License-Identifier: Apache-2.0
"""A power of two for each input feature: features of any size share one format.

    W x     ->     (W 2**-e) (2**e x)

A feature that is sent 2**e times as large is multiplied by 2**-e times its weights: the real
network stays the same, exactly. That needs a first layer with weights for each feature.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Weighted, weights_of
from bramcast.pack.graph.tensor import FloatArray, IntArray
from bramcast.pack.passes.equalize import can_absorb, rescaled

LARGEST = 30


def scalable(graph: Graph) -> bool:
    """Whether every reader of the input has weights for each feature."""
    readers = graph.consumers(graph.input)
    linear = all(isinstance(op, Weighted) for op in readers)
    return linear and can_absorb(graph, graph.input)


def shared_features(graph: Graph) -> list[list[int]]:
    """The input's features in groups: those that share weights are in one, directly or not."""
    t = graph.input
    pixels = t.height * t.width
    together: dict[tuple[bytes, int], set[int]] = {}
    for op in graph.consumers(t):
        weight = weights_of(op).tobytes()
        for row, numbers in enumerate(op.view.reshape(len(op.view), -1)):
            mine = numbers[t.mine(numbers)]
            if mine.size:
                together.setdefault((weight, row), set()).add(int(mine[0] - t.first) // pixels)
    groups = [{feature} for feature in range(t.channels)]
    for features in together.values():
        joined = set().union(*(groups[feature] for feature in features))
        for feature in joined:
            groups[feature] = joined
    return [sorted(group) for first, group in enumerate(groups) if min(group) == first]


def input_exponents(graph: Graph, samples: NDArray[np.floating]) -> IntArray:
    """Exponents that bring every feature of the samples up to the largest one: int64 [C].

    Features that share weights, as those of a recurrent network's time steps, share an exponent.

    Args:
        graph: a scalable one, its input not yet split into planes.
        samples: calibration samples [N, *graph.input_shape].
    """
    t = graph.input
    frames = np.abs(graph.framed(samples)).reshape(-1, t.channels, t.height * t.width)
    largest: FloatArray = frames.max(axis=(0, 2))
    for features in shared_features(graph):
        largest[features] = largest[features].max()
    top = float(largest.max())
    alive = largest > 0
    ratio = np.where(alive, top / np.where(alive, largest, 1.0), 1.0)
    return np.asarray(np.minimum(np.floor(np.log2(ratio)), LARGEST), np.int64)


def scale_input(
    graph: Graph, wanted: str | Sequence[int], samples: NDArray[np.floating], place: str
) -> Graph:
    """The network whose input features come multiplied by powers of two.

    Args:
        wanted: "auto" or an exponent for each feature, as the manifest has them.
        place: the recipe, for messages.

    Raises:
        RecipeError: a reader of the input can't divide its weights, or another number of features.
    """
    key = f"{place}: quantize.input_exponents"
    if not scalable(graph):
        reader = graph.consumers(graph.input)[0]
        raise RecipeError(
            f"{key}: the input is read by layer {reader.name!r} ({reader.label}), and only Linear, "
            "convolutions with features as channels and scales have weights for each feature"
        )
    if wanted == "auto":
        exponents = input_exponents(graph, samples)
    elif len(wanted) == graph.input.channels:
        exponents = np.array(wanted, np.int64)
    else:
        raise RecipeError(
            f"{key}: {len(wanted)} numbers, the network has {graph.input.channels} input features"
        )
    if not exponents.any():
        return graph
    factors: dict[int, FloatArray] = {graph.input.index: np.ldexp(1.0, exponents)}
    scaled = graph.with_ops([rescaled(graph, op, factors) for op in graph.ops])
    each = graph.input.height * graph.input.width
    return replace(scaled, input_exponents=np.repeat(exponents, each))
