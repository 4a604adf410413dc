/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of all structures, and the manager's tables, as a survey sees them: bytes that anybody may have written.
 *
 * Layouts are drawn in the files of the structures, and in memory/manager.c. A header is surveyed from its bytes, not from a memory:
 * whoever asks has read them to see what the memory is.
 */
#include <stdlib.h>

#include "memory/allocator.h"
#include "memory/magics.h"
#include "structures/btree.h"
#include "structures/cell.h"
#include "structures/log.h"
#include "structures/slots.h"
#include "structures/survey_internal.h"

/* Of each kind of structure: how many bytes of header it must have, and its newest version. A memory that has not even `least` of them
 * lacks its magic. */
typedef struct head_kind {
    const char *magic;
    uint64_t least, header;
    uint8_t version;
} head_kind;

#define BEGINNING (SS_MAGIC_SIZE + 1)

static const head_kind kinds[] = {
    [SS_SEEN_MAP] = {SS_MAP_MAGIC, SS_FIRST_CHUNK, SS_FIRST_CHUNK, 2},
    [SS_SEEN_VEC] = {SS_VEC_MAGIC, BEGINNING, SS_SLOTS_START, 1},
    [SS_SEEN_HEAP] = {SS_HEAP_MAGIC, BEGINNING, SS_SLOTS_START, 1},
    [SS_SEEN_CELL] = {SS_CELL_MAGIC, BEGINNING, SS_CELL_VALUE_AT, 1},
    [SS_SEEN_LOG_INDEX] = {SS_LOG_INDEX_MAGIC, BEGINNING, SS_LOG_ENDS_AT, 1},
    [SS_SEEN_LOG_DATA] = {SS_LOG_DATA_MAGIC, BEGINNING, BEGINNING, 1},
};

static int tell(ss_survey_notes *notes, int rule, uint64_t address, uint64_t found, uint64_t expected) {
    ss_survey_note note;
    (void)ss_seen_wrong(&note, rule, address, found, expected);
    return ss_notes_add(notes, &note);
}

static int tell_unless(bool holds, ss_survey_notes *notes, int rule, uint64_t address, uint64_t found, uint64_t expected) {
    return holds ? SS_OK : tell(notes, rule, address, found, expected);
}

/* The note of what leaves nothing else to say. */
static int tell_only(ss_survey_notes *notes, int rule, uint64_t address, uint64_t found, uint64_t expected) {
    int status = tell(notes, rule, address, found, expected);
    return status == SS_OK ? SS_CORRUPT : status;
}

/* A magic, and as many bytes as it has of a memory. */
static int check_magic(ss_survey_notes *notes, int rule, uint64_t address, const uint8_t *found, const void *magic, uint32_t size) {
    ss_survey_note note;
    if (memcmp(found, magic, size) == 0) return SS_OK;
    (void)ss_seen_wrong_bytes(&note, rule, address, found, size);
    note.b_size = size;
    memcpy(note.b, magic, size);
    return ss_notes_add(notes, &note);
}

/* ---- one kind after the other ---- */

static int survey_slots(const uint8_t *bytes, ss_seen_head *head, ss_survey_notes *notes) {
    head->count = ss_get64(bytes + SS_SLOTS_LENGTH_AT);
    head->size = ss_get32(bytes + SS_SLOTS_MAX_SIZE_AT);
    head->flag = bytes[SS_SLOTS_FIXED_AT];
    return tell_unless(head->flag <= 1, notes, SS_RULE_FIXED_FLAG, SS_SLOTS_FIXED_AT, head->flag, 1);
}

static int survey_cell(const uint8_t *bytes, uint64_t nbytes, ss_seen_head *head, ss_survey_notes *notes) {
    uint64_t room = nbytes - SS_CELL_VALUE_AT;
    head->count = 1;
    head->size = ss_get32(bytes + SS_CELL_LENGTH_AT);
    return tell_unless(head->size <= room, notes, SS_RULE_VALUE_INSIDE, SS_CELL_LENGTH_AT, head->size, room);
}

static int survey_index(const uint8_t *bytes, uint64_t nbytes, ss_seen_head *head, ss_survey_notes *notes) {
    uint64_t room = (nbytes - SS_LOG_ENDS_AT) / 8;
    head->count = ss_get64(bytes + SS_LOG_COUNT_AT);
    return tell_unless(head->count <= room, notes, SS_RULE_ENDS_INSIDE, SS_LOG_COUNT_AT, head->count, room);
}

/* A1 as far as the header shows it. */
static int survey_allocator(const uint8_t *bytes, ss_seen_head *head, ss_survey_notes *notes) {
    static const uint8_t begins[] = SS_ALLOCATOR_MAGIC "\1";
    const uint8_t *at = bytes + SS_ALLOCATOR_OFFSET;
    head->chunk_size = ss_get64(at + SS_ALLOCATOR_SIZE_AT);
    head->allocated = ss_get64(at + SS_ALLOCATOR_COUNT_AT);
    head->free_head = ss_get64(at + SS_ALLOCATOR_HEAD_AT);
    int status = check_magic(notes, SS_RULE_ALLOCATOR_MAGIC, SS_ALLOCATOR_OFFSET, at, begins, BEGINNING);
    if (status != SS_OK) return status;
    bool fits = head->chunk_size == head->page;
    return tell_unless(fits, notes, SS_RULE_CHUNK_SIZE, SS_ALLOCATOR_OFFSET + SS_ALLOCATOR_SIZE_AT, head->chunk_size, head->page);
}

static int survey_map(const uint8_t *bytes, ss_seen_head *head, ss_survey_notes *notes) {
    uint32_t first = ss_get32(bytes + SS_BTREE_FIRST_AT), second = ss_get32(bytes + SS_BTREE_SECOND_AT);
    head->derived = head->version == 1 || second != SS_BTREE_PAGE_SIZE_MARK;
    head->key_max = head->derived ? first : UINT32_MAX;
    head->value_max = head->derived ? second : UINT32_MAX;
    head->page = head->derived ? ss_node_v1_size(first, second) : first;
    head->root = ss_get64(bytes + SS_BTREE_ROOT_AT);
    head->count = ss_get64(bytes + SS_BTREE_LENGTH_AT);
    return survey_allocator(bytes, head, notes);
}

static int survey_kind(enum ss_seen_kind kind, const uint8_t *bytes, uint64_t nbytes, ss_seen_head *head, ss_survey_notes *notes) {
    switch (kind) {
        case SS_SEEN_MAP:
            return survey_map(bytes, head, notes);
        case SS_SEEN_VEC:
        case SS_SEEN_HEAP:
            return survey_slots(bytes, head, notes);
        case SS_SEEN_CELL:
            return survey_cell(bytes, nbytes, head, notes);
        case SS_SEEN_LOG_INDEX:
            return survey_index(bytes, nbytes, head, notes);
        default:
            return SS_OK;
    }
}

int ss_survey_head(enum ss_seen_kind kind, const uint8_t *bytes, uint64_t size, uint64_t nbytes, ss_seen_head *head,
                   ss_survey_notes *notes) {
    const head_kind *k = &kinds[kind];
    *head = (ss_seen_head){0};
    if (size < k->header) return tell_only(notes, SS_RULE_HEADER, 0, nbytes, size < k->least ? k->least : k->header);
    head->version = bytes[SS_VERSION_AT];
    int status = check_magic(notes, SS_RULE_MAGIC, 0, bytes, k->magic, SS_MAGIC_SIZE);
    bool known = head->version >= 1 && head->version <= k->version;
    if (status == SS_OK) status = tell_unless(known, notes, SS_RULE_VERSION, SS_VERSION_AT, head->version, k->version);
    return status == SS_OK ? survey_kind(kind, bytes, nbytes, head, notes) : status;
}

/* ---- the manager ---- */

typedef struct tables {
    const uint8_t *bytes;
    uint64_t nbytes, allocated, bucket_pages, bucket_bytes;
    struct ss_manager_stats *stats;
} tables;

static uint64_t pages_of(const tables *t, uint32_t id) {
    return ss_get64(t->bytes + SS_MANAGER_SIZES_AT + 8 * (size_t)id);
}

static uint8_t owner_of(const tables *t, uint64_t bucket) {
    return t->bytes[SS_MANAGER_OWNERS_AT + bucket];
}

/* Bytes of a memory, or of its first buckets: more than any memory has, where there are more than 64 bits count. */
static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* G1 */
static int survey_numbers(const tables *t, ss_survey_notes *notes) {
    if (t->bucket_pages == 0) return tell_only(notes, SS_RULE_BUCKET_SIZE, SS_MANAGER_BUCKET_PAGES_AT, 0, 128);
    if (t->allocated <= SS_MANAGER_BUCKETS) return SS_OK;
    return tell_only(notes, SS_RULE_BUCKET_COUNT, SS_MANAGER_ALLOCATED_AT, t->allocated, SS_MANAGER_BUCKETS);
}

static int survey_beginning(const tables *t, ss_survey_notes *notes) {
    static const uint8_t begins[] = SS_MANAGER_MAGIC "\1";
    int status = check_magic(notes, SS_RULE_MANAGER_MAGIC, 0, t->bytes, begins, BEGINNING);
    for (uint64_t at = SS_MANAGER_RESERVED_AT; at < SS_MANAGER_SIZES_AT && status == SS_OK; at++) {
        if (t->bytes[at] != 0) return tell(notes, SS_RULE_RESERVED, at, t->bytes[at], 0);
    }
    return status;
}

/* G2 */
static int survey_never_allocated(const tables *t, ss_survey_notes *notes) {
    int status = SS_OK;
    for (uint64_t i = t->allocated; i < SS_MANAGER_BUCKETS && status == SS_OK; i++) {
        bool free = owner_of(t, i) == SS_MANAGER_FREE;
        status = tell_unless(free, notes, SS_RULE_NEVER_ALLOCATED, SS_MANAGER_OWNERS_AT + i, owner_of(t, i), SS_MANAGER_FREE);
    }
    return status;
}

/* The next bucket of a memory, `rank` being how many it has before: what of the memory lies in it, inside and behind the end. */
static void count_bucket(const tables *t, uint32_t id, uint64_t rank, uint64_t start) {
    uint64_t *there = &t->stats->there[id], inside = start < t->nbytes ? t->nbytes - start : 0;
    uint64_t bytes = times(pages_of(t, id), SS_PAGE_SIZE), before = times(rank, t->bucket_bytes);
    uint64_t used = bytes <= before ? 0 : bytes - before < t->bucket_bytes ? bytes - before : t->bucket_bytes;
    if (*there == before) *there += inside < used ? inside : used;
    t->stats->cut[id] += inside < used ? used - inside : 0;
}

/* G4, and what G3 needs. */
static int survey_buckets(const tables *t, ss_survey_notes *notes) {
    int status = SS_OK;
    for (uint64_t i = 0; i < t->allocated && status == SS_OK; i++) {
        uint8_t id = owner_of(t, i);
        uint64_t rank = t->stats->owned[id]++, start = SS_PAGE_SIZE + i * t->bucket_bytes, end = start + t->bucket_bytes;
        if (id == SS_MANAGER_FREE) {
            status = tell(notes, SS_RULE_OWNER, SS_MANAGER_OWNERS_AT + i, id, 0);
            continue;
        }
        count_bucket(t, id, rank, start);
        bool holds = end <= t->nbytes || rank >= t->stats->needed[id];
        status = tell_unless(holds, notes, SS_RULE_BUCKET_INSIDE, SS_MANAGER_OWNERS_AT + i, end, t->nbytes);
    }
    return status;
}

/* G3, and that no memory has a bucket too many. */
static int survey_sizes(const tables *t, ss_survey_notes *notes) {
    int status = SS_OK;
    for (uint32_t id = 0; id < SS_MANAGER_MEMORIES && status == SS_OK; id++) {
        uint64_t owned = t->stats->owned[id], needed = t->stats->needed[id];
        status = tell_unless(owned == needed, notes, SS_RULE_BUCKETS_OF_MEMORY, SS_MANAGER_SIZES_AT + 8 * (uint64_t)id, owned, needed);
    }
    return status;
}

int ss_survey_manager(const uint8_t *bytes, uint64_t nbytes, struct ss_manager_stats *stats, ss_survey_notes *notes) {
    uint64_t pages = ss_get16(bytes + SS_MANAGER_BUCKET_PAGES_AT);
    tables t = {bytes, nbytes, ss_get16(bytes + SS_MANAGER_ALLOCATED_AT), pages, pages * SS_PAGE_SIZE, stats};
    *stats = (struct ss_manager_stats){0};
    int status = survey_numbers(&t, notes);
    if (status != SS_OK) return status;
    for (uint32_t id = 0; id < SS_MANAGER_MEMORIES; id++) {
        stats->needed[id] = pages_of(&t, id) / pages + (pages_of(&t, id) % pages != 0);
    }
    status = survey_beginning(&t, notes);
    if (status == SS_OK) status = survey_never_allocated(&t, notes);
    if (status == SS_OK) status = survey_buckets(&t, notes);
    return status == SS_OK ? survey_sizes(&t, notes) : status;
}
