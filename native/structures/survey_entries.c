/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a map that is not trusted, in batches: in the order of its keys, or node by node as they lie.
 *
 * A walk has one node of each level, `at` counts its steps: child 0, entry 0, child 1, ... (in a leaf only the entries). It enters
 * no more nodes than there are chunks, which ends walks through nodes that have several parents.
 */
#include <stdlib.h>

#include "structures/survey_internal.h"

#define MOST_NOTES 100000

typedef struct level {
    ss_seen_node node;
    uint32_t at;
} level;

struct ss_entries {
    ss_seen_space space;
    bool keys_only, by_chunks;
    uint64_t *chunks;
    uint64_t chunk_count, next_chunk;
    uint64_t left;  /* nodes that may be entered */
    level *levels;  /* SS_DEPTHS of them */
    uint32_t depth; /* levels that are open */
    bool began;
    ss_survey_notes notes;
    ss_seen_bytes keys, values, key_ends, value_ends, nodes, numbers;
    uint64_t count, value_bytes;
};

/* ---- a batch ---- */

static int put64(ss_seen_bytes *column, uint64_t number) {
    int status = ss_seen_reserve(column, 8);
    if (status != SS_OK) return status;
    ss_put64(column->at + column->size, number);
    column->size += 8;
    return SS_OK;
}

static int put_key(ss_entries *e, const ss_seen_node *node, uint32_t i) {
    int status = ss_seen_reserve(&e->keys, node->key_sizes[i] + 1);
    if (status != SS_OK) return status;
    memcpy(e->keys.at + e->keys.size, node->keys[i], (size_t)node->key_sizes[i]);
    e->keys.size += node->key_sizes[i];
    return put64(&e->key_ends, e->keys.size);
}

static int put_value(ss_entries *e, ss_seen_node *node, uint32_t i) {
    e->value_bytes += node->value_sizes[i];
    if (!e->keys_only) {
        int status = ss_seen_reserve(&e->values, node->value_sizes[i] + 1);
        if (status == SS_OK) {
            status = ss_seen_node_copy(&e->space, node, node->value_at[i], node->value_sizes[i], e->values.at + e->values.size);
        }
        if (status != SS_OK) return status;
        e->values.size += node->value_sizes[i];
    }
    return put64(&e->value_ends, e->value_bytes);
}

static int put_entry(ss_entries *e, ss_seen_node *node, uint32_t i) {
    int status = put_key(e, node, i);
    if (status == SS_OK) status = put_value(e, node, i);
    if (status == SS_OK) status = put64(&e->nodes, node->address);
    if (status == SS_OK) status = ss_seen_reserve(&e->numbers, 1);
    if (status != SS_OK) return status;
    e->numbers.at[e->numbers.size++] = (uint8_t)i;
    e->count++;
    return SS_OK;
}

/* ---- the walk ---- */

/* SS_OK, also where the node is left out for what a note says: then it is not open. */
static int enter(ss_entries *e, uint64_t address) {
    ss_survey_note note;
    int status;
    if (e->depth == SS_DEPTHS)
        status = ss_seen_wrong(&note, SS_RULE_DEPTH, address, e->depth, SS_DEPTHS);
    else if (e->left == 0)
        status = ss_seen_wrong(&note, SS_RULE_ONCE, address, SS_REACHED_OVERFLOW, SS_REACHED_NODE);
    else
        status = ss_seen_node_read(&e->space, address, &e->levels[e->depth].node, &note);
    if (e->left > 0) e->left--;
    if (status == SS_CORRUPT) return ss_notes_add(&e->notes, &note);
    if (status != SS_OK) return status;
    e->levels[e->depth++].at = 0;
    return SS_OK;
}

/* The next step of the deepest open node. */
static int go_on(ss_entries *e) {
    level *l = &e->levels[e->depth - 1];
    uint32_t at = l->at++, count = l->node.count;
    if (l->node.leaf) {
        if (at < count) return put_entry(e, &l->node, at);
        e->depth--;
        return SS_OK;
    }
    if (at > 2 * count) {
        e->depth--;
        return SS_OK;
    }
    return at % 2 == 0 ? enter(e, l->node.children[at / 2]) : put_entry(e, &l->node, at / 2);
}

static int walk_on(ss_entries *e) {
    if (e->depth > 0) return go_on(e);
    if (e->began || e->space.frame.root == SS_NULL) return SS_ABSENT;
    e->began = true;
    return enter(e, e->space.frame.root);
}

/* All entries of the next node. */
static int next_chunk(ss_entries *e) {
    if (e->next_chunk == e->chunk_count) return SS_ABSENT;
    uint64_t address = SS_FIRST_CHUNK + e->chunks[e->next_chunk++] * e->space.stride + SS_CHUNK_HEADER;
    ss_seen_node *node = &e->levels[0].node;
    ss_survey_note note;
    int status = ss_seen_node_read(&e->space, address, node, &note);
    if (status == SS_CORRUPT) return ss_notes_add(&e->notes, &note);
    for (uint32_t i = 0; i < node->count && status == SS_OK; i++) status = put_entry(e, node, i);
    return status;
}

static void empty(ss_entries *e) {
    e->keys.size = e->values.size = e->key_ends.size = e->value_ends.size = e->nodes.size = e->numbers.size = 0;
    e->count = e->value_bytes = 0;
}

int ss_entries_next(ss_entries *e, uint64_t bytes, ss_entries_batch *batch) {
    *batch = (ss_entries_batch){0};
    int status = ss_enter_read(e->space.memory);
    if (status != SS_OK) return status;
    bool shared = ss_share_read(e->space.memory);
    empty(e);
    while (status == SS_OK && (e->count == 0 || e->keys.size + e->values.size + 24 * e->count < bytes)) {
        status = e->by_chunks ? next_chunk(e) : walk_on(e);
    }
    ss_leave_shared(e->space.memory, shared);
    if (status < 0) return status;
    *batch = (ss_entries_batch){e->count,
                                e->keys.at,
                                e->values.at,
                                (const uint64_t *)(void *)e->key_ends.at,
                                (const uint64_t *)(void *)e->value_ends.at,
                                (const uint64_t *)(void *)e->nodes.at,
                                e->numbers.at};
    return e->count > 0 ? SS_OK : SS_ABSENT;
}

const ss_survey_notes *ss_entries_notes(const ss_entries *e) {
    return &e->notes;
}

/* ---- life ---- */

static int keep_chunks(ss_entries *e, const uint64_t *chunks, uint64_t count) {
    e->by_chunks = chunks != NULL;
    if (chunks == NULL) return SS_OK;
    e->chunks = malloc((size_t)(count + 1) * sizeof *e->chunks);
    if (e->chunks == NULL) return ss_fail(SS_NO_HEAP, "chunks to read", 0, count, 0);
    memcpy(e->chunks, chunks, (size_t)count * sizeof *e->chunks);
    e->chunk_count = count;
    for (uint64_t i = 0; i < count; i++) {
        if (chunks[i] >= e->space.chunks) return ss_fail(SS_ARGUMENT, "number of a chunk", 0, chunks[i], e->space.chunks);
    }
    return SS_OK;
}

int ss_entries_new(ss_memory *memory, const ss_map_frame *frame, const uint64_t *chunks, uint64_t chunk_count, bool keys_only,
                   ss_entries **out) {
    *out = NULL;
    int status = ss_seen_check_frame(frame);
    if (status != SS_OK) return status;
    ss_entries *e = calloc(1, sizeof *e);
    if (e == NULL) return ss_fail(SS_NO_HEAP, "entries", 0, sizeof *e, 0);
    ss_seen_space_init(&e->space, memory, frame);
    ss_memory_retain(memory);
    e->keys_only = keys_only;
    e->left = e->space.chunks;
    e->notes.limit = MOST_NOTES;
    e->levels = calloc(SS_DEPTHS, sizeof *e->levels);
    status = e->levels == NULL ? ss_fail(SS_NO_HEAP, "entries", 0, SS_DEPTHS, 0) : keep_chunks(e, chunks, chunk_count);
    if (status == SS_OK)
        *out = e;
    else
        ss_entries_free(e);
    return status;
}

void ss_entries_free(ss_entries *e) {
    if (e == NULL) return;
    for (uint32_t i = 0; i < SS_DEPTHS && e->levels != NULL; i++) ss_seen_node_free(&e->levels[i].node);
    ss_seen_bytes *columns[] = {&e->keys, &e->values, &e->key_ends, &e->value_ends, &e->nodes, &e->numbers};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) free(columns[i]->at);
    free(e->levels);
    free(e->chunks);
    free(e->notes.list);
    ss_memory_release(e->space.memory);
    free(e);
}
