// SPDX-License-Identifier: Apache-2.0
// bramcast_board: what stands between a board and bramcast_serial: its reset, and lamps that people can read.
//
// Golden twin: none; docs/boards says what the lamps show.
//
// rst_o is high from power-on, and for POWER_ON + 3 cycles behind the last one in which awake_i was low: clocks settle,
// buttons bounce, and the block RAMs of an iCE40 have no contents in the first microseconds.
//
//   lamp_o   LAMPS-1: error_i   LAMPS-2: busy_i and HOLD - 1 cycles behind it   LAMPS-3..0: class_i, its lowest bits
//
`default_nettype none
module bramcast_board #(
    parameter int LAMPS    = 8,        // 3..18
    parameter int POWER_ON = 255,      // 1.., cycles
    parameter int HOLD     = 1 << 22   // 2.., cycles
) (
    input  logic             clk,
    input  logic             awake_i,  // at any time: the clock is steady and no button asks for a reset
    output logic             rst_o,    // synchronous, active high
    input  logic [15:0]      class_i,
    input  logic             busy_i,
    input  logic             error_i,
    output logic [LAMPS-1:0] lamp_o    // high: lit
);

  generate
    if (LAMPS < 3 || LAMPS > 18 || POWER_ON < 1 || HOLD < 2) begin : g_check
      bramcast_board_needs_3_to_18_LAMPS_POWER_ON_1_HOLD_2 u_error ();
    end
  endgenerate

  localparam int WAIT_BITS = $clog2(POWER_ON + 1);
  localparam int HOLD_BITS = $clog2(HOLD);

  logic                 early;
  logic [WAIT_BITS-1:0] wait_q;  // cycles since `early`
  logic [HOLD_BITS-1:0] hold_q;  // cycles for which the lamp stays lit
  initial begin
    wait_q = '0;
    rst_o  = 1'b1;
  end

  bramcast_reset u_reset (
      .clk(clk),
      .aresetn(awake_i),
      .rst_o(early)
  );

  always_ff @(posedge clk) begin
    rst_o <= wait_q != WAIT_BITS'(POWER_ON);
    if (early) begin
      wait_q <= '0;
      rst_o  <= 1'b1;
    end else if (rst_o) begin
      wait_q <= wait_q + WAIT_BITS'(wait_q != WAIT_BITS'(POWER_ON));
    end
  end

  always_ff @(posedge clk) begin
    if (rst_o) hold_q <= '0;
    else if (busy_i) hold_q <= HOLD_BITS'(HOLD - 1);
    else if (hold_q != '0) hold_q <= hold_q - 1'b1;
  end

  assign lamp_o = {error_i, hold_q != '0, class_i[LAMPS-3:0]};

  generate
    if (LAMPS < 18) begin : g_unused
      logic unused;
      assign unused = &{1'b0, class_i[15:LAMPS-2]};
    end
  endgenerate

endmodule
`default_nettype wire
