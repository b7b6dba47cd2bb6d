// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_lite takes address and data of a write in any order, makes one
// request of each write and each read, one at a time, and gives each exactly one answer, its own.
//
// test_formal.py puts this text in front of the module's `endmodule`. Masters, reset and the register side do what they
// want; the register side may answer at any time, also when nothing is asked. The bounds count the cycles in
// which the module itself could go on: those in which a request waits for the register side and those in which an
// answer waits for its master don't count. So a request is answered in a bounded time if both act in bounded times.
// What stands under HELP is true of the module's registers and lets induction start anywhere.
//
  generate
    if (1) begin : g_proof
      localparam int BOUND = 4;  // cycles from a request's last part to its answer, without the waits

      logic                    started_q;
      initial started_q = 1'b0;
      logic                    aw_q, w_q, ar_q;       // taken, not answered yet
      logic                    b_q, r_q;              // answered, answer not taken yet
      logic [ADDRESS_BITS-1:0] aw_place_q, ar_place_q;
      logic [31:0]             data_q;
      logic                    strobes_q;
      logic [1:0]              b_answer_q, r_answer_q;
      logic [31:0]             r_data_q;
      logic                    asked_q, asked_write_q;  // a request was not answered in the last cycle
      logic                    answered_q;              // one was
      logic                    reset_q;
      logic [2:0]              write_age_q, read_age_q;

      logic aw, w, ar, b, r, done_write, done_read;
      assign aw         = s_axil_awvalid && s_axil_awready;
      assign w          = s_axil_wvalid && s_axil_wready;
      assign ar         = s_axil_arvalid && s_axil_arready;
      assign b          = s_axil_bvalid && s_axil_bready;
      assign r          = s_axil_rvalid && s_axil_rready;
      assign done_write = valid_o && write_o && done_i;
      assign done_read  = valid_o && !write_o && done_i;

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);

        if (aw) aw_place_q <= s_axil_awaddr;
        if (ar) ar_place_q <= s_axil_araddr;
        if (w) data_q <= s_axil_wdata;
        if (w) strobes_q <= s_axil_wstrb == 4'b1111;
        aw_q <= (aw_q && !done_write) || aw;
        w_q  <= (w_q && !done_write) || w;
        ar_q <= (ar_q && !done_read) || ar;
        b_q  <= (b_q && !b) || done_write;
        r_q  <= (r_q && !r) || done_read;
        if (done_write) b_answer_q <= resp_i;
        if (done_read) r_answer_q <= resp_i;
        if (done_read) r_data_q <= rdata_i;
        asked_q       <= valid_o && !done_i;
        asked_write_q <= write_o;
        answered_q    <= valid_o && done_i;
        reset_q       <= rst;
        if (!(aw_q && w_q) || done_write) write_age_q <= 3'd0;
        else if (!(valid_o && !done_i) && !(s_axil_bvalid && !b)) write_age_q <= write_age_q + 3'd1;
        if (!ar_q || done_read) read_age_q <= 3'd0;
        else if (!(valid_o && !done_i) && !(s_axil_rvalid && !r)) read_age_q <= read_age_q + 3'd1;
        if (rst) begin
          aw_q        <= 1'b0;
          w_q         <= 1'b0;
          ar_q        <= 1'b0;
          b_q         <= 1'b0;
          r_q         <= 1'b0;
          asked_q     <= 1'b0;
          answered_q  <= 1'b0;
          write_age_q <= 3'd0;
          read_age_q  <= 3'd0;
        end

        if (started_q) begin
          if (reset_q) assert (!s_axil_awready && !s_axil_wready && !s_axil_arready);
          if (reset_q) assert (!s_axil_bvalid && !s_axil_rvalid && !valid_o);
          // Nothing is taken while one of its kind is in work, and then at once.
          if (!reset_q) assert (s_axil_awready == !aw_q);
          if (!reset_q) assert (s_axil_wready == !w_q);
          if (!reset_q) assert (s_axil_arready == !ar_q);
          // A request is a whole write or a read, with all that belongs to it; it stays until it is answered.
          if (valid_o && write_o) begin
            assert (aw_q && w_q && !b_q);
            assert (address_o == aw_place_q && wdata_o == data_q && whole_o == strobes_q);
          end
          if (valid_o && !write_o) assert (ar_q && !r_q && address_o == ar_place_q);
          if (asked_q) assert (valid_o && write_o == asked_write_q);
          if (answered_q) assert (!valid_o);
          // One answer for each, no other, and it stays until it is taken.
          assert (s_axil_bvalid == b_q);
          assert (s_axil_rvalid == r_q);
          if (b_q) assert (s_axil_bresp == b_answer_q);
          if (r_q) assert (s_axil_rresp == r_answer_q && s_axil_rdata == r_data_q);
          assert (write_age_q <= BOUND && read_age_q <= BOUND);
        end
        cover (started_q && write_age_q == BOUND);
        cover (started_q && read_age_q == BOUND);
        cover (started_q && b && r && aw_q && w_q && ar_q && data_q == 32'd7 && b_answer_q == 2'd2);
        cover (started_q && w_q && !aw_q && aw && r_data_q == 32'd7);
      end

`ifdef HELP
      always @(posedge clk) if (started_q) begin
        assert (aw_full_q == aw_q && w_full_q == w_q && ar_full_q == ar_q);
        if (aw_q) assert (aw_address_q == aw_place_q);
        if (ar_q) assert (ar_address_q == ar_place_q);
        if (w_q) assert (wdata_o == data_q && whole_o == strobes_q);
        if (reset_q) assert (!aw_q && !w_q && !ar_q);
        if (!reset_q) assert (s_axil_awready == !aw_q && s_axil_wready == !w_q && s_axil_arready == !ar_q);
      end
      // What was asked last comes second: a request waits for one of the other kind at most.
      always @(posedge clk) if (started_q) begin
        if (write_age_q != 3'd0) assert (aw_q && w_q && !b_q);
        if (write_age_q >= 3'd2 && !valid_o) assert (!write_o);
        if (write_age_q >= 3'd3 && valid_o) assert (write_o);
        if (write_age_q == 3'd4) assert (valid_o);
        if (read_age_q != 3'd0) assert (ar_q && !r_q);
        if (read_age_q >= 3'd2 && !valid_o) assert (write_o);
        if (read_age_q >= 3'd3 && valid_o) assert (!write_o);
        if (read_age_q == 3'd4) assert (valid_o);
      end
`endif
    end
  endgenerate
