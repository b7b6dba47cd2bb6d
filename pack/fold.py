"""Folds what costs nothing into what computes: BatchNorm and constants into weights, activations
into clamps, and gives the input and the output their final shape.

After ``fold`` every operation is dense, depthwise, avgpool, maxpool or add.
"""

from dataclasses import replace

import numpy as np

from bramcast.pack.errors import UnsupportedLayer
from bramcast.pack.graph import (
    NO_CLAMP,
    ZERO,
    FloatArray,
    Graph,
    IntArray,
    Op,
    Tensor,
    as_pixels,
    is_whole,
    strip_zeros,
)


def fold(graph: Graph) -> Graph:
    """Fold a captured graph in place and return it."""
    _use_stored_order(graph)
    while _fold_one(graph):
        pass
    while _fold_forward(graph):
        pass
    while left := [op for op in graph.ops if op.kind in ("scale", "clamp")]:
        _make_depthwise(graph, left[0])
    graph.ops = [_without_repeats(op) for op in graph.ops]
    _shape_input(graph)
    _own_output(graph)
    _drop_dead(graph)
    return graph


def _use_stored_order(graph: Graph) -> None:
    """Element-wise operations on a rearranged tensor work in the order in which it is stored."""
    for op in list(graph.ops):
        op = next(o for o in graph.ops if o.name == op.name)
        if op.kind not in ("scale", "clamp", "add"):
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
        if values.size != order.size or op.kind == "add":
            return values
        result = np.empty(order.size)
        result[order] = values.ravel()
        return result.reshape(shape)

    moved = replace(
        op,
        views=tuple(t.ids for t in tensors),
        out=out,
        weight=stored(op.weight),
        bias=stored(op.bias),
    )
    graph.ops = [moved if o is op else o for o in graph.ops]
    graph.substitute(op.out, out.ids.ravel()[order])


def _sole_source(graph: Graph, op: Op) -> Op | None:
    """The producer of what ``op`` reads, if nobody else reads any of it."""
    owners = graph.owners(op.view)
    if len(owners) != 1 or len(op.views) != 1 or not is_whole(op.view, owners[0]):
        return None
    if graph.is_output(owners[0]) or len(graph.consumers(owners[0])) != 1:
        return None
    return graph.producer(owners[0])


def _fold_one(graph: Graph) -> bool:
    for op in graph.ops:
        if op.kind not in ("scale", "clamp"):
            continue
        source = _sole_source(graph, op)
        if source is None:
            continue
        if op.kind == "clamp":
            merged: Op | None = replace(source, clamp=source.clamp.then(op.clamp))
        else:
            merged = _scaled(source, op)
        if merged is None:
            continue
        graph.ops = [merged if o is source else o for o in graph.ops]
        numbers = op.view.ravel()
        graph.remove(op)
        graph.substitute(op.out, numbers)
        return True
    return False


def _scaled(source: Op, scale: Op) -> Op | None:
    """``source`` with the scale behind it multiplied into its weights, if it can take it."""
    if source.clamp != NO_CLAMP:
        return None
    order = scale.view.ravel() - source.out.first
    weight, bias = np.empty(order.size), np.empty(order.size)
    weight[order], bias[order] = scale.weight.ravel(), scale.bias.ravel()
    if source.kind == "scale":
        shape = source.weight.shape
        factor, offset = weight.reshape(shape), bias.reshape(shape)
        return replace(source, weight=source.weight * factor, bias=source.bias * factor + offset)
    if source.kind not in ("dense", "depthwise"):
        return None
    rows = weight.reshape(source.out.channels, -1), bias.reshape(source.out.channels, -1)
    if any((r != r[:, :1]).any() for r in rows):
        return None
    factor, offset = rows[0][:, 0], rows[1][:, 0]
    return replace(
        source,
        weight=source.weight * factor[:, None, None, None],
        bias=source.bias * factor + offset,
    )


def _fold_forward(graph: Graph) -> bool:
    """A scale that nothing before it can take goes into the one dense layer behind it.

    Never into a layer whose padding would have to become something else than zero.
    """
    for scale in graph.ops:
        if scale.kind != "scale" or scale.clamp != NO_CLAMP or graph.is_output(scale.out):
            continue
        readers = graph.consumers(scale.out)
        if len(readers) != 1 or readers[0].kind not in ("dense", "depthwise"):
            continue
        reader = readers[0]
        if graph.owners(reader.view) != [scale.out]:
            continue
        padded = any(reader.window.padding) or bool((reader.view == ZERO).any())
        if padded and scale.bias.any():
            continue
        merged = _absorbing(reader, scale)
        if merged is None:
            continue
        graph.ops = [merged if o is reader else o for o in graph.ops]
        graph.remove(scale)
        graph.substitute(scale.out, scale.view.ravel())
        return True
    return False


def _absorbing(reader: Op, scale: Op) -> Op | None:
    filled = reader.view != ZERO
    local = np.where(filled, reader.view - scale.out.first, 0)
    factor = np.where(filled, scale.weight.ravel()[local], np.nan)
    offset = np.where(filled, scale.bias.ravel()[local], np.nan)
    rows = factor.reshape(factor.shape[0], -1), offset.reshape(offset.shape[0], -1)
    per_channel = []
    for row in rows:
        lo, hi = np.nanmin(row, axis=1), np.nanmax(row, axis=1)
        if (lo != hi).any():
            return None
        per_channel.append(lo)
    if reader.kind == "depthwise":
        multiplier = reader.weight.shape[0] // len(per_channel[0])
        factors = [np.repeat(p, multiplier)[:, None] for p in per_channel]
    else:
        outputs, fan_in = reader.weight.shape[:2]
        of_output = np.arange(outputs) // (outputs // reader.groups)
        index = of_output[:, None] * fan_in + np.arange(fan_in)[None, :]
        factors = [p[index] for p in per_channel]
    added = (reader.weight * factors[1][:, :, None, None]).sum(axis=(1, 2, 3))
    return replace(
        reader, weight=reader.weight * factors[0][:, :, None, None], bias=reader.bias + added
    )


def _make_depthwise(graph: Graph, op: Op) -> None:
    """A scale or clamp of its own becomes a depthwise 1x1 convolution."""
    shape = op.view.shape
    weight = op.weight if op.kind == "scale" else np.ones(shape)
    bias = op.bias if op.kind == "scale" else np.zeros(shape)
    rows = weight.reshape(shape[0], -1), bias.reshape(shape[0], -1)
    if any((r != r[:, :1]).any() for r in rows):
        out = graph.new_tensor(op.out.name, op.view.size, 1, 1)
        view = op.view.reshape(-1, 1, 1)
        factor, offset = weight.ravel(), bias.ravel()
    else:
        out, view = op.out, op.view
        factor, offset = rows[0][:, 0], rows[1][:, 0]
    made = replace(
        op,
        kind="depthwise",
        views=(view,),
        out=out,
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
        op = copy_op(graph, tensor.ids, "output", "copy")
        graph.ops.append(op)
        graph.output = op.out.ids.ravel()[graph.output - tensor.first]
        return
    if graph.output.ndim > 3:
        raise UnsupportedLayer(
            f"model {graph.name!r}: its output has {graph.output.ndim} axes without the batch "
            "(at most 3)"
        )
    op = gather_op(graph, graph.output.reshape(as_pixels(graph.output.shape)), "output", "gather")
    graph.ops.append(op)
    graph.output = op.out.ids.reshape(graph.output.shape)


def copy_op(graph: Graph, view: IntArray, name: str, source: str) -> Op:
    """A lane-wise copy of a [C, H, W] view into a tensor of its own, in the same format."""
    name = graph.unique_name(name)
    out = graph.new_tensor(name, *view.shape)
    weight = np.ones((view.shape[0], 1, 1, 1))
    return Op(
        "depthwise", name, "copy", source, (view,), out, weight, np.zeros(view.shape[0]), exact=True
    )


def gather_op(graph: Graph, view: IntArray, name: str, source: str) -> Op:
    """A dense copy that may put channels in any order and fill others with zeros."""
    name = graph.unique_name(name)
    out = graph.new_tensor(name, *view.shape)
    channels = view.shape[0]
    weight = np.eye(channels)[:, :, None, None]
    return _without_repeats(
        Op("dense", name, "gather", source, (view,), out, weight, np.zeros(channels), exact=True)
    )


def _without_repeats(op: Op) -> Op:
    """A dense operation that reads each channel once: the weights of equal ones are added."""
    if op.kind != "dense":
        return op
    rows = op.view.reshape(len(op.view), -1)
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(rows):
        return op
    weight = op.weight
    if op.groups > 1:
        fan_in, per_group = weight.shape[1], weight.shape[0] // op.groups
        weight = np.zeros((len(op.weight), len(rows), *op.weight.shape[2:]))
        for group in range(op.groups):
            outputs = slice(group * per_group, (group + 1) * per_group)
            weight[outputs, group * fan_in : (group + 1) * fan_in] = op.weight[outputs]
    place = np.argsort(np.argsort(first))[np.asarray(inverse).ravel()]
    merged = np.zeros((len(weight), len(first), *weight.shape[2:]))
    np.add.at(merged.transpose(1, 0, 2, 3), place, weight.transpose(1, 0, 2, 3))
    return replace(op, views=(op.view[np.sort(first)],), weight=merged, groups=1)


def _drop_dead(graph: Graph) -> None:
    while True:
        dead = [
            op for op in graph.ops if not graph.is_output(op.out) and not graph.consumers(op.out)
        ]
        if not dead:
            return
        for op in dead:
            graph.remove(op)
