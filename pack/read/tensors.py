# SPDX-License-Identifier: Apache-2.0
"""Reads every tensor of a network's file as it is stored, damaged ones too. Imports torch.

``inspect`` and ``export`` show what is there; whether it can be packed is for ``source`` to say.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bramcast.pack.bundle.errors import CheckpointError
from bramcast.pack.bundle.packages import onnx_needed
from bramcast.pack.read.checkpoint import (
    WRAPPER_PARTS,
    State,
    choose_state,
    fitting_state,
    plain_state,
    read_states,
)
from bramcast.pack.read.model_file import load_module
from bramcast.pack.read.pt2 import load_exported
from bramcast.pack.recipe.recipe import Recipe, read_recipe

BUFFERS = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked|\w*_mask)$")
RECURRENT = re.compile(r"(weight|bias)_(ih|hh)(_l\d+)?(_reverse)?$")
SHOWN = 3  # names in a note


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor of a file.

    Attributes:
        values: as the network computes with them: float32 or float64, or integers; empty where
            ``problem`` says why there are none.
        dtype: as stored.
        kind: ``parameter`` or ``buffer``.
        layer: type of the layer that owns it, ``-`` if unknown.
        made_of: stored tensors that it was computed from (pruning mask, weight normalisation).
        storage: equal for tensors that share their memory; -1 if unknown.
        bytes: as stored.
    """

    name: str
    values: NDArray[Any]
    shape: tuple[int, ...]
    dtype: str
    kind: str
    layer: str
    bytes: int
    made_of: tuple[str, ...] = ()
    storage: int = -1
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Tensors:
    """All tensors of a file, in its order, and what a reader should know about them."""

    path: Path  # or the name of a program's own module
    tensors: tuple[StoredTensor, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A tensor on its way: what it holds, its stored type and what it was made of."""

    value: torch.Tensor
    stored: torch.Tensor
    made_of: tuple[str, ...] = ()


def read_tensors(
    path: Path, state: str | None = None, recipe: Recipe | None = None, model: str | None = None
) -> Tensors:
    """Every tensor of a checkpoint, .safetensors, ONNX file or .pt2; a recipe stands for its file.

    Args:
        state: which state dict of a checkpoint, by the keys that lead to it.
        recipe: names the network, which tells types and the right state dict.
        model: FILE:NAME instead of a recipe.

    Raises:
        UserError: the file can't be read at all, or holds no tensors.
        ToolError: the package ``onnx`` is needed and not installed.
    """
    if path.suffix == ".toml":
        recipe = read_recipe(path)
        section = recipe.model
        path = recipe.file(section.checkpoint or section.onnx or section.exported or "")
    if recipe is not None and state is None and recipe.model.checkpoint is not None:
        if recipe.file(recipe.model.checkpoint).resolve() == path.resolve():
            state = recipe.model.state
    if path.suffix == ".onnx":
        return _of_onnx(path)
    if path.suffix == ".pt2":
        return module_tensors(path, load_exported(path), named=False)
    module = None
    if model is not None:
        module = load_module(model, Path())
    elif recipe is not None and recipe.model.python is not None:
        module = load_module(recipe.model.python, recipe.path.parent)
    return _of_states(path, read_states(path), state, module)


# --- state dicts -------------------------------------------------------------------------------


def _of_states(
    path: Path, states: dict[str, State], choice: str | None, module: nn.Module | None
) -> Tensors:
    notes: list[str] = []
    wanted = module.state_dict() if module is not None else {}
    found = {key: _effective(raw, wanted, notes) for key, raw in states.items()}
    values = {key: {n: f.value for n, f in mine.items()} for key, mine in found.items()}
    by_id = {id(f.value): f for mine in found.values() for f in mine.values()}
    if module is not None:
        fitting = fitting_state(module, path, values, choice)
        chosen, label = fitting.state, fitting.name
        if label:
            notes.append(f"state dict {label!r} of the file, which fits the model")
        _compare(chosen, wanted, notes)
    else:
        left = choose_state(path, values, choice)
        if len(left) > 1:
            notes.append(
                f"{len(left)} state dicts ({', '.join(k or 'the file itself' for k in left)}): "
                "their keys lead the names; --state KEYS takes one"
            )
            chosen = {f"{k}.{n}" if k else n: v for k, s in left.items() for n, v in s.items()}
        else:
            ((label, chosen),) = left.items()
            if label and choice is None:
                notes.append(f"state dict {label!r} of the file")
            if chosen and all(n.startswith("module.") for n in chosen):
                notes.append("the prefix 'module.' (DataParallel) is left out of the names")
                chosen = {n.removeprefix("module."): v for n, v in chosen.items()}
    if not chosen:
        raise CheckpointError(f"{path}: holds no tensors")
    types = _types(module, {n: tuple(v.shape) for n, v in chosen.items()})
    made = [
        _stored(name, by_id[id(value)], types.get(name, "-"), _kind(name, value, module))
        for name, value in chosen.items()
    ]
    return Tensors(path, _numbered(made), tuple(notes))


def _effective(
    raw: State, wanted: Mapping[str, torch.Tensor], notes: list[str]
) -> dict[str, _Found]:
    """The tensors under their plain names; normalisations and masks carried out if possible."""
    stripped = {}
    for name, value in raw.items():
        if name not in wanted:
            for part in WRAPPER_PARTS:
                name = name.replace(part, "")
        stripped[name] = value
    try:
        plain = plain_state(raw, wanted.keys())
    except CheckpointError as error:
        notes.append(f"{error}; tensors are shown as they are stored")
        return {name: _Found(value, value) for name, value in stripped.items()}
    result = {}
    for name, value in plain.items():
        if name in stripped:
            result[name] = _Found(stripped[name], stripped[name])
            continue
        owner, _, last = name.rpartition(".")
        dotted = f"{owner}." if owner else ""
        starts = (f"{dotted}{last}_", f"{dotted}parametrizations.{last}.")
        parts = tuple(n for n in stripped if n not in plain and n.startswith(starts))
        stored = stripped[parts[0]] if parts else value
        result[name] = _Found(value, stored, parts)
    return result


def _compare(state: State, wanted: Mapping[str, torch.Tensor], notes: list[str]) -> None:
    """Say what the file and the model do not share."""
    counter = "num_batches_tracked"
    missing = [n for n in wanted if n not in state and not n.endswith(counter)]
    surplus = [n for n in state if n not in wanted and not n.endswith(counter)]
    other = [n for n in state if n in wanted and state[n].shape != wanted[n].shape]
    for names, what in (
        (missing, "of the model's tensors are not in the file"),
        (surplus, "tensors are not the model's"),
        (other, "tensors have another shape than the model's"),
    ):
        if names:
            more = ", ..." if len(names) > SHOWN else ""
            notes.append(f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}")


def _kind(name: str, value: torch.Tensor, module: nn.Module | None) -> str:
    """As the module has it; a guess for what it does not have."""
    if module is not None and name in module.state_dict():
        return "parameter" if name in dict(module.named_parameters()) else "buffer"
    if not BUFFERS.search(name) and value.is_floating_point():
        return "parameter"
    return "buffer"


def _stored(name: str, found: _Found, layer: str, kind: str) -> StoredTensor:
    value, stored = found.value, found.stored
    problem, values, place = problem_of(value), np.zeros(0), -1
    if not problem:
        value = value.detach().cpu()
        wide = value.is_floating_point() and value.dtype not in (torch.float32, torch.float64)
        values = (value.float() if wide else value).numpy()
        if value.numel():
            place = (
                value.untyped_storage().data_ptr() + int(value.storage_offset()) * value.itemsize
            )
    dtype = str(stored.dtype).removeprefix("torch.")
    size = 0 if stored.is_meta else stored.numel() * stored.element_size()
    return StoredTensor(
        name, values, tuple(value.shape), dtype, kind, layer, size, found.made_of, place, problem
    )


def problem_of(value: torch.Tensor) -> str:
    """Why a tensor's values can't be shown; empty if they can."""
    if value.is_meta:
        return "has no data (device 'meta')"
    if value.is_quantized:
        return f"is quantized ({str(value.dtype).removeprefix('torch.')}); save it .dequantize()d"
    if value.layout != torch.strided:
        return f"is a {str(value.layout).removeprefix('torch.')} tensor; save it .to_dense()"
    return "is complex" if value.is_complex() else ""


def _numbered(made: list[StoredTensor]) -> tuple[StoredTensor, ...]:
    """Storage addresses as small numbers; -1 for a tensor that shares with none."""
    keys = [(t.storage, t.shape) for t in made]
    shared = [k for k in dict.fromkeys(keys) if k[0] >= 0 and keys.count(k) > 1]
    number = {key: i for i, key in enumerate(shared)}
    return tuple(replace(t, storage=number.get(k, -1)) for t, k in zip(made, keys, strict=True))


# --- types of layers ---------------------------------------------------------------------------


def _types(module: nn.Module | None, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    guessed = guess_types(shapes)
    if module is None:
        return guessed
    layers = dict(module.named_modules())
    owners = {name: layers.get(name.rpartition(".")[0]) for name in shapes}
    return {n: type(o).__name__ if o is not None else guessed[n] for n, o in owners.items()}


def guess_types(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The likely type of the layer that owns each tensor, from names and shapes.

    >>> guess_types({"a.weight": (8, 3, 3, 3), "a.bias": (8,), "b.weight_ih_l0": (12, 5),
    ...              "b.weight_hh_l0": (12, 4)})
    {'a.weight': 'Conv2d', 'a.bias': 'Conv2d', 'b.weight_ih_l0': 'GRU', 'b.weight_hh_l0': 'GRU'}
    """
    owned: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        owner, _, last = name.rpartition(".")
        owned.setdefault(owner, {})[last] = shape
    types = {owner: _type(owner, parts) for owner, parts in owned.items()}
    return {name: types[name.rpartition(".")[0]] for name in shapes}


def _type(owner: str, parts: Mapping[str, tuple[int, ...]]) -> str:
    hidden = next((s for n, s in parts.items() if n.startswith("weight_hh") and len(s) == 2), None)
    if hidden is not None and hidden[1]:
        cell = "" if any(n.startswith("weight_hh_l") for n in parts) else "Cell"
        gates = {1: "RNN", 3: "GRU", 4: "LSTM"}.get(hidden[0] // hidden[1])
        return f"{gates}{cell}" if gates else "-"
    if "running_mean" in parts:
        return "BatchNorm"
    weight = parts.get("weight")
    if weight is None or not all(weight):
        return "-"
    if len(weight) == 1:
        return "LayerNorm" if parts.get("bias") == weight else "-"
    if len(weight) == 2:
        return "Embedding" if "embed" in owner.lower() and "bias" not in parts else "Linear"
    return {3: "Conv1d", 4: "Conv2d", 5: "Conv3d"}.get(len(weight), "-")


# --- other files -------------------------------------------------------------------------------


def module_tensors(path: Path, module: nn.Module, named: bool = True) -> Tensors:
    """The tensors of a module's state dict.

    Args:
        path: its file, or what it is called in messages.
        named: its parts have the types of the author's layers; else they are guessed.

    Raises:
        CheckpointError: there are none.
    """
    state: State = module.state_dict()
    types = _types(module if named else None, {n: tuple(v.shape) for n, v in state.items()})
    made = [_stored(n, _Found(v, v), types[n], _kind(n, v, module)) for n, v in state.items()]
    if not made:
        raise CheckpointError(f"{path}: holds no tensors")
    return Tensors(path, _numbered(made))


def _of_onnx(path: Path) -> Tensors:
    with onnx_needed():
        from bramcast.pack.read.onnx_graph import read_initializers
    arrays = read_initializers(path)
    types = guess_types({n: a.shape for n, a in arrays.items()})
    made = []
    for name, array in arrays.items():
        floats = array.dtype.kind == "f" or array.dtype.name.startswith(("bfloat", "float"))
        narrow = floats and array.dtype not in (np.float32, np.float64)
        kind = "parameter" if floats and not BUFFERS.search(name) else "buffer"
        problem = "is complex" if array.dtype.kind == "c" else ""
        problem = "holds text" if array.dtype.kind in "OSU" else problem
        values = array.astype(np.float32) if narrow else array
        made.append(
            StoredTensor(
                name,
                np.zeros(0) if problem else values,
                array.shape,
                array.dtype.name,
                kind,
                types[name],
                array.nbytes,
                problem=problem,
            )  # fmt: skip
        )
    if not made:
        raise CheckpointError(f"{path}: holds no initializers: its weights are not in the file")
    return Tensors(path, tuple(made))


# --- choosing ----------------------------------------------------------------------------------


def chosen(names: Iterable[str], patterns: Iterable[str], path: Path) -> list[str]:
    """The names that a glob or a regular expression (``/RE/``, searched) fits; all without any.

    A pattern without wildcards is also the name of a layer: ``gru`` takes ``gru.weight_ih_l0``.

    Raises:
        CheckpointError: a pattern that fits none; lists the names that are there.
    """
    there = list(names)
    wanted = [(p, _compiled(p)) for p in patterns]
    for pattern, compiled in wanted:
        if not any(compiled.search(name) for name in there):
            some = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
            raise CheckpointError(f"{path}: no tensor fits {pattern!r}; there are {some}")
    return [n for n in there if not wanted or any(c.search(n) for _, c in wanted)]


def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of ``chosen`` as a regular expression.

    In a glob, * and ? stand for any characters and for one; brackets are no wildcards, because
    names have none and shells do much with them.

    >>> bool(_compiled("fc").search("fc.bias")), bool(_compiled("fc").search("fc2.bias"))
    (True, False)
    """
    if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
        try:
            return re.compile(pattern[1:-1])
        except re.error as error:
            raise CheckpointError(
                f"{pattern}: no regular expression ({error}); a glob has no slashes around it"
            ) from None
    glob = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    tail = "" if set(pattern) & set("*?") else r"(\..*)?"
    return re.compile(f"^{glob}{tail}$", re.DOTALL)
