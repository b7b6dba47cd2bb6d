# SPDX-License-Identifier: Apache-2.0
"""Builds the network of a state dict that holds nothing but Linear layers. Imports torch."""

import re
from itertools import permutations
from math import prod
from pathlib import Path

import torch
from torch import nn

from bramcast.pack.activations.table import BETWEEN
from bramcast.pack.bundle.errors import CheckpointError, InputError
from bramcast.pack.read.checkpoint import (
    COUNTERS,
    State,
    ambiguous,
    check_values,
    choose_state,
    plain_state,
    read_states,
)

GIVE_PYTHON = 'give the model itself: [model] python = "FILE:NAME"'
MOST_ORDERS = 7  # layers whose order is looked for by trying


class Mlp(nn.Module):
    """Linear layers, one after the other, with the same activation between them."""

    def __init__(self, layers: list[tuple[str, nn.Linear]], activation: str) -> None:
        super().__init__()
        self._between = getattr(nn, BETWEEN[activation])()
        self._chain = [layer for _, layer in layers]
        for name, layer in layers:
            owner: nn.Module = self
            *outer, last = (_free(part) for part in name.split("."))
            for part in outer:
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner.get_submodule(part)
            owner.add_module(last, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        for layer in self._chain[:-1]:
            x = self._between(layer(x))
        result: torch.Tensor = self._chain[-1](x)
        return result


def _free(part: str) -> str:
    """A part of a name that no module has as its own attribute."""
    return f"{part}_" if hasattr(nn.Module(), part) or not part else part


def mlp_of_state_dict(
    path: Path, choice: str | None, activation: str, shape: tuple[int, ...]
) -> nn.Module:
    """The network whose weights a checkpoint holds, if that is a chain of Linear layers.

    Args:
        choice: [model] state, as for load_checkpoint.
        activation: a key of BETWEEN, between the layers.
        shape: shape of one sample; the first layer takes all its elements.

    Raises:
        CheckpointError: tensors that are no Linear's, or shapes that don't make one chain.
        InputError: the samples have another number of elements than the first layer takes.
    """
    states = choose_state(path, read_states(path), choice)
    if len(states) > 1:
        raise ambiguous(path, list(states))
    (state,) = states.values()
    try:
        state = _own_names(plain_state(state))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    pairs = _pairs(path, state)
    order = _chain(path, state, list(pairs), prod(shape))
    layers = []
    for weight in order:
        bias = pairs[weight]
        outputs, inputs = state[weight].shape
        layer = nn.Linear(inputs, outputs, bias=bias is not None)
        for name, parameter in ((weight, layer.weight), (bias, layer.bias)):
            if name is not None:
                check_values(path, name, state[name])
                parameter.data.copy_(state[name])
        layers.append((_layer_name(weight), layer))
    return Mlp(layers, activation).eval()


def _own_names(state: State) -> State:
    """Names without what stands in front of all of them, and without counters."""
    state = {name: value for name, value in state.items() if not COUNTERS.search(name)}
    for prefix in ("module.", "model.", "net."):
        if state and all(name.startswith(prefix) for name in state):
            state = {name[len(prefix) :]: value for name, value in state.items()}
    return state


def _layer_name(weight: str) -> str:
    return re.sub(r"\.?weight$", "", weight) or weight


def _bias_of(weight: str) -> str:
    """The name of the bias that goes with a weight: fc.weight, W1 -> fc.bias, b1."""
    if weight.endswith("weight"):
        return f"{weight.removesuffix('weight')}bias"
    return re.sub(r"[wW](?=\d*$)", "b", weight)


def _pairs(path: Path, state: State) -> dict[str, str | None]:
    """Each two-dimensional tensor with its bias; nothing else may be there."""
    pairs: dict[str, str | None] = {}
    for name, value in state.items():
        if value.ndim == 2 and value.numel():
            bias = _bias_of(name)
            there = bias in state and bias != name and state[bias].shape == value.shape[:1]
            pairs[name] = bias if there else None
    rest = sorted(state.keys() - pairs.keys() - {b for b in pairs.values() if b})
    if rest or not pairs:
        what = f"{rest[0]!r} of shape {tuple(state[rest[0]].shape)}" if rest else "no matrix"
        raise CheckpointError(
            f"{path}: is no state dict of Linear layers alone (it holds {what}): {GIVE_PYTHON}"
        )
    return pairs


def _chain(path: Path, state: State, names: list[str], features: int) -> list[str]:
    """The names in an order in which each layer takes what the one before gives.

    The order of the file counts first, then that of the numbers in the names, then shapes.
    """

    def fits(order: tuple[str, ...] | list[str]) -> bool:
        shapes = [state[name].shape for name in order]
        ends = [features, *(int(s[0]) for s in shapes[:-1])]
        return all(int(s[1]) == end for s, end in zip(shapes, ends, strict=True))

    def natural(name: str) -> list[tuple[int, str]]:
        return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name)]

    for order in (names, sorted(names, key=natural)):
        if fits(order):
            return order
    if len(names) <= MOST_ORDERS:
        found = [list(order) for order in permutations(names) if fits(order)]
        if len(found) == 1:
            return found[0]
    listed = ", ".join(f"{n} {tuple(state[n].shape)}" for n in sorted(names, key=natural)[:8])
    if all(int(state[name].shape[1]) != features for name in names):
        raise InputError(
            f"{path}: no layer takes samples of {features} elements ({listed}); x in [model] "
            "inputs must hold what the first layer takes"
        )
    raise CheckpointError(
        f"{path}: the order of its layers doesn't follow from their names and shapes ({listed}): "
        f"{GIVE_PYTHON}"
    )
