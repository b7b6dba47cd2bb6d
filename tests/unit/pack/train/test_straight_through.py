# SPDX-License-Identifier: Apache-2.0
"""Integers forward, the gradients of real numbers backward: one layer, by hand."""

import numpy as np
import pytest
import torch
from graphs import Made

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.train.straight_through import Live, quantized_input, through_compute

SEEN, READ = QFormat(8, 3), QFormat(8, 4)


def layer(**fields):
    made = Made(2)
    made.dense("fc", made.x, [[0.3, -0.7]], [0.2], **fields)
    return made.draft.ops[0]


# Weights with 5 fraction bits, operands with 4, results with 3: sums have 9, so 6 are dropped.
def integers(**fields):
    defaults = {
        "weight": np.array([[10, -22]])[:, :, None, None], "bias": np.array([102]),
        "shift": np.array([6]), "lo": -20, "hi": 30, "out": SEEN, "bound": 10_000,
    }  # fmt: skip
    return QuantizedOp(**(defaults | fields))


def run(x, q, op=None, **live):
    op = op or layer()
    weight = torch.tensor([[0.3, -0.7]]).double()[:, :, None, None].requires_grad_()
    bias = torch.tensor([0.2]).double().requires_grad_()
    compute = through_compute(
        {"fc": q}, {"fc": SEEN}, {"fc": READ}, {"fc": Live(weight, bias)} if live else {}
    )
    x = torch.tensor(x).double().reshape(1, 2, 1, 1).requires_grad_()
    result = compute(op, [x])
    result.sum().backward()
    return result.item(), x.grad.ravel().tolist(), weight.grad, bias.grad


@pytest.mark.parametrize("x", [(40.0, 9.0), (-8.0, 31.0), (3.0, -1.0), (-7.0, 0.0)])
def test_the_result_is_the_integer_and_its_gradients_are_the_real_layers(x):
    result, of_x, of_weight, of_bias = run(x, integers(), live=True)
    total = 10 * int(x[0]) - 22 * int(x[1]) + 102
    assert result == (total + 32) >> 6 and -20 < result < 30
    # Result in LSBs of 1/8 = 8 * (weight * x / 16 + bias): the weights are the integers' forward.
    assert of_x == [10 / 64, -22 / 64]
    assert of_weight.ravel().tolist() == [x[0] / 2, x[1] / 2]
    assert of_bias.tolist() == [8.0]


def test_what_saturates_has_no_gradient():
    result, of_x, of_weight, of_bias = run((120.0, -120.0), integers(), live=True)
    assert result == 30
    assert of_x == [0.0, 0.0] and not of_weight.any() and not of_bias.any()


def test_constants_have_none_either():
    result, of_x, of_weight, of_bias = run((40.0, 9.0), integers())
    assert result == (10 * 40 - 22 * 9 + 102 + 32) >> 6
    assert of_x == [10 / 64, -22 / 64]
    assert of_weight is None and of_bias is None


def test_sums_beyond_24_bits_are_exact():
    q = integers(weight=np.array([[2**12, 1]])[:, :, None, None], shift=np.array([0]),
                 lo=-(2**31), hi=2**31 - 1, out=QFormat(32, 9), bound=2**30)  # fmt: skip
    result, *_ = run((2.0**14 - 1, 1.0), q)
    assert result == (2**14 - 1) * 2**12 + 1 + 102


def test_a_table_gives_its_entry_and_the_functions_slope():
    out = QFormat(8, 5)
    table = np.arange(256) % 100
    q = integers(table=table, out=out)
    op = layer(activation=Activation((Function("scale", (0.5, 0.0)), Function("round", (5.0,)))))
    result, of_x, *_ = run((40.0, 9.0), q, op)
    assert result == table[(10 * 40 - 22 * 9 + 102 + 32) >> 6]
    # x -> seen / 8 -> half of it -> LSBs of 1/32: twice the clamp's integer.
    assert of_x == [2 * 10 / 64, 2 * -22 / 64]


def test_an_input_is_quantized_with_a_gradient_inside_its_format():
    fmt = QFormat(8, 4)
    x = torch.tensor([0.40625, -0.09375, 9.0, -9.0]).double().requires_grad_()  # 6.5, -1.5 LSBs
    y = quantized_input(x, fmt)
    y.sum().backward()
    assert y.tolist() == [7.0, -1.0, 127.0, -128.0]
    assert x.grad.tolist() == [16.0, 16.0, 0.0, 0.0]
