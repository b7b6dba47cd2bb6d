# SPDX-License-Identifier: Apache-2.0
"""Boards that ``bramcast hdl --board`` knows: part, clock, pins, and how a bitstream gets there.

Everything that a board's page, top, constraints and commands say of it stands in ``BOARDS``. Pins
are those of the makers' constraint files.
"""

from dataclasses import dataclass

from bramcast.pack.bundle.errors import InputError
from bramcast.sim.folder.build import FAMILIES


@dataclass(frozen=True, slots=True)
class Pin:
    """A pin of the part; ``pull``: what holds the line if nobody does."""

    place: str
    pull: str = "none"  # none, up, down
    standard: str = "LVCMOS33"


@dataclass(frozen=True, slots=True)
class Lamp:
    """A pin that lights an LED; ``low``: with a low level."""

    pin: Pin
    low: bool = False


@dataclass(frozen=True, slots=True)
class Button:
    """A button that resets the core; ``low``: low while it is pressed."""

    pin: Pin
    low: bool


@dataclass(frozen=True, slots=True)
class Board:
    """A board.

    Attributes:
        title: its name for people, and the part.
        family: ecp5, ice40, gowin (open tools), xc7 (Vivado).
        device, package, speed: as build.py takes them; xc7: the part's name, the rest is empty.
        oscillator_mhz: what comes to ``clk``.
        mhz: the core's clock, if nobody says another one.
        pll: a kind of ``bramcast.sim.folder.pll``.
        lamps: class, lowest bit first; then busy, then error.
        wired: ports with a constant level: name, pin, level.
        registers: there is room for ``bramcast_serial``; else the top has ``bramcast_line``.
        ledger: there is room for a ledger.
        loader: the name that openFPGALoader has for it.
    """

    name: str
    title: str
    family: str
    device: str
    package: str
    speed: str
    oscillator_mhz: float
    mhz: float
    pll: str
    clock: Pin
    rx: Pin
    tx: Pin
    lamps: tuple[Lamp, ...]
    button: Button | None
    ledger: bool
    loader: str
    registers: bool = True
    wired: tuple[tuple[str, Pin, int], ...] = ()

    @property
    def open_tools(self) -> bool:
        """Whether build.py makes its bitstream."""
        return self.family != "xc7"

    @property
    def constraints(self) -> str:
        """The file that says where its pins are."""
        return f"board{FAMILIES[self.family].pins if self.open_tools else '.xdc'}"

    @property
    def binary(self) -> str:
        """The suffix of its bitstream."""
        return FAMILIES[self.family].binary if self.open_tools else ".bit"

    @property
    def low_lamps(self) -> str:
        """In Verilog, 1: the LED lights with a low level."""
        digits = "".join("01"[lamp.low] for lamp in reversed(self.lamps))
        return f"{len(self.lamps)}'b{digits}"

    @property
    def class_lamps(self) -> int:
        return len(self.lamps) - 2


def _lamps(places: str, *, low: bool = False, standard: str = "LVCMOS33") -> tuple[Lamp, ...]:
    return tuple(Lamp(Pin(place, standard=standard), low) for place in places.split())


BOARDS = {
    board.name: board
    for board in (
        Board(
            name="ulx3s",
            title="ULX3S with an ECP5-85F",
            family="ecp5",
            device="85k",
            package="CABGA381",
            speed="6",
            oscillator_mhz=25,
            mhz=75,
            pll="ecp5",
            clock=Pin("G2"),
            rx=Pin("M1", "up"),
            tx=Pin("L4", "up"),
            lamps=_lamps("B2 C2 C1 D2 D1 E2 E1 H3"),
            button=Button(Pin("R1", "down"), low=False),  # FIRE 1
            ledger=True,
            loader="ulx3s",
            wired=(("wifi_gpio0", Pin("L2"), 1),),  # else the ESP32 may take the board over
        ),
        Board(
            name="icebreaker",
            title="iCEBreaker with an iCE40 UP5K",
            family="ice40",
            device="up5k",
            package="sg48",
            speed="",
            oscillator_mhz=12,
            mhz=18,
            pll="ice40_pad",
            clock=Pin("35"),
            rx=Pin("6"),
            tx=Pin("9"),
            # Those of the part that can be broken off, then the green and the red one.
            lamps=_lamps("26 27 25 23 21") + _lamps("37 11", low=True),
            button=Button(Pin("10", "up"), low=True),
            ledger=False,
            loader="ice40_generic",
            registers=False,
        ),
        Board(
            name="hx8k",
            title="iCE40-HX8K breakout board",
            family="ice40",
            device="hx8k",
            package="ct256",
            speed="",
            oscillator_mhz=12,
            mhz=24,
            pll="ice40_core",
            clock=Pin("J3"),
            rx=Pin("B10"),
            tx=Pin("B12"),
            lamps=_lamps("B5 B4 A2 A1 C5 C4 B3 C3"),
            button=None,
            ledger=False,
            loader="ice40_generic",
        ),
        Board(
            name="tangnano9k",
            title="Tang Nano 9K with a GW1NR-9C",
            family="gowin",
            device="GW1NR-LV9QN88PC6/I5",
            package="",
            speed="",
            oscillator_mhz=27,
            mhz=27,
            pll="gowin9",
            clock=Pin("52"),
            rx=Pin("18", "up"),
            tx=Pin("17"),
            lamps=_lamps("10 11 13 14 15 16", low=True, standard="LVCMOS18"),
            button=Button(Pin("3", "up", "LVCMOS18"), low=True),
            ledger=False,
            loader="tangnano9k",
        ),
        Board(
            name="arty-a7-35t",
            title="Arty A7-35T",
            family="xc7",
            device="xc7a35ticsg324-1L",
            package="",
            speed="",
            oscillator_mhz=100,
            mhz=80,
            pll="mmcm",
            clock=Pin("E3"),
            rx=Pin("A9"),
            tx=Pin("D10"),
            lamps=_lamps("H5 J5 T9 T10 E1 G6"),  # LD4 to LD7, LD0's blue and red
            button=Button(Pin("C2"), low=True),
            ledger=True,
            loader="arty_a7_35t",
        ),
    )
}


def board_named(name: str) -> Board:
    """A board of ``BOARDS``.

    Raises:
        InputError: there is none of that name.
    """
    if name not in BOARDS:
        raise InputError(f"--board {name}: there are {', '.join(BOARDS)}")
    return BOARDS[name]


# ------------------------------------------------------------------------------------ constraints


def constraints(board: Board) -> str:
    """The text of the file that says where the ports of the board's top are."""
    ports = [("clk", board.clock), ("rx", board.rx), ("tx", board.tx)]
    if board.button is not None:
        ports.append(("button", board.button.pin))
    ports += [(f"led[{i}]", lamp.pin) for i, lamp in enumerate(board.lamps)]
    ports += [(name, pin) for name, pin, _ in board.wired]
    lines = ["# SPDX-License-Identifier: Apache-2.0", f"# Pins of the board: {board.title}."]
    if board.family == "gowin":
        lines = [line.replace("#", "//") for line in lines]
    lines += [line for name, pin in ports for line in _WRITE[board.family](name, pin)]
    clock = f"{board.oscillator_mhz:g}"
    if board.family == "ecp5":
        lines.append(f'FREQUENCY PORT "clk" {clock} MHZ;')
    elif board.family == "ice40":
        lines.append(f"set_frequency clk {clock}")
    return "\n".join([*lines, ""])


def _lpf(name: str, pin: Pin) -> list[str]:
    return [
        f'LOCATE COMP "{name}" SITE "{pin.place}";',
        f'IOBUF PORT "{name}" IO_TYPE={pin.standard} PULLMODE={pin.pull.upper()};',
    ]


def _pcf(name: str, pin: Pin) -> list[str]:
    return [f"set_io {'-pullup yes ' * (pin.pull == 'up')}{name} {pin.place}"]


def _cst(name: str, pin: Pin) -> list[str]:
    return [
        f'IO_LOC "{name}" {pin.place};',
        f'IO_PORT "{name}" IO_TYPE={pin.standard} PULL_MODE={pin.pull.upper()};',
    ]


def _xdc(name: str, pin: Pin) -> list[str]:
    given = f"PACKAGE_PIN {pin.place} IOSTANDARD {pin.standard}"
    if pin.pull != "none":
        given += f" PULL{pin.pull.upper()} TRUE"
    return [f"set_property -dict {{{given}}} [get_ports {{{name}}}]"]


_WRITE = {"ecp5": _lpf, "ice40": _pcf, "gowin": _cst, "xc7": _xdc}
