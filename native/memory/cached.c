/* SPDX-License-Identifier: Apache-2.0 */
/* The cache: blocks of 256 KiB of the source, in slots.
 *
 *   table       by number of the block: NOWHERE, ZEROS (a hole of the source, which has no slot), or a slot; each inverted, so that
 *               memory which nobody has touched says NOWHERE: the table of a hostile size costs nothing
 *   blocks      slot 0 | slot 1 | ...               as many as the cache may have
 *   slots       the block that lies in each, and whether it was used since the hand passed
 *
 *  K1  A block in a slot has the bytes that the source gave when it was fetched; the rest of the last block is zeros.
 *  K2  A fetch that fails leaves no block half filled: blocks enter the table after their bytes are there.
 *  K3  Memory is that of the slots in use, the table and, of a far source, one buffer for reading ahead; never more.
 *
 * Slots are taken over by the clock algorithm. How many blocks one request asks for:
 *
 *   near    8 if the blocks before were the last ones fetched, else 1
 *   far     as many as the read needs; more where it goes on behind an earlier request: twice as many as that had, at most 32.
 *           A small gap does not end the sequence, and blocks in the middle that are there already are asked for once more:
 *           far away a request costs more than the bytes. Several sequences go on side by side (an index and its data), and reads
 *           here and there, each of which may begin one, do not push them out.
 */
#include "memory/cached.h"

#include <stdlib.h>

#define NOWHERE UINT32_MAX
#define ZEROS (UINT32_MAX - 1)

typedef struct slot {
    uint64_t block;
    bool used;
} slot;

/* How often small pieces of a block were read lately; another block takes its place. */
#define TOUCHED 64
#define STRAYS 64
#define STRAY_BYTES (UINT64_C(16) << 10)
typedef struct touched {
    uint64_t block, count;
} touched;

/* A sequence of requests: behind the last one (UINT64_MAX: none yet, or it failed), how many blocks that had, when it was, and
 * whether it went on behind another one. Half of them are kept for those that went on. */
#define SEQUENCES 8
#define SMALL_GAP 4
typedef struct sequence {
    uint64_t next, run, used;
    bool went_on;
} sequence;

typedef struct cached {
    ss_cached_source source;
    uint64_t bytes, blocks; /* of the source */
    uint32_t *table;
    uint8_t **data; /* of each slot, allocated when it is first needed */
    slot *slots;
    uint32_t slot_count, slots_used, hand;
    sequence sequences[SEQUENCES]; /* of a near source the first one only */
    uint64_t data_begin, data_end; /* the last range of data that the source told */
    uint8_t *ahead;                /* of a far source */
    touched touched[TOUCHED];
    struct ss_cached_usage usage;
} cached;

static int ask(cached *c, uint64_t offset, uint64_t length, uint8_t *to) {
    c->usage.requests++;
    c->usage.bytes += length;
    return c->source.fetch(c->source.self, offset, length, to);
}

/* ---- slots ---- */

static uint32_t slot_of(const cached *c, uint64_t block) {
    return ~c->table[block];
}

static void set_slot(cached *c, uint64_t block, uint32_t at) {
    c->table[block] = ~at;
}

/* A slot to fill: a new one, or the one that was not used for longest. It is in no block's entry. */
static uint32_t take_slot(cached *c) {
    if (c->slots_used < c->slot_count) {
        c->slots[c->slots_used].block = UINT64_MAX;
        c->data[c->slots_used] = malloc((size_t)SS_CACHE_BLOCK);
        if (c->data[c->slots_used] != NULL) return c->slots_used++;
        if (c->slots_used == 0) return NOWHERE;
        c->slot_count = c->slots_used;
    }
    while (c->slots[c->hand].used) {
        c->slots[c->hand].used = false;
        c->hand = (c->hand + 1) % c->slot_count;
    }
    uint32_t taken = c->hand;
    c->hand = (c->hand + 1) % c->slot_count;
    if (c->slots[taken].block != UINT64_MAX) set_slot(c, c->slots[taken].block, NOWHERE);
    c->slots[taken].block = UINT64_MAX;
    return taken;
}

static uint64_t block_bytes(const cached *c, uint64_t block) {
    uint64_t left = c->bytes - block * SS_CACHE_BLOCK;
    return left < SS_CACHE_BLOCK ? left : SS_CACHE_BLOCK;
}

/* Fills a slot with the bytes `from` has, or (NULL) the source. */
static int keep_block(cached *c, uint64_t block, const uint8_t *from) {
    uint32_t at = take_slot(c);
    if (at == NOWHERE) return ss_fail(SS_NO_HEAP, "a block of a cache", block * SS_CACHE_BLOCK, SS_CACHE_BLOCK, 0);
    uint64_t size = block_bytes(c, block);
    int status = from == NULL ? ask(c, block * SS_CACHE_BLOCK, size, c->data[at]) : SS_OK;
    if (status != SS_OK) return status;
    if (from != NULL) memcpy(c->data[at], from, (size_t)size);
    memset(c->data[at] + size, 0, (size_t)(SS_CACHE_BLOCK - size));
    c->slots[at] = (slot){block, true};
    set_slot(c, block, at);
    return SS_OK;
}

/* ---- fetching ---- */

static uint64_t run_near(const cached *c, uint64_t block) {
    uint64_t most = block == c->sequences[0].next ? SS_CACHE_AHEAD : 1, count = 1;
    if (most > c->slot_count) most = c->slot_count;
    while (count < most && block + count < c->blocks && slot_of(c, block + count) == NOWHERE) count++;
    return count;
}

static bool goes_on(const sequence *s, uint64_t block) {
    uint64_t gap = s->run > SMALL_GAP ? s->run : SMALL_GAP;
    return s->next != UINT64_MAX && block >= s->next && block - s->next < gap;
}

/* The one that gives way to a new sequence: the oldest of those that never went on, unless these have only half of the places. */
static sequence *oldest_sequence(cached *c) {
    uint32_t lasting = 0;
    for (uint32_t i = 0; i < SEQUENCES; i++) lasting += c->sequences[i].went_on;
    sequence *oldest = NULL;
    for (uint32_t i = 0; i < SEQUENCES; i++) {
        sequence *s = &c->sequences[i];
        if (s->went_on == (lasting > SEQUENCES / 2) && (oldest == NULL || s->used < oldest->used)) oldest = s;
    }
    return oldest;
}

/* The sequence that this block goes on, or a new one. */
static sequence *sequence_of(cached *c, uint64_t block) {
    if (c->source.is_near) return &c->sequences[0];
    for (uint32_t i = 0; i < SEQUENCES; i++) {
        sequence *s = &c->sequences[i];
        if (!goes_on(s, block)) continue;
        s->went_on = true;
        return s;
    }
    sequence *taken = oldest_sequence(c);
    *taken = (sequence){UINT64_MAX, 0, 0, false};
    return taken;
}

static uint64_t run_far(const cached *c, const sequence *s, uint64_t block, uint64_t wanted) {
    uint64_t most = s->run > 0 ? 2 * s->run : 1;
    if (most < wanted) most = wanted;
    if (most > SS_CACHE_FAR) most = SS_CACHE_FAR;
    if (most > c->slot_count) most = c->slot_count;
    if (most > c->blocks - block) most = c->blocks - block;
    while (most > 1 && slot_of(c, block + most - 1) != NOWHERE) most--;
    return most;
}

/* Notes the blocks from this one on that lie in a hole, up to the next data; true if this one does. */
static bool skip_hole(cached *c, uint64_t block, uint64_t *count) {
    uint64_t begin, end, at = block * SS_CACHE_BLOCK;
    if (c->source.data == NULL || (at >= c->data_begin && at < c->data_end)) return false;
    if (c->source.data(c->source.self, at, &begin, &end) != SS_OK) return false;
    c->data_begin = begin, c->data_end = end;
    uint64_t first = begin == UINT64_MAX ? c->blocks : begin / SS_CACHE_BLOCK;
    if (begin <= at || first <= block) return false;
    *count = first < block + *count ? first - block : *count;
    for (uint64_t i = 0; i < *count; i++) set_slot(c, block + i, ZEROS);
    return true;
}

/* Each into its slot. None takes over the slot of another, unless the process has no memory left for as many slots as there were to be.
 * Those behind the first were not asked for: whoever asks hears what is wrong with them. */
static int fetch_near(cached *c, uint64_t block, uint64_t count) {
    int status = keep_block(c, block, NULL);
    for (uint64_t i = 1; i < count && status == SS_OK; i++) {
        if (keep_block(c, block + i, NULL) != SS_OK) break;
    }
    return status == SS_OK && slot_of(c, block) == NOWHERE ? keep_block(c, block, NULL) : status;
}

static int fetch_far(cached *c, uint64_t block, uint64_t count) {
    uint64_t at = block * SS_CACHE_BLOCK, length = count * SS_CACHE_BLOCK < c->bytes - at ? count * SS_CACHE_BLOCK : c->bytes - at;
    int status = ask(c, at, length, c->ahead);
    /* The one that was asked for last: it is not taken over by one of those that were not. */
    for (uint64_t i = count; i-- > 0 && status == SS_OK;) {
        if (slot_of(c, block + i) == NOWHERE) status = keep_block(c, block + i, c->ahead + i * SS_CACHE_BLOCK);
    }
    return status;
}

static int fetch(cached *c, uint64_t block, uint64_t wanted) {
    sequence *s = sequence_of(c, block);
    uint64_t count = c->source.is_near ? run_near(c, block) : run_far(c, s, block, wanted);
    if (skip_hole(c, block, &count)) return SS_OK;
    int status = c->source.is_near ? fetch_near(c, block, count) : fetch_far(c, block, count);
    *s = (sequence){status == SS_OK ? block + count : UINT64_MAX, count, c->usage.requests, s->went_on};
    return status;
}

/* Whether the bytes are read by themselves: a small piece of a block that was not asked for often lately. A tree that is read in
 * the order of its keys touches each block many times, with all others in between; an upper level touches each a few times. */
static bool is_stray(cached *c, uint64_t block, uint64_t offset, uint64_t length) {
    if (!c->source.is_near || length > STRAY_BYTES || offset + length > c->bytes) return false;
    touched *t = &c->touched[block % TOUCHED];
    if (t->block != block) *t = (touched){block, 0};
    if (t->count++ < STRAYS) return true;
    t->count = 0;
    return false;
}

/* ---- the memory ---- */

static int cached_size(void *self, uint64_t *pages) {
    const cached *c = self;
    *pages = c->bytes / SS_PAGE_SIZE + (c->bytes % SS_PAGE_SIZE != 0);
    return SS_OK;
}

static void copy_cached(cached *c, uint32_t at, uint64_t inside, uint64_t length, uint8_t *to) {
    if (at == ZEROS) {
        memset(to, 0, (size_t)length);
        return;
    }
    c->slots[at].used = true;
    memcpy(to, c->data[at] + inside, (size_t)length);
}

static int cached_read(void *self, uint64_t offset, void *to, uint64_t length) {
    cached *c = self;
    uint64_t pages = 0;
    (void)cached_size(c, &pages);
    if (offset > pages * SS_PAGE_SIZE || length > pages * SS_PAGE_SIZE - offset) {
        return ss_fail(SS_OUT_OF_BOUNDS, "end of the memory", offset, length, pages * SS_PAGE_SIZE);
    }
    for (uint8_t *next = to; length > 0;) {
        uint64_t block = offset / SS_CACHE_BLOCK, inside = offset % SS_CACHE_BLOCK, run = SS_CACHE_BLOCK - inside;
        if (run > length) run = length;
        bool missing = slot_of(c, block) == NOWHERE, stray = missing && is_stray(c, block, offset, run);
        uint64_t wanted = (inside + length + SS_CACHE_BLOCK - 1) / SS_CACHE_BLOCK;
        int status = stray ? ask(c, offset, run, next) : missing ? fetch(c, block, wanted) : SS_OK;
        if (status != SS_OK) return status;
        if (!stray) copy_cached(c, slot_of(c, block), inside, run, next);
        next += run, offset += run, length -= run;
    }
    return SS_OK;
}

static int cached_grow(void *self, uint64_t pages, uint64_t *old) {
    (void)pages;
    *old = 0;
    return ss_fail(SS_READ_ONLY, NULL, ((cached *)self)->bytes, 0, 0);
}

static int cached_write(void *self, uint64_t offset, const void *from, uint64_t length) {
    (void)self, (void)from;
    return ss_fail(SS_READ_ONLY, NULL, offset, length, 0);
}

static const ss_foreign_ops cached_ops = {cached_size, cached_grow, cached_read, cached_write};

static void free_cached(void *self) {
    cached *c = self;
    if (c->source.free != NULL) c->source.free(c->source.self);
    for (uint32_t i = 0; i < c->slots_used; i++) free(c->data[i]);
    free((void *)c->data);
    free(c->slots);
    free(c->table);
    free(c->ahead);
    free(c);
}

static const ss_storage_ops cached_storage = {.free = free_cached};

static cached *new_cached(ss_cached_source source, uint64_t bytes, uint64_t cache) {
    cached *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->source = source;
    c->bytes = bytes;
    c->blocks = bytes / SS_CACHE_BLOCK + (bytes % SS_CACHE_BLOCK != 0);
    uint64_t slots = cache / SS_CACHE_BLOCK < 1 ? 1 : cache / SS_CACHE_BLOCK;
    if (slots > c->blocks + 1) slots = c->blocks + 1;
    if (slots > ZEROS - 1) slots = ZEROS - 1;
    c->slot_count = (uint32_t)slots;
    for (uint32_t i = 0; i < SEQUENCES; i++) c->sequences[i].next = UINT64_MAX;
    uint64_t ahead = slots < SS_CACHE_FAR ? slots : SS_CACHE_FAR;
    c->table = calloc((size_t)c->blocks + 1, sizeof *c->table);
    c->data = calloc(c->slot_count, sizeof *c->data);
    c->slots = calloc(c->slot_count, sizeof *c->slots);
    c->ahead = source.is_near ? NULL : malloc((size_t)(ahead * SS_CACHE_BLOCK));
    if (c->table == NULL || c->data == NULL || c->slots == NULL || (c->ahead == NULL && !source.is_near)) {
        c->source.free = NULL;
        free_cached(c);
        return NULL;
    }
    return c;
}

int ss_memory_new_cached(ss_cached_source source, uint64_t bytes, uint64_t cache, ss_memory **out) {
    *out = NULL;
    cached *c = bytes > UINT64_MAX / 4 ? NULL : new_cached(source, bytes, cache);
    int status = c == NULL ? ss_fail(SS_NO_HEAP, "the cache of a memory", 0, bytes, cache) : ss_memory_new_foreign(&cached_ops, c, out);
    if (status != SS_OK) {
        if (c != NULL)
            free_cached(c);
        else if (source.free != NULL)
            source.free(source.self);
        return status;
    }
    (*out)->root->read_only = true;
    (*out)->root->storage_ops = &cached_storage;
    (*out)->root->storage = c;
    return SS_OK;
}

void ss_cached_measure(ss_memory *memory, struct ss_cached_usage *usage) {
    *usage = (struct ss_cached_usage){0, 0};
    if (memory->root->storage_ops != &cached_storage || ss_root_lock(memory->root, true) != SS_OK) return;
    *usage = ((const cached *)memory->root->storage)->usage;
    ss_root_unlock(memory->root);
}

bool ss_cached_has(ss_memory *memory, uint64_t offset, uint64_t length) {
    if (memory->root->storage_ops != &cached_storage || ss_root_lock(memory->root, true) != SS_OK) return false;
    const cached *c = memory->root->storage;
    uint64_t block = offset / SS_CACHE_BLOCK, end = length == 0 ? block : (offset + length - 1) / SS_CACHE_BLOCK + 1;
    bool has = offset <= c->bytes && length <= c->bytes - offset;
    for (; has && block < end; block++) has = slot_of(c, block) != NOWHERE;
    ss_root_unlock(memory->root);
    return has;
}

/* ---- a virtual memory by a table ---- */

static int pieces_refresh(ss_memory *self) {
    self->seen = self->root->epoch;
    return SS_OK;
}

static int pieces_grow(ss_memory *self, uint64_t pages, uint64_t *old) {
    (void)pages;
    *old = 0;
    return ss_fail(SS_READ_ONLY, NULL, self->bytes, 0, 0);
}

static void pieces_free(ss_memory *self) {
    free(self->buckets);
}

static const ss_virtual_ops pieces_ops = {pieces_refresh, pieces_grow, pieces_free};

int ss_memory_new_pieces(ss_memory *base, const uint64_t *offsets, uint64_t count, uint64_t bucket_bytes, uint64_t bytes, ss_memory **out) {
    *out = NULL;
    bool fits = bucket_bytes > 0 && bucket_bytes % SS_PAGE_SIZE == 0 && count <= UINT64_MAX / bucket_bytes && bytes <= count * bucket_bytes;
    if (!fits) return ss_fail(SS_ARGUMENT, "pieces of a memory", bytes, count, bucket_bytes);
    uint64_t *kept = malloc((size_t)(count + 1) * sizeof *kept);
    if (kept == NULL) return ss_fail(SS_NO_HEAP, "pieces of a memory", 0, count, 0);
    int status = ss_memory_new_virtual(base, out);
    if (status != SS_OK) {
        free(kept);
        return status;
    }
    if (count > 0) memcpy(kept, offsets, (size_t)count * sizeof *kept);
    (*out)->virtual_ops = &pieces_ops;
    (*out)->buckets = kept;
    (*out)->bucket_count = count;
    (*out)->bucket_bytes = bucket_bytes;
    (*out)->bytes = ss_round_up(bytes, SS_PAGE_SIZE);
    (*out)->seen = base->root->epoch;
    return SS_OK;
}
