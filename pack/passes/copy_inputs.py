# SPDX-License-Identifier: Apache-2.0
"""Inputs that join a recurrent state: every feature takes as many taps as its weight asks for.

    W x + V h + b     ->     (W r / k) (x', .. k times) + V h + (b + W m),     x' = (x - m) / r

A cell's Linear reads [input, state] with one accumulator, so an output channel's weights for both
count in one LSB. An input feature that moves the sum much more than any element of the state would
leave the state's weights no bits. Such a feature is brought to -1..1 and read k times, with a k-th
of its weight each; the copies are rounded at k different places: their sum is k times finer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Dense, Op
from bramcast.pack.graph.tensor import FloatArray, IntArray

WEIGHT_RATIO = 6.0
MOST_COPIES = 32
TAILS = 0.02  # percent of a feature's values at either end that may be cut off


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    """A dense operation that reads elements of the frame at ``columns``, of other tensors at
    ``state``: none in the first time step."""

    op: Dense
    columns: IntArray
    elements: tuple[int, ...]
    state: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class _Spread:
    """How features become copies: (x - middle) / reach, ``copies`` times each."""

    middle: FloatArray
    reach: FloatArray
    copies: IntArray

    @property
    def source(self) -> IntArray:
        """The feature of each copy."""
        return np.repeat(np.arange(len(self.copies)), self.copies)


@dataclass(frozen=True, slots=True, eq=False)
class Copied:
    """A network whose recurrent cells read copies, and the operations that make these, in order."""

    graph: Graph
    copies: tuple[Dense, ...]


def copy_inputs(
    graph: Graph,
    samples: NDArray[np.floating],
    largest: Mapping[int, float],
    copies: Mapping[str, int] | None = None,
    where: str = "recipe",
) -> Copied:
    """Give the inputs of recurrent cells a scale of their own; the real network stays the same.

    Args:
        samples: calibration samples [N, ...].
        largest: magnitude of every stored tensor, by index.
        copies: how many all features of an input take, by its name; what the weights ask for
            if absent. ``where`` they are given.

    Raises:
        RecipeError: fewer copies than features, or a name that no such input has.
    """
    draft, made = Draft(graph), list[Dense]()
    given = dict(copies or {})
    flat = graph.framed(samples)
    for family in _families([r for op in graph.ops if (r := _reader(graph, op)) is not None]):
        name = _name(draft, family[0].op)
        total = given.get(name)
        if total is not None and total < len(family[0].elements):
            raise RecipeError(
                f'{where}: quantize.layers."{name}".copies = {total}, but the cell reads '
                f"{len(family[0].elements)} features: give one for each at least"
            )
        spread = _choose(graph, family, flat, largest, total)
        for op in _insert(draft, family, spread):
            given.pop(op.name, None)
            made.append(op)
    if given:
        raise RecipeError(
            f'{where}: quantize.layers."{next(iter(given))}".copies: no recurrent cell\'s input '
            "has that name"
        )
    return Copied(draft.done(), tuple(sorted(made, key=draft.ops.index)))


def _name(draft: Draft, op: Op) -> str:
    """That of the copies of an operation's features."""
    return draft.unique_name(f"{op.layer or op.name}.input")


def _reader(graph: Graph, op: Op) -> _Reader | None:
    frame = graph.input
    if not isinstance(op, Dense) or op.groups > 1 or op.view.shape[1:] != (1, 1):
        return None
    numbers = op.view.ravel()
    columns = np.flatnonzero(frame.mine(numbers))
    if not columns.size or op.weight.shape[2:] != (1, 1):
        return None
    state = np.flatnonzero(numbers >= frame.elements)
    return _Reader(op, columns, tuple(numbers[columns].tolist()), state)


def _families(readers: list[_Reader]) -> list[list[_Reader]]:
    """Readers that share weights or elements: their inputs get the same scales."""
    families: list[list[_Reader]] = []
    for reader in readers:
        mine = [reader]
        for family in [f for f in families if any(_related(reader, r) for r in f)]:
            families.remove(family)
            mine = family + mine
        families.append(mine)
    joining = [f for f in families if any(r.state.size for r in f)]
    return [f for f in joining if len({len(r.elements) for r in f}) == 1]


def _related(a: _Reader, b: _Reader) -> bool:
    return a.elements == b.elements or bool(set(a.op.twins) & set(b.op.twins))


def _choose(
    graph: Graph,
    family: list[_Reader],
    flat: FloatArray,
    largest: Mapping[int, float],
    total: int | None,
) -> _Spread:
    elements = np.array([r.elements for r in family])
    values = flat[:, elements].reshape(-1, elements.shape[1])
    low, high = np.percentile(values, [TAILS, 100.0 - TAILS], axis=0)
    middle = (low + high) / 2
    reach = 1.0 / _short(2.0 / np.maximum(high - low, 1e-9))
    need = np.ones(elements.shape[1])
    for reader in (r for r in family if r.state.size):
        weight, state = np.abs(reader.op.weight[:, :, 0, 0]), reader.state
        magnitude = max(largest[t.index] for t in graph.owners(reader.op.view[state]))
        limit = max(WEIGHT_RATIO * float(weight[:, state].max()) * magnitude, 1e-9)
        need = np.maximum(need, (weight[:, reader.columns] * reach / limit).max(axis=0))
    return _Spread(middle, reach, _shared_out(need, total))


def _shared_out(need: FloatArray, total: int | None) -> IntArray:
    """How often each feature is read: as often as it needs, or as well as ``total`` copies allow.

    >>> need = np.array([1.0, 4.5, 2.2])
    >>> _shared_out(need, None), _shared_out(need, 9), _shared_out(need, 5)
    (array([1, 5, 3]), array([1, 5, 3]), array([1, 3, 1]))
    """
    if total is None:
        return np.ceil(np.minimum(need, MOST_COPIES)).astype(np.int64)
    copies = np.ones(len(need), np.int64)
    for _ in range(total - len(need)):
        copies[np.argmax(need / copies)] += 1
    return copies


def _short(factors: FloatArray) -> FloatArray:
    """Rounded down to 4, 5, 6 or 7 times a power of two: exact weights, those of both planes."""
    scale = 2.0 ** (np.floor(np.log2(factors)) - 2)
    return np.asarray(np.floor(factors / scale) * scale)


def _insert(draft: Draft, family: list[_Reader], spread: _Spread) -> list[Dense]:
    """Put in the operations that make the copies, in front of what reads them."""
    inserted: list[Dense] = []
    source, copies = spread.source, spread.copies
    number = np.concatenate([np.arange(n) for n in copies])
    # Copy j is rounded (j + 1/2) / n - 1/2 LSB beside the first one: the sum is n times finer.
    weight = np.zeros((source.size, copies.size, 1, 1))
    weight[np.arange(source.size), source, 0, 0] = 1.0 / spread.reach[source]
    shift = ((number + 0.5) / copies[source] - 0.5) * 2.0**-7
    bias = shift - spread.middle[source] / spread.reach[source]
    # What reads the first step may not be what reads the others first: they are all alike.
    twins = tuple(dict.fromkeys(f"{twin} input" for r in family for twin in r.op.twins))
    made: dict[tuple[int, ...], IntArray] = {}
    for reader in family:
        op, new = reader.op, list[Dense]()
        if reader.elements not in made:
            name = _name(draft, op)
            out = draft.new_tensor(name, source.size, 1, 1)
            view = np.array(reader.elements, np.int64)[:, None, None]
            scaled = Dense(
                name=name, label="scale", source=op.source, views=(view,), out=out, weight=weight,
                bias=bias, layer=name, twins=twins,
            )  # fmt: skip
            made[reader.elements] = out.ids
            new = [scaled]
        draft.put(op, *new, _joined(reader, spread, made[reader.elements], shift))
        inserted += new
    return inserted


def _joined(reader: _Reader, spread: _Spread, copies: IntArray, shift: FloatArray) -> Dense:
    """The operation with its features' copies in place of the features."""
    op, columns, source = reader.op, reader.columns, spread.source
    factor = spread.reach[source] / spread.copies[source]
    mine = op.weight[:, columns[source]] * factor[:, None, None]
    rest = np.setdiff1d(np.arange(op.view.shape[0]), columns)
    before, after = rest[rest < columns[0]], rest[rest > columns[0]]
    view = np.concatenate([op.view[before], copies, op.view[after]])
    weight = np.concatenate([op.weight[:, before], mine, op.weight[:, after]], axis=1)
    added = op.weight[:, columns, 0, 0] @ spread.middle - mine[:, :, 0, 0] @ shift
    features = (*[-1] * before.size, *source.tolist(), *[-1] * after.size)
    return replace(op, views=(view,), weight=weight, bias=op.bias + added, copies=features)
