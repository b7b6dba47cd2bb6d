# SPDX-License-Identifier: Apache-2.0
"""Operations of several time steps that do the same."""

from graphs import Made

from bramcast.pack.graph.twins import has_gates, twins_of


def names(found):
    return [[op.name for op in ops] for ops in found]


def steps():
    """Three steps of h, of which the first passed on to a table what the others only add."""
    made = Made(1)
    y = made.dense("h_1", made.x, [[1.0]], twins=("sum", "h"), passed=1)
    y = made.dense("h_2", y, [[1.0]], twins=("h",))
    y = made.dense("s_2", y, [[1.0]], twins=("sum",))
    return made.graph(made.dense("alone", y, [[1.0]], twins=("once",)))


def test_twins_share_a_name_and_nobody_is_one_alone():
    assert names(twins_of(steps())) == [["h_1", "s_2"], ["h_1", "h_2"]]


def test_results_that_were_passed_are_twins_of_weights_only():
    assert names(twins_of(steps(), passed=False)) == [["h_1", "h_2"]]


def test_gates_are_products_or_time_steps():
    assert has_gates(steps())
    made = Made(2)
    plain = made.graph(made.dense("fc", made.x, [[1.0, 2.0]], twins=("once",)))
    assert not has_gates(plain)
    made = Made(1)
    assert has_gates(made.graph(made.product("p", made.x, made.x)))
