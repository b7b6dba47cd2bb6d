// SPDX-License-Identifier: Apache-2.0
// bramcast_assemble: builds sub-words from chunks of RQ results, or units from single input elements.
//
// Golden twin: docs/format.md: lane 0 in the least significant bits, unused lanes zero. The first
// chunk (element) clears the other lanes. With TAPS = 1 sub-word, unit and word are the same.
//
// The chunk that fills a sub-word goes straight to the memory, beside the chunks that wait in registers: it
// is written in the cycle in which it comes. A shorter sub-word, which ends a group, and every unit are
// written one cycle after their last chunk (element).
//
//   clk            _/~\_/~\_/~\_/~\_/~\_     LANES = 4, RQ = 2: a whole group a, b,
//   chunk_valid_i  __/~~~~~~~\___/~~~\__     then a tail group with one chunk c
//   chunk_i        --| a | b |---| c |--
//   we_o           ______/~~~\_______/~~
//   word_o         ------|b,a|-------|0,c
//
`default_nettype none
module bramcast_assemble #(
    parameter int LANES      = 16,  // 1..64, a power of two
    parameter int RQ         = 2,   // 1..LANES, a power of two
    parameter int DATA_BITS  = 8,   // 8 or 16
    parameter int UNIT       = LANES,  // LANES.., elements of a unit
    parameter int INDEX_BITS = (LANES > RQ) ? $clog2(LANES / RQ) : 1   // follows
) (
    input  logic                       clk,
    input  logic                       rst,
    // input elements; never together with chunks
    input  logic                       element_valid_i,
    input  logic [DATA_BITS-1:0]       element_i,
    input  logic [UNIT-1:0]            element_take_i,   // of each lane: it gets the element
    input  logic                       element_first_i,
    input  logic                       element_end_i,
    // results
    input  logic                       chunk_valid_i,
    input  logic [RQ*DATA_BITS-1:0]    chunk_i,
    input  logic [INDEX_BITS-1:0]      chunk_index_i,  // in its sub-word
    input  logic                       chunk_last_i,   // of its group
    // to the scratchpad
    output logic                       we_o,
    output logic                       from_input_o,  // it is a unit
    output logic                       held_o,        // it was complete a cycle ago
    output logic [UNIT*DATA_BITS-1:0]  word_o
);

  localparam int CHUNKS = LANES / RQ;
  localparam int WAITING = LANES - RQ;  // lanes below the last chunk

  logic direct;      // the chunk that fills a sub-word is here
  logic complete_q;  // the registers hold a complete sub-word or unit
  logic input_q;
  assign direct = chunk_valid_i && chunk_index_i == INDEX_BITS'(CHUNKS - 1);

  always_ff @(posedge clk) begin
    complete_q <= (chunk_valid_i && chunk_last_i && !direct) || (element_valid_i && element_end_i);
    input_q    <= element_valid_i;
    if (rst) complete_q <= 1'b0;
  end

  // One level each: what a lane does with them is the next one.
  logic first_element, first_chunk;
  assign first_element = element_valid_i && element_first_i;
  assign first_chunk   = chunk_valid_i && chunk_index_i == '0;

  logic [RQ*DATA_BITS-1:0] chunk;
  assign chunk = element_valid_i ? {RQ{element_i}} : chunk_i;

  genvar l;
  generate
    for (l = 0; l < UNIT; l = l + 1) begin : g_lane
      logic [DATA_BITS-1:0] lane_q;
      logic                 take;
      assign take = element_take_i[l]
                    || (chunk_valid_i && l < LANES && chunk_index_i == INDEX_BITS'(l / RQ));
      always_ff @(posedge clk) begin
        if (take) lane_q <= chunk[DATA_BITS*(l%RQ) +: DATA_BITS];
        else if (first_element || first_chunk) lane_q <= '0;
      end
      if (l < WAITING || l >= LANES) begin : g_wait
        assign word_o[DATA_BITS*l +: DATA_BITS] = lane_q;
      end else begin : g_direct
        assign word_o[DATA_BITS*l +: DATA_BITS] =
            direct ? chunk_i[DATA_BITS*(l%RQ) +: DATA_BITS] : lane_q;
      end
    end
  endgenerate

  assign we_o         = direct || complete_q;
  assign from_input_o = input_q;
  assign held_o       = complete_q;

endmodule
`default_nettype wire
