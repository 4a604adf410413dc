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
 *
 * Insertion splits full nodes on the way down, removal refills nodes at the minimum on the way down, so neither ever
 * goes back up. The node at hand has room for an entry (insertion) or can lose one (removal) unless it is the root.
 */
#include <stdlib.h>

#include "structures/btree_internal.h"
#include "structures/probe.h"

enum { VERSION_AT = 3, FIRST_AT = 4, SECOND_AT = 8, ROOT_AT = 12, LENGTH_AT = 20, MIDDLE = 5, KEPT_CHILDREN = 6 };
#define PAGE_SIZE_MARK UINT32_MAX
#define DEFAULT_PAGE UINT64_C(1024)

/* ---- header ---- */

/* Size of a layout-1 node (docs/format.md#b-tree-map): the derived page size. */
static uint64_t derived_size(uint64_t key, uint64_t value) {
    return 7 + SS_CAPACITY * (8 + key + value) + SS_CHILDREN * 8;
}

static int bad_header(int status, const char *rule, uint64_t number, uint64_t limit) {
    return ss_fail(status, rule, 0, number, limit);
}

static int parse_page_size(ss_btree *tree, const uint8_t *header) {
    ss_space *space = &tree->space;
    uint32_t first = ss_get32(header + FIRST_AT), second = ss_get32(header + SECOND_AT);
    space->derived = header[VERSION_AT] == 1 || second != PAGE_SIZE_MARK;
    if (space->derived) {
        space->v1_key = first;
        space->v1_value = second;
        space->page_size = derived_size(first, second);
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
    if (SS_UNLIKELY(memcmp(header, "BTR", 3) != 0)) return bad_header(SS_BAD_MAGIC, "a map begins with BTR", 0, 0);
    if (SS_UNLIKELY(header[VERSION_AT] == 0 || header[VERSION_AT] > 2)) {
        return bad_header(SS_BAD_VERSION, "version of a map", header[VERSION_AT], 2);
    }
    int status = parse_page_size(tree, header);
    if (status != SS_OK) return status;
    tree->root = ss_get64(header + ROOT_AT);
    tree->length = ss_get64(header + LENGTH_AT);
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
    uint8_t header[SS_BTREE_HEADER] = {'B', 'T', 'R', tree->space.derived ? 1 : 2};
    ss_put32(header + FIRST_AT, tree->space.derived ? tree->space.v1_key : (uint32_t)tree->space.page_size);
    ss_put32(header + SECOND_AT, tree->space.derived ? tree->space.v1_value : PAGE_SIZE_MARK);
    ss_put64(header + ROOT_AT, tree->root);
    ss_put64(header + LENGTH_AT, tree->length);
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

/* ---- opening ---- */

static int choose_page_size(ss_btree *tree) {
    tree->space.derived = false;
    tree->space.page_size = DEFAULT_PAGE;
    if (tree->key.max_size == SS_UNBOUNDED || tree->value.max_size == SS_UNBOUNDED) return SS_OK;
    uint64_t size = derived_size(tree->key.max_size, tree->value.max_size) * 3 / 4;
    if (size > UINT32_MAX - 1)
        return ss_fail(SS_ARGUMENT, "bounds of key and value: a node's page has at most 2^32-2 bytes", 0, size, UINT32_MAX - 1);
    tree->space.page_size = size;
    return SS_OK;
}

static int make_new(ss_btree *tree) {
    int status = choose_page_size(tree);
    if (status != SS_OK) return status;
    ss_undo_begin(tree->handle.memory);
    tree->root = SS_NULL;
    tree->length = 0;
    status = ss_allocator_new(tree->handle.memory, tree->space.page_size);
    return status == SS_OK ? ss_btree_write_header(tree) : status;
}

/* The slots of a version 1 map take no more than its header says. */
static int check_v1_bounds(const ss_btree *tree) {
    const ss_space *space = &tree->space;
    if (!space->derived) return SS_OK;
    if (tree->key.max_size > space->v1_key) {
        return bad_header(SS_INCOMPATIBLE, "largest key of a version 1 map", tree->key.max_size, space->v1_key);
    }
    if (tree->value.max_size > space->v1_value) {
        return bad_header(SS_INCOMPATIBLE, "largest value of a version 1 map", tree->value.max_size, space->v1_value);
    }
    return SS_OK;
}

/* That the root can be read with the types at hand: the header does not say which types a map has, and keys of a fixed
 * size are laid out otherwise than others. */
static int check_root(ss_btree *tree) {
    ss_node node;
    ss_span key = {NULL, 0};
    uint64_t size = 0;
    if (tree->root == SS_NULL) return SS_OK;
    int status = ss_node_open(&tree->space, tree->root, &node);
    /* A root that is no node is damage, whatever the types: operations tell it, and check() can look at the rest. */
    if (status != SS_OK) return status == SS_CORRUPT ? SS_OK : status;
    bool fits = true;
    status = ss_node_check_chain(&tree->space, &node);
    for (uint32_t i = 0; status == SS_OK && fits && i < node.count; i++) {
        status = ss_node_key(&tree->space, &node, i, &key);
        if (status == SS_OK) status = ss_node_value_size(&tree->space, &node, i, &size);
        fits = key.size <= tree->key.max_size && size <= tree->value.max_size && (!tree->value.fixed || size == tree->value.max_size);
    }
    if (status != SS_CORRUPT && (status != SS_OK || fits)) return status;
    struct ss_fit fit;
    status = ss_btree_fit_locked(tree, &fit);
    if (status != SS_CORRUPT && status != SS_OK) return status;
    return ss_fail(SS_CORRUPT, "the root's entries are of the types that the map is opened with", tree->root, node.count, SS_CAPACITY);
}

static int load(ss_btree *tree) {
    ss_allocator allocator;
    int status = ss_btree_read_header(tree);
    if (status == SS_OK) status = check_v1_bounds(tree);
    if (status == SS_OK) status = ss_allocator_load(tree->handle.memory, tree->space.page_size, &allocator);
    return status == SS_OK ? check_root(tree) : status;
}

/* Whether there is a map to load. */
static int has_map(const ss_btree *tree, bool *found) {
    uint8_t magic[3];
    uint64_t pages;
    *found = false;
    int status = ss_memory_size(tree->handle.memory, &pages);
    if (status != SS_OK || pages == 0) return status;
    status = ss_memory_read(tree->handle.memory, 0, magic, sizeof magic);
    *found = memcmp(magic, "BTR", sizeof magic) == 0;
    return status;
}

static int open_map(ss_btree *tree, int mode) {
    bool found = false;
    int status = mode == SS_NEW ? SS_OK : has_map(tree, &found);
    if (status != SS_OK) return status;
    if (found) return load(tree);
    status = ss_handle_may_create(&tree->handle, mode);
    return status == SS_OK ? make_new(tree) : status;
}

static uint32_t int_size(ss_bound bound) {
    uint64_t n = bound.max_size;
    return bound.fixed && (n == 1 || n == 2 || n == 4 || n == 8) ? (uint32_t)n : 0;
}

static int check_bound(ss_bound bound) {
    if (bound.max_size == SS_UNBOUNDED ? !bound.fixed : bound.max_size <= UINT32_MAX) return SS_OK;
    return ss_fail(SS_ARGUMENT, "bound of a key or value: at most 2^32-1 bytes, and fixed only with a size", 0, bound.max_size, UINT32_MAX);
}

static void set_types(ss_btree *tree, ss_memory *memory, ss_bound key, ss_bound value) {
    tree->key = key;
    tree->value = value;
    tree->key_int = int_size(key);
    tree->value_int = int_size(value);
    tree->space.memory = memory;
    tree->space.order = &tree->order;
    tree->space.fixed_key = key.fixed != 0;
    tree->space.key_size = key.fixed ? (uint32_t)key.max_size : 0;
    tree->space.fixed_value = value.fixed != 0;
    tree->space.value_size = value.fixed ? (uint32_t)value.max_size : 0;
}

int ss_btree_open(ss_memory *memory, int mode, const ss_order_term *terms, uint32_t term_count, ss_order_callback callback, void *self,
                  ss_bound key, ss_bound value, ss_btree **out) {
    *out = NULL;
    int status = check_bound(key);
    if (status == SS_OK) status = check_bound(value);
    if (status != SS_OK) return status;
    ss_btree *tree = calloc(1, sizeof *tree);
    if (tree == NULL) return ss_fail(SS_NO_HEAP, "a map's handle", 0, sizeof *tree, 0);
    status = ss_order_init(&tree->order, terms, term_count, callback, self);
    if (status == SS_OK) status = ss_handle_begin(&tree->handle, memory, mode);
    if (status == SS_OK) {
        set_types(tree, memory, key, value);
        status = ss_handle_end(&tree->handle, open_map(tree, mode));
    }
    if (status != SS_OK) {
        ss_scratch_free(&tree->space.scratch);
        free(tree);
        return status;
    }
    *out = tree;
    return SS_OK;
}

void ss_btree_free(ss_btree *tree) {
    if (tree == NULL) return;
    if (tree->companion_ops != NULL) tree->companion_ops->free(tree->companion);
    ss_handle_free(&tree->handle);
    ss_scratch_free(&tree->space.scratch);
    free(tree);
}

void ss_btree_free_at(ss_btree **at) {
    ss_btree *tree = *at;
    *at = NULL;
    ss_btree_free(tree);
}

int ss_btree_detach(ss_btree *tree) {
    int status = ss_handle_detach(&tree->handle);
    return status == SS_OK && tree->companion_ops != NULL ? tree->companion_ops->detach(tree->companion) : status;
}

/* ---- replies ---- */

static int output_bytes(ss_btree *tree, ss_span span) {
    uint8_t *room = ss_result_reserve(&tree->output->bytes, tree->handle.memory, span.size);
    if (room == NULL) return SS_NO_HEAP;
    memcpy(room, span.at, (size_t)span.size);
    return SS_OK;
}

static int output_entry(ss_btree *tree, ss_span key, ss_span value) {
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
    return status == SS_OK ? output_entry(tree, key, value) : status;
}

/* ---- descending ---- */

static int too_deep(const ss_btree *tree) {
    return ss_fail(SS_CORRUPT, "a tree has fewer than 32 levels", tree->root, SS_DEPTH, SS_DEPTH);
}

/* The general way down, for every layout and order. */
static int find_from(ss_btree *tree, uint64_t address, ss_span key, ss_node *node, uint32_t *index) {
    for (int depth = 0; depth < SS_DEPTH; depth++) {
        bool found;
        int status = ss_node_open(&tree->space, address, node);
        if (status == SS_OK) status = ss_node_search(&tree->space, node, key, index, &found);
        if (status != SS_OK) return status;
        if (found) return SS_OK;
        if (node->leaf) return SS_ABSENT;
        status = ss_node_child(&tree->space, node, *index, &address);
        if (status != SS_OK) return status;
    }
    return too_deep(tree);
}

int ss_btree_find_locked(ss_btree *tree, ss_span key, ss_node *node, uint32_t *index) {
    return tree->root == SS_NULL ? SS_ABSENT : find_from(tree, tree->root, key, node, index);
}

/* Goes down by probes as far as they lead; *address is where they ended. */
static enum ss_probe_result probe_down(ss_btree *tree, ss_span key, ss_probe *probe, uint64_t *address) {
    ss_probe_key probed = ss_probe_key_of(&tree->space, key);
    for (int depth = 0; depth < SS_DEPTH; depth++) {
        const uint8_t *page = ss_probe_page(&tree->space, *address);
        if (page == NULL) return SS_PROBE_HARD;
        ss_probe_prefetch(page);
        enum ss_probe_result result = ss_probe_node(&tree->space, page, &probed, false, probe);
        if (result != SS_PROBE_CHILD) return result;
        *address = probe->child;
    }
    return SS_PROBE_HARD;
}

int ss_btree_value_locked(ss_btree *tree, ss_span key, bool wanted, uint64_t *address, ss_span *value) {
    ss_node node;
    ss_probe probe;
    uint32_t index;
    *address = tree->root;
    if (*address == SS_NULL) return SS_ABSENT;
    if (SS_LIKELY(ss_probe_possible(&tree->space))) {
        enum ss_probe_result result = probe_down(tree, key, &probe, address);
        if (result == SS_PROBE_ABSENT) return SS_ABSENT;
        if (result == SS_PROBE_FOUND && (!wanted || ss_probe_value(&tree->space, &probe, value))) return SS_OK;
    }
    int status = find_from(tree, *address, key, &node, &index);
    if (status != SS_OK || !wanted) return status;
    *address = node.address;
    return ss_node_value(&tree->space, &node, index, value);
}

/* Replies with the value of the key. */
static int look_up(ss_btree *tree, ss_span key) {
    ss_span value;
    uint64_t address;
    bool wanted = tree->output->kind != SS_OUTPUT_NONE;
    int status = ss_btree_value_locked(tree, key, wanted, &address, &value);
    return status == SS_OK && wanted ? output_value(tree, address, value) : status;
}

/* The way down for a change that will touch one node only: *easy says that the node with the key, or the leaf where it
 * would be, was reached over nodes with `least` to `most` entries (the root may have fewer than `least`), all in position.
 * Nothing is changed; where the way is not easy the general one, which splits or refills on its way, starts anew. */
static int probe_for_change(ss_btree *tree, ss_span key, uint32_t least, uint32_t most, ss_node *node, uint32_t *index, bool *found,
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

/* The first (or last) entry of the subtree at `address`. */
static int find_end(ss_btree *tree, uint64_t address, bool last, ss_node *node, uint32_t *index) {
    for (int depth = 0; depth < SS_DEPTH; depth++) {
        int status = ss_node_open(&tree->space, address, node);
        if (status != SS_OK) return status;
        *index = last ? node->count - 1 : 0;
        if (node->leaf) return SS_OK;
        status = ss_node_child(&tree->space, node, last ? node->count : 0, &address);
        if (status != SS_OK) return status;
    }
    return too_deep(tree);
}

/* ---- insertion ---- */

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
    if (status != SS_OK) return status;
    ss_entry entry = {.value = value};
    ss_edit edit = {.at = index, .drop = 1, .add = 1, .entries = &entry, .keep_keys = true};
    return ss_node_edit(&tree->space, node, &edit);
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
        if (depth == SS_DEPTH) return too_deep(tree);
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
    int status = probe_for_change(tree, key, 0, SS_CAPACITY - 1, &node, &index, &found, &easy);
    if (status == SS_OK && !easy) status = split_down(tree, key, &node, &index, &found);
    return status == SS_OK ? ss_btree_change_at(tree, &node, index, found, &entry) : status;
}

int ss_btree_insert_locked(ss_btree *tree, ss_span key, ss_span value) {
    return ss_btree_touched(tree, key, insert(tree, key, value));
}

/* ---- removal ---- */

int ss_btree_distinct(const ss_node *one, const ss_node *other) {
    if (one->address != other->address) return SS_OK;
    return ss_fail(SS_CORRUPT, "every node is reached once", one->address, 0, 0);
}

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

/* Takes entry `separator` and child `lost` out of the parent. Where nothing is left of it (it was the root), `survivor`
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
        if (depth == SS_DEPTH) return too_deep(tree);
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

/* The keys before and after a key, `at` NULL where there is none. SS_ABSENT where the key is not there. */
static int find_neighbours(ss_btree *tree, ss_span key, ss_span around[2]) {
    ss_node node;
    uint32_t index;
    uint64_t address = tree->root;
    bool found = false;
    for (int depth = 0; !found; depth++) {
        if (depth == SS_DEPTH) return too_deep(tree);
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
        if (status == SS_OK) status = find_end(tree, address, side == 0, &end, &at);
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
    if (tree->length == 0) return ss_fail(SS_CORRUPT, "a map's length counts its entries", LENGTH_AT, 0, 1);
    ss_node node;
    uint32_t index;
    bool found, easy, done = false;
    if (tree->order.terms[0].kind == SS_ORDER_CALLBACK) {
        int checked = check_removal(tree, key);
        if (checked != SS_OK) return checked;
    }
    int status = probe_for_change(tree, key, SS_MINIMUM + 1, SS_CAPACITY, &node, &index, &found, &easy);
    if (status == SS_OK && !(easy && node.leaf)) {
        status = ss_node_open_for_change(&tree->space, tree->root, &node);
        if (status == SS_OK) status = ss_node_search(&tree->space, &node, key, &index, &found);
    }
    for (int depth = 0; status == SS_OK && !node.leaf; depth++) {
        if (depth == SS_DEPTH) return too_deep(tree);
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

static int pop_end(ss_btree *tree, bool last) {
    ss_node node;
    ss_entry taken;
    if (tree->root == SS_NULL) return SS_ABSENT;
    if (tree->length == 0) return ss_fail(SS_CORRUPT, "a map's length counts its entries", LENGTH_AT, 0, 1);
    int status = ss_node_open_for_change(&tree->space, tree->root, &node);
    if (status == SS_OK) status = take_end(tree, &node, last, &taken);
    if (status == SS_OK) status = output_entry(tree, taken.key, taken.value);
    return status == SS_OK ? ss_btree_touched(tree, taken.key, status) : status;
}

/* ---- public: whole map ---- */

int64_t ss_btree_length(ss_btree *tree) {
    int status = ss_btree_begin_read(tree);
    if (status != SS_OK) return status;
    uint64_t length = tree->length;
    ss_leave_read(tree->handle.memory);
    if (length <= INT64_MAX) return (int64_t)length;
    return ss_fail(SS_CORRUPT, "a map's length counts its entries", LENGTH_AT, length, INT64_MAX);
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

int ss_btree_insert(ss_btree *tree, ss_span key, ss_span value, ss_output *output) {
    int status = ss_btree_begin_write(tree);
    if (status != SS_OK) return status;
    tree->output = output;
    /* Item assignment may overwrite values under an iterator, as in a dict; an insertion that answers may not. */
    if (output->kind == SS_OUTPUT_NONE) tree->change = SS_CHANGE_VALUES; /* unless it does more */
    status = ss_btree_check_bounds(tree, key, value);
    if (status == SS_OK) status = ss_btree_insert_locked(tree, key, value);
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
    status = end_removal(tree, pop_end(tree, last));
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
    status = tree->root == SS_NULL ? SS_ABSENT : find_end(tree, tree->root, last, &node, &index);
    if (status == SS_OK) status = ss_btree_output(tree, &node, index);
    return ss_result_finish(&output.bytes, end_read(tree, status));
}

int64_t ss_btree_first(ss_btree *tree) {
    return end_entry(tree, false);
}

int64_t ss_btree_last(ss_btree *tree) {
    return end_entry(tree, true);
}
