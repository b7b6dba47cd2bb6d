# SPDX-License-Identifier: Apache-2.0
"""The network that a recipe names, wherever it comes from. Imports torch."""

from dataclasses import dataclass

from torch import nn

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


def read_model(recipe: Recipe, sample_shape: tuple[int, ...]) -> LoadedNetwork:
    """The network of [model]: from Python and a checkpoint, ONNX, torch.export or a bare MLP.

    Raises:
        UserError: whatever is wrong with its files.
        ToolError: the package ``onnx`` is needed and not installed.
    """
    model = recipe.model
    if model.onnx is not None:
        with onnx_needed():
            from bramcast.pack.read.onnx_graph import load_onnx
        return LoadedNetwork(load_onnx(recipe.file(model.onnx), sample_shape), model.onnx)
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
