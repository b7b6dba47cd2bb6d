// SPDX-License-Identifier: Apache-2.0
// bramcast_delay: hands a token on, STAGES cycles later; what it carries is not reset, its lowest bit is.
//
// Golden twin: none. Bit 0 says that the token is valid. clear_i takes it off every token inside, so that
// none of them leaves; rst is a clear_i, too. STAGES = 0 is a wire.
//
//   clk      _/~\_/~\_/~\_/~\_     STAGES = 2
//   token_i  __| A | B |______
//   token_o  __________| A | B
//
`default_nettype none
module bramcast_delay #(
    parameter int BITS   = 8,  // 1..
    parameter int STAGES = 2   // 0..
) (
    input  logic            clk,
    input  logic            clear_i,
    input  logic [BITS-1:0] token_i,
    output logic [BITS-1:0] token_o
);

  generate
    if (STAGES == 0) begin : g_wire
      assign token_o = token_i;
      logic unused;
      assign unused = &{1'b0, clk, clear_i};
    end else begin : g_stages
      logic [STAGES*BITS-1:0] tokens_q;  // the newest in the lowest bits
      integer s;
      always_ff @(posedge clk) begin
        tokens_q <= (STAGES*BITS)'({tokens_q, token_i});
        if (clear_i) for (s = 0; s < STAGES; s = s + 1) tokens_q[BITS*s] <= 1'b0;
      end
      assign token_o = tokens_q[(STAGES-1)*BITS +: BITS];
    end
  endgenerate

endmodule
`default_nettype wire
