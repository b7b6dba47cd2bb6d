"""Is a retrained network's bundle a drop-in for the old one?

drop-in        same program, depths, input and output formats: swap the images
repack         fits the synthesized core, but the program or an input or output format changed
resynthesize   does not fit the synthesized core
worse          a limit of the recipe's [regress] is broken
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bramcast.golden.load import load
from bramcast.golden.machine import Machine
from bramcast.pack.descriptor import Descriptor, Nest, split_program
from bramcast.pack.image_binary import BIN_NAME
from bramcast.pack.image_c import HEADER_NAME
from bramcast.pack.images import load_images
from bramcast.pack.inputs import Inputs
from bramcast.pack.manifest import IMAGES, Manifest
from bramcast.pack.recipe import RegressSection
from bramcast.pack.steps import same_descriptors
from bramcast.pack.words import to_uint32
from bramcast.sim.evaluate import LayerPair, Outputs, layer_pairs, outputs, suspect

Report = Callable[[str, int, int], None]
VERDICTS = ("drop-in", "repack", "resynthesize", "worse")  # from best to worst
LIKE = 0.9  # a layer that falls below this where the one before does not is named


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table: a figure of both bundles, and its limit where there is one.

    ``reason`` says what is wrong; empty if nothing is.
    """

    name: str
    old: str
    new: str
    limit: str = ""
    reason: str = ""

    @property
    def state(self) -> str:
        if self.reason:
            return "BROKEN"
        return "ok" if self.limit else ""


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Accuracy in one class, 0..1."""

    label: int
    samples: int
    old: float
    new: float

    @property
    def lost(self) -> float:
        """Points."""
        return 100 * (self.old - self.new)


@dataclass(frozen=True, slots=True)
class ImageChange:
    """How many words (lines) of an image differ, and the new bundle's files that hold it."""

    name: str
    lines: int
    changed: int
    files: list[str]


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer in both bundles.

    Attributes:
        old_format, new_format: Q formats; "-" where the old network has no such layer.
        old_snr, new_snr: decibels, as pack measured them.
        like: 0..1, how far the results are the same; None where they can't be compared.
        saturated: share of the new results at an end of the format.
        headroom: bits that the new results leave unused.
        group: the same number for layers that the same descriptors compute, as a recurrent
            network's time steps; -1 for the input.
    """

    name: str
    old_format: str
    new_format: str
    old_snr: float | None
    new_snr: float | None
    like: float | None
    saturated: float
    headroom: float
    group: int = -1


@dataclass(frozen=True, slots=True)
class Regression:
    """The verdict with its reasons.

    Accuracies are None without labels, errors (mean squares) where the network does not reproduce
    its input.
    """

    verdict: str
    reasons: list[str]
    checks: list[Check]
    classes: list[ClassScore]
    layers: list[LayerRow]
    images: list[ImageChange]
    accuracy_old: float | None
    accuracy_new: float | None
    error_old: float | None
    error_new: float | None
    agreement: float

    @property
    def passed(self) -> bool:
        return self.verdict != "worse"

    @property
    def copy(self) -> list[str]:
        """Files of the new bundle that replace the old one's: all that differ."""
        files = [f for image in self.images if image.changed for f in image.files]
        return list(dict.fromkeys(files))

    @property
    def moved(self) -> list[LayerRow]:
        """Layers whose Q format differs."""
        return [row for row in self.layers if row.old_format not in (row.new_format, "-")]


def regress(
    old: Path,
    new: Path,
    inputs: Inputs,
    limits: RegressSection,
    allow_modified: bool = False,
    simulate: Callable[[Path], str] | None = None,
    report: Report = lambda what, done, of: None,
) -> Regression:
    """Run both bundles' golden on the same samples and compare what lies in them.

    Args:
        simulate: runs the new bundle on the HDL; returns what differs, or "".

    Raises:
        UserError: a bundle that can't be read, samples that don't fit.
    """
    machines = load(old, allow_modified), load(new, allow_modified)
    was, now = (
        outputs(machine, inputs, _counting(report, name, len(inputs.x)))
        for name, machine in zip(("old", "new"), machines, strict=True)
    )
    pairs = layer_pairs(*machines, inputs)
    before, after = (_manifest(m) for m in machines)
    program = split_program(to_uint32(load_images(new, after, True)["program"]))
    fit, reasons = _fit(before, after, machines)
    classes = _classes(inputs, was, now)
    agreement = float((was.classes == now.classes).mean())
    checks = [
        *_quality(limits, before, after, was, now, agreement),
        *_class_checks(limits, classes),
        *_noise_checks(limits, before, after, pairs),
        _fit_check(limits, fit, reasons),
    ]
    if simulate is not None:
        wrong = simulate(new)
        checks.append(Check("HDL against golden", "", wrong or "equal", "equal", wrong))
    broken = [check.reason for check in checks if check.reason]
    if broken:
        reasons = [*_where(pairs, before, after), *broken, *(reasons if fit != "drop-in" else [])]
    return Regression(
        verdict="worse" if broken else fit,
        reasons=list(dict.fromkeys(reasons)),
        checks=checks,
        classes=classes,
        layers=_rows(before, after, program, pairs),
        images=_image_changes(old, new, before, after),
        accuracy_old=was.accuracy,
        accuracy_new=now.accuracy,
        error_old=was.error,
        error_new=now.error,
        agreement=agreement,
    )


def _manifest(machine: Machine) -> Manifest:
    assert machine.manifest is not None
    return machine.manifest


def _counting(report: Report, name: str, of: int) -> Callable[[int], None]:
    return lambda done: report(name, done, of)


# --- quality -----------------------------------------------------------------------------------


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"


def _quality(
    limits: RegressSection,
    before: Manifest,
    after: Manifest,
    old: Outputs,
    new: Outputs,
    agreement: float,
) -> list[Check]:
    checks = []
    if old.accuracy is not None and new.accuracy is not None:
        lost, limit = 100 * (old.accuracy - new.accuracy), limits.max_accuracy_loss
        reason = (
            f"accuracy fell by {lost:.2f} points, from {_percent(old.accuracy)} to "
            f"{_percent(new.accuracy)} (limit {limit:g})"
        )
        checks.append(
            Check(
                "accuracy", _percent(old.accuracy), _percent(new.accuracy), f"-{limit:g} points",
                reason if lost > limit + 1e-9 else "",
            )
        )  # fmt: skip
        pair = before.float_accuracy, after.float_accuracy
        checks.append(Check("float accuracy when packed", *(_percent(a) for a in pair)))
    if old.error is not None and new.error is not None:
        grown = 100 * (new.error / old.error - 1) if old.error else 0.0
        limit = limits.max_error_growth
        reason = (
            f"the mean squared error between output and input grew by {grown:.1f} %, from "
            f"{old.error:.6g} to {new.error:.6g} (limit {limit:g})"
        )
        checks.append(
            Check(
                "mean squared error", f"{old.error:.6g}", f"{new.error:.6g}", f"+{limit:g} %",
                reason if grown > limit + 1e-9 else "",
            )
        )  # fmt: skip
    least = limits.min_agreement
    low = least is not None and 100 * agreement < least - 1e-9
    reason = f"only {_percent(agreement)} of the samples keep their class (limit {least} %)"
    limit_text = "" if least is None else f"{least:g} %"
    if old.error is None:
        checks.append(
            Check("same class as old", "", _percent(agreement), limit_text, reason if low else "")
        )
    return checks


def _classes(inputs: Inputs, old: Outputs, new: Outputs) -> list[ClassScore]:
    """Every class that has samples; empty without labels."""
    if inputs.y is None or old.accuracy is None or new.accuracy is None:
        return []
    scores = []
    for label in np.unique(inputs.y):
        mine = inputs.y == label
        right = [float((r.classes[mine] == label).mean()) for r in (old, new)]
        scores.append(ClassScore(int(label), int(mine.sum()), *right))
    return scores


def _class_checks(limits: RegressSection, classes: list[ClassScore]) -> list[Check]:
    limit = limits.max_class_loss
    checks = []
    for score in sorted(classes, key=lambda s: -s.lost):
        if score.lost <= 0:
            continue
        name = f"class {score.label} ({score.samples} samples)"
        broken = limit is not None and score.lost > limit + 1e-9
        checks.append(
            Check(
                name, _percent(score.old), _percent(score.new),
                "" if limit is None else f"-{limit:g} points",
                f"{name} lost {score.lost:.2f} points (limit {limit:g})" if broken else "",
            )
        )  # fmt: skip
    return checks


def _noise_checks(
    limits: RegressSection, before: Manifest, after: Manifest, pairs: list[LayerPair]
) -> list[Check]:
    checks = []
    old, new = before.layers[-1].snr, after.layers[-1].snr
    if old is not None or new is not None or limits.min_snr is not None:
        least = limits.min_snr
        low = least is not None and (new is None or new < least)
        checks.append(
            Check(
                "output against float", _decibels(old), _decibels(new),
                "" if least is None else f"{least:g} dB",
                f"the output's signal to noise is {_decibels(new)} (limit {least:g})"
                if low else "",
            )
        )  # fmt: skip
    worst = max(pairs, key=lambda pair: pair.new.saturated)
    limit = limits.max_saturation
    share = worst.new.saturated
    before_share = max((p.old.saturated for p in pairs if p.old is not None), default=None)
    broken = limit is not None and 100 * share > limit + 1e-9
    checks.append(
        Check(
            "most saturated layer", _percent(before_share), f"{_percent(share)} ({worst.name})",
            "" if limit is None else f"{limit:g} %",
            f"layer {worst.name}: {_percent(share)} of its results saturate (limit {limit:g})"
            if broken else "",
        )
    )  # fmt: skip
    return checks


def _fit_check(limits: RegressSection, fit: str, reasons: list[str]) -> Check:
    broken = VERDICTS.index(fit) > VERDICTS.index(limits.accept)
    reason = f"{fit} where {limits.accept} is wanted: {'; '.join(reasons)}" if broken else ""
    limit = "" if limits.accept == "resynthesize" else limits.accept
    return Check("fits the core", "", fit, limit, reason)


def _where(pairs: list[LayerPair], before: Manifest, after: Manifest) -> list[str]:
    """The layer that a loss comes from, if one stands out."""
    found = suspect(pairs)
    if found is None:
        return []
    pair, previous = found
    assert pair.like is not None
    if pair.like.value >= LIKE:
        return []
    source = next(layer.source for layer in after.layers if layer.name == pair.name)
    return [
        f"layer {pair.name} ({source}) changes most: its results are {_percent(pair.like.value)} "
        f"like the old ones, those before it {_percent(previous)}"
    ]


# --- fit ---------------------------------------------------------------------------------------

DEPTHS = ("program_depth", "weights_depth", "bias_depth", "table_depth", "scratch_depth")
_HARDWARE = ("lanes", "taps", "data_bits", "weight_bits", "rq")


def _fit(
    before: Manifest, after: Manifest, machines: tuple[Machine, Machine]
) -> tuple[str, list[str]]:
    """drop-in, repack or resynthesize, and why."""
    other = [
        f"{name} {getattr(before.core, name)} -> {getattr(after.core, name)}"
        for name in _HARDWARE
        if getattr(before.core, name) != getattr(after.core, name)
    ]
    other += [
        f"core.{name} is needed and the core is built without it"
        for name in ("narrow", "gates")
        if getattr(after.core, name) and not getattr(before.core, name)
    ]
    needed = _needed(after)
    small = [
        f"{name}: the new network needs {needed[name]}, the core has {getattr(before.core, name)}"
        for name in DEPTHS
        if needed[name] > getattr(before.core, name)
    ]
    if other or small:
        return "resynthesize", other + small
    reasons = []
    if before.core != after.core:
        reasons.append(
            "images are packed for other depths: set the old ones in the recipe's [core]"
        )
    if machines[0].program != machines[1].program:
        reasons.append(_program_change(machines))
    for name in ("input", "output"):
        a, b = getattr(before, name), getattr(after, name)
        if a.format != b.format:
            reasons.append(f"{name} format {a.format.q} -> {b.format.q}")
        if (a.shape, a.dims, a.strides) != (b.shape, b.dims, b.strides):
            reasons.append(f"{name} shape or order {a.shape} -> {b.shape}")
        if (a.planes, a.plane_shift) != (b.planes, b.plane_shift):
            reasons.append(f"{name} planes {a.planes} -> {b.planes}")
        if a.exponents != b.exponents:
            reasons.append(f"{name} exponents {a.exponents} -> {b.exponents}")
    if reasons:
        return "repack", reasons
    return "drop-in", ["same program, depths, input and output formats: swap the images"]


def _needed(manifest: Manifest) -> dict[str, int]:
    used = {f"{image.name}_depth": image.used for image in manifest.images}
    return {"table_depth": 0, **used, "scratch_depth": manifest.scratch_words}


def _program_change(machines: tuple[Machine, Machine]) -> str:
    old, new = (m.program for m in machines)
    if len(old) != len(new):
        return f"program: {len(old) - 1} nests -> {len(new) - 1}"
    index = next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
    a, b = old[index], new[index]
    manifest = _manifest(machines[0])
    name = manifest.layers[manifest.nests[index - 1].layer].name if index else "input"
    if isinstance(a, Nest) and isinstance(b, Nest):
        fields = [f for f in a.__dataclass_fields__ if getattr(a, f) != getattr(b, f)]
        return f"program: nest {index} ({name}) differs in {', '.join(fields)}"
    return f"program: descriptor {index} ({name}) differs"


# --- layers and images -------------------------------------------------------------------------


def _rows(
    before: Manifest, after: Manifest, program: Sequence[Descriptor], pairs: list[LayerPair]
) -> list[LayerRow]:
    steps = same_descriptors(program, [nest.layer for nest in after.nests]).values()
    group = {layer: number for number, layers in enumerate(steps) for layer in layers}
    old = {layer.name: layer for layer in before.layers}
    rows = []
    if before.input.format != after.input.format:
        one, two = (str(frame.format.q) for frame in (before.input, after.input))
        rows.append(LayerRow("input", one, two, None, None, None, 0.0, 0.0))
    for index, (layer, pair) in enumerate(zip(after.layers, pairs, strict=True)):
        mine = old.get(layer.name)
        rows.append(
            LayerRow(
                layer.name,
                "-" if mine is None else str(mine.format.q),
                str(layer.format.q),
                None if mine is None else mine.snr,
                layer.snr,
                None if pair.like is None else pair.like.value,
                pair.new.saturated,
                pair.new.headroom,
                group[index],
            )
        )
    return rows


def _image_changes(old: Path, new: Path, before: Manifest, after: Manifest) -> list[ImageChange]:
    """Words that differ in each image; a word that only one bundle has counts as changed."""
    one, two = load_images(old, before, True), load_images(new, after, True)
    files = [name for image in after.images for name in image.files]
    together = [name for name in files if name in (BIN_NAME, HEADER_NAME)]
    changes = []
    for name in sorted(set(one) | set(two), key=IMAGES.index):
        a, b = one.get(name), two.get(name)
        if a is None or b is None or a.bits != b.bits:
            lines = changed = max(len(w) for w in (a, b) if w is not None)
        else:
            common = min(len(a), len(b))
            differ = int((a.data[:common] != b.data[:common]).any(axis=1).sum())
            lines, changed = len(b), differ + abs(len(a) - len(b))
        mine = sorted(file for file in files if re.match(rf"{name}[._]", file))
        changes.append(ImageChange(name, lines, changed, mine + together))
    return changes
