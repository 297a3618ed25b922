// SPDX-License-Identifier: Apache-2.0
#include "intarsia.h"

#include <stdbool.h>

#include "intarsia_registers.h"

#define REGISTER(field) INTARSIA_REGISTERS__##field##_bm

// A transfer of the largest memory takes some hundred thousand cycles; a poll takes ten or more.
#define POLLS 10000000u

// The DMA reads and writes memory behind the compiler's back: what was stored before must be there when it begins, and
// nothing may be kept in registers over it.
#define MEMORY_IS_SHARED() __asm__ volatile("" ::: "memory")

static volatile intarsia_registers_t *registers_of(const intarsia_device_t *device) {
  return (volatile intarsia_registers_t *)device->base;
}

static intarsia_status_t status_of(uint32_t errors) {
  static const struct {
    uint32_t bit;
    intarsia_status_t status;
  } meanings[] = {
      {REGISTER(ERROR__VERSION), INTARSIA_OTHER_BUILD}, {REGISTER(ERROR__CHECK), INTARSIA_DAMAGED},
      {REGISTER(ERROR__LAYER), INTARSIA_BAD_LAYER},     {REGISTER(ERROR__OVERRUN), INTARSIA_OVERRUN},
      {REGISTER(ERROR__TIMEOUT), INTARSIA_TIMEOUT},     {REGISTER(ERROR__BUS), INTARSIA_BUS},
      {REGISTER(ERROR__DMA), INTARSIA_TRANSFER},        {REGISTER(ERROR__START), INTARSIA_BUSY},
      {REGISTER(ERROR__ACCESS), INTARSIA_ACCESS},
  };
  for (unsigned i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
    if (errors & meanings[i].bit) return meanings[i].status;
  }
  return INTARSIA_OK;
}

// What went wrong since the last call; forgets it.
static intarsia_status_t take_errors(volatile intarsia_registers_t *registers) {
  const uint32_t errors = registers->ERROR;
  if (errors) registers->ERROR = errors;
  return status_of(errors);
}

intarsia_status_t intarsia_open(intarsia_device_t *device, uintptr_t base, void (*wait)(void)) {
  device->base = base;
  device->wait = wait;
  volatile intarsia_registers_t *registers = registers_of(device);
  const uint32_t expected =
      (uint32_t)INTARSIA_REGISTERS__IDENTITY__MAGIC_reset << INTARSIA_REGISTERS__IDENTITY__MAGIC_bp |
      INTARSIA_REGISTERS__IDENTITY__VERSION_reset;
  if (registers->IDENTITY != expected) return INTARSIA_NO_DEVICE;
  registers->CONTROL = REGISTER(CONTROL__ABORT);
  for (uint32_t polls = 0; registers->STATUS & (REGISTER(STATUS__BUSY) | REGISTER(STATUS__DMA_BUSY)); polls++) {
    if (polls == POLLS) return INTARSIA_STUCK;
  }
  registers->STATUS = REGISTER(STATUS__DONE) | REGISTER(STATUS__DMA_DONE);
  registers->ERROR = registers->ERROR;
  registers->INTERRUPT_ENABLE = 0;
  return INTARSIA_OK;
}

// Wait until `busy` is down; then one of the bits `ends` of the status is up, or an error, or somebody has aborted.
static intarsia_status_t wait_for(const intarsia_device_t *device, uint32_t busy, uint32_t ends, uint32_t enable) {
  volatile intarsia_registers_t *registers = registers_of(device);
  for (uint32_t polls = 0; registers->STATUS & busy; polls++) {
    // A run ends at its limit of cycles; only a transfer can wait for a memory that never answers.
    if (polls == POLLS && busy == REGISTER(STATUS__DMA_BUSY)) {
      registers->CONTROL = REGISTER(CONTROL__ABORT);
      return INTARSIA_STUCK;
    }
    // An error that ends nothing, as a refused access, must not end every wait at once: from then on it is polled.
    if (device->wait && !registers->ERROR) {
      registers->INTERRUPT_ENABLE = enable | REGISTER(INTERRUPT_ENABLE__ERROR);
      device->wait();
      registers->INTERRUPT_ENABLE = 0;
    }
  }
  const uint32_t ended = registers->STATUS & ends;
  registers->STATUS = ended;
  const intarsia_status_t status = take_errors(registers);
  return status == INTARSIA_OK && !ended ? INTARSIA_ABORTED : status;
}

// Before anything is written: the DMA's registers cannot be while it is busy.
static bool is_busy(volatile intarsia_registers_t *registers) {
  return (registers->STATUS & (REGISTER(STATUS__BUSY) | REGISTER(STATUS__DMA_BUSY))) != 0;
}

// Not while engine or DMA are busy.
static intarsia_status_t transfer(const intarsia_device_t *device, const void *memory, uint32_t target,
                                  uint32_t length, uint32_t control) {
  volatile intarsia_registers_t *registers = registers_of(device);
  MEMORY_IS_SHARED();
  registers->DMA_ADDRESS = (uint32_t)(uintptr_t)memory;
  registers->DMA_TARGET = target;
  registers->DMA_LENGTH = length;
  registers->DMA_CONTROL = control | REGISTER(DMA_CONTROL__START);
  const intarsia_status_t status = wait_for(device, REGISTER(STATUS__DMA_BUSY), REGISTER(STATUS__DMA_DONE),
                                            REGISTER(INTERRUPT_ENABLE__DMA_DONE));
  MEMORY_IS_SHARED();
  return status;
}

// Targets of the DMA: memories begin at their first word.
#define WEIGHTS (2u << INTARSIA_REGISTERS__DMA_TARGET__MEMORY_bp)
#define PROGRAM (3u << INTARSIA_REGISTERS__DMA_TARGET__MEMORY_bp)

intarsia_status_t intarsia_load(const intarsia_device_t *device, const intarsia_program_t *program) {
  volatile intarsia_registers_t *registers = registers_of(device);
  if (is_busy(registers)) return INTARSIA_BUSY;
  take_errors(registers);
  if (registers->BUILD != program->build) return INTARSIA_OTHER_BUILD;
  registers->CONTROL = REGISTER(CONTROL__CHECK_RESTART);
  intarsia_status_t status = transfer(device, program->weights, WEIGHTS, program->weight_length, 0);
  if (status == INTARSIA_OK) status = transfer(device, program->words, PROGRAM, program->length, 0);
  if (status != INTARSIA_OK) return status;
  registers->PROGRAM_BUILD = program->build;
  registers->PROGRAM_CHECK = program->check;
  registers->LIMIT = program->limit;
  return registers->CHECK == program->check ? INTARSIA_OK : INTARSIA_DAMAGED;
}

intarsia_status_t intarsia_put_image(const intarsia_device_t *device, const intarsia_program_t *program,
                                     const void *image) {
  volatile intarsia_registers_t *registers = registers_of(device);
  const intarsia_input_t *input = &program->input;
  if (is_busy(registers)) return INTARSIA_BUSY;
  take_errors(registers);
  registers->DMA_PIXEL = input->pixel;
  registers->DMA_IMAGE = input->image;
  registers->DMA_ORIGIN = input->origin;
  registers->DMA_INNER = input->inner;
  registers->DMA_OUTER = input->outer;
  return transfer(device, image, input->target, input->length, input->unfold ? REGISTER(DMA_CONTROL__UNFOLD) : 0);
}

void intarsia_start(const intarsia_device_t *device) {
  volatile intarsia_registers_t *registers = registers_of(device);
  take_errors(registers);
  registers->STATUS = REGISTER(STATUS__DONE);
  registers->CONTROL = REGISTER(CONTROL__START);
}

intarsia_status_t intarsia_finish(const intarsia_device_t *device) {
  return wait_for(device, REGISTER(STATUS__BUSY), REGISTER(STATUS__DONE), REGISTER(INTERRUPT_ENABLE__DONE));
}

intarsia_status_t intarsia_get_output(const intarsia_device_t *device, const intarsia_program_t *program,
                                      uint32_t *output) {
  volatile intarsia_registers_t *registers = registers_of(device);
  if (is_busy(registers)) return INTARSIA_BUSY;
  take_errors(registers);
  return transfer(device, output, program->output_target, program->output_length, REGISTER(DMA_CONTROL__TO_SYSTEM));
}

intarsia_status_t intarsia_run(const intarsia_device_t *device, const intarsia_program_t *program, const void *image,
                               uint32_t *output) {
  intarsia_status_t status = intarsia_put_image(device, program, image);
  if (status != INTARSIA_OK) return status;
  intarsia_start(device);
  status = intarsia_finish(device);
  return status == INTARSIA_OK ? intarsia_get_output(device, program, output) : status;
}

uint32_t intarsia_cycles(const intarsia_device_t *device) { return registers_of(device)->CYCLES; }

const char *intarsia_message(intarsia_status_t status) {
  switch (status) {
    case INTARSIA_OK: return "no error";
    case INTARSIA_NO_DEVICE: return "no accelerator of this version";
    case INTARSIA_OTHER_BUILD: return "the program is of another build of the accelerator";
    case INTARSIA_DAMAGED: return "program or weights are damaged";
    case INTARSIA_BAD_LAYER: return "the program has a layer that cannot be run";
    case INTARSIA_OVERRUN: return "the program went beyond the end of a memory";
    case INTARSIA_TIMEOUT: return "the program took too many cycles";
    case INTARSIA_BUSY: return "engine or DMA were busy";
    case INTARSIA_ACCESS: return "an access was refused";
    case INTARSIA_BUS: return "the DMA met an error of the system's memory";
    case INTARSIA_TRANSFER: return "a transfer that the DMA cannot make";
    case INTARSIA_ABORTED: return "it was aborted";
    case INTARSIA_STUCK: return "the DMA does not end";
  }
  return "unknown status";
}
