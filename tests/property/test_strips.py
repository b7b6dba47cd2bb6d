# SPDX-License-Identifier: Apache-2.0
"""Programs with strips: the validator against plain loops, golden against the interpreter.

Programs and interpreter are those of tests/cosim/test_core_smoke.py, where the core runs them.
"""

import random
from dataclasses import replace

import numpy as np
import pytest
from cosim.test_core_smoke import Shape, core_and_images, interpret, points, random_case
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bramcast.golden.machine import Machine
from bramcast.golden.validate import validate
from bramcast.pack.bundle.errors import ProgramError
from bramcast.pack.bundle.program import (
    ALL_BANKS,
    TILED_NEST_FIELDS,
    Input,
    Nest,
    encode_program,
    split_program,
)
from bramcast.pack.bundle.words import Words, from_uint32, to_uint32

# Small, so that many banks, and their ends, are met. One of each number of tiles has TAPS > 1.
SHAPES = [
    Shape(2, 1, SCRATCH_DEPTH=40, PROGRAM_DEPTH=160, TILES=2),
    Shape(2, 2, TAPS=2, SCRATCH_DEPTH=40, PROGRAM_DEPTH=160, TILES=4),
    Shape(1, 1, TAPS=2, SCRATCH_DEPTH=80, PROGRAM_DEPTH=160, TILES=8),
    Shape(4, 2, DATA_BITS=16, SCRATCH_DEPTH=32, PROGRAM_DEPTH=160, TILES=8),
    Shape(1, 1, TAPS=8, SCRATCH_DEPTH=50, PROGRAM_DEPTH=160, BIAS_DEPTH=200, TILES=2),
]
FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def check_equal(case, images, core):
    """Golden and the interpreter, every beat and every sub-word."""
    machine = Machine(images, core)
    results = machine.run(np.array(case.frames, np.int64), keep_layers=True)
    mask, bank = (1 << core.data_bits) - 1, case.shape.subs
    for number, frame in enumerate(case.frames):
        lines = interpret(case, frame, case.shape.scratch())
        sent = [v for kind, _, _, v in lines if kind == 1]
        assert (results.beats[number] & 0xFFFFFFFF).tolist() == sent
        stored = sorted(
            (nest.descriptor, address // bank, i, address, word)
            for nest in results.nests
            if nest.addresses.size and nest.addresses[0] >= 0
            for i, (address, word) in enumerate(
                zip(nest.addresses.tolist(), (nest.words[number] & mask).tolist(), strict=True)
            )
        )
        mine = sorted(
            (nest, address // bank, i, address, text)
            for i, (kind, nest, address, text) in enumerate(lines)
            if kind == 0
        )
        told = [(n, a, sum(v << core.data_bits * i for i, v in enumerate(w)))
                for n, _, _, a, w in stored]  # fmt: skip
        assert told == [(n, a, text) for n, _, _, a, text in mine]


# ------------------------------------------------------- rules 2 to 4, tap by tap, bank by bank


def broken_rule(program, shape):
    """The field that the first broken rule is about, and its nest; None if the program is legal."""
    written = {sub for run in shape.frame(program[0]) for sub in run}
    for index, d in enumerate(program[1:], 1):
        wrong, reads, writes = set(), {}, {}  # (bank, sub-word): pixels of tiles
        everywhere = d.bank == ALL_BANKS
        for pixel, made, first in points(d, shape.TILES):
            g = pixel[0]
            bias = d.bias_base + g * d.bias_step + (shape.valid(d, g) - 1) // shape.RQ
            if bias >= shape.BIAS_DEPTH:
                wrong.add("bias_base")
            for tile, (taps, banks) in enumerate(made):
                for bank, element, step, inside in taps:
                    if not (d.max or d.product) and not 0 <= step < shape.WEIGHTS_DEPTH:
                        wrong.add("weight_base")
                    if inside and not 0 <= element < shape.SCRATCH_DEPTH * shape.word:
                        wrong.add("act_base")
                    for sub in shape.read(d, g, bank, element) if inside else ():
                        # All tiles of a nest that writes all banks do the same.
                        who = range(shape.TILES) if everywhere else [tile]
                        reads.setdefault(sub, set()).update((*pixel, t) for t in who)
                for bank in banks:
                    for i in range(shape.parts(d, g)):
                        who = (*pixel, bank if everywhere else tile)
                        writes.setdefault((bank, first + i), []).append(who)
        if reads.keys() - written:
            wrong.add("act_base")
        if not d.stream:
            for sub, pixels in writes.items():
                hazard = sub in reads and not (d.lanewise and reads[sub] == set(pixels))
                if not 0 <= sub[1] < shape.subs or len(pixels) > 1 or hazard:
                    wrong.add("result_base")
            written |= writes.keys()
        for name in ("weight_base", "bias_base", "act_base", "result_base"):
            if name in wrong:
                return name, index
    return None


def disturbed(rng, program, shape):
    """The program with one or two fields changed, so that all other rules still hold."""
    program = list(program)
    for _ in range(rng.randint(1, 2)):
        index = rng.randrange(len(program))
        d = program[index]
        if isinstance(d, Input):
            runs = rng.randint(1, d.runs)
            strip = rng.randint(-(-runs // shape.TILES), max(d.strip_runs, runs))
            if strip * d.span(shape.word) + d.result_base <= shape.SCRATCH_DEPTH:
                last = rng.randint(1, d.run)
                program[index] = replace(d, runs=runs, strip_runs=strip, last_run=last)
            continue
        unit = shape.word if d.lanewise else shape.TAPS
        rows, move = d.rows, unit * rng.choice([-4, -2, -1, 1, 2, 4])
        trivial = (rows.start, rows.step_oy, rows.step_ky) == (0, 0, 0)
        fields = {}
        kinds = "act act result start limit limit step bank span weight tail"
        kind = rng.choice(kinds.split())
        if kind == "act":
            fields["act_base"] = d.act_base + move
        elif kind == "result" and not d.stream:
            fields["result_base"] = max(0, d.result_base + rng.choice([-2, -1, 1, 2, shape.TAPS]))
        elif kind == "weight" and not (d.max or d.product):
            fields["weight_base"] = max(0, d.weight_base + rng.choice([-9, 9, 90]))
        elif kind == "tail":
            fields["tail"] = rng.randint(1, shape.group(d))
        elif kind == "limit":
            fields["rows"] = replace(rows, limit=rng.randint(1, shape.TILES * rows.span))
        elif kind == "start" and not trivial:
            fields["rows"] = replace(rows, start=rows.start + move)
        elif kind == "span" and not trivial:
            span = rows.span + abs(move)
            if span <= shape.SCRATCH_DEPTH * shape.word:
                fields["rows"] = replace(rows, span=span)
        elif kind == "step" and not trivial:
            name, loop = rng.choice([("step_oy", 1), ("step_ky", 3)])
            if d.counts[loop] > 1:
                fields["rows"] = replace(rows, **{name: getattr(rows, name) + move})
        elif kind == "bank" and not d.stream:
            if rng.random() < 0.5 and not d.weight_steps[1]:
                fields |= {"strips": not d.strips, "bank": 0}
            elif not d.strips:
                fields["bank"] = rng.choice([*range(shape.TILES), ALL_BANKS])
        program[index] = replace(d, **fields)
    return program


@pytest.mark.parametrize("seed", range(300))
def test_the_validator_refuses_what_a_plain_loop_finds_and_nothing_else(seed):
    rng = random.Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    case = random_case(rng, shape)
    core, images = core_and_images(case)
    program = disturbed(rng, case.program, shape)
    expected = broken_rule(program, shape)
    words = np.zeros(shape.PROGRAM_DEPTH, np.uint32)
    encoded = encode_program(program)
    words[: len(encoded)] = encoded
    try:
        validate(images | {"program": from_uint32(words)}, core)
        found = None
    except ProgramError as error:
        found = str(error)
    if expected is None:
        assert found is None
    else:
        name, index = expected
        assert found is not None and f", nest {index}, {name}: " in found


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
@FEW
@given(seed=st.integers(0, 2**32))
def test_golden_equals_the_interpreter(shape, seed):
    case = random_case(random.Random(seed), shape)
    core, images = core_and_images(case)
    check_equal(case, images, core)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
@FEW
@given(seed=st.integers(0, 2**32), data=st.data())
def test_flipped_program_bits_are_refused_or_run_alike(shape, seed, data):
    case = random_case(random.Random(seed), shape)
    core, images = core_and_images(case)
    flipped = images["program"].data.copy()
    for _ in range(data.draw(st.integers(1, 2))):
        word = data.draw(st.integers(0, 32 * len(case.program) - 1))
        flipped[word, data.draw(st.integers(0, 3))] ^= 1 << data.draw(st.integers(0, 7))
    broken = images | {"program": Words(32, flipped)}
    try:
        validate(broken, core)
    except ProgramError as error:
        assert str(error).startswith(("program line", "the program has no nest"))
        return
    program = split_program(to_uint32(broken["program"]), tiled=True)
    work = sum(d.pixels * d.taps for d in program if isinstance(d, Nest))
    assume(work * core.multipliers < 100_000)
    rng = random.Random(seed)
    low, size = -(1 << core.data_bits - 1), program[0].elements
    frame = [rng.randint(low, -low - 1) for _ in range(size)]
    check_equal(replace(case, program=program, frames=[frame]), broken, core)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
@FEW
@given(seed=st.integers(0, 2**32))
def test_any_garbage_program_is_judged_without_a_crash(shape, seed):
    rng = random.Random(seed)
    case = random_case(rng, shape)
    core, images = core_and_images(case)
    words = to_uint32(images["program"]).copy()
    for name in rng.sample(sorted(TILED_NEST_FIELDS), 3):
        f = TILED_NEST_FIELDS[name]
        words[32 + f.word] &= ~np.uint32(((1 << f.bits) - 1) << f.lsb)
        words[32 + f.word] |= np.uint32(rng.getrandbits(f.bits) << f.lsb)
    try:
        validate(images | {"program": from_uint32(words)}, core)
    except ProgramError:
        pass


@pytest.mark.parametrize("seed", range(40))
def test_small_chunks_blocks_and_runs_of_taps_change_nothing(seed, monkeypatch):
    case = random_case(random.Random(seed), SHAPES[seed % len(SHAPES)])
    core, images = core_and_images(case)
    monkeypatch.setattr("bramcast.golden.sizes.TAPS_AT_ONCE", 3)
    monkeypatch.setattr("bramcast.golden.sizes.MAX_CHUNK", 2)
    monkeypatch.setattr("bramcast.golden.sizes.BLOCK_BYTES", 64)
    monkeypatch.setattr("bramcast.golden.sizes.CACHED_ENTRIES", 10)
    check_equal(case, images, core)
