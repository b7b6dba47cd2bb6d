# SPDX-License-Identifier: Apache-2.0
"""Maxima and products of two against Python integers, tap by tap."""

import pytest
from one_nest import Bench, core_of, nest

from bramcast.golden import sizes
from bramcast.golden.elementwise import Gate, Maximum

WINDOW = {
    "y_start": -1, "y_limit": 3, "y_step_oy": 2, "y_step_ky": 1,
    "x_start": -2, "x_limit": 4, "x_step_ox": 2, "x_step_kx": 1,
}  # fmt: skip


def maximum(**fields):
    """Windows of 2x2 in steps of 2 over 3x4 pixels; those of the first column see none."""
    return nest(
        (2, 2, 3, 2, 2, 1), (4, 64, 16, 32, 8, 0), result=(2, 12, 4), act_base=48,
        result_base=100, lanewise=True, max=True, bias_step=4, **(WINDOW | {"tail": 3} | fields),
    )  # fmt: skip


@pytest.mark.parametrize("fields", [
    {}, {"x_unsigned": True, "lo": 0, "hi": 255}, {"stream": True}, {"tail": 2}, {"tail": 1},
])  # fmt: skip
def test_the_highest_element_of_each_window(fields):
    bench = Bench(core_of(2, 2), maximum(**fields), words=60, bias=[0] * 64, shift=[0] * 64)
    assert bench.accumulators(0, 0, 0, 0) == [0] * 4  # a window that sees no element
    assert any(a < 0 for a in bench.accumulators(0, 0, 1, 0)) or fields.get("x_unsigned")
    bench.check(Maximum)


def test_maxima_are_requantized_like_sums():
    Bench(core_of(2, 2), maximum(), words=60).check(Maximum)


def gate(pairs, **fields):
    """Factor and element one word apart, pairs two."""
    return nest(
        (2, 2, 2, 1, pairs, 2), (4, 32, 16, 0, 8, 4), result=(2, 8, 4), act_base=8, result_base=90,
        lanewise=True, product=True, bias_step=4, tail=3, **fields,
    )  # fmt: skip


@pytest.mark.parametrize("pairs", [1, 2])
@pytest.mark.parametrize("x_unsigned", [False, True])
@pytest.mark.parametrize("factor_unsigned", [False, True])
def test_products_of_two_numbers_and_sums_of_such(pairs, x_unsigned, factor_unsigned):
    one = gate(pairs, x_unsigned=x_unsigned, factor_unsigned=factor_unsigned, x_limit=pairs)
    Bench(core_of(2, 2), one, words=60, shift=[7] * 64).check(Gate)


def test_products_beyond_the_border_are_zero():
    one = gate(3, x_start=-1, x_step_kx=1, x_limit=1, stream=True, lo=-(2**31), hi=2**31 - 1)
    Bench(core_of(2, 2), one, words=60).check(Gate)


def test_products_of_16_bits_do_not_wrap_in_between():
    one = gate(1, lo=-32768, hi=32767, x_limit=1)
    Bench(core_of(2, 2, 16), one, words=60, shift=[15] * 64).check(Gate)


@pytest.mark.parametrize("kind, one", [(Maximum, maximum()), (Gate, gate(1))])
def test_how_many_pixels_are_taken_at_once_changes_nothing(kind, one, monkeypatch):
    monkeypatch.setattr(sizes, "BLOCK_BYTES", 1)
    assert len(Bench(core_of(2, 2), one, words=60).check(kind).places) > 2
