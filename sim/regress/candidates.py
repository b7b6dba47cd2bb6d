# SPDX-License-Identifier: Apache-2.0
"""Several retrained networks against the one in use: packed where needed, judged, ranked."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from bramcast.pack.bundle.errors import (
    CheckpointError,
    InputError,
    ProgramError,
    RangeError,
    ToolError,
    UnsupportedLayer,
    UserError,
)
from bramcast.pack.bundle.folder import replace_folder
from bramcast.pack.bundle.manifest import MANIFEST_NAME, Manifest, read_manifest
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.recipe.recipe import LayerSection, Recipe, RegressSection, read_recipe
from bramcast.pack.samples.inputs import Inputs, read_inputs
from bramcast.sim.regress.regress import DEPTHS, VERDICTS, Regression, regress
from bramcast.sim.run.cosim import simulate

if TYPE_CHECKING:  # it needs torch
    from bramcast.pack.read.network import LoadedNetwork

Report = Callable[[str, int, int], None]
# What is wrong with a retrained network itself, and no mistake in how it is called.
REFUSED = (CheckpointError, RangeError, UnsupportedLayer, ProgramError)

OLD_FORMATS = "packed with the old bundle's formats and depths"


@dataclass(frozen=True, slots=True)
class Task:
    """One comparison, complete in itself so that another process can do it.

    Attributes:
        new: a bundle folder, or a checkpoint that is packed by ``recipe``; what ``source`` is
            called, where that is given.
        inputs: samples, or a recipe or file that names them.
        recipe: or its path.
        keep: folder for the bundles that are packed; None: they are removed afterwards.
        sim: samples to run on the HDL with ``simulator``; 0 for none.
        source: a program's own network instead of a checkpoint.
        calibration: samples to pack with, instead of those that the recipe names.
    """

    old: Path
    new: Path
    inputs: Path | Inputs
    limits: RegressSection
    recipe: Path | Recipe | None = None
    keep: Path | None = None
    sim: int = 0
    simulator: str = "verilator"
    allow_modified: bool = False
    source: "LoadedNetwork | None" = None
    calibration: Inputs | None = None


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where a candidate's time went; ``compare`` is golden on both bundles and the comparison."""

    pack: float = 0.0
    compare: float = 0.0
    hdl: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A candidate's result: the comparison, or why it could not be packed.

    Attributes:
        bundle: its images, given or kept; None where they are gone.
    """

    new: Path
    regression: Regression | None
    refused: str = ""
    bundle: Path | None = None
    seconds: Seconds = Seconds()

    @property
    def passed(self) -> bool:
        return self.regression is not None and self.regression.passed

    @property
    def verdict(self) -> str:
        return "refused" if self.regression is None else self.regression.verdict

    @property
    def reasons(self) -> list[str]:
        return [self.refused] if self.regression is None else self.regression.reasons

    @property
    def copy(self) -> list[Path]:
        """Paths of the files that replace the old bundle's; none where they are gone."""
        if self.bundle is None or not self.passed or self.regression is None:
            return []
        return [self.bundle / name for name in self.regression.copy]


@dataclass(slots=True)
class _Clock:
    """Adds up where the time goes."""

    seconds: Seconds = Seconds()

    @contextmanager
    def spent(self, what: str) -> Iterator[None]:
        """Counts the block's time as that of ``what``, and not of the block around it."""
        start, before = perf_counter(), self.seconds
        try:
            yield
        finally:
            inside = sum(astuple(self.seconds)) - sum(astuple(before))
            mine = getattr(self.seconds, what) + perf_counter() - start - inside
            self.seconds = replace(self.seconds, **{what: mine})


def judge(task: Task, report: Report = lambda what, done, of: None) -> Outcome:
    """Pack the candidate if it is a checkpoint, compare it, and tell how long both took.

    A checkpoint is first packed with the formats and depths of the old bundle, and that counts if
    it is a drop-in. Else it is calibrated anew, and the better verdict counts, that one in a tie.

    Raises:
        UserError: whatever is wrong with the old bundle, the recipe, the inputs or the tools.
    """
    clock = _Clock()
    outcome = _judged(task, report, clock)
    return replace(outcome, seconds=clock.seconds)


def _judged(task: Task, report: Report, clock: _Clock) -> Outcome:
    if task.source is None and not task.new.exists():
        raise InputError(f"{task.new}: no such bundle or checkpoint")
    manifest = read_manifest(task.old)
    names = [frame.name for frame in manifest.inputs] if manifest.more_inputs else []
    inputs = task.inputs if isinstance(task.inputs, Inputs) else read_inputs(task.inputs, names)

    def on_hdl(bundle: Path) -> str:
        with clock.spent("hdl"):
            result = simulate(
                bundle,
                inputs.x[: task.sim],
                task.simulator,
                allow_modified=task.allow_modified,
                report=report,
            )
        first = result.comparison.first
        return "" if result.equal else f"the HDL differs from golden: {first}"

    def compared(new: Path) -> Regression:
        hdl = on_hdl if task.sim else None
        with clock.spent("compare"):
            return regress(task.old, new, inputs, task.limits, task.allow_modified, hdl, report)

    if task.source is None and task.new.is_dir():
        if not (task.new / MANIFEST_NAME).is_file():
            raise InputError(f"{task.new}: holds no {MANIFEST_NAME}; give a bundle or a checkpoint")
        return Outcome(task.new, compared(task.new), bundle=task.new)
    if task.recipe is None:
        raise InputError(
            f"{task.new}: is no bundle; to pack a checkpoint give the recipe with --recipe"
        )
    recipe = read_recipe(task.recipe) if isinstance(task.recipe, Path) else task.recipe
    if task.source is None:
        recipe = with_checkpoint(recipe, task.new)

    def packed(recipe: Recipe, target: Path) -> Path | str:
        with clock.spent("pack"):
            made = _packed(recipe, target, report, task.source, task.calibration)
        # Of the folder, which is removed, nobody needs to know.
        return made.replace(f"{target}/", f"{task.new}: ") if isinstance(made, str) else made

    with _folder(task.keep) as folder:
        target = folder / task.new.stem
        bundle = target if task.keep is not None else None
        with tempfile.TemporaryDirectory(prefix=".bramcast-", dir=folder) as other:
            like_old, fresh = Path(other) / "old", Path(other) / "fresh"
            kept = _with_old_formats(task.old, recipe, like_old, packed, compared)
            if kept is not None and kept.verdict == "drop-in":
                return _kept(task.new, kept, OLD_FORMATS, like_old, target, bundle)
            made = packed(recipe, fresh)
            if isinstance(made, str):
                return Outcome(task.new, None, made)
            anew = compared(fresh)
            if kept is not None and _rank(kept) < _rank(anew):
                return _kept(task.new, kept, OLD_FORMATS, like_old, target, bundle)
            note = ""
            if kept is not None:
                right = kept.accuracy_new
                accuracy = "" if right is None else f" ({100 * right:.2f} %)"
                note = (
                    "calibrated anew: with the old bundle's formats and depths it is "
                    f"{kept.verdict}{accuracy}"
                )
            return _kept(task.new, anew, note, fresh, target, bundle)


def _kept(
    new: Path, regression: Regression, note: str, made: Path, target: Path, bundle: Path | None
) -> Outcome:
    """The outcome with a note, its bundle moved to where it is kept."""
    replace_folder(target, lambda folder: _copy(made, folder))
    reasons = [*regression.reasons, note] if note else regression.reasons
    return Outcome(new, replace(regression, reasons=reasons), bundle=bundle)


def _rank(regression: Regression) -> int:
    return VERDICTS.index(regression.verdict)


def _with_old_formats(
    old: Path,
    recipe: Recipe,
    target: Path,
    packed: Callable[[Recipe, Path], Path | str],
    compared: Callable[[Path], Regression],
) -> Regression | None:
    """The comparison of a bundle with the old one's formats; None if it can't have them."""
    try:
        made = packed(with_formats(recipe, read_manifest(old)), target)
    except UserError:  # formats that the new network can't have, or layers that it does not have
        return None
    return None if isinstance(made, str) else compared(target)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where bundles are packed: a given folder, or one that is removed afterwards."""
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{keep}: can't be written: {error.strerror}") from None
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="bramcast-") as folder:
        yield Path(folder)


def _copy(source: Path, target: Path) -> None:
    for file in source.iterdir():
        shutil.copy(file, target / file.name)


def _packed(
    recipe: Recipe,
    target: Path,
    report: Report,
    source: "LoadedNetwork | None",
    inputs: Inputs | None,
) -> Path | str:
    """The bundle, or why the network can't be packed."""
    with torch_needed("packing"):
        from bramcast.pack.pipeline import pack
    try:
        pack(recipe, target, report, source=source, inputs=inputs)
    except REFUSED as error:
        return str(error)
    return target


def with_formats(recipe: Recipe, manifest: Manifest) -> Recipe:
    """The recipe with a bundle's formats by hand, and with its core's depths."""
    frame, core = manifest.input, manifest.core
    # Of several inputs the one with the coarsest format is sent as it is.
    fracs = [one.format.frac for one in manifest.inputs]
    fmt = replace(frame.format.q, frac=min(fracs))
    levels = tuple(frac - min(fracs) for frac in fracs) if manifest.more_inputs else None
    layers = dict(recipe.quantize.layers)
    for layer in manifest.layers:
        if layer.format.bits == frame.format.bits:  # not the last one at full width
            given = layers.get(layer.name, LayerSection())
            # Copies of an input's features for a recurrent cell: as many as there were.
            spread = layer.op == "scale" and layer.reads == [-1] and layer.name.endswith(".input")
            copies = layer.shape[2] if spread else given.copies
            layers[layer.name] = replace(given, output=str(layer.format.q), copies=copies)
    for last in manifest.output_layers:
        read = {manifest.layers[i].format.frac if i >= 0 else fmt.frac for i in last.reads}
        if last.name not in layers and last.macs and len(read) == 1:
            # Its results' LSB is that of its weights times that of what it reads.
            layers[last.name] = LayerSection(weight_frac=last.format.frac - read.pop())
    quantize = replace(
        recipe.quantize,
        input=str(fmt),
        input_planes=1 if frame.planes == 1 else 2,
        plane_shift=frame.plane_shift if frame.planes > 1 else None,
        input_exponents=levels or tuple(frame.exponents) or None,
        input_offsets=tuple(frame.offsets) or None,
        layers=layers,
    )
    depths = {name: getattr(core, name) for name in DEPTHS}
    built = replace(recipe.core, **depths, narrow=core.narrow, gates=core.gates)
    return replace(recipe, quantize=quantize, core=built)


def with_checkpoint(recipe: Recipe, checkpoint: Path) -> Recipe:
    """The recipe with another file in place of its weights.

    >>> from bramcast.pack.recipe.recipe import ModelSection
    >>> recipe = Recipe(ModelSection("x.npz", onnx="old.onnx"), path=Path("a/recipe.toml"))
    >>> with_checkpoint(recipe, Path("a/new.onnx")).model.onnx
    'new.onnx'
    """
    relative = os.path.relpath(checkpoint, recipe.path.parent)
    model = recipe.model
    if model.onnx is not None:
        return replace(recipe, model=replace(model, onnx=relative))
    if model.exported is not None:
        return replace(recipe, model=replace(model, exported=relative))
    return replace(recipe, model=replace(model, checkpoint=relative))


# --- many --------------------------------------------------------------------------------------


def judge_all(tasks: Sequence[Task], executor: Executor, report: Report) -> list[Outcome]:
    """Judge candidates side by side; the best one first.

    Raises:
        UserError: as ``judge``, from whichever candidate says it first.
    """
    futures: list[Future[Outcome]] = [executor.submit(judge, task) for task in tasks]
    try:
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            report("candidates", done, len(tasks))
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return ranking([future.result() for future in futures])


def ranking(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that pass first, then the undecided; by accuracy (or small error), then by changes."""

    def key(outcome: Outcome) -> tuple[float, ...]:
        result = outcome.regression
        if result is None:
            return (3, 0, 0, 0)
        quality = result.accuracy_new
        if quality is None:
            quality = -result.error_new if result.error_new is not None else result.agreement
        rank = _rank(result)
        failed = max(0, rank - VERDICTS.index("resynthesize"))
        return (failed, -quality, rank, -result.agreement)

    return sorted(outcomes, key=key)


@contextmanager
def executor(jobs: int, dask: str | None) -> Iterator[Executor]:
    """Processes of this machine, or a Dask cluster.

    Args:
        dask: the scheduler's address, e.g. "tcp://10.0.0.1:8786"; "local" starts a cluster here.

    Raises:
        ToolError: Dask is missing, or its scheduler does not answer.
    """
    if dask is None:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            yield pool
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ToolError("--dask needs Dask: pip install '.[dask]' in bramcast's checkout") from None
    if dask == "local":
        with (
            LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client.get_executor()
        return
    try:
        client = Client(dask, timeout="10s")
    except (OSError, ValueError) as error:
        raise ToolError(f"--dask {dask}: {error}") from None
    with client:
        yield client.get_executor()
