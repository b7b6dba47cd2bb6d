// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_address adds the jump that was written for the level, and with the jumps
// that the packer writes its address is the base plus index * step, summed over the six loops.
//
// test_formal.py puts this text in front of the module's `endmodule`. The solver chooses one entry of the table, which
// must give what was written to it last. It also chooses a nest: base, steps, and when a loop is in its last iteration. Its
// jumps (docs/format.md, NEST) are written to one half of the table in any order; its taps come in the nest's order. A
// product is what it is short for, a step added as often as the loop advances: counts have no bound.
//
  generate
    if (1) begin : g_proof
      (* anyconst *) logic [3:0] chosen;  // half and level

      logic                    started_q, known_q, expect_q;
      logic [ADDRESS_BITS-1:0] kept_q, expected_q;
      initial started_q = 1'b0;
      initial known_q   = 1'b0;
      initial expect_q  = 1'b0;

      logic hit;
      assign hit = known_q && {bank_i, level_i} == chosen;

      always @(posedge clk) begin
        started_q <= 1'b1;
        if (we_i && {write_bank_i, write_level_i} == chosen) begin
          known_q <= 1'b1;
          kept_q  <= jump_i;
        end
        expect_q   <= clear_i || !step_i || hit;
        expected_q <= clear_i ? '0 : step_i ? address_o + kept_q : address_o;
        if (started_q && expect_q) assert (address_o == expected_q);
        cover (started_q && hit && step_i && kept_q == 2'd3 && address_o == 2'd2);
      end

`ifdef HELP
      always @(posedge clk) if (known_q) assert (jumps[chosen] == kept_q);
`endif
    end
`ifdef NEST
    if (1) begin : g_nest
      localparam int N = ADDRESS_BITS;
      (* anyconst *) logic           half;
      (* anyconst *) logic [N-1:0]   base;
      (* anyconst *) logic [6*N-1:0] steps;  // loop l: the N bits from l * N on; 0 = g .. 5 = ci
      (* anyconst *) logic [6*N-1:0] falls;  // (count - 1) * step
      (* anyseq *)   logic [5:0]     last;   // the loop is in its last iteration

      logic [7*N-1:0] entries;     // base and jumps
      logic [N-1:0]   sum, inner;  // base and index * step; what the loops inside fall back by
      logic [6*N-1:0] parts_q;     // index * step: as many steps as the loop has made
      logic [2:0]     level;       // loop that advances, plus one; 0: none does
      logic [6:0]     written_q;
      logic           begun_q, cleared_q;
      integer         l;
      initial written_q = 7'd0;
      initial begun_q   = 1'b0;
      initial cleared_q = 1'b0;

      always @* begin
        inner = '0;
        sum   = '0;
        level = 3'd0;
        for (l = 5; l >= 0; l = l - 1) begin
          entries[(l+1)*N +: N] = steps[l*N +: N] - inner;
          inner = inner + falls[l*N +: N];
          sum   = sum + parts_q[l*N +: N];
        end
        sum = sum + base;
        entries[N-1:0] = base;
        for (l = 0; l < 6; l = l + 1) if (!last[l]) level = l + 1;
      end

      always @(posedge clk) begin
        if (we_i && write_bank_i == half) begin
          assume (write_level_i != 3'd7 && jump_i == entries[write_level_i*N +: N]);
          written_q[write_level_i] <= 1'b1;
        end
        for (l = 0; l < 6; l = l + 1) if (last[l]) assume (parts_q[l*N +: N] == falls[l*N +: N]);
        if (clear_i) begin
          begun_q   <= 1'b0;
          cleared_q <= 1'b1;
        end else if (step_i && cleared_q) begin
          assume (bank_i == half && written_q == 7'h7f);
          if (begun_q) assume (level != 3'd0);
          assume (level_i == (begun_q ? level : 3'd0));
          begun_q <= 1'b1;
          for (l = 0; l < 6; l = l + 1) begin
            if (!begun_q || l + 1 > level) parts_q[l*N +: N] <= '0;
            else if (l + 1 == level) parts_q[l*N +: N] <= parts_q[l*N +: N] + steps[l*N +: N];
          end
        end
        if (begun_q) assert (address_o == sum);
        cover (begun_q && step_i && level == 3'd1 && falls[N +: N] != '0 && steps[0 +: N] == 3);
      end

`ifdef HELP
      always @(posedge clk) begin
        for (l = 0; l < 7; l = l + 1) if (written_q[l]) assert (jumps[{half, l[2:0]}] == entries[l*N +: N]);
        if (begun_q) assert (cleared_q);
        if (cleared_q && !begun_q) assert (address_o == '0);
      end
`endif
    end
`endif
  endgenerate
