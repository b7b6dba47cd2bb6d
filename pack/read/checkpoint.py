# SPDX-License-Identifier: Apache-2.0
"""Reads a checkpoint and puts it into the model that the recipe names. Imports torch."""

import argparse
import collections
import pathlib
import re
import types
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from bramcast.pack.bundle.errors import CheckpointError, InputError

State = dict[str, torch.Tensor]

# Names that wrappers put in front or in the middle of a parameter's own name.
WRAPPER_PARTS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
# Entries of a training state that hold tensors, but no network.
NO_NETWORK = re.compile(r"optim|sched|scaler|rng", re.IGNORECASE)
# Tensors that tools leave in a state dict and that no inference needs.
COUNTERS = re.compile(r"(^|\.)(num_batches_tracked|n_averaged|total_ops|total_params)$")
# Plain data that training loops save beside the weights: making it runs no foreign code.
_NUMPY = {"scalar": np.float64(0).__reduce__()[0], "_reconstruct": np.zeros(0).__reduce__()[0]}
HARMLESS: list[Any] = [
    argparse.Namespace,
    types.SimpleNamespace,
    collections.defaultdict,
    pathlib.PosixPath,
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefdU"},
    *((f, f"numpy.{c}.multiarray.{n}") for n, f in _NUMPY.items() for c in ("core", "_core")),
]
# A network's name and its first layer, or the first line of its text.
CAFFE = re.compile(
    rb"\n[\x01-\x7f][\w./ -]+(\xa2\x06|\x12)"
    rb'|(\s*name\s*:\s*"[^"]*")?\s*(layers?\s*\{|input\s*:\s*")'
)
REPEATED = 1 << 26  # elements that a tensor may have beyond those that the file stores
DEEPEST = 6  # levels of dictionaries in which a state dict is looked for


# --- files -------------------------------------------------------------------------------------


def read_states(path: Path) -> dict[str, State]:
    """Every state dict in a ``.pth``/``.pt``/``.safetensors`` file, by the keys that lead to it.

    {"epoch": 3, "state_dict": {...}} gives {"state_dict": ...}; a file that is a state dict
    itself gives {"": ...}. Nothing is unpickled but tensors and plain data.

    Raises:
        InputError: the file is missing or a folder.
        CheckpointError: it holds no named tensors, is damaged, or needs code to be unpickled.
    """
    states: dict[str, State] = {}
    loaded = _load(path)
    _collect(loaded, (), states)
    for state in states.values():
        for name, value in state.items():
            _check_stored(path, name, value)
    if not states:
        if isinstance(loaded, Mapping) and not loaded:
            return {"": {}}
        keys = ", ".join(repr(k) for k in list(loaded)[:6]) if isinstance(loaded, Mapping) else ""
        raise CheckpointError(
            f"{path}: holds {type(loaded).__name__}{f' with {keys}' if keys else ''}, not a state "
            "dict of named tensors; save it with torch.save(model.state_dict(), FILE)"
        )
    return states


def _check_stored(path: Path, name: str, value: torch.Tensor) -> None:
    """A few stored numbers, repeated by a stride of 0, must not ask for all the memory there is."""
    if value.layout != torch.strided or value.is_meta:
        return
    stored = value.untyped_storage().nbytes() // value.element_size()
    if value.numel() > stored + REPEATED:
        raise CheckpointError(
            f"{path}: {name} has shape {tuple(value.shape)}, {value.numel():,} elements, of which "
            f"the file stores {stored:,} (expanded, a stride of 0): save the tensor before it is "
            "expanded, or leave it out"
        )


def readable(path: Path, what: str) -> bytes:
    """The first 512 bytes of a file that is there and is more than a placeholder.

    Raises:
        InputError: missing or a folder.
        CheckpointError: empty, or a git-lfs pointer.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the {what} file in it")
    if not path.is_file():
        raise InputError(f"{path}: no such {what} file")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from None
    if not head:
        raise CheckpointError(f"{path}: is empty (0 bytes); save or download it again")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path}: is a git-lfs pointer, not the file itself; fetch it with `git lfs pull`"
        )
    return head


def _load(path: Path) -> object:
    """What the file holds, or a CheckpointError that says what it is instead."""
    head = readable(path, "checkpoint")
    size = path.stat().st_size
    if path.suffix == ".safetensors" or _is_safetensors(head, size):
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path}: not a complete safetensors file ({first_line(error)}); save or "
                "download it again"
            ) from None
    foreign = _foreign(path, head)
    if foreign:
        raise CheckpointError(f"{path}: {foreign}")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(HARMLESS):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the unpickler met
        raise CheckpointError(f"{path}: {_unreadable(error)}") from None


def _is_safetensors(head: bytes, size: int) -> bool:
    return head[8:10] in (b'{"', b"{}") and int.from_bytes(head[:8], "little") <= size - 8


def _foreign(path: Path, head: bytes) -> str | None:
    """What a file that torch.load can't take is, and what to do; None if it may be a checkpoint."""
    if head.startswith(b"\x89HDF"):
        return "is an HDF5 file (Keras); export the network to ONNX and set [model] onnx"
    if path.suffix == ".caffemodel" or CAFFE.match(head):
        return (
            "is a Caffe file; convert the network to ONNX with a tool of your choice and set "
            '[model] onnx = "..." instead of checkpoint'
        )
    if path.suffix == ".onnx":
        return 'is an ONNX file: set [model] onnx = "..." instead of checkpoint'
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.partition("/")[2] for name in archive.namelist()]
        except Exception:  # zipfile raises many kinds; torch.load will say what is wrong
            return None
        if "archive_format" in names or any(n.startswith("models/") for n in names):
            return 'is a torch.export archive: set [model] exported = "..." instead of checkpoint'
        if any(n.startswith("code/") for n in names):
            return (
                "is a TorchScript archive; save its weights with "
                "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
            )
        return None
    text = head.split(b"\n", 1)[0].strip()
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return (
            f"is a text file that begins with {text[:40].decode('ascii')!r}, not a checkpoint; "
            "save a state_dict with torch.save(model.state_dict(), FILE) or download it again"
        )
    return None


def first_line(error: BaseException) -> str:
    """What an exception of another library says, short enough for one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def _unreadable(error: Exception) -> str:
    text = str(error)
    found = re.search(r"GLOBAL ([\w.]+)|function (?:<[^>]*? )?([\w.]+)", text)
    if "nsupported" in text and found or "Trying to call reduce" in text or "is blocked" in text:
        what = next((g for g in found.groups() if g), "a class") if found else "a class"
        return (
            f"needs the code of {what} to be unpickled, which bramcast never runs (a whole "
            "model or training state was pickled). If you trust the file, save its weights once: "
            "m = torch.load(FILE, weights_only=False); torch.save(S, 'weights.pth') with "
            "S = m.state_dict() for a model, m['state_dict'] or the like for a training state"
        )
    if ".npy" in text:
        return (
            "is an .npz file of arrays, no checkpoint: save tensors with torch.save or as "
            ".safetensors; samples go into [model] inputs or --inputs"
        )
    _, found_error, told = text.partition("WeightsUnpickler error:")  # behind PyTorch's own advice
    reason = first_line(Exception(told)) if found_error else first_line(error)
    return (
        f"damaged or cut off, can't be read as a state dict ({reason[:160]}); save it again with "
        "torch.save(model.state_dict(), FILE) or as .safetensors"
    )


def _collect(value: object, keys: tuple[str, ...], found: dict[str, State]) -> None:
    """Gather the dictionaries of tensors in ``value``, leaving optimizers and the like out."""
    if isinstance(value, (argparse.Namespace, types.SimpleNamespace)):
        value = vars(value)
    if not isinstance(value, Mapping) or "param_groups" in value or len(keys) > DEEPEST:
        return
    state = {}
    for name, entry in value.items():
        if isinstance(entry, np.ndarray) and entry.dtype.kind in "fiub":
            entry = torch.from_numpy(np.ascontiguousarray(entry))
        if isinstance(entry, torch.Tensor) and isinstance(name, str):
            state[name] = entry
        elif not NO_NETWORK.search(str(name)):
            _collect(entry, (*keys, str(name)), found)
    if state:
        found[".".join(keys)] = state


# --- what training leaves in a state dict ------------------------------------------------------


def plain_state(state: State, wanted: Set[str] = frozenset()) -> State:
    """The state dict with weights as the network computes them, in float32.

    Multiplies pruning masks in, carries weight normalisation (both kinds, any dim) and spectral
    normalisation out, drops what compile and FSDP put into the names.

    Args:
        wanted: names that the model itself has; they stay as they are.

    Raises:
        CheckpointError: a tensor that is sparse, quantized, complex or without data, or a
            parametrization that only its code can carry out.
    """
    result: State = {}
    for name, value in state.items():
        if name not in wanted:
            for part in WRAPPER_PARTS:
                name = name.replace(part, "")
        name = _as_new_norm(name, wanted)
        result[name] = _plain(name, value)
    for _ in range(2):  # a pruned v of a weight norm
        for name in list(result):
            for suffix, make in _RULES.items():
                if name.endswith(suffix) and name in result and not _wants(name, wanted):
                    make(result, name, name[: -len(suffix)])
    for name in result:
        if ".parametrizations." in f".{name}" and not _wants(name, wanted):
            raise CheckpointError(
                f"{name} is parametrized by code that the checkpoint does not hold; call "
                "torch.nn.utils.parametrize.remove_parametrizations before saving"
            )
    return result


def _tails(name: str) -> Iterator[tuple[str, str]]:
    """Ways to take a name as prefix and rest: ("", "a.b"), ("a.", "b")."""
    for start in (0, *(found.end() for found in re.finditer(r"\.", name))):
        yield name[:start], name[start:]


def _wants(name: str, wanted: Set[str]) -> bool:
    return any(tail in wanted for _, tail in _tails(name))


def _plain(name: str, value: torch.Tensor) -> torch.Tensor:
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise CheckpointError(
            f"{name} is a {value.layout} tensor of {value.dtype}; bramcast reads dense real "
            "tensors: save it as .to_dense() or .dequantize()"
        )
    if value.is_meta:
        raise CheckpointError(f"{name} has no data (a tensor on the device 'meta')")
    value = value.detach()
    return value.float() if value.is_floating_point() else value


def _pruned(state: State, name: str, base: str) -> None:
    """torch.nn.utils.prune: NAME_orig * NAME_mask; spectral_norm: NAME_orig, NAME_u, NAME_v."""
    if f"{base}_mask" in state:
        state[base] = _times(base, state.pop(name), state.pop(f"{base}_mask"))
    elif f"{base}_u" in state:
        u, v = state.pop(f"{base}_u"), state.pop(f"{base}_v", None)
        state[base] = _spectral(base, state.pop(name), u, v)


def _times(name: str, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    if left.shape != right.shape:
        raise CheckpointError(
            f"{name}_orig has shape {tuple(left.shape)}, its mask {tuple(right.shape)}"
        )
    return left * right


def _spectral(
    name: str, weight: torch.Tensor, u: torch.Tensor, v: torch.Tensor | None
) -> torch.Tensor:
    matrix = weight.flatten(1) if weight.ndim > 1 else weight[None]
    if v is None or u.shape != matrix.shape[:1] or v.shape != matrix.shape[1:]:
        raise CheckpointError(
            f"{name} is spectrally normalised along an axis other than 0; call "
            "remove_spectral_norm before saving"
        )
    return weight / torch.dot(u, matrix @ v)


def _old_weight_norm(state: State, name: str, base: str) -> None:
    if f"{base}_v" in state:
        state[base] = _normed(base, state.pop(name), state.pop(f"{base}_v"))


def _parametrized_norm(state: State, name: str, base: str) -> None:
    if f"{base}.original1" in state:
        owner, _, parameter = base.rpartition("parametrizations.")
        state[owner + parameter] = _normed(base, state.pop(name), state.pop(f"{base}.original1"))


def _parametrized_spectral(state: State, name: str, base: str) -> None:
    if f"{base}.0._u" in state:
        owner, _, parameter = base.rpartition("parametrizations.")
        u, v = state.pop(f"{base}.0._u"), state.pop(f"{base}.0._v", None)
        state[owner + parameter] = _spectral(base, state.pop(name), u, v)


def _normed(name: str, g: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """v * (g / |v|); g has size 1 along the axes over which the norm is taken."""
    if g.ndim and (
        g.ndim != v.ndim or any(a not in (1, b) for a, b in zip(g.shape, v.shape, strict=True))
    ):
        raise CheckpointError(
            f"{name}: weight normalisation with g of shape {tuple(g.shape)} and v of shape "
            f"{tuple(v.shape)}"
        )
    axes = [axis for axis, length in enumerate(g.shape) if length == 1] if g.ndim else None
    if axes == []:
        return g * v.sign()
    norm: torch.Tensor = torch.linalg.vector_norm(v, dim=axes, keepdim=g.ndim > 0)
    return v * (g / norm)


_RULES = {
    "_orig": _pruned,
    "_g": _old_weight_norm,
    ".original0": _parametrized_norm,
    ".original": _parametrized_spectral,
}


# --- choosing and checking ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """A state dict that may belong to the model: under ``key``, names without ``prefix``.

    ``fits`` counts the model's tensors that are there, ``shaped`` those of the right shape.
    """

    key: str
    prefix: str
    state: State
    fits: int
    shaped: int

    @property
    def name(self) -> str:
        """What [model] state calls it."""
        return ".".join(part for part in (self.key, self.prefix.rstrip(".")) if part)


def _candidates(states: dict[str, State], wanted: Mapping[str, torch.Tensor]) -> list[Candidate]:
    """Every state dict with every prefix in it under which the model's names are; best first."""
    result = []
    for key, state in states.items():
        prefixes = {prefix for name in state for prefix, tail in _tails(name) if tail in wanted}
        for prefix in sorted(prefixes or {""}):
            mine = {n[len(prefix) :]: v for n, v in state.items() if n.startswith(prefix)}
            fits = wanted.keys() & mine.keys()
            shaped = sum(mine[name].shape == wanted[name].shape for name in fits)
            result.append(Candidate(key, prefix, mine, len(fits), shaped))
    return sorted(result, key=lambda c: (-c.fits, -c.shaped, len(c.prefix)))


def choose_state(path: Path, states: dict[str, State], choice: str | None) -> dict[str, State]:
    """The state dicts that ``[model] state`` leaves: all where it is None.

    Raises:
        CheckpointError: there is none of that name; lists those that are there.
    """
    if choice is None:
        return states
    parts = choice.split(".")
    for cut in range(len(parts), -1, -1):
        state = states.get(".".join(parts[:cut]), {})
        prefix = "".join(f"{part}." for part in parts[cut:])
        mine = {n[len(prefix) :]: v for n, v in state.items() if n.startswith(prefix)}
        if mine:
            return {choice: mine}
    raise CheckpointError(
        f"{path}: has no state dict {choice!r} ([model] state); there are {_listed(states)}"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) if name else "the file itself" for name in names)


def ambiguous(path: Path, names: list[str]) -> CheckpointError:
    """Several networks in one file: which one is for the author to say."""
    named = [name for name in names if name]
    return CheckpointError(
        f"{path}: holds several state dicts with other values ({_listed(names)}): say which, e.g. "
        f'[model] state = "{named[-1]}"'
    )


def _same(left: State, right: State, names: Iterable[str]) -> bool:
    return all(bool((left[name] == right[name]).all()) for name in names)


def _chosen(path: Path, states: dict[str, State], wanted: Mapping[str, torch.Tensor]) -> Candidate:
    """The one candidate that has all that the model wants, else the nearest one.

    Raises:
        CheckpointError: several have all, with other values.
    """
    needed = {name: value for name, value in wanted.items() if not COUNTERS.search(name)}
    candidates = _candidates(states, needed)
    full = [c for c in candidates if c.shaped == len(needed)]
    different = [c for c in full[1:] if not _same(full[0].state, c.state, needed)]
    if different:
        raise ambiguous(path, [c.name for c in (full[0], *different)])
    if not full and len(states) > 1:  # each part of the network in a dictionary of its own
        joined = {
            f"{key}.{n}" if key else n: v for key, state in states.items() for n, v in state.items()
        }
        candidates = sorted(
            [*candidates, *_candidates({"": joined}, needed)], key=lambda c: -c.fits
        )
    return candidates[0]


def _tie(module: nn.Module, state: State, wanted: Mapping[str, torch.Tensor]) -> None:
    """Parameters that share their storage in the model may be saved under one name only."""
    saved = {
        (value.data_ptr(), value.shape): name
        for name, value in wanted.items()
        if name in state and value.numel()
    }
    for name, value in wanted.items():
        twin = saved.get((value.data_ptr(), value.shape))
        if name not in state and twin is not None:
            state[name] = state[twin]


def fitting_state(
    module: nn.Module, path: Path, states: dict[str, State], choice: str | None = None
) -> Candidate:
    """The state dict that fits the module best, names without its prefix; it may lack tensors.

    Raises:
        CheckpointError: several fit and differ.
    """
    wanted = module.state_dict()
    nested = {key: _nested(state, wanted.keys()) for key, state in states.items()}
    return _chosen(path, choose_state(path, nested, choice), wanted)


def load_checkpoint(module: nn.Module, path: Path, choice: str | None = None) -> nn.Module:
    """Put the checkpoint's tensors into the module; every parameter must be there and fit.

    Args:
        choice: [model] state: which of several state dicts, by the keys that lead to it.

    Raises:
        CheckpointError: missing or unknown names, shapes that differ, NaN or infinite values,
            negative variances, several state dicts that fit.
    """
    wanted = module.state_dict()
    names = wanted.keys()
    states: dict[str, State] = {}
    unusable: list[CheckpointError] = []
    for key, raw in read_states(path).items():
        try:
            states[key] = plain_state(raw, names)
        except CheckpointError as error:
            unusable.append(CheckpointError(f"{path}: {error}"))
    if not states:
        raise unusable[0]
    chosen = fitting_state(module, path, states, choice)
    if unusable and chosen.fits < sum(not COUNTERS.search(name) for name in names):
        raise unusable[0]
    state = dict(chosen.state)
    _tie(module, state, wanted)
    missing = sorted(n for n in names - state.keys() if not COUNTERS.search(n))
    unknown = sorted(n for n in state.keys() - names if not COUNTERS.search(n))
    if missing:
        raise CheckpointError(
            f"{path}: has no tensor {missing[0]!r} of shape {tuple(wanted[missing[0]].shape)} "
            f"({len(missing)} of {len(wanted)} are missing; {_nearest(missing[0], state)}): "
            "is it a checkpoint of this model?"
        )
    if unknown:
        raise CheckpointError(
            f"{path}: tensor {unknown[0]!r} of shape {tuple(state[unknown[0]].shape)} does not "
            f"belong to the model ({len(unknown)} such; in the model: "
            f"{_nearest(unknown[0], wanted)}): is it a checkpoint of this model?"
        )
    for name in sorted(names & state.keys()):
        if state[name].shape != wanted[name].shape and not COUNTERS.search(name):
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(state[name].shape)}, "
                f"the model needs {tuple(wanted[name].shape)}"
            )
        check_values(path, name, state[name])
    module.load_state_dict(
        {n: v for n, v in state.items() if n in names and not COUNTERS.search(n)}, strict=False
    )
    _check_variances(module, path)
    return module


def _as_new_norm(name: str, wanted: Set[str]) -> str:
    """weight_g and weight_v as the model's new kind of weight normalisation calls them."""
    owner, _, last = name.rpartition(".")
    for old, original in (("_g", "original0"), ("_v", "original1")):
        if last.endswith(old):
            new = ".".join(p for p in (owner, "parametrizations", last[:-2], original) if p)
            return new if _wants(new, wanted) else name
    return name


def _nested(state: State, wanted: Set[str]) -> State:
    """A state dict of the one module that the model consists of gets that module's name."""
    first = {name.partition(".")[0] for name in wanted}
    if len(first) != 1 or any(_wants(name, wanted) for name in state):
        return state
    outer = f"{first.pop()}."
    return {_inside(name, outer, wanted): value for name, value in state.items()}


def _inside(name: str, outer: str, wanted: Set[str]) -> str:
    """NAME as OUTER.NAME where the model has that: its layers lie in one more module."""
    for prefix, tail in _tails(name):
        if outer + tail in wanted:
            return prefix + outer + tail
    return name


def _nearest(name: str, there: Mapping[str, torch.Tensor]) -> str:
    if not there:
        return "it has none"
    near = get_close_matches(name, list(there), n=1, cutoff=0.5)
    if near:
        return f"the nearest is {near[0]!r} of shape {tuple(there[near[0]].shape)}"
    return f"it has {', '.join(sorted(there)[:3])} ..."


def check_values(path: Path, name: str, value: torch.Tensor) -> None:
    """Refuse NaN, infinite values and negative variances.

    Raises:
        CheckpointError: names the parameter and the flat index of the first such value.
    """
    if not value.is_floating_point():
        return
    flat = value.flatten()
    bad = (~torch.isfinite(flat)).nonzero()
    if len(bad):
        kind = "NaN" if bool(torch.isnan(flat[bad[0]])) else "infinite"
        raise CheckpointError(
            f"{path}: {name} is {kind} at flat index {int(bad[0])}: the training has diverged, "
            "pack an earlier checkpoint"
        )
    if name.endswith("running_var") and bool((flat < 0).any()):
        index = int((flat < 0).nonzero()[0])
        raise CheckpointError(
            f"{path}: {name} is negative at index {index} ({float(flat[index]):g}): a variance "
            "can't be; the checkpoint is damaged"
        )


def _check_variances(module: nn.Module, path: Path) -> None:
    for name, layer in module.named_modules():
        variance, eps = getattr(layer, "running_var", None), getattr(layer, "eps", None)
        if isinstance(variance, torch.Tensor) and isinstance(eps, float):
            if bool((variance + eps <= 0).any()):
                raise CheckpointError(
                    f"{path}: {name}.running_var is zero and its eps is {eps:g}: the layer divides "
                    "by zero; give it an eps"
                )
