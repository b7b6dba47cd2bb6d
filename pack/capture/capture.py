# SPDX-License-Identifier: Apache-2.0
"""Captures a PyTorch network with torch.export and turns it into a Graph. Imports torch.

Data movement (reshape, permute, slice, concat, zero padding ...) is not interpreted: the very ATen
operator is run on the elements' numbers, and what comes out is the view. Everything that computes
becomes an Op; what has no lowering is refused by its name and line.
"""

import io
import logging
import re
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bramcast.pack.bundle.errors import InputError, UnsupportedLayer
from bramcast.pack.capture.aten import map_leaves
from bramcast.pack.capture.einsum import EINSUM
from bramcast.pack.capture.elementwise import ELEMENTWISE
from bramcast.pack.capture.folded import is_folded, on_folded
from bramcast.pack.capture.functions import as_function, refuse_random, to_kind
from bramcast.pack.capture.linear import LINEAR
from bramcast.pack.capture.moves import (
    CASTS,
    PADS,
    PASS,
    WHOLE,
    move,
    moves,
    pad,
    passed,
)
from bramcast.pack.capture.nearest import nearest
from bramcast.pack.capture.pairs import PAIRS
from bramcast.pack.capture.pools import POOLS
from bramcast.pack.capture.recurrent import RECURRENT
from bramcast.pack.capture.resize import RESIZED
from bramcast.pack.capture.state import MIXES, Call, Capture, Handler, Mixed, Site, Turned
from bramcast.pack.capture.traced import Leaf, mark, mark_results
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph, LeftOut, Part
from bramcast.pack.graph.tensor import ZERO, IntArray
from bramcast.pack.read.model_file import silent_graphs, users_code

SOFTMAX = ("softmax", "log_softmax", "_softmax", "_log_softmax")


def capture(
    module: nn.Module,
    sample_shape: tuple[int, ...],
    name: str,
    source: str = "model",
    trace: bool = False,
    inputs: tuple[Part, ...] = (),
) -> Graph:
    """Export the network and translate it.

    Args:
        source: what stands for file and line where the author wrote no forward().
        module: in eval mode, weights loaded.
        sample_shape: shape of one sample, without the batch axis.
        name: the network's name.
        trace: the operations' weights and biases know how they come from the module's parameters
            and buffers (pack/capture/traced.py).
        inputs: of several that forward() takes, in its order; a sample is then a vector of all.

    Raises:
        UnsupportedLayer: something that has no lowering; names layer and line.
        InputError: the model can't be run on such samples.
    """
    shapes = [part.shape for part in inputs] or [sample_shape]
    example = tuple(torch.zeros((2, *shape)) for shape in shapes)
    told = " and ".join(str(shape) for shape in shapes)
    try:
        with torch.no_grad(), users_code(Path(name)), silent_graphs(module):
            module(*example)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise InputError(
            f"{_place(error)}: the model fails on samples of shape {told}: "
            f"{_first_line(error)}; x in [model] inputs must hold samples as forward() takes them, "
            "and forward() must take any number of them (tried: 2)"
        ) from None
    try:
        with (
            torch.no_grad(),
            _silent_logs(),
            warnings.catch_warnings(),
            users_code(Path(name)),
            redirect_stderr(io.StringIO()),  # torch.export prints the graph that it gives up
        ):
            warnings.filterwarnings("ignore", message=".*were assigned during export")
            exported = torch.export.export(module, example)
    except Exception as error:  # torch.export raises many kinds
        raise InputError(
            f"{_place(error)}: model {name!r} can't be captured: {_first_line(error)} "
            "(torch.export needs a forward() without control flow that depends on data)"
        ) from None
    parameters = sum(p.numel() for p in module.parameters())
    empty = Graph(name, (), (), np.zeros(0, np.int64), sample_shape, parameters)
    draft = Draft(replace(empty, input_parts=inputs))
    state = Capture(draft, name, source, titles=getattr(module, "bramcast_titles", {}))
    _bind_inputs(state, exported, shapes)
    if trace:
        _mark_parameters(state, module)
    _refuse_attention(state, exported)
    for node in exported.graph.nodes:
        if node.op == "call_function":
            state.values[node.name] = _evaluate(state, node)
        elif node.op == "output":
            _put_outputs(state, exported, node)
    return replace(draft.done(), left_out=_left_out(state))


def _refuse_attention(state: Capture, exported: Any) -> None:
    """Say what it is before one of its transposes is refused for its own sake."""
    data = {n for n in exported.graph.nodes if isinstance(state.values.get(n.name), np.ndarray)}
    for node in exported.graph.nodes:
        if data.isdisjoint(node.all_input_nodes):
            continue
        data.add(node)
        kind = str(getattr(node.target, "_opname", ""))
        if kind in ("scaled_dot_product_attention", "bmm", "baddbmm"):
            site = _site(state, node, kind)
            raise site.refuse(f"attention, a product of two matrices of data ({kind}), has no nest")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _place(error: BaseException) -> str:
    """File and line of the innermost frame outside torch and bramcast."""
    place = "model"
    for frame in traceback.extract_tb(error.__traceback__):
        own = frame.filename == __file__ or frame.filename.startswith("<")  # made by torch.fx
        if not own and "/torch/" not in frame.filename.replace("\\", "/"):
            place = f"{Path(frame.filename).name}:{frame.lineno}"
    return place


@contextmanager
def _silent_logs() -> Iterator[None]:
    """torch.export logs tracebacks of what it then raises."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _bind_inputs(state: Capture, exported: Any, shapes: Sequence[tuple[int, ...]]) -> None:
    signature = exported.graph_signature
    constants = {**exported.state_dict, **exported.constants}
    targets = {s.arg.name: s.target for s in signature.input_specs if s.target is not None}
    sizes = [int(np.prod(shape)) for shape in shapes]
    frame = state.draft.new_tensor("input", sum(sizes), 1, 1)
    pieces = np.split(frame.ids.ravel(), np.cumsum(sizes)[:-1])
    views = iter([ids.reshape(shape) for ids, shape in zip(pieces, shapes, strict=True)])
    for node in exported.graph.nodes:
        if node.op != "placeholder":
            continue
        if node.name in targets:
            state.values[node.name] = constants[targets[node.name]].detach()
            state.origins[node.name] = str(targets[node.name])
        else:
            state.values[node.name] = next(views)


def _mark_parameters(state: Capture, module: nn.Module) -> None:
    """Note on each parameter and buffer of the program what it is called in the module."""
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    names |= {name for name, _ in module.named_buffers(remove_duplicate=False)}
    for node, name in state.origins.items():
        if name in names:
            mark(state.values[node], Leaf(name))


def _put_outputs(state: Capture, exported: Any, node: Any) -> None:
    """What forward() returns: one tensor, or several in tuples, lists and dictionaries."""
    returned = [
        (name, found)
        for name, found in zip(_names_of(exported), node.args[0], strict=True)
        if found is not None
    ]
    if not returned:
        raise UnsupportedLayer(f"model {state.model_name!r} returns nothing")
    views = []
    for name, found in returned:
        what = "its output" if len(returned) == 1 else f"its output {name!r}"
        views.append(_output(state, found, what))
    state.returned = [found.name for _, found in returned]
    if len(views) == 1:
        (state.draft.output,) = views
        return
    shapes = [tuple(view.shape) for view in views]
    state.draft.output = np.concatenate([view.ravel() for view in views])
    state.draft.parts = tuple(
        Part(name, shape) for (name, _), shape in zip(returned, shapes, strict=True)
    )


def _names_of(exported: Any) -> list[str]:
    """A name for each leaf of what forward() returns: the author's keys, else numbers."""
    spec = exported.call_spec.out_spec
    tree = torch.utils._pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    leaves, _ = torch.utils._pytree.tree_flatten_with_path(tree)
    names = []
    for path, _ in leaves:
        keys = [
            str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", "")))) for key in path
        ]
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", ".".join(keys))
        names.append(f"output{name}" if not name or name[0].isdigit() else name)
    return [n if names.index(n) == i else f"{n}_{i}" for i, n in enumerate(names)]


def _output(state: Capture, found: Any, what: str) -> IntArray:
    """The view that an output node shows."""
    result = state.values[found.name] if isinstance(found, torch.fx.Node) else found
    model = f"model {state.model_name!r}: {what}"
    elsewhere = "there is nothing to pack" if what == "its output" else "return it elsewhere"
    if is_folded(result):
        raise result.site.refuse(MIXES)
    if not isinstance(result, np.ndarray):
        raise UnsupportedLayer(f"{model} does not depend on the input: {elsewhere}")
    view: IntArray = result
    if (view == ZERO).all():
        raise UnsupportedLayer(f"{model} is zero whatever the input: {elsewhere}")
    whole = (view != ZERO).all() and np.unique(view).size == view.size
    if found.name in state.softmax and not whole:
        raise UnsupportedLayer(
            f"{model}: its softmax at the end repeats elements or pads them with zeros; do that "
            "outside the network"
        )
    return view


def _left_out(state: Capture) -> tuple[LeftOut, ...]:
    """The softmax at the end of each result, where there was one."""
    left, before = [], 0
    for node, view in zip(state.returned, state.draft.results, strict=True):
        if node in state.softmax:
            kind, name, groups = state.softmax[node]
            place = np.empty(int(view.max()) + 1, np.int64)
            place[view.ravel()] = before + np.arange(view.size)
            left.append(LeftOut(kind, name, place[groups]))
        before += view.size
    return tuple(left)


def _ends_of(node: Any) -> list[str]:
    """The nodes that are returned of those that only rearrange a node's result, and of itself."""
    found = [node.name] if any(user.op == "output" for user in node.users) else []
    for user in node.users:
        found += _ends_of(user) if user.op != "output" else []
    return found


def _is_last(node: Any) -> bool:
    """Whether nothing but the output reads a node's result, rearranged as a whole perhaps."""
    return all(
        user.op == "output" or (_kind(user) in WHOLE and _is_last(user)) for user in node.users
    )


def _softmax(state: Capture, site: Site, node: Any, kind: str, arguments: Any) -> IntArray:
    """A softmax that ends a result is left out, and its groups are noted."""
    view, axis = arguments[0], int(arguments[1])
    axis += -1 if axis > 0 else view.ndim
    if not 0 <= axis < view.ndim:
        raise site.refuse("a softmax over the samples of a batch")
    groups = np.moveaxis(view, axis, -1).reshape(-1, view.shape[axis])
    state.softmax |= dict.fromkeys(_ends_of(node), (kind.lstrip("_"), site.name, groups))
    result: IntArray = view
    return result


def _site(state: Capture, node: Any, kind: str) -> Site:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, owner = stack[-1] if stack else ("", "")
    if path in state.titles:
        title = state.titles[path]
        return Site(title.name, title.label, title.source)
    label = str(owner).rsplit(".", 1)[-1]
    builtin = str(owner).startswith("torch.nn.")
    name = path if builtin and path else ".".join(p for p in (path, kind) if p)
    source = state.source
    for file, line in re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or ""):
        own = Path(__file__).parents[1] in Path(file).parents  # a bare state dict's, or ONNX
        if not own and "/torch/" not in file.replace("\\", "/"):
            source = f"{Path(file).name}:{line}"
    return Site(name, label if builtin else kind, source)


def _kind(node: Any) -> str:
    """The name of the operator that a node calls."""
    return str(getattr(node.target, "_opname", None) or getattr(node.target, "__name__", ""))


def _evaluate(state: Capture, node: Any) -> Any:
    target, kind = node.target, _kind(node)
    arguments = torch.fx.node.map_arg(node.args, lambda n: state.values[n.name])
    keywords = torch.fx.node.map_arg(node.kwargs, lambda n: state.values[n.name])
    if kind == "getitem":
        return arguments[0][arguments[1]]
    if kind == "_assert_tensor_metadata":
        return None
    flat: list[Any] = []
    torch.utils._pytree.tree_map(flat.append, (arguments, keywords))
    site = _site(state, node, kind.rstrip("_"))
    used = dict.fromkeys(state.origins.get(n.name, "") for n in node.all_input_nodes)
    origin = ", ".join(name for name in used if name)
    bare = kind.rstrip("_") if kind != "_" and not kind.endswith("__") else kind
    call = Call(target, bare, tuple(arguments), keywords, _dtypes(state, node))
    if not any(isinstance(a, (np.ndarray, Turned, Mixed)) for a in flat):
        refuse_random(site, call)
        state.origins[node.name] = origin
        try:
            result = target(*arguments, **keywords)  # constants fold
        except RuntimeError as error:  # a result of zeros has a batch of one here
            raise site.refuse(
                f"what it computes on constants fails: {_first_line(error)}"
            ) from None
        mark_results(target, arguments, keywords, result)
        return result
    state.enter(origin)
    value = node.meta["val"]
    values = value if isinstance(value, (tuple, list)) else (value,)
    shapes = tuple(tuple(v.shape) for v in values if isinstance(v, torch.Tensor))
    folded = any(is_folded(a) for a in flat)
    if kind in CASTS and not value.is_floating_point():

        def cast(mine: Call, shape: tuple[int, ...]) -> Any:
            state.call = mine
            return to_kind(state, site, mine.arguments[0], value.dtype)

        return on_folded(state, site, call, shapes, cast) if folded else cast(call, shapes[0][1:])
    if kind in PASS:
        return passed(kind, arguments, site)
    if moves(kind, arguments):
        return move(state, target, kind, arguments, keywords, site)
    if kind in SOFTMAX and _is_last(node) and not folded:
        return _softmax(state, site, node, kind, arguments)
    if kind in PADS:
        for_maximum = all(_kind(user).startswith("max_pool") for user in node.users)
        return pad(state, kind, arguments, keywords, site, for_maximum)
    if kind in ("new_zeros", "zeros_like"):
        batched = shapes[0][:1] == (2,)  # else the samples share an axis, or are another one
        return np.full(shapes[0][1:], ZERO, np.int64) if batched else torch.zeros(shapes[0])
    if kind in ("new_ones", "ones_like"):
        return torch.ones((1, *shapes[0][1:]))
    if kind in ("new_full", "full_like"):
        number = arguments[2] if kind == "new_full" else arguments[1]
        return torch.full((1, *shapes[0][1:]), float(number))

    def compute(mine: Call, shape: tuple[int, ...]) -> Any:
        return _compute(state, site, mine, shape, len(values) > 1)

    if folded and not _takes_turned(call):
        return on_folded(state, site, call, shapes, compute)
    return compute(call, shapes[0][1:])


def _takes_turned(call: Call) -> bool:
    """Whether it is a recurrent layer that takes its operands as they are."""
    flat: list[Any] = []
    torch.utils._pytree.tree_map(flat.append, (call.arguments, call.keywords))
    return call.kind in RECURRENT and not any(isinstance(v, Mixed) for v in flat)


def _compute(state: Capture, site: Site, call: Call, shape: tuple[int, ...], several: bool) -> Any:
    """The operations of a call whose data have the samples first, but for recurrent layers.

    Args:
        several: it has more results than one.
    """
    state.call = call
    handler, recurrent = HANDLERS.get(call.kind), RECURRENT.get(call.kind)
    if handler is None and recurrent is None:
        made = as_function(state, site)
        if made is not None:
            return made
        raise site.refuse(f"{call.kind} has no lowering: {nearest(call.kind)}")
    schema = call.target._schema.arguments
    named = dict(zip([a.name for a in schema], call.arguments, strict=False)) | call.keywords
    defaults = {a.name: a.default_value for a in schema if a.has_default_value()}
    if recurrent is not None:
        return recurrent(state, site, defaults | named)
    assert handler is not None
    result = handler(state, site, defaults | named, shape)
    # A maximum with its indices: only the first is known.
    return [result, None] if several else result


def _dtypes(state: Capture, node: Any) -> tuple[torch.dtype, ...]:
    """What kinds of numbers a node's data are, in the order of ``Call``."""
    found: list[torch.dtype] = []

    def of_leaf(value: Any) -> None:
        data = (np.ndarray, Turned, Mixed)
        if isinstance(value, torch.fx.Node) and isinstance(state.values[value.name], data):
            found.append(value.meta["val"].dtype)

    map_leaves(node.args, of_leaf)
    map_leaves([v for _, v in sorted(node.kwargs.items())], of_leaf)
    return tuple(found)


HANDLERS: dict[str, Handler] = {
    **RESIZED, **LINEAR, **EINSUM, **ELEMENTWISE, **PAIRS, **POOLS,
}  # fmt: skip
