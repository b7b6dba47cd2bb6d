// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_registers answers each request once, in its cycle, and changes exactly
// the registers that an accepted one names, or that something which happens changes; a refused one sets its bit of ERRORS.
//
// test_formal.py puts this text in front of the module's `endmodule` and cuts u_checksum out: of it is assumed that it
// is busy from a start to its last step, ends there only, and keeps its image. Requests come as bramcast_lite sends them
// (lite.sv): they stay until they are answered, and none comes in the cycle behind. A run that is stopped began before, so
// no CHECK is at work. All else is free, also what the core says.
// The map is written down here again, in numbers. What stands under HELP lets induction start anywhere.
//
  generate
    if (1) begin : g_proof
      localparam int ADDRESS = AXI_ADDRESS_BITS;
      // Bytes from word to word in the windows.
      localparam logic [31:0] WEIGHTS_STRIDE = 4 << $clog2(WEIGHTS_BEATS);
      localparam logic [31:0] BIAS_STRIDE    = 4 << $clog2(BIAS_BEATS);
      localparam logic [31:0] PEEK_STRIDE    = 4 << $clog2(PEEK_BEATS);

      logic started_q, begun_q;  // begun_q: what the registers were before the first reset is forgotten
      initial started_q = 1'b0;
      initial begun_q = 1'b0;

      // ---------------------------------------------------------------- the request

      logic [3:0]         age_q;      // cycles of it so far; those in which a frame ends as it is judged don't count
      logic               asked_q;    // it was there in the last cycle, and was not answered
      logic               answered_q, reset_q1;
      logic               write_q, whole_q;
      logic [ADDRESS-1:0] address_q;
      logic [31:0]        data_q;
      // when it came: the images were locked, CHECK was at work, a run was stopped, LOCK was set
      logic               shut_q, checked_q, halted_q, bolt_q;
      logic               images_q;   // all images were valid when it was judged
      logic               granted_q;
      logic               any_q;      // a beat has been written since reset, the last one to place_q
      logic [ADDRESS-3:0] place_q;

      logic [5:0]         number;     // of a register
      logic               at_register, here, may_write, window_here, window_shut;
      logic [31:0]        slot_number, offset, stride, word_number, beat_number, beats, depth;
      assign number      = address_i[7:2];
      assign at_register = address_i < 256;
      assign slot_number = address_i / (1 << WINDOW_BITS);
      assign offset      = address_i % (1 << WINDOW_BITS);
      always @* begin
        here = number <= 6'h0B || (number >= 6'h10 && number <= 6'h1F)
            || (COUNTERS == 1 && number >= 6'h20 && number <= 6'h22)
            || (PEEK == 1 && number == 6'h24) || (LEDGER_DEPTH > 0 && number == 6'h25);
        may_write = number == 6'h10 || number == 6'h11 || number == 6'h12 || number == 6'h16
                 || number == 6'h18 || (number >= 6'h1A && number <= 6'h1E) || number == 6'h24;
        stride = 32'd4;
        beats  = 32'd1;
        depth  = 32'd0;
        word_number = offset / 4;
        beat_number = 32'd0;
        case (slot_number)
          1: depth = PROGRAM_DEPTH;
          2: begin
            depth = WEIGHTS_DEPTH;
            beats = WEIGHTS_BEATS;
            word_number = offset / WEIGHTS_STRIDE;
            beat_number = offset % WEIGHTS_STRIDE / 4;
          end
          3: begin
            depth = BIAS_DEPTH;
            beats = BIAS_BEATS;
            word_number = offset / BIAS_STRIDE;
            beat_number = offset % BIAS_STRIDE / 4;
          end
          4: depth = TABLE_DEPTH;
          5: begin
            depth = write_i ? 0 : LEDGER_DEPTH;
            beats = 32'd2;
            word_number = offset / 8;
            beat_number = offset % 8 / 4;
          end
          6: begin
            depth = write_i || PEEK == 0 ? 0 : SCRATCH_DEPTH;
            beats = PEEK_BEATS;
            word_number = offset / PEEK_STRIDE;
            beat_number = offset % PEEK_STRIDE / 4;
          end
          default: depth = 32'd0;
        endcase
        if (slot_number < 5 && !write_i && READBACK == 0) depth = 32'd0;
        window_here = word_number < depth && beat_number < beats;
        window_shut = slot_number == 5 ? checked_q
                    : slot_number == 6 ? (shut_q && !halted_q) || bolt_q
                    : shut_q || bolt_q;
      end

      // Reasons to refuse it, the first of which counts.
      logic        checks, bad_address, bad_lock, bad_strobe, bad_order, bad_images, granted;
      logic [31:0] checked_depth;
      assign checked_depth = wdata_i[25:24] == 2'd0 ? PROGRAM_DEPTH : wdata_i[25:24] == 2'd1 ? WEIGHTS_DEPTH
                           : wdata_i[25:24] == 2'd2 ? BIAS_DEPTH : TABLE_DEPTH;
      assign checks      = at_register && write_i && number == 6'h18;
      assign bad_address = at_register ? !here || (write_i && !may_write)
                                         || (checks && wdata_i[23:0] > checked_depth)
                                       : !window_here;
      assign bad_lock    = at_register ? checks && shut_q : window_shut;
      assign bad_strobe  = write_i && !whole_i;
      assign bad_order   = !at_register && write_i && beat_number != 0
                           && !(any_q && address_i[ADDRESS-1:2] == place_q + 1'b1);
      assign bad_images  = at_register && write_i && number == 6'h10 && wdata_i[1:0] != 2'd0 && !images_q;
      assign granted     = !(bad_address || bad_lock || bad_strobe || bad_order || bad_images);

      logic       decides, slow, ends, puts;
      logic [5:0] window;
      assign decides = valid_i && age_q == 4'd2;
      assign slow    = !at_register && !write_i && granted_q;  // a window is read
      assign ends    = valid_i && age_q == (slow ? 4'd7 : 4'd3);
      assign puts    = decides && at_register && write_i && granted;
      assign window  = slot_number == 0 ? 6'd0 : 6'd1 << (slot_number - 1);

      // ---------------------------------------------------------------- what happened in the last cycle

      logic       puts_q;
      logic [5:0] number_q;
      logic       put_10, put_11, put_12, put_16, put_1a, put_1b, put_1c, put_24, soft, stop;
      logic       late_q, broken_q, begins_q;
      logic [4:0] refused_q;          // ADDRESS, LOCKED, STROBE, ORDER, INVALID
      logic       check_q, equal_q;   // a CHECK has ended; the one that ended before had the CRC of EXPECT
      logic [1:0] image_q1, image_q2;
      logic       withdrawn_q;        // software has written VALID since RUN or START
      assign put_10 = puts_q && number_q == 6'h10;
      assign put_11 = puts_q && number_q == 6'h11;
      assign put_12 = puts_q && number_q == 6'h12;
      assign put_16 = puts_q && number_q == 6'h16;
      assign put_1a = puts_q && number_q == 6'h1A;
      assign put_1b = puts_q && number_q == 6'h1B;
      assign put_1c = puts_q && number_q == 6'h1C;
      assign put_24 = puts_q && number_q == 6'h24;
      assign soft   = put_10 && data_q[2];
      assign stop   = put_10 && (data_q[2] || data_q[3]);

      always @(posedge clk) begin
        started_q <= 1'b1;
        begun_q   <= started_q;
        assume (started_q || rst);
        if (asked_q) begin
          assume (valid_i && write_i == write_q && address_i == address_q);
          assume (wdata_i == data_q && whole_i == whole_q);
        end
        if (answered_q || reset_q1) assume (!valid_i);
        assume (!(stopped_i && checking));
        assume (!check_step || (checking && phase_q == 2'd3));
        assume (!check_last || check_step);
        assume (!check_ended || check_last);
        if (started_q) begin
          assume (checking == (begins_q && !reset_q1));
          if (!$past(start_check)) assume (check_image == (reset_q1 ? 2'd0 : $past(check_image)));
          if ($past(start_check) && !reset_q1) assume (check_image == data_q[25:24]);
        end
        begins_q <= (start_check || (checking && !check_last)) && !reset_q;

        reset_q1   <= rst;
        asked_q    <= valid_i && !ends && !rst;
        answered_q <= ends;
        write_q    <= write_i;
        address_q  <= address_i;
        data_q     <= wdata_i;
        whole_q    <= whole_i;
        if (age_q == 4'd0) begin
          shut_q    <= run_q || once_q || busy_i || checking || aborting_i;
          checked_q <= checking;
          halted_q  <= stopped_i;
          bolt_q    <= lock_q;
        end
        if (age_q == 4'd1) images_q <= valid_q[2:0] == 3'd7 && (valid_q[3] || TABLE_DEPTH == 0);
        if (age_q == 4'd2) granted_q <= granted;
        if (!valid_i || ends || rst) age_q <= 4'd0;
        else if (age_q != 4'd1 || !done_i) age_q <= age_q + 4'd1;
        if (decides && !at_register && write_i && granted) begin
          any_q   <= 1'b1;
          place_q <= address_i[ADDRESS-1:2];
        end
        if (rst) any_q <= 1'b0;

        puts_q   <= puts;
        number_q <= number;
        late_q   <= (timeout_i || sink_i) && !abort_o && !aborting_i;
        broken_q <= broken_i || (start_o && program_error_i);
        refused_q <= 5'd0;
        if (decides) begin
          if (bad_address) refused_q[0] <= 1'b1;
          else if (bad_lock) refused_q[1] <= 1'b1;
          else if (bad_strobe) refused_q[2] <= 1'b1;
          else if (bad_order) refused_q[3] <= 1'b1;
          else if (bad_images) refused_q[4] <= 1'b1;
        end
        check_q     <= check_ended && !soft && !rst;
        equal_q     <= check_q && crc == expect_q && !rst;
        image_q1    <= check_image;
        image_q2    <= image_q1;
        withdrawn_q <= (run_q || once_q) && (withdrawn_q || (puts && number == 6'h1B)) && !rst;
      end

      // ---------------------------------------------------------------- promises

      always @(posedge clk) if (begun_q) begin
        // One answer in its cycle.
        assert (done_o == ends);
        if (ends) assert (resp_o == (granted_q ? 2'd0 : refused_q[0] ? 2'd3 : 2'd2));
        if (ends && !write_i && !granted_q) assert (rdata_o == 32'd0);
        if (ends && slow) assert (rdata_o == $past(host_data_i));

        // Runs.
        if (start_o) assert (!checking && !aborting_i && !abort_o && (run_q || once_q));
        if (start_o && !withdrawn_q) assert (valid == 4'hF);
        assert (run_q == (reset_q1 || stop || late_q || broken_q ? 1'b0 : put_10 ? data_q[0] : $past(run_q)));
        assert (once_q == (reset_q1 || stop || late_q || broken_q ? 1'b0 : put_10 ? data_q[1]
                           : $past(once_q && !taken_i)));
        assert (abort_o == ((stop || late_q) && !reset_q1));
        if (abort_o && $past(abort_o)) assert (stop && !late_q);  // a limit, and software, too
        assert (clear_o == ((soft || $past(clear_o && (abort_o || aborting_i))) && !reset_q1));
        assert (lock_q == (!reset_q1 && ($past(lock_q) || (put_10 && data_q[4]))));

        // Images.
        assert (guard_q == (!reset_q1 && ($past(guard_q) || (put_1b && data_q[31]))));
        assert (valid_q == (((put_1b ? data_q[3:0] & $past(valid_q | {4{!guard_q}}) : $past(valid_q))
                             | $past(equal_q ? 4'd1 << image_q2 : 4'd0)) & ~$past(host_we_o)));
        assert (host_we_o == (age_q == 4'd3 && !at_register && write_i && granted_q ? window[3:0] : 4'd0));
        if (host_we_o != 4'd0) begin
          assert (!run_q && !once_q && !lock_q && !checking && !shut_q);
          assert (host_word_o == word_number && host_beat_o == beat_number && host_data_o == wdata_i);
        end
        if (slow && age_q >= 4'd3 && age_q < 4'd7) begin
          assert (host_read_o == window && host_word_o == word_number && host_beat_o == beat_number);
        end else begin
          assert (host_read_o == (checking ? 6'd1 << check_image : 6'd0));
        end
        assert (start_check == (puts && number == 6'h18));
        assert (expect_q == (reset_q1 ? 32'd0 : put_1a ? data_q : $past(expect_q)));

        // What has happened: not lost by a write that clears it in the same cycle.
        if (reset_q1 || $past(clear_o)) begin
          assert (frames_q == 32'd0 && dropped_q == 16'd0 && pending == 4'd0);
        end else begin
          assert (frames_q == $past(frames_q) + $past(done_i) && dropped_q == $past(dropped_q) + $past(dropped_i));
          assert (pending[0] == ($past(done_i) || ($past(pending[0]) && !((put_11 && data_q[1])
                                                                          || (put_1c && data_q[0])))));
          assert (pending[1] == ($past(dropped_i || (frame_error_i[1] && !long_q))
                                 || ($past(pending[1]) && !(put_1c && data_q[1]))));
          assert (pending[2] == (broken_q || ($past(pending[2]) && !(put_1c && data_q[2]))));
          assert (pending[3] == (late_q || ($past(pending[3]) && !(put_1c && data_q[3]))));
        end
        assert (long_q == $past(frame_error_i[1]));
        if (reset_q1 || $past(reset_q)) begin
          assert (errors[31:6] == 26'd0 && errors[4:1] == 4'd0);
        end else begin
          assert (locked_error_q == (refused_q[1] || ($past(locked_error_q) && !(put_12 && data_q[1]))));
          assert (address_error_q == (refused_q[0] || ($past(address_error_q) && !(put_12 && data_q[2]))));
          assert (strobe_error_q == (refused_q[2] || ($past(strobe_error_q) && !(put_12 && data_q[3]))));
          assert (order_error_q == (refused_q[3] || ($past(order_error_q) && !(put_12 && data_q[4]))));
          assert (timeout_error_q == ((late_q && $past(timeout_i))
                                      || ($past(timeout_error_q) && !(put_12 && data_q[6]))));
          assert (program_error_q == (broken_q || ($past(program_error_q) && !(put_12 && data_q[7]))));
          assert (sink_error_q == ((late_q && $past(sink_i)) || ($past(sink_error_q) && !(put_12 && data_q[8]))));
          assert (invalid_error_q == (refused_q[4] || ($past(invalid_error_q) && !(put_12 && data_q[9]))));
        end
        assert (clear_error_o == ({2{$past(clear_o)}} | ({2{put_12}} & {data_q[5], data_q[0]})));

        // The others.
        assert (enable_q == (reset_q1 ? 4'd0 : put_16 ? data_q[3:0] : $past(enable_q)));
        assert (irq_o == |$past(pending & enable_q));
        assert (put_limit_o == (puts && number == 6'h1D));
        assert (put_sink_limit_o == (puts && number == 6'h1E));
        assert (snap_o == (valid_i && age_q == 4'd1 && at_register && !write_i && number == 6'h14));
        if (!reset_q1 && !$past(snap_o)) assert ($stable(snap_cycles_q) && $stable(snap_class_q));
        assert (reset_q == (soft && !reset_q1));
        if (reset_q1 || $past(reset_q) || PEEK == 0) assert (stop_after_o == 21'd0);
        else assert (stop_after_o == (put_24 ? data_q[20:0] : $past(stop_after_o)));
      end

      // ---------------------------------------------------------------- cover

      always @(posedge clk) if (begun_q) begin
`ifdef OPTIONS
        cover (ends && slow && window[4]);
        cover (ends && slow && window[5] && halted_q);
        cover (ends && !write_i && refused_q[0] && window[1]);
`else
        cover (start_o && valid == 4'hF && guard_q && lock_q);
        cover (ends && refused_q[4] && valid == 4'hE);
        cover (ends && refused_q[1] && write_i && lock_q);
        cover (host_we_o[1] && host_beat_o == 7'd1);
        cover (ends && slow);
        cover (equal_q && guard_q && !valid_q[1] && image_q2 == 2'd1);
        cover (put_11 && data_q[1] && $past(done_i && done_q));
        cover (abort_o && $past(abort_o));
        cover (clear_o && $past(clear_o, 2) && frames_q == 0);
        cover (ends && $past(done_i, 3) && snap_class_q == 16'd7);
`endif
      end

`ifdef HELP
      always @(posedge clk) if (begun_q) begin
        assert (age_q <= 4'd7);
        assert (asked_q == (age_q != 4'd0));
        if (reset_q1) assert (age_q == 4'd0 && !any_q);
        if (age_q == 4'd0) assert (state_q == IDLE);
        if (age_q == 4'd1) assert (state_q == JUDGE);
        if (age_q == 4'd2) assert (state_q == DECIDE);
        if (age_q >= 4'd3) assert (age_q == (slow ? 4'd7 : 4'd3) ? state_q == DONE : slow && state_q == READ);
        if (state_q == READ) assert (phase_q == age_q - 4'd3);
        if (age_q != 4'd0) begin
          assert (exists_q == window_here && register_q == at_register);
          assert (excess_q == (new_words > new_depth));
          if (age_q == 4'd1) assert (elsewhere_q == (address_i[AXI_ADDRESS_BITS-1:2] != follows_q));
          assert (locked_q == shut_q);
          if (!at_register && window_here) assert (closed_q == window_shut);
          if (!checked_q) assert (image_q == (window & {PEEK != 0, LEDGER_DEPTH > 0, 4'hF}));
          if (!window_shut && !at_register && window_here) begin
            assert (host_word_o == word_number && host_beat_o == beat_number && !checking);
          end
          assert (!checked_q || (shut_q && !halted_q));
        end
        if (age_q == 4'd1 || age_q == 4'd2) begin
          if (!shut_q) assert (!run_q && !once_q && !checking);
          if (checking) assert (checked_q);
          assert (lock_q == bolt_q);
        end
        if (age_q == 4'd2) begin
          assert (accept_q == granted && wrong_address_q == bad_address);
          assert (is_check_q == checks && wrong_images_q == bad_images);
          if (!bad_address) assert (wrong_lock_q == bad_lock);
          if (!bad_address && !bad_lock) assert (wrong_strobe_q == bad_strobe);
          if (!bad_address && !bad_lock && !bad_strobe) assert (wrong_order_q == bad_order);
          if (images_q) assert (valid == 4'hF);
        end
        if (age_q >= 4'd3) assert (resp_o == (granted_q ? 2'd0 : refused_q[0] ? 2'd3 : 2'd2));
        if (age_q >= 4'd4) assert (slow);
        if (slow && age_q >= 4'd3) assert (!window_shut && window_here && !checking);
        if (puts_q && !reset_q1) assert (age_q == 4'd3 && at_register && write_i && granted_q);
        if (any_q) assert (follows_q == place_q + 1'b1);
        else assert (follows_q == '0);
        assert (check_ended_q == (check_q) && (check_ended_q2 && crc_equal_q) == equal_q);
        if (check_q) assert (image_q1 == check_image && !checking && (age_q == 4'd0 || checked_q || age_q > 4'd2));
        if (equal_q) assert (image_q2 == check_image && (age_q <= 4'd1 || checked_q || age_q > 4'd2));
        if (run_q || once_q) assert (withdrawn_q || valid == 4'hF);
      end
`endif
    end
  endgenerate
