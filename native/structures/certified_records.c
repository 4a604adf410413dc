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
#include <stdlib.h>

#include "structures/certified_internal.h"

enum { VERSION = 1, KEPT = 1 << 16 };
#define NOT_THE_SAME \
    "the hashes are those of the map's entries; if something else has changed the map, compute them again with CertifiedMap.rehash"

int ss_hashes_differ(uint64_t number, uint64_t limit) {
    return ss_fail(SS_CORRUPT, NOT_THE_SAME, 0, number, limit);
}

/* ---- rows ---- */

uint8_t *ss_row_grow(ss_row *r, uint64_t more) {
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

int ss_row_append(ss_row *r, const void *bytes, uint64_t size) {
    if (size == 0) return SS_OK;
    uint8_t *to = ss_row_grow(r, size);
    if (to == NULL) return SS_NO_HEAP;
    memcpy(to, bytes, (size_t)size);
    return SS_OK;
}

void ss_row_drop(ss_row *r) {
    free(r->bytes);
    *r = (ss_row){0};
}

void ss_row_reset(ss_row *r) {
    r->size = 0;
    if (r->room > KEPT) ss_row_drop(r);
}

/* ---- positions ---- */

uint64_t ss_branch_position(ss_span a, ss_span b) {
    uint64_t n = a.size < b.size ? a.size : b.size, i = 0;
    while (n - i >= 8 && ss_get64(a.at + i) == ss_get64(b.at + i)) i += 8;
    while (i < n && a.at[i] == b.at[i]) i++;
    if (i == n) return a.size == b.size ? UINT64_MAX : 9 * n;
    return 9 * i + 1 + (uint64_t)(__builtin_clz((unsigned)(a.at[i] ^ b.at[i])) - 24);
}

bool ss_bit_at(ss_span key, uint64_t position) {
    uint64_t byte = position / 9, bit = position % 9;
    if (bit == 0) return key.size > byte;
    return byte < key.size && (key.at[byte] >> (8 - bit) & 1) != 0;
}

uint64_t ss_prefix_of(ss_span key, uint64_t position, uint8_t *to) {
    uint64_t whole = position / 9, bit = position % 9;
    uint64_t copied = whole < key.size ? whole : key.size;
    if (copied > 0) memcpy(to, key.at, (size_t)copied);
    if (bit == 0 || whole >= key.size) return copied;
    to[whole] = (uint8_t)(key.at[whole] & (0xff00u >> (bit - 1)));
    return whole + 1;
}

bool ss_in_region(ss_span region, uint64_t bits, ss_span key) {
    return bits == 0 || ss_branch_position(region, key) >= bits;
}

/* ---- hashes ---- */

static void hash_two(const char *separator, size_t size, ss_span one, ss_span other, uint8_t hash[SS_SHA256_SIZE]) {
    ss_sha256 sha;
    ss_sha256_begin(&sha);
    ss_sha256_add(&sha, separator, size);
    ss_sha256_add(&sha, one.at, one.size);
    ss_sha256_add(&sha, other.at, other.size);
    ss_sha256_end(&sha, hash);
}

#define SEPARATED(text, one, other, hash) hash_two(text, sizeof(text) - 1, one, other, hash)

void ss_hash_leaf(ss_span value, uint8_t hash[SS_SHA256_SIZE]) {
    SEPARATED("\x10ic-hashtree-leaf", value, ((ss_span){value.at, 0}), hash);
}

void ss_hash_entry(ss_span key, const uint8_t leaf[SS_SHA256_SIZE], uint8_t hash[SS_SHA256_SIZE]) {
    SEPARATED("\x13ic-hashtree-labeled", key, ((ss_span){leaf, SS_SHA256_SIZE}), hash);
}

void ss_hash_fork(const uint8_t left[SS_SHA256_SIZE], const uint8_t right_side[SS_SHA256_SIZE], uint8_t hash[SS_SHA256_SIZE]) {
    SEPARATED("\x10ic-hashtree-fork", ((ss_span){left, SS_SHA256_SIZE}), ((ss_span){right_side, SS_SHA256_SIZE}), hash);
}

ss_edge ss_no_edge(void) {
    ss_edge e = {0};
    ss_span nothing = {e.hash, 0};
    SEPARATED("\x11ic-hashtree-empty", nothing, nothing, e.hash);
    return e;
}

ss_edge ss_forked(const ss_edge *left, const ss_edge *right_side, uint64_t position) {
    ss_edge e = {.count = left->count + right_side->count};
    e.position = e.count > SS_CERTIFIED_BUCKET ? (uint32_t)position : 0;
    ss_hash_fork(left->hash, right_side->hash, e.hash);
    return e;
}

ss_edge ss_entry_edge(ss_span key, ss_span value) {
    ss_edge e = {.count = 1};
    uint8_t leaf[SS_SHA256_SIZE];
    ss_hash_leaf(value, leaf);
    ss_hash_entry(key, leaf, e.hash);
    return e;
}

/* ---- records ---- */

static void put_edge(uint8_t *to, const ss_edge *e) {
    ss_put_be(to, 8, e->count);
    ss_put_be(to + 8, 4, e->position);
    memcpy(to + 12, e->hash, SS_SHA256_SIZE);
}

static ss_edge get_edge(const uint8_t *from) {
    ss_edge e = {.count = ss_get_be(from, 8), .position = (uint32_t)ss_get_be(from + 8, 4)};
    memcpy(e.hash, from + 12, SS_SHA256_SIZE);
    return e;
}

int ss_hashes_begin_step(ss_hashes *c) {
    ss_btree *hashes = c->hashes;
    int status = ss_memory_refresh(hashes->handle.memory);
    if (status != SS_OK) return status;
    ss_scratch_reset(&hashes->space.scratch);
    hashes->output = &c->output;
    return ss_btree_read_header(hashes);
}

static int record_key(ss_hashes *c, ss_span key, uint64_t position, ss_span *span) {
    c->key.size = 0;
    if (ss_row_grow(&c->key, position / 9 + 1 + SS_POSITION_SIZE) == NULL) return SS_NO_HEAP;
    uint64_t size = ss_prefix_of(key, position, c->key.bytes);
    ss_put_be(c->key.bytes + size, SS_POSITION_SIZE, position);
    *span = (ss_span){c->key.bytes, size + SS_POSITION_SIZE};
    return SS_OK;
}

static int read_record(ss_hashes *c, ss_span at, uint8_t record[SS_RECORD_SIZE]) {
    ss_span value;
    uint64_t address;
    int status = ss_hashes_begin_step(c);
    if (status == SS_OK) status = ss_btree_value_locked(c->hashes, at, true, &address, &value);
    if (status != SS_OK) return status;
    if (value.size != SS_RECORD_SIZE) return ss_fail(SS_CORRUPT, "a record of hashes has 88 bytes", address, value.size, SS_RECORD_SIZE);
    memcpy(record, value.at, SS_RECORD_SIZE);
    return SS_OK;
}

static int write_record(ss_hashes *c, ss_span at, const uint8_t record[SS_RECORD_SIZE]) {
    int status = ss_hashes_begin_step(c);
    if (status == SS_OK) status = ss_btree_insert_locked(c->hashes, at, (ss_span){record, SS_RECORD_SIZE});
    return status < 0 ? status : SS_OK;
}

int ss_drop_record(ss_hashes *c, ss_span at) {
    int status = ss_hashes_begin_step(c);
    if (status == SS_OK) status = ss_btree_remove_locked(c->hashes, at);
    return status == SS_ABSENT ? ss_hashes_differ(0, 1) : status;
}

int ss_find_fork(ss_hashes *c, ss_span key, uint64_t position, ss_edge sides[2]) {
    ss_span at;
    uint8_t record[SS_RECORD_SIZE];
    int status = record_key(c, key, position, &at);
    if (status == SS_OK) status = read_record(c, at, record);
    if (status != SS_OK) return status;
    sides[0] = get_edge(record);
    sides[1] = get_edge(record + SS_EDGE_SIZE);
    bool good = sides[0].count != 0 && sides[1].count != 0 && sides[0].count < UINT64_MAX / 2 && sides[1].count < UINT64_MAX / 2;
    for (int i = 0; i < 2; i++) {
        bool heavy = sides[i].count > SS_CERTIFIED_BUCKET;
        good = good && (heavy ? sides[i].position > position : sides[i].position == 0);
    }
    return good ? SS_OK : ss_fail(SS_CORRUPT, "a record of hashes has two sides that fork below it", 0, sides[0].count, sides[1].count);
}

int ss_write_fork(ss_hashes *c, ss_span key, uint64_t position, const ss_edge sides[2]) {
    ss_span at;
    uint8_t record[SS_RECORD_SIZE];
    put_edge(record, &sides[0]);
    put_edge(record + SS_EDGE_SIZE, &sides[1]);
    int status = record_key(c, key, position, &at);
    return status == SS_OK ? write_record(c, at, record) : status;
}

int ss_drop_fork(ss_hashes *c, ss_span key, uint64_t position) {
    ss_span at;
    int status = record_key(c, key, position, &at);
    return status == SS_OK ? ss_drop_record(c, at) : status;
}

const ss_span ss_root_key = {(const uint8_t *)"", 0};

static void put_root(uint8_t record[SS_RECORD_SIZE], const ss_edge *all) {
    memset(record, 0, SS_RECORD_SIZE);
    put_edge(record, all);
    memcpy(record + SS_EDGE_SIZE, "CERT", 4);
    ss_put_be(record + SS_EDGE_SIZE + 4, 4, VERSION);
    ss_put_be(record + SS_EDGE_SIZE + 8, 4, SS_CERTIFIED_BUCKET);
}

int ss_read_root(ss_hashes *c, ss_edge *all) {
    uint8_t record[SS_RECORD_SIZE], wanted[SS_RECORD_SIZE];
    int status = read_record(c, ss_root_key, record);
    if (status == SS_ABSENT) return ss_fail(SS_CORRUPT, "the map of hashes has the edge of everything", 0, 0, 0);
    if (status != SS_OK) return status;
    *all = get_edge(record);
    put_root(wanted, all);
    if (memcmp(record, wanted, SS_RECORD_SIZE) != 0)
        return ss_fail(SS_BAD_VERSION, "version of the hashes of a map", 0, record[SS_EDGE_SIZE + 7], VERSION);
    if ((all->count > SS_CERTIFIED_BUCKET) != (all->position != 0) && all->count <= SS_CERTIFIED_BUCKET)
        return ss_hashes_differ(all->position, 0);
    return SS_OK;
}

int ss_write_root(ss_hashes *c, const ss_edge *all) {
    uint8_t record[SS_RECORD_SIZE];
    put_root(record, all);
    return write_record(c, ss_root_key, record);
}
