# SPDX-License-Identifier: Apache-2.0
"""Two clocks: AXI4-Lite on its own one, and resets that come from anywhere; both simulators."""

from pathlib import Path

import pytest
from axi_support import recipe_with
from cosim.test_axi import simulate_axi
from support import in_all, need

from bramcast.sim.run.runner import Tests, build, run

pytestmark = pytest.mark.cosim

BENCH = "bramcast.sim.benches.bench_crossing"
# Periods of bus and core in ps: equal, far apart both ways, nearly equal, without a common
# measure; 0 is a random one.
RATIOS = [
    (10_000, 10_000),
    (2_000, 20_000),
    (20_000, 2_000),
    (10_000, 10_002),
    (7_358, 3_142),
    (0, 0),
]


def _periods(ratio: tuple[int, int]) -> dict[str, str]:
    return {"CROSS_BUS_PS": str(ratio[0]), "CROSS_CORE_PS": str(ratio[1])}


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_every_request_crosses_once(simulator: str, ratio: tuple[int, int], tmp_path: Path) -> None:
    need(simulator)
    top, bench = "bramcast_lite_cross", "every_request_crosses_once"
    tests = Tests(BENCH, testcase=bench, env=_periods(ratio))
    run(build(top, {}, simulator), top, simulator, tests, work=tmp_path).check()


CORES = [
    ("icarus", RATIOS[4]),
    ("verilator", RATIOS[0]),
    *(in_all("verilator", ratio) for ratio in RATIOS[1:]),
    *(in_all("icarus", ratio) for ratio in (RATIOS[1], RATIOS[2], RATIOS[5])),
]


@pytest.mark.parametrize("simulator, ratio", CORES)
def test_a_network_runs_across_clocks(
    simulator: str, ratio: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(simulator)
    for name, value in _periods(ratio).items():
        monkeypatch.setenv(name, value)
    bench, recipes = "a_network_is_loaded_and_runs_across_clocks", [recipe_with(tmp_path, "mlp")]
    simulate_axi(tmp_path, simulator, bench, recipes, module=BENCH, options={"AXI_CLOCK": 1})


@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_reset_comes_at_once_and_leaves_with_the_clock(simulator: str, tmp_path: Path) -> None:
    need(simulator)
    top, bench = "bramcast_reset", "reset_comes_at_once_and_leaves_with_the_clock"
    folder = build(top, {}, simulator)
    run(folder, top, simulator, Tests(BENCH, testcase=bench), work=tmp_path).check()
