# SPDX-License-Identifier: Apache-2.0
"""A draft changes, its graph doesn't; what has not changed is the very same graph."""

from dataclasses import replace

import pytest
from graphs import Made, named, same

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.draft import Draft


def two_layers():
    made = Made(2)
    first = made.dense("first", made.x, [[1, 2]])
    return made.graph(made.dense("second", first, [[3]]))


def test_a_draft_that_nobody_changes_is_the_very_graph():
    graph = two_layers()
    draft = Draft(graph)
    draft.substitute(draft.new_tensor("more", 1, 1, 1), graph.input.ids[:1])
    draft.tensors.pop()
    assert draft.done() is graph and graph.with_ops(list(graph.ops)) is graph


def test_changes_stay_in_the_draft():
    graph = two_layers()
    draft = Draft(graph)
    first, second = graph.ops
    draft.put(first, first, replace(first, name="again", out=draft.new_tensor("again", 1, 1, 1)))
    draft.substitute(first.out, draft.ops[1].out.ids)
    made = draft.done()
    assert [op.name for op in made.ops] == ["first", "again", "second"]
    same(named(made, "second").view, made.ops[1].out.ids)
    assert graph.ops == (first, second) and len(graph.tensors) == 3


def test_a_removed_operation_keeps_its_tensor():
    graph = two_layers()
    draft = Draft(graph)
    draft.remove(graph.ops[0])
    assert draft.done().ops == graph.ops[1:] and draft.done().tensors == graph.tensors
    with pytest.raises(ValueError):
        draft.remove(graph.ops[0])


def test_the_last_results_are_wide_unless_a_table_makes_them():
    graph = two_layers()
    first, last = graph.ops
    assert graph.last is last and graph.is_wide(last) and not graph.is_wide(first)
    table = replace(last, activation=Activation((Function("tanh"),)))
    assert not graph.with_ops((first, table)).is_wide(table)
