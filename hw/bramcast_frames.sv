// SPDX-License-Identifier: Apache-2.0
// bramcast_frames: takes frames while the core computes; a FIFO of scratchpad words lies between.
//
// Golden twin: docs/format.md, INPUT, as in bramcast_input, which takes the elements. Units wait in a FIFO
// until the scratchpad's input area is free; from then on one unit per cycle goes there. When a frame's
// last unit is in the scratchpad, resident_o rises; take_i gives the frame to a run. The units behind stay in
// the FIFO until the area is free again. With UNITS = 1 a unit is a word.
// Of a frame that is dropped the units that came before that was known go the same way; the next frame's
// first unit takes the place of the first of them. flush_i, a level of two cycles or more, empties the FIFO; what
// becomes of the frame that is coming, bramcast_input says.
//
//   clk         _/~\_/~\_/~\_/~\_/~\_/~\_     A unit that waits in cycle n, with free_i high, is
//   free_i      __/~~~~~~~~~~~~~~~~~~~~~~     written in cycle n + 2; resident_o is high from
//   we_o        __________/~~~~~~~\______     the cycle after a frame's last unit on.
//   resident_o  __________________/~~~~~~
//
// An element accepted in cycle A completes a unit that waits from cycle A + 3 on.
//
`default_nettype none
module bramcast_frames #(
    parameter int LANES        = 16,  // 1..64, a power of two: elements of a unit
    parameter int UNITS        = 1,   // 1, 2, 4, 8: units of a scratchpad word
    parameter int TAPS         = 1,   // as in bramcast_input
    parameter int DATA_BITS    = 8,   // 8 or 16
    parameter int ADDRESS_BITS = 10,  // of a scratchpad word
    parameter int FRAME_DEPTH  = 32,  // 16.., a power of two: units in the FIFO
    parameter int TLAST_ENDS   = 1,   // as in bramcast_input
    parameter int TILES        = 1,   // as in bramcast_input
    parameter int BANK_BITS    = (TILES > 1) ? $clog2(TILES) : 1, // follows
    parameter int UNIT_BITS    = ADDRESS_BITS + $clog2(UNITS)  // follows: of a unit
) (
    input  logic                       clk,
    input  logic                       rst,
    // the INPUT descriptor: always the same one while ready_i has not been low
    input  logic                       we_i,
    input  logic [4:0]                 index_i,
    input  logic [31:0]                word_i,
    // control
    input  logic                       flush_i,
    input  logic                       give_up_i,
    output logic                       open_o,         // an element may be accepted
    input  logic                       ready_i,        // it is here
    input  logic                       start_i,        // level: frames may begin
    output logic                       coming_o,       // the first element of a frame has come, not its last
    output logic                       taken_o,        // as in bramcast_input
    output logic                       dropped_o,
    input  logic                       free_i,         // the input area is free
    output logic                       resident_o,
    input  logic                       take_i,
    output logic [1:0]                 frame_error_o,
    input  logic [1:0]                 clear_error_i,
    // stream
    input  logic [DATA_BITS-1:0]       s_axis_tdata,
    input  logic                       s_axis_tvalid,
    output logic                       s_axis_tready,
    input  logic                       s_axis_tlast,
    input  logic                       none_i,         // as in bramcast_input
    // to the scratchpad
    output logic                       we_o,
    output logic [UNIT_BITS-1:0]       address_o,
    output logic [BANK_BITS-1:0]       bank_o,
    output logic [LANES*DATA_BITS-1:0] word_o
);

  localparam int DATA         = LANES * DATA_BITS;  // bits of a unit
  localparam int ENTRY_BITS   = DATA + ((TILES > 1) ? 3 : 2);  // a unit, LAST, RUN_END, STRIP_END
  localparam int LAST         = DATA;               // of a frame
  localparam int RUN_END      = DATA + 1;           // of a run; LAST without it: the frame is dropped
  localparam int LANE_BITS    = (LANES > 1) ? $clog2(LANES) : 1;
  localparam int POINTER_BITS = $clog2(FRAME_DEPTH);
  localparam int RESERVE      = 8;  // units that may be on their way when room_q falls, and then some

  generate
    if (FRAME_DEPTH < 16 || (FRAME_DEPTH & (FRAME_DEPTH - 1)) != 0) begin : g_check
      FRAME_DEPTH_must_be_0_or_a_power_of_two_from_16_on u_error ();
    end
  endgenerate

  // ------------------------------------------------------------------ elements to units

  logic                  start, open, room_q;
  logic                  element_valid, element_first, element_end, frame_end, run_end, wrong;
  logic                  last_q, run_end_q;
  logic [DATA_BITS-1:0]  element;
  logic [LANES-1:0]      element_take;
  logic                  full_we;      // a unit is complete
  logic [DATA-1:0]       full_word;
  logic                  waiting, withdrawn, from_input, held;
  logic [UNIT_BITS-1:0]  unused_address;
  logic [BANK_BITS-1:0]  unused_bank;
  logic                  strip_end, strip_end_q;

  assign start    = start_i && ready_i && !open;
  assign coming_o = open && !waiting;
  assign open_o   = open;

  bramcast_input #(
      .LANES(LANES),
      .UNITS(UNITS),
      .TAPS(TAPS),
      .DATA_BITS(DATA_BITS),
      .ADDRESS_BITS(ADDRESS_BITS),
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
      .start_i(start),
      .room_i(room_q),
      .withdraw_i(!start_i),
      .withdrawn_o(withdrawn),
      .open_o(open),
      .waiting_o(waiting),
      .taken_o(taken_o),
      .done_o(frame_end),
      .dropped_o(dropped_o),
      .frame_error_o(frame_error_o),
      .clear_error_i(clear_error_i),
      .s_axis_tdata(s_axis_tdata),
      .s_axis_tvalid(s_axis_tvalid),
      .s_axis_tready(s_axis_tready),
      .s_axis_tlast(s_axis_tlast),
      .none_i(none_i),
      .valid_o(element_valid),
      .element_o(element),
      .take_o(element_take),
      .first_o(element_first),
      .word_end_o(element_end),
      .run_end_o(run_end),
      .strip_end_o(strip_end),
      .wrong_o(wrong),
      .written_i(1'b0),
      .address_o(unused_address),
      .bank_o(unused_bank)
  );

  bramcast_assemble #(
      .LANES(LANES),
      .RQ(1),
      .DATA_BITS(DATA_BITS)
  ) u_assemble (
      .clk(clk),
      .rst(rst || flush_i),
      .element_valid_i(element_valid),
      .element_i(element),
      .element_take_i(element_take),
      .element_first_i(element_first),
      .element_end_i(element_end),
      .chunk_valid_i(1'b0),
      .chunk_i({DATA_BITS{1'b0}}),
      .chunk_index_i({LANE_BITS{1'b0}}),
      .chunk_last_i(1'b0),
      .we_o(full_we),
      .from_input_o(from_input),
      .held_o(held),
      .word_o(full_word)
  );

  logic unused;
  assign unused = &{1'b0, withdrawn, from_input, held, unused_address, unused_bank};

  // ------------------------------------------------------------------ the FIFO

  logic [POINTER_BITS:0]   write_q, read_q;   // one bit more than an address: equal means empty
  logic [POINTER_BITS:0]   level;
  logic                    read, read_q1;     // a unit is read; it is in the memory's first register
  logic                    last;              // we_o: no other unit of its frame comes
  logic [ENTRY_BITS-1:0]   entry;
  logic                    done;
  logic [ADDRESS_BITS-1:0] base_q;
  logic                    first_q;           // the next unit is a frame's first
  logic [UNIT_BITS-1:0]    first_unit, next_unit;

  assign level = write_q - read_q;
  assign done  = we_o && last;
  assign read  = free_i && !resident_o && !done && level != '0;

  bramcast_memory #(
      .WORD_BITS(ENTRY_BITS),
      .DEPTH(FRAME_DEPTH)
  ) u_fifo (
      .clk(clk),
      .we_i(full_we),
      .waddr_i(write_q[POINTER_BITS-1:0]),
      .wdata_i(ENTRY_BITS'({strip_end_q, run_end_q, last_q, full_word})),
      .raddr_i(read_q[POINTER_BITS-1:0]),
      .word_o(entry)
  );
  assign word_o = entry[DATA-1:0];
  assign last   = entry[LAST];

  generate
    if (UNITS > 1) begin : g_units
      logic ended, ended_q;  // the unit before this one ended a run
      assign ended      = we_o ? entry[RUN_END] : ended_q;
      assign first_unit = {base_q, {$clog2(UNITS){1'b0}}};
      assign next_unit  = ended
          ? {address_o[UNIT_BITS-1 -: ADDRESS_BITS] + 1'b1, {$clog2(UNITS){1'b0}}}
          : address_o + 1'b1;
      always_ff @(posedge clk) ended_q <= ended;
    end else begin : g_words
      assign first_unit = base_q;
      assign next_unit  = address_o + 1'b1;
    end
  endgenerate

  logic strip_ended;  // the unit before this one ended a strip
  generate
    if (TILES > 1) begin : g_strips
      logic strip_ended_q;
      assign strip_ended = we_o ? entry[DATA+2] : strip_ended_q;
      always_ff @(posedge clk) begin
        strip_end_q   <= strip_end;
        strip_ended_q <= strip_ended;
        if (read_q1) bank_o <= first_q ? '0 : bank_o + BANK_BITS'(strip_ended);
      end
    end else begin : g_picture
      assign strip_ended = 1'b0;
      assign strip_end_q = 1'b0;
      assign bank_o      = 1'b0;
      logic unused_strip;
      assign unused_strip = &{1'b0, strip_end};
    end
  endgenerate

  always_ff @(posedge clk) begin
    last_q    <= frame_end || wrong;
    run_end_q <= run_end && !wrong;
    room_q    <= level <= (POINTER_BITS+1)'(FRAME_DEPTH - RESERVE);
    if (full_we) write_q <= write_q + 1'b1;

    // Units are read ahead before the last one shows; what was read too much is read again.
    read_q1 <= read;
    we_o    <= read_q1 && !done;
    if (done) read_q <= read_q - (POINTER_BITS+1)'(read_q1);
    else if (read) read_q <= read_q + 1'b1;

    if (we_i && index_i == 5'(bramcast_pkg::INPUT_RESULT_BASE_WORD)) begin
      base_q <= word_i[ADDRESS_BITS-1:0];
    end
    if (read_q1) address_o <= (first_q || strip_ended) ? first_unit : next_unit;
    if (done) first_q <= 1'b1;
    else if (read_q1) first_q <= 1'b0;

    if (done && entry[RUN_END]) resident_o <= 1'b1;
    else if (take_i) resident_o <= 1'b0;

    if (rst) room_q <= 1'b0;
    if (rst || flush_i) begin
      write_q    <= '0;
      read_q     <= '0;
      read_q1    <= 1'b0;
      we_o       <= 1'b0;
      first_q    <= 1'b1;
      resident_o <= 1'b0;
    end
  end

endmodule
`default_nettype wire
