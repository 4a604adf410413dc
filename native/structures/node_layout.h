/* SPDX-License-Identifier: Apache-2.0 */
/* Layout 2, offsets in the node's run, little-endian:
 *
 *     0  3  "BTN"                           overflow page, offsets in its chunk:
 *     3  1  layout version = 2                0  3  "NOF"
 *     4  1  0 leaf, 1 internal                3  8  next overflow page or NULL
 *     5  2  number of entries n              11  .  data: the run goes on here
 *     7  8  first overflow page or NULL
 *    15  8 (n + 1)  children, internal nodes only
 *     .  n keys: 4-byte size unless the key type is fixed-size, bytes
 *     .  n values: 4-byte size, bytes
 *
 * Layout 1 (one page, never an overflow): bytes 0 to 6 as above with version 1, then n slots of
 *     4 key size · v1_key bytes · 4 value size · v1_value bytes, then (internal) n + 1 children.
 */
#ifndef SS_NODE_LAYOUT_H
#define SS_NODE_LAYOUT_H

#include "memory/allocator.h"
#include "memory/magics.h"
#include "structures/node.h"

enum {
    SS_NODE_TYPE_AT = 4,
    SS_NODE_COUNT_AT = 5,
    SS_NODE_V1_HEADER = 7,
    SS_NODE_OVERFLOW_AT = 7,
    SS_NODE_HEADER = 15,
    SS_OVERFLOW_NEXT_AT = 3,
    SS_OVERFLOW_HEADER = 11,
    SS_CHILD_SIZE = 8,
    SS_SIZE_FIELD = 4
};

/* The header of an allocated chunk, whatever its next, as a little-endian number. */
#define SS_ALLOCATED_CHUNK ((UINT64_C(1) << (8 * SS_CHUNK_ALLOCATED_AT)) | ss_magic_number(SS_CHUNK_MAGIC, 1))

/* Bytes of a layout-1 node with the largest key and value: the page size of a map whose header has no page size. */
static inline uint64_t ss_node_v1_size(uint64_t key, uint64_t value) {
    return SS_NODE_V1_HEADER + SS_CAPACITY * (2 * SS_SIZE_FIELD + key + value) + SS_CHILDREN * SS_CHILD_SIZE;
}

#endif
