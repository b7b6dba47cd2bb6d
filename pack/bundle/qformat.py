# SPDX-License-Identifier: Apache-2.0
"""Fixed-point formats: how an integer stands for a real value."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_BITS = 48


@dataclass(frozen=True, slots=True)
class QFormat:
    """Fixed point with a power-of-two scale: real value = integer * 2**-frac.

    Signed formats are written Qm.n with m = bits - 1 - frac (the sign bit is not counted, so Q3.4
    has 8 bits), unsigned ones UQm.n with m = bits - frac. ``frac`` may be negative or exceed
    ``bits``: the LSB is then above 1 or the whole range below 1.

    >>> q = QFormat(bits=8, frac=4)
    >>> str(q), q.min, q.max, q.lsb
    ('Q3.4', -128, 127, 0.0625)
    >>> u = QFormat(bits=8, frac=6, signed=False)
    >>> str(u), u.min, u.max
    ('UQ2.6', 0, 255)
    """

    bits: int
    frac: int
    signed: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= MOST_BITS:
            raise ValueError(f"QFormat bits must be 2..{MOST_BITS}, got {self.bits}")

    @property
    def min(self) -> int:
        """Lowest integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        """Highest integer."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def magnitude(self) -> int:
        """Largest absolute value of an integer in this format."""
        return max(-self.min, self.max)

    @property
    def lsb(self) -> float:
        """Real value of the last bit."""
        return float(2.0**-self.frac)

    def __str__(self) -> str:
        if self.signed:
            return f"Q{self.bits - 1 - self.frac}.{self.frac}"
        return f"UQ{self.bits - self.frac}.{self.frac}"

    def quantize(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """Nearest integers to ``values``, ties towards +inf, saturated.

        Args:
            values: real values, any shape, finite.

        Returns:
            int64 of the same shape, every value in [min, max].

        >>> QFormat(bits=8, frac=1).quantize(np.array([0.25, -0.25, 99.0]))
        array([  1,   0, 127])
        """
        scaled = np.floor(np.asarray(values, np.float64) * 2.0**self.frac + 0.5)
        return np.clip(scaled, self.min, self.max).astype(np.int64)

    def real(self, integers: NDArray[np.integer]) -> NDArray[np.float64]:
        """The real values that ``integers`` stand for, float64 of the same shape."""
        return np.asarray(integers, np.float64) * self.lsb

    def rounded(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """What is left of real values in this format, float64 of the same shape.

        >>> QFormat(bits=8, frac=1).rounded(np.array([0.3, 99.0]))
        array([ 0.5, 63.5])
        """
        return self.real(self.quantize(values))


def parse_format(text: str, most: int = MOST_BITS) -> QFormat:
    """A format as ``str`` prints it: Qm.n is signed, UQm.n is not; m or n may be negative.

    Raises:
        ValueError: it is none, or has no 2 to ``most`` bits.

    >>> parse_format("Q1.6"), parse_format("UQ4.4").signed
    (QFormat(bits=8, frac=6, signed=True), False)
    >>> [str(parse_format(t)) for t in ("Q-2.9", "UQ10.-2")]    # all below 1/4, multiples of 4
    ['Q-2.9', 'UQ10.-2']
    """
    found = re.fullmatch(r"(U?)Q(-?\d{1,4})\.(-?\d{1,4})", text)
    if found is None:
        raise ValueError(f"{text!r} is no format: write Qm.n (signed) or UQm.n, such as Q1.6")
    signed, bits = not found[1], int(found[2]) + int(found[3]) + (not found[1])
    if not 2 <= bits <= most:
        raise ValueError(f"{text} has {bits} bits (the sign counts): a format has 2 to {most}")
    return QFormat(bits, int(found[3]), signed)
