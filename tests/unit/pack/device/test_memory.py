# SPDX-License-Identifier: Apache-2.0
"""How memories lie in block RAMs: shapes and counts of data sheets, the search, real networks."""

import json
import re
from dataclasses import replace

import pytest
from support import DIGITS, ROOT, model_recipe, write_recipe
from typer.testing import CliRunner

from bramcast.cli.app import app
from bramcast.golden.load import load
from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.device.devices import (
    FAMILIES,
    PARTS,
    BlockRam,
    Family,
    LutRam,
    find_part,
)
from bramcast.pack.device.memory import core_memories, place_bundle, weight_use
from bramcast.pack.device.primitive_mix import best_mix
from bramcast.pack.fit import suggest
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe

SEVEN = FAMILIES["7series"]

# --- data sheets -------------------------------------------------------------------------------

# Block RAMs as the data sheets count them: 36 Kb (AMD), 18 Kb (Lattice, Gowin), M10K, M9K, 4 Kb.
DATA_SHEETS = {
    "xc7a35t": 50, "xc7a100t": 135, "xc7a200t": 365, "xc7s50": 75, "xc7z010": 60, "xc7z020": 140,
    "xc7k325t": 445, "xczu3": 216, "xczu7": 312, "xczu9": 912, "xcku5p": 480,
    "lfe5u-25": 56, "lfe5u-45": 108, "lfe5u-85": 208, "hx1k": 16, "hx8k": 32, "up5k": 30,
    "gw1nr-9": 26, "gw2a-18": 46, "5ceba4": 308, "5csema5": 397, "5cseba6": 553,
    "ep4ce22": 66, "ep4ce115": 432,
}  # fmt: skip


@pytest.mark.parametrize("name, blocks", DATA_SHEETS.items())
def test_parts_have_the_blocks_of_the_data_sheet(name, blocks):
    part = find_part(name)
    assert part.count == (2 * blocks if part.family.unit == "RAMB18" else blocks)


# LUTs (Cyclone V: ALMs), registers, multipliers of the data sheets.
LOGIC = {
    "xc7s25": (14600, 29200, 80), "xc7a35t": (20800, 41600, 90), "xc7a100t": (63400, 126800, 240),
    "xc7z010": (17600, 35200, 80), "xc7z020": (53200, 106400, 220),
    "xc7k325t": (203800, 407600, 840),
    "xczu3": (70560, 141120, 360), "xcku5p": (216960, 433920, 1824),
    "lfe5u-25": (24288, 24288, 28), "lfe5u-45": (43848, 43848, 72),
    "lfe5u-85": (83640, 83640, 156), "hx8k": (7680, 7680, 0), "up5k": (5280, 5280, 8),
    "gw1nr-9": (8640, 6480, 20), "gw2a-18": (20736, 15552, 48), "5ceba4": (18480, 73920, 66),
    "ep4ce22": (22320, 22320, 66), "ep4ce115": (114480, 114480, 266),
}  # fmt: skip


@pytest.mark.parametrize("name, counts", LOGIC.items())
def test_parts_have_the_logic_of_the_data_sheet(name, counts):
    part = find_part(name)
    assert (part.luts, part.ffs, part.dsps) == counts


@pytest.mark.parametrize("name", PARTS)
def test_counts_of_a_part_are_alike(name):
    part = PARTS[name]
    assert part.luts is not None and part.ffs is not None and part.dsps is not None
    registers = {"7series": 2, "ultrascaleplus": 2, "gowin": 0.75, "cyclonev": 4}
    assert part.ffs == registers.get(part.family.name, 1) * part.luts
    assert part.count is not None and part.luts > 30 * part.count  # as worth says, or more
    assert (part.dsps > 0) == (part.family.name != "ice40" or name == "up5k")
    assert find_part(part.family.name).luts is None


SHAPES = {
    "RAMB36E1": "32Kx1 16Kx2 8Kx4 4Kx9 2Kx18 1Kx36 512x72",  # UG473
    "RAMB18E1": "16Kx1 8Kx2 4Kx4 2Kx9 1Kx18 512x36",
    "DP16KD": "16Kx1 8Kx2 4Kx4 2Kx9 1Kx18 512x36",
    "RAMB36E2": "32Kx1 16Kx2 8Kx4 4Kx9 2Kx18 1Kx36 512x72",  # UG573
    "RAMB18E2": "16Kx1 8Kx2 4Kx4 2Kx9 1Kx18 512x36",
    "BSRAM": "16Kx1 8Kx2 4Kx4 2Kx9 1Kx18 512x36",  # UG285
    "SB_RAM40_4K": "256x16 512x8 1Kx4 2Kx2",
    "M10K": "8Kx1 4Kx2 2Kx5 1Kx10 512x20 256x40",
    "M9K": "8Kx1 4Kx2 2Kx4 1Kx9 512x18 256x36",
}


@pytest.mark.parametrize("name", SHAPES)
def test_blocks_have_the_shapes_of_the_data_sheet(name):
    blocks = [b for f in FAMILIES.values() for b in f.blocks if b.name == name]
    assert len(blocks) == 1
    expected = set()
    for text in SHAPES[name].split():
        depth, width = text.split("x")
        expected.add((int(width), int(depth.replace("K", "")) * (1024 if "K" in depth else 1)))
    assert set(blocks[0].shapes) == expected


@pytest.mark.parametrize(
    "name, part",
    [
        ("xc7z020clg400-1", "xc7z020"),
        ("XCZU3EG-SBVA484-1-E", "xczu3"),
        ("xc7s100fgga484", "xc7s100"),
        ("LFE5UM-45F-8BG381C", "lfe5u-45"),
        ("ice40-hx8k", "hx8k"),
        ("EP4CE22F17C6", "ep4ce22"),
        ("5CSEBA6U23I7", "5cseba6"),
    ],
)
def test_package_and_speed_grade_may_follow(name, part):
    assert find_part(name) is PARTS[part]


@pytest.mark.parametrize("name", ["xc7z01", "xczu48dr", "xc7z0200", "hx8", "", "7serie"])
def test_unknown_parts_are_refused_with_what_is_near(name):
    with pytest.raises(InputError, match="no such part"):
        find_part(name)


# --- mixes worked out by hand ------------------------------------------------------------------

BY_HAND = [
    # family, bits, words, units, LUTs, what
    ("7series", 72, 512, 2, 0, "512x72 exactly"),
    ("7series", 36, 512, 1, 0, "a RAMB18 512x36 exactly"),
    ("7series", 64, 512, 2, 0, "one 512x72"),
    ("7series", 128, 512, 4, 0, "two 512x72: a third of 16 bits would need a block, too"),
    ("7series", 128, 1024, 8, 0, "3 x 1Kx36 and one 1Kx18 hold 126: 2 bits go on"),
    ("7series", 128, 2048, 15, 0, "14 x 2Kx9 hold 126 bits, the last two a RAMB18"),
    ("7series", 128, 4096, 29, 0, "14 x 4Kx9 and 2 bits of a RAMB18 8Kx2"),
    ("7series", 9, 4096, 2, 0, "4Kx9 exactly"),
    ("7series", 1, 32768, 2, 0, "32Kx1 exactly"),
    ("7series", 32, 32, 0, 24, "6 RAM32M: 36 bits of 32 words"),
    ("7series", 6, 64, 0, 8, "2 RAM64M: 6 bits of 64 words"),
    ("7series", 36, 544, 1, 24, "512x36, and 32 words in 6 RAM32M"),
    ("ultrascaleplus", 128, 2048, 15, 0, "as on the 7-series"),
    ("ecp5", 36, 512, 1, 0, "PDPW 512x36"),
    ("ecp5", 128, 2048, 15, 0, "14 x 2Kx9 and 2 bits"),
    ("ice40", 16, 256, 1, 0, "256x16"),
    ("ice40", 128, 2048, 64, 0, "2Kx2: no bit is left over"),
    ("ice40", 8, 768, 2, 0, "512x8, and 256x16 for the rest"),
    ("cyclonev", 40, 256, 1, 0, "256x40"),
    ("cyclonev", 80, 512, 4, 0, "512x20"),
    ("cyclone4", 36, 256, 1, 0, "256x36"),
    ("gowin", 72, 512, 2, 0, "512x36"),
]


@pytest.mark.parametrize("family, bits, words, units, luts, what", BY_HAND)
def test_mix_is_the_one_found_by_hand(family, bits, words, units, luts, what):
    mix = best_mix(FAMILIES[family], bits, words)
    assert (mix.units, mix.luts) == (units, luts), f"{mix.text()}; by hand: {what}"


PAGE = (ROOT / "docs" / "memory.md").read_text()
YOSYS = (ROOT / "tests" / "unit" / "pack" / "device" / "test_memory_yosys.py").read_text()


def lacks(family):
    """What an entry of the table of families still needs."""
    if not any(name in family.parts for name in DATA_SHEETS):
        yield f"DATA_SHEETS: how many blocks a part of {family.name} has, from its data sheet"
    for block in family.blocks:
        if block.name not in SHAPES:
            yield f"SHAPES: those of {block.name}, from the data sheet"
        if not re.search(rf"\b{re.sub('(E[0-9]|_4K)$', '', block.name)}\b", PAGE):
            yield f"docs/memory.md: {block.name} under 'What is chosen'"
    if f"`{family.name}`" not in PAGE:
        yield f"docs/memory.md: `{family.name}` among the families"
    if not any(row[0] == family.name for row in BY_HAND):
        yield f"BY_HAND: a memory in {family.name}, its mix worked out by hand"
    if family.yosys:
        if f'\n    "{family.name}": {{' not in YOSYS:
            yield f"test_memory_yosys.py: BLOCKS of {family.name}, Yosys' names of cells"
        if f'\n    ("{family.name}", ' not in YOSYS:
            yield f"test_memory_yosys.py: what is INFERRED for {family.name}"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_wherever_it_must_be(name):
    assert "\n".join(lacks(FAMILIES[name])) == ""


def test_what_a_new_family_lacks_is_named():
    block = BlockRam("M21K", 20480, ((40, 512), (20, 1024)))
    new = Family("larch", "Larch FPGA", "M21K", (block,), None, 100, 500, "LARCH-1",
                 yosys="synth_larch", parts={"lx66": (2131, 9000, 18000, 40)})  # fmt: skip
    assert list(lacks(new)) == [
        "DATA_SHEETS: how many blocks a part of larch has, from its data sheet",
        "SHAPES: those of M21K, from the data sheet",
        "docs/memory.md: M21K under 'What is chosen'",
        "docs/memory.md: `larch` among the families",
        "BY_HAND: a memory in larch, its mix worked out by hand",
        "test_memory_yosys.py: BLOCKS of larch, Yosys' names of cells",
        "test_memory_yosys.py: what is INFERRED for larch",
    ]


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_found_by_its_name(name):
    assert find_part(name) is find_part(f"{name.upper()}-X") is PARTS[name]
    assert sum(name in family.parts for family in FAMILIES.values()) == 1


# --- the core's memories -----------------------------------------------------------------------


def test_memories_are_those_of_the_core():
    core = Core(16, 2, 8, 8, 2, 128, 1000, 40, 512, 300, narrow=True)
    found = {m.name: (m.width, m.depth, m.copies, m.block) for m in core_memories(core, frames=64)}
    assert found == {
        "program": (32, 128, 1, True),
        "weights": (256, 1000, 1, True),
        "bias": (72, 40, 1, True),
        "table": (8, 512, 2, True),
        "scratchpad": (128, 300, 2, True),
        "frame FIFO": (130, 64, 1, True),
        "output FIFO": (67, 32, 1, False),
        "activation jumps": (14, 16, 1, False),
        "weight jumps": (12, 16, 1, False),
        "result jumps": (10, 16, 1, False),
    }


def test_every_tile_has_a_bank_and_tables_of_its_own():
    """Weights, biases, program and the results' FIFO are one for all."""
    core = Core(16, 2, 8, 8, 2, 128, 1000, 40, 512, 300, narrow=True)
    before = {m.name: m for m in core_memories(core)}
    after = {m.name: m for m in core_memories(replace(core, tiles=4, pairs=True))}
    assert (after["scratchpad"].copies, after["table"].copies) == (8, 8)
    assert after["scratchpad"].net == 4 * before["scratchpad"].net == 8 * 128 * 300
    own = {"scratchpad", "table"}
    assert all(after[name] == memory for name, memory in before.items() if name not in own)


def placed(recipe, folder, device="7series", **options):
    pack(read_recipe(recipe), folder)
    machine = load(folder)
    part = find_part(device)
    return place_bundle(machine.manifest, machine.program, part, part.family, **options)


def test_padding_of_lanes_is_told_from_weights(tmp_path):
    """96-96-64-12 on 16 lanes: 6 x 96 + 4 x 96 + 64 words, the last 64 with 12 of 16 lanes."""
    recipe = write_recipe(tmp_path, "Mlp96", "[core]\nweights_depth = 1200\n")
    placement = placed(recipe, tmp_path / "bundle")
    weights = placement.of("weights")
    assert weights.memory.net == 8 * (96 * 96 + 96 * 64 + 64 * 12)
    assert weights.waste.lanes == 8 * 64 * 4
    assert weights.waste.other == 0
    assert weights.waste.spare == (1200 - 1024) * 128
    w = weights.waste
    wasted = w.lanes + w.other + w.spare + w.width + w.depth
    assert weights.memory.net + wasted == weights.bits


def test_narrow_weights_count_with_their_bits(tmp_path):
    extra = '[quantize.layers]\n"0" = { weight_bits = 4 }\n"2" = { weight_bits = 2 }\n'
    placement = placed(write_recipe(tmp_path, "Mlp96", extra), tmp_path / "bundle")
    assert placement.of("weights").memory.net == 4 * 96 * 96 + 2 * 96 * 64 + 8 * 64 * 12
    assert placement.of("weights").waste.other == 0


def test_time_steps_share_their_weights(tmp_path):
    """Two GRU layers of 12 over 7 inputs, two Linear layers: every step reads the same words."""
    pack(read_recipe(write_recipe(tmp_path, "GruNet")), tmp_path / "bundle")
    machine = load(tmp_path / "bundle")
    use = weight_use(machine.manifest, machine.program)
    assert use.net == 8 * (3 * 12 * (7 + 12) + 3 * 12 * (12 + 12) + 5 * 12 + 4 * 17)
    assert use.net + use.lanes <= use.used


# --- real networks: at least so much of the blocks that hold the weights is weights -------------

REAL = {
    "kws_mlp_dnn_m_arm": 0.96,
    "kws_cnn_m_arm": 0.97,
    "mnist_lenet": 0.94,
    "ad01_autoencoder_mlperf": 0.97,
    "vww_mobilenet_mlperf": 0.97,
    "resnet8_mlperf": 0.93,
    "kws_dscnn_mlperf": 0.79,  # 22,016 weights: half a block is 4 %
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_weights_of_real_networks_fill_their_blocks(name, tmp_path):
    recipe = model_recipe(tmp_path, name, extra="[quantize]\ninput_planes = 1\n")
    weights = placed(recipe, tmp_path / "bundle").of("weights")
    assert weights.memory.net / 8 > 20_000
    assert REAL[name] <= weights.fill <= 1
    without = {"kws_dscnn_mlperf"}
    assert name in without or weights.fill >= (0.86 if weights.memory.net > 800_000 else 0.83)


# --- the command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory") / "bundle"
    pack(read_recipe(DIGITS / "dscnn.toml"), folder)
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["memory", *map(str, arguments)])


def test_json_adds_up(bundle):
    done = run(bundle, "--device", "xc7a35tcpg236-1", "--json", "--frame-depth", 32)
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert (document["device"], document["available"], document["fits"]) == ("xc7a35t", 100, True)
    assert document["units"] == sum(m["units"] for m in document["memories"])
    for memory in document["memories"]:
        pieces = memory["pieces"]
        assert sum(p["bits"] * p["words"] for p in pieces) == memory["bits"] * memory["words"]
        if memory["fill"] is not None:
            wasted = sum(memory["waste_bits"].values())
            assert memory["net_bits"] + wasted == memory["occupied_bits"]
    assert "frame FIFO" in [m["name"] for m in document["memories"]]


def test_a_core_that_does_not_fit_is_exit_code_1(bundle):
    done = run(bundle, "--device", "hx1k")
    assert done.exit_code == 1
    assert "does not fit" in done.stdout


def test_updatemem_takes_no_parity_bits(bundle):
    document = json.loads(run(bundle, "--device", "xc7z020", "--updatemem", "--json").stdout)
    for memory in document["memories"]:
        if memory["name"] in ("program", "weights", "bias"):
            shapes = {tuple(p["shape"]) for p in memory["pieces"]}
            assert shapes <= {(32, 1024), (16, 2048), (8, 4096)}
            assert memory["fill"] <= 8 / 9
    with pytest.raises(InputError, match="updatemem"):
        app(["memory", str(bundle), "--device", "ecp5", "--updatemem"], standalone_mode=False)


@pytest.mark.parametrize(
    "options, match",
    [
        (["--device", "xc9"], "no such part"),
        (["--frame-depth", "24"], "power of two"),
    ],
)
def test_wrong_options_are_named(bundle, options, match):
    with pytest.raises(InputError, match=match):
        app(["memory", str(bundle), *options], standalone_mode=False)


def test_every_family_is_placed_and_listed(bundle):
    listed = run("--devices").stdout
    for name, part in PARTS.items():
        counts = (part.count, part.luts, part.ffs, part.dsps)
        row = r" +".join([name, *(f"{count:,}" for count in counts)])
        assert re.search(rf"^ *{row} *$", listed, re.M)
    for name, family in FAMILIES.items():
        assert f"{name}: " in listed
        done = run(bundle, "--device", name)
        assert done.exit_code == 0
        assert all(note in done.stdout for note in family.notes)


@pytest.mark.parametrize("name", ["Mlp96", "GruNet"])
def test_auto_is_what_the_block_rams_give_for_free(name, tmp_path):
    names = ("weights", "bias", "scratch", "program", "table")
    auto = "".join(f'{m}_depth = "auto"\n' for m in names)
    made = []
    for folder, extra in (("absent", ""), ("auto", f"[core]\n{auto}")):
        recipe = write_recipe(tmp_path / folder, name, extra)
        made.append(pack(read_recipe(recipe), tmp_path / folder / "bundle").manifest)
    needed, free = ({m: getattr(manifest.core, f"{m}_depth") for m in names} for manifest in made)
    assert needed["weights"] == max(2, made[0].image("weights").used)
    assert all(free[m] >= needed[m] for m in names) and free != needed
    assert [i.used for i in made[0].images] == [i.used for i in made[1].images]
    for before, after in zip(*(core_memories(m.core) for m in made), strict=True):
        if before.block:
            mixes = [best_mix(SEVEN, m.width, m.depth) for m in (before, after)]
            assert mixes[1].units <= mixes[0].units and mixes[1].luts <= mixes[0].luts
            assert (after.depth - 1).bit_length() == (before.depth - 1).bit_length()
    if name == "Mlp96":  # 1,024 is full: a row more takes another address bit
        assert free["weights"] == needed["weights"] == 1024


def test_suggestions_keep_tiles_and_pairs_of_the_recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(suggest, "LAYOUTS", ((8, 1), (8, 2)))
    extra = "[core]\ntiles = 2\npairs = true\n"
    recipe = read_recipe(write_recipe(tmp_path, "VggCeil", extra, samples=20))
    part = find_part("xc7a35t")
    for found in suggest.suggest(recipe, part, part.family, None):
        assert (found.candidate.core.tiles, found.candidate.core.pairs) == (2, True)
        assert found.candidate.memories.of("scratchpad").memory.copies in (2, 4)


@pytest.mark.slow
def test_suggestions_are_sorted_and_packed_for_real(bundle):
    """The layout for 16 x 1 is the bundle's; ``room`` takes no more blocks, one row more does."""
    recipe = DIGITS / "dscnn.toml"
    document = json.loads(run(bundle, "--suggest", recipe, "--json").stdout)
    found = document["suggest"]
    assert [v["fill"] for v in found] == sorted((v["fill"] for v in found), reverse=True)
    assert {(v["lanes"], v["taps"]) for v in found} >= {(4, 1), (16, 1), (64, 1), (16, 4)}
    mine = next(v for v in found if (v["lanes"], v["taps"]) == (16, 1))
    machine = load(bundle)
    assert mine["weights_depth"] == machine.core.weights_depth
    weights = next(m for m in document["memories"] if m["name"] == "weights")
    assert mine["fill"] == weights["fill"]
    assert best_mix(SEVEN, 128, mine["room"]).units == weights["units"]
    assert best_mix(SEVEN, 128, mine["room"] + 512).units > weights["units"]
    assert min(v["cycles"] for v in found) < mine["cycles"]


def test_lut_ram_is_cut_by_its_rows():
    ram = LutRam("X", 2, 16, ((4, 16), (2, 32)), 64)
    assert ram.cost(4, 32) == 4  # two cells of 2 x 32
    assert ram.cost(4, 40) == 6  # and one of 4 x 16


@pytest.mark.parametrize("given", ["-3", '"all"', "1.5"])
def test_a_wrong_depth_is_named_by_its_key(given, tmp_path):
    recipe = write_recipe(tmp_path, "Mlp96", f"[core]\nweights_depth = {given}\n")
    with pytest.raises(RecipeError, match=r"recipe.toml: core.weights_depth: Input should be"):
        read_recipe(recipe)
