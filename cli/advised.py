# SPDX-License-Identifier: Apache-2.0
"""bramcast pack --advise: what each remedy gives, as a table."""

from pathlib import Path
from typing import TYPE_CHECKING

from bramcast.api.bars import Report
from bramcast.cli.output import percent, say, table
from bramcast.golden.frames import output_order
from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict

if TYPE_CHECKING:  # they need torch
    from bramcast.pack.pipeline import Packed
    from bramcast.pack.train.advise import Trial


def tried(packed: "Packed", bundle: Path, report: Report) -> "list[Trial]":
    """The recipe as it is, then with each remedy."""
    from bramcast.pack.train.advise import advise, measured

    def cycles(folder: Path) -> int:
        machine = load(folder)
        output_order(machine)
        return predict(machine.program, machine.core).total

    as_it_is = measured("", packed.manifest, cycles(bundle))
    return [as_it_is, *advise(packed, cycles, report)]


def print_trials(trials: "list[Trial]") -> None:
    """The table, and why what has no line in it can't be packed."""
    rows, names = [], ("program", "weights", "bias", "table", "scratch")
    for trial in trials:
        judgement, words = trial.judgement, trial.words
        if judgement is None or words is None:
            continue
        snr = judgement.snr
        rows.append(
            (
                trial.line or "as it is",
                "-" if snr is None else f"{snr:.1f} dB",
                percent(judgement.agreement),
                percent(judgement.accuracy),
                trial.cycles,
                *(words.get(name, 0) for name in names),
                trial.scratch_bits,
            )
        )
    say("")
    columns = (
        "recipe", "output", "same class", "accuracy", "cycles", *names, "bits of a scratch word",
    )  # fmt: skip
    table("", columns, rows, ("output", "same class", "accuracy"))
    for trial in trials:
        if trial.problem:
            say(f"{trial.line}: {trial.problem}")
    if len(trials) == 1:
        say("no remedy is left to try")
