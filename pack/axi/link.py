# SPDX-License-Identifier: Apache-2.0
"""How frames reach a core and results come back: what carries the two streams.

The registers go by a ``Bus`` (pack/axi/driver.py), the streams by a ``Link``: a DMA engine, a
serial line, a simulation. Whoever compares a chip with golden takes one of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """One packet of the result stream, up to its TLAST: one output of a frame.

    Attributes:
        beats: the results in stream order, 32 bits signed.
        top: class of TUSER with the last beat.
        cut: the error mark of TUSER: an abort ended the packet, its beats are no result.
    """

    beats: tuple[int, ...]
    top: int
    cut: bool


class Link(Protocol):
    """The two streams of one core, a packet at a time."""

    def send(self, elements: Sequence[int], /) -> None:
        """A packet, an element of DATA_BITS each, TLAST with the last one: a frame, or of several
        inputs one, where the core wants it so (``Driver.packets``).

        Signed or not: the low DATA_BITS of each number count. Returns when the elements are on
        their way.

        Raises:
            DeviceError: the core or the way to it does not take them.
        """

    def receive(self) -> Answer:
        """The next packet; waits for its TLAST.

        Raises:
            DeviceError: none came in time.
        """
