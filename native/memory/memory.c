/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/memory.h"

#include <stdlib.h>

#include "core/pages.h"
#include "core/waiting.h"
#include "memory/forks.h"
#include "memory/memory_private.h"

/* Anonymous memory is made accessible this much at a time, so that the system may back it with huge pages. */
#define COMMIT_STEP (UINT64_C(2) << 20)

/* ---- flat roots: reservation, growth ---- */

/* What the memories of the process have reserved together, and how much of it they share out: half of the 128 TiB that
 * a process has on x86-64. Nobody gets more than an eighth of what is left, so neither the next memory nor malloc ever
 * finds the address space empty, however many memories there are. */
static _Atomic(uint64_t) reserved_by_all;
#ifndef SS_ADDRESS_SPACE
#define SS_ADDRESS_SPACE (UINT64_C(64) << 40)
#endif
#define LEAST_SHARE (SS_ADDRESS_SPACE >> 14) /* 4 GiB */

static uint64_t share_of(uint64_t bytes) {
    uint64_t taken = atomic_load(&reserved_by_all), left = taken < SS_ADDRESS_SPACE ? SS_ADDRESS_SPACE - taken : 0;
    uint64_t most = left / 8 > LEAST_SHARE ? left / 8 : LEAST_SHARE;
    return bytes < most ? bytes : most;
}

static void unreserve(const ss_root *root) {
    if (root->base == NULL) return;
    ss_pages_release(root->base, root->reserved);
    atomic_fetch_sub(&reserved_by_all, root->reserved);
}

/* Reserves `bytes` of address space at a multiple of COMMIT_STEP. If the system refuses so much: half of the most
 * that it grants, since the process needs some too. */
static int reserve(ss_root *root, uint64_t bytes) {
    uint64_t first = share_of(bytes);
    for (uint64_t ask = first; ask >= SS_PAGE_SIZE; ask /= 2) {
        uint64_t whole = ss_round_up(ask, COMMIT_STEP) + COMMIT_STEP;
        uint8_t *at = ss_pages_reserve(whole);
        if (at == NULL) continue;
        uint8_t *aligned = (uint8_t *)ss_round_up((uint64_t)(uintptr_t)at, COMMIT_STEP);
        uint64_t head = (uint64_t)(aligned - at), kept = ss_round_up(ask == first ? ask : ask / 2, COMMIT_STEP);
        ss_pages_release(at, head);
        ss_pages_release(aligned + kept, whole - head - kept);
        root->base = aligned;
        root->reserved = kept;
        atomic_fetch_add(&reserved_by_all, kept);
        return SS_OK;
    }
    return ss_fail(SS_OUT_OF_MEMORY, "address space for a memory: none to be had", 0, bytes, 0);
}

int ss_root_commit(ss_root *root, uint64_t end) {
    if (end <= root->committed) return SS_OK;
    uint64_t upto = ss_round_up(end, COMMIT_STEP);
    uint8_t *at = root->base + root->committed;
    if (!ss_pages_commit(at, upto - root->committed)) {
        return ss_fail(SS_OUT_OF_MEMORY, "the system gives no more memory", 0, end, root->committed);
    }
    /* Fewer TLB misses for large memories. Small ones stay on small pages. */
    if (upto > COMMIT_STEP) ss_pages_prefer_large(at, upto - root->committed);
    root->committed = upto;
    return SS_OK;
}

static int grow_flat(ss_root *root, uint64_t pages, uint64_t *old) {
    *old = root->pages;
    if (pages == 0) return SS_OK;
    uint64_t limit = root->reserved / SS_PAGE_SIZE < root->max_pages ? root->reserved / SS_PAGE_SIZE : root->max_pages;
    if (pages > limit || root->pages > limit - pages) {
        const char *rule = limit < root->max_pages ? "limit of the memory in pages (the system reserved less address space than asked)"
                                                   : "limit of the memory in pages";
        return ss_fail(SS_OUT_OF_MEMORY, rule, root->pages * SS_PAGE_SIZE, root->pages + pages, limit);
    }
    uint64_t new_pages = root->pages + pages;
    int status = root->storage_ops != NULL && root->storage_ops->grow != NULL
                     ? root->storage_ops->grow(root->storage, root->pages, new_pages)
                     : ss_root_commit(root, new_pages * SS_PAGE_SIZE);
    if (status == SS_OK) root->pages = new_pages;
    return status;
}

void ss_root_shrink(ss_root *root, uint64_t pages) {
    if (pages >= root->pages) return;
    uint64_t old = root->pages;
    root->pages = pages;
    if (root->storage_ops != NULL && root->storage_ops->shrink != NULL) {
        root->storage_ops->shrink(root->storage, old, pages);
        return;
    }
    ss_root_zero(root, pages, old);
}

/* Fresh pages that stay readable: a view taken before a rollback must not fault. */
void ss_root_zero(ss_root *root, uint64_t first, uint64_t end) {
    uint8_t *at = root->base + first * SS_PAGE_SIZE;
    uint64_t length = (end - first) * SS_PAGE_SIZE;
    if (!ss_pages_renew(at, length)) memset(at, 0, length);
}

/* Names the calling thread. (The address of a variable of the thread would do as well, and cost a call of the loader each time.) */
static inline const void *this_thread(void) {
    return (const void *)(uintptr_t)pthread_self();
}

bool ss_root_is_mine(const ss_root *root) {
    return atomic_load_explicit(&root->holder, memory_order_relaxed) == this_thread();
}

/* A lock that the thread which forked holds it holds in the child too: it is in the middle of an operation. */
void ss_root_forked(ss_root *root, const char *because) {
    if (!ss_root_is_mine(root)) {
        pthread_mutex_init(&root->mutex, NULL);
        atomic_store_explicit(&root->holder, NULL, memory_order_relaxed);
    }
    pthread_mutex_init(&root->leases_mutex, NULL);
    root->closed = true;
    root->forked = true;
    root->closed_because = because;
}

static inline int lock_root(ss_root *root, bool deaf) {
    if (ss_root_is_mine(root)) return ss_fail(SS_REENTRANT, NULL, 0, 0, 0);
    if (SS_UNLIKELY(pthread_mutex_trylock(&root->mutex) != 0)) {
        int status = ss_lock_slowly(&root->mutex, &root->holder, this_thread(), deaf);
        if (status != SS_OK) return status;
    }
    atomic_store_explicit(&root->holder, this_thread(), memory_order_relaxed);
    return SS_OK;
}

/* Whether there is something to report; who hears it has to ask for the next one. */
static bool takes_alarm(ss_root *root) {
    if (!root->alarmed && root->epoch == root->heard) return false;
    root->listening = root->alarmed = false;
    root->generation++;
    return true;
}

static inline void give_up_lock(ss_root *root) {
    atomic_store_explicit(&root->holder, NULL, memory_order_relaxed);
    pthread_mutex_unlock(&root->mutex);
}

static __attribute__((noinline)) void unlock_with_alarm(ss_root *root) {
    give_up_lock(root);
    ss_sound_alarm();
}

static inline void unlock_root(ss_root *root) {
    if (SS_UNLIKELY(root->listening) && takes_alarm(root)) {
        unlock_with_alarm(root);
    } else {
        give_up_lock(root);
    }
}

/* A change of this operation's own, such as of a file that is open for reading, is one for those who listened before. */
void ss_root_listen(ss_root *root) {
    root->alarmed = root->listening && (root->alarmed || root->epoch != root->heard);
    root->listening = true;
    root->heard = root->epoch;
}

int ss_root_lock(ss_root *root, bool deaf) {
    return lock_root(root, deaf);
}

void ss_root_unlock(ss_root *root) {
    unlock_root(root);
}

int ss_root_wait(ss_root *root, pthread_cond_t *condition, const struct timespec *until) {
    return ss_wait_unlocked(condition, &root->mutex, until, &root->holder, this_thread());
}

/* ---- reads that let others in ---- */

static inline bool is_shared(ss_root *root) {
    return atomic_load_explicit(&root->sharing, memory_order_acquire) != 0;
}

bool ss_share_read(ss_memory *memory) {
    ss_root *root = memory->root;
    if (root->foreign || root->guarded) return false;
    atomic_fetch_add(&root->sharing, 1);
    unlock_root(root);
    return true;
}

void ss_leave_shared(ss_memory *memory, bool shared) {
    ss_root *root = memory->root;
    if (!shared) {
        ss_leave_read(memory);
        return;
    }
    if (atomic_fetch_sub(&root->sharing, 1) > 1 || !atomic_load(&root->awaited)) return;
    pthread_mutex_lock(&root->sharing_mutex);
    pthread_cond_broadcast(&root->unshared);
    pthread_mutex_unlock(&root->sharing_mutex);
}

/* For one slice at most. Whoever waits holds the lock, so no new ones come, and those inside wait for nobody. */
static void wait_for_sharers(ss_root *root) {
    struct timespec until = ss_after(SS_SLICE_MS);
    int error = 0;
    pthread_mutex_lock(&root->sharing_mutex);
    atomic_store(&root->awaited, true);
    while (error == 0 && atomic_load(&root->sharing) != 0) {
        error = pthread_cond_timedwait(&root->unshared, &root->sharing_mutex, &until);
    }
    atomic_store(&root->awaited, false);
    pthread_mutex_unlock(&root->sharing_mutex);
}

int ss_root_be_alone(ss_root *root, bool deaf) {
    int status = SS_OK;
    while (status == SS_OK && SS_UNLIKELY(is_shared(root))) {
        if (!deaf && ss_is_impatient()) return SS_ABSENT;
        wait_for_sharers(root);
        if (deaf || !is_shared(root)) continue;
        unlock_root(root);
        status = ss_poll_signals();
        (void)lock_root(root, true);
    }
    return status;
}

static int init_sharing(ss_root *root) {
    if (pthread_mutex_init(&root->sharing_mutex, NULL) != 0) return SS_NO_HEAP;
    if (ss_condition_init(&root->unshared) == 0) return SS_OK;
    pthread_mutex_destroy(&root->sharing_mutex);
    return SS_NO_HEAP;
}

void ss_root_forget_sharing(ss_root *root) {
    atomic_store(&root->sharing, 0);
    (void)init_sharing(root);
}

/* ---- life ---- */

static int init_locks(ss_root *root) {
    if (pthread_mutex_init(&root->mutex, NULL) != 0) return SS_NO_HEAP;
    if (pthread_mutex_init(&root->leases_mutex, NULL) == 0) {
        if (init_sharing(root) == SS_OK) return SS_OK;
        pthread_mutex_destroy(&root->leases_mutex);
    }
    pthread_mutex_destroy(&root->mutex);
    return SS_NO_HEAP;
}

static ss_root *new_root(void) {
    ss_root *root = calloc(1, sizeof *root);
    if (root == NULL) return NULL;
    if (init_locks(root) != SS_OK) {
        free(root);
        return NULL;
    }
    root->references = 1;
    ss_forks_list(root);
    return root;
}

static void free_root(ss_root *root) {
    ss_forks_unlist(root);
    if (root->storage_ops != NULL && root->storage_ops->free != NULL) root->storage_ops->free(root->storage);
    unreserve(root);
    free(root->undo.log);
    ss_scope_release(root->scope);
    pthread_cond_destroy(&root->unshared);
    pthread_mutex_destroy(&root->sharing_mutex);
    pthread_mutex_destroy(&root->leases_mutex);
    pthread_mutex_destroy(&root->mutex);
    free(root);
}

/* A memory object on `root`, which it keeps; on failure the root is as before. */
static ss_memory *new_memory(enum ss_memory_kind kind, ss_root *root, ss_memory *base) {
    ss_memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL) return NULL;
    memory->kind = kind;
    memory->references = 1;
    memory->root = root;
    memory->base = base;
    if (base != NULL) {
        ss_memory_retain(base);
        atomic_fetch_add(&root->references, 1);
    }
    return memory;
}

static int no_heap(void) {
    return ss_fail(SS_NO_HEAP, "a memory object", 0, sizeof(ss_memory), 0);
}

static int new_root_memory(enum ss_memory_kind kind, ss_memory **out) {
    ss_root *root = new_root();
    *out = root == NULL ? NULL : new_memory(kind, root, NULL);
    if (*out != NULL) return SS_OK;
    if (root != NULL) free_root(root);
    return no_heap();
}

int ss_memory_new_flat(uint64_t max_pages, ss_memory **out) {
    *out = NULL;
    if (max_pages == 0 || max_pages > UINT64_MAX / SS_PAGE_SIZE / 4) {
        return ss_fail(SS_ARGUMENT, "limit of a memory in pages", 0, max_pages, UINT64_MAX / SS_PAGE_SIZE / 4);
    }
    int status = new_root_memory(SS_FLAT, out);
    if (status != SS_OK) return status;
    (*out)->root->max_pages = max_pages;
    (*out)->root->watch = SS_WATCH_FRESH;
    status = reserve((*out)->root, max_pages * SS_PAGE_SIZE);
    if (status != SS_OK) {
        ss_memory_release(*out);
        *out = NULL;
    }
    return status;
}

int ss_memory_new_foreign(const ss_foreign_ops *ops, void *self, ss_memory **out) {
    int status = new_root_memory(SS_FOREIGN, out);
    if (status != SS_OK) return status;
    (*out)->root->foreign = true;
    (*out)->root->foreign_ops = ops;
    (*out)->root->foreign_self = self;
    return SS_OK;
}

int ss_memory_new_restricted(ss_memory *base, uint64_t first, uint64_t end, ss_memory **out) {
    *out = NULL;
    if (first > end || end > UINT64_MAX / SS_PAGE_SIZE) return ss_fail(SS_ARGUMENT, "page range of a restricted memory", 0, first, end);
    *out = new_memory(SS_RESTRICTED, base->root, base);
    if (*out == NULL) return no_heap();
    (*out)->first = first;
    (*out)->end = end;
    return SS_OK;
}

int ss_memory_new_virtual(ss_memory *base, ss_memory **out) {
    *out = new_memory(SS_VIRTUAL, base->root, base);
    if (*out == NULL) return no_heap();
    for (ss_memory *below = base; below != NULL; below = below->base) atomic_store(&below->carries, true);
    return SS_OK;
}

void ss_memory_retain(ss_memory *memory) {
    atomic_fetch_add(&memory->references, 1);
}

/* Asks nobody in between, so that neither a damaged manager nor a dead file can keep it open. */
static int close_root(ss_root *root, bool last, bool deaf) {
    bool open = false;
    int status = lock_root(root, deaf);
    if (status != SS_OK) return status;
    status = ss_root_be_alone(root, deaf);
    if (status != SS_OK) {
        unlock_root(root);
        return status;
    }
    if (root->storage_ops != NULL && root->storage_ops->close != NULL) status = root->storage_ops->close(root->storage, last, &open);
    if (!open) {
        root->closed = true;
        root->epoch++;
        root->generation++;
    }
    if (deaf) root->listening = false; /* nobody is left, and the binding may be gone */
    unlock_root(root);
    return status;
}

void ss_memory_release(ss_memory *memory) {
    while (memory != NULL && atomic_fetch_sub(&memory->references, 1) == 1) {
        ss_memory *base = memory->base;
        ss_root *root = memory->root;
        if (memory->virtual_ops != NULL && memory->virtual_ops->free != NULL) memory->virtual_ops->free(memory);
        ss_leases_free(memory);
        if (base == NULL) (void)close_root(root, true, true);
        free(memory);
        if (atomic_fetch_sub(&root->references, 1) == 1) free_root(root);
        memory = base;
    }
}

void ss_memory_release_at(ss_memory **at) {
    ss_memory *memory = *at;
    *at = NULL;
    ss_memory_release(memory);
}

int ss_memory_close(ss_memory *memory) {
    return close_root(memory->root, false, false);
}

int ss_memory_close_at_exit(ss_memory *memory) {
    return close_root(memory->root, true, false);
}

/* ---- the lock ---- */

/* Virtual memories below first: what they know of the manager's tables may be stale. */
int ss_memory_refresh(ss_memory *memory) {
    if (memory->base != NULL) {
        int status = ss_memory_refresh(memory->base);
        if (status != SS_OK) return status;
    }
    if (memory->virtual_ops == NULL || memory->seen == memory->root->epoch) return SS_OK;
    return memory->virtual_ops->refresh(memory);
}

/* For a root that is closed or guarded; lock held. */
static int enter_special(ss_root *root) {
    int status = root->guarded && !root->closed ? root->storage_ops->enter(root->storage) : SS_OK;
    if (status != SS_OK || !root->closed) return status;
    return ss_fail(SS_CLOSED, root->closed_because != NULL ? root->closed_because : "the memory was closed", 0, 0, 0);
}

/* What comes between the lock and the refreshing of tables. It may give the lock up and wait, and others may have come in
 * to read then. */
static int enter_root_alone(ss_root *root) {
    for (;;) {
        int status = ss_root_be_alone(root, false);
        if (status == SS_OK && (root->closed | root->guarded)) status = enter_special(root);
        if (status != SS_OK || SS_LIKELY(!is_shared(root))) return status;
        if (root->guarded) root->storage_ops->leave(root->storage);
    }
}

static inline int enter(ss_memory *memory, bool alone) {
    ss_root *root = memory->root;
    int status = lock_root(root, false);
    if (SS_UNLIKELY(status != SS_OK)) return status;
    root->size_known = false;
    if (SS_UNLIKELY(root->closed | root->guarded | (alone && is_shared(root)))) {
        status = alone ? enter_root_alone(root) : enter_special(root);
        if (status != SS_OK) {
            unlock_root(root);
            return status;
        }
    }
    status = memory->base == NULL ? SS_OK : ss_memory_refresh(memory);
    if (SS_UNLIKELY(status != SS_OK)) ss_leave_read(memory);
    return status;
}

int ss_enter_read(ss_memory *memory) {
    return enter(memory, false);
}

int ss_enter_alone(ss_memory *memory) {
    return enter(memory, true);
}

void ss_leave_read(ss_memory *memory) {
    ss_root *root = memory->root;
    if (SS_UNLIKELY(root->guarded)) root->storage_ops->leave(root->storage);
    unlock_root(root);
}

int ss_enter_write(ss_memory *memory) {
    int status = enter(memory, true);
    if (status != SS_OK) return status;
    ss_root *root = memory->root;
    if (SS_UNLIKELY(root->read_only)) {
        ss_leave_read(memory);
        return ss_fail(SS_READ_ONLY, NULL, 0, 0, 0);
    }
    if (SS_UNLIKELY(root->storage_ops != NULL && root->storage_ops->begin != NULL)) {
        status = root->storage_ops->begin(root->storage);
        if (status != SS_OK) {
            ss_leave_read(memory);
            return status;
        }
    }
    root->writing = true;
    /* A foreign write can fail at any time, and so can a store that takes disk space. */
    if (SS_UNLIKELY(root->foreign || (root->watch & SS_WATCH_ROOM))) ss_undo_begin(memory);
    return SS_OK;
}

int ss_leave_write(ss_memory *memory, int status) {
    ss_root *root = memory->root;
    if (SS_UNLIKELY(root->undo.active)) ss_undo_end(root, status < 0);
    if (SS_UNLIKELY(root->storage_ops != NULL && root->storage_ops->end != NULL)) {
        status = root->storage_ops->end(root->storage, status);
    }
    if (SS_UNLIKELY(root->forked) && status >= 0) status = ss_fail(SS_CLOSED, root->closed_because, 0, 0, 0);
    root->writing = false;
    root->generation++;
    ss_leave_read(memory);
    return status;
}

/* ---- watchers ---- */

int ss_root_touch_watched(ss_root *root, uint64_t offset, uint64_t length) {
    int status = SS_OK;
    root->watch &= ~(unsigned)SS_WATCH_FRESH;
    if (root->watch & SS_WATCH_ROOM) status = root->storage_ops->make_room(root->storage, offset, length);
    if (status == SS_OK && (root->watch & SS_WATCH_STORAGE)) status = root->storage_ops->touch(root->storage, offset, length);
    if (status == SS_OK && (root->watch & SS_WATCH_UNDO)) status = ss_undo_record(root, offset, length);
    return status;
}

/* ---- where bytes lie ---- */

/* The place in the base of virtual byte `offset`, and how many bytes follow it in one piece there (at most `length`).
 * Buckets that lie one behind the other are one piece. The range is inside the virtual memory. */
static uint64_t locate_virtual(const ss_memory *memory, uint64_t offset, uint64_t *length) {
    uint64_t bucket = memory->shift != 0 ? offset >> memory->shift : offset / memory->bucket_bytes;
    uint64_t inside = offset - bucket * memory->bucket_bytes;
    uint64_t start = memory->buckets[bucket], run = memory->bucket_bytes - inside;
    while (run < *length && memory->buckets[bucket + 1] == memory->buckets[bucket] + memory->bucket_bytes) {
        bucket++;
        run += memory->bucket_bytes;
    }
    if (run < *length) *length = run;
    return start + inside;
}

/* Root offset of byte `offset`, and in *length how many bytes lie there in one piece. Bounds are those of the caller;
 * what a damaged manager's table says is checked at the root. */
static uint64_t locate(const ss_memory *memory, uint64_t offset, uint64_t *length) {
    for (; memory->base != NULL; memory = memory->base) {
        offset = memory->kind == SS_VIRTUAL ? locate_virtual(memory, offset, length) : offset + memory->first * SS_PAGE_SIZE;
    }
    return offset;
}

int ss_memory_size_mapped(const ss_memory *memory, uint64_t *pages) {
    if (memory->base == NULL) return ss_root_pages(memory->root, pages);
    if (memory->kind == SS_VIRTUAL) {
        *pages = memory->bytes / SS_PAGE_SIZE;
        return SS_OK;
    }
    uint64_t below;
    int status = ss_memory_size(memory->base, &below);
    if (status != SS_OK) return status;
    uint64_t end = below < memory->end ? below : memory->end;
    *pages = below < memory->first ? 0 : end - memory->first;
    return SS_OK;
}

bool ss_memory_is_read_only(const ss_memory *memory) {
    return memory->root->read_only;
}

int ss_memory_check_bounds(const ss_memory *memory, uint64_t offset, uint64_t length) {
    uint64_t pages, end;
    int status = ss_memory_size(memory, &pages);
    if (status != SS_OK) return status;
    bool fits = ss_add(offset, length, &end) && (pages > UINT64_MAX / SS_PAGE_SIZE || end <= pages * SS_PAGE_SIZE);
    return fits ? SS_OK : ss_fail(SS_OUT_OF_BOUNDS, "end of the memory", offset, length, pages * SS_PAGE_SIZE);
}

static int check_root_bounds(const ss_root *root, uint64_t offset, uint64_t length) {
    uint64_t bytes = root->pages * SS_PAGE_SIZE;
    if (root->foreign || (offset <= bytes && length <= bytes - offset)) return SS_OK;
    return ss_fail(SS_OUT_OF_BOUNDS, "end of the memory", offset, length, bytes);
}

/* ---- the four operations ---- */

static int read_root(const ss_root *root, uint64_t offset, uint8_t *to, uint64_t length) {
    int status = check_root_bounds(root, offset, length);
    if (status != SS_OK) return status;
    if (root->foreign) return root->foreign_ops->read(root->foreign_self, offset, to, length);
    memcpy(to, root->base + offset, (size_t)length);
    return SS_OK;
}

static int write_root(ss_root *root, uint64_t offset, const uint8_t *from, uint64_t length) {
    int status = check_root_bounds(root, offset, length);
    if (status == SS_OK) status = ss_root_touch(root, offset, length);
    if (status != SS_OK) return status;
    if (root->foreign) return root->foreign_ops->write(root->foreign_self, offset, from, length);
    /* The bytes may come from a view of this very memory. */
    memmove(root->base + offset, from, (size_t)length);
    return SS_OK;
}

int ss_memory_read(const ss_memory *memory, uint64_t offset, void *to, uint64_t length) {
    if (length == 0) return SS_OK;
    const uint8_t *at = ss_memory_direct(memory, offset, length);
    if (SS_LIKELY(at != NULL)) {
        memcpy(to, at, (size_t)length);
        return SS_OK;
    }
    int status = ss_memory_check_bounds(memory, offset, length);
    for (uint8_t *next = to; status == SS_OK && length > 0;) {
        uint64_t run = length, place = locate(memory, offset, &run);
        status = read_root(memory->root, place, next, run);
        next += run;
        offset += run;
        length -= run;
    }
    return status;
}

int ss_memory_write(ss_memory *memory, uint64_t offset, const void *from, uint64_t length) {
    if (length == 0) return SS_OK;
    if (SS_LIKELY(memory->kind == SS_FLAT)) return write_root(memory->root, offset, from, length);
    int status = ss_memory_check_bounds(memory, offset, length);
    /* All pieces must exist before the first one changes. */
    for (uint64_t done = 0; status == SS_OK && memory->base != NULL && done < length;) {
        uint64_t run = length - done, place = locate(memory, offset + done, &run);
        status = check_root_bounds(memory->root, place, run);
        done += run;
    }
    for (const uint8_t *next = from; status == SS_OK && length > 0;) {
        uint64_t run = length, place = locate(memory, offset, &run);
        status = write_root(memory->root, place, next, run);
        next += run;
        offset += run;
        length -= run;
    }
    return status;
}

static int grow_foreign(ss_root *root, uint64_t pages, uint64_t *old) {
    root->size_known = false;
    return root->foreign_ops->grow(root->foreign_self, pages, old);
}

/* docs/format.md#memory: a base shorter than the range is grown up to it and by `pages`, and 0 is reported. */
static int grow_restricted(ss_memory *memory, uint64_t pages, uint64_t *old) {
    uint64_t below, ignored;
    int status = ss_memory_size(memory->base, &below);
    if (status == SS_OK) status = ss_memory_size(memory, old);
    if (status != SS_OK) return status;
    uint64_t start = below < memory->first ? memory->first : below;
    if (pages == 0 && start == below) return SS_OK;
    if (start > memory->end || pages > memory->end - start) {
        return ss_fail(SS_OUT_OF_MEMORY, "end of the restricted range in pages", 0, start + pages, memory->end);
    }
    return ss_memory_grow(memory->base, start + pages - below, &ignored);
}

int ss_memory_grow(ss_memory *memory, uint64_t pages, uint64_t *old) {
    switch (memory->kind) {
        case SS_FLAT:
            return grow_flat(memory->root, pages, old);
        case SS_FOREIGN:
            return grow_foreign(memory->root, pages, old);
        case SS_VIRTUAL:
            return memory->virtual_ops->grow(memory, pages, old);
        default:
            return grow_restricted(memory, pages, old);
    }
}

int ss_memory_ensure(ss_memory *memory, uint64_t end) {
    uint64_t pages, old;
    int status = ss_memory_size(memory, &pages);
    if (status != SS_OK) return status;
    uint64_t needed = end / SS_PAGE_SIZE + (end % SS_PAGE_SIZE != 0);
    return needed <= pages ? SS_OK : ss_memory_grow(memory, needed - pages, &old);
}

int ss_memory_write_growing(ss_memory *memory, uint64_t offset, const void *from, uint64_t length) {
    uint64_t end;
    if (!ss_add(offset, length, &end)) return ss_fail(SS_OUT_OF_BOUNDS, "64-bit addresses", offset, length, UINT64_MAX);
    int status = ss_memory_ensure(memory, end);
    return status != SS_OK ? status : ss_memory_write(memory, offset, from, length);
}

/* ---- pins ---- */

/* The usual case of locate_whole: one bucket on a flat root. */
static inline bool locate_in_bucket(const ss_memory *memory, uint64_t offset, uint64_t length, uint64_t *place) {
    if (memory->shift == 0 || memory->base->kind != SS_FLAT) return false;
    if (length == 0 || offset > memory->bytes || length > memory->bytes - offset) return false;
    uint64_t bucket = offset >> memory->shift, end = memory->root->pages * SS_PAGE_SIZE;
    if ((offset + length - 1) >> memory->shift != bucket) return false;
    *place = memory->buckets[bucket] + (offset - (bucket << memory->shift));
    return *place <= end && length <= end - *place;
}

/* Sets *place to the root offset of a range that lies in one piece; false if it does not (or not inside). */
static bool locate_whole(const ss_memory *memory, uint64_t offset, uint64_t length, uint64_t *place) {
    if (SS_LIKELY(memory->kind == SS_VIRTUAL && locate_in_bucket(memory, offset, length, place))) return true;
    if (memory->root->foreign || length == 0) return false;
    uint64_t bytes = memory->bytes, pages, run = length;
    if (memory->kind != SS_VIRTUAL) {
        if (ss_memory_size(memory, &pages) != SS_OK) return false;
        bytes = pages * SS_PAGE_SIZE;
    }
    if (offset > bytes || length > bytes - offset) return false;
    *place = locate(memory, offset, &run);
    uint64_t end = memory->root->pages * SS_PAGE_SIZE;
    return run == length && *place <= end && length <= end - *place;
}

const uint8_t *ss_memory_direct_mapped(const ss_memory *memory, uint64_t offset, uint64_t length) {
    uint64_t place;
    return locate_whole(memory, offset, length, &place) ? memory->root->base + place : NULL;
}

int ss_pin_range_mapped(const ss_memory *memory, uint64_t offset, uint64_t length, ss_scratch *scratch, ss_pin *pin) {
    uint64_t place;
    pin->offset = offset;
    pin->length = length;
    pin->direct = locate_whole(memory, offset, length, &place);
    if (SS_LIKELY(pin->direct)) {
        pin->root_offset = place;
        pin->bytes = memory->root->base + place;
        return SS_OK;
    }
    int status = ss_memory_check_bounds(memory, offset, length);
    if (status != SS_OK) return status;
    pin->root_offset = 0;
    pin->bytes = ss_scratch_take(scratch, (size_t)length);
    return pin->bytes == NULL ? SS_NO_HEAP : ss_memory_read(memory, offset, pin->bytes, length);
}

int ss_pin_change(ss_memory *memory, ss_pin *pin, uint64_t at, uint64_t length) {
    if (at > pin->length || length > pin->length - at) {
        return ss_fail(SS_OUT_OF_BOUNDS, "end of a pinned range", pin->offset + at, length, pin->length);
    }
    return pin->direct ? ss_root_touch(memory->root, pin->root_offset + at, length) : SS_OK;
}

int ss_pin_changed(ss_memory *memory, ss_pin *pin, uint64_t at, uint64_t length) {
    return pin->direct ? SS_OK : ss_memory_write(memory, pin->offset + at, pin->bytes + at, length);
}
