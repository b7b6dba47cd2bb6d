# SPDX-License-Identifier: Apache-2.0
"""How often `bramcast regress` gives each verdict where only a part of the test samples is at hand.

    python bench/verdicts.py OLD NEW INPUTS [--draws 1000]

OLD and NEW are bundles, INPUTS a recipe or .npz with labels. Samples are drawn with replacement,
seed 1. Fit, signal to noise and saturation do not depend on the draw and are left out.
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from bramcast.golden.load import load
from bramcast.pack.bundle.errors import RefereeError
from bramcast.pack.recipe.recipe import RegressSection
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.regress.evaluate import Outputs, layer_pairs, outputs
from bramcast.sim.regress.quality import quality
from bramcast.sim.regress.referee import check_referee

SIZES = (1, 50, 200, 600)


def drawn(all_: Outputs, which: np.ndarray) -> Outputs:
    assert all_.right is not None
    right = all_.right[which]
    return replace(
        all_, classes=all_.classes[which], real=all_.real[which], right=right,
        accuracy=float(right.mean()),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("old", "new", "inputs"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--draws", type=int, default=1000)
    given = parser.parse_args()
    inputs = read_inputs(given.inputs)
    assert inputs.y is not None, "labels are needed"
    machines = load(given.old), load(given.new)
    old, new = (outputs(machine, inputs, lambda done: None) for machine in machines)
    pairs, rng = layer_pairs(*machines, inputs), np.random.default_rng(1)
    manifests = tuple(m.manifest for m in machines if m.manifest is not None)
    for size in SIZES:
        count: Counter[str] = Counter()
        for _ in range(given.draws):
            which = rng.integers(0, len(inputs.x), size)
            part = replace(inputs, x=inputs.x[which], y=inputs.y[which])
            was, now = drawn(old, which), drawn(new, which)
            try:
                check_referee(manifests[0], part, was)
            except RefereeError:
                count["no verdict"] += 1
                continue
            checks = quality(RegressSection(), manifests, part, was, now, pairs).checks
            broken = "worse" if any(c.reason for c in checks) else "undecided"
            count[broken if any(c.reason or c.doubt for c in checks) else "passes"] += 1
        each = sorted(count.items())
        shares = ", ".join(f"{name} {100 * n / given.draws:.1f} %" for name, n in each)
        print(f"{size:4} samples: {shares}")


if __name__ == "__main__":
    main()
