# SPDX-License-Identifier: Apache-2.0
"""Nested loops as flat arrays."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def affine(counts: tuple[int, ...], steps: tuple[int, ...]) -> NDArray[np.int64]:
    """Sum of index * step over nested loops, flattened in loop order: int64 [prod(counts)]."""
    total = np.zeros(1, np.int64)
    for count, step in zip(counts, steps, strict=True):
        total = (total[:, None] + np.arange(count, dtype=np.int64) * step).reshape(-1)
    return total


def progression(index: NDArray[np.int64]) -> slice | None:
    """The slice that selects ``index`` [n], if there is one."""
    first = int(index[0])
    step = int(index[1]) - first if len(index) > 1 else 1
    if step < 1 or not np.array_equal(index, first + step * np.arange(len(index))):
        return None
    return slice(first, int(index[-1]) + 1, step)


def ranges(total: int, step: int) -> Iterator[slice]:
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))
