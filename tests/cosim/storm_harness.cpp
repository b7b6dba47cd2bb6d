// SPDX-License-Identifier: Apache-2.0
// storm_harness: frames, aborts, limits and resets at random times on the Verilated bramcast_axi.
//
// tests/cosim/test_storm.py compiles it (storm.vlt shows it the core's ports) and writes what golden
// says of some frames. Plusargs:
//
//   +samples=FILE    int32: per frame its elements, stored bits, then its beats
//   +elements=N +beats=N +count=N   of a frame, of its result, frames in the file
//   +cycles=N        of a frame, as golden predicts
//   +borders=0|1     TLAST_ENDS
//   +frames=N        frames to send
//   +seed=N
//   +program= +weights= +bias=      the core's own
//
// In every clock cycle (tick) both streams and the bus are held to their rules, and what leaves the core is
// compared: a packet without the mark is golden's answer to the oldest whole frame that is not answered, a packet
// that is cut has TLAST and the mark, a frame whose beats never waited took `cycles`, and something moves as long as
// source and sink are willing. An abort is looked for inside (`abort`), as the bus does not tell its cycle;
// each one must have a cause: a write to CONTROL, or a limit by this harness' own count.
//
// Standard output: what happened how often. The first check that fails ends the run with code 1, and tells
// cycle and seed on standard error.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "Vbramcast_axi.h"
#include "Vbramcast_axi___024root.h"
#include "verilated.h"

namespace {

// docs/axi.md
enum Register : uint32_t {
  ID = 0x00, CONTROL = 0x40, STATUS = 0x44, ERRORS = 0x48, CYCLES = 0x4C, FRAMES = 0x50, CLASS = 0x54,
  DROPPED = 0x5C, LIMIT = 0x74, SINK_LIMIT = 0x78, WAITED = 0x7C
};
constexpr uint32_t RUN = 1, START = 2, RESET = 4, ABORT = 8;                  // CONTROL
constexpr uint32_t BUSY = 1, READY = 4, ABORTING = 1 << 6, RUNNING = 1 << 8;  // STATUS
constexpr uint32_t SHORT = 1, LOCKED = 2, LONG = 1 << 5, TIMEOUT = 1 << 6, SINK = 1 << 8;  // ERRORS
constexpr uint32_t NAME = 0x434D5242;

constexpr int SPARE = 200;       // cycles without progress beside those of a frame: the descriptors' fetch
constexpr int LEAST = 5;         // cycles of an abort that waits for nobody
constexpr int LATE = 6;          // cycles between a limit and its abort, at most
constexpr int LOOSE = 40;        // ... where the limit has been written in the middle of the run
constexpr long ENOUGH = 1000000; // cycles of any wait

struct Element {
  uint32_t value;
  bool last;
};
struct Sample {
  std::vector<uint32_t> elements;
  std::vector<int32_t> beats;
  uint32_t top;
};
struct Told {  // what the registers say of a frame
  uint32_t cycles, top, waited;
  bool sure;  // WAITED is known
};
struct Beat {
  uint32_t data;
  bool last;
  uint32_t user;
  bool operator==(const Beat& b) const { return data == b.data && last == b.last && user == b.user; }
};

std::unique_ptr<VerilatedContext> context;
std::unique_ptr<Vbramcast_axi> top;
std::mt19937 rng;
unsigned long seed;
long now;
std::vector<Sample> samples;
size_t size, beats_out;
uint32_t predicted;
bool borders;
std::map<std::string, long> happened;

uint32_t below(uint32_t n) { return n ? rng() % n : 0; }
bool chance(double p) { return (rng() >> 8) * (1.0 / (1 << 24)) < p; }
template <typename T>
T pick(std::initializer_list<T> of) {
  return *(of.begin() + below(of.size()));
}

[[noreturn]] void fail(const std::string& what) {
  std::fflush(stdout);
  std::fprintf(stderr, "failed: %s (cycle %ld, SEED=%lu)\n", what.c_str(), now, seed);
  std::_Exit(1);
}
void check(bool good, const char* what) {
  if (!good) fail(what);
}

// ------------------------------------------------------------------------------ what both sides do

double offer = 1, take = 1;        // chance of a cycle
int source_sleep, sink_sleep;      // cycles
bool naps;                         // either may sleep now and then
int reset_in = -1, reset_left;     // cycles to rst, cycles of it
bool reset_restarts;               // the source begins anew behind it
std::deque<Element> source;
bool offered;
long sent;
uint32_t latest;                   // sample that was sent last

// ------------------------------------------------------------------------------ what must be so

struct Whole {
  uint32_t sample;
};
std::deque<Whole> due;              // whole frames that are not answered
std::vector<uint32_t> begun;        // elements of the frame that is coming; of a long one the first size + 1
std::vector<int32_t> packet;
std::optional<Beat> held;
uint32_t waits;                     // cycles in which a beat of this packet waited
bool was_abort, was_aborting, was_done, was_running, was_reset = true;
Told ended;                         // of the packet behind which done comes
bool gone;                          // the rest of a frame is given up: nothing is taken
bool helped;                        // both sides have done all to end the abort
long length, left, quick;           // of the abort; elements it had to take; since it was given up
bool standing_end;                  // a beat with TLAST stood when the abort came
bool run, start, lenient;           // CONTROL; lenient: not known
bool resetting;                     // this abort is RESET's
uint32_t frames, dropped, errors, unsure;
uint32_t limit, sink_limit, ran, waited;
bool loose, sink_loose;             // the limit was written in this run
std::map<uint32_t, Told> history;   // by FRAMES
Told last_told;
long quiet;                         // cycles in which something should have moved
long epoch;                         // resets and aborts so far
long resets;
bool write_open;                    // a write is on the bus
uint32_t write_address, write_value, write_pulses;
bool write_whole;
bool b_held, r_held;
uint32_t r_data;
uint8_t b_resp, r_resp;

bool control_open() { return write_open && write_address == CONTROL; }

long remaining() {
  if (begun.empty()) return 0;
  long n = 1;
  for (const Element& e : source) {
    if (e.last) return n;
    ++n;
  }
  return n;
}

void realign() {  // the source begins a frame anew
  if (source.empty()) return;
  size_t drop = 0;
  if (borders) {
    while (drop < source.size() && !source[drop].last) ++drop;
    ++drop;
  } else {
    drop = source.size() % size;
  }
  if (drop) offered = false;
  source.erase(source.begin(), source.begin() + std::min(drop, source.size()));
}

void accepted(bool aborting, bool abort) {
  check(!gone, "an element is taken that was given up");
  if (begun.empty() && !abort && !aborting && !was_aborting) {
    check(run || start || lenient || control_open(), "a frame begins without RUN and START");
  }
  const Element e = source.front();
  source.pop_front();
  offered = false;
  if (begun.size() <= size) begun.push_back(e.value);
  const bool end = begun.size() == size;
  const bool over = borders ? e.last : end;
  if (!(aborting && was_aborting)) {
    if (over && begun.size() < size) errors |= SHORT;
    if (end && !over) errors |= LONG;
  }
  if (!over) return;
  if (aborting) {
    begun.clear();
    return;
  }
  if (end) {
    uint32_t n = 0;
    while (n < samples.size() && samples[n].elements != begun) ++n;
    check(n < samples.size(), "the harness has sent a whole frame that is no sample");
    due.push_back({n});
    ++happened["taken"];
    if (control_open()) write_whole = true;
    if (start && !run) ++happened["started"];
    start = false;
  } else {
    ++happened[begun.size() < size ? "short" : "long"];
    ++dropped;
  }
  begun.clear();
}

void results(bool ready, bool aborting, bool abort) {
  const Beat beat{top->m_axis_tdata, bool(top->m_axis_tlast), top->m_axis_tuser};
  if (!top->m_axis_tvalid) {
    check(!held, "a beat that waits must stay");
    return;
  }
  check(!held || *held == beat, "a beat that waits must not change");
  held.reset();
  if (!ready) {
    held = beat;
    ++waits;
    return;
  }
  packet.push_back(static_cast<int32_t>(beat.data));
  if (!beat.last) {
    check(!(beat.user >> 16), "a mark without TLAST");
    check(packet.size() < beats_out, "a packet has no end");
    return;
  }
  if (beat.user >> 16) {
    check(aborting, "a mark without an abort");
    check(beat.data == 0 && packet.size() > 1, "a mark is one beat more, 0");
    check(!due.empty(), "a marked packet without a frame");
    packet.pop_back();
    const Sample& s = samples[due.front().sample];
    check(packet.size() < beats_out, "a whole packet with a mark");
    check(std::equal(packet.begin(), packet.end(), s.beats.begin()), "a marked packet has other beats");
    ++happened["marked"];
  } else {
    check(!due.empty(), "a packet that nobody has asked for");
    const Sample& s = samples[due.front().sample];
    check(packet == s.beats, "a packet is not the result of the oldest frame");
    check(beat.user == s.top, "TUSER is not the class");
    due.pop_front();
    was_done = true;
    const bool writes = write_open && write_address == SINK_LIMIT;  // begins WAITED anew
    ended = {0, s.top, waits, !aborting && !sink_loose && !writes};
    ++happened["whole"];
    if (aborting) ++happened["whole in an abort"];
    if (abort) ++happened["whole beside an abort"];
  }
  packet.clear();
  waits = 0;
}

void finished(uint32_t cycles, uint32_t class_index) {
  ended.cycles = cycles;
  check(class_index == ended.top, "class_o is another one");
  check(cycles >= predicted, "a frame took fewer cycles than predicted");
  check(cycles <= predicted + ended.waited, "a frame took more cycles than predicted");
  if (!ended.waited) ++happened["timed"];
  if (!resetting) ++frames;
  history[frames] = last_told = ended;
}

void model_reset() {
  if (borders ? reset_restarts && !begun.empty() : source.size() % size != 0) realign();
  if (!packet.empty()) ++happened["packets cut by rst"];
  if (!begun.empty()) ++happened["frames cut by rst"];
  due.clear(), begun.clear(), packet.clear(), held.reset();
  was_abort = was_aborting = was_done = was_running = gone = run = start = lenient = resetting = false;
  waits = frames = dropped = errors = unsure = sink_limit = ran = waited = 0;
  limit = 1u << 27;
  loose = sink_loose = false;
  history.clear();
  history[0] = last_told = {0, 0, 0, true};
  quiet = 0;
  b_held = r_held = false;
  write_open = false;
  ++epoch, ++resets;
  ++happened["rst"];
}

void limits(bool running, bool abort, bool stall) {
  if (!was_running) {  // the abort of a run's last cycle comes behind it
    ran = waited = 0;
    if (!running) loose = sink_loose = false;
  } else if (running) {
    if (stall) ++waited;
    else ++ran;
    const uint32_t late = LATE + (loose ? LOOSE : 0), sink_late = LATE + (sink_loose ? LOOSE : 0);
    const bool writes = write_open && (write_address == LIMIT || write_address == SINK_LIMIT);
    if (!abort && !writes) {
      check(!limit || ran <= limit + late, "LIMIT does not end a run");
      check(!sink_limit || waited <= sink_limit + sink_late, "SINK_LIMIT does not end a run");
    }
  }
}

void aborted(bool aborting) {
  ++happened["aborts"];
  if (aborting) ++happened["second aborts"];
  ++epoch;
  const uint32_t early = loose ? LOOSE : 0, sink_early = sink_loose ? LOOSE : 0;
  const bool by_limit = limit && ran + early >= limit;
  const bool by_sink = sink_limit && waited + sink_early >= sink_limit;
  const bool writes = write_open && (write_address == LIMIT || write_address == SINK_LIMIT);
  if (control_open() && (write_value & (ABORT | RESET))) {
    ++write_pulses;
    if (write_value & RESET) resetting = true;
    if (by_limit || by_sink) unsure |= TIMEOUT | SINK;  // maybe in the same cycle
  } else {
    check(!aborting, "an abort beside an abort without a cause");
    check(by_limit || by_sink || writes, "an abort without a cause");
    if (by_limit) ++happened["timeouts"];
    if (by_sink) ++happened["sinks"];
    if (by_limit != by_sink && !writes) errors |= by_limit ? TIMEOUT : SINK;
    else unsure |= TIMEOUT | SINK;
    if (control_open()) lenient = true;
  }
  run = start = false;
}

void abort_ends() {
  check(packet.empty() && !held, "an abort ends with an open packet");
  check(begun.empty(), "an abort ends in the middle of a frame");
  if (helped) check(length <= std::max<long>(LEAST, left + 2), "an abort takes too long");
  if (helped) ++happened["timed aborts"];
  happened["lost"] += due.size();
  due.clear();
  waits = 0;
  if (gone && !borders) {
    const size_t drop = source.size() % size;
    if (drop) realign();
  }
  gone = false;
  if (resetting) {
    frames = dropped = errors = unsure = 0;
    history.clear();
    history[0] = last_told;
  }
  resetting = false;
}

// One clock cycle; outputs are those before the edge.
template <typename Look>
void tick(Look look) {
  ++now;
  if (reset_in >= 0 && reset_in-- == 0) reset_left = 1 + below(3);
  const bool rst = reset_left > 0;
  if (naps && !source_sleep && chance(0.002)) source_sleep = below(200);
  if (naps && !sink_sleep && chance(0.002)) sink_sleep = below(400);
  const bool ready = sink_sleep ? (--sink_sleep, false) : chance(take);
  const bool awake = source_sleep ? (--source_sleep, false) : chance(offer);
  offered = !source.empty() && (offered || awake) && !(rst && was_reset);
  top->rst = rst;
  top->m_axis_tready = ready;
  top->s_axis_tvalid = offered;
  if (offered) {
    top->s_axis_tdata = source.front().value;
    top->s_axis_tlast = source.front().last;
  } else {
    top->s_axis_tdata = rng() & 0xFF;
    top->s_axis_tlast = rng() & 1;
  }
  top->clk = 0;
  top->eval();

  const auto* inside = top->rootp;
  const bool abort = inside->bramcast_axi__DOT__abort;
  const bool aborting = inside->bramcast_axi__DOT__aborting;
  const bool running = inside->bramcast_axi__DOT__running;
  const bool done = inside->bramcast_axi__DOT__done;
  if (was_reset) {
    check(!top->m_axis_tvalid && !top->s_axis_tready, "a stream's output is high behind rst");
    check(!top->s_axil_bvalid && !top->s_axil_rvalid, "a bus output is high behind rst");
    check(!abort && !aborting && !running && !done, "the core works behind rst");
  }
  if (was_abort) check(aborting, "an abort does not begin");
  else if (!was_aborting) check(!aborting, "aborting without an abort");
  if (was_aborting && !aborting) abort_ends();
  if (aborting && !was_aborting) length = quick = 0, helped = true;
  check(done == was_done, "done_o comes in the cycle behind a whole packet");
  if (done) finished(inside->bramcast_axi__DOT__cycles, inside->bramcast_axi__DOT__class_index);
  was_done = false;
  limits(running, abort, top->m_axis_tvalid && !ready);
  if (abort) aborted(aborting);
  if (aborting) {
    ++length;
    helped = helped && ready && (offered || begun.empty());
  }

  const bool moves = (top->m_axis_tvalid && ready) || (offered && top->s_axis_tready);
  const bool input = offered && ((run || start) || !begun.empty());
  const bool willing = ready && (aborting ? begun.empty() || offered : input || !due.empty());
  if (moves || rst) quiet = 0;
  else if (willing && !lenient) ++quiet;
  if (quiet > long(predicted) + SPARE) fail(aborting ? "it hangs in an abort" : "it hangs");

  results(ready, aborting, abort);
  if (offered && top->s_axis_tready) accepted(aborting, abort);
  if (aborting && (abort || !borders)) {
    if (!begun.empty()) ++happened["given up"];
    begun.clear();
    gone = true;
    helped = helped && !abort;
    if (abort) quick = 1;
  }
  if (quick && ready) check(quick++ <= LEAST + 1, "an abort that gives up takes too long");
  if (aborting && !was_aborting) left = remaining();
  if (!aborting) quick = 0;

  if (b_held) check(top->s_axil_bvalid && top->s_axil_bresp == b_resp, "B must stay");
  if (r_held) {
    check(top->s_axil_rvalid && top->s_axil_rresp == r_resp && top->s_axil_rdata == r_data, "R must stay");
  }
  b_held = top->s_axil_bvalid && !top->s_axil_bready;
  r_held = top->s_axil_rvalid && !top->s_axil_rready;
  b_resp = top->s_axil_bresp, r_resp = top->s_axil_rresp, r_data = top->s_axil_rdata;

  look();
  was_abort = abort, was_aborting = aborting, was_running = running;
  top->clk = 1;
  top->eval();
  was_reset = rst;
  if (rst) {
    --reset_left;
    model_reset();
  }
}
void tick() {
  tick([] {});
}

// ------------------------------------------------------------------------------ the bus

// All three give up where rst comes: false, or nothing.
std::optional<uint32_t> read(uint32_t offset, uint8_t* response = nullptr) {
  const long before = resets;
  bool address = false, data = false;
  uint32_t value = 0;
  uint8_t resp = 0;
  for (int n = below(3); n > 0; --n) tick();
  top->s_axil_araddr = offset;
  for (int cycles = 0; !data && resets == before; ++cycles) {
    check(cycles < 1000, "a read is never answered");
    top->s_axil_arvalid = !address;
    top->s_axil_rready = chance(0.7);
    tick([&] {
      if (top->s_axil_arvalid && top->s_axil_arready) address = true;
      if (top->s_axil_rvalid && top->s_axil_rready) {
        data = true;
        value = top->s_axil_rdata;
        resp = top->s_axil_rresp;
      }
    });
  }
  top->s_axil_arvalid = 0;
  top->s_axil_rready = 0;
  if (resets != before) return std::nullopt;
  if (response) *response = resp;
  else check(resp == 0, "a read is refused");
  return value;
}

// Behind the write: what the harness knows of the register.
void written() {
  if (write_address == CONTROL) {
    if (write_value & (ABORT | RESET)) {
      check(write_pulses > 0, "ABORT does not abort");
      run = start = lenient = false;
      ++happened[write_value & RESET ? "RESET" : "ABORT"];
    } else if (write_pulses == 0 && !lenient && write_whole && (write_value & START)) {
      lenient = true;  // START has fallen, or not
      run = write_value & RUN;
      start = true;
    } else {
      run = write_value & RUN;
      start = write_value & START;
    }
  }
  if (write_address == LIMIT) limit = write_value, ran = 0, loose = true;
  if (write_address == SINK_LIMIT) sink_limit = write_value, waited = 0, sink_loose = true;
  if (write_address == ERRORS) errors &= ~write_value;
}

bool write(uint32_t offset, uint32_t value) {
  const long before = resets;
  bool address = false, data = false, done = false, offers[2] = {false, false}, seen = false;
  for (int n = below(3); n > 0; --n) tick();
  if (resets != before) return false;
  top->s_axil_awaddr = write_address = offset;
  top->s_axil_wdata = write_value = value;
  top->s_axil_wstrb = 15;
  write_pulses = 0;
  write_whole = false;
  write_open = true;
  if (offset == CONTROL && !(value & (ABORT | RESET))) lenient = false;
  for (int cycles = 0; !done && resets == before; ++cycles) {
    check(cycles < 1000, "a write is never answered");
    offers[0] = offers[0] || chance(0.7);
    offers[1] = offers[1] || chance(0.7);
    top->s_axil_awvalid = offers[0] && !address;
    top->s_axil_wvalid = offers[1] && !data;
    top->s_axil_bready = chance(0.7);
    tick([&] {
      if (top->s_axil_awvalid && top->s_axil_awready) address = true;
      if (top->s_axil_wvalid && top->s_axil_wready) data = true;
      if (top->s_axil_bvalid && !seen && write_open) {
        seen = true;
        check(top->s_axil_bresp == 0, "a write is refused");
        written();
        write_open = false;
      }
      if (top->s_axil_bvalid && top->s_axil_bready) done = true;
    });
  }
  top->s_axil_awvalid = top->s_axil_wvalid = top->s_axil_bready = 0;
  return resets == before;
}

// FRAMES and what it keeps; `exactly`: nothing is in work.
void snapshot(bool exactly = false) {
  const long before = epoch;
  const uint32_t least = frames;
  if ((was_abort || was_aborting) && !exactly) return;
  const auto number = read(FRAMES);
  const uint32_t most = frames;
  const auto cycles = read(CYCLES), class_index = read(CLASS), waiting = read(WAITED);
  if (epoch != before || !waiting || !cycles || !class_index) return;
  check(*number >= least && *number <= most, "FRAMES counts other frames");
  check(history.count(*number), "FRAMES");
  const Told& told = history[*number];
  check(*cycles == told.cycles, "CYCLES is of another frame than FRAMES");
  check(*class_index == told.top, "CLASS is of another frame than FRAMES");
  check(*waiting == told.waited || !told.sure, "WAITED is of another frame than FRAMES");
  ++happened["snapshots"];
}

void look_around() {
  switch (below(6)) {
    case 0: {
      const auto name = read(ID);
      check(!name || *name == NAME, "ID");
      break;
    }
    case 1: {
      const long before = epoch;
      const bool aborting = was_abort || was_aborting;
      const auto status = read(STATUS);
      if (!status || epoch != before || aborting || was_aborting) break;
      check(!(*status & ABORTING), "STATUS.ABORTING without an abort");
      break;
    }
    case 2: {
      uint8_t resp = 0;
      read(2u << 12, &resp);  // a weight: refused while LOCKED
      check(resp == 0 || resp == 2, "a read of a weight");
      break;
    }
    case 3: {
      const long before = epoch;
      const bool r = run, s = start, l = lenient;
      const long taken = happened["taken"];
      const auto control = read(CONTROL);
      if (!control || epoch != before || l || lenient) break;
      check(bool(*control & RUN) == r, "CONTROL.RUN");
      check(bool(*control & START) == s || happened["taken"] != taken, "CONTROL.START");
      break;
    }
    default:
      snapshot();
  }
}

// ------------------------------------------------------------------------------ what is done

void push(const std::vector<uint32_t>& elements, bool last) {
  for (size_t i = 0; i < elements.size(); ++i) source.push_back({elements[i], last && i + 1 == elements.size()});
}
const std::vector<uint32_t>& another() {
  latest = (latest + 1 + below(samples.size() - 1)) % samples.size();
  return samples[latest].elements;
}

void send() {
  ++sent;
  const double kind = borders ? chance(0.6) ? 1 : chance(0.3) ? 0.1 : chance(0.5) ? 0.2 : 0.3 : 1;
  if (kind == 0.1) {
    std::vector<uint32_t> frame = another();
    frame.resize(1 + below(size - 1));
    push(frame, true);
  } else if (kind == 0.2) {  // what an abort leaves of it may be whole
    std::vector<uint32_t> more = another();
    more.resize(1 + below(size));
    push(more, false);
    push(another(), true);
  } else if (kind == 0.3) {  // lost TLASTs
    for (int n = 1 + below(4); n > 0; --n) push(another(), false);
    push(another(), true);
    ++happened["several times too long"];
  } else {
    push(another(), true);
  }
}

// Words of the bus that rst cuts are written again.
void write_surely(uint32_t offset, uint32_t value) {
  while (!write(offset, value)) {
  }
}

void wait_for_abort() {
  take = std::max(take, 0.2);
  offer = std::max(offer, 0.2);
  for (long n = 0;; ++n) {
    check(n < 10000, "ABORTING does not fall");
    const auto status = read(STATUS);
    if (status && !(*status & ABORTING)) return;
  }
}

// All is sent and answered, and the registers say so.
void settle() {
  while (reset_in >= 0 || reset_left > 0) tick();
  write_surely(LIMIT, pick({0u, 1u << 27, predicted + 1}));
  write_surely(SINK_LIMIT, 0);
  take = std::max(take, 0.2);
  offer = std::max(offer, 0.2);
  wait_for_abort();
  write_surely(CONTROL, RUN);
  for (long n = 0; !source.empty() || !due.empty() || !begun.empty() || !packet.empty(); ++n) {
    check(n < ENOUGH, "it does not come to an end");
    tick();
    if (chance(0.003)) look_around();
  }
  for (int n = 0; n < 3; ++n) tick();
  check(!was_aborting, "an abort at rest");
  const auto control = read(CONTROL);
  check(*control == RUN, "CONTROL at rest");
  const auto status = read(STATUS);
  check(!(*status & (BUSY | RUNNING | ABORTING)), "STATUS at rest");
  check(*read(DROPPED) == (dropped & 0xFFFF), "DROPPED");
  const uint32_t of = ~(LOCKED | unsure);
  check((*read(ERRORS) & of) == (errors & of), "ERRORS");
  if (chance(0.3)) {
    write_surely(ERRORS, ~0u);
    unsure = 0;
    check(*read(ERRORS) == 0, "ERRORS has been cleared");
  }
  snapshot(true);
}

// A frame alone, its sink always ready: its exact cycles.
void one_frame() {
  const bool by_start = chance(0.5);
  naps = false;
  take = 1;
  sink_sleep = 0;
  if (by_start) {
    write_surely(CONTROL, 0);
    write_surely(CONTROL, START);
  }
  const uint32_t before = frames;
  ++sent;
  push(another(), true);
  for (long n = 0; frames == before; ++n) {
    check(n < ENOUGH, "a frame is not answered");
    tick();
  }
  tick();
  tick();
  check(*read(FRAMES) == before + 1, "FRAMES of one more frame");
  check(*read(CYCLES) == predicted, "CYCLES of one more frame");
  check(*read(CLASS) == samples[latest].top, "CLASS of one more frame");
  check(*read(WAITED) == 0, "WAITED of one more frame");
  check(*read(CONTROL) == (by_start ? 0 : RUN), "CONTROL behind one more frame");
  ++happened["one more frame"];
}

void live(long cycles) {
  for (; cycles > 0; --cycles) {
    tick();
    if (chance(0.01)) look_around();
  }
}

template <typename Until>
void live_until(Until until) {
  for (long n = 0; n < 1000 && !until() && !(source.empty() && due.empty()); ++n) tick();
}

void event() {
  switch (below(9)) {
    case 0:
      break;
    case 1:
    case 2:
      write(CONTROL, ABORT);
      break;
    case 3:
      write(CONTROL, ABORT | below(2));
      live(pick({0, 0, 1, 3, 20, 200}));
      write(CONTROL, ABORT);
      break;
    case 4:
      write(CONTROL, RESET | below(8));
      break;
    case 5:
      reset_in = below(pick({2, 40, 400}));
      reset_restarts = chance(0.5);
      if (chance(0.5)) write(CONTROL, pick({ABORT, RESET}));
      break;
    case 6:
      write(LIMIT, pick({1u, below(predicted), predicted - 1, predicted}));
      live(below(2 * predicted));
      break;
    case 7:
      write(SINK_LIMIT, 1 + below(60));
      if (chance(0.7)) take = pick({0.0, 0.3});
      live(below(2 * predicted));
      break;
    case 8:
      write(CONTROL, pick({0u, START}));
      live(below(2 * predicted));
      break;
  }
}

void scenario() {
  const bool full = chance(0.3);
  naps = !full && chance(0.5);
  offer = full ? 1 : pick({1.0, 0.9, 0.5, 0.1});
  take = full ? 1 : pick({1.0, 0.9, 0.5, 0.1});
  for (int n = 1 + below(5); n > 0; --n) send();
  if (chance(0.9)) write(CONTROL, chance(0.7) ? RUN : START);
  for (int n = 1 + below(3); n > 0; --n) {
    const double where = below(100) / 100.0;
    if (where < 0.4) live(below(static_cast<uint32_t>(3 * (size / offer + predicted))));
    else if (where < 0.55) live_until([] { return !begun.empty(); });
    else if (where < 0.7) live_until([] { return begun.size() + 2 >= size; });
    else if (where < 0.9) live_until([] { return !packet.empty() || held; });
    if (chance(0.3)) {  // beats are going to stand
      const double before = take;
      take = 0;
      live(below(60));
      event();
      live(below(30));
      take = before;
    } else {
      event();
    }
    if (chance(0.3)) write(CONTROL, pick({RUN, START}));
  }
  live(below(50));
  if (chance(0.4)) {
    while (reset_in >= 0 || reset_left > 0) tick();
    wait_for_abort();
    return;
  }
  settle();
  if (chance(0.5)) one_frame();
}

std::string argument(const std::string& name) {
  const std::string found = context->commandArgsPlusMatch((name + "=").c_str());
  if (found.empty()) fail("+" + name + "= is missing");
  return found.substr(name.size() + 2);
}
unsigned long number(const std::string& name) { return std::strtoul(argument(name).c_str(), nullptr, 10); }

}  // namespace

int main(int argc, char** argv) {
  context = std::make_unique<VerilatedContext>();
  context->commandArgs(argc, argv);
  seed = number("seed");
  rng.seed(seed);
  size = number("elements");
  beats_out = number("beats");
  predicted = number("cycles");
  borders = number("borders");
  const long wanted = number("frames");
  FILE* file = std::fopen(argument("samples").c_str(), "rb");
  if (!file) fail("can't read the samples");
  samples.resize(number("count"));
  for (Sample& s : samples) {
    std::vector<int32_t> values(size + beats_out);
    if (std::fread(values.data(), 4, values.size(), file) != values.size()) fail("can't read the samples");
    s.elements.assign(values.begin(), values.begin() + size);
    s.beats.assign(values.begin() + size, values.end());
    s.top = std::max_element(s.beats.begin(), s.beats.end()) - s.beats.begin();
  }
  std::fclose(file);

  top = std::make_unique<Vbramcast_axi>(context.get());
  top->clk = 0;
  top->rst = 1;
  top->eval();
  top->clk = 1;
  top->eval();
  model_reset();
  reset_left = 3;
  for (int i = 0; i < 4; ++i) tick();
  happened.clear();
  while (sent < wanted) scenario();
  settle();
  one_frame();
  std::printf("frames %ld\ncycles %ld\n", sent, now);
  for (const auto& [name, count] : happened) std::printf("%s: %ld\n", name.c_str(), count);
  return 0;
}
