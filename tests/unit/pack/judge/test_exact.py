# SPDX-License-Identifier: Apache-2.0
"""Networks of integers, and what of them is lost where."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import Made

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Apply
from bramcast.pack.judge.exact import _Lost, is_integer, of_integers
from bramcast.pack.quantize.op import QuantizedOp

Q0 = QFormat(8, 0)


def test_integers_of_16_bits_times_a_power_of_two():
    assert is_integer(np.array([2.0**16, -1.0]))
    assert not is_integer(np.array([2.0**16 + 1, -1.0]))
    assert is_integer(np.array([2.0**-20, 2.0**-5]))
    assert not is_integer(np.array([0.1]))
    assert is_integer(np.array([2.0**17 + 1]), 18)
    assert is_integer(np.zeros(0))


@pytest.mark.parametrize("weight, bias, sample, expected", [
    ([[0.5, -3.0]], [2.0**20 + 1], 7.0, True), ([[0.5, 0.1]], [0.0], 7.0, False),
    ([[0.5, -3.0]], [0.1], 7.0, False), ([[0.5, -3.0]], [0.0], 0.3, False),
])  # fmt: skip
def test_all_numbers_of_a_network_count(weight, bias, sample, expected):
    made = Made(2)
    graph = made.graph(made.dense("fc", made.x, weight, bias))
    assert of_integers(graph, np.array([[sample, 0.0]])) is expected


def test_rows_may_have_units_of_their_own_but_no_tables_follow():
    made = Made(2)
    y = made.dense("fc", made.x, [[2.0**-30, 0.0], [1.0, 5.0]])
    assert of_integers(made.graph(y), np.ones((1, 2)))
    y = made.add(Apply, "tanh", y, activation=Activation((Function("tanh"),)))
    assert not of_integers(made.graph(y), np.ones((1, 2)))


def notes(integers, inexact=0, out=Q0, sample=3.0):
    """Of two layers, the second of which reads the first: 2 x = 6, then 3 of that = 18."""
    made = Made(1)
    y = made.dense("a", made.x, [[2.0]])
    graph = made.graph(made.dense("b", y, [[3.0]]))
    q = QuantizedOp(
        weight=np.ones((1, 1, 1, 1), np.int64), bias=np.zeros(1, np.int64),
        shift=np.zeros(1, np.int64), lo=-128, hi=127, out=out, bound=1,
    )  # fmt: skip
    ops = {"a": replace(q, inexact=inexact), "b": replace(q, out=QFormat(32, 0))}
    real = {n: np.full((1, 1, 1, 1), v) for n, v in (("a", 6.0), ("b", 18.0))}
    got = {n: np.full((1, 1, 1, 1), v) for n, v in zip("ab", integers, strict=True)}
    return [n.split(",")[0] for n in _Lost(graph, ops, real, got).notes(
        np.array([[sample]]), Q0, None)]  # fmt: skip


def test_what_is_exact_is_not_named():
    assert notes((6, 18)) == []


def test_the_layer_that_differs_by_itself_is_named_and_no_other():
    (note,) = notes((5, 15))
    assert note.startswith("layer 'a': 1 of 1 results")
    (note,) = notes((6, 17))
    assert note.startswith("layer 'b': 1 of 1 results")


def test_a_format_that_does_not_hold_a_result_is_the_reason():
    (note,) = notes((1, 3), out=QFormat(8, -2))  # 6 is no multiple of 4
    assert note == "layer 'a': 1 of 1 results on calibration samples lie outside or between the " \
        "numbers of Q9.-2"  # fmt: skip


def test_weights_without_integers_are_the_reason_where_results_differ():
    assert notes((6, 18), inexact=2) == []
    (note,) = notes((5, 15), inexact=2)
    assert note == "layer 'a': 2 of its weights and biases have no exact integers"


def test_an_input_that_its_format_does_not_hold_comes_first():
    (note,) = notes((5, 15), sample=2.5)
    assert note.startswith("input: 1 of 1 values of calibration samples lie outside or between")
