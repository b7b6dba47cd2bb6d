# SPDX-License-Identifier: Apache-2.0
"""Drives a core over AXI4-Lite: load a bundle, start, wait, read; docs/axi.md has the registers.

Needs no simulator and no particular board: a bus is any object with ``read(offset)`` and
``write(offset, value)`` for 32-bit accesses at byte offsets, as PYNQ's MMIO has. Frames and results
go by the streams (DMA), not through this module.

    from pynq import MMIO
    core = Driver(MMIO(0x4000_0000, 1 << 20))
    core.load(Path("bundle"))
    core.start()
    ...                       # send a frame
    core.wait()
    print(core.top, core.cycles)

Every wait has an end: a run that takes longer than its network should is aborted by the core
(register LIMIT), and ``wait`` raises what ended it.
"""

import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from bramcast.pack.axi.registers import (
    BY_NAME,
    IDENTIFICATION,
    INTERFACE,
    LEDGER_SLOT,
    SCRATCH_SLOT,
    bank_bits,
    field_value,
    mask,
    offset,
    stride,
    window_offset,
)
from bramcast.pack.bundle.cycles import cycle_limit, cycles_of
from bramcast.pack.bundle.errors import DeviceError
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import FORMAT, IMAGES, Core, read_manifest
from bramcast.pack.bundle.words import Words, from_axi, to_axi

_POLLS = 100  # of STATUS.ABORTING, before the frame that is coming is given up, too
_ENDED = {
    "TIMEOUT": "the run took more than LIMIT cycles; is it the program of this core?",
    "SINK": "results waited for TREADY longer than SINK_LIMIT; is somebody taking them?",
    "PROGRAM": "the core met a descriptor that is none; load a program",
}


@dataclass(frozen=True, slots=True)
class LastFrame:
    """What the core tells of the last completed frame: all four of the same one.

    Attributes:
        frames: completed since the last reset, this one included, modulo 2**32.
        cycles: clock cycles from the first with the whole frame to its last beat, both counted.
        top: index of the largest result.
        waited: cycles among them in which a beat waited for the sink.
    """

    frames: int
    cycles: int
    top: int
    waited: int


class Bus(Protocol):
    """32-bit accesses at byte offsets from the slave's base address."""

    def read(self, offset: int, /) -> int: ...

    def write(self, offset: int, value: int, /) -> object: ...


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What the ledger says of one executed nest.

    Attributes:
        crc: CRC-32 of what it made.
        cycles: without those in which a beat waited.
        stalled: beats waited, then or before, so the cycles may be others than golden's.
    """

    crc: int
    cycles: int
    stalled: bool


@runtime_checkable
class BurstBus(Protocol):
    """A bus for which many accesses at once are cheaper: a serial line."""

    def read_many(self, offsets: Sequence[int], /) -> list[int]: ...

    def write_many(self, accesses: Sequence[tuple[int, int]], /) -> object: ...


class Driver:
    """One core behind one AXI4-Lite slave.

    Attributes:
        core: the parameters that it is built with, read from its registers.
        readback: its images can be read back.
        beat: elements that a beat of its input stream has (BEAT): 1, 2, 4 or 8.
        ledger_depth: entries that its ledger holds, 0 without one.
        peek: it can stop behind a nest and show its scratchpad.
        packets: of several inputs each comes as a packet of its own; else a frame is one packet.

    Raises:
        DeviceError: there is something else at this address, or another interface.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        found = self.read("ID")
        if found != IDENTIFICATION:
            raise DeviceError(
                f"no bramcast core here: register ID reads 0x{found:08X}, "
                f"not 0x{IDENTIFICATION:08X}; check the base address, clock and reset"
            )
        version = self.read("VERSION")
        interface = field_value("VERSION", "INTERFACE", version)
        image_format = field_value("VERSION", "FORMAT", version)
        if (interface, image_format) != (INTERFACE, FORMAT):
            raise DeviceError(
                f"the core has interface {interface} and runs images of format {image_format}, "
                f"this driver has {INTERFACE} and {FORMAT}"
            )
        shape, widths, options = (self.read(name) for name in ("SHAPE", "WIDTHS", "OPTIONS"))
        self._window_bits = field_value("WIDTHS", "WINDOW_BITS", widths)
        self.core = Core(
            lanes=field_value("SHAPE", "LANES", shape),
            taps=field_value("SHAPE", "TAPS", shape),
            data_bits=field_value("WIDTHS", "DATA_BITS", widths),
            weight_bits=field_value("WIDTHS", "WEIGHT_BITS", widths),
            rq=field_value("SHAPE", "RQ", shape),
            narrow=bool(field_value("SHAPE", "NARROW", shape)),
            gates=bool(field_value("SHAPE", "GATES", shape)),
            tiles=field_value("SHAPE", "TILES", shape),
            pairs=bool(field_value("OPTIONS", "PAIRS", options)),
            program_depth=self.read("PROGRAM_DEPTH"),
            weights_depth=self.read("WEIGHTS_DEPTH"),
            bias_depth=self.read("BIAS_DEPTH"),
            table_depth=self.read("TABLE_DEPTH"),
            scratch_depth=self.read("SCRATCH_DEPTH"),
        )
        self.beat = field_value("WIDTHS", "BEAT", widths)
        self.readback = bool(options & mask("OPTIONS", "READBACK"))
        self.ledger_depth = self.read("LEDGER_DEPTH")
        self.peek = bool(options & mask("OPTIONS", "PEEK"))
        self.packets = bool(options & mask("OPTIONS", "PACKETS"))

    # ------------------------------------------------------------------ registers

    def read(self, register: str) -> int:
        """A register's value, by its name."""
        return int(self._bus.read(offset(register))) & 0xFFFFFFFF

    def write(self, register: str, value: int) -> None:
        """Write a register, by its name."""
        self._bus.write(offset(register), value)

    def _read_many(self, offsets: Sequence[int]) -> list[int]:
        if isinstance(self._bus, BurstBus):
            return self._bus.read_many(offsets)
        return [int(self._bus.read(at)) & 0xFFFFFFFF for at in offsets]

    def _is_set(self, register: str, field: str) -> bool:
        return bool(self.read(register) & mask(register, field))

    @property
    def busy(self) -> bool:
        """A frame has begun to come in and its results have not all left."""
        return self._is_set("STATUS", "BUSY")

    def last(self) -> LastFrame:
        """What belongs to the last completed frame, also while others are coming."""
        frames = self.read("FRAMES")  # keeps the others as they are
        return LastFrame(frames, self.read("CYCLES"), self.read("CLASS"), self.read("WAITED"))

    @property
    def cycles(self) -> int:
        """Clock cycles of the last completed frame."""
        return self.last().cycles

    @property
    def frames(self) -> int:
        """Frames completed since the last reset."""
        return self.read("FRAMES")

    @property
    def dropped(self) -> int:
        """Short and long frames dropped since the last reset, modulo 2**16."""
        return self.read("DROPPED")

    @property
    def top(self) -> int:
        """Index of the largest result of the last completed frame: the class of a classifier."""
        return self.last().top

    def errors(self) -> list[str]:
        """Names of the ERRORS bits that are set; clears them."""
        value = self.read("ERRORS")
        self.write("ERRORS", value)
        return [b.name for b in BY_NAME["ERRORS"].fields if value & b.mask]

    # ------------------------------------------------------------------ images

    def load(self, bundle: Path, keep: bool = False) -> list[str]:
        """Reset the core, write a bundle's images into its memories, verify them, set LIMIT.

        Args:
            keep: an image that is there already, by its CRC-32, is not written.

        Returns:
            The images that were written.

        Raises:
            InputError: the bundle is broken.
            DeviceError: the bundle does not fit the core, its images are locked, or the memories
                hold something else afterwards.
        """
        manifest = read_manifest(bundle)
        self._check_fit(bundle, manifest.core)
        images = load_images(bundle, manifest)
        if self._is_set("CONTROL", "LOCK"):
            raise DeviceError("the core's images are locked (CONTROL.LOCK) until a hardware reset")
        self.reset()
        written = []
        for name, words in images.items():
            if not keep or self.checksum(name, len(words)) != _crc(words):
                self.write_image(name, words)
                written.append(name)
        for name, words in images.items():
            expected = _crc(words)
            found = self.checksum(name, len(words), expected)
            if found != expected:
                raise DeviceError(
                    f"{bundle}: {name} arrived with CRC-32 0x{found:08X}, "
                    f"expected 0x{expected:08X}; is the bus 32 bits wide and the core idle?"
                )
        for name in IMAGES:
            if name not in images and self.core.depth(name):  # whatever it holds is right
                self.checksum(name, 1, self.checksum(name, 1))
        self.write("LIMIT", cycle_limit(cycles_of(images["program"], manifest.core)))
        self._wait("READY", True, 1.0, "the program's descriptors")
        return written

    def _check_fit(self, bundle: Path, wanted: Core) -> None:
        for name in ("lanes", "taps", "tiles", "pairs", "data_bits", "weight_bits", "rq"):
            has, wants = (int(getattr(core, name)) for core in (self.core, wanted))
            if has != wants:
                raise DeviceError(f"{bundle} is packed for {name} = {wants}, the core has {has}")
        if wanted.narrow and not self.core.narrow:
            raise DeviceError(f"{bundle} has narrow weights, the core is built without NARROW")
        if wanted.gates and not self.core.gates:
            raise DeviceError(f"{bundle} multiplies tensors, the core is built without GATES")
        for name in ("program", "weights", "bias", "table", "scratch"):
            has, wants = (getattr(c, f"{name}_depth") for c in (self.core, wanted))
            if has < wants:
                raise DeviceError(f"{bundle} needs {name}_depth = {wants}, the core has {has}")

    def _offsets(self, name: str, words: int) -> Iterable[range]:
        """For each word of an image the byte offsets of its beats."""
        bits = self.core.word_bits(name)
        base, step = window_offset(name, self._window_bits), stride(bits)
        used = 4 * -(-bits // 32)
        return (range(at, at + used, 4) for at in range(base, base + words * step, step))

    def write_image(self, name: str, words: Words) -> None:
        """Write words to the beginning of an image memory of the idle core."""
        places = chain.from_iterable(self._offsets(name, len(words)))
        accesses = list(zip(places, to_axi(words).reshape(-1).tolist(), strict=True))
        if isinstance(self._bus, BurstBus):
            self._bus.write_many(accesses)
            return
        for at, value in accesses:
            self._bus.write(at, value)

    def read_image(self, name: str, words: int) -> Words:
        """The first words of an image memory of the idle core.

        Raises:
            DeviceError: the core is built without READBACK.
        """
        if not self.readback:
            raise DeviceError(f"the core is built without READBACK: {name} can't be read back")
        values = self._read_many(list(chain.from_iterable(self._offsets(name, words))))
        bits = self.core.word_bits(name)
        return from_axi(np.array(values, np.uint32).reshape(words, -(-bits // 32)), bits)

    def checksum(self, name: str, words: int, expected: int | None = None) -> int:
        """CRC-32 of an image's first words, made by the core: that of their bytes in images.bin.

        Where it is ``expected``, the image becomes valid: it may be run.
        """
        if expected is not None:
            self.write("EXPECT", expected)
        fields = BY_NAME["CHECK"]
        value = words << fields.bits("WORDS").lsb
        value |= IMAGES.index(name) << fields.bits("IMAGE").lsb
        self.write("CHECK", value)
        self._wait("CHECKING", False, 60.0, f"the checksum of {name}")
        return self.read("CRC32")

    def lock(self) -> None:
        """Let nobody write or read the images until a hardware reset. The core must be idle."""
        self.write("CONTROL", mask("CONTROL", "LOCK"))

    # ------------------------------------------------------------------ running

    def reset(self) -> None:
        """End what is in work and clear what counts and what is sticky; the images stay.

        Raises:
            DeviceError: as for ``abort``.
        """
        self._end("RESET")

    def abort(self) -> None:
        """End what is in work: a packet that has begun to leave ends with a marked beat.

        The frame that is coming is discarded up to its TLAST; if that does not come, it is given
        up at once, and what still comes of it is a short frame.

        Raises:
            DeviceError: a beat stands on the output, and the sink does not take it.
        """
        self._end("ABORT")

    def _end(self, how: str) -> None:
        for field in (how, "ABORT"):
            self.write("CONTROL", mask("CONTROL", field))
            for _ in range(_POLLS):
                if not self._is_set("STATUS", "ABORTING"):
                    return
        raise DeviceError(
            "the core can't end its packet: a beat waits for TREADY on m_axis; take it, or reset "
            "the hardware"
        )

    def start(self) -> None:
        """Let the core take one frame, as soon as it comes; short and long ones are dropped.

        Raises:
            DeviceError: an image is not valid.
        """
        self._begin("START")

    def run(self) -> None:
        """Let the core take every frame that comes, until ``stop``.

        Raises:
            DeviceError: an image is not valid.
        """
        self._begin("RUN")

    def _begin(self, field: str) -> None:
        valid = self.read("VALID")
        bad = [name for name in IMAGES if not valid & mask("VALID", name.upper())]
        if bad:
            raise DeviceError(f"not loaded, or not verified since: {', '.join(bad)}; load a bundle")
        self.write("PENDING", sum(b.mask for b in BY_NAME["PENDING"].fields))
        self.write("CONTROL", mask("CONTROL", field))

    def stop(self) -> None:
        """Take no further frame; one that has begun to come is finished."""
        self.write("CONTROL", 0)

    def wait(self, timeout: float = 1.0) -> None:
        """Wait until a frame's last result has left.

        Raises:
            DeviceError: that did not happen within ``timeout`` seconds, or the core has ended the
                run: what it met, by the names in ERRORS. The core is ready for the next frame.
        """
        self._wait("DONE", True, timeout, "a frame's results")

    # ------------------------------------------------------------------ ledger

    def ledger(self) -> list[LedgerEntry]:
        """What each nest of the last run made, in order; the first ``ledger_depth`` of them.

        Whole between a frame's end and the next one's begin. Empty without a ledger.
        """
        if not self.ledger_depth:
            return []
        base = LEDGER_SLOT << self._window_bits
        beats = range(base, base + 8 * min(self.read("NEST"), self.ledger_depth), 4)
        values = self._read_many(beats)
        return [
            LedgerEntry(crc, cycles & 0x7FFFFFFF, bool(cycles >> 31))
            for crc, cycles in zip(values[::2], values[1::2], strict=True)
        ]

    def stop_after(self, nest: int) -> None:
        """Let runs hold behind executed nest ``nest``, 1 is the first; 0: behind none.

        A run that holds goes on when this changes.
        """
        self.write("STOP_AFTER", nest)

    def wait_stopped(self, timeout: float = 1.0) -> None:
        """Wait until a run holds behind the nest of ``stop_after``.

        Raises:
            DeviceError: it did not within ``timeout`` seconds.
        """
        self._wait("STOPPED", True, timeout, "the nest of STOP_AFTER")

    def scratch(self, places: Sequence[int]) -> list[int]:
        """Words of the scratchpad while a run holds or the core is idle, with PEEK.

        Element 0 in the least significant bits, LANES * TAPS of them.

        Args:
            places: word ``n`` of bank ``b`` is b * SCRATCH_DEPTH + n; with one tile there is one.
        """
        depth, above = self.core.scratch_depth, bank_bits(self.core)
        words = [(place // depth << above) | place % depth for place in places]
        bits = self.core.word * self.core.data_bits
        base = SCRATCH_SLOT << self._window_bits
        count = -(-bits // 32)
        at = [base + word * stride(bits) + 4 * b for word in words for b in range(count)]
        values = np.array(self._read_many(at), np.uint64).reshape(-1, count).tolist()
        return [sum(beat << (32 * b) for b, beat in enumerate(beats)) for beats in values]

    def _wait(self, field: str, high: bool, timeout: float, what: str) -> None:
        end = time.monotonic() + timeout
        while True:
            value = self.read("STATUS")
            if bool(value & mask("STATUS", field)) == high:
                return
            if field != "CHECKING":
                self._raise_what_ended_it()
                if value & mask("STATUS", "PROGRAM_ERROR"):
                    raise DeviceError(_ENDED["PROGRAM"])
            if time.monotonic() > end:
                raise DeviceError(
                    f"waited {timeout:g} s for {what}; STATUS is 0x{value:08X}, "
                    f"ERRORS 0x{self.read('ERRORS'):08X}, {self.dropped} short or long frames "
                    "were dropped since the last reset"
                )

    def _raise_what_ended_it(self) -> None:
        pending = self.read("PENDING")
        if not pending & (mask("PENDING", "PROGRAM") | mask("PENDING", "TIMEOUT")):
            return
        errors = self.read("ERRORS")
        names = [name for name in _ENDED if errors & mask("ERRORS", name)]
        raise DeviceError("; ".join(f"{n}: {_ENDED[n]}" for n in names) or "the run was ended")


def _crc(words: Words) -> int:
    return zlib.crc32(to_axi(words).astype("<u4").tobytes())
