# SPDX-License-Identifier: Apache-2.0
"""Published architectures: which are accepted, why the others are not, and that golden computes
what the quantized graph does. ``python tests/unit/pack/test_architectures.py`` prints the list."""

import re
import sys
import tempfile
from pathlib import Path

import architectures
import pytest
from support import in_all

from bramcast.pack.bundle.errors import UnsupportedLayer, UserError
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.regress.agree import compare_with_graph

# Why the others are refused.
REFUSED = {
    "SegNet": "max_unpool2d has no lowering: which elements it moves depends on data",
    "Attention-pooled CRNN": "softmax has no lowering: .* inside write e = torch.exp",
    "MLP-Mixer": "layer_norm has no lowering: it divides by each sample's own spread",
}
USUAL = {"YOLOX", "LSTNet", "PSPNet", "BC-ResNet", "DeepSleepNet", "CBAM", "MLP-Mixer"}


def outcome(folder, name):
    """What is wrong with golden, "" if nothing.

    Raises:
        UserError: the network is refused.
    """
    packed = pack(read_recipe(architectures.write_recipe(folder, name)), folder / "bundle")
    agreement = compare_with_graph(packed, folder / "bundle", lambda *_: None)
    assert agreement.elements > 0
    return agreement.text if agreement.mismatches else ""


def test_the_list_is_long_and_mostly_accepted():
    fields = {field: len(names) for field, names in architectures.FIELDS.items()}
    assert all(count >= 8 for count in fields.values()) and sum(fields.values()) == 57
    assert len(architectures.SHAPES) == 57 and REFUSED.keys() <= architectures.SHAPES.keys()
    assert len(REFUSED) <= 0.15 * 57


@pytest.mark.parametrize("name", [in_all(n, when=n not in USUAL) for n in architectures.SHAPES])
def test_an_architecture_is_packed_or_refused_by_name(name, tmp_path):
    if name not in REFUSED:
        assert outcome(tmp_path, name) == ""
        return
    with pytest.raises(UnsupportedLayer) as refusal:
        outcome(tmp_path, name)
    assert re.search(REFUSED[name], str(refusal.value))


def main() -> None:
    """Print all of them: accepted or refused, and why."""
    for field, names in architectures.FIELDS.items():
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    said = outcome(Path(folder), name) or "accepted, golden equals the graph"
                except UserError as error:
                    said = f"refused: {error}"
            sys.stdout.write(f"{field:12} {name:22} {said}\n")


if __name__ == "__main__":
    main()
