// SPDX-License-Identifier: Apache-2.0
// serial_harness: a Verilated bramcast_serial behind a pseudo-terminal, as a board is behind a serial port.
//
// Started by sim/run/serial.py, which compiles it together with the core. Plusargs:
//
//   +divisor=N    clock cycles of a bit, the core's DIVISOR
//   +noise=SEED   bytes of both directions are damaged at random, +rate=N of a million: a bit is
//                 flipped, or the byte is lost, or it comes twice
//   +program= +weights= +bias= +table=    are the core's own (docs/core.md)
//
// The first line of standard output is the name of the terminal. Bits go over rx and tx, DIVISOR
// cycles each. The simulation ends when standard input does; then the last line is "done CLOCK_CYCLES
// SECONDS", of the cycles in which something was under way. It sleeps while nobody sends anything.
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <random>
#include <string>

#include "Vbramcast_serial.h"
#include "verilated.h"

namespace {

[[noreturn]] void stop(const std::string& reason) {
  std::fprintf(stderr, "%s\n", reason.c_str());
  std::exit(2);
}

uint64_t number(VerilatedContext& context, const std::string& name, uint64_t other) {
  const std::string found = context.commandArgsPlusMatch((name + "=").c_str());
  return found.empty() ? other : std::strtoull(found.c_str() + name.size() + 2, nullptr, 10);
}

class Noise {
 public:
  Noise(uint64_t seed, uint64_t rate) : random_(seed), rate_(seed ? rate : 0) {}

  // A byte as it comes out of the line: 0, 1 or 2 of them.
  void pass(uint8_t value, std::deque<uint8_t>& out) {
    if (rate_ == 0 || random_() % 1000000 >= rate_) {
      out.push_back(value);
      return;
    }
    switch (random_() % 3) {
      case 0: out.push_back(value ^ static_cast<uint8_t>(1u << random_() % 8)); break;
      case 1: out.push_back(value), out.push_back(value); break;
      default: break;
    }
  }

 private:
  std::mt19937_64 random_;
  uint64_t rate_;
};

int open_terminal() {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || grantpt(terminal) || unlockpt(terminal)) stop("no pseudo-terminal");
  // Held open at its other end, too: so it stays, whoever comes and goes.
  const int other = open(ptsname(terminal), O_RDWR | O_NOCTTY);
  termios settings;
  if (other < 0 || tcgetattr(other, &settings)) stop("no pseudo-terminal");
  cfmakeraw(&settings);
  tcsetattr(other, TCSANOW, &settings);
  fcntl(terminal, F_SETFL, O_NONBLOCK);
  std::printf("%s\n", ptsname(terminal));
  std::fflush(stdout);
  return terminal;
}

bool input_ended() {  // standard input
  pollfd wanted{0, POLLIN, 0};
  char byte;
  return poll(&wanted, 1, 0) > 0 && read(0, &byte, 1) <= 0;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr uint64_t POLL = 64;         // cycles between two looks at an idle terminal
  constexpr uint64_t IDLE = 1000000;    // cycles without a byte before it sleeps
  const auto context = std::make_unique<VerilatedContext>();
  context->commandArgs(argc, argv);
  const unsigned divisor = static_cast<unsigned>(number(*context, "divisor", 0));
  if (divisor < 4) stop("+divisor= is missing");
  const uint64_t seed = number(*context, "noise", 0), rate = number(*context, "rate", 0);
  Noise to_core(seed, rate), to_host(seed ? seed + 1 : 0, rate);
  const int terminal = open_terminal();

  const auto core = std::make_unique<Vbramcast_serial>(context.get());
  core->rx = 1;
  core->rst = 1;
  uint64_t clocks = 0, active = 0;
  const auto tick = [&] {
    core->clk = 0;
    core->eval();
    core->clk = 1;
    core->eval();
    ++clocks;
  };
  for (int i = 0; i < 4; ++i) tick();
  core->rst = 0;

  std::deque<uint8_t> out, in;    // to the core, to the host
  unsigned out_bits = 0, out_left = 0, out_wait = 0;  // bits behind the one on the line
  unsigned in_byte = 0, in_left = 0, in_wait = 0;     // bits that are still to be read
  uint64_t last = 0, look = 0;    // cycle of the last byte, of the next look at the terminal
  const auto begin = std::chrono::steady_clock::now();
  std::chrono::duration<double> slept{0};

  for (;;) {
    if (out_wait) {
      --out_wait;
    } else if (out_left) {
      core->rx = out_bits & 1;
      out_bits >>= 1;
      --out_left;
      out_wait = divisor - 1;
    } else if (!out.empty()) {
      out_bits = 0x100u | out.front();
      out.pop_front();
      out_left = 9;
      core->rx = 0;
      out_wait = divisor - 1;
      last = clocks;
    } else if (clocks >= look) {
      look = clocks + POLL;
      uint8_t bytes[4096];
      const ssize_t got = read(terminal, bytes, sizeof bytes);
      for (ssize_t i = 0; i < got; ++i) to_core.pass(bytes[i], out);
      if (got <= 0 && clocks > last + IDLE) {
        const auto from = std::chrono::steady_clock::now();
        pollfd wanted{terminal, POLLIN, 0};
        poll(&wanted, 1, 5);
        slept += std::chrono::steady_clock::now() - from;
      }
      if ((clocks & 0xFFFF) < POLL || clocks > last + IDLE) {
        if (input_ended()) break;
      }
    }

    tick();
    if (clocks <= last + IDLE) ++active;

    if (in_wait) {
      --in_wait;
    } else if (in_left) {
      --in_left;
      if (in_left) {
        in_wait = divisor - 1;
        in_byte = in_byte >> 1 | (core->tx ? 0x80u : 0);
      } else {
        if (!core->tx) stop("the core sent a byte without a stop bit");
        to_host.pass(static_cast<uint8_t>(in_byte), in);
        last = clocks;
      }
    } else if (!core->tx) {
      in_left = 9;
      in_wait = divisor + divisor / 2 - 1;
    }
    while (!in.empty() && write(terminal, &in.front(), 1) == 1) in.pop_front();
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin - slept;
  std::printf("done %llu %.6f\n", static_cast<unsigned long long>(active), spent.count());
  return 0;
}
