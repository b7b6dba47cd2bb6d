// SPDX-License-Identifier: Apache-2.0
// bramcast_input: takes one frame from the input stream, element by element.
//
// Golden twin: docs/format.md, INPUT: `runs` runs of `run` elements; a run starts in element `lead` of a
// new word, words are filled one after another from result_base. A word has UNITS units; with UNITS > 1
// a run may leave the last ones of its last word out. With TILES > 1 so many runs are a strip, and go to a bank,
// each strip to the next one; the frame's last run may be shorter than the others.
//
// The INPUT descriptor comes word by word from the fetcher, while no frame is being taken. start_i
// then opens the stream; it closes with the last element of a whole frame. An element accepted in cycle A
// is on element_o in cycle A + 1; the unit that it completes is written in cycle A + 2.
//
//   clk            _/~\_/~\_/~\_/~\_/~\_     tready falls with the last element; done_o is
//   s_axis_tready  __/~~~~~~~~~~~\______     high in the cycle after it.
//   s_axis_tdata   --| A |---| B |------
//   valid_o        ______/~~~\___/~~~\__
//
// TLAST ends a frame (TLAST_ENDS = 1). The element at which a frame turns out short (TLAST before the last element) or long (the
// last element without TLAST) has wrong_o beside it and ends a unit, which a short frame need not fill; what
// follows in a long frame is discarded up to its TLAST. Behind a dropped frame's TLAST the stream pauses for a
// cycle, that of dropped_o, and the next element is a frame's first. With TLAST_ENDS = 0 a frame ends when
// its elements are counted, and TLAST is ignored. With none_i (bramcast_beats) TLAST comes without an element: what
// is accepted then is none, and the frame is short, whatever came before.
//
//   clk            _/~\_/~\_/~\_/~\_/~\_     C ends a short frame; D is the first
//   s_axis_tdata   --| B | C |---| D |--     element of the next one.
//   s_axis_tlast   ______/~~~\__________
//   s_axis_tready  __/~~~~~~~\___/~~~~~~
//   wrong_o        __________/~~~\______     dropped_o is the same here; in a long frame
//                                            it comes later, with the end.
//
// flush_i, a level of two cycles or more, gives the frame up: what is left of it is accepted and discarded, up to its
// TLAST, and no other frame begins. Nothing tells of it, neither dropped_o nor taken_o. give_up_i, beside flush_i, closes
// the stream at once, and so does TLAST_ENDS = 0. open_o is low when that has happened. An element that is accepted in the
// first cycle may still be seen on element_o.
//
// With TLAST_ENDS = 2 a frame is as many packets as the descriptor says, each of as many elements, and TLAST ends each of
// them; the frame ends with the last one's. A packet that is too short or too long is what a frame that is so is above: what
// follows is discarded up to the last packet's TLAST.
//
//   clk            _/~\_/~\_/~\_/~\_/~\_/~\_     packets of 1 and 2 elements: A, then B and C are a
//   s_axis_tdata   --| A | B | C | D | E | F     frame. D should have TLAST: wrong_o comes with it, and
//   s_axis_tlast   __/~~~\___/~~~\___/~~~\__     dropped_o behind the packet that F begins.
//
// While the stream is open and no element has been accepted (waiting_o), withdraw_i closes it again:
// withdrawn_o is high in the cycle in which that is decided. The next start_i needs a new descriptor.
// Behind a dropped frame no other begins if withdraw_i is high beside dropped_o.
//
`default_nettype none
module bramcast_input #(
    parameter int LANES        = 16,  // 1..64, a power of two: elements of a unit
    parameter int UNITS        = 1,   // 1, 2, 4, 8: units of a scratchpad word
    parameter int TAPS         = 1,   // 1..LANES: `lead` is less
    parameter int DATA_BITS    = 8,   // 8 or 16
    parameter int ADDRESS_BITS = 10,  // of a scratchpad word
    parameter int TLAST_ENDS   = 1,   // 0: nothing, 1: a frame, 2: a packet of several
    parameter int TILES        = 1,   // 1, 2, 4, 8: banks, each of which gets a strip of the frame
    parameter int BANK_BITS    = (TILES > 1) ? $clog2(TILES) : 1, // follows
    parameter int UNIT_BITS    = ADDRESS_BITS + $clog2(UNITS),    // follows: of a unit
    parameter int LANE_BITS    = (LANES > 1) ? $clog2(LANES) : 1  // follows
) (
    input  logic                    clk,
    input  logic                    rst,
    // the INPUT descriptor
    input  logic                    we_i,
    input  logic [4:0]              index_i,
    input  logic [31:0]             word_i,
    // control
    input  logic                    flush_i,
    input  logic                    give_up_i,
    input  logic                    start_i,
    input  logic                    room_i,         // a register: the next element may be accepted
    input  logic                    withdraw_i,
    output logic                    withdrawn_o,
    output logic                    open_o,         // from start_i to the frame's last element
    output logic                    waiting_o,
    output logic                    taken_o,        // a whole frame's last element is being accepted
    output logic                    done_o,         // ... in the cycle before
    output logic                    dropped_o,      // a frame has been dropped, with its TLAST
    output logic [1:0]              frame_error_o,  // sticky: a frame was short, a frame was long
    input  logic [1:0]              clear_error_i,
    // stream
    input  logic [DATA_BITS-1:0]    s_axis_tdata,
    input  logic                    s_axis_tvalid,
    output logic                    s_axis_tready,
    input  logic                    s_axis_tlast,
    input  logic                    none_i,         // only with TLAST, and with TLAST_ENDS = 1
    // to the assembly
    output logic                    valid_o,
    output logic [DATA_BITS-1:0]    element_o,
    output logic [LANES-1:0]        take_o,         // of each lane: it gets the element
    output logic                    first_o,        // the element is its unit's first
    output logic                    word_end_o,     // the element completes a unit
    output logic                    run_end_o,      // ... and its run
    output logic                    strip_end_o,    // ... and its strip
    output logic                    wrong_o,        // ... and its frame is to be dropped
    input  logic                    written_i,      // a unit is being written to address_o
    output logic [UNIT_BITS-1:0]    address_o,
    output logic [BANK_BITS-1:0]    bank_o
);

  // A frame fits the scratchpad: so many bits count its elements.
  localparam int COUNT_BITS = UNIT_BITS + $clog2(LANES) + $clog2(TILES);

  logic [COUNT_BITS-1:0]   run_q, all_runs_q;   // of the descriptor, minus one
  logic [ADDRESS_BITS-1:0] base_q;
  logic [COUNT_BITS-1:0] elements_q, runs_q;    // behind this one
  logic                  last_element_q, last_run_q;
  logic [LANE_BITS-1:0]  lane_q;
  logic                  none_q;                // no element of this frame yet

  logic [COUNT_BITS-1:0] next_run;              // elements of the run that begins next, minus one

  logic accept;
  logic frame_end;   // all elements have been counted
  logic packet_end;  // ... those of the packet
  logic last_packet;
  logic tlast;       // the frame ends
  logic fits;        // TLAST comes where it should, and nowhere else
  logic run_is_one;
  assign accept     = s_axis_tvalid && s_axis_tready;
  assign frame_end  = last_element_q && last_run_q;
  assign fits       = TLAST_ENDS == 0 || (s_axis_tlast == packet_end && !none_i);
  assign tlast      = (TLAST_ENDS != 0) ? s_axis_tlast && last_packet : frame_end;
  assign run_is_one = next_run == '0;

  logic discard_q;   // what is left of a long frame
  logic wrong, drop, start, closing;
  logic rest;        // something of a frame is left behind this cycle, and worth waiting for
  assign wrong       = accept && !discard_q && !fits;
  assign drop        = accept && tlast && (discard_q || !fits);
  assign start       = start_i || dropped_o;
  assign waiting_o   = open_o && none_q;
  assign taken_o     = accept && tlast && fits && !discard_q;
  assign withdrawn_o = waiting_o && !accept && withdraw_i;
  assign closing     = taken_o || withdrawn_o;
  assign rest        = TLAST_ENDS != 0 && !give_up_i
                       && (accept ? !tlast : open_o && !none_q && !dropped_o);

  logic unused;
  assign unused = &{1'b0, word_i, s_axis_tlast};

  generate
    if (TLAST_ENDS < 0 || TLAST_ENDS > 2) begin : g_check
      TLAST_ENDS_must_be_0_1_or_2 u_error ();
    end
    if (TLAST_ENDS == 2) begin : g_packets
      // Of all packets but the last, minus one; packet k's stands where its descriptor word's number says.
      localparam int FIRST = bramcast_pkg::INPUT_PACKET_0_WORD;
      localparam int MOST  = bramcast_pkg::INPUT_RESULT_BASE_WORD - FIRST;
      (* ram_style = "distributed" *)
      logic [COUNT_BITS-1:0] sizes [0:15];
      logic [3:0]            packets_q;          // minus one
      logic [3:0]            number_q;           // of this packet
      logic [3:0]            next;               // of the one that begins
      logic [COUNT_BITS-1:0] left_q;             // elements behind this one, of a packet that is not the last
      logic                  last_element_of_q;  // none
      logic [COUNT_BITS-1:0] size;
      assign next        = start ? 4'd0 : number_q + 4'd1;
      assign size        = sizes[next];
      assign last_packet = number_q == packets_q;
      assign packet_end  = last_packet ? frame_end : last_element_of_q;
      always_ff @(posedge clk) begin
        if (we_i && index_i == 5'(bramcast_pkg::INPUT_PACKETS_WORD)) begin
          packets_q <= word_i[bramcast_pkg::INPUT_PACKETS_LSB +: bramcast_pkg::INPUT_PACKETS_BITS];
        end
        if (we_i && index_i >= 5'(FIRST) && index_i < 5'(FIRST + MOST)) begin
          sizes[4'(index_i - 5'(FIRST))] <= word_i[COUNT_BITS-1:0];
        end
        if (start || (accept && s_axis_tlast)) begin
          number_q          <= next;
          left_q            <= size;
          last_element_of_q <= size == '0;
        end else if (accept) begin
          left_q            <= left_q - 1'b1;
          last_element_of_q <= left_q == COUNT_BITS'(1);
        end
      end
    end else begin : g_frame
      assign last_packet = 1'b1;
      assign packet_end  = frame_end;
    end
  endgenerate

  logic                 run_first;   // no element of this run yet
  logic [LANE_BITS-1:0] first_lane;  // of a run
  generate
    if (TAPS > 1) begin : g_lead
      logic [$clog2(TAPS)-1:0] lead_q;
      logic                    run_first_q;
      always_ff @(posedge clk) begin
        if (we_i && index_i == 5'(bramcast_pkg::INPUT_LEAD_WORD)) begin
          lead_q <= word_i[bramcast_pkg::INPUT_LEAD_LSB +: $clog2(TAPS)];
        end
        if (start) run_first_q <= 1'b1;
        else if (accept) run_first_q <= last_element_q;
      end
      assign run_first  = run_first_q;
      assign first_lane = LANE_BITS'(lead_q);
    end else begin : g_no_lead
      assign run_first  = 1'b0;
      assign first_lane = '0;
    end
  endgenerate

  logic                  strip_end_q;  // the unit that is written ends a strip
  generate
    if (TILES > 1) begin : g_strips
      logic [COUNT_BITS-1:0] strip_runs_q, final_q;  // of the descriptor, minus one
      logic [COUNT_BITS-1:0] left_q;                    // runs of this strip behind this one
      logic                  last_of_strip;
      assign last_of_strip = left_q == '0;
      assign next_run      = (start ? all_runs_q == '0 : runs_q == COUNT_BITS'(1)) ? final_q : run_q;
      always_ff @(posedge clk) begin
        if (we_i && index_i == 5'(bramcast_pkg::INPUT_STRIP_RUNS_WORD)) strip_runs_q <= word_i[COUNT_BITS-1:0];
        if (we_i && index_i == 5'(bramcast_pkg::INPUT_LAST_RUN_WORD)) final_q <= word_i[COUNT_BITS-1:0];
        if (start) left_q <= strip_runs_q;
        else if (accept && last_element_q) left_q <= last_of_strip ? strip_runs_q : left_q - 1'b1;
        strip_end_o <= last_element_q && last_of_strip;
        strip_end_q <= strip_end_o;
        if (start) bank_o <= '0;
        else if (written_i && strip_end_q) bank_o <= bank_o + 1'b1;
      end
    end else begin : g_picture
      assign next_run    = run_q;
      assign strip_end_o = 1'b0;
      assign strip_end_q = 1'b0;
      assign bank_o      = 1'b0;
    end
  endgenerate

  logic [UNIT_BITS-1:0] first_unit, next_unit;
  generate
    if (UNITS > 1) begin : g_units
      logic run_end_q;  // of the unit that is written
      always_ff @(posedge clk) run_end_q <= run_end_o;
      assign first_unit = {base_q, {$clog2(UNITS){1'b0}}};
      assign next_unit  = run_end_q
          ? {address_o[UNIT_BITS-1 -: ADDRESS_BITS] + 1'b1, {$clog2(UNITS){1'b0}}}
          : address_o + 1'b1;
    end else begin : g_words
      assign first_unit = base_q;
      assign next_unit  = address_o + 1'b1;
    end
  endgenerate

  always_ff @(posedge clk) begin
    if (we_i) begin
      if (index_i == 5'(bramcast_pkg::INPUT_RUN_WORD)) run_q <= word_i[COUNT_BITS-1:0];
      if (index_i == 5'(bramcast_pkg::INPUT_RUNS_WORD)) all_runs_q <= word_i[COUNT_BITS-1:0];
      if (index_i == 5'(bramcast_pkg::INPUT_RESULT_BASE_WORD)) base_q <= word_i[ADDRESS_BITS-1:0];
    end

    if (start) begin
      elements_q     <= next_run;
      last_element_q <= run_is_one;
    end else if (accept) begin
      elements_q     <= last_element_q ? next_run : elements_q - 1'b1;
      last_element_q <= last_element_q ? run_is_one : elements_q == COUNT_BITS'(1);
    end

    if (start) begin
      runs_q     <= all_runs_q;
      last_run_q <= all_runs_q == '0;
    end else if (accept && last_element_q) begin
      runs_q     <= runs_q - 1'b1;
      last_run_q <= runs_q == COUNT_BITS'(1);
    end

    if (start || (accept && last_element_q)) lane_q <= first_lane;
    else if (accept) lane_q <= lane_q + LANE_BITS'(LANES > 1);

    if (start) address_o <= first_unit;
    else if (written_i) address_o <= strip_end_q ? first_unit : next_unit;

    element_o  <= s_axis_tdata;
    for (int l = 0; l < LANES; l = l + 1) begin
      take_o[l] <= accept && !discard_q && lane_q == LANE_BITS'(l);
    end
    first_o    <= run_first || lane_q == '0;
    word_end_o <= last_element_q || wrong || lane_q == LANE_BITS'(LANES - 1);
    run_end_o  <= last_element_q;
    wrong_o    <= wrong;
    valid_o    <= accept && !discard_q;
    done_o     <= taken_o;
    dropped_o  <= drop && !flush_i;

    if (start_i) open_o <= 1'b1;
    else if (closing) open_o <= 1'b0;
    s_axis_tready <= (start || (open_o && !closing && !drop)) && !(dropped_o && withdraw_i) && room_i;
    if (start) none_q <= 1'b1;
    else if (accept) none_q <= 1'b0;
    if (accept) discard_q <= TLAST_ENDS != 0 && !tlast && (discard_q || !fits);
    if (flush_i) begin
      open_o        <= rest;
      s_axis_tready <= rest;
      discard_q     <= rest;
    end

    if (clear_error_i[0]) frame_error_o[0] <= 1'b0;
    if (clear_error_i[1]) frame_error_o[1] <= 1'b0;
    if (wrong && s_axis_tlast) frame_error_o[0] <= 1'b1;
    if (wrong && !s_axis_tlast) frame_error_o[1] <= 1'b1;

    if (rst) begin
      open_o        <= 1'b0;
      s_axis_tready <= 1'b0;
      discard_q     <= 1'b0;
      valid_o       <= 1'b0;
      done_o        <= 1'b0;
      dropped_o     <= 1'b0;
      frame_error_o <= 2'b00;
    end
  end

endmodule
`default_nettype wire
