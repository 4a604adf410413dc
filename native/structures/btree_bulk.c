/* SPDX-License-Identifier: Apache-2.0 */
/* Many keys in one call.
 *
 * A lookup is a chain of cache misses, each of which must end before the next address is known. Independent lookups have
 * no such chain between them, so several descend at once, one level in turn: while one waits for its node the others
 * work on theirs. Changes must happen one after the other to give the bytes of the loop; they are preceded by lookups of
 * the same keys that bring their nodes into the cache.
 */
#include <stdlib.h>

#include "structures/btree_internal.h"
#include "structures/probe.h"

/* Descents at once: enough to cover a miss to memory with the work on the others. */
#define LOOKUPS_AT_ONCE 16
/* Keys whose nodes are fetched before they are changed. */
#define AHEAD 64
/* Below this many entries a map is in the cache anyway. */
#define SMALL_MAP 20000

/* ---- checking ---- */

static int bad_column(const char *rule, uint64_t number, uint64_t limit) {
    return ss_fail(SS_INCOMPATIBLE, rule, 0, number, limit);
}

static int check_item(ss_bound bound, uint64_t size) {
    bool good = size <= bound.max_size && size <= UINT32_MAX && (!bound.fixed || size == bound.max_size);
    return good ? SS_OK : ss_fail(SS_BOUND_EXCEEDED, "size of an encoded key or value of its type", 0, size, bound.max_size);
}

/* All items, before anything is done: sizes and ends only, which are the caller's own. */
static int check_column(const ss_column *column, ss_bound bound, uint64_t count) {
    if (column->native && (!bound.fixed || column->size != bound.max_size)) {
        return bad_column("size of the type's numbers", column->size, bound.max_size);
    }
    if (column->ends == NULL) return count == 0 ? SS_OK : check_item(bound, column->size);
    int status = SS_OK;
    for (uint64_t i = 0; status == SS_OK && i < count; i++) {
        uint64_t begin = i == 0 ? 0 : column->ends[i - 1];
        if (column->ends[i] < begin) return ss_fail(SS_ARGUMENT, "ends of items ascend", i, column->ends[i], begin);
        status = check_item(bound, column->ends[i] - begin);
    }
    return status;
}

static ss_span item(const ss_column *column, uint64_t i, uint8_t buffer[8]) {
    ss_span span;
    span.at = ss_column_item(column, i, buffer, &span.size);
    return span;
}

static ss_span part_item(const ss_column_part *part, uint64_t i, uint8_t buffer[8]) {
    return item(&part->items, i - part->first, buffer);
}

/* That of two neighbouring keys the second is the greater. */
static int check_pair(const ss_btree *tree, ss_span low, ss_span high, uint64_t i, uint64_t count) {
    int result = SS_LESS;
    int status = ss_order_compare(&tree->order, low.at, low.size, high.at, high.size, &result);
    if (status != SS_OK || result == SS_LESS) return status;
    return ss_fail(SS_ARGUMENT, "keys ascend strictly (sort them, and drop repeated ones)", 0, i, count);
}

static int check_ascending(const ss_btree *tree, const ss_column *keys, uint64_t count) {
    int status = SS_OK;
    for (uint64_t i = 1; status == SS_OK && i < count; i++) {
        uint8_t low[8], high[8];
        status = check_pair(tree, item(keys, i - 1, low), item(keys, i, high), i, count);
    }
    return status;
}

/* ---- descents in flight ---- */

typedef struct lookup {
    uint64_t item, address;
    const uint8_t *page;
    int depth;
    uint8_t buffer[8];
    ss_probe_key key;
    ss_probe probe;
} lookup;

/* What to do where a descent ends. */
typedef int (*finish_lookup)(void *self, lookup *at, enum ss_probe_result result);

static void start_lookup(ss_btree *tree, const ss_column *keys, uint64_t i, lookup *at) {
    at->item = i;
    at->address = tree->root;
    at->page = ss_probe_page(&tree->space, at->address);
    at->depth = 0;
    at->key = ss_probe_key_of(&tree->space, item(keys, i, at->buffer));
}

/* One level down. SS_PROBE_CHILD: there is more to come. */
static inline enum ss_probe_result advance_lookup(ss_btree *tree, lookup *at) {
    if (at->page == NULL || at->depth++ == SS_DEPTH) return SS_PROBE_HARD;
    enum ss_probe_result result = ss_probe_node(&tree->space, at->page, &at->key, true, &at->probe);
    if (result != SS_PROBE_CHILD) return result;
    at->address = at->probe.child;
    at->page = ss_probe_page(&tree->space, at->address);
    if (at->page != NULL) ss_probe_prefetch(at->page);
    return SS_PROBE_CHILD;
}

/* Looks up items first..end, LOOKUPS_AT_ONCE at a time. */
static inline int run_lookups(ss_btree *tree, const ss_column *keys, uint64_t first, uint64_t end, finish_lookup finish, void *self) {
    lookup lookups[LOOKUPS_AT_ONCE];
    uint32_t running = 0;
    while (running < LOOKUPS_AT_ONCE && first < end) start_lookup(tree, keys, first++, &lookups[running++]);
    while (running > 0) {
        for (uint32_t i = 0; i < running; i++) {
            enum ss_probe_result result = advance_lookup(tree, &lookups[i]);
            if (result == SS_PROBE_CHILD) continue;
            int status = finish(self, &lookups[i], result);
            if (status != SS_OK) return status;
            if (first < end) {
                start_lookup(tree, keys, first++, &lookups[i]);
            } else {
                lookups[i--] = lookups[--running];
                /* The key of a moved lookup lies in its own buffer. */
                if (keys->native && running > 0 && i + 1 < running) lookups[i + 1].key.span.at = lookups[i + 1].buffer;
            }
        }
    }
    return SS_OK;
}

static int ignore_result(void *self, lookup *at, enum ss_probe_result result) {
    (void)self;
    (void)at;
    (void)result;
    return SS_OK;
}

/* Brings the nodes on the way to the next items of the part into the cache. */
static void fetch_ahead(ss_btree *tree, const ss_column_part *keys, uint64_t i) {
    uint64_t first = i - keys->first, count = keys->end - keys->first;
    if (first % AHEAD != 0 || tree->length < SMALL_MAP || tree->root == SS_NULL || !ss_probe_possible(&tree->space)) return;
    (void)run_lookups(tree, &keys->items, first, first + AHEAD < count ? first + AHEAD : count, ignore_result, NULL);
}

/* ---- lookups ---- */

typedef struct value_collector {
    ss_btree *tree;
    const ss_output_column *values; /* NULL: to spans */
    ss_span *spans;
    uint8_t *found;
    uint64_t first; /* the column's item that is item 0 of the part */
} value_collector;

static int keep_value(value_collector *self, uint64_t i, ss_span value, uint64_t address) {
    self->found[i] = 1;
    if (self->values == NULL) {
        self->spans[i] = value;
        return SS_OK;
    }
    if (ss_output_column_store(self->values, i, value.at, value.size)) return SS_OK;
    return ss_fail(SS_CORRUPT, "a fixed-size value has its size", address, value.size, self->values->size);
}

/* The general way, for what a probe cannot settle. */
static int look_up(value_collector *self, uint64_t i, ss_span key) {
    ss_node node;
    uint32_t index;
    ss_span value = {NULL, 0};
    self->found[i] = 0;
    /* Spans lie in the scratch until they are joined; what goes into an array is copied at once. */
    if (self->values != NULL) ss_scratch_reset(&self->tree->space.scratch);
    int status = ss_btree_find_locked(self->tree, key, &node, &index);
    if (status == SS_ABSENT) return SS_OK;
    if (status == SS_OK) status = ss_node_value(&self->tree->space, &node, index, &value);
    return status == SS_OK ? keep_value(self, i, value, node.address) : status;
}

static int finish_with_value(void *of, lookup *at, enum ss_probe_result result) {
    value_collector *self = of;
    uint64_t i = self->first + at->item;
    ss_span value;
    if (result == SS_PROBE_ABSENT) {
        self->found[i] = 0;
        return SS_OK;
    }
    if (result == SS_PROBE_FOUND && ss_probe_value(&self->tree->space, &at->probe, &value)) {
        return keep_value(self, i, value, at->address);
    }
    return look_up(self, i, at->key.span);
}

static int look_up_part(value_collector *self, const ss_column *keys, uint64_t count) {
    ss_btree *tree = self->tree;
    if (tree->root != SS_NULL && ss_probe_possible(&tree->space)) return run_lookups(tree, keys, 0, count, finish_with_value, self);
    int status = SS_OK;
    for (uint64_t i = 0; status == SS_OK && i < count; i++) {
        uint8_t buffer[8];
        status = look_up(self, self->first + i, item(keys, i, buffer));
    }
    return status;
}

static int look_up_all(value_collector *self, const ss_column *keys, uint64_t count) {
    ss_column_part part = {0};
    int status = SS_OK;
    for (uint64_t i = 0; status == SS_OK && i < count; i = part.end) {
        status = ss_column_reach(&part, keys, i, count);
        self->first = part.first;
        if (status == SS_OK) status = look_up_part(self, &part.items, part.end - part.first);
    }
    ss_column_drop(&part);
    return status;
}

int ss_btree_get_many(ss_btree *tree, const ss_column *keys, uint64_t count, const ss_output_column *values, uint8_t *found) {
    ss_btree_reading reading;
    int status = ss_btree_begin_long_read(tree, count, &reading);
    if (status != SS_OK) return status;
    value_collector self = {reading.tree, values, NULL, found, 0};
    status = check_column(keys, tree->key, count);
    if (status == SS_OK) status = look_up_all(&self, keys, count);
    ss_btree_end_long_read(&reading);
    return status;
}

/* The values of all spans behind their ends. */
static int join_spans(const value_collector *self, uint64_t count, ss_result_builder *result) {
    uint64_t size = 8 * count;
    for (uint64_t i = 0; i < count; i++) size += self->found[i] ? self->spans[i].size : 0;
    uint8_t *ends = ss_result_reserve(result, self->tree->handle.memory, size);
    if (ends == NULL) return SS_NO_HEAP;
    uint8_t *at = ends + 8 * count;
    for (uint64_t i = 0; i < count; i++) {
        if (self->found[i]) {
            memcpy(at, self->spans[i].at, (size_t)self->spans[i].size);
            at += self->spans[i].size;
        }
        ss_put64(ends + 8 * i, (uint64_t)(at - ends) - 8 * count);
    }
    return SS_OK;
}

int64_t ss_btree_get_many_bytes(ss_btree *tree, const ss_column *keys, uint64_t count, uint8_t *found) {
    ss_result_builder result = {0};
    value_collector self = {tree, NULL, count > SIZE_MAX / 64 ? NULL : calloc((size_t)count + 1, sizeof(ss_span)), found, 0};
    if (self.spans == NULL) return ss_fail(SS_NO_HEAP, "values on their way out", 0, count, 0);
    ss_btree_reading reading;
    int status = ss_btree_begin_long_read(tree, count, &reading);
    if (status == SS_OK) {
        self.tree = reading.tree;
        status = check_column(keys, tree->key, count);
        if (status == SS_OK) status = look_up_all(&self, keys, count);
        if (status == SS_OK) status = join_spans(&self, count, &result);
        ss_btree_end_long_read(&reading);
    }
    free(self.spans);
    return ss_result_finish(&result, status);
}

/* ---- changes ---- */

/* Begins a change of many steps: each can be taken back, also when a later one fails. */
static int begin_change(ss_btree *tree, ss_output *output) {
    int status = ss_btree_begin_write(tree);
    if (status != SS_OK) return status;
    tree->output = output;
    status = ss_undo_begin_many(tree->handle.memory);
    return status == SS_OK ? SS_OK : ss_leave_write(tree->handle.memory, status);
}

static int64_t end_change(ss_btree *tree, int status, uint64_t changed) {
    status = ss_btree_settle(tree, status);
    if (status == SS_OK) ss_btree_changed(tree);
    return ss_result_size(ss_leave_write(tree->handle.memory, status), changed);
}

/* What each step of a change begins with: the header as the step before left it, and free working storage. */
static int begin_step(ss_btree *tree) {
    ss_scratch_reset(&tree->space.scratch);
    return ss_btree_read_header(tree);
}

static int insert_all(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count, uint64_t *new_keys) {
    ss_column_part k = {0}, v = {0};
    int status = SS_OK;
    for (uint64_t i = 0; status == SS_OK && i < count; i++) {
        uint8_t key[8], value[8];
        status = ss_column_reach(&k, keys, i, count);
        if (status == SS_OK) status = ss_column_reach(&v, values, i, count);
        if (status != SS_OK) break;
        fetch_ahead(tree, &k, i);
        status = begin_step(tree);
        if (status == SS_OK) status = ss_btree_insert_locked(tree, part_item(&k, i, key), part_item(&v, i, value));
        if (status == SS_ABSENT) {
            (*new_keys)++;
            status = SS_OK;
        }
    }
    ss_column_drop(&k);
    ss_column_drop(&v);
    return status;
}

int64_t ss_btree_insert_many(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    uint64_t new_keys = 0;
    int status = begin_change(tree, &output);
    if (status != SS_OK) return status;
    status = check_column(keys, tree->key, count);
    if (status == SS_OK) status = check_column(values, tree->value, count);
    tree->change = SS_CHANGE_VALUES; /* unless it does more */
    if (status == SS_OK) status = insert_all(tree, keys, values, count, &new_keys);
    return end_change(tree, status, new_keys);
}

static int remove_all(ss_btree *tree, const ss_column *keys, uint64_t count, uint8_t *found, uint64_t *removed) {
    ss_column_part k = {0};
    int status = SS_OK;
    for (uint64_t i = 0; status == SS_OK && i < count; i++) {
        uint8_t key[8];
        status = ss_column_reach(&k, keys, i, count);
        if (status != SS_OK) break;
        fetch_ahead(tree, &k, i);
        status = begin_step(tree);
        if (status == SS_OK) status = ss_btree_remove_locked(tree, part_item(&k, i, key));
        found[i] = status == SS_OK;
        *removed += found[i];
        if (status == SS_ABSENT) status = SS_OK;
    }
    ss_column_drop(&k);
    return status;
}

int64_t ss_btree_remove_many(ss_btree *tree, const ss_column *keys, uint64_t count, uint8_t *found) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    uint64_t removed = 0;
    int status = begin_change(tree, &output);
    if (status != SS_OK) return status;
    status = check_column(keys, tree->key, count);
    if (status == SS_OK) status = remove_all(tree, keys, count, found, &removed);
    return end_change(tree, status, removed);
}

static int find_all(ss_btree *tree, const ss_column *keys, uint64_t count, uint8_t *found) {
    int status = SS_OK;
    for (uint64_t i = 0; status >= 0 && i < count; i++) {
        ss_node node;
        uint32_t index;
        uint8_t key[8];
        status = begin_step(tree);
        if (status == SS_OK) status = ss_btree_find_locked(tree, item(keys, i, key), &node, &index);
        found[i] = status == SS_OK;
    }
    return status < 0 ? status : SS_OK;
}

/* Inserts first and removes then: what an insertion needs was not just given back. */
static int toggle_all(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count, uint8_t *found, uint64_t *new_keys) {
    int status = find_all(tree, keys, count, found);
    for (int removing = 0; removing < 2; removing++) {
        for (uint64_t i = 0; status >= 0 && i < count; i++) {
            uint8_t key[8], value[8];
            if (found[i] != removing) continue;
            status = begin_step(tree);
            if (status != SS_OK) break;
            status = removing ? ss_btree_remove_locked(tree, item(keys, i, key))
                              : ss_btree_insert_locked(tree, item(keys, i, key), item(values, i, value));
            *new_keys += !removing;
        }
    }
    return status < 0 ? status : SS_OK;
}

/* Keys are read several times, so columns are copied as a whole. */
static int check_and_toggle(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count, uint8_t *found,
                            uint64_t *new_keys) {
    ss_column_part k = {0}, v = {0};
    int status = check_column(keys, tree->key, count);
    if (status == SS_OK) status = check_column(values, tree->value, count);
    if (status == SS_OK) status = ss_column_copy(&k, keys, count);
    if (status == SS_OK) status = ss_column_copy(&v, values, count);
    if (status == SS_OK) status = check_ascending(tree, &k.items, count);
    if (status == SS_OK) status = toggle_all(tree, &k.items, &v.items, count, found, new_keys);
    ss_column_drop(&k);
    ss_column_drop(&v);
    return status;
}

int64_t ss_btree_toggle_many(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count, uint8_t *found) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    uint64_t new_keys = 0;
    int status = begin_change(tree, &output);
    if (status != SS_OK) return status;
    status = check_and_toggle(tree, keys, values, count, found, &new_keys);
    return end_change(tree, status, new_keys);
}

/* The keys of a map that are not among given ones, which ascend as those of the map do. */
typedef struct others {
    ss_btree *tree;
    const ss_column *keys;
    uint64_t count, next; /* of the given keys, and the first that may be at or above the next key of the map */
    ss_column found;
    uint8_t *bytes; /* back to back, `found.data` */
    uint64_t *ends;
    uint64_t size, room, many, places;
} others;

/* Room for one more key of `size` bytes. */
static int room_for_other(others *self, uint64_t size) {
    if (self->many == self->places) {
        uint64_t places = self->places * 2 + 64;
        uint64_t *ends = realloc(self->ends, (size_t)places * sizeof *ends);
        if (ends == NULL) return ss_fail(SS_NO_HEAP, "keys to be removed", 0, places, 0);
        self->ends = ends;
        self->places = places;
    }
    if (self->bytes != NULL && self->room - self->size >= size) return SS_OK;
    uint64_t room = self->room * 2 + size + 1024;
    uint8_t *bytes = realloc(self->bytes, (size_t)room);
    if (bytes == NULL) return ss_fail(SS_NO_HEAP, "keys to be removed", 0, room, 0);
    self->bytes = bytes;
    self->room = room;
    return SS_OK;
}

static int note_other(void *of, ss_span key) {
    others *self = of;
    for (; self->next < self->count; self->next++) {
        uint8_t buffer[8];
        ss_span given = item(self->keys, self->next, buffer);
        int order, status = ss_order_compare(&self->tree->order, given.at, given.size, key.at, key.size, &order);
        if (status != SS_OK) return status;
        if (order == SS_EQUAL) return SS_OK;
        if (order == SS_GREATER) break;
    }
    int status = room_for_other(self, key.size);
    if (status != SS_OK) return status;
    if (key.size > 0) memcpy(self->bytes + self->size, key.at, (size_t)key.size);
    self->size += key.size;
    self->ends[self->many++] = self->size;
    return SS_OK;
}

static int remove_others(others *self, uint64_t *removed) {
    int status = ss_btree_each_key(self->tree, note_other, self);
    uint8_t *found = status == SS_OK ? malloc((size_t)self->many + 1) : NULL;
    if (status == SS_OK && found == NULL) status = ss_fail(SS_NO_HEAP, "keys to be removed", 0, self->many, 0);
    self->found = (ss_column){.data = self->bytes, .ends = self->ends, .stable = 1};
    if (status == SS_OK) status = remove_all(self->tree, &self->found, self->many, found, removed);
    free(found);
    free(self->bytes);
    free(self->ends);
    return status;
}

/* As check_and_toggle. */
static int check_and_retain(ss_btree *tree, const ss_column *keys, uint64_t count, uint64_t *removed) {
    ss_column_part k = {0};
    others found = {.tree = tree, .keys = &k.items, .count = count};
    int status = check_column(keys, tree->key, count);
    if (status == SS_OK) status = ss_column_copy(&k, keys, count);
    if (status == SS_OK) status = check_ascending(tree, &k.items, count);
    if (status == SS_OK) status = remove_others(&found, removed);
    ss_column_drop(&k);
    return status;
}

int64_t ss_btree_retain_many(ss_btree *tree, const ss_column *keys, uint64_t count) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    uint64_t removed = 0;
    int status = begin_change(tree, &output);
    if (status != SS_OK) return status;
    status = check_and_retain(tree, keys, count, &removed);
    return end_change(tree, status, removed);
}

/* ---- building ----
 *
 * A built map has as few chunks as one of several ways to fill its nodes gives it: full nodes, or, where a full node would
 * need an overflow page that less full ones do not, nodes of fewer entries; at last those that insertions in ascending
 * order leave, so that a built map is never larger than one that was filled one by one. Which way is found by building
 * without writing.
 *
 * Let n be the entries of a subtree + 1, h its height above the leaves. Then 6^(h+1) <= n <= 12^(h+1) (the first not in the
 * root), and the n of its children add up to its own: so any number of children that keeps each share in its bounds will do.
 */

/* Entries that leaves and internal nodes are to have; the shares are even, so it may be one fewer. */
typedef struct filling {
    uint64_t leaf, inner;
    bool as_inserted;
} filling;

typedef struct builder {
    ss_btree *tree;
    const ss_column *keys, *values;
    filling fill;
    bool dry;               /* nothing is written, chunks are counted */
    uint64_t next;          /* item */
    uint64_t chunks, nodes; /* dry only */
    uint8_t previous[8];    /* encoding of the number before `next` */
    int status;
} builder;

/* Bytes of numbers that are encoded for one node. */
typedef struct node_buffer {
    uint8_t key[SS_CAPACITY][8], value[SS_CAPACITY][8];
} node_buffer;

/* Numbers are where the user can change them: those that go into the map are not always those that were checked. */
static int check_again(builder *b, ss_span key) {
    uint32_t size = (uint32_t)key.size;
    bool good = b->next == 0 || (b->tree->order.int_size == size && ss_get_be(b->previous, size) < ss_get_be(key.at, size));
    int status = good ? SS_OK : check_pair(b->tree, (ss_span){b->previous, size}, key, b->next, b->next);
    memcpy(b->previous, key.at, (size_t)key.size);
    return status;
}

static ss_entry next_entry(builder *b, node_buffer *buffer, uint32_t i) {
    ss_entry entry = {item(b->keys, b->next, buffer->key[i]), item(b->values, b->next, buffer->value[i])};
    if (!b->dry && b->keys->native && !b->keys->stable && b->status == SS_OK) b->status = check_again(b, entry.key);
    b->next++;
    return entry;
}

static uint64_t column_bytes(const ss_column *column, uint64_t first, uint64_t count) {
    if (column->ends == NULL) return count * column->size;
    return count == 0 ? 0 : column->ends[first + count - 1] - (first == 0 ? 0 : column->ends[first - 1]);
}

static uint64_t power(uint64_t base, int exponent) {
    uint64_t n = 1;
    while (exponent-- > 0) n *= base;
    return n;
}

static uint64_t ceiling(uint64_t n, uint64_t by) {
    return (n + by - 1) / by;
}

static int count_leaf(builder *b, uint64_t count) {
    uint64_t bytes = column_bytes(b->keys, b->next, count) + column_bytes(b->values, b->next, count);
    b->chunks += ss_node_chunks(&b->tree->space, true, count, bytes);
    b->nodes++;
    b->next += count;
    return SS_OK;
}

static int build_leaf(builder *b, uint64_t count, uint64_t *address) {
    node_buffer buffer;
    ss_entry entries[SS_CAPACITY];
    if (b->dry) return count_leaf(b, count);
    for (uint32_t i = 0; i < count; i++) entries[i] = next_entry(b, &buffer, i);
    int status = b->status;
    if (status == SS_OK) status = ss_node_take(&b->tree->space, address);
    if (status == SS_OK) status = ss_node_fill(&b->tree->space, *address, true, entries, (uint32_t)count, NULL);
    ss_scratch_reset(&b->tree->space.scratch);
    return status;
}

static int put_inner(builder *b, const ss_entry *entries, uint32_t count, const uint64_t *children, uint64_t *address) {
    if (b->dry) {
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < count; i++) bytes += entries[i].key.size + entries[i].value.size;
        b->chunks += ss_node_chunks(&b->tree->space, false, count, bytes);
        b->nodes++;
        return SS_OK;
    }
    int status = b->status;
    if (status == SS_OK) status = ss_node_take(&b->tree->space, address);
    if (status == SS_OK) status = ss_node_fill(&b->tree->space, *address, false, entries, count, children);
    ss_scratch_reset(&b->tree->space.scratch);
    return status;
}

/* How many children a subtree gets. */
static uint64_t parts_for(const filling *fill, uint64_t n, int height, bool is_root) {
    uint64_t ideal = (fill->leaf + 1) * power(fill->inner + 1, height - 1), parts = ceiling(n, ideal);
    uint64_t least = ceiling(n, power(SS_CHILDREN, height)), most = n / power(SS_MINIMUM + 1, height);
    uint64_t fewest = is_root ? 2 : SS_MINIMUM + 1;
    if (most > SS_CHILDREN) most = SS_CHILDREN;
    if (least < fewest) least = fewest;
    return parts < least ? least : parts > most ? most : parts;
}

/* A subtree of the next `count` entries, shared evenly. */
static int build_subtree(builder *b, uint64_t count, int height, bool is_root, uint64_t *address) {
    if (height == 0) return build_leaf(b, count, address);
    node_buffer buffer;
    ss_entry entries[SS_CAPACITY];
    uint64_t children[SS_CHILDREN], parts = parts_for(&b->fill, count + 1, height, is_root);
    uint64_t left = count - (parts - 1);
    int status = SS_OK;
    for (uint64_t i = 0; status == SS_OK && i < parts; i++) {
        uint64_t share = left / (parts - i);
        left -= share;
        status = build_subtree(b, share, height - 1, false, &children[i]);
        if (status == SS_OK && i + 1 < parts) entries[i] = next_entry(b, &buffer, (uint32_t)i);
    }
    return status == SS_OK ? put_inner(b, entries, (uint32_t)(parts - 1), children, address) : status;
}

/* Entries of the nodes on the way to the last leaf, from the leaf up, after insertions in ascending order; every other node
 * has the fewest. Returns the height. */
static int spine_of(uint64_t count, uint64_t spine[SS_DEPTH]) {
    int height = 0;
    spine[0] = 0;
    while (count-- > 0) {
        if (spine[height] == SS_CAPACITY) {
            spine[height++] = SS_MINIMUM;
            spine[height] = 1;
        }
        for (int i = height - 1; i >= 0; i--) {
            if (spine[i] < SS_CAPACITY) continue;
            spine[i] = SS_MINIMUM;
            spine[i + 1]++;
        }
        spine[0]++;
    }
    return height;
}

static int build_spine(builder *b, const uint64_t *spine, int height, uint64_t *address) {
    if (height == 0) return build_leaf(b, spine[0], address);
    node_buffer buffer;
    ss_entry entries[SS_CAPACITY];
    uint64_t children[SS_CHILDREN], count = spine[height];
    int status = SS_OK;
    for (uint64_t i = 0; status == SS_OK && i < count; i++) {
        status = build_subtree(b, power(SS_MINIMUM + 1, height) - 1, height - 1, false, &children[i]);
        if (status == SS_OK) entries[i] = next_entry(b, &buffer, (uint32_t)i);
    }
    if (status == SS_OK) status = build_spine(b, spine, height - 1, &children[count]);
    return status == SS_OK ? put_inner(b, entries, (uint32_t)count, children, address) : status;
}

/* The least height at which the nodes are no fuller than they are to be; no node but the root may have too few then. */
static int height_for(const filling *fill, uint64_t n) {
    int height = 0;
    while ((fill->leaf + 1) * power(fill->inner + 1, height) < n) height++;
    while (height > 0 && n < 2 * power(SS_MINIMUM + 1, height)) height--;
    return height;
}

static int build_filled(builder *b, uint64_t count, uint64_t *root) {
    uint64_t spine[SS_DEPTH];
    b->next = b->chunks = b->nodes = 0;
    if (!b->fill.as_inserted) return build_subtree(b, count, height_for(&b->fill, count + 1), true, root);
    int height = spine_of(count, spine);
    return build_spine(b, spine, height, root);
}

/* Chunks of the map with its nodes filled like this. */
static uint64_t chunks_of(builder *b, uint64_t count, filling fill) {
    uint64_t nowhere;
    b->fill = fill;
    b->dry = true;
    (void)build_filled(b, count, &nowhere); /* nothing of it can fail */
    b->dry = false;
    return b->chunks;
}

static void try_fill(builder *b, uint64_t count, filling fill, filling *best, uint64_t *least) {
    uint64_t chunks = chunks_of(b, count, fill);
    if (chunks >= *least) return;
    *least = chunks;
    *best = fill;
}

/* Nodes that are full have the fewest chunks where none of them needs an overflow page. */
static filling choose_fill(builder *b, uint64_t count) {
    static const filling full = {SS_CAPACITY, SS_CAPACITY, false}, inserted = {SS_MINIMUM, SS_MINIMUM, true};
    filling best = full;
    uint64_t least = chunks_of(b, count, full);
    if (least == b->nodes) return best;
    for (uint64_t leaf = SS_CAPACITY - 1; leaf >= SS_MINIMUM; leaf--) {
        try_fill(b, count, (filling){leaf, SS_CAPACITY, false}, &best, &least);
    }
    uint64_t leaf = best.leaf;
    for (uint64_t inner = SS_CAPACITY - 1; inner >= SS_MINIMUM; inner--) try_fill(b, count, (filling){leaf, inner, false}, &best, &least);
    try_fill(b, count, inserted, &best, &least);
    return best;
}

static int build(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count) {
    builder b = {.tree = tree, .keys = keys, .values = values};
    int status = check_ascending(tree, keys, count);
    if (status != SS_OK || count == 0) return status;
    b.fill = choose_fill(&b, count);
    status = build_filled(&b, count, &tree->root);
    tree->length = count;
    if (status == SS_OK) status = ss_btree_write_header(tree);
    if (status != SS_OK || tree->companion_ops == NULL) return status;
    return tree->companion_ops->replaced(tree->companion);
}

/* Keys are read twice, and wait for their node to be filled, so encodings are copied as a whole. */
static int check_and_build(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count) {
    ss_column_part k = {0}, v = {0};
    if (tree->root != SS_NULL) return ss_fail(SS_ARGUMENT, "only an empty map can be built", 0, tree->length, 0);
    int status = check_column(keys, tree->key, count);
    if (status == SS_OK) status = check_column(values, tree->value, count);
    if (status == SS_OK) status = ss_column_take(&k, keys, 0, count, UINT64_MAX);
    if (status == SS_OK) status = ss_column_take(&v, values, 0, count, UINT64_MAX);
    if (status == SS_OK) status = build(tree, &k.items, &v.items, count);
    ss_column_drop(&k);
    ss_column_drop(&v);
    return status;
}

int ss_btree_build(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    int status = begin_change(tree, &output);
    if (status != SS_OK) return status;
    return (int)end_change(tree, check_and_build(tree, keys, values, count), 0);
}
