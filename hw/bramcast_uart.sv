// SPDX-License-Identifier: Apache-2.0
// bramcast_uart: bytes over two wires: a start bit (low), eight data bits, bit 0 first, a stop bit (high).
//
// Golden twin: any serial port at 8N1; docs/board.md. DIVISOR clock cycles are one bit: the clock's
// frequency over the baud rate, rounded. rx may change at any time: two registers take it into this
// clock, then a bit is read DIVISOR/2 cycles behind its beginning. A start bit that is high again by
// then was a glitch. valid_o brings a byte in the middle of its stop bit; with error_o the stop bit was
// low, byte_o is nothing, and the receiver waits until the line is high.
//
//   clk      _/~\_/~\_/~\_/~\_     A byte goes out when send_i and ready_o are high at the edge; the
//   send_i   __/~~~~~~~\______     next one at once behind its stop bit. There is no such handshake
//   ready_o  ~~~~~~~~~~\______     for what is received: whoever wants a byte takes it with valid_o.
//
`default_nettype none
module bramcast_uart #(
    parameter int DIVISOR = 868  // 4..65536, clock cycles of a bit; 868: 115,200 baud at 100 MHz
) (
    input  logic       clk,
    input  logic       rst,
    input  logic       rx,
    output logic       tx,
    // received
    output logic       valid_o,
    output logic       error_o,
    output logic [7:0] byte_o,
    // to be sent
    input  logic       send_i,
    input  logic [7:0] byte_i,
    output logic       ready_o
);

  generate
    if (DIVISOR < 4 || DIVISOR > 65536) begin : g_check
      bramcast_uart_needs_4_le_DIVISOR_le_65536 u_error ();
    end
  endgenerate

  localparam int COUNT_BITS = $clog2(DIVISOR);
  localparam logic [COUNT_BITS-1:0] WHOLE = COUNT_BITS'(DIVISOR - 1);
  localparam logic [COUNT_BITS-1:0] HALF  = COUNT_BITS'(DIVISOR / 2 - 1);

  // ------------------------------------------------------------------ receiver

  (* ASYNC_REG = "TRUE", SHREG_EXTRACT = "NO", altera_attribute = "-name SYNCHRONIZER_IDENTIFICATION FORCED" *)
  logic [1:0] line_q;
  initial line_q = 2'b11;
  always_ff @(posedge clk) line_q <= {line_q[0], rx};

  logic                  line;
  logic                  receiving_q, stuck_q;
  logic [COUNT_BITS-1:0] wait_q;
  logic [3:0]            left_q;  // bits: 9 the start bit, 8..1 data, 0 the stop bit
  assign line = line_q[1];

  always_ff @(posedge clk) begin
    valid_o <= 1'b0;
    wait_q  <= wait_q - 1'b1;
    if (!receiving_q) begin
      wait_q      <= HALF;
      left_q      <= 4'd9;
      receiving_q <= !line && !stuck_q;
      if (line) stuck_q <= 1'b0;
    end else if (wait_q == '0) begin
      wait_q <= WHOLE;
      left_q <= left_q - 4'd1;
      if (left_q == 4'd9) begin
        if (line) receiving_q <= 1'b0;
      end else if (left_q != 4'd0) begin
        byte_o <= {line, byte_o[7:1]};
      end else begin
        valid_o     <= 1'b1;
        error_o     <= !line;
        stuck_q     <= !line;
        receiving_q <= 1'b0;
      end
    end
    if (rst) begin
      receiving_q <= 1'b0;
      stuck_q     <= 1'b1;
      valid_o     <= 1'b0;
      error_o     <= 1'b0;
    end
  end

  // ------------------------------------------------------------------ transmitter

  logic [9:0]            shift_q;  // bit 0 is on the line; a bit that is shifted in is the idle line
  logic [3:0]            bits_q;   // that are still to end
  logic [COUNT_BITS-1:0] hold_q;
  initial shift_q = '1;
  assign tx      = shift_q[0];
  assign ready_o = bits_q == 4'd0;

  always_ff @(posedge clk) begin
    hold_q <= hold_q - 1'b1;
    if (ready_o) begin
      hold_q <= WHOLE;
      if (send_i) begin
        shift_q <= {1'b1, byte_i, 1'b0};
        bits_q  <= 4'd10;
      end
    end else if (hold_q == '0) begin
      hold_q  <= WHOLE;
      shift_q <= {1'b1, shift_q[9:1]};
      bits_q  <= bits_q - 4'd1;
    end
    if (rst) begin
      shift_q <= '1;
      bits_q  <= 4'd0;
    end
  end

endmodule
`default_nettype wire
