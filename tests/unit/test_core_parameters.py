# SPDX-License-Identifier: Apache-2.0
"""A core parameter has one home, ``Core`` in pack/bundle/manifest.py; all other lists follow it.

A test that fails names what is missing where.
"""

import re
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest
from support import ROOT

from bramcast.hw import FOLDER
from bramcast.pack.axi.driver import DeviceError, Driver
from bramcast.pack.axi.registers import BY_NAME, IDENTIFICATION, INTERFACE, REGISTERS
from bramcast.pack.bundle.formats.c_header import header_text
from bramcast.pack.bundle.manifest import FORMAT, IMAGES, Core
from bramcast.sim.run.cosim import core_parameters

# A core that differs from every other one in each of its fields.
CORE = Core(4, 2, 16, 8, 1, 96, 500, 70, 256, 200, narrow=True, gates=True, tiles=2,
            pairs=True)  # fmt: skip
NAMES = [field.name.upper() for field in fields(Core)]
# Of the core alone, no image depends on them: the first moves frames in time, the second tells
# where they end, the third how many elements come at once.
FIFO = ["FRAME_DEPTH", "TLAST_ENDS", "BEAT"]
FILES = [f"{image.upper()}_IMAGE" for image in IMAGES]
# Of the memories of images.
BANKS = ["BANKED"]
# Of the bus' side.
BUS = ["AXI_ADDRESS_BITS", "READBACK", "COUNTERS"]
LIMIT = ["LIMIT"]
CLOCK = ["AXI_CLOCK"]
LEDGER = ["LEDGER_DEPTH", "PEEK"]
LINE = ["DIVISOR", "PAYLOAD", "PATIENCE"]
# Every module that lists the core's parameters, and those that it has.
LISTS = {
    "hw/bramcast_core.sv": [*NAMES, *FIFO, *LEDGER, *FILES, *BANKS],
    "hw/bramcast_axi.sv": [*NAMES, *FIFO, *LEDGER, *FILES, *BANKS, *BUS, *LIMIT, *CLOCK],
    "hw/bramcast_registers.sv": [*NAMES, *FIFO, *LEDGER, *FILES, *BUS],
    "hw/bramcast_watch.sv": ["COUNTERS", *LIMIT],
    "hw/bramcast_serial.sv": [
        *(*NAMES, *FIFO[:2], *LEDGER, *FILES, *BANKS),
        *(*BUS, *LIMIT, *LINE),
    ],
    "hw/bramcast_line.sv": [*NAMES, *FIFO[:1], *FILES, *LINE[:1]],
    "hw/bramcast_bridge.sv": ["DATA_BITS", "AXI_ADDRESS_BITS", *LINE[1:]],
    "hw/bramcast_uart.sv": LINE[:1],
    "hw/bramcast_sim_top.sv": [*NAMES, *FIFO],
    "bench/hdl_bench.sv": NAMES,
}
# Which of them instantiates which, handing on all that both have.
INSIDE = [
    ("hw/bramcast_axi.sv", "hw/bramcast_core.sv"),
    ("hw/bramcast_axi.sv", "hw/bramcast_registers.sv"),
    ("hw/bramcast_axi.sv", "hw/bramcast_watch.sv"),
    ("hw/bramcast_serial.sv", "hw/bramcast_axi.sv"),
    ("hw/bramcast_serial.sv", "hw/bramcast_bridge.sv"),
    ("hw/bramcast_serial.sv", "hw/bramcast_uart.sv"),
    ("hw/bramcast_line.sv", "hw/bramcast_core.sv"),
    ("hw/bramcast_line.sv", "hw/bramcast_uart.sv"),
    ("hw/bramcast_sim_top.sv", "hw/bramcast_core.sv"),
    ("bench/hdl_bench.sv", "hw/bramcast_core.sv"),
]


def declared(path: str) -> dict[str, str]:
    """The parameters in a module's header, with their defaults."""
    header = re.search(r"^module \w+ #\((.*?)^\)(?: \(|;)", (ROOT / path).read_text(), re.M | re.S)
    assert header, path
    return dict(re.findall(r"parameter +(?:int +)?(\w+) *= *([^,\s]+)", header[1]))


def complain(where: str, want: list[str], have: set[str]) -> None:
    missing = [name for name in want if name not in have]
    assert not missing, f"{where} lacks {', '.join(missing)}"
    unknown = sorted(have - set(want))
    assert not unknown, (
        f"{where} has {', '.join(unknown)}, which Core in pack/bundle/manifest.py has not"
    )


@pytest.mark.parametrize("path", LISTS)
def test_every_list_of_parameters_is_complete(path: str) -> None:
    complain(path, LISTS[path], set(declared(path)))


@pytest.mark.parametrize("path", LISTS)
def test_defaults_are_those_of_the_core(path: str) -> None:
    core, mine = declared("hw/bramcast_core.sv"), declared(path)
    own = {*BUS, *LIMIT, *LINE, *CLOCK}
    other = {n: v for n, v in mine.items() if n not in own and v != core.get(n)}
    if path.startswith("hw/"):
        assert not other, f"{path} has other defaults than the core: {other}"


@pytest.mark.parametrize("outer, inner", INSIDE)
def test_every_parameter_is_handed_on(outer: str, inner: str) -> None:
    module = inner.removeprefix("hw/").removesuffix(".sv")
    instance = re.search(rf"^  {module} #\((.*?)^  \) u_", (ROOT / outer).read_text(), re.M | re.S)
    assert instance, f"{outer} has no {module}"
    handed = dict(re.findall(r"\.(\w+)\(([A-Z]\w*)\)", instance[1]))  # no constants
    want = [name for name in LISTS[outer] if name in LISTS[inner]]
    complain(f"{module} in {outer}", want, set(handed))
    crossed = {name: value for name, value in handed.items() if name != value}
    assert not crossed, f"{module} in {outer} gets {crossed}"


@pytest.mark.parametrize("field", fields(Core), ids=lambda f: f.name)
def test_a_value_that_nobody_hands_on_is_seen(field: Any) -> None:
    """A reader that forgets a field gives its default: that must be wrong here."""
    if field.default is not MISSING:
        assert getattr(CORE, field.name) != field.default, (
            f"CORE in this file: another {field.name}"
        )


def test_simulators_and_synthesis_get_every_parameter() -> None:
    values = core_parameters(CORE)
    complain("core_parameters", NAMES, set(values))
    assert values == {f.name.upper(): int(getattr(CORE, f.name)) for f in fields(Core)}


def test_the_page_explains_every_parameter() -> None:
    page = (ROOT / "docs" / "core.md").read_text()
    table = page[page.index("## Parameters") : page.index("## Ports")]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines()
            if line.startswith("| `")]  # fmt: skip
    found = [name for row in rows for name in row]
    complain("docs/core.md, Parameters,", LISTS["hw/bramcast_core.sv"], set(found))
    assert len(found) == len(set(found))


class _Registers:
    """A device that holds nothing but what identifies it, for software to read."""

    def __init__(self, core: Core) -> None:
        numbers: dict[str, Any] = {f.name.upper(): int(getattr(core, f.name)) for f in fields(core)}
        self._numbers = {**numbers, "ID": IDENTIFICATION, "FORMAT": FORMAT, "INTERFACE": INTERFACE}

    def read(self, address: int) -> int:
        (register,) = (r for r in REGISTERS if r.offset == address)
        number = self._numbers.get
        if not register.fields:
            return int(number(register.name, 0))
        return sum(int(number(b.name, 0)) << b.lsb for b in register.fields)

    def write(self, address: int, value: int) -> None:
        raise AssertionError


def test_software_can_read_every_parameter_from_a_device() -> None:
    """Python's driver; that of C is compiled and run in tests/cosim/test_driver_c.py."""
    held = {b.name for name in ("SHAPE", "WIDTHS", "OPTIONS") for b in BY_NAME[name].fields} | set(
        BY_NAME
    )
    complain("pack/axi/registers.py", [*NAMES, *FIFO], held & {*NAMES, *FIFO})
    found = Driver(_Registers(CORE)).core
    lost = [f.name for f in fields(Core) if getattr(found, f.name) != getattr(CORE, f.name)]
    assert not lost, f"pack/axi/driver.py reads no {', '.join(lost)}"
    text = (FOLDER / "bramcast_registers.sv").read_text()
    for name in (*NAMES, *FIFO):
        shown = re.search(
            rf"\(({name}|32'\({name} != 0\)) << bramcast_pkg::\w+_{name}_LSB\)|part_0 = {name};",
            text,
        )
        assert shown, f"hw/bramcast_registers.sv shows no {name}"


@pytest.mark.parametrize("field", fields(Core), ids=lambda f: f.name)
def test_cs_driver_knows_every_parameter(field: Any) -> None:
    """It reads them from the core, and compares them with the network's."""
    if field.name.endswith("_depth") and field.name != "scratch_depth":
        return  # an array: as many as there are images
    header = (ROOT / "pack" / "axi" / "bramcast_driver.h").read_text()
    text = (ROOT / "pack" / "axi" / "bramcast_driver.c").read_text()
    lacks = [
        f"bramcast_driver.h: {field.name} in {name}"
        for name in ("bramcast_t", "bramcast_network_t")
        if not re.search(rf"\b{field.name}[,;]", _struct(header, name))
    ]
    lacks += [
        f"bramcast_driver.c: {said}"
        for said in (f"core->{field.name} =", f"network->{field.name}")
        if not re.search(rf"{said}(?!\w)", text)
    ]
    assert not lacks, "\n".join(lacks)


def _struct(header: str, name: str) -> str:
    (body,) = re.findall(rf"^typedef struct \{{\n((?:  .*\n)*)\}} {name};", header, re.M)
    return str(body)


@pytest.mark.parametrize("field", fields(Core), ids=lambda f: f.name)
def test_a_bundle_for_another_core_is_refused_before_it_is_loaded(field: Any) -> None:
    driver, value = Driver(_Registers(CORE)), getattr(CORE, field.name)
    smaller = not value if isinstance(value, bool) else value // 2 or 2
    driver.core = replace(CORE, **{field.name: smaller})
    with pytest.raises(DeviceError, match=f"(?i){field.name}"):
        driver._check_fit(Path("bundle"), CORE)


@pytest.mark.parametrize("field", fields(Core), ids=lambda f: f.name)
def test_an_image_header_says_what_core_it_is_for(field: Any) -> None:
    """BRAMCAST_NETWORK: parameters that an image is laid out for; a depth is that of its image."""
    if field.name.endswith("_depth") and field.name != "scratch_depth":
        return
    value = getattr(CORE, field.name)
    other = replace(CORE, **{field.name: not value if isinstance(value, bool) else 2 * value})
    assert _network(other) != _network(CORE), f"BRAMCAST_NETWORK does not tell {field.name}"


def _network(core: Core) -> str:
    text = header_text({}, core).decode()
    return text[text.index("#define BRAMCAST_NETWORK") :].split("}}")[0]
