# SPDX-License-Identifier: Apache-2.0
"""pack -v prints the stages in their order; with --verify a faulty pass is named."""

import json
from dataclasses import replace

import pytest
from support import DIGITS

from bramcast.cli import main
from bramcast.pack.graph.verify import IllegalGraph
from bramcast.pack.passes.table import FOLDING, VERIFY, Pass, run_passes, unwatched
from bramcast.pack.prepare import prepare
from bramcast.pack.recipe.recipe import read_recipe


def stages_of(monkeypatch, capsys, tmp_path, *options):
    words = ["bramcast", "pack", str(DIGITS / "mlp.toml"), "-o", str(tmp_path / "b"), *options]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_stages_of_packing_are_listed_in_their_order(monkeypatch, capsys, tmp_path):
    out = stages_of(monkeypatch, capsys, tmp_path, "-v", "--json")
    stages = json.loads(out)["stages"]
    names = [stage["name"] for stage in stages]
    assert names == [
        "read", "capture", *(p.name for p in FOLDING), "shrink", "interleave", "float network",
        "input_offsets", "input_scales", "level_inputs", "copy_inputs", "layout",
        "calibrate, refine", "quantize", "lower", "judge", "write, validate",
    ]  # fmt: skip
    changed = {stage["name"] for stage in stages if stage["changed"]}
    assert "fold_back or split_by_use" in changed and "join_products" not in changed
    assert [s["operations"] for s in stages[:2]] == [None, 5]  # three Linear, two ReLU
    assert stages[-1]["operations"] == 3


def test_without_v_nothing_is_said_of_them(monkeypatch, capsys, tmp_path):
    assert "fold_self_products" in stages_of(monkeypatch, capsys, tmp_path, "-v")
    assert "fold_self_products" not in stages_of(monkeypatch, capsys, tmp_path)


def faulty(graph):
    """Forgets the first operation."""
    return graph.with_ops(graph.ops[1:])


def misshapen(graph):
    first = graph.ops[0]
    return graph.with_ops((replace(first, bias=first.bias[1:]), *graph.ops[1:]))


@pytest.mark.parametrize(
    "rewrite, fault",
    [(faulty, "which is not made yet"), (misshapen, "a bias (")],
)
def test_a_faulty_pass_is_named(monkeypatch, rewrite, fault):
    graph = prepare(read_recipe(DIGITS / "mlp.toml")).graph
    monkeypatch.setenv(VERIFY, "1")
    with pytest.raises(IllegalGraph) as raised:
        run_passes(graph, [Pass("first", lambda g: g), Pass("new_pass", rewrite)], unwatched)
    assert "behind pass 'new_pass'" in str(raised.value)
    assert fault in str(raised.value)
    monkeypatch.delenv(VERIFY)
    run_passes(graph, [Pass("new_pass", rewrite)], unwatched)  # nobody asks
