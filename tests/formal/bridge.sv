// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_bridge keeps what it offers until it is taken, as AXI wants
// it, and does nothing but what a whole request with a right CRC-32 has asked for.
//
// test_formal.py puts this text in front of the module's `endmodule`. The CRC's and the buffer's outputs
// are free: whatever they say. The proof follows the delimiters itself: right_q is set where a packet has ended,
// nothing in it was marked as damaged, it has whole words, and the CRC over its bytes gives the residue. What
// stands under HELP is true of the module's registers and lets induction start anywhere.
//
  generate
    if (1) begin : g_proof
      logic started_q;
      initial started_q = 1'b0;

      logic aw_waits_q, w_waits_q, ar_waits_q, s_waits_q;
      logic [AXI_ADDRESS_BITS-1:0] aw_q, ar_q;
      logic [31:0]                 w_q;
      logic [DATA_BITS:0]          s_q;
      logic                        right_q;   // the last packet that ended was a right one
      logic                        marked_q;  // a byte of this one had no stop bit
      logic                        acts;      // something happens that a request must have asked for

      assign acts = m_axis_tready || (m_axil_awvalid && !aw_waits_q) || (m_axil_wvalid && !w_waits_q)
                 || (m_axil_arvalid && !ar_waits_q) || state_q == FETCH || state_q == WRITE || state_q == READ
                 || state_q == PUSH || state_q == PULL || state_q == IDENTIFY || state_q == COUNT;

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);

        aw_waits_q <= m_axil_awvalid && !m_axil_awready && !rst;
        w_waits_q  <= m_axil_wvalid && !m_axil_wready && !rst;
        ar_waits_q <= m_axil_arvalid && !m_axil_arready && !rst;
        s_waits_q  <= s_axis_tvalid && !s_axis_tready && !rst;
        aw_q       <= m_axil_awaddr;
        ar_q       <= m_axil_araddr;
        w_q        <= m_axil_wdata;
        s_q        <= {s_axis_tlast, s_axis_tdata};
        // A slave answers what it has been asked, not before.
        assume (!m_axil_bvalid || !(m_axil_awvalid || m_axil_wvalid));
        assume (!m_axil_rvalid || !m_axil_arvalid);

        if (state_q == JUDGE) right_q <= !bad_q && !marked_q && byte_q == 2'd0 && crc == RESIDUE;
        if (state_q == LISTEN) right_q <= 1'b0;
        if (rst) right_q <= 1'b0;
        if (rx_valid_i && rx_error_i && state_q == LISTEN && !hunt_q) marked_q <= 1'b1;
        if (rst || state_q == SEND) marked_q <= 1'b0;

        if (started_q) begin
          if (aw_waits_q) assert (m_axil_awvalid && m_axil_awaddr == aw_q);
          if (w_waits_q) assert (m_axil_wvalid && m_axil_wdata == w_q);
          if (ar_waits_q) assert (m_axil_arvalid && m_axil_araddr == ar_q);
          if (s_waits_q) assert (s_axis_tvalid && {s_axis_tlast, s_axis_tdata} == s_q);
          if (acts) assert (right_q);
          assert (!(m_axil_awvalid || m_axil_wvalid) || state_q == WRITE);  // one access at a time
          assert (!m_axil_arvalid || state_q == READ);
        end
        cover (started_q && state_q == READ && take_word);
        cover (started_q && state_q == SEND && damaged_q);

`ifdef HELP
        if (started_q) begin
          if (state_q == DECIDE) assert (right_q || damaged_q);
          assert (state_q <= SEND);
          assert (!marked_q || bad_q);
        end
`endif
      end
    end
  endgenerate
