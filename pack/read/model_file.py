# SPDX-License-Identifier: Apache-2.0
"""The author's model.py: called, never trusted to be silent. Imports torch."""

import importlib.util
import io
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType

from torch import nn
from torch.fx import GraphModule

from bramcast.pack.bundle.errors import InputError


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


@contextmanager
def silent_graphs(module: nn.Module) -> Iterator[None]:
    """A torch.fx graph, as those of ONNX files are, prints a traceback of what it then raises."""
    if not any(isinstance(part, GraphModule) for part in module.modules()):
        yield
        return
    with redirect_stderr(io.StringIO()):
        yield


def _place(error: BaseException, path: Path) -> str:
    """File and line of the innermost frame in the user's own model file."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{path}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).name == path.name:
            return f"{path}:{frame.lineno}"
    return str(path)
