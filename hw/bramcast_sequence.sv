// SPDX-License-Identifier: Apache-2.0
// bramcast_sequence: the order of events: when a run and its nests begin, and in which cycle which tap comes.
//
// Golden twin: predict() in pack/bundle/cycles.py; docs/core.md, "Cycle model".
//
//   run_start_i -> take_nest_o -> prime_o[1] -> run of taps ... last tap -> gap -> take_nest_o -> ...
//
// take_nest_o comes two cycles before the nest's first tap, and GAP - 2 after the last tap of the nest
// before, when that nest's last word is about to be written, or as soon as its descriptor is here.
// prime_o[n] is take_nest_o n cycles later.
//
//   clk          _/~\_/~\_/~\_/~\_/~\_    S1 signals belong to the tap that stood in S0 a cycle
//   take_nest_o  __/~~\_______________    ago, as bramcast_nest says.
//   prime_o[1]   ______/~~\___________
//   tap in S0    __________| 0 | 1 |--
//
`default_nettype none
module bramcast_sequence #(
    parameter int LANES        = 16,  // 1..64, a power of two
    parameter int TAPS         = 1,   // 1, 2, 4, 8
    parameter int RQ           = 2,   // 1..LANES, a power of two
    parameter int FIFO_CHUNKS  = 16,  // 2 * LANES * TAPS / RQ or more, a power of two
    parameter int TABLE_STAGES = 2,   // 2, 4: cycles of bramcast_table
    parameter int TILED        = 0,   // cycles by which all behind the addresses is later, TILES > 1
    parameter int TAIL_BITS    = 6 + $clog2(TAPS)  // follows
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 flush_i,           // the run is given up; cycles_o stays
    // run
    input  logic                 leave_idle_i,
    input  logic                 run_start_i,       // the frame is in the scratchpad, or will be in time
    input  logic                 withdrawn_i,       // start_i has fallen before a frame began
    output logic                 idle_o,
    output logic                 running_o,         // from run_start_i to the last beat
    output logic                 area_free_o,       // nothing of this run reads the scratchpad any more
    // nest
    input  logic                 nest_ready_i,      // its descriptor is here
    input  logic                 hold_i,            // it is not taken, unless it is the run's first
    output logic                 held_o,            // ... and would be in this cycle
    output logic                 take_nest_o,
    output logic [4:1]           prime_o,
    // settings of the nest at the front, new behind take_nest_o
    input  logic [95:0]          counts_i,
    input  logic                 front_stream_i,
    input  logic                 front_table_i,
    input  logic                 front_last_i,
    input  logic                 front_lanewise_i,
    input  logic [TAIL_BITS-1:0] front_tail_i,
    // taps
    output logic                 s1_tap_o,
    output logic                 s1_step_o,
    output logic [2:0]           s1_level_o,
    output logic                 act_step_o,
    output logic [2:0]           act_level_o,
    output logic                 s1_first_o,
    output logic                 s1_last_o,
    output logic                 s1_tail_group_o,
    output logic                 s1_end_o,
    // results
    input  logic                 pop_i,             // a chunk has left the output FIFO
    input  logic                 m_axis_tvalid,
    input  logic                 m_axis_tready,
    input  logic                 run_end_i,         // the beat is a run's last
    output logic                 last_beat_o,       // a run's last beat is being accepted
    output logic                 done_o,            // ... in the cycle before
    output logic [31:0]          cycle_o,           // number of this cycle in the run
    output logic [31:0]          cycles_o           // of the last completed run; new with done_o
);

  localparam int CHUNKS      = LANES / RQ;         // of a whole group in dense nests
  localparam int WIDE_CHUNKS = LANES * TAPS / RQ;  // of a whole group in lane-wise nests
  localparam int GAP_BITS    = 7 + $clog2(TAPS);

  // ------------------------------------------------------------------ S0: taps

  logic clear;
  assign clear = rst || flush_i;

  logic tail_group, pixel_end, nest_end;
  logic stall;  // by u_pace

  bramcast_nest u_nest (
      .clk(clk),
      .rst(clear),
      .prime_i(prime_o[1]),
      .counts_i(counts_i),
      .stall_i(stall),
      .late_i(LANES == 1 || front_lanewise_i),
      .tail_group_o(tail_group),
      .pixel_end_o(pixel_end),
      .nest_end_o(nest_end),
      .s1_tap_o(s1_tap_o),
      .s1_step_o(s1_step_o),
      .s1_level_o(s1_level_o),
      .act_step_o(act_step_o),
      .act_level_o(act_level_o),
      .s1_first_o(s1_first_o),
      .s1_last_o(s1_last_o),
      .s1_tail_group_o(s1_tail_group_o),
      .s1_end_o(s1_end_o)
  );

  localparam logic [TAIL_BITS-1:0] WHOLE = TAIL_BITS'(CHUNKS - 1);
  localparam logic [TAIL_BITS-1:0] WIDE  = TAIL_BITS'(WIDE_CHUNKS - 1);

  logic [TAIL_BITS-1:0] tail_chunks, whole_chunks;  // of the last group and of the others, minus one
  assign tail_chunks  = front_tail_i >> $clog2(RQ);
  assign whole_chunks = front_lanewise_i ? WIDE : WHOLE;

  bramcast_pace #(
      .CHUNKS(WIDE_CHUNKS),
      .FIFO_CHUNKS(FIFO_CHUNKS),
      .COUNT_BITS(TAIL_BITS)
  ) u_pace (
      .clk(clk),
      .rst(clear),
      .stream_i(front_stream_i),
      .pixel_end_i(pixel_end),
      .chunks_i(tail_group ? tail_chunks : whole_chunks),
      .pop_i(pop_i),
      .stall_o(stall)
  );

  // ------------------------------------------------------------------ from nest to nest

  logic                short_end;   // the nest's last sub-word is not filled
  logic                gap_q;       // waiting for the last results
  logic [GAP_BITS-1:0] gap_left_q;
  logic [GAP_BITS-1:0] gap_q2;      // what gap_left_q starts with for this nest
  logic                waiting_q;   // all results are in, or will be: the next nest may start
  assign short_end   = (tail_chunks & WHOLE) != WHOLE;
  assign take_nest_o = run_start_i || (waiting_q && nest_ready_i && !hold_i);
  assign held_o      = waiting_q && nest_ready_i && hold_i;

  always_ff @(posedge clk) begin
    prime_o <= {prime_o[3:1], take_nest_o};

    gap_q2 <= GAP_BITS'(10 + $clog2(TAPS) + TILED) + GAP_BITS'(tail_chunks) + GAP_BITS'(short_end)
              + (front_table_i ? GAP_BITS'(TABLE_STAGES) : GAP_BITS'(0));
    if (nest_end) begin
      gap_q      <= !front_last_i;
      gap_left_q <= gap_q2;
    end else if (gap_q) begin
      gap_q      <= gap_left_q != '0;
      gap_left_q <= gap_left_q - 1'b1;
    end
    if (gap_q && gap_left_q == '0) waiting_q <= 1'b1;
    else if (take_nest_o) waiting_q <= 1'b0;

    if (clear) begin
      prime_o   <= '0;
      gap_q     <= 1'b0;
      waiting_q <= 1'b0;
    end
  end

  // ------------------------------------------------------------------ from run to run

  logic       run_start_q;
  localparam int LATE = 1 + TILED / 2;  // the sum of an address and its row
  logic [LATE:0] end_q;  // the run's last tap was taken one, two cycles ago: its reads are late
  assign last_beat_o = m_axis_tvalid && m_axis_tready && run_end_i;

  always_ff @(posedge clk) begin
    run_start_q <= run_start_i;
    cycle_o     <= run_start_q ? 32'd1 : cycle_o + 32'd1;
    done_o      <= last_beat_o;
    if (last_beat_o) cycles_o <= cycle_o;

    if (leave_idle_i) idle_o <= 1'b0;
    else if (last_beat_o || withdrawn_i) idle_o <= 1'b1;
    if (run_start_i) area_free_o <= 1'b0;
    else if (end_q[LATE]) area_free_o <= 1'b1;
    end_q <= {end_q[LATE-1:0], nest_end && front_last_i};

    if (run_start_i) running_o <= 1'b1;
    else if (last_beat_o) running_o <= 1'b0;

    if (clear) begin
      run_start_q <= 1'b0;
      end_q       <= '0;
      idle_o      <= 1'b1;
      area_free_o <= 1'b1;
      running_o   <= 1'b0;
    end
    if (rst) begin
      done_o   <= 1'b0;
      cycles_o <= 32'd0;
    end
  end

endmodule
`default_nettype wire
