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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bramcast.pack.activations import Activation, Function
from bramcast.pack.checkpoint import users_code
from bramcast.pack.errors import InputError, UnsupportedLayer
from bramcast.pack.graph import (
    ZERO,
    Clamp,
    FloatArray,
    Graph,
    IntArray,
    LeftOut,
    Op,
    Window,
    as_pixels,
)
from bramcast.pack.recurrent import (
    Parameters,
    Step,
    gru_step,
    lstm_step,
    rnn_step,
    run_layers,
)
from bramcast.pack.traced import Leaf, array_of, mark, mark_results, tensor_of
from bramcast.pack.transposed import Axis, all_phases, from_one_pixel

BATCH_STEP = 1 << 40  # element numbers of the second sample of the example batch

SUPPORTED = (
    "supported are Linear, Conv1d, Conv2d (any stride, dilation, zero padding, groups), "
    "ConvTranspose1d, ConvTranspose2d, BatchNorm, "
    "ReLU, ReLU6, Hardtanh, clamp, sigmoid, tanh, SiLU, GELU, LeakyReLU, Hardswish, Hardsigmoid, "
    "ELU, Softplus, Mish, MaxPool, AvgPool, adaptive pooling to a divisor of the size, mean or "
    "maximum over axes, add, sub, mul, constant scale and offset, floor(x + 0.5), GRU, LSTM, RNN, "
    "cat, reshape, permute, slice, zero padding, pixel_shuffle, nearest upsampling, Dropout"
)

SOFTMAX = ("softmax", "log_softmax", "_softmax", "_log_softmax")
HINTS = (
    {
        name: " (only at the end of forward(), where it is left out: the logits keep their order)"
        for name in SOFTMAX
    }
    | {
        name: " (leave it out of forward(): the core gives the index of the largest result, too)"
        for name in ("argmax", "topk")
    }
    | {
        name: " (the core rounds as torch.floor(x + 0.5) does: write that)"
        for name in ("ceil", "trunc", "fix", "frac")
    }
)

WHOLE = {  # what only gives the elements other axes
    "permute", "transpose", "reshape", "view", "_unsafe_view", "flatten", "unflatten", "squeeze",
    "unsqueeze", "contiguous", "clone", "alias", "t", "movedim", "swapaxes", "swapdims", "detach",
    "to", "_to_copy", "float",
}  # fmt: skip
MOVES = {
    "permute", "transpose", "reshape", "view", "_unsafe_view", "flatten", "unflatten", "squeeze",
    "unsqueeze", "expand_as", "contiguous", "clone", "slice", "select", "narrow", "chunk", "split",
    "split_with_sizes", "unbind", "cat", "concat", "concatenate", "stack", "expand", "t",
    "movedim", "swapaxes", "swapdims", "flip", "roll", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "alias", "index_select", "repeat", "tile", "hstack", "vstack", "dstack",
}  # fmt: skip
PASS = {
    "dropout", "dropout_", "feature_dropout", "alpha_dropout", "identity", "detach", "to",
    "_to_copy", "lift_fresh_copy", "lift_fresh", "type_as", "float",
}  # fmt: skip


@dataclass(slots=True)
class Capture:
    """State of one capture: the graph so far and the value of each torch.export node."""

    graph: Graph
    model_name: str
    source: str = "model"
    values: dict[str, Any] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    titles: dict[str, Any] = field(default_factory=dict)  # layers of another format, by module
    origins: dict[str, str] = field(default_factory=dict)  # parameters behind a constant node
    anchor: str = ""  # the parameters that were last used
    offset: int = 0  # nodes since then
    count: int = 0  # operations of this node so far
    layers: dict[str, str] = field(default_factory=dict)  # first operation of each twin
    softmax: tuple[str, str, IntArray] | None = None  # the last one: kind, layer, its groups

    def unique(self, name: str) -> str:
        candidate, number = name, 2
        while candidate in self.names:
            candidate, number = f"{name}_{number}", number + 1
        self.names.add(candidate)
        return candidate

    def enter(self, origin: str) -> None:
        """Note that a node is evaluated that uses these parameters ("" for none)."""
        self.anchor, self.offset = (origin, 0) if origin else (self.anchor, self.offset + 1)
        self.count = 0

    def twin(self, kind: str, shape: tuple[int, ...]) -> str:
        """What the next operation is in any time step: so many nodes behind the same weights."""
        self.count += 1
        return f"{self.anchor} +{self.offset}.{self.count} {kind} {shape}"


@dataclass(frozen=True, slots=True, eq=False)
class Turned:
    """Element numbers whose batch axis is not the first one but ``axis``; it is left out."""

    numbers: IntArray
    axis: int


@dataclass(frozen=True, slots=True)
class Site:
    """Where an operation stands in the author's model."""

    name: str
    label: str
    source: str

    def refuse(self, what: str) -> UnsupportedLayer:
        return UnsupportedLayer(f"{self.source}: layer {self.name!r}: {what}; {SUPPORTED}")


def capture(
    module: nn.Module,
    sample_shape: tuple[int, ...],
    name: str,
    source: str = "model",
    trace: bool = False,
) -> Graph:
    """Export the network and translate it.

    Args:
        source: what stands for file and line where the author wrote no forward().
        module: in eval mode, weights loaded.
        sample_shape: shape of one sample, without the batch axis.
        name: the network's name.
        trace: the operations' weights and biases know how they come from the module's parameters
            and buffers (pack/traced.py).

    Raises:
        UnsupportedLayer: something that has no lowering; names layer and line.
        InputError: the model can't be run on such samples.
    """
    example = torch.zeros((2, *sample_shape))
    try:
        with torch.no_grad(), users_code(Path(name)):
            module(example)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise InputError(
            f"{_place(error)}: the model fails on samples of shape {sample_shape}: "
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
            exported = torch.export.export(module, (example,))
    except Exception as error:  # torch.export raises many kinds
        raise InputError(
            f"{_place(error)}: model {name!r} can't be captured: {_first_line(error)} "
            "(torch.export needs a forward() without control flow that depends on data)"
        ) from None
    graph = Graph(name=name, input_shape=sample_shape)
    graph.parameters = sum(p.numel() for p in module.parameters())
    state = Capture(graph, name, source, titles=getattr(module, "bramcast_titles", {}))
    _bind_inputs(state, exported, sample_shape)
    if trace:
        _mark_parameters(state, module)
    _refuse_attention(state, exported)
    for node in exported.graph.nodes:
        if node.op == "call_function":
            state.values[node.name] = _evaluate(state, node)
        elif node.op == "output":
            graph.output = _output(state, node)
    return graph


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
        if frame.filename != __file__ and "/torch/" not in frame.filename.replace("\\", "/"):
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


def _bind_inputs(state: Capture, exported: Any, shape: tuple[int, ...]) -> None:
    signature = exported.graph_signature
    constants = {**exported.state_dict, **exported.constants}
    targets = {s.arg.name: s.target for s in signature.input_specs if s.target is not None}
    frame = state.graph.new_tensor("input", int(np.prod(shape)), 1, 1)
    for node in exported.graph.nodes:
        if node.op != "placeholder":
            continue
        if node.name in targets:
            state.values[node.name] = constants[targets[node.name]].detach()
            state.origins[node.name] = str(targets[node.name])
        else:
            state.values[node.name] = frame.ids.reshape(shape)


def _mark_parameters(state: Capture, module: nn.Module) -> None:
    """Note on each parameter and buffer of the program what it is called in the module."""
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    names |= {name for name, _ in module.named_buffers(remove_duplicate=False)}
    for node, name in state.origins.items():
        if name in names:
            mark(state.values[node], Leaf(name))


def _output(state: Capture, node: Any) -> IntArray:
    results = [state.values[a.name] for a in node.args[0] if a is not None]
    if len(results) == 1 and isinstance(results[0], Turned):
        raise UnsupportedLayer(f"model {state.model_name!r}: its output is turned: {_MIXES}")
    if len(results) == 1 and isinstance(results[0], torch.Tensor):
        raise UnsupportedLayer(
            f"model {state.model_name!r}: its output does not depend on the input: there is "
            "nothing to pack"
        )
    if len(results) != 1 or not isinstance(results[0], np.ndarray):
        raise UnsupportedLayer(
            f"model {state.model_name!r} returns {len(results)} values: bramcast packs networks "
            "with one output tensor; wrap the model so that forward() returns one"
        )
    view: IntArray = results[0]
    if (view == ZERO).any() or np.unique(view).size != view.size:
        raise UnsupportedLayer(
            f"model {state.model_name!r}: its output repeats elements or pads them with zeros; "
            "do that outside the network"
        )
    if state.softmax is not None:
        kind, name, groups = state.softmax
        place = np.empty(int(view.max()) + 1, np.int64)
        place[view.ravel()] = np.arange(view.size)
        state.graph.left_out = LeftOut(kind, name, place[groups])
    return view


def _is_last(node: Any) -> bool:
    """Whether nothing but the output reads a node's result, rearranged as a whole perhaps."""
    return all(
        user.op == "output" or (_kind(user) in WHOLE and _is_last(user)) for user in node.users
    )


def _softmax(state: Capture, site: Site, node: Any, kind: str, arguments: Any) -> IntArray:
    """The last softmax of all is left out, and its groups are noted."""
    view, axis = arguments[0], int(arguments[1])
    axis += -1 if axis > 0 else view.ndim
    if not 0 <= axis < view.ndim:
        raise site.refuse("a softmax over the samples of a batch")
    groups = np.moveaxis(view, axis, -1).reshape(-1, view.shape[axis])
    state.softmax = (kind.lstrip("_"), site.name, groups)
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
        own = Path(file).parent == Path(__file__).parent  # the network of a bare state dict
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
    flat: list[Any] = []
    torch.utils._pytree.tree_map(flat.append, (arguments, keywords))
    site = _site(state, node, kind.rstrip("_"))
    used = dict.fromkeys(state.origins.get(n.name, "") for n in node.all_input_nodes)
    origin = ", ".join(name for name in used if name)
    if not any(isinstance(a, (np.ndarray, Turned)) for a in flat):
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
    if kind == "_assert_tensor_metadata":
        return None
    if kind in PASS:
        return _passed(node, kind, arguments, site)
    if kind in MOVES:
        return _move(target, arguments, keywords, site)
    if kind in SOFTMAX and _is_last(node) and not any(isinstance(a, Turned) for a in flat):
        return _softmax(state, site, node, kind, arguments)
    if kind in ("pad", "constant_pad_nd"):
        return _pad(target, kind, arguments, keywords, site)
    if kind in ("new_zeros", "zeros_like"):
        shape = tuple(node.meta["val"].shape)[1:]
        return np.full(shape, ZERO, np.int64)
    if kind in ("new_ones", "ones_like"):
        return torch.ones((1, *node.meta["val"].shape[1:]))
    handler = HANDLERS.get(kind.rstrip("_") if kind != "_" else kind)
    recurrent = RECURRENT.get(kind)
    if handler is None and recurrent is None:
        hint = HINTS.get(kind, "")
        raise site.refuse(f"{kind} has no lowering{hint}")
    schema = [a.name for a in target._schema.arguments]
    named = dict(zip(schema, arguments, strict=False)) | dict(keywords)
    defaults = {a.name: a.default_value for a in target._schema.arguments if a.has_default_value()}
    if recurrent is not None:
        return recurrent(state, site, defaults | named)
    assert handler is not None
    if any(isinstance(a, Turned) for a in flat):
        raise site.refuse(_MIXES)
    value = node.meta["val"]
    if isinstance(value, (tuple, list)):  # a maximum with its indices: only the first is known
        return [handler(state, site, defaults | named, tuple(value[0].shape)[1:]), None]
    return handler(state, site, defaults | named, tuple(value.shape)[1:])


def _passed(node: Any, kind: str, arguments: Any, site: Site) -> Any:
    """What leaves the numbers as they are in inference; a cast to integers does not."""
    if "dropout" in kind and len(arguments) > 2 and arguments[2]:
        raise site.refuse(
            f"{kind} is active in inference; write F.dropout(x, p, training=self.training)"
        )
    if not node.meta["val"].is_floating_point():
        raise site.refuse(f"{kind} makes integers ({node.meta['val'].dtype}) of data")
    return arguments[0]


def _doubled(value: Any) -> Any:
    """Element numbers with a batch axis of two samples; constants as they are."""
    if isinstance(value, Turned):
        return _doubled(value.numbers).movedim(0, value.axis)
    if not isinstance(value, np.ndarray):
        return value
    second = np.where(value == ZERO, ZERO, value + BATCH_STEP)
    return torch.from_numpy(np.stack([value, second]))


def _zeros_as_numbers(value: Any) -> Any:
    """A constant of zeros that is joined with data is the constant-zero element."""
    if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(value.any()):
        return torch.full(value.shape, ZERO, dtype=torch.int64)
    return value


def _undoubled(value: Any, site: Site) -> Any:
    if isinstance(value, (tuple, list)):
        return [_undoubled(v, site) for v in value]
    numbers = value.numpy()
    for axis in (i for i, size in enumerate(numbers.shape) if size == 2):
        first, second = np.moveaxis(numbers, axis, 0)
        if np.array_equal(np.where(first == ZERO, ZERO, first + BATCH_STEP), second):
            found = np.ascontiguousarray(first)
            return Turned(found, axis) if axis else found
    raise site.refuse(_MIXES)


_MIXES = "it moves elements between samples of a batch (axis 0 must stay the batch)"


def _move(target: Any, arguments: Any, keywords: Any, site: Site) -> Any:
    tree = torch.utils._pytree.tree_map(_doubled, (list(arguments), dict(keywords)))
    tree = torch.utils._pytree.tree_map(_zeros_as_numbers, tree)
    if any(isinstance(a, torch.Tensor) and a.is_floating_point() for a in _leaves(tree)):
        raise site.refuse("it joins a constant tensor with data")
    return _undoubled(target(*tree[0], **tree[1]), site)


def _leaves(tree: Any) -> list[Any]:
    leaves: list[Any] = torch.utils._pytree.tree_leaves(tree)
    return leaves


def _pad(target: Any, kind: str, arguments: Any, keywords: Any, site: Site) -> IntArray:
    positional = list(arguments)
    mode = "constant"
    if kind == "pad":
        mode = positional[2] if len(positional) > 2 else keywords.get("mode", "constant")
        value = positional[3] if len(positional) > 3 else keywords.get("value")
    else:
        value = positional[2] if len(positional) > 2 else keywords.get("value", 0)
    if mode != "constant" or value not in (None, 0, 0.0):
        raise site.refuse(f"padding with mode {mode!r} and value {value} (only zeros are)")
    numbers = torch.nn.functional.pad(_doubled(positional[0]), tuple(positional[1]), value=ZERO)
    result: IntArray = _undoubled(numbers, site)
    return result


# --- operations that compute -------------------------------------------------------------------

Handler = Callable[[Capture, Site, dict[str, Any], tuple[int, ...]], Any]


def _numpy(value: Any) -> Any:
    return array_of(value) if isinstance(value, torch.Tensor) else value


def _pair(value: Any) -> tuple[int, int]:
    """An argument given for one axis ([w], Conv1d) or two ([h, w]) or as one number."""
    if isinstance(value, int):
        return value, value
    values = [int(v) for v in value]
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def _add_op(state: Capture, site: Site, op: dict[str, Any], out_shape: tuple[int, ...]) -> IntArray:
    """Append an Op whose result is [C, H, W] = ``out_shape`` and return the result's numbers."""
    name = state.unique(site.name)
    out = state.graph.new_tensor(name, *out_shape)
    twin = state.twin(op["kind"], out_shape)
    layer = state.layers.setdefault(twin, name)
    made = Op(name=name, label=site.label, source=site.source, out=out, layer=layer, **op)
    state.graph.ops.append(replace(made, twins=(twin,)))
    return out.ids


def _constant(site: Site, value: Any, what: str) -> Any:
    if isinstance(value, np.ndarray):
        raise site.refuse(f"its {what} is computed from data, not a constant")
    return _numpy(value)


def _convolution(one_axis: bool) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
        view = a["input"]
        weight = _constant(site, a["weight"], "weight")
        bias = a.get("bias")
        if (view == ZERO).all():
            each = np.zeros(len(weight)) if bias is None else _constant(site, bias, "bias")
            return _known(np.broadcast_to(each.reshape(-1, *[1] * (len(shape) - 1)), shape))
        if one_axis:
            view, weight = view[:, None, :], weight[:, :, None, :]
        stride, dilation = _axes(a["stride"], one_axis, 1), _axes(a["dilation"], one_axis, 1)
        kernel = (int(weight.shape[2]), int(weight.shape[3]))
        padding = _conv_padding(a.get("padding", 0), one_axis, kernel, dilation)
        out_shape = as_pixels(shape)
        macs = int(np.prod(out_shape)) * int(np.prod(weight.shape[1:]))
        groups, outputs = int(a["groups"]), int(weight.shape[0])
        depthwise = groups == view.shape[0] and weight.shape[1] == 1 and groups > 1
        numbers = _add_op(
            state,
            site,
            {
                "kind": "depthwise" if depthwise else "dense",
                "views": (view,),
                "weight": weight,
                "bias": np.zeros(outputs) if bias is None else _constant(site, bias, "bias"),
                "window": Window(kernel, stride, dilation, padding),
                "groups": 1 if depthwise else groups,
                "macs": macs,
            },
            out_shape,
        )
        return numbers.reshape(shape)

    return handler


def _transposed_convolution(one_axis: bool) -> Handler:
    """One convolution with the channels of all phases (transposed.py); pixels in their order."""

    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
        view, weight = a["input"], _constant(site, a["weight"], "weight")
        if one_axis:
            view, weight = view[:, None, :], weight[:, :, None, :]
        if _axes(a["dilation"], one_axis, 1) != (1, 1):
            raise site.refuse("a transposed convolution with a dilation")
        groups, each = int(a["groups"]), int(weight.shape[1])
        stride, padding = _axes(a["stride"], one_axis, 1), _axes(a["padding"], one_axis, 0)
        size = as_pixels(shape)[1:]
        y, x = (
            Axis(weight.shape[2 + i], stride[i], padding[i], view.shape[1 + i], size[i])
            for i in (0, 1)
        )
        bias = a.get("bias")
        bias = np.zeros(groups * each) if bias is None else _constant(site, bias, "bias")
        if view.shape[1:] == (1, 1) and groups == 1:  # from one pixel: a Linear
            matrix = from_one_pixel(y, x, weight)
            rows = np.concatenate([bias] * (size[0] * size[1]))
            flat = _product_with_matrix(state, site, view[:, 0, 0], matrix, rows, (len(rows),))
            if not isinstance(flat, np.ndarray):
                raise site.refuse("its input is a constant zero")
            pixels = flat.reshape(*size, each).transpose(2, 0, 1)
            return np.ascontiguousarray(pixels).reshape(shape)
        made = all_phases(y, x, weight, bias, groups)
        depthwise = groups == len(view) and groups > 1
        numbers = _add_op(
            state,
            site,
            {
                "kind": "depthwise" if depthwise else "dense",
                "views": (view[:, slice(*y.crop), slice(*x.crop)],),
                "weight": made.weight,
                "bias": made.bias,
                "window": made.window,
                "groups": 1 if depthwise else groups,
                "macs": int(view[0].size * weight.size),
            },
            (len(made.bias), y.count, x.count),
        )
        picture = numbers.reshape(groups, y.stride, x.stride, each, y.count, x.count)
        picture = picture.transpose(0, 3, 4, 1, 5, 2)
        picture = picture.reshape(groups * each, y.count * y.stride, x.count * x.stride)
        return np.ascontiguousarray(picture[:, : size[0], : size[1]]).reshape(shape)

    return handler


def _upsample(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
    """Nearest upsampling by whole numbers: a view that repeats pixels."""
    view = _operand(a)
    view = view.reshape(*as_pixels(view.shape))
    out = as_pixels(shape)
    if any(n % size for n, size in zip(out[1:], view.shape[1:], strict=True)):
        raise site.refuse(
            f"upsampling from {view.shape[1:]} to {out[1:]}, which is no multiple of it"
        )
    for axis in (1, 2):
        view = np.repeat(view, out[axis] // view.shape[axis], axis=axis)
    return view.reshape(shape)


def _operand(a: dict[str, Any]) -> IntArray:
    """The tensor that an ATen operator works on; some call it self, some input."""
    view: IntArray = a["self"] if "self" in a else a["input"]
    return view


def _axes(value: Any, one_axis: bool, neutral: int) -> tuple[int, int]:
    if one_axis:
        single = value if isinstance(value, int) else int(value[0])
        return neutral, single
    return _pair(value)


def _conv_padding(
    value: Any, one_axis: bool, kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    if value == "valid":
        return 0, 0, 0, 0
    if value == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        top, left = total[0] // 2, total[1] // 2
        return top, left, total[0] - top, total[1] - left
    rows, columns = _axes(value, one_axis, 0)
    return rows, columns, rows, columns


def _linear(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    weight, bias = _constant(site, a["weight"], "weight"), a.get("bias")
    outputs = np.zeros(len(weight)) if bias is None else _constant(site, bias, "bias")
    return _product_with_matrix(state, site, a["input"], weight, outputs, shape)


def _matmul(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """x @ weight with a constant matrix; addmm adds a constant."""
    left = a["mat1"] if "mat1" in a else a["self"]
    right = a["other"] if "other" in a else a["mat2"]
    if not isinstance(left, np.ndarray) or isinstance(right, np.ndarray) or right.dim() != 2:
        raise site.refuse("a matrix product that is not data times a constant matrix")
    weight = _numpy(right).T
    bias = np.zeros(len(weight))
    if "mat1" in a:
        if a["beta"] != 1 or a["alpha"] != 1:
            raise site.refuse("addmm with factors")
        bias = np.broadcast_to(_constant(site, a["self"], "bias"), bias.shape)
    return _product_with_matrix(state, site, left, weight, bias, shape)


def _product_with_matrix(
    state: Capture,
    site: Site,
    view: IntArray,
    weight: FloatArray,
    bias: FloatArray,
    shape: tuple[int, ...],
) -> Any:
    """weight @ x + bias over the last axis; a constant where all of x is zero."""
    if (view == ZERO).all():
        return tensor_of(np.broadcast_to(bias, (1, *shape)))
    lead = view.shape[:-1]
    if len(lead) > 2:
        raise site.refuse(f"Linear on an array with {view.ndim} axes (1 to 3 without the batch)")
    height, width = (1, *lead)[-2:] if lead else (1, 1)
    if len(lead) == 2:
        height, width = lead
    pixels = view.reshape(height, width, view.shape[-1]).transpose(2, 0, 1)
    outputs, fan_in = weight.shape
    numbers = _add_op(
        state,
        site,
        {
            "kind": "dense",
            "views": (np.ascontiguousarray(pixels),),
            "weight": weight[:, :, None, None],
            "bias": bias,
            "macs": int(height * width * outputs * fan_in),
        },
        (outputs, height, width),
    )
    return np.ascontiguousarray(numbers.transpose(1, 2, 0)).reshape(shape)


def _elementwise(state: Capture, site: Site, view: IntArray, op: dict[str, Any]) -> IntArray:
    """An operation on each element by itself: any shape, taken as [C, H, W]."""
    if view.ndim > 3:
        raise site.refuse(f"an array with {view.ndim} axes (at most 3 without the batch)")
    pixels = as_pixels(view.shape)
    numbers = _add_op(state, site, {"views": (view.reshape(pixels),), **op}, pixels)
    return numbers.reshape(view.shape)


def _scale(state: Capture, site: Site, view: IntArray, weight: Any, bias: Any) -> Any:
    """weight * x + bias with constants that broadcast against [*view.shape]."""

    def full(value: Any) -> Any:
        array = np.asanyarray(_numpy(value), np.float64)
        if array.ndim == view.ndim + 1 and (array == array[:1]).all():
            array = array[0]
        try:
            return np.broadcast_to(array, view.shape).reshape(as_pixels(view.shape)).copy()
        except ValueError:
            raise site.refuse(f"a constant of shape {array.shape} that enlarges the data") from None

    factor, offset = full(weight), full(bias)
    if (view == ZERO).all() or not factor.any():
        return _known(offset.reshape(view.shape))
    return _elementwise(state, site, view, {"kind": "scale", "weight": factor, "bias": offset})


def _known(values: FloatArray) -> Any:
    """A result that does not depend on the data: constant zeros, or a constant tensor."""
    if not values.any():
        return np.full(values.shape, ZERO, np.int64)
    return tensor_of(values[None])


def _batch_norm(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    if a.get("training") or a.get("running_mean") is None:
        raise site.refuse("BatchNorm without running statistics")
    view: IntArray = a["input"]
    mean, variance = _numpy(a["running_mean"]), _numpy(a["running_var"])
    gamma = np.ones_like(mean) if a.get("weight") is None else _numpy(a["weight"])
    beta = np.zeros_like(mean) if a.get("bias") is None else _numpy(a["bias"])
    factor = gamma / np.sqrt(variance + float(a["eps"]))
    offset = beta - mean * factor
    axes = (-1,) + (1,) * (view.ndim - 1)
    return _scale(state, site, view, factor.reshape(axes), offset.reshape(axes))


def _clamped(lo: float, hi: float) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
        return _between(state, site, _operand(a), Clamp(lo, hi))

    return handler


def _between(state: Capture, site: Site, view: IntArray, limits: Clamp) -> Any:
    if (view == ZERO).all():
        return _known(limits.apply(np.zeros(view.shape)))
    return _elementwise(state, site, view, {"kind": "clamp", "clamp": limits})


def _hardtanh(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    lo = a.get("min_val", a.get("min"))
    hi = a.get("max_val", a.get("max"))
    if isinstance(lo, (np.ndarray, torch.Tensor)) or isinstance(hi, (np.ndarray, torch.Tensor)):
        raise site.refuse("a clamp whose limits are tensors")
    limits = Clamp(-inf if lo is None else float(lo), inf if hi is None else float(hi))
    return _between(state, site, a["self"], limits)


def _function(name: str, *parameters: str) -> Handler:
    """A smooth activation; ``parameters`` are the operator's arguments that it takes."""

    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
        values = tuple(float(a[p]) for p in parameters)
        return _activated(state, site, _operand(a), Function(name, values))

    return handler


def _activated(state: Capture, site: Site, view: IntArray, *functions: Function) -> Any:
    activation = Activation(functions)
    if (view == ZERO).all():
        return _known(activation.apply(np.zeros(view.shape)))
    return _elementwise(state, site, view, {"kind": "function", "activation": activation})


def _glu(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """The first half of an axis times the sigmoid of the second one."""
    view: IntArray = a["self"]
    axis = a["dim"] - 1 if a["dim"] > 0 else a["dim"] + view.ndim
    left, right = np.split(view, 2, axis=axis)
    gate = _activated(state, site, np.ascontiguousarray(right), Function("sigmoid"))
    return _product(state, site, left, gate)


def _gelu(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    name = "gelu_tanh" if a.get("approximate") == "tanh" else "gelu"
    return _activated(state, site, a["self"], Function(name))


def _celu(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    alpha = float(a["alpha"])
    return _activated(state, site, a["self"], Function("elu", (alpha, 1.0, 1.0 / alpha)))


def _selu(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    parameters = (1.6732632423543772, 1.0507009873554805)
    return _activated(state, site, a["self"], Function("elu", parameters))


def _log_sigmoid(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    negative = Function("scale", (-1.0, 0.0))
    return _activated(state, site, a["self"], negative, Function("softplus"), negative)


def _prelu(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    slopes = np.unique(_constant(site, a["weight"], "slope"))
    if slopes.size != 1:
        raise site.refuse("PReLU with a slope for each channel (one slope for all is)")
    return _activated(state, site, a["self"], Function("leaky_relu", (float(slopes[0]),)))


def _binary(sign: float) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
        left, right = a["self"], a["other"]
        alpha = float(a.get("alpha", 1)) * sign
        if not isinstance(right, np.ndarray):
            offset = np.asanyarray(_numpy(right), np.float64) * alpha
            return _scale(state, site, left, 1.0, offset)
        if not isinstance(left, np.ndarray):
            return _scale(state, site, right, alpha, _numpy(left))
        if abs(alpha) != 1:
            right, alpha = _scale(state, site, right, abs(alpha), 0.0), np.sign(alpha)
        wide, other = np.broadcast_arrays(left, right)
        return _sum(state, site, wide.copy(), other.copy(), float(alpha))

    return handler


def _sum(state: Capture, site: Site, left: IntArray, right: IntArray, sign: float) -> Any:
    if left.ndim > 3:
        raise site.refuse(f"arrays with {left.ndim} axes (at most 3 without the batch)")
    pixels = as_pixels(left.shape)
    if (right == ZERO).all():
        return _stands_for(state, left, pixels)
    if (left == ZERO).all():
        if sign > 0:
            return _stands_for(state, right, pixels)
        return _scale(state, site, right, -1.0, 0.0)
    views = (left.reshape(pixels), right.reshape(pixels))
    op = {"kind": "add", "views": views, "weight": np.array([1.0, sign])}
    return _add_op(state, site, op, pixels).reshape(left.shape)


def _stands_for(state: Capture, view: IntArray, pixels: tuple[int, ...]) -> IntArray:
    """A sum with zero is its other operand, and the twin of the sums in other time steps."""
    twin = state.twin("add", pixels)
    owners = state.graph.owners(view)
    ops = state.graph.ops
    if len(owners) == 1 and owners[0].index:
        at = next(i for i, op in enumerate(ops) if op.out == owners[0])
        ops[at] = replace(ops[at], twins=(*ops[at].twins, twin))
    return view


def _rsub(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    if isinstance(a["other"], np.ndarray):
        return _sum(state, site, a["other"], a["self"], -1.0)
    return _scale(state, site, a["self"], -1.0, _numpy(a["other"]))


def _mul(divide: bool) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
        left, right = a["self"], a["other"]
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            if divide:
                raise site.refuse("a division by a computed tensor")
            return _product(state, site, *np.broadcast_arrays(left, right))
        if not isinstance(left, np.ndarray):
            if divide:
                raise site.refuse("a division by a computed tensor")
            left, right = right, left
        factor = np.asanyarray(_numpy(right), np.float64)
        if divide and not factor.all():
            raise site.refuse("a division by zero")
        if divide and a.get("rounding_mode") == "floor":
            return _rounded(state, site, left, 1.0 / factor)
        if divide and a.get("rounding_mode") is not None:
            raise site.refuse("a division that rounds towards zero (rounding_mode='floor' is done)")
        return _scale(state, site, left, 1.0 / factor if divide else factor, 0.0)

    return handler


def _product(state: Capture, site: Site, left: IntArray, right: IntArray) -> IntArray:
    """Element by element; where one factor is a constant zero, so is the product."""
    if left.ndim > 3:
        raise site.refuse(f"arrays with {left.ndim} axes (at most 3 without the batch)")
    if (left == ZERO).all() or (right == ZERO).all():
        return np.full(left.shape, ZERO, np.int64)
    pixels = as_pixels(left.shape)
    views = (left.reshape(pixels).copy(), right.reshape(pixels).copy())
    return _add_op(state, site, {"kind": "product", "views": views}, pixels).reshape(left.shape)


def _floor(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """floor(x): the rounding of x - 0.5, ties towards +inf, which is what the core does."""
    return _rounded(state, site, a["self"], 1.0)


def _rounded(state: Capture, site: Site, view: IntArray, factor: FloatArray | float) -> Any:
    """floor(factor * x)."""
    if (view == ZERO).all():
        return np.full(view.shape, ZERO, np.int64)
    numbers = _scale(state, site, view, factor, -0.5)
    if not isinstance(numbers, np.ndarray):  # a factor of zeros
        return np.full(view.shape, ZERO, np.int64)
    state.graph.ops[-1] = replace(state.graph.ops[-1], rounds=0)
    return numbers


def _floor_divide(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """x // constant."""
    return _mul(True)(state, site, {**a, "rounding_mode": "floor"}, shape)


def _round(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """round(x), ties to even: only where there is nothing left to round (see rounding.py)."""
    if a.get("decimals"):
        raise site.refuse("round() to decimals (the core rounds to binary fractions)")
    if (a["self"] == ZERO).all():
        return a["self"]
    return _elementwise(state, site, a["self"], {"kind": "round_even"})


def _neg(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    return _scale(state, site, a["self"], -1.0, 0.0)


def _pooled(
    state: Capture, site: Site, view: IntArray, op: dict[str, Any], out: tuple[int, int, int]
) -> IntArray:
    if (view == ZERO).all():  # its windows see at least one zero each
        return np.full(out, ZERO, np.int64)
    return _add_op(state, site, {"views": (view,), **op}, out)


def _window(a: dict[str, Any], one_axis: bool, view: IntArray, out: tuple[int, int, int]) -> Window:
    """Kernel, stride, dilation and the padding that the given output size needs."""
    kernel = _axes(a["kernel_size"], one_axis, 1)
    stride = _axes(a["stride"], one_axis, 1) if a.get("stride") else kernel
    dilation = _axes(a.get("dilation", 1), one_axis, 1)
    top, left = _axes(a.get("padding", 0), one_axis, 0)
    ends = [
        (n - 1) * s + d * (k - 1) + 1 - p - size
        for n, s, d, k, p, size in zip(
            out[1:], stride, dilation, kernel, (top, left), view.shape[1:], strict=True
        )
    ]
    return Window(kernel, stride, dilation, (top, left, max(0, ends[0]), max(0, ends[1])))


def _max_pool(one_axis: bool) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
        view = _operand(a)
        if one_axis:
            view = view[:, None, :]
        out = as_pixels(shape)
        op = {"kind": "maxpool", "window": _window(a, one_axis, view, out)}
        return _pooled(state, site, view, op, out).reshape(shape)

    return handler


def _avg_pool(one_axis: bool) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
        view = _operand(a)
        if one_axis:
            view = view[:, None, :]
        out = as_pixels(shape)
        window = _window(a, one_axis, view, out)
        include = bool(a.get("count_include_pad", True))
        top, left = _axes(a.get("padding", 0), one_axis, 0)
        rows = _divisors(out[1], window.kernel[0], window.stride[0], top, view.shape[1], include)
        columns = _divisors(
            out[2], window.kernel[1], window.stride[1], left, view.shape[2], include
        )
        counts = rows[:, None] * columns[None, :]
        if a.get("divisor_override"):
            counts = np.full_like(counts, float(a["divisor_override"]))
        op = {"kind": "avgpool", "window": window, "weight": 1.0 / counts[None]}
        return _pooled(state, site, view, op, out).reshape(shape)

    return handler


def _divisors(
    outputs: int, kernel: int, stride: int, padding: int, size: int, include_pad: bool
) -> Any:
    """PyTorch's divisor along one axis: windows are cut at the padded size, or at the data."""
    start = np.arange(outputs) * stride - padding
    end = np.minimum(start + kernel, size + padding)
    if not include_pad:
        start, end = np.maximum(start, 0), np.minimum(end, size)
    return (end - start).astype(np.float64)


def _global_pool(kind: str) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
        view = _operand(a)
        one_axis = view.ndim == 2
        if one_axis:
            view = view[:, None, :]
        out = as_pixels(shape)
        if any(size % n for size, n in zip(view.shape[1:], out[1:], strict=True)):
            raise site.refuse(
                f"adaptive pooling from {view.shape[1:]} to {out[1:]}, which is no multiple of it"
            )
        kernel = (view.shape[1] // out[1], view.shape[2] // out[2])
        op: dict[str, Any] = {"kind": kind, "window": Window(kernel, kernel)}
        if kind == "avgpool":
            op["weight"] = np.full((1, out[1], out[2]), 1.0 / (kernel[0] * kernel[1]))
        return _pooled(state, site, view, op, out).reshape(shape)

    return handler


def _mean(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
    return _reduce("avgpool", a.get("dim"), state, site, a["self"], shape)


def _amax(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
    return _reduce("maxpool", a.get("dim"), state, site, a["self"], shape)


def _max_over(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
    if a.get("dim") is None:
        raise site.refuse("a maximum over all axes, or of two tensors")
    return _reduce("maxpool", [a["dim"]], state, site, a["self"], shape)


def _reduce(
    kind: str, dims: Any, state: Capture, site: Site, view: IntArray, shape: tuple[int, ...]
) -> IntArray:
    """Mean or maximum over axes: a pooling whose window is the whole of them."""
    if dims is None or dims == []:
        raise site.refuse("a reduction over all axes")
    axes = {(d if d >= 0 else d + view.ndim + 1) - 1 for d in dims}
    kept = [axis for axis in range(view.ndim) if axis not in axes]
    if -1 in axes or view.ndim > 3 or not kept:
        raise site.refuse(f"a reduction over axes {sorted(a + 1 for a in axes)}")
    moved = view.transpose([kept[0], *sorted(axes), *kept[1:]])
    lengths = [view.shape[axis] for axis in sorted(axes)]
    if len(axes) == 1:
        lengths.append(1)
        pixels = moved.reshape(view.shape[kept[0]], lengths[0], -1)
    else:
        pixels = moved
    out = (pixels.shape[0], 1, pixels.shape[2] // lengths[1])
    op: dict[str, Any] = {"kind": kind, "window": Window((lengths[0], lengths[1]), (1, 1))}
    if kind == "avgpool":
        op["weight"] = np.full((1, 1, out[2]), 1.0 / (lengths[0] * lengths[1]))
    return _pooled(state, site, np.ascontiguousarray(pixels), op, out).reshape(shape)


# --- recurrent layers --------------------------------------------------------------------------


@dataclass(slots=True)
class _Builder:
    """Appends the operations of one layer's time steps; see ``recurrent.Builder``."""

    state: Capture
    site: Site
    place: str  # which layer and direction
    origin: str

    def _at(self, name: str) -> Site:
        self.state.anchor, self.state.offset = f"{self.origin} {self.place} {name}", 0
        self.state.count = 0
        return replace(self.site, name=f"{self.site.name}.{self.place}{name}")

    def dense(self, name: str, view: IntArray, weight: FloatArray, bias: FloatArray) -> IntArray:
        site = self._at(name)
        shape = (len(weight),)
        result: IntArray = _product_with_matrix(self.state, site, view, weight, bias, shape)
        return result

    def function(self, name: str, function: str, view: IntArray) -> IntArray:
        if function == "relu":
            limits = {"kind": "clamp", "clamp": Clamp(0.0, inf)}
            return _elementwise(self.state, self._at(name), view, limits)
        result: IntArray = _activated(self.state, self._at(name), view, Function(function))
        return result

    def scale(
        self, name: str, view: IntArray, factor: FloatArray | float, offset: float
    ) -> IntArray:
        result: IntArray = _scale(self.state, self._at(name), view, factor, offset)
        return result

    def product(self, name: str, left: IntArray, right: IntArray) -> IntArray:
        return _product(self.state, self._at(name), left, right)

    def add(self, name: str, left: IntArray, right: IntArray) -> IntArray:
        result: IntArray = _sum(self.state, self._at(name), left, right, 1.0)
        return result


def _recurrent(step: Step, kinds: int) -> Callable[[Capture, Site, dict[str, Any]], list[Any]]:
    """A GRU, LSTM or RNN layer: [output sequence, last states ..]."""

    def handler(state: Capture, site: Site, a: dict[str, Any]) -> list[Any]:
        value, batch_first = a["input"], bool(a["batch_first"])
        numbers = value.numbers if isinstance(value, Turned) else value
        turned = isinstance(value, Turned) and value.axis == 1
        if not isinstance(numbers, np.ndarray) or numbers.ndim != 2 or turned == batch_first:
            raise site.refuse(f"{_MIXES}: batch_first is {batch_first}")
        outputs = list(numbers)
        hidden = a["hx"] if isinstance(a["hx"], (list, tuple)) else [a["hx"]]
        weights, origin = _layers(site, a), state.anchor
        cells, states = [], []
        directions = 2 if a["bidirectional"] else 1
        for index, p in enumerate(weights):
            layer, reverse = divmod(index, directions)
            many = f"l{layer}{'_reverse' if reverse else ''}." if len(weights) > 1 else ""
            cells.append((_Builder(state, site, many, origin), p))
            states.append(tuple(_first_state(site, h, index, p.size) for h in hidden))
        if directions == 1:
            outputs, last = run_layers(cells, step, outputs, states)
        else:
            last = []
            for index in range(0, len(cells), 2):
                there, end = run_layers(cells[index : index + 1], step, outputs, states[index:])
                back, other = run_layers(
                    cells[index + 1 : index + 2], step, outputs[::-1], states[index + 1 :]
                )
                outputs = [np.concatenate(pair) for pair in zip(there, back[::-1], strict=True)]
                last += [end[0], other[0]]
        sequence = np.stack(outputs)
        ends = [Turned(np.stack([end[i] for end in last]), 1) for i in range(kinds)]
        return [sequence if batch_first else Turned(sequence, 1), *ends]

    return handler


def _layers(site: Site, a: dict[str, Any]) -> list[Parameters]:
    """The weights of every layer and direction, in PyTorch's order."""
    tensors = [_constant(site, p, "weight") for p in a["params"]]
    each = 4 if a["has_biases"] else 2
    count = int(a["num_layers"]) * (2 if a["bidirectional"] else 1)
    if len(tensors) != each * count:
        raise site.refuse("a projection of the state (proj_size)")
    return [_parameters(tensors[i : i + each]) for i in range(0, len(tensors), each)]


def _parameters(tensors: list[Any]) -> Parameters:
    weight_x, weight_h = tensors[:2]
    zeros = np.zeros(len(weight_x))
    bias_x, bias_h = (zeros if b is None else b for b in (tensors[2:] or (None, None)))
    return Parameters(weight_x, weight_h, bias_x, bias_h)


def _first_state(site: Site, value: Any, index: int, size: int) -> IntArray:
    """The state before the first step: zeros, or computed from the input."""
    if isinstance(value, Turned) and value.axis == 1:
        return np.asarray(value.numbers[index])
    zero = not value.any() if isinstance(value, torch.Tensor) else (value == ZERO).all()
    if not zero:
        raise site.refuse("a first state that is a constant other than zero")
    return np.full(size, ZERO, np.int64)


def _cell(step: Step, states: int) -> Callable[[Capture, Site, dict[str, Any]], Any]:
    """GRUCell, LSTMCell, RNNCell: one time step."""

    def handler(state: Capture, site: Site, a: dict[str, Any]) -> Any:
        names = ("w_ih", "w_hh", "b_ih", "b_hh")
        p = _parameters([None if a[n] is None else _constant(site, a[n], n) for n in names])
        hidden = a["hx"] if isinstance(a["hx"], (list, tuple)) else [a["hx"]]
        first = []
        for value in (a["input"], *hidden):
            if isinstance(value, np.ndarray) and value.ndim == 1:
                first.append(value)
            else:
                first.append(_first_state(site, value, 0, p.size))
        end = step(_Builder(state, site, "", state.anchor), p, first[0], tuple(first[1:]))
        return end[0] if states == 1 else list(end)

    return handler


RECURRENT: dict[str, Callable[[Capture, Site, dict[str, Any]], Any]] = {
    "gru": _recurrent(gru_step, 1),
    "lstm": _recurrent(lstm_step, 2),
    "rnn_tanh": _recurrent(rnn_step("tanh"), 1),
    "rnn_relu": _recurrent(rnn_step("relu"), 1),
    "gru_cell": _cell(gru_step, 1),
    "lstm_cell": _cell(lstm_step, 2),
    "rnn_tanh_cell": _cell(rnn_step("tanh"), 1),
    "rnn_relu_cell": _cell(rnn_step("relu"), 1),
}

HANDLERS: dict[str, Handler] = {
    "conv1d": _convolution(True),
    "conv2d": _convolution(False),
    "conv_transpose1d": _transposed_convolution(True),
    "conv_transpose2d": _transposed_convolution(False),
    "upsample_nearest1d": _upsample,
    "upsample_nearest2d": _upsample,
    "_upsample_nearest_exact1d": _upsample,
    "_upsample_nearest_exact2d": _upsample,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": _clamped(0.0, inf),
    "relu6": _clamped(0.0, 6.0),
    "sigmoid": _function("sigmoid"),
    "tanh": _function("tanh"),
    "silu": _function("silu"),
    "gelu": _gelu,
    "glu": _glu,
    "leaky_relu": _function("leaky_relu", "negative_slope"),
    "prelu": _prelu,
    "hardswish": _function("hardswish"),
    "hardsigmoid": _function("hardsigmoid"),
    "elu": _function("elu", "alpha", "scale", "input_scale"),
    "selu": _selu,
    "celu": _celu,
    "softplus": _function("softplus", "beta", "threshold"),
    "log_sigmoid": _log_sigmoid,
    "mish": _function("mish"),
    "matmul": _matmul,
    "mm": _matmul,
    "addmm": _matmul,
    "hardtanh": _hardtanh,
    "clamp": _hardtanh,
    "clip": _hardtanh,
    "clamp_min": _hardtanh,
    "clamp_max": _hardtanh,
    "add": _binary(1.0),
    "sub": _binary(-1.0),
    "subtract": _binary(-1.0),
    "rsub": _rsub,
    "mul": _mul(False),
    "div": _mul(True),
    "floor_divide": _floor_divide,
    "floor": _floor,
    "round": _round,
    "neg": _neg,
    "max_pool1d": _max_pool(True),
    "max_pool2d": _max_pool(False),
    "avg_pool1d": _avg_pool(True),
    "avg_pool2d": _avg_pool(False),
    "adaptive_avg_pool1d": _global_pool("avgpool"),
    "adaptive_avg_pool2d": _global_pool("avgpool"),
    "adaptive_max_pool1d": _global_pool("maxpool"),
    "adaptive_max_pool2d": _global_pool("maxpool"),
    "max_pool1d_with_indices": _max_pool(True),
    "max_pool2d_with_indices": _max_pool(False),
    "mean": _mean,
    "amax": _amax,
    "max": _max_over,
}
