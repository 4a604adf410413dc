/* SPDX-License-Identifier: Apache-2.0 */
/* Walking a map in key order, from both ends, many entries per call.
 *
 * A cursor holds the two ends of what is left of its range as paths from the root. It holds no bytes of the memory; each
 * call opens the nodes again under the lock, and refuses with SS_CHANGED once the map has changed since it was made. The thread
 * that uses it may overwrite values meanwhile; ss_cursor_valid tells, so that it can take again what it has taken ahead.
 */
#ifndef SS_CURSOR_H
#define SS_CURSOR_H

#include "structures/btree.h"

typedef struct ss_cursor ss_cursor;

enum ss_start {
    SS_FROM_FIRST = 0, /* no lower end */
    SS_FROM = 1,       /* keys >= start */
    SS_AFTER = 2,      /* keys > start */
    SS_FROM_BEFORE = 3 /* from the largest key < start on; all keys if there is none */
};

enum ss_stop {
    SS_TO_LAST = 0, /* no upper end */
    SS_UPTO = 1,    /* keys <= stop */
    SS_BEFORE = 2   /* keys < stop */
};

/* Numbers are for parts whose type is an unsigned big-endian integer of 1, 2, 4 or 8 bytes; rows for those of any fixed size,
 * which are then demanded to have it. */
enum ss_want {
    SS_WANT_KEYS = 1,
    SS_WANT_VALUES = 2,
    SS_WANT_KEY_NUMBERS = 4,
    SS_WANT_VALUE_NUMBERS = 8,
    SS_WANT_KEY_ROWS = 16,
    SS_WANT_VALUE_ROWS = 32,
    SS_WANT_ALARM = 64 /* and to hear of the next change (ss_handle_listen) */
};

/* Encoded ends; `start` and `stop` are copied. Keys outside the bound of their type are allowed as ends. O(log n). */
int ss_cursor_open(ss_btree *tree, int from, const uint8_t *start, uint64_t start_size, int to, const uint8_t *stop, uint64_t stop_size,
                   ss_cursor **out);
void ss_cursor_free(ss_cursor *cursor);
void ss_cursor_free_at(ss_cursor **at);

/* The next entries, at most `most` and about `most_bytes`, from the front or (back != 0) from the back. Answers with
 * bytes (result.h), little-endian 8-byte numbers first:
 *     n · key bytes · value bytes · n keys as numbers, or their ends in the key bytes · the same for the values ·
 *     key bytes · value bytes
 * What is not wanted is left out, and so are the ends of rows. n is 0 at the end. O(n). */
int64_t ss_cursor_next(ss_cursor *cursor, uint64_t most, uint64_t most_bytes, int want, int back);
/* The same for the whole map, as it is at one moment. */
int64_t ss_btree_entries(ss_btree *tree, int want);

/* The next entries from the front, at most `most`, straight into arrays; NULL for a part that is not wanted. How many
 * there were, or a negative status: SS_CORRUPT too where one has not the size of the items, SS_CHANGED for overwritten
 * values too. Others may read the map meanwhile, but nobody may use this cursor. O(n). */
int64_t ss_cursor_export(ss_cursor *cursor, uint64_t most, const ss_output_column *keys, const ss_output_column *values);

/* SS_OK; SS_ABSENT if this thread has overwritten values since it was made or last asked; or why the cursor is of no use any more:
 * SS_CHANGED, SS_CLOSED. */
int ss_cursor_valid(ss_cursor *cursor);

/* Passes over at most n entries without looking at them; answers how many there were, or a negative status. */
int64_t ss_cursor_skip(ss_cursor *cursor, uint64_t n, int back);

/* The n entries that one end took last will be taken again. O(n). */
int ss_cursor_give_back(ss_cursor *cursor, uint64_t n, int back);

#endif
