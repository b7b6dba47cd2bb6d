# SPDX-License-Identifier: Apache-2.0
"""Programs rolled up into LOOPs run the same nests."""

from dataclasses import replace

import numpy as np
import pytest

from bramcast.pack.bundle.program import Input, Loop, Nest, decode, encode, unrolled
from bramcast.pack.lower.loops import roll

HEAD = Input(8, 1, 0)
LAST = Nest((1,) * 6, 0, (0,) * 6, 0, (0,) * 6, 0, (0,) * 3, 0, 1, 0, 0, 1, stream=True, last=True)


def nest(act=0, weight=0, result=0):
    return replace(
        LAST, act_base=act, weight_base=weight, result_base=result, stream=False, last=False
    )


def running(program):
    """What runs, without the flags that only say how."""
    flags = {"act_moves": False, "result_moves": False, "behind_loop": False}
    return [d if isinstance(d, Input) else replace(d, **flags) for _, d in unrolled(program)]


def test_steps_of_time_become_one_loop():
    steps = [
        n for t in range(9) for n in (nest(40 * t, 1, 7), nest(56, 2, 9), nest(72, 3, 100 + 5 * t))
    ]
    program = [HEAD, nest(1, 5, 3), *steps, nest(0, 9, 4), LAST]
    rolled = roll(program)
    loop = Loop(count=9, length=3, act_step=40, result_step=5)
    moving = [
        replace(steps[0], act_moves=True), steps[1], replace(steps[2], result_moves=True)
    ]  # fmt: skip
    assert rolled == [HEAD, program[1], loop, *moving, program[-2], LAST]
    assert running(rolled) == program


def test_places_that_take_turns_make_a_loop_of_two_steps():
    steps = [nest(8 * t, 1, 20 + t % 2) for t in range(12)]
    rolled = roll([HEAD, *steps, LAST])
    assert rolled[1] == Loop(count=6, length=2, act_step=16, result_step=0)
    assert len(rolled) == 5
    assert running(rolled) == [HEAD, *steps, LAST]


def test_nothing_is_rolled_up_where_it_saves_nothing():
    two = [HEAD, nest(0), nest(8), LAST]  # LOOP and one nest are two, too
    assert roll(two) == two
    uneven = [HEAD, nest(0), nest(8), nest(24), nest(25), LAST]
    assert roll(uneven) == uneven
    ends = [HEAD, LAST]
    assert roll(ends) == ends


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_rolled_up_runs_the_same(seed):
    rng = np.random.default_rng(seed)
    nests = []
    while len(nests) < 30:
        body = [tuple(int(v) for v in rng.integers(0, 3, 3)) for _ in range(rng.integers(1, 4))]
        moves = [tuple(int(v) for v in rng.integers(0, 2, 2)) for _ in body]
        for t in range(rng.integers(1, 6)):
            nests += [
                nest(a + 4 * t * m, w, r + 3 * t * n)
                for (a, w, r), (m, n) in zip(body, moves, strict=True)
            ]
    program = [HEAD, *nests, LAST]
    rolled = roll(program)
    assert running(rolled) == program
    assert len(rolled) < len(program)
    assert [decode(encode(d)) for d in rolled] == rolled
