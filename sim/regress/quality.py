# SPDX-License-Identifier: Apache-2.0
"""Is the new network as good as the old one? Limits, and what the samples can tell about them.

A loss is *proven* where its interval begins beyond the limit, and *excluded* where the loss is
within the limit and the interval ends below ``max_doubt``. What is neither is open: more samples
would decide.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from bramcast.golden.metrics import sqnr
from bramcast.golden.paired import (
    LEVEL,
    Pairs,
    drawn_at_least,
    growth,
    interval,
    mcnemar,
    pairs_of,
    samples_needed,
    share_interval,
)
from bramcast.pack.bundle.manifest import Manifest
from bramcast.pack.recipe.recipe import OutputLimits, RegressSection
from bramcast.pack.samples.inputs import Inputs
from bramcast.sim.regress.evaluate import LayerPair, Outputs

CHANCE = 1 - LEVEL  # how often a limit may be broken by chance
CLASS_LOSS = 5.0  # points that a class may lose where the recipe has no limit
# Without labels: what is alike by one of these is taken for the same function ...
SAME_CLASS = 0.9
SAME_DB = 20.0
SAME_SAMPLES = 30  # from which on decibels count
OTHER_CLASS = 0.5  # ... and by this for another one
SNR_LOSS = 3.0  # decibels


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table: a figure of both bundles, and its limit where there is one.

    ``reason`` says what is wrong, ``doubt`` what the samples can't decide; empty if nothing is.
    """

    name: str
    old: str
    new: str
    limit: str = ""
    reason: str = ""
    doubt: str = ""

    @property
    def state(self) -> str:
        if self.reason:
            return "BROKEN"
        if self.doubt:
            return "open"
        return "ok" if self.limit else ""


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Accuracy in one class, 0..1, and the samples that only one of the networks has right."""

    label: int
    samples: int
    old: float
    new: float
    only_old: int = 0
    only_new: int = 0

    @property
    def lost(self) -> float:
        """Points."""
        return 100 * (self.old - self.new)

    @property
    def pairs(self) -> Pairs:
        return Pairs(self.only_old, self.only_new, self.samples)


@dataclass(frozen=True, slots=True)
class Quality:
    """What the samples say.

    Attributes:
        interval: of the loss of accuracy, in points; of an error's growth, in percent; without
            either of the samples that change their class, in percent.
        p_value: of McNemar's test; None without labels.
        needed: samples that would decide, None where no reasonable number does, or enough.
    """

    checks: list[Check]
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    needed: int | None = None
    classes: list[ClassScore] = field(default_factory=list)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"


def quality(
    limits: RegressSection,
    manifests: tuple[Manifest, Manifest],
    inputs: Inputs,
    old: Outputs,
    new: Outputs,
    pairs: list[LayerPair],
) -> Quality:
    """All checks on results."""
    agreement = float((old.classes == new.classes).mean())
    if old.right is not None and new.right is not None:
        found = _by_labels(limits, manifests, old, new)
    elif old.errors is not None and new.errors is not None:
        found = _by_error(limits, old, new)
    else:
        found = _by_likeness(limits, old, new, agreement)
    checks = found.checks
    if old.right is not None:
        checks = [*checks, _agreement(limits, agreement, len(old.classes))]
    classes = _classes(inputs, old, new)
    checks = [*checks, *class_checks(limits, classes)]
    for before, after in zip(old.others, new.others, strict=True):
        checks += _other_output(limits, before, after)
    return Quality(
        [*checks, *_noise(limits, manifests, pairs, old)],
        found.interval,
        found.p_value,
        found.needed,
        classes,
    )


def _more(needed: int | None) -> str:
    if needed is None:
        return "no reasonable number of samples would decide"
    return f"about {needed:,} samples would decide, if the rates stay"


def _by_labels(
    limits: RegressSection, manifests: tuple[Manifest, Manifest], old: Outputs, new: Outputs
) -> Quality:
    assert old.right is not None and new.right is not None
    pairs = pairs_of(old.right, new.right)
    low, high = (100 * end for end in interval(pairs))
    lost, limit = 100 * pairs.loss, limits.max_accuracy_loss
    margin = max(limit, limits.max_doubt)
    fell = (
        f"accuracy {'fell' if lost > 0 else 'changed'} by {lost:.2f} points, from "
        f"{percent(old.accuracy)} to {percent(new.accuracy)}"
    )
    ends = f"{low:.2f} to {high:.2f}"
    within = lost <= limit + 1e-9
    needed, reason, doubt = None, "", ""
    if low > limit + 1e-9:
        reason = f"{fell} (limit {limit:g}; 95 % interval of the loss {ends})"
    elif not within or high > margin + 1e-9:
        needed = samples_needed(pairs, (limit + 1e-9) / 100, (margin + 1e-9) / 100)
        doubt = (
            f"{len(old.right):,} samples can't decide: {fell}, 95 % interval of the loss {ends} "
            f"(limit {limit:g}, max_doubt {limits.max_doubt:g}); {_more(needed)}"
        )
    checks = [
        Check(
            "accuracy", percent(old.accuracy), percent(new.accuracy), f"-{limit:g} points", reason,
            "" if within else doubt,
        ),
        Check(
            "95 % interval of the loss", f"{low:.2f}", f"{high:.2f} points", f"{margin:g} points",
            "", doubt if within else "",
        ),
        Check("float accuracy when packed", *(percent(m.float_accuracy) for m in manifests)),
    ]  # fmt: skip
    return Quality(checks, (low, high), mcnemar(pairs), needed)


def _by_error(limits: RegressSection, old: Outputs, new: Outputs) -> Quality:
    assert old.errors is not None and new.errors is not None
    found, limit = growth(old.errors, new.errors), limits.max_error_growth
    grown, low, high = (100 * g for g in (found.value, found.low, found.high))
    margin = limit + limits.max_doubt
    text = (
        f"the mean squared error between output and input grew by {grown:.1f} %, from "
        f"{old.error:.6g} to {new.error:.6g}"
    )
    ends = f"95 % interval {low:.1f} to {high:.1f}"
    reason = doubt = ""
    if low > limit + 1e-9:
        reason = f"{text} (limit {limit:g}; {ends})"
    elif grown > limit + 1e-9 or high > margin + 1e-9:
        doubt = f"{found.n:,} samples can't decide: {text} (limit {limit:g}; {ends})"
    check = Check(
        "mean squared error", f"{old.error:.6g}", f"{new.error:.6g}", f"+{limit:g} %", reason, doubt
    )
    return Quality([check], (low, high))


def _by_likeness(limits: RegressSection, old: Outputs, new: Outputs, agreement: float) -> Quality:
    """Without labels: the same classes, or the same values."""
    n, same = len(old.classes), round(agreement * len(old.classes))
    low, high = share_interval(same, n)
    ends = 100 * (1 - high), 100 * (1 - low)
    if limits.min_agreement is not None:
        return Quality([_agreement(limits, agreement, n)], ends)
    alike = sqnr(new.real, old.real) if new.real.shape == old.real.shape else float("-inf")
    text = (
        f"without labels: {percent(agreement)} of {n:,} samples keep their class (95 % interval "
        f"{100 * low:.2f} to {100 * high:.2f} %), the outputs are {decibels(alike)} alike"
    )
    enough = low >= SAME_CLASS - limits.max_doubt / 100 and agreement >= SAME_CLASS
    needed, reason, doubt = None, "", ""
    if enough or (n >= SAME_SAMPLES and alike >= SAME_DB):
        pass
    elif high < OTHER_CLASS:
        reason = f"{text}: this is another function"
    elif agreement >= SAME_CLASS:
        needed = _share_needed(agreement, SAME_CLASS - limits.max_doubt / 100, n)
        doubt = f"{text}: {_more(needed)}"
    else:
        doubt = f"{text}: give labels, or min_agreement in the recipe's [regress]"
    checks = [
        Check(
            "same class as old", "", percent(agreement),
            f"{100 * SAME_CLASS:g} % or {SAME_DB:g} dB", reason, doubt,
        ),
        Check("output like the old one", "", decibels(alike)),
    ]  # fmt: skip
    return Quality(checks, ends, None, needed)


def _other_output(limits: RegressSection, old: Outputs, new: Outputs) -> list[Check]:
    """An output without labels, beside another one: like ``_by_likeness``, by limits of its own."""
    own = limits.outputs.get(old.name, OutputLimits())
    where = f"output {old.name}"
    agreement = float((old.classes == new.classes).mean())
    checks = []
    if own.min_alike is not None:
        alike = sqnr(new.real, old.real) if new.real.shape == old.real.shape else float("-inf")
        text = f"the results are {decibels(alike)} alike (limit {own.min_alike:g} dB)"
        checks.append(
            Check(
                "output like the old one", "", decibels(alike), f"{own.min_alike:g} dB",
                text if alike < own.min_alike else "",
            )
        )  # fmt: skip
    limits = replace(limits, min_agreement=own.min_agreement)
    if own.min_alike is None:
        checks += _by_likeness(limits, old, new, agreement).checks
    elif own.min_agreement is not None:
        checks.append(_agreement(limits, agreement, len(old.classes)))
    return [_of(where, check) for check in checks]


def _of(where: str, check: Check) -> Check:
    """A check that says which output it is of."""
    said = {key: f"{where}: {text}" for key in ("reason", "doubt") if (text := getattr(check, key))}
    hint = "min_agreement in the recipe's [regress]"
    own = f'min_agreement or min_alike in the recipe\'s [regress.outputs."{where[7:]}"]'
    told = {key: text.replace(hint, own) for key, text in said.items()}
    return replace(check, name=f"{where}: {check.name}", **told)


def _share_needed(share: float, wanted: float, n: int) -> int | None:
    """Samples of which the share's interval begins at ``wanted``."""
    enough = n
    while share_interval(round(share * enough), enough)[0] < wanted:
        enough = enough + max(1, enough // 20)
        if enough > 10**7:
            return None
    return enough


def _agreement(limits: RegressSection, agreement: float, n: int) -> Check:
    least = limits.min_agreement
    if least is None:
        return Check("same class as old", "", percent(agreement))
    low, high = (100 * end for end in share_interval(round(agreement * n), n))
    text = (
        f"{percent(agreement)} of the samples keep their class (limit {least:g} %; 95 % interval "
        f"{low:.2f} to {high:.2f} %)"
    )
    within = 100 * agreement >= least - 1e-9 and low >= least - limits.max_doubt - 1e-9
    broken = high < least - 1e-9
    return Check(
        "same class as old", "", percent(agreement), f"{least:g} %",
        f"only {text}" if broken else "",
        "" if broken or within else f"{n:,} samples can't decide: {text}",
    )  # fmt: skip


# --- classes -----------------------------------------------------------------------------------


def _classes(inputs: Inputs, old: Outputs, new: Outputs) -> list[ClassScore]:
    """Every class that has samples; empty without labels."""
    if inputs.y is None or old.right is None or new.right is None:
        return []
    scores = []
    for label in np.unique(inputs.y):
        mine = inputs.y == label
        a, b = old.right[mine], new.right[mine]
        pairs = pairs_of(a, b)
        scores.append(
            ClassScore(
                int(label), int(mine.sum()), float(a.mean()), float(b.mean()),
                int(pairs.lost), int(pairs.won),
            )
        )  # fmt: skip
    return scores


def class_checks(limits: RegressSection, classes: list[ClassScore]) -> list[Check]:
    """A line for each class that lost.

    With k classes, each has an interval of 1 - 5 % / k, so that in all of them together chance
    breaks a limit in 5 % of all draws at most (Bonferroni). Where the recipe has no limit, a loss
    that is not proven counts only if it is rare (5 % / k, too) that so many of all lost samples
    fall into the class: a class of three that is gone shows, one mistake more does not.
    """
    given = limits.max_class_loss
    limit = CLASS_LOSS if given is None else given
    level = 1 - CHANCE / max(1, len(classes))
    n, all_lost = sum(s.samples for s in classes), sum(s.only_old for s in classes)
    checks = []
    for one in sorted(classes, key=lambda s: -s.lost):
        if one.lost <= 0:
            continue
        name = f"class {one.label} ({one.samples} samples)"
        text = f"{name} lost {one.lost:.2f} points (limit {limit:g})"
        beyond = one.lost > limit + 1e-9
        proven = beyond and 100 * interval(one.pairs, level)[0] > limit
        rare = drawn_at_least(one.only_old, one.samples, all_lost, n) < 1 - level
        open_ = beyond and not proven and (given is not None or rare)
        more = f"{one.only_old} of its samples are lost, {one.only_new} won"
        checks.append(
            Check(
                name, percent(one.old), percent(one.new), f"-{limit:g} points",
                f"{text}: {more}" if proven else "",
                f"{text}, too few samples to be sure: {more}" if open_ else "",
            )
            if proven or open_ or not beyond
            else Check(name, percent(one.old), percent(one.new))
        )  # fmt: skip
    return checks


# --- noise -------------------------------------------------------------------------------------


def _noise(
    limits: RegressSection,
    manifests: tuple[Manifest, Manifest],
    pairs: list[LayerPair],
    was: Outputs,
) -> list[Check]:
    checks = []
    for number, frame in enumerate(manifests[0].outputs):
        old, new = (manifest.output_layers[number].snr for manifest in manifests)
        where = f"output {frame.name}"
        least = limits.min_snr
        if frame.name in limits.outputs and limits.outputs[frame.name].min_snr is not None:
            least = limits.outputs[frame.name].min_snr
        if old is None and new is None and least is None:
            continue
        if least is None and was.right is None and was.errors is None and old is not None:
            least = min(SAME_DB, old - SNR_LOSS)
        low = least is not None and (new is None or new < least)
        checks.append(
            Check(
                f"{where.rstrip()} against float", decibels(old), decibels(new),
                "" if least is None else f"{least:.3g} dB",
                f"the {where.rstrip()}'s signal to noise is {decibels(new)} (limit {least:.3g})"
                if low else "",
            )
        )  # fmt: skip
    worst = max(pairs, key=lambda pair: pair.new.saturated)
    limit = limits.max_saturation
    share = worst.new.saturated
    before = max((p.old.saturated for p in pairs if p.old is not None), default=None)
    broken = limit is not None and 100 * share > limit + 1e-9
    checks.append(
        Check(
            "most saturated layer", percent(before), f"{percent(share)} ({worst.name})",
            "" if limit is None else f"{limit:g} %",
            f"layer {worst.name}: {percent(share)} of its results saturate (limit {limit:g})"
            if broken else "",
        )
    )  # fmt: skip
    return checks
