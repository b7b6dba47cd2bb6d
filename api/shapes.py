# SPDX-License-Identifier: Apache-2.0
"""The shape of the core that suits a network and a part: what ``bramcast fit`` and ``fit`` do."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from bramcast.api.bars import Progress, Report, reporting, silent
from bramcast.api.given import at_rest, given, samples
from bramcast.api.table import Table, frame
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.device.devices import Part, find_part
from bramcast.pack.recipe.recipe import Recipe
from bramcast.pack.samples.inputs import Inputs

if TYPE_CHECKING:  # torch
    from pandas import DataFrame

    from bramcast.api.given import Network
    from bramcast.pack.fit.candidates import Candidate, Tried
    from bramcast.pack.fit.choose import Wish
    from bramcast.pack.read.network import LoadedNetwork


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """All shapes for a part.

    Attributes:
        chosen: the shape that suits best; None: ``complaint`` says why, or nothing was to choose.
        front: those that no other one is faster and smaller than, the fastest first.
    """

    part: Part
    tried: "Tried"
    front: tuple["Candidate", ...]
    chosen: "Candidate | None"
    complaint: str | None
    wish: "Wish"

    @property
    def settings(self) -> dict[str, int]:
        """What ``cast`` takes as settings for the chosen shape; empty if there is none."""
        if self.chosen is None:
            return {}
        from bramcast.pack.fit.write_recipe import core_lines

        return {f"core.{key}": value for key, value in core_lines(self.chosen.shape).items()}

    @property
    def shapes(self) -> "Table | DataFrame":
        """A row for each shape, as a DataFrame where pandas is installed."""
        columns = (
            "lanes", "taps", "tiles", "pairs", "rq", "multipliers", "cycles", "per_second", "dsps",
            "rams",
        )  # fmt: skip
        rows = tuple(
            (
                c.core.lanes, c.core.taps, c.core.tiles, c.core.pairs, c.core.rq,
                c.shape.multipliers, c.cycles, self.wish.per_second(c.cycles), c.area.dsps, c.units,
                c.luts, not c.lacking, c in self.front, c is self.chosen,
            )
            for c in self.tried.candidates
        )  # fmt: skip
        return frame(Table((*columns, "luts", "fits", "front", "chosen"), rows))

    def __repr__(self) -> str:
        found = self.complaint or "no shape was to choose"
        if self.chosen is not None:
            core, shape = self.chosen.core, self.chosen.shape
            tiles = f" x {core.tiles} tiles" * (core.tiles > 1) + " in pairs" * shape.pairs
            found = f"{core.lanes} lanes x {core.taps} taps{tiles}, RQ {core.rq}"
            found += f", {self.chosen.cycles:,} cycles"
        return f"<Fit for {self.part.name}: {found}, {len(self.tried.candidates)} shapes tried>"


def fit_shapes(
    recipe: Recipe,
    part: Part,
    wish: "Wish",
    multipliers: int | None = None,
    report: Report = silent,
    source: "LoadedNetwork | None" = None,
    inputs: Inputs | None = None,
) -> Fit:
    """Try every shape of the core for a network, and choose.

    Args:
        part: of a family, which has no counts, a shape is chosen only where a rate or
            ``multipliers`` say which.
        multipliers: at most so many.
        source, inputs: a network and samples in memory, in place of those that the recipe names.

    Raises:
        UserError: the network can't be packed.
    """
    with torch_needed("fit, which quantizes the network,"):
        from bramcast.pack.fit.lowering import Lowering
    from bramcast.pack.fit.candidates import Place, try_shapes
    from bramcast.pack.fit.choose import Choice, choose
    from bramcast.pack.fit.front import pareto
    from bramcast.pack.fit.shapes import legal_shapes

    lowering = Lowering.of(recipe, report, source, inputs)
    pairs = part.family.pairs and lowering.can_pair
    shapes = legal_shapes(multipliers, lowering.has_pictures, pairs)
    tried = try_shapes(lowering, shapes, Place.of(part), report)
    fitting = [c for c in tried.candidates if not c.lacking]
    front = pareto(fitting or tried.candidates)
    steered = wish.rate is not None or multipliers is not None
    decided = part.count is not None or steered
    choice = choose(tried.candidates, wish) if decided else Choice(None)
    return Fit(part, tried, tuple(front), choice.chosen, choice.complaint, wish)


def fit(
    network: "Network",
    x: Any = None,
    *,
    device: str,
    weights: str | os.PathLike[str] | None = None,
    rate: float | None = None,
    multipliers: int | None = None,
    within: float = 1.0,
    clock_mhz: float = 100.0,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = None,
) -> Fit:
    """The lanes, taps and RQ that suit a network and a part: what ``bramcast fit`` does.

    Args:
        network, x, weights, settings: as ``cast`` takes them.
        device: a part, e.g. "xc7a35t", or a family, e.g. "7series".
        rate: so many inferences per second are enough: the smallest core.
        multipliers: at most so many.
        within: percent slower that count as fast; the smallest of those.

    Returns:
        ``.chosen``, ``.front``, ``.shapes`` as a table, ``.settings`` for ``cast``.

    Raises:
        UserError: an unknown part, or a network that can't be packed.
    """
    with torch_needed("fit, which quantizes the network,"):
        from bramcast.pack.fit.choose import Wish

    for key, value in (("rate", rate), ("clock_mhz", clock_mhz)):
        if value is not None and not 0 < value < inf:
            raise InputError(f"{key}={value:g}: must be above 0")
    part, wish = find_part(device), Wish(clock_mhz, rate, within)
    what = given(network, samples(x), weights=weights, settings=settings)
    with reporting(progress) as report, at_rest(what.source):
        return fit_shapes(
            what.recipe, part, wish, multipliers, report, what.source, what.inputs
        )  # fmt: skip
