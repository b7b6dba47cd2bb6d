# SPDX-License-Identifier: Apache-2.0
"""The best shape of the core for a number of multipliers: ``python bench/shapes.py``.

For each network and each number of multipliers every shape is tried as ``bramcast fit`` does it.
Within one percent of the fastest the one with the fewest LUTs is taken, packed and run in the
Verilated core: what stands in the table is what was simulated.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recipes import ROOT, mlp_recipe, shared_recipe

from bramcast.pack.device.devices import find_part
from bramcast.pack.fit.candidates import Place, try_shapes
from bramcast.pack.fit.choose import Wish, choose
from bramcast.pack.fit.lowering import Lowering
from bramcast.pack.fit.shapes import Shape, legal_shapes
from bramcast.pack.fit.write_recipe import with_shape
from bramcast.pack.recipe.recipe import Recipe, read_recipe

DOC = ROOT / "docs" / "synthesis.md"
BEGIN, END = "<!-- make shapes: begin -->", "<!-- make shapes: end -->"
NETWORKS = ("kws_dscnn_mlperf", "resnet8_mlperf", "vww_mobilenet_mlperf", "mlp_96_96_64_12")
MULTIPLIERS = (16, 64, 256)
FAMILY = "7series"
CLOCK_MHZ = 100.0
HEAD = (
    "| network | MAC | multipliers | lanes x taps | RQ | cycles | MAC per cycle "
    "| per multiplier | per second at 100 MHz | LUT | RAMB36 |"
)


class Differs(Exception):
    """The simulated core is not what was predicted."""


@dataclass(frozen=True, slots=True)
class Row:
    """A network in a shape, as simulated; ``luts`` by the formula, ``units`` RAMB18."""

    network: str
    macs: int
    shape: Shape
    cycles: int
    luts: int
    units: int

    def text(self) -> str:
        per_cycle = self.macs / self.cycles
        cells = (
            self.network, f"{self.macs:,}", self.shape.multipliers,
            self.shape.form, self.shape.rq, f"{self.cycles:,}",
            f"{per_cycle:.1f}", f"{per_cycle / self.shape.multipliers:.3f}",
            f"{CLOCK_MHZ * 1e6 / self.cycles:,.0f}", f"{self.luts:,}", f"{self.units / 2:g}",
        )  # fmt: skip
        return f"| {' | '.join(map(str, cells))} |"


def recipe_of(name: str, folder: Path) -> Path | None:
    """A recipe for one of ``NETWORKS``; None where the shared models are absent."""
    if name in ("mlp_96_96_64_12",):
        return mlp_recipe(folder)
    return shared_recipe(name, folder)


def bramcast(*arguments: str | Path) -> dict[str, object]:
    """What a verb gives as JSON.

    Raises:
        Differs: it did not end with 0.
    """
    command = [str(Path(sys.executable).parent / "bramcast"), *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Differs(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    document: dict[str, object] = json.loads(done.stdout)
    return document


def best(lowering: Lowering, recipe: Recipe, multipliers: int, folder: Path) -> Row:
    """The best shape of so many multipliers, simulated with one sample.

    Raises:
        Differs: golden and the core differ, or the cycles are not those that were predicted.
    """
    shapes = legal_shapes(multipliers, lowering.has_pictures)
    shapes = [s for s in shapes if s.multipliers == multipliers]
    tried = try_shapes(lowering, shapes, Place.of(find_part(FAMILY)))
    chosen = choose(tried.candidates, Wish(CLOCK_MHZ)).chosen
    assert chosen is not None, "a family without counts has room for any"
    written = folder / f"{recipe.name}_{multipliers}.toml"
    written.write_text(with_shape(recipe, chosen.shape, written).text)
    bundle = folder / written.stem
    packed = bramcast("pack", written, "-o", bundle)
    ran = bramcast("sim", bundle, "--inputs", written, "--fast", "--layers", "--samples", "1")
    if not ran["equal"] or {ran["cycles"], packed["cycles"]} != {chosen.cycles}:
        raise Differs(f"{written.stem}: {chosen.cycles} predicted, {ran['cycles']} simulated")
    macs = packed["macs"]
    assert isinstance(macs, int)
    return Row(recipe.name, macs, chosen.shape, chosen.cycles, chosen.luts, chosen.units)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", type=Path, nargs="*", help="instead of the usual networks")
    parser.add_argument("--multipliers", type=int, nargs="+", default=list(MULTIPLIERS))
    parser.add_argument("--write", action="store_true", help=f"into {DOC.relative_to(ROOT)}")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = args.recipes or [recipe_of(network, folder) for network in NETWORKS]
        for path in given:
            if path is None:
                print("shapes: a shared network is absent: skipped", file=sys.stderr)
                continue
            recipe = read_recipe(path)
            print(f"{recipe.name}: quantizing", file=sys.stderr, flush=True)
            lowering = Lowering.of(recipe)
            for multipliers in args.multipliers:
                rows.append(best(lowering, recipe, multipliers, folder))
                print(rows[-1].text(), file=sys.stderr, flush=True)
    lines = [HEAD, "|" + " --- |" * 11, *(row.text() for row in rows)]
    print("\n".join(lines))
    if args.write:
        text = DOC.read_text()
        head, rest = text.split(BEGIN, 1)
        DOC.write_text(head + "\n".join([BEGIN, *lines, END]) + rest.split(END, 1)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
