# SPDX-License-Identifier: Apache-2.0
"""The PLL of a board's top: its dividers for a clock, and the lines that instantiate it.

Ranges are those of the parts' data sheets: ECP5 (FPGA-DS-02012), iCE40 (FPGA-TN-02052), Gowin
GW1NR and GW2AR (DS117, DS226), Artix-7 at speed grade -1 (DS181).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from bramcast.pack.bundle.errors import InputError

NEAR = Fraction(1, 1000)  # that a clock may be beside what was asked for


@dataclass(frozen=True, slots=True)
class Dividers:
    """A setting of a PLL.

    Attributes:
        mhz: what it gives.
        reference: the divider before the phase detector.
        feedback: the factor of the loop.
        output: the divider behind the oscillator.
    """

    mhz: Fraction
    reference: int
    feedback: int
    output: int


@dataclass(frozen=True, slots=True)
class Pll:
    """A kind of PLL: what it can do, and its text.

    Attributes:
        behind: the loop is closed behind the output divider: clock = input * feedback / reference;
            else in front of it, and the clock is that divided by ``output``.
        reference, feedback, output: the dividers' values.
        compared, oscillator, clock: lowest and highest MHz of the phase detector, the oscillator,
            and what comes out.
        lines: its instance, with ``clk`` in, ``core_clk`` and ``locked`` out.
    """

    behind: bool
    reference: Iterable[int]
    feedback: Iterable[int]
    output: Iterable[int]
    compared: tuple[int, int]
    oscillator: tuple[int, int]
    clock: tuple[float, float]
    lines: Callable[[Fraction, Dividers], list[str]]

    def settings(self, clock: Fraction) -> Iterator[Dividers]:
        """All that is allowed for an input of ``clock`` MHz."""
        for reference, feedback in product(self.reference, self.feedback):
            compared = clock / reference
            if not self.compared[0] <= compared <= self.compared[1]:
                continue
            for output in self.output:
                oscillator = compared * feedback * (output if self.behind else 1)
                mhz = oscillator / output
                if (
                    self.oscillator[0] <= oscillator <= self.oscillator[1]
                    and self.clock[0] <= mhz <= self.clock[1]
                ):
                    yield Dividers(mhz, reference, feedback, output)


def dividers(kind: str, clock: float, wanted: float) -> Dividers:
    """The setting nearest to a frequency.

    Of equal ones that with the fastest phase detector, then that with the oscillator in the middle
    of its range.

    Args:
        kind: one of ``PLLS``.
        clock: MHz that go in.
        wanted: MHz.

    Raises:
        InputError: there is none within 0.1 %.

    >>> dividers("ecp5", 25, 100)
    Dividers(mhz=Fraction(100, 1), reference=1, feedback=4, output=6)
    >>> dividers("ice40_pad", 12, 24).feedback, dividers("gowin9", 27, 54).output
    (64, 16)
    """
    target, pll = Fraction(wanted).limit_denominator(10**6), PLLS[kind]
    middle = Fraction(sum(pll.oscillator), 2)
    found = min(
        pll.settings(Fraction(clock).limit_denominator(10**6)),
        key=lambda d: (abs(d.mhz - target), d.reference, abs(d.mhz * d.output - middle)),
    )
    if abs(found.mhz - target) > target * NEAR:
        raise InputError(
            f"--clock-mhz {wanted:g}: the board's PLL makes {float(found.mhz):.6g} MHz of "
            f"{clock:g}, nothing nearer: take that"
        )
    return found


def pll_lines(kind: str, clock: float, wanted: float) -> list[str]:
    """The instance of a PLL that makes ``wanted`` MHz of ``clock`` MHz, indented."""
    given = Fraction(clock).limit_denominator(10**6)
    return [f"  {line}" for line in PLLS[kind].lines(given, dividers(kind, clock, wanted))]


def _instance(cell: str, parameters: dict[str, object], ports: dict[str, str]) -> list[str]:
    given = ",\n".join(f"      .{name}({value})" for name, value in parameters.items())
    wired = ",\n".join(f"      .{name}({wire})" for name, wire in ports.items())
    return f"{cell} #(\n{given}\n  ) u_pll (\n{wired}\n  );".split("\n  ")


def _ecp5(clock: Fraction, d: Dividers) -> list[str]:
    """Filter and phase as for a loop through CLKOP that leads to no other output."""
    attributes = {
        "FREQUENCY_PIN_CLKI": f"{float(clock):g}",
        "FREQUENCY_PIN_CLKOP": f"{float(d.mhz):g}",
        "ICP_CURRENT": "12",
        "LPF_RESISTOR": "8",
        "MFG_ENABLE_FILTEROPAMP": "1",
        "MFG_GMCREF_SEL": "2",
    }
    parameters: dict[str, object] = {
        "CLKI_DIV": d.reference,
        "CLKFB_DIV": d.feedback,
        "CLKOP_DIV": d.output,
        "CLKOP_ENABLE": '"ENABLED"',
        "CLKOP_CPHASE": (d.output - 1) // 2,
        "CLKOP_FPHASE": 0,
        "FEEDBK_PATH": '"CLKOP"',
        "PLLRST_ENA": '"DISABLED"',
        "INTFB_WAKE": '"DISABLED"',
        "STDBY_ENABLE": '"DISABLED"',
        "DPHASE_SOURCE": '"DISABLED"',
    }
    ports = {"CLKI": "clk", "CLKFB": "core_clk", "CLKOP": "core_clk", "LOCK": "locked"}
    ports |= {name: "1'b0" for name in ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PLLWAKESYNC")}
    ports |= {name: "1'b1" for name in ("PHASEDIR", "PHASESTEP", "PHASELOADREG")}
    ports["ENCLKOP"] = "1'b0"
    named = ", ".join(f'{name} = "{value}"' for name, value in attributes.items())
    return [f"(* {named} *)", *_instance("EHXPLLL", parameters, ports)]


def _ice40(cell: str, pin: str) -> Callable[[Fraction, Dividers], list[str]]:
    ranges = ((17, 1), (26, 2), (44, 3), (66, 4), (101, 5), (1000, 6))

    def lines(clock: Fraction, d: Dividers) -> list[str]:
        compared = clock / d.reference
        parameters: dict[str, object] = {
            "FEEDBACK_PATH": '"SIMPLE"',
            "DIVR": f"4'd{d.reference - 1}",
            "DIVF": f"7'd{d.feedback - 1}",
            "DIVQ": f"3'd{d.output.bit_length() - 1}",
            "FILTER_RANGE": f"3'd{next(number for below, number in ranges if compared < below)}",
        }
        ports = {pin: "clk", "PLLOUTGLOBAL": "core_clk", "LOCK": "locked"}
        return _instance(cell, parameters, ports | {"RESETB": "1'b1", "BYPASS": "1'b0"})

    return lines


def _gowin(device: str) -> Callable[[Fraction, Dividers], list[str]]:
    def lines(clock: Fraction, d: Dividers) -> list[str]:
        parameters: dict[str, object] = {
            "DEVICE": f'"{device}"',
            "FCLKIN": f'"{float(clock):g}"',
            "IDIV_SEL": d.reference - 1,
            "FBDIV_SEL": d.feedback - 1,
            "ODIV_SEL": d.output,
        }
        ports = {"CLKIN": "clk", "CLKOUT": "core_clk", "LOCK": "locked"}
        ports |= {name: "1'b0" for name in ("RESET", "RESET_P", "CLKFB")}
        ports |= {name: "6'b0" for name in ("FBDSEL", "IDSEL", "ODSEL")}
        ports |= {name: "4'b0" for name in ("PSDA", "DUTYDA", "FDLY")}
        return _instance("rPLL", parameters, ports)

    return lines


def _mmcm(clock: Fraction, d: Dividers) -> list[str]:
    parameters: dict[str, object] = {
        "CLKIN1_PERIOD": f"{float(1000 / clock):.3f}",
        "DIVCLK_DIVIDE": d.reference,
        "CLKFBOUT_MULT_F": f"{d.feedback}.0",
        "CLKOUT0_DIVIDE_F": f"{d.output}.0",
    }
    ports = {"CLKIN1": "clk", "CLKFBIN": "loop", "CLKFBOUT": "loop", "CLKOUT0": "fast"}
    ports |= {"LOCKED": "locked", "PWRDWN": "1'b0", "RST": "1'b0"}
    return [
        "wire loop, fast;",
        *_instance("MMCME2_BASE", parameters, ports),
        "BUFG u_bufg (",
        "    .I(fast),",
        "    .O(core_clk)",
        ");",
    ]


_TO_64, _ODIV = range(1, 65), (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
_ICE40 = (False, range(1, 17), range(1, 129), (2, 4, 8, 16, 32, 64), (10, 133), (533, 1066))
_ICE40_CLOCK = (16, 275)
PLLS = {
    "ecp5": Pll(
        *(True, range(1, 129), range(1, 81), range(1, 129)),
        *((10, 400), (400, 800), (3.125, 400), _ecp5),
    ),
    "ice40_pad": Pll(*_ICE40, _ICE40_CLOCK, _ice40("SB_PLL40_PAD", "PACKAGEPIN")),
    "ice40_core": Pll(*_ICE40, _ICE40_CLOCK, _ice40("SB_PLL40_CORE", "REFERENCECLK")),
    "gowin9": Pll(
        *(True, _TO_64, _TO_64, _ODIV),
        *((3, 400), (400, 1200), (3.125, 600), _gowin("GW1NR-9C")),
    ),
    "gowin18": Pll(
        *(True, _TO_64, _TO_64, _ODIV),
        *((3, 500), (500, 1250), (3.90625, 625), _gowin("GW2AR-18C")),
    ),
    "mmcm": Pll(
        *(False, range(1, 107), range(2, 65), range(1, 129)),
        *((10, 450), (600, 1200), (4.69, 800), _mmcm),
    ),
}
