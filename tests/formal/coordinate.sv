// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_coordinate is start + the pixel's steps + the tap's steps, and inside_o
// says whether that lies in 0 .. limit - 1.
//
// test_formal.py puts this text in front of the module's `endmodule`. The sums are kept in 24 bits, where nothing
// overflows. Assumed is what docs/format.md, NEST, promises: coordinates never leave -32768..32767, limits
// are 1..32767, and the first step is the one to the start (tests/formal/nest.sv).
//
  generate
    if (1) begin : g_proof
      logic               started_q;
      logic               known_q;    // a nest has begun
      logic               known_q2;
      logic signed [23:0] pixel_sum_q, tap_sum_q;  // start + the pixel's steps; and the tap's
      logic               expected_q;
      initial started_q = 1'b0;
      initial known_q   = 1'b0;
      initial known_q2  = 1'b0;

      logic signed [23:0] pixel_sum, tap_sum;      // with the step that comes now
      always @* begin
        pixel_sum = pixel_sum_q;
        tap_sum   = tap_sum_q;
        if (level_i < PIXEL_LEVEL) begin                // an outer loop
          pixel_sum = {{8{start_i[15]}}, start_i};
          tap_sum   = pixel_sum;
        end else if (level_i == PIXEL_LEVEL) begin
          pixel_sum = pixel_sum_q + {{8{pixel_step_i[15]}}, pixel_step_i};
          tap_sum   = pixel_sum;
        end else if (level_i == PIXEL_LEVEL + 1) begin  // back to the pixel's first tap
          tap_sum   = pixel_sum_q;
        end else if (level_i == PIXEL_LEVEL + 2) begin
          tap_sum   = tap_sum_q + {{8{tap_step_i[15]}}, tap_step_i};
        end
      end

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (limit_i != 16'd0 && limit_i <= 16'd32767);
        if (step_i) begin
          if (!known_q) assume (level_i == 3'd0);
          assume (pixel_sum >= -24'sd32768 && pixel_sum <= 24'sd32767);
          assume (tap_sum >= -24'sd32768 && tap_sum <= 24'sd32767);
          known_q     <= 1'b1;
          pixel_sum_q <= pixel_sum;
          tap_sum_q   <= tap_sum;
        end
        known_q2   <= known_q;
        expected_q <= tap_sum_q >= 24'sd0 && tap_sum_q < $signed({8'd0, limit_i});
        if (known_q2) assert (inside_o == expected_q);
        cover (known_q2 && inside_o && tap_sum_q < 24'sd0 && pixel_sum_q > 24'sd300);
        cover (known_q2 && !inside_o && tap_sum_q == 24'sd32767 && limit_i == 16'd32767);
      end

`ifdef HELP
      always @(posedge clk) if (started_q) begin
        if (known_q2) assert (known_q);
        if (known_q) assert ({{8{pixel_q[15]}}, pixel_q} == pixel_sum_q && {{8{tap_q[15]}}, tap_q} == tap_sum_q);
      end
`endif
    end
  endgenerate
