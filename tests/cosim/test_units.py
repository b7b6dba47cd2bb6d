"""Every module of the core on its own, on both simulators, against its golden twin."""

import os
import random
from pathlib import Path

import pytest

from bramcast.pack.descriptor import Input, Nest, encode_program
from bramcast.sim.runner import build, missing, run

pytestmark = pytest.mark.cosim

UNITS: list[tuple[str, str, dict[str, int | str]]] = [
    ("memory", "memory_is_an_array", {"WORD_BITS": 13, "DEPTH": 20}),
    ("memory", "memory_is_an_array", {"WORD_BITS": 128, "DEPTH": 64}),
    ("table", "table_looks_up_every_lane", {"RQ": 3, "TABLE_DEPTH": 768, "TABLE_BITS": 2}),
    ("table", "table_looks_up_every_lane", {"RQ": 1, "TABLE_DEPTH": 256, "TABLE_BITS": 1}),
    ("requantize", "requantize_matches_golden", {}),
    ("lane", "lane_accumulates_and_keeps_the_maximum", {"DATA_BITS": 8}),
    ("lane", "lane_accumulates_and_keeps_the_maximum", {"DATA_BITS": 16}),
    ("nest", "nest_counts_like_six_for_loops", {}),
    ("address", "address_is_base_plus_steps", {"ADDRESS_BITS": 13}),
    ("address", "address_is_base_plus_steps", {"ADDRESS_BITS": 1}),
    ("coordinate", "coordinate_knows_what_lies_inside", {"PIXEL_LEVEL": 2}),
    ("coordinate", "coordinate_knows_what_lies_inside", {"PIXEL_LEVEL": 3}),
    ("pace", "pace_waits_for_drain_and_room", {"CHUNKS": 8, "FIFO_CHUNKS": 16}),
    ("pace", "pace_waits_for_drain_and_room", {"CHUNKS": 1, "FIFO_CHUNKS": 16}),
    ("pace", "pace_waits_for_drain_and_room", {"CHUNKS": 64, "FIFO_CHUNKS": 128}),
    ("drain", "drain_walks_over_chunks", {"LANES": 16, "RQ": 2}),
    ("drain", "drain_walks_over_chunks", {"LANES": 4, "RQ": 4}),
    ("drain", "drain_walks_over_chunks", {"LANES": 64, "RQ": 1, "BIAS_BITS": 12}),
    ("input", "input_follows_its_descriptor", {"LANES": 8}),
    ("input", "input_follows_its_descriptor", {"LANES": 1, "DATA_BITS": 16}),
    ("assemble", "assemble_puts_lane_0_first", {"LANES": 8, "RQ": 2}),
    ("assemble", "assemble_puts_lane_0_first", {"LANES": 4, "RQ": 4, "DATA_BITS": 16}),
    ("assemble", "assemble_puts_lane_0_first", {"LANES": 4, "RQ": 1}),
    ("assemble", "assemble_puts_lane_0_first", {"LANES": 1, "RQ": 1}),
    ("output", "output_sends_every_lane_once", {"RQ": 2, "FIFO_CHUNKS": 16}),
    ("output", "output_sends_every_lane_once", {"RQ": 1, "FIFO_CHUNKS": 4}),
    ("output", "output_sends_every_lane_once", {"RQ": 8, "FIFO_CHUNKS": 2}),
    ("settings", "settings_hand_over_front_before_back", {"BIAS_BITS": 9, "TABLE_BITS": 2}),
    ("fetch", "fetch_delivers_one_descriptor_ahead", {"PROGRAM_DEPTH": 160}),
]


def _name(unit: object) -> str | None:
    return "_".join(f"{k}{v}" for k, v in unit.items()) if isinstance(unit, dict) else None


def _image(unit: str, parameters: dict[str, int | str], folder: Path) -> Path:
    """What the memory of a unit reads: a table of random numbers or a small program."""
    seed = random.randrange(2**32)
    print(f"image seed {seed}")
    rng = random.Random(seed)
    if unit == "table":
        lines = [f"{rng.randrange(256):02X}" for _ in range(int(parameters["TABLE_DEPTH"]))]
    else:
        nests = [
            Nest(
                counts=tuple(rng.randint(1, 65536) for _ in range(6)),
                act_base=rng.getrandbits(24),
                act_steps=(0, 0, 0, 0, 0, rng.randint(-99, 99)),
                weight_base=rng.getrandbits(24),
                weight_steps=(0, 0, 0, 0, 0, rng.randint(-99, 99)),
                result_base=rng.getrandbits(24),
                result_steps=(0, 0, rng.randint(-99, 99)),
                lo=-128,
                hi=127,
                bias_base=rng.getrandbits(20),
                bias_step=rng.getrandbits(8),
                tail=rng.randint(1, 64),
                stream=last,
                last=last,
            )
            for last in (False, False, True)
        ]
        words = encode_program([Input(rng.randint(1, 99), rng.randint(1, 99), 3), *nests])
        lines = [f"{int(word):08X}" for word in words]
        lines += ["00000000"] * (int(parameters["PROGRAM_DEPTH"]) - len(lines))
    path = folder / "image.mem"
    path.write_text("".join(line + "\n" for line in lines))
    return path


@pytest.mark.parametrize("unit, bench, parameters", UNITS, ids=_name)
@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_module_matches_its_golden_twin(
    simulator: str, unit: str, bench: str, parameters: dict[str, int | str], tmp_path: Path
) -> None:
    reason = missing(simulator)
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    top = f"bramcast_{unit}"
    plusargs: dict[str, object] = {}
    env = {}
    if unit in ("table", "fetch"):
        parameters = {**parameters, "PLUSARG": "image=%s"}
        plusargs["image"] = _image(unit, parameters, tmp_path)
        env["UNIT_IMAGE"] = str(plusargs["image"])
    folder = build(top, parameters, simulator)
    outcome = run(
        folder,
        top,
        simulator,
        "bramcast.sim.unit_benches",
        work=tmp_path,
        plusargs=plusargs,
        env=env,
        testcase=bench,
    )
    outcome.check()
    assert outcome.tests == 1
