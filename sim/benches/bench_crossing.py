# SPDX-License-Identifier: Apache-2.0
"""cocotb benches of two clocks: the crossing alone, the core behind it, the reset synchronizer.

tests/cosim/test_crossing.py builds the modules and starts the benches.

    CROSS_BUS_PS, CROSS_CORE_PS  periods; 0: random ones
    AXI_BUNDLES, AXI_FRAMES      as in bench_axi.py
"""

import os
from random import Random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from bramcast.pack.axi.registers import IDENTIFICATION, mask, offset
from bramcast.sim.benches.bench_axi import (
    DECERR,
    LIMIT_MS,
    OKAY,
    Bench,
    Network,
    receive,
    send,
)
from bramcast.sim.benches.unit_benches import get, put, seeded_random

LIMIT = 20_000  # edges that any wait may take


async def clocks(dut, bus, core, rng: Random) -> tuple[int, int]:
    """Start both clocks, the second one at any phase of the first; the periods in ps."""
    periods = [int(os.environ[f"CROSS_{name}_PS"]) for name in ("BUS", "CORE")]
    bus_ps, core_ps = (2 * (p // 2 or rng.randint(1000, 20_000)) for p in periods)
    dut._log.info("periods %d ps and %d ps", bus_ps, core_ps)
    Clock(bus, bus_ps, "ps", impl="gpi").start()
    await Timer(rng.randint(1, core_ps), "ps")
    Clock(core, core_ps, "ps", impl="gpi").start()
    return bus_ps, core_ps


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def every_request_crosses_once(dut):
    """Random requests and answers; resets of the bus, after which nothing foreign is answered."""
    rng = seeded_random()
    put(dut, bus_rst=1, valid_i=0, write_i=0, address_i=0, wdata_i=0, whole_i=0)
    put(dut, done_i=0, rdata_i=0, resp_i=0, irq_i=0)
    await clocks(dut, dut.bus_clk, dut.clk, rng)
    names = ("write_i", "address_i", "wdata_i", "whole_i")
    asked: list[tuple[int, ...]] = []  # by the bus
    heard: list[tuple[int, ...]] = []  # by the core
    given: list[tuple[int, int]] = []  # by the core

    async def core() -> None:
        while True:
            await RisingEdge(dut.clk)
            if not get(dut, "valid_o"):
                continue
            request = tuple(get(dut, n.replace("_i", "_o")) for n in names)
            for _ in range(rng.choice([0, 0, 1, 5])):
                await RisingEdge(dut.clk)
                assert get(dut, "valid_o")
                assert request == tuple(get(dut, n.replace("_i", "_o")) for n in names)
            heard.append(request)
            given.append((rng.getrandbits(32), rng.getrandbits(2)))
            put(dut, done_i=1, rdata_i=given[-1][0], resp_i=given[-1][1])
            await RisingEdge(dut.clk)
            put(dut, done_i=0, rdata_i=rng.getrandbits(32), resp_i=rng.getrandbits(2))
            await RisingEdge(dut.clk)
            assert not get(dut, "valid_o")

    cocotb.start_soon(core())
    for _ in range(4):
        await RisingEdge(dut.bus_clk)
        assert get(dut, "done_o") == 0 and get(dut, "irq_o") in (0, None)
    put(dut, bus_rst=0)
    resets = 0
    for _ in range(200):
        sizes = [len(getattr(dut, n)) for n in names]
        request = tuple(rng.getrandbits(size) for size in sizes)
        put(dut, valid_i=1, **dict(zip(names, request, strict=True)))
        cut = rng.randrange(20) if rng.random() < 0.2 else LIMIT
        for edge in range(LIMIT):
            put(dut, bus_rst=int(edge == cut))
            await RisingEdge(dut.bus_clk)
            if edge == cut:  # it may have been sent before
                resets += 1
                put(dut, valid_i=0, bus_rst=0)
                for _ in range(rng.randint(1, 9)):
                    await RisingEdge(dut.bus_clk)
                    assert not get(dut, "done_o"), "nobody waits for an answer"
                break
            if get(dut, "done_o"):
                answer = get(dut, "rdata_o"), get(dut, "resp_o")
                assert heard[-1] == request and answer == given[-1]
                asked.append(request)
                put(dut, valid_i=0, **{n: rng.getrandbits(8) & 1 for n in names})
                await RisingEdge(dut.bus_clk)
                assert not get(dut, "done_o")
                break
        else:
            raise AssertionError("no answer")
    assert len(heard) == len(given) and len(asked) <= len(heard) <= len(asked) + resets
    assert [r for r in heard if r in set(asked)] == asked
    put(dut, irq_i=1)
    for _ in range(LIMIT):
        await RisingEdge(dut.bus_clk)
        if get(dut, "irq_o"):
            break
    assert get(dut, "irq_o")


class CrossedBench(Bench):
    """The core, the bus' clock its own."""

    async def begin(self, streams: bool = True) -> None:
        dut = self.dut
        put(dut, rst=1, s_axil_rst=1, s_axis_tvalid=0, s_axis_tdata=0, s_axis_tlast=0)
        put(dut, s_axis_tkeep=0, m_axis_tready=0, s_axil_bready=0, s_axil_rready=0)
        put(dut, s_axil_awvalid=0, s_axil_wvalid=0, s_axil_arvalid=0)
        await clocks(dut, dut.s_axil_clk, dut.clk, self.rng)
        await self.cycles(4)
        await self.bus_cycles(4)
        bus = AxiLiteBus.from_prefix(dut, "s_axil")
        self.master = AxiLiteMaster(bus, dut.s_axil_clk, dut.s_axil_rst)
        for part in (self.master.write_if, self.master.read_if):
            part.log.setLevel("ERROR")
        await self.bus_cycles(4)
        order = [("rst", self.bus_cycles), ("s_axil_rst", self.cycles)]
        self.rng.shuffle(order)
        for name, wait in order:
            await wait(self.rng.randint(1, 20))
            put(dut, **{name: 0})
        await self.cycles(4)
        await self.bus_cycles(4)

    async def bus_cycles(self, count: int) -> None:
        for _ in range(count):
            await RisingEdge(self.dut.s_axil_clk)


async def _run(bench: Bench, network: Network, number: int) -> None:
    """A frame: the interrupt comes, and what it left can be read."""
    dut = bench.dut
    assert not get(dut, "irq_o")
    await bench.control("START")
    elements = bench.stored(network.frames[number])
    sender = cocotb.start_soon(send(bench, elements))
    got = await receive(bench, len(network.results[number]), 0.0)
    await sender
    assert got == network.results[number]
    for _ in range(LIMIT):
        await RisingEdge(dut.s_axil_clk)
        if get(dut, "irq_o"):
            break
    assert get(dut, "irq_o")
    await bench.register("FRAMES")  # the others belong to this frame from now on
    assert await bench.register("CYCLES") == network.cycles
    assert await bench.register("CLASS") == int(np.argmax(got))
    assert await bench.register("ERRORS") == 0
    assert await bench.write(offset("STATUS"), mask("STATUS", "DONE")) == OKAY
    for _ in range(LIMIT):
        await RisingEdge(dut.s_axil_clk)
        if not get(dut, "irq_o"):
            break


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def a_network_is_loaded_and_runs_across_clocks(dut):
    """Registers, load, run; then resets of the bus alone, of the core alone, and it runs again."""
    bench, network = CrossedBench(dut), Network(0)
    await bench.begin()
    assert await bench.read(offset("ID")) == (IDENTIFICATION, OKAY)
    assert (await bench.write(offset("ID"), 0)) == DECERR
    assert await bench.register("ERRORS") == mask("ERRORS", "ADDRESS")
    assert await bench.write(offset("ERRORS"), mask("ERRORS", "ADDRESS")) == OKAY
    await bench.software(lambda driver: driver.load(network.path))
    assert await bench.write(offset("INTERRUPT"), mask("INTERRUPT", "DONE")) == OKAY
    await _run(bench, network, 0)
    before = await bench.register("FRAMES")

    # The bus is reset with a request anywhere on its way; the core goes on.
    for _ in range(12):
        put(dut, s_axil_araddr=offset("FRAMES"), s_axil_arvalid=1, s_axil_rready=1)
        await bench.bus_cycles(bench.rng.randint(1, 40))
        put(dut, s_axil_rst=1, s_axil_arvalid=0)
        await bench.bus_cycles(1)
        for _ in range(bench.rng.randint(1, 5)):
            await bench.bus_cycles(1)
            assert not get(dut, "s_axil_rvalid") and not get(dut, "s_axil_bvalid")
            ready = ("s_axil_awready", "s_axil_wready", "s_axil_arready", "irq_o")
            assert not any(get(dut, name) for name in ready)
        put(dut, s_axil_rst=0)
        await bench.bus_cycles(2)
        assert await bench.register("ID") == IDENTIFICATION
        assert await bench.register("FRAMES") == before
    await _run(bench, network, 1)

    # The core is reset while a request is on its way: that is answered, once.
    for _ in range(6):
        reader = cocotb.start_soon(bench.read(offset("ID")))
        await bench.cycles(bench.rng.randint(1, 20))
        put(dut, rst=1)
        await bench.cycles(bench.rng.randint(1, 3))
        put(dut, rst=0)
        assert await reader == (IDENTIFICATION, OKAY)
        assert await bench.register("FRAMES") == 0
    await bench.software(lambda driver: driver.load(network.path))
    assert await bench.write(offset("INTERRUPT"), mask("INTERRUPT", "DONE")) == OKAY
    await _run(bench, network, 2)


@cocotb.test()
async def reset_comes_at_once_and_leaves_with_the_clock(dut):
    """Random edges of aresetn, between those of the clock, and with the clock standing still."""
    rng = seeded_random()
    put(dut, aresetn=1, clk=0)

    async def edge() -> None:
        put(dut, clk=1)
        await Timer(5, "ns")
        put(dut, clk=0)
        await Timer(5, "ns")

    await Timer(1, "ns")
    assert get(dut, "rst_o") == 1, "from the start, before any clock"
    for _ in range(50):
        for left in (1, 0):
            assert get(dut, "rst_o") == 1
            await edge()
            assert get(dut, "rst_o") == left
        for _ in range(rng.randrange(4)):
            await edge()
            assert get(dut, "rst_o") == 0
        put(dut, aresetn=0)
        await Timer(1, "ns")
        assert get(dut, "rst_o") == 1
        for _ in range(rng.randrange(3)):
            await edge()
            assert get(dut, "rst_o") == 1
        put(dut, aresetn=1)
        await Timer(1, "ns")
