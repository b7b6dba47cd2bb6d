# SPDX-License-Identifier: Apache-2.0
"""Reads the log that hw/bramcast_log.sv writes (docs/core.md, "Log")."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import ToolError

WORD, BEAT, START, DONE = 0, 1, 2, 3
UNKNOWN = 255  # a digit that is x or z


@dataclass(frozen=True, slots=True, eq=False)
class HdlLog:
    """All lines of a log, in order.

    Attributes:
        kind: int64 [lines], WORD, BEAT, START or DONE.
        nest: int64 [lines], descriptor number.
        address: int64 [lines].
        digits: uint8 [lines, digits], the data's hex digits, most significant first; UNKNOWN for
            x and z.
    """

    kind: NDArray[np.int64]
    nest: NDArray[np.int64]
    address: NDArray[np.int64]
    digits: NDArray[np.uint8]

    def select(self, lines: NDArray[np.bool_ | np.int64] | slice) -> "HdlLog":
        return HdlLog(self.kind[lines], self.nest[lines], self.address[lines], self.digits[lines])

    def runs(self) -> list["HdlLog"]:
        """One log for each run of the program; what follows the last DONE is dropped."""
        ends = np.flatnonzero(self.kind == DONE) + 1
        starts = [0, *ends[:-1]]
        return [self.select(slice(int(a), int(b))) for a, b in zip(starts, ends, strict=False)]

    def numbers(self) -> NDArray[np.int64]:
        """The last eight digits as unsigned numbers, -1 where a digit is unknown."""
        return _numbers(self.digits[:, -8:])

    def lanes(self, lanes: int, bits: int) -> NDArray[np.int64]:
        """The sub-words' lanes as unsigned numbers, int64 [lines, lanes]; -1 where unknown."""
        per_lane = bits // 4
        used = self.digits[:, self.digits.shape[1] - lanes * per_lane :]
        split = used.reshape(len(used), lanes, per_lane)[:, ::-1]
        return _numbers(split.reshape(-1, per_lane)).reshape(len(used), lanes)


def _numbers(digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    value = np.zeros(len(digits), np.int64)
    for column in range(digits.shape[1]):
        value = value * 16 + digits[:, column]
    value[(digits == UNKNOWN).any(axis=1)] = -1
    return value


def read_log(path: Path) -> HdlLog:
    """Read a log file.

    Raises:
        ToolError: the simulation has written none, or a broken one.
    """
    try:
        raw = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError:
        raise ToolError(f"the simulation wrote no log at {path}") from None
    ends = np.flatnonzero(raw == ord("\n"))
    if not ends.size:
        raise ToolError(f"the simulation's log {path} is empty")
    length = int(ends[0]) + 1
    lines = raw[: len(raw) // length * length].reshape(-1, length)
    if (lines[:, -1] != ord("\n")).any():
        raise ToolError(f"the simulation's log {path} has lines of different lengths")
    table = np.full(256, UNKNOWN, np.uint8)
    for index, character in enumerate(b"0123456789abcdef"):
        table[character] = index
        table[ord(chr(character).upper())] = index
    digits = table[lines]
    return HdlLog(
        kind=digits[:, 0].astype(np.int64),
        nest=_numbers(digits[:, 2:6]),
        address=_numbers(digits[:, 7:13]),
        digits=digits[:, 14:-1],
    )
