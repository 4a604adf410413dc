/* SPDX-License-Identifier: Apache-2.0 */
/* The memory manager.
 *
 *    offset   size  field
 *         0      3  "MGR"
 *         3      1  layout version = 1
 *         4      2  number of allocated buckets, A
 *         6      2  bucket size in pages, B
 *         8     32  reserved, zero
 *        40  255x8  size in pages of memory 0..254
 *      2080  32768  owner of bucket i: a memory id, or 255 = nobody
 *     65536         bucket 0, B pages; bucket 1 behind it; ...
 *
 * Invariants
 *  G1  B > 0 and A <= 32768.
 *  G2  The owner of every bucket from A on is nobody. Below A nobody is allowed too: such a bucket is only lost.
 *  G3  The size of a memory is at most B times the number of buckets that it owns.
 *  G4  Every bucket that a memory's size reaches lies inside the base.
 *
 * A virtual memory is the sequence of its buckets in the order of the table. It knows their places and its size as of one
 * epoch of the root; when the epoch has moved it reads them again on entry.
 *
 * References: caller -> manager -> base, and virtual memory -> manager. The manager's way back to its virtual memories
 * is weak: an entry may be about to die, and is then taken only if its count has not reached zero yet.
 */
#include "memory/manager.h"

#include <stdlib.h>

#include "memory/magics.h"

#define VERSION 1

struct ss_manager {
    ss_handle handle;
    atomic_int references; /* the caller's and one for each virtual memory */
    ss_memory *memories[SS_MANAGER_MEMORIES];
};

/* ---- the tables in the base ---- */

typedef struct ss_tables {
    const uint8_t *bytes; /* in place, or copy */
    uint32_t allocated, bucket_pages;
    uint8_t copy[SS_MANAGER_TABLES_SIZE];
} ss_tables;

static uint64_t size_of(const ss_tables *tables, uint32_t id) {
    return ss_get64(tables->bytes + SS_MANAGER_SIZES_AT + 8 * id);
}

static uint8_t owner_of(const ss_tables *tables, uint32_t bucket) {
    return tables->bytes[SS_MANAGER_OWNERS_AT + bucket];
}

static int check_header(ss_tables *tables) {
    const uint8_t *bytes = tables->bytes;
    if (memcmp(bytes, SS_MANAGER_MAGIC, SS_MAGIC_SIZE) != 0)
        return ss_fail(SS_BAD_MAGIC, "magic of a memory manager", 0, ss_get32(bytes) & 0xFFFFFF, 0);
    if (bytes[SS_VERSION_AT] != VERSION) {
        return ss_fail(SS_BAD_VERSION, "layout version of a memory manager", SS_VERSION_AT, bytes[SS_VERSION_AT], VERSION);
    }
    tables->allocated = ss_get16(bytes + SS_MANAGER_ALLOCATED_AT);
    tables->bucket_pages = ss_get16(bytes + SS_MANAGER_BUCKET_PAGES_AT);
    if (tables->allocated > SS_MANAGER_BUCKETS) {
        return ss_fail(SS_CORRUPT, "number of allocated buckets", SS_MANAGER_ALLOCATED_AT, tables->allocated, SS_MANAGER_BUCKETS);
    }
    return tables->bucket_pages != 0 ? SS_OK : ss_fail(SS_CORRUPT, "the bucket size is not 0", SS_MANAGER_BUCKET_PAGES_AT, 0, 1);
}

/* G1 holds for what it gives. */
static int read_tables(const ss_memory *base, ss_tables *tables) {
    tables->bytes = ss_memory_direct(base, 0, SS_MANAGER_TABLES_SIZE);
    if (tables->bytes == NULL) {
        int status = ss_memory_read(base, 0, tables->copy, SS_MANAGER_TABLES_SIZE);
        if (status == SS_OUT_OF_BOUNDS) return ss_fail(SS_BAD_MAGIC, "the memory holds no manager: it has no pages", 0, 0, 1);
        if (status != SS_OK) return status;
        tables->bytes = tables->copy;
    }
    return check_header(tables);
}

static uint64_t buckets_for(const ss_tables *tables, uint64_t pages) {
    return pages / tables->bucket_pages + (pages % tables->bucket_pages != 0);
}

/* Base pages up to and with the bucket. */
static uint64_t pages_with(const ss_tables *tables, uint64_t buckets) {
    return 1 + buckets * tables->bucket_pages;
}

static int write_new(ss_memory *base, uint32_t bucket_pages) {
    uint8_t bytes[SS_MANAGER_TABLES_SIZE] = SS_MANAGER_MAGIC;
    bytes[SS_VERSION_AT] = VERSION;
    ss_put16(bytes + SS_MANAGER_BUCKET_PAGES_AT, (uint16_t)bucket_pages);
    memset(bytes + SS_MANAGER_OWNERS_AT, SS_MANAGER_FREE, SS_MANAGER_BUCKETS);
    return ss_memory_write_growing(base, 0, bytes, SS_MANAGER_TABLES_SIZE);
}

/* ---- checks ---- */

/* G2 */
static int check_owners(const ss_tables *tables, ss_check *check) {
    int status = SS_OK;
    for (uint32_t i = tables->allocated; i < SS_MANAGER_BUCKETS && status == SS_OK; i++) {
        if (owner_of(tables, i) == SS_MANAGER_FREE) continue;
        status = ss_fail(SS_CORRUPT, "a bucket that was never allocated has an owner", SS_MANAGER_OWNERS_AT + i, i, tables->allocated);
        status = ss_check_note(check, status);
    }
    return status;
}

static int check_size(const ss_tables *tables, uint32_t id, uint64_t owned) {
    uint64_t size = size_of(tables, id);
    if (size <= owned * tables->bucket_pages) return SS_OK;
    return ss_fail(SS_CORRUPT, "size of a memory in pages, against the buckets that it owns", SS_MANAGER_SIZES_AT + 8 * id, size,
                   owned * tables->bucket_pages);
}

/* G4 for the last bucket that counts, and so for those before it. */
static int check_inside(const ss_tables *tables, uint32_t bucket, uint64_t base_pages) {
    uint64_t end = pages_with(tables, bucket + 1);
    if (end <= base_pages) return SS_OK;
    return ss_fail(SS_CORRUPT, "a bucket in use ends inside the memory (pages)", SS_MANAGER_OWNERS_AT + bucket, end, base_pages);
}

/* G3 for every memory, and G4 if base_pages is not NULL. */
static int check_sizes(const ss_tables *tables, const uint64_t *base_pages, ss_check *check) {
    uint64_t owned[SS_MANAGER_MEMORIES + 1] = {0};
    int status = SS_OK;
    for (uint32_t i = 0; i < tables->allocated && status == SS_OK; i++) {
        uint8_t id = owner_of(tables, i);
        uint64_t rank = owned[id]++;
        if (base_pages == NULL || id == SS_MANAGER_FREE || rank >= buckets_for(tables, size_of(tables, id))) continue;
        status = ss_check_note(check, check_inside(tables, i, *base_pages));
    }
    for (uint32_t id = 0; id < SS_MANAGER_MEMORIES && status == SS_OK; id++) {
        status = ss_check_note(check, check_size(tables, id, owned[id]));
    }
    return status;
}

/* What opening demands. G4 is left to each memory on its entry, so that what a truncated image still has can be read. */
static int check_loaded(const ss_memory *base) {
    ss_tables tables;
    ss_check first = {0};
    int status = read_tables(base, &tables);
    if (status == SS_OK) status = check_owners(&tables, &first);
    return status == SS_OK ? check_sizes(&tables, NULL, &first) : status;
}

static int check_all(const ss_memory *base, ss_check *check) {
    ss_tables tables;
    uint64_t pages;
    int status = ss_memory_size(base, &pages);
    if (status == SS_OK) status = read_tables(base, &tables);
    /* Without a sound header there is nothing to walk. */
    if (status != SS_OK) return ss_check_note(check, status);
    status = check_owners(&tables, check);
    return status == SS_OK ? check_sizes(&tables, &pages, check) : status;
}

/* ---- virtual memories ---- */

static int set_bucket_room(ss_memory *self, uint64_t count) {
    uint64_t *buckets = realloc(self->buckets, (size_t)(count == 0 ? 1 : count) * sizeof *buckets);
    if (buckets == NULL) return ss_fail(SS_NO_HEAP, "bucket list of a memory", 0, count * sizeof *buckets, 0);
    self->buckets = buckets;
    return SS_OK;
}

static uint32_t log2_or_zero(uint64_t n) {
    return (n & (n - 1)) == 0 ? (uint32_t)__builtin_ctzll(n) : 0;
}

/* Place of a bucket in the base. */
static uint64_t bucket_offset(const ss_memory *self, uint64_t bucket) {
    return SS_PAGE_SIZE + bucket * self->bucket_bytes;
}

static uint64_t count_owned(const ss_tables *tables, uint32_t id) {
    uint64_t owned = 0;
    for (uint32_t i = 0; i < tables->allocated; i++) owned += owner_of(tables, i) == id;
    return owned;
}

static int check_memory(const ss_memory *self, const ss_tables *tables, uint64_t owned) {
    uint64_t base_pages, in_use = buckets_for(tables, size_of(tables, self->id)), rank = 0;
    int status = check_size(tables, self->id, owned);
    if (status == SS_OK) status = ss_memory_size(self->base, &base_pages);
    for (uint32_t i = 0; status == SS_OK && rank < in_use; i++) {
        if (owner_of(tables, i) != self->id || ++rank < in_use) continue;
        status = check_inside(tables, i, base_pages);
    }
    return status;
}

static int refresh(ss_memory *self) {
    ss_tables tables;
    int status = read_tables(self->base, &tables);
    if (status != SS_OK) return status;
    uint64_t owned = count_owned(&tables, self->id);
    status = check_memory(self, &tables, owned);
    if (status == SS_OK) status = set_bucket_room(self, owned);
    if (status != SS_OK) return status;
    self->bytes = size_of(&tables, self->id) * SS_PAGE_SIZE;
    self->bucket_bytes = tables.bucket_pages * SS_PAGE_SIZE;
    self->shift = log2_or_zero(self->bucket_bytes);
    self->bucket_count = 0;
    for (uint32_t i = 0; i < tables.allocated; i++) {
        if (owner_of(&tables, i) == self->id) self->buckets[self->bucket_count++] = bucket_offset(self, i);
    }
    self->seen = self->root->epoch;
    return SS_OK;
}

/* How many buckets the growth takes; the next ones must be free. */
static int plan_growth(const ss_tables *tables, uint64_t old_pages, uint64_t pages, uint32_t *needed) {
    uint64_t limit = (uint64_t)SS_MANAGER_BUCKETS * tables->bucket_pages;
    if (pages > limit || old_pages > limit - pages) {
        return ss_fail(SS_OUT_OF_MEMORY, "pages that a manager can give to a memory", 0, pages, limit - old_pages);
    }
    uint64_t more = buckets_for(tables, old_pages + pages) - buckets_for(tables, old_pages);
    if (more + tables->allocated > SS_MANAGER_BUCKETS) {
        return ss_fail(SS_OUT_OF_MEMORY, "the manager's table of buckets is full", SS_MANAGER_OWNERS_AT, more,
                       SS_MANAGER_BUCKETS - tables->allocated);
    }
    *needed = (uint32_t)more;
    for (uint32_t i = tables->allocated; i < tables->allocated + *needed; i++) {
        if (owner_of(tables, i) == SS_MANAGER_FREE) continue;
        return ss_fail(SS_CORRUPT, "a bucket that was never allocated has an owner", SS_MANAGER_OWNERS_AT + i, i, tables->allocated);
    }
    return SS_OK;
}

/* The next buckets get their owner, the base its pages, the header the new numbers: in this order. */
static int write_growth(ss_memory *self, const ss_tables *tables, uint32_t needed, uint64_t new_pages) {
    uint8_t owners[SS_MANAGER_BUCKETS], header[SS_MANAGER_OWNERS_AT];
    uint32_t allocated = tables->allocated + needed;
    /* Taken now: the tables may lie in place and change with the writes. */
    memcpy(header, tables->bytes, SS_MANAGER_OWNERS_AT);
    memset(header + SS_MANAGER_RESERVED_AT, 0, SS_MANAGER_SIZES_AT - SS_MANAGER_RESERVED_AT);
    ss_put16(header + SS_MANAGER_ALLOCATED_AT, (uint16_t)allocated);
    ss_put64(header + SS_MANAGER_SIZES_AT + 8 * self->id, new_pages);
    memset(owners, (int)self->id, needed);
    int status = ss_memory_write(self->base, SS_MANAGER_OWNERS_AT + tables->allocated, owners, needed);
    if (status == SS_OK) status = ss_memory_ensure(self->base, pages_with(tables, allocated) * SS_PAGE_SIZE);
    return status == SS_OK ? ss_memory_write(self->base, 0, header, SS_MANAGER_OWNERS_AT) : status;
}

static int grow(ss_memory *self, uint64_t pages, uint64_t *old) {
    ss_tables tables;
    uint32_t needed = 0;
    int status = read_tables(self->base, &tables);
    if (status != SS_OK) return status;
    uint32_t allocated = tables.allocated;
    *old = size_of(&tables, self->id);
    status = plan_growth(&tables, *old, pages, &needed);
    if (status == SS_OK) status = set_bucket_room(self, self->bucket_count + needed);
    if (status != SS_OK) return status;
    ss_undo_begin(self);
    status = write_growth(self, &tables, needed, *old + pages);
    if (status != SS_OK) return status;
    for (uint32_t i = 0; i < needed; i++) self->buckets[self->bucket_count++] = bucket_offset(self, allocated + i);
    self->bytes = (*old + pages) * SS_PAGE_SIZE;
    return SS_OK;
}

/* Of `memories`: that of the leases, which forks know; nothing is called while it is held. */
static pthread_mutex_t *table_mutex(const ss_manager *manager) {
    return &manager->handle.memory->root->leases_mutex;
}

static void release(ss_manager *manager) {
    if (atomic_fetch_sub(&manager->references, 1) != 1) return;
    ss_handle_free(&manager->handle);
    free(manager);
}

static void free_virtual(ss_memory *self) {
    ss_manager *manager = self->owner;
    pthread_mutex_lock(table_mutex(manager));
    if (manager->memories[self->id] == self) manager->memories[self->id] = NULL;
    pthread_mutex_unlock(table_mutex(manager));
    free(self->buckets);
    release(manager);
}

static const ss_virtual_ops virtual_ops = {refresh, grow, free_virtual};

/* The memory `id` if anybody holds it, with one more reference. */
static ss_memory *get_known(ss_manager *manager, uint32_t id) {
    pthread_mutex_lock(table_mutex(manager));
    ss_memory *memory = manager->memories[id];
    int count = memory == NULL ? 0 : atomic_load(&memory->references);
    while (count > 0 && !atomic_compare_exchange_weak(&memory->references, &count, count + 1)) continue;
    pthread_mutex_unlock(table_mutex(manager));
    return count > 0 ? memory : NULL;
}

static int get_new(ss_manager *manager, uint32_t id, ss_memory **out) {
    int status = ss_memory_new_virtual(manager->handle.memory, out);
    if (status != SS_OK) return status;
    ss_memory *memory = *out;
    memory->virtual_ops = &virtual_ops;
    memory->owner = manager;
    memory->id = id;
    atomic_fetch_add(&manager->references, 1);
    status = refresh(memory);
    if (status != SS_OK) {
        ss_memory_release(memory);
        *out = NULL;
        return status;
    }
    pthread_mutex_lock(table_mutex(manager));
    manager->memories[id] = memory;
    pthread_mutex_unlock(table_mutex(manager));
    return SS_OK;
}

/* ---- public ---- */

static int load_or_create(ss_manager *manager, int mode, uint32_t bucket_pages) {
    ss_memory *base = manager->handle.memory;
    uint8_t magic[3] = {0};
    uint64_t pages;
    int status = ss_memory_size(base, &pages);
    if (status == SS_OK && pages > 0) status = ss_memory_read(base, 0, magic, sizeof magic);
    if (status != SS_OK) return status;
    if (mode != SS_NEW && memcmp(magic, SS_MANAGER_MAGIC, sizeof magic) == 0) return check_loaded(base);
    status = ss_handle_may_create(&manager->handle, mode);
    return status == SS_OK ? write_new(base, bucket_pages) : status;
}

static ss_manager *new_manager(void) {
    ss_manager *manager = calloc(1, sizeof *manager);
    if (manager != NULL) {
        manager->references = 1;
    } else {
        ss_fail(SS_NO_HEAP, "a manager object", 0, sizeof *manager, 0);
    }
    return manager;
}

int ss_manager_open(ss_memory *base, int mode, uint32_t bucket_pages, ss_manager **out) {
    *out = NULL;
    if (bucket_pages == 0 || bucket_pages > UINT16_MAX) return ss_fail(SS_ARGUMENT, "bucket size in pages", 0, bucket_pages, UINT16_MAX);
    ss_manager *manager = new_manager();
    if (manager == NULL) return SS_NO_HEAP;
    int status = ss_handle_begin(&manager->handle, base, mode);
    if (status == SS_OK) status = ss_handle_end(&manager->handle, load_or_create(manager, mode, bucket_pages));
    if (status == SS_OK)
        *out = manager;
    else
        release(manager);
    return status;
}

void ss_manager_free(ss_manager *manager) {
    if (manager != NULL) release(manager);
}

void ss_manager_free_at(ss_manager **at) {
    ss_manager *manager = *at;
    *at = NULL;
    ss_manager_free(manager);
}

int ss_manager_get(ss_manager *manager, uint32_t id, ss_memory **out) {
    *out = NULL;
    if (id >= SS_MANAGER_MEMORIES) return ss_fail(SS_ARGUMENT, "id of a virtual memory", 0, id, SS_MANAGER_MEMORIES - 1);
    int status = ss_handle_enter_read(&manager->handle);
    if (status != SS_OK) return status;
    *out = get_known(manager, id);
    if (*out == NULL) status = get_new(manager, id, out);
    ss_leave_read(manager->handle.memory);
    return status;
}

int ss_manager_info(ss_manager *manager, struct ss_manager_info *out) {
    ss_tables tables;
    int status = ss_handle_enter_read(&manager->handle);
    if (status != SS_OK) return status;
    status = read_tables(manager->handle.memory, &tables);
    if (status == SS_OK) status = ss_memory_size(manager->handle.memory, &out->base_pages);
    if (status == SS_OK) {
        out->bucket_pages = tables.bucket_pages;
        out->allocated_buckets = tables.allocated;
    }
    ss_leave_read(manager->handle.memory);
    return status;
}

int ss_manager_tables(ss_manager *manager, uint64_t sizes[SS_MANAGER_MEMORIES], uint8_t owners[SS_MANAGER_BUCKETS]) {
    ss_tables tables;
    int status = ss_handle_enter_read(&manager->handle);
    if (status != SS_OK) return status;
    status = read_tables(manager->handle.memory, &tables);
    if (status == SS_OK) {
        for (uint32_t id = 0; id < SS_MANAGER_MEMORIES; id++) sizes[id] = size_of(&tables, id);
        memcpy(owners, tables.bytes + SS_MANAGER_OWNERS_AT, SS_MANAGER_BUCKETS);
    }
    ss_leave_read(manager->handle.memory);
    return status;
}

static int measure(const ss_memory *base, struct ss_usage *out) {
    ss_tables tables;
    ss_check first = {0};
    int status = read_tables(base, &tables);
    /* The sum below cannot overflow once every size fits its buckets. */
    if (status == SS_OK) status = check_sizes(&tables, NULL, &first);
    if (status != SS_OK) return status;
    uint64_t pages = 0;
    for (uint32_t id = 0; id < SS_MANAGER_MEMORIES; id++) pages += size_of(&tables, id);
    out->live = SS_MANAGER_TABLES_SIZE + pages * SS_PAGE_SIZE;
    out->allocated = pages_with(&tables, tables.allocated) * SS_PAGE_SIZE;
    return ss_memory_reserved(base, &out->reserved);
}

int ss_manager_usage(ss_manager *manager, struct ss_usage *out) {
    int status = ss_handle_enter_read(&manager->handle);
    if (status != SS_OK) return status;
    status = measure(manager->handle.memory, out);
    ss_leave_read(manager->handle.memory);
    return status;
}

int ss_manager_check(ss_manager *manager, ss_report report, void *self) {
    ss_check check = {.report = report, .self = self};
    int status = ss_handle_enter_read(&manager->handle);
    if (status != SS_OK) return status;
    status = ss_check_end(&check, check_all(manager->handle.memory, &check));
    ss_leave_read(manager->handle.memory);
    return status;
}
