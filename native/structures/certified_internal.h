/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a map with hashes share: certified_records.c (positions, hashes, records; the layout is drawn there), certified.c
 * (computing and updating), certified_witness.c. */
#ifndef SS_CERTIFIED_INTERNAL_H
#define SS_CERTIFIED_INTERNAL_H

#include "core/sha256.h"
#include "structures/btree_internal.h"
#include "structures/certified.h"

enum { SS_EDGE_SIZE = 44, SS_RECORD_SIZE = 2 * SS_EDGE_SIZE, SS_POSITION_SIZE = 4 };
#define SS_MOST_HASHED_KEY (UINT64_C(1) << 28) /* so that a position has 4 bytes */

typedef struct ss_edge {
    uint64_t count;
    uint32_t position;
    uint8_t hash[SS_SHA256_SIZE];
} ss_edge;

/* A growing array of bytes. */
typedef struct ss_row {
    uint8_t *bytes;
    uint64_t size, room;
} ss_row;

typedef struct ss_hashes {
    ss_btree *map, *hashes;
    ss_output output; /* of the operations on `hashes` */
    ss_row dirty;     /* keys that the running operation touched, end to end */
    ss_row ends;      /* 8 bytes each */
    bool replaced;
    ss_row key; /* of a record */
} ss_hashes;

/* SS_CORRUPT: the hashes are not those of the map. */
int ss_hashes_differ(uint64_t number, uint64_t limit);
/* Where `more` new bytes go, or NULL (failure recorded). */
uint8_t *ss_row_grow(ss_row *r, uint64_t more);
int ss_row_append(ss_row *r, const void *bytes, uint64_t size);
void ss_row_drop(ss_row *r);
/* Empties it; what was large is given back. */
void ss_row_reset(ss_row *r);
/* Where two keys part; UINT64_MAX if they are the same. */
uint64_t ss_branch_position(ss_span a, ss_span b);
bool ss_bit_at(ss_span key, uint64_t position);
/* The bytes of the first `position` bits of the key. `to` has room for position / 9 + 1. */
uint64_t ss_prefix_of(ss_span key, uint64_t position, uint8_t *to);
/* Whether the key shares the first `bits` bits of `region`. */
bool ss_in_region(ss_span region, uint64_t bits, ss_span key);
/* The hash of a leaf, of an entry, of a fork. */
void ss_hash_leaf(ss_span value, uint8_t hash[SS_SHA256_SIZE]);
void ss_hash_entry(ss_span key, const uint8_t leaf[SS_SHA256_SIZE], uint8_t hash[SS_SHA256_SIZE]);
void ss_hash_fork(const uint8_t left[SS_SHA256_SIZE], const uint8_t right_side[SS_SHA256_SIZE], uint8_t hash[SS_SHA256_SIZE]);
/* The edge of nothing, of a fork, of one entry. */
ss_edge ss_no_edge(void);
ss_edge ss_forked(const ss_edge *left, const ss_edge *right_side, uint64_t position);
ss_edge ss_entry_edge(ss_span key, ss_span value);
/* Begins a step on the second map, which lies on the root that is locked. */
int ss_hashes_begin_step(ss_hashes *c);
/* The two sides of the subtree that forks at `position` and has the prefix of `key`. SS_ABSENT if there is no such record. */
int ss_find_fork(ss_hashes *c, ss_span key, uint64_t position, ss_edge sides[2]);
int ss_write_fork(ss_hashes *c, ss_span key, uint64_t position, const ss_edge sides[2]);
int ss_drop_fork(ss_hashes *c, ss_span key, uint64_t position);
int ss_drop_record(ss_hashes *c, ss_span at);
/* The edge of everything. */
int ss_read_root(ss_hashes *c, ss_edge *all);
int ss_write_root(ss_hashes *c, const ss_edge *all);
extern const ss_span ss_root_key;
/* Takes the lock for reading; the hashes of a map, which must have some. */
int ss_hashes_of(ss_btree *map, ss_hashes **c);

#endif
