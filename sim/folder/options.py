# SPDX-License-Identifier: Apache-2.0
"""What a core that ``bramcast hdl`` writes is built with, beside the parameters of its bundle."""

from dataclasses import dataclass

from bramcast.board.line import BAUD
from bramcast.golden.beats import BEATS
from bramcast.pack.axi.registers import address_bits
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import Input
from bramcast.sim.folder.boards import Board
from bramcast.sim.folder.pll import dividers

CLOCK_MHZ = 100.0  # if nobody says
BUS_ADDRESS_BITS, LINE_ADDRESS_BITS = 32, 31  # most of a slave, and behind a serial line
LEAST_DIVISOR, MOST_DIVISOR = 4, 65536
BAUD_ERROR = 0.02  # that a receiver at the other end takes, and one with an error of its own, too
LARGEST_LIMIT = (1 << 31) - 1  # of a parameter in Verilog


@dataclass(frozen=True, slots=True)
class HdlOptions:
    """HDL parameters of a core, and which top it gets; what is not said is off.

    Attributes:
        axi: with the AXI4-Lite slave (``bramcast_axi``), else streams only (``bramcast_core``).
        serial: ``bramcast_serial``: the slave and both streams on a serial line.
        frame_depth: FRAME_DEPTH.
        tlast_ends: TLAST_ENDS: 0, 1 or 2; 2 makes of a frame a packet for each of several inputs.
        beat: BEAT.
        axi_clock: AXI_CLOCK: the slave has a clock and a reset of its own.
        ledger_depth: LEDGER_DEPTH.
        peek: PEEK.
        counters: COUNTERS.
        readback: READBACK.
        limit: LIMIT in cycles, 0 for any number; None: as it stands in ``bramcast_axi``.
        clock_mhz: frequency of the clock of a core on a serial line; None: ``CLOCK_MHZ``.
        baud: bits per second of the line; None: ``BAUD``, or what ``divisor`` gives.
        divisor: DIVISOR; None: that of ``clock_mhz`` and ``baud``.
        patchable: the images are the pattern that ``bramcast patch`` finds in a bitstream.
        board: whose pins, PLL and lamps the top has; ``serial`` must be set, and ``clock_mhz`` is
            that of the core.

    Raises:
        InputError: an illegal value, or a register's option without the slave.
    """

    axi: bool = False
    serial: bool = False
    frame_depth: int = 0
    tlast_ends: int = 1
    beat: int = 1
    axi_clock: bool = False
    ledger_depth: int = 0
    peek: bool = False
    counters: bool = False
    readback: bool = True
    limit: int | None = None
    clock_mhz: float | None = None
    baud: int | None = None
    divisor: int | None = None
    patchable: bool = False
    board: Board | None = None

    def __post_init__(self) -> None:
        assert self.serial or self.board is None
        if self.board is not None and self.axi:
            raise InputError("--board has the AXI4-Lite slave behind its UART: leave --axi out")
        if self.serial and self.axi:
            raise InputError("--serial has the AXI4-Lite slave inside: leave --axi out")
        if self.frame_depth and (self.frame_depth < 16 or not _power_of_two(self.frame_depth)):
            raise InputError(
                f"FRAME_DEPTH is 0 or a power of two from 16 on, not {self.frame_depth}"
            )
        if self.beat not in BEATS:
            raise InputError(f"BEAT is 1, 2, 4 or 8 elements of an input beat, not {self.beat}")
        if self.beat > 1 and self.serial:
            raise InputError("--beat is of the input stream's port, which --serial has not")
        if self.axi_clock and not self.axi:
            raise InputError("--axi-clock is the clock of the AXI4-Lite slave: add --axi")
        if self.ledger_depth and (self.ledger_depth < 2 or not _power_of_two(self.ledger_depth)):
            raise InputError(
                f"LEDGER_DEPTH is 0 or a power of two from 2 on, not {self.ledger_depth}"
            )
        if self.limit is not None and not 0 <= self.limit <= LARGEST_LIMIT:
            raise InputError(f"LIMIT is 0 to {LARGEST_LIMIT} cycles, not {self.limit}")
        self._check_registers()
        self._check_line()
        if self.board is not None and self.needs_pll:
            dividers(self.board.pll, self.board.oscillator_mhz, self.mhz)

    def _check_registers(self) -> None:
        asked = {
            "--ledger": self.ledger_depth > 0,
            "--peek": self.peek,
            "--counters": self.counters,
            "--no-readback": not self.readback,
            "--limit": self.limit is not None,
        }
        for option, wanted in asked.items():
            if wanted and self.board is not None and not self.board.registers:
                raise InputError(
                    f"{option} is of the registers, for which {self.board.name} has no room"
                )
            if wanted and not (self.axi or self.serial):
                raise InputError(
                    f"{option} is of the AXI4-Lite slave's registers: add --axi or --serial"
                )

    def _check_line(self) -> None:
        asked = {"--clock-mhz": self.clock_mhz, "--baud": self.baud, "--divisor": self.divisor}
        for option, value in asked.items():
            if value is not None and not self.serial:
                raise InputError(f"{option} is of a core on a serial line: add --serial")
        if self.divisor is not None and self.baud is not None:
            raise InputError("--divisor and --baud say the same: leave one of them out")
        if self.clock_mhz is not None and not 1 <= self.clock_mhz <= 1000:
            raise InputError(f"--clock-mhz is 1 to 1000, not {self.clock_mhz:g}")
        if self.baud is not None and self.baud < 1:
            raise InputError(f"--baud is 1 or more, not {self.baud}")
        if not LEAST_DIVISOR <= self.bit_cycles <= MOST_DIVISOR:
            raise InputError(
                f"DIVISOR is {LEAST_DIVISOR} to {MOST_DIVISOR} clock cycles of a bit, not "
                f"{self.bit_cycles}" + ("" if self.divisor else f" ({self._line()})")
            )
        if self.divisor is None and abs(self.line_baud / self._baud - 1) > BAUD_ERROR:
            raise InputError(
                f"{self._line()}: {self.bit_cycles} cycles of a bit are {self.line_baud:,.0f} "
                f"baud, more than {100 * BAUD_ERROR:g} % beside it: choose another rate"
            )

    def packets(self, frame: Input) -> tuple[int, ...]:
        """Elements between one TLAST and the next, of a frame.

        >>> frame = Input(run=10, runs=1, result_base=0, packets=(4,))
        >>> HdlOptions().packets(frame), HdlOptions(tlast_ends=2).packets(frame)
        ((10,), (4, 6))
        """
        return frame.packet_elements if self.tlast_ends == 2 else (frame.elements,)

    @property
    def _baud(self) -> int:
        return BAUD if self.baud is None else self.baud

    @property
    def mhz(self) -> float:
        """Of the clock of a core on a serial line."""
        if self.clock_mhz is not None:
            return self.clock_mhz
        return CLOCK_MHZ if self.board is None else self.board.mhz

    @property
    def needs_pll(self) -> bool:
        """Whether the core's clock is another one than the board's."""
        return self.board is not None and self.board.oscillator_mhz != self.mhz

    def _line(self) -> str:
        return f"{self._baud:,} baud at {self.mhz:g} MHz"

    @property
    def bit_cycles(self) -> int:
        """DIVISOR: clock cycles of a bit on the serial line.

        >>> HdlOptions(serial=True).bit_cycles, HdlOptions(serial=True, clock_mhz=25).bit_cycles
        (868, 217)
        """
        if self.divisor is not None:
            return self.divisor
        return round(self.mhz * 1e6 / self._baud)

    @property
    def line_baud(self) -> float:
        """Bits per second on the serial line."""
        return self.mhz * 1e6 / self.bit_cycles

    @property
    def period_ns(self) -> float:
        """Of the clock at the pin, as constraints ask for it.

        >>> HdlOptions().period_ns, HdlOptions(serial=True, clock_mhz=12.5).period_ns
        (10.0, 80.0)
        """
        return 1000 / (self.mhz if self.board is None else self.board.oscillator_mhz)

    def address_bits(self, core: Core) -> int:
        """Bits of the slave's byte addresses.

        Raises:
            InputError: a bus has not so many.
        """
        bits = address_bits(core, self.ledger_depth, self.peek)
        most = LINE_ADDRESS_BITS if self.serial else BUS_ADDRESS_BITS
        if bits > most:
            raise InputError(
                f"the slave would need addresses of {bits} bits, there are {most}: "
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
