# SPDX-License-Identifier: Apache-2.0
"""The stages of packing with their times: what ``pack -v`` prints."""

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from bramcast.cli.output import say, table

if TYPE_CHECKING:
    from bramcast.pack.graph.graph import Graph


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        operations: of the graph behind it; None where there is none.
        changed: whether the graph is another one.
    """

    name: str
    seconds: float
    operations: int | None
    changed: bool


class Stopwatch:
    """Called behind each stage; the time of a stage is the time since the last one."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self._last = perf_counter()

    def __call__(self, name: str, before: "Graph | None", after: "Graph | None") -> None:
        now = perf_counter()
        operations = None if after is None else len(after.ops)
        self.stages.append(Stage(name, now - self._last, operations, before is not after))
        self._last = now

    def print(self) -> None:
        rows = [
            (s.name, f"{1000 * s.seconds:,.0f}", "" if s.operations is None else s.operations,
             "changed" if s.changed else "")
            for s in self.stages
        ]  # fmt: skip
        table("", ("stage", "ms", "operations", "graph"), rows)
        say("")
