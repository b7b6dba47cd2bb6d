# SPDX-License-Identifier: Apache-2.0
"""Several retrained networks against the one in use: packed where needed, judged, ranked."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from bramcast.pack.bundle import replace_folder
from bramcast.pack.errors import (
    CheckpointError,
    InputError,
    ProgramError,
    RangeError,
    ToolError,
    UnsupportedLayer,
    UserError,
)
from bramcast.pack.inputs import read_inputs
from bramcast.pack.manifest import MANIFEST_NAME, Manifest, read_manifest
from bramcast.pack.recipe import LayerSection, Recipe, RegressSection, read_recipe
from bramcast.sim.cosim import simulate
from bramcast.sim.regress import DEPTHS, VERDICTS, Regression, regress

Report = Callable[[str, int, int], None]
# What is wrong with a retrained network itself, and no mistake in how it is called.
REFUSED = (CheckpointError, RangeError, UnsupportedLayer, ProgramError)

OLD_FORMATS = "packed with the old bundle's formats and depths"


@dataclass(frozen=True, slots=True)
class Task:
    """One comparison, complete in itself so that another process can do it.

    Attributes:
        new: a bundle folder, or a checkpoint that is packed by ``recipe``.
        inputs: samples, or a recipe that names them.
        keep: folder for the bundles that are packed; None: they are removed afterwards.
        sim: samples to run on the HDL with ``simulator``; 0 for none.
    """

    old: Path
    new: Path
    inputs: Path
    limits: RegressSection
    recipe: Path | None = None
    keep: Path | None = None
    sim: int = 0
    simulator: str = "verilator"
    allow_modified: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A candidate's result: the comparison, or why it could not be packed."""

    new: Path
    regression: Regression | None
    refused: str = ""

    @property
    def passed(self) -> bool:
        return self.regression is not None and self.regression.passed

    @property
    def verdict(self) -> str:
        return "refused" if self.regression is None else self.regression.verdict

    @property
    def reasons(self) -> list[str]:
        return [self.refused] if self.regression is None else self.regression.reasons


def judge(task: Task, report: Report = lambda what, done, of: None) -> Outcome:
    """Pack the candidate if it is a checkpoint, and compare it.

    A checkpoint is first packed with the formats and depths of the old bundle, and that counts if
    it is a drop-in. Else it is calibrated anew, and the better verdict counts, that one in a tie.

    Raises:
        UserError: whatever is wrong with the old bundle, the recipe, the inputs or the tools.
    """
    if not task.new.exists():
        raise InputError(f"{task.new}: no such bundle or checkpoint")
    inputs = read_inputs(task.inputs)

    def on_hdl(bundle: Path) -> str:
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
        return regress(task.old, new, inputs, task.limits, task.allow_modified, hdl, report)

    if task.new.is_dir():
        if not (task.new / MANIFEST_NAME).is_file():
            raise InputError(f"{task.new}: holds no {MANIFEST_NAME}; give a bundle or a checkpoint")
        return Outcome(task.new, compared(task.new))
    if task.recipe is None:
        raise InputError(
            f"{task.new}: is no bundle; to pack a checkpoint give the recipe with --recipe"
        )
    recipe = with_checkpoint(read_recipe(task.recipe), task.new)
    with _folder(task.keep) as folder:
        target = folder / task.new.stem
        with tempfile.TemporaryDirectory(prefix=".bramcast-", dir=folder) as other:
            like_old, fresh = Path(other) / "old", Path(other) / "fresh"
            kept = _with_old_formats(task.old, recipe, like_old, report, compared)
            if kept is not None and kept.verdict == "drop-in":
                _keep(like_old, target)
                return Outcome(task.new, replace(kept, reasons=[*kept.reasons, OLD_FORMATS]))
            packed = _packed(recipe, fresh, report)
            if isinstance(packed, str):
                return Outcome(task.new, None, packed)
            anew = compared(fresh)
            if kept is not None and _rank(kept) < _rank(anew):
                _keep(like_old, target)
                return Outcome(task.new, replace(kept, reasons=[*kept.reasons, OLD_FORMATS]))
            _keep(fresh, target)
    if kept is None:
        return Outcome(task.new, anew)
    accuracy = "" if kept.accuracy_new is None else f" ({100 * kept.accuracy_new:.2f} %)"
    note = (
        f"calibrated anew: with the old bundle's formats and depths it is {kept.verdict}{accuracy}"
    )
    return Outcome(task.new, replace(anew, reasons=[*anew.reasons, note]))


def _rank(regression: Regression) -> int:
    return VERDICTS.index(regression.verdict)


def _keep(bundle: Path, target: Path) -> None:
    replace_folder(target, lambda folder: _copy(bundle, folder))


def _with_old_formats(
    old: Path,
    recipe: Recipe,
    target: Path,
    report: Report,
    compared: Callable[[Path], Regression],
) -> Regression | None:
    """The comparison of a bundle with the old one's formats; None if it can't have them."""
    try:
        packed = _packed(with_formats(recipe, read_manifest(old)), target, report)
    except UserError:  # formats that the new network can't have, or layers that it does not have
        return None
    return None if isinstance(packed, str) else compared(target)


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


def _packed(recipe: Recipe, target: Path, report: Report) -> Path | str:
    """The bundle, or why the network can't be packed."""
    try:
        from bramcast.pack.pipeline import pack
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolError(
            "packing needs PyTorch: pip install '.[torch]' in bramcast's checkout"
        ) from None
    try:
        pack(recipe, target, report)
    except REFUSED as error:
        return str(error)
    return target


def with_formats(recipe: Recipe, manifest: Manifest) -> Recipe:
    """The recipe with a bundle's formats by hand, and with its core's depths."""
    frame, core = manifest.input, manifest.core
    layers = dict(recipe.quantize.layers)
    for layer in manifest.layers:
        if layer.format.bits == frame.format.bits:  # not the last one at full width
            given = layers.get(layer.name, LayerSection())
            # Copies of an input's features for a recurrent cell: as many as there were.
            spread = layer.op == "scale" and layer.reads == [-1] and layer.name.endswith(".input")
            copies = layer.shape[2] if spread else given.copies
            layers[layer.name] = replace(given, output=str(layer.format.q), copies=copies)
    last = manifest.layers[-1]
    read = {manifest.layers[i].format.frac if i >= 0 else frame.format.frac for i in last.reads}
    if last.name not in layers and last.macs and len(read) == 1:
        # Its results' LSB is that of its weights times that of what it reads.
        layers[last.name] = LayerSection(weight_frac=last.format.frac - read.pop())
    quantize = replace(
        recipe.quantize,
        input=str(frame.format.q),
        input_planes=1 if frame.planes == 1 else 2,
        plane_shift=frame.plane_shift if frame.planes > 1 else None,
        input_exponents=tuple(frame.exponents) or None,
        input_offsets=tuple(frame.offsets) or None,
        layers=layers,
    )
    depths = {name: getattr(core, name) for name in DEPTHS}
    built = replace(recipe.core, **depths, narrow=core.narrow, gates=core.gates)
    return replace(recipe, quantize=quantize, core=built)


def with_checkpoint(recipe: Recipe, checkpoint: Path) -> Recipe:
    """The recipe with another file in place of its weights.

    >>> from bramcast.pack.recipe import ModelSection
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
