# SPDX-License-Identifier: Apache-2.0
"""Rolls equal stretches of a program up into LOOPs: the time steps of a recurrent network.

Steps that were unrolled over time become nests that differ in their bases only. Where such a
stretch repeats with an even distance, one copy of it behind a LOOP descriptor does the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bramcast.pack.bundle.program import Descriptor, Input, Loop, Nest

MAX_COUNT = 1 << 16


@dataclass(frozen=True, slots=True)
class _Stretch:
    """``count`` copies of ``length`` nests from number ``start`` on; steps from copy to copy."""

    start: int
    length: int
    count: int
    act_step: int
    result_step: int

    @property
    def saved(self) -> int:
        """Descriptors that a LOOP saves."""
        return (self.count - 1) * self.length - 1


def roll(program: Sequence[Descriptor]) -> list[Descriptor]:
    """The same program with LOOPs, as short as single loops make it.

    Args:
        program: the input frame, then nests without LOOPs.

    Returns:
        A program that ``unrolled`` turns into ``program`` again, but for the moves.
    """
    head, nests = program[0], list(program[1:])
    assert isinstance(head, Input)
    plain = [n for n in nests if isinstance(n, Nest)]
    assert len(plain) == len(nests), "a program is rolled up once"
    return [head, *_rolled(plain)]


def _rolled(nests: list[Nest]) -> list[Descriptor]:
    best = _best(nests)
    if best is None:
        return list(nests)
    end = best.start + best.length * best.count
    body = []
    for j in range(best.start, best.start + best.length):
        one, two = nests[j], nests[j + best.length]
        act, result = two.act_base != one.act_base, two.result_base != one.result_base
        body.append(replace(one, act_moves=act, result_moves=result))
    loop = Loop(best.count, best.length, best.act_step, best.result_step)
    return [*_rolled(nests[: best.start]), loop, *body, *_rolled(nests[end:])]


def _best(nests: list[Nest]) -> _Stretch | None:
    """The stretch that saves most descriptors; the first one of equals."""
    kinds: dict[Nest, int] = {}  # nests that differ in their bases only have one number
    kind = [kinds.setdefault(replace(n, act_base=0, result_base=0), len(kinds)) for n in nests]
    last = len(nests) - 1  # the last nest ends the program, a LOOP must not
    best: _Stretch | None = None
    for length in range(1, last // 2 + 1):
        equal = 0  # nests in a row that are of the kind of the one ``length`` before
        for i in range(length, last + 1):
            equal = equal + 1 if i < last and kind[i] == kind[i - length] else 0
            if equal < length:
                continue
            start = i + 1 - 2 * length
            most = (last - start) // length  # times that fit: does that save more at all?
            if best is not None and (most - 1) * length - 1 <= best.saved:
                continue
            found = _grow(nests, kind, start, length, last)
            if found is not None and (best is None or found.saved > best.saved):
                best = found
    return best if best is not None and best.saved > 0 else None


def _grow(
    nests: list[Nest], kind: list[int], start: int, length: int, last: int
) -> _Stretch | None:
    """How often the stretch repeats, if the bases move evenly."""
    acts = [nests[start + length + j].act_base - nests[start + j].act_base for j in range(length)]
    outs = [
        nests[start + length + j].result_base - nests[start + j].result_base for j in range(length)
    ]
    steps = [sorted(set(moves) - {0}) for moves in (acts, outs)]
    if len(steps[0]) > 1 or len(steps[1]) > 1:
        return None
    count = 2
    while start + (count + 1) * length <= last and count < MAX_COUNT:
        first = start + count * length
        if any(
            kind[first + j] != kind[start + j]
            or nests[first + j].act_base != nests[start + j].act_base + count * acts[j]
            or nests[first + j].result_base != nests[start + j].result_base + count * outs[j]
            for j in range(length)
        ):
            break
        count += 1
    return _Stretch(start, length, count, *(s[0] if s else 0 for s in steps))
