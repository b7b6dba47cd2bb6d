# SPDX-License-Identifier: Apache-2.0
"""Statistics of two networks on the same samples: how sure is it that one is worse?

Everything is about *pairs*: of n samples, ``lost`` were right with the old network and are wrong
with the new one, ``won`` the other way round. The other samples say nothing about the difference
but by their number. Shares are 0..1; a positive difference means that the new network is worse.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, inf, lgamma, log, log1p, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95  # of two-sided intervals: each end is exceeded by chance in 2.5 % of all draws
MOST_SAMPLES = 10**9  # a difference that needs more is called undecidable
FEWEST = 5  # samples of which a mean's interval is computed


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many of ``n`` samples only the old network has right (``lost``), or only the new one.

    >>> Pairs(3, 1, 10).loss
    0.2
    """

    lost: float
    won: float
    n: float

    def __post_init__(self) -> None:
        if min(self.lost, self.won) < 0 or self.lost + self.won > self.n or self.n <= 0:
            raise ValueError(f"no pairs: {self.lost} lost and {self.won} won of {self.n}")

    @property
    def loss(self) -> float:
        """Accuracy of the old network minus that of the new one."""
        return (self.lost - self.won) / self.n

    def scaled(self, n: float) -> "Pairs":
        """The same rates in ``n`` samples."""
        return Pairs(self.lost * n / self.n, self.won * n / self.n, n)


def pairs_of(old: NDArray[np.bool_], new: NDArray[np.bool_]) -> Pairs:
    """Pairs from what each network has right, bool [N].

    >>> pairs_of(np.array([True, True, False]), np.array([True, False, True]))
    Pairs(lost=1, won=1, n=3)
    """
    return Pairs(int((old & ~new).sum()), int((~old & new).sum()), len(old))


def score(pairs: Pairs, difference: float) -> float:
    """Tango's score: how many standard errors the loss lies above an assumed difference.

    Equations 24 to 26 of T. Tango, Equivalence test and confidence interval for the difference in
    proportions for the paired-sample design, Statistics in Medicine 17, 1998, 891-908. Unlike
    Wald's, the variance is that under the assumption, so that no pairs at all mean no certainty.
    """
    b, c, n, d = pairs.lost, pairs.won, pairs.n, difference
    half = 2 * n * d - (b + c) - (b - c) * d
    root = max(0.0, half * half + 8 * n * c * d * (1 - d))
    q = (sqrt(root) - half) / (4 * n)  # share of won samples, most likely under the assumption
    variance = n * (2 * q + d * (1 - d))
    above = b - c - n * d
    if variance <= 1e-12:
        return 0.0 if abs(above) < 1e-9 else inf if above > 0 else -inf
    return above / sqrt(variance)


def interval(pairs: Pairs, level: float = LEVEL) -> tuple[float, float]:
    """Tango's two-sided score interval of the loss.

    Chosen for its coverage with few samples and few pairs: M. Fagerland, S. Lydersen, P. Laake,
    Recommended tests and confidence intervals for paired binomial proportions, Statistics in
    Medicine 33, 2014, 2850-2875.

    >>> low, high = interval(Pairs(0, 0, 50))  # z**2 / (n + z**2): 50 samples can hide 7 points
    >>> round(low, 4), round(high, 4)
    (-0.0713, 0.0713)
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    return _end(pairs, z), -_end(Pairs(pairs.won, pairs.lost, pairs.n), z)


def _end(pairs: Pairs, z: float) -> float:
    """The least difference that lies no more than ``z`` standard errors below the loss."""
    low, high = -1.0, pairs.loss
    for _ in range(60):
        middle = (low + high) / 2
        if score(pairs, middle) > z:
            low = middle
        else:
            high = middle
    return high


def mcnemar(pairs: Pairs) -> float:
    """Exact two-sided p-value of McNemar's test: are as many won as lost?

    >>> mcnemar(Pairs(5, 0, 50)), mcnemar(Pairs(2, 2, 50))
    (0.0625, 1.0)
    """
    changed, fewer = int(pairs.lost + pairs.won), int(min(pairs.lost, pairs.won))
    return min(1.0, 2 * at_most(fewer, changed, 0.5))


def samples_needed(pairs: Pairs, limit: float, margin: float) -> int | None:
    """Samples from which on the interval would decide, if the rates stayed as they are.

    Args:
        limit: a loss up to here passes once the interval ends below ``margin``; a larger one is
            proven once the interval begins above ``limit``.

    Returns:
        At least as many as there are; None where no reasonable number is enough.

    >>> samples_needed(Pairs(0, 0, 1), 0.005, 0.02)
    189
    """

    def decided(n: float) -> bool:
        low, high = interval(pairs.scaled(n))
        return high < margin if pairs.loss <= limit else low > limit

    enough = float(pairs.n)
    while not decided(enough):
        enough *= 2
        if enough > MOST_SAMPLES:
            return None
    if enough == pairs.n:
        return int(pairs.n)
    few, many = int(enough / 2), int(enough)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if decided(middle) else (middle, many)
    return many


# --- tails -------------------------------------------------------------------------------------


def at_most(k: int, n: int, p: float) -> float:
    """P(X <= k) for the number X of successes in ``n`` draws with probability ``p``.

    >>> round(at_most(1, 3, 0.5), 6), at_most(-1, 3, 0.5), at_most(3, 3, 0.5)
    (0.5, 0.0, 1.0)
    """
    if k < 0:
        return 0.0
    if k >= n or p <= 0:
        return 1.0
    if p >= 1:
        return 0.0
    return _sum(_binomial(i, n, p) for i in range(k + 1))


def at_least(k: int, n: int, p: float) -> float:
    """P(X >= k) for the same X.

    >>> round(at_least(2, 3, 0.5), 6), at_least(0, 3, 0.5)
    (0.5, 1.0)
    """
    return at_most(n - k, n, 1 - p)


def drawn_at_least(k: int, draws: int, marked: int, n: int) -> float:
    """P(X >= k) for the number X of ``marked`` among ``draws`` out of ``n``, none put back.

    >>> round(drawn_at_least(3, 3, 5, 10), 6)  # 5/10 * 4/9 * 3/8
    0.083333
    """
    if k <= 0:
        return 1.0
    most = min(draws, marked)
    return _sum(
        _choose(marked, i) + _choose(n - marked, draws - i) - _choose(n, draws)
        for i in range(max(k, draws + marked - n), most + 1)
    )


def _choose(n: int, k: int) -> float:
    """Logarithm of n over k."""
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _binomial(i: int, n: int, p: float) -> float:
    return _choose(n, i) + i * log(p) + (n - i) * log1p(-p)


def _sum(logarithms: Iterable[float]) -> float:
    return min(1.0, sum(exp(value) for value in logarithms))


def share_interval(k: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a share (J. American Statistical Association 22, 1927, 209-212).

    >>> low, high = share_interval(1, 1)
    >>> round(low, 4), round(high, 4)
    (0.2065, 1.0)
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    middle = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * sqrt(k * (n - k) / n + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


# --- errors ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Growth:
    """By which part a mean error has grown (0.05: by 5 %), with its interval and samples."""

    value: float
    low: float
    high: float
    n: int


def growth(old: NDArray[np.float64], new: NDArray[np.float64], level: float = LEVEL) -> Growth:
    """Growth of the mean of errors, measured on the same samples, float64 [N] each.

    The interval is Fieller's: all g for which the mean of new - (1 + g) * old is not further from
    zero than Student's t allows. It is everything with fewer than 5 samples.

    >>> g = growth(np.arange(1.0, 101), 1.5 * np.arange(1.0, 101))
    >>> round(g.value, 6), round(g.low, 6), round(g.high, 6)
    (0.5, 0.5, 0.5)
    """
    n, a, b = len(old), float(old.mean()), float(new.mean())
    if a <= 0:
        return Growth(0.0 if b <= 0 else inf, 0.0 if b <= 0 else inf, 0.0 if b <= 0 else inf, n)
    value = b / a - 1
    if n < FEWEST:
        return Growth(value, -1.0, inf, n)
    t = student(0.5 + level / 2, n - 1)
    (aa, ab), (_, bb) = (t * t / n * np.cov(old, new)).tolist()
    # (b - r a)**2 <= bb - 2 r ab + r**2 aa, a parabola in r
    square, middle, rest = a * a - aa, a * b - ab, b * b - bb
    if square <= 0:  # the old error itself may be zero
        return Growth(value, -1.0, inf, n)
    root = sqrt(max(0.0, middle * middle - square * rest))
    return Growth(value, (middle - root) / square - 1, (middle + root) / square - 1, n)


def student(p: float, freedom: int) -> float:
    """Quantile of Student's t, by Cornish and Fisher's expansion (good to 1 % from 4 on).

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.

    >>> round(student(0.975, 10), 3), round(student(0.975, 100), 3)
    (2.228, 1.984)
    """
    z, v = NormalDist().inv_cdf(p), float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v ** (i + 1) for i, term in enumerate(terms))
