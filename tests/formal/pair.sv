// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_pair does what two bramcast_lane do, cycle for cycle and modulo 2**32.
//
// test_formal.py puts this text in front of the module's `endmodule`; the lanes' registers are outputs of theirs in it
// (SHOWN). Assumed is what the module's header asks for. Registers begin with anything: a sum or a maximum counts from
// the first load on, a factor from the first weight or held element on. With LEMMA the solver is spared the multipliers: operands
// and factors that are as asserted give products as products_agree says (test_products_of_a_pair_lie_side_by_side tries all).
//
  generate
    if (1) begin : g_proof
      logic        same;                    // S5: both tiles have the same element
      logic        same_q, same_q2;         // ... of the tap in S6, in S7
      logic        kind_q, kind_q2;         // product_i when it was in S5
      logic        seen_q, seen_q2;         // there is such a tap
      logic        factor_known_q, product_known_q, acc_known_q, acc_out_known_q;
      logic [1:0]  max_known_q, max_out_known_q;
      logic [63:0] acc;
      logic [17:0] max;
      logic signed [47:0] operand_of0, operand_of1, factor_of0, factor_of1, product_of0, product_of1;
      logic signed [47:0] acc_of0, acc_of1, max_of0, max_of1;
      initial {seen_q, seen_q2, factor_known_q, product_known_q, acc_known_q, acc_out_known_q} = '0;
      initial {max_known_q, max_out_known_q} = '0;

      bramcast_lane #(.DATA_BITS(DATA_BITS), .WEIGHT_BITS(WEIGHT_BITS), .GATES(GATES)) u_lane0 (
          .clk(clk),
          .lanewise_i(lanewise_i),
          .own_signed_i(own_signed_i),
          .broadcast_signed_i(broadcast_signed_i),
          .clear_i(clear_i[0]),
          .broadcast_i(broadcast_i[7:0]),
          .own_i(own_i[7:0]),
          .weight_i(weight_i),
          .max_load_i(max_load_i[0]),
          .max_try_i(max_try_i[0]),
          .product_i(product_i),
          .hold_i(hold_i),
          .max_capture_i(max_capture_i),
          .acc_step_i(acc_step_i),
          .acc_load_i(acc_load_i),
          .acc_capture_i(acc_capture_i),
          .max_o(max[8:0]),
          .acc_o(acc[31:0]),
          .operand_q_o(operand_of0),
          .factor_q_o(factor_of0),
          .product_q_o(product_of0),
          .acc_q_o(acc_of0),
          .max_q_o(max_of0)
      );

      bramcast_lane #(.DATA_BITS(DATA_BITS), .WEIGHT_BITS(WEIGHT_BITS), .GATES(GATES)) u_lane1 (
          .clk(clk),
          .lanewise_i(lanewise_i),
          .own_signed_i(own_signed_i),
          .broadcast_signed_i(broadcast_signed_i),
          .clear_i(clear_i[1]),
          .broadcast_i(broadcast_i[15:8]),
          .own_i(own_i[15:8]),
          .weight_i(weight_i),
          .max_load_i(max_load_i[1]),
          .max_try_i(max_try_i[1]),
          .product_i(product_i),
          .hold_i(hold_i),
          .max_capture_i(max_capture_i),
          .acc_step_i(acc_step_i),
          .acc_load_i(acc_load_i),
          .acc_capture_i(acc_capture_i),
          .max_o(max[17:9]),
          .acc_o(acc[63:32]),
          .operand_q_o(operand_of1),
          .factor_q_o(factor_of1),
          .product_q_o(product_of1),
          .acc_q_o(acc_of1),
          .max_q_o(max_of1)
      );

      assign same = clear_i[0] == clear_i[1]
                    && (clear_i[0] || (lanewise_i ? own_i[7:0] == own_i[15:8] : broadcast_i[7:0] == broadcast_i[15:8]));

      always @* begin
        if (own_signed_i) assume (lanewise_i);
        if (broadcast_signed_i) assume (!lanewise_i);
        if (acc_step_i && seen_q2) assume ((GATES != 0 && product_i) == kind_q2);
        if (GATES != 0 && product_i && acc_step_i && seen_q2) assume (same_q2);
        if (GATES != 0 && product_i && hold_i && seen_q) assume (same_q);
      end

      always @(posedge clk) begin
        seen_q  <= 1'b1;
        seen_q2 <= seen_q;
        same_q  <= same;
        same_q2 <= same_q;
        kind_q  <= GATES != 0 && product_i;
        kind_q2 <= kind_q;
        if (GATES == 0 || !product_i) factor_known_q <= 1'b1;
        else if (hold_i) factor_known_q <= seen_q;
        product_known_q <= seen_q && factor_known_q;
        if (acc_step_i) acc_known_q <= (acc_load_i || acc_known_q) && product_known_q;
        if (acc_capture_i) acc_out_known_q <= acc_known_q;
        if (max_capture_i) max_out_known_q <= max_known_q;
        if (max_load_i[0]) max_known_q[0] <= seen_q && !kind_q;
        else if (max_try_i[0]) max_known_q[0] <= max_known_q[0] && !kind_q;
        if (max_load_i[1]) max_known_q[1] <= seen_q;
      end

      always @* begin  // not at the edge: so one cycle suffices for the induction
        if (acc_out_known_q) assert (acc_o == acc);
        if (max_out_known_q[0]) assert (max_o[8:0] == max[8:0]);
        if (max_out_known_q[1]) assert (max_o[17:9] == max[17:9]);
        // Products of both signs at their limits; a sum that has borrowed; a product of two elements that fills a half.
        cover (product_known_q && !kind_q2 && product_of0 == -48'sd127 * (48'sd1 << (WEIGHT_BITS - 1))
               && product_of1 == (48'sd1 << (WEIGHT_BITS + 6)));
        cover (acc_out_known_q && max_out_known_q == 2'b11 && acc[31:0] == 32'd1 && acc[63:32] == -32'd1
               && max[8:0] == 9'd255 && max[17:9] == 9'd384);
        if (GATES != 0) cover (acc_out_known_q && acc[31:0] == 32'd65025);
      end

`ifdef HELP
`ifdef LEMMA
`define PRODUCTS assume
`else
`define PRODUCTS assert
`endif
      logic products_agree;
      assign products_agree = product_q == product_of1 * 48'sd65536 + (kind_q2 ? 48'sd0 : product_of0)
                              && (kind_q2 || (product_of0 >= -48'sd32768 && product_of0 <= 48'sd32767))
                              && (!same_q2 || product_of0 == product_of1);
      always @* begin
        if (seen_q2) assert (seen_q);
        if (product_known_q) assert (seen_q2);
        if (acc_known_q || acc_out_known_q) assert (seen_q2);
        if (max_known_q != '0) assert (seen_q);
        if (seen_q) begin
          assert (operand_of0 >= -48'sd128 && operand_of0 <= 48'sd255);
          assert (operand_of1 >= -48'sd128 && operand_of1 <= 48'sd255);
          assert (g_tile[1].element_q == operand_of1);
          if (!kind_q) assert (g_tile[0].element_q == operand_of0);
          assert (operand_q == operand_of1 * 48'sd65536 + (kind_q ? 48'sd0 : operand_of0));
          if (same_q) assert (operand_of0 == operand_of1);
          if (!kind_q) assert (factor_known_q);
          if (!kind_q) assert (factor_q >= -(9'sd1 << (WEIGHT_BITS - 1)) && factor_q < (9'sd1 << (WEIGHT_BITS - 1)));
        end
        if (factor_known_q) assert (factor_of0 == factor_q && factor_of1 == factor_q);
        if (product_known_q) `PRODUCTS (products_agree);
        if (acc_known_q) assert (acc_of0[31:0] == acc_q0 && acc_of1[31:0] == acc_q1);
        if (max_known_q[0]) assert (max_of0 == g_tile[0].max_q);
        if (max_known_q[1]) assert (max_of1 == g_tile[1].max_q);
      end
`endif
    end
  endgenerate
