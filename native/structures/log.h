/* SPDX-License-Identifier: Apache-2.0 */
/* A list of entries of any size that only grows, in two memories: one for the index, one for the data.
 *
 * The memories may be on one root or on two. On two, both are locked, in one order for all logs, and each commits for
 * itself, the data before the index that counts it: what a crash in between leaves is not part of the log.
 */
#ifndef SS_LOG_H
#define SS_LOG_H

#include "memory/structure.h"

/* Offsets, the first two in the index, the last in the data; the picture is in log.c. */
enum { SS_LOG_COUNT_AT = 32, SS_LOG_ENDS_AT = 40, SS_LOG_ENTRIES_AT = 32 };

typedef struct ss_log ss_log;

/* Opens the log. A data memory that is empty gets a new log, and the index memory with it; one that holds something else does only with
 * SS_INIT_OVERWRITE, as in the crate, or SS_NEW. Free with ss_log_free. */
int ss_log_open(ss_memory *index, ss_memory *data, int mode, ss_log **out);
void ss_log_free(ss_log *log);
void ss_log_free_at(ss_log **at);
/* Gives both memories up; the log returns SS_CLOSED from now on. */
int ss_log_detach(ss_log *log);

/* Entries, or a negative status. */
int64_t ss_log_length(ss_log *log);
/* A number that differs after the log may have changed. */
uint64_t ss_log_changes(ss_log *log);
int ss_log_clear(ss_log *log);

/* The index of the new entry. */
uint64_t ss_log_append(ss_log *log, const uint8_t *bytes, uint64_t size);
/* SS_NO_VALUE past the end. */
int64_t ss_log_get(ss_log *log, uint64_t index);
/* The same for an index that counts from the end if it is negative, the last entry having -1. */
int64_t ss_log_item(ss_log *log, int64_t index);

/* Bytes in use of the index memory, of the data memory, and of the entries alone; or a negative status. */
int64_t ss_log_index_size_bytes(ss_log *log);
int64_t ss_log_data_size_bytes(ss_log *log);
int64_t ss_log_size_bytes(ss_log *log);

/* Appends `count` entries that lie back to back; entry i ends at data + ends[i]. All or nothing. */
int ss_log_extend(ss_log *log, const uint8_t *data, const uint64_t *ends, uint64_t count);
/* Answers with entries [start, stop) back to back, and writes to ends[i] where entry start + i ends among them.
 * SS_OUT_OF_BOUNDS unless start <= stop <= length, and unless the log has `count` entries, or that is SS_ANY_LENGTH. */
int64_t ss_log_export(ss_log *log, uint64_t start, uint64_t stop, uint64_t count, uint64_t *ends);

/* Walks everything; the first broken rule is the failure. With `report` each one is reported and the walk continues. */
int ss_log_check(ss_log *log, ss_report report, void *self);
/* O(1); both memories together. */
int ss_log_usage(ss_log *log, struct ss_usage *out);

#endif
