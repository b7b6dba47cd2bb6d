// SPDX-License-Identifier: Apache-2.0
// bramcast_lite_cross: requests from the bus' clock into the core's, answers back, and the interrupt.
//
// Golden twin: none: what bramcast_lite asks is what bramcast_registers is asked, once.
//
// A request is copied into registers of the bus' clock, then request_q turns round; the turn comes through
// two registers into the core's clock, where valid_o rises until done_i. The answer is copied there, then
// answer_q turns round, and comes back the same way. So whatever crosses in more than one bit has stood still for
// at least one edge of the clock that takes it, and stands still until it has been taken. A request takes about
// three cycles of each clock more than without a crossing. The clocks may have any frequencies and phases.
//
//   bus   valid_i    __/~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\____
//         request_q  ______/~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//   core  valid_o    ____________/~~~~~~~~~~~~~\________________
//         done_i     ______________________/~~~\________________
//         answer_q   __________________________/~~~~~~~~~~~~~~~~
//   bus   done_o     __________________________________/~~~\____
//
// Each side has its own reset, of any length, at any time. A request that has crossed is done and answered, whatever
// the resets do (the core's may have it done again); where the bus was reset meanwhile, the answer is dropped, and
// the next request waits for it. So neither turn is lost: both registers have no reset, but a value at power-up.
//
`default_nettype none
module bramcast_lite_cross #(
    parameter int ADDRESS_BITS = 16  // 3..32
) (
    // the bus' clock: bramcast_lite
    input  logic                    bus_clk,
    input  logic                    bus_rst,   // synchronous, active high
    input  logic                    valid_i,   // stays until done_o, with all that belongs to it
    input  logic                    write_i,
    input  logic [ADDRESS_BITS-1:0] address_i,
    input  logic [31:0]             wdata_i,
    input  logic                    whole_i,
    output logic                    done_o,
    output logic [31:0]             rdata_o,
    output logic [1:0]              resp_o,
    output logic                    irq_o,
    // the core's clock: bramcast_registers
    input  logic                    clk,
    output logic                    valid_o,
    output logic                    write_o,
    output logic [ADDRESS_BITS-1:0] address_o,
    output logic [31:0]             wdata_o,
    output logic                    whole_o,
    input  logic                    done_i,
    input  logic [31:0]             rdata_i,
    input  logic [1:0]              resp_i,
    input  logic                    irq_i      // a register
);

  // Turns: each register is written by one side only.
  logic request_q, answer_q;
  logic request, answer;       // as the other side sees them
  logic request_seen_q, answer_seen_q;
  logic irq;
  logic ended_q;               // data stay for a cycle behind done_i, as those of bramcast_lite do

  // ------------------------------------------------------------------ bus

  logic busy_q;     // a request is on its way, or its answer
  logic dropped_q;  // nobody waits for it
  logic back;
  assign back   = answer != answer_seen_q;
  assign done_o = back && !dropped_q;

  initial begin
    request_q     = 1'b0;
    answer_seen_q = 1'b0;
    busy_q        = 1'b0;
    dropped_q     = 1'b0;
  end

  always_ff @(posedge bus_clk) begin
    if (valid_i && !busy_q && !bus_rst) begin
      busy_q    <= 1'b1;
      request_q <= !request_q;
      write_o   <= write_i;
      address_o <= address_i;
      wdata_o   <= wdata_i;
      whole_o   <= whole_i;
    end
    answer_seen_q <= answer;
    if (back) busy_q <= 1'b0;
    dropped_q <= busy_q && !back && (dropped_q || bus_rst);
    irq_o     <= irq && !bus_rst;
  end

  bramcast_sync u_answer (
      .clk(bus_clk),
      .bit_i(answer_q),
      .bit_o(answer)
  );
  bramcast_sync u_irq (
      .clk(bus_clk),
      .bit_i(irq_i),
      .bit_o(irq)
  );

  // ------------------------------------------------------------------ core

  initial begin
    answer_q       = 1'b0;
    ended_q        = 1'b0;
    request_seen_q = 1'b0;
    valid_o        = 1'b0;
  end

  always_ff @(posedge clk) begin
    request_seen_q <= request;
    ended_q        <= valid_o && done_i;
    if (ended_q) answer_q <= !answer_q;
    if (request != request_seen_q) valid_o <= 1'b1;
    if (valid_o && done_i) begin
      valid_o  <= 1'b0;
      rdata_o  <= rdata_i;
      resp_o   <= resp_i;
    end
  end

  bramcast_sync u_request (
      .clk(clk),
      .bit_i(request_q),
      .bit_o(request)
  );

endmodule
`default_nettype wire
