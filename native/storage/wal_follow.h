/* SPDX-License-Identifier: Apache-2.0 */
/* The log of a writer in another process, as a reader of the file follows it: each commit of mode normal, in order.
 *
 * A record that was not synced before it counted (mode normal) counts as soon as it is complete. Those that were synced
 * (mode full, or copied by a recovery) are passed over: their writer puts them into the file itself, and until it has,
 * nobody may hear of them.
 *
 * Whoever follows holds a shared LOCK_READ, so the file stays as it is meanwhile. It is then either as it was when the
 * generation began or as all records leave it, and both together with the records that count are the same image: the first
 * record of a generation that changes a block has all of it.
 */
#ifndef SS_WAL_FOLLOW_H
#define SS_WAL_FOLLOW_H

#include "storage/wal.h"

/* What was read of a log so far. All zeros but for `wal`, which has no file, before the first use. */
typedef struct ss_wal_follower {
    ss_wal *wal;
    uint64_t last_at;             /* where the last record begins */
    bool from_start;              /* what was read is void: begin again */
    bool opened;                  /* the last call opened a log that was not followed before */
    struct ss_wal_reader *reader; /* NULL until the first record */
} ss_wal_follower;

/* The memory that the records are put into. */
typedef struct ss_wal_image {
    void *self;
    /* What was put there is void: the file alone is the image again. */
    int (*anew)(void *self);
    /* Before pieces are put: the memory has `pages` pages from here on, each of which can be written. */
    int (*room)(void *self, uint64_t pages);
    uint8_t *base;
} ss_wal_image;

/* Puts the records that came since the last call into the image. *moved: it, or what is known of the log, has changed.
 * SS_ABSENT if there is no log. O(1 + bytes of the new records). */
int ss_wal_follow(ss_wal_follower *follower, const ss_wal_image *image, bool *moved);
/* Whether the log has more than the last call put into the image, or is another one by now. O(1). */
bool ss_wal_follow_is_behind(const ss_wal_follower *follower);
/* Closes the log. */
void ss_wal_follow_end(ss_wal_follower *follower);

#endif
