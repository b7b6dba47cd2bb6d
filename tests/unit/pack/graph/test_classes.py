# SPDX-License-Identifier: Apache-2.0
"""Things that go together, against the sets that a hand would draw."""

from bramcast.pack.graph.classes import Classes


def together(classes, count):
    groups = {}
    for index in range(count):
        groups.setdefault(classes.find(index), set()).add(index)
    return sorted(map(sorted, groups.values()))


def test_what_is_joined_over_others_goes_together():
    classes = Classes(7)
    assert together(classes, 7) == [[i] for i in range(7)]
    classes.join([1, 4])
    classes.join([5, 2, 6])
    assert together(classes, 7) == [[0], [1, 4], [2, 5, 6], [3]]
    classes.join([6, 4])  # neither is the first of its set
    assert together(classes, 7) == [[0], [1, 2, 4, 5, 6], [3]]


def test_joining_the_joined_alone_or_nothing_changes_nothing():
    classes = Classes(4)
    classes.join([0, 1, 2])
    for again in ([2, 0], [1, 2, 1, 0], [3], []):
        classes.join(again)
        assert together(classes, 4) == [[0, 1, 2], [3]]


def test_several_sets_at_once_become_one():
    classes = Classes(6)
    classes.join([0, 1])
    classes.join([2, 3])
    classes.join([1, 3, 5])
    assert together(classes, 6) == [[0, 1, 2, 3, 5], [4]]
