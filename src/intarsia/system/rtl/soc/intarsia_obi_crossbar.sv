// SPDX-License-Identifier: Apache-2.0
// OBI crossbar: any manager to any subordinate; managers that address different subordinates proceed in parallel.
//
// Subordinate s answers addresses a with (a & Mask[s]) == Base[s]; the regions must not overlap. An address of none is
// granted at once and answered with err in the next cycle. Each subordinate serves its managers in turn (round robin);
// a request that it has not granted yet stays on its port unchanged.
//
// A manager has at most one transaction outstanding, and so has a subordinate: the next one is granted in the cycle of
// the response (rvalid) at the earliest, so a subordinate that answers after one cycle takes one transaction per cycle.
// Responses therefore come in order.
//
// Combinational paths: req, addr → sbr_req; sbr_gnt → gnt; sbr_rvalid → rvalid, sbr_req, gnt. A subordinate's rvalid
// must not depend on its req in the same cycle, nor a manager's req on its gnt; then there is no loop.
//
// Parameters:
//   Managers, Subordinates   ports of each side (2 to 16).
//   Base, Mask               address region of each subordinate.
// Latency: none is added to request or response.
module intarsia_obi_crossbar #(
  parameter int unsigned                     Managers,
  parameter int unsigned                     Subordinates,
  parameter logic [Subordinates-1:0][31:0]   Base,
  parameter logic [Subordinates-1:0][31:0]   Mask
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

  // Managers: what they address and whom they wait for; the last target is nobody, which answers with err.
  logic [Managers-1:0]                   wants, waits_q, nobody_q;
  logic [Managers-1:0][Subordinates-1:0] hits, grants, targets_q;
  always_comb begin
    for (int unsigned m = 0; m < Managers; m++) begin
      for (int unsigned s = 0; s < Subordinates; s++) hits[m][s] = (mgr_addr_i[m] & Mask[s]) == Base[s];
      mgr_rvalid_o[m] = waits_q[m] && (nobody_q[m] || |(targets_q[m] & sbr_rvalid_i));
      mgr_err_o[m] = nobody_q[m] || |(targets_q[m] & sbr_err_i);
      mgr_rdata_o[m] = '0;
      for (int unsigned s = 0; s < Subordinates; s++) begin
        if (targets_q[m][s]) mgr_rdata_o[m] |= sbr_rdata_i[s];
      end
    end
  end
  always_comb begin
    for (int unsigned m = 0; m < Managers; m++) begin
      wants[m] = mgr_req_i[m] && (!waits_q[m] || mgr_rvalid_o[m]);
      mgr_gnt_o[m] = |grants[m] || (wants[m] && hits[m] == '0);
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      waits_q <= '0;
      nobody_q <= '0;
      targets_q <= '0;
    end else begin
      for (int unsigned m = 0; m < Managers; m++) begin
        if (mgr_gnt_o[m]) begin
          waits_q[m] <= 1'b1;
          nobody_q[m] <= hits[m] == '0;
          targets_q[m] <= hits[m];
        end else if (mgr_rvalid_o[m]) begin
          waits_q[m] <= 1'b0;
        end
      end
    end
  end

  // Subordinates: one arbiter each. Managers above the last one served go first; choices are one-hot.
  logic [Subordinates-1:0]               waits_sbr_q, hold_q;
  logic [Subordinates-1:0][Managers-1:0] choice, choice_q, above_q;
  always_comb begin
    for (int unsigned s = 0; s < Subordinates; s++) begin
      logic [Managers-1:0] asking, first;
      for (int unsigned m = 0; m < Managers; m++) asking[m] = wants[m] && hits[m][s];
      first = |(asking & above_q[s]) ? asking & above_q[s] : asking;
      choice[s] = hold_q[s] ? choice_q[s] : first & (~first + Managers'(1));
      sbr_req_o[s] = |asking && (!waits_sbr_q[s] || sbr_rvalid_i[s]);
      {sbr_addr_o[s], sbr_we_o[s], sbr_be_o[s], sbr_wdata_o[s]} = '0;
      for (int unsigned m = 0; m < Managers; m++) begin
        grants[m][s] = sbr_req_o[s] && sbr_gnt_i[s] && choice[s][m];
        if (choice[s][m]) begin
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
        if (sbr_req_o[s] && sbr_gnt_i[s]) above_q[s] <= ~(choice[s] | (choice[s] - Managers'(1)));
      end
    end
  end

`ifndef SYNTHESIS
  for (genvar m = 0; m < Managers; m++) begin : gen_manager
    a_stable: assert property (@(posedge clk_i) disable iff (!rst_ni)
        mgr_req_i[m] && !mgr_gnt_o[m] |=> mgr_req_i[m] && $stable(mgr_addr_i[m]) && $stable(mgr_we_i[m]) &&
        $stable(mgr_be_i[m]) && (!mgr_we_i[m] || $stable(mgr_wdata_i[m])))
    else $error("a manager changed a request before it was granted");
    a_one: assert property (@(posedge clk_i) disable iff (!rst_ni) $onehot0(grants[m]) && $onehot0(hits[m]))
    else $error("a manager was granted by two subordinates");
    c_nobody: cover property (@(posedge clk_i) disable iff (!rst_ni) mgr_rvalid_o[m] && nobody_q[m]);
  end
  for (genvar s = 0; s < Subordinates; s++) begin : gen_subordinate
    a_answer: assert property (@(posedge clk_i) disable iff (!rst_ni) sbr_rvalid_i[s] |-> waits_sbr_q[s])
    else $error("a subordinate answered without a request");
    a_stable: assert property (@(posedge clk_i) disable iff (!rst_ni)
        sbr_req_o[s] && !sbr_gnt_i[s] |=> sbr_req_o[s] && $stable(sbr_addr_o[s]) && $stable(sbr_we_o[s]))
    else $error("a subordinate's request changed before it was granted");
    c_contention: cover property (@(posedge clk_i) disable iff (!rst_ni) sbr_req_o[s] && hold_q[s]);
  end
`endif
endmodule
