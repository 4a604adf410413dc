/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of ic0 share. */
#ifndef SS_IC0_PRIVATE_H
#define SS_IC0_PRIVATE_H

#include "ic0/ic0.h"

/* wasmtime_val_raw_t: 16 bytes. */
typedef union ss_value {
    int32_t i32;
    int64_t i64;
    uint8_t bytes[16];
} ss_value;

typedef struct ss_function {
    const char *name, *types;
    uint32_t modes;
    void *(*run)(ss_ic0_message *m, ss_value *a); /* NULL, or a trap */
    uint32_t cost;
    int only32;
} ss_function;

extern const ss_function ss_ic0_functions[];
extern const int ss_ic0_function_count;

/* A trap of the engine, with the code and text in the message. */
void *ss_ic0_trap(ss_ic0_message *m, uint32_t code, const char *text);
/* Appends; false if there is no memory. */
bool ss_ic0_append(ss_ic0_buffer *buffer, const void *data, uint64_t size);
/* Forgets the call under construction, if there is one; its cycles go back. */
void ss_ic0_drop_call(ss_ic0_message *m);
/* How many instructions the message has used so far; its counter is then up to date. */
uint64_t ss_ic0_used(ss_ic0_message *m);

#endif
