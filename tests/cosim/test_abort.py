# SPDX-License-Identifier: Apache-2.0
"""The core when it is stopped: packets are right or marked, nothing hangs, the next frame is right.

Programs and results are those of test_core_smoke.py: random legal programs and the interpreter of
docs/format.md.
"""

import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cosim.test_axi import crossed
from cosim.test_core_smoke import Case, Shape, interpret, predict, random_case
from support import need

from bramcast.pack.bundle.program import DESCRIPTOR_WORDS, encode_program
from bramcast.sim.run.runner import Tests, build, run

pytestmark = pytest.mark.cosim

TOP = "bramcast_core"
PLAIN = Shape(LANES=4, RQ=2, TABLE_DEPTH=256, SCRATCH_DEPTH=128)
OPCODE, LAST = 0xF, 1 << 9  # of a descriptor's first word
COUNTS = (1, 2, 3)  # words
FRAME = (*COUNTS, 4, 5)  # words of INPUT that say what a frame is
MOST = 3000  # cycles of a run


def case_with(rng: random.Random, shape: Shape, frames: int = 6) -> Case:
    """Several nests that take 100..MOST cycles and send two beats or more, and frames."""
    while True:
        case = random_case(rng, shape)
        run, size = predict(case.program, shape)[2], len(case.frames[0])
        beats = sum(line[0] == 1 for line in interpret(case, case.frames[0], shape.scratch()))
        if len(case.program) >= 4 and 100 <= run <= MOST and 3 <= size <= 300 and beats >= 2:
            break
    low = -(2 ** (shape.DATA_BITS - 1))
    values = {tuple(rng.randint(low, -low - 1) for _ in range(size)) for _ in range(frames)}
    return replace(case, frames=[list(v) for v in sorted(values)])


def random_program(rng: random.Random, case: Case) -> list[int]:
    """Random fields in a legal program, opcodes as they were; INPUT's frame stays what is sent."""
    words = [int(w) for w in encode_program(case.program)]
    share = rng.choice([0.02, 0.1, 0.5, 1.0])
    long = rng.random() < 0.2  # counts of any size, which no run comes to the end of
    for i in range(len(words)):
        at = i % DESCRIPTOR_WORDS
        if (i < DESCRIPTOR_WORDS and at in FRAME) or rng.random() > share:
            continue
        value = rng.getrandbits(32)
        if at in COUNTS and not long:
            value &= 0x00010001
        keep = OPCODE | (LAST * (rng.random() < 0.5)) if at == 0 else 0
        words[i] = (words[i] & keep) | (value & ~keep)
    return words


def wrong_program(rng: random.Random, case: Case) -> list[int]:
    """Another opcode than a nest's somewhere behind the first nest."""
    words = [int(w) for w in encode_program(case.program)]
    behind = [
        i
        for i in range(2 * DESCRIPTOR_WORDS, len(words), DESCRIPTOR_WORDS)
        if words[i - DESCRIPTOR_WORDS] & OPCODE != 3 or i > 2 * DESCRIPTOR_WORDS
    ]
    place = rng.choice(behind)
    words[place] = (words[place] & ~OPCODE) | rng.choice([0, 1, 4, 9, 15])
    return words


def simulate(
    folder: Path,
    simulator: str,
    bench: str,
    shape: Shape,
    tlast_ends: int = 1,
    count: int = 40,
    programs: str = "",
) -> None:
    """Draw a case, let the interpreter answer, run a bench; ``programs``: random, wrong or none."""
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    case = case_with(rng, shape)
    results = []
    for frame in case.frames:
        lines = interpret(case, frame, shape.scratch())
        results.append([v for kind, _, _, v in lines if kind == 1])
    mask = (1 << shape.DATA_BITS) - 1
    legal = [int(w) for w in encode_program(case.program)]
    draw = {"random": random_program, "wrong": wrong_program, "": None}[programs]
    others = [draw(rng, case) for _ in range(count)] if draw else []
    np.savez(
        folder / "data.npz",
        frames=np.array(case.frames) & mask,
        results=np.array(results, np.int64),
        cycles=predict(case.program, shape)[2],
        legal=legal,
        tlast_ends=tlast_ends,
        programs=np.array(others, np.int64),
    )
    outcome = run(
        build(TOP, {**shape.parameters(), "TLAST_ENDS": tlast_ends}, simulator, ports_only=True),
        TOP,
        simulator,
        Tests(
            "bramcast.sim.benches.bench_abort",
            testcase=bench,
            env={"ABORT_DATA": str(folder / "data.npz"), "ABORT_COUNT": str(count)},
            plusargs=case.write(folder),
        ),
        work=folder,
    )
    outcome.check()
    assert outcome.tests == 1


SHAPES = [
    *crossed((PLAIN, 1), (replace(PLAIN, FRAME_DEPTH=32), 1)),
    ("verilator", (PLAIN, 0)),
    ("icarus", (replace(PLAIN, FRAME_DEPTH=16), 0)),
    ("verilator", (Shape(LANES=2, RQ=1, TAPS=4, FRAME_DEPTH=16, GATES=1), 1)),
    ("verilator", (replace(PLAIN, TAPS=2, FRAME_DEPTH=16, GATES=1, TILES=4), 1)),
    ("icarus", (replace(PLAIN, TILES=2), 0)),
]


@pytest.mark.parametrize("simulator, case", SHAPES)
def test_frames_end_at_any_time(simulator: str, case: tuple[Shape, int], tmp_path: Path) -> None:
    need(simulator)
    shape, tlast_ends = case
    count = 100 if simulator == "verilator" else 40
    simulate(tmp_path, simulator, "frames_end_at_any_time", shape, tlast_ends, count)


@pytest.mark.slow
@pytest.mark.parametrize("frame_depth", [0, 32])
@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_many_frames_end_at_any_time(simulator: str, frame_depth: int, tmp_path: Path) -> None:
    need(simulator)
    shape = replace(PLAIN, FRAME_DEPTH=frame_depth)
    simulate(tmp_path, simulator, "frames_end_at_any_time", shape, count=1000)


@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_a_wrong_program_ends_its_run(simulator: str, tmp_path: Path) -> None:
    need(simulator)
    simulate(tmp_path, simulator, "a_wrong_program_ends_its_run", PLAIN, count=5, programs="wrong")


@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_any_program_can_be_ended(simulator: str, tmp_path: Path) -> None:
    need(simulator)
    simulate(tmp_path, simulator, "any_program_can_be_ended", PLAIN, count=6, programs="random")


@pytest.mark.slow
@pytest.mark.parametrize("gates", [0, 1])
def test_five_hundred_programs_can_be_ended(gates: int, tmp_path: Path) -> None:
    need("verilator")
    shape = replace(PLAIN, GATES=gates, FRAME_DEPTH=32 * gates, TILES=1 + 3 * gates)
    bench = "any_program_can_be_ended"
    simulate(tmp_path, "verilator", bench, shape, count=250, programs="random")
