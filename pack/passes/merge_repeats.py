# SPDX-License-Identifier: Apache-2.0
"""A dense layer that sees a channel several times reads it once.

V x + W x  ->  (V + W) x
"""

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.edit import without_repeats
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Dense


def merge_repeats(graph: Graph) -> Graph:
    """Every dense layer with the weights of equal channels added."""
    draft = Draft(graph)
    draft.ops = [without_repeats(op) if isinstance(op, Dense) else op for op in graph.ops]
    return draft.done()
