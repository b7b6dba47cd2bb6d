# SPDX-License-Identifier: Apache-2.0
"""The float network's results in a bundle, so that golden and sim can repeat the judgement.

float_results.npz holds a SHA-256 for each judged sample, never the sample, and what the float
network gave for it. It is no image: nothing but the judgement needs it.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.formats.text import read_source
from bramcast.pack.bundle.manifest import MANIFEST_NAME, Manifest, sha256
from bramcast.pack.bundle.npz import READING_FAILS

FLOAT_RESULTS_NAME = "float_results.npz"
MOST_RESULTS = 1 << 20  # 4 MiB
DIGEST = 32  # bytes of a SHA-256


@dataclass(frozen=True, slots=True, eq=False)
class FloatResults:
    """Results of the float network by sample.

    Attributes:
        digests: uint8 [n, 32].
        results: float32 [n, elements], in the author's order.
    """

    digests: NDArray[np.uint8]
    results: NDArray[np.float32]

    def known(self, samples: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The samples that have a result, by number, and these results, float64 [k, elements]."""
        place = {bytes(digest): row for row, digest in enumerate(self.digests)}
        rows = [place.get(bytes(digest), -1) for digest in digests_of(samples)]
        found = np.array(rows, np.int64)
        numbers = np.flatnonzero(found >= 0)
        return numbers, self.results[found[numbers]].astype(np.float64)


def digests_of(samples: NDArray[np.floating]) -> NDArray[np.uint8]:
    """SHA-256 of each sample's float32 values, little-endian in C order: uint8 [n, 32].

    >>> bytes(digests_of(np.zeros((1, 2, 3)))[0]) == hashlib.sha256(bytes(24)).digest()
    True
    """
    rows = np.ascontiguousarray(samples, dtype="<f4").reshape(len(samples), -1)
    joined = b"".join(hashlib.sha256(row.tobytes()).digest() for row in rows)
    return np.frombuffer(joined, np.uint8).reshape(len(rows), DIGEST)


def float_results_bytes(samples: NDArray[np.floating], outputs: NDArray[np.float64]) -> bytes:
    """The file for the judged samples, or for as many of them as MOST_RESULTS allow.

    Args:
        outputs: the float network's, [n, elements].
    """
    count = max(1, MOST_RESULTS // outputs.shape[1])
    file = io.BytesIO()
    results = outputs[:count].astype(np.float32)
    np.savez(file, sha256=digests_of(samples[:count]), results=results)
    return file.getvalue()


def read_float_results(bundle: Path, manifest: Manifest) -> FloatResults | None:
    """A bundle's float results; None where it has none, or where they were not copied with it.

    Raises:
        InputError: the file is not the one that was packed.
    """
    path = bundle / FLOAT_RESULTS_NAME
    if manifest.float_results is None or not path.exists():
        return None
    wrong = f"{path}: differs from what was packed (SHA-256 does not match {MANIFEST_NAME}); "
    wrong += "repack, or delete it: nothing but the judgement needs it"
    try:
        data = read_source(path).raw
        if sha256(data) != manifest.float_results:
            raise InputError(wrong)
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            digests, results = file["sha256"], file["results"]
    except READING_FAILS:
        raise InputError(wrong) from None
    fits = digests.shape == (len(results), DIGEST) and digests.dtype == np.uint8
    if not fits or results.ndim != 2 or results.dtype != np.float32:
        raise InputError(wrong)
    return FloatResults(digests, results)
