# SPDX-License-Identifier: Apache-2.0
"""From a network to a bundle: what ``bramcast pack`` and ``bramcast.cast`` do."""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bramcast.api.bars import Progress, Report, reporting, silent
from bramcast.api.bundle import Bundle
from bramcast.api.given import at_rest, given, samples
from bramcast.golden.frames import output_order
from bramcast.golden.load import load
from bramcast.golden.machine import Machine
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.recipe.recipe import Recipe
from bramcast.pack.samples.inputs import Inputs

if TYPE_CHECKING:  # torch
    from bramcast.api.given import Network
    from bramcast.pack.passes.table import Watch
    from bramcast.pack.pipeline import Packed
    from bramcast.pack.read.network import LoadedNetwork


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A bundle that was written, and what is known of it.

    Attributes:
        machine: golden's, which has validated the program.
        cycles: of a frame, predicted.
        notes: what a person should know of.
    """

    packed: "Packed"
    machine: Machine
    cycles: int
    notes: tuple[str, ...]


def make(
    recipe: Recipe,
    folder: Path,
    report: Report = silent,
    watch: "Watch | None" = None,
    source: "LoadedNetwork | None" = None,
    inputs: Inputs | None = None,
    command: str | None = None,
) -> Made:
    """Pack a recipe into a folder, and have golden's validator look before it takes its place.

    Args:
        command: as it was typed.
        watch: called behind each stage.
        source, inputs: a network and samples in memory, in place of those that the recipe names.

    Raises:
        UserError: whatever is wrong; nothing is written then.
    """
    with torch_needed("packing", recipe.model.onnx):
        from bramcast.pack.pipeline import pack
    from bramcast.pack.fit.hint import faster_shape
    from bramcast.pack.passes.table import unwatched

    machines: list[Machine] = []

    def validate(fresh: Path) -> object:
        machines.append(load(fresh))
        return output_order(machines[-1])

    with at_rest(source):
        packed = pack(recipe, folder, report, validate, watch or unwatched, source, inputs, command)
    cycles = predict(machines[-1].program, machines[-1].core).total
    faster = faster_shape(packed, cycles)
    notes = (*packed.notes, *([faster] if faster is not None else []))
    return Made(packed, machines[-1], cycles, notes)


def cast(
    network: "Network",
    x: Any = None,
    y: Any = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    x_cal: Any = None,
    y_cal: Any = None,
    name: str | None = None,
    lanes: int | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = None,
) -> Bundle:
    """Cast a trained network into images: what ``bramcast pack`` does.

    Args:
        network: an nn.Module as it is in memory, which stays as it is, or what ``qat`` made of one;
            or a path: a recipe, .onnx, .pt2, MODEL.py:NAME with ``weights``, or the checkpoint of
            an MLP.
        x: samples [N, *sample shape], preprocessed as for the network: array, tensor or list; or
            the path of a .npz. A recipe names its own.
        y: labels [N], for accuracies; those of one of several outputs by its name: {"kind": y}.
        weights: the checkpoint of a MODEL.py:NAME.
        output: folder for the bundle; without one it lives as long as the result does.
        x_cal: other samples, by which formats are chosen; ``x`` if not given.
        y_cal: their labels.
        name: of the network; the module's class or the file's name if not given.
        lanes: outputs that are computed side by side: core.lanes.
        settings: keys of a recipe and their values: {"core.taps": 2}.
        progress: True, "rich", "tqdm", or a function; see ``bars.reporting``.

    Raises:
        UserError: whatever is wrong, in one line.
    """
    what = given(
        network, samples(x, y, x_cal, y_cal), weights=weights, name=name, lanes=lanes,
        settings=settings,
    )  # fmt: skip
    keep = None
    if output is None:
        keep = tempfile.TemporaryDirectory(prefix="bramcast-")
        folder = Path(keep.name) / (re.sub(r"[^\w.-]+", "_", what.recipe.name).strip(".") or "net")
    else:
        folder = Path(output)
    with reporting(progress) as report:
        made = make(what.recipe, folder, report, source=what.source, inputs=what.inputs)
    return Bundle(
        folder, made.machine, notes=made.notes, recipe=what.recipe,
        calibration=made.packed.inputs, keep=keep,
    )  # fmt: skip
