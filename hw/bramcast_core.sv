// SPDX-License-Identifier: Apache-2.0
// bramcast_core: runs the loop nests of a program image on frames from a stream.
//
// Golden twin: docs/format.md says what is computed, docs/core.md in which cycle.
//
//   s_axis -> u_beats -> u_intake -> u_store -> u_scratch -> u_lanes -> u_results -> u_store, or u_output -> m_axis
//                                         u_weights --^
//   u_fetch -> u_settings, u_streams           what a nest is
//   u_sequence -> u_lane_control               in which cycle its taps come, and what becomes of each
//
// Here are only wires, listed by the instance that drives them. Stage numbers are those of docs/core.md.
// u_store, u_scratch and u_lanes stand once for each tile (g_tile, g_lanes), with PAIRS u_lanes for two; with TILES > 1
// the stages behind S1 come two cycles later than they are called.
//
// While start_i is high and the core is idle, it takes a frame from s_axis, runs the program and sends the
// results on m_axis. done_o is high for one cycle, the one after the last beat is accepted; cycles_o
// then holds that run's cycles, from the first cycle in which the whole frame is in the scratchpad to the
// one in which the last beat is accepted, both counted, and class_o the number of its largest beat.
// With FRAME_DEPTH > 0 the frames behind come in while the core computes, as far as the FIFO holds them.
// A frame that is shorter or longer than the program's INPUT says is dropped (TLAST_ENDS).
//
// abort_i ends what is in work, and so does a program that turns out wrong in the middle of a run (broken_o): frames that
// have come are lost, an open packet gets one more beat with TLAST and m_axis_tuser[16], a frame that is coming is
// discarded up to its TLAST. aborting_o is high meanwhile; another abort_i then gives the coming frame up. Only rst
// cuts a packet.
//
// A host may read and write the image memories (bramcast_image) while start_i and busy_o are low.
//
// Simulation: +program=FILE +weights=FILE +bias=FILE +table=FILE replace the images, +log=FILE writes
// every result (bramcast_log).
//
`default_nettype none
module bramcast_core #(
    parameter int LANES         = 16,   // 1..64, a power of two: outputs computed side by side
    parameter int TAPS          = 1,    // 1, 2, 4, 8: inputs that a lane takes per cycle
    parameter int DATA_BITS     = 8,    // 8 or 16, bits of an activation
    parameter int WEIGHT_BITS   = 8,    // 8
    parameter int RQ            = 2,    // 1..LANES, a power of two: lanes requantized per cycle
    parameter int PROGRAM_DEPTH = 128,  // 64.., a multiple of 32
    parameter int WEIGHTS_DEPTH = 1024, // 1..2**24, words of LANES * TAPS weights
    parameter int BIAS_DEPTH    = 64,   // 1..2**24, words of RQ entries
    parameter int TABLE_DEPTH   = 0,    // 0: no tables; else a multiple of 256
    parameter int SCRATCH_DEPTH = 1024, // 1..2**24 / LANES / TAPS, words of LANES * TAPS activations
    parameter int NARROW        = 0,    // 1: layers may have weights of 4 or 2 bits
    parameter int GATES         = 0,    // 1: products of two tensors, and LOOP
    parameter int TILES         = 1,   // 1, 2, 4, 8: strips of a picture side by side, each with LANES * TAPS lanes
    parameter int PAIRS         = 0,   // 1: two tiles share their multipliers (DATA_BITS = 8, TILES > 1)
    parameter int FRAME_DEPTH   = 0,    // 0, or a power of two from 16 on: units in the frame FIFO
    parameter int TLAST_ENDS    = 1,    // s_axis_tlast ends 1: a frame, 2: each of its packets; 0: it is ignored, frames are counted
    parameter int LEDGER_DEPTH  = 0,    // 0, or a power of two from 2 on: entries of the ledger
    parameter int PEEK          = 0,    // 1: the core can hold behind a nest, the host read the scratchpad
    parameter int BEAT          = 1,    // 1, 2, 4, 8: elements of an input beat
    parameter int BANKED        = 0,    // 1: the images' memories are such that AMD's updatemem can write them
    parameter     PROGRAM_IMAGE = "",   // files for $readmemh
    parameter     WEIGHTS_IMAGE = "",
    parameter     BIAS_IMAGE    = "",
    parameter     TABLE_IMAGE   = ""
) (
    input  logic                 clk,
    input  logic                 rst,            // synchronous, active high
    input  logic                 start_i,
    input  logic                 abort_i,        // one cycle: end what is in work; while aborting_o: the input, too
    output logic                 aborting_o,     // from the cycle behind abort_i or broken_o until all is idle and clean
    output logic                 running_o,      // a run is in work
    output logic                 broken_o,       // a run is ended, as its program is in error; one cycle
    output logic                 taken_o,        // a whole frame's last element is being accepted
    output logic                 dropped_o,      // a short or long frame has been dropped, one cycle
    output logic                 busy_o,         // from behind a frame's first element to its last beat
    output logic                 done_o,
    output logic [31:0]          cycles_o,
    output logic [15:0]          class_o,        // number of the last run's largest beat
    output logic                 ready_o,        // the first descriptors are here
    output logic                 program_error_o,
    output logic [1:0]           frame_error_o,  // sticky: a frame was short, a frame was long
    input  logic [1:0]           clear_error_i,
    input  logic [BEAT*DATA_BITS-1:0]   s_axis_tdata,  // element 0 lowest
    input  logic [BEAT*DATA_BITS/8-1:0] s_axis_tkeep,  // ignored with BEAT = 1
    input  logic                 s_axis_tvalid,
    output logic                 s_axis_tready,
    input  logic                 s_axis_tlast,
    output logic [31:0]          m_axis_tdata,
    output logic                 m_axis_tvalid,
    input  logic                 m_axis_tready,
    output logic                 m_axis_tlast,
    output logic [16:0]          m_axis_tuser,   // with TLAST: class_o; bit 16: the packet was cut
    // ledger
    output logic [20:0]          nests_o,        // nests of the last run that have ended, with their entries
    input  logic [20:0]          stop_after_i,   // PEEK: a run holds behind so many nests; 0: it does not
    output logic                 stopped_o,      // it does; all that these nests wrote is in the scratchpad
    // host, one bit for each image: program, weights, bias, table; to be read only: ledger, scratchpad
    input  logic [5:0]           host_read_i,
    input  logic [3:0]           host_we_i,
    input  logic [23:0]          host_word_i,
    input  logic [6:0]           host_beat_i,
    input  logic [31:0]          host_data_i,
    output logic [31:0]          host_data_o
);

  localparam int TAPS_LOG     = $clog2(TAPS);
  localparam int ELEMENTS     = LANES * TAPS;   // of a word
  localparam int ELEMENTS_LOG = $clog2(ELEMENTS);
  localparam int WIDE_CHUNKS  = ELEMENTS / RQ;  // of a whole group in lane-wise nests
  localparam int FIFO_CHUNKS  = (WIDE_CHUNKS > 8) ? 2 * WIDE_CHUNKS : 16;
  localparam int UNIT         = (LANES > TAPS) ? LANES : TAPS;  // elements of the frame side by side
  localparam int UNITS        = ELEMENTS / UNIT;                // of a word
  localparam int SCRATCH_BITS = (SCRATCH_DEPTH > 1) ? $clog2(SCRATCH_DEPTH) : 1;
  localparam int SUB_BITS     = SCRATCH_BITS + TAPS_LOG;        // address of a sub-word
  localparam int UNIT_BITS    = SCRATCH_BITS + $clog2(UNITS);   // address of a unit
  localparam int ELEMENT_BITS = SCRATCH_BITS + ELEMENTS_LOG;
  localparam int WEIGHT_ADDRESS_BITS = (WEIGHTS_DEPTH > 1) ? $clog2(WEIGHTS_DEPTH) : 1;
  localparam int STEP_BITS    = WEIGHT_ADDRESS_BITS + ((NARROW != 0) ? 2 : 0);
  localparam int BIAS_BITS    = (BIAS_DEPTH > 1) ? $clog2(BIAS_DEPTH) : 1;
  localparam int TABLE_BITS   = (TABLE_DEPTH > 256) ? $clog2(TABLE_DEPTH) - 8 : 1;
  localparam int TABLE_STAGES = (DATA_BITS == 8) ? 2 : 4;  // cycles of bramcast_table
  localparam int INDEX_BITS   = (WIDE_CHUNKS > 1) ? $clog2(WIDE_CHUNKS) : 1;
  localparam int TAIL_BITS    = 6 + TAPS_LOG;
  localparam int RQ_BITS      = (RQ > 1) ? $clog2(RQ) : 1;
  localparam int TILE_BITS    = (TILES > 1) ? $clog2(TILES) : 1;
  localparam int TOGETHER     = (PAIRS != 0) ? 2 : 1;  // tiles whose lanes share their multipliers
  localparam int TILED        = (TILES > 1) ? 2 : 0;  // stages more: an address gets its row, banks are rotated
  localparam int LANE_BITS    = (LANES > 1) ? $clog2(LANES) : 1;
  // Executed nests of a run: with LOOPs as many as fit 2**26 cycles.
  localparam int NEST_BITS    = (GATES != 0) ? 21 : $clog2(PROGRAM_DEPTH / 32);

  generate
    if (LANES < 1 || LANES > 64 || (LANES & (LANES - 1)) != 0) begin : g_check_lanes
      LANES_must_be_a_power_of_two_up_to_64 u_error ();
    end
    if (TAPS != 1 && TAPS != 2 && TAPS != 4 && TAPS != 8) begin : g_check_taps
      TAPS_must_be_1_2_4_or_8 u_error ();
    end
    if (DATA_BITS != 8 && DATA_BITS != 16) begin : g_check_data
      DATA_BITS_must_be_8_or_16 u_error ();
    end
    if (NARROW != 0 && NARROW != 1) begin : g_check_narrow
      NARROW_must_be_0_or_1 u_error ();
    end
    if (GATES != 0 && GATES != 1) begin : g_check_gates
      GATES_must_be_0_or_1 u_error ();
    end
    if (TILES != 1 && TILES != 2 && TILES != 4 && TILES != 8) begin : g_check_tiles
      TILES_must_be_1_2_4_or_8 u_error ();
    end
    if (PAIRS != 0 && (PAIRS != 1 || TILES == 1 || DATA_BITS != 8)) begin : g_check_pairs
      PAIRS_must_be_0_or_with_TILES_above_1_and_DATA_BITS_8_also_1 u_error ();
    end
    if (WEIGHT_BITS != 8) begin : g_check_weight
      WEIGHT_BITS_must_be_8 u_error ();
    end
    if (RQ < 1 || RQ > LANES || (RQ & (RQ - 1)) != 0) begin : g_check_rq
      RQ_must_be_a_power_of_two_up_to_LANES u_error ();
    end
    if (ELEMENT_BITS > 24 || WEIGHT_ADDRESS_BITS > 24 || BIAS_BITS > 24) begin : g_check_depths
      memories_must_fit_24_bit_addresses u_error ();
    end
  endgenerate

  // ------------------------------------------------------------------ wires, by what drives them

  // u_fetch
  logic                            input_ready, nest_ready;
  logic                            field_we, field_input;
  logic [4:0]                      field_index;
  logic [31:0]                     field_word, host_program;

  // u_settings: of the nest at the front, and at the back of the pipeline
  logic [95:0]                     counts;
  logic                            front_stream, front_table, front_last, front_lanewise;
  logic [1:0]                      front_narrow;
  logic [TAIL_BITS-1:0]            front_tail;
  logic signed [15:0]              y_start, y_step_oy, y_step_ky, x_start, x_step_ox, x_step_kx;
  logic [15:0]                     y_limit, x_limit;
  logic                            lanewise, is_max, product, factor_unsigned, x_unsigned;
  logic                            y_unsigned, stream, table_on, packet_end, last_nest;
  logic [TAIL_BITS-1:0]            tail;
  logic signed [31:0]              lo, hi;
  logic                            front_strips;
  logic [ELEMENT_BITS-1:0]         row_start, row_step_oy, row_step_ky, row_limit;
  logic [ELEMENT_BITS:0]           span;
  logic signed [bramcast_pkg::NEST_STRIP_START_BITS-1:0] strip_start, strip_step_oy, strip_step_ky;
  logic [bramcast_pkg::NEST_STRIP_LIMIT_BITS-1:0] strip_limit;
  logic [TILES-1:0]                banks;           // that the results go to
  logic [BIAS_BITS-1:0]            next_bias_base, bias_step;
  logic [TABLE_BITS-1:0]           table_number;

  // u_beats
  logic [DATA_BITS-1:0]            in_data;
  logic                            in_valid, in_ready, in_last, in_none;

  // the end of a run before its time
  logic                            flush, clear, settled_q;

  // u_intake
  logic                            input_open, intake_busy;
  logic                            take_input, leave_idle, withdrawn, run_start;
  logic                            element_valid, element_first, element_end;
  logic [DATA_BITS-1:0]            element;
  logic [UNIT-1:0]                 element_take;
  logic [UNIT_BITS-1:0]            element_address;
  logic [TILE_BITS-1:0]            input_bank;
  logic                            unit_we;
  logic [UNIT_BITS-1:0]            unit_address;
  logic [UNIT*DATA_BITS-1:0]       unit_word;

  // u_sequence
  logic                            idle, area_free, take_nest, run_end, last_beat;
  logic [4:1]                      prime;  // take_nest one to four cycles later
  logic                            s1_tap, s1_step, s1_first, s1_last, s1_tail_group, s1_end;
  logic [2:0]                      s1_level;
  logic                            act_step;
  logic [2:0]                      act_level;
  logic [31:0]                     cycle;

  // u_lane_control
  logic                            s3_step;
  logic [2:0]                      s3_level;
  logic [TILES-1:0]                s4_hit;
  logic                            s5_factor;
  logic [TILES-1:0]                s5_max_load, s5_max_try;
  logic                            s6_factor, s6_sum, s6_first;
  logic                            s6_pixel, s6_tail_group, s6_end;
  logic [1:0]                      s6_level;

  // u_streams
  logic [ELEMENT_BITS-1:0]         act_address;
  logic [STEP_BITS-1:0]            weight_step;     // a word holds 2**narrow steps
  logic [SUB_BITS-1:0]             result_address;  // of the group's first sub-word
  logic [TILES-1:0]                s4_y_inside;
  logic                            s4_x_inside;
  logic [TILES*TILE_BITS-1:0]      tap_bank;        // that each tile reads
  logic [LANE_BITS-1:0]            act_lane;

  // u_scratch, u_narrow, u_weights
  logic [SCRATCH_BITS-1:0]         scratch_raddr;
  logic [TILES*ELEMENTS*DATA_BITS-1:0] bank_words;  // of all banks
  logic [TILES*ELEMENTS*DATA_BITS-1:0] act_words;   // that each tile reads: S3, in lane-wise nests S5
  logic [ELEMENTS*DATA_BITS-1:0]   peek_word;
  logic [WEIGHT_ADDRESS_BITS-1:0]  weight_address;
  logic [ELEMENTS*WEIGHT_BITS-1:0] weight_read;     // S5
  logic [ELEMENTS*WEIGHT_BITS-1:0] weight_word;     // S5
  logic [31:0]                     host_weights, host_scratch;

  // u_lanes, u_results, u_output
  logic [TILES*TAPS*RQ*32-1:0]     terms_s9;
  logic [INDEX_BITS-1:0]           index_s7, chunk_index;
  logic                            result_valid, result_stream, result_tlast, result_end;
  logic [RQ_BITS-1:0]              result_lanes;
  logic                            chunk_valid, chunk_last;
  logic [1:0]                      chunk_level;
  logic [TILES*RQ*32-1:0]          beats;           // a chunk for the stream
  logic [TILES*RQ*DATA_BITS-1:0]   chunk;           // a chunk for the scratchpad
  logic [31:0]                     host_results;
  logic                            pop, output_busy;

  // u_ledger
  logic                            hold, held;
  logic [NEST_BITS-1:0]            nests;
  logic [31:0]                     host_ledger;

  // u_store
  // All tiles write at the same time, to the same address.
  logic                            scratch_result, element_written;
  logic [SUB_BITS-1:0]             scratch_address;
  logic [TILES*UNIT*DATA_BITS-1:0] scratch_words;
  logic                            result_step;
  logic [2:0]                      result_level;

  assign ready_o     = input_ready && nest_ready;
  assign host_data_o = host_program | host_weights | host_results | host_ledger | host_scratch;
  assign nests_o     = 21'(nests);
  assign stopped_o   = held;

  logic unused;  // of neighbours only the first one's address counts; cycle is for the log
  assign unused = &{1'b0, act_address, cycle, prime, scratch_result, scratch_address, scratch_words};

  // ------------------------------------------------------------------ the end before its time

  // All valid bits fall in the first cycle of flush; then it is a matter of both streams.
  assign flush      = aborting_o;
  assign clear      = rst || flush;
  assign broken_o   = running_o && program_error_o && !aborting_o;
  assign busy_o     = intake_busy || aborting_o;

  always_ff @(posedge clk) begin
    settled_q <= aborting_o;
    if (abort_i || broken_o) aborting_o <= 1'b1;
    else if (settled_q && !input_open && !output_busy) aborting_o <= 1'b0;
    if (rst) aborting_o <= 1'b0;
  end

  // ------------------------------------------------------------------ what is to be done

  bramcast_fetch #(
      .PROGRAM_DEPTH(PROGRAM_DEPTH),
      .GATES(GATES),
      .TILES(TILES),
      .IMAGE(PROGRAM_IMAGE),
      .PLUSARG("program=%s"),
      .BANKED(BANKED)
  ) u_fetch (
      .clk(clk),
      .rst(clear),
      .restart_i(withdrawn),
      .take_input_i(take_input),
      .take_nest_i(take_nest),
      .input_ready_o(input_ready),
      .nest_ready_o(nest_ready),
      .error_o(program_error_o),
      .we_o(field_we),
      .input_o(field_input),
      .index_o(field_index),
      .word_o(field_word),
      .host_read_i(host_read_i[0]),
      .host_we_i(host_we_i[0]),
      .host_word_i(host_word_i),
      .host_beat_i(host_beat_i),
      .host_data_i(host_data_i),
      .host_data_o(host_program)
  );

  bramcast_settings #(
      .TAIL_BITS(TAIL_BITS),
      .BIAS_BITS(BIAS_BITS),
      .TABLE_BITS(TABLE_BITS),
      .TILES(TILES),
      .ROW_BITS(ELEMENT_BITS)
  ) u_settings (
      .clk(clk),
      .we_i(field_we),
      .index_i(field_index),
      .word_i(field_word),
      .take_front_i(take_nest),
      .take_back_i(prime[2]),
      .counts_o(counts),
      .front_stream_o(front_stream),
      .front_table_o(front_table),
      .front_last_o(front_last),
      .front_narrow_o(front_narrow),
      .front_lanewise_o(front_lanewise),
      .front_tail_o(front_tail),
      .y_start_o(y_start),
      .y_limit_o(y_limit),
      .y_step_oy_o(y_step_oy),
      .y_step_ky_o(y_step_ky),
      .x_start_o(x_start),
      .x_limit_o(x_limit),
      .x_step_ox_o(x_step_ox),
      .x_step_kx_o(x_step_kx),
      .front_strips_o(front_strips),
      .row_start_o(row_start),
      .row_step_oy_o(row_step_oy),
      .row_step_ky_o(row_step_ky),
      .span_o(span),
      .row_limit_o(row_limit),
      .strip_start_o(strip_start),
      .strip_step_oy_o(strip_step_oy),
      .strip_step_ky_o(strip_step_ky),
      .strip_limit_o(strip_limit),
      .banks_o(banks),
      .lanewise_o(lanewise),
      .max_o(is_max),
      .product_o(product),
      .factor_unsigned_o(factor_unsigned),
      .x_unsigned_o(x_unsigned),
      .y_unsigned_o(y_unsigned),
      .stream_o(stream),
      .table_o(table_on),
      .packet_end_o(packet_end),
      .last_o(last_nest),
      .tail_o(tail),
      .lo_o(lo),
      .hi_o(hi),
      .next_bias_base_o(next_bias_base),
      .bias_step_o(bias_step),
      .table_number_o(table_number)
  );

  bramcast_beats #(
      .BEAT(BEAT),
      .DATA_BITS(DATA_BITS),
      .TLAST_ENDS(TLAST_ENDS)
  ) u_beats (
      .clk(clk),
      .rst(rst),
      .clear_i(flush && (abort_i || TLAST_ENDS == 0)),
      .s_axis_tdata(s_axis_tdata),
      .s_axis_tkeep(s_axis_tkeep),
      .s_axis_tvalid(s_axis_tvalid),
      .s_axis_tready(s_axis_tready),
      .s_axis_tlast(s_axis_tlast),
      .element_o(in_data),
      .valid_o(in_valid),
      .ready_i(in_ready),
      .last_o(in_last),
      .none_o(in_none)
  );

  bramcast_intake #(
      .LANES(LANES),
      .TAPS(TAPS),
      .DATA_BITS(DATA_BITS),
      .SCRATCH_BITS(SCRATCH_BITS),
      .FRAME_DEPTH(FRAME_DEPTH),
      .TLAST_ENDS(TLAST_ENDS),
      .TILES(TILES)
  ) u_intake (
      .clk(clk),
      .rst(rst),
      .we_i(field_we && field_input),
      .index_i(field_index),
      .word_i(field_word),
      .flush_i(flush),
      .give_up_i(abort_i),
      .open_o(input_open),
      .start_i(start_i),
      .host_read_i(host_read_i[0]),
      .host_we_i(host_we_i[0]),
      .input_ready_i(input_ready),
      .nest_ready_i(nest_ready),
      .idle_i(idle),
      .area_free_i(area_free),
      .last_beat_i(last_beat),
      .take_input_o(take_input),
      .leave_idle_o(leave_idle),
      .withdrawn_o(withdrawn),
      .run_start_o(run_start),
      .taken_o(taken_o),
      .dropped_o(dropped_o),
      .busy_o(intake_busy),
      .frame_error_o(frame_error_o),
      .clear_error_i(clear_error_i),
      .s_axis_tdata(in_data),
      .s_axis_tvalid(in_valid),
      .s_axis_tready(in_ready),
      .s_axis_tlast(in_last),
      .none_i(in_none),
      .element_valid_o(element_valid),
      .element_o(element),
      .element_take_o(element_take),
      .element_first_o(element_first),
      .element_end_o(element_end),
      .element_address_o(element_address),
      .bank_o(input_bank),
      .element_written_i(element_written),
      .unit_we_o(unit_we),
      .unit_address_o(unit_address),
      .unit_word_o(unit_word)
  );

  // ------------------------------------------------------------------ S0..S6: when, where, which

  bramcast_sequence #(
      .LANES(LANES),
      .TAPS(TAPS),
      .RQ(RQ),
      .FIFO_CHUNKS(FIFO_CHUNKS),
      .TABLE_STAGES(TABLE_STAGES),
      .TILED(TILED)
  ) u_sequence (
      .clk(clk),
      .rst(rst),
      .flush_i(flush),
      .leave_idle_i(leave_idle),
      .run_start_i(run_start),
      .withdrawn_i(withdrawn),
      .idle_o(idle),
      .running_o(running_o),
      .area_free_o(area_free),
      .nest_ready_i(nest_ready),
      .hold_i(hold),
      .held_o(held),
      .take_nest_o(take_nest),
      .prime_o(prime),
      .counts_i(counts),
      .front_stream_i(front_stream),
      .front_table_i(front_table),
      .front_last_i(front_last),
      .front_lanewise_i(front_lanewise),
      .front_tail_i(front_tail),
      .s1_tap_o(s1_tap),
      .s1_step_o(s1_step),
      .s1_level_o(s1_level),
      .act_step_o(act_step),
      .act_level_o(act_level),
      .s1_first_o(s1_first),
      .s1_last_o(s1_last),
      .s1_tail_group_o(s1_tail_group),
      .s1_end_o(s1_end),
      .pop_i(pop),
      .m_axis_tvalid(m_axis_tvalid),
      .m_axis_tready(m_axis_tready),
      .run_end_i(run_end),
      .last_beat_o(last_beat),
      .done_o(done_o),
      .cycle_o(cycle),
      .cycles_o(cycles_o)
  );

  bramcast_address_streams #(
      .ELEMENT_BITS(ELEMENT_BITS),
      .STEP_BITS(STEP_BITS),
      .SUB_BITS(SUB_BITS),
      .TILES(TILES)
  ) u_streams (
      .clk(clk),
      .rst(clear),
      .we_i(field_we),
      .index_i(field_index),
      .word_i(field_word),
      .take_nest_i(take_nest),
      .prime_i(prime[3:2]),
      .y_start_i(y_start),
      .y_limit_i(y_limit),
      .y_step_oy_i(y_step_oy),
      .y_step_ky_i(y_step_ky),
      .x_start_i(x_start),
      .x_limit_i(x_limit),
      .x_step_ox_i(x_step_ox),
      .x_step_kx_i(x_step_kx),
      .lanewise_i(LANES == 1 || front_lanewise),
      .strips_i(front_strips),
      .row_start_i(row_start),
      .row_step_oy_i(row_step_oy),
      .row_step_ky_i(row_step_ky),
      .span_i(span),
      .row_limit_i(row_limit),
      .strip_start_i(strip_start),
      .strip_step_oy_i(strip_step_oy),
      .strip_step_ky_i(strip_step_ky),
      .strip_limit_i(strip_limit),
      .act_step_i(act_step),
      .act_level_i(act_level),
      .s3_step_i(s3_step),
      .s3_level_i(s3_level),
      .result_step_i(result_step),
      .result_level_i(result_level),
      .act_address_o(act_address),
      .bank_o(tap_bank),
      .s4_y_inside_o(s4_y_inside),
      .s4_x_inside_o(s4_x_inside),
      .weight_step_o(weight_step),
      .result_address_o(result_address)
  );

  // With TILES > 1 all that follows comes so much later.
  logic       tap, tap_step, tap_first, tap_last, tap_tail_group, tap_end;
  logic [2:0] tap_level;
  bramcast_delay #(
      .BITS(8),
      .STAGES(TILED)
  ) u_tap (
      .clk(clk),
      .clear_i(clear),
      .token_i({s1_end, s1_tail_group, s1_last, s1_first, s1_level, s1_tap}),
      .token_o({tap_end, tap_tail_group, tap_last, tap_first, tap_level, tap})
  );
  bramcast_delay #(
      .BITS(1),
      .STAGES(TILED)
  ) u_tap_step (
      .clk(clk),
      .clear_i(clear),
      .token_i(s1_step),
      .token_o(tap_step)
  );

  generate
    if (TILES > 1) begin : g_lane_later
      always_ff @(posedge clk) act_lane <= act_address[TAPS_LOG +: LANE_BITS];
    end else begin : g_lane_now
      assign act_lane = act_address[TAPS_LOG +: LANE_BITS];
    end
  endgenerate

  bramcast_lane_control #(
      .GATES(GATES),
      .TILES(TILES)
  ) u_lane_control (
      .clk(clk),
      .rst(clear),
      .product_i(product),
      .s1_tap_i(tap),
      .s1_step_i(tap_step),
      .s1_level_i(tap_level),
      .s1_first_i(tap_first),
      .s1_last_i(tap_last),
      .s1_tail_group_i(tap_tail_group),
      .s1_end_i(tap_end),
      .s3_step_o(s3_step),
      .s3_level_o(s3_level),
      .s4_y_inside_i(s4_y_inside),
      .s4_x_inside_i(s4_x_inside),
      .s4_hit_o(s4_hit),
      .s5_factor_o(s5_factor),
      .s5_max_load_o(s5_max_load),
      .s5_max_try_o(s5_max_try),
      .s6_factor_o(s6_factor),
      .s6_sum_o(s6_sum),
      .s6_first_o(s6_first),
      .s6_pixel_o(s6_pixel),
      .s6_level_o(s6_level),
      .s6_tail_group_o(s6_tail_group),
      .s6_end_o(s6_end)
  );

  // ------------------------------------------------------------------ S2..S9: data

  bramcast_peek #(
      .WORD_BITS(ELEMENTS * DATA_BITS),
      .ADDRESS_BITS(SCRATCH_BITS),
      .PEEK(PEEK)
  ) u_peek (
      .clk(clk),
      .raddr_i(act_address[ELEMENT_BITS-1:ELEMENTS_LOG]),
      .raddr_o(scratch_raddr),
      .word_i(peek_word),
      .host_read_i(host_read_i[5]),
      .host_word_i(host_word_i),
      .host_beat_i(host_beat_i),
      .host_data_o(host_scratch)
  );

  bramcast_narrow #(
      .LANES(ELEMENTS),
      .WEIGHT_BITS(WEIGHT_BITS),
      .ADDRESS_BITS(WEIGHT_ADDRESS_BITS),
      .STEP_BITS(STEP_BITS),
      .NARROW(NARROW)
  ) u_narrow (
      .clk(clk),
      .narrow_i(front_narrow),
      .step_i(weight_step),
      .address_o(weight_address),
      .word_i(weight_read),
      .word_o(weight_word)
  );

  bramcast_image #(
      .WORD_BITS(ELEMENTS * WEIGHT_BITS),
      .DEPTH(WEIGHTS_DEPTH),
      .IMAGE(WEIGHTS_IMAGE),
      .PLUSARG("weights=%s"),
      .BANKED(BANKED)
  ) u_weights (
      .clk(clk),
      .raddr_i(weight_address),
      .word_o(weight_read),
      .host_read_i(host_read_i[1]),
      .host_we_i(host_we_i[1]),
      .host_word_i(host_word_i),
      .host_beat_i(host_beat_i),
      .host_data_i(host_data_i),
      .host_data_o(host_weights)
  );

  genvar t;
  generate
    if (TILES > 1) begin : g_peek_bank
      assign peek_word = bank_words[ELEMENTS*DATA_BITS*host_word_i[SCRATCH_BITS +: TILE_BITS] +: ELEMENTS*DATA_BITS];
    end else begin : g_peek
      assign peek_word = bank_words;
    end

    for (t = 0; t < TILES; t = t + 1) begin : g_tile
      logic                          store_we, store_unit, store_result, store_written;
      logic [UNIT_BITS-1:0]          store_unit_address;
      logic [SUB_BITS-1:0]           store_address;
      logic [UNIT*DATA_BITS-1:0]     store_word;
      logic                          store_step;
      logic [2:0]                    store_level;
      logic [ELEMENTS*DATA_BITS-1:0] act_word;
      assign scratch_words[UNIT*DATA_BITS*t +: UNIT*DATA_BITS] = store_word;
      if (t == 0) begin : g_first
        assign scratch_result  = store_result;
        assign scratch_address = store_address;
        assign element_written = store_written;
        assign result_step     = store_step;
        assign result_level    = store_level;
      end else begin : g_later
        logic unused_store;
        assign unused_store = &{1'b0, store_result, store_written, store_step, store_level};
      end

      bramcast_scratch #(
          .LANES(LANES),
          .TAPS(TAPS),
          .DATA_BITS(DATA_BITS),
          .DEPTH(SCRATCH_DEPTH)
      ) u_scratch (
          .clk(clk),
          .we_i(store_we && (store_unit ? input_bank == TILE_BITS'(t) : banks[t])),
          .unit_i(store_unit),
          .unit_address_i(store_unit_address),
          .address_i(store_address),
          .data_i(store_word),
          .raddr_i(scratch_raddr),
          .word_o(bank_words[ELEMENTS*DATA_BITS*t +: ELEMENTS*DATA_BITS])
      );

      if (TILES > 1) begin : g_rotated
        logic [TILE_BITS-1:0] bank;
        assign bank = tap_bank[TILE_BITS*t +: TILE_BITS];
        always_ff @(posedge clk) act_word <= bank_words[ELEMENTS*DATA_BITS*bank +: ELEMENTS*DATA_BITS];
      end else begin : g_straight
        assign act_word = bank_words;
        logic unused_bank;
        assign unused_bank = &{1'b0, tap_bank};
      end

      assign act_words[ELEMENTS*DATA_BITS*t +: ELEMENTS*DATA_BITS] = act_word;

      bramcast_store #(
          .LANES(LANES),
          .TAPS(TAPS),
          .DATA_BITS(DATA_BITS),
          .RQ(RQ),
          .SCRATCH_BITS(SCRATCH_BITS)
      ) u_store (
          .clk(clk),
          .rst(clear),
          .chunk_valid_i(chunk_valid),
          .chunk_i(chunk[RQ*DATA_BITS*t +: RQ*DATA_BITS]),
          .chunk_index_i(chunk_index),
          .chunk_last_i(chunk_last),
          .chunk_level_i(chunk_level),
          .result_first_i(prime[4]),
          .result_step_o(store_step),
          .result_level_o(store_level),
          .result_address_i(result_address),
          .element_valid_i(element_valid),
          .element_i(element),
          .element_take_i(element_take),
          .element_first_i(element_first),
          .element_end_i(element_end),
          .element_address_i(element_address),
          .element_written_o(store_written),
          .unit_we_i(unit_we),
          .unit_address_i(unit_address),
          .unit_word_i(unit_word),
          .we_o(store_we),
          .unit_o(store_unit),
          .result_o(store_result),
          .unit_address_o(store_unit_address),
          .address_o(store_address),
          .word_o(store_word)
      );
    end

    for (t = 0; t < TILES; t = t + TOGETHER) begin : g_lanes
      bramcast_lane_array #(
          .LANES(LANES),
          .TAPS(TAPS),
          .DATA_BITS(DATA_BITS),
          .WEIGHT_BITS(WEIGHT_BITS),
          .RQ(RQ),
          .GATES(GATES),
          .TILES(TOGETHER)
      ) u_lanes (
          .clk(clk),
          .lanewise_i(lanewise),
          .max_i(is_max),
          .product_i(product),
          .x_unsigned_i(x_unsigned),
          .factor_unsigned_i(factor_unsigned),
          .lane_i(act_lane),
          .act_word_i(act_words[ELEMENTS*DATA_BITS*t +: TOGETHER*ELEMENTS*DATA_BITS]),
          .weight_word_i(weight_word),
          .s4_hit_i(s4_hit[t +: TOGETHER]),
          .s5_factor_i(s5_factor),
          .s5_max_load_i(s5_max_load[t +: TOGETHER]),
          .s5_max_try_i(s5_max_try[t +: TOGETHER]),
          .s6_factor_i(s6_factor),
          .s6_sum_i(s6_sum),
          .s6_first_i(s6_first),
          .s6_last_i(s6_pixel),
          .index_s7_i(index_s7),
          .terms_o(terms_s9[TAPS*RQ*32*t +: TOGETHER*TAPS*RQ*32])
      );
    end
  endgenerate

  // ------------------------------------------------------------------ S7..S13 and later: results

  bramcast_results #(
      .LANES(LANES),
      .TAPS(TAPS),
      .DATA_BITS(DATA_BITS),
      .RQ(RQ),
      .BIAS_DEPTH(BIAS_DEPTH),
      .TABLE_DEPTH(TABLE_DEPTH),
      .TABLE_STAGES(TABLE_STAGES),
      .BIAS_IMAGE(BIAS_IMAGE),
      .TABLE_IMAGE(TABLE_IMAGE),
      .BANKED(BANKED),
      .TILES(TILES)
  ) u_results (
      .clk(clk),
      .rst(clear),
      .take_back_i(prime[2]),
      .next_bias_base_i(next_bias_base),
      .bias_step_i(bias_step),
      .tail_i(tail),
      .lanewise_i(lanewise),
      .stream_i(stream),
      .packet_end_i(packet_end),
      .last_i(last_nest),
      .lo_i(lo),
      .hi_i(hi),
      .table_i(table_on),
      .table_number_i(table_number),
      .y_unsigned_i(y_unsigned),
      .pixel_i(s6_pixel),
      .pixel_level_i(s6_level),
      .pixel_tail_i(s6_tail_group),
      .pixel_end_i(s6_end),
      .index_s7_o(index_s7),
      .terms_i(terms_s9),
      .valid_o(result_valid),
      .stream_valid_o(result_stream),
      .lanes_o(result_lanes),
      .tlast_o(result_tlast),
      .end_o(result_end),
      .beats_o(beats),
      .chunk_valid_o(chunk_valid),
      .chunk_last_o(chunk_last),
      .chunk_level_o(chunk_level),
      .chunk_index_o(chunk_index),
      .chunk_o(chunk),
      .host_read_i(host_read_i[3:2]),
      .host_we_i(host_we_i[3:2]),
      .host_word_i(host_word_i),
      .host_beat_i(host_beat_i),
      .host_data_i(host_data_i),
      .host_data_o(host_results)
  );

  bramcast_output #(
      .RQ(RQ),
      .FIFO_CHUNKS(FIFO_CHUNKS)
  ) u_output (
      .clk(clk),
      .rst(rst),
      .flush_i(flush),
      .busy_o(output_busy),
      .chunk_valid_i(result_stream),
      .chunk_i(beats[RQ*32-1:0]),
      .chunk_lanes_i(result_lanes),
      .chunk_tlast_i(result_tlast),
      .chunk_end_i(result_end),
      .pop_o(pop),
      .m_axis_tdata(m_axis_tdata),
      .m_axis_tvalid(m_axis_tvalid),
      .m_axis_tready(m_axis_tready),
      .m_axis_tlast(m_axis_tlast),
      .m_axis_tuser(m_axis_tuser),
      .run_end_o(run_end),
      .class_o(class_o)
  );

  bramcast_ledger #(
      .RQ(RQ),
      .DATA_BITS(DATA_BITS),
      .NEST_BITS(NEST_BITS),
      .LEDGER_DEPTH(LEDGER_DEPTH),
      .PEEK(PEEK),
      .TILES(TILES)
  ) u_ledger (
      .clk(clk),
      .rst(rst),
      .flush_i(flush),
      .run_start_i(run_start),
      .nest_start_i(prime[2]),
      .done_i(done_o),
      .nests_o(nests),
      .chunk_valid_i(result_valid),
      .chunk_stream_i(result_stream),
      .chunk_lanes_i(result_lanes),
      .chunk_banks_i(banks),
      .beats_i(beats),
      .m_axis_tvalid(m_axis_tvalid),
      .m_axis_tready(m_axis_tready),
      .stop_after_i(stop_after_i),
      .hold_o(hold),
      .held_i(held),
      .host_read_i(host_read_i[4]),
      .host_word_i(host_word_i),
      .host_beat_i(host_beat_i),
      .host_data_o(host_ledger)
  );

`ifndef SYNTHESIS
  bramcast_log #(
      .WORD_BITS(LANES * DATA_BITS),
      .PITCH_BITS(UNIT * DATA_BITS),
      .ADDRESS_BITS(SUB_BITS),
      .RQ(RQ),
      .LANE_BITS(RQ_BITS),
      .TILES(TILES),
      .BANK(SCRATCH_DEPTH * TAPS)
  ) u_log (
      .clk(clk),
      .rst(clear),
      .run_start_i(run_start),
      .nest_start_i(prime[2]),
      .back_start_i(prime[2]),
      .cycle_i(cycle),
      .word_valid_i(scratch_result),
      .word_address_i(scratch_address),
      .word_i(scratch_words),
      .banks_i(banks),
      .chunk_valid_i(result_stream),
      .chunk_i(beats[RQ*32-1:0]),
      .chunk_lanes_i(result_lanes),
      .done_i(done_o),
      .cycles_i(cycles_o)
  );
`endif

endmodule
`default_nettype wire
