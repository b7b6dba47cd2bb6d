# SPDX-License-Identifier: Apache-2.0
"""The whole top of a board: a frame through the pins of its UART, lamps and all."""

import re

import pytest
from cosim.test_folder_bench import built, call, changed, verdict, written
from support import DIGITS, bramcast, need

from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.folder.boards import BOARDS
from bramcast.sim.run.runner import verilator_environment


@pytest.mark.cosim
@pytest.mark.parametrize("name", BOARDS)
def test_icarus_passes(tmp_path, name):
    folder = built(written(tmp_path / "fpga", "digits_mlp", "--board", name))
    words = len((folder / "bench_words.mem").read_text().splitlines())
    entries = 3 if BOARDS[name].ledger else 0
    said = f"10 results, {words} words of the scratchpad, {entries} entries of the ledger"
    assert verdict(folder) == (0, f"PASS: {said}")


@pytest.mark.cosim
def test_a_line_without_registers_takes_two_bytes_for_16_bits(tmp_path):
    recipe = tmp_path / "wide.toml"
    text = (DIGITS / "mlp.toml").read_text().replace("lanes = 16", "lanes = 4")
    text = re.sub(r'"((?:model\.py|mlp\.pth|inputs\.npz)[^"]*)"', rf'"{DIGITS}/\1"', text)
    recipe.write_text(f"{text}\n[quantize]\nactivation_bits = 16\n")
    pack(read_recipe(recipe), tmp_path / "wide")
    done = bramcast("hdl", tmp_path / "wide", "-o", tmp_path / "fpga", "--board", "icebreaker")
    assert done.returncode == 0, done.stderr
    assert ".DATA_BITS(16)" in (tmp_path / "fpga/digits_mlp_top.v").read_text()
    assert verdict(built(tmp_path / "fpga"))[1].startswith("PASS: 10 results, ")


@pytest.mark.cosim
def test_elements_that_come_too_early_are_an_error(tmp_path):
    """Three bytes while a line without registers computes: one stays for the next frame."""
    folder = written(tmp_path / "fpga", "digits_mlp", "--board", "icebreaker")
    bench = (folder / "bench.sv").read_text()
    wait = "    while (beat_n < BEATS) @(negedge clk);\n"
    assert bench.count(wait) == 1
    for extra, verdict_of in ((1, "PASS: "), (3, "FAIL: the lamps show 11")):
        more = f"    repeat ({extra}) send_byte(8'd7, 1'b1);\n{wait}"
        (folder / "bench.sv").write_text(bench.replace(wait, more))
        assert verdict(built(folder))[1].startswith(verdict_of)


@pytest.mark.cosim
def test_one_bit_of_an_image_is_found_in_its_layer(tmp_path):
    folder = built(written(tmp_path / "fpga", "digits_dscnn", "--board", "ulx3s"))
    changed(folder / "weights.mem", 60, 21)
    code, line = verdict(folder)
    assert code == 1 and re.match(r"FAIL: layer \S+ \(descriptor \d\), sub-word \d+ of the ", line)


@pytest.mark.cosim
@pytest.mark.parametrize(
    "name, old, new, shown",
    [
        # Dark where golden shows the class, all lit before it; swapped levels; a cut wire.
        ("ulx3s", ".class_i(number)", ".class_i(16'd0)", "00000000, expected 00111111"),
        ("ulx3s", "assign led = lamp;", "assign led = ~lamp;", "11000000, expected 00111111"),
        ("ulx3s", "wifi_gpio0 = 1'b1", "wifi_gpio0 = 1'b0", "00111111, expected 00111111"),
        ("icebreaker", "^ 7'b1100000", "^ 7'b0000000", "1111111, expected 0011111"),
        ("hx8k", ".busy_i(busy)", ".busy_i(1'b0)", "00000000, expected 01000000"),
        ("tangnano9k", ".error_i(error)", ".error_i(!error)", "101111, expected 001111"),
    ],
)
def test_a_lamp_that_shows_something_else_is_found(tmp_path, name, old, new, shown):
    folder = written(tmp_path / "fpga", "digits_mlp", "--board", name)
    top = folder / "digits_mlp_top.v"
    assert top.read_text().count(old) == 1
    top.write_text(top.read_text().replace(old, new))
    assert verdict(built(folder)) == (1, f"FAIL: the lamps show {shown}")


@pytest.mark.cosim
@pytest.mark.parametrize("name", ["ulx3s", "icebreaker", "tangnano9k"])
def test_the_button_resets(tmp_path, name):
    """A button that is stuck keeps the core in reset: nobody answers."""
    folder = written(tmp_path / "fpga", "digits_mlp", "--board", name)
    bench = folder / "bench.sv"
    text = re.sub(r"\.button\(!?resetn\)", f".button(1'b{1 - BOARDS[name].button.low})",
                  bench.read_text())  # fmt: skip
    text, found = re.subn(r"PATIENCE += .*;", "PATIENCE = 20_000;", text)
    assert found == 1
    bench.write_text(text)
    code, line = verdict(built(folder))
    assert code == 1 and line.startswith("FAIL: nothing more within 20000 clock cycles, 0 of 10")


@pytest.mark.cosim
@pytest.mark.parametrize("name", BOARDS)
def test_verilator_finds_nothing_to_warn_of(tmp_path, name):
    need("verilator")
    folder = written(tmp_path / "fpga", "digits_dscnn", "--board", name)
    lint = ["verilator", "--lint-only", "--timing"]
    for command in (
        [*lint, "-Wall", "--top-module", "digits_dscnn_top", "-f", "sources.f"],
        [*lint, "--top-module", "bench", "-f", "sources.f", "bench.sv"],
    ):
        done = call(folder, *command, env=verilator_environment())
        assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.cosim
@pytest.mark.parametrize("name", ["ulx3s", "icebreaker"])
def test_verilator_passes_and_fails(tmp_path, name):
    need("verilator")
    folder = written(tmp_path / "fpga", "digits_dscnn", "--board", name)
    command = ["verilator", "--binary", "-CFLAGS", "-std=gnu++20 -fcoroutines"]
    command += ["--top-module", "bench", "-f", "sources.f", "bench.sv"]
    done = call(folder, *command, env=verilator_environment())
    assert done.returncode == 0 and "%Warning" not in done.stderr, done.stderr
    assert verdict(folder, "obj_dir/Vbench")[1].startswith("PASS: 10 results, ")
    changed(folder / "weights.mem", 60, 21)
    code, line = verdict(folder, "obj_dir/Vbench")
    assert code != 0 and line.startswith("FAIL: layer ")
