# SPDX-License-Identifier: Apache-2.0
"""What was never set stays inside: on Icarus memories and registers begin as X.

No X reaches a result, a handshake or any other output, while frames run; and a reset in any cycle
leaves a core whose next result is right, in as many cycles as ever.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from axi_support import recipe_with
from support import need

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.hw import sources
from bramcast.pack.axi.registers import address_bits
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.manifest import IMAGES
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.cosim import core_parameters
from bramcast.sim.run.runner import Outcome, Tests, build, run

pytestmark = pytest.mark.cosim

BENCH = "bramcast.sim.benches.bench_unknown"
ZEROS = re.compile(r"^ *for \(.*mem\[.*\] = '0;\n", re.M)  # in runs, and what is left

# A register of control without its reset: module, the line, what shows it.
FORGOTTEN = [
    ("output", "      m_axis_tvalid <= 1'b0;\n      m_axis_tlast  <= 1'b0;\n", "m_axis_tvalid"),
    ("sequence", "      idle_o      <= 1'b1;\n", "busy_o"),
    ("input", "      frame_error_o <= 2'b00;\n", "frame_error_o"),
]


def simulate(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    top: str,
    bench: str,
    forgotten: tuple[str, str] | None = None,
    frame_depth: int = 0,
    resets: int = 0,
) -> Outcome:
    """Run a bench on a core whose memories have no initial value, with a line left out."""
    need("icarus")
    hdl = folder / "hdl"
    hdl.mkdir()
    for source in sources():
        text = source.read_text()
        if source.name == "bramcast_memory.sv":
            text, loops = ZEROS.subn("", text)
            assert loops == 2
        if forgotten is not None and source.name == f"bramcast_{forgotten[0]}.sv":
            assert text.count(forgotten[1]) == 1
            text = text.replace(forgotten[1], "")
        (hdl / source.name).write_text(text)
    copies = [hdl / source.name for source in sources()]
    monkeypatch.setattr("bramcast.sim.run.runner.hw_sources", lambda: copies)
    recipe = recipe_with(folder, "mlp")
    bundle = folder / "bundle"
    pack(read_recipe(recipe), bundle)
    machine = load(bundle)
    assert machine.manifest is not None
    frames = frames_from_arrays(read_inputs(recipe).x[:3], machine.manifest.input)
    np.savez(
        folder / "frames.npz",
        frames_0=frames,
        results_0=machine.run(frames).beats,
        cycles_0=np.array(predict(machine.program, machine.core).total),
    )
    core = machine.core
    parameters = {**core_parameters(core), "FRAME_DEPTH": frame_depth}
    if top == "bramcast_axi":
        parameters["AXI_ADDRESS_BITS"] = address_bits(core)
    env = {"AXI_BUNDLES": str(bundle), "AXI_FRAMES": str(folder / "frames.npz")}
    env["UNKNOWN_RESETS"] = str(resets)
    plusargs: dict[str, object] = {n: bundle / f"{n}.mem" for n in IMAGES if core.depth(n)}
    tests = Tests(BENCH, testcase=bench, env=env, plusargs=plusargs)
    compiled = build(top, parameters, "icarus", timing=top == "bramcast_sim_top", ports_only=True)
    outcome = run(compiled, top, "icarus", tests, work=folder)
    assert outcome.tests == 1
    return outcome


@pytest.mark.parametrize("frame_depth", [0, 32])
@pytest.mark.parametrize(
    "top, bench",
    [("bramcast_axi", "no_x_leaves_the_slave"), ("bramcast_sim_top", "no_x_leaves_the_core")],
)
def test_no_x_reaches_an_output(top, bench, frame_depth, tmp_path, monkeypatch):
    simulate(tmp_path, monkeypatch, top, bench, frame_depth=frame_depth).check()


@pytest.mark.parametrize("module, line, port", FORGOTTEN, ids=[case[0] for case in FORGOTTEN])
def test_a_forgotten_reset_is_noticed(module, line, port, tmp_path, monkeypatch):
    top, bench = "bramcast_sim_top", "no_x_leaves_the_core"
    outcome = simulate(tmp_path, monkeypatch, top, bench, forgotten=(module, line))
    assert outcome.failures and f"{port} is X" in outcome.failures[0].message


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("frame_depth", [0, 32])
def test_two_hundred_resets_at_random_cycles(frame_depth, tmp_path, monkeypatch):
    bench = "after_a_reset_in_any_cycle_the_next_result_is_right"
    simulate(
        tmp_path, monkeypatch, "bramcast_axi", bench, frame_depth=frame_depth, resets=100
    ).check()
