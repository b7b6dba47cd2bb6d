# SPDX-License-Identifier: Apache-2.0
"""Is a retrained network's bundle a drop-in for the old one?

drop-in        same program, depths, input and output formats: swap the images
repack         fits the synthesized core, but the program or an input or output format changed
resynthesize   does not fit the synthesized core
undecided      the samples can't tell whether a limit is kept
worse          a limit of the recipe's [regress] is broken
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bramcast.golden.load import load
from bramcast.golden.machine import Machine
from bramcast.pack.bundle.delivered import absent
from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.bundle.formats.binary import BIN_NAME
from bramcast.pack.bundle.formats.c_header import HEADER_NAME
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import IMAGES, MANIFEST_NAME, Manifest
from bramcast.pack.bundle.program import Descriptor, Loop, Nest, split_program
from bramcast.pack.bundle.time_steps import same_descriptors
from bramcast.pack.bundle.words import to_uint32
from bramcast.pack.recipe.recipe import RegressSection
from bramcast.pack.samples.inputs import Inputs
from bramcast.sim.regress.evaluate import LayerPair, layer_pairs, outputs, suspect
from bramcast.sim.regress.quality import Check, ClassScore, percent, quality
from bramcast.sim.regress.referee import check_referee

Report = Callable[[str, int, int], None]
VERDICTS = ("drop-in", "repack", "resynthesize", "undecided", "worse")  # from best to worst
HDL_CHECK = "HDL against golden"
LIKE = 0.9  # a layer that falls below this where the one before does not is named


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
    its input. ``interval``, ``p_value``, ``samples_needed``: as in ``Quality``.
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
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    samples_needed: int | None = None

    @property
    def passed(self) -> bool:
        return self.verdict not in ("undecided", "worse")

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
        RefereeError: samples or labels by which nothing can be judged.
    """
    machines = load(old, allow_modified), load(new, allow_modified)
    missing = [] if allow_modified else absent(new, _manifest(machines[1]))
    if missing:
        raise InputError(
            f"{new / missing[0]}: is not there, but {MANIFEST_NAME} lists it among the files to "
            "swap; repack, or pass --allow-modified to compare what is there"
        )
    _check_outputs(old, new, _manifest(machines[0]), _manifest(machines[1]), limits)
    inputs = inputs.of_outputs([f.name for f in _manifest(machines[0]).outputs if f.name])
    was, now = (
        outputs(machine, inputs, _counting(report, name, len(inputs.x)))
        for name, machine in zip(("old", "new"), machines, strict=True)
    )
    before, after = (_manifest(m) for m in machines)
    check_referee(before, inputs, was)
    pairs = layer_pairs(*machines, inputs)
    program = split_program(
        to_uint32(load_images(new, after, True)["program"]), after.core.tiles > 1
    )
    fit, reasons = fits(before, after, machines, program)
    found = quality(limits, (before, after), inputs, was, now, pairs)
    checks = [*found.checks, _fit_check(limits, fit, reasons)]
    if simulate is not None:
        wrong = simulate(new)
        checks.append(Check(HDL_CHECK, "", wrong or "equal", "equal", wrong))
    broken = [check.reason for check in checks if check.reason]
    doubts = [check.doubt for check in checks if check.doubt]
    also = reasons if fit != "drop-in" else []
    verdict = fit
    if broken:
        verdict, reasons = "worse", [*_where(pairs, before, after), *broken, *doubts, *also]
    elif doubts:
        verdict, reasons = "undecided", [*doubts, *also]
    return Regression(
        verdict=verdict,
        reasons=list(dict.fromkeys(reasons)),
        checks=checks,
        classes=found.classes,
        layers=_rows(before, after, program, pairs),
        images=_image_changes(old, new, before, after),
        accuracy_old=was.accuracy,
        accuracy_new=now.accuracy,
        error_old=was.error,
        error_new=now.error,
        agreement=float((was.classes == now.classes).mean()),
        interval=found.interval,
        p_value=found.p_value,
        samples_needed=found.needed,
    )


def _check_outputs(
    old: Path, new: Path, before: Manifest, after: Manifest, limits: RegressSection
) -> None:
    """Both have the same inputs and outputs, and limits are those of one of these.

    Raises:
        InputError: there is no verdict on others.
    """
    takes = [[frame.name for frame in m.inputs] for m in (before, after)]
    if takes[0] != takes[1]:
        raise InputError(f"{new}: takes other inputs than {old}: nothing to compare")
    one, two = ([frame.name for frame in m.outputs] for m in (before, after))
    if one != two:
        listed = [", ".join(names) if names != [""] else "one" for names in (one, two)]
        raise InputError(
            f"{new}: its outputs are {listed[1]}, those of {old} {listed[0]}: nothing to compare; "
            "give a network with the same outputs in the same order"
        )
    unknown = [name for name in limits.outputs if name not in one]
    if unknown:
        raise RecipeError(
            f'regress.outputs."{unknown[0]}": {old} has no output of that name; there are '
            f"{', '.join(filter(None, one)) or 'none with names'}"
        )


def _manifest(machine: Machine) -> Manifest:
    assert machine.manifest is not None
    return machine.manifest


def _counting(report: Report, name: str, of: int) -> Callable[[int], None]:
    return lambda done: report(name, done, of)


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
        f"layer {pair.name} ({source}) changes most: its results are {percent(pair.like.value)} "
        f"like the old ones, those before it {percent(previous)}"
    ]


# --- fit ---------------------------------------------------------------------------------------

DEPTHS = ("program_depth", "weights_depth", "bias_depth", "table_depth", "scratch_depth")
_HARDWARE = ("lanes", "taps", "tiles", "pairs", "data_bits", "weight_bits", "rq")


def _parts_needed(program: Sequence[Descriptor]) -> dict[str, bool]:
    """Optional parts of the core that a program uses, whatever its recipe has asked for."""
    nests = [descriptor for descriptor in program if isinstance(descriptor, Nest)]
    return {
        "narrow": any(nest.narrow for nest in nests),
        "gates": any(nest.product for nest in nests) or any(isinstance(d, Loop) for d in program),
    }


def fits(
    before: Manifest,
    after: Manifest,
    machines: tuple[Machine, Machine],
    program: Sequence[Descriptor],
) -> tuple[str, list[str]]:
    """drop-in, repack or resynthesize, and why."""
    other = [
        f"{name} {getattr(before.core, name)} -> {getattr(after.core, name)}"
        for name in _HARDWARE
        if getattr(before.core, name) != getattr(after.core, name)
    ]
    other += [
        f"core.{name} is needed and the core is built without it"
        for name, needed in _parts_needed(program).items()
        if needed and not getattr(before.core, name)
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
    # The scratchpad has no image, and what a core can do more changes none.
    if [before.core.depth(image) for image in IMAGES] != [after.core.depth(i) for i in IMAGES]:
        reasons.append(
            "images are packed for other depths: set the old ones in the recipe's [core]"
        )
    if machines[0].program != machines[1].program:
        reasons += [_program_change(machines), *_strip_changes(before, after)]
    frames = [
        (f"input {a.name}".rstrip(), a, b) for a, b in zip(before.inputs, after.inputs, strict=True)
    ]
    for a, b in zip(before.outputs, after.outputs, strict=True):
        frames.append((f"output {a.name}".rstrip(), a, b))
    for name, a, b in frames:
        if a.format != b.format:
            reasons.append(f"{name} format {a.format.q} -> {b.format.q}")
        if (a.shape, a.dims, a.strides, a.places) != (b.shape, b.dims, b.strides, b.places):
            reasons.append(f"{name} shape or order {a.shape} -> {b.shape}")
        if (a.planes, a.plane_shift) != (b.planes, b.plane_shift):
            reasons.append(f"{name} planes {a.planes} -> {b.planes}")
        if a.exponents != b.exponents:
            reasons.append(f"{name} exponents {a.exponents} -> {b.exponents}")
        if a.offsets != b.offsets:
            reasons.append(f"{name} offsets {a.offsets} -> {b.offsets}")
    if reasons:
        return "repack", reasons
    return "drop-in", ["same program, depths, input and output formats: swap the images"]


def _strip_changes(before: Manifest, after: Manifest) -> list[str]:
    """The first layer whose rows are shared out among the tiles in another way."""
    old = {layer.name: layer for layer in before.layers}
    for layer in after.layers:
        if layer.name in old and old[layer.name].strips != layer.strips:
            one, two = (text.strips or "none" for text in (old[layer.name], layer))
            return [f"strips of layer {layer.name}: {one} -> {two}"]
    return []


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
    files = [name for image in after.images for name in image.files if (new / name).exists()]
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
