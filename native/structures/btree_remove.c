/* SPDX-License-Identifier: Apache-2.0 */
/* Removal of an entry. On the way down every child that is at the minimum is refilled before it is entered, so nothing goes
 * back up (B1). A child that needs an entry takes one of a sibling that has more than the minimum,
 *
 *         parent  .. s ..                  parent  .. b ..
 *                   / \            ->                / \
 *           [.. a b]   [c d ..]              [.. a]   [s c d ..]          rotate_right (rotate_left is the mirror)
 *
 * or, if both siblings are at the minimum, is merged with one, and the separator of the parent goes between them:
 *
 *         parent  .. s ..                  parent  .. ..
 *                   / \            ->               |
 *           [.. a b]   [c d ..]          [.. a b s c d ..]                merge
 *
 * The order of these steps is the crate's (B4).
 */
#include "structures/btree_internal.h"

/* That two neighbours below one parent are different nodes of one level. */
static int check_siblings(const ss_node *one, const ss_node *other) {
    if (one->leaf == other->leaf) return ss_btree_distinct(one, other);
    return ss_fail(SS_CORRUPT, "all leaves have one depth", one->address, one->leaf, other->leaf);
}

static bool above_minimum(const ss_node *node) {
    return node->count > SS_MINIMUM;
}

static int open_child(ss_btree *tree, ss_node *node, uint32_t index, ss_node *child) {
    uint64_t address;
    int status = ss_node_child(&tree->space, node, index, &address);
    if (status == SS_OK) status = ss_node_open_for_change(&tree->space, address, child);
    if (status == SS_OK && child->count < SS_MINIMUM) {
        return ss_fail(SS_CORRUPT, "a node has at least 5 entries", address, child->count, SS_MINIMUM);
    }
    return status == SS_OK ? ss_btree_distinct(node, child) : status;
}

static int replace_entry(ss_btree *tree, ss_node *node, uint32_t index, const ss_entry *entry) {
    ss_edit edit = {.at = index, .drop = 1, .add = 1, .entries = entry};
    return ss_node_edit(&tree->space, node, &edit);
}

/* An entry moves from `left` (its last) up to `separator` of the parent, and what was there down to the front of `node`. */
static int rotate_right(ss_btree *tree, ss_node *parent, uint32_t separator, ss_node *left, ss_node *node) {
    ss_entry up, down;
    uint64_t child = SS_NULL;
    ss_space *space = &tree->space;
    int status = ss_node_copy_entries(space, left, left->count - 1, 1, &up);
    if (status == SS_OK) status = ss_node_copy_entries(space, parent, separator, 1, &down);
    if (status == SS_OK && !left->leaf) status = ss_node_copy_children(space, left, left->count, 1, &child);
    ss_edit lose = {.at = left->count - 1, .drop = 1, .child_at = left->count, .child_drop = 1};
    if (status == SS_OK) status = ss_node_edit(space, left, &lose);
    ss_edit gain = {.at = 0, .add = 1, .entries = &down, .child_at = 0, .child_add = 1, .children = &child};
    if (status == SS_OK) status = ss_node_edit(space, node, &gain);
    return status == SS_OK ? replace_entry(tree, parent, separator, &up) : status;
}

/* The mirror: the first entry of `right` goes up, the separator to the end of `node`. */
static int rotate_left(ss_btree *tree, ss_node *parent, uint32_t separator, ss_node *right, ss_node *node) {
    ss_entry up, down;
    uint64_t child = SS_NULL;
    ss_space *space = &tree->space;
    int status = ss_node_copy_entries(space, right, 0, 1, &up);
    if (status == SS_OK) status = ss_node_copy_entries(space, parent, separator, 1, &down);
    if (status == SS_OK && !right->leaf) status = ss_node_copy_children(space, right, 0, 1, &child);
    ss_edit lose = {.at = 0, .drop = 1, .child_at = 0, .child_drop = 1};
    if (status == SS_OK) status = ss_node_edit(space, right, &lose);
    ss_edit gain = {.at = node->count, .add = 1, .entries = &down, .child_at = node->count + 1, .child_add = 1, .children = &child};
    if (status == SS_OK) status = ss_node_edit(space, node, &gain);
    return status == SS_OK ? replace_entry(tree, parent, separator, &up) : status;
}

/* Takes entry `separator` and child `lost` out of the parent. If nothing is left of it (it was the root), `survivor`
 * becomes the root. */
static int shrink_parent(ss_btree *tree, ss_node *parent, uint32_t separator, uint32_t lost, const ss_node *survivor) {
    if (parent->count > 1) {
        ss_edit edit = {.at = separator, .drop = 1, .child_at = lost, .child_drop = 1};
        return ss_node_edit(&tree->space, parent, &edit);
    }
    if (parent->address != tree->root) return ss_fail(SS_CORRUPT, "a node has at least 5 entries", parent->address, 1, SS_MINIMUM);
    int status = ss_node_give_back(&tree->space, parent);
    tree->root = survivor->address;
    return status == SS_OK ? ss_btree_write_header(tree) : status;
}

/* All of `source` and the parent's separator between them go into `target`, and `source` is freed. `at_end`: source
 * follows target, else it precedes it. */
static int merge(ss_btree *tree, ss_node *parent, uint32_t separator, ss_node *source, ss_node *target, bool at_end) {
    ss_entry entries[SS_CAPACITY + 1];
    uint64_t children[SS_CHILDREN];
    ss_space *space = &tree->space;
    uint32_t n = source->count;
    int status = ss_node_copy_entries(space, source, 0, n, entries + (at_end ? 1 : 0));
    if (status == SS_OK) status = ss_node_copy_entries(space, parent, separator, 1, at_end ? entries : entries + n);
    if (status == SS_OK && !source->leaf) status = ss_node_copy_children(space, source, 0, n + 1, children);
    ss_edit gain = {.at = at_end ? target->count : 0,
                    .add = n + 1,
                    .entries = entries,
                    .child_at = at_end ? target->count + 1 : 0,
                    .child_add = n + 1,
                    .children = children};
    if (status == SS_OK) status = ss_node_edit(space, target, &gain);
    return status == SS_OK ? ss_node_give_back(space, source) : status;
}

/* Child `index` cannot lose an entry and has a left sibling. */
static int refill_from_left(ss_btree *tree, ss_node *parent, uint32_t index, ss_node *left, ss_node *child) {
    int status = merge(tree, parent, index - 1, child, left, true);
    if (status == SS_OK) status = shrink_parent(tree, parent, index - 1, index, left);
    *child = *left;
    return status;
}

static int refill_from_right(ss_btree *tree, ss_node *parent, uint32_t index, ss_node *right, ss_node *child) {
    int status = merge(tree, parent, index, child, right, false);
    if (status == SS_OK) status = shrink_parent(tree, parent, index, index, right);
    *child = *right;
    return status;
}

/* Opens child `index` of `parent` such that it can lose an entry: as it is, with an entry of a sibling, or merged. */
static int prepare_child(ss_btree *tree, ss_node *parent, uint32_t index, ss_node *child) {
    ss_node left, right;
    bool has_left = index > 0, has_right = index < parent->count;
    int status = open_child(tree, parent, index, child);
    if (status != SS_OK || above_minimum(child)) return status;
    ss_undo_begin(tree->handle.memory);
    if (has_left) {
        status = open_child(tree, parent, index - 1, &left);
        if (status == SS_OK) status = check_siblings(&left, child);
        if (status != SS_OK) return status;
        if (above_minimum(&left)) return rotate_right(tree, parent, index - 1, &left, child);
    }
    if (has_right) {
        status = open_child(tree, parent, index + 1, &right);
        if (status == SS_OK) status = check_siblings(&right, child);
        if (status != SS_OK) return status;
        if (above_minimum(&right)) return rotate_left(tree, parent, index, &right, child);
    }
    return has_left ? refill_from_left(tree, parent, index, &left, child) : refill_from_right(tree, parent, index, &right, child);
}

static int drop_from_leaf(ss_btree *tree, ss_node *leaf, uint32_t index) {
    int status;
    tree->length--;
    if (leaf->count == 1) {
        if (leaf->address != tree->root) return ss_fail(SS_CORRUPT, "a node has at least 5 entries", leaf->address, 1, SS_MINIMUM);
        ss_undo_begin(tree->handle.memory);
        status = ss_node_give_back(&tree->space, leaf);
        tree->root = SS_NULL;
    } else {
        ss_edit edit = {.at = index, .drop = 1};
        status = ss_node_edit(&tree->space, leaf, &edit);
    }
    return status == SS_OK ? ss_btree_write_header(tree) : status;
}

/* Takes the last (or first) entry out of the subtree at `node`; it is left in the scratch. */
static int take_end(ss_btree *tree, ss_node *node, bool last, ss_entry *taken) {
    for (int depth = 0; !node->leaf; depth++) {
        ss_node child;
        if (depth == ss_btree_levels(tree)) return ss_btree_too_deep(tree);
        int status = prepare_child(tree, node, last ? node->count : 0, &child);
        if (status != SS_OK) return status;
        *node = child;
    }
    uint32_t index = last ? node->count - 1 : 0;
    int status = ss_node_copy_entries(&tree->space, node, index, 1, taken);
    return status == SS_OK ? drop_from_leaf(tree, node, index) : status;
}

/* The key is entry `index` of an internal node: its predecessor or successor takes its position, or it moves down into the
 * merged children, where *index then finds it and the search goes on. */
static int remove_from_internal(ss_btree *tree, ss_node *node, uint32_t *index, bool *done) {
    ss_node left, right;
    ss_entry taken;
    *done = true;
    ss_undo_begin(tree->handle.memory);
    int status = open_child(tree, node, *index, &left);
    if (status != SS_OK) return status;
    if (above_minimum(&left)) {
        status = ss_btree_output(tree, node, *index);
        if (status == SS_OK) status = take_end(tree, &left, true, &taken);
        return status == SS_OK ? replace_entry(tree, node, *index, &taken) : status;
    }
    status = open_child(tree, node, *index + 1, &right);
    if (status == SS_OK) status = check_siblings(&left, &right);
    if (status != SS_OK) return status;
    if (above_minimum(&right)) {
        status = ss_btree_output(tree, node, *index);
        if (status == SS_OK) status = take_end(tree, &right, false, &taken);
        return status == SS_OK ? replace_entry(tree, node, *index, &taken) : status;
    }
    *done = false;
    uint32_t position = left.count;
    status = merge(tree, node, *index, &right, &left, true);
    if (status == SS_OK) status = shrink_parent(tree, node, *index, *index + 1, &left);
    *index = position;
    *node = left;
    return status;
}

/* The keys before and after a key, `at` NULL if there is none. SS_ABSENT if the key is not there. */
static int find_neighbours(ss_btree *tree, ss_span key, ss_span around[2]) {
    ss_node node;
    uint32_t index;
    uint64_t address = tree->root;
    bool found = false;
    for (int depth = 0; !found; depth++) {
        if (depth == ss_btree_levels(tree)) return ss_btree_too_deep(tree);
        int status = ss_node_open(&tree->space, address, &node);
        if (status == SS_OK) status = ss_node_search(&tree->space, &node, key, &index, &found);
        if (status == SS_OK && index > 0) status = ss_node_key(&tree->space, &node, index - 1, &around[0]);
        if (status == SS_OK && index + found < node.count) status = ss_node_key(&tree->space, &node, index + found, &around[1]);
        if (status == SS_OK && node.leaf) return found ? SS_OK : SS_ABSENT;
        if (status == SS_OK && !found) status = ss_node_child(&tree->space, &node, index, &address);
        if (status != SS_OK) return status;
    }
    for (uint32_t side = 0; side < 2; side++) {
        ss_node end;
        uint32_t at;
        int status = ss_node_child(&tree->space, &node, index + side, &address);
        if (status == SS_OK) status = ss_btree_find_end(tree, address, side == 0, &end, &at);
        if (status == SS_OK) status = ss_node_key(&tree->space, &end, at, &around[side]);
        if (status != SS_OK) return status;
    }
    return SS_OK;
}

/* A user's order may be none: it may say a < b and b < c and c < a. Without b, neighbours would not ascend then. A key that
 * is not there is none of its business: looking for it rearranges nodes, as in the crate. */
static int check_removal(ss_btree *tree, ss_span key) {
    ss_span around[2] = {{NULL, 0}, {NULL, 0}};
    int result, status = find_neighbours(tree, key, around);
    if (status == SS_ABSENT) return SS_OK;
    if (status != SS_OK || around[0].at == NULL || around[1].at == NULL) return status;
    status = ss_order_compare(&tree->order, around[0].at, around[0].size, around[1].at, around[1].size, &result);
    if (status != SS_OK || result == SS_LESS) return status;
    return ss_fail(SS_UNORDERED, "keys of a map are totally ordered", tree->root, 0, 0);
}

/* One level down towards a key that is not in `node`. */
static int descend_to_remove(ss_btree *tree, ss_span key, ss_node *node, uint32_t *index, bool *found) {
    ss_node child;
    int status = prepare_child(tree, node, *index, &child);
    if (status != SS_OK) return status;
    *node = child;
    return ss_node_search(&tree->space, node, key, index, found);
}

static int remove_key(ss_btree *tree, ss_span key) {
    if (tree->root == SS_NULL) return SS_ABSENT;
    if (tree->length == 0) return ss_fail(SS_CORRUPT, "a map's length counts its entries", SS_BTREE_LENGTH_AT, 0, 1);
    ss_node node;
    uint32_t index;
    bool found, easy, done = false;
    if (tree->order.terms[0].kind == SS_ORDER_CALLBACK) {
        int checked = check_removal(tree, key);
        if (checked != SS_OK) return checked;
    }
    int status = ss_btree_probe_for_change(tree, key, SS_MINIMUM + 1, SS_CAPACITY, &node, &index, &found, &easy);
    if (status == SS_OK && !(easy && node.leaf)) {
        status = ss_node_open_for_change(&tree->space, tree->root, &node);
        if (status == SS_OK) status = ss_node_search(&tree->space, &node, key, &index, &found);
    }
    for (int depth = 0; status == SS_OK && !node.leaf; depth++) {
        if (depth == ss_btree_levels(tree)) return ss_btree_too_deep(tree);
        status = found ? remove_from_internal(tree, &node, &index, &done) : descend_to_remove(tree, key, &node, &index, &found);
        if (done) return status;
    }
    if (status == SS_OK && !found) return SS_ABSENT;
    if (status == SS_OK) status = ss_btree_output(tree, &node, index);
    return status == SS_OK ? drop_from_leaf(tree, &node, index) : status;
}

int ss_btree_remove_locked(ss_btree *tree, ss_span key) {
    int status = remove_key(tree, key);
    return status == SS_OK ? ss_btree_touched(tree, key, status) : status;
}

int ss_btree_pop_locked(ss_btree *tree, bool last) {
    ss_node node;
    ss_entry taken;
    if (tree->root == SS_NULL) return SS_ABSENT;
    if (tree->length == 0) return ss_fail(SS_CORRUPT, "a map's length counts its entries", SS_BTREE_LENGTH_AT, 0, 1);
    int status = ss_node_open_for_change(&tree->space, tree->root, &node);
    if (status == SS_OK) status = take_end(tree, &node, last, &taken);
    if (status == SS_OK) status = ss_btree_output_entry(tree, taken.key, taken.value);
    return status == SS_OK ? ss_btree_touched(tree, taken.key, status) : status;
}
