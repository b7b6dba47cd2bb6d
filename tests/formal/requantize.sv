// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_requantize computes its formula for all accumulators,
// biases, shifts and clamps, in any order, one per cycle.
//
// test_formal.py puts this text in front of the module's `endmodule`. The formula is written in 40 bits,
// where nothing can overflow. Assumed is that lo <= hi and that both stand still. The module keeps
// nothing for longer than four cycles: induction over five needs no help.
//
  generate
    if (1) begin : g_proof
      (* anyconst *) logic [31:0] lo;
      (* anyconst *) logic [31:0] hi;

      logic signed [39:0] wide_acc, wide_bias, wide_lo, wide_hi, wide_half, sum, shifted, clamped;
      assign wide_acc  = {{8{acc_i[31]}}, acc_i};
      assign wide_bias = {{9{entry_i[30]}}, entry_i[30:0]};
      assign wide_lo   = {{8{lo[31]}}, lo};
      assign wide_hi   = {{8{hi[31]}}, hi};
      assign wide_half = (40'sd1 << entry_i[35:31]) >> 1;
      assign sum       = wide_acc + wide_bias + wide_half;
      assign shifted   = sum >>> entry_i[35:31];
      assign clamped   = (shifted < wide_lo) ? wide_lo : (shifted > wide_hi) ? wide_hi : shifted;

      logic [31:0] expected_q, expected_q2, expected_q3, expected_q4;
      logic [2:0]  age_q;  // cycles since the start, up to 4
      initial age_q = 3'd0;

      always @(posedge clk) begin
        assume ($signed(lo) <= $signed(hi));
        assume (lo_i == lo && hi_i == hi);
        expected_q  <= clamped[31:0];
        expected_q2 <= expected_q;
        expected_q3 <= expected_q2;
        expected_q4 <= expected_q3;
        if (age_q < 3'd4) age_q <= age_q + 3'd1;
        if (age_q >= 3'd4) assert (value_o == expected_q4);
        cover (age_q == 3'd4 && value_o == 32'd100 && lo == -32'd128 && hi == 32'd127);
      end
    end
  endgenerate
