# SPDX-License-Identifier: Apache-2.0
"""A core on a serial line without a board: the Verilated ``bramcast_serial`` behind a terminal.

    python -m bramcast.sim.run.serial BUNDLE

prints the name of a pseudo-terminal for ``bramcast board`` and runs until it is interrupted.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from bramcast.pack.axi.registers import address_bits
from bramcast.pack.bundle.errors import ToolError, UserError
from bramcast.pack.bundle.manifest import Core, read_manifest
from bramcast.sim.run.fast import build

TOP = "bramcast_serial"
HARNESS = Path(__file__).resolve().parent / "serial_harness.cpp"
DIVISOR = 4
PATIENCE = 4096


@dataclass(slots=True)
class Simulated:
    """A running simulation.

    Attributes:
        port: the terminal's name.
        clocks: simulated cycles in which something was under way; known when it has ended.
        seconds: that they took.
    """

    port: str
    clocks: int = 0
    seconds: float = 0.0


@contextmanager
def serial_core(
    core: Core,
    nests: int = 0,
    *,
    noise: int = 0,
    rate: int = 0,
    extra: Mapping[str, int] | None = None,
    sources: Sequence[Path] | None = None,
    told: Callable[[str], None] = lambda text: None,
) -> Iterator[Simulated]:
    """A simulated board with a core of these parameters, its memories empty.

    Args:
        nests: that its ledger holds, rounded up to a power of two, and it shows its scratchpad; 0:
            it has neither.
        noise: seed of a bad line, not 0; ``rate`` bytes of a million are damaged.
        extra: other parameters of ``bramcast_serial``.
        sources: instead of those of hw/.
        told: is told what takes long.

    Raises:
        ToolError: Verilator is missing, or the simulation does not start.
    """
    depth = 1 << max(1, (nests - 1).bit_length()) if nests else 0
    parameters = {
        "AXI_ADDRESS_BITS": address_bits(core, depth, peek=depth > 0),
        "LEDGER_DEPTH": depth,
        "PEEK": int(depth > 0),
        "DIVISOR": DIVISOR,
        "PATIENCE": PATIENCE,
        **(extra or {}),
    }
    told("building for verilator")
    program = build(core, HARNESS, top=TOP, extra=parameters, sources=sources)
    command = [str(program), f"+divisor={parameters['DIVISOR']}"]
    command += [f"+noise={noise}", f"+rate={rate}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        simulated = Simulated(process.stdout.readline().strip())
        if not simulated.port:
            raise ToolError(f"{program} ended with code {process.wait()}")
        try:
            yield simulated
        finally:
            process.stdin.close()
            words = process.stdout.read().split()
            if words[:1] == ["done"]:
                simulated.clocks, simulated.seconds = int(words[1]), float(words[2])


def main(arguments: Sequence[str]) -> int:
    """Run until interrupted; the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m bramcast.sim.run.serial BUNDLE", file=sys.stderr)
        return 2
    try:
        manifest = read_manifest(Path(arguments[0]))
        core, nests = manifest.core, len(manifest.nests)
        extra = {"TLAST_ENDS": 2 if manifest.more_inputs else 1}
        with serial_core(
            core, nests, extra=extra, told=lambda text: print(text, file=sys.stderr)
        ) as simulated:
            print(simulated.port, flush=True)
            with suppress(KeyboardInterrupt):
                Event().wait()
    except UserError as error:
        print(f"bramcast: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
