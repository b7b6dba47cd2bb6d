# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the core in numpy, bit for bit; docs/arithmetic.md is the contract."""

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)

FLOAT32_EXACT = 1 << 24  # integers below this magnitude are exact in float32
FLOAT64_EXACT = 1 << 53


def requantize(
    acc: NDArray[np.integer],
    bias: NDArray[np.integer],
    shift: NDArray[np.integer],
    lo: int,
    hi: int,
) -> NDArray[np.int64]:
    """Bring accumulators into the result's format: add the bias, round, shift, clamp.

    Bit for bit what ``hw/bramcast_requantize.sv`` does. Ties round towards +inf; the sum has a
    guard bit.

    Args:
        acc: -2**31..2**31 - 1, any shape.
        bias: -2**30..2**30 - 1 in the accumulator's LSB, broadcast against ``acc``.
        shift: bits to drop, 0..31, broadcast against ``acc``.
        lo, hi: clamp, 32 bits signed.

    Returns:
        clamp((acc + bias + half) >> shift, lo, hi) with half = (1 << shift) >> 1, int64.

    Raises:
        ValueError: a shift is outside 0..31, or lo > hi.

    >>> acc, zero = np.array([7, 8, -8, -9, 4000, -4000]), np.array([0])
    >>> requantize(acc, zero, np.array([4]), -128, 127)
    array([   0,    1,    0,   -1,  127, -128])
    >>> requantize(np.array([1000, -1000]), np.array([-3]), np.array([4]), 0, 127)
    array([62,  0])
    >>> top = np.array([2**31 - 1, -(2**31)])     # neither wraps: 33 bits
    >>> requantize(top, np.array([2**30 - 1, -(2**30)]), np.array([30]), -128, 127)
    array([ 3, -3])
    """
    if lo > hi:
        raise ValueError(f"requantize needs lo <= hi, got {lo}..{hi}")
    shift64 = np.asarray(shift, np.int64)
    if np.any((shift64 < 0) | (shift64 > 31)):
        raise ValueError("requantize shift must be 0..31")
    half = (np.int64(1) << shift64) >> 1
    total = np.asarray(acc, np.int64) + np.asarray(bias, np.int64) + half
    clamped: NDArray[np.int64] = np.clip(total >> shift64, lo, hi)
    return clamped


def requantize_in_place(
    acc: NDArray[np.integer],
    offset: NDArray[np.integer],
    shift: NDArray[np.integer] | np.integer,
    lo: int,
    hi: int,
) -> NDArray[np.integer]:
    """``requantize`` without new arrays: the batch loop's version, tested against it.

    Args:
        acc: int32 or int64, overwritten. The caller knows that acc + offset fits its type.
        offset: bias + half, same type, broadcast.
        shift: 0..31, same type, broadcast.

    Returns:
        ``acc``.

    >>> acc = np.array([1000, -1000], np.int32)
    >>> requantize_in_place(acc, np.array([-3 + 8], np.int32), np.int32(4), 0, 127)
    array([62,  0], dtype=int32)
    """
    np.add(acc, offset, out=acc)
    np.right_shift(acc, shift, out=acc)
    np.clip(acc, acc.dtype.type(lo), acc.dtype.type(hi), out=acc)
    return acc


def wrap32(acc: NDArray[np.int64]) -> NDArray[np.int64]:
    """What a 32-bit signed register keeps of each number.

    >>> wrap32(np.array([2**31 - 1, 2**31, -(2**31) - 1, 2**32 + 5]))
    array([ 2147483647, -2147483648,  2147483647,           5])
    """
    return acc.astype(np.int32).astype(np.int64)


def product_dtype(bound: int) -> type[np.floating[Any]]:
    """The float type that carries integers of magnitude up to ``bound`` exactly.

    Raises:
        ValueError: none does.

    >>> product_dtype(2**24 - 1).__name__, product_dtype(2**24).__name__
    ('float32', 'float64')
    """
    if bound < FLOAT32_EXACT:
        return np.float32
    if bound < FLOAT64_EXACT:
        return np.float64
    raise ValueError(f"sums up to {bound} are exact in no float type")


class Workspace:
    """Buffers that are used again and again, so that the batch loop allocates nothing large."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: type[_Scalar]) -> NDArray[_Scalar]:
        """An uninitialised array that shares memory with earlier ones of the same name."""
        count = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < count:
            buffer = self._buffers[name] = np.empty(count, np.uint8)
        return buffer[:count].view(dtype).reshape(shape)


def exact_product(
    x: NDArray[np.integer],
    weights: NDArray[np.floating],
    bound: int,
    work: Workspace | None = None,
) -> NDArray[np.integer]:
    """The matrix product of integers; the one place where floats enter golden.

    Every partial sum is an integer of magnitude at most ``bound``, so in the type that
    ``product_dtype`` chooses no rounding happens, whatever the order of the additions; BLAS is
    many times faster than numpy's integer product.

    Args:
        x: integers [..., taps, n].
        weights: integers carried in ``product_dtype(bound)``, [..., rows, taps].
        bound: at least max|x| * the largest row sum of |weights|.
        work: where the intermediate arrays and the result live until the next call.

    Returns:
        weights @ x [..., rows, n]: int32, or int64 if ``bound`` >= 2**31.

    Raises:
        ValueError: ``weights`` has another type than ``bound`` calls for.

    >>> x = np.array([[127], [-128]], np.int8)
    >>> exact_product(x, np.array([[3, -2]], np.float32), 5 * 128)
    array([[637]], dtype=int32)
    >>> exact_product(x, np.array([[2**20, 1]], np.float32), 2**28)
    Traceback (most recent call last):
    ValueError: bound 268435456 needs float64 weights, got float32
    """
    dtype = product_dtype(bound)
    if weights.dtype != dtype:
        raise ValueError(f"bound {bound} needs {np.dtype(dtype)} weights, got {weights.dtype}")
    work = work or Workspace()
    floats = work.array("product.x", x.shape, dtype)
    np.copyto(floats, x, casting="unsafe")
    lead = np.broadcast_shapes(weights.shape[:-2], x.shape[:-2])
    shape = (*lead, weights.shape[-2], x.shape[-1])
    total = work.array("product.y", shape, dtype)
    np.matmul(weights, floats, out=total)
    result_dtype: type[np.integer[Any]] = np.int32 if bound < 1 << 31 else np.int64
    exact = work.array("product.acc", shape, result_dtype)
    np.copyto(exact, total, casting="unsafe")
    return exact


def requantizing_matrix(
    weights: NDArray[np.number],
    offset: NDArray[np.integer],
    shift: NDArray[np.integer],
    bound: int,
) -> NDArray[np.floating[Any]]:
    """Weights, biases and shifts as one matrix: its product with [x; 1] lacks only floor and clamp.

    The product is (weights @ x + offset) * 2**-shift. Before the factor every partial sum is an
    integer of magnitude at most ``bound``; the factor moves the exponent of a whole row, so
    nothing is rounded with it either.

    Args:
        weights: integers, carried in any type, [..., rows, taps].
        offset: bias + half, broadcast against [..., rows, 1].
        shift: 0..31, broadcast likewise.
        bound: at least max|x| * the largest row sum of |weights| + max|offset|.

    Returns:
        [..., rows, taps + 1] in ``product_dtype(bound)``.

    >>> matrix = requantizing_matrix(np.array([[3, -2]]), np.array([[8]]), np.array([[4]]), 1000)
    >>> matrix, matrix @ np.array([127, -128, 1], np.float32)
    (array([[ 0.1875, -0.125 ,  0.5   ]], dtype=float32), array([40.3125], dtype=float32))
    """
    last = np.broadcast_to(offset, (*weights.shape[:-1], 1))
    joined = np.concatenate([weights, last], axis=-1, dtype=product_dtype(bound))
    return np.ascontiguousarray(np.ldexp(joined, -shift))
