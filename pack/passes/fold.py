# SPDX-License-Identifier: Apache-2.0
"""Folds what costs nothing into what computes: BatchNorm and constants into weights, activations
into clamps and tables, and gives the input and the output their final shape.

After ``fold`` every operation is dense, depthwise, avgpool, maxpool, add or product.
"""

from dataclasses import replace
from math import inf

import numpy as np

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.bounds import known_bounds
from bramcast.pack.graph.edit import copy_op, gather_op, without_repeats
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.grid import on_grid, power_of_two, uniform
from bramcast.pack.graph.ops import (
    Add,
    Apply,
    AvgPool,
    Clip,
    Dense,
    Depthwise,
    Op,
    Pointwise,
    Product,
    Scale,
    Weighted,
)
from bramcast.pack.graph.tensor import (
    ZERO,
    FloatArray,
    IntArray,
    Tensor,
    as_pixels,
    is_whole,
    strip_zeros,
)
from bramcast.pack.graph.window import NO_CLAMP, Clamp
from bramcast.pack.passes.forward import fold_forward
from bramcast.pack.passes.rounding import scaled_around_rounding, settle_rounding


def fold(graph: Graph) -> Graph:
    """Fold a captured graph in place and return it."""
    _use_stored_order(graph)
    _use_whole_tensors(graph)
    settle_rounding(graph)
    while _fold_gate(graph):
        pass
    while _fold_back(graph) or _split_by_use(graph):
        pass
    settle_rounding(graph)
    fold_forward(graph)
    while left := [op for op in graph.ops if isinstance(op, Pointwise)]:
        _make_depthwise(graph, left[0])
    _join_products(graph)
    if any(op.rounds is not None for op in graph.ops):  # what must be exact
        graph.ops = [_without_zeros(op) for op in graph.ops]
    graph.ops = [without_repeats(op) if isinstance(op, Dense) else op for op in graph.ops]
    _shape_input(graph)
    _own_output(graph)
    _drop_dead(graph)
    return graph


def _use_stored_order(graph: Graph) -> None:
    """Element-wise operations on a rearranged tensor work in the order in which it is stored."""
    for op in list(graph.ops):
        op = next(o for o in graph.ops if o.name == op.name)
        if not isinstance(op, Pointwise | Add | Product):
            continue
        owners = [graph.owners(v) for v in op.views]
        if any(len(o) != 1 for o in owners):
            continue
        tensors = [o[0] for o in owners]
        first = tensors[0]
        if first.index == 0:
            continue  # the input frame takes its shape from its readers
        if not all(is_whole(v, t) for v, t in zip(op.views, tensors, strict=True)):
            continue
        orders = [v.ravel() - t.first for v, t in zip(op.views, tensors, strict=True)]
        shapes = {(t.channels, t.height, t.width) for t in tensors}
        if len(shapes) != 1 or any((o != orders[0]).any() for o in orders):
            continue
        if (
            op.views[0].shape == (first.channels, first.height, first.width)
            and (np.diff(orders[0]) == 1).all()
        ):
            continue
        _reorder(graph, op, tensors, orders[0])


def _reorder(graph: Graph, op: Op, tensors: list[Tensor], order: IntArray) -> None:
    first = tensors[0]
    shape = (first.channels, first.height, first.width)
    out = graph.new_tensor(op.out.name, *shape)

    def stored(values: FloatArray) -> FloatArray:
        return np.asanyarray(values.ravel()[np.argsort(order)].reshape(shape))

    moved = replace(op, views=tuple(t.ids for t in tensors), out=out)
    if isinstance(moved, Scale):
        moved = replace(moved, weight=stored(moved.weight), bias=stored(moved.bias))
    graph.ops = [moved if o is op else o for o in graph.ops]
    graph.substitute(op.out, out.ids.ravel()[order])


def _use_whole_tensors(graph: Graph) -> None:
    """Element-wise operations on a part of a tensor, or on repeated elements, take all of it once.

    Only they read it, so the other elements may be anything. Then what makes it can take them.
    """
    for name in [op.name for op in graph.ops if isinstance(op, Pointwise)]:
        op = next(o for o in graph.ops if o.name == name)
        owners = graph.owners(op.view)
        if len(owners) != 1 or owners[0].index == 0 or (op.view == ZERO).any():
            continue
        tensor = owners[0]
        if is_whole(op.view, tensor) or graph.is_output(tensor):
            continue
        if graph.consumers(tensor) != [op]:
            continue
        whole = op
        if isinstance(op, Scale):
            weight, bias = (_by_channel(tensor, op.view, values) for values in (op.weight, op.bias))
            if weight is None or bias is None:
                continue
            whole = replace(op, weight=weight, bias=bias)
        out = graph.new_tensor(op.out.name, tensor.channels, tensor.height, tensor.width)
        whole = replace(whole, views=(tensor.ids,), out=out)
        graph.ops = [whole if o is op else o for o in graph.ops]
        graph.substitute(op.out, op.view - tensor.first + out.first)


def _by_channel(tensor: Tensor, view: IntArray, values: FloatArray) -> FloatArray | None:
    """A scale's constants for all elements of a tensor, if each channel has one constant."""
    channel = ((view - tensor.first) // (tensor.height * tensor.width)).ravel()
    shown, first = np.unique(channel, return_index=True)
    if (np.asarray(values.ravel() != values.ravel()[first][np.searchsorted(shown, channel)])).any():
        return None
    nearest = np.minimum(np.searchsorted(shown, np.arange(tensor.channels)), len(shown) - 1)
    rows = values.ravel()[first][nearest][:, None, None]
    result: FloatArray = np.broadcast_to(rows, tensor.ids.shape).copy()
    return result


def _sole_source(graph: Graph, op: Op) -> Op | None:
    """The producer of what ``op`` reads, if nobody else reads any of it."""
    owners = graph.owners(op.view)
    if len(owners) != 1 or len(op.views) != 1 or not is_whole(op.view, owners[0]):
        return None
    if graph.is_output(owners[0]) or len(graph.consumers(owners[0])) != 1:
        return None
    return graph.producer(owners[0])


def _fold_back(graph: Graph) -> bool:
    """Every element-wise operation into the one before it, if that can take it."""
    changed, number = False, 0
    while number < len(graph.ops):
        op = graph.ops[number]
        if isinstance(op, Pointwise) and _into_source(graph, op):
            changed = True
        else:
            number += 1
    return changed


def _into_source(graph: Graph, op: Pointwise) -> bool:
    """An element-wise operation into the one before it; False if that can't take it."""
    source = _sole_source(graph, op)
    merged = None if source is None else _followed(source, op)
    if merged is None:
        return False
    graph.ops = [merged if o is source else o for o in graph.ops]
    numbers = op.view.ravel()
    graph.remove(op)
    graph.substitute(op.out, numbers)
    return True


def _followed(source: Op, op: Pointwise) -> Op | None:
    """``source`` with the element-wise operation behind it, if it can take it."""
    merged = _scaled(source, op) if isinstance(op, Scale) else source
    if merged is None:
        return None
    if op.clamp != NO_CLAMP:
        if merged.activation is None:
            limits_fit = (op.clamp.lo, op.clamp.hi)
            if merged.rounds is not None and not all(on_grid(v, merged.rounds) for v in limits_fit):
                return None
            merged = replace(merged, clamp=merged.clamp.then(op.clamp))
        else:
            limits = Function("clamp", (op.clamp.lo, op.clamp.hi))
            merged = replace(merged, activation=merged.activation.then(Activation((limits,))))
    if op.activation is not None:
        first = merged.activation
        merged = replace(merged, activation=first.then(op.activation) if first else op.activation)
    passed = len(merged.twins) + op.passed
    return replace(merged, twins=(*merged.twins, *op.twins), passed=passed)


def _uniform(scale: Scale) -> Function | None:
    """A scale that is the same for all elements."""
    same = uniform(scale)
    return None if same is None else Function("scale", same)


def _scaled(source: Op, scale: Scale) -> Op | None:
    """``source`` with the scale behind it multiplied into its weights or table, if it can be."""
    if source.activation is not None:
        same = _uniform(scale)
        if same is None:
            return None
        functions: tuple[Function, ...] = (same,)
        if scale.rounds is not None:
            functions += (Function("round", (2.0**scale.rounds,)),)
        return replace(source, activation=source.activation.then(Activation(functions)))
    if source.clamp != NO_CLAMP and source.rounds is None and scale.rounds is None:
        return _times(source, scale) if _passes(source.clamp, scale) else None
    linear = _times(source, scale)
    return None if linear is None else scaled_around_rounding(source, scale, linear)


def _passes(clamp: Clamp, scale: Scale) -> bool:
    """Whether a scale may as well stand before a clamp: positive gains before a ReLU."""
    along = clamp.hi == inf and clamp.lo in (0.0, -inf)
    return along and bool((scale.weight > 0).all()) and not scale.bias.any()


def _times(source: Op, scale: Scale) -> Op | None:
    """``source`` with the scale multiplied into its weights and bias, all else as it is."""
    if isinstance(source, Clip) and scale.rounds is not None:
        ones = np.ones(source.view.shape)
        source = Scale(**source.common, weight=ones, bias=np.zeros(ones.shape))
    order = scale.view.ravel() - source.out.first
    inverse = np.argsort(order)
    weight, bias = scale.weight.ravel()[inverse], scale.bias.ravel()[inverse]
    if isinstance(source, Scale):
        shape = source.weight.shape
        factor, offset = weight.reshape(shape), bias.reshape(shape)
        return replace(source, weight=source.weight * factor, bias=source.bias * factor + offset)
    rounds = scale.rounds is not None or source.rounds is not None
    if isinstance(source, Add | AvgPool) and rounds:
        return _rounded_sum(source, scale)
    if not isinstance(source, Weighted) or source.tap_bias.size:
        return None  # padding's share comes last of all
    rows = weight.reshape(source.out.channels, -1), bias.reshape(source.out.channels, -1)
    if any((r != r[:, :1]).any() for r in rows):
        return None
    factor, offset = rows[0][:, 0], rows[1][:, 0]
    return replace(
        source,
        weight=source.weight * factor[:, None, None, None],
        bias=source.bias * factor + offset,
    )


def _rounded_sum(source: Add | AvgPool, scale: Scale) -> Op | None:
    """An add or an average with the scale of the rounding behind it."""
    same = uniform(scale)
    if same is None or same[0] <= 0 or (isinstance(source, Add) and power_of_two(same[0]) is None):
        return None
    factor, offset = same
    bias = source.bias if source.bias.size else np.zeros(source.out.channels)
    return replace(source, weight=source.weight * factor, bias=bias * factor + offset)


def _fold_gate(graph: Graph) -> bool:
    """x * f(x) is a function of x: SiLU, Mish, Hardswish as they are written out."""
    for op in graph.ops:
        if not isinstance(op, Product):
            continue
        for x, other in (op.views, op.views[::-1]):
            inner = _function_of(graph, other, x)
            if inner is None:
                continue
            gate = Activation((Function("gate", inner=inner),))
            made = Apply(**replace(op, views=(x,), activation=gate).common)
            graph.ops = [made if o is op else o for o in graph.ops]
            _drop_dead(graph)
            return True
    return False


def _function_of(graph: Graph, view: IntArray, of: IntArray) -> Activation | None:
    """The function that makes ``view`` from ``of``, if element-wise operations do."""
    functions: tuple[Function, ...] = ()
    while not np.array_equal(view, of):
        owners = graph.owners(view)
        source = graph.producer(owners[0]) if len(owners) == 1 and (view != ZERO).all() else None
        if not isinstance(source, Pointwise) or source.rounds is not None:
            return None
        before: tuple[Function, ...] = ()
        if isinstance(source, Scale):
            same = _uniform(source)
            if same is None:
                return None
            before = (same,)
        if source.clamp != NO_CLAMP:
            before += (Function("clamp", (source.clamp.lo, source.clamp.hi)),)
        if source.activation is not None:
            before += source.activation.functions
        functions = before + functions
        view = source.view.ravel()[view - owners[0].first]
    return Activation(functions)


def _split_by_use(graph: Graph) -> bool:
    """A dense layer of which products or functions read parts becomes one layer for each part.

    So each gate of a recurrent cell has an activation and whole words of its own.
    """
    for op in graph.ops:
        if not isinstance(op, Dense) or op.groups != 1 or graph.is_output(op.out):
            continue
        readers = graph.consumers(op.out)
        used = np.array([_channels_read(op.out, v) for r in readers for v in r.views])
        partly = [
            isinstance(r, Pointwise | Product) and not _channels_read(op.out, v).all()
            for r in readers
            for v in r.views
            if _channels_read(op.out, v).any()
        ]
        if not any(partly):
            continue
        edges = np.flatnonzero((used[:, 1:] != used[:, :-1]).any(axis=0)) + 1
        if edges.size and edges.size < len(readers) * 4:
            _split(graph, op, [0, *edges.tolist(), op.out.channels])
            return True
    return False


def _channels_read(tensor: Tensor, view: IntArray) -> IntArray:
    """Which channels of a tensor a view reads, int64 [C], 0 or 1."""
    mine = view[tensor.mine(view)]
    read = np.zeros(tensor.channels, np.int64)
    read[(mine - tensor.first) // (tensor.height * tensor.width)] = 1
    return read


def _split(graph: Graph, op: Dense, edges: list[int]) -> None:
    parts, numbers = [], []
    for number, (first, end) in enumerate(zip(edges[:-1], edges[1:], strict=True), 1):
        name = f"{op.name}.part{number}"
        out = graph.new_tensor(name, end - first, op.out.height, op.out.width)
        part = replace(
            op.of_outputs(slice(first, end)),
            name=name,
            out=out,
            macs=op.macs * (end - first) // op.out.channels,
            twins=tuple(f"{twin} part {number}" for twin in op.twins),
        )
        parts.append(part)
        numbers.append(out.ids.ravel())
    at = graph.ops.index(op)
    graph.ops[at : at + 1] = parts
    graph.substitute(op.out, np.concatenate(numbers))


def _join_products(graph: Graph) -> None:
    """a * b + c * d is one nest if nobody else wants the products."""
    bounds = known_bounds(graph)
    for op in [o for o in graph.ops if isinstance(o, Add) and (o.weight == 1.0).all()]:
        found = [_product_behind(graph, op, view) for view in op.views]
        sources = [s for s in found if s is not None]
        if len(sources) < 2:
            continue
        pairs = [_as_read(s, v) for s, v in zip(sources, op.views, strict=True)]
        views = tuple(v for pair in pairs for v in _gate_first(graph, bounds, pair))
        owners = [graph.owners(view) for view in views]
        tensors = [o[0].index for o in owners]
        whole = all(len(o) == 1 and is_whole(v, o[0]) for o, v in zip(owners, views, strict=True))
        if not whole or 0 in tensors or len(set(tensors)) < 4:
            continue
        joined = Product(**replace(op, views=views).common)
        graph.ops = [joined if o is op else o for o in graph.ops if o not in sources]


def _product_behind(graph: Graph, op: Add, view: IntArray) -> Product | None:
    """The plain product that alone makes a view and that only ``op`` reads, once."""
    owners = graph.owners(view)
    if len(owners) != 1 or not is_whole(view, owners[0]) or graph.is_output(owners[0]):
        return None
    source = graph.producer(owners[0])
    if not isinstance(source, Product) or len(source.views) != 2:
        return None
    alone = graph.consumers(owners[0]) == [op]
    plain = source.clamp == NO_CLAMP and source.activation is None
    return source if alone and plain else None


def _as_read(source: Product, view: IntArray) -> tuple[IntArray, IntArray]:
    """The operands of a product in the order in which a view shows it."""
    a, b = (operand.ravel()[view - source.out.first] for operand in source.views)
    return a, b


def _gate_first(
    graph: Graph, bounds: dict[int, tuple[float, float]], pair: tuple[IntArray, IntArray]
) -> tuple[IntArray, IntArray]:
    """A factor that is never negative comes first, so that two pairs agree in signedness."""
    low = [bounds.get(graph.owners(v)[0].index, (-1.0, 1.0))[0] for v in pair]
    return pair if low[0] >= low[1] or low[1] < 0 else (pair[1], pair[0])


def _make_depthwise(graph: Graph, op: Pointwise) -> None:
    """A scale, clamp or function of its own becomes a depthwise 1x1 convolution."""
    shape = op.view.shape
    weight, bias = np.ones(shape), np.zeros(shape)
    if isinstance(op, Scale):
        weight, bias = op.weight, op.bias
    rows = weight.reshape(shape[0], -1), bias.reshape(shape[0], -1)
    if any((r != r[:, :1]).any() for r in rows):
        out = graph.new_tensor(op.out.name, op.view.size, 1, 1)
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
    graph.ops = [made if o is op else o for o in graph.ops]
    if out is not op.out:
        graph.substitute(op.out, out.ids)


def _shape_input(graph: Graph) -> None:
    """Give the input frame the (c, y, x) shape in which its first reader takes it."""
    old = graph.input
    shaped = None
    for op in graph.consumers(old):
        view = strip_zeros(op.view)[0]
        if view.shape[1] * view.shape[2] > 1 and is_whole(view, old):
            shaped = view
            break
    if shaped is None:
        if len(graph.input_shape) != 3 or len(graph.consumers(old)) == 0:
            return
        if all(v.shape[1] * v.shape[2] == 1 for op in graph.consumers(old) for v in op.views):
            return
        shaped = old.ids.reshape(graph.input_shape)
    channels, height, width = shaped.shape
    tensor = Tensor(0, old.name, channels, height, width, 0)
    numbers = np.empty(old.elements, np.int64)
    numbers[shaped.ravel()] = tensor.ids.ravel()
    graph.substitute(old, numbers)
    graph.tensors[0] = tensor
    graph.input_order = shaped.ravel().copy()


def _own_output(graph: Graph) -> None:
    """The result must be one tensor that nobody reads again: else a last copy makes it so."""
    owners = graph.owners(graph.output)
    tensor = owners[0]
    alone = len(owners) == 1 and is_whole(graph.output, tensor)
    if alone and tensor.index != 0 and not graph.consumers(tensor):
        return
    if alone:
        copy = copy_op(graph, tensor.ids, "output", "copy")
        graph.ops.append(copy)
        graph.output = copy.out.ids.ravel()[graph.output - tensor.first]
        return
    if graph.output.ndim > 3:
        raise UnsupportedLayer(
            f"model {graph.name!r}: its output has {graph.output.ndim} axes without the batch "
            "(at most 3)"
        )
    view = graph.output.reshape(as_pixels(graph.output.shape))
    gather = gather_op(graph, view, "output", "gather")
    graph.ops.append(gather)
    graph.output = gather.out.ids.reshape(graph.output.shape)


def _without_zeros(op: Op) -> Op:
    """Weights of channels that are constant zeros must not sway the others' format."""
    zeros = (op.view == ZERO).all(axis=(1, 2))
    if not isinstance(op, Dense) or not zeros.any():
        return op
    used = np.repeat(~zeros.reshape(op.groups, -1), len(op.weight) // op.groups, axis=0)
    return replace(op, weight=op.weight * used[:, :, None, None])


def _drop_dead(graph: Graph) -> None:
    while True:
        dead = [
            op for op in graph.ops if not graph.is_output(op.out) and not graph.consumers(op.out)
        ]
        if not dead:
            return
        for op in dead:
            graph.remove(op)
