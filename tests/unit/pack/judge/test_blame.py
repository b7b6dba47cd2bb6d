# SPDX-License-Identifier: Apache-2.0
"""Shares of the output's error in a chain whose errors are known by hand."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import Made

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.judge.blame import Blame, blame
from bramcast.pack.quantize.op import QuantizedOp

Q0 = QFormat(8, 0)


def chain():
    """x -> a = x -> b = 3 a -> c = b / 2: the gradients of c are 1.5, 1.5 and 0.5."""
    made = Made(1)
    y = made.dense("a", made.x, [[1.0]])
    y = made.dense("b", y, [[3.0]])
    return made.graph(made.dense("c", y, [[0.5]]))


def integers(weight, bias=0, shift=0):
    return QuantizedOp(
        weight=np.full((1, 1, 1, 1), weight), bias=np.array([bias]), shift=np.array([shift]),
        lo=-(2**31), hi=2**31 - 1, out=QFormat(32, 0), bound=2**20,
    )  # fmt: skip


EXACT = {"a": integers(1), "b": integers(3), "c": replace(integers(1), out=QFormat(32, 1))}
SAMPLES = np.arange(40.0)[:, None]


def test_an_exact_chain_brings_nothing():
    found = blame(chain(), EXACT, Q0, None, SAMPLES)
    assert found.layers == {"a": 0.0, "b": 0.0, "c": 0.0} and found.input == 0.0
    assert found.worst() is None and found.share(found.input) == 0.0
    assert found.varying == {"a": 150.0, "b": 150.0, "c": 150.0}


@pytest.mark.parametrize("name, bias, expected", [
    ("a", 2, (1.5 * 2) ** 2), ("b", -4, (0.5 * 4) ** 2), ("c", 3, (3 / 2) ** 2),
])  # fmt: skip
def test_a_layer_answers_for_its_own_error_times_the_outputs_gradient(name, bias, expected):
    found = blame(chain(), EXACT | {name: replace(EXACT[name], bias=np.array([bias]))}, Q0, None,
                  SAMPLES)  # fmt: skip
    assert found.layers == {"a": 0.0, "b": 0.0, "c": 0.0} | {name: pytest.approx(expected)}
    assert found.worst() == name and found.share(found.layers[name]) == 1.0


def test_the_inputs_rounding_is_a_share_of_its_own():
    found = blame(chain(), EXACT, Q0, None, SAMPLES + 0.25)
    assert found.input == pytest.approx((1.5 * 0.25) ** 2)
    assert found.worst() is None and found.share(found.input) == 1.0


def test_an_error_is_a_mean_however_few_samples_there_are():
    once = replace(EXACT["a"], bias=np.array([2]))
    found = blame(chain(), EXACT | {"a": once}, Q0, None, SAMPLES[:3])
    assert found.layers["a"] == pytest.approx(9.0)


def test_shares_are_of_the_sum_and_rounded():
    found = Blame({"a": 1.0, "b": 5.0}, 3.0, {})
    assert found.total == 9.0
    assert (found.share(1.0), found.share(found.input), found.worst()) == (0.111, 0.333, "b")
