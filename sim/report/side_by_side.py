# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page about retrained networks, each beside the one in use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.load import load
from bramcast.pack.bundle.float_results import read_float_results
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import IMAGES, Manifest
from bramcast.pack.bundle.provenance import Provenance, read_provenance
from bramcast.pack.origin import now
from bramcast.pack.samples.inputs import Inputs
from bramcast.sim.regress.candidates import Outcome
from bramcast.sim.regress.evaluate import outputs
from bramcast.sim.regress.regress import ImageChange, LayerRow, Regression, Report
from bramcast.sim.report.anatomy import Anatomy, dissect
from bramcast.sim.report.classes import Classes
from bramcast.sim.report.report import (
    Row,
    classes_of_labels,
    layer_values,
    pictures,
    rendered,
    row_of,
)
from bramcast.sim.report.verdicts import Judged, Verdict, regression_verdict


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of the two bundles."""

    path: Path
    anatomy: Anatomy
    values: dict[int, NDArray[np.int64]]
    judged: Judged
    classes: Classes | None
    provenance: Provenance | None

    def rows(self, prefix: str) -> dict[str, Row]:
        """Its parts by name; ``prefix`` makes their pictures' names unique in the page."""
        return {
            part.layers[0].name: row_of(self.anatomy, number, part, self.values.get(number), prefix)
            for number, part in enumerate(self.anatomy.parts)
        }

    @property
    def manifest(self) -> Manifest:
        return self.anatomy.manifest

    @property
    def cycles(self) -> int:
        return self.anatomy.prediction.total

    @property
    def accuracy(self) -> float | None:
        return self.judged.outputs.accuracy


@dataclass(frozen=True, slots=True)
class LayerLine:
    """A layer of the new bundle beside the old one's of the same name, if there is one.

    Attributes:
        figures: of its time steps the worst, as ``bramcast regress`` prints them.
    """

    new: Row
    old: Row | None
    moved: bool
    figures: LayerRow


@dataclass(frozen=True, slots=True)
class ImageLine:
    """An image: how many lines changed, and a picture of where; empty where sizes differ."""

    change: ImageChange
    picture: str


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A candidate. Without a ``new`` side it was refused, or its images are gone."""

    name: str
    verdict: Verdict
    outcome: Outcome
    regression: Regression | None
    new: Side | None
    layers: tuple[LayerLine, ...] = ()
    images: tuple[ImageLine, ...] = ()


def regression_html(
    old: Path,
    outcomes: Sequence[Outcome],
    inputs: Inputs,
    allow_modified: bool = False,
    progress: Report = lambda what, done, of: None,
) -> str:
    """The page about candidates, the best first.

    Args:
        outcomes: as ``judge`` has them; those whose ``bundle`` is there are drawn.
        inputs: the samples that judged.

    Raises:
        ToolError: matplotlib or Jinja2 is missing.
        UserError: a bundle or samples that don't fit.
    """
    pictures()
    before = _side(old, inputs, allow_modified, "old", progress)
    sections = [
        _section(number, outcome, before, inputs, allow_modified, progress)
        for number, outcome in enumerate(outcomes)
    ]
    return rendered(
        "regress.html", old=before, sections=sections, samples=len(inputs.x), written=now()
    )


def no_verdict_html(message: str) -> str:
    """The page that says why there is no verdict; it needs Jinja2 alone.

    Raises:
        ToolError: Jinja2 or matplotlib is missing.
    """
    pictures()
    return rendered("regress.html", old=None, sections=[], message=message, written=now())


def _side(path: Path, inputs: Inputs, allow_modified: bool, which: str, progress: Report) -> Side:
    anatomy = dissect(path, allow_modified)
    count = len(inputs.x)
    found = outputs(anatomy.machine, inputs, lambda n: progress(f"golden, {which}", n, count))
    floats = read_float_results(path, anatomy.manifest)
    judged = Judged.of(inputs, found, floats, anatomy.manifest)
    values = layer_values(anatomy, inputs)
    return Side(path, anatomy, values, judged, classes_of_labels(judged), read_provenance(path))


def _section(
    number: int,
    outcome: Outcome,
    before: Side,
    inputs: Inputs,
    allow_modified: bool,
    progress: Report,
) -> Section:
    verdict = regression_verdict(outcome.verdict, outcome.passed, outcome.reasons)
    result, name = outcome.regression, str(outcome.new)
    if result is None or outcome.bundle is None:
        return Section(name, verdict, outcome, result, None)
    side = _side(outcome.bundle, inputs, allow_modified, "new", progress)
    first: dict[str, list[LayerRow]] = {}
    groups: dict[int, list[LayerRow]] = {}
    for row in result.layers:
        groups.setdefault(row.group, []).append(row)
    for rows in groups.values():
        first[rows[0].name] = rows
    progress("drawing", number, number + 1)
    old = before.rows(f"old{number}")
    layers = tuple(
        LayerLine(
            row,
            old.get(layer),
            any(one.old_format not in (one.new_format, "-") for one in first[layer]),
            _worst(first[layer]),
        )
        for layer, row in side.rows(f"new{number}").items()
    )
    images = _images(before.path, outcome.bundle, result, f"new{number}")
    return Section(name, verdict, outcome, result, side, layers, images)


def _worst(rows: Sequence[LayerRow]) -> LayerRow:
    """Of a layer's time steps the least like the old ones."""
    return min(rows, key=lambda row: 1.0 if row.like is None else row.like)


def _images(old: Path, new: Path, result: Regression, prefix: str) -> tuple[ImageLine, ...]:
    machines = load(old, True), load(new, True)
    assert machines[0].manifest is not None and machines[1].manifest is not None
    one = load_images(old, machines[0].manifest, True)
    two = load_images(new, machines[1].manifest, True)
    draw: Callable[[str, NDArray[np.bool_]], str] = pictures().changes
    lines = []
    for change in sorted(result.images, key=lambda image: IMAGES.index(image.name)):
        a, b = one.get(change.name), two.get(change.name)
        picture = ""
        if a is not None and b is not None and a.bits == b.bits and len(a) == len(b) and len(a):
            picture = draw(f"{prefix}changes{change.name}", (a.data != b.data).any(axis=1))
        lines.append(ImageLine(change, picture))
    return tuple(lines)
