/* SPDX-License-Identifier: Apache-2.0 */
/* Header, offsets in the map's memory, little-endian:
 *
 *     0  3  "BTR"
 *     3  1  version: 2, or 1 in maps that were made by old crates
 *     4  4  version 2: page size              version 1: largest key
 *     8  4  version 2: 0xFFFFFFFF             version 1: largest value; page size is derived from the two
 *    12  8  address of the root node, or NULL
 *    20  8  number of entries
 *    28 24  reserved, never written
 *    52 48  the chunk allocator (allocator.c), behind it the chunks
 *
 * Invariants
 *  B1  All leaves have one depth. Every node but the root has at least 5 entries (B = 6), every node at most 11.
 *  B2  An internal node's child i holds the keys between its entries i - 1 and i.
 *  B3  Every allocated chunk is a node or an overflow page that is reached once from the root.
 *  B4  The order of all writes is the crate's; it fixes which chunk each node gets, and so every byte.
 *  B5  A lookup remembers its node (ss_hint). A change begins there only if nothing was written to the root since and the key is found
 *      in it again; it then does what the way from the root would have done.
 *
 * Insertion splits full nodes on the way down, removal (btree_remove.c) refills nodes at the minimum, so neither ever
 * goes back up. The node at hand has room for an entry (insertion) or can lose one (removal) unless it is the root.
 */
#include "structures/btree_internal.h"
#include "structures/probe.h"

enum { MIDDLE = 5, KEPT_CHILDREN = 6 };

/* ---- header ---- */

static int bad_header(int status, const char *rule, uint64_t number, uint64_t limit) {
    return ss_fail(status, rule, 0, number, limit);
}

static int parse_page_size(ss_btree *tree, const uint8_t *header) {
    ss_space *space = &tree->space;
    uint32_t first = ss_get32(header + SS_BTREE_FIRST_AT), second = ss_get32(header + SS_BTREE_SECOND_AT);
    space->derived = header[SS_VERSION_AT] == 1 || second != SS_BTREE_PAGE_SIZE_MARK;
    if (space->derived) {
        space->v1_key = first;
        space->v1_value = second;
        space->page_size = ss_node_v1_size(first, second);
    } else {
        space->page_size = first;
    }
    if (SS_LIKELY(space->page_size >= SS_LEAST_PAGE)) return SS_OK;
    return bad_header(SS_CORRUPT, "a map's page size is at least 128", space->page_size, SS_LEAST_PAGE);
}

int ss_btree_read_header(ss_btree *tree) {
    uint8_t copy[SS_BTREE_HEADER];
    const uint8_t *header = ss_memory_direct(tree->handle.memory, 0, SS_BTREE_HEADER);
    if (SS_UNLIKELY(header == NULL)) {
        int status = ss_memory_read(tree->handle.memory, 0, copy, sizeof copy);
        if (status == SS_OUT_OF_BOUNDS) return bad_header(SS_BAD_MAGIC, "the memory holds no map: it has no pages", 0, 1);
        if (status != SS_OK) return status;
        header = copy;
    }
    if (SS_UNLIKELY(memcmp(header, SS_MAP_MAGIC, SS_MAGIC_SIZE) != 0)) return bad_header(SS_BAD_MAGIC, "a map begins with BTR", 0, 0);
    if (SS_UNLIKELY(header[SS_VERSION_AT] == 0 || header[SS_VERSION_AT] > 2)) {
        return bad_header(SS_BAD_VERSION, "version of a map", header[SS_VERSION_AT], 2);
    }
    int status = parse_page_size(tree, header);
    if (status != SS_OK) return status;
    tree->root = ss_get64(header + SS_BTREE_ROOT_AT);
    tree->length = ss_get64(header + SS_BTREE_LENGTH_AT);
    uint64_t pages;
    status = ss_memory_size(tree->handle.memory, &pages);
    if (SS_UNLIKELY(status != SS_OK)) return status;
    if (SS_UNLIKELY(pages != tree->seen_pages || tree->space.page_size != tree->seen_page_size)) {
        tree->space.most_pages = pages > UINT64_MAX / SS_PAGE_SIZE ? 0 : pages * SS_PAGE_SIZE / tree->space.page_size;
        tree->seen_pages = pages;
        tree->seen_page_size = tree->space.page_size;
    }
    return SS_OK;
}

int ss_btree_write_header(ss_btree *tree) {
    uint8_t header[SS_BTREE_HEADER] = SS_MAP_MAGIC;
    header[SS_VERSION_AT] = tree->space.derived ? 1 : 2;
    ss_put32(header + SS_BTREE_FIRST_AT, tree->space.derived ? tree->space.v1_key : (uint32_t)tree->space.page_size);
    ss_put32(header + SS_BTREE_SECOND_AT, tree->space.derived ? tree->space.v1_value : SS_BTREE_PAGE_SIZE_MARK);
    ss_put64(header + SS_BTREE_ROOT_AT, tree->root);
    ss_put64(header + SS_BTREE_LENGTH_AT, tree->length);
    return ss_memory_write_growing(tree->handle.memory, 0, header, sizeof header);
}

int ss_btree_begin_read(ss_btree *tree) {
    if (tree == NULL) return ss_fail(SS_CLOSED, "no map", 0, 0, 0);
    int status = ss_handle_enter_read(&tree->handle);
    if (status != SS_OK) return status;
    ss_scratch_reset(&tree->space.scratch);
    status = ss_btree_read_header(tree);
    if (status != SS_OK) ss_leave_read(tree->handle.memory);
    return status;
}

/* Below this the copy costs more than the wait. */
#define MANY_ENTRIES 64

void ss_btree_share_read(ss_btree *tree, uint64_t entries, ss_btree_reading *reading) {
    reading->tree = tree;
    reading->shared = false;
    if (entries < MANY_ENTRIES || tree->order.terms[0].kind == SS_ORDER_CALLBACK) return;
    reading->copy = *tree;
    reading->copy.space.scratch = (ss_scratch){0};
    reading->shared = ss_share_read(tree->handle.memory);
    if (reading->shared) reading->tree = &reading->copy;
}

int ss_btree_begin_long_read(ss_btree *tree, uint64_t entries, ss_btree_reading *reading) {
    int status = ss_btree_begin_read(tree);
    if (status == SS_OK) ss_btree_share_read(tree, entries, reading);
    return status;
}

void ss_btree_end_long_read(ss_btree_reading *reading) {
    ss_memory *memory = reading->tree->handle.memory;
    if (reading->shared) ss_scratch_free(&reading->copy.space.scratch);
    ss_leave_shared(memory, reading->shared);
}

int ss_btree_begin_write(ss_btree *tree) {
    if (tree == NULL) return ss_fail(SS_CLOSED, "no map", 0, 0, 0);
    int status = ss_handle_enter_write(&tree->handle);
    if (status != SS_OK) return status;
    tree->change = SS_CHANGE_ENTRIES;
    ss_scratch_reset(&tree->space.scratch);
    status = ss_btree_read_header(tree);
    if (status == SS_OK && tree->companion_ops != NULL) status = tree->companion_ops->begin(tree->companion);
    return status == SS_OK ? SS_OK : ss_leave_write(tree->handle.memory, status);
}

void ss_btree_changed(ss_btree *tree) {
    ss_handle_changed(&tree->handle, tree->change);
}

/* Ends an operation that changed the map unless it failed. */
static int end_write(ss_btree *tree, int status) {
    status = ss_btree_settle(tree, status);
    if (status >= 0) ss_btree_changed(tree);
    return ss_leave_write(tree->handle.memory, status);
}

/* The same for a removal: one that found nothing changed something only where it refilled nodes on its way down. */
static int end_removal(ss_btree *tree, int status) {
    bool untouched = status == SS_ABSENT && !tree->handle.memory->root->undo.active;
    return untouched ? ss_leave_write(tree->handle.memory, status) : end_write(tree, status);
}

static int end_read(ss_btree *tree, int status) {
    ss_leave_read(tree->handle.memory);
    return status;
}

/* ---- replies ---- */

static int output_bytes(ss_btree *tree, ss_span span) {
    uint8_t *room = ss_result_reserve(&tree->output->bytes, tree->handle.memory, span.size);
    if (room == NULL) return SS_NO_HEAP;
    memcpy(room, span.at, (size_t)span.size);
    return SS_OK;
}

int ss_btree_output_entry(ss_btree *tree, ss_span key, ss_span value) {
    uint8_t *room = ss_result_reserve(&tree->output->bytes, tree->handle.memory, 8 + key.size + value.size);
    if (room == NULL) return SS_NO_HEAP;
    ss_put64(room, key.size);
    memcpy(room + 8, key.at, (size_t)key.size);
    memcpy(room + 8 + key.size, value.at, (size_t)value.size);
    return SS_OK;
}

static int output_value(ss_btree *tree, uint64_t address, ss_span value) {
    if (tree->output->kind == SS_OUTPUT_BYTES) return output_bytes(tree, value);
    if (SS_UNLIKELY(value.size != tree->value_int)) {
        return ss_fail(SS_CORRUPT, "a fixed-size value has its size", address, value.size, tree->value_int);
    }
    tree->output->number = ss_get_be(value.at, tree->value_int);
    return SS_OK;
}

int ss_btree_output(ss_btree *tree, ss_node *node, uint32_t index) {
    ss_span key, value;
    enum ss_output_kind kind = tree->output->kind;
    if (kind == SS_OUTPUT_NONE) return SS_OK;
    int status = ss_node_value(&tree->space, node, index, &value);
    if (status != SS_OK) return status;
    if (kind != SS_OUTPUT_ENTRY) return output_value(tree, node->address, value);
    status = ss_node_key(&tree->space, node, index, &key);
    return status == SS_OK ? ss_btree_output_entry(tree, key, value) : status;
}

/* ---- descending ---- */

int ss_btree_too_deep(const ss_btree *tree) {
    if (ss_btree_levels(tree) < SS_DEPTH) return ss_fail(SS_CORRUPT, "every node is reached once", tree->root, 0, 0);
    return ss_fail(SS_CORRUPT, "a tree has fewer than 32 levels", tree->root, SS_DEPTH, SS_DEPTH);
}

/* The general way down, for every layout and order. */
static int find_from(ss_btree *tree, uint64_t address, ss_span key, ss_node *node, uint32_t *index) {
    for (int depth = ss_btree_levels(tree); depth > 0; depth--) {
        bool found;
        int status = ss_node_open(&tree->space, address, node);
        if (status == SS_OK) status = ss_node_search(&tree->space, node, key, index, &found);
        if (status != SS_OK) return status;
        if (found) return SS_OK;
        if (node->leaf) return SS_ABSENT;
        status = ss_node_child(&tree->space, node, *index, &address);
        if (status != SS_OK) return status;
    }
    return ss_btree_too_deep(tree);
}

int ss_btree_find_locked(ss_btree *tree, ss_span key, ss_node *node, uint32_t *index) {
    return tree->root == SS_NULL ? SS_ABSENT : find_from(tree, tree->root, key, node, index);
}

/* Goes down by probes as far as they lead; *address is where they ended, *most the entries of the fullest node above it. */
static SS_ALWAYS_INLINE enum ss_probe_result probe_down(ss_btree *tree, ss_span key, ss_probe *probe, uint64_t *address, uint32_t *most) {
    ss_probe_key probed = ss_probe_key_of(&tree->space, key);
    for (int depth = 0; depth < SS_DEPTH; depth++) {
        const uint8_t *page = ss_probe_page(&tree->space, *address);
        if (page == NULL) return SS_PROBE_HARD;
        ss_probe_prefetch(page);
        enum ss_probe_result result = ss_probe_node(&tree->space, page, &probed, false, probe);
        if (result != SS_PROBE_CHILD) return result;
        *most = probe->count > *most ? probe->count : *most;
        *address = probe->child;
    }
    return SS_PROBE_HARD;
}

/* !*split: an insertion of this key splits no node. */
static SS_ALWAYS_INLINE int find_value(ss_btree *tree, ss_span key, bool wanted, uint64_t *address, ss_span *value, bool *split) {
    ss_node node;
    ss_probe probe;
    uint32_t index;
    *address = tree->root;
    *split = true;
    if (*address == SS_NULL) return SS_ABSENT;
    if (SS_LIKELY(ss_probe_possible(&tree->space))) {
        uint32_t most = 0;
        enum ss_probe_result result = probe_down(tree, key, &probe, address, &most);
        if (result == SS_PROBE_ABSENT) return SS_ABSENT;
        *split = most == SS_CAPACITY || result != SS_PROBE_FOUND;
        if (result == SS_PROBE_FOUND && (!wanted || ss_probe_value(&tree->space, &probe, value))) return SS_OK;
    }
    int status = find_from(tree, *address, key, &node, &index);
    if (status != SS_OK || !wanted) return status;
    *address = node.address;
    return ss_node_value(&tree->space, &node, index, value);
}

int ss_btree_value_locked(ss_btree *tree, ss_span key, bool wanted, uint64_t *address, ss_span *value) {
    bool split;
    return find_value(tree, key, wanted, address, value, &split);
}

/* Replies with the value of the key, and remembers where it is. */
static int look_up(ss_btree *tree, ss_span key) {
    ss_span value;
    uint64_t address;
    bool wanted = tree->output->kind != SS_OUTPUT_NONE, split;
    int status = find_value(tree, key, wanted, &address, &value, &split);
    if (status == SS_OK && !split) {
        tree->hint = (ss_hint){address, tree->handle.memory->root->generation, ss_handle_changes(&tree->handle)};
    }
    return status == SS_OK && wanted ? output_value(tree, address, value) : status;
}

int ss_btree_probe_for_change(ss_btree *tree, ss_span key, uint32_t least, uint32_t most, ss_node *node, uint32_t *index, bool *found,
                              bool *easy) {
    uint64_t address = tree->root;
    *easy = false;
    if (!ss_probe_possible(&tree->space)) return SS_OK;
    ss_probe_key probed = ss_probe_key_of(&tree->space, key);
    ss_probe probe;
    for (int depth = 0; depth < SS_DEPTH; depth++) {
        const uint8_t *page = ss_probe_page(&tree->space, address);
        if (page == NULL) return SS_OK;
        ss_probe_prefetch(page);
        __builtin_prefetch((const void *)((uintptr_t)page - SS_CHUNK_HEADER)); /* read before a change */
        enum ss_probe_result result = ss_probe_node(&tree->space, page, &probed, false, &probe);
        bool fits = probe.count <= most && (probe.count >= least || depth == 0);
        if (result == SS_PROBE_HARD || (!fits && !(result == SS_PROBE_FOUND && most < SS_CAPACITY))) return SS_OK;
        if (result != SS_PROBE_CHILD) {
            *easy = true;
            *index = probe.index;
            *found = result == SS_PROBE_FOUND;
            return ss_node_open_for_change(&tree->space, address, node);
        }
        address = probe.child;
    }
    return SS_OK;
}

int ss_btree_find_end(ss_btree *tree, uint64_t address, bool last, ss_node *node, uint32_t *index) {
    for (int depth = ss_btree_levels(tree); depth > 0; depth--) {
        int status = ss_node_open(&tree->space, address, node);
        if (status != SS_OK) return status;
        *index = last ? node->count - 1 : 0;
        if (node->leaf) return SS_OK;
        status = ss_node_child(&tree->space, node, last ? node->count : 0, &address);
        if (status != SS_OK) return status;
    }
    return ss_btree_too_deep(tree);
}

/* ---- insertion ---- */

int ss_btree_distinct(const ss_node *one, const ss_node *other) {
    if (one->address != other->address) return SS_OK;
    return ss_fail(SS_CORRUPT, "every node is reached once", one->address, 0, 0);
}

static int check_bound_of(ss_bound bound, ss_span span, const char *too_large, const char *not_fixed) {
    if (SS_UNLIKELY(span.size > bound.max_size || span.size > UINT32_MAX)) {
        return ss_fail(SS_BOUND_EXCEEDED, too_large, 0, span.size, bound.max_size < UINT32_MAX ? bound.max_size : UINT32_MAX);
    }
    if (SS_UNLIKELY(bound.fixed && span.size != bound.max_size)) {
        return ss_fail(SS_BOUND_EXCEEDED, not_fixed, 0, span.size, bound.max_size);
    }
    return SS_OK;
}

int ss_btree_check_bounds(const ss_btree *tree, ss_span key, ss_span value) {
    int status = check_bound_of(tree->key, key, "largest encoded key", "size of a fixed-size key");
    return status == SS_OK ? check_bound_of(tree->value, value, "largest encoded value", "size of a fixed-size value") : status;
}

static int replace_value(ss_btree *tree, ss_node *node, uint32_t index, ss_span value) {
    int status = ss_btree_output(tree, node, index);
    return status == SS_OK ? ss_node_replace_value(&tree->space, node, index, value) : status;
}

static int insert_in_leaf(ss_btree *tree, ss_node *leaf, uint32_t index, const ss_entry *entry) {
    tree->change = SS_CHANGE_ENTRIES;
    ss_edit edit = {.at = index, .add = 1, .entries = entry};
    int status = ss_node_edit(&tree->space, leaf, &edit);
    if (status != SS_OK) return status;
    tree->length++;
    status = ss_btree_write_header(tree);
    return status == SS_OK ? SS_ABSENT : status;
}

static int create_root(ss_btree *tree, const ss_entry *entry) {
    tree->change = SS_CHANGE_ENTRIES;
    ss_undo_begin(tree->handle.memory);
    int status = ss_node_take(&tree->space, &tree->root);
    if (status == SS_OK) status = ss_btree_write_header(tree);
    if (status == SS_OK) status = ss_node_fill(&tree->space, tree->root, true, entry, 1, NULL);
    tree->length = 1;
    if (status == SS_OK) status = ss_btree_write_header(tree);
    return status == SS_OK ? SS_ABSENT : status;
}

/* Moves the upper half of a full node into a new sibling. The entry between them is left in the scratch. */
static int split_node(ss_btree *tree, ss_node *node, uint64_t *sibling, ss_entry *middle) {
    ss_entry entries[SS_CAPACITY - MIDDLE];
    uint64_t children[KEPT_CHILDREN];
    ss_space *space = &tree->space;
    int status = ss_node_take(space, sibling);
    if (status == SS_OK) status = ss_node_copy_entries(space, node, MIDDLE, SS_CAPACITY - MIDDLE, entries);
    if (status == SS_OK && !node->leaf) status = ss_node_copy_children(space, node, KEPT_CHILDREN, KEPT_CHILDREN, children);
    if (status == SS_OK) status = ss_node_fill(space, *sibling, node->leaf, entries + 1, SS_CAPACITY - MIDDLE - 1, children);
    if (tree->change == SS_CHANGE_VALUES) tree->change = SS_CHANGE_POSITIONS;
    ss_edit rest = {.at = MIDDLE, .drop = SS_CAPACITY - MIDDLE, .child_at = KEPT_CHILDREN, .child_drop = KEPT_CHILDREN};
    *middle = entries[0];
    return status == SS_OK ? ss_node_edit(space, node, &rest) : status;
}

/* Splits the full child at `index` of a non-full node. */
static int split_child(ss_btree *tree, ss_node *parent, uint32_t index, ss_node *child, uint64_t *sibling) {
    ss_entry middle;
    ss_undo_begin(tree->handle.memory);
    int status = split_node(tree, child, sibling, &middle);
    ss_edit edit = {.at = index, .add = 1, .entries = &middle, .child_at = index + 1, .child_add = 1, .children = sibling};
    return status == SS_OK ? ss_node_edit(&tree->space, parent, &edit) : status;
}

/* Splits a full root under a new one. */
static int split_root(ss_btree *tree, ss_node *root, uint64_t *sibling) {
    ss_entry middle;
    uint64_t children[2];
    ss_undo_begin(tree->handle.memory);
    int status = ss_node_take(&tree->space, &tree->root);
    if (status == SS_OK) status = ss_btree_write_header(tree);
    if (status == SS_OK) status = split_node(tree, root, sibling, &middle);
    children[0] = root->address;
    children[1] = *sibling;
    return status == SS_OK ? ss_node_fill(&tree->space, tree->root, false, &middle, 1, children) : status;
}

/* After a split of `node` at position `index`: go on in the half where the key belongs. No comparison is needed. */
static int choose_half(ss_btree *tree, ss_node *node, uint64_t sibling, uint32_t *index) {
    if (*index <= MIDDLE) return SS_OK;
    *index -= MIDDLE + 1;
    return ss_node_open_for_change(&tree->space, sibling, node);
}

/* One level down from a non-full node; *index is the place of the key in the node that it leads to. */
static int descend_to_insert(ss_btree *tree, ss_span key, ss_node *node, uint32_t *index, bool *found) {
    uint64_t address, sibling;
    uint32_t at = *index;
    ss_node child;
    int status = ss_node_child(&tree->space, node, at, &address);
    if (status == SS_OK) status = ss_node_open_for_change(&tree->space, address, &child);
    if (status == SS_OK) status = ss_btree_distinct(node, &child);
    if (status == SS_OK) status = ss_node_search(&tree->space, &child, key, index, found);
    if (status == SS_OK && !*found && child.count == SS_CAPACITY) {
        status = split_child(tree, node, at, &child, &sibling);
        if (status == SS_OK) status = choose_half(tree, &child, sibling, index);
    }
    *node = child;
    return status;
}

int ss_btree_change_at(ss_btree *tree, ss_node *node, uint32_t index, bool found, const ss_entry *entry) {
    return found ? replace_value(tree, node, index, entry->value) : insert_in_leaf(tree, node, index, entry);
}

/* The general way down: to the node that has the key, or to a leaf that has room for it. */
static int split_down(ss_btree *tree, ss_span key, ss_node *node, uint32_t *index, bool *found) {
    uint64_t sibling;
    int status = ss_node_open_for_change(&tree->space, tree->root, node);
    if (status == SS_OK) status = ss_node_search(&tree->space, node, key, index, found);
    if (status == SS_OK && !*found && node->count == SS_CAPACITY) {
        status = split_root(tree, node, &sibling);
        if (status == SS_OK) status = choose_half(tree, node, sibling, index);
    }
    for (int depth = 0; status == SS_OK && !*found && !node->leaf; depth++) {
        if (depth == ss_btree_levels(tree)) return ss_btree_too_deep(tree);
        status = descend_to_insert(tree, key, node, index, found);
    }
    return status;
}

static int insert(ss_btree *tree, ss_span key, ss_span value) {
    ss_entry entry = {key, value};
    if (tree->root == SS_NULL) return create_root(tree, &entry);
    ss_node node;
    uint32_t index;
    bool found, easy;
    int status = ss_btree_probe_for_change(tree, key, 0, SS_CAPACITY - 1, &node, &index, &found, &easy);
    if (status == SS_OK && !easy) status = split_down(tree, key, &node, &index, &found);
    return status == SS_OK ? ss_btree_change_at(tree, &node, index, found, &entry) : status;
}

int ss_btree_insert_locked(ss_btree *tree, ss_span key, ss_span value) {
    return ss_btree_touched(tree, key, insert(tree, key, value));
}

/* ---- public: whole map ---- */

int64_t ss_btree_length(ss_btree *tree) {
    int status = ss_btree_begin_read(tree);
    if (status != SS_OK) return status;
    uint64_t length = tree->length;
    ss_leave_read(tree->handle.memory);
    if (length <= INT64_MAX) return (int64_t)length;
    return ss_fail(SS_CORRUPT, "a map's length counts its entries", SS_BTREE_LENGTH_AT, length, INT64_MAX);
}

uint64_t ss_btree_changes(ss_btree *tree) {
    int status = ss_btree_begin_read(tree);
    if (status != SS_OK) return ss_result_number(status, 0);
    uint64_t changes = ss_handle_changes(&tree->handle);
    ss_leave_read(tree->handle.memory);
    return ss_result_number(SS_OK, changes);
}

int ss_btree_clear_locked(ss_btree *tree) {
    ss_undo_begin(tree->handle.memory);
    tree->root = SS_NULL;
    tree->length = 0;
    int status = ss_allocator_new(tree->handle.memory, tree->space.page_size);
    return status == SS_OK ? ss_btree_write_header(tree) : status;
}

int ss_btree_clear(ss_btree *tree) {
    int status = ss_btree_begin_write(tree);
    if (status != SS_OK) return status;
    status = ss_btree_clear_locked(tree);
    if (status == SS_OK && tree->companion_ops != NULL) status = tree->companion_ops->replaced(tree->companion);
    return end_write(tree, status);
}

int ss_btree_usage(ss_btree *tree, struct ss_usage *usage) {
    ss_allocator allocator;
    int status = ss_btree_begin_read(tree);
    if (status != SS_OK) return status;
    status = ss_allocator_load(tree->handle.memory, tree->space.page_size, &allocator);
    if (status == SS_OK) status = ss_memory_reserved(tree->handle.memory, &usage->reserved);
    if (status == SS_OK) {
        uint64_t chunk = SS_CHUNK_HEADER + tree->space.page_size, used = SS_FIRST_CHUNK;
        bool fits = !__builtin_mul_overflow(allocator.allocated, chunk, &usage->live) && ss_add(used, usage->live, &usage->live);
        if (!fits) status = ss_fail(SS_CORRUPT, "the number of allocated chunks counts them", SS_ALLOCATOR_OFFSET, allocator.allocated, 0);
        usage->allocated = usage->live;
    }
    return end_read(tree, status);
}

/* ---- whole operations on one key ---- */

/* A key of the wrong size cannot be in a map of fixed-size keys; comparing it would be wrong. */
int ss_btree_check_key(const ss_btree *tree, ss_span key) {
    return check_bound_of(tree->key, key, "largest encoded key", "size of a fixed-size key");
}

int ss_btree_get(ss_btree *tree, ss_span key, ss_output *output) {
    int status = ss_btree_begin_read(tree);
    if (status != SS_OK) return status;
    tree->output = output;
    status = ss_btree_check_key(tree, key);
    if (status == SS_OK) status = look_up(tree, key);
    return end_read(tree, status);
}

/* Whether the key is where the last lookup found one: then its node is opened. For the first step of a change. */
static bool is_at_hint(ss_btree *tree, ss_span key, ss_node *node, uint32_t *index) {
    const ss_hint *hint = &tree->hint;
    if (hint->address == SS_NULL || hint->generation != tree->handle.memory->root->generation) return false;
    if (hint->changes != ss_handle_changes(&tree->handle)) return false;
    ss_probe probe;
    ss_probe_key probed = ss_probe_key_of(&tree->space, key);
    const uint8_t *page = ss_probe_page(&tree->space, hint->address);
    if (page == NULL || ss_probe_node(&tree->space, page, &probed, false, &probe) != SS_PROBE_FOUND) return false;
    *index = probe.index;
    return ss_node_open_for_change(&tree->space, hint->address, node) == SS_OK;
}

static int insert_first(ss_btree *tree, ss_span key, ss_span value) {
    ss_node node;
    uint32_t index;
    if (!is_at_hint(tree, key, &node, &index)) return ss_btree_insert_locked(tree, key, value);
    return ss_btree_touched(tree, key, replace_value(tree, &node, index, value));
}

int ss_btree_insert(ss_btree *tree, ss_span key, ss_span value, ss_output *output) {
    int status = ss_btree_begin_write(tree);
    if (status != SS_OK) return status;
    tree->output = output;
    /* Item assignment may overwrite values under an iterator, as in a dict; an insertion that answers may not. */
    if (output->kind == SS_OUTPUT_NONE) tree->change = SS_CHANGE_VALUES; /* unless it does more */
    status = ss_btree_check_bounds(tree, key, value);
    if (status == SS_OK) status = insert_first(tree, key, value);
    return end_write(tree, status);
}

int64_t ss_btree_get_or_insert(ss_btree *tree, const uint8_t *key, uint64_t key_size, const uint8_t *value, uint64_t value_size) {
    ss_span k = {key, key_size}, v = {value, value_size};
    ss_output output = {.kind = SS_OUTPUT_BYTES};
    int status = ss_btree_begin_write(tree);
    if (status != SS_OK) return status;
    tree->output = &output;
    status = ss_btree_check_bounds(tree, k, v);
    ss_node node;
    uint32_t index;
    if (status == SS_OK) status = ss_btree_find_locked(tree, k, &node, &index);
    if (status == SS_OK) status = ss_btree_output(tree, &node, index);
    bool found = status == SS_OK;
    if (status == SS_ABSENT) status = ss_btree_insert_locked(tree, k, v);
    return ss_result_finish(&output.bytes, found ? ss_leave_write(tree->handle.memory, SS_OK) : end_write(tree, status));
}

int ss_btree_remove(ss_btree *tree, ss_span key, ss_output *output) {
    int status = ss_btree_begin_write(tree);
    if (status != SS_OK) return status;
    tree->output = output;
    status = ss_btree_check_key(tree, key);
    if (status == SS_OK) status = ss_btree_remove_locked(tree, key);
    return end_removal(tree, status);
}

static int64_t pop(ss_btree *tree, bool last) {
    ss_output output = {.kind = SS_OUTPUT_ENTRY};
    int status = ss_btree_begin_write(tree);
    if (status != SS_OK) return status;
    tree->output = &output;
    status = end_removal(tree, ss_btree_pop_locked(tree, last));
    return ss_result_finish(&output.bytes, status);
}

int64_t ss_btree_pop_first(ss_btree *tree) {
    return pop(tree, false);
}

int64_t ss_btree_pop_last(ss_btree *tree) {
    return pop(tree, true);
}

static int64_t end_entry(ss_btree *tree, bool last) {
    ss_node node;
    uint32_t index;
    ss_output output = {.kind = SS_OUTPUT_ENTRY};
    int status = ss_btree_begin_read(tree);
    if (status != SS_OK) return status;
    tree->output = &output;
    status = tree->root == SS_NULL ? SS_ABSENT : ss_btree_find_end(tree, tree->root, last, &node, &index);
    if (status == SS_OK) status = ss_btree_output(tree, &node, index);
    return ss_result_finish(&output.bytes, end_read(tree, status));
}

int64_t ss_btree_first(ss_btree *tree) {
    return end_entry(tree, false);
}

int64_t ss_btree_last(ss_btree *tree) {
    return end_entry(tree, true);
}
