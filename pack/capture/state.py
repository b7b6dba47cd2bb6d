# SPDX-License-Identifier: Apache-2.0
"""What a capture knows, and what every operator needs to add an operation. Imports torch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.capture.traced import array_of
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.ops import Common, Op
from bramcast.pack.graph.tensor import IntArray
from bramcast.pack.graph.window import NO_CLAMP

MIXES = "it moves elements between samples of a batch (axis 0 must stay the batch)"


@dataclass(frozen=True, slots=True)
class Call:
    """A node of torch.export that is being translated.

    Attributes:
        kind: the operator's name, without the underscore of one that works in place.
        dtypes: what kinds of numbers its data are: arguments in their order, then keywords by name.
    """

    target: Any
    kind: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    dtypes: tuple[torch.dtype, ...]


@dataclass(slots=True)
class Capture:
    """State of one capture: the graph so far and the value of each torch.export node."""

    draft: Draft
    model_name: str
    source: str = "model"
    values: dict[str, Any] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    titles: dict[str, Any] = field(default_factory=dict)  # layers of another format, by module
    origins: dict[str, str] = field(default_factory=dict)  # parameters behind a constant node
    anchor: str = ""  # the parameters that were last used
    offset: int = 0  # nodes since then
    count: int = 0  # operations of this node so far
    layers: dict[str, str] = field(default_factory=dict)  # first operation of each twin
    # Of the softmax behind which a node is returned: kind, layer, its groups.
    softmax: dict[str, tuple[str, str, IntArray]] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)  # the nodes of the results
    call: Call | None = None  # the node at hand

    def unique(self, name: str) -> str:
        candidate, number = name, 2
        while candidate in self.names:
            candidate, number = f"{name}_{number}", number + 1
        self.names.add(candidate)
        return candidate

    def enter(self, origin: str) -> None:
        """Note that a node is evaluated that uses these parameters ("" for none)."""
        self.anchor, self.offset = (origin, 0) if origin else (self.anchor, self.offset + 1)
        self.count = 0

    def twin(self, kind: type[Op], shape: tuple[int, ...]) -> str:
        """What the next operation is in any time step: so many nodes behind the same weights."""
        self.count += 1
        return f"{self.anchor} +{self.offset}.{self.count} {kind.__name__} {shape}"

    def begin(
        self,
        site: "Site",
        kind: type[Op],
        views: tuple[IntArray, ...],
        shape: tuple[int, int, int],
        macs: int = 0,
    ) -> Common:
        """What all kinds have, of an operation whose result is [C, H, W] = ``shape``."""
        name = self.unique(site.name)
        out = self.draft.new_tensor(name, *shape)
        twin = self.twin(kind, shape)
        return Common(
            name=name, label=site.label, source=site.source, views=views, out=out, clamp=NO_CLAMP,
            activation=None, rounds=None, macs=macs, layer=self.layers.setdefault(twin, name),
            twins=(twin,), passed=0,
        )  # fmt: skip

    def add(self, op: Op) -> IntArray:
        """Append an operation and return the numbers of its result, [C, H, W]."""
        self.draft.ops.append(op)
        return op.out.ids


@dataclass(frozen=True, slots=True)
class Site:
    """Where an operation stands in the author's model."""

    name: str
    label: str
    source: str

    def refuse(self, what: str) -> UnsupportedLayer:
        return UnsupportedLayer(f"{self.source}: layer {self.name!r}: {what}")


@dataclass(frozen=True, slots=True, eq=False)
class Turned:
    """Element numbers whose batch axis is not the first one but ``axis``; it is left out.

    ``site`` is what has turned them.
    """

    numbers: IntArray
    axis: int
    site: Site


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """Element numbers of both samples, where these are no axis of their own: of the operator's
    shape. Those of the second sample are BATCH_STEP larger (moves.py)."""

    numbers: IntArray
    site: Site


Handler = Callable[[Capture, Site, dict[str, Any], tuple[int, ...]], Any]


def as_numpy(value: Any) -> Any:
    return array_of(value) if isinstance(value, torch.Tensor) else value


def constant_of(site: Site, value: Any, what: str) -> Any:
    if isinstance(value, np.ndarray):
        raise site.refuse(f"its {what} is computed from data, not a constant")
    return as_numpy(value)


def operand_of(a: dict[str, Any]) -> IntArray:
    """The tensor that an ATen operator works on; some call it self, some input."""
    view: IntArray = a["self"] if "self" in a else a["input"]
    return view


def _pair(value: Any) -> tuple[int, int]:
    """An argument given for one axis ([w], Conv1d) or two ([h, w]) or as one number."""
    if isinstance(value, int):
        return value, value
    values = [int(v) for v in value]
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def two_axes(value: Any, one_axis: bool, neutral: int) -> tuple[int, int]:
    if one_axis:
        single = value if isinstance(value, int) else int(value[0])
        return neutral, single
    return _pair(value)
