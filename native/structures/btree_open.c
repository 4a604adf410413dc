/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a map: a new one, or one that is there and fits the types. The header's layout stands in btree.c. */
#include <stdlib.h>

#include "structures/btree_internal.h"

static int choose_page_size(ss_btree *tree) {
    tree->space.derived = false;
    tree->space.page_size = SS_BTREE_DEFAULT_PAGE;
    if (tree->key.max_size == SS_UNBOUNDED || tree->value.max_size == SS_UNBOUNDED) return SS_OK;
    uint64_t size = ss_node_v1_size(tree->key.max_size, tree->value.max_size) * 3 / 4;
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
        return ss_fail(SS_INCOMPATIBLE, "largest key of a version 1 map", 0, tree->key.max_size, space->v1_key);
    }
    if (tree->value.max_size > space->v1_value) {
        return ss_fail(SS_INCOMPATIBLE, "largest value of a version 1 map", 0, tree->value.max_size, space->v1_value);
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
    /* A root that is not a node is damage, whatever the types: operations report it, and check() can look at the rest. */
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
    uint8_t magic[SS_MAGIC_SIZE];
    uint64_t pages;
    *found = false;
    int status = ss_memory_size(tree->handle.memory, &pages);
    if (status != SS_OK || pages == 0) return status;
    status = ss_memory_read(tree->handle.memory, 0, magic, sizeof magic);
    *found = status == SS_OK && memcmp(magic, SS_MAP_MAGIC, sizeof magic) == 0;
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

static int new_tree(ss_memory *memory, const ss_btree_types *types, ss_btree **out) {
    int status = check_bound(types->key);
    if (status == SS_OK) status = check_bound(types->value);
    if (status != SS_OK) return status;
    ss_btree *tree = calloc(1, sizeof *tree);
    if (tree == NULL) return ss_fail(SS_NO_HEAP, "a map's handle", 0, sizeof *tree, 0);
    status = ss_order_init(&tree->order, types->terms, types->term_count, types->callback, types->self);
    if (status != SS_OK) {
        free(tree);
        return status;
    }
    set_types(tree, memory, types->key, types->value);
    *out = tree;
    return SS_OK;
}

static void drop_companion(ss_btree *tree) {
    if (tree->companion_ops != NULL) tree->companion_ops->free(tree->companion);
}

/* Without its handle. */
static void drop_tree(ss_btree *tree) {
    drop_companion(tree);
    ss_scratch_free(&tree->space.scratch);
    free(tree);
}

static int open_both(ss_btree *tree, int mode, ss_btree_beside beside, void *self) {
    if (beside == NULL) return open_map(tree, mode);
    int status = tree->handle.writing ? ss_undo_begin_many(tree->handle.memory) : SS_OK;
    if (status == SS_OK) status = open_map(tree, mode);
    return status == SS_OK ? beside(tree, self) : status;
}

int ss_btree_open_with(ss_memory *memory, int mode, const ss_btree_types *types, ss_btree_beside beside, void *self, ss_btree **out) {
    ss_btree *tree;
    *out = NULL;
    int status = new_tree(memory, types, &tree);
    if (status != SS_OK) return status;
    status = ss_handle_begin(&tree->handle, memory, mode);
    if (status == SS_OK) status = ss_handle_end(&tree->handle, open_both(tree, mode, beside, self));
    if (status == SS_OK)
        *out = tree;
    else
        drop_tree(tree);
    return status;
}

int ss_btree_open_beside(const ss_btree *first, ss_memory *memory, int mode, const ss_btree_types *types, ss_btree **out) {
    ss_btree *tree;
    *out = NULL;
    int status = new_tree(memory, types, &tree);
    if (status != SS_OK) return status;
    status = ss_handle_begin_beside(&tree->handle, memory, &first->handle);
    if (status == SS_OK) {
        status = open_map(tree, mode);
        if (status != SS_OK) ss_handle_free(&tree->handle);
    }
    if (status == SS_OK)
        *out = tree;
    else
        drop_tree(tree);
    return status;
}

int ss_btree_open(ss_memory *memory, int mode, const ss_order_term *terms, uint32_t term_count, ss_order_callback callback, void *self,
                  ss_bound key, ss_bound value, ss_btree **out) {
    ss_btree_types types = {terms, term_count, callback, self, key, value};
    return ss_btree_open_with(memory, mode, &types, NULL, NULL, out);
}

void ss_btree_free(ss_btree *tree) {
    if (tree == NULL) return;
    drop_companion(tree);
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
