// SPDX-License-Identifier: Apache-2.0
// fast_harness: runs frames through the Verilated core (bramcast_core), eval() only.
//
// Started by sim/run/fast.py, which compiles it together with the core. Plusargs:
//
//   +frames=FILE     frames one after another, one element of DATA_BITS (uint8 or uint16) per beat
//   +results=FILE    written: per frame int32 {cycles_o, beats taken, beat 0 .. beat beats_out-1}
//   +beats_in=N      elements of a frame
//   +beats_out=N     beats of a result; beats beyond are counted, missing ones are 0
//   +limit=N         clock cycles after which a frame counts as lost
//   +program= +weights= +bias= +table= +log=    are the core's own (docs/core.md)
//
// The source holds TVALID, the sink TREADY, all the time: the streams run as fast as the core lets
// them. Standard output: "frames N" now and then, at the end "done CLOCK_CYCLES SECONDS". Exit code 2:
// wrong files; 3: a frame was lost, or the core saw TLAST at the wrong beat; the reason is on
// standard error.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "Vbramcast_core.h"
#include "verilated.h"

// What eval() calls after locking and unlocking a mutex, which would cost a third of the time: it
// guards a list of objects that only classes and processes make, and the core has none. Weak: a
// Verilator that gives it another name leaves it null, and eval() is called.
void Vbramcast_core___024root___eval(Vbramcast_core___024root*) __attribute__((weak));

using Seconds = std::chrono::duration<double>;
using Element = std::remove_reference_t<decltype(Vbramcast_core::s_axis_tdata)>;

namespace {

[[noreturn]] void stop(int code, const std::string& reason) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s\n", reason.c_str());
  std::exit(code);
}

std::string argument(VerilatedContext& context, const std::string& name) {
  const std::string found = context.commandArgsPlusMatch((name + "=").c_str());
  if (found.empty()) stop(2, "+" + name + "= is missing");
  return found.substr(name.size() + 2);
}

uint64_t number(VerilatedContext& context, const std::string& name) {
  return std::strtoull(argument(context, name).c_str(), nullptr, 10);
}

std::vector<Element> read_frames(const std::string& path) {
  FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) stop(2, "can't read " + path);
  std::fseek(file, 0, SEEK_END);
  std::vector<Element> elements(static_cast<size_t>(std::ftell(file)) / sizeof(Element));
  std::rewind(file);
  const size_t got = std::fread(elements.data(), sizeof(Element), elements.size(), file);
  if (got != elements.size()) stop(2, "can't read " + path);
  std::fclose(file);
  return elements;
}

}  // namespace

int main(int argc, char** argv) {
  const auto context = std::make_unique<VerilatedContext>();
  context->commandArgs(argc, argv);
  const size_t beats_in = number(*context, "beats_in");
  const size_t beats_out = number(*context, "beats_out");
  const uint64_t limit = number(*context, "limit");
  const std::vector<Element> elements = read_frames(argument(*context, "frames"));
  FILE* const results = std::fopen(argument(*context, "results").c_str(), "wb");
  if (!results) stop(2, "can't write " + argument(*context, "results"));
  const size_t frames = elements.size() / beats_in;

  const auto core = std::make_unique<Vbramcast_core>(context.get());
  core->eval();  // the initial blocks: images, log
  uint64_t clocks = 0;
  const auto evaluate = [&core, root = core->rootp] {
    if (Vbramcast_core___024root___eval) {
      Vbramcast_core___024root___eval(root);
    } else {
      core->eval();
    }
  };
  const auto low = [&] {  // inputs are set: let them settle
    core->clk = 0;
    evaluate();
  };
  const auto high = [&] {  // the edge
    core->clk = 1;
    evaluate();
    ++clocks;
  };

  const auto begin = std::chrono::steady_clock::now();
  auto told = begin;
  core->rst = 1;
  for (int i = 0; i < 4; ++i) low(), high();
  core->rst = 0;
  core->start_i = 1;
  core->m_axis_tready = 1;

  std::vector<int32_t> result(beats_out + 2);
  for (size_t frame = 0; frame < frames; ++frame) {
    const Element* next = elements.data() + frame * beats_in;
    const Element* const end = next + beats_in;
    const uint64_t last_clock = clocks + limit;
    std::fill(result.begin(), result.end(), 0);
    size_t beats = 0;

    core->s_axis_tvalid = 1;
    while (next != end) {
      core->s_axis_tdata = *next;
      core->s_axis_tlast = next + 1 == end;
      low();
      const bool taken = core->s_axis_tready;
      high();
      if (taken) ++next;
      if (clocks > last_clock) stop(3, "frame " + std::to_string(frame) + " was not taken");
    }
    core->s_axis_tvalid = 0;
    do {
      low();
      if (core->m_axis_tvalid) {
        if (beats < beats_out) result[2 + beats] = static_cast<int32_t>(core->m_axis_tdata);
        ++beats;
      }
      high();
      if (clocks > last_clock) stop(3, "frame " + std::to_string(frame) + " gave no result");
    } while (!core->done_o);

    if (core->frame_error_o) stop(3, "frame_error_o: TLAST at the wrong beat");
    result[0] = static_cast<int32_t>(core->cycles_o);
    result[1] = static_cast<int32_t>(beats);
    if (std::fwrite(result.data(), 4, result.size(), results) != result.size()) {
      stop(2, "can't write the results: disk full?");
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - told > std::chrono::milliseconds(100)) {
      told = now;
      std::printf("frames %zu\n", frame + 1);
      std::fflush(stdout);
    }
  }
  for (int i = 0; i < 4; ++i) low(), high();  // the log's last line comes after done_o
  const Seconds spent = std::chrono::steady_clock::now() - begin;
  if (std::fclose(results) != 0) stop(2, "can't write the results: disk full?");
  core->final();
  std::printf("done %llu %.6f\n", static_cast<unsigned long long>(clocks), spent.count());
  return 0;
}
