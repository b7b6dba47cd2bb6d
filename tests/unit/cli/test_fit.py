# SPDX-License-Identifier: Apache-2.0
"""bramcast fit: what it prints and writes, and what it says of wrong input."""

import json
import re
import sys
import tomllib
from dataclasses import replace

import pytest
from support import DIGITS, bramcast, write_recipe

from bramcast.cli import fit
from bramcast.pack.device.devices import find_part
from bramcast.pack.recipe.recipe import read_recipe

SMALL = ("--multipliers", 8)  # 36 shapes


@pytest.fixture
def recipe(tmp_path):
    return write_recipe(tmp_path / "net", "Mlp96", "[core]  # mine\nlanes = 4\n")


def fitted(*arguments):
    done = bramcast("fit", *arguments, "--json")
    return done, json.loads(done.stdout) if done.stdout else {}


def with_counts(monkeypatch, **counts):
    monkeypatch.setattr(fit, "find_part", lambda name: replace(find_part("xc7a35t"), **counts))


def test_the_fastest_shape_that_fits_is_chosen(recipe, monkeypatch):
    with_counts(monkeypatch, dsps=4)
    done, found = fitted(recipe, "--device", "xc7a35t", *SMALL, "--within", 0)
    assert done.returncode == 0 and done.stderr == ""
    fits = [s for s in found["shapes"] if s["multipliers"] <= 4]
    assert [s["fits"] for s in found["shapes"]] == [s["multipliers"] <= 4 for s in found["shapes"]]
    assert found["chosen"]["cycles"] == min(s["cycles"] for s in fits)
    assert all("DSP" in s["lacks"][0] for s in found["shapes"] if not s["fits"])
    for s in found["shapes"]:
        assert s["inferences_per_second"] == 100e6 / s["cycles"]


def test_a_rate_takes_the_smallest_that_reaches_it(recipe):
    done, found = fitted(recipe, "--device", "ecp5", *SMALL, "--rate", 20000, "--clock-mhz", 50)
    assert done.returncode == 0
    enough = [s for s in found["shapes"] if 50e6 / s["cycles"] >= 20000]
    assert 0 < len(enough) < len(found["shapes"])
    chosen = found["chosen"]
    assert chosen["multipliers"] == min(s["multipliers"] for s in enough)
    luts = [u["taken"] for u in chosen["uses"] if u["resource"] == "LUT"]
    alike = [s for s in enough if s["multipliers"] == chosen["multipliers"]]
    assert luts == [min(u["taken"] for s in alike for u in s["uses"] if u["resource"] == "LUT")]


def test_a_rate_that_nothing_reaches_is_told_with_the_fastest(recipe):
    done, found = fitted(recipe, "--device", "xc7a35t", *SMALL, "--rate", 1e9)
    assert done.returncode == 1 and found["chosen"] is None
    fastest = min(s["cycles"] for s in found["shapes"])
    assert "no shape that fits makes 1e+09 inferences per second: the fastest" in done.stderr
    assert f"makes {100e6 / fastest:,.1f} at 100 MHz" in done.stderr


def test_where_nothing_fits_the_closest_is_named_with_what_it_lacks(recipe, monkeypatch, tmp_path):
    with_counts(monkeypatch, count=0, luts=10)
    before = recipe.read_text()
    done = bramcast("fit", recipe, "--device", "xc7a35t", *SMALL, "--write")
    assert done.returncode == 1 and recipe.read_text() == before
    last = done.stderr.strip().splitlines()[-1]
    assert re.search(r"no shape fits xc7a35t: the closest, \d x \d, RQ \d, takes", last)
    assert " of 10 LUT" in last and " of 0 RAMB18" in last
    assert "none of these fits" in done.stdout and "does not fit" in done.stdout


def test_a_family_gives_the_front_without_a_verdict(recipe):
    done, found = fitted(recipe, "--device", "ecp5")
    assert done.returncode == 0 and found["chosen"] is None and len(found["shapes"]) == 112
    assert all(s["fits"] and s["lacks"] == [] for s in found["shapes"])
    front = [s for s in found["shapes"] if s["front"]]
    assert 2 < len(front) < len(found["shapes"])
    done = bramcast("fit", recipe, "--device", "ecp5", "--multipliers", 2)
    assert "does not fit" not in done.stdout
    assert "chosen: [core] lanes = " in done.stdout  # a limit says what is wanted


def test_written_is_what_pack_then_packs(recipe, tmp_path):
    _, found = fitted(recipe, "--device", "xc7a35t", *SMALL, "--write")
    text = recipe.read_text()
    assert found["written"] == str(recipe) and "[core]  # mine" in text
    core = read_recipe(recipe).core
    chosen = found["chosen"]
    assert (core.lanes, core.taps, core.drain) == (chosen["lanes"], chosen["taps"], chosen["rq"])
    packed = json.loads(bramcast("pack", recipe, "-o", tmp_path / "b", "--json").stdout)
    assert packed["cycles"] == chosen["cycles"]
    depths = {key: packed["core"][f"{key}_depth"] for key in chosen["depths"]}
    assert depths == chosen["depths"]


def test_a_copy_is_written_and_the_recipe_stays(recipe, tmp_path):
    before = recipe.read_text()
    done = bramcast("fit", recipe, "--device", "xc7a35t", *SMALL, "-o", tmp_path / "new.toml")
    assert done.returncode == 0 and recipe.read_text() == before
    assert f"written to {tmp_path / 'new.toml'}" in done.stdout
    lanes = read_recipe(tmp_path / "new.toml").core.lanes
    assert f"chosen: [core] lanes = {lanes}" in done.stdout
    done = bramcast("fit", recipe, "--device", "xc7a35t", *SMALL, "-o", "-")
    assert tomllib.loads(done.stdout)["core"]["lanes"] == lanes
    assert "chosen: [core]" in done.stderr


def test_dropped_depths_are_told(tmp_path):
    recipe = write_recipe(tmp_path, "Mlp96", "[core]\nlanes = 1\nweights_depth = 99999\n")
    done = bramcast("fit", recipe, "--device", "xc7a35t", *SMALL, "--write")
    assert "core.weights_depth is left out: the number was for another shape" in done.stdout
    assert read_recipe(recipe).core.weights_depth is None


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_picture_has_a_panel_for_each_resource(recipe, tmp_path, kind):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"shapes.{kind}"
    arguments = ("fit", recipe, "--device", "xc7a35t", *SMALL, "--picture", path)
    done = bramcast(*arguments)
    assert done.returncode == 0 and f"drawn to {path}" in done.stdout
    first = path.read_bytes()
    bramcast(*arguments)
    assert path.read_bytes() == first  # whoever keeps it in git sees no change


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--device", "xc7a36t"], "--device xc7a36t: no such part in the table; did you mean"),
        (["--device", "ecp5", "--write"], "a family has no counts"),
        (["--device", "xc7a35t", "--rate", "0"], "--rate 0: must be above 0"),
        (["--device", "xc7a35t", "--clock-mhz", "nan"], "--clock-mhz nan: must be above 0"),
        (["--device", "xc7a35t", "--within", "-1"], "--within -1: must be 0 or above"),
        (["--device", "xc7a35t", "--write", "-o", "x.toml"], "give one of them"),
        (["--device", "xc7a35t", "--picture", "x.gif"], "pictures are written as .png, .svg, .pdf"),
        (["--device", "xc7a35t", *SMALL, "-o", "/proc/x.toml"], "/proc/x.toml: can't be written"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(recipe, arguments, complaint):
    done = bramcast("fit", recipe, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert complaint in done.stderr and done.stderr.count("\n") == 1


def test_what_is_wrong_with_the_recipe_is_said(tmp_path):
    recipe = write_recipe(tmp_path, "Mlp96", "[core]\nlanes = 5\n")
    done = bramcast("fit", recipe, "--device", "xc7a35t")
    assert done.returncode == 2 and "core.lanes: Input should be 1, 2, 4" in done.stderr
    recipe = write_recipe(tmp_path, "HandGru", "[core]\ngates = false\n")
    done = bramcast("fit", recipe, "--device", "xc7a35t")
    assert done.returncode == 2 and "core.gates = false, but the network" in done.stderr


def test_without_matplotlib_the_way_out_is_told_before_anything_is_computed(recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = bramcast("fit", recipe, "--device", "xc7a35t", "--picture", "x.svg")
    assert done.returncode == 2 and "pip install '.[plot]'" in done.stderr


def test_the_table_of_the_example_has_the_front_and_what_does_not_fit():
    done = bramcast("fit", DIGITS / "mlp.toml", "--device", "lfe5u-25")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("digits_mlp, lfe5u-25: 112 shapes tried, ")
    assert lines[2].split()[:6] == ["lanes", "taps", "RQ", "multipliers", "cycles", "inferences/s"]
    row = next(line for line in lines if line.startswith("64 x 8 "))
    assert "512 of 28 " in row
    assert any(line.endswith("none is made of LUTs") for line in lines)


def test_pictures_are_tried_in_tiles_and_in_pairs_where_a_block_holds_one(tmp_path):
    recipe = write_recipe(tmp_path, "VggCeil", "[core]\nlanes = 8\n", samples=20)
    limit = ("--multipliers", 16, "--within", 0)
    _, found = fitted(recipe, "--device", "lfe5u-25", *limit)
    assert {s["tiles"] for s in found["shapes"]} >= {1, 2} and found["skipped"] > 0
    assert not any(s["pairs"] for s in found["shapes"])
    _, found = fitted(recipe, "--device", "xc7a35t", *limit)
    paired = [s for s in found["shapes"] if s["pairs"]]
    for s in paired:
        assert s["multipliers"] == s["lanes"] * s["taps"] * s["tiles"] // 2
        assert s["uses"][0] == {"resource": "DSP48E1", "taken": s["multipliers"], "available": 90}
    assert found["chosen"]["pairs"] and found["chosen"]["multipliers"] <= 16
    done = bramcast("fit", recipe, "--device", "xc7a35t", *limit, "--write")
    core, chosen = read_recipe(recipe).core, found["chosen"]
    assert (core.tiles, core.pairs) == (chosen["tiles"], True)
    assert f"tiles = {core.tiles}, pairs = true" in done.stdout
    assert f" {core.tiles} in pairs " in done.stdout
    packed = json.loads(bramcast("pack", recipe, "-o", tmp_path / "b", "--json").stdout)
    assert packed["cycles"] == chosen["cycles"]
