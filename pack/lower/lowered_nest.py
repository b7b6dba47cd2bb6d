# SPDX-License-Identifier: Apache-2.0
"""A nest on its way from an operation to the program."""

from dataclasses import dataclass

from bramcast.pack.bundle.program import Nest
from bramcast.pack.graph.ops import Op
from bramcast.pack.graph.tensor import IntArray
from bramcast.pack.lower.walks import Walk


@dataclass(frozen=True, slots=True)
class LoweredNest:
    """A nest whose addresses are still relative to buffers.

    ``second`` is the buffer and base of the second operand of an add or product. Of ``beside``
    pixels that are computed side by side, lane i has number ``columns[i]``.
    """

    op: Op
    walk: Walk
    nest: Nest
    result_buffer: int
    channels: IntArray
    second: tuple[int, int] | None = None
    beside: int = 1
    columns: tuple[int, ...] = ()
    first_row: int | None = None  # of the layer that it makes, if not the walk's

    @property
    def origin(self) -> tuple[int, int]:
        """The layer's pixel that the nest's first one is."""
        y, x = self.walk.origin
        return y if self.first_row is None else self.first_row, x * self.beside

    @property
    def stride(self) -> tuple[int, int]:
        """Rows and columns of the layer from a pixel of the nest to the next."""
        y, x = self.walk.stride
        return y, x * self.beside
