/* SPDX-License-Identifier: Apache-2.0 */
/* A map with the hash tree of its entries beside it (docs/format.md#certified-map; layout and invariants in certified_records.c).
 *
 * It is an ss_btree: all its operations keep the hashes right, in the same operation and the same undo scope. */
#ifndef SS_CERTIFIED_H
#define SS_CERTIFIED_H

#include "structures/btree.h"

/* Subtrees of so many entries have no record of their own: their hashes are computed from the entries. */
#define SS_CERTIFIED_BUCKET 8

/* Opens a map and its hashes, which lie in memories on one root: both, or nothing is changed. As ss_btree_open and ss_certified_attach. */
int ss_certified_open(ss_memory *memory, ss_memory *hashes, int mode, const ss_order_term *terms, uint32_t term_count,
                      ss_order_callback callback, void *self, ss_bound key, ss_bound value, ss_btree **out);

/* Puts hashes beside an open map: from `hashes`, a memory on the same root. SS_INIT: those that are there, or new ones of every entry of
 * the map (O(n)); SS_NEW: new ones over what is there. SS_CORRUPT if they are not of this map. The order of the keys must be that of their
 * bytes. On a failure the map has none, and nothing is changed. */
int ss_certified_attach(ss_btree *map, ss_memory *hashes, int mode);

/* Result: the root hash. O(1). */
int64_t ss_certified_root(ss_btree *map);
/* Result: a hash tree in CBOR with the root hash of the map that shows the entry of `key`; nothing if there is none. O(log n). */
int64_t ss_certified_witness(ss_btree *map, const uint8_t *key, uint64_t key_size);
/* Result: one that shows the entries of a range, and the keys next to it. Kinds of ends as in cursor.h (SS_FROM_FIRST, SS_FROM, SS_AFTER;
 * SS_TO_LAST, SS_UPTO, SS_BEFORE). O(log n + entries shown). */
int64_t ss_certified_witness_range(ss_btree *map, int from, const uint8_t *start, uint64_t start_size, int to, const uint8_t *stop,
                                   uint64_t stop_size);
/* Sizes of the map of hashes. O(1). */
int ss_certified_usage(ss_btree *map, struct ss_usage *usage);

#endif
