// SPDX-License-Identifier: Apache-2.0
// bare_loop: the Verilated core and nothing else: the clock toggles, eval() is called. bench/speed.py.
//
// The input stream offers a constant, the output stream is always taken, so the core runs one frame
// after another without any help. +cycles=N clock cycles; the core's own plusargs load the images.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "Vbramcast_core.h"
#include "verilated.h"

int main(int argc, char** argv) {
  const auto context = std::make_unique<VerilatedContext>();
  context->commandArgs(argc, argv);
  const char* const found = context->commandArgsPlusMatch("cycles=");
  const uint64_t cycles = std::strtoull(found + sizeof "+cycles=" - 1, nullptr, 10);
  const auto core = std::make_unique<Vbramcast_core>(context.get());
  core->start_i = 1;
  core->s_axis_tvalid = 1;
  core->s_axis_tdata = 85;
  core->m_axis_tready = 1;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t i = 0; i < cycles; ++i) {
    core->rst = i < 4;
    core->clk = 0;
    core->eval();
    core->clk = 1;
    core->eval();
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
  core->final();
  std::printf("done %llu %.6f\n", static_cast<unsigned long long>(cycles), spent.count());
  return 0;
}
