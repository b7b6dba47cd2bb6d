// SPDX-License-Identifier: Apache-2.0
// bramcast_peek: lets a host read the scratchpad, with the core's own read port; nothing with PEEK = 0.
//
// Golden twin: docs/format.md, "Words of the scratchpad". The host reads as in bramcast_image, while the core
// does not: it keeps host_word_i and host_beat_i still and finds the beat three edges later.
//
//   clk           _/~\_/~\_/~\_/~\_/~\_
//   host_read_i   __/~~~~~~~~~~~~~~~\__
//   host_word_i   --| A             |--
//   host_data_o   ______________| A |__
//
`default_nettype none
module bramcast_peek #(
    parameter int WORD_BITS    = 128,  // of the scratchpad
    parameter int ADDRESS_BITS = 10,
    parameter int PEEK         = 0     // 0, 1
) (
    input  logic                    clk,
    // core
    input  logic [ADDRESS_BITS-1:0] raddr_i,
    // scratchpad
    output logic [ADDRESS_BITS-1:0] raddr_o,
    input  logic [WORD_BITS-1:0]    word_i,       // two edges behind raddr_o
    // host
    input  logic                    host_read_i,
    input  logic [23:0]             host_word_i,
    input  logic [6:0]              host_beat_i,
    output logic [31:0]             host_data_o
);

  generate
    if (PEEK != 0) begin : g_peek
      assign raddr_o = host_read_i ? host_word_i[ADDRESS_BITS-1:0] : raddr_i;
      always_ff @(posedge clk) begin
        host_data_o <= 32'd0;
        if (host_read_i) host_data_o <= 32'(word_i >> {host_beat_i, 5'd0});
      end
      logic unused;
      assign unused = &{1'b0, host_word_i};
    end else begin : g_no_peek
      assign raddr_o     = raddr_i;
      assign host_data_o = 32'd0;
      logic unused;
      assign unused = &{1'b0, clk, word_i, host_read_i, host_word_i, host_beat_i};
    end
  endgenerate

endmodule
`default_nettype wire
