// SPDX-License-Identifier: Apache-2.0
// bramcast_registers: the registers behind the AXI4-Lite slave and the windows onto the image memories.
//
// Golden twin: pack/axi/registers.py has the map, docs/axi.md explains it.
//
// One request at a time (bramcast_lite). A register answers four cycles after valid_i, a window's write
// too, a window's read after eight; a cycle later where a frame ends meanwhile. A request that is refused
// sets a bit of ERRORS, answers SLVERR (or DECERR: nothing is there) and changes nothing.
//
// Image memories belong to the host while neither RUN nor START is set, no frame is in work, nothing is
// being aborted, CHECK is not at work, and LOCK is not set; start_o is low then. CHECK reads one beat every
// four cycles, and bramcast_checksum takes them.
//
// abort_o is high for a cycle where software or bramcast_watch ends what is in work. RESET clears what
// counts until aborting_i has fallen, so that nothing of what it ended is left.
//
`default_nettype none
module bramcast_registers #(
    parameter int LANES            = 16,  // as in bramcast_core
    parameter int TAPS             = 1,
    parameter int DATA_BITS        = 8,
    parameter int WEIGHT_BITS      = 8,
    parameter int RQ               = 2,
    parameter int NARROW           = 0,
    parameter int GATES            = 0,
    parameter int TILES            = 1,
    parameter int PAIRS            = 0,
    parameter int PROGRAM_DEPTH    = 128,
    parameter int WEIGHTS_DEPTH    = 1024,
    parameter int BIAS_DEPTH       = 64,
    parameter int TABLE_DEPTH      = 0,
    parameter int SCRATCH_DEPTH    = 1024,
    parameter int FRAME_DEPTH      = 0,
    parameter int TLAST_ENDS       = 1,
    parameter int BEAT             = 1,
    parameter int AXI_ADDRESS_BITS = 24,
    parameter int READBACK         = 1,   // 0: images can't be read
    parameter int COUNTERS         = 0,   // as in bramcast_watch
    parameter int LEDGER_DEPTH     = 0,   // slot 5: entries of two beats; 0: there is none
    parameter int PEEK             = 0,   // slot 6: 1: the words of the scratchpad
    parameter     PROGRAM_IMAGE    = "",  // a memory that a file fills is VALID
    parameter     WEIGHTS_IMAGE    = "",
    parameter     BIAS_IMAGE       = "",
    parameter     TABLE_IMAGE      = ""
) (
    input  logic                        clk,
    input  logic                        rst,
    // requests
    input  logic                        valid_i,
    input  logic                        write_i,
    input  logic [AXI_ADDRESS_BITS-1:0] address_i,
    input  logic [31:0]                 wdata_i,
    input  logic                        whole_i,          // all four strobes
    output logic                        done_o,
    output logic [31:0]                 rdata_o,
    output logic [1:0]                  resp_o,
    // core
    output logic                        start_o,
    output logic                        abort_o,
    input  logic                        aborting_i,
    input  logic                        running_i,
    input  logic                        broken_i,         // a run has been ended by a program error
    output logic [1:0]                  clear_error_o,    // as frame_error_i
    input  logic                        taken_i,          // a whole frame's last element is being accepted
    input  logic                        dropped_i,        // a frame has been dropped
    input  logic                        busy_i,
    input  logic                        done_i,
    input  logic                        ready_i,
    input  logic                        program_error_i,
    input  logic [1:0]                  frame_error_i,    // a frame was short, a frame was long
    input  logic [31:0]                 cycles_i,
    input  logic [15:0]                 class_i,
    output logic                        irq_o,
    // watch
    output logic                        put_limit_o,
    output logic                        put_sink_limit_o,
    output logic                        snap_o,           // FRAMES is read: what belongs to it is kept
    output logic                        clear_o,          // RESET is at work
    input  logic [31:0]                 limit_i,
    input  logic [31:0]                 sink_limit_i,
    input  logic [31:0]                 waited_i,
    input  logic [31:0]                 stall_in_i,
    input  logic [31:0]                 stall_out_i,
    input  logic [31:0]                 occupancy_i,
    input  logic                        timeout_i,
    input  logic                        sink_i,
    // ledger
    output logic [20:0]                 stop_after_o,
    input  logic                        stopped_i,
    input  logic [20:0]                 nests_i,
    // memories: program, weights, bias, table; read only: ledger, scratchpad
    output logic [5:0]                  host_read_o,
    output logic [3:0]                  host_we_o,
    output logic [23:0]                 host_word_o,
    output logic [6:0]                  host_beat_o,
    output logic [31:0]                 host_data_o,
    input  logic [31:0]                 host_data_i
);

  // ------------------------------------------------------------------ the address space

  localparam int WEIGHTS_BEATS = (LANES * TAPS * WEIGHT_BITS + 31) / 32;
  localparam int BIAS_BEATS    = (36 * RQ + 31) / 32;
  localparam int PEEK_BEATS    = (LANES * TAPS * DATA_BITS + 31) / 32;
  // Address bits below a word's number, and those of a whole memory.
  localparam int NARROW_SHIFT  = 2;  // program and table
  localparam int WEIGHTS_SHIFT = 2 + $clog2(WEIGHTS_BEATS);
  localparam int BIAS_SHIFT    = 2 + $clog2(BIAS_BEATS);
  localparam int LEDGER_SHIFT  = 3;
  localparam int PEEK_SHIFT    = 2 + $clog2(PEEK_BEATS);
  localparam int PROGRAM_SPAN  = NARROW_SHIFT + $clog2(PROGRAM_DEPTH);
  localparam int WEIGHTS_SPAN  = WEIGHTS_SHIFT + $clog2(WEIGHTS_DEPTH);
  localparam int BIAS_SPAN     = BIAS_SHIFT + $clog2(BIAS_DEPTH);
  localparam int TABLE_SPAN    = (TABLE_DEPTH > 0) ? NARROW_SHIFT + $clog2(TABLE_DEPTH) : 0;
  localparam int LEDGER_SPAN   = (LEDGER_DEPTH > 0) ? LEDGER_SHIFT + $clog2(LEDGER_DEPTH) : 0;
  localparam int PEEK_SPAN     = (PEEK != 0) ? PEEK_SHIFT + $clog2(SCRATCH_DEPTH) + $clog2(TILES) : 0;
  localparam int SPAN_1 = (PROGRAM_SPAN > WEIGHTS_SPAN) ? PROGRAM_SPAN : WEIGHTS_SPAN;
  localparam int SPAN_2 = (BIAS_SPAN > TABLE_SPAN) ? BIAS_SPAN : TABLE_SPAN;
  localparam int SPAN_3 = (SPAN_1 > SPAN_2) ? SPAN_1 : SPAN_2;
  localparam int SPAN_4 = (LEDGER_SPAN > PEEK_SPAN) ? LEDGER_SPAN : PEEK_SPAN;
  localparam int SPAN   = (SPAN_3 > SPAN_4) ? SPAN_3 : SPAN_4;
  localparam int LEDGER_LAST = (LEDGER_DEPTH > 0) ? LEDGER_DEPTH - 1 : 0;
  localparam int TABLE_LAST = (TABLE_DEPTH > 0) ? TABLE_DEPTH - 1 : 0;
  localparam int LEAST  = bramcast_pkg::LEAST_WINDOW_BITS;
  localparam int WINDOW_BITS = (SPAN > LEAST) ? SPAN : LEAST;

  generate
    if (AXI_ADDRESS_BITS < WINDOW_BITS + bramcast_pkg::SLOT_BITS || AXI_ADDRESS_BITS > 32)
    begin : g_check
      AXI_ADDRESS_BITS_must_hold_eight_windows u_error ();
    end
  endgenerate

  // What a request is about; registered as it comes, judged in the next cycle, done in the one after it.
  logic [AXI_ADDRESS_BITS-WINDOW_BITS-1:0] slot;
  logic [WINDOW_BITS-1:0]                  place;
  logic [5:0]                              image;     // one bit per memory
  logic [23:0]                             word;
  logic [6:0]                              beat;
  logic                                    exists;    // the memory has this beat, and it may be accessed so
  assign slot  = address_i[AXI_ADDRESS_BITS-1:WINDOW_BITS];
  assign place = address_i[WINDOW_BITS-1:0];
  assign image = {PEEK != 0 && slot == 6, LEDGER_DEPTH > 0 && slot == 5, slot == 4, slot == 3, slot == 2,
                  slot == 1};
  assign word  = image[1] ? 24'(place >> WEIGHTS_SHIFT)
               : image[2] ? 24'(place >> BIAS_SHIFT)
               : image[4] ? 24'(place >> LEDGER_SHIFT)
               : image[5] ? 24'(place >> PEEK_SHIFT)
               : 24'(place >> NARROW_SHIFT);
  assign beat  = image[1] ? 7'(place >> 2) & 7'((1 << (WEIGHTS_SHIFT - 2)) - 1)
               : image[2] ? 7'(place >> 2) & 7'((1 << (BIAS_SHIFT - 2)) - 1)
               : image[4] ? 7'(place >> 2) & 7'd1
               : image[5] ? 7'(place >> 2) & 7'((1 << (PEEK_SHIFT - 2)) - 1)
               : 7'd0;
  // Not from `word`: all comparisons begin at once.
  logic [5:0] in_range;
  assign in_range[0] = 24'(place >> NARROW_SHIFT) <= 24'(PROGRAM_DEPTH - 1);
  assign in_range[1] = 24'(place >> WEIGHTS_SHIFT) <= 24'(WEIGHTS_DEPTH - 1);
  assign in_range[2] = 24'(place >> BIAS_SHIFT) <= 24'(BIAS_DEPTH - 1);
  assign in_range[3] = 24'(place >> NARROW_SHIFT) <= 24'(TABLE_LAST) && TABLE_DEPTH > 0;
  assign in_range[4] = 24'(place >> LEDGER_SHIFT) <= 24'(LEDGER_LAST) && !write_i;
  assign in_range[5] = (24'(place >> PEEK_SHIFT) & 24'((1 << $clog2(SCRATCH_DEPTH)) - 1)) <= 24'(SCRATCH_DEPTH - 1)
                       && 24'(place >> (PEEK_SHIFT + $clog2(SCRATCH_DEPTH))) <= 24'(TILES - 1)
                       && !write_i
                       && 8'(beat) < 8'(PEEK_BEATS);
  assign exists = |(image & in_range)
               && (write_i || READBACK != 0 || image[4] || image[5])
               && (!image[1] || 8'(beat) < 8'(WEIGHTS_BEATS))
               && (!image[2] || 8'(beat) < 8'(BIAS_BEATS));

  // ------------------------------------------------------------------ state

  localparam logic [2:0] IDLE = 3'd0, JUDGE = 3'd1, DECIDE = 3'd2, READ = 3'd3, DONE = 3'd4;

  logic [2:0]                  state_q;
  logic [1:0]                  phase_q;
  logic                        exists_q, register_q;
  logic                        excess_q, elsewhere_q;  // CHECK of too many words; not the next beat of the word
  logic [5:0]                  image_q;     // of the request
  logic [AXI_ADDRESS_BITS-3:0] follows_q;   // where the next beat of the same word would be written

  logic        run_q, once_q, lock_q, done_q;
  logic        frame_pending_q, program_pending_q, timeout_pending_q;
  logic [3:0]  enable_q;                    // as pending
  logic [31:0] frames_q, snap_cycles_q, expect_q;
  logic [15:0] dropped_q, snap_class_q;
  logic        locked_error_q, address_error_q, strobe_error_q, order_error_q, invalid_error_q;
  logic        timeout_error_q, sink_error_q, program_error_q;
  logic        long_q;                      // frame_error_i[1], a cycle ago
  logic        reset_q;                     // RESET has been written, one cycle
  logic [3:0]  valid_q;
  logic        guard_q;

  // u_checksum
  logic        checking, check_step, check_more, check_last, check_ended;
  logic [23:0] check_words;
  logic [1:0]  check_image;
  logic [31:0] crc;

  logic       locked, closed;  // to CHECK; to a window
  logic [3:0] valid, pending;
  assign start_o = (run_q || once_q) && !checking && !aborting_i;
  assign locked  = run_q || once_q || busy_i || checking || aborting_i;
  assign closed  = image[4] ? checking
                 : image[5] ? (locked && !stopped_i) || lock_q
                 : locked || lock_q;
  assign valid   = valid_q | {TABLE_DEPTH == 0, 3'd0};
  assign pending = {timeout_pending_q, program_pending_q, frame_pending_q, done_q};

  // Not reset: what the memories hold at first is what they were configured with.
  initial begin
    valid_q = {TABLE_IMAGE != "", BIAS_IMAGE != "", WEIGHTS_IMAGE != "", PROGRAM_IMAGE != ""};
`ifndef SYNTHESIS
    if ($test$plusargs("program=")) valid_q[0] = 1'b1;
    if ($test$plusargs("weights=")) valid_q[1] = 1'b1;
    if ($test$plusargs("bias=")) valid_q[2] = 1'b1;
    if ($test$plusargs("table=")) valid_q[3] = 1'b1;
`endif
  end

  // ------------------------------------------------------------------ registers

  localparam logic [31:0] VERSION =
      (bramcast_pkg::IMAGE_FORMAT << bramcast_pkg::VERSION_FORMAT_LSB)
      | (bramcast_pkg::INTERFACE << bramcast_pkg::VERSION_INTERFACE_LSB);
  localparam logic [31:0] SHAPE =
      (LANES << bramcast_pkg::SHAPE_LANES_LSB)
      | (TAPS << bramcast_pkg::SHAPE_TAPS_LSB)
      | (RQ << bramcast_pkg::SHAPE_RQ_LSB)
      | (NARROW << bramcast_pkg::SHAPE_NARROW_LSB)
      | (GATES << bramcast_pkg::SHAPE_GATES_LSB)
      | (32'(TLAST_ENDS != 0) << bramcast_pkg::SHAPE_TLAST_ENDS_LSB)
      | (TILES << bramcast_pkg::SHAPE_TILES_LSB);
  localparam logic [31:0] WIDTHS =
      (DATA_BITS << bramcast_pkg::WIDTHS_DATA_BITS_LSB)
      | (WEIGHT_BITS << bramcast_pkg::WIDTHS_WEIGHT_BITS_LSB)
      | (WINDOW_BITS << bramcast_pkg::WIDTHS_WINDOW_BITS_LSB)
      | (BEAT << bramcast_pkg::WIDTHS_BEAT_LSB);
  localparam logic [31:0] OPTIONS =
      (READBACK << bramcast_pkg::OPTIONS_READBACK_LSB)
      | (PEEK << bramcast_pkg::OPTIONS_PEEK_LSB)
      | (COUNTERS << bramcast_pkg::OPTIONS_COUNTERS_LSB)
      | (PAIRS << bramcast_pkg::OPTIONS_PAIRS_LSB)
      | (32'(TLAST_ENDS == 2) << bramcast_pkg::OPTIONS_PACKETS_LSB);

  logic [31:0] control, status, errors, check, images;
  assign control   = (32'(run_q) << bramcast_pkg::CONTROL_RUN_LSB)
                   | (32'(once_q) << bramcast_pkg::CONTROL_START_LSB)
                   | (32'(lock_q) << bramcast_pkg::CONTROL_LOCK_LSB);
  assign status    = (32'(busy_i) << bramcast_pkg::STATUS_BUSY_LSB)
                   | (32'(done_q) << bramcast_pkg::STATUS_DONE_LSB)
                   | (32'(ready_i) << bramcast_pkg::STATUS_READY_LSB)
                   | (32'(locked) << bramcast_pkg::STATUS_LOCKED_LSB)
                   | (32'(checking) << bramcast_pkg::STATUS_CHECKING_LSB)
                   | (32'(program_error_i) << bramcast_pkg::STATUS_PROGRAM_ERROR_LSB)
                   | (32'(aborting_i) << bramcast_pkg::STATUS_ABORTING_LSB)
                   | (32'(stopped_i) << bramcast_pkg::STATUS_STOPPED_LSB)
                   | (32'(running_i) << bramcast_pkg::STATUS_RUNNING_LSB);
  assign errors    = (32'(frame_error_i[0]) << bramcast_pkg::ERRORS_SHORT_FRAME_LSB)
                   | (32'(frame_error_i[1]) << bramcast_pkg::ERRORS_LONG_FRAME_LSB)
                   | (32'(locked_error_q) << bramcast_pkg::ERRORS_LOCKED_LSB)
                   | (32'(address_error_q) << bramcast_pkg::ERRORS_ADDRESS_LSB)
                   | (32'(strobe_error_q) << bramcast_pkg::ERRORS_STROBE_LSB)
                   | (32'(order_error_q) << bramcast_pkg::ERRORS_ORDER_LSB)
                   | (32'(timeout_error_q) << bramcast_pkg::ERRORS_TIMEOUT_LSB)
                   | (32'(program_error_q) << bramcast_pkg::ERRORS_PROGRAM_LSB)
                   | (32'(sink_error_q) << bramcast_pkg::ERRORS_SINK_LSB)
                   | (32'(invalid_error_q) << bramcast_pkg::ERRORS_INVALID_LSB);
  assign images    = (32'(valid) << bramcast_pkg::VALID_PROGRAM_LSB)
                   | (32'(guard_q) << bramcast_pkg::VALID_GUARD_LSB);
  assign check     = (32'(check_words) << bramcast_pkg::CHECK_WORDS_LSB)
                   | (32'(check_image) << bramcast_pkg::CHECK_IMAGE_LSB);

  logic [7:0] at;  // byte offset of a register, if it is one
  logic       known, writable;
  assign at = {place[7:2], 2'b00};

  always_comb begin
    known    = 1'b1;
    writable = 1'b0;
    case (at)
      8'(bramcast_pkg::REG_ID), 8'(bramcast_pkg::REG_VERSION), 8'(bramcast_pkg::REG_SHAPE),
      8'(bramcast_pkg::REG_WIDTHS), 8'(bramcast_pkg::REG_PROGRAM_DEPTH),
      8'(bramcast_pkg::REG_WEIGHTS_DEPTH), 8'(bramcast_pkg::REG_BIAS_DEPTH),
      8'(bramcast_pkg::REG_TABLE_DEPTH), 8'(bramcast_pkg::REG_SCRATCH_DEPTH),
      8'(bramcast_pkg::REG_FRAME_DEPTH), 8'(bramcast_pkg::REG_LEDGER_DEPTH),
      8'(bramcast_pkg::REG_OPTIONS), 8'(bramcast_pkg::REG_CYCLES), 8'(bramcast_pkg::REG_FRAMES),
      8'(bramcast_pkg::REG_CLASS), 8'(bramcast_pkg::REG_DROPPED), 8'(bramcast_pkg::REG_CRC32),
      8'(bramcast_pkg::REG_WAITED): begin
      end
      8'(bramcast_pkg::REG_CONTROL), 8'(bramcast_pkg::REG_STATUS), 8'(bramcast_pkg::REG_ERRORS),
      8'(bramcast_pkg::REG_INTERRUPT), 8'(bramcast_pkg::REG_CHECK), 8'(bramcast_pkg::REG_EXPECT),
      8'(bramcast_pkg::REG_VALID), 8'(bramcast_pkg::REG_PENDING), 8'(bramcast_pkg::REG_LIMIT),
      8'(bramcast_pkg::REG_SINK_LIMIT):
        writable = 1'b1;
      8'(bramcast_pkg::REG_STALL_IN), 8'(bramcast_pkg::REG_STALL_OUT),
      8'(bramcast_pkg::REG_OCCUPANCY):
        known = COUNTERS != 0;
      8'(bramcast_pkg::REG_STOP_AFTER): begin
        known    = PEEK != 0;
        writable = 1'b1;
      end
      8'(bramcast_pkg::REG_NEST):
        known = LEDGER_DEPTH > 0;
      default: known = 1'b0;
    endcase
  end

  // What is read, in parts of which the others are 0: a part's registers lie side by side, so that a few
  // address bits choose among them. The numbers are those of the map: a part knows only its own.
  logic [31:0] part_0, part_2, part_3, part_4, part_5;
  logic [15:0] part_1;
  always_comb begin
    part_0 = 32'd0;
    case (at)
      8'(bramcast_pkg::REG_ID):            part_0 = bramcast_pkg::IDENTIFICATION;
      8'(bramcast_pkg::REG_VERSION):       part_0 = VERSION;
      8'(bramcast_pkg::REG_SHAPE):         part_0 = SHAPE;
      8'(bramcast_pkg::REG_WIDTHS):        part_0 = WIDTHS;
      8'(bramcast_pkg::REG_PROGRAM_DEPTH): part_0 = PROGRAM_DEPTH;
      8'(bramcast_pkg::REG_WEIGHTS_DEPTH): part_0 = WEIGHTS_DEPTH;
      8'(bramcast_pkg::REG_BIAS_DEPTH):    part_0 = BIAS_DEPTH;
      8'(bramcast_pkg::REG_TABLE_DEPTH):   part_0 = TABLE_DEPTH;
      8'(bramcast_pkg::REG_SCRATCH_DEPTH): part_0 = SCRATCH_DEPTH;
      8'(bramcast_pkg::REG_FRAME_DEPTH):   part_0 = FRAME_DEPTH;
      8'(bramcast_pkg::REG_LEDGER_DEPTH):  part_0 = LEDGER_DEPTH;
      8'(bramcast_pkg::REG_OPTIONS):       part_0 = OPTIONS;
      8'(bramcast_pkg::REG_CONTROL):       part_0 = control;
      8'(bramcast_pkg::REG_STATUS):        part_0 = status;
      8'(bramcast_pkg::REG_ERRORS):        part_0 = errors;
      8'(bramcast_pkg::REG_CYCLES):        part_0 = snap_cycles_q;
      default: part_0 = 32'd0;
    endcase
    case ({at[3:2], 2'b00})
      4'(bramcast_pkg::REG_FRAMES):    part_1 = frames_q[15:0];
      4'(bramcast_pkg::REG_CLASS):     part_1 = snap_class_q;
      4'(bramcast_pkg::REG_INTERRUPT): part_1 = 16'(enable_q);
      default:                         part_1 = dropped_q;
    endcase
    case ({at[3:2], 2'b00})
      4'(bramcast_pkg::REG_CHECK):  part_2 = check;
      4'(bramcast_pkg::REG_CRC32):  part_2 = crc;
      4'(bramcast_pkg::REG_EXPECT): part_2 = expect_q;
      default:                      part_2 = images;
    endcase
    case ({at[3:2], 2'b00})
      4'(bramcast_pkg::REG_PENDING):    part_3 = 32'(pending);
      4'(bramcast_pkg::REG_LIMIT):      part_3 = limit_i;
      4'(bramcast_pkg::REG_SINK_LIMIT): part_3 = sink_limit_i;
      default:                          part_3 = waited_i;
    endcase
    case ({at[3:2], 2'b00})
      4'(bramcast_pkg::REG_STALL_IN):  part_4 = stall_in_i;
      4'(bramcast_pkg::REG_STALL_OUT): part_4 = stall_out_i;
      default:                         part_4 = occupancy_i;
    endcase
    case ({at[3:2], 2'b00})
      4'(bramcast_pkg::REG_STOP_AFTER): part_5 = 32'(stop_after_o);
      default:                          part_5 = 32'(nests_i);
    endcase
  end

  // ------------------------------------------------------------------ the verdict

  // CHECK's operands
  localparam int WORDS_LSB = bramcast_pkg::CHECK_WORDS_LSB;
  localparam int IMAGE_LSB = bramcast_pkg::CHECK_IMAGE_LSB;
  logic [23:0] new_words, new_depth;
  logic [1:0]  new_image;
  assign new_words = wdata_i[WORDS_LSB +: 24];
  assign new_image = wdata_i[IMAGE_LSB +: 2];
  assign new_depth = (new_image == 2'd0) ? 24'(PROGRAM_DEPTH)
                   : (new_image == 2'd1) ? 24'(WEIGHTS_DEPTH)
                   : (new_image == 2'd2) ? 24'(BIAS_DEPTH)
                   : 24'(TABLE_DEPTH);

  // What is asked of CONTROL.
  logic ask_reset, ask_abort, ask_start;
  assign ask_reset = wdata_i[bramcast_pkg::CONTROL_RESET_LSB];
  assign ask_abort = wdata_i[bramcast_pkg::CONTROL_ABORT_LSB] || ask_reset;
  assign ask_start = wdata_i[bramcast_pkg::CONTROL_RUN_LSB] || wdata_i[bramcast_pkg::CONTROL_START_LSB];

  logic locked_q, closed_q;  // as the request came: they can only fall meanwhile
  logic is_check, address_error, strobe_error, locked_error, order_error, invalid_error, accept;
  assign is_check      = register_q && write_i && at == 8'(bramcast_pkg::REG_CHECK);
  assign address_error = register_q ? !known || (write_i && !writable)
                                      || (is_check && excess_q)
                                    : !exists_q;
  assign strobe_error  = write_i && !whole_i;
  assign locked_error  = register_q ? locked_q && is_check : closed_q;
  assign order_error   = !register_q && write_i && host_beat_o != 7'd0
                         && elsewhere_q;
  assign invalid_error = register_q && write_i && at == 8'(bramcast_pkg::REG_CONTROL) && ask_start
                         && valid != 4'b1111;
  assign accept        = !address_error && !strobe_error && !locked_error && !order_error && !invalid_error;

  logic        wrong_address_q, wrong_strobe_q, wrong_lock_q, wrong_order_q, wrong_images_q;
  logic        accept_q, is_check_q;
  logic [31:0] part_0_q, part_1_q, part_2_q, part_3_q, part_4_q, part_5_q;

  logic put;  // a register is written in this cycle
  logic put_control, put_status, put_errors, put_interrupt, put_pending, put_expect, put_valid;
  logic soft_reset, soft_abort, start_check;
  assign put              = state_q == DECIDE && register_q && write_i && accept_q;
  assign put_control      = put && at == 8'(bramcast_pkg::REG_CONTROL);
  assign put_status       = put && at == 8'(bramcast_pkg::REG_STATUS);
  assign put_errors       = put && at == 8'(bramcast_pkg::REG_ERRORS);
  assign put_interrupt    = put && at == 8'(bramcast_pkg::REG_INTERRUPT);
  assign put_pending      = put && at == 8'(bramcast_pkg::REG_PENDING);
  assign put_expect       = put && at == 8'(bramcast_pkg::REG_EXPECT);
  assign put_valid        = put && at == 8'(bramcast_pkg::REG_VALID);
  assign put_limit_o      = put && at == 8'(bramcast_pkg::REG_LIMIT);
  assign put_sink_limit_o = put && at == 8'(bramcast_pkg::REG_SINK_LIMIT);
  assign soft_reset       = put_control && ask_reset;
  assign soft_abort       = put_control && ask_abort;
  assign start_check      = put && is_check_q;
  // In each cycle in which the request is judged: the last one counts, and no frame ends in it.
  assign snap_o           = state_q == JUDGE && register_q && !write_i && at == 8'(bramcast_pkg::REG_FRAMES);

  // What ends a run, or keeps it from beginning. No second pulse beside one of software's.
  logic limit, broken;
  assign limit  = (timeout_i || sink_i) && !abort_o && !aborting_i;
  assign broken = broken_i || (start_o && program_error_i);

  logic check_ended_q, check_ended_q2, crc_equal_q;

  assign done_o      = state_q == DONE;
  assign host_data_o = wdata_i;

  always_ff @(posedge clk) begin
    host_we_o <= 4'd0;
    phase_q   <= phase_q + 2'd1;

    part_0_q <= part_0;
    part_1_q[15:0] <= part_1;
    part_2_q <= part_2;
    part_3_q <= part_3;
    part_4_q <= part_4;
    part_5_q <= part_5;
    part_1_q[31:16] <= frames_q[31:16];  // of this part's registers the others have 16 bits
    if (at[7:4] != 4'(bramcast_pkg::REG_FRAMES >> 4)) part_1_q[15:0] <= 16'd0;
    if (at != 8'(bramcast_pkg::REG_FRAMES)) part_1_q[31:16] <= 16'd0;
    if (at[7:4] != 4'(bramcast_pkg::REG_CHECK >> 4)) part_2_q <= 32'd0;
    if (at[7:4] != 4'(bramcast_pkg::REG_PENDING >> 4)) part_3_q <= 32'd0;
    if (at[7:4] != 4'(bramcast_pkg::REG_STALL_IN >> 4) || COUNTERS == 0) part_4_q <= 32'd0;
    if (at[7:4] != 4'(bramcast_pkg::REG_NEST >> 4) || (LEDGER_DEPTH == 0 && PEEK == 0)) part_5_q <= 32'd0;

    case (state_q)
      IDLE: begin
        if (valid_i && !checking) begin
          image_q     <= image;
          host_word_o <= word;
          host_beat_o <= beat;
        end
        exists_q    <= exists;
        excess_q    <= new_words > new_depth;
        elsewhere_q <= address_i[AXI_ADDRESS_BITS-1:2] != follows_q;
        register_q <= slot == '0 && place[WINDOW_BITS-1:8] == '0;
        locked_q   <= locked;
        closed_q   <= closed;
        if (valid_i) state_q <= JUDGE;
      end
      JUDGE: begin
        wrong_address_q <= address_error;
        wrong_strobe_q  <= strobe_error;
        wrong_lock_q    <= locked_error;
        wrong_order_q   <= order_error;
        accept_q        <= accept;
        wrong_images_q  <= invalid_error;
        is_check_q      <= is_check;
        // done_i is new with cycles_i, a cycle before frames_q
        if (!done_i) state_q <= DECIDE;
      end
      DECIDE: begin
        state_q <= DONE;
        rdata_o <= part_0_q | part_1_q | part_2_q | part_3_q | part_4_q | part_5_q;
        if (!register_q || !accept_q) rdata_o <= 32'd0;
        resp_o  <= wrong_address_q ? 2'b11 : accept_q ? 2'b00 : 2'b10;
        if (!register_q && accept_q) begin
          if (write_i) begin
            host_we_o <= image_q[3:0];
            follows_q <= address_i[AXI_ADDRESS_BITS-1:2] + 1'b1;
          end else begin
            state_q     <= READ;
            host_read_o <= image_q;
            phase_q     <= 2'd0;
          end
        end
      end
      READ: begin
        rdata_o <= host_data_i;
        if (phase_q == 2'd3) begin
          state_q     <= DONE;
          host_read_o <= 6'd0;
        end
      end
      default: state_q <= IDLE;
    endcase

    // ---------------------------------------------------------------- CHECK

    if (start_check) begin
      host_word_o <= 24'd0;
      host_beat_o <= 7'd0;
      phase_q     <= 2'd0;
      host_read_o <= {2'd0, new_image == 2'd3, new_image == 2'd2, new_image == 2'd1, new_image == 2'd0};
    end else if (check_step) begin
      if (check_more) begin
        host_beat_o <= host_beat_o + 7'd1;
      end else begin
        host_beat_o <= 7'd0;
        host_word_o <= host_word_o + 24'd1;
      end
      if (check_last) host_read_o <= 6'd0;
    end

    check_ended_q  <= check_ended && !reset_q;
    check_ended_q2 <= check_ended_q;
    crc_equal_q    <= crc == expect_q;

    if (put_expect) expect_q <= wdata_i;
    if (put_valid) begin
      valid_q <= wdata_i[bramcast_pkg::VALID_PROGRAM_LSB +: 4] & (valid_q | {4{!guard_q}});
      if (wdata_i[bramcast_pkg::VALID_GUARD_LSB]) guard_q <= 1'b1;
    end
    if (check_ended_q2 && crc_equal_q) valid_q[check_image] <= 1'b1;
    if (host_we_o[0]) valid_q[0] <= 1'b0;
    if (host_we_o[1]) valid_q[1] <= 1'b0;
    if (host_we_o[2]) valid_q[2] <= 1'b0;
    if (host_we_o[3]) valid_q[3] <= 1'b0;

    // ---------------------------------------------------------------- control

    reset_q       <= soft_reset;
    clear_o       <= soft_reset || (clear_o && (abort_o || aborting_i));
    abort_o       <= soft_abort || limit;
    clear_error_o <= {2{clear_o}}
                     | ({2{put_errors}} & {wdata_i[bramcast_pkg::ERRORS_LONG_FRAME_LSB],
                                           wdata_i[bramcast_pkg::ERRORS_SHORT_FRAME_LSB]});

    if (taken_i) once_q <= 1'b0;
    if (put_control) begin
      run_q  <= wdata_i[bramcast_pkg::CONTROL_RUN_LSB];
      once_q <= wdata_i[bramcast_pkg::CONTROL_START_LSB];
      if (wdata_i[bramcast_pkg::CONTROL_LOCK_LSB]) lock_q <= 1'b1;
    end
    if (soft_abort || limit || broken) begin
      run_q  <= 1'b0;
      once_q <= 1'b0;
    end

    // ---------------------------------------------------------------- what has happened

    if (done_i) frames_q <= frames_q + 32'd1;
    if (dropped_i) dropped_q <= dropped_q + 16'd1;
    if (snap_o) begin
      snap_cycles_q <= cycles_i;
      snap_class_q  <= class_i;
    end

    long_q <= frame_error_i[1];
    irq_o  <= |(pending & enable_q);
    if (put_interrupt) enable_q <= wdata_i[3:0];
    if (put_status && wdata_i[bramcast_pkg::STATUS_DONE_LSB]) done_q <= 1'b0;
    if (put_pending) begin
      if (wdata_i[bramcast_pkg::PENDING_DONE_LSB]) done_q <= 1'b0;
      if (wdata_i[bramcast_pkg::PENDING_FRAME_LSB]) frame_pending_q <= 1'b0;
      if (wdata_i[bramcast_pkg::PENDING_PROGRAM_LSB]) program_pending_q <= 1'b0;
      if (wdata_i[bramcast_pkg::PENDING_TIMEOUT_LSB]) timeout_pending_q <= 1'b0;
    end
    if (done_i) done_q <= 1'b1;
    // A long frame shows where TLAST is missed, and again where it ends.
    if (dropped_i || (frame_error_i[1] && !long_q)) frame_pending_q <= 1'b1;
    if (broken) program_pending_q <= 1'b1;
    if (limit) timeout_pending_q <= 1'b1;

    if (put_errors) begin
      if (wdata_i[bramcast_pkg::ERRORS_LOCKED_LSB]) locked_error_q <= 1'b0;
      if (wdata_i[bramcast_pkg::ERRORS_ADDRESS_LSB]) address_error_q <= 1'b0;
      if (wdata_i[bramcast_pkg::ERRORS_STROBE_LSB]) strobe_error_q <= 1'b0;
      if (wdata_i[bramcast_pkg::ERRORS_ORDER_LSB]) order_error_q <= 1'b0;
      if (wdata_i[bramcast_pkg::ERRORS_TIMEOUT_LSB]) timeout_error_q <= 1'b0;
      if (wdata_i[bramcast_pkg::ERRORS_PROGRAM_LSB]) program_error_q <= 1'b0;
      if (wdata_i[bramcast_pkg::ERRORS_SINK_LSB]) sink_error_q <= 1'b0;
      if (wdata_i[bramcast_pkg::ERRORS_INVALID_LSB]) invalid_error_q <= 1'b0;
    end
    if (state_q == DECIDE) begin
      if (wrong_address_q) address_error_q <= 1'b1;
      else if (wrong_lock_q) locked_error_q <= 1'b1;
      else if (wrong_strobe_q) strobe_error_q <= 1'b1;
      else if (wrong_order_q) order_error_q <= 1'b1;
      else if (wrong_images_q) invalid_error_q <= 1'b1;
    end
    if (broken) program_error_q <= 1'b1;
    if (limit && timeout_i) timeout_error_q <= 1'b1;
    if (limit && sink_i) sink_error_q <= 1'b1;

    if (rst || clear_o) begin
      done_q            <= 1'b0;
      frames_q          <= 32'd0;
      dropped_q         <= 16'd0;
      frame_pending_q   <= 1'b0;
      program_pending_q <= 1'b0;
      timeout_pending_q <= 1'b0;
    end
    if (rst || reset_q) begin
      locked_error_q  <= 1'b0;
      address_error_q <= 1'b0;
      strobe_error_q  <= 1'b0;
      order_error_q   <= 1'b0;
      invalid_error_q <= 1'b0;
      timeout_error_q <= 1'b0;
      sink_error_q    <= 1'b0;
      program_error_q <= 1'b0;
      host_read_o     <= 6'd0;
    end
    if (rst) begin
      state_q        <= IDLE;
      run_q          <= 1'b0;
      once_q         <= 1'b0;
      lock_q         <= 1'b0;
      guard_q        <= 1'b0;
      reset_q        <= 1'b0;
      clear_o        <= 1'b0;
      abort_o        <= 1'b0;
      enable_q       <= 4'd0;
      expect_q       <= 32'd0;
      host_we_o      <= 4'd0;
      follows_q      <= '0;
      check_ended_q  <= 1'b0;
      check_ended_q2 <= 1'b0;
      snap_cycles_q  <= 32'd0;
      snap_class_q   <= 16'd0;
    end
  end

  generate
    if (PEEK != 0) begin : g_stop
      always_ff @(posedge clk) begin
        if (put && at == 8'(bramcast_pkg::REG_STOP_AFTER)) stop_after_o <= wdata_i[20:0];
        if (rst || reset_q) stop_after_o <= 21'd0;
      end
    end else begin : g_no_stop
      assign stop_after_o = 21'd0;
    end
  endgenerate

  bramcast_checksum #(
      .WEIGHTS_BEATS(WEIGHTS_BEATS),
      .BIAS_BEATS(BIAS_BEATS)
  ) u_checksum (
      .clk(clk),
      .rst(rst),
      .stop_i(reset_q),
      .start_i(start_check),
      .words_i(new_words),
      .image_i(new_image),
      .words_o(check_words),
      .image_o(check_image),
      .busy_o(checking),
      .ended_o(check_ended),
      .crc_o(crc),
      .turn_i(phase_q == 2'd3),
      .data_i(host_data_i),
      .word_i(host_word_o),
      .beat_i(host_beat_o),
      .step_o(check_step),
      .more_o(check_more),
      .last_o(check_last)
  );

endmodule
`default_nettype wire
