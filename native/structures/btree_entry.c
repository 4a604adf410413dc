/* SPDX-License-Identifier: Apache-2.0 */
/* Looking and then changing with one way down: an extension, which the crate does not have. */
#include "structures/btree_internal.h"

/* Goes down to the key. The position is direct where an insertion would change one node only: the entry is there, or every
 * node on the way has room. */
static int locate(ss_btree *tree, ss_span key, ss_node *node, ss_position *position) {
    uint64_t address = tree->root;
    bool found = false, room = true;
    *position = (ss_position){.changes = ss_handle_changes(&tree->handle)};
    for (int depth = 0; address != SS_NULL; depth++) {
        int status = depth == ss_btree_levels(tree) ? ss_btree_too_deep(tree) : ss_node_open(&tree->space, address, node);
        if (status == SS_OK) status = ss_node_search(&tree->space, node, key, &position->index, &found);
        if (status != SS_OK) return status;
        room = room && node->count < SS_CAPACITY;
        position->address = address;
        if (found || node->leaf) break;
        status = ss_node_child(&tree->space, node, position->index, &address);
        if (status != SS_OK) return status;
    }
    position->found = found;
    position->direct = found || (room && position->address != SS_NULL);
    return found ? SS_OK : SS_ABSENT;
}

int64_t ss_btree_locate(ss_btree *tree, const uint8_t *key, uint64_t key_size, ss_position *position) {
    ss_node node;
    ss_span span = {key, key_size};
    ss_output output = {.kind = SS_OUTPUT_BYTES};
    int status = ss_btree_begin_read(tree);
    if (status != SS_OK) return status;
    tree->output = &output;
    status = ss_btree_check_key(tree, span);
    if (status == SS_OK) status = locate(tree, span, &node, position);
    if (status == SS_OK) status = ss_btree_output(tree, &node, position->index);
    ss_leave_read(tree->handle.memory);
    return ss_result_finish(&output.bytes, status);
}

/* SS_OK if the key has what is expected, else SS_ABSENT. */
static int check_expected(ss_btree *tree, const ss_position *position, ss_span key, int expect, ss_span old) {
    ss_node node;
    ss_span value;
    uint32_t index = position->index;
    if (expect == SS_EXPECT_ANYTHING) return SS_OK;
    bool known = position->found && position->changes == ss_handle_changes(&tree->handle);
    int status = known ? ss_node_open(&tree->space, position->address, &node) : ss_btree_find_locked(tree, key, &node, &index);
    if (status == SS_ABSENT) return expect == SS_EXPECT_NOTHING ? SS_OK : SS_ABSENT;
    if (status != SS_OK || expect == SS_EXPECT_NOTHING) return status == SS_OK ? SS_ABSENT : status;
    if (index >= node.count) return ss_fail(SS_CORRUPT, "a path leads to an entry", node.address, index, node.count);
    status = ss_node_value(&tree->space, &node, index, &value);
    if (status != SS_OK) return status;
    return value.size == old.size && (old.size == 0 || memcmp(value.at, old.at, (size_t)old.size) == 0) ? SS_OK : SS_ABSENT;
}

/* That the node, whose bytes somebody may have written over, still has this place: of an entry, or for one in a leaf. */
static int check_place(const ss_node *node, const ss_position *position) {
    bool fits = position->found ? position->index < node->count : node->leaf && position->index <= node->count;
    return fits ? SS_OK : ss_fail(SS_CORRUPT, "a path leads to an entry", node->address, position->index, node->count);
}

static int set_at(ss_btree *tree, const ss_position *position, const ss_entry *entry) {
    ss_node node;
    if (position->changes != ss_handle_changes(&tree->handle) || !position->direct)
        return ss_btree_insert_locked(tree, entry->key, entry->value);
    int status = ss_node_open_for_change(&tree->space, position->address, &node);
    if (status == SS_OK) status = check_place(&node, position);
    if (status == SS_OK) status = ss_btree_change_at(tree, &node, position->index, position->found != 0, entry);
    return ss_btree_touched(tree, entry->key, status);
}

/* Counts the change and sets the position again: the entry lies where it says, unless the general way put it somewhere. */
static void note_put(ss_btree *tree, ss_position *position) {
    bool direct = position->direct && position->changes == ss_handle_changes(&tree->handle);
    ss_btree_changed(tree);
    position->found = position->direct = direct;
    position->changes = ss_handle_changes(&tree->handle);
}

uint64_t ss_btree_set_at(ss_btree *tree, ss_position *position, const uint8_t *key, uint64_t key_size, const uint8_t *value,
                         uint64_t value_size, int expect, const uint8_t *old, uint64_t old_size) {
    ss_entry entry = {{key, key_size}, {value, value_size}};
    ss_output output = {.kind = SS_OUTPUT_NONE};
    uint64_t changes = 0;
    int status = ss_btree_begin_write(tree);
    if (status != SS_OK) return ss_result_number(status, 0);
    tree->output = &output;
    tree->change = SS_CHANGE_VALUES; /* unless it does more */
    status = ss_btree_check_bounds(tree, entry.key, entry.value);
    if (status == SS_OK) status = check_expected(tree, position, entry.key, expect, (ss_span){old, old_size});
    bool expected = status != SS_ABSENT;
    if (status == SS_OK) {
        status = ss_btree_settle(tree, set_at(tree, position, &entry));
        if (status >= 0) note_put(tree, position);
        if (status == SS_ABSENT) status = SS_OK;
        changes = ss_handle_changes(&tree->handle);
    }
    status = ss_leave_write(tree->handle.memory, status);
    return ss_result_number(status == SS_OK && !expected ? SS_ABSENT : status, changes);
}
