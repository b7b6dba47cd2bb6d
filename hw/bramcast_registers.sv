// SPDX-License-Identifier: Apache-2.0
// bramcast_registers: the registers behind the AXI4-Lite slave and the windows onto the image memories.
//
// Golden twin: pack/axi/registers.py has the map, docs/axi.md explains it.
//
// One request at a time (bramcast_lite). A register answers four cycles after valid_i, a window's write
// too, a window's read after eight. A request that is refused sets a bit of ERRORS, answers SLVERR (or
// DECERR: nothing is there) and changes nothing.
//
// Image memories belong to the host while neither RUN nor START is set, no frame is in work and CHECK
// is not at work; start_o is low then. CHECK reads one beat every four cycles, and bramcast_checksum takes
// them.
//
`default_nettype none
module bramcast_registers #(
    parameter int LANES            = 16,  // as in bramcast_core
    parameter int TAPS             = 1,
    parameter int DATA_BITS        = 8,
    parameter int WEIGHT_BITS      = 8,
    parameter int RQ               = 2,
    parameter int NARROW           = 0,
    parameter int GATES            = 0,
    parameter int PROGRAM_DEPTH    = 128,
    parameter int WEIGHTS_DEPTH    = 1024,
    parameter int BIAS_DEPTH       = 64,
    parameter int TABLE_DEPTH      = 0,
    parameter int SCRATCH_DEPTH    = 1024,
    parameter int FRAME_DEPTH      = 0,
    parameter int TLAST_ENDS       = 1,
    parameter int AXI_ADDRESS_BITS = 24
) (
    input  logic                        clk,
    input  logic                        rst,
    // requests
    input  logic                        valid_i,
    input  logic                        write_i,
    input  logic [AXI_ADDRESS_BITS-1:0] address_i,
    input  logic [31:0]                 wdata_i,
    input  logic                        whole_i,          // all four strobes
    output logic                        done_o,
    output logic [31:0]                 rdata_o,
    output logic [1:0]                  resp_o,
    // core
    output logic                        core_rst_o,
    output logic                        start_o,
    output logic [1:0]                  clear_error_o,    // as frame_error_i
    input  logic                        taken_i,          // a whole frame's last element is being accepted
    input  logic                        dropped_i,        // a frame has been dropped
    input  logic                        busy_i,
    input  logic                        done_i,
    input  logic                        ready_i,
    input  logic                        program_error_i,
    input  logic [1:0]                  frame_error_i,    // a frame was short, a frame was long
    input  logic [31:0]                 cycles_i,
    input  logic [15:0]                 class_i,
    output logic                        irq_o,
    // image memories: program, weights, bias, table
    output logic [3:0]                  host_read_o,
    output logic [3:0]                  host_we_o,
    output logic [23:0]                 host_word_o,
    output logic [6:0]                  host_beat_o,
    output logic [31:0]                 host_data_o,
    input  logic [31:0]                 host_data_i
);

  // ------------------------------------------------------------------ the address space

  localparam int WEIGHTS_BEATS = (LANES * TAPS * WEIGHT_BITS + 31) / 32;
  localparam int BIAS_BEATS    = (36 * RQ + 31) / 32;
  // Address bits below a word's number, and those of a whole memory.
  localparam int NARROW_SHIFT  = 2;  // program and table
  localparam int WEIGHTS_SHIFT = 2 + $clog2(WEIGHTS_BEATS);
  localparam int BIAS_SHIFT    = 2 + $clog2(BIAS_BEATS);
  localparam int PROGRAM_SPAN  = NARROW_SHIFT + $clog2(PROGRAM_DEPTH);
  localparam int WEIGHTS_SPAN  = WEIGHTS_SHIFT + $clog2(WEIGHTS_DEPTH);
  localparam int BIAS_SPAN     = BIAS_SHIFT + $clog2(BIAS_DEPTH);
  localparam int TABLE_SPAN    = (TABLE_DEPTH > 0) ? NARROW_SHIFT + $clog2(TABLE_DEPTH) : 0;
  localparam int SPAN_1 = (PROGRAM_SPAN > WEIGHTS_SPAN) ? PROGRAM_SPAN : WEIGHTS_SPAN;
  localparam int SPAN_2 = (BIAS_SPAN > TABLE_SPAN) ? BIAS_SPAN : TABLE_SPAN;
  localparam int SPAN   = (SPAN_1 > SPAN_2) ? SPAN_1 : SPAN_2;
  localparam int TABLE_LAST = (TABLE_DEPTH > 0) ? TABLE_DEPTH - 1 : 0;
  localparam int LEAST  = bramcast_pkg::LEAST_WINDOW_BITS;
  localparam int WINDOW_BITS = (SPAN > LEAST) ? SPAN : LEAST;

  generate
    if (AXI_ADDRESS_BITS < WINDOW_BITS + bramcast_pkg::SLOT_BITS || AXI_ADDRESS_BITS > 32)
    begin : g_check
      AXI_ADDRESS_BITS_must_hold_eight_windows u_error ();
    end
  endgenerate

  // What a request is about; registered as it comes, judged in the next cycle, done in the one after it.
  logic [AXI_ADDRESS_BITS-WINDOW_BITS-1:0] slot;
  logic [WINDOW_BITS-1:0]                  place;
  logic [3:0]                              image;     // one bit per image
  logic [23:0]                             word;
  logic [6:0]                              beat;
  logic                                    exists;    // the memory has this beat
  assign slot  = address_i[AXI_ADDRESS_BITS-1:WINDOW_BITS];
  assign place = address_i[WINDOW_BITS-1:0];
  assign image = {slot == 4, slot == 3, slot == 2, slot == 1};
  assign word  = image[1] ? 24'(place >> WEIGHTS_SHIFT)
               : image[2] ? 24'(place >> BIAS_SHIFT)
               : 24'(place >> NARROW_SHIFT);
  assign beat  = image[1] ? 7'(place >> 2) & 7'((1 << (WEIGHTS_SHIFT - 2)) - 1)
               : image[2] ? 7'(place >> 2) & 7'((1 << (BIAS_SHIFT - 2)) - 1)
               : 7'd0;
  // Not from `word`: all comparisons begin at once.
  logic [3:0] in_range;
  assign in_range[0] = 24'(place >> NARROW_SHIFT) <= 24'(PROGRAM_DEPTH - 1);
  assign in_range[1] = 24'(place >> WEIGHTS_SHIFT) <= 24'(WEIGHTS_DEPTH - 1);
  assign in_range[2] = 24'(place >> BIAS_SHIFT) <= 24'(BIAS_DEPTH - 1);
  assign in_range[3] = 24'(place >> NARROW_SHIFT) <= 24'(TABLE_LAST) && TABLE_DEPTH > 0;
  assign exists = |(image & in_range)
               && (!image[1] || 8'(beat) < 8'(WEIGHTS_BEATS))
               && (!image[2] || 8'(beat) < 8'(BIAS_BEATS));

  // ------------------------------------------------------------------ state

  localparam logic [2:0] IDLE = 3'd0, JUDGE = 3'd1, DECIDE = 3'd2, READ = 3'd3, DONE = 3'd4;

  logic [2:0]                  state_q;
  logic [1:0]                  phase_q;
  logic                        exists_q, register_q;
  logic [3:0]                  image_q;     // of the request
  logic [AXI_ADDRESS_BITS-3:0] follows_q;   // where the next beat of the same word would be written

  logic run_q, once_q, irq_enable_q, done_q;
  logic [31:0] frames_q;
  logic [15:0] dropped_q;
  logic locked_error_q, address_error_q, strobe_error_q, order_error_q;

  // u_checksum
  logic        checking, check_step, check_more, check_final;
  logic [23:0] check_words;
  logic [1:0]  check_image;
  logic [31:0] crc;

  logic locked;
  assign start_o = (run_q || once_q) && !checking;
  assign locked  = run_q || once_q || busy_i || checking;

  // ------------------------------------------------------------------ registers

  localparam logic [31:0] VERSION =
      (bramcast_pkg::IMAGE_FORMAT << bramcast_pkg::VERSION_FORMAT_LSB)
      | (bramcast_pkg::INTERFACE << bramcast_pkg::VERSION_INTERFACE_LSB);
  localparam logic [31:0] SHAPE =
      (LANES << bramcast_pkg::SHAPE_LANES_LSB)
      | (TAPS << bramcast_pkg::SHAPE_TAPS_LSB)
      | (RQ << bramcast_pkg::SHAPE_RQ_LSB)
      | (NARROW << bramcast_pkg::SHAPE_NARROW_LSB)
      | (GATES << bramcast_pkg::SHAPE_GATES_LSB)
      | (TLAST_ENDS << bramcast_pkg::SHAPE_TLAST_ENDS_LSB);
  localparam logic [31:0] WIDTHS =
      (DATA_BITS << bramcast_pkg::WIDTHS_DATA_BITS_LSB)
      | (WEIGHT_BITS << bramcast_pkg::WIDTHS_WEIGHT_BITS_LSB)
      | (WINDOW_BITS << bramcast_pkg::WIDTHS_WINDOW_BITS_LSB);

  logic [31:0] control, status, errors, interrupt, check;
  assign control   = (32'(run_q) << bramcast_pkg::CONTROL_RUN_LSB)
                   | (32'(once_q) << bramcast_pkg::CONTROL_START_LSB);
  assign status    = (32'(busy_i) << bramcast_pkg::STATUS_BUSY_LSB)
                   | (32'(done_q) << bramcast_pkg::STATUS_DONE_LSB)
                   | (32'(ready_i) << bramcast_pkg::STATUS_READY_LSB)
                   | (32'(locked) << bramcast_pkg::STATUS_LOCKED_LSB)
                   | (32'(checking) << bramcast_pkg::STATUS_CHECKING_LSB)
                   | (32'(program_error_i) << bramcast_pkg::STATUS_PROGRAM_ERROR_LSB);
  assign errors    = (32'(frame_error_i[0]) << bramcast_pkg::ERRORS_SHORT_FRAME_LSB)
                   | (32'(frame_error_i[1]) << bramcast_pkg::ERRORS_LONG_FRAME_LSB)
                   | (32'(locked_error_q) << bramcast_pkg::ERRORS_LOCKED_LSB)
                   | (32'(address_error_q) << bramcast_pkg::ERRORS_ADDRESS_LSB)
                   | (32'(strobe_error_q) << bramcast_pkg::ERRORS_STROBE_LSB)
                   | (32'(order_error_q) << bramcast_pkg::ERRORS_ORDER_LSB);
  assign interrupt = 32'(irq_enable_q) << bramcast_pkg::INTERRUPT_DONE_LSB;
  assign check     = (32'(check_words) << bramcast_pkg::CHECK_WORDS_LSB)
                   | (32'(check_image) << bramcast_pkg::CHECK_IMAGE_LSB);

  logic [6:0]  at;         // byte offset of a register, if it is one
  logic [31:0] value;
  logic        known, writable;
  assign at = {place[6:2], 2'b00};

  always_comb begin
    value    = 32'd0;
    known    = 1'b1;
    writable = 1'b0;
    case (at)
      7'(bramcast_pkg::REG_ID):            value = bramcast_pkg::IDENTIFICATION;
      7'(bramcast_pkg::REG_VERSION):       value = VERSION;
      7'(bramcast_pkg::REG_SHAPE):         value = SHAPE;
      7'(bramcast_pkg::REG_WIDTHS):        value = WIDTHS;
      7'(bramcast_pkg::REG_PROGRAM_DEPTH): value = PROGRAM_DEPTH;
      7'(bramcast_pkg::REG_WEIGHTS_DEPTH): value = WEIGHTS_DEPTH;
      7'(bramcast_pkg::REG_BIAS_DEPTH):    value = BIAS_DEPTH;
      7'(bramcast_pkg::REG_TABLE_DEPTH):   value = TABLE_DEPTH;
      7'(bramcast_pkg::REG_SCRATCH_DEPTH): value = SCRATCH_DEPTH;
      7'(bramcast_pkg::REG_FRAME_DEPTH):   value = FRAME_DEPTH;
      7'(bramcast_pkg::REG_CONTROL): begin
        value    = control;
        writable = 1'b1;
      end
      7'(bramcast_pkg::REG_STATUS): begin
        value    = status;
        writable = 1'b1;
      end
      7'(bramcast_pkg::REG_ERRORS): begin
        value    = errors;
        writable = 1'b1;
      end
      7'(bramcast_pkg::REG_CYCLES):  value = cycles_i;
      7'(bramcast_pkg::REG_FRAMES):  value = frames_q;
      7'(bramcast_pkg::REG_CLASS):   value = 32'(class_i);
      7'(bramcast_pkg::REG_DROPPED): value = 32'(dropped_q);
      7'(bramcast_pkg::REG_INTERRUPT): begin
        value    = interrupt;
        writable = 1'b1;
      end
      7'(bramcast_pkg::REG_CHECK): begin
        value    = check;
        writable = 1'b1;
      end
      7'(bramcast_pkg::REG_CRC32): value = crc;
      default: known = 1'b0;
    endcase
  end

  // ------------------------------------------------------------------ the verdict

  // CHECK's operands
  localparam int WORDS_LSB = bramcast_pkg::CHECK_WORDS_LSB;
  localparam int IMAGE_LSB = bramcast_pkg::CHECK_IMAGE_LSB;
  logic [23:0] new_words, new_depth;
  logic [1:0]  new_image;
  assign new_words = wdata_i[WORDS_LSB +: 24];
  assign new_image = wdata_i[IMAGE_LSB +: 2];
  assign new_depth = (new_image == 2'd0) ? 24'(PROGRAM_DEPTH)
                   : (new_image == 2'd1) ? 24'(WEIGHTS_DEPTH)
                   : (new_image == 2'd2) ? 24'(BIAS_DEPTH)
                   : 24'(TABLE_DEPTH);

  logic is_check, address_error, strobe_error, locked_error, order_error, accept;
  assign is_check      = register_q && write_i && at == 7'(bramcast_pkg::REG_CHECK);
  assign address_error = register_q ? !known || (write_i && !writable)
                                      || (is_check && new_words > new_depth)
                                    : !exists_q;
  assign strobe_error  = write_i && !whole_i;
  assign locked_error  = locked_q && (!register_q || is_check);
  assign order_error   = !register_q && write_i && host_beat_o != 7'd0
                         && address_i[AXI_ADDRESS_BITS-1:2] != follows_q;
  assign accept        = !address_error && !strobe_error && !locked_error && !order_error;

  logic        locked_q;  // as the request came: it can only be unlocked meanwhile
  logic        wrong_address_q, wrong_strobe_q, wrong_lock_q, wrong_order_q, accept_q, is_check_q;
  logic [31:0] value_q;

  logic put;  // a register is written in this cycle
  logic put_control, put_status, put_errors, put_interrupt, soft_reset, start_check;
  assign put           = state_q == DECIDE && register_q && write_i && accept_q;
  assign put_control   = put && at == 7'(bramcast_pkg::REG_CONTROL);
  assign put_status    = put && at == 7'(bramcast_pkg::REG_STATUS);
  assign put_errors    = put && at == 7'(bramcast_pkg::REG_ERRORS);
  assign put_interrupt = put && at == 7'(bramcast_pkg::REG_INTERRUPT);
  assign soft_reset    = put_control && wdata_i[bramcast_pkg::CONTROL_RESET_LSB];
  assign start_check   = put && is_check_q;

  assign done_o      = state_q == DONE;
  assign host_data_o = wdata_i;

  always_ff @(posedge clk) begin
    host_we_o <= 4'd0;
    phase_q   <= phase_q + 2'd1;

    case (state_q)
      IDLE: begin
        if (valid_i && !checking) begin
          image_q     <= image;
          host_word_o <= word;
          host_beat_o <= beat;
        end
        exists_q   <= exists;
        register_q <= slot == '0 && place[WINDOW_BITS-1:7] == '0;
        locked_q   <= locked;
        if (valid_i) state_q <= JUDGE;
      end
      JUDGE: begin
        wrong_address_q <= address_error;
        wrong_strobe_q  <= strobe_error;
        wrong_lock_q    <= locked_error;
        wrong_order_q   <= order_error;
        accept_q        <= accept;
        is_check_q      <= is_check;
        value_q         <= value;
        state_q         <= DECIDE;
      end
      DECIDE: begin
        state_q <= DONE;
        rdata_o <= register_q && accept_q ? value_q : 32'd0;
        resp_o  <= wrong_address_q ? 2'b11 : accept_q ? 2'b00 : 2'b10;
        if (!register_q && accept_q) begin
          if (write_i) begin
            host_we_o <= image_q;
            follows_q <= address_i[AXI_ADDRESS_BITS-1:2] + 1'b1;
          end else begin
            state_q     <= READ;
            host_read_o <= image_q;
            phase_q     <= 2'd0;
          end
        end
      end
      READ: begin
        rdata_o <= host_data_i;
        if (phase_q == 2'd3) begin
          state_q     <= DONE;
          host_read_o <= 4'd0;
        end
      end
      default: state_q <= IDLE;
    endcase

    // ---------------------------------------------------------------- CHECK

    if (start_check) begin
      host_word_o <= 24'd0;
      host_beat_o <= 7'd0;
      phase_q     <= 2'd0;
      if (new_words != 24'd0) begin
        host_read_o <= {new_image == 2'd3, new_image == 2'd2, new_image == 2'd1, new_image == 2'd0};
      end
    end else if (check_step) begin
      if (check_more) begin
        host_beat_o <= host_beat_o + 7'd1;
      end else begin
        host_beat_o <= 7'd0;
        host_word_o <= host_word_o + 24'd1;
        if (check_final) host_read_o <= 4'd0;
      end
    end

    // ---------------------------------------------------------------- control and errors

    core_rst_o    <= soft_reset;
    clear_error_o <= {2{put_errors}} & {wdata_i[bramcast_pkg::ERRORS_LONG_FRAME_LSB],
                                        wdata_i[bramcast_pkg::ERRORS_SHORT_FRAME_LSB]};
    irq_o         <= done_q && irq_enable_q;

    if (taken_i) once_q <= 1'b0;
    if (put_control) begin
      run_q  <= wdata_i[bramcast_pkg::CONTROL_RUN_LSB];
      once_q <= wdata_i[bramcast_pkg::CONTROL_START_LSB];
    end
    if (put_interrupt) irq_enable_q <= wdata_i[bramcast_pkg::INTERRUPT_DONE_LSB];

    if (put_status && wdata_i[bramcast_pkg::STATUS_DONE_LSB]) done_q <= 1'b0;
    if (done_i) begin
      done_q   <= 1'b1;
      frames_q <= frames_q + 32'd1;
    end
    if (dropped_i) dropped_q <= dropped_q + 16'd1;

    if (put_errors) begin
      if (wdata_i[bramcast_pkg::ERRORS_LOCKED_LSB]) locked_error_q <= 1'b0;
      if (wdata_i[bramcast_pkg::ERRORS_ADDRESS_LSB]) address_error_q <= 1'b0;
      if (wdata_i[bramcast_pkg::ERRORS_STROBE_LSB]) strobe_error_q <= 1'b0;
      if (wdata_i[bramcast_pkg::ERRORS_ORDER_LSB]) order_error_q <= 1'b0;
    end
    if (state_q == DECIDE) begin
      if (wrong_address_q) address_error_q <= 1'b1;
      else if (wrong_lock_q) locked_error_q <= 1'b1;
      else if (wrong_strobe_q) strobe_error_q <= 1'b1;
      else if (wrong_order_q) order_error_q <= 1'b1;
    end

    if (rst || core_rst_o) begin
      run_q           <= 1'b0;
      once_q          <= 1'b0;
      done_q          <= 1'b0;
      frames_q        <= 32'd0;
      dropped_q       <= 16'd0;
      locked_error_q  <= 1'b0;
      address_error_q <= 1'b0;
      strobe_error_q  <= 1'b0;
      order_error_q   <= 1'b0;
      host_read_o     <= 4'd0;
    end
    if (rst) begin
      state_q      <= IDLE;
      core_rst_o   <= 1'b1;
      irq_enable_q <= 1'b0;
      host_we_o    <= 4'd0;
      follows_q    <= '0;
    end
  end

  bramcast_checksum #(
      .WEIGHTS_BEATS(WEIGHTS_BEATS),
      .BIAS_BEATS(BIAS_BEATS)
  ) u_checksum (
      .clk(clk),
      .rst(rst),
      .stop_i(core_rst_o),
      .start_i(start_check),
      .words_i(new_words),
      .image_i(new_image),
      .words_o(check_words),
      .image_o(check_image),
      .busy_o(checking),
      .crc_o(crc),
      .turn_i(phase_q == 2'd3),
      .data_i(host_data_i),
      .beat_i(host_beat_o),
      .step_o(check_step),
      .more_o(check_more),
      .final_o(check_final)
  );

endmodule
`default_nettype wire
