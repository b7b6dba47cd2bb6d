"""Reads a checkpoint and puts it into the model that the recipe names. Imports torch."""

import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from bramcast.pack.errors import CheckpointError, InputError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The named tensors of a ``.pth``/``.pt`` state dict or a ``.safetensors`` file.

    Unwraps {"state_dict": ...} and the like, multiplies pruning masks in, and turns half
    precision into float32. Nothing is unpickled but tensors.

    Raises:
        InputError: the file is missing.
        CheckpointError: it holds no state dict, or objects other than tensors.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    try:
        if path.suffix == ".safetensors":
            loaded: object = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from None
    except Exception as error:  # torch.load raises whatever the unpickler met
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path}: can't be read as a state dict ({reason}); save it with "
            "torch.save(model.state_dict(), FILE) or as .safetensors"
        ) from None
    state = _unwrapped(loaded)
    if state is None:
        raise CheckpointError(
            f"{path}: holds {type(loaded).__name__}, not a state dict of named tensors"
        )
    try:
        return {name: _plain(value) for name, value in _unpruned(state).items()}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _unwrapped(loaded: object) -> dict[str, torch.Tensor] | None:
    if not isinstance(loaded, Mapping):
        return None
    if not loaded:
        return {}
    tensors = {str(k): v for k, v in loaded.items() if isinstance(v, torch.Tensor)}
    for key in WRAPPERS:
        if isinstance(loaded.get(key), Mapping):
            return _unwrapped(loaded[key])
    return tensors or None


def _unpruned(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """torch.nn.utils.prune leaves NAME_orig and NAME_mask: their product is the weight."""
    result = dict(state)
    for name in state:
        if name.endswith("_orig") and name[:-5] + "_mask" in state:
            base = name[:-5]
            result[base] = result.pop(name) * result.pop(base + "_mask")
    return result


def _plain(value: torch.Tensor) -> torch.Tensor:
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise CheckpointError(
            f"holds a {value.layout} tensor of {value.dtype}; bramcast reads dense real tensors: "
            "save it as .to_dense() or .dequantize()"
        )
    return value.float() if value.is_floating_point() else value


def _without_prefix(state: dict[str, torch.Tensor], wanted: set[str]) -> dict[str, torch.Tensor]:
    for _ in PREFIXES:
        if wanted & state.keys():
            break
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in state):
                state = {name[len(prefix) :]: value for name, value in state.items()}
                break
    return state


def load_module(spec: str, folder: Path) -> nn.Module:
    """Call FILE:NAME (relative to ``folder``) and return its nn.Module in eval mode.

    Raises:
        InputError: no such file or name, or the call fails; names the model's line.
    """
    filename, _, attribute = spec.partition(":")
    path = folder / filename
    if not path.is_file():
        raise InputError(f"{path}: no such model file ([model] python = {spec!r})")
    sys.path.insert(0, str(path.parent.resolve()))  # stays: forward() may import, too
    try:
        with users_code(path):
            factory = getattr(_import_file(path), attribute or "build", None)
            if factory is None:
                raise InputError(
                    f"{path}: has no {attribute or 'build'!r} ([model] python = {spec!r})"
                )
            module = factory()
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise InputError(f"{_place(error, path)}: {type(error).__name__}: {error}") from None
    if not isinstance(module, nn.Module):
        raise InputError(f"{path}: {attribute} returned {type(module).__name__}, not an nn.Module")
    return module.eval()


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bramcast_model_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def users_code(path: Path) -> Iterator[None]:
    """Run the author's code: what it prints goes to standard error, our arguments are not its."""
    arguments = sys.argv
    sys.argv = [str(path)]
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.argv = arguments


def _place(error: BaseException, path: Path) -> str:
    """File and line of the innermost frame in the user's own model file."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{path}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).name == path.name:
            return f"{path}:{frame.lineno}"
    return str(path)


def load_checkpoint(module: nn.Module, path: Path) -> nn.Module:
    """Put the checkpoint's tensors into the module; every parameter must be there and fit.

    Raises:
        CheckpointError: missing or unknown names, shapes that differ, NaN or infinite values.
    """
    wanted = module.state_dict()
    state = _without_prefix(read_state_dict(path), set(wanted))
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    missing = sorted(set(wanted) - set(state) - counters)
    unknown = sorted(name for name in set(state) - set(wanted) if "num_batches" not in name)
    if missing:
        raise CheckpointError(
            f"{path}: has no tensor {missing[0]!r} ({len(missing)} of {len(wanted)} are missing; "
            f"it has {', '.join(sorted(state)[:3])} ...): is it a checkpoint of this model?"
        )
    if unknown:
        raise CheckpointError(
            f"{path}: tensor {unknown[0]!r} does not belong to the model "
            f"({len(unknown)} such): is it a checkpoint of this model?"
        )
    for name, value in state.items():
        if name not in wanted:
            continue
        if value.shape != wanted[name].shape:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(value.shape)}, "
                f"the model needs {tuple(wanted[name].shape)}"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).flatten().nonzero()[0])
            kind = "NaN" if bool(torch.isnan(value.flatten()[bad])) else "infinite"
            raise CheckpointError(
                f"{path}: {name} is {kind} at flat index {bad}: the training has diverged, "
                "pack an earlier checkpoint"
            )
    module.load_state_dict({k: v for k, v in state.items() if k in wanted}, strict=False)
    return module
