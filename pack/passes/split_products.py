# SPDX-License-Identifier: Apache-2.0
"""16-bit data: sums of two products that 32 bits may not hold are taken apart.

a * b + c * d     ->     p = a * b,  q = c * d,  p + q
"""

from bramcast.pack.graph.bounds import known_bounds, never_negative
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.edit import without_pairs
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Product


def split_products(graph: Graph) -> Graph:
    """Take a * b + c * d apart where all four may be -2**15 at once.

    One factor that is never negative keeps the sum below 2**31.
    """
    known, bounds = {graph.input.index: False}, known_bounds(graph)
    for op in graph.ops:
        known[op.out.index] = never_negative(graph, op, known, bounds)
    draft = Draft(graph)
    for op in graph.ops:
        if not isinstance(op, Product) or len(op.views) == 2:
            continue
        if not any(known[t.index] for view in op.views for t in graph.owners(view)):
            without_pairs(draft, op)
    return draft.done()
