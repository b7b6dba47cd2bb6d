"""Is a retrained network's bundle a drop-in for the old one?

drop-in        same program, depths, input and output formats: swap the images
repack         fits the synthesized core, but the program or an input or output format changed
resynthesize   does not fit the synthesized core
worse          a limit is broken (accuracy)
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bramcast.golden.machine import Machine, arrays_from_beats, frames_from_arrays, load
from bramcast.golden.metrics import labelled_accuracy, predictions
from bramcast.pack.descriptor import Nest
from bramcast.pack.images import load_images
from bramcast.pack.inputs import Inputs
from bramcast.pack.manifest import IMAGES, Manifest

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class MovedFormat:
    """A layer whose Q format differs between the two bundles."""

    layer: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Regression:
    """The verdict with its reasons; accuracies are None without labels."""

    verdict: str
    reasons: list[str]
    accuracy_old: float | None
    accuracy_new: float | None
    agreement: float
    changed_words: dict[str, int]
    moved: list[MovedFormat]

    @property
    def passed(self) -> bool:
        return self.verdict != "worse"


def regress(
    old: Path,
    new: Path,
    inputs: Inputs,
    limit_points: float,
    allow_modified: bool = False,
    report: Report = lambda what, done, of: None,
) -> Regression:
    """Run both bundles' golden on the same samples and compare what lies in them.

    Args:
        limit_points: how many points of accuracy the new network may lose.
    """
    machines = [load(bundle, allow_modified) for bundle in (old, new)]
    classes: list[np.ndarray] = []
    scores: list[float | None] = []
    for name, machine in zip(("old", "new"), machines, strict=True):
        assert machine.manifest is not None
        frames = frames_from_arrays(inputs.x, machine.manifest.input)
        beats = machine.run(frames, progress=_counting(report, name, len(frames))).beats
        integers, _ = arrays_from_beats(beats, machine)
        classes.append(predictions(integers))
        scores.append(labelled_accuracy(integers, inputs.y))
    before, after = (m.manifest for m in machines)
    assert before is not None and after is not None
    verdict, reasons = _fit(before, after, machines)
    worse = _worse(scores[0], scores[1], limit_points)
    if worse is not None:
        verdict, reasons = "worse", [worse, *reasons]
    return Regression(
        verdict,
        reasons,
        scores[0],
        scores[1],
        float((classes[0] == classes[1]).mean()),
        _changed_words(old, new, before, after),
        _moved(before, after),
    )


def _counting(report: Report, name: str, of: int) -> Callable[[int], None]:
    return lambda done: report(name, done, of)


def _worse(old: float | None, new: float | None, limit: float) -> str | None:
    if old is None or new is None or old - new <= limit / 100 + 1e-12:
        return None
    return (
        f"accuracy fell by {100 * (old - new):.2f} points, from {100 * old:.2f} % to "
        f"{100 * new:.2f} % (limit {limit:g})"
    )


_DEPTHS = ("program_depth", "weights_depth", "bias_depth", "table_depth", "scratch_depth")
_HARDWARE = ("lanes", "taps", "data_bits", "weight_bits", "rq")


def _fit(before: Manifest, after: Manifest, machines: list[Machine]) -> tuple[str, list[str]]:
    """drop-in, repack or resynthesize, and why."""
    other = [
        f"{name} {getattr(before.core, name)} -> {getattr(after.core, name)}"
        for name in _HARDWARE
        if getattr(before.core, name) != getattr(after.core, name)
    ]
    needed = _needed(after)
    small = [
        f"{name}: the new network needs {needed[name]}, the core has {getattr(before.core, name)}"
        for name in _DEPTHS
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
    if reasons:
        return "repack", reasons
    return "drop-in", ["same program, depths, input and output formats: swap the images"]


def _needed(manifest: Manifest) -> dict[str, int]:
    used = {f"{image.name}_depth": image.used for image in manifest.images}
    return {"table_depth": 0, **used, "scratch_depth": manifest.scratch_words}


def _program_change(machines: list[Machine]) -> str:
    old, new = (m.program for m in machines)
    if len(old) != len(new):
        return f"program: {len(old) - 1} nests -> {len(new) - 1}"
    index = next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
    a, b = old[index], new[index]
    manifest = machines[0].manifest
    assert manifest is not None
    name = manifest.layers[manifest.nests[index - 1].layer].name if index else "input"
    if isinstance(a, Nest) and isinstance(b, Nest):
        fields = [f for f in a.__dataclass_fields__ if getattr(a, f) != getattr(b, f)]
        return f"program: nest {index} ({name}) differs in {', '.join(fields)}"
    return f"program: descriptor {index} ({name}) differs"


def _moved(before: Manifest, after: Manifest) -> list[MovedFormat]:
    new = {layer.name: layer.format for layer in after.layers}
    moved = [
        MovedFormat(layer.name, str(layer.format.q), str(new[layer.name].q))
        for layer in before.layers
        if layer.name in new and new[layer.name] != layer.format
    ]
    if before.input.format != after.input.format:
        moved.insert(0, MovedFormat("input", str(before.input.format.q), str(after.input.format.q)))
    return moved


def _changed_words(old: Path, new: Path, before: Manifest, after: Manifest) -> dict[str, int]:
    """Words that differ in each image; a word that only one bundle has counts as changed."""
    one, two = load_images(old, before, True), load_images(new, after, True)
    changed = {}
    for name in sorted(set(one) | set(two), key=IMAGES.index):
        a, b = one.get(name), two.get(name)
        if a is None or b is None or a.bits != b.bits:
            changed[name] = max(len(w) for w in (a, b) if w is not None)
            continue
        common = min(len(a), len(b))
        differ = int((a.data[:common] != b.data[:common]).any(axis=1).sum())
        changed[name] = differ + abs(len(a) - len(b))
    return changed
