# SPDX-License-Identifier: Apache-2.0
"""Places buffers in the scratchpad by their lifetimes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer of ``words`` words that is alive from step ``born`` to step ``dies``, inclusive."""

    words: int
    born: int
    dies: int

    def meets(self, other: "Lifetime") -> bool:
        return self.born <= other.dies and other.born <= self.dies


def place(buffers: Sequence[Lifetime]) -> tuple[list[int], int]:
    """First word of each buffer, and the scratchpad's depth in words.

    Buffers that are alive at the same time never overlap. Each is put at the lowest free place, in
    several orders, of which the shallowest result is taken.

    >>> place([Lifetime(4, 0, 1), Lifetime(2, 1, 2), Lifetime(4, 2, 3)])
    ([0, 4, 0], 6)
    """
    keys: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda i: (-buffers[i].words, i),
        lambda i: (buffers[i].born, -buffers[i].words),
        lambda i: (buffers[i].born - buffers[i].dies, -buffers[i].words, i),
        lambda i: (-buffers[i].dies, -buffers[i].words),
    )
    plans = [_greedy(buffers, sorted(range(len(buffers)), key=key)) for key in keys]
    return min(plans, key=lambda plan: plan[1])


def _greedy(buffers: Sequence[Lifetime], order: Sequence[int]) -> tuple[list[int], int]:
    base = [0] * len(buffers)
    placed: list[int] = []
    for index in order:
        mine = buffers[index]
        busy = sorted(
            (base[other], base[other] + buffers[other].words)
            for other in placed
            if buffers[other].meets(mine)
        )
        at = 0
        for start, end in busy:
            if start - at >= mine.words:
                break
            at = max(at, end)
        base[index] = at
        placed.append(index)
    depth = max((base[i] + buffers[i].words for i in range(len(buffers))), default=0)
    return base, depth
