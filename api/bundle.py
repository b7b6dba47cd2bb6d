# SPDX-License-Identifier: Apache-2.0
"""A bundle as a value: runs, simulates, compares and describes what lies in its folder."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from bramcast.api.bars import Progress, reporting
from bramcast.api.given import ARRAYS, at_rest, given, samples
from bramcast.api.page import Page
from bramcast.api.table import Table, frame, html_table
from bramcast.golden.frames import Output, as_samples, frames_of, outputs_from_beats
from bramcast.golden.load import load
from bramcast.golden.machine import Machine
from bramcast.golden.metrics import labelled_accuracy
from bramcast.pack.bundle.cycles import CyclePrediction, predict
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import replace_folder
from bramcast.pack.bundle.manifest import Core, Judgement, Manifest
from bramcast.pack.recipe.recipe import (
    CoreSection,
    ModelSection,
    QuantizeSection,
    Recipe,
    RegressSection,
    read_recipe,
)
from bramcast.pack.samples.inputs import Inputs

if TYPE_CHECKING:  # torch
    from pandas import DataFrame

    from bramcast.api.given import Module
    from bramcast.pack.device.memory import DeviceFit
    from bramcast.sim.regress.candidates import Outcome
    from bramcast.sim.run.cosim import SimResult
    from bramcast.sim.run.fast import FastResult

Simulator = Literal["verilator", "icarus"]
COLUMNS = (
    "layer", "op", "rows", "columns", "channels", "format", "macs", "cycles", "snr", "share",
)  # fmt: skip


class Bundle:
    """A folder of images that golden's validator has accepted.

    ``cast`` makes one, ``open`` reads one. Every number comes from what lies in the folder.
    """

    def __init__(
        self,
        path: Path,
        machine: Machine,
        *,
        notes: tuple[str, ...] = (),
        recipe: Recipe | None = None,
        calibration: Inputs | None = None,
        keep: "tempfile.TemporaryDirectory[str] | None" = None,
    ) -> None:
        """For ``cast`` and ``open``.

        Args:
            recipe, calibration: what it was packed by, where that is known.
            keep: the folder around ``path``, which goes with this object.
        """
        assert machine.manifest is not None
        self.path, self.notes = path, notes
        self._machine, self._manifest = machine, machine.manifest
        self._recipe, self._calibration, self._keep = recipe, calibration, keep

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, allow_modified: bool = False) -> "Bundle":
        """Read a folder that ``bramcast pack`` or ``cast`` wrote, of this version or an older one.

        Args:
            allow_modified: take images whose SHA-256 differs from the manifest's as they are.

        Raises:
            UserError: it is no bundle, or its images are damaged; names file and line.
        """
        return cls(Path(path), load(Path(path), allow_modified))

    # --- what it is --------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The network's name."""
        return self._manifest.name

    @property
    def manifest(self) -> Manifest:
        """All that the manifest says (docs/manifest.md)."""
        return self._manifest

    @property
    def core(self) -> Core:
        """The parameters of the core."""
        return self._manifest.core

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of a sample, without the batch axis."""
        return tuple(self._manifest.input.shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of a result, without the batch axis; of several outputs that of the first."""
        return tuple(self._manifest.output.shape)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of several outputs; none where there is one."""
        return tuple(frame.name for frame in self._manifest.outputs if frame.name)

    @property
    def cycles(self) -> int:
        """Clock cycles of a frame, as the core takes them."""
        return self._predicted().total

    @property
    def judgement(self) -> Judgement | None:
        """How near it comes to the float network; None in bundles of before that was known."""
        return self._manifest.judgement

    @property
    def layers(self) -> "Table | DataFrame":
        """A row for each layer, as a DataFrame where pandas is installed.

        ``cycles`` are those from the layer's first tap to the next layer's, ``snr`` the decibels
        against the float network, ``share`` the part of the output's error that is its rounding.
        """
        return frame(self._layers())

    def _predicted(self) -> CyclePrediction:
        return predict(self._machine.program, self._machine.core)

    def _layers(self) -> Table:
        manifest, predicted = self._manifest, self._predicted()
        ends = [*(nest.start for nest in predicted.nests[1:]), predicted.total + 1]
        taken = [0] * len(manifest.layers)
        for info, nest, end in zip(manifest.nests, predicted.nests, ends, strict=True):
            taken[info.layer] += end - nest.start
        return Table(
            COLUMNS,
            tuple(
                (
                    layer.name, layer.op, *layer.shape, str(layer.format.q), layer.macs, cycles,
                    layer.snr, layer.share,
                )
                for layer, cycles in zip(manifest.layers, taken, strict=True)
            ),
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Bundle {self.name!r}: {', '.join(self._facts())}; in {self.path}>"

    def _facts(self) -> list[str]:
        manifest, core = self._manifest, self.core
        facts = [
            f"{manifest.parameters:,} parameters",
            f"{len(manifest.layers)} layers",
            f"{core.lanes} lanes x {core.taps} taps",
            f"{self.cycles:,} cycles",
        ]
        judged = self.judgement
        if judged is not None and judged.accuracy is not None:
            facts.append(f"accuracy {100 * judged.accuracy:.2f} %")
            if judged.float_accuracy is not None:
                facts[-1] += f" (float {100 * judged.float_accuracy:.2f} %)"
        elif judged is not None and judged.snr is not None:
            facts.append(f"{judged.snr:.1f} dB against float")
        return facts

    def _repr_html_(self) -> str:
        table = self._layers()
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f"<p><b>{escape(self.name)}</b>: {escape(', '.join(self._facts()))}</p>"
            + html_table(table.columns, table.rows)
            + (f"<ul>{notes}</ul>" if notes else "")
        )

    # --- what it computes --------------------------------------------------------------------

    @overload
    def predict(
        self, x: Any, *, integers: Literal[False] = False, progress: Progress = None
    ) -> NDArray[np.float64] | dict[str, NDArray[np.float64]]: ...

    @overload
    def predict(
        self, x: Any, *, integers: Literal[True], progress: Progress = None
    ) -> NDArray[np.int64] | dict[str, NDArray[np.int64]]: ...

    def predict(
        self, x: Any, *, integers: bool = False, progress: Progress = None
    ) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """What the core answers, by the integer model: bit for bit what the FPGA sends.

        Args:
            x: [N, *input_shape], real numbers as at the float network's input.
            integers: the integers that leave the core instead of what they stand for.

        Returns:
            [N, *output_shape], float64 or int64; of several outputs such an array for each name.

        Raises:
            InputError: another shape, or no numbers.
        """
        results = self._results(self._samples(x), progress)
        found = {one.name: one.integers if integers else one.real for one in results}
        return found if self.outputs else found[""]

    def _results(self, read: Inputs, progress: Progress) -> list[Output]:
        frames = frames_of(read.x, self._manifest)
        with reporting(progress) as report:
            done = self._machine.run(frames, progress=lambda n: report("golden", n, len(frames)))
        return outputs_from_beats(done.beats, self._machine)

    def accuracy(self, x: Any, y: Any = None, *, progress: Progress = None) -> float:
        """Share of samples whose class is the label, 0..1.

        Args:
            y: labels [N]; those of one of several outputs by its name, {"kind": y}.

        Raises:
            InputError: no labels, or some that are no classes of the network.
        """
        read = self._samples(x, y)
        if read.y is None:
            raise InputError(f"{read.path}: y is missing: accuracy needs labels, y=[N]")
        output = self._results(read, progress)[read.y_of]
        found = labelled_accuracy(output.real, read.y, output.signed)
        if found is None:
            raise InputError(f"{read.path}: y holds other classes than 0 and 1 of a single output")
        return found

    def simulate(
        self,
        x: Any,
        *,
        simulator: Simulator = "verilator",
        fast: bool = False,
        jobs: int | None = None,
        seed: int | None = None,
        progress: Progress = None,
    ) -> "SimResult | FastResult":
        """Run every sample through the HDL and compare each element of each layer with golden.

        Args:
            x: [N, *input_shape]; a simulated sample takes from a tenth of a second to minutes.
            fast: whole test sets: Verilator in C++, without gaps; only the output is compared.
            jobs: with ``fast``: processes.
            seed: of random gaps and backpressure.

        Returns:
            ``.equal``, ``.comparison`` with the layers and the first difference, ``.predicted``.

        Raises:
            ToolError: the simulator is missing (extra ``sim``), or it fails.
        """
        from bramcast.sim.run.cosim import simulate
        from bramcast.sim.run.fast import simulate_fast
        from bramcast.sim.run.runner import SIMULATORS

        if simulator not in SIMULATORS:
            raise InputError(f"unknown simulator {simulator!r}: choose {' or '.join(SIMULATORS)}")
        if fast and (simulator != "verilator" or seed is not None):
            raise InputError("fast=True has neither another simulator nor a seed")
        if jobs is not None and not fast:
            raise InputError("jobs belongs to fast=True")
        real = self._samples(x).x
        with reporting(progress) as report:
            if fast:
                return simulate_fast(self.path, real, jobs=jobs, report=report)
            return simulate(self.path, real, simulator, seed=seed, report=report)

    # --- beside another one ------------------------------------------------------------------

    def regress(
        self,
        new: "Bundle | Module",
        x: Any = None,
        y: Any = None,
        *,
        recipe: Recipe | str | os.PathLike[str] | None = None,
        limits: Mapping[str, Any] | None = None,
        keep: str | os.PathLike[str] | None = None,
        sim: int = 0,
        simulator: Simulator = "verilator",
        progress: Progress = None,
    ) -> "Outcome":
        """Is a retrained network a drop-in for this one? What ``bramcast regress`` says.

        Args:
            new: a bundle; or the retrained network: an nn.Module, or a checkpoint's path.
            x, y: samples and labels that judge; those of the packing where they are known.
            recipe: by which a network is packed, and whose limits hold; this one's if not given.
            limits: keys of [regress] and their values: {"max_accuracy_loss": 1.0}.
            keep: folder for the new bundle; it is not kept otherwise.
            sim: so many samples go through the HDL, too.

        Returns:
            ``.verdict``, ``.passed``, ``.reasons``, ``.regression``, and ``.copy``: files to swap.

        Raises:
            UserError: whatever is wrong; RefereeError where these samples can't judge.
        """
        from bramcast.sim.regress.candidates import Task, judge

        if isinstance(recipe, (str, os.PathLike)):
            recipe = read_recipe(Path(recipe))
        by = recipe or self._recipe or self._like_this()
        calibration = self._calibration if recipe is None else None
        judges = self._judges(x, y)
        wanted = {f"regress.{key}": value for key, value in (limits or {}).items()}
        source, place = None, Path("network")
        if isinstance(new, Bundle):
            place = new.path
        elif isinstance(new, (str, os.PathLike)):
            place = Path(new)
            if not place.is_dir() and by.model.complaint() is not None:
                raise InputError(
                    f"{place}: of a checkpoint the network must be known: give recipe=, or the "
                    "network itself with the new weights"
                )
        else:
            calibration = calibration or judges
            source = given(new, calibration).source
            assert source is not None
            place = Path(source.label)
        section = given(by, judges, settings=wanted).recipe.regress
        task = Task(
            self.path, place, judges, section, by, None if keep is None else Path(keep), sim,
            simulator, source=source, calibration=calibration,
        )  # fmt: skip
        with reporting(progress) as report, at_rest(source):
            return judge(task, report)

    def _like_this(self) -> Recipe:
        """A recipe for this bundle's core, for 8-bit weights: nothing else is known here."""
        core = self.core
        return Recipe(
            ModelSection(inputs=str(ARRAYS), name=self.name),
            QuantizeSection(activation_bits=core.data_bits),  # type: ignore[arg-type]
            CoreSection(lanes=core.lanes, taps=core.taps, rq=core.rq),  # type: ignore[arg-type]
        )

    def _judges(self, x: Any, y: Any) -> Inputs:
        if x is None:
            if self._calibration is None:
                raise InputError(f"{self.path}: x is missing: give samples to judge by, and labels")
            return self._calibration
        return self._samples(x, y)

    # --- about it ----------------------------------------------------------------------------

    def report(
        self,
        x: Any = None,
        y: Any = None,
        *,
        sim: int = 0,
        simulator: Simulator = "verilator",
        against: "Bundle | str | os.PathLike[str] | None" = None,
        progress: Progress = None,
    ) -> Page:
        """The page of ``bramcast report``: shown in a notebook, written by its ``save(path)``.

        Args:
            x, y: samples for the results' distributions, and labels.
            sim: so many samples go through the HDL.
            against: an older bundle: adds the regression.

        Raises:
            ToolError: matplotlib or Jinja2 is missing (extra ``report``).
        """
        from bramcast.sim.regress.regress import regress
        from bramcast.sim.report.report import pictures, report_html
        from bramcast.sim.run.cosim import simulate

        pictures()  # what is missing is said at once
        read = None if x is None else self._samples(x, y)
        if read is None and (sim or against is not None):
            raise InputError("x is missing: sim and against need samples")
        simulated = compared = None
        with reporting(progress) as tell:
            if read is not None and sim:
                simulated = simulate(self.path, read.x[:sim], simulator, report=tell)
            if read is not None and against is not None:
                old = against.path if isinstance(against, Bundle) else Path(against)
                compared = regress(old, self.path, read, RegressSection(), report=tell)
            return Page(report_html(self.path, read, simulated, compared, False, tell))

    def memory(self, device: str = "7series") -> "DeviceFit":
        """The block RAMs that the core takes in a part or a family, as ``bramcast memory`` has it.

        Returns:
            ``.fits``, ``.units`` and ``.memories``, each with its fill and what is wasted.

        Raises:
            InputError: a part that is not known.
        """
        from bramcast.pack.device.devices import find_part
        from bramcast.pack.device.memory import place_bundle

        part = find_part(device)
        return place_bundle(self._manifest, self._machine.program, part, part.family)

    def save(self, folder: str | os.PathLike[str]) -> "Bundle":
        """Copy it to a folder, whole or not at all; an older bundle there is replaced.

        Raises:
            InputError: the folder holds something else, or can't be written.
        """
        target = Path(folder)
        if target.exists() and target.samefile(self.path):
            return self

        def fill(fresh: Path) -> None:
            for file in self.path.iterdir():
                shutil.copyfile(file, fresh / file.name)

        replace_folder(target, fill)
        return Bundle(
            target, load(target), notes=self.notes, recipe=self._recipe,
            calibration=self._calibration,
        )  # fmt: skip

    def _samples(self, x: Any, y: Any = None) -> Inputs:
        """Samples that the network takes.

        Raises:
            InputError: they are of another shape; a single one lacks its batch axis.
        """
        several = [frame.name for frame in self._manifest.inputs if frame.name]
        if several and not isinstance(x, Mapping):
            raise InputError(
                f"{self.name!r} has several inputs: give a dictionary with {', '.join(several)}"
            )
        if several:
            x = as_samples(x, self._manifest)
        read = samples(x, y)
        if several and read is not None:
            return read
        if read is None:
            raise InputError("x is missing: give samples, x=[N, ...]")
        if read.x.shape[1:] == self.input_shape:
            return read.of_outputs(self.outputs)
        hint = "; a single sample needs a batch axis: x[None]" * (read.x.shape == self.input_shape)
        expected = ", ".join(map(str, ("N", *self.input_shape)))
        raise InputError(
            f"{read.path}: x has shape {read.x.shape}, {self.name!r} takes [{expected}]{hint}"
        )
