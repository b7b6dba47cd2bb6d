# SPDX-License-Identifier: Apache-2.0
"""A scale, clamp or function that nothing has taken becomes a depthwise 1x1 convolution.

g x + o, clip(x), f(x)  ->  Depthwise(x; g, o), with the clamp and the activation of its own
"""

from dataclasses import replace

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Depthwise, Pointwise, Scale


def make_depthwise(graph: Graph) -> Graph:
    """Every element-wise operation; one whose constants differ within a channel takes each
    element as a channel."""
    draft = Draft(graph)
    for number in range(len(draft.ops)):
        op = draft.ops[number]  # as those before it have left it
        if isinstance(op, Pointwise):
            _make(draft, op)
    return draft.done()


def _make(draft: Draft, op: Pointwise) -> None:
    shape = op.view.shape
    weight, bias = np.ones(shape), np.zeros(shape)
    if isinstance(op, Scale):
        weight, bias = op.weight, op.bias
    rows = weight.reshape(shape[0], -1), bias.reshape(shape[0], -1)
    if any((r != r[:, :1]).any() for r in rows):
        out = draft.new_tensor(op.out.name, op.view.size, 1, 1)
        view = op.view.reshape(-1, 1, 1)
        factor, offset = weight.ravel(), bias.ravel()
    else:
        out, view = op.out, op.view
        factor, offset = rows[0][:, 0], rows[1][:, 0]
    made = Depthwise(
        **replace(op, views=(view,), out=out).common,
        weight=factor[:, None, None, None].copy(),
        bias=offset.copy(),
    )
    draft.put(op, made)
    if out is not op.out:
        draft.substitute(op.out, out.ids)
