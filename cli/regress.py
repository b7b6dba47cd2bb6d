# SPDX-License-Identifier: Apache-2.0
"""bramcast regress: is a retrained network a drop-in?"""

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from bramcast.cli.options import AllowModified, InputsFile, ItsSimulator, Json
from bramcast.cli.output import give_stdout, percent, progress, say, say_json, table, telling
from bramcast.cli.samples import read_samples
from bramcast.pack.bundle.errors import InputError, ToolError
from bramcast.pack.bundle.folder import replace_bytes
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.pack.bundle.time_steps import title
from bramcast.pack.recipe.recipe import RegressSection, read_recipe
from bramcast.pack.samples.inputs import Inputs, read_inputs
from bramcast.sim.regress.candidates import Outcome, Task, executor, judge, judge_all
from bramcast.sim.regress.regress import LayerRow, Regression, Report
from bramcast.sim.run.runner import SIMULATORS

SIM_SAMPLES = 2


def command(
    old: Annotated[Path, typer.Argument(help="Bundle that is in use.")],
    new: Annotated[
        list[Path],
        typer.Argument(help="Bundle or checkpoint of the retrained network; several are ranked."),
    ],
    inputs: InputsFile,
    points: Annotated[
        float | None, typer.Option("--points", min=0, help="Points of accuracy it may lose.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", help="Its limits (regress.*) hold; checkpoints are packed by it."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Folder for the bundles of checkpoints.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help='Only a drop-in passes, as with accept = "drop-in".')
    ] = False,
    sim: Annotated[
        bool, typer.Option("--sim", help="Run the new network on the HDL against golden, too.")
    ] = False,
    simulator: ItsSimulator = "verilator",
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Candidates side by side; 1 if not given.")
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option("--dask", help="Dask scheduler to send candidates to; local starts one."),
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write Markdown.")] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write a page: both bundles side by side, with pictures."),
    ] = None,
    allow_modified: AllowModified = False,
    json: Json = False,
) -> int:
    """Compare a retrained network with that in use: accuracy, formats, layout, changed words."""
    give_stdout([junit, markdown, html], json)
    with (
        telling(partial(_no_verdict, junit, markdown, html)),
        _places(html, keep, new) as places,
    ):
        if simulator not in SIMULATORS:
            raise InputError(f"unknown simulator {simulator!r}: choose {' or '.join(SIMULATORS)}")
        _names_apart(new, keep)
        limits = RegressSection() if recipe is None else read_recipe(recipe).regress
        if points is not None:
            limits = replace(limits, max_accuracy_loss=points)
        if strict:
            limits = replace(limits, accept="drop-in")
        read_samples(inputs, old)  # what is wrong with them is said once, before packing
        _same_frame(old, new)
        tasks = [
            Task(
                old, one, inputs, limits, recipe, place, SIM_SAMPLES if sim else 0, simulator,
                allow_modified,
            )
            for one, place in zip(new, places, strict=True)
        ]  # fmt: skip
        with progress(json) as report:
            if len(tasks) == 1 and dask is None:
                outcomes = [judge(tasks[0], report)]
            else:
                with executor(jobs or 1, dask) as pool:
                    outcomes = judge_all(tasks, pool, report)
            if html is not None:
                _write_html(html, old, outcomes, read_inputs(inputs), allow_modified, report)
        if keep is None:
            outcomes = [o if o.new.is_dir() else replace(o, bundle=None) for o in outcomes]
    if junit is not None or markdown is not None:
        from bramcast.sim.regress.ci_reports import write_junit, write_markdown

        if junit is not None:
            write_junit(junit, outcomes)
        if markdown is not None:
            write_markdown(markdown, outcomes)
    if json:
        say_json(
            _one(outcomes[0]) if len(outcomes) == 1 else {"ranking": [_one(o) for o in outcomes]}
        )
    elif len(outcomes) == 1:
        _print(outcomes[0])
    else:
        _print_ranking(outcomes)
    return 0 if any(outcome.passed for outcome in outcomes) else 1


@contextmanager
def _places(html: Path | None, keep: Path | None, new: list[Path]) -> Iterator[list[Path | None]]:
    """Folders for each candidate's bundle: for a page it is kept at least until that is drawn."""
    if html is None or keep is not None:
        yield [keep] * len(new)
        return
    from bramcast.sim.report.report import pictures

    pictures()  # what is missing is said at once
    with TemporaryDirectory(prefix="bramcast-") as folder:
        yield [Path(folder, str(number)) for number in range(len(new))]


def _write_html(
    html: Path,
    old: Path,
    outcomes: list[Outcome],
    inputs: Inputs,
    allow_modified: bool,
    report: Report,
) -> None:
    from bramcast.sim.report.side_by_side import regression_html

    page = regression_html(old, outcomes, inputs, allow_modified, report)
    replace_bytes(html, page.encode())


def _no_verdict(junit: Path | None, markdown: Path | None, html: Path | None, message: str) -> None:
    if html is not None:
        from bramcast.sim.report.side_by_side import no_verdict_html

        with suppress(ToolError):  # it is what went wrong
            replace_bytes(html, no_verdict_html(message).encode())
    if junit is not None or markdown is not None:
        from bramcast.sim.regress.ci_reports import write_error

        write_error(junit, markdown, message)


def _names_apart(new: list[Path], keep: Path | None) -> None:
    """Refuse checkpoints whose bundles would be kept in one folder."""
    stems = [one.stem for one in new if not one.is_dir()]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if keep is not None and twice is not None:
        raise InputError(f"--keep {keep}: two checkpoints would be kept as {keep / twice}: rename")


def _same_frame(old: Path, new: list[Path]) -> None:
    """Refuse bundles of networks whose samples have another shape."""
    shape = read_manifest(old).input.shape
    for one in new:
        if one.is_dir() and (other := read_manifest(one).input.shape) != shape:
            raise InputError(
                f"{one}: takes samples of shape {tuple(other)}, {old} of {tuple(shape)}: it is no "
                "retraining of the same network"
            )


def _one(outcome: Outcome) -> dict[str, object]:
    found: dict[str, object] = {
        "candidate": str(outcome.new),
        "verdict": outcome.verdict,
        "reasons": outcome.reasons,
        "bundle": None if outcome.bundle is None else str(outcome.bundle),
    }
    result = outcome.regression
    if result is None:
        return found
    return found | {
        "accuracy_old": result.accuracy_old,
        "accuracy_new": result.accuracy_new,
        "error_old": result.error_old,
        "error_new": result.error_new,
        "agreement": result.agreement,
        "interval": result.interval,
        "p_value": result.p_value,
        "samples_needed": result.samples_needed,
        "checks": [{**asdict(check), "state": check.state} for check in result.checks],
        "classes": [asdict(score) for score in result.classes],
        "layers": [asdict(row) for row in result.layers],
        "images": [asdict(image) for image in result.images],
        "changed_words": {image.name: image.changed for image in result.images},
        "moved_formats": [
            {"layer": row.name, "old": row.old_format, "new": row.new_format}
            for row in result.moved
        ],
        "copy": [str(path) for path in outcome.copy],
        "patch": _patch_line(outcome),
    }


def _print(outcome: Outcome) -> None:
    result = outcome.regression
    if result is not None:
        _print_tables(result)
    say(f"{outcome.verdict}: {outcome.reasons[0]}")
    for reason in outcome.reasons[1:]:
        say(f"  {reason}")
    if outcome.bundle not in (None, outcome.new):
        say(f"kept in {outcome.bundle}")
    elif outcome.bundle is None and outcome.passed:
        say("its images are not kept: --keep FOLDER writes them and names the files to copy")
    for path in outcome.copy:
        say(f"copy: {path}")
    if line := _patch_line(outcome):
        say(f"or, into a finished bitstream: {line}")


def _patch_line(outcome: Outcome) -> str | None:
    """The command that puts a drop-in into a bitstream; None: it is none, or was not kept."""
    if outcome.verdict != "drop-in" or outcome.bundle is None:
        return None
    return shlex.join(["bramcast", "patch", "BITSTREAM", str(outcome.bundle), "-o", "NEW"])


def _print_tables(result: Regression) -> None:
    checks = [(c.name, c.old, c.new, c.limit, c.state) for c in result.checks]
    table("", ("check", "old", "new", "limit", ""), checks, ("old", "new", "limit"))
    say("")
    rows = []
    groups: dict[int, list[LayerRow]] = {}
    for row in result.layers:
        groups.setdefault(row.group, []).append(row)
    for same in groups.values():  # of a layer's time steps the worst figures
        moved = any(row.old_format not in (row.new_format, "-") for row in same)
        rows.append(
            (
                title(same[0].name, len(same)), same[0].old_format,
                f"{same[0].new_format}{' *' if moved else ''}",
                _number(_least(row.old_snr for row in same)),
                _number(_least(row.new_snr for row in same)),
                percent(_least(row.like for row in same)),
                percent(max(row.saturated for row in same)),
                _number(min(row.headroom for row in same)),
            )
        )  # fmt: skip
    columns = (
        "layer", "old format", "new format", "SNR old dB", "new dB", "like old", "saturated",
        "headroom bits",
    )  # fmt: skip
    table("", columns, rows, columns[3:])
    say("")
    images = [(i.name, i.lines, i.changed) for i in result.images]
    table("", ("image", "lines", "changed"), images)
    say("")


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _print_ranking(outcomes: list[Outcome]) -> None:
    rows = []
    for rank, outcome in enumerate(outcomes, 1):
        result = outcome.regression
        right = None if result is None else result.accuracy_new
        alike = None if result is None else result.agreement
        rows.append((rank, str(outcome.new), outcome.verdict, percent(right), percent(alike)))
    columns = ("rank", "candidate", "verdict", "accuracy", "class as old")
    table("", columns, rows, columns[3:])
    for outcome in outcomes:
        if outcome.verdict != "drop-in":
            say(f"{outcome.new}: {outcome.reasons[0]}")
        if outcome.bundle not in (None, outcome.new):
            say(f"{outcome.new}: kept in {outcome.bundle}")
