/* SPDX-License-Identifier: Apache-2.0 */
/* What node.c and node_v1.c need of each other. */
#ifndef SS_NODE_INTERNAL_H
#define SS_NODE_INTERNAL_H

#include "structures/node.h"
#include "structures/node_layout.h"

/* Bytes of a slot of layout 1. */
static inline uint64_t ss_node_v1_stride(const ss_space *space) {
    return 2 * (uint64_t)SS_SIZE_FIELD + space->v1_key + space->v1_value;
}

/* ---- node_v1.c ---- */

/* Where the children of a node of `count` entries begin. */
uint64_t ss_node_v1_children_at(const ss_space *space, uint32_t count);
/* Fills key_at and value_at. */
int ss_node_v1_lay_out(const ss_space *space, ss_node *node);
int ss_node_v1_edit(ss_space *space, ss_node *node, const ss_edit *edit);

/* ---- node.c ---- */

/* Writes a size and bytes at *at, which moves behind them. */
int ss_node_put_sized(ss_space *space, ss_node *node, uint64_t *at, ss_span span);
int ss_node_put_children(ss_space *space, ss_node *node, uint64_t at, const uint64_t *children, uint32_t count);
int ss_node_put_count(ss_space *space, ss_node *node, uint32_t count);

#endif
