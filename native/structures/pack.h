/* SPDX-License-Identifier: Apache-2.0 */
/* Packs entries that come in order into the chunks of a new map, in batches: the bytes of the chunks come out one behind the other.
 *
 * Each subtree gets an equal share of the entries, so that all nodes are as full as they are to be and none but the root has too few.
 * In memory are the entries of one node of each level, and the chunks that were made since they were last taken.
 */
#ifndef SS_PACK_H
#define SS_PACK_H

#include "core/bytes.h"
#include "core/error.h"

typedef struct ss_pack ss_pack;

/* How nodes are to lie, and how many entries leaves and internal nodes get at most (5 to 11). */
typedef struct ss_pack_form {
    uint64_t page;                 /* bytes of a chunk without its header */
    uint64_t key_fixed;            /* UINT64_MAX: keys have a size field */
    uint64_t slot_key, slot_value; /* of layout 1 */
    uint32_t leaf, inner;
    int32_t layout_1;
    int32_t reserved;
} ss_pack_form;

/* A map of `count` entries. */
int ss_pack_new(const ss_pack_form *form, uint64_t count, ss_pack **out);
void ss_pack_free(ss_pack *pack);
/* The next entries, in columns with the end of each item. SS_ARGUMENT if there are more than `count` of all, or one does not fit
 * the form. */
int ss_pack_feed(ss_pack *pack, uint64_t count, const uint8_t *keys, const uint64_t *key_ends, const uint8_t *values,
                 const uint64_t *value_ends);
/* Only measures what the next entries would take, in place of all entries: `count + 1` sums of the sizes of their keys and values, from
 * any number on; NULL for entries of no bytes. SS_ARGUMENT as above. O(nodes). */
int ss_pack_measure(ss_pack *pack, uint64_t count, const uint64_t *sums);
/* Nodes that are complete. */
uint64_t ss_pack_nodes(const ss_pack *pack);
/* Takes the chunks that were made: their bytes lie behind each other from the end of those before on, and are valid until the next
 * call. Their number of bytes. */
uint64_t ss_pack_take(ss_pack *pack, const uint8_t **bytes);
/* After all entries: the address of the root (0: none) and the number of chunks; SS_ABSENT if entries are missing. */
int ss_pack_end(const ss_pack *pack, uint64_t *root, uint64_t *chunks);

#endif
