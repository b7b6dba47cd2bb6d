# SPDX-License-Identifier: Apache-2.0
"""The modules of the serial line against docs/board.md, on both simulators."""

from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from support import need

from bramcast.pack.bundle.errors import ToolError
from bramcast.sim.run.runner import Tests, build, lint, run

pytestmark = pytest.mark.cosim

BENCHES = "bramcast.sim.benches.bench_serial"
SMALL = {"DATA_BITS": 8, "AXI_ADDRESS_BITS": 12, "PAYLOAD": 8, "PATIENCE": 40}
WIDE = {"DATA_BITS": 16, "AXI_ADDRESS_BITS": 20, "PAYLOAD": 16, "PATIENCE": 64}
SENT, RECEIVED = "uart_sends_start_data_stop", "uart_receives_what_is_on_the_line"
EXECUTES = "bridge_executes_what_docs_board_says"
UNITS: list[tuple[str, str, dict[str, int | str]]] = [
    ("uart", SENT, {"DIVISOR": 4}),
    ("uart", SENT, {"DIVISOR": 13}),
    ("uart", RECEIVED, {"DIVISOR": 4}),
    ("uart", RECEIVED, {"DIVISOR": 5}),
    ("uart", RECEIVED, {"DIVISOR": 50}),
    ("bridge", EXECUTES, {**SMALL}),
    ("bridge", EXECUTES, {**WIDE}),
    ("bridge", "bridge_executes_nothing_that_is_damaged", {**SMALL}),
    ("bridge", "bridge_repeats_an_answer", {**SMALL}),
    ("board", "board_resets_and_lights", {"LAMPS": 6, "POWER_ON": 20, "HOLD": 12}),
    ("board", "board_resets_and_lights", {"LAMPS": 18, "POWER_ON": 1, "HOLD": 2}),
]


def runs() -> list[ParameterSet]:
    """Every row on Icarus; on Verilator, which compiles each, a bench's first one, others slow."""
    found, seen = [], set()
    for unit, bench, parameters in UNITS:
        name = f"{bench}-{'-'.join(map(str, parameters.values()))}"
        marks = [pytest.mark.slow] if bench in seen else []
        for simulator, mine in (("icarus", []), ("verilator", marks)):
            case = (unit, bench, parameters, simulator)
            found.append(pytest.param(*case, id=f"{simulator}-{name}", marks=mine))
        seen.add(bench)
    return found


@pytest.mark.parametrize("unit, bench, parameters, simulator", runs())
def test_module_does_what_its_page_says(
    unit: str, bench: str, parameters: dict[str, int | str], simulator: str, tmp_path: Path
) -> None:
    need(simulator)
    top = f"bramcast_{unit}"
    folder = build(top, parameters, simulator)
    outcome = run(folder, top, simulator, Tests(BENCHES, testcase=bench), work=tmp_path)
    outcome.check()
    assert outcome.tests == 1


@pytest.mark.parametrize(
    "unit, parameters, rule",
    [
        ("uart", {"DIVISOR": 3}, "uart_needs_4_le_DIVISOR_le_65536"),
        ("bridge", {"DATA_BITS": 12}, "needs_DATA_BITS_8_or_16"),
        ("bridge", {"PAYLOAD": 100}, "needs_PAYLOAD_4_8_to_4096"),
        ("board", {"LAMPS": 2}, "needs_3_to_18_LAMPS"),
    ],
    ids=["DIVISOR", "DATA_BITS", "PAYLOAD", "LAMPS"],
)
def test_illegal_parameters_stop_at_the_rule(
    unit: str, parameters: dict[str, int | str], rule: str
) -> None:
    need("icarus")
    with pytest.raises(ToolError, match=rule):
        build(f"bramcast_{unit}", parameters, "icarus")


@pytest.mark.parametrize(
    "parameters",
    [{}, {"DIVISOR": 4, "PAYLOAD": 4}, {"DATA_BITS": 16, "AXI_ADDRESS_BITS": 31, "PAYLOAD": 4096}],
    ids=["default", "small", "large"],
)
def test_lint_is_silent(parameters: dict[str, int | str]) -> None:
    need("verilator")
    done = lint("bramcast_serial", parameters)
    assert "%Warning" not in done and "%Error" not in done, done
