/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors (cursor.h): the two ends of a range of a map, as paths from the root.
 *
 * Invariants
 *  C1  A path names an entry: the node of each level from the root on, and in it the child that the path takes, in the
 *      last one the entry itself.
 *  C2  What is left of the range are the entries from `front` to `back`, both included; `done` where nothing is left.
 *  C3  Paths are valid until nodes are split, and then found again by the keys of the two entries, `front_key` and `back_key`.
 *      Entries have not come or gone since the cursor was made; values may have been overwritten.
 *  C4  `left` is at least the number of entries that are left, `left_bytes` at least their bytes: a walk through a damaged tree
 *      ends too, and shows no more than the memory has.
 */
#include "structures/cursor.h"

#include <stdlib.h>

#include "structures/btree_internal.h"
#include "structures/probe.h"

typedef struct path {
    int depth; /* levels; 0 is no entry */
    uint64_t node[SS_DEPTH];
    uint32_t index[SS_DEPTH];
} path;

/* A growing array of bytes. */
typedef struct row {
    uint8_t *bytes;
    size_t size, room;
} row;

struct ss_cursor {
    ss_btree *tree;
    uint64_t changes;     /* of the map, that its user knows of */
    uint64_t placed;      /* when the paths were valid */
    bool keys_lost;       /* the two keys may be those of other entries, after a failure */
    bool done, done_back; /* which end took the last entry */
    uint64_t left, left_bytes;
    path front, back;
    row front_key, back_key;
    row numbers[2], bytes[2]; /* of keys and values; used within one call, kept for the next */
};

/* ---- paths ---- */

static int push(const ss_btree *tree, path *at, uint64_t node, uint32_t index) {
    if (at->depth == ss_btree_levels(tree)) return ss_btree_too_deep(tree);
    at->node[at->depth] = node;
    at->index[at->depth] = index;
    at->depth++;
    return SS_OK;
}

/* From the subtree at `address` down to its first or last entry. */
static int descend(ss_btree *tree, path *at, uint64_t address, bool last) {
    for (;;) {
        ss_node node;
        int status = ss_node_open(&tree->space, address, &node);
        if (status != SS_OK) return status;
        status = push(tree, at, address, node.leaf ? (last ? node.count - 1 : 0) : (last ? node.count : 0));
        if (status != SS_OK || node.leaf) return status;
        status = ss_node_child(&tree->space, &node, last ? node.count : 0, &address);
        if (status != SS_OK) return status;
    }
}

/* Up to the nearest entry on the way that follows (or precedes) the subtree we are in; depth 0 if there is none. */
static int climb(ss_btree *tree, path *at, bool back) {
    while (at->depth > 0 && --at->depth > 0) {
        uint32_t *index = &at->index[at->depth - 1];
        if (back && *index > 0) {
            (*index)--;
            return SS_OK;
        }
        if (!back) {
            ss_node node;
            int status = ss_node_open(&tree->space, at->node[at->depth - 1], &node);
            if (status != SS_OK || *index < node.count) return status;
        }
    }
    return SS_OK;
}

/* Asks for the nodes that a walk will come to after child `index`, so that it need not wait for them one by one. */
static void ask_for_siblings(const ss_space *space, const ss_node *node, uint32_t index, bool back) {
    const uint8_t *children = node->page.bytes + node->children_at;
    if (!node->page.direct || node->children_at + (uint64_t)8 * (node->count + 1) > space->page_size) return;
    for (uint32_t i = 1; i <= 2; i++) {
        uint32_t next = back ? index - i : index + i;
        if (next > node->count) return;
        const uint8_t *page = ss_probe_page(space, ss_get64(children + (size_t)next * 8));
        if (page != NULL) ss_probe_prefetch(page);
    }
}

/* To the entry behind (or before) the one that the path names. `node` is that entry's node, opened. */
static int step(ss_btree *tree, path *at, ss_node *node, bool back) {
    uint32_t *index = &at->index[at->depth - 1];
    if (node->leaf) {
        if (back ? *index > 0 : *index + 1 < node->count) {
            *index += back ? UINT32_MAX : 1;
            return SS_OK;
        }
        return climb(tree, at, back);
    }
    uint64_t child;
    if (!back) (*index)++;
    ask_for_siblings(&tree->space, node, *index, back);
    int status = ss_node_child(&tree->space, node, *index, &child);
    return status == SS_OK ? descend(tree, at, child, back) : status;
}

/* Where two paths of one tree stand to each other: entry i lies between children i and i + 1. */
static int compare_paths(const path *a, const path *b) {
    for (int i = 0; i < a->depth && i < b->depth; i++) {
        uint64_t x = 2 * (uint64_t)a->index[i] + (i + 1 == a->depth), y = 2 * (uint64_t)b->index[i] + (i + 1 == b->depth);
        if (x != y) return x < y ? -1 : 1;
    }
    return 0;
}

/* ---- a whole walk ---- */

/* Shows the entries from the one that the path names on. Sound ones are no more than the pages have, and follow the chain of their node as
 * often as it has entries. */
static int walk_on(ss_btree *tree, path *at, int (*visit)(void *self, ss_node *node, uint32_t index), void *self) {
    uint64_t left = SS_CAPACITY * tree->space.most_pages, pages_left = left;
    int status = SS_OK;
    while (status == SS_OK && at->depth > 0) {
        ss_node node;
        uint64_t address = at->node[at->depth - 1];
        uint32_t index = at->index[at->depth - 1];
        ss_scratch_reset(&tree->space.scratch);
        status = ss_node_open(&tree->space, address, &node);
        if (status == SS_OK && index >= node.count) status = ss_fail(SS_CORRUPT, "a path leads to an entry", address, index, node.count);
        if (status == SS_OK && left-- == 0) status = ss_fail(SS_CORRUPT, "every node is reached once", address, 0, 0);
        if (status == SS_OK) status = visit(self, &node, index);
        if (status == SS_OK && node.overflow_count > pages_left) {
            status = ss_fail(SS_CORRUPT, "every chunk is reached once", address, node.overflow_count, pages_left);
        }
        if (status != SS_OK) return status;
        pages_left -= node.overflow_count;
        status = step(tree, at, &node, false);
    }
    return status;
}

typedef struct key_visit {
    ss_btree *tree;
    int (*visit)(void *self, ss_span key);
    void *self;
} key_visit;

static int visit_key(void *of, ss_node *node, uint32_t index) {
    key_visit *v = of;
    ss_span key = {NULL, 0};
    int status = ss_node_key(&v->tree->space, node, index, &key);
    return status == SS_OK ? v->visit(v->self, key) : status;
}

int ss_btree_each_key(ss_btree *tree, int (*visit)(void *self, ss_span key), void *self) {
    key_visit v = {tree, visit, self};
    return ss_btree_each_entry(tree, NULL, visit_key, &v);
}

/* ---- making one ---- */

/* The first entry whose key is >= `key`, or > it (`after`). */
static int seek(ss_btree *tree, path *at, ss_span key, bool after) {
    uint64_t address = tree->root;
    at->depth = 0;
    for (;;) {
        ss_node node;
        uint32_t index = 0;
        bool found = false;
        int status = ss_node_open(&tree->space, address, &node);
        if (status == SS_OK) status = ss_node_search(&tree->space, &node, key, &index, &found);
        if (status == SS_OK) status = push(tree, at, address, index);
        if (status != SS_OK) return status;
        if (found) return after ? step(tree, at, &node, false) : SS_OK;
        if (node.leaf) return index < node.count ? SS_OK : climb(tree, at, false);
        status = ss_node_child(&tree->space, &node, index, &address);
        if (status != SS_OK) return status;
    }
}

/* The entry before the one that `at` names; the last one of the map where it names none. */
static int previous(ss_btree *tree, path *at) {
    ss_node node;
    if (at->depth == 0) return descend(tree, at, tree->root, true);
    int status = ss_node_open(&tree->space, at->node[at->depth - 1], &node);
    return status == SS_OK ? step(tree, at, &node, true) : status;
}

static int set_front(ss_btree *tree, path *front, int from, ss_span start) {
    front->depth = 0;
    if (from == SS_FROM_FIRST) return descend(tree, front, tree->root, false);
    int status = seek(tree, front, start, from == SS_AFTER);
    if (status != SS_OK || from != SS_FROM_BEFORE) return status;
    status = previous(tree, front);
    if (status != SS_OK || front->depth > 0) return status;
    return descend(tree, front, tree->root, false);
}

static int set_back(ss_btree *tree, path *back, int to, ss_span stop) {
    back->depth = 0;
    if (to == SS_TO_LAST) return descend(tree, back, tree->root, true);
    int status = seek(tree, back, stop, to == SS_UPTO);
    return status == SS_OK ? previous(tree, back) : status;
}

int ss_btree_each_entry(ss_btree *tree, const ss_span *from, int (*visit)(void *self, ss_node *node, uint32_t index), void *self) {
    path at = {.depth = 0};
    int status = SS_OK;
    if (tree->root == SS_NULL) return SS_OK;
    ss_scratch_reset(&tree->space.scratch);
    status = from == NULL ? descend(tree, &at, tree->root, false) : seek(tree, &at, *from, false);
    return status == SS_OK ? walk_on(tree, &at, visit, self) : status;
}

static int key_at(ss_btree *tree, const path *at, ss_span *found) {
    ss_node node;
    if (at->depth == 0) return SS_ABSENT;
    uint64_t address = at->node[at->depth - 1];
    uint32_t index = at->index[at->depth - 1];
    int status = ss_node_open(&tree->space, address, &node);
    if (status == SS_OK && index >= node.count) return ss_fail(SS_CORRUPT, "a path leads to an entry", address, index, node.count);
    return status == SS_OK ? ss_node_key(&tree->space, &node, index, found) : status;
}

int ss_btree_neighbour(ss_btree *tree, ss_span key, bool behind, bool also, ss_span *found) {
    path at = {.depth = 0};
    if (tree->root == SS_NULL) return SS_ABSENT;
    ss_scratch_reset(&tree->space.scratch);
    int status = seek(tree, &at, key, behind != also);
    if (status == SS_OK && !behind) status = previous(tree, &at);
    return status == SS_OK ? key_at(tree, &at, found) : status;
}

int ss_btree_last_key(ss_btree *tree, ss_span *found) {
    path at = {.depth = 0};
    if (tree->root == SS_NULL) return SS_ABSENT;
    ss_scratch_reset(&tree->space.scratch);
    int status = descend(tree, &at, tree->root, true);
    return status == SS_OK ? key_at(tree, &at, found) : status;
}

/* Keeps the key of the entry that an end names. On a failure it is the one before. */
static int remember(ss_cursor *cursor, bool back) {
    ss_btree *tree = cursor->tree;
    const path *end = back ? &cursor->back : &cursor->front;
    row *kept = back ? &cursor->back_key : &cursor->front_key;
    ss_node node;
    ss_span key = {NULL, 0};
    ss_scratch_reset(&tree->space.scratch);
    int status = ss_node_open(&tree->space, end->node[end->depth - 1], &node);
    if (status == SS_OK && end->index[end->depth - 1] >= node.count) {
        return ss_fail(SS_CORRUPT, "a path leads to an entry", node.address, end->index[end->depth - 1], node.count);
    }
    if (status == SS_OK) status = ss_node_key(&tree->space, &node, end->index[end->depth - 1], &key);
    if (status != SS_OK) return status;
    if (kept->room < key.size || kept->bytes == NULL) {
        uint8_t *bytes = realloc(kept->bytes, (size_t)key.size + 16);
        if (bytes == NULL) return ss_fail(SS_NO_HEAP, "a key of a cursor", 0, key.size, 0);
        kept->bytes = bytes;
        kept->room = (size_t)key.size + 16;
    }
    if (key.size > 0) memcpy(kept->bytes, key.at, (size_t)key.size);
    kept->size = (size_t)key.size;
    return SS_OK;
}

static int remember_both(ss_cursor *cursor) {
    int status = remember(cursor, false);
    return status == SS_OK ? remember(cursor, true) : status;
}

/* All entries may be left (C4), with other values than before. */
static void count_bytes_anew(ss_cursor *cursor) {
    uint64_t pages = cursor->tree->seen_pages;
    cursor->left_bytes = pages > UINT64_MAX / SS_PAGE_SIZE ? UINT64_MAX : pages * SS_PAGE_SIZE;
}

static int set_range(ss_cursor *cursor, int from, ss_span start, int to, ss_span stop) {
    ss_btree *tree = cursor->tree;
    cursor->changes = cursor->placed = ss_handle_changes(&tree->handle);
    cursor->done = true;
    cursor->left = SS_CAPACITY * tree->space.most_pages;
    count_bytes_anew(cursor);
    if (tree->root == SS_NULL) return SS_OK;
    int status = set_front(tree, &cursor->front, from, start);
    if (status == SS_OK) status = set_back(tree, &cursor->back, to, stop);
    if (status != SS_OK) return status;
    cursor->done = cursor->front.depth == 0 || cursor->back.depth == 0 || compare_paths(&cursor->front, &cursor->back) > 0;
    return cursor->done ? SS_OK : remember_both(cursor);
}

int ss_cursor_open(ss_btree *tree, int from, const uint8_t *start, uint64_t start_size, int to, const uint8_t *stop, uint64_t stop_size,
                   ss_cursor **out) {
    *out = NULL;
    if (from < SS_FROM_FIRST || from > SS_FROM_BEFORE || to < SS_TO_LAST || to > SS_BEFORE) {
        return ss_fail(SS_ARGUMENT, "kind of end of a range", 0, (uint64_t)from, (uint64_t)to);
    }
    ss_cursor *cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL) return ss_fail(SS_NO_HEAP, "a cursor", 0, sizeof *cursor, 0);
    cursor->tree = tree;
    int status = ss_btree_begin_read(tree);
    if (status == SS_OK) {
        status = set_range(cursor, from, (ss_span){start, start_size}, to, (ss_span){stop, stop_size});
        ss_leave_read(tree->handle.memory);
    }
    if (status != SS_OK) {
        ss_cursor_free(cursor);
        return status;
    }
    *out = cursor;
    return SS_OK;
}

void ss_cursor_free(ss_cursor *cursor) {
    if (cursor == NULL) return;
    for (int i = 0; i < 2; i++) {
        free(cursor->numbers[i].bytes);
        free(cursor->bytes[i].bytes);
    }
    free(cursor->front_key.bytes);
    free(cursor->back_key.bytes);
    free(cursor);
}

void ss_cursor_free_at(ss_cursor **at) {
    ss_cursor *cursor = *at;
    *at = NULL;
    ss_cursor_free(cursor);
}

/* ---- collecting ---- */

static uint8_t *row_room(row *at, size_t size) {
    if (at->bytes == NULL || at->room - at->size < size) {
        size_t room = at->room * 2 > at->size + size ? at->room * 2 : at->size + size + 256;
        uint8_t *bytes = realloc(at->bytes, room);
        if (bytes == NULL) {
            ss_fail(SS_NO_HEAP, "entries on their way out", 0, room, 0);
            return NULL;
        }
        at->bytes = bytes;
        at->room = room;
    }
    uint8_t *room = at->bytes + at->size;
    at->size += size;
    return room;
}

enum form { ENDS, NUMBERS, ROWS };

/* Part 0 is the keys, 1 the values. A number stands for itself, bytes for where they end. */
static int collect(ss_cursor *cursor, int part, ss_span span, enum form form, uint64_t fixed_size) {
    uint64_t number;
    if (form != ENDS && span.size != fixed_size) {
        return ss_fail(SS_CORRUPT, "a fixed-size key or value has its size", 0, span.size, fixed_size);
    }
    if (form == NUMBERS) {
        number = ss_get_be(span.at, (uint32_t)fixed_size);
    } else {
        uint8_t *room = row_room(&cursor->bytes[part], (size_t)span.size);
        if (room == NULL) return SS_NO_HEAP;
        memcpy(room, span.at, (size_t)span.size);
        if (form == ROWS) return SS_OK;
        number = cursor->bytes[part].size;
    }
    uint8_t *room = row_room(&cursor->numbers[part], 8);
    if (room == NULL) return SS_NO_HEAP;
    ss_put64(room, number);
    return SS_OK;
}

static enum form form_of(int want, int numbers, int rows, uint32_t int_size, ss_bound bound) {
    if ((want & numbers) && int_size != 0) return NUMBERS;
    return (want & rows) && bound.fixed ? ROWS : ENDS;
}

static int collect_entry(ss_cursor *cursor, ss_node *node, uint32_t index, int want) {
    ss_btree *tree = cursor->tree;
    ss_span span = {NULL, 0};
    int status = SS_OK;
    if (want & SS_WANT_KEYS) {
        status = ss_node_key(&tree->space, node, index, &span);
        enum form form = form_of(want, SS_WANT_KEY_NUMBERS, SS_WANT_KEY_ROWS, tree->key_int, tree->key);
        if (status == SS_OK) status = collect(cursor, 0, span, form, tree->key.max_size);
    }
    if (status == SS_OK && (want & SS_WANT_VALUES)) {
        status = ss_node_value(&tree->space, node, index, &span);
        enum form form = form_of(want, SS_WANT_VALUE_NUMBERS, SS_WANT_VALUE_ROWS, tree->value_int, tree->value);
        if (status == SS_OK) status = collect(cursor, 1, span, form, tree->value.max_size);
    }
    return status;
}

/* Puts the ends back to where they were, after a failure. */
static void go_back(ss_cursor *cursor, const ss_cursor *before) {
    cursor->keys_lost = true;
    cursor->done = before->done;
    cursor->done_back = before->done_back;
    cursor->left = before->left;
    cursor->left_bytes = before->left_bytes;
    cursor->front = before->front;
    cursor->back = before->back;
}

/* Moves one end past the entry that it names; `node` is that entry's. */
static int advance(ss_cursor *cursor, ss_node *node, bool back) {
    path *end = back ? &cursor->back : &cursor->front;
    if (cursor->left-- == 0) return ss_fail(SS_CORRUPT, "every node is reached once", node->address, 0, 0);
    if (compare_paths(&cursor->front, &cursor->back) == 0) {
        cursor->done = true;
        cursor->done_back = back;
        return SS_OK;
    }
    int status = step(cursor->tree, end, node, back);
    if (status == SS_OK && end->depth == 0) status = ss_fail(SS_CORRUPT, "the ends of a range meet", node->address, 0, 0);
    return status;
}

/* How many entries from the front on lie in its leaf, in the range, and are wanted. */
static uint32_t run_length(const ss_cursor *cursor, const ss_node *node, uint64_t most) {
    uint32_t first = cursor->front.index[cursor->front.depth - 1], end = node->count;
    bool last = cursor->back.depth == cursor->front.depth && cursor->back.node[cursor->back.depth - 1] == node->address;
    if (last) end = cursor->back.index[cursor->back.depth - 1] + 1;
    uint32_t n = end > first ? end - first : 0;
    return n < most ? n : (uint32_t)most;
}

/* Entries `first` to first + n of a leaf whose keys and values have fixed sizes and lie in its page: their first key and first value,
 * in place; values are 4 + value_size apart. NULL if they must be looked up one by one. */
static const uint8_t *run_in_place(const ss_space *space, const ss_node *node, uint32_t first, uint32_t n, const uint8_t **values) {
    ss_probe probe;
    uint64_t at, stride = 4 + (uint64_t)space->value_size;
    if (!node->page.direct || !space->fixed_key || !space->fixed_value || !ss_probe_open(&probe, node->page.bytes)) return NULL;
    if (!ss_probe_values_at(space, &probe, &at) || at + probe.count * stride > space->page_size) return NULL;
    *values = probe.page + at + first * stride;
    for (uint32_t i = 0; i < n; i++) {
        if (ss_get32(*values + i * stride) != space->value_size) return NULL;
    }
    return probe.page + probe.keys_at + (size_t)first * space->key_size;
}

/* The same part of n entries, `stride` bytes apart. */
static int collect_parts(ss_cursor *cursor, int part, const uint8_t *from, uint32_t n, size_t stride, enum form form, size_t size) {
    uint8_t *room = row_room(form == NUMBERS ? &cursor->numbers[part] : &cursor->bytes[part], n * (form == NUMBERS ? 8 : size));
    if (room == NULL) return SS_NO_HEAP;
    for (uint32_t i = 0; i < n; i++, from += stride) {
        if (form == NUMBERS) {
            ss_put64(room + (size_t)8 * i, ss_get_be(from, (uint32_t)size));
        } else {
            memcpy(room + i * size, from, size);
        }
    }
    return SS_OK;
}

/* Collects as many entries from the front on as lie in its leaf, beside one another; *n is 0 if they must be collected one by one. */
static int collect_run(ss_cursor *cursor, const ss_node *node, uint64_t most, int want, uint32_t *n) {
    ss_btree *tree = cursor->tree;
    const ss_space *space = &tree->space;
    enum form key = form_of(want, SS_WANT_KEY_NUMBERS, SS_WANT_KEY_ROWS, tree->key_int, tree->key);
    enum form value = form_of(want, SS_WANT_VALUE_NUMBERS, SS_WANT_VALUE_ROWS, tree->value_int, tree->value);
    const uint8_t *values = NULL, *keys = NULL;
    bool fixed = !((want & SS_WANT_KEYS) && key == ENDS) && !((want & SS_WANT_VALUES) && value == ENDS);
    uint32_t length = fixed && node->leaf ? run_length(cursor, node, most) : 0;
    *n = 0;
    if (length > 1) keys = run_in_place(space, node, cursor->front.index[cursor->front.depth - 1], length, &values);
    if (keys == NULL) return SS_OK;
    int status = SS_OK;
    if (want & SS_WANT_KEYS) status = collect_parts(cursor, 0, keys, length, space->key_size, key, space->key_size);
    if (status == SS_OK && (want & SS_WANT_VALUES)) {
        status = collect_parts(cursor, 1, values + 4, length, 4 + (size_t)space->value_size, value, space->value_size);
    }
    *n = length;
    return status;
}

static size_t collected(const ss_cursor *cursor) {
    return cursor->bytes[0].size + cursor->bytes[1].size;
}

/* Moves the front past n entries of its leaf. */
static int pass_run(ss_cursor *cursor, uint32_t n, uint64_t address, uint64_t *taken) {
    if (cursor->left < n) return ss_fail(SS_CORRUPT, "every node is reached once", address, 0, 0);
    cursor->front.index[cursor->front.depth - 1] += n;
    cursor->left -= n;
    *taken += n;
    return SS_OK;
}

/* Counts what was collected since there were `before` bytes. */
static int count_bytes(ss_cursor *cursor, uint64_t before, uint64_t address) {
    uint64_t more = collected(cursor) - before;
    if (SS_UNLIKELY(more > cursor->left_bytes))
        return ss_fail(SS_CORRUPT, "every chunk is reached once", address, more, cursor->left_bytes);
    cursor->left_bytes -= more;
    return SS_OK;
}

/* Takes entries from one end. *taken counts them; want 0 passes over them. */
static int take(ss_cursor *cursor, uint64_t most, uint64_t most_bytes, int want, bool back, uint64_t *taken) {
    ss_btree *tree = cursor->tree;
    path *end = back ? &cursor->back : &cursor->front;
    ss_node node = {.address = SS_NULL};
    for (*taken = 0; *taken < most && !cursor->done && collected(cursor) < most_bytes; (*taken)++) {
        uint64_t address = end->node[end->depth - 1], before = collected(cursor);
        uint32_t run = 0, *index = &end->index[end->depth - 1];
        int status = SS_OK;
        if (node.address != address) {
            ss_scratch_reset(&tree->space.scratch);
            status = ss_node_open(&tree->space, address, &node);
        }
        if (status == SS_OK && *index >= node.count) {
            status = ss_fail(SS_CORRUPT, "a path leads to an entry", address, *index, node.count);
        }
        if (status == SS_OK && want != 0 && !back) status = collect_run(cursor, &node, most - *taken, want, &run);
        if (status == SS_OK && want != 0 && run == 0) status = collect_entry(cursor, &node, *index, want);
        if (status == SS_OK) status = count_bytes(cursor, before, address);
        if (status == SS_OK && run > 1) status = pass_run(cursor, run - 1, address, taken); /* `advance` passes the last one */
        if (status == SS_OK) status = advance(cursor, &node, back);
        if (status != SS_OK) return status;
    }
    return SS_OK;
}

/* Nodes were split: the entries that the ends name lie elsewhere. */
static int find_again(ss_cursor *cursor) {
    ss_btree *tree = cursor->tree;
    const ss_cursor before = *cursor;
    if (cursor->keys_lost) return ss_fail(SS_CHANGED, NULL, 0, 0, 0);
    for (int i = 0; i < 2; i++) {
        path *end = i == 0 ? &cursor->front : &cursor->back;
        const row *key = i == 0 ? &cursor->front_key : &cursor->back_key;
        if (end->depth == 0 || key->bytes == NULL) continue;
        ss_scratch_reset(&tree->space.scratch);
        int status = tree->root == SS_NULL ? SS_OK : seek(tree, end, (ss_span){key->bytes, key->size}, false);
        if (status == SS_OK && end->depth == 0) status = ss_fail(SS_CORRUPT, "an entry is found again", tree->root, 0, 0);
        if (status != SS_OK) {
            go_back(cursor, &before);
            return status;
        }
    }
    cursor->placed = ss_handle_changes(&tree->handle);
    return SS_OK;
}

/* Takes the lock; *stale says that values were overwritten since the cursor was made or its user last asked. */
static int begin_still(ss_cursor *cursor, uint64_t *known, bool *stale) {
    int status = ss_btree_begin_read(cursor->tree);
    if (status != SS_OK) return status;
    status = ss_handle_still(&cursor->tree->handle, known);
    *stale = status == SS_ABSENT;
    if (*stale) count_bytes_anew(cursor);
    if (status == SS_ABSENT) status = cursor->tree->handle.run.moved > cursor->placed ? find_again(cursor) : SS_OK;
    if (status < 0) ss_leave_read(cursor->tree->handle.memory);
    return status;
}

/* NULL is what ss_cursor_free_at leaves: the binding's finalizers run in any order, and one of them may use an iterator. */
static int freed(void) {
    return ss_fail(SS_CLOSED, "the iterator", 0, 0, 0);
}

static int begin(ss_cursor *cursor) {
    if (SS_UNLIKELY(cursor == NULL)) return freed();
    bool stale;
    uint64_t known = cursor->changes;
    return begin_still(cursor, &known, &stale);
}

int ss_cursor_valid(ss_cursor *cursor) {
    if (SS_UNLIKELY(cursor == NULL)) return freed();
    bool stale;
    int status = begin_still(cursor, &cursor->changes, &stale);
    if (status != SS_OK) return status;
    ss_leave_read(cursor->tree->handle.memory);
    return stale ? SS_ABSENT : SS_OK;
}

/* Moves a path by one entry; there is one. */
static int move(ss_btree *tree, path *at, bool back) {
    ss_node node;
    uint64_t address = at->node[at->depth - 1];
    ss_scratch_reset(&tree->space.scratch);
    int status = ss_node_open(&tree->space, address, &node);
    if (status == SS_OK && at->index[at->depth - 1] >= node.count) {
        return ss_fail(SS_CORRUPT, "a path leads to an entry", address, at->index[at->depth - 1], node.count);
    }
    if (status == SS_OK) status = step(tree, at, &node, back);
    return status == SS_OK && at->depth == 0 ? ss_fail(SS_CORRUPT, "what was taken lies beside the range", address, 0, 0) : status;
}

/* If nothing was left, both ends name the last entry that was taken, though only one of them took it. */
static int give_back(ss_cursor *cursor, uint64_t n, bool back) {
    int status = SS_OK;
    path *end = back ? &cursor->back : &cursor->front, *other = back ? &cursor->front : &cursor->back;
    if (n == 0) return SS_OK;
    cursor->left += n;
    count_bytes_anew(cursor);
    if (cursor->done) {
        cursor->done = false;
        if (cursor->done_back == back)
            n--;
        else
            status = move(cursor->tree, other, !back);
    }
    for (; status == SS_OK && n > 0; n--) status = move(cursor->tree, end, !back);
    return status == SS_OK ? remember_both(cursor) : status;
}

int ss_cursor_give_back(ss_cursor *cursor, uint64_t n, int back) {
    int status = begin(cursor);
    if (status != SS_OK) return status;
    const ss_cursor before = *cursor;
    status = give_back(cursor, n, back != 0);
    if (status != SS_OK) go_back(cursor, &before);
    ss_leave_read(cursor->tree->handle.memory);
    return status;
}

/* The result of ss_cursor_next, from the rows. */
static int hand_over(ss_cursor *cursor, uint64_t taken, uint64_t *size) {
    const row *parts[] = {&cursor->numbers[0], &cursor->numbers[1], &cursor->bytes[0], &cursor->bytes[1]};
    *size = 24;
    for (int i = 0; i < 4; i++) *size += parts[i]->size;
    uint8_t *at = ss_result_buffer((size_t)*size);
    if (at == NULL) return SS_NO_HEAP;
    ss_put64(at, taken);
    ss_put64(at + 8, parts[2]->size);
    ss_put64(at + 16, parts[3]->size);
    at += 24;
    for (int i = 0; i < 4; i++) {
        if (parts[i]->size > 0) memcpy(at, parts[i]->bytes, parts[i]->size);
        at += parts[i]->size;
    }
    return SS_OK;
}

int64_t ss_cursor_next(ss_cursor *cursor, uint64_t most, uint64_t most_bytes, int want, int back) {
    uint64_t taken = 0, size = 0;
    int status = begin(cursor);
    if (status != SS_OK) return status;
    for (int i = 0; i < 2; i++) cursor->numbers[i].size = cursor->bytes[i].size = 0;
    const ss_cursor before = *cursor;
    status = take(cursor, most, most_bytes, want, back != 0, &taken);
    if (status == SS_OK && taken > 0) status = remember(cursor, back != 0);
    if (status == SS_OK) status = hand_over(cursor, taken, &size);
    if (status != SS_OK) go_back(cursor, &before);
    if (want & SS_WANT_ALARM) {
        ss_handle_listen(&cursor->tree->handle, want & SS_WANT_VALUES ? SS_LISTENS_TO_ALL : SS_LISTENS_TO_ENTRIES);
    }
    ss_leave_read(cursor->tree->handle.memory);
    return ss_result_size(status, size);
}

int64_t ss_cursor_skip(ss_cursor *cursor, uint64_t n, int back) {
    uint64_t taken = 0;
    int status = begin(cursor);
    if (status != SS_OK) return status;
    for (int i = 0; i < 2; i++) cursor->numbers[i].size = cursor->bytes[i].size = 0;
    const ss_cursor before = *cursor;
    status = take(cursor, n, UINT64_MAX, 0, back != 0, &taken);
    if (status == SS_OK && taken > 0) status = remember(cursor, back != 0);
    if (status != SS_OK) go_back(cursor, &before);
    ss_leave_read(cursor->tree->handle.memory);
    return ss_result_size(status, taken);
}

int64_t ss_btree_entries(ss_btree *tree, int want) {
    uint64_t taken = 0, size = 0;
    ss_btree_reading reading;
    ss_cursor *cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL) return ss_fail(SS_NO_HEAP, "a cursor", 0, sizeof *cursor, 0);
    int status = ss_btree_begin_long_read(tree, UINT64_MAX, &reading);
    if (status == SS_OK) {
        cursor->tree = reading.tree;
        status = set_range(cursor, SS_FROM_FIRST, (ss_span){NULL, 0}, SS_TO_LAST, (ss_span){NULL, 0});
        if (status == SS_OK) status = take(cursor, UINT64_MAX, UINT64_MAX, want, false, &taken);
        if (status == SS_OK) status = hand_over(cursor, taken, &size);
        ss_btree_end_long_read(&reading);
    }
    ss_cursor_free(cursor);
    return ss_result_size(status, size);
}

/* ---- into arrays ---- */

static int export_part(const ss_output_column *column, uint64_t i, ss_span span, uint64_t address) {
    if (ss_output_column_store(column, i, span.at, span.size)) return SS_OK;
    return ss_fail(SS_CORRUPT, "a fixed-size key or value has its size", address, span.size, column->size);
}

static int export_entry(ss_cursor *cursor, ss_node *node, uint32_t index, uint64_t i, const ss_output_column *keys,
                        const ss_output_column *values) {
    ss_space *space = &cursor->tree->space;
    ss_span span = {NULL, 0};
    int status = keys == NULL ? SS_OK : ss_node_key(space, node, index, &span);
    if (status == SS_OK && keys != NULL) status = export_part(keys, i, span, node->address);
    if (status == SS_OK && values != NULL) status = ss_node_value(space, node, index, &span);
    return status == SS_OK && values != NULL ? export_part(values, i, span, node->address) : status;
}

/* Entries first..first + n of a leaf that lies in one page, in place: false where it must be done one by one. */
static bool export_run(const ss_space *space, const ss_node *node, uint32_t first, uint32_t n, uint64_t i, const ss_output_column *keys,
                       const ss_output_column *values) {
    const uint8_t *value = NULL, *key = run_in_place(space, node, first, n, &value);
    if (key == NULL) return false;
    if ((keys != NULL && keys->size != space->key_size) || (values != NULL && values->size != space->value_size)) return false;
    if (keys != NULL) ss_output_column_store_run(keys, i, key, space->key_size, n);
    if (values != NULL) ss_output_column_store_run(values, i, value + 4, 4 + (uint64_t)space->value_size, n);
    return true;
}

static int export_step(ss_cursor *cursor, ss_node *node, uint64_t *taken, uint64_t most, const ss_output_column *keys,
                       const ss_output_column *values) {
    path *front = &cursor->front;
    uint32_t *index = &front->index[front->depth - 1];
    ss_scratch_reset(&cursor->tree->space.scratch);
    int status = ss_node_open(&cursor->tree->space, front->node[front->depth - 1], node);
    if (status != SS_OK) return status;
    if (*index >= node->count) return ss_fail(SS_CORRUPT, "a path leads to an entry", node->address, *index, node->count);
    uint32_t n = node->leaf ? run_length(cursor, node, most - *taken) : 1;
    if (n > 1 && export_run(&cursor->tree->space, node, *index, n, *taken, keys, values)) {
        *index += n - 1;
    } else {
        n = 1;
        status = export_entry(cursor, node, *index, *taken, keys, values);
    }
    *taken += n;
    return status == SS_OK ? advance(cursor, node, false) : status;
}

/* By a copy of the map's handle, since others may use that meanwhile. The cursor itself is the caller's alone. */
static int export(ss_cursor *cursor, uint64_t most, const ss_output_column *keys, const ss_output_column *values, uint64_t *taken) {
    ss_btree_reading reading;
    ss_node node;
    int status = SS_OK;
    ss_cursor walk = *cursor;
    ss_btree_share_read(cursor->tree, most, &reading);
    walk.tree = reading.tree;
    while (status == SS_OK && !walk.done && *taken < most) status = export_step(&walk, &node, taken, most, keys, values);
    ss_btree_end_long_read(&reading);
    if (status == SS_OK) {
        walk.tree = cursor->tree;
        *cursor = walk;
    } else {
        cursor->keys_lost = true;
    }
    return status;
}

int64_t ss_cursor_export(ss_cursor *cursor, uint64_t most, const ss_output_column *keys, const ss_output_column *values) {
    uint64_t taken = 0;
    int status = begin(cursor);
    if (status != SS_OK) return status;
    /* Arrays that are filled in several calls hold the values of one moment. */
    if (cursor->changes != ss_handle_changes(&cursor->tree->handle)) {
        ss_leave_read(cursor->tree->handle.memory);
        return ss_fail(SS_CHANGED, NULL, 0, 0, 0);
    }
    status = export(cursor, most, keys, values, &taken);
    return ss_result_size(status, taken);
}
