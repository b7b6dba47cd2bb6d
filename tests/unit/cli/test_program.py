# SPDX-License-Identifier: Apache-2.0
"""The program around its verbs: what it imports, its help, the shell's completion, no colours."""

import errno
import inspect
import os
import pty
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from support import ROOT, bramcast, process

from bramcast.cli.app import VERBS

LIGHT = ["bramcast", "bramcast.cli", "bramcast.cli.app", "bramcast.pack", "bramcast.pack.bundle"]
LIGHT += ["bramcast.pack.bundle.errors"]
# What takes a tenth of a second or more to import, and is not needed to say what there is.
HEAVY = {
    "IPython", "cocotb", "distributed", "google", "jinja2", "matplotlib", "numpy", "onnx", "pandas",
    "pydantic", "safetensors", "scipy", "serial", "sklearn", "tomlkit", "torch", "tqdm",
}  # fmt: skip


def modules_after(code: str) -> set[str]:
    """The modules that a fresh Python has loaded after some code."""
    tail = "\nimport sys; print('\\nLOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\nLOADED ")[1].split())


def called(*arguments: str) -> str:
    """Code that runs the program and goes on."""
    return (
        "import sys\nfrom bramcast.cli import main\n"
        f"sys.argv = {['bramcast', *arguments]}\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
    )


@pytest.mark.parametrize(
    ("code", "ours"),
    [("import bramcast", ["bramcast"]), (called("--help"), LIGHT)],
    ids=["import bramcast", "--help"],
)
def test_little_is_imported(code, ours):
    loaded = modules_after(code)
    assert sorted(n for n in loaded if n.split(".")[0] == "bramcast") == ours
    assert not {name.split(".")[0] for name in loaded} & HEAVY


def test_a_verb_that_is_called_imports_no_other():
    loaded = modules_after(called("memory", "--help"))
    assert "bramcast.cli.memory" in loaded and "torch" not in loaded
    assert not loaded & {f"bramcast.cli.{name}" for name in VERBS if name != "memory"}


@pytest.mark.parametrize("name", VERBS)
def test_the_list_of_verbs_says_what_the_verb_says(name):
    doc = inspect.getdoc(import_module(f"bramcast.cli.{name}").command)
    assert doc is not None and doc.split("\n\n")[0].replace("\n", " ") == VERBS[name]


def test_every_verb_is_listed():
    def has_command(path: Path) -> bool:
        return bool(re.search(r"^def command\(", path.read_text(), flags=re.M))

    assert {p.stem for p in (ROOT / "cli").glob("*.py") if has_command(p)} == set(VERBS)
    text = bramcast("--help").stdout
    assert all(re.search(rf"│ {name} ", text) for name in VERBS)


def test_a_verb_that_is_mistyped_is_told_with_the_right_one():
    done = bramcast("pak")
    assert done.returncode == 2 and "Did you mean 'pack'?" in done.stderr


def test_python_m_bramcast_is_the_program():
    run = [sys.executable, "-m", "bramcast", "golden", "nowhere", "--inputs", "x.npz"]
    done = subprocess.run(run, capture_output=True, text=True)
    same = process("golden", "nowhere", "--inputs", "x.npz")
    assert (done.returncode, done.stderr) == (same.returncode, same.stderr)
    assert done.returncode == 2 and "nowhere" in done.stderr


# ---------------------------------------------------------------- the shell's completion


def completed(line: str, shell: str = "bash") -> list[str]:
    """What the program offers a shell for the last word of a line."""
    words = line.split(" ")
    env = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    env |= {"_BRAMCAST_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line}
    env |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    code = "import sys; sys.argv = ['bramcast']; from bramcast.cli import main; main()"
    run = [sys.executable, "-c", code]
    return subprocess.run(run, env=os.environ | env, capture_output=True, text=True).stdout.split()


def test_verbs_options_and_values_are_completed():
    assert completed("bramcast pa") == ["pack", "patch"]
    assert "--allow-modified" in completed("bramcast sim bundle --a")
    assert completed("bramcast sim bundle --simulator ic") == ["icarus"]
    assert completed("bramcast memory bundle --device xc7a35") == ["xc7a35t"]


def script(shell: str) -> str:
    """The completion for a shell, as the program prints it for the one that it runs in."""
    env = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    run = [sys.executable, "-m", "bramcast", "--show-completion", shell]
    done = subprocess.run(run, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_each_shell_calls_the_program(shell):
    text = script(shell)
    assert f"_BRAMCAST_COMPLETE=complete_{shell}" in text
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=text, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr


def test_bash_completes_with_the_script_it_is_given(tmp_path):
    (tmp_path / "completion").write_text(script("bash"))
    program = tmp_path / "bramcast"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m bramcast "$@"\n')
    program.chmod(0o755)
    ask = (
        ". completion; spec=$(complete -p bramcast); f=${spec##*-F }; f=${f%% *}; "
        'COMP_WORDS=(bramcast re); COMP_CWORD=1; "$f" bramcast re bramcast; echo "${COMPREPLY[@]}"'
    )
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", ask], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.stdout.split() == ["regress", "report"], done.stderr


# ---------------------------------------------------------------- colours

COLOUR = re.compile(rb"\x1b\[(?:[0-9]+;)*(3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


def on_terminal(*arguments: str, **env: str) -> bytes:
    """What the program writes onto a terminal."""
    ours, theirs = pty.openpty()
    run = [sys.executable, "-m", "bramcast", *arguments]
    known = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    known |= {"TERM": "xterm-256color", **env}
    child = subprocess.Popen(run, stdin=theirs, stdout=theirs, stderr=theirs, env=known)
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError as error:  # the terminal's other end is closed
            assert error.errno == errno.EIO
            break
        if not part:
            break
        text += part
    os.close(ours)
    child.wait()
    return text


@pytest.mark.parametrize("arguments", [("--help",), ("pak",), ("golden", "--help")])
def test_no_color_is_heeded(arguments):
    assert COLOUR.search(on_terminal(*arguments))
    plain = on_terminal(*arguments, NO_COLOR="1")
    assert b"bramcast" in plain and not COLOUR.search(plain)


@pytest.mark.slow
@pytest.mark.ci
def test_no_color_is_heeded_by_bars_and_tables(tmp_path):
    pack = ("pack", str(ROOT / "examples" / "digits" / "mlp.toml"), "-o")
    assert COLOUR.search(on_terminal(*pack, str(tmp_path / "a")))
    plain = on_terminal(*pack, str(tmp_path / "b"), NO_COLOR="1")
    assert b"written to" in plain and not COLOUR.search(plain)
