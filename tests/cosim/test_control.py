# SPDX-License-Identifier: Apache-2.0
"""How software rules the core over AXI4-Lite: what ends a run, what may run, who may read."""

import pytest
from axi_support import recipe_with
from cosim.test_axi import crossed, simulate_axi
from support import need

pytestmark = pytest.mark.cosim

BENCH = "bramcast.sim.benches.bench_control"


def control(folder, simulator, bench, frame_depth=0, count=20, **options):
    recipes = [recipe_with(folder, "mlp")]
    simulate_axi(
        folder,
        simulator,
        bench,
        recipes,
        frame_depth=frame_depth,
        count=count,
        module=BENCH,
        options=options,
    )


@pytest.mark.parametrize("simulator, frame_depth", crossed(0, 32))
@pytest.mark.parametrize(
    "bench",
    [
        "aborts_in_the_middle_of_anything",
        "a_run_ends_at_its_limit",
        "interrupts_come_where_they_are_enabled",
        "what_is_read_with_frames_is_of_one_frame",
    ],
)
def test_software_rules_the_core(simulator, frame_depth, bench, tmp_path):
    need(simulator)
    control(tmp_path, simulator, bench, frame_depth)


@pytest.mark.parametrize("simulator, frame_depth", crossed(32, 0))
@pytest.mark.parametrize(
    "bench", ["only_valid_images_are_run", "locked_images_can_be_run_and_checked"]
)
def test_software_rules_the_images(simulator, frame_depth, bench, tmp_path):
    need(simulator)
    control(tmp_path, simulator, bench, frame_depth)


@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_a_core_without_readback_and_with_counters(simulator, tmp_path):
    need(simulator)
    bench = "images_that_cant_be_read_back_can_be_loaded"
    control(tmp_path, simulator, bench, READBACK=0, COUNTERS=1)


@pytest.mark.parametrize("simulator, frame_depth", crossed(0, 32))
def test_programs_of_random_fields_end_by_themselves(simulator, frame_depth, tmp_path):
    need(simulator)
    bench = "programs_of_random_fields_end_by_themselves"
    control(tmp_path, simulator, bench, frame_depth, count=10)


@pytest.mark.slow
def test_500_programs_of_random_fields_end_by_themselves(tmp_path):
    need("verilator")
    control(tmp_path, "verilator", "programs_of_random_fields_end_by_themselves", count=500)
