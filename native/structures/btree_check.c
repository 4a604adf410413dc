/* SPDX-License-Identifier: Apache-2.0 */
/* Walks a whole map and holds it against every rule of docs/format.md#chunk-allocator and #b-tree-map.
 *
 * Each chunk gets a mark when it is reached: from the tree, or from the free list. At the end every chunk below the end
 * of the free list must have been reached once, and as what its header says.
 */
#include <stdlib.h>
#include <string.h>

#include "structures/btree_internal.h"

/* How often the pages of all chunks may be followed before a walk is given up. */
#define FOLLOWED_PER_CHUNK 16

typedef struct walk {
    ss_btree *tree;
    ss_check check;
    uint64_t chunks;  /* how many fit the memory */
    uint8_t *reached; /* one byte per chunk: 1 from the tree, 2 from the free list */
    int leaf_depth;   /* -1 until the first leaf */
    uint64_t entries;
    uint64_t allocated;         /* chunks reached from the tree */
    uint64_t opened;            /* nodes */
    uint64_t followed;          /* overflow pages of all nodes, those that nodes share counted for each */
    ss_span before;             /* the last key so far, in `kept`; `at` is NULL if there was none */
    uint64_t sized_keys;        /* with `fit` only */
    bool ascending, descending; /* with `fit` only: all neighbours so far, by their bytes */
    struct ss_fit *fit;         /* NULL: entries are held against their types; else only their sizes are noted */
    uint8_t *kept;
    size_t room;
} walk;

static int broken(const char *rule, uint64_t address, uint64_t number, uint64_t limit) {
    return ss_fail(SS_CORRUPT, rule, address, number, limit);
}

/* Marks the chunk of `address`; SS_CORRUPT where it was reached before. */
static int mark(walk *w, uint64_t address, uint8_t as) {
    uint64_t stride = SS_CHUNK_HEADER + w->tree->space.page_size, chunk = address - SS_CHUNK_HEADER;
    if (chunk < SS_FIRST_CHUNK || (chunk - SS_FIRST_CHUNK) % stride != 0) {
        return broken("a chunk's address lies on the grid of chunks", address, stride, 0);
    }
    uint64_t index = (chunk - SS_FIRST_CHUNK) / stride;
    if (index >= w->chunks) return broken("a chunk lies inside the memory", address, index, w->chunks);
    if (w->reached[index] != 0) return broken("every chunk is reached once", address, w->reached[index], as);
    w->reached[index] = as;
    return SS_OK;
}

/* Steps that a broken rule does not make pointless go on after it when everything is to be reported. */
static int note(walk *w, int status) {
    return ss_check_note(&w->check, status);
}

/* ---- one node ---- */

static int check_size(ss_bound bound, uint64_t size, const char *rule, uint64_t address) {
    bool good = size <= bound.max_size && (!bound.fixed || size == bound.max_size);
    return good ? SS_OK : broken(rule, address, size, bound.max_size);
}

/* Whether what is read as keys of a fixed size are some. The zeros behind a node's bytes read as values without bytes, so
 * nearly any map is sound with keys that are large enough; but these keep no order. A map is tried with
 * many sizes, so this is no step at the end. */
static int check_fixed_order(walk *w, ss_span low, ss_span high, uint64_t address) {
    int result = ss_compare_bytes(low.at, low.size, high.at, high.size);
    w->ascending = w->ascending && result == SS_LESS;
    w->descending = w->descending && result == SS_GREATER;
    bool in_order = w->ascending || w->descending || !w->fit->key_fixed || !w->fit->order_demanded;
    return in_order ? SS_OK : broken("keys ascend or descend by their bytes", address, 0, 0);
}

static int check_order(walk *w, ss_span low, ss_span high, uint64_t address) {
    int result;
    if (low.at == NULL) return SS_OK;
    if (w->fit != NULL) return check_fixed_order(w, low, high, address);
    int status = ss_order_compare(&w->tree->order, low.at, low.size, high.at, high.size, &result);
    if (status != SS_OK) return status;
    return result == SS_LESS ? SS_OK : broken("keys ascend strictly", address, 0, 0);
}

/* That a key has all the parts of its type. Comparing it with itself meets each of them; its neighbours may differ before
 * that, or there are none. */
static int check_parts(const walk *w, ss_span key, uint64_t address) {
    int result;
    if (w->fit != NULL || w->tree->order.terms[0].kind == SS_ORDER_CALLBACK) return SS_OK;
    int status = ss_order_compare(&w->tree->order, key.at, key.size, key.at, key.size, &result);
    return status == SS_CORRUPT ? broken(ss_last_failure()->rule, address, key.size, 0) : status;
}

/* Keeps a key for the one that comes after it, in another node. */
static int keep(walk *w, ss_span key) {
    if (key.size >= w->room) {
        uint8_t *more = key.size > SIZE_MAX / 2 ? NULL : realloc(w->kept, (size_t)key.size * 2 + 64);
        if (more == NULL) return ss_fail(SS_NO_HEAP, "a key that a check keeps", 0, key.size, 0);
        w->kept = more;
        w->room = (size_t)key.size * 2 + 64;
    }
    memcpy(w->kept, key.at, (size_t)key.size);
    w->before = (ss_span){w->kept, key.size};
    return SS_OK;
}

/* The keys of a leaf follow one another and the last key before them. Only neighbours in the order of the map are
 * compared: the rest follows, but for a user's order that is none. */
static int check_leaf(walk *w, const ss_node *node, const ss_span keys[SS_CAPACITY]) {
    ss_span before = w->before;
    for (uint32_t i = 0; i < node->count; before = keys[i++]) {
        int status = note(w, check_order(w, before, keys[i], node->address));
        if (status != SS_OK) return status;
    }
    return keep(w, before);
}

static int check_separator(walk *w, ss_span key, uint64_t address) {
    int status = note(w, check_order(w, w->before, key, address));
    return status == SS_OK ? keep(w, key) : status;
}

/* Keys of one size with their size fields can be read as keys of a fixed size that is larger by 4. */
static bool begins_with_size(ss_span key) {
    return key.size >= 4 && ss_get32(key.at) == key.size - 4;
}

static void note_sizes(struct ss_fit *fit, uint64_t key, uint64_t value) {
    bool first = fit->entries++ == 0;
    if (first || key < fit->key_least) fit->key_least = key;
    if (first || key > fit->key_most) fit->key_most = key;
    if (first || value < fit->value_least) fit->value_least = value;
    if (first || value > fit->value_most) fit->value_most = value;
}

static int check_entries(walk *w, ss_node *node, ss_span keys[SS_CAPACITY]) {
    ss_span value;
    for (uint32_t i = 0; i < node->count; i++) {
        int status = ss_node_key(&w->tree->space, node, i, &keys[i]);
        if (status == SS_OK) status = note(w, check_size(w->tree->key, keys[i].size, "a key fits its type", node->address));
        if (status == SS_OK) status = note(w, check_parts(w, keys[i], node->address));
        if (status == SS_OK) status = ss_node_value(&w->tree->space, node, i, &value);
        if (status == SS_OK) status = note(w, check_size(w->tree->value, value.size, "a value fits its type", node->address));
        if (status != SS_OK) return status;
        if (w->fit == NULL) continue;
        note_sizes(w->fit, keys[i].size, value.size);
        w->sized_keys += begins_with_size(keys[i]);
    }
    return SS_OK;
}

static int check_shape(walk *w, ss_node *node, int depth) {
    bool is_root = node->address == w->tree->root;
    int status = is_root || node->count >= SS_MINIMUM
                     ? SS_OK
                     : note(w, broken("a node has at least 5 entries", node->address, node->count, SS_MINIMUM));
    if (status != SS_OK || !node->leaf) return status;
    if (w->leaf_depth < 0) w->leaf_depth = depth;
    if (depth == w->leaf_depth) return SS_OK;
    return note(w, broken("all leaves have one depth", node->address, (uint64_t)depth, (uint64_t)w->leaf_depth));
}

/* Marks the pages of a chain. Behind one that was reached before so were all others. */
static int mark_chain(walk *w, const ss_node *node) {
    for (uint32_t i = 0; i < node->overflow_count; i++) {
        int status = mark(w, node->overflow_address[i], 1);
        if (status != SS_OK) return note(w, status);
        w->allocated++;
    }
    return SS_OK;
}

/* The node's own chunk and its chain. */
static int check_chunks(walk *w, ss_node *node) {
    int status = note(w, ss_chunk_check(w->tree->space.memory, w->tree->space.page_size, node->address));
    if (status == SS_OK) status = ss_node_check_chain(&w->tree->space, node);
    w->followed += node->overflow_count;
    return status == SS_OK ? mark_chain(w, node) : status;
}

/* ---- the tree ---- */

static int walk_subtree(walk *w, uint64_t address, int depth);

static int walk_children(walk *w, ss_node *node, int depth, const ss_span keys[SS_CAPACITY]) {
    uint64_t children[SS_CHILDREN];
    int status = ss_node_copy_children(&w->tree->space, node, 0, node->count + 1, children);
    for (uint32_t i = 0; status == SS_OK && i <= node->count; i++) {
        status = walk_subtree(w, children[i], depth + 1);
        if (status == SS_OK && i < node->count) status = check_separator(w, keys[i], node->address);
    }
    return status;
}

static int walk_node(walk *w, uint64_t address, int depth) {
    ss_node node;
    ss_span keys[SS_CAPACITY];
    int status = ss_node_open(&w->tree->space, address, &node);
    if (status == SS_OK) status = mark(w, address, 1);
    if (status != SS_OK) return status;
    w->allocated++;
    w->entries += node.count;
    status = check_shape(w, &node, depth);
    if (status == SS_OK) status = note(w, check_chunks(w, &node));
    if (status == SS_OK) status = check_entries(w, &node, keys);
    if (status != SS_OK) return status;
    return node.leaf ? check_leaf(w, &node, keys) : walk_children(w, &node, depth, keys);
}

/* Hostile nodes may share a long chain, which is followed for each of them. Of a sound map it is as many pages as there are chunks, at
 * most. */
static bool followed_too_many(const walk *w) {
    return w->followed > FOLLOWED_PER_CHUNK * w->chunks;
}

/* What cannot be read of a subtree is one violation; the walk goes on beside it. */
static int walk_subtree(walk *w, uint64_t address, int depth) {
    if (followed_too_many(w)) return SS_OK; /* such nodes were noted */
    if (depth == SS_DEPTH) return note(w, broken("a tree has fewer than 32 levels", address, SS_DEPTH, SS_DEPTH));
    w->opened++;
    ss_scratch_mark here = ss_scratch_at(&w->tree->space.scratch);
    int status = walk_node(w, address, depth);
    ss_scratch_rewind(&w->tree->space.scratch, here);
    return note(w, status);
}

/* ---- the chunks ---- */

static int walk_free_list(walk *w, const ss_allocator *allocator, uint64_t *end) {
    uint64_t chunk = allocator->head, next = SS_NULL;
    bool allocated;
    for (uint64_t i = 0; i <= w->chunks; i++) {
        int status = ss_chunk_load(w->tree->space.memory, allocator->size, chunk, &allocated, &next);
        if (status == SS_OK && next != SS_NULL) status = mark(w, chunk + SS_CHUNK_HEADER, 2);
        if (status != SS_OK) return status;
        if (allocated) return broken("a chunk of the free list is not allocated", chunk, 1, 0);
        if (next == SS_NULL) {
            *end = chunk;
            return SS_OK;
        }
        chunk = next;
    }
    return broken("the free list has no cycle", chunk, w->chunks, w->chunks);
}

/* Every chunk below the end of the free list was reached. */
static int check_reached(walk *w, uint64_t end) {
    uint64_t stride = SS_CHUNK_HEADER + w->tree->space.page_size, below = (end - SS_FIRST_CHUNK) / stride;
    for (uint64_t i = 0; i < w->chunks; i++) {
        uint64_t chunk = SS_FIRST_CHUNK + i * stride;
        int status = SS_OK;
        if (i < below && w->reached[i] == 0) status = broken("every chunk is in the tree or on the free list", chunk, i, below);
        if (i >= below && w->reached[i] != 0) status = broken("the free list ends behind the last chunk", chunk, i, below);
        status = note(w, status);
        if (status != SS_OK) return status;
    }
    return SS_OK;
}

static int check_allocator(walk *w) {
    ss_allocator allocator;
    uint64_t end = SS_FIRST_CHUNK;
    int status = ss_allocator_load(w->tree->space.memory, w->tree->space.page_size, &allocator);
    if (status == SS_OK && allocator.allocated != w->allocated) {
        status = note(w, broken("the number of allocated chunks counts them", SS_ALLOCATOR_OFFSET, allocator.allocated, w->allocated));
    }
    if (status == SS_OK) status = walk_free_list(w, &allocator, &end);
    if (status != SS_OK) return note(w, status);
    return check_reached(w, end);
}

static int walk_map(walk *w) {
    ss_btree *tree = w->tree;
    int status = tree->root == SS_NULL ? SS_OK : walk_subtree(w, tree->root, 0);
    /* Then not all was counted. */
    if (followed_too_many(w)) return status;
    if (status == SS_OK && w->entries != tree->length) {
        status = note(w, broken("a map's length counts its entries", SS_BTREE_LENGTH_AT, tree->length, w->entries));
    }
    return status == SS_OK ? check_allocator(w) : status;
}

/* *pages (or NULL) is increased by the pages that were read. */
static int check_all(ss_btree *tree, ss_report report, void *self, struct ss_fit *fit, uint64_t *pages) {
    walk w = {.tree = tree, .check = {report, self, {0}}, .leaf_depth = -1, .ascending = true, .descending = true, .fit = fit};
    /* The last chunk of the free list may have no more than its header inside the memory. */
    w.chunks = tree->seen_pages * SS_PAGE_SIZE / (SS_CHUNK_HEADER + tree->space.page_size) + 1;
    w.reached = calloc((size_t)w.chunks, 1);
    int status = w.reached == NULL ? ss_fail(SS_NO_HEAP, "marks of a check", 0, w.chunks, 0) : walk_map(&w);
    status = ss_check_end(&w.check, status);
    if (status == SS_OK && fit != NULL && fit->key_fixed && 2 * w.sized_keys > fit->entries) {
        status = broken("keys of a fixed size have no size fields", tree->root, w.sized_keys, fit->entries);
    }
    if (pages != NULL) *pages += w.opened + w.followed;
    free(w.reached);
    free(w.kept);
    return status;
}

int ss_btree_check_locked(ss_btree *tree, ss_report report, void *self) {
    return check_all(tree, report, self, NULL, NULL);
}

/* With the lock held, which it gives up: whether the map is sound, found out while others read. */
static bool is_sound(ss_btree_reading *reading) {
    bool sound = check_all(reading->tree, NULL, NULL, NULL, NULL) == SS_OK;
    ss_btree_end_long_read(reading);
    return sound;
}

/* A report is made with the lock held, since it may run code of the user. */
int ss_btree_check(ss_btree *tree, ss_report report, void *self) {
    ss_btree_reading reading;
    int status = ss_btree_begin_read(tree);
    if (status != SS_OK) return status;
    ss_btree_share_read(tree, tree->companion_ops == NULL ? UINT64_MAX : 0, &reading);
    if (reading.shared) {
        if (is_sound(&reading)) return SS_OK;
        status = ss_btree_begin_read(tree);
        if (status != SS_OK) return status;
    }
    status = ss_btree_check_locked(tree, report, self);
    if (status == SS_OK && tree->companion_ops != NULL) status = tree->companion_ops->check(tree->companion, report, self);
    ss_leave_read(tree->handle.memory);
    return status;
}

/* ---- damage, or other types ---- */

/* Keys of a fixed size have no size field, so they are read wrongly by any other type. No larger one is tried. */
#define MOST_FIXED_KEY 4096

/* A search reads no more than this, and the memory so many times: in pages that do not lie in one piece, each layout reads its nodes again.
 */
#define MOST_SEARCHED (UINT64_C(256) << 20)
#define MOST_SEARCHES 16

typedef struct search {
    const ss_btree *tree;
    ss_node root; /* opened once for all layouts, most of which fail there */
    uint64_t pages_left;
    struct ss_fit *fit;
} search;

/* The map with keys that are laid out like this, and of no type. SS_CORRUPT too where the search has read enough. */
static int sound_as(search *s, bool fixed, uint32_t size) {
    ss_btree other = *s->tree;
    ss_node root = s->root;
    uint64_t pages = 0;
    other.key = other.value = (ss_bound){.max_size = SS_UNBOUNDED};
    other.space.scratch = (ss_scratch){0};
    other.space.fixed_key = fixed;
    other.space.key_size = fixed ? size : 0;
    other.space.fixed_value = false;
    bool is_own = s->tree->space.fixed_key && s->tree->space.key_size == size;
    *s->fit = (struct ss_fit){.key_fixed = fixed, .order_demanded = !is_own};
    int status = ss_node_check_chain(&other.space, &root);
    pages += root.overflow_count;
    ss_scratch_reset(&other.space.scratch);
    if (status == SS_OK) status = check_all(&other, NULL, NULL, s->fit, &pages);
    ss_scratch_free(&other.space.scratch);
    s->pages_left -= pages < s->pages_left ? pages : s->pages_left;
    return status;
}

/* The layouts one after the other, the map's own first. */
static int try_layouts(search *s) {
    const ss_space *space = &s->tree->space;
    int status = sound_as(s, space->fixed_key, space->key_size);
    if (status == SS_CORRUPT && space->fixed_key) status = sound_as(s, false, 0);
    for (uint32_t size = 0; status == SS_CORRUPT && s->pages_left > 0 && size <= MOST_FIXED_KEY && size < space->page_size; size++) {
        status = sound_as(s, true, size);
    }
    return status;
}

/* Finds the layout of keys in which the whole map is sound. SS_CORRUPT if there is none. */
static int find_layout(const ss_btree *tree, struct ss_fit *fit) {
    ss_space space = tree->space;
    space.scratch = (ss_scratch){0};
    search s = {.tree = tree, .fit = fit, .pages_left = MOST_SEARCHES * space.most_pages + MOST_SEARCHED / space.page_size + 1};
    int status = ss_node_open(&space, tree->root, &s.root);
    if (status == SS_OK) status = try_layouts(&s);
    ss_scratch_free(&space.scratch);
    return status;
}

typedef struct misfits {
    uint64_t entries, nodes, last; /* last: the node of the last one */
    uint64_t order;
} misfits;

static void count_misfit(void *self, const struct ss_failure *violation) {
    misfits *found = self;
    if (strcmp(violation->rule, "keys ascend strictly") == 0) {
        found->order++;
        return;
    }
    found->entries++;
    found->nodes += violation->address != found->last;
    found->last = violation->address;
}

/* Other types leave their marks everywhere. One damaged byte spoils one node: a size that is wrong shifts what follows. */
static bool are_other_types(const misfits *found, const struct ss_fit *fit) {
    if (found->nodes > 1 || (found->entries > 0 && 2 * found->entries >= fit->entries)) return true;
    return found->order > 2 && found->order >= fit->entries / 32;
}

int ss_btree_fit_locked(ss_btree *tree, struct ss_fit *fit) {
    misfits found = {0};
    *fit = (struct ss_fit){0};
    if (tree->root == SS_NULL) return SS_OK;
    int status = find_layout(tree, fit);
    if (status != SS_OK) return status;
    bool same_layout = fit->key_fixed == (int32_t)tree->space.fixed_key && (!fit->key_fixed || fit->key_most == tree->space.key_size);
    status = same_layout ? check_all(tree, count_misfit, &found, NULL, NULL) : SS_CORRUPT;
    if (status != SS_CORRUPT || (same_layout && !are_other_types(&found, fit))) return status;
    return ss_fail(SS_INCOMPATIBLE,
                   "the map is sound, and its entries are not of the types that the map is opened with; largest key, and largest value",
                   tree->root, fit->key_most, fit->value_most);
}

int ss_btree_fit(ss_btree *tree, struct ss_fit *fit) {
    int status = ss_btree_begin_read(tree);
    if (status != SS_OK) return status;
    status = ss_btree_fit_locked(tree, fit);
    ss_leave_read(tree->handle.memory);
    return status;
}
