# SPDX-License-Identifier: Apache-2.0
"""Samples of an .npz file, or of arrays: x, and where present y (labels), x_cal (calibration
samples) and y_cal (their labels). Labels of output NAME of several are y_NAME.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.npz import READING_FAILS
from bramcast.pack.recipe.recipe import read_recipe


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Samples of one file.

    Attributes:
        path: of the file, or what arrays of a program are called in messages.
        x: [N, *sample shape], real numbers.
        y: int64 [N] class labels, or None.
        others: arrays y_NAME, labels of output NAME of several; None: not read from the file yet.
        y_of: the number of the output that the labels are of.
        parts: names and shapes of several inputs; x and calibration are then [N, elements], the
            elements of one behind those of the other.
        calibration: [M, *sample shape]; x where the file has no x_cal.
        y_cal: int64 [M] labels of ``calibration``, or None.
    """

    path: Path
    x: NDArray[np.floating]
    y: NDArray[np.int64] | None
    calibration: NDArray[np.floating]
    y_cal: NDArray[np.int64] | None = None
    others: Mapping[str, NDArray[Any] | None] = field(default_factory=dict)
    y_of: int = 0
    parts: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def of_outputs(self, outputs: Sequence[str]) -> "Inputs":
        """With the labels of the one output that has any: y_NAME, or y for the first.

        Args:
            outputs: names of several outputs; none where there is one.

        Raises:
            InputError: two outputs have labels, or arrays in memory name one that there is not.
        """
        wrong = [n for n, v in self.others.items() if v is not None and n[2:] not in outputs]
        if wrong:
            there = f"there are {', '.join(outputs)}" if outputs else "the network has one, y=[N]"
            raise InputError(f"{self.path}: {wrong[0]}: no output {wrong[0][2:]!r}: {there}")
        named = [name for name in outputs if f"y_{name}" in self.others]
        if not named:
            return self
        given = [*["y"] * (self.y is not None), *(f"y_{name}" for name in named)]
        if len(given) > 1:
            raise InputError(f"{self.path}: has {given[0]} and {given[1]}; one output has labels")
        array = self.others[given[0]]
        if array is None:
            array = _read(self.path, given).arrays[given[0]]
        y = _labels(self.path, given[0], array, len(self.x))
        y_cal = y if self.calibration is self.x else self.y_cal
        return replace(self, y=y, y_cal=y_cal, y_of=outputs.index(named[0]), others={})


def array_names(path: Path) -> tuple[str, ...]:
    """The names of an .npz file's arrays; none of what is no such file."""
    try:
        return _read(path, ()).names
    except InputError:
        return ()


def joined(arrays: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Samples of several inputs [N, ...] as vectors, one behind the other: [N, elements]."""
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def read_inputs(path: Path, names: Sequence[str] = ()) -> Inputs:
    """Read and check an .npz file of samples; a recipe (.toml) stands for its inputs.

    Args:
        names: of a network's inputs where it has several: NAME, and for calibration NAME_cal.

    Raises:
        InputError: missing or no .npz, no ``x``, no numbers, NaN, shapes or lengths that differ.
    """
    if path.suffix == ".toml":
        recipe = read_recipe(path)
        return read_inputs(recipe.file(recipe.model.inputs), names)
    wanted = names if len(names) > 1 else ("x",)
    file = _read(path, (*wanted, *(f"{name}_cal" for name in wanted), "y", "y_cal"))
    return inputs_of(file.arrays, path, names, file.names)


def inputs_of(
    arrays: Mapping[str, NDArray[Any]],
    path: Path,
    names: Sequence[str] = (),
    there: Sequence[str] = (),
) -> Inputs:
    """Check arrays x, y, x_cal and y_cal, of which only x must be there.

    >>> read = inputs_of({"x": np.zeros((2, 3), np.uint8), "y": np.array([1, 0])}, Path("arrays"))
    >>> read.x.dtype, read.y, read.calibration is read.x
    (dtype('float32'), array([1, 0]), True)

    Args:
        names: as ``read_inputs`` takes them.
        there: the names of all arrays of the file, for messages and labels.

    Raises:
        InputError: no numbers, NaN, shapes or lengths that differ; names ``path`` and the array.
    """
    wanted = names if len(names) > 1 else ("x",)
    for name in wanted:
        if name not in arrays:
            has = f"it has {', '.join(there) or 'nothing'}"
            if len(wanted) == 1:
                raise InputError(f"{path}: has no array {name} ({has})")
            raise InputError(
                f"{path}: has no array {name} (the network takes {', '.join(wanted)}; {has}): save "
                "an array of as many samples for each of its inputs"
            )
    xs = [_samples(path, name, arrays[name]) for name in wanted]
    cals = [f"{name}_cal" for name in wanted]
    given = [name for name in cals if name in arrays]
    if given and len(given) < len(cals):
        missing = next(name for name in cals if name not in given)
        raise InputError(f"{path}: has {given[0]}, but no {missing}: give one for each input")
    calibrations = [_samples(path, name, arrays[name]) for name in given] or xs
    for name, cal, x in zip(wanted, calibrations, xs, strict=True):
        if cal.shape[1:] != x.shape[1:]:
            raise InputError(
                f"{path}: {name}_cal has samples of shape {cal.shape[1:]}, {name} of {x.shape[1:]}"
            )
    for name, x, number in [
        *zip(wanted, xs, [len(xs[0])] * len(xs), strict=True),
        *zip(cals, calibrations, [len(calibrations[0])] * len(xs), strict=True),
    ]:
        if len(x) != number:
            raise InputError(f"{path}: {name} has {len(x)} samples, the first input {number}")
    x, calibration = xs[0], calibrations[0]
    parts: tuple[tuple[str, tuple[int, ...]], ...] = ()
    if len(wanted) > 1:
        parts = tuple((name, one.shape[1:]) for name, one in zip(wanted, xs, strict=True))
        x = joined(xs)
        calibration = joined(calibrations) if given else x
    y = _labels(path, "y", arrays["y"], len(x)) if "y" in arrays else None
    y_cal = y
    if given:
        y_cal = None
        if "y_cal" in arrays:
            y_cal = _labels(path, "y_cal", arrays["y_cal"], len(calibration))
    labels = [name for name in (*arrays, *there) if name.startswith("y_") and name != "y_cal"]
    others = {name: arrays.get(name) for name in labels}
    return Inputs(path, x, y, calibration, y_cal, others, parts=parts)


@dataclass(frozen=True, slots=True)
class _File:
    """Some arrays of an .npz file, and the names of all that it has."""

    arrays: dict[str, NDArray[np.generic]]
    names: tuple[str, ...]


def _read(path: Path, wanted: Sequence[str]) -> _File:
    """Those of the wanted arrays that a file has.

    Raises:
        InputError: missing, no .npz, or a damaged array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in wanted if name in file.files}
            names = tuple(file.files)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give an .npz with an array x") from None
    except READING_FAILS as error:
        raise InputError(f"{path}: not an .npz file of plain arrays ({error})") from None
    except (AttributeError, TypeError):
        raise InputError(
            f"{path}: a single array, not an .npz file; save it with np.savez"
        ) from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # a part of the archive that is no .npy
            raise InputError(f"{path}: {name} is damaged, not a plain array")
    return _File(arrays, names)


def _labels(path: Path, name: str, array: NDArray[np.generic], samples: int) -> NDArray[np.int64]:
    if array.shape != (samples,) or array.dtype.kind not in "iu":
        hint = ""
        if array.ndim == 2 and len(array) == samples and array.shape[1] > 1:
            hint = f"; of one-hot rows take {name}.argmax(axis=1)"
        elif array.size == samples and array.dtype.kind in "iuf":
            hint = f"; take {name}.reshape(-1).astype(int)"
        raise InputError(
            f"{path}: {name} must be {samples} integer labels, got {array.dtype} of shape "
            f"{array.shape}{hint}"
        )
    return array.astype(np.int64)


def _samples(path: Path, name: str, array: NDArray[np.generic]) -> NDArray[np.floating]:
    if array.dtype.kind not in "fiub":
        raise InputError(f"{path}: {name} holds {array.dtype}, not numbers")
    if array.ndim < 2 or not array.size:
        raise InputError(
            f"{path}: {name} has shape {array.shape}; it needs a batch axis and at least one sample"
        )
    values = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        sample = int(np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))[0])
        raise InputError(f"{path}: {name}[{sample}] has a value that is NaN or infinite")
    return values.astype(values.dtype, copy=False)
