// SPDX-License-Identifier: Apache-2.0
// bramcast_reset: a reset from anywhere becomes one of this clock: asserted at once, released synchronously.
//
// Golden twin: none. The core's own reset is synchronous: in a register that sees the assertion an edge
// before another one does nothing is lost, as the reset lasts for two edges or more.
//
//   clk        _/~\_/~\_/~\_/~\_/~\_/~\_     aresetn may fall and rise at any time
//   aresetn    ~~~\__________/~~~~~~~~~~     (it must be longer than a flip-flop needs).
//   rst_o      ___/~~~~~~~~~~~~~~~~~\___     rst_o falls with the second edge behind it.
//
// Attributes as in bramcast_sync; the constraint lets the asynchronous pins alone.
//
`default_nettype none
module bramcast_reset (
    input  logic clk,
    input  logic aresetn,  // asynchronous, active low
    output logic rst_o     // active high
);

  (* ASYNC_REG = "TRUE", syn_preserve = 1, syn_srlstyle = "registers",
     altera_attribute = "-name SYNCHRONIZER_IDENTIFICATION FORCED_IF_ASYNCHRONOUS; -name AUTO_SHIFT_REGISTER_RECOGNITION OFF" *)
  logic [1:0] release_q;

  initial release_q = 2'b11;

  always_ff @(posedge clk or negedge aresetn) begin
    if (!aresetn) release_q <= 2'b11;
    else release_q <= {release_q[0], 1'b0};
  end
  assign rst_o = release_q[1];

endmodule
`default_nettype wire
