# SPDX-License-Identifier: Apache-2.0
"""pack says where as many multipliers in another shape are much faster, and is silent elsewhere."""

import json
import tomllib
from dataclasses import replace

import pytest
from support import DIGITS, bramcast, write_recipe

from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.fit import hint
from bramcast.pack.fit.hint import faster_shape, shapes_alike
from bramcast.pack.fit.lowering import Lowering
from bramcast.pack.fit.shapes import Shape
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe


def packed_cycles(recipe, bundle, core):
    packed = pack(replace(recipe, core=replace(recipe.core, **core)), bundle)
    machine = load(bundle)
    return packed, predict(machine.program, machine.core).total


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """The digits' MLP in 64 x 1: its last layers have few outputs."""
    recipe = read_recipe(DIGITS / "mlp.toml")
    return recipe, *packed_cycles(recipe, tmp_path_factory.mktemp("h") / "b", {"lanes": 64})


def test_the_line_is_the_fastest_shape_of_as_many_multipliers(wide, tmp_path):
    recipe, packed, cycles = wide
    text = faster_shape(packed, cycles)
    found = {}
    for shape in shapes_alike(Shape(64, 1, 8)):
        core = {"lanes": shape.lanes, "taps": shape.taps, "rq": shape.rq}
        found[shape] = packed_cycles(recipe, tmp_path / "b", core)[1]
    best = min(found, key=found.get)
    assert found[best] < 0.8 * cycles
    line, _, rest = text.removeprefix("[core] ").partition(":")
    assert tomllib.loads(line.replace(", ", "\n")) == {"lanes": 8, "taps": 8, "rq": 8}
    assert (best.lanes, best.taps, best.rq) == (8, 8, 8)
    assert f"{found[best]:,} cycles" in rest and f"not {cycles:,}" in rest


def test_nothing_is_said_where_a_fifth_cannot_be_won(wide, monkeypatch):
    _, packed, cycles = wide
    fastest = min(Lowering(packed.prepared, packed.network).at(s).cycles for s in alike())
    monkeypatch.setattr(hint, "FASTER", fastest / cycles)
    assert faster_shape(packed, cycles) is not None
    monkeypatch.setattr(hint, "FASTER", (fastest - 1) / cycles)
    assert faster_shape(packed, cycles) is None


def alike():
    return shapes_alike(Shape(64, 1, 8))


def test_nothing_is_tried_where_the_multipliers_are_busy(tmp_path, monkeypatch):
    recipe = read_recipe(DIGITS / "mlp.toml")
    packed, cycles = packed_cycles(recipe, tmp_path / "b", {"lanes": 16})
    assert packed.manifest.macs > 0.8 * 16 * cycles
    monkeypatch.setattr(Lowering, "at", lambda self, shape: pytest.fail("tried"))
    assert faster_shape(packed, cycles) is None


def test_a_core_with_given_depths_is_built_already(wide):
    _, packed, cycles = wide
    core = replace(packed.recipe.core, weights_depth=4096)
    assert faster_shape(replace(packed, recipe=replace(packed.recipe, core=core)), cycles) is None
    core = replace(packed.recipe.core, weights_depth="auto")
    assert faster_shape(replace(packed, recipe=replace(packed.recipe, core=core)), cycles)


def test_shapes_that_need_other_formats_are_left_out(tmp_path, monkeypatch):
    """RnnNet at 4 x 4 has products taken apart: pack does not quantize twice for a hint."""
    recipe = read_recipe(write_recipe(tmp_path, "RnnNet"))
    packed, cycles = packed_cycles(recipe, tmp_path / "b", {"lanes": 16})
    monkeypatch.setattr("bramcast.pack.fit.lowering.settle", lambda *_: pytest.fail("settled"))
    monkeypatch.setattr(hint, "FASTER", 0.999)
    faster_shape(packed, 1 << 20)


def test_pack_prints_it_and_has_it_among_its_notes(tmp_path):
    text = (DIGITS / "mlp.toml").read_text()
    recipe = tmp_path / "mlp.toml"
    for name in ("inputs.npz", "model.py", "mlp.pth"):
        text = text.replace(f'"{name}', f'"{DIGITS / name}')
    recipe.write_text(text.replace("lanes = 16", "lanes = 64"))
    assert "lanes = 64" in recipe.read_text()
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    assert done.returncode == 0
    assert "bramcast: [core] lanes = 8, taps = 8, rq = 8: as many multipliers" in done.stderr
    done = bramcast("pack", recipe, "-o", tmp_path / "b", "--json")
    assert any(note.startswith("[core] lanes = 8") for note in json.loads(done.stdout)["notes"])


def test_tiles_are_proposed_where_pictures_have_few_channels(tmp_path, monkeypatch):
    """As many multipliers and requantizers in all; an MLP has no pictures."""
    assert all(s.tiles == 1 for s in shapes_alike(Shape(64, 1, 8)))
    alike = shapes_alike(Shape(64, 1, 8), tiled=True)
    assert {s.lanes * s.taps * s.tiles for s in alike} == {64}
    assert {(s.lanes, s.taps, s.rq) for s in alike if s.tiles == 4} == {(8, 2, 2), (16, 1, 2)}
    paired = shapes_alike(Shape(16, 1, 2, 4, True), tiled=True)
    assert {s.multipliers for s in paired} == {32} and {s.pairs for s in paired} == {True, False}
    recipe = read_recipe(write_recipe(tmp_path, "VggCeil", samples=20))
    packed, cycles = packed_cycles(recipe, tmp_path / "b", {"lanes": 64})
    monkeypatch.setattr(hint, "FASTER", 0.999)
    text = faster_shape(packed, cycles)
    lowering = Lowering(packed.prepared, packed.network)
    best = min((lowering.at(s).cycles, s) for s in alike if s.lanes >= 1)
    assert f"{best[0]:,} cycles" in text and (best[1].tiles == 1) == ("tiles" not in text)
