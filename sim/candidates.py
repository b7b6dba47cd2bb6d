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

from bramcast.pack.errors import (
    CheckpointError,
    InputError,
    ProgramError,
    RangeError,
    ToolError,
    UnsupportedLayer,
)
from bramcast.pack.inputs import read_inputs
from bramcast.pack.manifest import MANIFEST_NAME
from bramcast.pack.recipe import Recipe, RegressSection, read_recipe
from bramcast.sim.cosim import simulate
from bramcast.sim.regress import VERDICTS, Regression, regress

Report = Callable[[str, int, int], None]
# What is wrong with a retrained network itself, and no mistake in how it is called.
REFUSED = (CheckpointError, RangeError, UnsupportedLayer, ProgramError)


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

    Raises:
        UserError: whatever is wrong with the old bundle, the recipe, the inputs or the tools.
    """
    if not task.new.exists():
        raise InputError(f"{task.new}: no such bundle or checkpoint")
    inputs = read_inputs(task.inputs)

    def on_hdl(bundle: Path) -> str:
        result = simulate(bundle, inputs.x[: task.sim], task.simulator, report=report)
        first = result.comparison.first
        return "" if result.equal else f"the HDL differs from golden: {first}"

    with _bundle(task, report) as new:
        if isinstance(new, str):
            return Outcome(task.new, None, new)
        result = regress(
            task.old,
            new,
            inputs,
            task.limits,
            task.allow_modified,
            on_hdl if task.sim else None,
            report,
        )
    return Outcome(task.new, result)


@contextmanager
def _bundle(task: Task, report: Report) -> Iterator[Path | str]:
    """The candidate's bundle, or why it can't be packed."""
    if task.new.is_dir():
        if not (task.new / MANIFEST_NAME).is_file():
            raise InputError(f"{task.new}: holds no {MANIFEST_NAME}; give a bundle or a checkpoint")
        yield task.new
        return
    if task.recipe is None:
        raise InputError(
            f"{task.new}: is no bundle; to pack a checkpoint give the recipe with --recipe"
        )
    recipe = with_checkpoint(read_recipe(task.recipe), task.new)
    folder = task.keep or Path(tempfile.mkdtemp(prefix="bramcast-"))
    try:
        yield _packed(recipe, folder / task.new.stem, report)
    finally:
        if task.keep is None:
            shutil.rmtree(folder)


def _packed(recipe: Recipe, target: Path, report: Report) -> Path | str:
    try:
        from bramcast.pack.pipeline import pack
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolError("packing needs PyTorch: pip install 'bramcast[torch]'") from None
    try:
        pack(recipe, target, report)
    except REFUSED as error:
        return str(error)
    return target


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
    """Those that pass first, by accuracy (or small error), then by how little must change."""

    def key(outcome: Outcome) -> tuple[float, ...]:
        result = outcome.regression
        if result is None:
            return (2, 0, 0, 0)
        quality = result.accuracy_new
        if quality is None:
            quality = -result.error_new if result.error_new is not None else result.agreement
        return (int(not result.passed), -quality, VERDICTS.index(result.verdict), -result.agreement)

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
        raise ToolError("--dask needs Dask: pip install 'bramcast[dask]'") from None
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
