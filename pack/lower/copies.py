# SPDX-License-Identifier: Apache-2.0
"""A network of integers in a layout: the copies that the layout needs get their integers.

A network is quantized as it is. LANES and TAPS decide only which operands are copied, each in the
format that it has, so that the network's own integers are the same in every layout.
"""

from dataclasses import dataclass, replace

from bramcast.pack.graph.classes import Classes
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.edit import without_pairs
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Op, Product
from bramcast.pack.lower.layout import LaidOut, make_layout
from bramcast.pack.lower.upright import is_turned, upright, upright_network
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.integers import quantize_copy
from bramcast.pack.quantize.network import Network


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A layout that only adds copies to a graph.

    Attributes:
        graph: without the copies; joined products that the layout can't keep are apart.
    """

    graph: Graph
    laid_out: LaidOut


def plan_layout(graph: Graph, lanes: int, taps: int, tiles: int = 1, pairs: bool = False) -> Plan:
    """Lay a graph out, joined products taken apart where the layout needs that.

    The parts of a product are rounded by themselves, so they need formats: a network is quantized
    with them.
    """
    while True:
        laid_out = make_layout(graph, lanes, taps, tiles, pairs)
        kept = {op.name for op in laid_out.graph.ops if _joined(op)}
        apart = [op for op in graph.ops if isinstance(op, Product) and _joined(op)]
        apart = [op for op in apart if op.name not in kept]
        if not apart:
            return Plan(graph, laid_out)
        draft = Draft(graph)
        for op in apart:
            without_pairs(draft, op)
        graph = draft.done()


def _joined(op: Op) -> bool:
    return len(op.views) == 4


def with_copies(laid: Graph, graph: Graph) -> Graph:
    """A laid out graph with the parameters of another one, ``graph``, that was quantized instead
    of the one that was laid out."""
    if is_turned(laid, graph):
        graph = upright(graph)
    known = {op.name: op for op in graph.ops}

    def now(op: Op) -> Op:
        mine = known.get(op.name)
        return op if mine is None else replace(mine, views=op.views, out=op.out)

    return laid.with_ops(now(op) for op in laid.ops)


def in_layout(network: Network, laid: Graph) -> Network:
    """The network as it is laid out."""
    if is_turned(laid, network.graph):
        network = upright_network(network)
    graph = with_copies(laid, network.graph)
    ops = dict(network.ops)
    formats = _with_copies(network.formats, graph, [op for op in graph.ops if op.name not in ops])
    ops |= {op.name: quantize_copy(graph, formats, op) for op in graph.ops if op.name not in ops}
    return Network(graph, formats, {op.name: ops[op.name] for op in graph.ops}, network.planes)


def _with_copies(formats: Formats, graph: Graph, copies: list[Op]) -> Formats:
    """The formats, and those of copies: what they have copied."""
    count = len(graph.tensors)
    same, signs, sees = (_longer(c, count) for c in (formats.same, formats.signs, formats.sees))
    made = replace(formats, same=same, signs=signs, sees=sees)
    for op in copies:
        owners = [t for view in op.views for t in graph.owners(view)]
        assert len({made.of(t) for t in owners}) == 1, f"{op.name} copies one format"
        for classes in (same, signs):
            classes.join([*(t.index for t in owners), op.out.index])
    return made


def _longer(classes: Classes, count: int) -> Classes:
    """The same classes, and new tensors by themselves."""
    longer = Classes(count)
    longer.parent[: len(classes.parent)] = classes.parent
    return longer
