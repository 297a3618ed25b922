// SPDX-License-Identifier: Apache-2.0
// Simulates a mapped netlist with delays, cycle by cycle, and counts what switches. Driven from Python (ctypes).
//
// A cell has at most one change of its output ahead of it; if its inputs change back before that is due, nothing
// happens (inertial delay): pulses shorter than the cell's delay are swallowed, longer ones, glitches, are counted.
// The clock arrives everywhere at once. Counters are explained in simulation.py.
#include <algorithm>
#include <cstdint>
#include <vector>

namespace {
enum Kind : uint8_t { Logic, FlipFlop, ClockGate, Source };

struct Model {
  uint64_t table;  // of logic
  uint8_t kind, inputs;
  bool quiet;      // whether changes of an input that the output does not follow take energy
};
// What an event touches: half a cache line, because an engine has a hundred thousand of them.
struct alignas(32) Cell {
  int32_t counter;        // index of its first counter
  int32_t cause;          // the counter of the change that is ahead
  uint32_t fan, fans;     // its output's first entry in `fans`, and their number
  uint16_t version;       // of the change that is ahead; an event of another one is void
  uint16_t rise, fall;    // delays in ps
  uint8_t model;
  uint8_t state;          // values of its inputs, bit by bit
  bool value;             // of its output
  bool pending;           // a change is ahead
};
struct Event {
  int32_t cell, next, time;
  uint16_t version;
};
struct Memory {
  int32_t depth, width, enables;
  int32_t req, we;
  const int32_t *enable, *address, *wdata;  // cells that drive these ports
  const int32_t* rdata;                     // Source cells
  uint8_t* words;
  int32_t *reads, *writes;
  int32_t access;
};
constexpr int32_t None = -1;

struct Simulator {
  std::vector<Model> models;
  std::vector<Cell> cells;
  std::vector<uint32_t> fans;      // cell << 3 | pin
  std::vector<int32_t> counters;
  std::vector<int32_t> inverses;   // of flip-flops: the Source cell of a second output, or None
  std::vector<int32_t> gateOf;     // of flip-flops and clock gates: the clock gate before, or None: the clock itself
  std::vector<int32_t> gates, flops, pulsed;
  std::vector<uint8_t> pulse;      // of cells: whether a clock gate passed this edge on
  std::vector<int32_t> pulses;     // of cells
  std::vector<Memory> memories;
  std::vector<Event> events;       // of this cycle, in the order in which they were made
  std::vector<int32_t> bucket;     // first event that is due, by time
  int32_t half, mask, waiting = 0, last = 0;
  bool counting = false;
  bool high = false;               // the clock

  void schedule(int32_t c, bool next, int32_t time, int32_t cause) {
    Cell& cell = cells[c];
    if (cell.pending) {
      if (next == cell.value) {  // changed back before it was due
        cell.pending = false;
        --waiting;
      }
      return;
    }
    if (next == cell.value) return;
    cell.pending = true;
    cell.cause = cause;
    events.push_back({c, bucket[time & mask], time, ++cell.version});
    bucket[time & mask] = int32_t(events.size()) - 1;
    ++waiting;
  }
  // The output of a cell has changed: tell the cells that it drives.
  void tell(const Cell& from, int32_t now) {
    for (uint32_t i = from.fan; i < from.fan + from.fans; ++i) {
      const int32_t c = int32_t(fans[i] >> 3);
      const uint32_t pin = fans[i] & 7;
      Cell& cell = cells[c];
      const Model& model = models[cell.model];
      const uint8_t before = cell.state;
      cell.state ^= uint8_t(1u << pin);
      if (model.kind == Logic) {
        const bool is = model.table >> cell.state & 1, was = model.table >> before & 1;
        const int32_t cause = cell.counter + int32_t((pin << model.inputs | cell.state) << 1);
        if (is != was) schedule(c, is, now + (is ? cell.rise : cell.fall), cause);
        else if (counting && model.quiet) ++counters[cause + 1];
      } else if (model.kind == FlipFlop) {
        if (counting && pin == 1) ++counters[cell.counter + 8 + 2 * high + (cell.state >> 1 & 1)];
        if (pin == 2 && !(cell.state & 4)) store(c, false, now);
      } else if (counting && pin == 1) {
        ++counters[cell.counter + 4 + 2 * high + (cell.state >> 1 & 1)];
      }
    }
  }
  void store(int32_t c, bool bit, int32_t now) {
    const Cell& cell = cells[c];
    schedule(c, bit, now + (bit ? cell.rise : cell.fall), cell.counter + (bit ? 12 : 13));
    if (inverses[c] != None) schedule(inverses[c], !bit, now + (bit ? cell.fall : cell.rise), cells[inverses[c]].counter);
  }
  void settle(int32_t from, int32_t until) {
    for (int32_t now = from; now < until && waiting; ++now) {
      int32_t& head = bucket[now & mask];
      while (head != None) {
        const Event event = events[head];
        head = event.next;
        Cell& cell = cells[event.cell];
        if (!cell.pending || cell.version != event.version) continue;
        cell.pending = false;
        --waiting;
        cell.value = !cell.value;
        if (counting) ++counters[cell.cause];
        last = now;
        tell(cell, now);
      }
    }
  }
  // Forget the void events of a cycle that has settled.
  void forget() {
    for (const Event& event : events) bucket[event.time & mask] = None;
    events.clear();
  }
  // Rising edge: clock gates pass it on or not, registers and memories take their inputs.
  void edge() {
    high = true;
    for (int32_t g : gates) {
      const Cell& gate = cells[g];
      const bool here = gateOf[g] == None || pulse[gateOf[g]];
      pulse[g] = here && (gate.state >> 1 & 1);
      if (counting) {
        if (here) ++counters[gate.counter + (pulse[g] ? 0 : 1)];
        pulses[g] += pulse[g];
      }
    }
    pulsed.clear();
    for (int32_t f : flops) {
      if (gateOf[f] != None && !pulse[gateOf[f]]) continue;
      pulsed.push_back(f);
      const Cell& flop = cells[f];
      if (counting) ++counters[flop.counter + 2 * flop.value + (flop.state >> 1 & 1)];
    }
    for (int32_t f : pulsed) {
      const Cell& flop = cells[f];
      const bool cleared = models[flop.model].inputs > 2 && !(flop.state & 4);
      store(f, !cleared && (flop.state >> 1 & 1), 0);
    }
    for (Memory& m : memories) access(m);
  }
  void fall() {
    high = false;
    if (!counting) return;
    for (int32_t f : pulsed) ++counters[cells[f].counter + 4 + 2 * cells[f].value + (cells[f].state >> 1 & 1)];
  }
  void access(Memory& m) {
    if (!cells[m.req].value) return;
    uint32_t address = 0;
    for (int32_t bit = 0; (1 << bit) < m.depth; ++bit) address |= uint32_t(cells[m.address[bit]].value) << bit;
    if (address >= uint32_t(m.depth)) return;
    uint8_t* word = m.words + int64_t(address) * m.width;
    if (cells[m.we].value) {
      const int32_t part = m.width / m.enables;
      for (int32_t e = 0; e < m.enables; ++e)
        if (cells[m.enable[e]].value)
          for (int32_t i = e * part; i < (e + 1) * part; ++i) word[i] = cells[m.wdata[i]].value;
      if (counting) ++m.writes[address];
    } else {
      for (int32_t i = 0; i < m.width; ++i) schedule(m.rdata[i], word[i], m.access, cells[m.rdata[i]].counter);
      if (counting) ++m.reads[address];
    }
  }
};
}  // namespace

extern "C" {
// Models, each property in an array, then cells likewise: see Model and Cell. Cell 0 is the constant 0, cell 1 the 1.
Simulator* netsim_create(int32_t models, const uint64_t* tables, const uint8_t* kinds, const uint8_t* inputs,
                         const uint8_t* quiet, int32_t cells, const uint8_t* model_of, const int32_t* counters,
                         const int32_t* fan_first, const uint32_t* fans, const uint16_t* delays,
                         const int32_t* inverses, const int32_t* gates, int32_t counted, int32_t half_period,
                         int32_t horizon) {
  auto* s = new Simulator;
  for (int32_t m = 0; m < models; ++m) s->models.push_back({tables[m], kinds[m], inputs[m], quiet[m] != 0});
  s->cells.resize(cells);
  for (int32_t c = 0; c < cells; ++c) {
    s->cells[c] = Cell{counters[c], None, uint32_t(fan_first[c]), uint32_t(fan_first[c + 1] - fan_first[c]), 0,
                       delays[2 * c], delays[2 * c + 1], model_of[c], 0, false, false};
    if (kinds[model_of[c]] == FlipFlop) s->flops.push_back(c);
    if (kinds[model_of[c]] == ClockGate) s->gates.push_back(c);
  }
  s->fans.assign(fans, fans + fan_first[cells]);
  s->inverses.assign(inverses, inverses + cells);
  s->gateOf.assign(gates, gates + cells);
  s->counters.assign(counted, 0);
  // A clock gate comes after the one that its clock comes from.
  const auto depth = [gates](int32_t g) {
    int32_t found = 0;
    while ((g = gates[g]) != None) ++found;
    return found;
  };
  std::stable_sort(s->gates.begin(), s->gates.end(), [&](int32_t a, int32_t b) { return depth(a) < depth(b); });
  s->pulse.assign(cells, 0);
  s->pulses.assign(cells, 0);
  s->half = half_period;
  int32_t size = 1;
  while (size <= horizon) size *= 2;
  s->mask = size - 1;
  s->bucket.assign(size, None);
  // All nets are 0 but the constant 1 and inverted outputs; let every cell of logic find its output.
  s->schedule(1, true, 1, s->cells[1].counter);
  for (int32_t c = 0; c < cells; ++c)
    if (inverses[c] != None) s->schedule(inverses[c], true, 1, s->cells[inverses[c]].counter);
  for (int32_t c = 0; c < cells; ++c) {
    const Model& model = s->models[s->cells[c].model];
    if (model.kind == Logic) s->schedule(c, model.table & 1, 1, s->cells[c].counter);
  }
  s->settle(0, INT32_MAX);
  s->forget();
  return s;
}
void netsim_destroy(Simulator* s) { delete s; }
void netsim_memory(Simulator* s, int32_t depth, int32_t width, int32_t enables, int32_t req, int32_t we,
                   const int32_t* enable, const int32_t* address, const int32_t* wdata, const int32_t* rdata,
                   uint8_t* words, int32_t* reads, int32_t* writes, int32_t access) {
  s->memories.push_back({depth, width, enables, req, we, enable, address, wdata, rdata, words, reads, writes, access});
}
void netsim_count(Simulator* s, int32_t on) { s->counting = on; }
int32_t* netsim_counters(Simulator* s) { return s->counters.data(); }
int32_t* netsim_pulses(Simulator* s) { return s->pulses.data(); }
int32_t netsim_value(Simulator* s, int32_t cell) { return s->cells[cell].value; }
// An input of the design changes, by its Source cell.
void netsim_drive(Simulator* s, int32_t cell, uint8_t value) {
  s->schedule(cell, value, 1, s->cells[cell].counter);
}
// Run clock cycles, at most `limit`, until the output of a cell is 1 after one (None: whatever). Returns how many were
// run, −1 if something had not settled within a period.
int64_t netsim_run(Simulator* s, int64_t limit, int32_t watch, int32_t* latest) {
  s->settle(0, INT32_MAX);  // inputs that were driven
  s->forget();
  for (int64_t cycle = 1; cycle <= limit; ++cycle) {
    s->last = 0;
    s->edge();
    s->settle(0, s->half);
    s->fall();
    s->settle(s->half, 2 * s->half);
    if (s->last > *latest) *latest = s->last;
    if (s->waiting) return -1;
    s->forget();
    if (watch != None && s->cells[watch].value) return cycle;
  }
  return limit;
}
}
