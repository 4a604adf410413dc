/* SPDX-License-Identifier: Apache-2.0 */
/* Computing the hashes of a map's entries, and bringing them up to date after a change (layout and invariants: certified_records.c). */
#include <stdlib.h>

#include "structures/certified_internal.h"

/* ---- building a subtree from the entries ----
 *
 * The entries come in order. `open` holds the subtrees that may still grow, each with the position where it parts from the next one; these
 * ascend, so what parts at a higher position than the next two entries do is finished. */

typedef struct open_subtree {
    ss_edge e;
    uint64_t parts; /* from the next one */
} open_subtree;

typedef struct builder {
    ss_hashes *c;
    ss_span region; /* a key; entries count that share its first `bits` bits */
    uint64_t bits;
    ss_row open;
    ss_row last; /* the key before */
    bool only_compare;
    uint64_t records; /* that there must be */
} builder;

static open_subtree *top_of(builder *b, uint64_t below) {
    return (open_subtree *)(void *)b->open.bytes + b->open.size / sizeof(open_subtree) - 1 - below;
}

static int keep_fork(builder *b, ss_span key, uint64_t position, const ss_edge sides[2]) {
    ss_edge found[2];
    b->records++;
    if (!b->only_compare) return ss_write_fork(b->c, key, position, sides);
    int status = ss_find_fork(b->c, key, position, found);
    if (status == SS_ABSENT) return ss_hashes_differ(0, sides[0].count + sides[1].count);
    for (int i = 0; status == SS_OK && i < 2; i++) {
        bool same = found[i].count == sides[i].count && found[i].position == sides[i].position;
        if (!same || memcmp(found[i].hash, sides[i].hash, SS_SHA256_SIZE) != 0) return ss_hashes_differ(found[i].count, sides[i].count);
    }
    return status;
}

/* Joins what parts behind `position`. */
static int finish_behind(builder *b, uint64_t position, bool all) {
    ss_span last = {b->last.bytes, b->last.size};
    while (b->open.size >= 2 * sizeof(open_subtree) && (all || top_of(b, 1)->parts > position)) {
        uint64_t parts = top_of(b, 1)->parts;
        ss_edge sides[2] = {top_of(b, 1)->e, top_of(b, 0)->e};
        b->open.size -= sizeof(open_subtree);
        ss_edge joined = ss_forked(&sides[0], &sides[1], parts);
        int status = joined.count > SS_CERTIFIED_BUCKET ? keep_fork(b, last, parts, sides) : SS_OK;
        if (status != SS_OK) return status;
        top_of(b, 0)->e = joined;
    }
    return SS_OK;
}

static int build_entry(void *of, ss_node *node, uint32_t index) {
    builder *b = of;
    ss_space *space = &b->c->map->space;
    ss_span key, value, last = {b->last.bytes, b->last.size};
    int status = ss_node_key(space, node, index, &key);
    if (status != SS_OK) return status;
    if (!ss_in_region(b->region, b->bits, key)) return SS_ABSENT;
    if (b->open.size > 0) {
        uint64_t parts = ss_branch_position(last, key);
        if (parts == UINT64_MAX || !ss_bit_at(key, parts))
            return ss_fail(SS_CORRUPT, "keys ascend by their bytes", node->address, index, 0);
        status = finish_behind(b, parts, false);
        if (status != SS_OK) return status;
        top_of(b, 0)->parts = parts;
    }
    status = ss_node_value(space, node, index, &value);
    open_subtree one = {.e = {0}};
    if (status == SS_OK) one.e = ss_entry_edge(key, value);
    if (status == SS_OK) status = ss_row_append(&b->open, &one, sizeof one);
    b->last.size = 0;
    return status == SS_OK ? ss_row_append(&b->last, key.at, key.size) : status;
}

/* Computes the subtree of the entries that share the first `bits` bits of `region`, and its records. */
static int build_region(builder *b, ss_edge *made) {
    ss_row start = {0};
    int status = SS_OK;
    if (b->bits > 0 && ss_row_grow(&start, b->bits / 9 + 1) == NULL) status = SS_NO_HEAP;
    ss_span from = {start.bytes, status == SS_OK && b->bits > 0 ? ss_prefix_of(b->region, b->bits, start.bytes) : 0};
    if (status == SS_OK) status = ss_btree_each_entry(b->c->map, b->bits > 0 ? &from : NULL, build_entry, b);
    if (status == SS_ABSENT) status = SS_OK;
    if (status == SS_OK) status = finish_behind(b, 0, true);
    if (status == SS_OK) *made = b->open.size > 0 ? top_of(b, 0)->e : ss_no_edge();
    ss_row_drop(&start);
    ss_row_drop(&b->open);
    ss_row_drop(&b->last);
    return status;
}

/* ---- forgetting the records of a region ---- */

typedef struct gathering {
    ss_hashes *c;
    ss_span prefix; /* of the region */
    uint64_t bits;
    ss_row keys, ends;
} gathering;

/* Records of the region, and those above it whose keys happen to look alike. */
static int gather_key(void *of, ss_node *node, uint32_t index) {
    gathering *g = of;
    ss_span key;
    int status = ss_node_key(&g->c->hashes->space, node, index, &key);
    if (status != SS_OK) return status;
    uint64_t whole = g->bits / 9, extra = g->bits % 9;
    if (key.size < g->prefix.size || memcmp(key.at, g->prefix.at, (size_t)(whole < g->prefix.size ? whole : g->prefix.size)) != 0) {
        return SS_ABSENT;
    }
    if (extra > 1 && whole < g->prefix.size && ((key.at[whole] ^ g->prefix.at[whole]) & (0xff00u >> (extra - 1)) & 0xff) != 0)
        return SS_ABSENT;
    if (key.size < SS_POSITION_SIZE || ss_get_be(key.at + key.size - SS_POSITION_SIZE, SS_POSITION_SIZE) < g->bits) return SS_OK;
    status = ss_row_append(&g->keys, key.at, key.size);
    return status == SS_OK ? ss_row_append(&g->ends, &g->keys.size, 8) : status;
}

static ss_span nth_key(const ss_row *keys, const ss_row *ends, uint64_t i) {
    uint64_t begin = i == 0 ? 0 : ss_get64(ends->bytes + 8 * (i - 1));
    return (ss_span){keys->bytes + begin, ss_get64(ends->bytes + 8 * i) - begin};
}

static int forget_region(ss_hashes *c, ss_span region, uint64_t bits) {
    if (bits == 0) {
        int status = ss_hashes_begin_step(c);
        return status == SS_OK ? ss_btree_clear_locked(c->hashes) : status;
    }
    ss_row prefix = {0};
    gathering g = {.c = c, .bits = bits};
    int status = ss_row_grow(&prefix, bits / 9 + 1) == NULL ? SS_NO_HEAP : ss_hashes_begin_step(c);
    if (status == SS_OK) {
        g.prefix = (ss_span){prefix.bytes, ss_prefix_of(region, bits, prefix.bytes)};
        status = ss_btree_each_entry(c->hashes, &g.prefix, gather_key, &g);
    }
    if (status == SS_ABSENT) status = SS_OK;
    for (uint64_t i = 0; status == SS_OK && i < g.ends.size / 8; i++) status = ss_drop_record(c, nth_key(&g.keys, &g.ends, i));
    ss_row_drop(&prefix);
    ss_row_drop(&g.keys);
    ss_row_drop(&g.ends);
    return status;
}

static int rebuild(ss_hashes *c, ss_span region, uint64_t bits, const ss_edge *old, ss_edge *made) {
    builder b = {.c = c, .region = region, .bits = bits};
    int status = old == NULL || old->count > SS_CERTIFIED_BUCKET ? forget_region(c, region, bits) : SS_OK;
    return status == SS_OK ? build_region(&b, made) : status;
}

/* ---- bringing the hashes up to date ---- */

/* A subtree with touched keys, on the way down and up again. */
typedef struct frame {
    uint64_t first, end; /* of the touched keys, sorted */
    uint64_t bits;       /* that all keys of the subtree share with them */
    ss_edge old, sides[2];
    uint64_t position, middle;
    bool existed;
    int stage; /* how many sides are up to date */
} frame;

typedef struct update {
    ss_hashes *c;
    const ss_span *touched;
    ss_row frames;
    ss_edge result; /* of the frame that ended last */
} update;

static frame *top_frame(update *u) {
    return (frame *)(void *)(u->frames.bytes + u->frames.size - sizeof(frame));
}

static int push(update *u, uint64_t first, uint64_t end, uint64_t bits, const ss_edge *old) {
    frame f = {.first = first, .end = end, .bits = bits, .old = *old};
    return ss_row_append(&u->frames, &f, sizeof f);
}

/* Looks for an entry of the region that was not touched, and so was in the old subtree. */
typedef struct search {
    ss_hashes *c;
    const ss_span *touched;
    uint64_t next, end;
    ss_row found;
} search;

static int look_at(void *of, ss_node *node, uint32_t index) {
    search *s = of;
    ss_span key;
    int status = ss_node_key(&s->c->map->space, node, index, &key);
    if (status != SS_OK) return status;
    int order = SS_GREATER;
    while (s->next < s->end) {
        order = ss_compare_bytes(key.at, key.size, s->touched[s->next].at, s->touched[s->next].size);
        if (order != SS_GREATER) break;
        s->next++;
    }
    if (s->next < s->end && order == SS_EQUAL) return SS_OK;
    status = ss_row_append(&s->found, key.at, key.size);
    return status == SS_OK ? SS_ABSENT : status;
}

static int find_untouched(update *u, const frame *f, ss_row *found) {
    search s = {.c = u->c, .touched = u->touched, .next = f->first, .end = f->end};
    ss_row prefix = {0};
    if (ss_row_grow(&prefix, f->bits / 9 + 1) == NULL) return SS_NO_HEAP;
    ss_span from = {prefix.bytes, ss_prefix_of(u->touched[f->first], f->bits, prefix.bytes)};
    int status = ss_btree_each_entry(u->c->map, &from, look_at, &s);
    ss_row_drop(&prefix);
    *found = s.found;
    if (status == SS_OK) return ss_hashes_differ(0, f->old.count);
    return status == SS_ABSENT ? SS_OK : status;
}

/* Where the subtree forks now: where it did, or above that where a new key parts from the old ones. */
static int place_fork(update *u, frame *f) {
    ss_span low = u->touched[f->first], high = u->touched[f->end - 1];
    ss_row found = {0};
    ss_span sample = low;
    int status = ss_find_fork(u->c, low, f->old.position, f->sides);
    if (status == SS_ABSENT) {
        sample = high;
        status = ss_find_fork(u->c, high, f->old.position, f->sides);
    }
    if (status == SS_ABSENT) {
        status = find_untouched(u, f, &found);
        sample = (ss_span){found.bytes, found.size};
    }
    uint64_t a = ss_branch_position(low, sample), b = ss_branch_position(high, sample);
    f->position = a < b ? a : b;
    f->existed = f->position >= f->old.position;
    if (status == SS_OK && f->existed) {
        f->position = f->old.position;
        if (found.bytes != NULL) status = ss_hashes_differ(0, f->old.count); /* then its record would have been found */
    } else if (status == SS_OK) {
        bool side = ss_bit_at(sample, f->position);
        f->sides[side] = f->old;
        f->sides[!side] = ss_no_edge();
    }
    ss_row_drop(&found);
    return status;
}

static void split_touched(const update *u, frame *f) {
    uint64_t low = f->first, high = f->end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (ss_bit_at(u->touched[middle], f->position)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    f->middle = low;
}

/* Both sides are up to date. */
static int join_sides(update *u, const frame *f, ss_edge *made) {
    ss_span key = u->touched[f->first];
    bool both = f->sides[0].count > 0 && f->sides[1].count > 0;
    *made = both ? ss_forked(&f->sides[0], &f->sides[1], f->position) : f->sides[f->sides[0].count > 0 ? 0 : 1];
    if (both && made->count > SS_CERTIFIED_BUCKET) return ss_write_fork(u->c, key, f->position, f->sides);
    return f->existed ? ss_drop_fork(u->c, key, f->position) : SS_OK;
}

static int begin_frame(update *u, frame *f, bool *ended) {
    uint64_t many = f->end - f->first;
    *ended = f->old.count <= SS_CERTIFIED_BUCKET || many >= f->old.count / 4;
    if (*ended) return rebuild(u->c, u->touched[f->first], f->bits, &f->old, &u->result);
    int status = place_fork(u, f);
    if (status == SS_OK) split_touched(u, f);
    return status;
}

static int end_frame(update *u) {
    frame f = *top_frame(u);
    u->frames.size -= sizeof f;
    return join_sides(u, &f, &u->result);
}

/* Passes the result to the frame above. */
static void hand_up(update *u) {
    if (u->frames.size == 0) return;
    frame *f = top_frame(u);
    f->sides[f->stage - 1] = u->result;
}

/* One step: a side that has touched keys is gone into, or the frame ends. */
static int step(update *u) {
    frame *f = top_frame(u);
    bool ended = false;
    if (f->stage == 0) {
        int status = begin_frame(u, f, &ended);
        if (status != SS_OK) return status;
        if (ended) {
            u->frames.size -= sizeof *f;
            hand_up(u);
            return SS_OK;
        }
    }
    while (f->stage < 2) {
        int side = f->stage++;
        uint64_t first = side == 0 ? f->first : f->middle, end = side == 0 ? f->middle : f->end;
        if (first < end) {
            ss_edge old = f->sides[side];
            return push(u, first, end, f->position + 1, &old);
        }
    }
    int status = end_frame(u);
    if (status == SS_OK) hand_up(u);
    return status;
}

static int update_touched(ss_hashes *c, const ss_span *touched, uint64_t count, ss_edge *all) {
    update u = {.c = c, .touched = touched};
    int status = push(&u, 0, count, 0, all);
    while (status == SS_OK && u.frames.size > 0) status = step(&u);
    *all = u.result;
    ss_row_drop(&u.frames);
    return status;
}

static int compare_spans(const void *a, const void *b) {
    const ss_span *x = a, *y = b;
    return ss_compare_bytes(x->at, x->size, y->at, y->size);
}

/* The touched keys, sorted, each once. */
static ss_span *sorted_keys(const ss_hashes *c, uint64_t *count) {
    uint64_t n = *count, kept = 0;
    ss_span *spans = malloc((size_t)n * sizeof *spans + 1);
    if (spans == NULL) {
        ss_record_failure(SS_NO_HEAP, "keys that were touched", 0, n, 0);
        return NULL;
    }
    bool ascend = true;
    for (uint64_t i = 0; i < n; i++) {
        spans[i] = nth_key(&c->dirty, &c->ends, i);
        ascend = ascend && (i == 0 || compare_spans(&spans[i - 1], &spans[i]) < 0);
    }
    if (ascend) return spans;
    qsort(spans, (size_t)n, sizeof *spans, compare_spans);
    for (uint64_t i = 0; i < n; i++) {
        if (i == 0 || compare_spans(&spans[kept - 1], &spans[i]) != 0) spans[kept++] = spans[i];
    }
    *count = kept;
    return spans;
}

static int bring_up_to_date(ss_hashes *c, ss_edge *all) {
    uint64_t count = c->ends.size / 8;
    if (c->replaced || count >= all->count / 4) return rebuild(c, ss_root_key, 0, NULL, all);
    ss_span *touched = sorted_keys(c, &count);
    if (touched == NULL) return SS_NO_HEAP;
    int status = update_touched(c, touched, count, all);
    free(touched);
    return status;
}

/* ---- the companion of the map ---- */

static int companion_begin(void *self) {
    ss_hashes *c = self;
    ss_row_reset(&c->dirty);
    ss_row_reset(&c->ends);
    c->replaced = false;
    return ss_undo_begin_many(c->map->handle.memory);
}

static int companion_touched(void *self, ss_span key) {
    ss_hashes *c = self;
    if (key.size >= SS_MOST_HASHED_KEY)
        return ss_fail(SS_BOUND_EXCEEDED, "largest key of a map with hashes", 0, key.size, SS_MOST_HASHED_KEY - 1);
    if (c->replaced) return SS_OK;
    int status = ss_row_append(&c->dirty, key.at, key.size);
    return status == SS_OK ? ss_row_append(&c->ends, &c->dirty.size, 8) : status;
}

static int companion_replaced(void *self) {
    ss_hashes *c = self;
    c->replaced = true;
    return SS_OK;
}

static int companion_settle(void *self) {
    ss_hashes *c = self;
    ss_edge all;
    if (!c->replaced && c->ends.size == 0) return SS_OK;
    ss_scratch_reset(&c->map->space.scratch);
    int status = ss_btree_read_header(c->map);
    if (status == SS_OK) status = ss_read_root(c, &all);
    if (status == SS_OK) status = bring_up_to_date(c, &all);
    if (status == SS_OK && all.count != c->map->length) status = ss_hashes_differ(all.count, c->map->length);
    return status == SS_OK ? ss_write_root(c, &all) : status;
}

static int companion_check(void *self, ss_report report, void *of) {
    ss_hashes *c = self;
    ss_edge all, made;
    ss_check check = {report, of, {0}};
    builder b = {.c = c, .only_compare = true};
    int status = ss_hashes_begin_step(c);
    if (status == SS_OK) status = ss_btree_check_locked(c->hashes, report, of);
    if (status == SS_OK) status = ss_read_root(c, &all);
    if (status == SS_OK) status = build_region(&b, &made);
    if (status == SS_OK && (memcmp(all.hash, made.hash, SS_SHA256_SIZE) != 0 || all.position != made.position))
        status = ss_hashes_differ(all.count, made.count);
    if (status == SS_OK && all.count != made.count) status = ss_hashes_differ(all.count, made.count);
    if (status == SS_OK && c->hashes->length != b.records + 1) status = ss_hashes_differ(c->hashes->length, b.records + 1);
    return ss_check_end(&check, ss_check_note(&check, status));
}

static int companion_detach(void *self) {
    ss_hashes *c = self;
    return ss_btree_detach(c->hashes);
}

static void companion_free(void *self) {
    ss_hashes *c = self;
    ss_btree_free(c->hashes);
    ss_row_drop(&c->dirty);
    ss_row_drop(&c->ends);
    ss_row_drop(&c->key);
    free(c);
}

static const ss_companion_ops companion_ops = {.begin = companion_begin,
                                               .touched = companion_touched,
                                               .replaced = companion_replaced,
                                               .settle = companion_settle,
                                               .check = companion_check,
                                               .detach = companion_detach,
                                               .free = companion_free};

/* ---- opening ---- */

static int open_hashes(ss_hashes *c, ss_memory *memory, int mode) {
    ss_order_term bytes = {.kind = SS_ORDER_BYTES, .max_size = SS_UNBOUNDED, .part = {-1, -1, -1}};
    uint64_t most = c->map->key.max_size;
    ss_bound key = {.max_size = most == SS_UNBOUNDED ? SS_UNBOUNDED : most + SS_POSITION_SIZE},
             value = {.max_size = SS_RECORD_SIZE, .fixed = 1};
    bytes.max_size = key.max_size;
    ss_btree_types types = {.terms = &bytes, .term_count = 1, .key = key, .value = value};
    return ss_btree_open_beside(c->map, memory, mode, &types, &c->hashes);
}

/* Whether there are hashes, and that they count the entries of the map. */
static int look_for_hashes(ss_hashes *c, bool *found) {
    ss_edge all;
    int status = ss_hashes_begin_step(c);
    *found = status == SS_OK && c->hashes->length > 0;
    if (status != SS_OK || !*found) return status;
    status = ss_read_root(c, &all);
    return status == SS_OK && all.count != c->map->length ? ss_hashes_differ(all.count, c->map->length) : status;
}

static int first_hashes(ss_hashes *c) {
    ss_edge all;
    int status = rebuild(c, ss_root_key, 0, NULL, &all);
    return status == SS_OK ? ss_write_root(c, &all) : status;
}

static int settle_in(ss_hashes *c, int mode) {
    bool found = false;
    int status = look_for_hashes(c, &found);
    if (status != SS_OK || found) return status;
    if (mode == SS_LOAD) return ss_fail(SS_CORRUPT, "the map of hashes has the edge of everything", 0, 0, 0);
    return c->map->handle.writing ? first_hashes(c) : ss_fail(SS_READ_ONLY, "there are no hashes yet", 0, 0, 0);
}

typedef struct place {
    ss_memory *memory;
    int mode;
} place;

/* With the lock of the map: what it opens is what the map gets beside it, or nothing. */
static int put_beside(ss_btree *map, void *self) {
    const place *hashes = self;
    if (map->order.terms[0].kind != SS_ORDER_BYTES) return ss_fail(SS_INCOMPATIBLE, "keys with hashes are ordered by their bytes", 0, 0, 0);
    if (hashes->memory->root != map->handle.memory->root) {
        return ss_fail(SS_ARGUMENT, "a map and its hashes lie in memories of one manager", 0, 0, 0);
    }
    ss_hashes *c = calloc(1, sizeof *c);
    if (c == NULL) return ss_fail(SS_NO_HEAP, "hashes of a map", 0, sizeof *c, 0);
    c->map = map;
    int status = open_hashes(c, hashes->memory, hashes->mode);
    if (status == SS_OK) status = settle_in(c, hashes->mode);
    if (status != SS_OK) {
        companion_free(c);
        return status;
    }
    map->companion = c;
    map->companion_ops = &companion_ops;
    return SS_OK;
}

int ss_certified_open(ss_memory *memory, ss_memory *hashes, int mode, const ss_order_term *terms, uint32_t term_count,
                      ss_order_callback callback, void *self, ss_bound key, ss_bound value, ss_btree **out) {
    ss_btree_types types = {terms, term_count, callback, self, key, value};
    place beside = {hashes, mode};
    return ss_btree_open_with(memory, mode, &types, put_beside, &beside, out);
}

/* Takes the lock, for writing if there may be hashes to write. */
static int begin_attach(ss_btree *map, int mode) {
    map->handle.writing = mode != SS_LOAD;
    int status = map->handle.writing ? ss_btree_begin_write(map) : ss_btree_begin_read(map);
    if (status != SS_READ_ONLY || mode == SS_NEW) return status;
    map->handle.writing = false;
    return ss_btree_begin_read(map);
}

static int end_attach(ss_btree *map, int status) {
    if (map->handle.writing) {
        status = ss_leave_write(map->handle.memory, status);
    } else {
        ss_leave_read(map->handle.memory);
    }
    if (status == SS_OK || map->companion_ops == NULL) return status;
    map->companion_ops = NULL;
    companion_free(map->companion);
    return status;
}

int ss_certified_attach(ss_btree *map, ss_memory *hashes, int mode) {
    if (map == NULL) return ss_fail(SS_CLOSED, "no map", 0, 0, 0);
    if (map->companion_ops != NULL) return ss_fail(SS_ARGUMENT, "a map has its hashes once", 0, 0, 0);
    int status = begin_attach(map, mode);
    if (status != SS_OK) return status;
    if (map->handle.writing) status = ss_undo_begin_many(map->handle.memory);
    return end_attach(map, status == SS_OK ? put_beside(map, &(place){hashes, mode}) : status);
}

int ss_hashes_of(ss_btree *map, ss_hashes **c) {
    int status = ss_btree_begin_read(map);
    if (status != SS_OK) return status;
    *c = map->companion;
    if (map->companion_ops == &companion_ops) return SS_OK;
    ss_leave_read(map->handle.memory);
    return ss_fail(SS_ARGUMENT, "a map with hashes", 0, 0, 0);
}

int64_t ss_certified_root(ss_btree *map) {
    ss_hashes *c;
    ss_edge all;
    ss_result_builder result = {0};
    int status = ss_hashes_of(map, &c);
    if (status != SS_OK) return status;
    status = ss_read_root(c, &all);
    if (status == SS_OK) {
        uint8_t *room = ss_result_reserve(&result, map->handle.memory, SS_SHA256_SIZE);
        if (room == NULL) status = SS_NO_HEAP;
        if (room != NULL) memcpy(room, all.hash, SS_SHA256_SIZE);
    }
    ss_leave_read(map->handle.memory);
    return ss_result_finish(&result, status);
}

int ss_certified_usage(ss_btree *map, struct ss_usage *usage) {
    if (map == NULL) return ss_fail(SS_CLOSED, "no map", 0, 0, 0);
    if (map->companion_ops != &companion_ops) return ss_fail(SS_ARGUMENT, "a map with hashes", 0, 0, 0);
    ss_hashes *c = map->companion;
    return ss_btree_usage(c->hashes, usage);
}
