# SPDX-License-Identifier: Apache-2.0
"""Which parts a core fits."""

from support import ROOT, bramcast

from bramcast.golden.load import load
from bramcast.pack.device.devices import PARTS
from bramcast.sim.report.parts import family_rows

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_mlp"


def test_every_known_part_has_a_line():
    machine = load(BUNDLE)
    families = list(family_rows(machine, machine.manifest))
    rows = [row for family in families for row in family.rows]
    assert sorted(row.name for row in rows) == sorted(PARTS)
    seven = next(family for family in families if family.title == "AMD 7-series")
    # 16 multipliers, 10 of which an xc7s6 has; the block RAMs are those of `bramcast memory`.
    small = next(row for row in seven.rows if row.name == "xc7s6")
    assert small.lacking == ("DSP48E1",) and small.taken[0].share == 1.6
    assert seven.smallest == "xc7a12t" and not seven.estimated
    told = bramcast("memory", BUNDLE, "--device", "xc7s6").stdout
    assert f"xc7s6: {small.taken[1].taken} of {small.taken[1].there} RAMB18" in told
    assert next(f for f in families if "iCE40" in f.title).smallest is None
