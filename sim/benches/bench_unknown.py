# SPDX-License-Identifier: Apache-2.0
"""cocotb benches about X, for tests/cosim/test_unknown.py: Icarus starts every register with X.

What a module shows is looked at in every cycle from the reset's end on. The environment is that of
bench_axi, and:

    UNKNOWN_RESETS  how many resets come at random cycles
"""

import os
import re

import cocotb
from cocotb.task import Task
from cocotb.triggers import Combine, FallingEdge, RisingEdge, with_timeout

from bramcast.hw import sources
from bramcast.pack.axi.registers import REGISTERS
from bramcast.sim.benches.bench_axi import (
    CLOCK_NS,
    LIMIT_MS,
    Bench,
    Network,
    check_frames,
    receive,
    send,
)
from bramcast.sim.benches.unit_benches import put, seeded_random

# The outputs that mean something while another one is high only.
BESIDE = {
    "m_axis_tdata": "m_axis_tvalid",
    "m_axis_tlast": "m_axis_tvalid",
    "m_axis_tuser": "m_axis_tvalid",
    "s_axil_bresp": "s_axil_bvalid",
    "s_axil_rresp": "s_axil_rvalid",
    "s_axil_rdata": "s_axil_rvalid",
}

THERE = [register.name for register in REGISTERS if not register.needs]


def output_ports(top: str) -> list[str]:
    """The outputs of a module of hw/, as its text has them."""
    text = next(path for path in sources() if path.stem == top).read_text()
    return re.findall(r"^ *output +logic *(?:\[[^\]]*\])? *(\w+)", text, re.MULTILINE)


async def watch(dut, top: str) -> None:
    """Fail at the first X that leaves ``top``, from the third cycle of the first reset on."""
    names = output_ports(top)
    assert {"s_axis_tready", "m_axis_tvalid", "m_axis_tdata"} <= set(names)
    ports = [(name, getattr(dut, name), BESIDE.get(name)) for name in names]
    cycle = in_reset = 0
    while True:
        await RisingEdge(dut.clk)
        cycle += 1
        in_reset += int(in_reset < 3 and dut.rst.value == 1)
        if in_reset < 3:  # the first reset sets all that it ever sets
            continue
        for name, port, beside in ports:
            if beside is None or getattr(dut, beside).value == 1:
                assert port.value.is_resolvable, f"cycle {cycle}: {name} is {port.value}"


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def no_x_leaves_the_slave(dut):
    """Frames at full speed and with gaps everywhere; every register is read."""
    bench = Bench(dut)
    network = Network(0)
    cocotb.start_soon(watch(dut, "bramcast_axi"))
    await bench.begin()
    for name in THERE:
        await bench.register(name)
    await check_frames(bench, network, 2, timed=True)
    bench.randomize(0.3)
    await bench.software(lambda driver: driver.start())
    assert await bench.frame(network.frames[2], network.limit) == network.results[2]
    for name in THERE:
        await bench.register(name)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def no_x_leaves_the_core(dut):
    """The core without a bus: two frames back to back, gaps on both sides."""
    rng = seeded_random()
    network = Network(0)
    cocotb.start_soon(watch(dut, "bramcast_sim_top"))
    put(dut, start_i=1, s_axis_tvalid=0, s_axis_tdata=0, s_axis_tlast=0, m_axis_tready=0)
    await FallingEdge(dut.rst)
    mask = (1 << len(dut.s_axis_tdata)) - 1

    async def give() -> None:
        for frame in network.frames[:2]:
            for number, element in enumerate(frame):
                while rng.random() < 0.2:
                    await RisingEdge(dut.clk)
                last = int(number == len(frame) - 1)
                put(dut, s_axis_tvalid=1, s_axis_tdata=int(element) & mask, s_axis_tlast=last)
                await RisingEdge(dut.clk)
                while dut.s_axis_tready.value != 1:
                    await RisingEdge(dut.clk)
                put(dut, s_axis_tvalid=0)

    async def take() -> None:
        for expected in network.results[:2]:
            got: list[int] = []
            while len(got) < len(expected):
                put(dut, m_axis_tready=int(rng.random() < 0.7))
                await RisingEdge(dut.clk)
                if dut.m_axis_tready.value == 1 and dut.m_axis_tvalid.value == 1:
                    value = int(dut.m_axis_tdata.value)
                    got.append(value - (1 << 32) if value >> 31 else value)
            assert got == expected

    work = Combine(cocotb.start_soon(give()), cocotb.start_soon(take()))
    await with_timeout(work, 2 * network.limit * CLOCK_NS, "ns")


@cocotb.test(timeout_time=10 * LIMIT_MS, timeout_unit="ms")
async def after_a_reset_in_any_cycle_the_next_result_is_right(dut):
    """A reset in a random cycle of a frame; the next frame is right and takes its cycles."""
    bench = Bench(dut)
    network = Network(0)
    rng = bench.rng
    cocotb.start_soon(watch(dut, "bramcast_axi"))
    await bench.begin(streams=False)
    frames = [bench.stored(frame) for frame in network.frames]
    count = len(network.results[0])
    longest = 80 + len(frames[0]) + network.cycles + 2 * count
    for number in range(int(os.environ["UNKNOWN_RESETS"])):
        await bench.control("RUN")
        working: list[Task[object]] = [
            cocotb.start_soon(send(bench, frames[number % len(frames)])),
            cocotb.start_soon(receive(bench, count, 0.5)),
        ]
        delay = rng.randint(0, longest)
        await bench.cycles(delay)
        put(dut, rst=1)
        for task in working:
            task.cancel()
        put(dut, s_axis_tvalid=0, m_axis_tready=0)
        await bench.cycles(rng.randint(1, 2))
        put(dut, rst=0)
        await bench.cycles(2)
        await bench.control("START")
        which = rng.randrange(len(frames))
        sender = cocotb.start_soon(send(bench, frames[which]))
        taker = cocotb.start_soon(receive(bench, count, 0.0))
        await with_timeout(Combine(sender, taker), network.limit * CLOCK_NS, "ns")
        told = f"reset {number}, after {delay} cycles"
        assert taker.result() == network.results[which], told
        await bench.until("STATUS", "DONE", True)
        assert await bench.register("FRAMES") == 1, told
        assert await bench.register("CYCLES") == network.cycles, told
