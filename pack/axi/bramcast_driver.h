/* SPDX-License-Identifier: Apache-2.0 */
/* bramcast_driver.h: software's side of a bramcast core behind AXI4-Lite. C99, no malloc.
 *
 *   #include "bramcast_driver.h"
 *   #include "bramcast_images.h"        (written by bramcast pack)
 *
 *   static const bramcast_network_t network = BRAMCAST_NETWORK;
 *   bramcast_t core;
 *   int status = bramcast_probe_mmio(&core, (volatile void *)0x40000000);
 *   if (status == BRAMCAST_OK) status = bramcast_load(&core, &network);
 *   if (status == BRAMCAST_OK) {
 *     bramcast_start(&core);            (then send a frame on the stream: of several inputs a packet for
 *                                       each where options has BRAMCAST_OPTIONS_PACKETS_MASK; and take
 *                                       a packet for each output)
 *     status = bramcast_wait(&core, 1000000);
 *     ... bramcast_class(&core), bramcast_cycles(&core)
 *   }
 *
 * Functions that return int return BRAMCAST_OK or one of the codes below.
 */
#ifndef BRAMCAST_DRIVER_H
#define BRAMCAST_DRIVER_H

#include <stdint.h>

#include "bramcast_registers.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  BRAMCAST_OK = 0,
  BRAMCAST_NO_CORE,       /* register ID holds something else: address, clock, reset? */
  BRAMCAST_OTHER_VERSION, /* another register map, or images of another format */
  BRAMCAST_OTHER_SHAPE,   /* the network is packed for other parameters */
  BRAMCAST_TOO_DEEP,      /* the network needs deeper memories */
  BRAMCAST_BAD_CHECKSUM,  /* the memories hold something else than what was written */
  BRAMCAST_BAD_PROGRAM,   /* the core met a descriptor that is none */
  BRAMCAST_TIMEOUT,       /* so many polls, and still not done */
  BRAMCAST_OVERDUE,       /* the core has ended the run: more cycles than LIMIT */
  BRAMCAST_SINK,          /* ... its results waited for TREADY longer than SINK_LIMIT */
  BRAMCAST_STUCK,         /* a beat stands on the output and is not taken: no abort can end */
  BRAMCAST_NOT_LOADED,    /* an image is not valid: not loaded, or not verified since */
  BRAMCAST_SEALED,        /* the images are locked until a hardware reset */
  BRAMCAST_DIFFERS,       /* a nest made something else than golden, or took another time */
  BRAMCAST_NO_ENTRY       /* the ledger has no such entry, or there is none */
};

/* A 32-bit access at a byte offset from the slave's base address. */
typedef uint32_t (*bramcast_read_t)(void *context, uint32_t offset);
typedef void (*bramcast_write_t)(void *context, uint32_t offset, uint32_t value);

/* A core, as bramcast_probe finds it. Images: 0 program, 1 weights, 2 bias, 3 table. */
typedef struct {
  bramcast_read_t read;
  bramcast_write_t write;
  void *context;
  uint32_t lanes, taps, rq, data_bits, weight_bits;
  uint32_t narrow; /* 1: weights of 4 and 2 bits */
  uint32_t gates;  /* 1: products of two tensors, and LOOP */
  uint32_t tiles;  /* strips of a picture at once; banks of the scratchpad */
  uint32_t pairs;  /* 1: two tiles share their multipliers */
  uint32_t depth[BRAMCAST_IMAGE_COUNT]; /* memory words */
  uint32_t scratch_depth;
  uint32_t window_bits;
  uint32_t options; /* bits of register OPTIONS */
} bramcast_t;

typedef struct {
  const uint32_t *data; /* beats, least significant first: words * beats of them */
  uint32_t words;       /* memory words */
  uint32_t beats;       /* 32-bit beats of a word */
  uint32_t crc32;
} bramcast_image_t;

/* What bramcast_images.h describes: BRAMCAST_NETWORK initializes it. */
typedef struct {
  uint32_t lanes, taps, rq, data_bits, weight_bits;
  uint32_t narrow; /* 1: weights of 4 and 2 bits */
  uint32_t gates;  /* 1: products of two tensors, and LOOP */
  uint32_t tiles;  /* strips of a picture at once; banks of the scratchpad */
  uint32_t pairs;  /* 1: two tiles share their multipliers */
  uint32_t scratch_depth;
  uint32_t cycles; /* of a frame; 0: not known */
  bramcast_image_t image[BRAMCAST_IMAGE_COUNT];
} bramcast_network_t;

/* What the core tells of the last completed frame: all of the same one. */
typedef struct {
  uint32_t frames; /* completed since reset, this one included */
  uint32_t cycles;
  uint32_t top;    /* index of its largest result */
  uint32_t waited; /* cycles in which a beat waited for the sink */
} bramcast_last_t;

/* Find out what lies behind the two functions, or at a base address. */
int bramcast_probe(bramcast_t *core, bramcast_read_t read, bramcast_write_t write, void *context);
int bramcast_probe_mmio(bramcast_t *core, volatile void *base);

/* Reset the core, write a network's images, verify them, and set LIMIT: what takes longer is ended. */
int bramcast_load(const bramcast_t *core, const bramcast_network_t *network);

/* Do the memories hold this network? Then it is valid: it may be run. The core must be idle. */
int bramcast_verify(const bramcast_t *core, const bramcast_network_t *network);

/* One 32-bit beat of an image memory of the idle core. A word's beats are written in order. */
uint32_t bramcast_read_beat(const bramcast_t *core, unsigned image, uint32_t word, uint32_t beat);
void bramcast_write_beat(const bramcast_t *core, unsigned image, uint32_t word, uint32_t beat,
                         uint32_t value);

/* CRC-32 of an image's first words, made by the core; where it is that in register EXPECT, the image
 * becomes valid. */
int bramcast_checksum(const bramcast_t *core, unsigned image, uint32_t words, uint32_t *crc32);

/* End what is in work: a packet that has begun to leave ends with a marked beat, the frame that is coming
 * is discarded up to its TLAST, or given up where that does not come. The images stay. */
int bramcast_abort(const bramcast_t *core);
int bramcast_reset(const bramcast_t *core); /* ... and clear what counts and what is sticky */
int bramcast_start(const bramcast_t *core); /* take one frame; short and long ones are dropped */
int bramcast_run(const bramcast_t *core);   /* take every frame, until bramcast_stop */
void bramcast_stop(const bramcast_t *core); /* take no further frame */
int bramcast_wait(const bramcast_t *core, uint32_t polls); /* for a frame's last result */
void bramcast_lock(const bramcast_t *core); /* idle: nobody reads or writes images until a hardware reset */

bramcast_last_t bramcast_last(const bramcast_t *core); /* the four below, of one frame */
uint32_t bramcast_cycles(const bramcast_t *core); /* of the last completed frame */
uint32_t bramcast_frames(const bramcast_t *core); /* completed since reset */
uint32_t bramcast_dropped(const bramcast_t *core); /* short or long frames, modulo 2**16 */
uint32_t bramcast_class(const bramcast_t *core);  /* index of its largest result */
uint32_t bramcast_errors(const bramcast_t *core); /* bits of ERRORS; clears them */

/* The ledger (docs/axi.md): what executed nest number nest, 0 is the first, of the last frame made.
 * BRAMCAST_NO_ENTRY: it has not been executed, or the ledger has no room for it. */
typedef struct {
  uint32_t crc32;
  uint32_t cycles; /* without those in which a beat waited */
  uint32_t stalled; /* 1: beats waited; the cycles say nothing */
} bramcast_entry_t;
int bramcast_ledger(const bramcast_t *core, uint32_t nest, bramcast_entry_t *entry);

/* What it must be: bramcast golden --ledger writes a table of them. */
typedef struct {
  uint32_t crc32, cycles;
  const char *layer;
} bramcast_expected_t;

/* The first nest that differs; nests: as many could be compared. */
typedef struct {
  uint32_t nest, nests;
  const char *layer; /* its layer, or 0 */
  bramcast_entry_t entry;
} bramcast_difference_t;

/* After a frame: do its nests have these sums and cycles? BRAMCAST_DIFFERS: difference says where. */
int bramcast_compare(const bramcast_t *core, const bramcast_expected_t *expected, uint32_t nests,
                     bramcast_difference_t *difference);

/* Runs hold behind executed nest number nest, 1 is the first; 0: they don't, one that does goes on. */
void bramcast_stop_after(const bramcast_t *core, uint32_t nest);
int bramcast_wait_stopped(const bramcast_t *core, uint32_t polls);
/* A 32-bit beat of a word of the scratchpad, while a run holds or the core is idle. Word n of bank b, with
 * tiles, is b * scratch_depth + n. */
uint32_t bramcast_peek(const bramcast_t *core, uint32_t word, uint32_t beat);

const char *bramcast_message(int status);

#ifdef __cplusplus
}
#endif

#endif
