# SPDX-License-Identifier: Apache-2.0
"""The sum of two products is one nest if nobody else wants the products.

p = a * b,  q = c * d,  p + q  ->  a * b + c * d
"""

from dataclasses import replace

from bramcast.pack.graph.bounds import known_bounds
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Add, Product
from bramcast.pack.graph.tensor import IntArray, is_whole
from bramcast.pack.graph.window import NO_CLAMP

Pair = tuple[IntArray, IntArray]


def join_products(graph: Graph) -> Graph:
    """Every such sum whose four factors are whole tensors, the input not among them."""
    draft, bounds = Draft(graph), known_bounds(graph)
    for op in graph.ops:
        if not isinstance(op, Add) or not (op.weight == 1.0).all():
            continue
        found = [_product_behind(draft, op, view) for view in op.views]
        sources = [source for source in found if source is not None]
        if len(sources) < 2:
            continue
        pairs = [_as_read(s, v) for s, v in zip(sources, op.views, strict=True)]
        views = tuple(v for pair in pairs for v in _gate_first(draft, bounds, pair))
        owners = [draft.owners(view) for view in views]
        tensors = [o[0].index for o in owners]
        whole = all(len(o) == 1 and is_whole(v, o[0]) for o, v in zip(owners, views, strict=True))
        if not whole or 0 in tensors or len(set(tensors)) < 4:
            continue
        draft.put(op, Product(**replace(op, views=views).common))
        for source in sources:
            draft.remove(source)
    return draft.done()


def _product_behind(draft: Draft, op: Add, view: IntArray) -> Product | None:
    """The plain product that alone makes a view and that only ``op`` reads, once."""
    owners = draft.owners(view)
    if len(owners) != 1 or not is_whole(view, owners[0]) or draft.is_output(owners[0]):
        return None
    source = draft.producer(owners[0])
    if not isinstance(source, Product) or len(source.views) != 2:
        return None
    alone = draft.consumers(owners[0]) == [op]
    plain = source.clamp == NO_CLAMP and source.activation is None
    return source if alone and plain else None


def _as_read(source: Product, view: IntArray) -> Pair:
    """The operands of a product in the order in which a view shows it."""
    a, b = (operand.ravel()[view - source.out.first] for operand in source.views)
    return a, b


def _gate_first(draft: Draft, bounds: dict[int, tuple[float, float]], pair: Pair) -> Pair:
    """A factor that is never negative comes first, so that two pairs agree in signedness."""
    low = [bounds.get(draft.owners(v)[0].index, (-1.0, 1.0))[0] for v in pair]
    return pair if low[0] >= low[1] or low[1] < 0 else (pair[1], pair[0])
