# SPDX-License-Identifier: Apache-2.0
"""Every module of the core on its own, on both simulators, against its golden twin."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from support import need

from bramcast.pack.bundle.errors import ToolError
from bramcast.pack.bundle.program import Descriptor, Input, Loop, Nest, encode_program
from bramcast.sim.run.runner import Tests, build, lint, run

pytestmark = pytest.mark.cosim

UNITS: list[tuple[str, str, dict[str, int | str]]] = [
    ("memory", "memory_is_an_array", {"WORD_BITS": 13, "DEPTH": 20}),
    ("memory", "memory_is_an_array", {"WORD_BITS": 128, "DEPTH": 64}),
    ("memory", "memory_is_an_array", {"WORD_BITS": 5, "DEPTH": 9001}),
    ("scratch", "scratch_takes_sub_words_and_units", {"LANES": 8, "DEPTH": 20}),
    ("scratch", "scratch_takes_sub_words_and_units", {"LANES": 8, "TAPS": 4, "DEPTH": 20}),
    ("scratch", "scratch_takes_sub_words_and_units", {"LANES": 2, "TAPS": 8, "DEPTH": 20}),
    ("scratch", "scratch_takes_sub_words_and_units", {"LANES": 1, "TAPS": 2, "DATA_BITS": 16}),
    ("sum", "sum_adds_what_is_used", {"TAPS": 1}),
    ("sum", "sum_adds_what_is_used", {"TAPS": 2}),
    ("sum", "sum_adds_what_is_used", {"TAPS": 4}),
    ("sum", "sum_adds_what_is_used", {"TAPS": 8}),
    ("table", "table_looks_up_every_lane", {"RQ": 3, "TABLE_DEPTH": 768, "TABLE_BITS": 2}),
    ("table", "table_looks_up_every_lane", {"RQ": 1, "TABLE_DEPTH": 256, "TABLE_BITS": 1}),
    ("table", "table_looks_up_every_lane", {"RQ": 2, "DATA_BITS": 16, "TABLE_DEPTH": 512}),
    ("table", "table_looks_up_every_lane", {"RQ": 1, "DATA_BITS": 16}),
    ("requantize", "requantize_matches_golden", {}),
    ("lane", "lane_accumulates_and_keeps_the_maximum", {"DATA_BITS": 8}),
    ("lane", "lane_accumulates_and_keeps_the_maximum", {"DATA_BITS": 16}),
    ("pair", "pair_is_two_lanes", {"GATES": 1}),
    ("pair", "pair_is_two_lanes", {}),
    ("pair", "pair_is_two_lanes", {"WEIGHT_BITS": 2}),
    ("lane_control", "lane_control_knows_what_becomes_of_a_tap", {"GATES": 1}),
    ("lane_control", "lane_control_knows_what_becomes_of_a_tap", {"GATES": 0}),
    ("delay", "delay_hands_tokens_on", {"BITS": 5, "STAGES": 3}),
    ("delay", "delay_hands_tokens_on", {"BITS": 1, "STAGES": 1}),
    ("delay", "delay_hands_tokens_on", {"BITS": 4, "STAGES": 0}),
    ("nest", "nest_counts_like_six_for_loops", {}),
    ("address", "address_is_base_plus_steps", {"ADDRESS_BITS": 13}),
    ("address", "address_is_base_plus_steps", {"ADDRESS_BITS": 1}),
    ("coordinate", "coordinate_knows_what_lies_inside", {"PIXEL_LEVEL": 2}),
    ("coordinate", "coordinate_knows_what_lies_inside", {"PIXEL_LEVEL": 3}),
    ("rows", "rows_walk_over_strips", {"ROW_BITS": 9}),
    ("rows", "rows_walk_over_strips", {"ROW_BITS": 3, "STRIP_BITS": 7}),
    ("pace", "pace_waits_for_drain_and_room", {"CHUNKS": 8, "FIFO_CHUNKS": 16}),
    ("pace", "pace_waits_for_drain_and_room", {"CHUNKS": 1, "FIFO_CHUNKS": 16}),
    ("pace", "pace_waits_for_drain_and_room", {"CHUNKS": 64, "FIFO_CHUNKS": 128}),
    ("drain", "drain_walks_over_chunks", {"LANES": 16, "RQ": 2}),
    ("drain", "drain_walks_over_chunks", {"LANES": 4, "RQ": 4}),
    ("drain", "drain_walks_over_chunks", {"LANES": 64, "RQ": 1, "BIAS_BITS": 12}),
    ("drain", "drain_walks_over_chunks", {"LANES": 16, "TAPS": 8, "RQ": 4, "BIAS_BITS": 12}),
    ("drain", "drain_walks_over_chunks", {"LANES": 1, "TAPS": 2, "RQ": 1}),
    ("input", "input_follows_its_descriptor", {"LANES": 8}),
    ("input", "input_follows_its_descriptor", {"LANES": 4, "TLAST_ENDS": 0}),
    ("input", "input_follows_its_descriptor", {"LANES": 1, "DATA_BITS": 16}),
    ("input", "input_follows_its_descriptor", {"LANES": 4, "UNITS": 4, "TAPS": 4}),
    ("input", "input_follows_its_descriptor", {"LANES": 8, "UNITS": 2, "TAPS": 8}),
    ("input", "input_follows_its_descriptor", {"LANES": 4, "TILES": 4}),
    ("input", "input_follows_its_descriptor", {"LANES": 1, "TILES": 8, "TLAST_ENDS": 0}),
    ("input", "input_follows_its_descriptor", {"LANES": 2, "UNITS": 2, "TAPS": 2, "TILES": 2}),
    ("input", "input_takes_packets", {"LANES": 4, "TLAST_ENDS": 2}),
    ("input", "input_takes_packets", {"LANES": 2, "UNITS": 2, "TAPS": 2, "TLAST_ENDS": 2}),
    ("input", "input_gives_a_frame_up", {"LANES": 4}),
    ("input", "input_gives_a_frame_up", {"LANES": 2, "UNITS": 2, "TAPS": 2}),
    ("input", "input_gives_a_frame_up", {"LANES": 4, "TLAST_ENDS": 0}),
    ("beats", "beats_hand_on_every_element", {"BEAT": 4}),
    ("beats", "beats_hand_on_every_element", {"BEAT": 2, "DATA_BITS": 16}),
    ("beats", "beats_hand_on_every_element", {"BEAT": 8, "TLAST_ENDS": 0}),
    ("beats", "beats_hand_on_every_element", {"BEAT": 1}),
    ("beats", "beats_lose_no_cycle", {"BEAT": 4}),
    ("beats", "beats_lose_no_cycle", {"BEAT": 8, "DATA_BITS": 16}),
    ("beats", "beats_lose_no_cycle", {"BEAT": 1}),
    ("assemble", "assemble_puts_lane_0_first", {"LANES": 8, "RQ": 2}),
    ("assemble", "assemble_puts_lane_0_first", {"LANES": 4, "RQ": 4, "DATA_BITS": 16}),
    ("assemble", "assemble_puts_lane_0_first", {"LANES": 4, "RQ": 1}),
    ("assemble", "assemble_puts_lane_0_first", {"LANES": 1, "RQ": 1}),
    ("assemble", "assemble_puts_lane_0_first", {"LANES": 2, "RQ": 1, "UNIT": 8}),
    ("output", "output_sends_every_lane_once", {"RQ": 2, "FIFO_CHUNKS": 16}),
    ("output", "output_sends_every_lane_once", {"RQ": 1, "FIFO_CHUNKS": 4}),
    ("output", "output_sends_every_lane_once", {"RQ": 8, "FIFO_CHUNKS": 2}),
    ("output", "output_closes_what_is_cut", {"RQ": 2, "FIFO_CHUNKS": 16}),
    ("output", "output_closes_what_is_cut", {"RQ": 1, "FIFO_CHUNKS": 4}),
    ("settings", "settings_hand_over_front_before_back", {"BIAS_BITS": 9, "TABLE_BITS": 2}),
    ("settings", "settings_hand_over_front_before_back", {"BIAS_BITS": 9, "TAIL_BITS": 9}),
    ("settings", "settings_hand_over_front_before_back", {"BIAS_BITS": 9, "TILES": 4}),
    ("settings", "settings_hand_over_front_before_back", {"TILES": 8, "ROW_BITS": 21}),
    ("fetch", "fetch_delivers_one_descriptor_ahead", {"PROGRAM_DEPTH": 160}),
    ("fetch", "fetch_delivers_one_descriptor_ahead", {"PROGRAM_DEPTH": 160, "TILES": 2}),
    ("fetch", "fetch_begins_again_at_any_time", {"PROGRAM_DEPTH": 320, "GATES": 1}),
    ("checksum", "checksum_is_that_of_the_words", {"WEIGHTS_BEATS": 4, "BIAS_BEATS": 3}),
    ("checksum", "checksum_is_that_of_the_words", {"WEIGHTS_BEATS": 1, "BIAS_BEATS": 2}),
    ("ledger", "ledger_holds_what_nests_made", {"LEDGER_DEPTH": 8, "PEEK": 1}),
    ("ledger", "ledger_holds_what_nests_made", {"LEDGER_DEPTH": 4, "RQ": 1, "NEST_BITS": 3}),
    ("ledger", "ledger_holds_what_nests_made", {"LEDGER_DEPTH": 16, "RQ": 8, "DATA_BITS": 16}),
    ("ledger", "ledger_holds_what_nests_made", {"PEEK": 1, "RQ": 4}),
    ("ledger", "ledger_holds_what_nests_made", {"LEDGER_DEPTH": 32, "NEST_BITS": 6, "PEEK": 1}),
]


def _name(unit: object) -> str | None:
    return "_".join(f"{k}{v}" for k, v in unit.items()) if isinstance(unit, dict) else None


def _image(unit: str, parameters: dict[str, int | str], folder: Path) -> Path:
    """What the memory of a unit reads: a table of random numbers or a small program."""
    seed = random.randrange(2**32)
    print(f"image seed {seed}")
    rng = random.Random(seed)
    if unit == "table":
        depth, line = int(parameters.get("TABLE_DEPTH", 256)), parameters.get("DATA_BITS") == 16
        steep = ["7FFF", "8000", "8001", "0000", "FFFF"]  # slopes
        lines = [f"{rng.randrange(256):02X}" for _ in range(depth)]
        if line:
            slopes = [rng.choice([*steep, f"{rng.randrange(65536):04X}"]) for _ in lines]
            lines = [f"{slope}{rng.randrange(65536):04X}" for slope in slopes]
    else:
        nests = [
            Nest(
                counts=tuple(rng.randint(1, 65536) for _ in range(6)),
                act_base=rng.getrandbits(24),
                act_steps=(0, 0, 0, 0, 0, rng.randint(-99, 99)),
                weight_base=rng.getrandbits(24),
                weight_steps=(0, 0, 0, 0, 0, rng.randint(-99, 99)),
                result_base=rng.getrandbits(24),
                result_steps=(0, 0, rng.randint(-99, 99)),
                lo=-128,
                hi=127,
                bias_base=rng.getrandbits(20),
                bias_step=rng.getrandbits(8),
                tail=rng.randint(1, 64),
                stream=last,
                last=last,
            )
            for last in (False, False, True)
        ]
        program: list[Descriptor] = [Input(rng.randint(1, 99), rng.randint(1, 99), 3), *nests]
        if parameters.get("GATES"):
            moving = replace(nests[0], act_moves=True)
            both = replace(nests[1], act_moves=True, result_moves=True)
            loops = [Loop(n, size, rng.randint(-9, 9), 7) for n, size in ((3, 1), (2, 2), (1, 1))]
            program[1:3] = [loops[0], moving, nests[1], loops[1], both, moving, loops[2], both]
        words = encode_program(program)
        lines = [f"{int(word):08X}" for word in words]
        lines += ["00000000"] * (int(parameters["PROGRAM_DEPTH"]) - len(lines))
    path = folder / "image.mem"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def runs(units: list[tuple[str, str, dict[str, int | str]]]) -> list[ParameterSet]:
    """Every row on Icarus, and on Verilator, which compiles each, only a bench's first one; the
    others there are slow."""
    found, seen = [], set()
    for unit, bench, parameters in units:
        name = "-".join(filter(None, (unit, bench, _name(parameters))))
        marks = [pytest.mark.slow] if bench in seen else []
        for simulator, mine in (("icarus", []), ("verilator", marks)):
            case = (simulator, unit, bench, parameters)
            found.append(pytest.param(*case, id=f"{simulator}-{name}", marks=mine))
        seen.add(bench)
    return found


@pytest.mark.parametrize("simulator, unit, bench, parameters", runs(UNITS))
def test_module_matches_its_golden_twin(
    simulator: str, unit: str, bench: str, parameters: dict[str, int | str], tmp_path: Path
) -> None:
    need(simulator)
    top = f"bramcast_{unit}"
    plusargs: dict[str, object] = {}
    env = {}
    if unit in ("table", "fetch"):
        parameters = {**parameters, "PLUSARG": "image=%s"}
        plusargs["image"] = _image(unit, parameters, tmp_path)
        env["UNIT_IMAGE"] = str(plusargs["image"])
    folder = build(top, parameters, simulator)
    outcome = run(
        folder,
        top,
        simulator,
        Tests("bramcast.sim.benches.unit_benches", testcase=bench, env=env, plusargs=plusargs),
        work=tmp_path,
    )
    outcome.check()
    assert outcome.tests == 1


BENCH = """
import cocotb

@cocotb.test()
async def memory_has_thirteen_bits(dut):
    assert len(dut.word_o) == 14 - 2
"""


def test_an_assertion_of_a_bench_tells_its_values(tmp_path: Path) -> None:
    need("icarus")
    (tmp_path / "bench_of_mine.py").write_text(BENCH)
    parameters: dict[str, int | str] = {"WORD_BITS": 13, "DEPTH": 20}
    env = {"PYTHONPATH": str(tmp_path)}
    outcome = run(
        build("bramcast_memory", parameters, "icarus"),
        "bramcast_memory",
        "icarus",
        Tests("bench_of_mine", env=env),
        work=tmp_path,
    )
    (failure,) = outcome.failures
    assert failure.test == "memory_has_thirteen_bits"
    assert "assert 13 == (14 - 2)" in failure.message + outcome.log.read_text()


ILLEGAL: list[tuple[dict[str, int | str], str]] = [
    ({"LANES": 12}, "LANES_must_be_a_power_of_two_up_to_64"),
    ({"TAPS": 3}, "TAPS_must_be_1_2_4_or_8"),
    ({"DATA_BITS": 12}, "DATA_BITS_must_be_8_or_16"),
    ({"WEIGHT_BITS": 4}, "WEIGHT_BITS_must_be_8"),
    ({"LANES": 4, "RQ": 8}, "RQ_must_be_a_power_of_two_up_to_LANES"),
    ({"TILES": 3}, "TILES_must_be_1_2_4_or_8"),
    ({"PAIRS": 1}, "PAIRS_must_be_0_or_with_TILES_above_1_and_DATA_BITS_8_also_1"),
    ({"PROGRAM_DEPTH": 100}, "PROGRAM_DEPTH_must_be_a_multiple_of_32_and_at_least_64"),
    ({"TABLE_DEPTH": 100}, "TABLE_DEPTH_must_be_a_multiple_of_256"),
    ({"DATA_BITS": 16, "TABLE_DEPTH": 128}, "TABLE_DEPTH_must_be_a_multiple_of_256"),
]


@pytest.mark.parametrize("parameters, rule", ILLEGAL, ids=[rule for _, rule in ILLEGAL])
def test_illegal_parameters_stop_at_the_rule(parameters: dict[str, int | str], rule: str) -> None:
    need("icarus")
    with pytest.raises(ToolError, match=rule):
        build("bramcast_core", parameters, "icarus")


@pytest.mark.parametrize(
    "parameters, rule",
    [
        ({"DATA_BITS": 16}, "DATA_BITS_of_a_pair_must_be_8"),
        ({"WEIGHT_BITS": 9}, "WEIGHT_BITS_of_a_pair_must_be_2_to_8"),
    ],
    ids=_name,
)
def test_illegal_pair_stops_at_the_rule(parameters: dict[str, int | str], rule: str) -> None:
    need("icarus")
    with pytest.raises(ToolError, match=rule):
        build("bramcast_pair", parameters, "icarus")


@pytest.mark.parametrize("parameters", [{}, {"GATES": 1}, {"WEIGHT_BITS": 4}], ids=_name)
def test_lint_of_a_pair_is_silent(parameters: dict[str, int | str]) -> None:
    need("verilator")
    done = lint("bramcast_pair", parameters)
    assert "%Warning" not in done and "%Error" not in done, done


def test_second_build_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("icarus")
    monkeypatch.setenv("BRAMCAST_CACHE", str(tmp_path))
    folder = build("bramcast_requantize", {}, "icarus")
    monkeypatch.setattr("bramcast.sim.run.runner._compile", None)
    assert build("bramcast_requantize", {}, "icarus") == folder
    with pytest.raises(TypeError):  # another parameter is another simulator
        build("bramcast_lane", {"DATA_BITS": 16}, "icarus")
    monkeypatch.setattr("bramcast.sim.run.runner._libraries", lambda: "/another/environment")
    with pytest.raises(TypeError):  # that one's libraries are gone with it
        build("bramcast_requantize", {}, "icarus")


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"LANES": 1, "RQ": 1},
        {"LANES": 2, "RQ": 1, "SCRATCH_DEPTH": 1, "BIAS_DEPTH": 1, "WEIGHTS_DEPTH": 1},
        {"LANES": 4, "RQ": 4, "DATA_BITS": 16},
        {"LANES": 8, "RQ": 1, "TABLE_DEPTH": 768},
        {"LANES": 64, "RQ": 8, "TABLE_DEPTH": 256},
        {"LANES": 4, "RQ": 4, "DATA_BITS": 16, "TABLE_DEPTH": 256},
        {"LANES": 16, "TAPS": 4, "DATA_BITS": 16, "TABLE_DEPTH": 768, "GATES": 1},
        {"LANES": 64, "RQ": 8, "TAPS": 4, "TABLE_DEPTH": 256},
        {"LANES": 1, "RQ": 1, "TAPS": 8},
        {"LANES": 2, "RQ": 2, "TAPS": 4, "FRAME_DEPTH": 16},
        {"LANES": 16, "TAPS": 8, "NARROW": 1, "DATA_BITS": 16, "FRAME_DEPTH": 64},
    ],
    ids=_name,
)
def test_lint_is_silent(parameters: dict[str, int | str]) -> None:
    need("verilator")
    done = lint("bramcast_core", parameters)
    assert "%Warning" not in done and "%Error" not in done, done
