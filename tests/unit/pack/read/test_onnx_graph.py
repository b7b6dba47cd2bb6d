# SPDX-License-Identifier: Apache-2.0
"""ONNX files give the images of the PyTorch model; each operator computes what ONNX says."""

import re
import warnings

import networks
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from support import ROOT, in_all, write_recipe
from torch import nn

from bramcast.pack.bundle.errors import CheckpointError, InputError, UnsupportedLayer, UserError
from bramcast.pack.capture.capture import capture
from bramcast.pack.passes.fold import fold
from bramcast.pack.pipeline import pack
from bramcast.pack.read.onnx_graph import load_onnx
from bramcast.pack.read.onnx_operators import OPERATORS
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.run import execute
from bramcast.sim.regress.agree import compare_with_graph

IMAGES = ("program.mem", "weights.mem", "bias.mem")


def export(module, x, path, dynamic=False, **options):
    """The exporter that needs no further package; BatchNorm stays unless asked for."""
    options = {"opset_version": 13, "training": torch.onnx.TrainingMode.PRESERVE, **options}
    axes = {"input": {0: "batch"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (x,), str(path), dynamo=False, input_names=["input"], dynamic_axes=axes,
            **options,
        )  # fmt: skip
    return path


def source_recipe(recipe, line):
    """A recipe with another source of the network."""
    lines = [row for row in recipe.read_text().splitlines()
             if not row.startswith(("python", "checkpoint"))]  # fmt: skip
    other = recipe.parent / "other.toml"
    other.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    return other


# Cells written out: the exporter folds what the first step computes from the zero state. Two GRU
# layers are two nodes, which run one after the other, not step by step.
# What PyTorch's exporter refuses, or writes with a batch that is folded into another axis.
NOT_AS_ONNX = ("Resized", "FirstStates", "FoldedBatch")
FOLDED_STEPS = ("RnnNet", "HandGru", "HandLstm", "ConvGru", "GruNet")


@pytest.mark.parametrize(
    "name, dynamic",
    [
        in_all(name, free, when=free != number % 2)
        for number, name in enumerate(networks.SHAPES)
        for free in (True, False)
        if name not in NOT_AS_ONNX
    ],
)
def test_images_are_those_of_the_pytorch_model(name, dynamic, tmp_path):
    recipe = write_recipe(tmp_path, name)
    x = torch.zeros((1, *networks.SHAPES[name]))
    export(networks.build(name), x, tmp_path / "net.onnx", dynamic, do_constant_folding=dynamic)
    want = pack(read_recipe(recipe), tmp_path / "want")
    got = pack(read_recipe(source_recipe(recipe, 'onnx = "net.onnx"')), tmp_path / "got")
    assert all(op.source.startswith("net.onnx:") for op in got.graph.ops if op.macs)
    if name in FOLDED_STEPS:
        agreement = compare_with_graph(got, tmp_path / "got", lambda what, done, of: None)
        assert agreement.mismatches == 0, agreement.text
        return
    for image in IMAGES:
        assert (tmp_path / "got" / image).read_bytes() == (tmp_path / "want" / image).read_bytes()
    weighted = [op.name for op in want.graph.ops if op.macs]
    assert [op.name for op in got.graph.ops if op.macs] == weighted


@pytest.mark.parametrize("name", ["VggCeil", "SignedUnsignedAdd", "TemporalResidual"])
def test_batch_norm_folded_by_the_exporter(name, tmp_path):
    module, shape = networks.build(name), networks.SHAPES[name]
    export(module, torch.zeros((1, *shape)), tmp_path / "net.onnx",
           training=torch.onnx.TrainingMode.EVAL, opset_version=17)  # fmt: skip
    x = torch.randn((3, *shape))
    with torch.no_grad():
        got = load_onnx(tmp_path / "net.onnx", shape)(x)
        assert (got - module(x)).abs().max() < 1e-4


# --- ONNX's own tests of each operator ---------------------------------------------------------

# What these cases ask for has no loop nest, or needs an axis 0 that is no batch.
REFUSED = re.compile(
    r"_3d_|2d_dilations$|2d_pads$|training|dropout_random_old|default_mask|with_argmax|constant_pad"
    r"|test_(add|sub|mul|div|pow|less|greater|squeeze|tile)$|(less|greater)_equal$|matrix_bias"
    r"|expand_dim_changed|flatten_(axis0|negative_axis4)|einsum_batch_matmul|gather_(0|2d)|transposeA|all_attributes|matmul_(3d|4d|4d_1d|bcast)$|prelu"
    r"|default_axes|empty_set|allowzero|tile_precomputed"
    r"|gru|peepholes|batchwise|(lstm|rnn)_reverse"  # linear_before_reset 0, layout 1
    r"|resize_(down|tf)|resize_up.*(cubic|linear|axes|sizes)"  # pixels that are not repeated evenly
    r"|convtranspose_(3d|autopad|kernel_shape|output_shape)"
)


def node_cases():
    """Cases whose nodes are all supported, with the first input as data, the rest as constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        kinds = {node.op_type for node in case.model.graph.node} if case.model else set()
        if kinds and kinds <= OPERATORS.keys() and case.data_sets and "expanded" not in case.name:
            yield case


def outcome(case, path):
    """ok, wrong, refused, or none where the case is not about floats."""
    inputs = [np.asarray(v) if isinstance(v, np.generic) else v for v in case.data_sets[0][0]]
    first = inputs[0] if inputs else None
    if not isinstance(first, np.ndarray) or first.dtype.kind != "f" or first.ndim < 2:
        return "none"
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for value, array in zip(model.graph.input[1:], inputs[1:], strict=False):
        if isinstance(array, np.ndarray):
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
    onnx.save(model, path)
    try:
        with torch.no_grad():
            module = load_onnx(path, first.shape[1:])
            results = module(torch.from_numpy(first.astype(np.float32)))
    except UserError as error:
        assert path.name in str(error)
        return "refused"
    results = results.values() if isinstance(results, dict) else (results,)
    for got, want in zip(results, case.data_sets[0][1], strict=True):
        if got.shape != want.shape or not np.allclose(got.numpy(), want, rtol=1e-4, atol=1e-4):
            return "wrong"
    return "ok"


def test_operators_compute_what_the_onnx_project_says(tmp_path):
    found = {}
    for case in node_cases():
        found[case.name] = outcome(case, tmp_path / "case.onnx")
    assert not [name for name, what in found.items() if what == "wrong"]
    ok = {name for name, what in found.items() if what == "ok"}
    assert len(ok) >= 100
    refused = {name for name, what in found.items() if what == "refused"}
    assert not [name for name in refused if not REFUSED.search(name)]
    for needed in ("averagepool_2d_same_upper", "averagepool_2d_pads_count_include_pad",
                   "maxpool_2d_same_lower", "maxpool_2d_ceil", "conv_with_autopad_same",
                   "conv_with_strides_and_asymmetric_padding", "batchnorm_example",
                   "gemm_default_vector_bias", "slice_neg_steps", "globalmaxpool",
                   "lstm_bidirectional", "simple_rnn_with_initial_bias", "convtranspose_pads",
                   "convtranspose_group_2", "resize_upsample_scales_nearest"):  # fmt: skip
        assert f"test_{needed}" in ok, needed


def test_every_other_operator_is_refused_by_name(tmp_path):
    seen = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        if case.model is None or len(case.model.graph.node) != 1:
            continue
        kind = case.model.graph.node[0].op_type
        if kind in OPERATORS or kind in seen or case.model.graph.node[0].domain:
            continue
        seen.add(kind)
        onnx.save(case.model, tmp_path / "case.onnx")
        with pytest.raises(UserError) as caught:
            load_onnx(tmp_path / "case.onnx", (3, 4))
        assert "case.onnx" in str(caught.value)
    assert len(seen) > 60


# --- graphs as other exporters write them ------------------------------------------------------


def made(path, nodes, constants, input_shape, outputs=("out",), opset=13, **options):
    """An ONNX file from nodes and named arrays; the input is ``x``, axis 0 free where None."""
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path, **options)
    return path


def node(kind, inputs, output="out", **attributes):
    return helper.make_node(kind, inputs, [output], name=f"the_{output}", **attributes)


def tensorflow_file(path, batch):
    """What tf2onnx makes of Keras: NHWC outside, SAME paddings, BiasAdd, a computed shape."""
    rng = np.random.default_rng(0)
    constants = {
        "w1": rng.normal(size=(6, 3, 3, 3)).astype(np.float32),
        "b1": rng.normal(size=(1, 6, 1, 1)).astype(np.float32),
        "w2": rng.normal(size=(6, 1, 3, 3)).astype(np.float32),
        "fc": rng.normal(size=(5 * 4 * 6, 4)).astype(np.float32) / 10,
        "fb": rng.normal(size=4).astype(np.float32),
        "zero": np.array(0, np.int64), "ax": np.array([0], np.int64),
        "flat": np.array([120], np.int64), "end": np.array([1], np.int64),
        "low": np.array(0, np.float32), "high": np.array(6, np.float32),
    }  # fmt: skip
    nodes = [
        node("Transpose", ["x"], "nchw", perm=[0, 3, 1, 2]),
        node("Conv", ["nchw", "w1"], "c1", strides=[2, 2], auto_pad="SAME_UPPER"),
        node("Add", ["c1", "b1"], "c1b"),
        node("Clip", ["c1b", "low", "high"], "c1r"),
        node("Transpose", ["c1r"], "t1", perm=[0, 2, 3, 1]),
        node("Transpose", ["t1"], "t2", perm=[0, 3, 1, 2]),
        node("Conv", ["t2", "w2"], "c2", group=6, pads=[0, 0, 1, 1], strides=[1, 1]),
        node("Relu", ["c2"], "c2r"),
        node("MaxPool", ["c2r"], "mp", kernel_shape=[3, 2], strides=[1, 1], auto_pad="SAME_UPPER"),
        node("AveragePool", ["mp"], "ap", kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
        node("Transpose", ["ap"], "nhwc", perm=[0, 2, 3, 1]),
        node("Shape", ["nhwc"], "shape"),
        node("Slice", ["shape", "ax", "end", "ax"], "n"),
        node("Concat", ["n", "flat"], "target", axis=0),
        node("Reshape", ["nhwc", "target"], "r"),
        node("MatMul", ["r", "fc"], "mm"),
        node("Add", ["fb", "mm"], "out"),
    ]
    return made(path, nodes, constants, [batch, 11, 9, 3])


@pytest.mark.parametrize("batch", [None, 1])
def test_a_graph_in_tensorflows_manner(batch, tmp_path):
    path = tensorflow_file(tmp_path / "net.onnx", batch)
    x = np.random.default_rng(1).normal(size=(4, 11, 9, 3)).astype(np.float32)
    np.savez(tmp_path / "inputs.npz", x=x)
    (tmp_path / "r.toml").write_text('[model]\nonnx = "net.onnx"\ninputs = "inputs.npz"\n'
                                     "[quantize]\ninput_planes = 1\n")  # fmt: skip
    packed = pack(read_recipe(tmp_path / "r.toml"), tmp_path / "bundle")
    reference = onnx.reference.ReferenceEvaluator(str(path))
    want = np.concatenate([reference.run(None, {"x": sample[None]})[0] for sample in x])
    *_, last = execute.run(
        packed.graph, execute.input_tensor(packed.graph, x), execute.real_compute
    )
    got = execute.output_array(packed.graph, [last.result])
    assert np.abs(got - want).max() < 1e-4


SPELLED = {
    "silu": ([("Sigmoid", ["x"], "s"), ("Mul", ["x", "s"], "out")], F.silu),
    "hardswish": ([("HardSigmoid", ["x"], "s"), ("Mul", ["s", "x"], "out")], F.hardswish),
    "gelu": ([("Div", ["x", "root"], "d"), ("Erf", ["d"], "e"), ("Add", ["e", "one"], "a"),
              ("Mul", ["x", "a"], "m"), ("Mul", ["m", "half"], "out")], F.gelu),
    "gelu of keras": ([("Mul", ["x", "half"], "h"), ("Mul", ["rroot", "x"], "d"),
                       ("Erf", ["d"], "e"), ("Add", ["one", "e"], "a"),
                       ("Mul", ["h", "a"], "out")], F.gelu),
    "mish": ([("Softplus", ["x"], "s"), ("Tanh", ["s"], "t"), ("Mul", ["x", "t"], "out")], F.mish),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLED)
def test_activations_that_are_spelled_out_become_one(name, tmp_path):
    rows, function = SPELLED[name]
    constants = {"root": np.float32(2**0.5), "rroot": np.float32(0.5**0.5),
                 "one": np.float32(1), "half": np.float32(0.5)}  # fmt: skip
    attributes = {"alpha": 1 / 6} if name == "hardswish" else {}
    nodes = [node(k, i, o, **(attributes if k == "HardSigmoid" else {})) for k, i, o in rows]
    module = load_onnx(made(tmp_path / "n.onnx", nodes, constants, [None, 7]), (7,))
    x = torch.linspace(-4, 4, 14).reshape(2, 7)
    assert torch.allclose(module(x), function(x), atol=1e-6)
    assert len(module.steps) == 1


FUNCTIONS = {
    "shrink": (
        [("Shrink", ["y"], "out", {"bias": 0.1, "lambd": 0.4})],
        lambda x: torch.where(x < -0.4, x + 0.1, torch.where(x > 0.4, x - 0.1, 0 * x)),
    ),
    "where": (
        [("Less", ["half", "y"], "m", {}), ("Where", ["m", "y", "one"], "out", {})],
        lambda x: torch.where(x > 0.5, x, torch.ones(())),
    ),
    "casts": (
        [("Cast", ["y"], "i", {"to": TensorProto.INT32}), ("Cast", ["i"], "b", {"to": 9}),
         ("Not", ["b"], "n", {}), ("Cast", ["n"], "out", {"to": 1})],
        lambda x: (x.abs() < 1).float(),
    ),
    "extremes": (
        [("Max", ["half", "y"], "m", {}), ("Min", ["m", "one"], "out", {})],
        lambda x: x.clamp(0.5, 1.0),
    ),
    "branches": (
        [("Abs", ["y"], "a", {}), ("Pow", ["a", "half"], "r", {}), ("Sign", ["y"], "s", {}),
         ("Mul", ["r", "s"], "out", {})],
        lambda x: x.abs().sqrt() * x.sign(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_tensor_are_one_table(name, tmp_path):
    rows, function = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(7, 7)).astype(np.float32), "one": np.float32(1),
                 "half": np.float32(0.5)}  # fmt: skip
    nodes = [node("MatMul", ["x", "w"], "y"), *(node(k, i, o, **a) for k, i, o, a in rows)]
    path = made(tmp_path / "n.onnx", nodes, constants, [None, 7])
    module = load_onnx(path, (7,))
    x = torch.linspace(-4, 4, 14).reshape(2, 7)
    with torch.no_grad():
        want = function(x @ torch.from_numpy(constants["w"]))
        assert torch.allclose(module(x), want, atol=1e-5)
    graph = fold(capture(module, (7,), "net"))
    assert len(graph.ops) == 1


POOLS = [
    (kind, k, s, pads, size, extra)
    for kind, extra in (("MaxPool", {}), ("AveragePool", {}),
                        ("AveragePool", {"count_include_pad": 1}))
    for k, s in ((2, 1), (3, 2), (3, 1), (4, 3))
    for pads in ("SAME_UPPER", "SAME_LOWER", "VALID", [0, 1], [1, 0], [1, 1])
    for size in (7, 8)
]  # fmt: skip


def pooled(x, kind, kernel, strides, pads, include):
    """Pooling by the definition; pads are (top, left, bottom, right). Empty windows give None."""
    top, left, bottom, right = pads
    blank = np.nan if kind == "MaxPool" or not include else 0.0
    wide = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=blank)
    windows = np.lib.stride_tricks.sliding_window_view(wide, kernel, (2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1]]
    if np.isnan(windows).all(axis=(4, 5)).any():
        return None
    return (np.nanmax if kind == "MaxPool" else np.nanmean)(windows, axis=(4, 5))


def pads_of(pads, size, kernel, stride):
    """What auto_pad stands for along one axis."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return {"VALID": (0, 0), "SAME_UPPER": (total // 2, total - total // 2),
            "SAME_LOWER": (total - total // 2, total // 2)}[pads]  # fmt: skip


def test_pools_with_uneven_pads_are_captured_as_onnx_defines_them(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    checked = 0
    for kind, k, s, pads, size, extra in POOLS:
        if isinstance(pads, str):
            where = {"auto_pad": pads}
            (top, bottom), (left, right) = pads_of(pads, size, k, s), pads_of(pads, 8, 2, 1)
        else:
            (top, bottom), (left, right) = pads, (0, 0)
            where = {"pads": [top, left, bottom, right]}
        want = pooled(x[:, :, :size], kind, (k, 2), (s, 1), (top, left, bottom, right), bool(extra))
        if want is None:
            continue
        pool = node(kind, ["x"], kernel_shape=[k, 2], strides=[s, 1], **where, **extra)
        module = load_onnx(made(tmp_path / "n.onnx", [pool], {}, [None, 3, size, 8]), (3, size, 8))
        graph = fold(capture(module, (3, size, 8), "net", "net.onnx"))
        frame = execute.input_tensor(graph, x[:, :, :size])
        *_, last = execute.run(graph, frame, execute.real_compute)
        got = execute.output_array(graph, [last.result])
        assert got.shape == want.shape and np.abs(got - want).max() < 1e-5, (kind, k, s, pads)
        checked += 1
    assert checked > 130


# --- what is refused ---------------------------------------------------------------------------


def refused(path, *fragments, shape=(4,), error=UserError):
    with pytest.raises(error) as caught:
        load_onnx(path, shape)
    for fragment in (path.name, *fragments):
        assert fragment in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    "kind, said", [("ArgMax", "largest result"), ("CumSum", "triangular"),
                   ("DequantizeLinear", "float"), ("Hardmax", "leave it out"),
                   ("EyeLike", "constant matrices")],
)  # fmt: skip
def test_operators_without_a_nest_are_refused_with_the_node_and_the_nearest(kind, said, tmp_path):
    inputs = ["x", "s"] if kind in ("DequantizeLinear", "CumSum") else ["x"]
    path = made(tmp_path / "n.onnx", [node("Relu", ["x"], "r"), node(kind, ["r", *inputs[1:]])],
                {"s": np.float32(1)}, [None, 4])  # fmt: skip
    refused(path, "'the_out'", kind, said, error=UserError)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_ceil_mode_with_valid_is_refused_where_it_counts(kind, tmp_path):
    # ONNX says that VALID has no part of a window at the end, onnxruntime gives one.
    pool = node(kind, ["x"], kernel_shape=[2], strides=[3], auto_pad="VALID", ceil_mode=1)
    load_onnx(made(tmp_path / "n.onnx", [pool], {}, [None, 3, 8]), (3, 8))
    refused(made(tmp_path / "n.onnx", [pool], {}, [None, 3, 9]), kind, "ceil_mode", shape=(3, 9))


def test_operators_of_other_domains_are_refused(tmp_path):
    custom = helper.make_node("FusedConv", ["x"], ["out"], name="f", domain="com.microsoft")
    graph = helper.make_graph(
        [custom], "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "n.onnx")
    refused(tmp_path / "n.onnx", "'f'", "com.microsoft.FusedConv", error=UnsupportedLayer)


def test_old_operator_sets_are_refused_with_advice(tmp_path):
    path = made(tmp_path / "n.onnx", [node("Relu", ["x"])], {}, [None, 4], opset=11)
    refused(path, "operator set 11", "opset_version=13", error=CheckpointError)


def test_external_data_that_is_there_or_not(tmp_path):
    weight = np.ones((4, 300), np.float32)
    path = made(
        tmp_path / "n.onnx", [node("MatMul", ["x", "w"])], {"w": weight}, [None, 4],
        save_as_external_data=True, location="weights.bin", size_threshold=0,
    )  # fmt: skip
    assert load_onnx(path, (4,))(torch.ones(2, 4)).shape == (2, 300)
    (tmp_path / "weights.bin").write_bytes(b"short")
    refused(path, "exceeds", error=CheckpointError)
    (tmp_path / "weights.bin").unlink()
    refused(path, "'weights.bin'", "not beside it", error=CheckpointError)


def test_files_that_are_cut_off_or_something_else(tmp_path):
    path = export(networks.build("Mlp96"), torch.zeros(1, 96), tmp_path / "n.onnx")
    data = path.read_bytes()
    for keep in (1, 20, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:keep])
        refused(path, error=CheckpointError)
    for content, said in (
        (b"", "empty"), (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<html>", "no ONNX file"), (b"PK\x03\x04rest", "no ONNX file"), (b"text", "n.onnx"),
    ):  # fmt: skip
        path.write_bytes(content)
        refused(path, said, error=CheckpointError)
    refused(tmp_path / "no.onnx", "no such", error=InputError)


def test_numbers_and_samples_that_do_not_fit(tmp_path):
    bad = np.ones((4, 3), np.float32)
    bad[1, 2] = np.nan
    path = made(tmp_path / "n.onnx", [node("MatMul", ["x", "w"])], {"w": bad}, [None, 4])
    refused(path, "w is NaN", "index 5", error=CheckpointError)
    good = {"w": np.ones((4, 3), np.float32)}
    path = made(tmp_path / "n.onnx", [node("MatMul", ["x", "w"])], good, [None, 4])
    refused(path, "(4)", "(5,)", shape=(5,), error=InputError)
    statistics = {k: np.full(4, v, np.float32) for k, v in zip("sbmv", (1, 0, 0, -2), strict=True)}
    norm = node("BatchNormalization", ["x", *"sbmv"])
    path = made(tmp_path / "n.onnx", [norm], statistics, [None, 4])
    refused(path, "v, a running_var is negative", error=CheckpointError)


def test_two_inputs_are_refused(tmp_path):
    graph = helper.make_graph(
        [node("Add", ["x", "y"])], "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 4]) for n in "xy"],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    onnx.save(model, tmp_path / "n.onnx")
    refused(tmp_path / "n.onnx", "takes x, y; give an array for each", error=InputError)


def test_a_small_file_can_not_ask_for_a_huge_constant(tmp_path):
    nodes = [node("ConstantOfShape", ["s"], "c"), node("Add", ["x", "c"])]
    shape = {"s": np.array([1, 1 << 40], np.int64)}
    refused(made(tmp_path / "n.onnx", nodes, shape, [None, 4]), "'the_c'", "elements")
    nodes = [node("Pad", ["x", "p"])]
    pads = {"p": np.array([0, 0, 0, 1 << 40], np.int64)}
    refused(made(tmp_path / "n.onnx", nodes, pads, [None, 4]), "'the_out'", "elements")


def test_a_gru_of_keras_needs_reset_after(tmp_path):
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(1, 15, 4)).astype(np.float32),
                 "r": rng.normal(size=(1, 15, 5)).astype(np.float32),
                 "b": rng.normal(size=(1, 30)).astype(np.float32)}  # fmt: skip
    x = rng.normal(size=(3, 6, 4)).astype(np.float32)
    for reset in (1, 0):
        nodes = [
            node("Transpose", ["x"], "t", perm=[1, 0, 2]),
            helper.make_node("GRU", ["t", "w", "r", "b"], ["y", "h"], name="the_gru",
                             hidden_size=5, linear_before_reset=reset),
            node("Squeeze", ["h", "zero"]),
        ]  # fmt: skip
        path = made(tmp_path / "n.onnx", nodes, {**constants, "zero": np.array([0])}, [None, 6, 4])
        if reset:
            want = onnx.reference.ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
            module = load_onnx(path, (6, 4))
            graph = fold(capture(module, (6, 4), "net", "net.onnx"))
            *_, last = execute.run(graph, execute.input_tensor(graph, x), execute.real_compute)
            assert np.abs(execute.output_array(graph, [last.result]) - want).max() < 1e-5
        else:
            refused(path, "'the_gru'", "reset_after=True", shape=(6, 4), error=UnsupportedLayer)


def test_parameters_are_counted_as_in_pytorch(tmp_path):
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU6(), nn.Flatten(),
                           nn.Linear(12, 2)).eval()  # fmt: skip
    path = export(module, torch.zeros(1, 2, 4, 4), tmp_path / "n.onnx")
    loaded = load_onnx(path, (2, 4, 4))
    assert sum(p.numel() for p in loaded.parameters()) == sum(
        p.numel() for p in module.parameters()
    )


def test_the_documentation_lists_the_operators():
    text = (ROOT / "docs" / "recipe.md").read_text()
    listed = text[text.index("refused with the node's name:") :].split(".", 1)[0]
    words = re.sub(r"\(.*?\)", "", listed.split(":", 1)[1], flags=re.DOTALL)
    assert sorted(words.replace(",", " ").split()) == sorted(OPERATORS)
