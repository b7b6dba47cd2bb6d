// SPDX-License-Identifier: Apache-2.0
// driver_harness: pack/axi/bramcast_driver.c at work on the Verilated bramcast_axi.
//
// The driver's read and write functions become AXI4-Lite transactions with random gaps; a source and a
// sink move frames and results in the background of every clock cycle. tests/cosim/test_driver_c.py
// compiles this together with two networks (network_a.c, network_b.c) and the example of
// docs/axi.md (load_and_classify, network b). Plusargs: +program= +weights= +bias= +table= of network a,
// +frames_a=FILE +frames_b=FILE (elements of ELEMENT_BYTES bytes, the lowest first), +elements_a=N
// +elements_b=N of a frame, +seed=N. Every check that fails ends the run with code 1.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "Vbramcast_axi.h"
#include "bramcast_driver.h"
#include "verilated.h"

extern "C" {
extern const bramcast_network_t network_a, network_b;
int load_and_classify(bramcast_t* core, void (*send_frame)(void), uint32_t* top);
// of network b's first frame: its ledger, and a word that its first nest writes
extern const bramcast_expected_t* const expected_b;
extern const uint32_t nests_b, peek_word, peek_beats, peek_values[];
}

namespace {

std::unique_ptr<VerilatedContext> context;
std::unique_ptr<Vbramcast_axi> top;
std::mt19937 rng;
std::deque<std::pair<uint16_t, bool>> source;  // elements, with TLAST
std::vector<int32_t> results;                 // of the frame that is leaving
uint32_t tuser;
bool complete;
int sink_percent = 80;  // of the cycles, ready
uint32_t waits;         // cycles in which a beat of the packet has waited

bool chance(int percent) { return static_cast<int>(rng() % 100) < percent; }

void check(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "failed: %s\n", what.c_str());
  std::exit(1);
}

std::string argument(const std::string& name) {
  const std::string found = context->commandArgsPlusMatch((name + "=").c_str());
  check(!found.empty(), "+" + name + "= is missing");
  return found.substr(name.size() + 2);
}

// One clock cycle; outputs are those before the edge.
template <typename Look>
void tick(Look look) {
  if (!top->s_axis_tvalid && !source.empty() && chance(80)) {
    top->s_axis_tvalid = 1;
    top->s_axis_tdata = source.front().first;
    top->s_axis_tlast = source.front().second;
  }
  top->m_axis_tready = chance(sink_percent);
  top->clk = 0;
  top->eval();
  const bool taken = top->s_axis_tvalid && top->s_axis_tready;
  waits += top->m_axis_tvalid && !top->m_axis_tready;
  if (top->m_axis_tvalid && top->m_axis_tready) {
    results.push_back(static_cast<int32_t>(top->m_axis_tdata));
    if (top->m_axis_tlast) {
      complete = true;
      tuser = top->m_axis_tuser;
    }
  }
  look();
  top->clk = 1;
  top->eval();
  if (taken) {
    source.pop_front();
    top->s_axis_tvalid = 0;
  }
}

void idle(int most) {
  for (int n = static_cast<int>(rng() % (most + 1)); n > 0; --n) tick([] {});
}

uint32_t bus_read(void*, uint32_t offset) {
  idle(3);
  bool address = false, data = false;
  uint32_t value = 0;
  top->s_axil_araddr = offset;
  for (int cycles = 0; !data; ++cycles) {
    check(cycles < 1000, "a read is never answered");
    top->s_axil_arvalid = !address;
    top->s_axil_rready = chance(60);
    tick([&] {
      if (top->s_axil_arvalid && top->s_axil_arready) address = true;
      if (top->s_axil_rvalid && top->s_axil_rready) {
        data = true;
        value = top->s_axil_rdata;
        check(top->s_axil_rresp == 0, "a read of " + std::to_string(offset) + " is refused");
      }
    });
  }
  top->s_axil_arvalid = 0;
  top->s_axil_rready = 0;
  return value;
}

void bus_write(void*, uint32_t offset, uint32_t value) {
  idle(3);
  bool address = false, data = false, done = false, offered[2] = {false, false};
  top->s_axil_awaddr = offset;
  top->s_axil_wdata = value;
  top->s_axil_wstrb = 15;
  for (int cycles = 0; !done; ++cycles) {
    check(cycles < 1000, "a write is never answered");
    offered[0] = offered[0] || chance(60);
    offered[1] = offered[1] || chance(60);
    top->s_axil_awvalid = offered[0] && !address;
    top->s_axil_wvalid = offered[1] && !data;
    top->s_axil_bready = chance(60);
    tick([&] {
      if (top->s_axil_awvalid && top->s_axil_awready) address = true;
      if (top->s_axil_wvalid && top->s_axil_wready) data = true;
      if (top->s_axil_bvalid && top->s_axil_bready) {
        done = true;
        check(top->s_axil_bresp == 0, "a write to " + std::to_string(offset) + " is refused");
      }
    });
  }
  top->s_axil_awvalid = 0;
  top->s_axil_wvalid = 0;
  top->s_axil_bready = 0;
}

std::vector<uint16_t> frames;  // elements, one frame after another
size_t frame_elements, next_frame;

void open_frames(const std::string& name, size_t elements) {
  FILE* file = std::fopen(argument(name).c_str(), "rb");
  check(file != nullptr, "can't read " + name);
  frames.clear();
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) {
    const int upper = ELEMENT_BYTES == 2 ? std::fgetc(file) : 0;
    frames.push_back(static_cast<uint16_t>(c | upper << 8));
  }
  std::fclose(file);
  frame_elements = elements;
  next_frame = 0;
}

void send_frame() {
  for (size_t i = 0; i < frame_elements; ++i) {
    source.emplace_back(frames.at(next_frame + i), i + 1 == frame_elements);
  }
  next_frame += frame_elements;
  results.clear();
  complete = false;
  waits = 0;
}

void report(const char* name, const bramcast_t& core, uint32_t top_class) {
  check(complete, "TLAST has not come");
  check(source.empty(), "the core has left elements");
  check(tuser == top_class, "TUSER is not the class that the driver reads");
  const bramcast_last_t last = bramcast_last(&core);
  check(last.frames == bramcast_frames(&core) && last.cycles == bramcast_cycles(&core) &&
            last.top == top_class && last.waited == waits,
        "bramcast_last tells of this frame");
  std::printf("%s class %u cycles %u frames %u beats", name, top_class, bramcast_cycles(&core),
              bramcast_frames(&core));
  for (const int32_t beat : results) std::printf(" %d", beat);
  std::printf("\n");
}

void expect(int status, int wanted, const char* what) {
  check(status == wanted, std::string(what) + ": " + bramcast_message(status));
}

}  // namespace

int main(int argc, char** argv) {
  context = std::make_unique<VerilatedContext>();
  context->commandArgs(argc, argv);
  rng.seed(static_cast<unsigned>(std::strtoul(argument("seed").c_str(), nullptr, 10)));
  const size_t elements_a = std::strtoul(argument("elements_a").c_str(), nullptr, 10);
  const size_t elements_b = std::strtoul(argument("elements_b").c_str(), nullptr, 10);
  top = std::make_unique<Vbramcast_axi>(context.get());
  top->rst = 1;
  for (int i = 0; i < 4; ++i) tick([] {});
  top->rst = 0;

  bramcast_t core;
  expect(bramcast_probe(&core, bus_read, bus_write, nullptr), BRAMCAST_OK, "probe");
  expect(bramcast_verify(&core, &network_a), BRAMCAST_OK, "the memories hold network a");
  expect(bramcast_verify(&core, &network_b), BRAMCAST_BAD_CHECKSUM, "they don't hold network b");

  open_frames("frames_a", elements_a);
  while (next_frame < frames.size()) {
    expect(bramcast_start(&core), BRAMCAST_OK, "start");
    send_frame();
    expect(bramcast_wait(&core, 1000000), BRAMCAST_OK, "wait");
    report("a", core, bramcast_class(&core));
  }
  const std::vector<int32_t> answer = results;
  const uint32_t answered = bramcast_frames(&core);
  bramcast_start(&core);
  source.emplace_back(frames.at(0), false);
  source.emplace_back(frames.at(1), true);
  expect(bramcast_wait(&core, 100), BRAMCAST_TIMEOUT, "a short frame has no result");
  check(bramcast_dropped(&core) == 1, "the short frame is counted");
  check(bramcast_errors(&core) == BRAMCAST_ERRORS_SHORT_FRAME_MASK, "... and has its bit");
  next_frame -= frame_elements;
  send_frame();  // START still waits for a whole one
  expect(bramcast_wait(&core, 1000000), BRAMCAST_OK, "the frame behind the short one");
  check(complete && results == answer, "the frame behind the short one has its results");
  check(bramcast_frames(&core) == answered + 1 && bramcast_errors(&core) == 0, "no other trace");

  bramcast_start(&core);
  expect(bramcast_wait(&core, 20), BRAMCAST_TIMEOUT, "without a frame there is no result");

  bramcast_network_t other = network_b;
  other.lanes *= 2;
  expect(bramcast_load(&core, &other), BRAMCAST_OTHER_SHAPE, "other lanes");
  other = network_b;
  other.image[1].words = core.depth[1] + 1;
  expect(bramcast_load(&core, &other), BRAMCAST_TOO_DEEP, "more weights than words");
  other = network_b;
  other.image[2].crc32 ^= 1;
  expect(bramcast_load(&core, &other), BRAMCAST_BAD_CHECKSUM, "another checksum");

  open_frames("frames_b", elements_b);
  uint32_t top_class = 0;
  expect(load_and_classify(&core, send_frame, &top_class), BRAMCAST_OK, "load_and_classify");
  report("b", core, top_class);
  bramcast_difference_t difference;
  expect(bramcast_compare(&core, expected_b, nests_b, &difference), BRAMCAST_OK, "the ledger");
  check(difference.nests == nests_b, "every nest has been compared");
  for (unsigned i = 0; i < BRAMCAST_IMAGE_COUNT; ++i) {
    const bramcast_image_t& image = network_b.image[i];
    for (uint32_t word = 0; word < image.words; ++word) {
      for (uint32_t beat = 0; beat < image.beats; ++beat) {
        check(bramcast_read_beat(&core, i, word, beat) == image.data[word * image.beats + beat],
              "an image reads back as it was written");
      }
    }
  }
  bramcast_run(&core);  // back to back, without a word from software
  while (next_frame < frames.size()) {
    send_frame();
    while (!complete) tick([] {});
    idle(5);
    tick([] {});
    report("b", core, bramcast_class(&core));
  }
  bramcast_stop(&core);
  check(bramcast_errors(&core) == 0, "no error");

  // What ends a run. LIMIT is what bramcast_load has made of the network's cycles.
  check(bus_read(nullptr, BRAMCAST_REG_LIMIT) == network_b.cycles + network_b.cycles / 8 + 1000,
        "LIMIT fits the network");
  const auto begin = [&core] {
    next_frame = 0;
    expect(bramcast_start(&core), BRAMCAST_OK, "start");
    send_frame();
  };
  const auto runs = [&](const char* after) {
    begin();
    expect(bramcast_wait(&core, 1000000), BRAMCAST_OK, after);
    check(complete && tuser == bramcast_class(&core), after);
  };
  const uint32_t limit = bus_read(nullptr, BRAMCAST_REG_LIMIT);
  bus_write(nullptr, BRAMCAST_REG_LIMIT, network_b.cycles / 2);
  begin();
  expect(bramcast_wait(&core, 1000000), BRAMCAST_OVERDUE, "half of the cycles are not enough");
  check(bramcast_errors(&core) == BRAMCAST_ERRORS_TIMEOUT_MASK, "... and have their bit");
  bus_write(nullptr, BRAMCAST_REG_LIMIT, limit);
  runs("behind a run that took too long");

  bus_write(nullptr, BRAMCAST_REG_SINK_LIMIT, 50);
  sink_percent = 0;
  begin();
  expect(bramcast_wait(&core, 1000000), BRAMCAST_SINK, "nobody takes the results");
  check(bramcast_errors(&core) == BRAMCAST_ERRORS_SINK_MASK, "... and that has its bit");
  expect(bramcast_abort(&core), BRAMCAST_STUCK, "a beat that stands must be taken");
  sink_percent = 80;
  expect(bramcast_abort(&core), BRAMCAST_OK, "it has been taken");
  check(complete && (tuser >> 16) == 1, "the packet has its mark");
  bus_write(nullptr, BRAMCAST_REG_SINK_LIMIT, 0);
  runs("behind a sink that slept");

  begin();
  expect(bramcast_reset(&core), BRAMCAST_OK, "reset in the middle of a frame");
  check(source.empty() && bramcast_frames(&core) == 0, "the frame has gone, and FRAMES is 0");
  runs("behind a reset");
  expect(bramcast_start(&core), BRAMCAST_OK, "start");
  source.emplace_back(frames.at(0), false);
  while (!source.empty()) tick([] {});
  expect(bramcast_abort(&core), BRAMCAST_OK, "a frame that never goes on is given up");
  runs("behind a frame that was given up");

  sink_percent = 100;
  runs("once more");
  expect(bramcast_compare(&core, expected_b, nests_b, &difference), BRAMCAST_OK, "the ledger");
  check(!difference.entry.stalled, "no beat has waited");  // of the last nest
  expect(bramcast_compare(&core, expected_b, nests_b - 1, &difference), BRAMCAST_DIFFERS, "one more");
  check(difference.nest == nests_b - 1 && difference.layer == nullptr, "a nest too many");
  std::vector<bramcast_expected_t> longer(expected_b, expected_b + nests_b);
  longer.push_back({0, 0, "none"});
  expect(bramcast_compare(&core, longer.data(), nests_b + 1, &difference), BRAMCAST_DIFFERS, "less");
  check(difference.nest == nests_b && difference.layer == std::string("none"), "a nest is missing");
  ++longer.back().cycles;
  --longer[nests_b - 1].cycles;
  expect(bramcast_compare(&core, longer.data(), nests_b, &difference), BRAMCAST_DIFFERS, "cycles");
  check(difference.nest == nests_b - 1, "other cycles are a difference");
  bramcast_entry_t entry;
  expect(bramcast_ledger(&core, nests_b, &entry), BRAMCAST_NO_ENTRY, "there is no such nest");
  expect(bramcast_ledger(&core, 0, &entry), BRAMCAST_OK, "there is a first one");
  check(entry.crc32 == expected_b[0].crc32 && entry.cycles == expected_b[0].cycles, "... and right");

  bramcast_stop_after(&core, 1);
  begin();
  expect(bramcast_wait_stopped(&core, 1000000), BRAMCAST_OK, "it holds behind the first nest");
  for (uint32_t beat = 0; beat < peek_beats; ++beat) {
    check(bramcast_peek(&core, peek_word, beat) == peek_values[beat], "what that nest wrote");
  }
  bramcast_stop_after(&core, 0);
  expect(bramcast_wait(&core, 1000000), BRAMCAST_OK, "it goes on");
  expect(bramcast_compare(&core, expected_b, nests_b, &difference), BRAMCAST_OK, "... and is right");

  const bramcast_image_t& weights = network_b.image[1];
  for (uint32_t i = 0; i < weights.words * weights.beats; ++i) {  // a lane has other weights
    const uint32_t beat = i % weights.beats;
    bramcast_write_beat(&core, 1, i / weights.beats, beat, weights.data[i] ^ (beat ? 0 : 0x40));
  }
  const uint32_t valid = bus_read(nullptr, BRAMCAST_REG_VALID);
  bus_write(nullptr, BRAMCAST_REG_VALID, valid | BRAMCAST_VALID_WEIGHTS_MASK);
  runs("with wrong weights");
  expect(bramcast_compare(&core, expected_b, nests_b, &difference), BRAMCAST_DIFFERS, "wrong weights");
  check(difference.nest == 0 && difference.layer == std::string(expected_b[0].layer), "in layer 0");
  check(difference.entry.crc32 != expected_b[0].crc32, "by its CRC");
  sink_percent = 80;

  bramcast_write_beat(&core, 0, 0, 0, 0);  // the program's first word
  expect(bramcast_start(&core), BRAMCAST_NOT_LOADED, "the program is not valid any more");
  bus_write(nullptr, BRAMCAST_REG_VALID, BRAMCAST_VALID_PROGRAM_MASK | bus_read(nullptr, BRAMCAST_REG_VALID));
  expect(bramcast_start(&core), BRAMCAST_OK, "start");
  expect(bramcast_wait(&core, 100), BRAMCAST_BAD_PROGRAM, "a program that is none");
  expect(bramcast_load(&core, &network_a), BRAMCAST_OK, "network a again");
  bramcast_lock(&core);
  expect(bramcast_load(&core, &network_b), BRAMCAST_SEALED, "the images are locked");
  expect(bramcast_verify(&core, &network_a), BRAMCAST_OK, "... and can be verified");
  std::printf("done\n");
  return 0;
}
