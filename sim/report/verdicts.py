# SPDX-License-Identifier: Apache-2.0
"""What a report's head says: a word for each question, what was found, and the rule behind it."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.metrics import classes_of
from bramcast.golden.paired import share_interval
from bramcast.pack.bundle.delivered import verify_delivered
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.float_results import FloatResults
from bramcast.pack.bundle.judgement import (
    CHANCE,
    USUAL_AGREEMENT,
    USUAL_DB,
    USUAL_LOSS,
    broken_text,
    decibels,
    varying,
)
from bramcast.pack.bundle.manifest import Judgement, Manifest
from bramcast.pack.samples.inputs import Inputs
from bramcast.sim.regress.evaluate import Outputs
from bramcast.sim.regress.regress import Regression
from bramcast.sim.run.cosim import SimResult

State = Literal["good", "bad", "open"]

REGRESSION_RULES = {
    "drop-in": "same program, depths, input and output formats: swap the images",
    "repack": "fits the synthesized core, but the program or an input or output format changed",
    "resynthesize": "needs other core parameters or deeper memories",
    "undecided": "the samples can't tell whether a limit is kept",
    "worse": "a limit is broken, and not by chance",
    "refused": "the checkpoint can't be packed",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line at the head of the page.

    Attributes:
        word: the verdict; "not run" where nothing was.
        text: what was found.
        rule: when the word is said.
    """

    what: str
    word: str
    state: State
    text: str
    rule: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Golden on the report's samples, beside the float network where the bundle knows it.

    Of several outputs it is the one with labels, or else the first.

    Attributes:
        known: numbers of the samples whose float results are known, int64 [k].
        exact, got: the float network's results and golden's on these, float64 [k, elements].
    """

    inputs: Inputs
    outputs: Outputs
    known: NDArray[np.int64]
    exact: NDArray[np.float64]
    got: NDArray[np.float64]

    @classmethod
    def of(
        cls, inputs: Inputs, outputs: Outputs, floats: FloatResults | None, manifest: Manifest
    ) -> "Judged":
        """Results of golden, and what is known of the float network's on the same samples."""
        flat = outputs.real.reshape(len(outputs.real), -1)
        if floats is None or floats.results.shape[1] != manifest.output_elements:
            none = np.zeros(0, np.int64)
            return cls(inputs, outputs, none, flat[:0], flat[:0])
        known, exact = floats.known(inputs.x)
        start = sum(prod(frame.shape) for frame in manifest.outputs[: inputs.y_of])
        mine = exact[:, start : start + flat.shape[1]]
        return cls(inputs, outputs, known, mine, flat[known])


def images_verdict(bundle: Path, manifest: Manifest) -> Verdict:
    """Of a bundle that golden has read."""
    rule = (
        "intact: every file's SHA-256 is the manifest's, and golden's validator accepts the program"
    )
    try:
        verify_delivered(bundle, manifest)
    except InputError as error:
        return Verdict("Images", "MODIFIED", "bad", f"taken as they are: {error}", rule)
    return Verdict("Images", "intact", "good", "checksums are the manifest's", rule)


def packing_verdict(judgement: Judgement | None) -> Verdict | None:
    """What packing has lost, as measured then; None in bundles that do not say."""
    if judgement is None:
        return None
    found = []
    if judgement.accuracy is not None and judgement.float_accuracy is not None:
        found.append(
            f"accuracy {_percent(judgement.accuracy)}, float {_percent(judgement.float_accuracy)}"
        )
    if judgement.agreement is not None:
        found.append(f"same class {_percent(judgement.agreement)}")
    if judgement.snr is not None:
        found.append(f"{judgement.snr:.1f} dB of what varies")
    if judgement.error_growth is not None:
        found.append(f"squared error against the input {judgement.error_growth:+.2f} %")
    rule = (
        f"close: within the recipe's [pack] limits; where it has none {USUAL_DB:g} dB, and "
        f"with labels {USUAL_AGREEMENT:g} % in the same class and at most {USUAL_LOSS:g} point of "
        "accuracy lost, beyond chance"
    )
    text = f"{', '.join(found) or 'measured'} on {judgement.samples:,} samples when packed"
    if not judgement.broken:
        return Verdict("Packing", "close", "good", text, rule)
    broken = "; ".join(broken_text(one) for one in judgement.broken)
    return Verdict("Packing", "LOSES", "bad", f"{broken}; {text}", rule)


def output_verdicts(judgement: Judgement | None) -> Iterator[Verdict]:
    """What packing has lost at each of several outputs."""
    for one in judgement.outputs if judgement is not None else []:
        snr = "its results don't vary" if one.snr is None else f"{one.snr:.1f} dB of what varies"
        text = f"{snr} against the float network when packed"
        if one.agreement is not None:
            text += f", same class {_percent(one.agreement)}"
        rule = "measured: whether that is enough, Packing says"
        yield Verdict(f"Output {one.name}", "measured", "open", text, rule)


def golden_verdict(manifest: Manifest, judged: Judged | None) -> Verdict:
    """How good the integers are on the samples at hand."""
    if judged is None:
        return Verdict("Golden", "not run", "open", "not run: give --inputs")
    outputs, n = judged.outputs, len(judged.inputs.x)
    if outputs.accuracy is not None:
        return _by_labels(manifest, judged, outputs.accuracy)
    error = "" if outputs.error is None else f", mean squared error {outputs.error:.6g}"
    of = f"output {outputs.name}, " if outputs.name else ""
    text = f"{of}{n:,} samples{error}"
    if not len(judged.known):
        return Verdict(
            "Golden", "measured", "open", text, "measured: there is nothing to judge it by"
        )
    signal = varying(judged.exact)
    if signal is None:
        return Verdict("Golden", "measured", "open", text, "measured: float results don't vary")
    noise = float(((judged.got - judged.exact) ** 2).sum(axis=1).mean())
    beside = decibels(signal, noise)
    good = beside >= USUAL_DB
    text += f", {beside:.1f} dB of what varies beside the float network ({len(judged.known):,})"
    rule = f"as float: at least {USUAL_DB:g} dB"
    return Verdict("Golden", "as float" if good else "FAR", "good" if good else "bad", text, rule)


def _by_labels(manifest: Manifest, judged: Judged, accuracy: float) -> Verdict:
    labels = judged.inputs.y
    assert labels is not None and judged.outputs.right is not None
    n = len(labels)
    of = f" of output {judged.outputs.name}" if judged.outputs.name else ""
    text = f"accuracy{of} {_percent(accuracy)} on {n:,} samples"
    if manifest.float_accuracy is not None:
        text += f", float {_percent(manifest.float_accuracy)} when packed"
    most = float(np.unique(labels, return_counts=True)[1].max()) / n
    low, high = share_interval(round(accuracy * n), n)
    text += f"; 95 % interval {100 * low:.2f} to {100 * high:.2f} %"
    if most < 1 and low <= most:
        rule = (
            f"GUESSING: the interval does not begin above {_percent(most)}, the most frequent label"
        )
        return Verdict("Golden", "GUESSING", "bad", text, rule)
    if not len(judged.known):
        rule = "measured: the float network's results on these samples are not known"
        return Verdict("Golden", "measured", "open", text, rule)
    signed = manifest.outputs[judged.inputs.y_of].format.signed
    of_float = classes_of(judged.exact, signed) == labels[judged.known]
    mine = judged.outputs.right[judged.known]
    lost, won = int((of_float & ~mine).sum()), int((mine & ~of_float).sum())
    loss = 100 * (lost - won) / len(mine)
    text += f"; {lost} right answers of the float network lost, {won} won"
    rule = f"as float: at most {USUAL_LOSS:g} point is lost on {len(mine):,} samples, beyond chance"
    if loss > USUAL_LOSS + 1e-9 and lost - won > CHANCE * sqrt(lost + won):
        return Verdict("Golden", "BELOW FLOAT", "bad", f"{text}: {loss:.2f} points", rule)
    return Verdict("Golden", "as float", "good", text, rule)


def hdl_verdict(simulated: SimResult | None, with_inputs: bool) -> Verdict:
    """Whether the HDL computes what golden does."""
    if simulated is None:
        needed = "--sim" if with_inputs else "--inputs and --sim"
        return Verdict("HDL", "not run", "open", f"not run: give {needed}")
    compared = simulated.comparison
    text = (
        f"{simulated.simulator}, {simulated.samples} samples: {compared.elements:,} elements "
        f"of {len(compared.layers)} layers, {compared.mismatches:,} mismatches; "
        f"{compared.cycles:,} cycles, predicted {simulated.predicted:,}"
    )
    rule = "equal: every element of every layer, bit for bit"
    if simulated.equal:
        return Verdict("HDL", "equal", "good", text, rule)
    return Verdict("HDL", "DIFFERS", "bad", text, rule)


def regression_verdict(verdict: str, passed: bool, reasons: list[str]) -> Verdict:
    """Of a retrained network against the old one."""
    state: State = "good" if passed else "open" if verdict == "undecided" else "bad"
    text = f"{verdict}: {'; '.join(reasons)}"
    return Verdict(
        "Against the old bundle", verdict, state, text, f"{verdict}: {REGRESSION_RULES[verdict]}"
    )


def verdicts(
    bundle: Path,
    manifest: Manifest,
    judged: Judged | None,
    simulated: SimResult | None,
    regression: Regression | None,
) -> Iterator[Verdict]:
    """The head of the report, in the order of the road."""
    yield images_verdict(bundle, manifest)
    packing = packing_verdict(manifest.judgement)
    if packing is not None:
        yield packing
    yield from output_verdicts(manifest.judgement)
    yield golden_verdict(manifest, judged)
    yield hdl_verdict(simulated, judged is not None)
    if regression is not None:
        yield regression_verdict(regression.verdict, regression.passed, regression.reasons)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
