# SPDX-License-Identifier: Apache-2.0
"""The formulas of LUTs, registers and multipliers against cores that were synthesized."""

from dataclasses import replace

import numpy as np
import pytest

from bramcast.pack.bundle.manifest import Core
from bramcast.pack.device import area as module
from bramcast.pack.device.area import FIRST, area, fitted, predicted, read_measured
from bramcast.pack.device.devices import FAMILIES, find_part

ROWS = [row for row in read_measured() if row.family != FIRST]
WORDS = [row for row in read_measured() if row.family == FIRST and row.core.tiles > 1]
HELD = [row for row in ROWS if row.held]
SEVEN = FAMILIES["7series"]
CORE = Core(16, 1, 8, 8, 2, 384, 1393, 304, 0, 1000)


def shape(row):
    c = row.core
    options = f"-tiles{c.tiles}" * (c.tiles > 1) + "-pairs" * c.pairs
    options += "-narrow" * c.narrow + "-gates" * c.gates + "-table" * (c.table_depth > 0)
    return f"{row.family}-{c.lanes}x{c.taps}-rq{c.rq}-{c.data_bits}{options}"


@pytest.mark.parametrize("row", HELD, ids=shape)
def test_cores_that_were_not_fitted_are_within_ten_percent(row):
    luts, ffs = predicted(row)
    assert luts == pytest.approx(row.luts, rel=0.1)
    assert ffs == pytest.approx(row.ffs, rel=0.1)


@pytest.mark.parametrize("family", sorted({row.family for row in HELD}))
def test_families_have_rows_to_fit_and_rows_that_are_held_out(family):
    mine = [row for row in ROWS if row.family == family]
    held = {row.core for row in mine if row.held}
    assert held and len(mine) - len(held) >= 2 * len(held)
    assert len({row.core for row in mine}) == len(mine)
    errors = [abs(a / b - 1) for row in mine if row.held
              for a, b in zip(predicted(row), (row.luts, row.ffs), strict=True)]  # fmt: skip
    assert np.mean(errors) < 0.05


def test_rows_that_are_held_out_do_not_move_the_formulas(monkeypatch):
    before = [predicted(row) for row in ROWS]
    rows = read_measured()
    broken = [replace(row, luts=9 * row.luts, ffs=1) if row.held else row for row in rows]
    monkeypatch.setattr(module, "read_measured", lambda: broken)
    module._formulas.cache_clear()
    try:
        assert [predicted(row) for row in ROWS] == before
    finally:
        module._formulas.cache_clear()


@pytest.mark.parametrize("row", ROWS, ids=shape)
def test_multipliers_are_those_that_yosys_maps(row):
    core = row.core
    lines = core.rq * core.tiles if core.data_bits == 16 and core.table_depth else 0  # of tables
    products = core.lanes * core.taps * core.tiles // (2 if core.pairs else 1)
    assert row.multipliers == (0 if row.family == "ice40" else products + lines)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("taps", [1, 2, 4, 8])
def test_more_lanes_take_more(name, taps):
    family = FAMILIES[name]
    made = [
        area(replace(CORE, lanes=lanes, taps=taps, rq=1), family)
        for lanes in (1, 2, 4, 8, 16, 32, 64)
    ]
    for less, more in zip(made, made[1:], strict=False):
        assert less.luts < more.luts and less.ffs < more.ffs
        assert less.dsps <= more.dsps


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "change",
    [
        {"taps": 2},
        {"tiles": 2},
        {"rq": 4},
        {"data_bits": 16},
        {"table_depth": 512},
        {"narrow": True},
        {"gates": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_asked_for_takes_room(name, change):
    before, after = (area(core, FAMILIES[name]) for core in (CORE, replace(CORE, **change)))
    assert after.luts >= before.luts and after.ffs >= before.ffs
    assert (after.luts, after.ffs) != (before.luts, before.ffs)


@pytest.mark.parametrize(
    "name, narrow, wide, lines",
    [
        ("7series", 16, 16, 18),
        ("ultrascaleplus", 16, 16, 18),
        ("ecp5", 16, 16, 18),
        ("ice40", 0, 0, 0),
        ("gowin", 8, 16, 18),  # two of 9 x 9 in one of 18 x 18
        ("cyclonev", 6, 8, 9),  # three of 9 x 9, two of 18 x 18
        ("cyclone4", 8, 16, 18),
    ],
)
def test_blocks_are_those_of_the_data_sheet(name, narrow, wide, lines):
    family = FAMILIES[name]
    core = replace(CORE, data_bits=16)
    assert area(CORE, family).dsps == narrow
    assert area(core, family).dsps == wide
    assert area(replace(core, table_depth=512), family).dsps == lines  # one for each of RQ


@pytest.mark.parametrize(
    "name, plain, paired", [("7series", 64, 32), ("ultrascaleplus", 64, 32), ("ecp5", 64, 64)]
)
def test_pairs_take_half_the_blocks_where_a_block_holds_one(name, plain, paired):
    """16 x 1 lanes in 4 tiles; a pair takes 25 x 18 bits."""
    family, core = FAMILIES[name], replace(CORE, tiles=4)
    assert area(core, family).dsps == plain
    assert area(replace(core, pairs=True), family).dsps == paired
    tables = replace(core, data_bits=16, table_depth=512)
    assert area(tables, family).dsps == 64 + 2 * 4  # RQ in each tile


@pytest.mark.parametrize("row", WORDS, ids=shape)
def test_words_of_cores_with_tiles_are_within_four_percent(row):
    """What the other families begin with: fitted on these, by few terms."""
    luts, ffs = predicted(row)
    assert luts == pytest.approx(row.luts, rel=0.04)
    assert ffs == pytest.approx(row.ffs, rel=0.04)


def test_cores_with_tiles_do_not_move_what_is_said_of_those_without(monkeypatch):
    before = area(CORE, SEVEN)
    plain = [row for row in read_measured() if row.core.tiles == 1]
    assert len(plain) < len(read_measured())
    monkeypatch.setattr(module, "read_measured", lambda: plain)
    module._formulas.cache_clear()
    try:
        assert area(CORE, SEVEN) == before
    finally:
        module._formulas.cache_clear()


def test_an_ice40_with_multipliers_needs_fewer_luts():
    up5k, hx8k = find_part("up5k"), find_part("hx8k")
    core = replace(CORE, lanes=8, rq=1)
    blocks, luts = (area(core, part.family, part) for part in (up5k, hx8k))
    assert (blocks.dsps, luts.dsps) == (8, 0)
    assert blocks.luts < luts.luts
    assert area(core, hx8k.family) == luts


def test_what_was_not_measured_is_said():
    assert fitted(CORE, SEVEN)
    assert not fitted(CORE, replace(SEVEN, name="larch"))
    assert not fitted(CORE, FAMILIES["cyclone4"])
    assert not fitted(replace(CORE, lanes=64, taps=8), FAMILIES["ice40"])
    assert not fitted(replace(CORE, tiles=8), SEVEN)
    assert area(CORE, replace(SEVEN, name="larch")) == area(CORE, SEVEN)
