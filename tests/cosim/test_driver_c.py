# SPDX-License-Identifier: Apache-2.0
"""The C driver, compiled as C99 without a warning, runs networks on the Verilated core."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from axi_support import code_block, dscnn_and_mlp, two_with_tables
from support import ROOT, need

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.ledger import c_header, ledgers
from bramcast.golden.load import load
from bramcast.hw import sources
from bramcast.pack.axi.registers import address_bits
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.manifest import IMAGES
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.cosim import core_parameters
from bramcast.sim.run.runner import verilator_environment

pytestmark = pytest.mark.cosim

C_FLAGS = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]


def compile_c(folder: Path, name: str, text: str, include: Path) -> Path:
    (folder / f"{name}.c").write_text(text)
    command = ["gcc", *C_FLAGS, "-O2", f"-I{include}", "-c", f"{name}.c", "-o", f"{name}.o"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / f"{name}.o"


LEDGER_DEPTH = 64


def ledger_of(machine, frames):
    """What the ledger must hold behind a frame, and a word that the first nest writes, in C."""
    results = machine.run(frames, keep_layers=True)
    (entries,) = ledgers(machine, results)
    assert len(entries) <= LEDGER_DEPTH and machine.core.taps == 1
    first, bits = results.nests[0], machine.core.data_bits
    word = sum(int(value) << (bits * lane) for lane, value in enumerate(first.words[0, 0]))
    beats = [word >> at & 0xFFFFFFFF for at in range(0, machine.core.lanes * bits, 32)]
    values = ", ".join(f"{beat}u" for beat in beats)
    return (
        c_header(machine, frames[0], entries) + "const void *frame_b(void);\n"
        "const void *frame_b(void) { return bramcast_ledger_frame; }\n"
        "extern const bramcast_expected_t *const expected_b;\n"
        "extern const uint32_t nests_b, peek_word, peek_beats, peek_values[];\n"
        "const bramcast_expected_t *const expected_b = bramcast_expected_ledger;\n"
        f"const uint32_t nests_b = BRAMCAST_LEDGER_NESTS, peek_word = {first.addresses[0]}u;\n"
        f"const uint32_t peek_beats = {len(beats)}u, peek_values[] = {{{values}}};\n"
    )


NETWORKS = {
    "dscnn and mlp": (8, dscnn_and_mlp),
    "tables": (8, lambda folder: two_with_tables(folder, 8)),
    "tables of 16 bits": (16, lambda folder: two_with_tables(folder, 16)),
}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("networks", NETWORKS)
def test_the_driver_loads_and_runs_networks(networks, tmp_path):
    need("verilator")
    objects, arguments, expected = [], [], []
    bits, recipes = NETWORKS[networks]
    for letter, recipe, samples in zip("ab", recipes(tmp_path), (2, 4), strict=True):
        bundle = tmp_path / letter
        pack(read_recipe(recipe), bundle)
        machine = load(bundle)
        frames = frames_from_arrays(read_inputs(recipe).x[:samples], machine.manifest.input)
        (tmp_path / f"{letter}.bin").write_bytes(frames.astype(f"<i{bits // 8}").tobytes())
        arguments += [f"+frames_{letter}={tmp_path}/{letter}.bin"]
        arguments += [f"+elements_{letter}={frames.shape[1]}"]
        cycles = predict(machine.program, machine.core).total
        for number, beats in enumerate(machine.run(frames).beats.tolist()):
            top = int(np.argmax(beats))
            line = [letter, "class", top, "cycles", cycles, "frames", number + 1, "beats", *beats]
            expected.append(" ".join(map(str, line)))
        text = (
            '#include "bramcast_driver.h"\n#include "bramcast_images.h"\n'
            f"extern const bramcast_network_t network_{letter};\n"
            f"const bramcast_network_t network_{letter} = BRAMCAST_NETWORK;\n"
        )
        objects.append(compile_c(tmp_path, f"network_{letter}", text, bundle))
    objects.append(compile_c(tmp_path, "ledger", ledger_of(machine, frames[:1]), bundle))
    core = load(tmp_path / "a").core
    arguments += [f"+{n}={tmp_path}/a/{n}.mem" for n in IMAGES if core.depth(n)]
    driver = (tmp_path / "b" / "bramcast_driver.c").read_text()
    objects.append(compile_c(tmp_path, "driver", driver, tmp_path / "b"))
    objects.append(compile_c(tmp_path, "example", code_block("docs/axi.md", "c"), tmp_path / "b"))

    parameters = core_parameters(core) | {"LEDGER_DEPTH": LEDGER_DEPTH, "PEEK": 1}
    parameters["AXI_ADDRESS_BITS"] = address_bits(core, LEDGER_DEPTH, peek=True)
    harness = ROOT / "tests" / "cosim" / "driver_harness.cpp"
    command = ["verilator", "--cc", "--exe", "--build", "-O3", "--no-timing", "-Wno-fatal"]
    command += [
        "-CFLAGS",
        f"-O1 -I../b -DELEMENT_BYTES={bits // 8}",  # no path: Verilator's objects are kept by it
        "--Mdir",
        str(tmp_path / "obj"),
    ]
    command += ["--top-module", "bramcast_axi", "-o", "harness"]
    command += [f"-G{name}={value}" for name, value in parameters.items()]
    command += map(str, [*sources(), harness, *objects])
    built = subprocess.run(
        command, env=verilator_environment(), capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    ran = subprocess.run(
        [tmp_path / "obj" / "harness", *arguments, f"+seed={seed}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, f"SEED={seed}\n{ran.stdout}{ran.stderr}"
    lines = ran.stdout.splitlines()
    assert lines.pop() == "done"
    # network a counts its frames from reset, network b from its own load on; cycles of frames
    # that leave with backpressure are their own
    shown = [line.split(" cycles ") for line in lines]
    wanted = [line.split(" cycles ") for line in expected]
    assert [s[0] for s in shown] == [w[0] for w in wanted]
    for s, w in zip(shown, wanted, strict=True):
        assert s[1].split(" ")[1:] == w[1].split(" ")[1:]
        assert int(s[1].split(" ")[0]) >= int(w[1].split(" ")[0])
