// SPDX-License-Identifier: Apache-2.0
// bramcast_pace: says when a pixel's last tap has to wait.
//
// Golden twin: docs/core.md, "Cycle model". Two reasons:
//   - the capture registers are still being emptied: after a last tap in cycle t whose pixel drains
//     in D cycles, the next last tap comes at t + D or later;
//   - a stream nest has no room in the output FIFO for a whole group (CHUNKS chunks), counting
//     what is on its way. A last tap takes its D chunks off the credit, pop_i gives one back; it
//     counts from the next cycle on.
//
// stall_o speaks of the next cycle, so that bramcast_nest can hold it in a register: half of its counters hang on it.
// stream_i, too, is looked at a cycle before a last tap.
//
`default_nettype none
module bramcast_pace #(
    parameter int CHUNKS      = 8,   // 1..512, chunks of the largest group: LANES * TAPS / RQ
    parameter int FIFO_CHUNKS = 16,  // 2 * CHUNKS or more
    parameter int COUNT_BITS  = 6    // 2**COUNT_BITS >= CHUNKS
) (
    input  logic                  clk,
    input  logic                  rst,
    input  logic                  stream_i,     // the nest's results leave on the stream
    input  logic                  pixel_end_i,  // a last tap is taken in this cycle
    input  logic [COUNT_BITS-1:0] chunks_i,     // D - 1 of its pixel
    input  logic                  pop_i,        // a chunk has left the FIFO
    output logic                  stall_o
);

  localparam int CREDIT_BITS = $clog2(FIFO_CHUNKS) + 2;

  generate
    if (FIFO_CHUNKS < 2 * CHUNKS) begin : g_check
      FIFO_CHUNKS_must_be_at_least_twice_CHUNKS u_error ();
    end
  endgenerate

  logic [COUNT_BITS-1:0] left_q;     // cycles during which a last tap must wait
  logic                  blocked, blocked_q;  // left_q is not 0

  // Free chunks minus CHUNKS: the sign says that there is no room.
  logic signed [CREDIT_BITS-1:0] credit_q;
  logic signed [CREDIT_BITS-1:0] kept, spent, credit;  // pixel_end_i comes late: it chooses between the two
  assign kept  = credit_q + CREDIT_BITS'($signed({1'b0, pop_i}));
  assign spent = credit_q - CREDIT_BITS'(chunks_i) - CREDIT_BITS'($signed({1'b0, !pop_i}));

  assign credit  = (pixel_end_i && stream_i) ? spent : kept;
  assign blocked = pixel_end_i ? chunks_i != '0 : blocked_q && left_q != COUNT_BITS'(1);
  assign stall_o = blocked || (stream_i && credit[CREDIT_BITS-1]);

  always_ff @(posedge clk) begin
    if (pixel_end_i) left_q <= chunks_i;
    else if (blocked_q) left_q <= left_q - 1'b1;
    blocked_q <= blocked;
    credit_q  <= credit;
    if (rst) begin
      left_q    <= '0;
      blocked_q <= 1'b0;
      credit_q  <= CREDIT_BITS'(FIFO_CHUNKS - CHUNKS);
    end
  end

endmodule
`default_nettype wire
