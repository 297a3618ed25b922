// SPDX-License-Identifier: Apache-2.0
// OBI crossbar: any manager to the subordinates that it reaches; managers that address different ones proceed in
// parallel.
//
// Subordinate s answers addresses a with (a & Mask[s]) == Base[s]; the regions must not overlap. An address that a
// manager does not reach is granted at once and answered with err in the next cycle. At each subordinate, manager 0
// comes first and the others take turns (round robin); a request that is not granted yet stays there unchanged.
//
// A manager has at most one transaction outstanding, and so has a subordinate: the next one is granted in the cycle of
// the response (rvalid) at the earliest, so a subordinate that answers after one cycle takes one transaction per cycle.
// Responses therefore come in order.
//
// Combinational paths: req, addr → sbr_req; sbr_gnt → gnt; sbr_rvalid → rvalid, sbr_req, gnt. A subordinate's rvalid
// must not depend on its req in the same cycle, nor a manager's req on its own gnt. The grant of manager 0 does not
// depend on the requests of others, except through a subordinate whose gnt depends on its req. So requests of another
// manager may depend on the grant of manager 0 (those for instructions do, in Ibex, on that for data), if it does not
// reach such a subordinate; then there is no loop.
//
// Parameters:
//   Managers, Subordinates   ports of each side (2 to 16).
//   Base, Mask               address region of each subordinate.
//   Reach                    [manager][subordinate], 1 where there is a connection.
// Latency: none is added to request or response.
module intarsia_obi_crossbar #(
  parameter int unsigned                               Managers,
  parameter int unsigned                               Subordinates,
  parameter logic [Subordinates-1:0][31:0]             Base,
  parameter logic [Subordinates-1:0][31:0]             Mask,
  parameter logic [Managers-1:0][Subordinates-1:0]     Reach
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  // From the managers.
  input  logic [Managers-1:0]           mgr_req_i,
  output logic [Managers-1:0]           mgr_gnt_o,
  input  logic [Managers-1:0][31:0]     mgr_addr_i,
  input  logic [Managers-1:0]           mgr_we_i,
  input  logic [Managers-1:0][3:0]      mgr_be_i,
  input  logic [Managers-1:0][31:0]     mgr_wdata_i,
  output logic [Managers-1:0]           mgr_rvalid_o,
  output logic [Managers-1:0][31:0]     mgr_rdata_o,
  output logic [Managers-1:0]           mgr_err_o,
  // To the subordinates.
  output logic [Subordinates-1:0]       sbr_req_o,
  input  logic [Subordinates-1:0]       sbr_gnt_i,
  output logic [Subordinates-1:0][31:0] sbr_addr_o,
  output logic [Subordinates-1:0]       sbr_we_o,
  output logic [Subordinates-1:0][3:0]  sbr_be_o,
  output logic [Subordinates-1:0][31:0] sbr_wdata_o,
  input  logic [Subordinates-1:0]       sbr_rvalid_i,
  input  logic [Subordinates-1:0][31:0] sbr_rdata_i,
  input  logic [Subordinates-1:0]       sbr_err_i
);
  if (Managers < 2 || Managers > 16 || Subordinates < 2 || Subordinates > 16) begin : gen_bad_ports
    $error("intarsia_obi_crossbar: Managers and Subordinates must be 2 to 16");
  end
  for (genvar s = 0; s < Subordinates; s++) begin : gen_check
    if ((Base[s] & ~Mask[s]) != '0) begin : gen_bad_base
      $error("intarsia_obi_crossbar: Base must be 0 where Mask is");
    end
    for (genvar t = 0; t < s; t++) begin : gen_pair
      if (((Base[s] ^ Base[t]) & Mask[s] & Mask[t]) == '0) begin : gen_bad_overlap
        $error("intarsia_obi_crossbar: the regions of two subordinates must not overlap");
      end
    end
  end

  // Managers: what they address and whom they wait for. Without a target, the answer is err. Each bit has an assignment
  // of its own, so that tools see which bits depend on which.
  logic [Managers-1:0]                   wants, waits_q;
  logic [Managers-1:0][Subordinates-1:0] hits, grants, targets_q;
  for (genvar m = 0; m < Managers; m++) begin : gen_manager
    for (genvar s = 0; s < Subordinates; s++) begin : gen_hit
      assign hits[m][s] = Reach[m][s] && (mgr_addr_i[m] & Mask[s]) == Base[s];
    end
    assign mgr_rvalid_o[m] = waits_q[m] && (targets_q[m] == '0 || |(targets_q[m] & sbr_rvalid_i));
    assign mgr_err_o[m] = targets_q[m] == '0 || |(targets_q[m] & sbr_err_i);
    assign wants[m] = mgr_req_i[m] && (!waits_q[m] || mgr_rvalid_o[m]);
    assign mgr_gnt_o[m] = |grants[m] || (wants[m] && hits[m] == '0);
  end
  always_comb begin
    mgr_rdata_o = '0;
    for (int unsigned m = 0; m < Managers; m++) begin
      for (int unsigned s = 0; s < Subordinates; s++) begin
        if (targets_q[m][s]) mgr_rdata_o[m] |= sbr_rdata_i[s];
      end
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      waits_q <= '0;
      targets_q <= '0;
    end else begin
      for (int unsigned m = 0; m < Managers; m++) begin
        waits_q[m] <= mgr_gnt_o[m] || (waits_q[m] && !mgr_rvalid_o[m]);
        if (mgr_gnt_o[m]) targets_q[m] <= hits[m];
      end
    end
  end

  // Subordinates: whom they serve, one-hot. Of managers 1 and up, those above the last one served go first.
  logic [Subordinates-1:0]               waits_sbr_q, hold_q;
  logic [Subordinates-1:0][Managers-1:0] asking, choice, choice_q;
  logic [Subordinates-1:0][Managers-2:0] above_q;
  for (genvar s = 0; s < Subordinates; s++) begin : gen_subordinate
    logic                free;
    logic [Managers-2:0] others, turn;
    for (genvar m = 0; m < Managers; m++) begin : gen_asking
      assign asking[s][m] = wants[m] && hits[m][s];
      assign grants[m][s] = choice[s][m] && free && sbr_gnt_i[s];
    end
    assign free = !waits_sbr_q[s] || sbr_rvalid_i[s];
    assign sbr_req_o[s] = |asking[s] && free;
    assign others = asking[s][Managers-1:1];
    assign turn = |(others & above_q[s]) ? others & above_q[s] : others;
    assign choice[s][0] = hold_q[s] ? choice_q[s][0] : asking[s][0];
    assign choice[s][Managers-1:1] = hold_q[s] ? choice_q[s][Managers-1:1] :
                                     asking[s][0] ? '0 : turn & (~turn + (Managers-1)'(1));
  end
  always_comb begin
    {sbr_addr_o, sbr_we_o, sbr_be_o, sbr_wdata_o} = '0;
    for (int unsigned s = 0; s < Subordinates; s++) begin
      for (int unsigned m = 0; m < Managers; m++) begin
        if (Reach[m][s] && choice[s][m]) begin
          sbr_addr_o[s] |= mgr_addr_i[m];
          sbr_we_o[s] |= mgr_we_i[m];
          sbr_be_o[s] |= mgr_be_i[m];
          sbr_wdata_o[s] |= mgr_wdata_i[m];
        end
      end
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      waits_sbr_q <= '0;
      hold_q <= '0;
      choice_q <= '0;
      above_q <= '0;
    end else begin
      for (int unsigned s = 0; s < Subordinates; s++) begin
        waits_sbr_q[s] <= (sbr_req_o[s] && sbr_gnt_i[s]) || (waits_sbr_q[s] && !sbr_rvalid_i[s]);
        hold_q[s] <= sbr_req_o[s] && !sbr_gnt_i[s];
        choice_q[s] <= choice[s];
        if (sbr_req_o[s] && sbr_gnt_i[s] && !choice[s][0]) begin
          above_q[s] <= ~(choice[s][Managers-1:1] | (choice[s][Managers-1:1] - (Managers-1)'(1)));
        end
      end
    end
  end

`ifndef SYNTHESIS
  for (genvar m = 0; m < Managers; m++) begin : gen_manager_checks
    a_stable: assert property (@(posedge clk_i) disable iff (!rst_ni)
        mgr_req_i[m] && !mgr_gnt_o[m] |=> mgr_req_i[m] && $stable(mgr_addr_i[m]) && $stable(mgr_we_i[m]) &&
        $stable(mgr_be_i[m]) && (!mgr_we_i[m] || $stable(mgr_wdata_i[m])))
    else $error("a manager changed a request before it was granted");
    a_one: assert property (@(posedge clk_i) disable iff (!rst_ni) $onehot0(grants[m]) && $onehot0(hits[m]))
    else $error("a manager was granted by two subordinates");
    c_nobody: cover property (@(posedge clk_i) disable iff (!rst_ni) mgr_rvalid_o[m] && targets_q[m] == '0);
  end
  for (genvar s = 0; s < Subordinates; s++) begin : gen_subordinate_checks
    a_answer: assert property (@(posedge clk_i) disable iff (!rst_ni) sbr_rvalid_i[s] |-> waits_sbr_q[s])
    else $error("a subordinate answered without a request");
    a_stable: assert property (@(posedge clk_i) disable iff (!rst_ni)
        sbr_req_o[s] && !sbr_gnt_i[s] |=> sbr_req_o[s] && $stable(sbr_addr_o[s]) && $stable(sbr_we_o[s]))
    else $error("a subordinate's request changed before it was granted");
    c_contention: cover property (@(posedge clk_i) disable iff (!rst_ni) sbr_req_o[s] && hold_q[s]);
  end
`endif
endmodule
