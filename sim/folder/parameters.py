# SPDX-License-Identifier: Apache-2.0
"""Parameters of a top that a project may still choose; none moves a port."""

from dataclasses import dataclass

from bramcast.sim.folder.options import LEAST_DIVISOR, MOST_DIVISOR, HdlOptions


@dataclass(frozen=True, slots=True)
class Adjustable:
    """A parameter of the top.

    Attributes:
        value: what it is if nobody says.
        allowed: the values that it may have, in ascending order.
    """

    name: str
    value: int
    allowed: tuple[int, ...]
    text: str


def adjustable(options: HdlOptions) -> tuple[Adjustable, ...]:
    """The parameters of a top, in the order in which they stand in it."""
    divisors = range(LEAST_DIVISOR, MOST_DIVISOR + 1)
    banked = Adjustable("BANKED", 0, (0, 1), "1: images in block RAMs for AMD's updatemem")
    found: list[Adjustable] = []
    if options.axi:
        found += _of_the_slave(options)
    if options.serial:
        text = "clock cycles of a bit"
        found.append(Adjustable("DIVISOR", options.bit_cycles, tuple(divisors), text))
    amd = options.board is None or options.board.family == "xc7"
    return (*found, *([banked] if options.patchable and amd else []))


def _of_the_slave(options: HdlOptions) -> tuple[Adjustable, ...]:
    depths = (0, *(1 << bits for bits in range(4, 17)))
    return (
        Adjustable(
            "FRAME_DEPTH",
            options.frame_depth,
            tuple(sorted({*depths, options.frame_depth})),
            "units of the frame FIFO; 0: there is none",
        ),
        Adjustable(
            "TLAST_ENDS",
            options.tlast_ends,
            (0, 1, 2),
            "TLAST ends 1: a frame, 2: an input; 0: count",
        ),
        Adjustable("COUNTERS", int(options.counters), (0, 1), "1: registers that count stalls"),
        Adjustable("READBACK", int(options.readback), (0, 1), "1: images can be read back"),
    )
