/* SPDX-License-Identifier: Apache-2.0 */
/* Proofs in CBOR.
 *
 * What is shown is a run of entries, from `low` to `high`: the range, and the keys next to it without their values. A subtree outside of it
 * is its hash. Each hash on the way is computed again and compared, so a witness never proves what is not in the map. */
#include "structures/certified_internal.h"
#include "structures/cursor.h"

typedef struct witness {
    ss_hashes *c;
    ss_row out;
    ss_row frames;
    ss_row low, high;         /* keys of the first and the last entry that is shown */
    bool low_only, high_only; /* of them the key is shown, and the value is not */
} witness;

/* A subtree that is to be written. */
typedef struct part {
    ss_edge e;
    uint64_t bits;
    bool has_low, has_high; /* they lie in it */
    bool hidden;
    ss_row own; /* a key of it, if it has neither */
} part;

static int write_head(ss_row *out, uint8_t major, uint64_t number) {
    uint8_t head[9];
    uint32_t size = number < 24 ? 0 : number < 256 ? 1 : number < 65536 ? 2 : number <= UINT32_MAX ? 4 : 8;
    head[0] = (uint8_t)((unsigned)major << 5 | (size == 0 ? number : size == 1 ? 24 : size == 2 ? 25 : size == 4 ? 26 : 27));
    if (size > 0) ss_put_be(head + 1, size, number);
    return ss_row_append(out, head, 1 + size);
}

static int write_bytes(ss_row *out, const char *node, ss_span bytes) {
    int status = ss_row_append(out, node, 2);
    if (status == SS_OK) status = write_head(out, 2, bytes.size);
    return status == SS_OK ? ss_row_append(out, bytes.at, bytes.size) : status;
}

static int write_pruned(ss_row *out, const uint8_t hash[SS_SHA256_SIZE]) {
    return write_bytes(out, "\x82\x04", (ss_span){hash, SS_SHA256_SIZE});
}

static ss_span row_span(const ss_row *r) {
    return (ss_span){r->bytes, r->size};
}

/* ---- a bucket ---- */

enum shown { HIDDEN, KEY_ONLY, WHOLE };

typedef struct bucket_entry {
    uint64_t key, key_size, value, value_size; /* in `bytes` */
    uint64_t parts;                            /* from the next one */
    uint8_t leaf[SS_SHA256_SIZE], hash[SS_SHA256_SIZE];
    enum shown shown;
} bucket_entry;

typedef struct bucket {
    witness *w;
    ss_span region;
    uint64_t bits;
    uint32_t count;
    bucket_entry entries[SS_CERTIFIED_BUCKET];
    ss_row bytes;
} bucket;

static enum shown how_shown(const witness *w, ss_span key) {
    ss_span low = row_span(&w->low), high = row_span(&w->high);
    int from = ss_compare_bytes(key.at, key.size, low.at, low.size), to = ss_compare_bytes(key.at, key.size, high.at, high.size);
    if (from == SS_LESS || to == SS_GREATER) return HIDDEN;
    return (from == SS_EQUAL && w->low_only) || (to == SS_EQUAL && w->high_only) ? KEY_ONLY : WHOLE;
}

static ss_span bucket_key(const bucket *b, uint32_t i) {
    return (ss_span){b->bytes.bytes + b->entries[i].key, b->entries[i].key_size};
}

static int take_entry(void *of, ss_node *node, uint32_t index) {
    bucket *b = of;
    ss_space *space = &b->w->c->map->space;
    ss_span key, value;
    int status = ss_node_key(space, node, index, &key);
    if (status == SS_OK && !ss_in_region(b->region, b->bits, key)) return SS_ABSENT;
    if (status == SS_OK && b->count == SS_CERTIFIED_BUCKET) return ss_hashes_differ(b->count, b->count + 1);
    if (status == SS_OK) status = ss_node_value(space, node, index, &value);
    if (status != SS_OK) return status;
    bucket_entry *e = &b->entries[b->count];
    *e = (bucket_entry){.shown = how_shown(b->w, key), .key = b->bytes.size, .key_size = key.size};
    ss_hash_leaf(value, e->leaf);
    ss_hash_entry(key, e->leaf, e->hash);
    status = ss_row_append(&b->bytes, key.at, key.size);
    e->value = b->bytes.size;
    e->value_size = value.size;
    if (status == SS_OK && e->shown == WHOLE) status = ss_row_append(&b->bytes, value.at, value.size);
    if (status == SS_OK && b->count > 0)
        b->entries[b->count - 1].parts = ss_branch_position(bucket_key(b, b->count - 1), bucket_key(b, b->count));
    b->count++;
    return status;
}

/* Of entries first..last, the one behind which the subtree forks. */
static uint32_t fork_behind(const bucket *b, uint32_t first, uint32_t last) {
    uint32_t least = first;
    for (uint32_t i = first + 1; i < last; i++) {
        if (b->entries[i].parts < b->entries[least].parts) least = i;
    }
    return least;
}

/* Recursion ends after SS_CERTIFIED_BUCKET levels. */
static void bucket_hash(const bucket *b, uint32_t first, uint32_t last, uint8_t hash[SS_SHA256_SIZE]) {
    uint8_t left[SS_SHA256_SIZE], right_side[SS_SHA256_SIZE];
    if (first == last) {
        memcpy(hash, b->entries[first].hash, SS_SHA256_SIZE);
        return;
    }
    uint32_t middle = fork_behind(b, first, last);
    bucket_hash(b, first, middle, left);
    bucket_hash(b, middle + 1, last, right_side);
    ss_hash_fork(left, right_side, hash);
}

static int write_entry(const bucket *b, uint32_t i) {
    const bucket_entry *e = &b->entries[i];
    ss_row *out = &b->w->out;
    int status = ss_row_append(out, "\x83\x02", 2);
    ss_span key = bucket_key(b, i);
    if (status == SS_OK) status = write_head(out, 2, key.size);
    if (status == SS_OK) status = ss_row_append(out, key.at, key.size);
    if (status != SS_OK || e->shown == KEY_ONLY) return status == SS_OK ? write_pruned(out, e->leaf) : status;
    return write_bytes(out, "\x82\x03", (ss_span){b->bytes.bytes + e->value, e->value_size});
}

static int write_bucket(const bucket *b, uint32_t first, uint32_t last) {
    bool any = false;
    uint8_t hash[SS_SHA256_SIZE];
    for (uint32_t i = first; i <= last; i++) any = any || b->entries[i].shown != HIDDEN;
    if (!any) {
        bucket_hash(b, first, last, hash);
        return write_pruned(&b->w->out, hash);
    }
    if (first == last) return write_entry(b, first);
    uint32_t middle = fork_behind(b, first, last);
    int status = ss_row_append(&b->w->out, "\x83\x01", 2);
    if (status == SS_OK) status = write_bucket(b, first, middle);
    return status == SS_OK ? write_bucket(b, middle + 1, last) : status;
}

/* Writes the subtree of the entries that share the first `bits` bits of `region`. */
static int show_bucket(witness *w, const ss_edge *e, ss_span region, uint64_t bits) {
    bucket b = {.w = w, .region = region, .bits = bits};
    ss_row start = {0};
    uint8_t hash[SS_SHA256_SIZE];
    int status = ss_row_grow(&start, bits / 9 + 1) == NULL ? SS_NO_HEAP : SS_OK;
    ss_span from = {start.bytes, status == SS_OK ? ss_prefix_of(region, bits, start.bytes) : 0};
    if (status == SS_OK) status = ss_btree_each_entry(w->c->map, &from, take_entry, &b);
    if (status == SS_ABSENT) status = SS_OK;
    if (status == SS_OK && b.count != e->count) status = ss_hashes_differ(e->count, b.count);
    if (status == SS_OK) {
        bucket_hash(&b, 0, b.count - 1, hash);
        if (memcmp(hash, e->hash, SS_SHA256_SIZE) != 0) status = ss_hashes_differ(0, b.count);
    }
    if (status == SS_OK) status = write_bucket(&b, 0, b.count - 1);
    ss_row_drop(&start);
    ss_row_drop(&b.bytes);
    return status;
}

/* ---- the way to the buckets ---- */

static ss_span sample_of(const witness *w, const part *p) {
    return p->has_low ? row_span(&w->low) : p->has_high ? row_span(&w->high) : row_span(&p->own);
}

static int push_part(witness *w, const part *p) {
    return ss_row_append(&w->frames, p, sizeof *p);
}

/* A key of the side of `above` that forks at `position`: the first one, which the map tells. */
static int find_sample(witness *w, ss_span above, uint64_t position, bool side, ss_row *own) {
    ss_row start = {0};
    ss_span key;
    if (ss_row_grow(&start, position / 9 + 2) == NULL) return SS_NO_HEAP;
    uint64_t size = ss_prefix_of(above, position, start.bytes), bit = position % 9;
    if (bit == 0 && side) start.bytes[size++] = 0;
    if (bit > 0 && side) start.bytes[position / 9] |= (uint8_t)(1u << (8 - bit));
    int status = ss_btree_neighbour(w->c->map, (ss_span){start.bytes, size}, true, true, &key);
    if (status == SS_OK) status = ss_row_append(own, key.at, key.size);
    ss_row_drop(&start);
    return status == SS_ABSENT ? ss_hashes_differ(0, 1) : status;
}

static int make_side(witness *w, const part *p, uint64_t position, const ss_edge *e, bool side, part *made) {
    ss_span low = row_span(&w->low), high = row_span(&w->high);
    bool low_here = p->has_low && ss_bit_at(low, position) == side, high_here = p->has_high && ss_bit_at(high, position) == side;
    *made = (part){.e = *e, .bits = position + 1, .has_low = low_here, .has_high = high_here};
    /* On the wrong side of an end that lies in the subtree. */
    made->hidden = (p->has_low && !low_here && !side) || (p->has_high && !high_here && side);
    if (made->hidden || low_here || high_here) return SS_OK;
    return find_sample(w, sample_of(w, p), position, side, &made->own);
}

static int show_fork(witness *w, const part *p) {
    ss_edge sides[2];
    uint8_t hash[SS_SHA256_SIZE];
    part parts[2] = {{.bits = 0}, {.bits = 0}};
    int status = ss_find_fork(w->c, sample_of(w, p), p->e.position, sides);
    if (status == SS_ABSENT) return ss_hashes_differ(0, p->e.count);
    if (status != SS_OK) return status;
    ss_hash_fork(sides[0].hash, sides[1].hash, hash);
    if (memcmp(hash, p->e.hash, SS_SHA256_SIZE) != 0 || sides[0].count + sides[1].count != p->e.count)
        return ss_hashes_differ(p->e.count, sides[0].count);
    status = ss_row_append(&w->out, "\x83\x01", 2);
    for (int side = 1; side >= 0; side--) {
        if (status == SS_OK) status = make_side(w, p, p->e.position, &sides[side], side != 0, &parts[side]);
        if (status == SS_OK) status = push_part(w, &parts[side]);
        if (status != SS_OK) ss_row_drop(&parts[side].own);
    }
    return status;
}

static int show_part(witness *w, const part *p) {
    if (p->hidden) return write_pruned(&w->out, p->e.hash);
    if (p->e.count > SS_CERTIFIED_BUCKET) return show_fork(w, p);
    return show_bucket(w, &p->e, sample_of(w, p), p->bits);
}

static int pop_part(witness *w, part *p) {
    w->frames.size -= sizeof *p;
    memcpy(p, w->frames.bytes + w->frames.size, sizeof *p);
    return SS_OK;
}

/* Writes everything; `low` and `high` are entries of the map. */
static int show_all(witness *w) {
    part p = {.has_low = true, .has_high = true};
    int status = ss_read_root(w->c, &p.e);
    if (status == SS_OK && p.e.count != w->c->map->length) status = ss_hashes_differ(p.e.count, w->c->map->length);
    if (status == SS_OK) status = push_part(w, &p);
    while (status == SS_OK && w->frames.size > 0) {
        status = pop_part(w, &p);
        if (status == SS_OK) status = show_part(w, &p);
        ss_row_drop(&p.own);
    }
    while (w->frames.size > 0 && pop_part(w, &p) == SS_OK) ss_row_drop(&p.own);
    return status;
}

static int64_t end_witness(witness *w, int status) {
    ss_result_builder result = {0};
    ss_memory *memory = w->c->map->handle.memory;
    if (status == SS_OK) {
        uint8_t *room = ss_result_reserve(&result, memory, w->out.size);
        if (room == NULL) status = SS_NO_HEAP;
        if (room != NULL) memcpy(room, w->out.bytes, (size_t)w->out.size);
    }
    ss_leave_read(memory);
    ss_row_drop(&w->out);
    ss_row_drop(&w->frames);
    ss_row_drop(&w->low);
    ss_row_drop(&w->high);
    return ss_result_finish(&result, status);
}

static int show_key(witness *w, ss_span key) {
    ss_span value;
    uint64_t address;
    int status = ss_btree_check_key(w->c->map, key);
    if (status == SS_OK) status = ss_btree_value_locked(w->c->map, key, false, &address, &value);
    if (status == SS_OK) status = ss_row_append(&w->low, key.at, key.size);
    if (status == SS_OK) status = ss_row_append(&w->high, key.at, key.size);
    return status == SS_OK ? show_all(w) : status;
}

int64_t ss_certified_witness(ss_btree *map, const uint8_t *key, uint64_t key_size) {
    witness w = {0};
    int status = ss_hashes_of(map, &w.c);
    return status == SS_OK ? end_witness(&w, show_key(&w, (ss_span){key, key_size})) : status;
}

/* One end of what is shown: the key next to the range on that side, else the end of the map. */
static int find_end(witness *w, bool open, ss_span end, bool back, bool also, ss_row *kept, bool *only) {
    ss_btree *map = w->c->map;
    ss_span key;
    int status = open ? SS_ABSENT : ss_btree_neighbour(map, end, back, also, &key);
    *only = status == SS_OK;
    if (status == SS_ABSENT && !back) status = ss_btree_neighbour(map, ss_root_key, true, true, &key);
    if (status == SS_ABSENT && back) status = ss_btree_last_key(map, &key);
    return status == SS_OK ? ss_row_append(kept, key.at, key.size) : status;
}

static int show_range(witness *w, int from, ss_span start, int to, ss_span stop) {
    if (w->c->map->root == SS_NULL) return ss_row_append(&w->out, "\x81\x00", 2);
    int status = find_end(w, from == SS_FROM_FIRST, start, false, from == SS_AFTER, &w->low, &w->low_only);
    if (status == SS_OK) status = find_end(w, to == SS_TO_LAST, stop, true, to == SS_BEFORE, &w->high, &w->high_only);
    if (status != SS_OK) return status;
    if (ss_compare_bytes(w->low.bytes, w->low.size, w->high.bytes, w->high.size) == SS_GREATER) {
        return ss_fail(SS_ARGUMENT, "a range that is proven ends behind its start", 0, 0, 0);
    }
    return show_all(w);
}

int64_t ss_certified_witness_range(ss_btree *map, int from, const uint8_t *start, uint64_t start_size, int to, const uint8_t *stop,
                                   uint64_t stop_size) {
    witness w = {0};
    int status = ss_hashes_of(map, &w.c);
    if (status != SS_OK) return status;
    return end_witness(&w, show_range(&w, from, (ss_span){start, start_size}, to, (ss_span){stop, stop_size}));
}
