// bramcast_requantize: add the bias, round, shift and clamp one accumulator per cycle.
//
// Golden twin: requantize() in golden/arith.py; change both together. Ties round towards +inf. The
// sum acc + bias + half is exact: half + bias fits 32 bits, the whole sum 33.
//
//   clk      _/~\_/~\_/~\_/~\_/~\_/~\_     latency 4 cycles, one result per cycle, no handshake;
//   acc_i    __| A | B |______________     lo_i and hi_i are sampled three cycles after acc_i
//   value_o  __________________| A | B
//
`default_nettype none
module bramcast_requantize (
    input  logic               clk,
    input  logic signed [31:0] acc_i,
    input  logic [35:0]        entry_i,  // {shift[4:0], bias[30:0]}
    input  logic signed [31:0] lo_i,
    input  logic signed [31:0] hi_i,     // lo_i <= hi_i
    output logic signed [31:0] value_o   // lo_i..hi_i
);

  logic signed [30:0] bias;
  logic [4:0]         shift;
  logic [31:0]        half;  // 0..2**30
  assign bias  = entry_i[30:0];
  assign shift = entry_i[35:31];
  assign half  = (32'd1 << shift) >> 1;

  logic signed [31:0] acc_q;
  logic signed [31:0] offset_q;  // bias + half: -2**30..2**31-1
  logic [4:0]         shift_q, shift_q2;
  logic signed [32:0] sum_q2;
  logic signed [32:0] shifted_q3;

  always_ff @(posedge clk) begin
    acc_q      <= acc_i;
    offset_q   <= 32'(bias) + $signed(half);
    shift_q    <= shift;

    sum_q2     <= 33'(acc_q) + 33'(offset_q);
    shift_q2   <= shift_q;

    shifted_q3 <= sum_q2 >>> shift_q2;

    if (shifted_q3 < 33'(lo_i)) value_o <= lo_i;
    else if (shifted_q3 > 33'(hi_i)) value_o <= hi_i;
    else value_o <= shifted_q3[31:0];
  end

endmodule
`default_nettype wire
