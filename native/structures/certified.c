/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of a map's entries, in a second map: a binary trie over the keys.
 *
 * A key is read as bits: for each byte a 1 and its eight bits, highest first, and a 0 at the end. So position 9 n asks whether there is a
 * byte n, and positions 9 n + 1 to 9 n + 8 are its bits; the order of the bits is the order of the bytes. A subtree of two or more entries
 * forks at the first position where its keys differ: a 0 goes left, a 1 right. So the tree, and its root hash, depend on the entries alone.
 *
 *     one entry   labeled(key, leaf(value))
 *     more        fork(left, right)
 *     none        empty
 *
 * An edge is what is known of a subtree: 44 bytes, numbers big-endian.
 *
 *     0  8  entries
 *     8  4  position where it forks; 0 for at most SS_CERTIFIED_BUCKET entries
 *    12 32  hash
 *
 * The second map holds, 88 bytes each:
 *     under the empty key                                 the edge of everything, "CERT", version, bucket (4 each), 32 zeros
 *     under PREFIX POSITION, for each subtree of more     the edges of its left and its right side
 *     than SS_CERTIFIED_BUCKET entries
 * PREFIX are the bytes of the bits before the position that all keys of the subtree have, the last one filled up with zeros; POSITION has 4
 * bytes.
 *
 * Invariants
 *  E1  The edge of everything counts the entries of the map; between operations it has the hash of exactly these.
 *  E2  There is a record for each subtree of more than SS_CERTIFIED_BUCKET entries, and no other.
 *  E3  A change of the map changes both maps under one lock and in one undo scope: both, or none.
 *
 * Nothing recurses over keys: a trie is as deep as a key has bits. */
#include "structures/certified.h"

#include <stdlib.h>

#include "core/sha256.h"
#include "memory/answer.h"
#include "structures/btree_internal.h"
#include "structures/cursor.h"

enum { EDGE = 44, RECORD = 2 * EDGE, HASH = SS_SHA256_SIZE, POSITION = 4, VERSION = 1, KEPT = 1 << 16 };
#define MOST_KEY (UINT64_C(1) << 28) /* so that a position has 4 bytes */
#define NOT_THE_SAME "the hashes are those of the map's entries (if something else has changed the map, make them anew with rehash)"

typedef struct edge {
    uint64_t count;
    uint32_t position;
    uint8_t hash[HASH];
} edge;

/* A growing row of bytes. */
typedef struct row {
    uint8_t *bytes;
    uint64_t size, room;
} row;

typedef struct certified {
    ss_btree *map, *hashes;
    ss_reply reply; /* of the operations on `hashes` */
    row dirty;      /* keys that the running operation touched, end to end */
    row ends;       /* 8 bytes each */
    bool replaced;
    row key; /* of a record */
} certified;

static int not_the_same(uint64_t number, uint64_t limit) {
    return ss_fail(SS_CORRUPT, NOT_THE_SAME, 0, number, limit);
}

/* ---- rows ---- */

static uint8_t *grow(row *r, uint64_t more) {
    if (r->room - r->size < more) {
        uint64_t room = 2 * r->room > r->size + more ? 2 * r->room : r->size + more + 64;
        uint8_t *bytes = realloc(r->bytes, (size_t)room);
        if (bytes == NULL) {
            ss_record_failure(SS_NO_HEAP, "hashes of a map", 0, room, 0);
            return NULL;
        }
        r->bytes = bytes;
        r->room = room;
    }
    r->size += more;
    return r->bytes + r->size - more;
}

static int append(row *r, const void *bytes, uint64_t size) {
    if (size == 0) return SS_OK;
    uint8_t *to = grow(r, size);
    if (to == NULL) return SS_NO_HEAP;
    memcpy(to, bytes, (size_t)size);
    return SS_OK;
}

static void drop(row *r) {
    free(r->bytes);
    *r = (row){0};
}

/* Empties it; what was large is given back. */
static void reset(row *r) {
    r->size = 0;
    if (r->room > KEPT) drop(r);
}

/* ---- positions ---- */

static uint64_t branch_position(ss_span a, ss_span b) {
    uint64_t n = a.size < b.size ? a.size : b.size, i = 0;
    while (n - i >= 8 && ss_get64(a.at + i) == ss_get64(b.at + i)) i += 8;
    while (i < n && a.at[i] == b.at[i]) i++;
    if (i == n) return a.size == b.size ? UINT64_MAX : 9 * n;
    return 9 * i + 1 + (uint64_t)(__builtin_clz((unsigned)(a.at[i] ^ b.at[i])) - 24);
}

static bool bit_at(ss_span key, uint64_t position) {
    uint64_t byte = position / 9, bit = position % 9;
    if (bit == 0) return key.size > byte;
    return byte < key.size && (key.at[byte] >> (8 - bit) & 1) != 0;
}

/* The bytes of the first `position` bits of the key. `to` has room for position / 9 + 1. */
static uint64_t prefix_of(ss_span key, uint64_t position, uint8_t *to) {
    uint64_t whole = position / 9, bit = position % 9;
    uint64_t copied = whole < key.size ? whole : key.size;
    if (copied > 0) memcpy(to, key.at, (size_t)copied);
    if (bit == 0 || whole >= key.size) return copied;
    to[whole] = (uint8_t)(key.at[whole] & (0xff00u >> (bit - 1)));
    return whole + 1;
}

/* ---- hashes ---- */

static void hash_two(const char *separator, size_t size, ss_span one, ss_span other, uint8_t hash[HASH]) {
    ss_sha256 sha;
    ss_sha256_begin(&sha);
    ss_sha256_add(&sha, separator, size);
    ss_sha256_add(&sha, one.at, one.size);
    ss_sha256_add(&sha, other.at, other.size);
    ss_sha256_end(&sha, hash);
}

#define SEPARATED(text, one, other, hash) hash_two(text, sizeof(text) - 1, one, other, hash)

static void hash_leaf(ss_span value, uint8_t hash[HASH]) {
    SEPARATED("\x10ic-hashtree-leaf", value, ((ss_span){value.at, 0}), hash);
}

static void hash_entry(ss_span key, const uint8_t leaf[HASH], uint8_t hash[HASH]) {
    SEPARATED("\x13ic-hashtree-labeled", key, ((ss_span){leaf, HASH}), hash);
}

static void hash_fork(const uint8_t left[HASH], const uint8_t right_side[HASH], uint8_t hash[HASH]) {
    SEPARATED("\x10ic-hashtree-fork", ((ss_span){left, HASH}), ((ss_span){right_side, HASH}), hash);
}

static edge no_edge(void) {
    edge e = {0};
    ss_span nothing = {e.hash, 0};
    SEPARATED("\x11ic-hashtree-empty", nothing, nothing, e.hash);
    return e;
}

static edge forked(const edge *left, const edge *right_side, uint64_t position) {
    edge e = {.count = left->count + right_side->count};
    e.position = e.count > SS_CERTIFIED_BUCKET ? (uint32_t)position : 0;
    hash_fork(left->hash, right_side->hash, e.hash);
    return e;
}

static edge entry_edge(ss_span key, ss_span value) {
    edge e = {.count = 1};
    uint8_t leaf[HASH];
    hash_leaf(value, leaf);
    hash_entry(key, leaf, e.hash);
    return e;
}

/* ---- records ---- */

static void put_edge(uint8_t *to, const edge *e) {
    ss_put_be(to, 8, e->count);
    ss_put_be(to + 8, 4, e->position);
    memcpy(to + 12, e->hash, HASH);
}

static edge get_edge(const uint8_t *from) {
    edge e = {.count = ss_get_be(from, 8), .position = (uint32_t)ss_get_be(from + 8, 4)};
    memcpy(e.hash, from + 12, HASH);
    return e;
}

/* Begins a step on the second map, which lies on the root that is locked. */
static int begin_step(certified *c) {
    ss_btree *hashes = c->hashes;
    int status = ss_memory_refresh(hashes->handle.memory);
    if (status != SS_OK) return status;
    ss_scratch_reset(&hashes->space.scratch);
    hashes->reply = &c->reply;
    return ss_btree_read_header(hashes);
}

static int record_key(certified *c, ss_span key, uint64_t position, ss_span *span) {
    c->key.size = 0;
    if (grow(&c->key, position / 9 + 1 + POSITION) == NULL) return SS_NO_HEAP;
    uint64_t size = prefix_of(key, position, c->key.bytes);
    ss_put_be(c->key.bytes + size, POSITION, position);
    *span = (ss_span){c->key.bytes, size + POSITION};
    return SS_OK;
}

static int read_record(certified *c, ss_span at, uint8_t record[RECORD]) {
    ss_node node;
    uint32_t index;
    ss_span value;
    int status = begin_step(c);
    if (status == SS_OK) status = c->hashes->root == SS_NULL ? SS_ABSENT : ss_btree_find(c->hashes, at, &node, &index);
    if (status == SS_OK) status = ss_node_value(&c->hashes->space, &node, index, &value);
    if (status != SS_OK) return status;
    if (value.size != RECORD) return ss_fail(SS_CORRUPT, "a record of hashes has 88 bytes", node.address, value.size, RECORD);
    memcpy(record, value.at, RECORD);
    return SS_OK;
}

static int write_record(certified *c, ss_span at, const uint8_t record[RECORD]) {
    int status = begin_step(c);
    if (status == SS_OK) status = ss_btree_insert(c->hashes, at, (ss_span){record, RECORD});
    return status < 0 ? status : SS_OK;
}

static int drop_record(certified *c, ss_span at) {
    int status = begin_step(c);
    if (status == SS_OK) status = ss_btree_remove(c->hashes, at);
    return status == SS_ABSENT ? not_the_same(0, 1) : status;
}

/* The two sides of the subtree that forks at `position` and has the prefix of `key`. SS_ABSENT if there is no such record. */
static int find_fork(certified *c, ss_span key, uint64_t position, edge sides[2]) {
    ss_span at;
    uint8_t record[RECORD];
    int status = record_key(c, key, position, &at);
    if (status == SS_OK) status = read_record(c, at, record);
    if (status != SS_OK) return status;
    sides[0] = get_edge(record);
    sides[1] = get_edge(record + EDGE);
    bool good = sides[0].count != 0 && sides[1].count != 0 && sides[0].count < UINT64_MAX / 2 && sides[1].count < UINT64_MAX / 2;
    for (int i = 0; i < 2; i++) {
        bool heavy = sides[i].count > SS_CERTIFIED_BUCKET;
        good = good && (heavy ? sides[i].position > position : sides[i].position == 0);
    }
    return good ? SS_OK : ss_fail(SS_CORRUPT, "a record of hashes has two sides that fork below it", 0, sides[0].count, sides[1].count);
}

static int write_fork(certified *c, ss_span key, uint64_t position, const edge sides[2]) {
    ss_span at;
    uint8_t record[RECORD];
    put_edge(record, &sides[0]);
    put_edge(record + EDGE, &sides[1]);
    int status = record_key(c, key, position, &at);
    return status == SS_OK ? write_record(c, at, record) : status;
}

static int drop_fork(certified *c, ss_span key, uint64_t position) {
    ss_span at;
    int status = record_key(c, key, position, &at);
    return status == SS_OK ? drop_record(c, at) : status;
}

static const ss_span root_key = {(const uint8_t *)"", 0};

static void put_root(uint8_t record[RECORD], const edge *all) {
    memset(record, 0, RECORD);
    put_edge(record, all);
    memcpy(record + EDGE, "CERT", 4);
    ss_put_be(record + EDGE + 4, 4, VERSION);
    ss_put_be(record + EDGE + 8, 4, SS_CERTIFIED_BUCKET);
}

static int read_root(certified *c, edge *all) {
    uint8_t record[RECORD], wanted[RECORD];
    int status = read_record(c, root_key, record);
    if (status == SS_ABSENT) return ss_fail(SS_CORRUPT, "the map of hashes has the edge of everything", 0, 0, 0);
    if (status != SS_OK) return status;
    *all = get_edge(record);
    put_root(wanted, all);
    if (memcmp(record, wanted, RECORD) != 0) return ss_fail(SS_BAD_VERSION, "version of the hashes of a map", 0, record[EDGE + 7], VERSION);
    if ((all->count > SS_CERTIFIED_BUCKET) != (all->position != 0) && all->count <= SS_CERTIFIED_BUCKET)
        return not_the_same(all->position, 0);
    return SS_OK;
}

static int write_root(certified *c, const edge *all) {
    uint8_t record[RECORD];
    put_root(record, all);
    return write_record(c, root_key, record);
}

/* ---- building a subtree from the entries ----
 *
 * The entries come in order. `open` holds the subtrees that may still grow, each with the position where it parts from the next one; these
 * ascend, so what parts at a higher position than the next two entries do is finished. */

typedef struct open_subtree {
    edge e;
    uint64_t parts; /* from the next one */
} open_subtree;

typedef struct builder {
    certified *c;
    ss_span region; /* a key; entries count that share its first `bits` bits */
    uint64_t bits;
    row open;
    row last; /* the key before */
    bool only_compare;
    uint64_t records; /* that there must be */
} builder;

static open_subtree *top_of(builder *b, uint64_t below) {
    return (open_subtree *)(void *)b->open.bytes + b->open.size / sizeof(open_subtree) - 1 - below;
}

static int keep_fork(builder *b, ss_span key, uint64_t position, const edge sides[2]) {
    edge found[2];
    b->records++;
    if (!b->only_compare) return write_fork(b->c, key, position, sides);
    int status = find_fork(b->c, key, position, found);
    if (status == SS_ABSENT) return not_the_same(0, sides[0].count + sides[1].count);
    for (int i = 0; status == SS_OK && i < 2; i++) {
        bool same = found[i].count == sides[i].count && found[i].position == sides[i].position;
        if (!same || memcmp(found[i].hash, sides[i].hash, HASH) != 0) return not_the_same(found[i].count, sides[i].count);
    }
    return status;
}

/* Joins what parts behind `position`. */
static int finish_behind(builder *b, uint64_t position, bool all) {
    ss_span last = {b->last.bytes, b->last.size};
    while (b->open.size >= 2 * sizeof(open_subtree) && (all || top_of(b, 1)->parts > position)) {
        uint64_t parts = top_of(b, 1)->parts;
        edge sides[2] = {top_of(b, 1)->e, top_of(b, 0)->e};
        b->open.size -= sizeof(open_subtree);
        edge joined = forked(&sides[0], &sides[1], parts);
        int status = joined.count > SS_CERTIFIED_BUCKET ? keep_fork(b, last, parts, sides) : SS_OK;
        if (status != SS_OK) return status;
        top_of(b, 0)->e = joined;
    }
    return SS_OK;
}

static bool in_region(ss_span region, uint64_t bits, ss_span key) {
    return bits == 0 || branch_position(region, key) >= bits;
}

static int build_entry(void *of, ss_node *node, uint32_t index) {
    builder *b = of;
    ss_space *space = &b->c->map->space;
    ss_span key, value, last = {b->last.bytes, b->last.size};
    int status = ss_node_key(space, node, index, &key);
    if (status != SS_OK) return status;
    if (!in_region(b->region, b->bits, key)) return SS_ABSENT;
    if (b->open.size > 0) {
        uint64_t parts = branch_position(last, key);
        if (parts == UINT64_MAX || !bit_at(key, parts)) return ss_fail(SS_CORRUPT, "keys ascend by their bytes", node->address, index, 0);
        status = finish_behind(b, parts, false);
        if (status != SS_OK) return status;
        top_of(b, 0)->parts = parts;
    }
    status = ss_node_value(space, node, index, &value);
    open_subtree one = {.e = {0}};
    if (status == SS_OK) one.e = entry_edge(key, value);
    if (status == SS_OK) status = append(&b->open, &one, sizeof one);
    b->last.size = 0;
    return status == SS_OK ? append(&b->last, key.at, key.size) : status;
}

/* Computes the subtree of the entries that share the first `bits` bits of `region`, and its records. */
static int build_region(builder *b, edge *made) {
    row start = {0};
    int status = SS_OK;
    if (b->bits > 0 && grow(&start, b->bits / 9 + 1) == NULL) status = SS_NO_HEAP;
    ss_span from = {start.bytes, b->bits > 0 ? prefix_of(b->region, b->bits, start.bytes) : 0};
    if (status == SS_OK) status = ss_btree_each_entry(b->c->map, b->bits > 0 ? &from : NULL, build_entry, b);
    if (status == SS_ABSENT) status = SS_OK;
    if (status == SS_OK) status = finish_behind(b, 0, true);
    if (status == SS_OK) *made = b->open.size > 0 ? top_of(b, 0)->e : no_edge();
    drop(&start);
    drop(&b->open);
    drop(&b->last);
    return status;
}

/* ---- forgetting the records of a region ---- */

typedef struct gathering {
    certified *c;
    ss_span prefix; /* of the region */
    uint64_t bits;
    row keys, ends;
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
    if (key.size < POSITION || ss_get_be(key.at + key.size - POSITION, POSITION) < g->bits) return SS_OK;
    status = append(&g->keys, key.at, key.size);
    return status == SS_OK ? append(&g->ends, &g->keys.size, 8) : status;
}

static ss_span nth_key(const row *keys, const row *ends, uint64_t i) {
    uint64_t begin = i == 0 ? 0 : ss_get64(ends->bytes + 8 * (i - 1));
    return (ss_span){keys->bytes + begin, ss_get64(ends->bytes + 8 * i) - begin};
}

static int forget_region(certified *c, ss_span region, uint64_t bits) {
    if (bits == 0) {
        int status = begin_step(c);
        return status == SS_OK ? ss_btree_clear_locked(c->hashes) : status;
    }
    row prefix = {0};
    gathering g = {.c = c, .bits = bits};
    int status = grow(&prefix, bits / 9 + 1) == NULL ? SS_NO_HEAP : begin_step(c);
    if (status == SS_OK) {
        g.prefix = (ss_span){prefix.bytes, prefix_of(region, bits, prefix.bytes)};
        status = ss_btree_each_entry(c->hashes, &g.prefix, gather_key, &g);
    }
    if (status == SS_ABSENT) status = SS_OK;
    for (uint64_t i = 0; status == SS_OK && i < g.ends.size / 8; i++) status = drop_record(c, nth_key(&g.keys, &g.ends, i));
    drop(&prefix);
    drop(&g.keys);
    drop(&g.ends);
    return status;
}

static int rebuild(certified *c, ss_span region, uint64_t bits, const edge *old, edge *made) {
    builder b = {.c = c, .region = region, .bits = bits};
    int status = old == NULL || old->count > SS_CERTIFIED_BUCKET ? forget_region(c, region, bits) : SS_OK;
    return status == SS_OK ? build_region(&b, made) : status;
}

/* ---- bringing the hashes up to date ---- */

/* A subtree with touched keys, on the way down and up again. */
typedef struct frame {
    uint64_t first, end; /* of the touched keys, sorted */
    uint64_t bits;       /* that all keys of the subtree share with them */
    edge old, sides[2];
    uint64_t position, middle;
    bool existed;
    int stage; /* how many sides are up to date */
} frame;

typedef struct update {
    certified *c;
    const ss_span *touched;
    row frames;
    edge result; /* of the frame that ended last */
} update;

static frame *top_frame(update *u) {
    return (frame *)(void *)(u->frames.bytes + u->frames.size - sizeof(frame));
}

static int push(update *u, uint64_t first, uint64_t end, uint64_t bits, const edge *old) {
    frame f = {.first = first, .end = end, .bits = bits, .old = *old};
    return append(&u->frames, &f, sizeof f);
}

/* Looks for an entry of the region that was not touched, and so was in the old subtree. */
typedef struct search {
    certified *c;
    const ss_span *touched;
    uint64_t next, end;
    row found;
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
    status = append(&s->found, key.at, key.size);
    return status == SS_OK ? SS_ABSENT : status;
}

static int find_untouched(update *u, const frame *f, row *found) {
    search s = {.c = u->c, .touched = u->touched, .next = f->first, .end = f->end};
    row prefix = {0};
    if (grow(&prefix, f->bits / 9 + 1) == NULL) return SS_NO_HEAP;
    ss_span from = {prefix.bytes, prefix_of(u->touched[f->first], f->bits, prefix.bytes)};
    int status = ss_btree_each_entry(u->c->map, &from, look_at, &s);
    drop(&prefix);
    *found = s.found;
    if (status == SS_OK) return not_the_same(0, f->old.count);
    return status == SS_ABSENT ? SS_OK : status;
}

/* Where the subtree forks now: where it did, or above that where a new key parts from the old ones. */
static int place_fork(update *u, frame *f) {
    ss_span low = u->touched[f->first], high = u->touched[f->end - 1];
    row found = {0};
    ss_span sample = low;
    int status = find_fork(u->c, low, f->old.position, f->sides);
    if (status == SS_ABSENT) {
        sample = high;
        status = find_fork(u->c, high, f->old.position, f->sides);
    }
    if (status == SS_ABSENT) {
        status = find_untouched(u, f, &found);
        sample = (ss_span){found.bytes, found.size};
    }
    uint64_t a = branch_position(low, sample), b = branch_position(high, sample);
    f->position = a < b ? a : b;
    f->existed = f->position >= f->old.position;
    if (status == SS_OK && f->existed) {
        f->position = f->old.position;
        if (found.bytes != NULL) status = not_the_same(0, f->old.count); /* then its record would have been found */
    } else if (status == SS_OK) {
        bool side = bit_at(sample, f->position);
        f->sides[side] = f->old;
        f->sides[!side] = no_edge();
    }
    drop(&found);
    return status;
}

static void split_touched(const update *u, frame *f) {
    uint64_t low = f->first, high = f->end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (bit_at(u->touched[middle], f->position)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    f->middle = low;
}

/* Both sides are up to date. */
static int join_sides(update *u, const frame *f, edge *made) {
    ss_span key = u->touched[f->first];
    bool both = f->sides[0].count > 0 && f->sides[1].count > 0;
    *made = both ? forked(&f->sides[0], &f->sides[1], f->position) : f->sides[f->sides[0].count > 0 ? 0 : 1];
    if (both && made->count > SS_CERTIFIED_BUCKET) return write_fork(u->c, key, f->position, f->sides);
    return f->existed ? drop_fork(u->c, key, f->position) : SS_OK;
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

/* Gives the result to the frame above. */
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
            edge old = f->sides[side];
            return push(u, first, end, f->position + 1, &old);
        }
    }
    int status = end_frame(u);
    if (status == SS_OK) hand_up(u);
    return status;
}

static int update_touched(certified *c, const ss_span *touched, uint64_t count, edge *all) {
    update u = {.c = c, .touched = touched};
    int status = push(&u, 0, count, 0, all);
    while (status == SS_OK && u.frames.size > 0) status = step(&u);
    *all = u.result;
    drop(&u.frames);
    return status;
}

static int compare_spans(const void *a, const void *b) {
    const ss_span *x = a, *y = b;
    return ss_compare_bytes(x->at, x->size, y->at, y->size);
}

/* The touched keys, sorted, each once. */
static ss_span *sorted_keys(const certified *c, uint64_t *count) {
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

static int bring_up_to_date(certified *c, edge *all) {
    uint64_t count = c->ends.size / 8;
    if (c->replaced || count >= all->count / 4) return rebuild(c, root_key, 0, NULL, all);
    ss_span *touched = sorted_keys(c, &count);
    if (touched == NULL) return SS_NO_HEAP;
    int status = update_touched(c, touched, count, all);
    free(touched);
    return status;
}

/* ---- the companion of the map ---- */

static int companion_begin(void *self) {
    certified *c = self;
    reset(&c->dirty);
    reset(&c->ends);
    c->replaced = false;
    return ss_undo_begin_many(c->map->handle.memory);
}

static int companion_touched(void *self, ss_span key) {
    certified *c = self;
    if (key.size >= MOST_KEY) return ss_fail(SS_BOUND_EXCEEDED, "largest key of a map with hashes", 0, key.size, MOST_KEY - 1);
    if (c->replaced) return SS_OK;
    int status = append(&c->dirty, key.at, key.size);
    return status == SS_OK ? append(&c->ends, &c->dirty.size, 8) : status;
}

static int companion_replaced(void *self) {
    certified *c = self;
    c->replaced = true;
    return SS_OK;
}

static int companion_settle(void *self) {
    certified *c = self;
    edge all;
    if (!c->replaced && c->ends.size == 0) return SS_OK;
    ss_scratch_reset(&c->map->space.scratch);
    int status = ss_btree_read_header(c->map);
    if (status == SS_OK) status = read_root(c, &all);
    if (status == SS_OK) status = bring_up_to_date(c, &all);
    if (status == SS_OK && all.count != c->map->length) status = not_the_same(all.count, c->map->length);
    return status == SS_OK ? write_root(c, &all) : status;
}

static int companion_check(void *self, ss_report report, void *of) {
    certified *c = self;
    edge all, made;
    ss_check check = {report, of, {0}};
    builder b = {.c = c, .only_compare = true};
    int status = begin_step(c);
    if (status == SS_OK) status = ss_btree_check_locked(c->hashes, report, of);
    if (status == SS_OK) status = read_root(c, &all);
    if (status == SS_OK) status = build_region(&b, &made);
    if (status == SS_OK && (memcmp(all.hash, made.hash, HASH) != 0 || all.position != made.position))
        status = not_the_same(all.count, made.count);
    if (status == SS_OK && all.count != made.count) status = not_the_same(all.count, made.count);
    if (status == SS_OK && c->hashes->length != b.records + 1) status = not_the_same(c->hashes->length, b.records + 1);
    return ss_check_end(&check, ss_check_note(&check, status));
}

static int companion_detach(void *self) {
    certified *c = self;
    return ss_btree_detach(c->hashes);
}

static void companion_free(void *self) {
    certified *c = self;
    ss_btree_free(c->hashes);
    drop(&c->dirty);
    drop(&c->ends);
    drop(&c->key);
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

static int open_hashes(certified *c, ss_memory *memory, int mode) {
    ss_order_term bytes = {.kind = SS_ORDER_BYTES, .max_size = SS_UNBOUNDED, .part = {-1, -1, -1}};
    uint64_t most = c->map->key.max_size;
    ss_bound key = {.max_size = most == SS_UNBOUNDED ? SS_UNBOUNDED : most + POSITION}, value = {.max_size = RECORD, .fixed = 1};
    bytes.max_size = key.max_size;
    return ss_btree_open(memory, mode, &bytes, 1, NULL, NULL, key, value, &c->hashes);
}

/* Whether there are hashes, and that they count the entries of the map. */
static int look_for_hashes(certified *c, bool *found) {
    edge all;
    int status = begin_step(c);
    *found = status == SS_OK && c->hashes->length > 0;
    if (status != SS_OK || !*found) return status;
    status = read_root(c, &all);
    return status == SS_OK && all.count != c->map->length ? not_the_same(all.count, c->map->length) : status;
}

static int first_hashes(certified *c) {
    edge all;
    int status = rebuild(c, root_key, 0, NULL, &all);
    return status == SS_OK ? write_root(c, &all) : status;
}

static int settle_in(certified *c, int mode) {
    bool found = false;
    int status = ss_btree_begin_read(c->map);
    if (status != SS_OK) return status;
    status = look_for_hashes(c, &found);
    ss_leave_read(c->map->handle.memory);
    if (status != SS_OK || found) return status;
    if (mode == SS_LOAD) return ss_fail(SS_CORRUPT, "the map of hashes has the edge of everything", 0, 0, 0);
    status = ss_btree_begin_write(c->map);
    if (status != SS_OK) return status;
    status = ss_undo_begin_many(c->map->handle.memory);
    if (status == SS_OK) status = first_hashes(c);
    return ss_leave_write(c->map->handle.memory, status);
}

int ss_certified_attach(ss_btree *map, ss_memory *hashes, int mode) {
    if (map == NULL) return ss_fail(SS_CLOSED, "no map", 0, 0, 0);
    if (map->companion_ops != NULL) return ss_fail(SS_ARGUMENT, "a map has its hashes once", 0, 0, 0);
    if (map->order.terms[0].kind != SS_ORDER_BYTES) return ss_fail(SS_INCOMPATIBLE, "keys with hashes are ordered by their bytes", 0, 0, 0);
    if (hashes->root != map->handle.memory->root) {
        return ss_fail(SS_ARGUMENT, "a map and its hashes lie in memories of one manager", 0, 0, 0);
    }
    certified *c = calloc(1, sizeof *c);
    if (c == NULL) return ss_fail(SS_NO_HEAP, "hashes of a map", 0, sizeof *c, 0);
    c->map = map;
    int status = open_hashes(c, hashes, mode);
    if (status == SS_OK) status = settle_in(c, mode);
    if (status != SS_OK) {
        companion_free(c);
        return status;
    }
    map->companion = c;
    map->companion_ops = &companion_ops;
    return SS_OK;
}

static int hashes_of(ss_btree *map, certified **c) {
    int status = ss_btree_begin_read(map);
    if (status != SS_OK) return status;
    *c = map->companion;
    if (map->companion_ops == &companion_ops) return SS_OK;
    ss_leave_read(map->handle.memory);
    return ss_fail(SS_ARGUMENT, "a map with hashes", 0, 0, 0);
}

int64_t ss_certified_root(ss_btree *map) {
    certified *c;
    edge all;
    ss_answer answer = {0};
    int status = hashes_of(map, &c);
    if (status != SS_OK) return status;
    status = read_root(c, &all);
    if (status == SS_OK) {
        uint8_t *room = ss_answer_room(&answer, map->handle.memory, HASH);
        if (room == NULL) status = SS_NO_HEAP;
        if (room != NULL) memcpy(room, all.hash, HASH);
    }
    ss_leave_read(map->handle.memory);
    return ss_answer_give(&answer, status);
}

int ss_certified_usage(ss_btree *map, struct ss_usage *usage) {
    if (map == NULL) return ss_fail(SS_CLOSED, "no map", 0, 0, 0);
    if (map->companion_ops != &companion_ops) return ss_fail(SS_ARGUMENT, "a map with hashes", 0, 0, 0);
    certified *c = map->companion;
    return ss_btree_usage(c->hashes, usage);
}

/* ---- witnesses ----
 *
 * What is shown is a run of entries, from `low` to `high`: the range, and the keys next to it without their values. A subtree outside of it
 * is its hash. Each hash on the way is computed again and compared, so a witness never proves what is not in the map. */

typedef struct witness {
    certified *c;
    row out;
    row frames;
    row low, high;            /* keys of the first and the last entry that is shown */
    bool low_only, high_only; /* of them the key is shown, and the value is not */
} witness;

/* A subtree that is to be written. */
typedef struct part {
    edge e;
    uint64_t bits;
    bool has_low, has_high; /* they lie in it */
    bool hidden;
    row own; /* a key of it, if it has neither */
} part;

static int write_head(row *out, uint8_t major, uint64_t number) {
    uint8_t head[9];
    uint32_t size = number < 24 ? 0 : number < 256 ? 1 : number < 65536 ? 2 : number <= UINT32_MAX ? 4 : 8;
    head[0] = (uint8_t)(major << 5 | (size == 0 ? number : size == 1 ? 24 : size == 2 ? 25 : size == 4 ? 26 : 27));
    if (size > 0) ss_put_be(head + 1, size, number);
    return append(out, head, 1 + size);
}

static int write_bytes(row *out, const char *node, ss_span bytes) {
    int status = append(out, node, 2);
    if (status == SS_OK) status = write_head(out, 2, bytes.size);
    return status == SS_OK ? append(out, bytes.at, bytes.size) : status;
}

static int write_pruned(row *out, const uint8_t hash[HASH]) {
    return write_bytes(out, "\x82\x04", (ss_span){hash, HASH});
}

static ss_span row_span(const row *r) {
    return (ss_span){r->bytes, r->size};
}

/* ---- a bucket ---- */

enum shown { HIDDEN, KEY_ONLY, WHOLE };

typedef struct bucket_entry {
    uint64_t key, key_size, value, value_size; /* in `bytes` */
    uint64_t parts;                            /* from the next one */
    uint8_t leaf[HASH], hash[HASH];
    enum shown shown;
} bucket_entry;

typedef struct bucket {
    witness *w;
    ss_span region;
    uint64_t bits;
    uint32_t count;
    bucket_entry entries[SS_CERTIFIED_BUCKET];
    row bytes;
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
    if (status == SS_OK && !in_region(b->region, b->bits, key)) return SS_ABSENT;
    if (status == SS_OK && b->count == SS_CERTIFIED_BUCKET) return not_the_same(b->count, b->count + 1);
    if (status == SS_OK) status = ss_node_value(space, node, index, &value);
    if (status != SS_OK) return status;
    bucket_entry *e = &b->entries[b->count];
    *e = (bucket_entry){.shown = how_shown(b->w, key), .key = b->bytes.size, .key_size = key.size};
    hash_leaf(value, e->leaf);
    hash_entry(key, e->leaf, e->hash);
    status = append(&b->bytes, key.at, key.size);
    e->value = b->bytes.size;
    e->value_size = value.size;
    if (status == SS_OK && e->shown == WHOLE) status = append(&b->bytes, value.at, value.size);
    if (status == SS_OK && b->count > 0)
        b->entries[b->count - 1].parts = branch_position(bucket_key(b, b->count - 1), bucket_key(b, b->count));
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
static void bucket_hash(const bucket *b, uint32_t first, uint32_t last, uint8_t hash[HASH]) {
    uint8_t left[HASH], right_side[HASH];
    if (first == last) {
        memcpy(hash, b->entries[first].hash, HASH);
        return;
    }
    uint32_t middle = fork_behind(b, first, last);
    bucket_hash(b, first, middle, left);
    bucket_hash(b, middle + 1, last, right_side);
    hash_fork(left, right_side, hash);
}

static int write_entry(const bucket *b, uint32_t i) {
    const bucket_entry *e = &b->entries[i];
    row *out = &b->w->out;
    int status = append(out, "\x83\x02", 2);
    ss_span key = bucket_key(b, i);
    if (status == SS_OK) status = write_head(out, 2, key.size);
    if (status == SS_OK) status = append(out, key.at, key.size);
    if (status != SS_OK || e->shown == KEY_ONLY) return status == SS_OK ? write_pruned(out, e->leaf) : status;
    return write_bytes(out, "\x82\x03", (ss_span){b->bytes.bytes + e->value, e->value_size});
}

static int write_bucket(const bucket *b, uint32_t first, uint32_t last) {
    bool any = false;
    uint8_t hash[HASH];
    for (uint32_t i = first; i <= last; i++) any = any || b->entries[i].shown != HIDDEN;
    if (!any) {
        bucket_hash(b, first, last, hash);
        return write_pruned(&b->w->out, hash);
    }
    if (first == last) return write_entry(b, first);
    uint32_t middle = fork_behind(b, first, last);
    int status = append(&b->w->out, "\x83\x01", 2);
    if (status == SS_OK) status = write_bucket(b, first, middle);
    return status == SS_OK ? write_bucket(b, middle + 1, last) : status;
}

/* Writes the subtree of the entries that share the first `bits` bits of `region`. */
static int show_bucket(witness *w, const edge *e, ss_span region, uint64_t bits) {
    bucket b = {.w = w, .region = region, .bits = bits};
    row start = {0};
    uint8_t hash[HASH];
    int status = grow(&start, bits / 9 + 1) == NULL ? SS_NO_HEAP : SS_OK;
    ss_span from = {start.bytes, status == SS_OK ? prefix_of(region, bits, start.bytes) : 0};
    if (status == SS_OK) status = ss_btree_each_entry(w->c->map, &from, take_entry, &b);
    if (status == SS_ABSENT) status = SS_OK;
    if (status == SS_OK && b.count != e->count) status = not_the_same(e->count, b.count);
    if (status == SS_OK) {
        bucket_hash(&b, 0, b.count - 1, hash);
        if (memcmp(hash, e->hash, HASH) != 0) status = not_the_same(0, b.count);
    }
    if (status == SS_OK) status = write_bucket(&b, 0, b.count - 1);
    drop(&start);
    drop(&b.bytes);
    return status;
}

/* ---- the way to the buckets ---- */

static ss_span sample_of(const witness *w, const part *p) {
    return p->has_low ? row_span(&w->low) : p->has_high ? row_span(&w->high) : row_span(&p->own);
}

static int push_part(witness *w, const part *p) {
    return append(&w->frames, p, sizeof *p);
}

/* A key of the side of `above` that forks at `position`: the first one, which the map tells. */
static int find_sample(witness *w, ss_span above, uint64_t position, bool side, row *own) {
    row start = {0};
    ss_span key;
    if (grow(&start, position / 9 + 2) == NULL) return SS_NO_HEAP;
    uint64_t size = prefix_of(above, position, start.bytes), bit = position % 9;
    if (bit == 0 && side) start.bytes[size++] = 0;
    if (bit > 0 && side) start.bytes[position / 9] |= (uint8_t)(1u << (8 - bit));
    int status = ss_btree_neighbour(w->c->map, (ss_span){start.bytes, size}, true, true, &key);
    if (status == SS_OK) status = append(own, key.at, key.size);
    drop(&start);
    return status == SS_ABSENT ? not_the_same(0, 1) : status;
}

static int make_side(witness *w, const part *p, uint64_t position, const edge *e, bool side, part *made) {
    ss_span low = row_span(&w->low), high = row_span(&w->high);
    bool low_here = p->has_low && bit_at(low, position) == side, high_here = p->has_high && bit_at(high, position) == side;
    *made = (part){.e = *e, .bits = position + 1, .has_low = low_here, .has_high = high_here};
    /* On the wrong side of an end that lies in the subtree. */
    made->hidden = (p->has_low && !low_here && !side) || (p->has_high && !high_here && side);
    if (made->hidden || low_here || high_here) return SS_OK;
    return find_sample(w, sample_of(w, p), position, side, &made->own);
}

static int show_fork(witness *w, const part *p) {
    edge sides[2];
    uint8_t hash[HASH];
    part parts[2] = {{.bits = 0}, {.bits = 0}};
    int status = find_fork(w->c, sample_of(w, p), p->e.position, sides);
    if (status == SS_ABSENT) return not_the_same(0, p->e.count);
    if (status != SS_OK) return status;
    hash_fork(sides[0].hash, sides[1].hash, hash);
    if (memcmp(hash, p->e.hash, HASH) != 0 || sides[0].count + sides[1].count != p->e.count)
        return not_the_same(p->e.count, sides[0].count);
    status = append(&w->out, "\x83\x01", 2);
    for (int side = 1; side >= 0; side--) {
        if (status == SS_OK) status = make_side(w, p, p->e.position, &sides[side], side != 0, &parts[side]);
        if (status == SS_OK) status = push_part(w, &parts[side]);
        if (status != SS_OK) drop(&parts[side].own);
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
    int status = read_root(w->c, &p.e);
    if (status == SS_OK && p.e.count != w->c->map->length) status = not_the_same(p.e.count, w->c->map->length);
    if (status == SS_OK) status = push_part(w, &p);
    while (status == SS_OK && w->frames.size > 0) {
        status = pop_part(w, &p);
        if (status == SS_OK) status = show_part(w, &p);
        drop(&p.own);
    }
    while (w->frames.size > 0 && pop_part(w, &p) == SS_OK) drop(&p.own);
    return status;
}

static int64_t end_witness(witness *w, int status) {
    ss_answer answer = {0};
    ss_memory *memory = w->c->map->handle.memory;
    if (status == SS_OK) {
        uint8_t *room = ss_answer_room(&answer, memory, w->out.size);
        if (room == NULL) status = SS_NO_HEAP;
        if (room != NULL) memcpy(room, w->out.bytes, (size_t)w->out.size);
    }
    ss_leave_read(memory);
    drop(&w->out);
    drop(&w->frames);
    drop(&w->low);
    drop(&w->high);
    return ss_answer_give(&answer, status);
}

static int show_key(witness *w, ss_span key) {
    ss_node node;
    uint32_t index;
    int status = ss_btree_check_key(w->c->map, key);
    if (status == SS_OK) status = w->c->map->root == SS_NULL ? SS_ABSENT : ss_btree_find(w->c->map, key, &node, &index);
    if (status == SS_OK) status = append(&w->low, key.at, key.size);
    if (status == SS_OK) status = append(&w->high, key.at, key.size);
    return status == SS_OK ? show_all(w) : status;
}

int64_t ss_certified_witness(ss_btree *map, const uint8_t *key, uint64_t key_size) {
    witness w = {0};
    int status = hashes_of(map, &w.c);
    return status == SS_OK ? end_witness(&w, show_key(&w, (ss_span){key, key_size})) : status;
}

/* One end of what is shown: the key next to the range on that side, else the end of the map. */
static int find_end(witness *w, bool open, ss_span end, bool back, bool also, row *kept, bool *only) {
    ss_btree *map = w->c->map;
    ss_span key;
    int status = open ? SS_ABSENT : ss_btree_neighbour(map, end, back, also, &key);
    *only = status == SS_OK;
    if (status == SS_ABSENT && !back) status = ss_btree_neighbour(map, root_key, true, true, &key);
    if (status == SS_ABSENT && back) status = ss_btree_last_key(map, &key);
    return status == SS_OK ? append(kept, key.at, key.size) : status;
}

static int show_range(witness *w, int from, ss_span start, int to, ss_span stop) {
    if (w->c->map->root == SS_NULL) return append(&w->out, "\x81\x00", 2);
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
    int status = hashes_of(map, &w.c);
    if (status != SS_OK) return status;
    return end_witness(&w, show_range(&w, from, (ss_span){start, start_size}, to, (ss_span){stop, stop_size}));
}
