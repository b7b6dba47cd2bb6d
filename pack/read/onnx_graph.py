# SPDX-License-Identifier: Apache-2.0
"""Reads an ONNX file as a module of torch functions that torch.export can capture. Imports torch.

Each node of the file becomes one call of a torch function, so that folding, planes and layout are
the same as for a network written in PyTorch. What does not depend on the samples (shapes, weights
that are reshaped, scales that are computed) is carried out by ONNX's own reference functions.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from bramcast.pack.bundle.errors import CheckpointError, InputError, UnsupportedLayer, UserError
from bramcast.pack.read.checkpoint import check_values, first_line, readable
from bramcast.pack.read.onnx_operators import GATES, LARGEST, OPERATORS, Call, gates_in_order, meant

OLDEST = 13  # operator set
EXPORT = "torch.onnx.export(model.eval(), (x,), FILE, opset_version=17)"

# What the reference functions may carry out on constants.
CONSTANT_OPERATORS = {
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape",
    "DequantizeLinear", "Div", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather",
    "GatherND", "Gemm", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "MatMul",
    "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Range", "Reciprocal", "ReduceL2",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Round",
    "ScatterND", "Shape", "Sigmoid", "Sign", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub",
    "Sum", "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where",
}  # fmt: skip

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Title:
    """How a layer is called in tables and messages: capture asks a module for them."""

    name: str
    label: str
    source: str


class Node(nn.Module):
    """One call; a module of its own, so that torch.export knows where an operation stands."""

    def __init__(self, function: Callable[[Call], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, call: Call) -> Any:
        return self.function(call)


@dataclass(slots=True)
class ReadyNode:
    """A node of the file, ready to be called."""

    node: onnx.NodeProto
    where: str
    attributes: dict[str, Any]
    function: Callable[[Call], Any] | None
    depends: bool
    kernel: Any = None


class OnnxModule(nn.Module):
    """The network of an ONNX file.

    ``bramcast_titles`` has the layers' names; the key is the path of the submodule that works.
    """

    def __init__(self, model: onnx.ModelProto, path: Path) -> None:
        super().__init__()
        self.path = path
        graph = model.graph
        self.opset = _opset(model)
        self.constants: dict[str, Array] = {}
        self.owned: dict[str, str] = {}
        self.bramcast_titles: dict[str, Title] = {}
        self.steps: list[ReadyNode] = []
        self.learned = {tensor.name for tensor in graph.initializer}
        for tensor in graph.initializer:
            self.constants[tensor.name] = _array(path, tensor)
        self.bramcast_inputs, self.declared = _inputs(path, graph, set(self.constants))
        self.outputs = [output.name for output in graph.output]
        graph = _fused(graph, self.constants)
        self._translate(graph)
        self._own()

    def _translate(self, graph: onnx.GraphProto) -> None:
        """Carry out what is constant, keep the other nodes as steps."""
        data = set(self.bramcast_inputs)
        shapes: set[str] = set()
        for index, node in enumerate(_needed(graph)):
            where = f"{self.path}: node {node.name or node.output[0]!r}"
            if node.op_type in GATES and _is_standard(node):
                node = self._with_torchs_gates(node, where)
            step = ReadyNode(node, where, _attributes(node), None, False)
            if any(name in data for name in node.input):
                if node.op_type in ("Shape", "Size") and not node.domain:
                    shapes.add(node.output[0])
                    self.steps.append(step)
                    continue
                step.function, step.depends = _operator(node, where), True
                data.update(node.output)
                name = f"n{index}"
                self.add_module(name, Node(step.function))
                self.bramcast_titles[name] = _title(self.path, node, set(self.constants))
                step.kernel = name
                self.steps.append(step)
                continue
            if not _is_standard(node) or node.op_type not in CONSTANT_OPERATORS:
                raise _unknown(node, where)
            step.kernel = ReferenceEvaluator(_alone(node, self.opset))
            if any(name in shapes for name in node.input):
                shapes.update(node.output)
                self.steps.append(step)
            else:
                self._run_constant(step, self.constants)
                if self.learned.intersection(node.input):
                    self.learned.update(node.output)

    def _with_torchs_gates(self, node: onnx.NodeProto, where: str) -> onnx.NodeProto:
        """A recurrent layer whose weights are new constants, with the gates in PyTorch's order."""
        names = [*node.input, *[""] * 8][:8]
        weights = [self.constants.get(name) for name in names[1:4] if name]
        if any(weight is None for weight in weights) or len(weights) < 2:
            raise UnsupportedLayer(f"{where} ({node.op_type}): its weights are not constants")
        result = onnx.NodeProto()
        result.CopyFrom(node)
        del result.input[:]
        result.input.extend([names[0], names[4], names[5], names[6], names[7]])
        for place, value in enumerate(gates_in_order(node.op_type, weights)):
            name = f"{node.output[0] or node.name}.{place}"
            self.constants[name] = value
            self.learned.add(name)
            result.input.append(name)
        return result

    def _own(self) -> None:
        """Make the float constants that data meets the module's parameters and buffers."""
        same: dict[Any, str] = {}
        for step in self.steps:
            if not step.depends:
                continue
            for place, name in enumerate(step.node.input):
                value = self.constants.get(name)
                if value is None or value.dtype.kind != "f" or name in self.owned:
                    continue
                tensor = torch.from_numpy(np.array(value, np.float32, order="C"))
                content = (tensor.shape, tensor.numpy().tobytes())
                if name not in self.learned and content in same:
                    self.owned[name] = same[content]
                    continue
                key = f"p{len(self.owned)}"
                same[content] = key
                statistics = step.node.op_type == "BatchNormalization" and place > 2
                check_values(self.path, _value_name(name, step, place), tensor)
                if name in self.learned and not statistics and step.node.op_type != "Clip":
                    self.register_parameter(key, nn.Parameter(tensor, requires_grad=False))
                else:
                    self.register_buffer(key, tensor)
                self.owned[name] = key

    def _run_constant(self, step: ReadyNode, values: dict[str, Any]) -> None:
        node = step.node
        feeds = {name: np.asarray(values[name]) for name in node.input if name}
        _check_size(step, list(feeds.values()))
        try:
            with np.errstate(all="ignore"):
                results = step.kernel.run(None, feeds)
        except Exception as error:  # whatever the reference functions raise
            raise CheckpointError(
                f"{step.where} ({node.op_type}): can't be carried out on its constants "
                f"({first_line(error)})"
            ) from None
        for name, result in zip(node.output, results, strict=False):
            values[name] = np.asarray(result)

    def forward(self, *inputs: torch.Tensor) -> Any:
        values: dict[str, Any] = dict(self.constants)
        values |= zip(self.bramcast_inputs, inputs, strict=True)
        batch = int(inputs[0].shape[0])
        zeros: dict[str, torch.Tensor] = {}
        for step in self.steps:
            node = step.node
            if not step.depends and node.op_type in ("Shape", "Size"):
                if node.input[0] in values and isinstance(values[node.input[0]], torch.Tensor):
                    values[node.output[0]] = _shape(step, values[node.input[0]])
                    continue
            if not step.depends:
                self._run_constant(step, values)
                continue
            call = self._call(step, values, batch, zeros)
            try:
                result = getattr(self, step.kernel)(call)
            except (RuntimeError, IndexError, ValueError, TypeError, OverflowError) as error:
                raise call.refuse(f"it does not fit its inputs ({first_line(error)})") from None
            results = result if isinstance(result, (tuple, list)) else [result]
            for name, value in zip(node.output, results, strict=False):
                values[name] = value
        missing = [name for name in self.outputs if name not in values]
        if missing:
            raise UnsupportedLayer(f"{self.path}: output {missing[0]!r} is not computed")
        outputs = [values[name] for name in self.outputs]
        return outputs[0] if len(outputs) == 1 else dict(zip(self.outputs, outputs, strict=True))

    def _call(
        self, step: ReadyNode, values: dict[str, Any], batch: int, zeros: dict[str, torch.Tensor]
    ) -> Call:
        names = [name or None for name in step.node.input]
        for name in names:
            if name is not None and name not in values:
                raise UnsupportedLayer(
                    f"{step.where} ({step.node.op_type}): reads {name!r}, an output that the "
                    "operator before does not give here"
                )
        parameters = [
            getattr(self, self.owned[name]) if name in self.owned else None for name in names
        ]
        inputs = [None if name is None else values[name] for name in names]
        return Call(
            step.node, step.where, self.opset, inputs, parameters, step.attributes, batch,
            self.declared, self.learned, zeros,
        )  # fmt: skip


# --- reading the file --------------------------------------------------------------------------


def onnx_input_names(path: Path) -> tuple[str, ...]:
    """What the network of an ONNX file takes; nothing of what is none."""
    try:
        readable(path, "ONNX")
        graph = _model(path).graph
    except UserError:
        return ()
    constants = {tensor.name for tensor in graph.initializer}
    return tuple(value.name for value in graph.input if value.name not in constants)


def load_onnx(path: Path, *shapes: tuple[int, ...]) -> OnnxModule:
    """The network of an ONNX file as a module.

    Args:
        shapes: shape of one sample of each input, as the network has it without axis 0.

    Raises:
        InputError: the file is missing, or the samples are not what the network takes.
        CheckpointError: damaged, too old, without its external data, NaN in the weights.
        UnsupportedLayer: an operator that has no translation; names the node.
    """
    head = readable(path, "ONNX")
    if head.lstrip()[:1] == b"<" or head.startswith((b"PK\x03\x04", b"\x89HDF", b"\x80\x02")):
        raise CheckpointError(f"{path}: is no ONNX file; write one with {EXPORT}")
    model = _model(path)
    if _opset(model) < OLDEST:
        raise CheckpointError(
            f"{path}: operator set {_opset(model)}: bramcast reads {OLDEST} and newer; export it "
            f"again with opset_version={OLDEST} (tf2onnx: --opset {OLDEST}), or use "
            f"onnx.version_converter.convert_version(model, {OLDEST})"
        )
    try:
        module = OnnxModule(model, path).eval()
        names = module.bramcast_inputs
        if len(shapes) != len(names):
            raise InputError(
                f"{path}: the network takes {', '.join(names)}; give an array for each of them in "
                "[model] inputs"
            )
        for name, shape in zip(names, shapes, strict=True):
            _check_samples(path, model.graph, name, shape)
        with torch.no_grad():
            # refuses here what has no translation
            module(*(torch.zeros((2, *shape)) for shape in shapes))
    except UserError:
        raise
    except Exception as error:  # a field of an unexpected type or size
        raise CheckpointError(
            f"{path}: damaged ({type(error).__name__}: {first_line(error)}); write it again with "
            f"{EXPORT}"
        ) from None
    return module


def read_initializers(path: Path) -> dict[str, Array]:
    """The stored tensors of an ONNX file by name, as they are stored.

    Raises:
        InputError: the file is missing.
        CheckpointError: damaged, or without its external data.
    """
    readable(path, "ONNX")
    result = {}
    for tensor in _model(path).graph.initializer:
        try:
            result[tensor.name] = np.asarray(numpy_helper.to_array(tensor))
        except Exception as error:
            raise CheckpointError(
                f"{path}: the values of {tensor.name!r} can't be read ({first_line(error)})"
            ) from None
    return result


def _model(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own errors
        raise CheckpointError(
            f"{path}: damaged, cut off or no ONNX file ({first_line(error)}); write it again with "
            f"{EXPORT}"
        ) from None
    if not model.graph.node and not model.graph.output:
        raise CheckpointError(
            f"{path}: holds no network (cut off, or no ONNX file); write it again with {EXPORT}"
        )
    for tensor in _tensors(model.graph):
        for entry in tensor.external_data:
            if entry.key == "location" and not (path.parent / entry.value).is_file():
                raise CheckpointError(
                    f"{path}: the weights {tensor.name!r} are in {entry.value!r}, which is not "
                    "beside it; copy that file, too, or save the model in one file with "
                    "onnx.save(onnx.load(FILE), NEW)"
                )
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
        return onnx.inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:
        raise CheckpointError(
            f"{path}: ONNX's own check refuses it: {first_line(error)}; write it again with "
            f"{EXPORT}"
        ) from None


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    tensors = list(graph.initializer)
    for node in graph.node:
        tensors += [a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    return tensors


def _opset(model: onnx.ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def _array(path: Path, tensor: onnx.TensorProto) -> Array:
    """A constant of the file; every kind of float becomes float32."""
    try:
        value = numpy_helper.to_array(tensor)
    except Exception as error:
        raise CheckpointError(
            f"{path}: the values of {tensor.name!r} can't be read ({first_line(error)})"
        ) from None
    return _plain(value)


def _plain(value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind in "fV" or array.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        return array.astype(np.float32)
    return array


def _inputs(
    path: Path, graph: onnx.GraphProto, constants: set[str]
) -> tuple[list[str], int | None]:
    """The names of the inputs and the size that the file gives to axis 0 of the first, if any."""
    inputs = [i for i in graph.input if i.name not in constants]
    if not inputs:
        raise UnsupportedLayer(f"{path}: the network takes no input")
    sizes = _sizes(inputs[0])
    return [i.name for i in inputs], sizes[0] if sizes else None


def _sizes(value: onnx.ValueInfoProto) -> list[int | None] | None:
    """The sizes of an input's axes, None for those that are free; None if the rank is unknown."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None
            for d in kind.shape.dim]  # fmt: skip


def _check_samples(path: Path, graph: onnx.GraphProto, name: str, shape: tuple[int, ...]) -> None:
    value = next(i for i in graph.input if i.name == name)
    kind = value.type.tensor_type.elem_type
    if kind not in (
        onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
        onnx.TensorProto.BFLOAT16,
    ):  # fmt: skip
        raise UnsupportedLayer(
            f"{path}: input {name!r} takes {onnx.TensorProto.DataType.Name(kind)}, not floats"
        )
    sizes = _sizes(value)
    if sizes is None:
        return
    own = sizes[1:]
    if len(own) != len(shape) or any(a not in (None, b) for a, b in zip(own, shape, strict=True)):
        listed = ", ".join("any" if a is None else str(a) for a in own)
        raise InputError(
            f"{path}: the network takes samples of shape ({listed}), not {shape}; x in [model] "
            "inputs must hold samples as its input has them, without axis 0"
        )


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        values[attribute.name] = meant(value) if isinstance(value, float) else value
    return values


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes on whose results the outputs depend, in the file's order."""
    wanted = {output.name for output in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted.update(name for name in node.input if name)
            nodes.append(node)
    return nodes[::-1]


def _alone(node: onnx.NodeProto, opset: int) -> onnx.ModelProto:
    """A model of one node, for the reference functions."""

    def untyped(names: Sequence[str]) -> list[onnx.ValueInfoProto]:
        return [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name]

    graph = helper.make_graph([node], "constant", untyped(node.input), untyped(node.output))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _check_size(step: ReadyNode, feeds: list[Array]) -> None:
    """A small file must not ask for a huge constant."""
    kind, total = step.node.op_type, max([a.size for a in feeds] or [0])
    try:
        if kind == "ConstantOfShape":
            total = prod(int(v) for v in feeds[0])
        elif kind == "Expand":
            total = prod(np.broadcast_shapes(feeds[0].shape, tuple(int(v) for v in feeds[1])))
        elif kind == "Tile":
            total = feeds[0].size * prod(int(v) for v in feeds[1])
        elif kind == "Range":
            start, limit, delta = (float(a) for a in feeds)
            total = int(abs((limit - start) / delta)) if delta else 0
    except (TypeError, ValueError, IndexError, OverflowError):
        return
    if total > LARGEST:
        raise CheckpointError(
            f"{step.where} ({kind}): makes a constant of {total:,} elements (at most {LARGEST:,})"
        )


# For operators without a lowering: the nearest way to export the same with some that have one.
NEAREST = {
    name: text
    for names, text in (
        ("ArgMax ArgMin TopK",
         "leave it out of the export: the core gives the index of the largest result, too"),
        ("QuantizeLinear DequantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger "
         "DynamicQuantizeLinear", "export the float network: bramcast quantizes it itself"),
        ("LayerNormalization GroupNormalization InstanceNormalization LpNormalization LRN "
         "MeanVarianceNormalization SimplifiedLayerNormalization",
         "it divides by each sample's own spread; BatchNormalization, whose statistics are "
         "constants, is folded, or export it as ReduceMean, Sub, Mul, Sqrt and Div"),
        ("Attention MultiHeadAttention", "attention has no nest: export a network without it"),
        ("If Loop Scan", "the core has no branches: export the unrolled network, with Where"),
        ("CumSum", "export a MatMul with a triangular matrix of ones"),
        ("ReduceProd", "export the product of slices as Mul"),
        ("ReduceLogSumExp", "export Exp, ReduceSum and Log"),
        ("ReduceLogSum", "export ReduceSum and Log"),
        ("Hardmax", "leave it out of the export: the largest result stays the largest"),
        ("NonMaxSuppression NonZero Unique Compress",
         "how many results there are depends on data: leave it out of the export"),
        ("GatherElements GatherND ScatterElements ScatterND Scatter OneHot GridSample RoiAlign "
         "MaxRoiPool MaxUnpool", "which elements it moves depends on data: leave it out"),
        ("DFT STFT MelWeightMatrix", "export a MatMul with cosines and sines as its matrix"),
        ("Bernoulli RandomNormalLike RandomUniformLike Multinomial",
         "it is random: export the model in eval mode"),
        ("Trilu", "export Mul with a constant mask of ones and zeros"),
        ("LpPool GlobalLpPool", "export Pow, AveragePool and Sqrt"),
        ("BitShift BitwiseAnd BitwiseOr BitwiseXor", "export the float computation"),
    )
    for name in names.split()
}  # fmt: skip
OTHERS = (
    "export it as convolutions and products with constant matrices, sums, means and maxima over "
    "axes, operators on single elements and what only moves elements"
)


def _is_standard(node: onnx.NodeProto) -> bool:
    return node.domain in ("", "ai.onnx")


def _operator(node: onnx.NodeProto, where: str) -> Callable[[Call], Any]:
    function = OPERATORS.get(node.op_type) if _is_standard(node) else None
    if function is None:
        raise _unknown(node, where)
    return function


def _unknown(node: onnx.NodeProto, where: str) -> UnsupportedLayer:
    kind = node.op_type if _is_standard(node) else f"{node.domain}.{node.op_type}"
    return UnsupportedLayer(
        f"{where}: operator {kind} has no lowering: {NEAREST.get(node.op_type, OTHERS)}"
    )


def _title(path: Path, node: onnx.NodeProto, constants: set[str]) -> Title:
    """A layer is called as its weight where that has a name, else as the node or its output."""
    weight = node.input[1] if len(node.input) > 1 and node.input[1] in constants else ""
    name = weight.removesuffix(".weight") if weight.endswith(".weight") else ""
    if not name:
        name = (node.name or node.output[0]).removeprefix("StatefulPartitionedCall/").strip("/")
        name = name.removeprefix("node_")
        head, _, tail = name.rpartition("/")
        if head and re.fullmatch(rf"{node.op_type}(_\d+)?", tail):
            name = head
    name = re.sub(r"[^\w.\-]+", ".", name).strip(".")
    if not name or re.fullmatch(r"(n|val_)\d+", name):  # numbers that an exporter has given
        name = node.op_type
    return Title(name, node.op_type, f"{path.name}:{node.name or node.output[0]}")


def _value_name(name: str, step: ReadyNode, place: int) -> str:
    if step.node.op_type == "BatchNormalization" and place == 4:
        return name if name.endswith("running_var") else f"{name}, a running_var"
    return name


def _shape(step: ReadyNode, value: torch.Tensor) -> Array:
    sizes = [int(s) for s in value.shape]
    if step.node.op_type == "Size":
        return np.array(prod(sizes), np.int64)
    start, end = step.attributes.get("start", 0), step.attributes.get("end", len(sizes))
    return np.array(sizes[start:end], np.int64)


# --- activations that exporters spell out ------------------------------------------------------

# Operators on single elements, of which a spelled-out activation may consist.
ELEMENTWISE = {
    "Add", "Cast", "Clip", "Div", "Erf", "Exp", "HardSigmoid", "Identity", "Max", "Min", "Mul",
    "Neg", "Pow", "Relu", "Sigmoid", "Softplus", "Sub", "Tanh",
}  # fmt: skip
SPELLED: dict[str, tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "Swish": ("", F.silu),
    "HardSwish": ("", F.hardswish),
    "Mish": ("", F.mish),
    "Gelu": ("none", F.gelu),
    "Gelu of tanh": ("tanh", lambda x: F.gelu(x, approximate="tanh")),
}
MOST_NODES = 24  # of one activation


def _fused(graph: onnx.GraphProto, constants: dict[str, Array]) -> onnx.GraphProto:
    """x * sigmoid(x), x * 0.5 * (1 + erf(x / sqrt(2))) and the like as the one node they stand for.

    What a group of element-wise nodes computes is found out by carrying it out.
    """
    result = onnx.GraphProto()
    result.CopyFrom(graph)
    scalars = {name for name, value in constants.items() if value.size == 1}
    makers: dict[str, onnx.NodeProto] = {}
    roots: dict[str, dict[str, bool]] = {}
    for node in result.node:
        if not _is_standard(node) or not node.output:
            continue
        if node.op_type == "CastLike":  # every float becomes float32
            node.op_type = "Cast"
            node.attribute.append(helper.make_attribute("to", onnx.TensorProto.FLOAT))
            del node.input[1:]
        out = node.output[0]
        makers[out] = node
        data = [name for name in node.input if name and name not in scalars]
        if not data:
            if node.op_type in ELEMENTWISE or _is_scalar(node):
                scalars.add(out)
            continue
        if node.op_type not in ELEMENTWISE or any(name in constants for name in data):
            continue
        roots[out] = _roots(node, data, roots)
        for root, product in roots[out].items() if node.op_type in ("Mul", "Div") else ():
            found = _activation(root, out, makers, constants) if product else None
            if found is None:
                continue
            kind, variant = found
            node.op_type = kind
            del node.input[:], node.attribute[:]
            node.input.append(root)
            if variant:
                node.attribute.append(helper.make_attribute("approximate", variant))
            break
    return result


def _is_scalar(node: onnx.NodeProto) -> bool:
    """Whether a node is a constant of one element."""
    value = _attributes(node).get("value") if node.op_type == "Constant" else None
    return value is not None and prod(value.dims) == 1


def _roots(
    node: onnx.NodeProto, data: list[str], roots: dict[str, dict[str, bool]]
) -> dict[str, bool]:
    """The tensors of which each element of a node's result is a function, element by element;
    true where it is a product of two values that depend on it."""
    parts = [{name: False, **roots.get(name, {})} for name in data]
    product = node.op_type == "Mul" and len(data) == 2
    common = set(parts[0]).intersection(*parts[1:])
    return {name: product or any(part[name] for part in parts) for name in sorted(common)}


def _activation(
    root: str, out: str, makers: dict[str, onnx.NodeProto], constants: dict[str, Array]
) -> tuple[str, str] | None:
    """The activation, with its variant, that the nodes from ``root`` to ``out`` compute."""
    nodes: list[onnx.NodeProto] = []
    pending = [out]
    given: dict[str, Array] = {}
    while pending:
        name = pending.pop()
        node = makers.get(name)
        if name in constants:
            given[name] = constants[name]
        elif name != root and node is not None and node not in nodes:
            nodes.insert(0, node)
            pending += [n for n in node.input if n]
        if len(nodes) > MOST_NODES:
            return None
    order = {id(node): place for place, node in enumerate(makers.values())}
    nodes.sort(key=lambda node: order[id(node)])
    graph = helper.make_graph(
        nodes, "activation", [onnx.ValueInfoProto(name=root)], [onnx.ValueInfoProto(name=out)],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in given.items()],
    )  # fmt: skip
    x = np.linspace(-9, 9, 181, dtype=np.float32)
    try:
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
        (got,) = ReferenceEvaluator(model).run(None, {root: x})
    except Exception:  # not element by element after all: then it is no activation
        return None
    for kind, (variant, function) in SPELLED.items():
        want = function(torch.from_numpy(x)).numpy()
        if np.shape(got) == x.shape and np.abs(np.asarray(got, np.float64) - want).max() < 1e-5:
            return kind.partition(" ")[0], variant
    return None
