// SPDX-License-Identifier: Apache-2.0
// bramcast_crc: CRC-32 (IEEE 802.3, zlib.crc32) of bytes, one per cycle.
//
// Golden twin: zlib.crc32. start_i begins a new sum, byte_i counts in every cycle with valid_i; crc_o
// is the sum of all bytes before this cycle.
//
`default_nettype none
module bramcast_crc (
    input  logic        clk,
    input  logic        start_i,
    input  logic        valid_i,
    input  logic [7:0]  byte_i,
    output logic [31:0] crc_o
);

  function automatic [31:0] next(input [31:0] crc, input [7:0] value);
    integer i;
    begin
      next = crc ^ {24'd0, value};
      for (i = 0; i < 8; i = i + 1) next = {1'b0, next[31:1]} ^ (next[0] ? 32'hEDB88320 : 32'd0);
    end
  endfunction

  logic [31:0] sum_q;

  always_ff @(posedge clk) begin
    if (start_i) sum_q <= 32'hFFFFFFFF;
    else if (valid_i) sum_q <= next(sum_q, byte_i);
  end

  assign crc_o = ~sum_q;

endmodule
`default_nettype wire
