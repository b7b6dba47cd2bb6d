# SPDX-License-Identifier: Apache-2.0
"""The cycle model: the closed form against one pixel at a time, and the bound above it."""

import numpy as np
import pytest

from bramcast.pack.bundle.cycles import NestCycles, cycle_bound, predict
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import Input, Nest


def nest(counts, tail, **fields):
    return Nest(counts, 0, (0,) * 6, 0, (0,) * 6, 0, (0,) * 3, -128, 127, 0, 0, tail, **fields)


def core_of(lanes, rq, taps=1, bits=8):
    return Core(lanes, taps, bits, 8, rq, 64, 64, 64, 0, 64)


def one_by_one(program, core):
    """docs/core.md with a step per pixel and per beat."""
    widest = core.lanes * core.taps // core.rq
    adding = {1: 0, 2: 1, 4: 2, 8: 3}[core.taps]
    table = {8: 2, 16: 4}[core.data_bits]
    room = max(16, 2 * widest)
    start, last_beat, left, starts, queued = 1, 0, [], [], 0
    for d in program[1:]:
        starts.append(start)
        tap, drain = start - 1, 0
        for pixel in range(d.pixels):
            final = pixel >= (d.counts[0] - 1) * d.counts[1] * d.counts[2]
            whole = core.lanes * core.taps if d.lanewise else core.lanes
            lanes = d.tail if final else whole
            chunks = -(-lanes // core.rq)
            tap += max(d.taps, drain)
            drain = chunks
            if not d.stream:
                continue
            # wait until a whole group fits; a chunk that leaves in cycle c makes room in c + 1
            while queued - sum(c < tap for c in left) > room - widest:
                tap += 1
            for i in range(chunks):
                for _ in range(min(core.rq, lanes - i * core.rq)):
                    last_beat = max(last_beat + 1, tap + 15 + adding + table * d.table + i)
                left.append(last_beat)
            queued += chunks
        chunks = -(-d.tail // core.rq)
        filled = -(-d.tail // core.lanes) * (core.lanes // core.rq)  # if all sub-words were full
        late = adding + table * d.table
        start = max(tap + 13 + min(chunks + 1, filled) + late, start + 35)
    return last_beat, starts


@pytest.mark.parametrize("seed", range(150))
def test_the_prediction_is_that_of_single_steps(seed):
    rng = np.random.default_rng(seed)
    lanes = int(rng.choice([1, 2, 4, 8, 16, 64]))
    rq = int(rng.choice([r for r in (1, 2, 4, 8) if r <= lanes]))
    taps = int(rng.choice([1, 1, 2, 4, 8]))
    core = core_of(lanes, rq, taps, int(rng.choice([8, 16])))
    program = [Input(4, 1, 0)]
    for i in range(n := int(rng.integers(1, 5))):
        counts = tuple(int(c) for c in rng.integers(1, 5, 6))
        stream = i == n - 1 or bool(rng.integers(2))
        lanewise = bool(rng.integers(2))
        tail = int(rng.integers(1, (lanes * taps if lanewise else lanes) + 1))
        flags = {"lanewise": lanewise, "table": bool(rng.integers(2)), "last": i == n - 1}
        program.append(nest(counts, tail, stream=stream, **flags))
    got = predict(program, core)
    total, starts = one_by_one(program, core)
    assert (got.total, [n.start for n in got.nests]) == (total, starts)
    assert got.total <= cycle_bound(program, core)


def test_a_nest_takes_one_tap_a_cycle_where_the_drain_is_hidden():
    core = core_of(16, 2)
    program = [
        Input(96, 1, 0),
        nest((6, 1, 1, 1, 1, 96), 16),
        nest((4, 1, 1, 1, 1, 96), 16),
        nest((1, 1, 1, 1, 1, 64), 12, stream=True, last=True),
    ]
    got = predict(program, core)
    first, second = 6 * 96, 6 * 96 + 21 + 4 * 96  # the gap is 13 + 8 chunks, first tap included
    assert got.nests[0] == NestCycles(1, first)
    assert got.nests[1] == NestCycles(first + 21, second - 1)
    assert got.total == got.nests[2].end + 15 + 11


def test_short_pixels_wait_for_the_requantizer():
    core = core_of(16, 2)  # 8 chunks a pixel
    two = [Input(4, 1, 0), nest((1, 10, 10, 1, 1, 2), 16), nest((1,) * 6, 1, stream=True)]
    assert predict(two, core).nests[0].end == 2 + 99 * 8
    tail = [Input(4, 1, 0), nest((1, 10, 10, 1, 1, 2), 5), nest((1,) * 6, 1, stream=True)]
    assert predict(tail, core).nests[0].end == 2 + 99 * 3


def test_a_stream_leaves_one_beat_a_cycle():
    core = core_of(16, 4)
    program = [Input(4, 1, 0), nest((1, 50, 50, 1, 1, 2), 16, stream=True, last=True)]
    assert predict(program, core).total == 2 + 15 + 2500 * 16 - 1


def test_a_large_picture_is_predicted_in_no_time():
    core = core_of(16, 2)
    program = [Input(4, 1, 0), nest((4, 1000, 1000, 1, 1, 2), 16), nest((1,) * 6, 1, stream=True)]
    assert predict(program, core).nests[0].end == 2 + (4_000_000 - 1) * 8
