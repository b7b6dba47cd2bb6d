# SPDX-License-Identifier: Apache-2.0
"""Things that go together: union-find."""

from collections.abc import Iterable


class Classes:
    """Union-find over tensor indices."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def find(self, index: int) -> int:
        while self.parent[index] != index:
            index = self.parent[index]
        return index

    def join(self, indices: Iterable[int]) -> None:
        roots = [self.find(i) for i in indices]
        for root in roots[1:]:
            self.parent[self.find(root)] = self.find(roots[0])
