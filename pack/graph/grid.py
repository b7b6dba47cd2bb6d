# SPDX-License-Identifier: Apache-2.0
"""Multiples of powers of two: where a network of integers has its values."""

from math import floor, frexp, inf

import numpy as np

from bramcast.pack.graph.ops import Op, Scale
from bramcast.pack.graph.tensor import FloatArray

FINEST = 40  # nobody means multiples of 2**-40 as integers


def round_half_up(value: float, grid: int) -> float:
    """The multiple of 2**-grid next to ``value``, ties towards +inf.

    >>> round_half_up(-0.5, 0), round_half_up(0.375, 2), round_half_up(float("inf"), 0)
    (0.0, 0.5, inf)
    """
    return value if value in (inf, -inf) else floor(value * 2.0**grid + 0.5) * 2.0**-grid


def on_grid(value: float, grid: int) -> bool:
    """Whether a number is a multiple of 2**-grid; infinite limits of a clamp are."""
    return round_half_up(value, grid) == value


def power_of_two(value: float) -> int | None:
    """log2 of a positive power of two.

    >>> power_of_two(0.25), power_of_two(-4.0), power_of_two(3.0)
    (-2, None, None)
    """
    mantissa, exponent = frexp(value)
    return exponent - 1 if mantissa == 0.5 else None


def grid_of(values: FloatArray) -> int | None:
    """The least g for which all values are multiples of 2**-g; None for none up to FINEST.

    >>> grid_of(np.array([3.0, 0.5])), grid_of(np.array([64.0, -192.0])), grid_of(np.array([0.1]))
    (1, -6, None)
    """
    used = values[values != 0]
    if not used.size:
        return -FINEST
    mantissa, exponent = np.frexp(used)
    integers = np.abs(mantissa * 2.0**53).astype(np.int64)
    zeros = np.log2((integers & -integers).astype(np.float64)).astype(np.int64)
    grid = int((53 - zeros - exponent).max())
    return grid if grid <= FINEST else None


def uniform(scale: Scale) -> tuple[float, float] | None:
    """Factor and offset of a scale that is the same for all elements."""
    factor, offset = scale.weight.flat[0], scale.bias.flat[0]
    if (scale.weight != factor).any() or (scale.bias != offset).any():
        return None
    return float(factor), float(offset)


def rounds_to(op: Op) -> str:
    """The multiples that an operation's forward() rounds to, in words."""
    assert op.rounds is not None
    return "integers" if op.rounds == 0 else f"multiples of {2.0**-op.rounds:g}"
