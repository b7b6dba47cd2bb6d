/* SPDX-License-Identifier: Apache-2.0 */
/* bramcast_driver.c: see bramcast_driver.h; the register map stands in docs/axi.md. */
#include "bramcast_driver.h"

static uint32_t get(const bramcast_t *core, uint32_t offset) {
  return core->read(core->context, offset);
}

static void put(const bramcast_t *core, uint32_t offset, uint32_t value) {
  core->write(core->context, offset, value);
}

static uint32_t field(uint32_t value, uint32_t mask, unsigned lsb) { return (value & mask) >> lsb; }

/* ------------------------------------------------------------------ the core */

static uint32_t mmio_read(void *context, uint32_t offset) {
  return *(volatile uint32_t *)((volatile unsigned char *)context + offset);
}

static void mmio_write(void *context, uint32_t offset, uint32_t value) {
  *(volatile uint32_t *)((volatile unsigned char *)context + offset) = value;
}

int bramcast_probe_mmio(bramcast_t *core, volatile void *base) {
  return bramcast_probe(core, mmio_read, mmio_write, (void *)base);
}

int bramcast_probe(bramcast_t *core, bramcast_read_t read, bramcast_write_t write, void *context) {
  uint32_t version, shape, widths;
  unsigned i;

  core->read = read;
  core->write = write;
  core->context = context;
  if (get(core, BRAMCAST_REG_ID) != BRAMCAST_IDENTIFICATION) return BRAMCAST_NO_CORE;
  version = get(core, BRAMCAST_REG_VERSION);
  if (field(version, BRAMCAST_VERSION_INTERFACE_MASK, BRAMCAST_VERSION_INTERFACE_LSB) !=
          BRAMCAST_INTERFACE ||
      field(version, BRAMCAST_VERSION_FORMAT_MASK, BRAMCAST_VERSION_FORMAT_LSB) !=
          BRAMCAST_IMAGE_FORMAT)
    return BRAMCAST_OTHER_VERSION;
  shape = get(core, BRAMCAST_REG_SHAPE);
  core->lanes = field(shape, BRAMCAST_SHAPE_LANES_MASK, BRAMCAST_SHAPE_LANES_LSB);
  core->taps = field(shape, BRAMCAST_SHAPE_TAPS_MASK, BRAMCAST_SHAPE_TAPS_LSB);
  core->rq = field(shape, BRAMCAST_SHAPE_RQ_MASK, BRAMCAST_SHAPE_RQ_LSB);
  core->narrow = field(shape, BRAMCAST_SHAPE_NARROW_MASK, BRAMCAST_SHAPE_NARROW_LSB);
  core->gates = field(shape, BRAMCAST_SHAPE_GATES_MASK, BRAMCAST_SHAPE_GATES_LSB);
  core->tiles = field(shape, BRAMCAST_SHAPE_TILES_MASK, BRAMCAST_SHAPE_TILES_LSB);
  widths = get(core, BRAMCAST_REG_WIDTHS);
  core->data_bits = field(widths, BRAMCAST_WIDTHS_DATA_BITS_MASK, BRAMCAST_WIDTHS_DATA_BITS_LSB);
  core->weight_bits =
      field(widths, BRAMCAST_WIDTHS_WEIGHT_BITS_MASK, BRAMCAST_WIDTHS_WEIGHT_BITS_LSB);
  core->window_bits =
      field(widths, BRAMCAST_WIDTHS_WINDOW_BITS_MASK, BRAMCAST_WIDTHS_WINDOW_BITS_LSB);
  for (i = 0; i < BRAMCAST_IMAGE_COUNT; i++)
    core->depth[i] = get(core, BRAMCAST_REG_PROGRAM_DEPTH + 4u * i);
  core->scratch_depth = get(core, BRAMCAST_REG_SCRATCH_DEPTH);
  core->options = get(core, BRAMCAST_REG_OPTIONS);
  core->pairs = field(core->options, BRAMCAST_OPTIONS_PAIRS_MASK, BRAMCAST_OPTIONS_PAIRS_LSB);
  return BRAMCAST_OK;
}

/* ------------------------------------------------------------------ images */

static uint32_t word_bits(const bramcast_t *core, unsigned image) {
  switch (image) {
    case 1: return core->lanes * core->taps * core->weight_bits;
    case 2: return 36u * core->rq;
    case BRAMCAST_LEDGER_SLOT - 1: return 64u;
    case BRAMCAST_SCRATCH_SLOT - 1: return core->lanes * core->taps * core->data_bits;
    case 3: return core->data_bits;
    default: return 32u;
  }
}

/* Byte offset of a beat: a word takes 4 bytes times a power of two. */
static uint32_t place(const bramcast_t *core, unsigned image, uint32_t word, uint32_t beat) {
  uint32_t stride = 4u;
  while (8u * stride < word_bits(core, image)) stride *= 2u;
  return ((uint32_t)(image + 1u) << core->window_bits) + word * stride + 4u * beat;
}

uint32_t bramcast_read_beat(const bramcast_t *core, unsigned image, uint32_t word, uint32_t beat) {
  return get(core, place(core, image, word, beat));
}

void bramcast_write_beat(const bramcast_t *core, unsigned image, uint32_t word, uint32_t beat,
                         uint32_t value) {
  put(core, place(core, image, word, beat), value);
}

static int fits(const bramcast_t *core, const bramcast_network_t *network) {
  unsigned i;
  if (core->lanes != network->lanes || core->taps != network->taps || core->rq != network->rq ||
      core->data_bits != network->data_bits || core->weight_bits != network->weight_bits ||
      core->tiles != network->tiles || core->pairs != network->pairs ||
      core->narrow < network->narrow || core->gates < network->gates)
    return BRAMCAST_OTHER_SHAPE;
  for (i = 0; i < BRAMCAST_IMAGE_COUNT; i++)
    if (core->depth[i] < network->image[i].words) return BRAMCAST_TOO_DEEP;
  return core->scratch_depth < network->scratch_depth ? BRAMCAST_TOO_DEEP : BRAMCAST_OK;
}

int bramcast_load(const bramcast_t *core, const bramcast_network_t *network) {
  unsigned i;
  int status = fits(core, network);

  if (status != BRAMCAST_OK) return status;
  if (get(core, BRAMCAST_REG_CONTROL) & BRAMCAST_CONTROL_LOCK_MASK) return BRAMCAST_SEALED;
  status = bramcast_reset(core);
  if (status != BRAMCAST_OK) return status;
  for (i = 0; i < BRAMCAST_IMAGE_COUNT; i++) {
    const bramcast_image_t *image = &network->image[i];
    const uint32_t *next = image->data;
    uint32_t word, beat, at;
    for (word = 0; word < image->words; word++) {
      at = place(core, i, word, 0);
      for (beat = 0; beat < image->beats; beat++, at += 4u) put(core, at, *next++);
    }
  }
  if (network->cycles != 0)
    put(core, BRAMCAST_REG_LIMIT, network->cycles + network->cycles / 8u + 1000u);
  return bramcast_verify(core, network);
}

int bramcast_checksum(const bramcast_t *core, unsigned image, uint32_t words, uint32_t *crc32) {
  /* a beat takes four cycles, a poll more */
  uint32_t polls = core->depth[image] * ((word_bits(core, image) + 31u) / 32u) + 16u;

  put(core, BRAMCAST_REG_CHECK,
      ((uint32_t)image << BRAMCAST_CHECK_IMAGE_LSB) | (words << BRAMCAST_CHECK_WORDS_LSB));
  while (get(core, BRAMCAST_REG_STATUS) & BRAMCAST_STATUS_CHECKING_MASK)
    if (polls-- == 0) return BRAMCAST_TIMEOUT;
  *crc32 = get(core, BRAMCAST_REG_CRC32);
  return BRAMCAST_OK;
}

int bramcast_verify(const bramcast_t *core, const bramcast_network_t *network) {
  unsigned i;
  uint32_t crc32 = 0;

  for (i = 0; i < BRAMCAST_IMAGE_COUNT; i++) {
    const bramcast_image_t *image = &network->image[i];
    int status;
    if (image->words == 0) { /* not used: whatever it holds is right */
      if (core->depth[i] == 0) continue;
      status = bramcast_checksum(core, i, 1, &crc32);
      if (status != BRAMCAST_OK) return status;
      put(core, BRAMCAST_REG_EXPECT, crc32);
      status = bramcast_checksum(core, i, 1, &crc32);
      if (status != BRAMCAST_OK) return status;
      continue;
    }
    put(core, BRAMCAST_REG_EXPECT, image->crc32);
    status = bramcast_checksum(core, i, image->words, &crc32);
    if (status != BRAMCAST_OK) return status;
    if (crc32 != image->crc32) return BRAMCAST_BAD_CHECKSUM;
  }
  return BRAMCAST_OK;
}

/* ------------------------------------------------------------------ running */

/* Whether an abort has come to its end; without a slow sink or source it takes some tens of cycles. */
static int ended(const bramcast_t *core) {
  uint32_t polls = 100;
  while (get(core, BRAMCAST_REG_STATUS) & BRAMCAST_STATUS_ABORTING_MASK)
    if (polls-- == 0) return 0;
  return 1;
}

static int end(const bramcast_t *core, uint32_t how) {
  put(core, BRAMCAST_REG_CONTROL, how);
  if (ended(core)) return BRAMCAST_OK;
  put(core, BRAMCAST_REG_CONTROL, BRAMCAST_CONTROL_ABORT_MASK); /* gives the input up, too */
  return ended(core) ? BRAMCAST_OK : BRAMCAST_STUCK;
}

int bramcast_abort(const bramcast_t *core) { return end(core, BRAMCAST_CONTROL_ABORT_MASK); }

int bramcast_reset(const bramcast_t *core) { return end(core, BRAMCAST_CONTROL_RESET_MASK); }

static int begin(const bramcast_t *core, uint32_t how) {
  const uint32_t all = BRAMCAST_VALID_PROGRAM_MASK | BRAMCAST_VALID_WEIGHTS_MASK |
                       BRAMCAST_VALID_BIAS_MASK | BRAMCAST_VALID_TABLE_MASK;
  if ((get(core, BRAMCAST_REG_VALID) & all) != all) return BRAMCAST_NOT_LOADED;
  put(core, BRAMCAST_REG_PENDING,
      BRAMCAST_PENDING_DONE_MASK | BRAMCAST_PENDING_FRAME_MASK | BRAMCAST_PENDING_PROGRAM_MASK |
          BRAMCAST_PENDING_TIMEOUT_MASK);
  put(core, BRAMCAST_REG_CONTROL, how);
  return BRAMCAST_OK;
}

int bramcast_start(const bramcast_t *core) { return begin(core, BRAMCAST_CONTROL_START_MASK); }

int bramcast_run(const bramcast_t *core) { return begin(core, BRAMCAST_CONTROL_RUN_MASK); }

void bramcast_stop(const bramcast_t *core) { put(core, BRAMCAST_REG_CONTROL, 0); }

void bramcast_lock(const bramcast_t *core) {
  put(core, BRAMCAST_REG_CONTROL, BRAMCAST_CONTROL_LOCK_MASK);
}

/* Until a bit of a register is set, or the core has ended the run. */
static int wait_for(const bramcast_t *core, uint32_t offset, uint32_t mask, uint32_t polls) {
  for (;;) {
    uint32_t pending;
    if (get(core, offset) & mask) return BRAMCAST_OK;
    pending = get(core, BRAMCAST_REG_PENDING);
    if (pending & BRAMCAST_PENDING_PROGRAM_MASK) return BRAMCAST_BAD_PROGRAM;
    if (pending & BRAMCAST_PENDING_TIMEOUT_MASK)
      return get(core, BRAMCAST_REG_ERRORS) & BRAMCAST_ERRORS_TIMEOUT_MASK ? BRAMCAST_OVERDUE
                                                                            : BRAMCAST_SINK;
    if (polls-- == 0) return BRAMCAST_TIMEOUT;
  }
}

int bramcast_wait(const bramcast_t *core, uint32_t polls) {
  return wait_for(core, BRAMCAST_REG_PENDING, BRAMCAST_PENDING_DONE_MASK, polls);
}

bramcast_last_t bramcast_last(const bramcast_t *core) {
  bramcast_last_t last;
  last.frames = get(core, BRAMCAST_REG_FRAMES); /* keeps the others as they are */
  last.cycles = get(core, BRAMCAST_REG_CYCLES);
  last.top = get(core, BRAMCAST_REG_CLASS);
  last.waited = get(core, BRAMCAST_REG_WAITED);
  return last;
}

uint32_t bramcast_cycles(const bramcast_t *core) { return bramcast_last(core).cycles; }

uint32_t bramcast_frames(const bramcast_t *core) { return get(core, BRAMCAST_REG_FRAMES); }

uint32_t bramcast_dropped(const bramcast_t *core) { return get(core, BRAMCAST_REG_DROPPED); }

uint32_t bramcast_class(const bramcast_t *core) { return bramcast_last(core).top; }

uint32_t bramcast_errors(const bramcast_t *core) {
  uint32_t errors = get(core, BRAMCAST_REG_ERRORS);
  put(core, BRAMCAST_REG_ERRORS, errors);
  return errors;
}

/* ------------------------------------------------------------------ ledger */

int bramcast_ledger(const bramcast_t *core, uint32_t nest, bramcast_entry_t *entry) {
  uint32_t at = place(core, BRAMCAST_LEDGER_SLOT - 1, nest, 0), cycles;

  if (nest >= get(core, BRAMCAST_REG_LEDGER_DEPTH) || nest >= get(core, BRAMCAST_REG_NEST))
    return BRAMCAST_NO_ENTRY;
  entry->crc32 = get(core, at);
  cycles = get(core, at + 4u);
  entry->cycles = cycles & 0x7FFFFFFFu;
  entry->stalled = cycles >> 31;
  return BRAMCAST_OK;
}

int bramcast_compare(const bramcast_t *core, const bramcast_expected_t *expected, uint32_t nests,
                     bramcast_difference_t *difference) {
  uint32_t depth = get(core, BRAMCAST_REG_LEDGER_DEPTH), i, ended;
  bramcast_entry_t *entry = &difference->entry;

  difference->nest = difference->nests = 0;
  difference->layer = 0;
  if (depth == 0) return BRAMCAST_NO_ENTRY;
  ended = get(core, BRAMCAST_REG_NEST);
  for (i = 0; i < nests && i < ended && i < depth; i++) {
    (void)bramcast_ledger(core, i, entry);
    difference->nests = i + 1u;
    if (entry->crc32 != expected[i].crc32 ||
        (!entry->stalled && entry->cycles != expected[i].cycles)) {
      difference->nest = i;
      difference->layer = expected[i].layer;
      return BRAMCAST_DIFFERS;
    }
  }
  if (ended == nests) return BRAMCAST_OK;
  difference->nest = ended < nests ? ended : nests; /* it did not come, or is one too many */
  if (ended < nests) difference->layer = expected[ended].layer;
  return BRAMCAST_DIFFERS;
}

void bramcast_stop_after(const bramcast_t *core, uint32_t nest) {
  put(core, BRAMCAST_REG_STOP_AFTER, nest);
}

int bramcast_wait_stopped(const bramcast_t *core, uint32_t polls) {
  return wait_for(core, BRAMCAST_REG_STATUS, BRAMCAST_STATUS_STOPPED_MASK, polls);
}

uint32_t bramcast_peek(const bramcast_t *core, uint32_t word, uint32_t beat) {
  uint32_t pitch = 1u; /* from a bank to the next one, in the window */
  while (pitch < core->scratch_depth) pitch *= 2u;
  word = word / core->scratch_depth * pitch + word % core->scratch_depth;
  return get(core, place(core, BRAMCAST_SCRATCH_SLOT - 1, word, beat));
}

const char *bramcast_message(int status) {
  switch (status) {
    case BRAMCAST_OK: return "all is well";
    case BRAMCAST_NO_CORE: return "there is no bramcast core at this address";
    case BRAMCAST_OTHER_VERSION: return "the core has another register map or image format";
    case BRAMCAST_OTHER_SHAPE: return "the network is packed for a core with other parameters";
    case BRAMCAST_TOO_DEEP: return "the network needs deeper memories than the core has";
    case BRAMCAST_BAD_CHECKSUM: return "the memories don't hold what was written";
    case BRAMCAST_BAD_PROGRAM: return "the core met a descriptor that is none";
    case BRAMCAST_TIMEOUT: return "the core did not finish in time";
    case BRAMCAST_OVERDUE: return "the run took more than LIMIT cycles and was ended";
    case BRAMCAST_SINK: return "results waited for TREADY longer than SINK_LIMIT; the run was ended";
    case BRAMCAST_STUCK: return "an abort can't end: a beat on m_axis is not taken";
    case BRAMCAST_NOT_LOADED: return "an image is not valid: not loaded, or not verified since";
    case BRAMCAST_SEALED: return "the images are locked until a hardware reset";
    case BRAMCAST_DIFFERS: return "a nest differs from what golden predicts";
    case BRAMCAST_NO_ENTRY: return "the ledger has no such entry, or the core no ledger";
    default: return "unknown status";
  }
}
