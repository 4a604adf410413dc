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

enum {
    NODE_VERSION_AT = 3,
    NODE_TYPE_AT = 4,
    NODE_COUNT_AT = 5,
    NODE_V1_HEADER = 7,
    NODE_OVERFLOW_AT = 7,
    NODE_HEADER = 15,
    OVERFLOW_NEXT_AT = 3,
    OVERFLOW_HEADER = 11,
    CHILD_SIZE = 8,
    SIZE_FIELD = 4
};

#endif
