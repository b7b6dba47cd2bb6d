# SPDX-License-Identifier: Apache-2.0
"""The arithmetic against Python integers, at the edges."""

import itertools

import numpy as np
import pytest

from bramcast.golden.arith import (
    Workspace,
    exact_product,
    product_dtype,
    requantize,
    requantize_in_place,
    requantizing_matrix,
    wrap32,
)

ACCS = [-(2**31), -(2**31) + 1, -4000, -9, -8, -7, -1, 0, 1, 7, 8, 9, 4000, 2**31 - 2, 2**31 - 1]
BIASES = [-(2**30), -(2**30) + 1, -1, 0, 1, 2**30 - 1]


@pytest.mark.parametrize("shift", range(32))
@pytest.mark.parametrize("lo, hi", [(-128, 127), (0, 255), (-(2**31), 2**31 - 1), (3, 3)])
def test_requantize_equals_python_integers(shift, lo, hi):
    acc, bias = np.array(list(itertools.product(ACCS, BIASES)), np.int64).T
    half = (1 << shift) >> 1
    expected = [
        min(max((a + b + half) >> shift, lo), hi)
        for a, b in zip(acc.tolist(), bias.tolist(), strict=True)
    ]
    assert requantize(acc, bias, np.array(shift), lo, hi).tolist() == expected
    quick = requantize_in_place(acc.copy(), bias + half, np.int64(shift), lo, hi)
    assert quick.tolist() == expected


def test_requantize_in_place_is_the_same_in_32_bits():
    rng = np.random.default_rng(3)
    acc = rng.integers(-(2**29), 2**29, 10000)
    bias = rng.integers(-(2**29), 2**29, 10000)
    for shift in range(30):
        half = (1 << shift) >> 1
        quick = requantize_in_place(
            acc.astype(np.int32), (bias + half).astype(np.int32), np.int32(shift), -128, 127
        )
        assert quick.dtype == np.int32
        assert np.array_equal(quick, requantize(acc, bias, np.array(shift), -128, 127))


def test_requantize_refuses_what_the_hardware_can_not_hold():
    one = np.ones(1, np.int64)
    with pytest.raises(ValueError, match="shift must be 0..31"):
        requantize(one, one, one * 32, -128, 127)
    with pytest.raises(ValueError, match="lo <= hi"):
        requantize(one, one, one, 1, 0)


def test_wrap32_is_modulo_2_to_the_32():
    values = [0, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**40 + 3, -(2**45) + 7]
    expected = [(v + 2**31) % 2**32 - 2**31 for v in values]
    assert wrap32(np.array(values)).tolist() == expected


@pytest.mark.parametrize("taps, bits", [(40, 8), (1000, 8), (60, 16), (70000, 16)])
def test_the_product_is_exact_up_to_its_bound(taps, bits):
    rng = np.random.default_rng(taps)
    top = 1 << (bits - 1)
    x = rng.integers(-top, top, (2, taps, 3))
    x[0] = -top
    w = rng.integers(-128, 128, (5, taps))
    w[0] = -128
    bound = int(np.abs(w).sum(axis=1).max()) * top
    dtype = product_dtype(bound)
    got = exact_product(x, w.astype(dtype), bound)
    assert np.array_equal(got, np.matmul(w, x))
    assert got.dtype == (np.int32 if bound < 2**31 else np.int64)


def test_the_product_refuses_a_type_that_would_round():
    with pytest.raises(ValueError, match="needs float64 weights, got float32"):
        exact_product(np.ones((1, 1), np.int64), np.ones((1, 1), np.float32), 2**24)
    with pytest.raises(ValueError, match="exact in no float type"):
        product_dtype(2**53)


@pytest.mark.parametrize("limit", [2**24, 2**53])
@pytest.mark.parametrize("shift", [0, 1, 7, 31])
def test_bias_and_shift_within_the_product_round_nothing(limit, shift):
    """Sums from -(limit - 1) to limit - 1, whose last bits decide, in any order of addition."""
    rng = np.random.default_rng(shift)
    x = np.array([*rng.integers(0, 2, (6, 40)), *rng.integers(1, 3, (2, 40))])
    weights = rng.integers(-(limit // 32), limit // 32, (9, 8))
    room = limit - 1 - 2 * np.abs(weights).sum(axis=1)
    offset = np.where(rng.random(9) < 0.5, room, -room)
    matrix = requantizing_matrix(weights, offset[:, None], np.full((9, 1), shift), limit - 1)
    assert matrix.dtype == (np.float32 if limit == 2**24 else np.float64)
    joined = np.concatenate([x, np.ones((1, 40), np.int64)]).astype(matrix.dtype)
    expected = [
        [(sum(int(a) * int(b) for a, b in zip(row, column, strict=True)) + int(o)) >> shift
         for column in x.T]
        for row, o in zip(weights, offset, strict=True)
    ]  # fmt: skip
    for order in (np.arange(9), np.arange(9)[::-1]):
        got = np.floor(np.matmul(matrix[:, order], joined[order]))
        assert got.astype(np.int64).tolist() == expected
        summed = np.add.reduce(matrix[:, order, None] * joined[order], axis=1)
        assert np.floor(summed).astype(np.int64).tolist() == expected


def test_a_workspace_gives_the_same_memory_again():
    work = Workspace()
    a = work.array("x", (3, 4), np.int64)
    b = work.array("x", (6, 4), np.float32)
    assert np.shares_memory(a, b) and b.shape == (6, 4) and b.dtype == np.float32
    assert not np.shares_memory(a, work.array("y", (3, 4), np.int64))
