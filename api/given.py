# SPDX-License-Identifier: Apache-2.0
"""A call's network and samples, whatever they come as, as the packer takes them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.recipe.recipe import Recipe, recipe_of
from bramcast.pack.recipe.setting import Setting, setting_of
from bramcast.pack.recipe.shortcut import recipe_for
from bramcast.pack.samples.inputs import Inputs, inputs_of, read_inputs

if TYPE_CHECKING:  # torch
    from torch import nn

    from bramcast.pack.read.network import LoadedNetwork

    File = str | os.PathLike[str]
    Network = nn.Module | Recipe | File
    Module = nn.Module | File

ARRAYS = Path("arrays")  # what x, y, x_cal and y_cal are called in messages
CALL = Path("settings")  # what stands there in place of a recipe's path


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A recipe, with what is in memory of that which it would name; None: what it names."""

    recipe: Recipe
    source: "LoadedNetwork | None"
    inputs: Inputs | None


def given(
    network: "Network",
    inputs: Inputs | None,
    *,
    weights: str | os.PathLike[str] | None = None,
    name: str | None = None,
    lanes: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Given:
    """Whatever is given for a network.

    Args:
        network: an nn.Module, also one that ``qat`` has wrapped; a recipe, or a path as ``bramcast
            pack`` takes it.
        inputs: samples; None: those that the recipe names.
        weights: the checkpoint of a MODEL.py:NAME.
        name: of the network; else the module's class or the file has one.
        lanes: core.lanes.
        settings: keys of a recipe and their values.

    Raises:
        UserError: it is no network, samples are missing, or a key is wrong.
    """
    wanted = [] if lanes is None else [Setting(("core", "lanes"), lanes, f"lanes={lanes}")]
    wanted += [] if name is None else [Setting(("model", "name"), name, f"name={name!r}")]
    wanted += [setting_of(key, value) for key, value in (settings or {}).items()]
    if isinstance(network, (str, os.PathLike)):
        checkpoint = None if weights is None else Path(weights)
        seen = None if inputs is None else inputs.path
        return Given(recipe_for(os.fspath(network), checkpoint, seen, wanted), None, inputs)
    if weights is not None:
        raise InputError(f"weights={os.fspath(weights)!r}: belongs to the path of a MODEL.py:NAME")
    if isinstance(network, Recipe):
        said = asdict(network)
        path, whole = said.pop("path"), network.model.complaint() is None
        return Given(recipe_of(said, path, wanted, source=whole), None, inputs)
    with torch_needed("a network in memory"):
        from bramcast.pack.read.network import in_memory
        from bramcast.pack.train.qat import Wrapped
    data: dict[str, Any] = {"model": {"inputs": str(ARRAYS), "name": None}}
    if isinstance(network, Wrapped):  # the network that it trains
        data = asdict(network.settled())
        del data["path"]
        network = network.module
    source = in_memory(network)
    if inputs is None:
        raise InputError("x is missing: a network in memory needs its samples: x=[N, ...]")
    data["model"]["name"] = data["model"]["name"] or source.label
    return Given(recipe_of(data, CALL, wanted, source=False), source, inputs)


@contextmanager
def at_rest(source: "LoadedNetwork | None") -> Iterator[None]:
    """A network in memory, if it is one, is in eval mode for a while."""
    if source is None:
        yield
        return
    from bramcast.pack.read.network import evaluating

    with evaluating(source.module):
        yield


def samples(x: Any, y: Any = None, x_cal: Any = None, y_cal: Any = None) -> Inputs | None:
    """Samples as arrays, tensors or lists, or the path of a .npz or a recipe that has them.

    Args:
        y: labels; those of one of several outputs by its name, {"kind": labels}.

    >>> read = samples([[0, 1], [2, 3]], y=[0, 1])
    >>> read.x.shape, read.y
    ((2, 2), array([0, 1]))

    Raises:
        InputError: no numbers, or shapes that do not fit.
    """
    given = {"x": x, "y": y, "x_cal": x_cal, "y_cal": y_cal}
    if isinstance(y, Mapping):
        given |= {"y": None, **{f"y_{name}": labels for name, labels in y.items()}}
    named = {name: value for name, value in given.items() if value is not None}
    if x is None:
        if named:
            raise InputError(f"{' and '.join(named)} without x: give the samples, x=[N, ...]")
        return None
    if isinstance(x, (str, os.PathLike)):
        if len(named) > 1:
            raise InputError(f"{os.fspath(x)}: a file has y, x_cal, y_cal of its own")
        return read_inputs(Path(x))
    return inputs_of({name: array_of(name, value) for name, value in named.items()}, ARRAYS)


def array_of(name: str, value: Any) -> NDArray[Any]:
    """A tensor, on whatever device, a list, a table or an array as an array.

    Raises:
        InputError: rows of different lengths, or nothing of the kind.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{ARRAYS}: {name} is no array: {error}") from None
