/* SPDX-License-Identifier: Apache-2.0 */
/* The system functions of a Wasm canister (module "ic0"), over a stable memory of the core and a heap image.
 *
 * A message goes in (ss_ic0_set_*, fields), Wasm runs (ss_ic0_run), effects come out (fields, ss_ic0_output). No code of the embedding
 * language runs meanwhile. The engine is wasmtime's C interface, but nothing is linked to it: the functions used are given by address.
 *
 * Rules
 *  P1  A function checks the mode first, then its arguments; what it refuses has no effect but the trap.
 *  P2  A range of the heap is checked before a range of the stable memory, and both before a byte moves.
 *  P3  Every byte of stable memory goes through the core's own write path.
 */
#ifndef SS_IC0_H
#define SS_IC0_H

#include "ic0/heap_image.h"
#include "memory/memory.h"

/* Entry points, one bit each. */
enum ss_ic0_mode {
    SS_IC0_START = 1,
    SS_IC0_INIT = 2, /* and post_upgrade */
    SS_IC0_PRE_UPGRADE = 4,
    SS_IC0_UPDATE = 8,
    SS_IC0_REPLICATED_QUERY = 16,
    SS_IC0_QUERY = 32,
    SS_IC0_TRANSFORM = 64,
    SS_IC0_COMPOSITE_QUERY = 128,
    SS_IC0_REPLY = 256,
    SS_IC0_REJECT = 512,
    SS_IC0_COMPOSITE_REPLY = 1024,
    SS_IC0_COMPOSITE_REJECT = 2048,
    SS_IC0_CLEANUP = 4096,
    SS_IC0_COMPOSITE_CLEANUP = 8192,
    SS_IC0_INSPECT = 16384,
    SS_IC0_TASK = 32768
};

/* Bytes that the canister may ask for. ENVIRONMENT: for each variable the sizes of name and value, 4 bytes each, then both.
 * CONTROLLERS, UNDER_WAY: for each principal its size, 1 byte, then itself; UNDER_WAY then has the number of calls, 4 bytes. */
enum ss_ic0_input {
    SS_IC0_ARGUMENT,
    SS_IC0_CALLER,
    SS_IC0_SELF,
    SS_IC0_METHOD,
    SS_IC0_REJECT_MESSAGE,
    SS_IC0_CERTIFICATE,
    SS_IC0_CONTROLLERS,
    SS_IC0_ENVIRONMENT,
    SS_IC0_ROOT_KEY,
    SS_IC0_SUBNET,
    SS_IC0_UNDER_WAY,
    SS_IC0_INPUTS
};

/* LOG: lines, the size of each in 4 bytes before it. CALLS: for each an ss_ic0_call, then callee, method and argument. */
enum ss_ic0_output { SS_IC0_RESPONSE, SS_IC0_LOG, SS_IC0_CALLS, SS_IC0_CERTIFIED, SS_IC0_TRAP, SS_IC0_OUTPUTS };

typedef struct ss_ic0_call {
    uint64_t callee_size, method_size, argument_size;
    uint64_t reply_function, reply_environment, reject_function, reject_environment;
    uint64_t has_cleanup, cleanup_function, cleanup_environment;
    uint64_t cycles_low, cycles_high, has_timeout, timeout;
} ss_ic0_call;

typedef struct ss_ic0_buffer {
    uint8_t *data;
    uint64_t size, room;
} ss_ic0_buffer;

/* Prices of the subnet, for cost_*. */
typedef struct ss_ic0_prices {
    uint64_t call_base, call_byte, create_canister, http_base, http_request_byte, http_response_byte, sign, derive;
} ss_ic0_prices;

typedef struct ss_ic0_message {
    /* given */
    uint32_t mode, is64;
    ss_memory *stable;
    ss_heap_image *heap;
    uint64_t time, version, deadline, instruction_limit, instructions_before, reply_limit;
    int32_t status, reject_code;
    uint64_t refunded_low, refunded_high;
    ss_ic0_prices prices;
    /* given, and changed by the message */
    uint64_t timer, balance_low, balance_high, available_low, available_high;
    uint32_t answered; /* 1 replied, 2 rejected */
    /* effects */
    uint32_t accepted, timer_set, certified_set;
    uint32_t trap_code; /* 502, 503, 504; 0: none by a function of ic0 */
    uint64_t instructions, host_instructions;
    uint64_t accepted_low, accepted_high;
    uint64_t log_size, calls_size; /* of these outputs, to know whether there are any */
    /* internal */
    uint32_t has_certificate, call_open, has_timeout, has_cleanup;
    void *context;       /* of the store */
    const void *counter; /* the global that counts down */
    ss_ic0_buffer input[SS_IC0_INPUTS], output[SS_IC0_OUTPUTS];
    ss_ic0_buffer callee, method, argument; /* of the call under construction */
    ss_ic0_call call;
} ss_ic0_message;

/* The functions of wasmtime, by address, in the order of the fields of struct engine in ic0.c; SS_IC0_ENGINE of them. */
enum { SS_IC0_ENGINE = 10 };
int ss_ic0_use_engine(const uintptr_t *addresses, size_t count);
/* The host memory creator of the engine's configuration: its new_memory, which takes the heap of ss_ic0_next_heap. */
uintptr_t ss_ic0_new_memory(void);
/* The next memory that this thread's engine makes is this heap. */
void ss_ic0_next_heap(ss_heap_image *heap);

/* Functions: how many there are, and of each its name, its types ('I' is an address, 'i' 32 and 'l' 64 bits, '>' before the result),
 * the modes that may call it, and whether 64-bit canisters lack it. */
int ss_ic0_count(void);
const char *ss_ic0_name(int index);
const char *ss_ic0_types(int index);
uint32_t ss_ic0_modes(int index);
int ss_ic0_only_32(int index);
/* How an error message calls a mode. */
const char *ss_ic0_mode_name(uint32_t mode);
/* Defines a function in a linker of the engine. */
int ss_ic0_define(uintptr_t linker, int index, int is64);

ss_ic0_message *ss_ic0_new_message(void);
void ss_ic0_free_message(ss_ic0_message *message);
int ss_ic0_set_input(ss_ic0_message *message, int which, const void *data, uint64_t size);
/* NULL data: there is no certificate. */
int ss_ic0_set_certificate(ss_ic0_message *message, const void *data, uint64_t size);
const uint8_t *ss_ic0_output(const ss_ic0_message *message, int which, uint64_t *size);
/* Forgets the effects of the last message. */
void ss_ic0_clear(ss_ic0_message *message);

/* An instance: its store's context, its counter and its other mutable globals, whose values can be kept and put back. */
typedef struct ss_ic0_instance {
    uintptr_t context;
    uint8_t counter[24];
    uint64_t global_count;
    uint8_t *globals; /* 24 bytes each */
    uint8_t *saved;   /* 32 bytes each */
} ss_ic0_instance;

ss_ic0_instance *ss_ic0_new_instance(uintptr_t context, const void *counter, const void *globals, uint64_t count);
/* The instance was made again: other handles, the same number of globals; what was saved stays. */
void ss_ic0_rebind_instance(ss_ic0_instance *instance, uintptr_t context, const void *counter, const void *globals);
void ss_ic0_free_instance(ss_ic0_instance *instance);
/* Reads the globals into `saved`, or writes them from there. */
void ss_ic0_save_globals(ss_ic0_instance *instance);
int ss_ic0_restore_globals(ss_ic0_instance *instance);

/* The signals of Wasm's machine traps are the engine's while Wasm runs: remembers how they are handled now. */
void ss_ic0_keep_signals(void);
/* Runs a function () or, with an environment, (address) -> (). 1 where it trapped: *trap or *error is the engine's, to be freed
 * by the caller; message->trap_code decides first. *result is what a function () -> (address) gave. */
int ss_ic0_run(ss_ic0_message *message, ss_ic0_instance *instance, uintptr_t function, int has_environment, uint64_t environment,
               uintptr_t *trap, uintptr_t *error, uint64_t *result);

#endif
