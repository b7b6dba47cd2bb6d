# SPDX-License-Identifier: Apache-2.0
"""`make accuracy`: its limits on hand-made figures, its figures against the command line's."""

import doctest
import importlib
import json
import sys
from fractions import Fraction

import numpy as np
import pytest
from support import DIGITS, ROOT, bramcast, write_recipe

from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.samples.inputs import read_inputs

sys.path.insert(0, str(ROOT / "bench"))
bench = importlib.import_module("accuracy")


def labelled(exact, ours, theirs, samples=1000, recurrent=False):
    """A row of so many right samples; ONNX Runtime's best is ``theirs``."""
    figures = (theirs - 40, theirs, theirs - 1)
    return bench.Row("net", samples, True, recurrent, 8, exact, ours, ours, figures)


@pytest.mark.parametrize(
    "row, complaint",
    [
        (labelled(900, 895, 890), None),  # exactly 0.5 points
        (labelled(900, 894, 890), "loses more than 0.5"),
        (labelled(900, 890, 880, recurrent=True), None),  # exactly 1 point
        (labelled(900, 889, 880, recurrent=True), "loses more than 1"),
        (labelled(900, 897, 900), None),  # exactly 0.3 points behind the best
        (labelled(900, 896, 900), "0.40 behind ONNX Runtime"),
        (labelled(900, 896, 899), None),
        (labelled(300, 298, 300, samples=400), None),  # 0.5 points, but two samples
        (labelled(300, 297, 297, samples=400), "loses more than 0.5"),
        (labelled(300, 299, 302, samples=400), "0.75 behind ONNX Runtime"),
        (labelled(900, 905, 910), "0.50 behind ONNX Runtime"),  # better than float, yet behind
        (labelled(80, 40, 80, samples=99), None),  # too few to judge
        (labelled(80, 40, 80, samples=100), "loses more than 0.5"),
    ],
)
def test_limits_of_accuracy(row, complaint):
    assert row.complaint == complaint
    assert row.judged == (row.samples >= 100)
    assert ("MISSED" in row.verdict) == (complaint is not None)
    assert ("not judged" in row.verdict) == (row.samples < 100)


@pytest.mark.parametrize(
    "error, met", [(8.0, True), (8.125, True), (7.875, True), (8.25, False), (7.75, False)]
)
def test_limits_of_a_reconstruction(error, met):
    row = bench.Row("net", 20, False, False, 8, 8.0, error, None, (9.0, 8.0, 10.0))
    assert row.judged and (row.complaint is None) == met
    assert row.loss(9.0) == Fraction(1, 8)
    assert "+12.50 %" in row.cells()


def test_the_table_shows_points_and_keeps_its_columns():
    rows = [labelled(900, 895, 890), labelled(80, 40, 80, samples=99)]
    head, rule, first, second = bench.table(rows).splitlines()
    assert {line.count("|") for line in (head, rule, first, second)} == {len(bench.COLUMNS) + 1}
    cells = [cell.strip() for cell in first.split("|")[1:-1]]
    assert cells == [
        "net", "1,000", "8", "90.00 %", "89.50 %", "0.50", "89.50 %", "5.00", "1.00", "1.10", "met",
    ]  # fmt: skip
    summary = bench.document([labelled(900, 894, 890)])
    assert summary["passed"] is False and bench.document(rows)["passed"] is True
    assert summary["rows"][0]["loss"] == 0.6
    assert summary["rows"][0]["onnxruntime_loss"] == [5.0, 1.0, 1.1]


def test_docstring_examples_run():
    assert doctest.testmod(bench) == (0, 2 + 1)


def in_json(*arguments):
    return json.loads(bramcast(*arguments).stdout)


@pytest.mark.parametrize("name", ["mlp", "gru"])
def test_figures_are_those_of_the_command_line(name, tmp_path):
    recipe = DIGITS / f"{name}.toml"
    packed = in_json("pack", recipe, "-o", tmp_path / "cli", "--json")
    golden = in_json("golden", tmp_path / "cli", "--inputs", recipe, "--json")
    inputs = read_inputs(recipe)
    outputs, recurrent, bits = bench.in_bramcast(recipe, tmp_path / "bench")
    assert bench.figure(outputs, inputs) / len(inputs.x) == golden["accuracy"]
    assert (recurrent, bits) == (name == "gru", 8 * packed["input_planes"])
    module = bench.read_model(bench.read_recipe(recipe), inputs.x.shape[1:]).module
    right = bench.figure(bench.in_float(module, inputs.x), inputs)
    assert right / len(inputs.x) == packed["float_accuracy"]


def test_a_row_with_onnx_runtime(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: make accuracy adds it")
    recipe = DIGITS / "mlp.toml"
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "--json", str(recipe)])
    code = bench.main()
    out, err = capsys.readouterr()
    (row,) = json.loads(out)["rows"]
    inputs = read_inputs(recipe)
    outputs, _, _ = bench.in_bramcast(recipe, tmp_path / "bundle")
    assert row["network"] == "digits_mlp" and row["samples"] == len(inputs.x)
    assert row["bramcast"] == np.count_nonzero(outputs.argmax(axis=1) == inputs.y)
    assert len(row["onnxruntime"]) == 3 and "digits_mlp: ONNX Runtime" in err
    assert code == (row["complaint"] is not None)


def test_what_onnx_runtime_quantizes(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: make accuracy adds it")
    import onnx
    from onnx import TensorProto

    for name, left in (("dscnn", ()), ("gru", ("GRU",))):
        recipe = DIGITS / f"{name}.toml"
        inputs = read_inputs(recipe)
        module = bench.read_model(bench.read_recipe(recipe), inputs.x.shape[1:]).module
        source, to = tmp_path / f"{name}.onnx", tmp_path / f"{name}.int8.onnx"
        bench.export(module, inputs.x[:1], source)
        exact, straight = bench.in_float(module, inputs.x), bench.in_onnxruntime(source, inputs.x)
        assert np.abs(exact - straight).max() < 1e-4
        assert bench.quantized(source, "MinMax", inputs.calibration[:20], to) == left
        graph = onnx.load(str(to)).graph
        values = {i.name: i for i in graph.initializer}
        of = {node.output[0]: node for node in graph.node}
        layers = [n for n in graph.node if n.op_type in ("Conv", "Gemm")]
        assert layers
        for layer in layers:
            integers, scales = (values[i] for i in of[layer.input[1]].input[:2])
            assert integers.data_type == TensorProto.INT8
            assert list(scales.dims) == [integers.dims[0]]  # a scale for each output channel
            zero = values[of[layer.input[0]].input[2]]
            assert zero.data_type == TensorProto.INT8


def test_what_can_not_be_measured_is_refused(tmp_path):
    recipe = write_recipe(tmp_path / "a", "Mlp96")
    with pytest.raises(InputError, match="no labels y"):
        bench.measure(recipe, tmp_path, 10)
    recipe = write_recipe(tmp_path / "b", "Mlp96", "[quantize]\nactivation_bits = 16\n")
    with pytest.raises(RecipeError, match="about 8 bits"):
        bench.measure(recipe, tmp_path, 10)
