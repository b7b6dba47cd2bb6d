# SPDX-License-Identifier: Apache-2.0
"""The Python driver on a device that is played: what it writes, in which order, and what it says.

The real core is met in tests/cosim.
"""

import zlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ROOT

from bramcast.golden.load import load
from bramcast.pack.axi.driver import Driver, LastFrame
from bramcast.pack.axi.registers import (
    BY_NAME,
    IDENTIFICATION,
    INTERFACE,
    REGISTERS,
    beats,
    mask,
    offset,
    stride,
    window_bits,
    window_offset,
)
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.errors import DeviceError
from bramcast.pack.bundle.manifest import FORMAT, IMAGES, Core

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_mlp"


class Device:
    """Registers as numbers, memories as words by address, and what happens at CONTROL and CHECK.

    Attributes:
        aborts: how many writes of RESET or ABORT end an abort; None: none does.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.values = dict.fromkeys((r.name for r in REGISTERS), 0)
        numbers: dict[str, Any] = {f.name.upper(): int(getattr(core, f.name)) for f in fields(core)}
        numbers |= {"ID": IDENTIFICATION, "FORMAT": FORMAT, "INTERFACE": INTERFACE, "READBACK": 1}
        numbers |= {"WINDOW_BITS": window_bits(core)}
        for r in REGISTERS:
            parts = [int(numbers.get(b.name, 0)) << b.lsb for b in r.fields]
            self.values[r.name] = sum(parts) if r.fields else int(numbers.get(r.name, 0))
        self.values["VALID"] = 0 if core.table_depth else mask("VALID", "TABLE")
        self.values["STATUS"] = mask("STATUS", "READY")
        self.memory: dict[int, int] = {}
        self.aborts: int | None = 1
        self.written: list[str] = []
        self.spoil: Callable[[int], int] = lambda value: value

    def read(self, at: int, /) -> int:
        if at >= 1 << window_bits(self.core):
            return self.memory.get(at, 0)
        (name,) = (r.name for r in REGISTERS if r.offset == at)
        return self.values[name]

    def write(self, at: int, value: int, /) -> None:
        if at >= 1 << window_bits(self.core):
            self.memory[at] = self.spoil(value)
            self.values["VALID"] &= ~(1 << ((at >> window_bits(self.core)) - 1))
            return
        (name,) = (r.name for r in REGISTERS if r.offset == at)
        assert BY_NAME[name].access != "R", name
        self.written.append(name)
        if name == "PENDING":
            self.values[name] &= ~value
        elif name == "CONTROL":
            self._control(value)
        else:
            self.values[name] = value
        if name == "CHECK":
            self._check(IMAGES[value >> 24], value & 0xFFFFFF)

    def _control(self, value: int) -> None:
        self.values["CONTROL"] = value & mask("CONTROL", "LOCK")
        aborting = mask("STATUS", "ABORTING")
        if value & (mask("CONTROL", "RESET") | mask("CONTROL", "ABORT")):
            self.written[-1] += " reset" if value & mask("CONTROL", "RESET") else " abort"
            self.values["STATUS"] |= aborting
            if self.aborts is not None:
                self.aborts -= 1
        if self.aborts == 0:
            self.values["STATUS"] &= ~aborting
            self.aborts = 1

    def _check(self, image: str, words: int) -> None:
        bits = self.core.word_bits(image)
        base = window_offset(image, window_bits(self.core))
        data = [
            self.memory.get(base + word * stride(bits) + 4 * beat, 0)
            for word in range(words)
            for beat in range(beats(bits))
        ]
        self.values["CRC32"] = zlib.crc32(np.array(data, "<u4").tobytes())
        if self.values["CRC32"] == self.values["EXPECT"]:
            self.values["VALID"] |= 1 << IMAGES.index(image)


@pytest.fixture
def device() -> Device:
    return Device(load(BUNDLE).core)


def test_loading_makes_every_image_valid_and_sets_the_limit(device: Device) -> None:
    device.values["VALID"] = mask("VALID", "GUARD")  # CHECK alone
    device.core = replace(device.core, table_depth=512)  # which the bundle does not use
    device.values["TABLE_DEPTH"] = 512
    driver = Driver(device)
    driver.load(BUNDLE)
    assert device.values["VALID"] == 0xF | mask("VALID", "GUARD")
    machine = load(BUNDLE)
    cycles = predict(machine.program, machine.core).total
    assert device.values["LIMIT"] == cycles + cycles // 8 + 1000
    device.written.clear()
    driver.start()
    assert device.written == ["PENDING", "CONTROL"]


@pytest.mark.parametrize("beat", [1, 8])
def test_a_core_tells_the_elements_of_its_beats(device: Device, beat: int) -> None:
    device.values["WIDTHS"] = beat << 24 | window_bits(device.core) << 16 | 8 << 8 | 16
    driver = Driver(device)
    assert (driver.beat, driver.core.data_bits, driver.core.weight_bits) == (beat, 16, 8)


def test_what_arrives_wrong_is_not_valid(device: Device) -> None:
    driver = Driver(device)
    device.spoil = lambda value: value ^ 1 if value == 0x12345 else value
    base = window_offset("bias", window_bits(device.core))
    driver.load(BUNDLE)
    wrong = device.memory[base]
    device.spoil = lambda value: value ^ 1 if value == wrong else value
    with pytest.raises(DeviceError, match="arrived with CRC-32"):
        driver.load(BUNDLE)
    with pytest.raises(DeviceError, match="not loaded, or not verified since: .*bias"):
        driver.run()
    assert "CONTROL" not in device.written[-3:], "nothing is asked that would be refused"


def test_locked_images_are_not_written(device: Device) -> None:
    driver = Driver(device)
    driver.lock()
    with pytest.raises(DeviceError, match="locked"):
        driver.load(BUNDLE)
    assert not device.memory


@pytest.mark.parametrize("how", ["reset", "abort"])
def test_an_abort_that_does_not_end_is_followed_by_one_that_gives_the_input_up(
    device: Device, how: str
) -> None:
    driver = Driver(device)
    getattr(driver, how)()
    assert device.written == [f"CONTROL {how}"]
    device.aborts = 2
    getattr(driver, how)()
    assert device.written[1:] == [f"CONTROL {how}", "CONTROL abort"]
    device.aborts = None
    with pytest.raises(DeviceError, match="a beat waits for TREADY"):
        getattr(driver, how)()


@pytest.mark.parametrize(
    "pending, error, says",
    [
        ("TIMEOUT", "TIMEOUT", "more than LIMIT cycles"),
        ("TIMEOUT", "SINK", "longer than SINK_LIMIT"),
        ("PROGRAM", "PROGRAM", "a descriptor that is none"),
    ],
)
def test_waiting_says_what_ended_the_run(
    device: Device, pending: str, error: str, says: str
) -> None:
    driver = Driver(device)
    device.values["PENDING"] = mask("PENDING", pending)
    device.values["ERRORS"] = mask("ERRORS", error)
    with pytest.raises(DeviceError, match=f"^{error}: .*{says}"):
        driver.wait()
    device.values["STATUS"] |= mask("STATUS", "DONE")
    driver.wait()


def test_frames_is_read_before_what_it_keeps(device: Device) -> None:
    driver = Driver(device)
    device.values |= {"FRAMES": 7, "CYCLES": 100, "CLASS": 3, "WAITED": 5}
    order: list[int] = []
    real = device.read
    driver._bus = type("Bus", (), {"read": lambda _, at: order.append(at) or real(at)})()
    assert driver.last() == LastFrame(frames=7, cycles=100, top=3, waited=5)
    assert order[0] == offset("FRAMES") and len(order) == 4


def test_without_readback_reading_says_so(device: Device) -> None:
    device.values["OPTIONS"] = 0
    with pytest.raises(DeviceError, match="READBACK: weights"):
        Driver(device).read_image("weights", 1)


def test_a_bundle_that_is_none_leaves_the_device_alone(device: Device, tmp_path: Path) -> None:
    driver = Driver(device)
    with pytest.raises(Exception, match="manifest"):
        driver.load(tmp_path)
    assert not device.memory and not device.written


def test_words_of_all_banks_are_read_where_the_core_has_them(device: Device) -> None:
    """Four banks of five words: each takes the room of eight in its window."""
    core = replace(device.core, lanes=8, taps=1, tiles=4, scratch_depth=5)
    device.values["SHAPE"] = 8 | 1 << 8 | core.rq << 16 | 4 << 27
    device.values["SCRATCH_DEPTH"] = 5
    slot = 6 << window_bits(device.core)
    device.memory = {slot + 8 * (8 * 2 + 3): 0x55, slot + 8 * (8 * 2 + 3) + 4: 0x66}
    driver = Driver(device)
    assert driver.core.tiles == 4 and not driver.core.pairs
    assert driver.scratch([2 * 5 + 3, 2 * 5 + 4]) == [0x66_00000055, 0]


@pytest.mark.parametrize("tiles, bits", [(1, 14), (2, 15), (8, 17)])
def test_a_window_holds_all_banks(device: Device, tiles: int, bits: int) -> None:
    """1000 words of 16 bytes are 2**14 bytes each; the memories of images are smaller."""
    core = Core(16, 1, 8, 8, 2, 64, 64, 64, 0, 1000, tiles=tiles)
    assert window_bits(core, peek=True) == bits
