# SPDX-License-Identifier: Apache-2.0
"""The core behind its AXI4-Lite slave: units, run-time loading, errors, resets; both simulators."""

from pathlib import Path

import numpy as np
import pytest
from axi_support import code_block, dscnn_and_mlp, recipe_with, two_with_tables
from cosim.test_units import runs
from support import in_all, need, write_recipe

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.axi.registers import address_bits
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.manifest import IMAGES
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.cosim import core_parameters
from bramcast.sim.run.runner import Tests, build, lint, run

pytestmark = pytest.mark.cosim

BENCH = "bramcast.sim.benches.bench_axi"
TOP = "bramcast_axi"

UNITS: list[tuple[str, str, dict[str, int | str]]] = [
    ("crc", "crc_is_that_of_zlib", {}),
    *(
        ("image", "image_is_written_in_beats_and_read_from_both_sides", p)
        for p in (
            {"WORD_BITS": 128, "DEPTH": 20},
            {"WORD_BITS": 72, "DEPTH": 16},
            {"WORD_BITS": 8, "DEPTH": 256},
            {"WORD_BITS": 32, "DEPTH": 1},
            {"WORD_BITS": 512, "DEPTH": 3},
        )
    ),
    ("lite", "lite_answers_every_request_once", {"ADDRESS_BITS": 16}),
    ("lite", "lite_answers_every_request_once", {"ADDRESS_BITS": 32}),
    ("lite", "lite_reads_and_writes_take_turns", {"ADDRESS_BITS": 16}),
    ("registers", "a_frame_that_ends_while_done_is_cleared_is_not_lost", {}),
    ("registers", "a_snapshot_is_of_one_frame", {}),
    ("watch", "watch_counts_cycles_and_ends_runs", {"COUNTERS": 1}),
    ("watch", "watch_counts_cycles_and_ends_runs", {"LIMIT": 7}),
]


def _name(unit: object) -> str | None:
    return "_".join(f"{k}{v}" for k, v in unit.items()) if isinstance(unit, dict) else None


@pytest.mark.parametrize("simulator, unit, bench, parameters", runs(UNITS))
def test_module_matches_its_golden_twin(simulator, unit, bench, parameters, tmp_path):
    need(simulator)
    top = f"bramcast_{unit}"
    folder = build(top, parameters, simulator)
    outcome = run(folder, top, simulator, Tests(BENCH, testcase=bench), work=tmp_path)
    outcome.check()
    assert outcome.tests == 1


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"LANES": 1, "RQ": 1},
        {"LANES": 2, "RQ": 1, "SCRATCH_DEPTH": 1, "BIAS_DEPTH": 1, "WEIGHTS_DEPTH": 1},
        {"LANES": 4, "RQ": 4, "DATA_BITS": 16, "AXI_ADDRESS_BITS": 17},
        {"LANES": 8, "RQ": 1, "TABLE_DEPTH": 768, "AXI_ADDRESS_BITS": 32},
        {"LANES": 64, "RQ": 8, "TABLE_DEPTH": 256},
        {"LANES": 4, "RQ": 1, "DATA_BITS": 16, "TABLE_DEPTH": 256},
        {"FRAME_DEPTH": 64},
        {"LANES": 1, "RQ": 1, "FRAME_DEPTH": 16},
        {"LANES": 64, "RQ": 8, "TAPS": 8, "AXI_ADDRESS_BITS": 24},
        {"TLAST_ENDS": 0},
        {"FRAME_DEPTH": 64, "TLAST_ENDS": 0},
        {"BEAT": 4, "AXI_CLOCK": 1},
        {"BEAT": 2, "TLAST_ENDS": 0, "DATA_BITS": 16},
        {"READBACK": 0, "COUNTERS": 1, "LIMIT": 0},
    ],
    ids=_name,
)
def test_lint_is_silent(parameters):
    need("verilator")
    done = lint(TOP, parameters)
    assert "%Warning" not in done and "%Error" not in done, done


# ---------------------------------------------------------------- the whole core


def simulate_axi(
    folder: Path,
    simulator: str,
    bench: str,
    recipes: list[Path],
    samples: int = 3,
    initialised: bool = True,
    frame_depth: int = 0,
    tlast_ends: int = 1,
    count: int = 20,
    module: str = BENCH,
    options: dict[str, int] | None = None,
) -> None:
    """Pack the recipes, let golden answer, and run a bench on the core that fits all bundles."""
    bundles, data = [], {}
    for number, recipe in enumerate(recipes):
        bundle = folder / f"bundle_{number}"
        pack(read_recipe(recipe), bundle)
        machine = load(bundle)
        assert machine.manifest is not None
        frames = frames_from_arrays(read_inputs(recipe).x[:samples], machine.manifest.input)
        data[f"frames_{number}"] = frames
        data[f"results_{number}"] = machine.run(frames).beats
        data[f"cycles_{number}"] = np.array(predict(machine.program, machine.core).total)
        bundles.append(bundle)
    np.savez(folder / "frames.npz", **data)
    core = load(bundles[0]).core
    parameters = {**core_parameters(core), "AXI_ADDRESS_BITS": address_bits(core)}
    parameters |= {"FRAME_DEPTH": frame_depth, "TLAST_ENDS": tlast_ends, **(options or {})}
    plusargs: dict[str, object] = {}
    if initialised:
        plusargs = {n: bundles[0] / f"{n}.mem" for n in IMAGES if core.depth(n)}
    outcome = run(
        build(TOP, parameters, simulator, ports_only=True),
        TOP,
        simulator,
        Tests(
            module,
            testcase=bench,
            env={
                "AXI_BUNDLES": ":".join(map(str, bundles)),
                "AXI_FRAMES": str(folder / "frames.npz"),
                "AXI_EXAMPLE": code_block("docs/axi.md", "python"),
                "AXI_COUNT": str(count),
            },
            plusargs=plusargs,
        ),
        work=folder,
    )
    outcome.check()
    assert outcome.tests == 1


def crossed(one, other):
    """Both simulators and both values: in `make test` Icarus has the one, Verilator the other."""
    rare = [("icarus", other), ("verilator", one)]
    return [("icarus", one), ("verilator", other), *(in_all(*case) for case in rare)]


@pytest.mark.parametrize("frame_depth, taps", [in_all(0, 1), (32, 1), (32, 4)])
@pytest.mark.parametrize("simulator", [pytest.param("icarus", marks=pytest.mark.slow), "verilator"])
def test_another_topology_is_loaded_over_the_bus(simulator, frame_depth, taps, tmp_path):
    need(simulator)
    bench = "another_network_is_loaded_and_runs"
    recipes = dscnn_and_mlp(tmp_path, taps)
    simulate_axi(tmp_path, simulator, bench, recipes, frame_depth=frame_depth)


@pytest.mark.parametrize("simulator, bits", crossed(8, 16))
def test_other_tables_are_loaded_over_the_bus(simulator, bits, tmp_path):
    need(simulator)
    recipes = two_with_tables(tmp_path, bits)
    simulate_axi(tmp_path, simulator, "another_network_is_loaded_and_runs", recipes)
    tables = [(tmp_path / f"bundle_{i}" / "table.mem").read_text() for i in range(2)]
    assert tables[0] != tables[1] and len(tables[0]) == 768 * (bits // 8 * (bits // 8) * 2 + 1)


def test_the_documented_python_example_runs(tmp_path):
    need("verilator")
    recipes = [recipe_with(tmp_path, "mlp")]
    simulate_axi(tmp_path, "verilator", "the_example_of_the_docs_runs", recipes, initialised=False)


@pytest.mark.parametrize("simulator, frame_depth", crossed(32, 0))
def test_refused_accesses_say_so_and_change_nothing(simulator, frame_depth, tmp_path):
    need(simulator)
    bench = "software_learns_what_it_does_wrong"
    recipes = [recipe_with(tmp_path, "mlp")]
    simulate_axi(tmp_path, simulator, bench, recipes, frame_depth=frame_depth)


# With 16 units in the FIFO no frame of the dscnn fits: units of a frame are moved before it ends.
BORDERS = [
    *crossed((0, 1, "mlp"), (32, 1, "mlp")),
    *(("verilator", case) for case in ((16, 1, "dscnn"), (32, 4, "mlp"))),
]


@pytest.mark.parametrize("bench", ["frames_keep_their_borders", "start_waits_for_a_whole_frame"])
@pytest.mark.parametrize("simulator, case", BORDERS)
def test_frames_keep_their_borders(simulator, case, bench, tmp_path):
    need(simulator)
    frame_depth, taps, name = case
    recipes = [recipe_with(tmp_path, name, taps=taps)]
    simulate_axi(tmp_path, simulator, bench, recipes, frame_depth=frame_depth)


@pytest.mark.slow
@pytest.mark.parametrize("frame_depth", [0, 32])
def test_a_thousand_frames_keep_their_borders(frame_depth, tmp_path):
    need("verilator")
    bench, recipes = "frames_keep_their_borders", [recipe_with(tmp_path, "mlp")]
    simulate_axi(tmp_path, "verilator", bench, recipes, frame_depth=frame_depth, count=500)


@pytest.mark.parametrize("simulator, frame_depth", crossed(0, 32))
def test_a_stream_without_tlast_is_counted(simulator, frame_depth, tmp_path):
    need(simulator)
    simulate_axi(
        tmp_path,
        simulator,
        "without_borders_frames_are_counted",
        [recipe_with(tmp_path, "mlp")],
        frame_depth=frame_depth,
        tlast_ends=0,
    )


@pytest.mark.parametrize("simulator, frame_depth", crossed(32, 0))
def test_a_reset_in_the_middle_of_anything(simulator, frame_depth, tmp_path):
    need(simulator)
    bench = "a_reset_in_the_middle_of_anything_leaves_a_working_core"
    recipes = [recipe_with(tmp_path, "mlp")]
    simulate_axi(tmp_path, simulator, bench, recipes, frame_depth=frame_depth)


@pytest.mark.parametrize("simulator, lanes", crossed(16, 4))
def test_an_unloaded_core_is_loaded(simulator, lanes, tmp_path):
    need(simulator)
    bench = "an_unloaded_core_waits_for_a_program"
    extra = f"[core]\nlanes = {lanes}\nrq = {lanes // 4}\ntable_depth = 512\n"
    recipe = write_recipe(tmp_path, "Mlp96", extra)
    simulate_axi(tmp_path, simulator, bench, [recipe], initialised=False)
