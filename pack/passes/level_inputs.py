# SPDX-License-Identifier: Apache-2.0
"""Several inputs share one frame and its format: each comes multiplied by its own power of two.

W x + V z     ->     (W 2**-e) (2**e x) + V z
f(x)          ->     f(2**-e (2**e x)),  a copy of its own in front of what has no weights
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.classes import Classes
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Depthwise, Op, Weighted
from bramcast.pack.graph.tensor import FloatArray, IntArray

LARGEST = 30


def level_inputs(
    graph: Graph, samples: NDArray[np.floating], exponents: IntArray | None = None
) -> Graph:
    """The network whose inputs come as large as the largest of them; as it is with one input.

    Args:
        samples: calibration samples [N, elements].
        exponents: of each input; what the samples ask for if None.
    """
    if not graph.input_parts:
        return graph
    if exponents is None:
        exponents = _asked(graph, samples)
    exponents = _shared(graph, exponents)
    if not exponents.any():
        return graph
    each = np.zeros(graph.input.elements, np.int64)  # of the sample's elements
    for mine, exponent in zip(graph.input_slices, exponents, strict=True):
        each[mine] = exponent
    stored = each[graph.input_order] if graph.input_order.size else each
    draft = Draft(graph)
    for op in graph.ops:
        if graph.input.index not in graph.operands(op):
            continue
        factors = [_factors(graph, view, stored) for view in op.views]
        if all((factor == 1.0).all() for factor in factors):
            continue
        by_channel = [_by_channel(factor) for factor in factors]
        if (
            isinstance(op, Weighted)
            and not op.exact
            and not op.uniform
            and by_channel[0] is not None
        ):
            weight = op.weight / by_channel[0][op.inputs][:, :, None, None]
            draft.put(op, replace(op, weight=weight))
            continue
        _with_copies(draft, op, factors)
    return replace(draft.done(), input_exponents=stored)


def _asked(graph: Graph, samples: NDArray[np.floating]) -> IntArray:
    """Exponents that bring each input up to the largest one: int64 [inputs]."""
    largest = np.array([float(np.abs(samples[:, mine]).max()) for mine in graph.input_slices])
    alive = largest > 0
    ratio = np.where(alive, largest.max() / np.where(alive, largest, 1.0), 1.0)
    return np.asarray(np.minimum(np.floor(np.log2(ratio)), LARGEST), np.int64)


def _shared(graph: Graph, exponents: IntArray) -> IntArray:
    """The least exponent of inputs that lie in one channel of what an operation reads."""
    number = np.zeros(graph.input.elements, np.int64)  # the input of each element
    for index, mine in enumerate(graph.input_slices):
        number[mine] = index
    together = Classes(len(exponents))
    for op in graph.consumers(graph.input):
        for view in op.views:
            for row in view.reshape(len(view), -1):
                shown = row[graph.input.mine(row)] - graph.input.first
                together.join(np.unique(number[shown]).tolist())
    roots = [together.find(index) for index in range(len(exponents))]
    least = [min(e for e, r in zip(exponents, roots, strict=True) if r == root) for root in roots]
    return np.array(least, np.int64)


def _factors(graph: Graph, view: IntArray, exponents: IntArray) -> FloatArray:
    """By how much each element of a view is larger, of the view's shape."""
    frame = graph.input
    factor = np.ones(view.shape)
    mine = frame.mine(view)
    factor[mine] = 2.0 ** exponents[view[mine] - frame.first]
    return factor


def _by_channel(factor: FloatArray) -> FloatArray | None:
    """The factor of each channel where all its elements have one; float64 [C]."""
    rows = factor.reshape(len(factor), -1)
    largest = rows.max(axis=1)
    # Zeros of a border count as 1, and are zero whatever they are multiplied by.
    same = (rows == largest[:, None]) | (rows == 1.0)
    return largest if same.all() else None


def _with_copies(draft: Draft, op: Op, factors: list[FloatArray]) -> None:
    """In front of an operation copies of what it reads, as large as it was."""
    views, copies = [], []
    for view, factor in zip(op.views, factors, strict=True):
        by_channel = _by_channel(factor)
        if (factor == 1.0).all():
            views.append(view)
            continue
        assert by_channel is not None, "a channel of two inputs"
        name = draft.unique_name(f"{op.name}.input")
        out = draft.new_tensor(name, *view.shape)
        copies.append(
            Depthwise(
                name=name, label="scale", source=op.source, views=(view,), out=out,
                weight=1.0 / by_channel[:, None, None, None], bias=np.zeros(len(view)),
            )
        )  # fmt: skip
        views.append(out.ids)
    draft.put(op, *copies, replace(op, views=tuple(views)))
