/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of layout 1, as old crates wrote them: slots of fixed sizes in one page (picture in node_layout.h).
 * They are read and changed; new nodes are always of layout 2.
 */
#include "structures/node_internal.h"

uint64_t ss_node_v1_children_at(const ss_space *space, uint32_t count) {
    return SS_NODE_V1_HEADER + count * ss_node_v1_stride(space);
}

int ss_node_v1_lay_out(const ss_space *space, ss_node *node) {
    for (uint32_t i = 0; i <= node->count; i++) {
        node->key_at[i] = SS_NODE_V1_HEADER + i * ss_node_v1_stride(space);
        node->value_at[i] = node->key_at[i] + SS_SIZE_FIELD + space->v1_key;
    }
    node->laid_out = true;
    return SS_OK;
}

static int put_slot(ss_space *space, ss_node *node, uint32_t index, const ss_entry *entry) {
    uint64_t at = SS_NODE_V1_HEADER + index * ss_node_v1_stride(space), value_at = at + SS_SIZE_FIELD + space->v1_key;
    if (entry->key.size > space->v1_key || entry->value.size > space->v1_value) {
        return ss_fail(SS_BOUND_EXCEEDED, "an entry fits the slots of a version 1 map", node->address,
                       entry->key.size > space->v1_key ? entry->key.size : entry->value.size,
                       entry->key.size > space->v1_key ? space->v1_key : space->v1_value);
    }
    int status = ss_node_put_sized(space, node, &at, entry->key);
    return status == SS_OK ? ss_node_put_sized(space, node, &value_at, entry->value) : status;
}

/* Writes slots and children again from copies: what is left in a slot behind a shorter key or value keeps its bytes. */
int ss_node_v1_edit(ss_space *space, ss_node *node, const ss_edit *edit) {
    ss_entry entries[2 * SS_CAPACITY + 1];
    uint64_t children[2 * SS_CHILDREN + 1];
    uint32_t tail = edit->at + edit->drop, count = node->count + edit->add - edit->drop;
    uint32_t child_tail = edit->child_at + edit->child_drop, old_children = node->leaf ? 0 : node->count + 1;
    int status = ss_node_copy_entries(space, node, 0, edit->at, entries);
    for (uint32_t i = 0; i < edit->add; i++) entries[edit->at + i] = edit->entries[i];
    if (edit->keep_keys && status == SS_OK) {
        ss_entry old[SS_CAPACITY];
        status = ss_node_copy_entries(space, node, edit->at, edit->drop, old);
        for (uint32_t i = 0; i < edit->add; i++) entries[edit->at + i].key = old[i].key;
    }
    if (status == SS_OK) status = ss_node_copy_entries(space, node, tail, node->count - tail, entries + edit->at + edit->add);
    if (!node->leaf && status == SS_OK) {
        status = ss_node_copy_children(space, node, 0, edit->child_at, children);
        for (uint32_t i = 0; i < edit->child_add; i++) children[edit->child_at + i] = edit->children[i];
        if (status == SS_OK) {
            status = ss_node_copy_children(space, node, child_tail, old_children - child_tail, children + edit->child_at + edit->child_add);
        }
    }
    for (uint32_t i = 0; status == SS_OK && i < count; i++) status = put_slot(space, node, i, &entries[i]);
    node->children_at = ss_node_v1_children_at(space, count);
    if (status == SS_OK && !node->leaf) status = ss_node_put_children(space, node, node->children_at, children, count + 1);
    if (status == SS_OK) status = ss_node_put_count(space, node, count);
    node->laid_out = node->keys_laid_out = false;
    return status;
}
