# SPDX-License-Identifier: Apache-2.0
"""`make check`: format, lint, types and the tests of what changed against main, within a minute.

A changed file's tests are those of its name (golden/arith.py: tests/unit/golden/test_arith.py),
those that import it or mention it (a page, an example, an HDL module) and, where there are none,
those that import a module that does. The nearest run first; what the time does not suffice for is
counted and left to `make test`.
"""

import ast
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 30.0
# They look at every module, each in a test of its own.
EVERY = ("tests/unit/test_doctests.py", "tests/unit/test_imports.py")


def changed_files(root: Path, base: str) -> list[str]:
    """Files that differ from where this branch left ``base``, and new ones; relative to ``root``.

    Where there is no such branch, they are compared with the last commit.
    """
    left = _git(root, "merge-base", base, "HEAD") or _git(
        root, "merge-base", f"origin/{base}", "HEAD"
    )
    since = left[0] if left else "HEAD"
    changed = _git(root, "diff", "--name-only", "--diff-filter=d", "--no-renames", since)
    return sorted({*changed, *_git(root, "ls-files", "--others", "--exclude-standard")})


def _git(root: Path, *arguments: str) -> list[str]:
    """The lines that git prints, none if it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode == 0 else []


def module_of(path: str) -> str:
    """The name by which a file is imported: bramcast.pack.words, or support for tests/support.py.

    >>> module_of("pack/words.py"), module_of("sim/__init__.py"), module_of("tests/support.py")
    ('bramcast.pack.words', 'bramcast.sim', 'support')
    >>> module_of("root/__init__.py")
    'bramcast'
    """
    parts = list(Path(path).with_suffix("").parts)
    if parts[0] == "root":
        del parts[0]
    if parts[0] in ("tests", "bench"):
        return parts[-1]
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(["bramcast", *parts])


def imports(source: str) -> set[str]:
    """Modules, and names that may be modules, that a Python file imports, at its top or inside.

    A name in a text counts, too: so simulations and monkeypatch name modules.

    >>> sorted(imports("from bramcast.pack import words\\nrun('bramcast.sim.bench')"))
    ['bramcast.pack', 'bramcast.pack.words', 'bramcast.sim', 'bramcast.sim.bench']
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"bramcast(\.\w+){2,}", node.value):
                found |= {node.value, node.value.rpartition(".")[0]}
    return found


def mentions(name: str, text: str) -> bool:
    """Whether a text says a name as a whole word, not as a part of a longer one."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?!\w)", text) is not None


@dataclass(frozen=True)
class Tree:
    """The repository's Python and SystemVerilog files: text by path, tests included."""

    texts: Mapping[str, str]

    @cached_property
    def tests(self) -> frozenset[str]:
        """The test files."""
        return frozenset(p for p in self.texts if re.search(r"^tests/(.*/)?test_\w+\.py$", p))

    @cached_property
    def users(self) -> dict[str, set[str]]:
        """For each module the files that import it."""
        users: dict[str, set[str]] = {}
        for path, text in self.texts.items():
            for name in imports(text) if path.endswith(".py") else ():
                users.setdefault(name, set()).add(path)
        return users

    def near(self, path: str) -> dict[str, int]:
        """The test files that a changed file concerns, and how far away they are, 0 the nearest."""
        if path in self.tests:
            return {path: 0}
        if path.endswith(".sv"):
            return self._of_hdl(Path(path).stem)
        if path.endswith(".py"):
            return self._of_modules({module_of(path)}) | self._of_name(path)
        name, folder = Path(path).name, f'"{Path(path).parent.name}"'
        users = {p for p, text in self.texts.items() if mentions(name, text)}
        readers = users - self.tests if not path.endswith(".md") else set()
        far = {test: 2 for test in self.tests if folder in self.texts[test]}
        near = {test: 1 for test in users & self.tests}
        return far | self._of_modules({module_of(p) for p in readers}) | near

    def _of_name(self, path: str) -> dict[str, int]:
        wanted = re.compile(rf"test_{Path(path).stem}(_\w+)?\.py")
        mirror = f"tests/unit/{Path(path).parent.as_posix()}/"
        return {
            test: 0
            for test in self.tests
            if test.startswith(mirror) and wanted.fullmatch(test.removeprefix(mirror))
        }

    def _of_modules(self, modules: set[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        seen, layer, distance = set(modules), modules, 0
        while layer:
            distance += 1
            paths = {path for name in layer for path in self.users.get(name, ())}
            found = {path: distance for path in paths & self.tests} | found
            layer = {module_of(path) for path in paths - self.tests} - seen
            seen |= layer
        return found

    def _of_hdl(self, module: str) -> dict[str, int]:
        """Tests that name an HDL module, then those of the modules that hold it."""
        found: dict[str, int] = {}
        seen, layer, distance = {module}, {module}, 0
        while layer:
            short = {m.removeprefix("bramcast_") for m in layer}
            for test in self.tests:
                names = layer | short if test.startswith("tests/cosim/") else layer
                if any(f'"{name}"' in self.texts[test] for name in names):
                    found.setdefault(test, distance)
            hdl = {path: text for path, text in self.texts.items() if path.endswith(".sv")}
            holders = {Path(p).stem for p, t in hdl.items() if any(mentions(m, t) for m in layer)}
            layer = holders - seen
            seen |= layer
            distance += 1
        return found


def read_tree(root: Path) -> Tree:
    """The repository as it lies there, without what git ignores."""
    paths = _git(root, "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.sv")
    return Tree({path: (root / path).read_text() for path in paths if (root / path).exists()})


def nearest(tree: Tree, changed: Iterable[str]) -> dict[str, int]:
    """The test files to run: of each changed file those at distance 0 and 1, else the nearest."""
    found: dict[str, int] = {}
    for path in changed:
        near = tree.near(path)
        reach = max(1, min(near.values(), default=0))
        for test, distance in near.items():
            if distance <= reach:
                found[test] = min(distance, found.get(test, distance))
    return dict(sorted(found.items(), key=lambda pair: (pair[1], pair[0])))


class Nearest:
    """A pytest plugin: runs the nearest tests first, and begins none when SECONDS are over.

    Tests whose parameter is a changed file, or the module in it, come before all others; those that
    run a simulator come after others that are as near.
    """

    def __init__(self, distances: Mapping[str, int], changed: list[str]) -> None:
        names = {n for path in changed for n in (path, module_of(path))}
        hdl = [Path(path).stem for path in changed if path.endswith(".sv")]
        names |= {name for m in hdl for name in (m, m.removeprefix("bramcast_"))}
        self._named = re.compile(rf"[\[-]({'|'.join(map(re.escape, sorted(names)))})[\]-]")
        self._distances = distances
        self._end = 0.0
        self.left = 0

    def rank(self, nodeid: str, cosim: bool) -> tuple[int, bool] | None:
        """What tests are sorted by; None for one of those about other modules."""
        path, _, name = nodeid.partition("::")
        if self._named.search(name):
            return (-1, cosim)
        return None if path in EVERY else (self._distances[path], cosim)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        ranks = [self.rank(i.nodeid, i.get_closest_marker("cosim") is not None) for i in items]
        kept = [(rank, n) for n, rank in enumerate(ranks) if rank is not None]
        items[:] = [items[n] for _, n in sorted(kept)]
        self._end = time.monotonic() + SECONDS

    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if time.monotonic() < self._end:
            return None
        self.left += 1
        return True


def looks(changed: list[str]) -> Iterator[list[str]]:
    """The commands that look at the changed files without running them."""
    python = [path for path in changed if path.endswith(".py")]
    if python:
        yield [sys.executable, "-m", "ruff", "format", "--check", *python]
        yield [sys.executable, "-m", "ruff", "check", *python]
        yield [sys.executable, "-m", "mypy"]
    if any(path.endswith((".sv", ".svh")) for path in changed):
        yield [sys.executable, __file__, "--hdl"]


def lint_hdl() -> int:
    """Verilator's -Wall over the simulation's top module, as `make lint` calls it."""
    from bramcast.sim.run.runner import lint

    said = lint("bramcast_sim_top", {})
    print(said, end="")
    return int("%Warning" in said or "%Error" in said)


def main(base: str) -> int:
    """Look at what changed against ``base``; 0 if all is well."""
    changed = changed_files(ROOT, base)
    if not changed:
        print(f"nothing differs from {base}")
        return 0
    running = [
        (command, subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        for command in looks(changed)
    ]
    distances = nearest(read_tree(ROOT), changed)
    print(f"changed against {base}: {', '.join(changed)}\n{len(distances)} test files", flush=True)
    plugin = Nearest(distances, changed)
    files = [str(ROOT / path) for path in {**distances, **dict.fromkeys(EVERY)}]
    code = int(pytest.main(["-q", "-m", "not slow", *files], plugins=[plugin]))
    failed = code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    for command, process in running:
        said = process.communicate()[0]
        if process.returncode:
            print(f"{' '.join(command[1:4])}\n{said}")
            failed = True
    if plugin.left:
        print(f"{plugin.left} tests farther away are left to `make test`")
    print("FAILED" if failed else "all is well")
    return int(failed)


if __name__ == "__main__":
    sys.exit(lint_hdl() if sys.argv[1:] == ["--hdl"] else main(*(sys.argv[1:] or ["main"])))
