# SPDX-License-Identifier: Apache-2.0
"""The network that a recipe names, wherever it comes from. Imports torch."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.packages import onnx_needed
from bramcast.pack.read.checkpoint import load_checkpoint
from bramcast.pack.read.model_file import load_module
from bramcast.pack.read.pt2 import load_exported
from bramcast.pack.read.state_dict_mlp import mlp_of_state_dict
from bramcast.pack.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network in eval mode with its weights; ``label`` stands for a line of its author's code."""

    module: nn.Module
    label: str


def input_names(module: nn.Module) -> tuple[str, ...]:
    """What forward() takes: the names of its arguments without a default."""
    named = getattr(module, "bramcast_inputs", None)
    if named is not None:
        return tuple(named)
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return ()
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in plain and p.default is p.empty)


def names_of(recipe: Recipe) -> tuple[str, ...]:
    """The same of the network that a recipe names, before its samples are known.

    Raises:
        UserError: as ``read_model``.
    """
    model = recipe.model
    if model.onnx is not None:
        with onnx_needed():
            from bramcast.pack.read.onnx_graph import onnx_input_names
        return onnx_input_names(recipe.file(model.onnx))
    if model.exported is not None:
        return input_names(load_exported(recipe.file(model.exported)))
    if model.python is None:
        return ()
    return input_names(load_module(model.python, recipe.path.parent))


def read_model(
    recipe: Recipe,
    sample_shape: tuple[int, ...],
    inputs: Sequence[tuple[str, tuple[int, ...]]] = (),
) -> LoadedNetwork:
    """The network of [model]: from Python and a checkpoint, ONNX, torch.export or a bare MLP.

    Args:
        inputs: names and shapes of several inputs.

    Raises:
        UserError: whatever is wrong with its files.
        ToolError: the package ``onnx`` is needed and not installed.
    """
    model = recipe.model
    if model.onnx is not None:
        with onnx_needed():
            from bramcast.pack.read.onnx_graph import load_onnx
        shapes = [shape for _, shape in inputs] or [sample_shape]
        return LoadedNetwork(load_onnx(recipe.file(model.onnx), *shapes), model.onnx)
    if model.exported is not None:
        return LoadedNetwork(load_exported(recipe.file(model.exported)), model.exported)
    assert model.checkpoint is not None  # read_recipe has seen to it
    checkpoint = recipe.file(model.checkpoint)
    if model.python is None:
        activation = model.activations or "relu"
        module = mlp_of_state_dict(checkpoint, model.state, activation, sample_shape)
        return LoadedNetwork(module, model.checkpoint)
    module = load_module(model.python, recipe.path.parent)
    return LoadedNetwork(load_checkpoint(module, checkpoint, model.state), model.python)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module and its parts in eval mode for a while."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def unwrapped(module: object) -> nn.Module:
    """A program's own module without what torch.compile and DataParallel put around it.

    Raises:
        InputError: it is no module.
    """
    module = getattr(module, "_orig_mod", module)
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        module = module.module
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{type(module).__name__} is no network: give an nn.Module, or the path of a recipe, "
            "of a .onnx or .pt2, or MODEL.py:NAME with weights"
        )
    return module


def in_memory(module: object) -> LoadedNetwork:
    """A program's own module: itself, or a copy where its numbers are elsewhere or of another type.

    Nothing of it is changed, but it must be put into eval mode; see ``evaluating``.

    Raises:
        InputError: it is no module, or can't be copied.
    """
    own = unwrapped(module)
    name = type(own).__name__
    plain = all(
        t.device.type == "cpu" and (not t.is_floating_point() or t.dtype == torch.float32)
        for t in (*own.parameters(), *own.buffers())
    )
    if not plain:
        try:
            own = deepcopy(own).cpu().float()
        except (RuntimeError, NotImplementedError, TypeError) as error:
            raise InputError(
                f"{name}: its numbers are not float32 on the CPU, and it can't be copied there "
                f"({str(error).splitlines()[0]}); call .cpu().float() first"
            ) from None
    return LoadedNetwork(own, name)
