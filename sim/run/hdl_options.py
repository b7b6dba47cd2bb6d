# SPDX-License-Identifier: Apache-2.0
"""What a core that ``bramcast hdl`` writes is built with, beside the parameters of its bundle."""

from dataclasses import dataclass

from bramcast.golden.beats import BEATS
from bramcast.pack.axi.registers import address_bits
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.manifest import Core

BUS_ADDRESS_BITS = 32  # most of a slave
LARGEST_LIMIT = (1 << 31) - 1  # of a parameter in Verilog


@dataclass(frozen=True, slots=True)
class HdlOptions:
    """HDL parameters of a core, and which top it gets; what is not said is off.

    Attributes:
        axi: with the AXI4-Lite slave (``bramcast_axi``), else streams only (``bramcast_core``).
        frame_depth: FRAME_DEPTH.
        tlast_ends: TLAST_ENDS.
        beat: BEAT.
        axi_clock: AXI_CLOCK: the slave has a clock and a reset of its own.
        ledger_depth: LEDGER_DEPTH.
        peek: PEEK.
        counters: COUNTERS.
        readback: READBACK.
        limit: LIMIT in cycles, 0 for any number; None: as it stands in ``bramcast_axi``.

    Raises:
        InputError: an illegal value, or a register's option without the slave.
    """

    axi: bool = False
    frame_depth: int = 0
    tlast_ends: bool = True
    beat: int = 1
    axi_clock: bool = False
    ledger_depth: int = 0
    peek: bool = False
    counters: bool = False
    readback: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.frame_depth and (self.frame_depth < 16 or not _power_of_two(self.frame_depth)):
            raise InputError(
                f"FRAME_DEPTH is 0 or a power of two from 16 on, not {self.frame_depth}"
            )
        if self.beat not in BEATS:
            raise InputError(f"BEAT is 1, 2, 4 or 8 elements of an input beat, not {self.beat}")
        if self.axi_clock and not self.axi:
            raise InputError("--axi-clock is the clock of the AXI4-Lite slave: add --axi")
        if self.ledger_depth and (self.ledger_depth < 2 or not _power_of_two(self.ledger_depth)):
            raise InputError(
                f"LEDGER_DEPTH is 0 or a power of two from 2 on, not {self.ledger_depth}"
            )
        if self.limit is not None and not 0 <= self.limit <= LARGEST_LIMIT:
            raise InputError(f"LIMIT is 0 to {LARGEST_LIMIT} cycles, not {self.limit}")
        unread = {
            "--ledger": self.ledger_depth > 0,
            "--peek": self.peek,
            "--counters": self.counters,
            "--no-readback": not self.readback,
            "--limit": self.limit is not None,
        }
        for option, wanted in unread.items():
            if wanted and not self.axi:
                raise InputError(f"{option} is of the AXI4-Lite slave's registers: add --axi")

    def address_bits(self, core: Core) -> int:
        """Bits of the slave's byte addresses.

        Raises:
            InputError: a bus has not so many.
        """
        bits = address_bits(core, self.ledger_depth, self.peek)
        if bits > BUS_ADDRESS_BITS:
            raise InputError(
                f"the slave would need addresses of {bits} bits, a bus has {BUS_ADDRESS_BITS}: "
                "take a smaller LEDGER_DEPTH"
            )
        return bits

    def registers(self) -> dict[str, int]:
        """Parameters of what is read and written through the slave, where they are not its own.

        >>> HdlOptions(axi=True).registers()
        {}
        >>> HdlOptions(axi=True, ledger_depth=64, readback=False).registers()
        {'LEDGER_DEPTH': 64, 'READBACK': 0}
        """
        values = {
            "LEDGER_DEPTH": self.ledger_depth or None,
            "PEEK": 1 if self.peek else None,
            "COUNTERS": 1 if self.counters else None,
            "READBACK": None if self.readback else 0,
            "LIMIT": self.limit,
        }
        return {name: value for name, value in values.items() if value is not None}


def _power_of_two(value: int) -> bool:
    return value & (value - 1) == 0
