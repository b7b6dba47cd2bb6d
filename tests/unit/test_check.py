# SPDX-License-Identifier: Apache-2.0
"""`make check` finds what changed and the tests of it."""

import doctest
import re
import subprocess
import sys

import check
import pytest
from check import EVERY, ROOT, Nearest, Tree, changed_files, looks, nearest, read_tree
from support import need

TREE = Tree(
    {
        "pack/words.py": "",
        "pack/images.py": "from bramcast.pack import words",
        "pack/passes/fold.py": "def f():\n    import bramcast.pack.images",
        "cli/pack.py": "from bramcast.pack.passes.fold import f",
        "sim/fast.py": 'HARNESS = "harness.cpp"',
        "hw/top.sv": "bramcast_lane u_lane ();",
        "tests/support.py": "",
        "tests/unit/pack/test_words.py": "",
        "tests/unit/pack/test_words_order.py": "",
        "tests/unit/test_swords.py": "",
        "tests/unit/pack/passes/test_fold.py": "",
        "tests/unit/test_bits.py": "from bramcast.pack.words import lanes\nimport support",
        "tests/unit/test_whole.py": "from bramcast.cli.pack import main",
        "tests/unit/test_fast.py": "import bramcast.sim.fast",
        "tests/unit/test_blocks.py": 'setattr("bramcast.golden.sizes.MAX", 2)',
        "tests/unit/test_pages.py": 'PAGES = ROOT / "docs"',
        "tests/unit/test_first.py": 'run("first.toml")',
        "tests/cosim/test_units.py": '"lane"',
        "tests/cosim/test_core.py": '"top"',
    }
)


@pytest.mark.parametrize(
    "path, expected",
    [
        ("pack/words.py", {"test_words": 0, "test_words_order": 0, "test_bits": 1}),
        ("pack/passes/fold.py", {"test_fold": 0}),
        ("pack/images.py", {"test_whole": 3}),  # through fold and cli, where nothing is nearer
        ("tests/support.py", {"test_bits": 1}),
        ("tests/unit/test_swords.py", {"test_swords": 0}),
        ("sim/harness.cpp", {"test_fast": 1}),
        ("golden/sizes.py", {"test_blocks": 1}),
        ("docs/format.md", {"test_pages": 2}),
        ("examples/digits/first.toml", {"test_first": 1}),
        ("hw/bramcast_lane.sv", {"test_units": 0, "test_core": 1}),
        ("LICENSE", {}),
    ],
)
def test_the_tests_of_a_file_are_found(path, expected):
    found = nearest(TREE, [path])
    assert {test.split("/")[-1].removesuffix(".py"): n for test, n in found.items()} == expected


def test_tests_of_several_files_are_sorted_by_the_least_distance():
    assert list(nearest(TREE, ["tests/unit/test_bits.py", "pack/words.py"]).items()) == [
        ("tests/unit/pack/test_words.py", 0),
        ("tests/unit/pack/test_words_order.py", 0),
        ("tests/unit/test_bits.py", 0),
    ]


def test_every_module_of_this_repository_has_tests():
    tree = read_tree(ROOT)
    modules = [p for p in tree.texts if p.split("/")[0] in ("cli", "golden", "hw", "pack", "sim")]
    assert len(modules) > 100
    bare = [path for path in modules if not tree.near(path)]
    assert not [path for path in bare if re.search(r"^(def|class) ", tree.texts[path], re.M)]
    assert {"tests/cosim/test_units.py": 0}.items() <= tree.near("hw/bramcast_lane.sv").items()


def test_files_that_differ_from_where_the_branch_began_are_found(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def write(*names, text="x"):
        for name in names:
            (tmp_path / name).write_text(text)

    git("init", "-b", "main")
    write("kept", "edited", "gone", "committed", ".gitignore", text="ignored\n")
    git("add", ".")
    git("commit", "-m", "one")
    git("checkout", "-b", "mine")
    write("committed", text="other")
    git("commit", "-am", "two")
    git("checkout", "main")
    write("kept", text="changed by others")
    git("commit", "-am", "three")
    git("checkout", "mine")
    write("edited", "new", "ignored")
    (tmp_path / "gone").unlink()
    assert changed_files(tmp_path, "main") == ["committed", "edited", "new"]
    assert changed_files(tmp_path, "absent") == ["edited", "new"]


def test_the_named_run_first_and_nothing_is_begun_when_the_time_is_over(monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 7.0)
    distances = {"a.py": 0, "b.py": 1, **dict.fromkeys(EVERY, 1)}
    plugin = Nearest(distances, ["hw/bramcast_lane.sv", "pack/words.py"])
    every = EVERY[0]
    assert plugin.rank(f"{every}::t[bramcast.pack.words]", False) == (-1, False)
    assert plugin.rank(f"{every}::t[bramcast.pack.keywords]", False) is None
    assert plugin.rank("b.py::t[icarus-lane-bench-LANES4]", True) == (-1, True)
    assert plugin.rank("b.py::t[icarus-plane-bench]", True) == (1, True)
    assert plugin.rank("a.py::t", False) == (0, False)
    plugin.pytest_collection_modifyitems([])
    assert plugin.pytest_runtest_protocol(None) is None
    monkeypatch.setattr("time.monotonic", lambda: 7.0 + check.SECONDS)
    assert plugin.pytest_runtest_protocol(None) is True and plugin.left == 1


def test_only_what_changed_is_looked_at():
    def names(changed):
        return [command[2] if command[1] == "-m" else command[2:] for command in looks(changed)]

    assert names(["docs/format.md"]) == []
    assert names(["pack/words.py", "README.md"]) == ["ruff", "ruff", "mypy"]
    assert names(["hw/bramcast_lane.sv"]) == [["--hdl"]]
    assert all(c[-1] == "pack/words.py" for c in list(looks(["pack/words.py", "README.md"]))[:2])


@pytest.mark.cosim
def test_the_hdl_is_linted_in_a_process_of_its_own():
    need("verilator")
    (command,) = looks(["hw/bramcast_lane.sv"])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_a_failing_test_or_look_fails_the_check(monkeypatch, capsys):
    said = {"code": 0, "command": [sys.executable, "-c", "pass"]}
    monkeypatch.setattr(check, "changed_files", lambda root, base: ["pack/words.py"])
    monkeypatch.setattr(check, "read_tree", lambda root: TREE)
    monkeypatch.setattr(check, "looks", lambda changed: [said["command"]])
    monkeypatch.setattr(pytest, "main", lambda arguments, plugins: said["code"])
    assert check.main("main") == 0 and "all is well" in capsys.readouterr().out
    said["code"] = 1
    assert check.main("main") == 1
    said |= {"code": 0, "command": [sys.executable, "-c", "print('line too long'); exit(1)"]}
    assert check.main("main") == 1 and "line too long" in capsys.readouterr().out


def test_the_examples_of_its_docstrings_run():
    assert doctest.testmod(check) == (0, 3)
