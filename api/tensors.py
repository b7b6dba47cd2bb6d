# SPDX-License-Identifier: Apache-2.0
"""What is in a network, its tensors as files, and small weights as zeros: of a module or a file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bramcast.api.bars import Progress, reporting
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.recipe.recipe import Recipe, read_recipe

if TYPE_CHECKING:  # torch
    from bramcast.api.given import Module
    from bramcast.pack.look.export import Exported
    from bramcast.pack.look.inspect import Inspection
    from bramcast.pack.read.tensors import Tensors
    from bramcast.pack.train.prune import Pruning

Names = str | Sequence[str]


def inspect(
    network: "Module",
    filters: Names = (),
    *,
    bits: int = 8,
    state: str | None = None,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    model: str | None = None,
) -> "Inspection":
    """Every tensor with its range, statistics, proposed Q format and damage: ``bramcast inspect``.

    Args:
        network: an nn.Module, or the path of a checkpoint, .safetensors, .onnx, .pt2 or recipe.
        filters: names, globs or /regular expressions/; all tensors without any.
        bits: width of the proposed formats.
        state: which state dict of a checkpoint, by the keys that lead to it.
        recipe, model: of a checkpoint's network, FILE:NAME for ``model``: types of its layers.

    Returns:
        ``.tensors``, ``.damaged``, ``.parameters``, ``.bytes``, ``.tied``.

    Raises:
        UserError: the file can't be read, or nothing fits a filter.
    """
    with torch_needed("inspecting a network"):
        from bramcast.pack.look.inspect import inspect

    return inspect(_tensors(network), _names(filters), bits, state, _recipe(recipe), model)


def export(
    network: "Module",
    output: str | os.PathLike[str],
    names: Names = (),
    *,
    cut: str | None = None,
    gates: bool = False,
    format: str | None = None,
    precision: int | None = None,
    scientific: bool = False,
    columns: int | None = None,
    q: str | None = None,
    word_bits: int | None = None,
    pad_rows: bool = False,
    state: str | None = None,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    model: str | None = None,
) -> "Exported":
    """Write chosen tensors as text, CSV, numpy, C, .wts or memory images: ``bramcast export``.

    Args:
        network: an nn.Module, or a path as ``inspect`` takes it.
        output: file to write; a folder for several .npy.
        names: names, layers, globs or /regular expressions/; all tensors without any.
        cut: a part of each tensor: "0:4,:,1".
        gates: GRU and LSTM tensors gate by gate.
        format: one of docs/inspect.md; by the suffix of ``output`` if not given.
        precision: digits behind the point; as many as are needed if not given.
        scientific: numbers with an exponent.
        columns: values in a line.
        q: integers of this format, "Q1.6", not floats; needed for memory images.
        word_bits: of an image's word; a value a word if not given.
        pad_rows: each row begins with a new word.
        state, recipe, model: as ``inspect`` takes them.

    Returns:
        ``.names`` and ``.shapes`` of what was written, ``.spans`` in an image.

    Raises:
        UserError: whatever is wrong; nothing is written then.
    """
    with torch_needed("exporting tensors"):
        from bramcast.pack.look.export import Integers, NetworkOf, Style, export, integer_format

    return export(
        _tensors(network),
        Path(output),
        _names(names),
        cut=cut,
        gates=gates,
        format=format,
        style=Style(precision, scientific, columns),
        integers=Integers(None if q is None else integer_format(q), word_bits, pad_rows),
        network=NetworkOf(state, _recipe(recipe), model),
    )


def prune(
    network: "Module",
    output: str | os.PathLike[str] | None = None,
    *,
    threshold: float | None = None,
    sparsity: float | None = None,
    overall: bool = False,
    channels: bool = False,
    filters: Names = (),
    recipe: Recipe | str | os.PathLike[str] | None = None,
    shrink: bool = False,
    state: str | None = None,
    force: bool = False,
    progress: Progress = None,
) -> "Pruning":
    """Set the least weights to zero for good: what ``bramcast prune`` does.

    Args:
        network: an nn.Module, whose own weights become zero; or the path of a checkpoint or recipe.
        output: file for the new state dict; a module needs none.
        threshold: magnitudes up to this one become zero.
        sparsity: or this share of them, 0..1.
        overall: the share of all weights together, not of each tensor.
        channels: whole output channels.
        filters: names, globs or /regular expressions/ of the tensors; all weights without any.
        recipe: the path of one, of a checkpoint's network: it is packed before and after.
        shrink: with it: channels that compute nothing are left out of the images.
        state: which state dict of a checkpoint.
        force: ``output`` may be the checkpoint that is read.

    Returns:
        ``.tensors`` with their zeros before and after, ``.notes``; with a recipe ``.before``,
        ``.after`` and the new ``.recipe``.

    Raises:
        UserError: whatever is wrong; nothing is changed or written then.
    """
    with torch_needed("pruning"):
        from bramcast.pack.read.network import unwrapped
        from bramcast.pack.train.prune import Goal, prune, prune_module

    goal = Goal(threshold, sparsity, overall, channels)
    names = _names(filters)
    if not isinstance(network, (str, os.PathLike)):
        if recipe is not None or shrink or state is not None:
            raise InputError("recipe, shrink and state belong to a checkpoint's path, not a module")
        if output is not None:
            raise InputError("output belongs to a checkpoint's path: a module is changed itself")
        module = unwrapped(network)
        return prune_module(module, type(module).__name__, goal, names)
    if output is None:
        raise InputError(f"{os.fspath(network)}: output is missing: the file for the state dict")
    with reporting(progress) as report:
        return prune(
            Path(network), Path(output), goal, names, state, _recipe(recipe), shrink, force, report
        )


def _tensors(network: "Module") -> "Path | Tensors":
    if isinstance(network, (str, os.PathLike)):
        return Path(network)
    from bramcast.pack.read.network import in_memory
    from bramcast.pack.read.tensors import module_tensors

    source = in_memory(network)
    return module_tensors(Path(source.label), source.module)


def _names(names: Names) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names


def _recipe(recipe: Recipe | str | os.PathLike[str] | None) -> Recipe | None:
    return read_recipe(Path(recipe)) if isinstance(recipe, (str, os.PathLike)) else recipe
