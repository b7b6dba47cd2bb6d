// SPDX-License-Identifier: Apache-2.0
// bramcast_beats: takes beats of BEAT elements and hands them on one by one.
//
// Golden twin: beats_of() in golden/frames.py; docs/core.md, "Wider beats".
//
// With BEAT = 1 these are wires, and TKEEP is ignored. Else one beat is held here while its elements leave,
// element 0 first; the next one may come with the last of them, so that an element leaves per cycle.
//
//   clk            _/~\_/~\_/~\_/~\_/~\_/~\_     BEAT = 2; B has one element, and TLAST:
//   s_axis_tdata   --| A |   B   |----------     TKEEP = 2'b01
//   s_axis_tready  ~~~~~~\___/~~~~~~~~~~~~~~     (in the cycle in which A comes it is high)
//   element_o      ------|A.0|A.1|B.0|------
//   last_o         ______________/~~~\______
//
// TKEEP is contiguous from bit 0; an element counts if all its bits are set, and what stands behind one
// that does not is ignored. A beat without an element is skipped, but for its TLAST: that leaves with none_o
// instead of an element, so that a frame's border is never lost. With TLAST_ENDS = 0 nobody asks for it.
//
`default_nettype none
module bramcast_beats #(
    parameter int BEAT       = 1,  // 1, 2, 4, 8
    parameter int DATA_BITS  = 8,  // 8 or 16
    parameter int TLAST_ENDS = 1   // 0, 1, 2
) (
    input  logic                        clk,
    input  logic                        rst,
    input  logic                        clear_i,  // what is held, and what is accepted with it, is given up
    // stream
    input  logic [BEAT*DATA_BITS-1:0]   s_axis_tdata,
    input  logic [BEAT*DATA_BITS/8-1:0] s_axis_tkeep,
    input  logic                        s_axis_tvalid,
    output logic                        s_axis_tready,
    input  logic                        s_axis_tlast,
    // elements; valid_o stays until ready_i
    output logic [DATA_BITS-1:0]        element_o,
    output logic                        valid_o,
    input  logic                        ready_i,
    output logic                        last_o,
    output logic                        none_o    // with last_o: the border alone, no element
);

  generate
    if (BEAT != 1 && BEAT != 2 && BEAT != 4 && BEAT != 8) begin : g_check
      BEAT_must_be_1_2_4_or_8 u_error ();
    end
    if (BEAT == 1) begin : g_wires
      logic unused;
      assign unused        = &{1'b0, clk, rst, clear_i, s_axis_tkeep};
      assign element_o     = s_axis_tdata;
      assign valid_o       = s_axis_tvalid;
      assign s_axis_tready = ready_i;
      assign last_o        = s_axis_tlast;
      assign none_o        = 1'b0;
    end else begin : g_beats
      localparam int KEEP = DATA_BITS / 8;  // of an element

      logic                      open_q;    // not behind rst or clear_i
      logic                      full_q;    // something is held
      logic [BEAT*DATA_BITS-1:0] data_q;    // the next element is lowest
      logic [BEAT-1:0]           keep_q;
      logic                      last_q;
      logic [BEAT-1:0]           keep;      // elements of the beat that comes
      logic                      more;      // behind the next element is another one
      logic                      take, leave;

      always_comb begin
        for (int i = 0; i < BEAT; i++) keep[i] = &s_axis_tkeep[i*KEEP +: KEEP];
      end

      assign more          = keep_q[0] && keep_q[1];
      assign leave         = full_q && ready_i;
      assign s_axis_tready = open_q && (!full_q || (ready_i && !more));
      assign take          = s_axis_tvalid && s_axis_tready;
      assign element_o     = data_q[DATA_BITS-1:0];
      assign valid_o       = full_q;
      assign last_o        = last_q && !more;
      assign none_o        = last_q && !keep_q[0];

      always_ff @(posedge clk) begin
        open_q <= 1'b1;
        if (take) begin
          data_q <= s_axis_tdata;
          keep_q <= keep;
          last_q <= s_axis_tlast && TLAST_ENDS != 0;
        end else if (leave) begin
          data_q <= data_q >> DATA_BITS;
          keep_q <= keep_q >> 1;
        end
        if (take) full_q <= keep[0] || (s_axis_tlast && TLAST_ENDS != 0);
        else if (leave) full_q <= more;
        if (rst || clear_i) begin
          full_q <= 1'b0;
          open_q <= 1'b0;
        end
      end
    end
  endgenerate

endmodule
`default_nettype wire
