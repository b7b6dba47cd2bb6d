// SPDX-License-Identifier: Apache-2.0
// bramcast_core: runs the loop nests of a program image on frames from a stream.
//
// Golden twin: docs/format.md says what is computed, docs/core.md in which cycle.
//
// While start_i is high and the core is idle, it takes a frame from s_axis, runs the program and sends the
// results on m_axis. done_o is high for one cycle, the one after the last beat is accepted; cycles_o
// then holds that run's cycles, from the first cycle in which the whole frame is in the scratchpad to the
// one in which the last beat is accepted, both counted, and class_o the number of its largest beat.
// With FRAME_DEPTH > 0 the frames behind come in while the core computes, as far as the FIFO holds them.
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
    parameter int FRAME_DEPTH   = 0,    // 0, or a power of two from 16 on: units in the frame FIFO
    parameter     PROGRAM_IMAGE = "",   // files for $readmemh
    parameter     WEIGHTS_IMAGE = "",
    parameter     BIAS_IMAGE    = "",
    parameter     TABLE_IMAGE   = ""
) (
    input  logic                 clk,
    input  logic                 rst,            // synchronous, active high
    input  logic                 start_i,
    output logic                 begun_o,        // a frame's first element is being accepted
    output logic                 busy_o,         // from the cycle after that to the last beat
    output logic                 done_o,
    output logic [31:0]          cycles_o,
    output logic [15:0]          class_o,        // number of the last run's largest beat
    output logic                 ready_o,        // the first descriptors are here
    output logic                 program_error_o,
    output logic                 frame_error_o,  // sticky: TLAST elsewhere than at a frame's end
    input  logic                 clear_error_i,
    input  logic [DATA_BITS-1:0] s_axis_tdata,
    input  logic                 s_axis_tvalid,
    output logic                 s_axis_tready,
    input  logic                 s_axis_tlast,
    output logic [31:0]          m_axis_tdata,
    output logic                 m_axis_tvalid,
    input  logic                 m_axis_tready,
    output logic                 m_axis_tlast,
    output logic [15:0]          m_axis_tuser,   // with TLAST: class_o
    // host, one bit for each image: program, weights, bias, table
    input  logic [3:0]           host_read_i,
    input  logic [3:0]           host_we_i,
    input  logic [23:0]          host_word_i,
    input  logic [6:0]           host_beat_i,
    input  logic [31:0]          host_data_i,
    output logic [31:0]          host_data_o
);

  localparam int TAPS_LOG     = $clog2(TAPS);
  localparam int ELEMENTS     = LANES * TAPS;   // of a word
  localparam int ELEMENTS_LOG = $clog2(ELEMENTS);
  localparam int CHUNKS       = LANES / RQ;     // of a sub-word; of a whole group in dense nests
  localparam int WIDE_CHUNKS  = ELEMENTS / RQ;  // of a whole group in lane-wise nests
  localparam int FIFO_CHUNKS  = (WIDE_CHUNKS > 8) ? 2 * WIDE_CHUNKS : 16;
  localparam int UNIT         = (LANES > TAPS) ? LANES : TAPS;  // elements of the frame side by side
  localparam int UNITS        = ELEMENTS / UNIT;                // of a word
  localparam int WORD_BITS    = ELEMENTS * DATA_BITS;
  localparam int SCRATCH_BITS = (SCRATCH_DEPTH > 1) ? $clog2(SCRATCH_DEPTH) : 1;
  localparam int SUB_BITS     = SCRATCH_BITS + TAPS_LOG;        // address of a sub-word
  localparam int UNIT_BITS    = SCRATCH_BITS + $clog2(UNITS);   // address of a unit
  localparam int ELEMENT_BITS = SCRATCH_BITS + ELEMENTS_LOG;
  localparam int WEIGHT_ADDRESS_BITS = (WEIGHTS_DEPTH > 1) ? $clog2(WEIGHTS_DEPTH) : 1;
  localparam int STEP_BITS    = WEIGHT_ADDRESS_BITS + ((NARROW != 0) ? 2 : 0);
  localparam int BIAS_BITS    = (BIAS_DEPTH > 1) ? $clog2(BIAS_DEPTH) : 1;
  localparam int TABLE_BITS   = (TABLE_DEPTH > 256) ? $clog2(TABLE_DEPTH) - 8 : 1;
  localparam int TABLE_STAGES = (DATA_BITS == 8) ? 2 : 4;  // cycles of bramcast_table
  localparam int CHUNKS_LOG   = $clog2(CHUNKS);
  localparam int INDEX_BITS   = (WIDE_CHUNKS > 1) ? $clog2(WIDE_CHUNKS) : 1;
  localparam int INNER_BITS   = (CHUNKS > 1) ? CHUNKS_LOG : 1;  // index of a chunk in its sub-word
  localparam int TAIL_BITS    = 6 + TAPS_LOG;
  localparam int GAP_BITS     = 7 + TAPS_LOG;
  localparam int RQ_BITS      = (RQ > 1) ? $clog2(RQ) : 1;
  localparam int LANE_BITS    = (LANES > 1) ? $clog2(LANES) : 1;
  localparam int SLOT_BITS    = (UNIT > 1) ? $clog2(UNIT) : 1;  // number of an element in its unit

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

  // ------------------------------------------------------------------ the program

  logic        take_input, take_nest;
  logic        input_ready, nest_ready;
  logic        field_we, field_input;
  logic [4:0]  field_index;
  logic [31:0] field_word;
  logic        withdrawn;                 // start_i has fallen before a frame began
  logic [31:0] host_program, host_weights, host_bias, host_table;

  assign ready_o     = input_ready && nest_ready;
  assign host_data_o = host_program | host_weights | host_bias | host_table;

  bramcast_fetch #(
      .PROGRAM_DEPTH(PROGRAM_DEPTH),
      .GATES(GATES),
      .IMAGE(PROGRAM_IMAGE),
      .PLUSARG("program=%s")
  ) u_fetch (
      .clk(clk),
      .rst(rst),
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

  // ------------------------------------------------------------------ order of events
  //
  //   frame taken -> take_nest -> prime_q -> run of taps ... last tap -> gap -> take_nest -> ...
  //
  // take_nest comes two cycles before the nest's first tap and GAP - 2 after the last tap of the nest
  // before, when that nest's last word is about to be written, or as soon as its descriptor is here.

  logic        idle_q;
  logic        run_start_q;
  logic        prime_q, prime_q2, prime_q3, prime_q4;
  logic        gap_q;        // waiting for the last results
  logic [GAP_BITS-1:0] gap_left_q;
  logic [GAP_BITS-1:0] gap_q2;  // what gap_left_q starts with for this nest
  logic        waiting_q;    // all results are in, or will be: the next nest may start
  logic [31:0] cycle_q;      // number of this cycle in the run
  logic        last_beat;
  logic        run_start;    // the frame of the run is in the scratchpad, or will be in time
  logic        leave_idle;
  logic        area_free_q;  // nothing of this run reads the scratchpad any more
  logic        nest_end, front_last, front_table, front_stream, front_lanewise;
  logic [1:0]  front_narrow;
  logic [TAIL_BITS-1:0] front_tail, tail_chunks, whole_chunks;  // chunks minus one
  logic        short_end;    // the nest's last sub-word is not filled

  localparam logic [TAIL_BITS-1:0] WHOLE = TAIL_BITS'(CHUNKS - 1);
  localparam logic [TAIL_BITS-1:0] WIDE  = TAIL_BITS'(WIDE_CHUNKS - 1);

  assign take_nest    = run_start || (waiting_q && nest_ready);
  assign last_beat    = m_axis_tvalid && m_axis_tready && m_axis_tlast;
  assign tail_chunks  = front_tail >> $clog2(RQ);
  assign whole_chunks = front_lanewise ? WIDE : WHOLE;
  assign short_end    = (tail_chunks & WHOLE) != WHOLE;

  always_ff @(posedge clk) begin
    run_start_q  <= run_start;
    prime_q      <= take_nest;
    prime_q2     <= prime_q;
    prime_q3     <= prime_q2;
    prime_q4     <= prime_q3;

    gap_q2 <= GAP_BITS'(7 + TAPS_LOG) + GAP_BITS'(tail_chunks) + GAP_BITS'(short_end)
              + (front_table ? GAP_BITS'(TABLE_STAGES) : GAP_BITS'(0));
    if (nest_end) begin
      gap_q      <= !front_last;
      gap_left_q <= gap_q2;
    end else if (gap_q) begin
      gap_q      <= gap_left_q != '0;
      gap_left_q <= gap_left_q - 1'b1;
    end
    if (gap_q && gap_left_q == '0) waiting_q <= 1'b1;
    else if (take_nest) waiting_q <= 1'b0;

    cycle_q <= run_start_q ? 32'd1 : cycle_q + 32'd1;
    done_o  <= last_beat;
    if (last_beat) cycles_o <= cycle_q;

    if (leave_idle) idle_q <= 1'b0;
    else if (last_beat || withdrawn) idle_q <= 1'b1;
    if (run_start) area_free_q <= 1'b0;
    else if (nest_end && front_last) area_free_q <= 1'b1;

    if (rst) begin
      idle_q       <= 1'b1;
      area_free_q  <= 1'b1;
      run_start_q  <= 1'b0;
      prime_q      <= 1'b0;
      prime_q2     <= 1'b0;
      prime_q3     <= 1'b0;
      prime_q4     <= 1'b0;
      gap_q        <= 1'b0;
      waiting_q    <= 1'b0;
      done_o       <= 1'b0;
      cycles_o     <= 32'd0;
    end
  end

  // ------------------------------------------------------------------ settings

  logic [95:0]           counts;
  logic signed [15:0]    y_start, y_step_oy, y_step_ky, x_start, x_step_ox, x_step_kx;
  logic [15:0]           y_limit, x_limit;
  logic                  product, factor_unsigned;
  logic                  lanewise, is_max, x_unsigned, y_unsigned, stream, table_on, last_nest;
  logic [TAIL_BITS-1:0]  tail;
  logic signed [31:0]    lo, hi;
  logic [BIAS_BITS-1:0]  next_bias_base, bias_step;
  logic [TABLE_BITS-1:0] table_number;

  bramcast_settings #(
      .TAIL_BITS(TAIL_BITS),
      .BIAS_BITS(BIAS_BITS),
      .TABLE_BITS(TABLE_BITS)
  ) u_settings (
      .clk(clk),
      .we_i(field_we),
      .index_i(field_index),
      .word_i(field_word),
      .take_front_i(take_nest),
      .take_back_i(prime_q2),
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
      .lanewise_o(lanewise),
      .max_o(is_max),
      .product_o(product),
      .factor_unsigned_o(factor_unsigned),
      .x_unsigned_o(x_unsigned),
      .y_unsigned_o(y_unsigned),
      .stream_o(stream),
      .table_o(table_on),
      .last_o(last_nest),
      .tail_o(tail),
      .lo_o(lo),
      .hi_o(hi),
      .next_bias_base_o(next_bias_base),
      .bias_step_o(bias_step),
      .table_number_o(table_number)
  );

  // ------------------------------------------------------------------ S0, S1: loops

  logic       pixel_end, tail_group, stall, pop;
  logic       s1_tap, s1_step, s1_first, s1_last, s1_tail_group, s1_end;
  logic [2:0] s1_level;

  bramcast_nest u_nest (
      .clk(clk),
      .rst(rst),
      .prime_i(prime_q),
      .counts_i(counts),
      .stall_i(stall),
      .tail_group_o(tail_group),
      .pixel_end_o(pixel_end),
      .nest_end_o(nest_end),
      .s1_tap_o(s1_tap),
      .s1_step_o(s1_step),
      .s1_level_o(s1_level),
      .s1_first_o(s1_first),
      .s1_last_o(s1_last),
      .s1_tail_group_o(s1_tail_group),
      .s1_end_o(s1_end)
  );

  bramcast_pace #(
      .CHUNKS(WIDE_CHUNKS),
      .FIFO_CHUNKS(FIFO_CHUNKS),
      .COUNT_BITS(TAIL_BITS)
  ) u_pace (
      .clk(clk),
      .rst(rst),
      .stream_i(front_stream),
      .pixel_end_i(pixel_end),
      .chunks_i(tail_group ? tail_chunks : whole_chunks),
      .pop_i(pop),
      .stall_o(stall)
  );

  // ------------------------------------------------------------------ S1: addresses

  logic front_bank_q, back_bank_q;  // half of the jump tables that the nest reads
  logic       s2_step;
  logic [2:0] s2_level;

  always_ff @(posedge clk) begin
    s2_step  <= s1_step;
    s2_level <= s1_level;
    if (take_nest) front_bank_q <= !front_bank_q;
    if (prime_q2) back_bank_q <= front_bank_q;
    if (rst) begin
      front_bank_q <= 1'b0;
      back_bank_q  <= 1'b0;
      s2_step      <= 1'b0;
    end
  end

  localparam logic [4:0] ACT_WORD    = 5'(bramcast_pkg::NEST_ACT_BASE_WORD);
  localparam logic [4:0] WEIGHT_WORD = 5'(bramcast_pkg::NEST_WEIGHT_BASE_WORD);
  localparam logic [4:0] RESULT_WORD = 5'(bramcast_pkg::NEST_RESULT_BASE_WORD);

  logic                           act_we, weight_we, result_we;
  logic [2:0]                     act_entry, weight_entry, result_entry;
  logic [ELEMENT_BITS-1:0]        act_address;
  logic [STEP_BITS-1:0]           weight_step;     // a word holds 2**narrow steps
  logic [WEIGHT_ADDRESS_BITS-1:0] weight_address;
  logic [SUB_BITS-1:0]            result_address;  // of the group's first sub-word
  logic                           result_step;
  logic [2:0]                     result_level;

  assign act_we       = field_we && field_index >= ACT_WORD && field_index < WEIGHT_WORD;
  assign weight_we    = field_we && field_index >= WEIGHT_WORD && field_index < RESULT_WORD;
  assign result_we    = field_we && field_index >= RESULT_WORD && field_index < RESULT_WORD + 5'd4;
  assign act_entry    = 3'(field_index - ACT_WORD);
  assign weight_entry = 3'(field_index - WEIGHT_WORD);
  assign result_entry = 3'(field_index - RESULT_WORD);

  bramcast_address #(
      .ADDRESS_BITS(ELEMENT_BITS)
  ) u_act_address (
      .clk(clk),
      .we_i(act_we),
      .write_bank_i(!front_bank_q),
      .write_level_i(act_entry),
      .jump_i(field_word[ELEMENT_BITS-1:0]),
      .bank_i(front_bank_q),
      .clear_i(take_nest),
      .step_i(s1_step),
      .level_i(s1_level),
      .address_o(act_address)
  );

  // One cycle later than the activations, so that the weights need no register to wait in; with
  // NARROW or GATES in the same cycle: choosing a step's bits or another factor takes that register.
  localparam int EARLY = (NARROW != 0 || GATES != 0) ? 1 : 0;
  bramcast_address #(
      .ADDRESS_BITS(STEP_BITS)
  ) u_weight_address (
      .clk(clk),
      .we_i(weight_we),
      .write_bank_i(!front_bank_q),
      .write_level_i(weight_entry),
      .jump_i(field_word[STEP_BITS-1:0]),
      .bank_i(front_bank_q),
      .clear_i((EARLY != 0) ? take_nest : prime_q),
      .step_i((EARLY != 0) ? s1_step : s2_step),
      .level_i((EARLY != 0) ? s1_level : s2_level),
      .address_o(weight_step)
  );

  bramcast_address #(
      .ADDRESS_BITS(SUB_BITS)
  ) u_result_address (
      .clk(clk),
      .we_i(result_we),
      .write_bank_i(!front_bank_q),
      .write_level_i(result_entry),
      .jump_i(field_word[SUB_BITS-1:0]),
      .bank_i(back_bank_q),
      .clear_i(prime_q3),
      .step_i(result_step),
      .level_i(result_level),
      .address_o(result_address)
  );

  logic y_inside, x_inside;  // S2

  bramcast_coordinate #(
      .PIXEL_LEVEL(2)
  ) u_y (
      .clk(clk),
      .step_i(s1_step),
      .level_i(s1_level),
      .start_i(y_start),
      .pixel_step_i(y_step_oy),
      .tap_step_i(y_step_ky),
      .limit_i(y_limit),
      .inside_o(y_inside)
  );

  bramcast_coordinate #(
      .PIXEL_LEVEL(3)
  ) u_x (
      .clk(clk),
      .step_i(s1_step),
      .level_i(s1_level),
      .start_i(x_start),
      .pixel_step_i(x_step_ox),
      .tap_step_i(x_step_kx),
      .limit_i(x_limit),
      .inside_o(x_inside)
  );

  // ------------------------------------------------------------------ memories

  logic                            scratch_we, scratch_from_input, scratch_held;
  logic [SUB_BITS-1:0]             scratch_sub;   // sub-word of a result
  logic [UNIT_BITS-1:0]            input_address;
  logic [UNIT*DATA_BITS-1:0]       scratch_wdata;
  logic                            frame_we;      // from the frame FIFO; never together with scratch_we
  logic [UNIT_BITS-1:0]            frame_address;
  logic [UNIT*DATA_BITS-1:0]       frame_word;
  logic [WORD_BITS-1:0]            act_word;      // S3
  logic [ELEMENTS*WEIGHT_BITS-1:0] weight_read;   // S4, with NARROW or GATES S3
  logic [ELEMENTS*WEIGHT_BITS-1:0] weight_word;   // S4
  logic [BIAS_BITS-1:0]            drain_address; // S5
  logic [BIAS_BITS-1:0]            bias_address;  // S5, with TAPS > 1 log2(TAPS) later
  logic [RQ*36-1:0]                bias_word;     // two cycles later

  bramcast_scratch #(
      .LANES(LANES),
      .TAPS(TAPS),
      .DATA_BITS(DATA_BITS),
      .DEPTH(SCRATCH_DEPTH)
  ) u_scratch (
      .clk(clk),
      .we_i(scratch_we || frame_we),
      .unit_i(scratch_from_input || frame_we),
      .unit_address_i(frame_we ? frame_address : input_address),
      .address_i(scratch_sub),
      .data_i(frame_we ? frame_word : scratch_wdata),
      .raddr_i(act_address[ELEMENT_BITS-1:ELEMENTS_LOG]),
      .word_o(act_word)
  );

  bramcast_image #(
      .WORD_BITS(ELEMENTS * WEIGHT_BITS),
      .DEPTH(WEIGHTS_DEPTH),
      .IMAGE(WEIGHTS_IMAGE),
      .PLUSARG("weights=%s")
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

  bramcast_image #(
      .WORD_BITS(RQ * 36),
      .DEPTH(BIAS_DEPTH),
      .IMAGE(BIAS_IMAGE),
      .PLUSARG("bias=%s")
  ) u_bias (
      .clk(clk),
      .raddr_i(bias_address),
      .word_o(bias_word),
      .host_read_i(host_read_i[2]),
      .host_we_i(host_we_i[2]),
      .host_word_i(host_word_i),
      .host_beat_i(host_beat_i),
      .host_data_i(host_data_i),
      .host_data_o(host_bias)
  );

  bramcast_narrow #(
      .LANES(ELEMENTS),
      .WEIGHT_BITS(WEIGHT_BITS),
      .ADDRESS_BITS(WEIGHT_ADDRESS_BITS),
      .STEP_BITS(STEP_BITS),
      .NARROW(NARROW),
      .REGISTER(EARLY)
  ) u_narrow (
      .clk(clk),
      .narrow_i(front_narrow),
      .step_i(weight_step),
      .address_o(weight_address),
      .word_i(weight_read),
      .word_o(weight_word)
  );

  // ------------------------------------------------------------------ S2..S6: control of the lanes

  logic       s2_tap, s2_first, s2_last, s2_tail_group, s2_end;
  logic       s3_tap, s3_first, s3_last, s3_tail_group, s3_end, s3_hit;
  logic       s4_tap, s4_first, s4_last, s4_tail_group, s4_end;
  logic       s5_first, s5_last, s6_last;
  logic [1:0] s3_level, s4_level;
  logic       s3_factor, s4_factor;  // product nests: the tap is a factor, nothing is added
  logic       s4_first_sum, s5_sum;  // S4: first sum of the pixel
  logic       seen_q;              // the pixel has had a tap inside
  logic       max_load_q, max_try_q;

  always_ff @(posedge clk) begin
    {s2_first, s2_last, s2_tail_group, s2_end} <= {s1_first, s1_last, s1_tail_group, s1_end};
    {s3_first, s3_last, s3_tail_group, s3_end} <= {s2_first, s2_last, s2_tail_group, s2_end};
    {s4_first, s4_last, s4_tail_group, s4_end} <= {s3_first, s3_last, s3_tail_group, s3_end};
    s3_level <= s2_level[1:0];
    s4_level <= s3_level;
    s2_tap   <= s1_tap;
    s3_tap   <= s2_tap;
    s4_tap   <= s3_tap;
    s3_hit   <= s2_tap && y_inside && x_inside;
    s5_first <= s4_first_sum;
    s5_sum   <= s4_tap && !s4_factor;
    s5_last  <= s4_tap && s4_last;
    s6_last  <= s5_last;
    if (s3_tap) seen_q <= s3_hit || (seen_q && !s3_first);
    max_load_q <= s3_tap && (s3_first || (s3_hit && !seen_q));
    max_try_q  <= s3_hit;
    if (rst) begin
      s2_tap     <= 1'b0;
      s3_tap     <= 1'b0;
      s4_tap     <= 1'b0;
      s5_sum     <= 1'b0;
      s3_hit     <= 1'b0;
      s5_last    <= 1'b0;
      s6_last    <= 1'b0;
      max_load_q <= 1'b0;
      max_try_q  <= 1'b0;
    end
  end

  generate
    if (GATES != 0) begin : g_gates
      logic s2_even, s3_even, s4_even, first_factor_q;
      assign s3_factor    = product && s3_even;
      assign s4_factor    = product && s4_even && s4_tap;
      assign s4_first_sum = product ? first_factor_q : s4_first;
      always_ff @(posedge clk) begin
        // Turns with every tap; a pixel's first tap is even.
        if (s1_tap) s2_even <= s1_first || !s2_even;
        s3_even <= s2_even;
        s4_even <= s3_even;
        if (s4_tap && s4_even) first_factor_q <= s4_first;
      end
    end else begin : g_no_gates
      assign s3_factor    = 1'b0;
      assign s4_factor    = 1'b0;
      assign s4_first_sum = s4_first;
      logic unused_gates;
      assign unused_gates = &{1'b0, product, factor_unsigned};
    end
  endgenerate

  // ------------------------------------------------------------------ S3..S7: lanes

  localparam int MAX_PITCH = 2 * DATA_BITS;  // a power of two: selecting a lane takes no multiplier

  logic [TAPS*DATA_BITS-1:0] broadcast;  // S3: neighbours, for all lanes
  logic [TAPS*RQ*32-1:0]     terms_s7;   // of lane r of a chunk: TAPS terms from 32*TAPS*r up

  generate
    if (LANES > 1) begin : g_select
      logic [LANE_BITS-1:0] lane_q2, lane_q3;
      always_ff @(posedge clk) begin
        lane_q2 <= act_address[TAPS_LOG +: LANE_BITS];
        lane_q3 <= lane_q2;
      end
      assign broadcast = act_word[TAPS*DATA_BITS*lane_q3 +: TAPS*DATA_BITS];
    end else begin : g_whole
      assign broadcast = act_word;
    end
  endgenerate

  // valid, last, level, index, valid lanes, program's end
  localparam int TOKEN_BITS = 5 + INDEX_BITS + RQ_BITS;
  logic [TOKEN_BITS-1:0] token_s6, token_s7;
  logic [INDEX_BITS-1:0] index_s6, index_s7, chunk_index;
  assign index_s6 = token_s6[4 +: INDEX_BITS];
  assign index_s7 = token_s7[4 +: INDEX_BITS];
  logic unused_bits;  // of neighbours only the first one's address counts
  assign unused_bits = &{1'b0, act_address, index_s6, index_s7, chunk_index};

  genvar t, l, r;
  generate
    for (t = 0; t < TAPS; t = t + 1) begin : g_tap
      logic [LANES*MAX_PITCH-1:0] max_bus;
      logic [LANES*32-1:0]        acc_bus;
      for (l = 0; l < LANES; l = l + 1) begin : g_lane
        localparam int M = t * LANES + l;  // number of the multiplier
        logic signed [DATA_BITS:0] max_lane;
        assign max_bus[MAX_PITCH*l +: MAX_PITCH] = MAX_PITCH'($unsigned(max_lane));
        bramcast_lane #(
            .DATA_BITS(DATA_BITS),
            .WEIGHT_BITS(WEIGHT_BITS),
            .GATES(GATES)
        ) u_lane (
            .clk(clk),
            .lanewise_i(lanewise),
            .unsigned_i(s3_factor ? factor_unsigned : x_unsigned),
            .clear_i(!s3_hit),
            .broadcast_i(broadcast[DATA_BITS*t +: DATA_BITS]),
            .own_i(act_word[DATA_BITS*M +: DATA_BITS]),
            .weight_i(weight_word[WEIGHT_BITS*M +: WEIGHT_BITS]),
            .max_load_i(max_load_q),
            .max_try_i(max_try_q),
            .product_i(product),
            .hold_i(s4_factor),
            .max_capture_i(s5_last),
            .acc_step_i(s5_sum),
            .acc_load_i(s5_first),
            .acc_capture_i(s6_last),
            .max_o(max_lane),
            .acc_o(acc_bus[32*l +: 32])
        );
      end
      for (r = 0; r < RQ; r = r + 1) begin : g_term
        logic signed [31:0]        acc_s7;
        logic signed [DATA_BITS:0] max_s6, max_q7;
        if (CHUNKS > 1) begin : g_serial
          assign max_s6 = max_bus[MAX_PITCH*(RQ*32'(index_s6[INNER_BITS-1:0]) + r) +: DATA_BITS+1];
          assign acc_s7 = acc_bus[32*(RQ*32'(index_s7[INNER_BITS-1:0]) + r) +: 32];
        end else begin : g_parallel
          assign max_s6 = max_bus[MAX_PITCH*r +: DATA_BITS+1];
          assign acc_s7 = acc_bus[32*r +: 32];
          logic unused;
          assign unused = &{1'b0, max_bus};
        end
        always_ff @(posedge clk) max_q7 <= max_s6;
        assign terms_s7[32*(TAPS*r+t) +: 32] = is_max ? 32'(max_q7) : acc_s7;
      end
    end
  endgenerate

  // The terms of a lane are added in dense nests; in lane-wise nests the chunk says whose turn it is.
  logic [TAPS-1:0] use_s7;
  generate
    if (TAPS > 1) begin : g_use
      for (t = 0; t < TAPS; t = t + 1) begin : g_tap
        assign use_s7[t] = !lanewise || index_s7[CHUNKS_LOG +: TAPS_LOG] == TAPS_LOG'(t);
      end
    end else begin : g_use_one
      assign use_s7 = 1'b1;
    end
  endgenerate

  // ------------------------------------------------------------------ S5..S11: requantize in chunks
  //
  // The sum takes log2(TAPS) cycles more between S7 and S8: with TAPS > 1 all that follows is so much later.

  logic                  s5_chunk_valid, s5_chunk_last, s5_chunk_end;
  logic [1:0]            s5_chunk_level;
  logic [INDEX_BITS-1:0] s5_chunk_index;
  logic [RQ_BITS-1:0]    s5_chunk_lanes;
  logic [TOKEN_BITS-1:0] token_sum, token_s8, token_s9, token_s10, token_s11;

  bramcast_drain #(
      .LANES(LANES),
      .TAPS(TAPS),
      .RQ(RQ),
      .BIAS_BITS(BIAS_BITS)
  ) u_drain (
      .clk(clk),
      .rst(rst),
      .load_i(prime_q2),
      .bias_base_i(next_bias_base),
      .bias_step_i(bias_step),
      .tail_i(tail),
      .lanewise_i(lanewise),
      .pixel_i(s4_tap && s4_last),
      .pixel_level_i(s4_level),
      .pixel_tail_i(s4_tail_group),
      .pixel_end_i(s4_end && last_nest),
      .bias_address_o(drain_address),
      .chunk_valid_o(s5_chunk_valid),
      .chunk_index_o(s5_chunk_index),
      .chunk_last_o(s5_chunk_last),
      .chunk_level_o(s5_chunk_level),
      .chunk_lanes_o(s5_chunk_lanes),
      .chunk_end_o(s5_chunk_end)
  );

  always_ff @(posedge clk) begin
    token_s6 <= {s5_chunk_end, s5_chunk_lanes, s5_chunk_index, s5_chunk_level, s5_chunk_last,
                 s5_chunk_valid};
    token_s7  <= token_s6;
    token_s8  <= token_sum;
    token_s9  <= token_s8;
    token_s10 <= token_s9;
    token_s11 <= token_s10;
    if (rst) begin
      token_s6[0]  <= 1'b0;
      token_s7[0]  <= 1'b0;
      token_s8[0]  <= 1'b0;
      token_s9[0]  <= 1'b0;
      token_s10[0] <= 1'b0;
      token_s11[0] <= 1'b0;
    end
  end

  generate
    if (TAPS > 1) begin : g_wait
      for (t = 0; t < TAPS_LOG; t = t + 1) begin : g_stage
        logic [TOKEN_BITS-1:0] token_q;
        logic [BIAS_BITS-1:0]  bias_q;
        if (t == 0) begin : g_first
          always_ff @(posedge clk) begin
            token_q <= token_s7;
            bias_q  <= drain_address;
            if (rst) token_q[0] <= 1'b0;
          end
        end else begin : g_next
          always_ff @(posedge clk) begin
            token_q <= g_stage[t-1].token_q;
            bias_q  <= g_stage[t-1].bias_q;
            if (rst) token_q[0] <= 1'b0;
          end
        end
      end
      assign token_sum    = g_stage[TAPS_LOG-1].token_q;
      assign bias_address = g_stage[TAPS_LOG-1].bias_q;
    end else begin : g_now
      assign token_sum    = token_s7;
      assign bias_address = drain_address;
    end
  endgenerate

  logic [RQ*32-1:0] value_s11;  // clamped

  generate
    for (r = 0; r < RQ; r = r + 1) begin : g_requantize
      logic [31:0] sum;
      bramcast_sum #(
          .TAPS(TAPS)
      ) u_sum (
          .clk(clk),
          .terms_i(terms_s7[32*TAPS*r +: 32*TAPS]),
          .use_i(use_s7),
          .sum_o(sum)
      );
      bramcast_requantize u_requantize (
          .clk(clk),
          .acc_i(sum),
          .entry_i(bias_word[36*r +: 36]),
          .lo_i(lo),
          .hi_i(hi),
          .value_o(value_s11[32*r +: 32])
      );
    end
  endgenerate

  // ------------------------------------------------------------------ S11, with a table S13 or S15: results

  logic [TOKEN_BITS-1:0]   token;
  logic [RQ*32-1:0]        beats;      // a chunk for the stream
  logic [RQ*DATA_BITS-1:0] chunk;      // a chunk for the scratchpad, unused lanes zero
  logic                    chunk_valid, chunk_last, chunk_end;
  logic [1:0]              chunk_level;
  logic [RQ_BITS-1:0]      chunk_lanes;

  generate
    if (TABLE_DEPTH > 0) begin : g_table
      logic [RQ*DATA_BITS-1:0] index, looked_up;
      genvar s;
      for (s = 0; s < TABLE_STAGES; s = s + 1) begin : g_stage
        logic [TOKEN_BITS-1:0] token_q;
        if (s == 0) begin : g_first
          always_ff @(posedge clk) begin
            token_q <= token_s11;
            if (rst || !table_on) token_q[0] <= 1'b0;  // what has left from S11 does not come again
          end
        end else begin : g_next
          always_ff @(posedge clk) begin
            token_q <= g_stage[s-1].token_q;
            if (rst || !table_on) token_q[0] <= 1'b0;
          end
        end
      end
      assign token = table_on ? g_stage[TABLE_STAGES-1].token_q : token_s11;
      for (r = 0; r < RQ; r = r + 1) begin : g_lane
        logic [DATA_BITS-1:0] result;
        assign result = looked_up[DATA_BITS*r +: DATA_BITS];
        assign index[DATA_BITS*r +: DATA_BITS] = value_s11[32*r +: DATA_BITS];
        assign beats[32*r +: 32] = table_on
            ? {{(32 - DATA_BITS){!y_unsigned && result[DATA_BITS-1]}}, result}
            : value_s11[32*r +: 32];
      end
      bramcast_table #(
          .RQ(RQ),
          .DATA_BITS(DATA_BITS),
          .TABLE_DEPTH(TABLE_DEPTH),
          .TABLE_BITS(TABLE_BITS),
          .IMAGE(TABLE_IMAGE),
          .PLUSARG("table=%s")
      ) u_table (
          .clk(clk),
          .number_i(table_number),
          .value_i(index),
          .result_o(looked_up),
          .host_read_i(host_read_i[3]),
          .host_we_i(host_we_i[3]),
          .host_word_i(host_word_i),
          .host_beat_i(host_beat_i),
          .host_data_i(host_data_i),
          .host_data_o(host_table)
      );
    end else begin : g_no_table
      assign token = token_s11;
      assign beats = value_s11;
      assign host_table = 32'd0;
      logic unused;
      assign unused = &{1'b0, table_on, y_unsigned, table_number, TABLE_IMAGE == "",
                        host_read_i[3], host_we_i[3]};
    end
    for (r = 0; r < RQ; r = r + 1) begin : g_chunk
      logic valid;
      if (r == 0) begin : g_first
        assign valid = 1'b1;
      end else begin : g_later
        assign valid = RQ_BITS'(r) <= chunk_lanes;
      end
      assign chunk[DATA_BITS*r +: DATA_BITS] = valid ? beats[32*r +: DATA_BITS] : '0;
    end
  endgenerate

  assign {chunk_end, chunk_lanes, chunk_index, chunk_level, chunk_last, chunk_valid} = token;

  logic                 element_valid, element_first, element_end;
  logic [DATA_BITS-1:0] element;
  logic [SLOT_BITS-1:0] element_lane;

  generate
    if (FRAME_DEPTH == 0) begin : g_direct
      logic waiting, open;  // for a frame's first element
      logic run_end;
      logic unused;

      assign unused        = &{1'b0, open, run_end, area_free_q};
      assign take_input    = idle_q && start_i && input_ready && nest_ready;
      assign leave_idle    = take_input;
      assign busy_o        = !idle_q && !waiting;
      assign frame_we      = 1'b0;
      assign frame_address = '0;
      assign frame_word    = '0;

      bramcast_input #(
          .LANES(UNIT),
          .UNITS(UNITS),
          .TAPS(TAPS),
          .DATA_BITS(DATA_BITS),
          .ADDRESS_BITS(SCRATCH_BITS)
      ) u_input (
          .clk(clk),
          .rst(rst),
          .we_i(field_we && field_input),
          .index_i(field_index),
          .word_i(field_word),
          .start_i(take_input),
          .room_i(1'b1),
          .withdraw_i(!start_i),
          .withdrawn_o(withdrawn),
          .open_o(open),
          .waiting_o(waiting),
          .begun_o(begun_o),
          .done_o(run_start),
          .frame_error_o(frame_error_o),
          .clear_error_i(clear_error_i),
          .s_axis_tdata(s_axis_tdata),
          .s_axis_tvalid(s_axis_tvalid),
          .s_axis_tready(s_axis_tready),
          .s_axis_tlast(s_axis_tlast),
          .valid_o(element_valid),
          .element_o(element),
          .lane_o(element_lane),
          .first_o(element_first),
          .word_end_o(element_end),
          .run_end_o(run_end),
          .written_i(scratch_we && scratch_from_input),
          .address_o(input_address)
      );
    end else begin : g_frames
      localparam int FRAMES_BITS = $clog2(FRAME_DEPTH) + 2;
      logic                   ready_q;   // the INPUT descriptor has come since the last restart
      logic                   resident;
      logic [FRAMES_BITS-1:0] frames_q;  // that have begun to come and are not answered

      assign run_start     = idle_q && resident && input_ready && nest_ready;
      assign take_input    = run_start;
      assign leave_idle    = run_start;
      assign withdrawn     = 1'b0;
      assign busy_o        = frames_q != '0;
      assign element_valid = 1'b0;
      assign element       = '0;
      assign element_lane  = '0;
      assign element_first = 1'b0;
      assign element_end   = 1'b0;
      assign input_address = '0;

      always_ff @(posedge clk) begin
        ready_q  <= !host_read_i[0] && !host_we_i[0] && (ready_q || (input_ready && nest_ready));
        frames_q <= frames_q + FRAMES_BITS'(begun_o) - FRAMES_BITS'(last_beat);
        if (rst) begin
          ready_q  <= 1'b0;
          frames_q <= '0;
        end
      end

      bramcast_frames #(
          .LANES(UNIT),
          .UNITS(UNITS),
          .TAPS(TAPS),
          .DATA_BITS(DATA_BITS),
          .ADDRESS_BITS(SCRATCH_BITS),
          .FRAME_DEPTH(FRAME_DEPTH)
      ) u_frames (
          .clk(clk),
          .rst(rst),
          .we_i(field_we && field_input),
          .index_i(field_index),
          .word_i(field_word),
          .ready_i(ready_q),
          .start_i(start_i),
          .begun_o(begun_o),
          .free_i(area_free_q),
          .resident_o(resident),
          .take_i(run_start),
          .frame_error_o(frame_error_o),
          .clear_error_i(clear_error_i),
          .s_axis_tdata(s_axis_tdata),
          .s_axis_tvalid(s_axis_tvalid),
          .s_axis_tready(s_axis_tready),
          .s_axis_tlast(s_axis_tlast),
          .we_o(frame_we),
          .address_o(frame_address),
          .word_o(frame_word)
      );
    end
  endgenerate

  logic [INNER_BITS-1:0] chunk_inner;  // index in the sub-word
  logic                  group_end;    // the sub-word that is written is its group's last
  generate
    if (TAPS > 1) begin : g_sub_words
      logic [TAPS_LOG-1:0] part, part_q;  // of the group's sub-words
      assign part = chunk_index[CHUNKS_LOG +: TAPS_LOG];
      always_ff @(posedge clk) if (chunk_valid) part_q <= part;
      assign scratch_sub = result_address + SUB_BITS'(scratch_held ? part_q : part);
      assign group_end   = scratch_held || chunk_last;
    end else begin : g_words
      assign scratch_sub = result_address;
      assign group_end   = 1'b1;
    end
    if (CHUNKS > 1) begin : g_inner
      assign chunk_inner = chunk_index[INNER_BITS-1:0];
    end else begin : g_no_inner
      assign chunk_inner = 1'b0;
    end
  endgenerate

  bramcast_assemble #(
      .LANES(LANES),
      .RQ(RQ),
      .DATA_BITS(DATA_BITS),
      .UNIT(UNIT)
  ) u_assemble (
      .clk(clk),
      .rst(rst),
      .element_valid_i(element_valid),
      .element_i(element),
      .element_lane_i(element_lane),
      .element_first_i(element_first),
      .element_end_i(element_end),
      .chunk_valid_i(chunk_valid && !stream),
      .chunk_i(chunk),
      .chunk_index_i(chunk_inner),
      .chunk_last_i(chunk_last),
      .we_o(scratch_we),
      .from_input_o(scratch_from_input),
      .held_o(scratch_held),
      .word_o(scratch_wdata)
  );

  bramcast_output #(
      .RQ(RQ),
      .FIFO_CHUNKS(FIFO_CHUNKS)
  ) u_output (
      .clk(clk),
      .rst(rst),
      .chunk_valid_i(chunk_valid && stream),
      .chunk_i(beats),
      .chunk_lanes_i(chunk_lanes),
      .chunk_end_i(chunk_end),
      .pop_o(pop),
      .m_axis_tdata(m_axis_tdata),
      .m_axis_tvalid(m_axis_tvalid),
      .m_axis_tready(m_axis_tready),
      .m_axis_tlast(m_axis_tlast),
      .m_axis_tuser(m_axis_tuser),
      .class_o(class_o)
  );

  // The result stream steps when a group's last word is written. A shorter one is written one cycle
  // after its last chunk, but no other chunk can end in between: its level is held.
  logic [1:0] level_q;
  always_ff @(posedge clk) begin
    if (chunk_valid) level_q <= chunk_level;
  end
  assign result_step  = prime_q4 || (scratch_we && !scratch_from_input && group_end);
  assign result_level = prime_q4 ? 3'd0 : {1'b0, scratch_held ? level_q : chunk_level};

`ifndef SYNTHESIS
  bramcast_log #(
      .WORD_BITS(LANES * DATA_BITS),
      .ADDRESS_BITS(SUB_BITS),
      .RQ(RQ),
      .LANE_BITS(RQ_BITS)
  ) u_log (
      .clk(clk),
      .rst(rst),
      .run_start_i(run_start),
      .nest_start_i(prime_q2),
      .back_start_i(prime_q2),
      .cycle_i(cycle_q),
      .word_valid_i(scratch_we && !scratch_from_input),
      .word_address_i(scratch_sub),
      .word_i(scratch_wdata[LANES*DATA_BITS-1:0]),
      .chunk_valid_i(chunk_valid && stream),
      .chunk_i(beats),
      .chunk_lanes_i(chunk_lanes),
      .done_i(done_o),
      .cycles_i(cycles_o)
  );
`endif

endmodule
`default_nettype wire
