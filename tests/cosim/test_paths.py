# SPDX-License-Identifier: Apache-2.0
"""Folders may be called anything: spaces, and letters that Icarus Verilog can't open."""

import pytest
from support import DIGITS, need

from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.cosim import simulate
from bramcast.sim.run.runner import waves_suffix


@pytest.mark.cosim
@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_bundle_and_waves_in_a_folder_with_umlauts_and_spaces(simulator, tmp_path):
    need(simulator)
    folder = tmp_path / "Zürich board"
    folder.mkdir()
    recipe = read_recipe(DIGITS / "mlp.toml")
    pack(recipe, folder / "büñ del")
    waves = folder / f"wäves{waves_suffix(simulator)}"
    samples = read_inputs(DIGITS / "inputs.npz").x[:1]
    result = simulate(folder / "büñ del", samples, simulator, waves=waves)
    assert result.equal and result.comparison.elements > 0
    assert waves.stat().st_size > 1000
    assert sorted(p.name for p in folder.iterdir()) == ["büñ del", waves.name]
