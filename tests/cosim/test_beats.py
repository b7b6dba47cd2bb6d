# SPDX-License-Identifier: Apache-2.0
"""The core with input beats of several elements: results, borders, and the exact cycle."""

from pathlib import Path

import numpy as np
import pytest
from axi_support import recipe_with
from support import need, write_recipe

from bramcast.golden.beats import beats_of, elements_of, keep_of
from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.cosim import core_parameters, image_plusargs
from bramcast.sim.run.runner import Tests, build, run

pytestmark = pytest.mark.cosim

Beats = tuple[np.ndarray, np.ndarray, np.ndarray]  # data, keep, last
COUNT = 16


def _beats(frame: np.ndarray, bits: int, beat: int) -> Beats:
    data, keep = beats_of(frame[None], bits, beat)[0], keep_of(len(frame), bits, beat)
    return data, keep, np.arange(len(data)) == len(data) - 1


def _damaged(beats: Beats, kind: int, at: int) -> Beats:
    """A frame with an empty beat inside, cut, twice as long, or its border in an empty beat."""
    data, keep, last = beats
    empty = (np.full_like(data[:1], 0xAA), np.zeros_like(keep[:1]), np.zeros_like(last[:1]))
    if kind == 0:
        parts = zip(beats, empty, strict=True)
        return tuple(np.concatenate([part[:at], e, part[at:]]) for part, e in parts)
    if kind == 1:
        return data[:at], keep[:at], np.arange(at) == at - 1
    if kind == 2:
        twice = (data, keep, np.zeros_like(last))
        return tuple(np.concatenate(pair) for pair in zip(twice, beats, strict=True))
    # One element before the end: with another one this would be a whole frame.
    flat = np.flatnonzero(keep.reshape(-1))
    keep = keep.copy()
    keep.reshape(-1)[flat[-1]] = kind == 4
    end = (*empty[:2], np.ones_like(last[:1]))
    parts = zip((data, keep, np.zeros_like(last)), end, strict=True)
    return tuple(np.concatenate(pair) for pair in parts)


@pytest.mark.parametrize(
    "simulator, beat, frame_depth, bits, tiles",
    [
        ("icarus", 4, 0, 8, 1),
        ("verilator", 8, 32, 8, 1),
        ("verilator", 4, 32, 8, 4),
        pytest.param("verilator", 2, 0, 16, 1, marks=pytest.mark.slow),
        pytest.param("icarus", 2, 32, 8, 1, marks=pytest.mark.slow),
        pytest.param("icarus", 8, 0, 16, 1, marks=pytest.mark.slow),
        pytest.param("verilator", 4, 32, 16, 1, marks=pytest.mark.slow),
        pytest.param("icarus", 8, 0, 8, 2, marks=pytest.mark.slow),
    ],
)
def test_frames_come_in_wide_beats(
    simulator: str, beat: int, frame_depth: int, bits: int, tiles: int, tmp_path: Path
) -> None:
    need(simulator)
    if tiles > 1:  # a picture in strips
        core = f"[core]\nlanes = 4\ntaps = 2\ntiles = {tiles}\n"
        recipe = write_recipe(tmp_path, "NegativeMax", core, samples=COUNT + 3)
    else:
        recipe = recipe_with(tmp_path, "mlp")
    if bits == 16:
        recipe.write_text(recipe.read_text() + "\n[quantize]\nactivation_bits = 16\n")
    pack(read_recipe(recipe), tmp_path / "bundle")
    machine = load(tmp_path / "bundle")
    assert machine.manifest is not None
    assert tiles == 1 or machine.frame.strip_runs < machine.frame.runs
    frames = frames_from_arrays(read_inputs(recipe).x[: COUNT + 3], machine.manifest.input)
    cycles, size = predict(machine.program, machine.core).total, frames.shape[1]
    rng = np.random.default_rng(beat)
    stream: list[Beats] = []
    for i, frame in enumerate(frames):
        beats = _beats(frame, bits, beat)
        if i >= 3 and i % 2:
            kind = (i // 2) % 5
            stream.append(_damaged(beats, kind, int(rng.integers(1, len(beats[0])))))
        if i != 9:  # twice in a row what is damaged
            stream.append(beats)
    data, keep, last = (np.concatenate(parts) for parts in zip(*stream, strict=True))
    alone = last & (np.cumsum(last) <= 3)
    np.savez(tmp_path / "in.npz", data=data, keep=keep, last=last, alone=alone)

    elements = elements_of(data, keep, last, bits)
    whole: list[list[int]] = []
    now: list[int | None] = []
    for element, end in elements:
        now.append(element)
        if end:
            if len(now) == size and None not in now:
                whole.append([int(e or 0) for e in now])
            now = []
    stored = np.array(whole)
    signed = np.where(stored >> (bits - 1), stored - (1 << bits), stored)
    expected = machine.run(signed.astype(np.int64)).beats
    assert COUNT < len(expected) < len(stream) - 5

    folder = build(
        "bramcast_sim_top",
        {**core_parameters(machine.core), "FRAME_DEPTH": frame_depth, "BEAT": beat},
        simulator,
        timing=True,
        ports_only=True,
    )
    env = {
        "BEATS_IN": str(tmp_path / "in.npz"),
        "BEATS_OUT": str(tmp_path / "out.npz"),
        "BEATS_COUNT": str(len(expected)),
        "BEATS_GAPS": "0.2",
    }
    plusargs = image_plusargs(tmp_path / "bundle", machine.core)
    bench = "bramcast.sim.benches.bench_beats"
    tests = Tests(bench, testcase="frames_of_beats", env=env, plusargs=plusargs)
    run(folder, "bramcast_sim_top", simulator, tests, work=tmp_path).check()
    out = np.load(tmp_path / "out.npz")
    values = np.where(out["values"] >> 31, out["values"] - (1 << 32), out["values"])
    assert out["packet"].tolist() == np.repeat(range(len(expected)), expected.shape[1]).tolist()
    assert values.reshape(expected.shape).tolist() == expected.tolist()
    assert int(out["errors"]) == 3
    if frame_depth == 0:
        assert set(out["cycles"][:3].tolist()) == {cycles}
    # docs/core.md: the last element of the last beat leaves as many cycles behind its beat as the
    # beat has elements; cycle 1 comes 3 cycles later, with a frame FIFO 8.
    ends = np.flatnonzero(alone)
    behind = (size - 1) % beat + 1
    first = 8 if frame_depth else 3
    assert (out["ends"][:3] - out["taken"][ends]).tolist() == 3 * [behind + first - 1 + cycles]


@pytest.mark.parametrize(
    "simulator, beat, frame_depth, tlast_ends",
    [
        ("icarus", 4, 0, 1),
        ("verilator", 8, 32, 1),
        ("verilator", 2, 0, 0),
        pytest.param("verilator", 4, 0, 1, marks=pytest.mark.slow),
        pytest.param("icarus", 8, 32, 0, marks=pytest.mark.slow),
    ],
)
def test_a_run_ends_between_beats(
    simulator: str, beat: int, frame_depth: int, tlast_ends: int, tmp_path: Path
) -> None:
    need(simulator)
    recipe = recipe_with(tmp_path, "mlp")
    pack(read_recipe(recipe), tmp_path / "bundle")
    machine = load(tmp_path / "bundle")
    assert machine.manifest is not None
    frames = frames_from_arrays(read_inputs(recipe).x[:7], machine.manifest.input)
    stream = [_beats(frame, 8, beat) for frame in frames]
    data, keep, last = (np.concatenate(parts) for parts in zip(*stream, strict=True))
    results = machine.run(frames).beats
    file = tmp_path / "in.npz"
    facts = {"borders": tlast_ends, "fifo": frame_depth}
    np.savez(file, data=data, keep=keep, last=last, results=results, **facts)
    parameters = {"FRAME_DEPTH": frame_depth, "BEAT": beat, "TLAST_ENDS": tlast_ends}
    folder = build(
        "bramcast_core",
        {**core_parameters(machine.core), **parameters},
        simulator,
        ports_only=True,
    )
    env = {"BEATS_IN": str(file), "BEATS_COUNT": "40"}
    plusargs = image_plusargs(tmp_path / "bundle", machine.core)
    bench, name = "bramcast.sim.benches.bench_beats", "a_run_ends_between_beats"
    tests = Tests(bench, testcase=name, env=env, plusargs=plusargs)
    run(folder, "bramcast_core", simulator, tests, work=tmp_path).check()
