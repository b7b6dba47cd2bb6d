# SPDX-License-Identifier: Apache-2.0
"""Weights that meet nothing but constant zeros become zero in networks of integers.

    W[:, c] x[c]  ->  0 x[c]      where x[c] = 0 whatever the input is

They must not sway the others' format, which such a network fixes.
"""

from dataclasses import replace

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Dense
from bramcast.pack.graph.tensor import ZERO


def clear_idle_weights(graph: Graph) -> Graph:
    """Those of every dense layer, if the network rounds anywhere for itself."""
    draft = Draft(graph)
    if any(op.rounds is not None for op in graph.ops):
        draft.ops = [_cleared(op) if isinstance(op, Dense) else op for op in graph.ops]
    return draft.done()


def _cleared(op: Dense) -> Dense:
    filled = (op.view != ZERO).any(axis=(1, 2))
    if filled.all():
        return op
    used = np.repeat(filled.reshape(op.groups, -1), len(op.weight) // op.groups, axis=0)
    return replace(op, weight=op.weight * used[:, :, None, None])
