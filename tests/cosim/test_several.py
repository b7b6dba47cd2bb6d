# SPDX-License-Identifier: Apache-2.0
"""Networks with several outputs or inputs on the HDL core: every element equals golden."""

import numpy as np
import pytest
import several
from several import write_recipe
from support import COMMON_CORE, SMOOTH_CORE, in_all, need

from bramcast.golden.frames import frames_from_arrays, outputs_from_beats
from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.program import Nest
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.cosim import simulate
from bramcast.sim.run.fast import rtl_predict, simulate_fast

pytestmark = pytest.mark.cosim

TILED = "[core]\nlanes = 4\ntiles = 2\n"
PLAIN = ("Heads", "Detector", "Anchors", "Twice", "Sensors", "PictureAndVector")
ALL = (*several.SHAPES, *several.INPUTS)
ON_ICARUS = ("Heads", "HeadFirst", "PictureAndVector")


def packed(folder, name):
    core = (COMMON_CORE if name in PLAIN else SMOOTH_CORE).format(lanes=16)
    recipe = write_recipe(folder, name, core)
    return folder / "bundle", pack(read_recipe(recipe), folder / "bundle").inputs.x


@pytest.mark.parametrize(
    "name, simulator",
    [(name, "icarus") for name in ON_ICARUS]
    + [in_all(name, "icarus") for name in ALL if name not in ON_ICARUS]
    + [(name, "verilator") for name in ALL],
)
def test_every_layer_equals_golden(name, simulator, tmp_path):
    need(simulator)
    bundle, x = packed(tmp_path, name)
    result = simulate(bundle, x[:2], simulator, seed=1)
    assert result.equal, str(result.comparison.first)
    machine = load(bundle)
    assert len(result.comparison.layers) == len(machine.manifest.layers)
    assert result.comparison.cycles == predict(machine.program, machine.core).total


@pytest.mark.parametrize("name", ["Detector", in_all("HeadFirst")])
def test_tiles_send_each_output(name, tmp_path):
    """Strips of pictures in two banks; what leaves comes from both."""
    need("verilator")
    recipe = write_recipe(tmp_path, name, TILED)
    pack(read_recipe(recipe), tmp_path / "bundle")
    machine = load(tmp_path / "bundle")
    nests = [d for d in machine.program if isinstance(d, Nest)]
    assert any(d.strips for d in nests) and not any(d.strips and d.stream for d in nests)
    result = simulate(tmp_path / "bundle", read_inputs(recipe).x[:2], "verilator", seed=1)
    assert result.equal, str(result.comparison.first)
    assert len(result.comparison.layers) == len(machine.manifest.layers)
    assert result.comparison.cycles == predict(machine.program, machine.core).total


def test_whole_test_sets_give_each_output(tmp_path):
    need("verilator")
    bundle, x = packed(tmp_path, "HeadFirst")
    result = simulate_fast(bundle, x, jobs=1)
    assert result.equal and not result.wrong_cycles
    machine = load(bundle)
    want = outputs_from_beats(
        machine.run(frames_from_arrays(x, machine.manifest.input)).beats, machine
    )
    got = rtl_predict(bundle, x, jobs=1)
    assert [*got] == [one.name for one in want] == several.NAMES["HeadFirst"]
    for sent, one in zip(result.outputs, want, strict=True):
        assert np.array_equal(sent.integers, one.integers)
        assert np.array_equal(got[one.name], one.real)


def test_the_hardware_takes_an_array_for_each_input(tmp_path):
    need("verilator")
    bundle, x = packed(tmp_path, "PictureAndVector")
    arrays = several.samples_of("PictureAndVector", len(x))
    got, whole = rtl_predict(bundle, arrays, jobs=1), rtl_predict(bundle, x, jobs=1)
    for name, want in zip(
        ("kind", "place"), several.answers("PictureAndVector", arrays), strict=True
    ):
        assert np.array_equal(got[name], whole[name])
        assert ((got[name] - want) ** 2).sum() < 10**-2.5 * (want**2).sum()
