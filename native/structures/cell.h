/* SPDX-License-Identifier: Apache-2.0 */
/* One value of any size. */
#ifndef SS_CELL_H
#define SS_CELL_H

#include "memory/structure.h"

/* Offsets; the picture is in cell.c. */
enum { SS_CELL_LENGTH_AT = 4, SS_CELL_VALUE_AT = 8 };

typedef struct ss_cell ss_cell;

/* Opens the cell; if there is none yet, or with SS_NEW, it is made with the value `bytes`. A memory that holds
 * something else becomes a cell only with SS_INIT_OVERWRITE, as in the crate, or SS_NEW. Free with ss_cell_free. */
int ss_cell_open(ss_memory *memory, int mode, const uint8_t *bytes, uint64_t size, ss_cell **out);
void ss_cell_free(ss_cell *cell);
void ss_cell_free_at(ss_cell **at);
/* Releases the memory; the cell returns SS_CLOSED from now on. */
int ss_cell_detach(ss_cell *cell);

/* Returns bytes (result.h). */
int64_t ss_cell_get(ss_cell *cell);
/* Answers with the old value's bytes. On a failure the cell is unchanged. */
int64_t ss_cell_replace(ss_cell *cell, const uint8_t *bytes, uint64_t size);
/* The same without the old value. */
int ss_cell_set(ss_cell *cell, const uint8_t *bytes, uint64_t size);

/* The three for integers of `size` (1, 2, 4, 8) bytes, stored big-endian. Return a number (result.h); SS_CORRUPT where
 * the value that is there has another size. */
uint64_t ss_cell_get_u64(ss_cell *cell, uint32_t size);
uint64_t ss_cell_replace_u64(ss_cell *cell, uint32_t size, uint64_t value);
int ss_cell_set_u64(ss_cell *cell, uint32_t size, uint64_t value);

int ss_cell_check(ss_cell *cell, ss_report report, void *self);
int ss_cell_usage(ss_cell *cell, struct ss_usage *out);

#endif
