# SPDX-License-Identifier: Apache-2.0
"""A network of integers."""

from dataclasses import dataclass

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.graph import Graph
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.op import QuantizedOp


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network of integers.

    Attributes:
        ops: the integers of every operation, by its name.
        planes: of the input, None for one.
    """

    graph: Graph
    formats: Formats
    ops: dict[str, QuantizedOp]
    planes: Planes | None

    @property
    def input_format(self) -> QFormat:
        return self.formats.of(self.graph.input)
