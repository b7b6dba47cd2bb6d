# SPDX-License-Identifier: Apache-2.0
"""Compiles a C++ file as it is told; what belongs to Verilator itself is kept and compiled once.

Every simulator contains the same runtime, which takes five times as long to compile as a small
model. Verilator's makefile starts this script in front of each compiler call (OBJCACHE), with the
folder that keeps the objects as its first argument. Without packages: it starts for every file.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def key_of(command: list[str]) -> str | None:
    """What the object depends on: the command, the compiler, the runtime's files.

    None for a command that compiles no file of Verilator's runtime, or has folders of its own.
    """
    if "-c" not in command or "-o" not in command:
        return None
    source = Path(command[-1])
    if not (source.is_absolute() and source.name.startswith("verilated") and source.exists()):
        return None
    compiler = shutil.which(command[0])
    others = [a for a in command if a.startswith("-I/") and str(source.parent) not in a]
    if compiler is None or others:
        return None
    facts = [*command]
    for file in (Path(compiler).resolve(), *sorted(source.parent.glob("*"))):
        status = file.stat()
        facts.append(f"{file} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]


def main(folder: Path, command: list[str]) -> int:
    """Run a compiler's command, or take its result from the folder; the exit code."""
    key = key_of(command)
    if key is None:
        return subprocess.run(command, check=False).returncode
    result = Path(command[command.index("-o") + 1])
    kept = folder / f"runtime-{key}.o"
    try:
        shutil.copyfile(kept, result)
        return 0
    except OSError:
        pass
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        try:  # whole or not at all: others may be reading
            number, name = tempfile.mkstemp(prefix=".runtime.", dir=folder)
            os.close(number)
            shutil.copyfile(result, name)
            os.replace(name, kept)
        except OSError:
            pass  # it is compiled again next time
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
