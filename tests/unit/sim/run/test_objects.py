# SPDX-License-Identifier: Apache-2.0
"""Objects of Verilator's runtime are compiled once for each command, compiler and version."""

import os
import sys

import pytest
from support import ROOT

from bramcast.sim.run.objects import key_of, main
from bramcast.sim.run.runner import _keeping_objects

COMPILER = """#!/bin/sh
echo "$@" >> {folder}/calls
for last; do :; done
case "$last" in *broken*) exit 3;; esac
cat "$last" > "$OUT"
"""


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A folder with a runtime of two files, and a compiler that copies and counts."""
    compiler = tmp_path / "cc"
    compiler.write_text(COMPILER.format(folder=tmp_path))
    compiler.chmod(0o755)
    include, kept = tmp_path / "include", tmp_path / "kept"
    include.mkdir()
    kept.mkdir()
    for name in ("verilated.cpp", "verilated_broken.cpp", "verilated.h", "model.cpp"):
        (include / name).write_text(name)

    def compile_one(source, *flags):
        result = tmp_path / "result.o"
        result.unlink(missing_ok=True)
        monkeypatch.setenv("OUT", str(result))
        command = [str(compiler), *flags, "-c", "-o", str(result), str(include / source)]
        code = main(kept, command)
        calls = (tmp_path / "calls").read_text().splitlines()
        return code, result.read_text() if result.exists() else None, len(calls)

    return compile_one, include, kept


def test_a_file_of_the_runtime_is_compiled_once(runtime):
    compile_one, include, kept = runtime
    assert compile_one("verilated.cpp", "-O3") == (0, "verilated.cpp", 1)
    assert compile_one("verilated.cpp", "-O3") == (0, "verilated.cpp", 1)
    assert len(list(kept.iterdir())) == 1
    assert compile_one("verilated.cpp", "-O0")[2] == 2  # other flags
    (include / "verilated.h").write_text("another version")
    assert compile_one("verilated.cpp", "-O3")[2] == 3


def test_what_is_not_the_runtimes_is_compiled_each_time(runtime, tmp_path):
    compile_one, _, kept = runtime
    calls = [compile_one("model.cpp")[2], compile_one("model.cpp")[2]]
    calls += [compile_one("verilated.cpp", f"-I{tmp_path}")[2] for _ in range(2)]
    assert calls == [1, 2, 3, 4] and not list(kept.iterdir())


def test_a_compiler_that_fails_says_so_and_nothing_is_kept(runtime):
    compile_one, _, kept = runtime
    assert compile_one("verilated_broken.cpp") == (3, None, 1)
    assert compile_one("verilated_broken.cpp") == (3, None, 2)
    assert not list(kept.iterdir())


def test_a_folder_that_can_not_be_written_only_costs_time(runtime, tmp_path):
    compile_one, _, kept = runtime
    kept.rmdir()
    assert compile_one("verilated.cpp") == (0, "verilated.cpp", 1)
    assert compile_one("verilated.cpp") == (0, "verilated.cpp", 2)


def test_a_link_is_no_object():
    assert key_of(["c++", "-o", "Vtop", "verilated.o", "Vtop.o"]) is None


def test_make_and_the_shell_read_the_command_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAMCAST_CACHE", str(tmp_path / "a$b'c d"))
    (tmp_path / "makefile").write_text(
        "all:\n\t@$(OBJCACHE) sh -c 'echo $$0 >out' works\n"  # fmt: skip
    )
    monkeypatch.setenv("OBJCACHE", _keeping_objects())
    assert os.system(f"make -s -C '{tmp_path}'") == 0
    assert (tmp_path / "out").read_text() == "works\n"
    assert str(ROOT / "sim" / "run") in _keeping_objects() and sys.executable in _keeping_objects()
