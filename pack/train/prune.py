# SPDX-License-Identifier: Apache-2.0
"""Magnitude pruning made permanent: a new state dict with zeros. Imports torch.

Single weights, or whole output channels, which ``[model] shrink`` then leaves out of the images.
"""

import json
import os
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as safetensors_bytes
from torch import nn

from bramcast.pack.bundle.errors import CheckpointError, InputError, RecipeError
from bramcast.pack.bundle.folder import is_stdout, replace_bytes, replace_file
from bramcast.pack.pipeline import Packed, pack, run_integers
from bramcast.pack.read.checkpoint import (
    State,
    ambiguous,
    check_values,
    choose_state,
    fitting_state,
    plain_state,
    read_states,
)
from bramcast.pack.read.model_file import load_module
from bramcast.pack.read.tensors import RECURRENT, chosen, problem_of
from bramcast.pack.recipe.recipe import Recipe, read_recipe
from bramcast.pack.run import execute
from bramcast.pack.run.calibrate import Progress, right_classes, silent

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
BATCH = 64


@dataclass(frozen=True, slots=True)
class Goal:
    """What is set to zero; exactly one of ``threshold`` and ``sparsity`` is given.

    Attributes:
        threshold: weights (or channels of nothing but weights) of this magnitude or a smaller one,
            as stored: 0.1 takes a float32 of 0.1.
        sparsity: this share of the weights (channels), the least ones; those that are zero count.
        overall: one order for all tensors, not one for each.
        channels: output channels by their mean magnitude, with their bias and BatchNorm.
    """

    threshold: float | None = None
    sparsity: float | None = None
    overall: bool = False
    channels: bool = False

    def __post_init__(self) -> None:
        if (self.threshold is None) == (self.sparsity is None):
            raise InputError("give --threshold T or --sparsity S")
        if self.threshold is not None and not 0 < self.threshold < np.inf:
            raise InputError(f"--threshold {self.threshold:g}: a magnitude above 0")
        if self.sparsity is not None and not 0 < self.sparsity < 1:
            raise InputError(f"--sparsity {self.sparsity:g}: a share between 0 and 1 (0.5 is half)")
        if self.overall and self.sparsity is None:
            raise InputError("--global orders weights for --sparsity; a threshold is one for all")


@dataclass(frozen=True, slots=True)
class PrunedTensor:
    """Zeros of one tensor before and after, and output channels of nothing but zeros."""

    name: str
    shape: tuple[int, ...]
    count: int
    zeros_before: int
    zeros_after: int
    channels_before: int
    channels_after: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A packed network: accuracies (None without labels) and words of each image."""

    float_accuracy: float | None
    quantized_accuracy: float | None
    words: tuple[tuple[str, int], ...]
    channels_removed: int


@dataclass(frozen=True, slots=True)
class Pruning:
    """What was done; ``recipe`` is the new recipe, None without one or where it was in the way."""

    path: Path
    output: Path
    tensors: tuple[PrunedTensor, ...]
    notes: tuple[str, ...]
    before: Measured | None = None
    after: Measured | None = None
    recipe: Path | None = None


def prune(
    path: Path,
    output: Path,
    goal: Goal,
    filters: Sequence[str] = (),
    state: str | None = None,
    recipe: Recipe | None = None,
    shrink: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> Pruning:
    """Write a state dict with the least weights set to zero; names and dtypes stay.

    Args:
        path: checkpoint or .safetensors, or a recipe of one.
        output: .safetensors, else written by torch.save.
        filters: names, globs or /regular expressions/; weights (two axes or more) are pruned,
            biases and the like only by their full name.
        recipe: its network is packed before and after, and a new recipe is written.
        shrink: pack the pruned network without channels that compute nothing.
        force: ``output`` may be the checkpoint itself.

    Raises:
        UserError: whatever is wrong with the files, the goal or the network.
    """
    if path.suffix == ".toml":
        recipe = read_recipe(path)
        path = recipe.file(recipe.model.checkpoint or "")
    if recipe is not None and recipe.model.checkpoint is None:
        raise RecipeError(
            f"{recipe.path}: its network is no checkpoint: prune before it is exported, and give "
            "[model] python and checkpoint"
        )
    if path.suffix in (".onnx", ".pt2"):
        raise InputError(
            f"{path}: pruning writes state dicts; prune before the network is exported"
        )
    if shrink and recipe is None:
        raise InputError("--shrink needs --recipe: it is done when the network is packed")
    if output.is_dir():
        raise InputError(f"{output}: is a folder; give a file")
    if is_stdout(output) and recipe is not None:
        raise InputError("a recipe for the pruned network names its file: give -o FILE")
    if recipe is not None and _same_file(output, recipe.path):
        raise InputError(f"{output}: is the recipe; give another file for the state dict")
    if _same_file(output, path) and not force:
        raise InputError(
            f"{output}: is the checkpoint that is pruned; give another file, or --force to lose "
            "the weights that become zero"
        )
    notes: list[str] = []
    choice = state or (_state_of(recipe, path) if recipe is not None else None)
    old = _masks_carried_out(_one_state(path, choice, recipe, notes), notes)
    names = _candidates(path, old, filters, goal, notes)
    zeroed = _decide(old, names, goal)
    if goal.channels:
        _companions(old, zeroed, notes)
    new = _with_zeros(old, zeroed)
    tensors = tuple(_described(name, old[name], new[name]) for name in names)
    before = after = None
    if recipe is not None:
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / ("pruned" + output.suffix)
            _save(fresh, new)
            before = _measured(recipe, path, choice, recipe.model.shrink, Path(folder), progress)
            small = shrink or recipe.model.shrink
            after = _measured(recipe, fresh, None, small, Path(folder), progress)
    replace_file(output, lambda file: _write(file, new, output.suffix))
    written = _new_recipe(recipe, output, shrink, notes) if recipe is not None else None
    return Pruning(path, output, tensors, tuple(notes), before, after, written)


def prune_module(module: nn.Module, name: str, goal: Goal, filters: Sequence[str] = ()) -> Pruning:
    """Set the least weights of a module in memory to zero, in place.

    Args:
        name: what the module is called in messages, and as the result's path.
        goal, filters: as in ``prune``.

    Raises:
        CheckpointError: nothing to prune, or weights that a parametrization computes; nothing is
            changed then.
    """
    path, notes = Path(name), list[str]()
    old: State = module.state_dict()
    masked = next((n for n in old if n.endswith("_mask") and f"{n[:-5]}_orig" in old), None)
    if masked is not None:
        raise CheckpointError(
            f"{name}: {masked} is a mask of torch.nn.utils.prune: carry it out with prune.remove()"
        )
    names = _candidates(path, old, filters, goal, notes)
    zeroed = _decide(old, names, goal)
    if goal.channels:
        _companions(old, zeroed, notes)
    new = _with_zeros(old, zeroed)
    tensors = tuple(_described(name, old[name], new[name]) for name in names)
    with torch.no_grad():
        for changed in zeroed:
            old[changed].copy_(new[changed])
    return Pruning(path, path, tensors, tuple(notes))


def _same_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, by links as well."""
    return one.exists() and other.exists() and one.samefile(other)


def _state_of(recipe: Recipe, path: Path) -> str | None:
    """[model] state, if it speaks of this file."""
    mine = recipe.file(recipe.model.checkpoint or "")
    return recipe.model.state if mine.resolve() == path.resolve() else None


def _one_state(path: Path, choice: str | None, recipe: Recipe | None, notes: list[str]) -> State:
    states = choose_state(path, read_states(path), choice)
    key = next(iter(states))
    if len(states) > 1:
        if recipe is None or recipe.model.python is None:
            raise ambiguous(path, list(states))
        module = load_module(recipe.model.python, recipe.path.parent)
        wanted = module.state_dict().keys()
        plain = {k: plain_state(s, wanted) for k, s in states.items()}
        key = fitting_state(module, path, plain).key
    if key:
        notes.append(f"{key!r} of {path.name} becomes a plain state dict, nothing else is kept")
    return states[key]


def _masks_carried_out(state: State, notes: list[str]) -> State:
    """NAME_orig and NAME_mask of torch.nn.utils.prune become NAME, in its place."""
    result, masks = {}, 0
    for name, value in state.items():
        base = name.removesuffix("_orig")
        if base != name and f"{base}_mask" in state:
            mask = state[f"{base}_mask"]
            if mask.shape != value.shape:
                raise CheckpointError(
                    f"{name} has shape {tuple(value.shape)}, its mask {tuple(mask.shape)}"
                )
            result[base], masks = value * mask.to(value.dtype), masks + 1
        elif not (name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in state):
            result[name] = value
    if masks:
        notes.append(
            f"{masks} pruning masks are multiplied in: NAME_orig and NAME_mask become NAME"
        )
    return result


# --- what is pruned ----------------------------------------------------------------------------


def _candidates(
    path: Path, state: State, filters: Sequence[str], goal: Goal, notes: list[str]
) -> list[str]:
    matching = chosen(state, filters, path)
    names = []
    for name in matching:
        value = state[name]
        if not value.is_floating_point() or (value.ndim < 2 and name not in filters):
            continue
        problem = problem_of(value)
        if problem:
            raise CheckpointError(f"{path}: {name} {problem}")
        if _normalised(name, state):
            raise CheckpointError(
                f"{path}: {name} belongs to a weight or spectral normalisation: its weights are "
                "computed; remove that (remove_weight_norm, remove_parametrizations) and save again"
            )
        check_values(path, name, value)
        names.append(name)
    if goal.channels:
        gates = [n for n in names if RECURRENT.search(n)]
        names = [n for n in names if n not in gates and state[n].ndim > 1]
        if gates:
            notes.append(f"{len(gates)} tensors of recurrent layers have no channels to remove")
        if len(names) > 1 and names[-1] not in filters:
            notes.append(
                f"{names[-1]} keeps its channels: they are taken for the network's outputs"
            )
            names = names[:-1]
    if not names:
        raise CheckpointError(
            f"{path}: nothing to prune: weights have two axes or more (others by their full name)"
        )
    return names


def _normalised(name: str, state: State) -> bool:
    if ".parametrizations." in f".{name}":
        return True
    base, _, last = name.rpartition("_")
    return (last in "gv" and f"{base}_g" in state and f"{base}_v" in state) or (
        last == "orig" and f"{base}_u" in state
    )


def _magnitude(value: torch.Tensor) -> FloatArray:
    return np.asarray(np.abs(value.detach().cpu().double().numpy()))


def _decide(state: State, names: Sequence[str], goal: Goal) -> dict[str, BoolArray]:
    """What becomes zero, in each tensor's shape. Tensors that share memory are one."""
    groups: dict[Any, str] = {}
    for name in names:
        groups.setdefault(_place(state[name]), name)
    scores, rows = {}, {}
    for name in groups.values():
        magnitude = _magnitude(state[name])
        flat = magnitude.reshape(len(magnitude), -1) if goal.channels else magnitude.reshape(-1, 1)
        by_limit = goal.threshold is not None
        scores[name] = flat.max(axis=1) if by_limit else flat.mean(axis=1)
        rows[name] = len(flat)
    keeps = 1 if goal.channels else 0
    if goal.threshold is not None:
        dropped = {n: s <= _stored(goal.threshold, state[n].dtype) for n, s in scores.items()}
    elif goal.overall:
        assert goal.sparsity is not None
        together = least(np.concatenate(list(scores.values())), goal.sparsity)
        parts = np.split(together, np.cumsum(list(rows.values()))[:-1])
        dropped = dict(zip(scores, parts, strict=True))
    else:
        assert goal.sparsity is not None
        dropped = {n: least(s, goal.sparsity) for n, s in scores.items()}
    result = {}
    for name, drop in dropped.items():
        if keeps and drop.all():
            drop[int(scores[name].argmax())] = False
        shape = tuple(state[name].shape)
        each = drop.reshape(-1, *[1] * (len(shape) - 1)) if goal.channels else drop.reshape(shape)
        result[name] = np.broadcast_to(each, shape)
    return {n: result[groups[_place(state[n])]] for n in names}


def _stored(value: float, dtype: torch.dtype) -> float:
    """A number as a tensor of this type holds it, as torch compares both.

    >>> _stored(0.1, torch.float32), _stored(0.1, torch.float64)
    (0.10000000149011612, 0.1)
    """
    return float(torch.tensor(value, dtype=dtype).double())


def _place(value: torch.Tensor) -> tuple[int, tuple[int, ...]]:
    return value.data_ptr(), tuple(value.shape)


def least(scores: FloatArray, share: float) -> BoolArray:
    """The given share of the smallest scores, rounded to whole ones; of equal ones the first.

    >>> least(np.array([3.0, 1.0, 0.0, 1.0]), 0.5)
    array([False,  True,  True, False])
    """
    result = np.zeros(scores.size, bool)
    result[np.argsort(scores, kind="stable")[: int(share * scores.size + 0.5)]] = True
    return result


def _companions(state: State, zeroed: dict[str, BoolArray], notes: list[str]) -> None:
    """A channel's bias and the BatchNorm right behind it in the file become zero, too."""
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    for name in list(zeroed):
        drop = zeroed[name].reshape(len(zeroed[name]), -1)[:, 0]
        owner, _, last = name.rpartition(".")
        if last != "weight":
            continue
        at = owners.index(owner)
        follows = owners[at + 1] if at + 1 < len(owners) else None
        found = [_join(owner, "bias")]
        if follows is not None and _join(follows, "running_mean") in state:
            found += [_join(follows, "weight"), _join(follows, "bias")]
        for other in found:
            if other in state and state[other].shape == drop.shape:
                zeroed[other] = drop
    extra = sum(value.ndim == 1 for value in zeroed.values())
    if extra:
        notes.append(f"{extra} biases and BatchNorm tensors of these channels become zero, too")


def _join(owner: str, last: str) -> str:
    return f"{owner}.{last}" if owner else last


def _with_zeros(state: State, zeroed: Mapping[str, BoolArray]) -> State:
    """The new state dict; tensors that shared memory still do."""
    made: dict[Any, torch.Tensor] = {}
    result = {}
    for name, value in state.items():
        if name not in zeroed:
            result[name] = value
            continue
        key = _place(value)
        if key not in made:
            mask = torch.from_numpy(np.array(zeroed[name])).to(value.device)
            made[key] = value.detach().masked_fill(mask, 0)
        result[name] = made[key]
    return result


def _described(name: str, old: torch.Tensor, new: torch.Tensor) -> PrunedTensor:
    def zeros(value: torch.Tensor) -> tuple[int, int]:
        zero = (value == 0).reshape(len(value), -1) if value.ndim else (value == 0).reshape(1, 1)
        return int(zero.sum()), int(zero.all(dim=1).sum())

    (a, rows_a), (b, rows_b) = zeros(old), zeros(new)
    return PrunedTensor(name, tuple(new.shape), new.numel(), a, b, rows_a, rows_b)


# --- files -------------------------------------------------------------------------------------


def _save(path: Path, state: State) -> None:
    with path.open("wb") as file:
        _write(file, state, path.suffix)


def _write(file: IO[bytes], state: State, suffix: str) -> None:
    if suffix == ".safetensors":  # it has no shared memory
        plain = {name: value.detach().contiguous().clone() for name, value in state.items()}
        file.write(safetensors_bytes(plain))
        return
    torch.save(dict(state), file)


def _new_recipe(recipe: Recipe, output: Path, shrink: bool, notes: list[str]) -> Path | None:
    """The recipe of the pruned network beside it; None where another file has its name."""
    target = output.with_suffix(".toml")
    data = tomllib.loads(recipe.path.read_text(encoding="utf-8-sig"))
    model = data["model"]
    folder = target.parent.resolve()
    model.pop("state", None)
    model["checkpoint"] = output.name
    for key in ("python", "inputs"):
        if key in model:
            file, colon, name = model[key].partition(":")
            moved = os.path.relpath(recipe.file(file).resolve(), folder)
            model[key] = Path(moved).as_posix() + colon + name
    if shrink:
        model["shrink"] = True
    text = toml(data)
    if target.exists() and target.read_text(encoding="utf-8", errors="replace") != text:
        notes.append(
            f"{target} is there and stays as it is; a recipe for the pruned network has [model] "
            f'checkpoint = "{output.name}"' + (" and shrink = true" if shrink else "")
        )
        return None
    replace_bytes(target, text.encode())
    return target


def toml(data: Mapping[str, Any], place: str = "") -> str:
    """A recipe's tables as TOML: texts, numbers, lists and tables in tables.

    >>> print(toml({"model": {"inputs": "x.npz"}, "core": {"lanes": 16}}))
    [model]
    inputs = "x.npz"
    <BLANKLINE>
    [core]
    lanes = 16
    <BLANKLINE>
    """
    lines = [f"{_key(k)} = {json.dumps(v)}" for k, v in data.items() if not isinstance(v, dict)]
    parts = [f"[{place}]\n" + "".join(f"{line}\n" for line in lines)] if lines and place else []
    for key, value in data.items():
        if isinstance(value, dict):
            parts.append(toml(value, f"{place}.{_key(key)}" if place else _key(key)))
    return "\n".join(part for part in parts if part)


def _key(name: str) -> str:
    bare = name.replace("_", "").replace("-", "")
    return name if bare.isascii() and bare.isalnum() else json.dumps(name)


# --- what it costs -----------------------------------------------------------------------------


def _measured(
    recipe: Recipe, checkpoint: Path, state: str | None, shrink: bool, folder: Path,
    progress: Progress,
) -> Measured:  # fmt: skip
    section = replace(
        recipe.model, checkpoint=str(checkpoint.resolve()), state=state, shrink=shrink
    )
    packed = pack(replace(recipe, model=section), folder / "bundle", progress)
    words = tuple((image.name, image.used) for image in packed.manifest.images)
    removed = sum(r.channels for r in packed.removed)
    return Measured(packed.manifest.float_accuracy, _quantized(packed), words, removed)


def _quantized(packed: Packed) -> float | None:
    """Accuracy of the quantized graph on all samples."""
    y = packed.inputs.y
    if y is None or packed.manifest.float_accuracy is None:
        return None
    graph, labelled, right = packed.graph, packed.inputs.y_of, 0
    leaving = [op.name for op in graph.ops if graph.leaves(op)]
    for start in range(0, len(y), BATCH):
        results = run_integers(packed, packed.inputs.x[start : start + BATCH])
        found = [torch.from_numpy(results[name]) for name in leaving]
        real = execute.real_numbers(graph, packed.quantized, found)
        outputs = execute.output_array(graph, real)
        right += right_classes(graph, outputs, y[start : start + BATCH], labelled)
    return right / len(y)
