// SPDX-License-Identifier: Apache-2.0
// bramcast_intake: how a frame comes in and begins a run: straight into the scratchpad, or through a frame FIFO.
//
// Golden twin: docs/format.md, INPUT; docs/core.md, "Back to back". run_start_o tells that a frame is in
// the scratchpad, or will be when the first tap reads it.
//
//   FRAME_DEPTH = 0   bramcast_input: a frame is taken while the core is idle; its elements go to bramcast_store
//                     one by one. The core has left idle when it waits for a frame; it comes back (withdrawn_o)
//                     if start_i falls before the frame's first element. A frame that is dropped leaves it waiting.
//   FRAME_DEPTH > 0   bramcast_frames: frames are taken at any time; units go to bramcast_store when the core
//                     has done with the input area. A run begins when a whole frame is resident.
//
`default_nettype none
module bramcast_intake #(
    parameter int LANES        = 16,  // 1..64, a power of two
    parameter int TAPS         = 1,   // 1, 2, 4, 8
    parameter int DATA_BITS    = 8,   // 8 or 16
    parameter int SCRATCH_BITS = 10,  // of a scratchpad word's address
    parameter int FRAME_DEPTH  = 0,   // 0, or a power of two from 16 on: units in the frame FIFO
    parameter int TLAST_ENDS   = 1,   // what TLAST of s_axis ends: 1: a frame; 2: each of its packets; 0: nothing, they are counted
    parameter int TILES        = 1,   // 1, 2, 4, 8: banks of the scratchpad
    parameter int BANK_BITS    = (TILES > 1) ? $clog2(TILES) : 1,                       // follows
    parameter int UNIT         = (LANES > TAPS) ? LANES : TAPS,                         // follows: elements of a unit
    parameter int UNIT_BITS    = SCRATCH_BITS + $clog2((LANES > TAPS) ? TAPS : LANES)   // of its address
) (
    input  logic                      clk,
    input  logic                      rst,
    // words of the INPUT descriptor
    input  logic                      we_i,
    input  logic [4:0]                index_i,
    input  logic [31:0]               word_i,
    // control
    input  logic                      flush_i,         // two cycles or more: what is in work is lost
    input  logic                      give_up_i,       // with flush_i: the rest of the frame that is coming, too
    output logic                      open_o,          // an element may be accepted
    input  logic                      start_i,         // level: frames may begin
    input  logic                      host_read_i,     // of the program: its descriptors come again
    input  logic                      host_we_i,
    input  logic                      input_ready_i,   // the INPUT descriptor is here
    input  logic                      nest_ready_i,    // ... the first nest's, too
    input  logic                      idle_i,
    input  logic                      area_free_i,     // the input area is free
    input  logic                      last_beat_i,     // a run's last beat is being accepted
    output logic                      take_input_o,    // the INPUT descriptor is given up
    output logic                      leave_idle_o,
    output logic                      withdrawn_o,
    output logic                      run_start_o,
    output logic                      taken_o,         // a whole frame's last element is being accepted
    output logic                      dropped_o,       // a frame has been dropped
    output logic                      busy_o,          // from behind a frame's first element to its last beat
    output logic [1:0]                frame_error_o,   // sticky: a frame was short, a frame was long
    input  logic [1:0]                clear_error_i,
    // stream
    input  logic [DATA_BITS-1:0]      s_axis_tdata,
    input  logic                      s_axis_tvalid,
    output logic                      s_axis_tready,
    input  logic                      s_axis_tlast,
    input  logic                      none_i,          // TLAST without an element
    // to the scratchpad: elements
    output logic                      element_valid_o,
    output logic [DATA_BITS-1:0]      element_o,
    output logic [UNIT-1:0]           element_take_o,
    output logic                      element_first_o,
    output logic                      element_end_o,
    output logic [UNIT_BITS-1:0]      element_address_o,
    output logic [BANK_BITS-1:0]      bank_o,          // of an element that is written, or a unit
    input  logic                      element_written_i,
    // ... or units
    output logic                      unit_we_o,
    output logic [UNIT_BITS-1:0]      unit_address_o,
    output logic [UNIT*DATA_BITS-1:0] unit_word_o
);

  localparam int UNITS = LANES * TAPS / UNIT;  // of a word

  generate
    if (FRAME_DEPTH == 0) begin : g_direct
      logic waiting;  // for a frame's first element
      logic run_end, strip_end;
      logic valid, word_end, wrong;
      logic unused;

      assign unused          = &{1'b0, run_end, strip_end, area_free_i, last_beat_i, host_read_i, host_we_i};
      assign take_input_o    = idle_i && start_i && input_ready_i && nest_ready_i;
      assign leave_idle_o    = take_input_o;
      assign busy_o          = !idle_i && !waiting;
      assign element_valid_o = valid;
      assign element_end_o   = word_end && !wrong;  // a frame that is dropped ends no unit
      assign unit_we_o       = 1'b0;
      assign unit_address_o  = '0;
      assign unit_word_o     = '0;

      bramcast_input #(
          .LANES(UNIT),
          .UNITS(UNITS),
          .TAPS(TAPS),
          .DATA_BITS(DATA_BITS),
          .ADDRESS_BITS(SCRATCH_BITS),
          .TLAST_ENDS(TLAST_ENDS),
          .TILES(TILES)
      ) u_input (
          .clk(clk),
          .rst(rst),
          .we_i(we_i),
          .index_i(index_i),
          .word_i(word_i),
          .flush_i(flush_i),
          .give_up_i(give_up_i),
          .start_i(take_input_o),
          .room_i(1'b1),
          .withdraw_i(!start_i),
          .withdrawn_o(withdrawn_o),
          .open_o(open_o),
          .waiting_o(waiting),
          .taken_o(taken_o),
          .done_o(run_start_o),
          .dropped_o(dropped_o),
          .frame_error_o(frame_error_o),
          .clear_error_i(clear_error_i),
          .s_axis_tdata(s_axis_tdata),
          .s_axis_tvalid(s_axis_tvalid),
          .s_axis_tready(s_axis_tready),
          .s_axis_tlast(s_axis_tlast),
          .none_i(none_i),
          .valid_o(valid),
          .element_o(element_o),
          .take_o(element_take_o),
          .first_o(element_first_o),
          .word_end_o(word_end),
          .run_end_o(run_end),
          .strip_end_o(strip_end),
          .wrong_o(wrong),
          .written_i(element_written_i),
          .address_o(element_address_o),
          .bank_o(bank_o)
      );
    end else begin : g_frames
      localparam int FRAMES_BITS = $clog2(FRAME_DEPTH) + 2;
      logic                   ready_q;   // the INPUT descriptor has come since the last restart
      logic                   resident;
      logic [FRAMES_BITS-1:0] frames_q;  // that have come and are not answered
      logic                   coming;    // a frame
      logic                   unused;

      assign unused            = &{1'b0, element_written_i};
      assign run_start_o       = idle_i && resident && input_ready_i && nest_ready_i;
      assign take_input_o      = run_start_o;
      assign leave_idle_o      = run_start_o;
      assign withdrawn_o       = 1'b0;
      assign busy_o            = coming || frames_q != '0;
      assign element_valid_o   = 1'b0;
      assign element_o         = '0;
      assign element_take_o    = '0;
      assign element_first_o   = 1'b0;
      assign element_end_o     = 1'b0;
      assign element_address_o = '0;

      always_ff @(posedge clk) begin
        ready_q  <= !host_read_i && !host_we_i && (ready_q || (input_ready_i && nest_ready_i));
        frames_q <= frames_q + FRAMES_BITS'(taken_o) - FRAMES_BITS'(last_beat_i);
        if (rst || flush_i) begin
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
          .FRAME_DEPTH(FRAME_DEPTH),
          .TLAST_ENDS(TLAST_ENDS),
          .TILES(TILES)
      ) u_frames (
          .clk(clk),
          .rst(rst),
          .we_i(we_i),
          .index_i(index_i),
          .word_i(word_i),
          .flush_i(flush_i),
          .give_up_i(give_up_i),
          .open_o(open_o),
          .ready_i(ready_q),
          .start_i(start_i),
          .coming_o(coming),
          .taken_o(taken_o),
          .dropped_o(dropped_o),
          .free_i(area_free_i),
          .resident_o(resident),
          .take_i(run_start_o),
          .frame_error_o(frame_error_o),
          .clear_error_i(clear_error_i),
          .s_axis_tdata(s_axis_tdata),
          .s_axis_tvalid(s_axis_tvalid),
          .s_axis_tready(s_axis_tready),
          .s_axis_tlast(s_axis_tlast),
          .none_i(none_i),
          .we_o(unit_we_o),
          .address_o(unit_address_o),
          .bank_o(bank_o),
          .word_o(unit_word_o)
      );
    end
  endgenerate

endmodule
`default_nettype wire
