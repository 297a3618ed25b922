// SPDX-License-Identifier: Apache-2.0
// Driver of the accelerator. It needs no C library and no heap, and allocates nothing.
//
//   static intarsia_device_t device;
//   intarsia_open(&device, 0x80000000, NULL);
//   if (intarsia_load(&device, &program) == INTARSIA_OK)         // once
//     status = intarsia_run(&device, &program, image, output);   // for each image
//
// Every function returns INTARSIA_OK or what went wrong. None waits for ever: a run ends at the program's limit of
// cycles, a polled transfer at a limit of polls. (Where `wait` is given, a transfer waits as long as a memory does not
// answer.) After any failure but INTARSIA_STUCK the device can be used again: failures of a run, an image or a result
// leave program and weights as they were; after one of intarsia_load, or INTARSIA_DAMAGED, load the program again.
// INTARSIA_BUSY changes nothing.
//
// For one thread. The DMA sees the system's memory, not caches: with a data cache, write back program, weights and image
// before a call, and invalidate the result after it; a processor that reorders stores needs a fence before a call, too.
#ifndef INTARSIA_H
#define INTARSIA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  INTARSIA_OK = 0,
  INTARSIA_NO_DEVICE,    // there is no accelerator at this address, or of another version
  INTARSIA_OTHER_BUILD,  // the program was compiled for another build of the accelerator
  INTARSIA_DAMAGED,      // program or weights are not what they were when they were compiled
  INTARSIA_BAD_LAYER,    // the program has a layer that cannot be run
  INTARSIA_OVERRUN,      // the program went beyond the end of a memory
  INTARSIA_TIMEOUT,      // the program took more cycles than its limit
  INTARSIA_BUSY,         // engine or DMA were busy
  INTARSIA_ACCESS,       // an access was refused
  INTARSIA_BUS,          // the DMA met an error response of the system's memory
  INTARSIA_TRANSFER,     // a transfer that the DMA cannot make
  INTARSIA_ABORTED,      // it was ended by intarsia_open, or CONTROL.abort
  INTARSIA_STUCK         // the DMA does not end: the system's memory does not answer
} intarsia_status_t;

// Transfer of an image to the engine, as the DMA's registers of these names take it. Made by the compiler.
typedef struct {
  uint32_t target;
  uint32_t unfold;  // 0: `length` 32-bit words as they are
  uint32_t length;
  uint32_t pixel, image, origin, inner, outer;
} intarsia_input_t;

// A program with its weights. Made by the compiler.
typedef struct {
  uint32_t build, check;  // see PROGRAM_BUILD and PROGRAM_CHECK
  uint32_t limit;         // cycles after which a run is ended
  const uint32_t *weights;
  uint32_t weight_length;  // 32-bit words
  const uint32_t *words;
  uint32_t length;  // 32-bit words
  intarsia_input_t input;
  uint32_t output_target;
  uint32_t output_length;  // 32-bit words
} intarsia_program_t;

typedef struct {
  uintptr_t base;
  void (*wait)(void);  // stops until an interrupt is pending; NULL: the driver polls
} intarsia_device_t;

// Take the accelerator at an address, end whatever it does, and clear its errors. `wait` may be NULL; else the interrupt
// of the accelerator must end it, and it must return at once while that is high: no handler may have taken it before, so
// leave it enabled but not served (RISC-V: wfi with interrupts off).
intarsia_status_t intarsia_open(intarsia_device_t *device, uintptr_t base, void (*wait)(void));

// Bring a program and its weights into the engine's memories. The arrays must be on addresses that are multiples of 4.
intarsia_status_t intarsia_load(const intarsia_device_t *device, const intarsia_program_t *program);

// Bring an image: bytes (row, column, channel), at any address; or, where input.unfold is 0 (values of 16 or 4 bits, say),
// words as they lie in the engine, at a multiple of 4.
intarsia_status_t intarsia_put_image(const intarsia_device_t *device, const intarsia_program_t *program,
                                     const void *image);

// Start the program that was loaded, and wait for its end. Between the two the processor is free.
void intarsia_start(const intarsia_device_t *device);
intarsia_status_t intarsia_finish(const intarsia_device_t *device);

// Fetch the result: `output_length` words as they lie in the engine, at a multiple of 4.
intarsia_status_t intarsia_get_output(const intarsia_device_t *device, const intarsia_program_t *program,
                                      uint32_t *output);

// All four in one.
intarsia_status_t intarsia_run(const intarsia_device_t *device, const intarsia_program_t *program, const void *image,
                               uint32_t *output);

// Clock cycles of the last run.
uint32_t intarsia_cycles(const intarsia_device_t *device);

// What a status says, in words.
const char *intarsia_message(intarsia_status_t status);

#ifdef __cplusplus
}
#endif

#endif
