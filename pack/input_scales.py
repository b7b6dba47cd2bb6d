"""A power of two for each input feature: features of any size share one format.

A feature that is sent 2**e times as large is multiplied by 2**-e times its weights: the real
network stays the same, exactly. That needs a first layer with weights for each feature.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.equalize import can_absorb, rescaled
from bramcast.pack.errors import RecipeError
from bramcast.pack.graph import FloatArray, Graph, IntArray

LARGEST = 30


def input_exponents(graph: Graph, samples: NDArray[np.floating]) -> IntArray | None:
    """Exponents that bring every feature of the samples up to the largest one: int64 [C].

    Features that share weights, as those of a recurrent network's time steps, share an exponent.

    Args:
        samples: calibration samples [N, *graph.input_shape].

    Returns:
        None where a reader of the input has no weights for each feature.
    """
    t = graph.input
    readers = graph.consumers(t)
    if not can_absorb(graph, t) or any(op.kind not in ("dense", "depthwise") for op in readers):
        return None
    frames = np.abs(graph.framed(samples)).reshape(-1, t.channels, t.height * t.width)
    largest: FloatArray = frames.max(axis=(0, 2))
    pixels = t.height * t.width
    together: dict[tuple[bytes, int], set[int]] = {}
    for op in readers:
        for row, numbers in enumerate(op.view.reshape(len(op.view), -1)):
            mine = numbers[(numbers >= t.first) & (numbers < t.first + t.elements)]
            if mine.size:
                key = (op.weight.tobytes(), row)
                together.setdefault(key, set()).add(int(mine[0] - t.first) // pixels)
    while True:
        before = largest.copy()
        for channels in together.values():
            index = list(channels)
            largest[index] = largest[index].max()
        if np.array_equal(before, largest):
            break
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
    exponents = input_exponents(graph, samples)
    key = f"{place}: quantize.input_exponents"
    if exponents is None:
        reader = graph.consumers(graph.input)[0]
        raise RecipeError(
            f"{key}: the input is read by layer {reader.name!r} ({reader.label}), and only Linear, "
            "convolutions with features as channels and scales have weights for each feature"
        )
    if wanted != "auto":
        if len(wanted) != len(exponents):
            raise RecipeError(
                f"{key}: {len(wanted)} numbers, the network has {len(exponents)} input features"
            )
        exponents = np.array(wanted, np.int64)
    if not exponents.any():
        return graph
    factors: dict[int, FloatArray] = {graph.input.index: np.ldexp(1.0, exponents)}
    scaled = graph.with_ops([rescaled(graph, op, factors) for op in graph.ops])
    each = graph.input.height * graph.input.width
    scaled.input_exponents = np.repeat(exponents, each)
    return scaled
