/* SPDX-License-Identifier: Apache-2.0 */
/* A memory: a sequence of 65,536-byte pages with four operations, size, grow, read and write.
 *
 * Four kinds: flat (mapped bytes at an address that never moves), foreign (callbacks of the user), virtual (buckets of
 * a manager over a base memory) and restricted (a range of pages of a base memory). Flat and foreign memories are
 * *roots*: a root has the lock, the leases, the undo log and the hooks of a storage (file, journal) for itself and for
 * every memory that stands on it.
 *
 * Rules
 *  M1  Every byte of every structure is written by ss_memory_write, or in place between ss_pin_change and
 *      ss_pin_changed. Both check the bounds and report the range to the root's watchers before the first byte changes.
 *  M2  With no watcher (no undo scope, no transaction, written to before) the report is one predictable branch.
 *  M3  The base address of a flat memory never moves, so a direct pin stays valid across growth.
 *  M4  A public operation of a structure runs between ss_enter and ss_leave; everything below it finds the lock held.
 *  M5  An operation that can fail after its first write runs in an undo scope; a failure then restores every byte, and
 *      the size of a flat root. A foreign root that fails in that too is restored before its next operation.
 *  M6  Where long reads let others in (ss_share_read), nobody changes a byte, the size, the mapping or the tables of a
 *      memory until they have ended; and they touch nothing that belongs to a handle, and run no code of the user.
 *  M7  The binding may hand out what it has read ahead without looking at the memory again, once it has said so
 *      (ss_root_listen): when the lock is given up after a change, and before the operation returns, the alarm tells it.
 */
#ifndef SS_MEMORY_H
#define SS_MEMORY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/scratch.h"

#define SS_PAGE_SIZE UINT64_C(65536)
/* 500 GiB, the stable memory of a canister. */
#define SS_MAX_PAGES UINT64_C(8192000)
#define SS_NULL UINT64_C(0)

typedef struct ss_memory ss_memory;
typedef struct ss_root ss_root;

enum ss_memory_kind { SS_FLAT, SS_FOREIGN, SS_VIRTUAL, SS_RESTRICTED };

/* What a storage under a flat root does beside holding bytes; all members may be NULL. `self` is root->storage.
 * The lock of the root is held in each. */
typedef struct ss_storage_ops {
    /* Makes pages old..new usable (reserve disk space, map). SS_OUT_OF_MEMORY if it cannot; nothing changed then. */
    int (*grow)(void *self, uint64_t old_pages, uint64_t new_pages);
    /* Undoes a growth; pages above new_pages must read as zeros when they come back. Cannot fail. */
    void (*shrink)(void *self, uint64_t old_pages, uint64_t new_pages);
    /* Before bytes [offset, offset+length) change; called only while root->watch has SS_WATCH_STORAGE. */
    int (*touch)(void *self, uint64_t offset, uint64_t length);
    /* The same, before that, while root->watch has SS_WATCH_ROOM: bytes [offset, offset+length) may have no disk space yet. */
    int (*make_room)(void *self, uint64_t offset, uint64_t length);
    /* Where, from `offset` on, the first byte lies that need not be zero; called only while root->watch has SS_WATCH_FRESH. */
    uint64_t (*data_after)(void *self, uint64_t offset);
    /* Around each public operation, read-only ones included, while root->guarded. `enter` may release the lock and
     * wait; if it fails, the operation does not take place and there is no `leave`. */
    int (*enter)(void *self);
    void (*leave)(void *self);
    /* Around each public operation that may write. `end` gets its status and returns the final one. */
    int (*begin)(void *self);
    int (*end)(void *self, int status);
    /* Release of the storage (flush, unlock, close files) when the root is closed; the mapping goes later. Idempotent.
     * *open if it failed because another thread's transaction is open, or views are (SS_IN_USE), and nothing was closed;
     * not if `last`: then it does not wait for a transaction. */
    int (*close)(void *self, bool last, bool *open);
    /* In the child of a fork: renews what missing threads may have held. Returns whether another thread of the
     * parent has left the root in a state that nobody can end. */
    bool (*forked)(void *self);
    /* The root is gone: free `self`. */
    void (*free)(void *self);
} ss_storage_ops;

/* The callbacks of a foreign memory; `self` is the user's handle. Each returns a status and checks its own bounds. */
typedef struct ss_foreign_ops {
    int (*size)(void *self, uint64_t *pages);
    int (*grow)(void *self, uint64_t pages, uint64_t *old); /* SS_OUT_OF_MEMORY if it refuses */
    int (*read)(void *self, uint64_t offset, void *to, uint64_t length);
    int (*write)(void *self, uint64_t offset, const void *from, uint64_t length);
} ss_foreign_ops;

/* The leases that were made in one transaction. */
typedef struct ss_scope {
    size_t references; /* of leases, and of the root while the transaction is open */
    bool forgotten;
} ss_scope;

/* A live structure on a range of pages. */
typedef struct ss_lease {
    struct ss_lease *next;
    const void *owner;
    uint64_t program;
    ss_scope *scope;     /* NULL outside of transactions */
    uint64_t first, end; /* pages of the memory that holds the list */
} ss_lease;

typedef struct ss_undo {
    bool active, many; /* many: of an operation of many steps */
    uint64_t pages;    /* of the root, when the scope began */
    uint8_t *log;      /* records of [bytes][offset 8][length 8], newest last */
    size_t used, room;
    uint64_t *kept; /* many, once the log is long: a bit for each line that is in the log; else NULL */
} ss_undo;

/* SS_WATCH_FRESH: no byte was written since the memory was made or opened; the first write, and the end of a transaction,
 * take it away, and so must whoever puts bytes there in another way. */
enum ss_watch { SS_WATCH_UNDO = 1, SS_WATCH_STORAGE = 2, SS_WATCH_ROOM = 4, SS_WATCH_FRESH = 8 };

/* How a fork finds the lock of a root. */
enum ss_at_fork { SS_FORK_FREE, SS_FORK_OWN, SS_FORK_BUSY };

struct ss_root {
    pthread_mutex_t mutex;
    pthread_mutex_t leases_mutex; /* of the leases only; nothing is called while it is held */
    _Atomic(const void *) holder; /* identity of the thread that holds the mutex */
    atomic_uint sharing;          /* operations that read without the mutex (M6); it grows only while the mutex is held */
    atomic_bool awaited;          /* the holder waits for their end */
    pthread_mutex_t sharing_mutex;
    pthread_cond_t unshared;
    unsigned watch; /* bits of enum ss_watch */
    bool closed, guarded, read_only, foreign;
    bool forked;                /* this is the child of a fork; an operation that was under way ends with SS_CLOSED */
    const char *closed_because; /* the rule of SS_CLOSED, if it was not the user who closed it */
    bool behind_writer;         /* another handle writes the file that this one reads, and may have committed more than is shown */
    bool writing;               /* between ss_enter_write and ss_leave_write */
    bool size_known;            /* foreign: known_pages is what it said in this operation, and it has not grown since */
    bool takes_back;            /* the storage restores whatever a failing operation has changed, so undo scopes need not */
    /* Counts what makes cached knowledge stale: rollbacks and raw writes. */
    uint64_t epoch;
    /* Moves with every operation that may have changed anything on this root: a cheap hint for iterators. */
    uint64_t generation;
    /* M7: somebody wants to hear of changes; there is one to report; the epoch that they know of. */
    bool listening, alarmed;
    uint64_t heard;
    uint64_t pages, max_pages;
    uint8_t *base;         /* flat: first byte; the reservation is `reserved` bytes */
    uint64_t reserved;     /* bytes of address space from base on */
    uint64_t committed;    /* anonymous: bytes from base on that are readable and writable */
    atomic_int references; /* memories on this root */
    ss_scope *scope;       /* of the open transaction */
    struct ss_view *views; /* that are out; under leases_mutex */
    ss_undo undo;
    const ss_storage_ops *storage_ops;
    void *storage;
    const ss_foreign_ops *foreign_ops;
    void *foreign_self;
    uint64_t known_pages;
    struct ss_root *next_root, **root_link; /* in the list of forks.c, like the next */
    enum ss_at_fork at_fork;
};

struct ss_memory {
    enum ss_memory_kind kind;
    atomic_int references;
    ss_root *root;
    ss_memory *base;     /* virtual, restricted: the memory below; NULL for roots */
    uint64_t first, end; /* restricted: page range of the base */
    /* virtual: filled and kept by manager.c */
    const struct ss_virtual_ops *virtual_ops;
    void *owner; /* virtual: its manager */
    uint32_t id;
    uint32_t shift; /* log2 of the bucket size in bytes, or 0 if it is not a power of two */
    uint64_t bucket_bytes;
    uint64_t bytes;    /* virtual: size in bytes, as in the manager's header */
    uint64_t *buckets; /* virtual: offset in the base of each bucket, in order */
    uint64_t bucket_count;
    uint64_t seen;       /* virtual: the root's epoch when the fields above were read */
    ss_lease *leases;    /* live structures on it (roots and virtual memories) */
    uint64_t program;    /* leases of other programs than this one do not count */
    atomic_bool carries; /* virtual memories stand on it, or did: its bytes may be the tables that they know */
};

/* How the manager serves its virtual memories; set by manager.c, so that this layer looks down only. */
typedef struct ss_virtual_ops {
    int (*refresh)(ss_memory *self); /* called on entry if the root's epoch moved */
    int (*grow)(ss_memory *self, uint64_t pages, uint64_t *old);
    void (*free)(ss_memory *self);
} ss_virtual_ops;

/* ---- life ---- */

/* A flat anonymous memory of 0 pages that may grow to max_pages. Reserves the whole address range (no memory is used);
 * if the system refuses, half of it and so on; root->reserved says how much it became. */
int ss_memory_new_flat(uint64_t max_pages, ss_memory **out);
/* A root over the user's callbacks. */
int ss_memory_new_foreign(const ss_foreign_ops *ops, void *self, ss_memory **out);
/* Pages first..end of `base`. Keeps `base` alive. */
int ss_memory_new_restricted(ss_memory *base, uint64_t first, uint64_t end, ss_memory **out);
/* For manager.c: an empty virtual memory on `base`. */
int ss_memory_new_virtual(ss_memory *base, ss_memory **out);

void ss_memory_retain(ss_memory *memory);
/* Frees the memory with its last reference; the mapping of a root goes with the last memory on it. NULL is allowed. */
void ss_memory_release(ss_memory *memory);
/* Releases what lies at *at, if anything, and leaves NULL: for an owner that was there before what it owns. So do the
 * ss_<structure>_free_at. */
void ss_memory_release_at(ss_memory **at);
/* Closes the root for every memory and structure on it; later operations return SS_CLOSED. Idempotent. The mapping stays
 * readable until the last reference goes, so views that were handed out stay valid. */
int ss_memory_close(ss_memory *memory);
/* The same when the process ends: rolls back the transaction that another thread has open, and does not wait for its end. */
int ss_memory_close_at_exit(ss_memory *memory);

/* ---- the lock ---- */

/* Takes the root's lock for one public operation. SS_REENTRANT when this thread holds it already, SS_CLOSED, and
 * (write) SS_READ_ONLY; then the lock is not held and leave must not be called. */
int ss_enter_read(ss_memory *memory);
void ss_leave_read(ss_memory *memory);
/* The same, and no operation reads without the lock: for what changes more than one operation's own. */
int ss_enter_alone(ss_memory *memory);
/* After ss_enter_read: gives up the lock, so that others may read too, while this operation reads on; ss_leave_shared ends it then.
 * False, and the lock stays, if that cannot be: in a transaction, in a file that is open for reading, in a foreign memory. */
bool ss_share_read(ss_memory *memory);
/* Ends a read: `shared` is what ss_share_read said. */
void ss_leave_shared(ss_memory *memory, bool shared);
/* With the lock held: from now on the binding hears of the next change of epoch, and of what sets `alarmed` (M7). */
void ss_root_listen(ss_root *root);
/* For a second memory on a root whose lock is held: what ss_enter_read does beside locking. */
int ss_memory_refresh(ss_memory *memory);
int ss_enter_write(ss_memory *memory);
/* Ends the operation with its status: on a negative one an open undo scope is rolled back; else it is kept. */
int ss_leave_write(ss_memory *memory, int status);

/* ---- undo scopes (inside enter_write) ---- */

/* From here until ss_leave_write every change is recorded so that a failure restores it. Idempotent. */
void ss_undo_begin(ss_memory *memory);
/* The same for operations of many steps: once the log is long, each line of SS_UNDO_LINE bytes is kept once, so the log
 * does not grow with the number of steps but with what they touch. Fails if a foreign memory does not report its size. */
int ss_undo_begin_many(ss_memory *memory);
#define SS_UNDO_LINE UINT64_C(64)

/* ---- leases: one live structure per memory ---- */

/* SS_IN_USE if a live structure has any page of it. Needs no lock; nor does the release, which works after a close. */
int ss_memory_take_lease(ss_memory *memory, const void *owner);
void ss_memory_drop_lease(ss_memory *memory, const void *owner);

/* A lease by nobody but its holder, which keeps the memory too. All zeros: none. */
typedef struct ss_reservation {
    ss_memory *memory;
} ss_reservation;
int ss_reservation_take(ss_reservation *reservation, ss_memory *memory);
void ss_reservation_drop(ss_reservation *reservation);

/* From here on `program` uses the memory: it may lease what structures of other programs have leased, which keep their
 * leases and must not be used meanwhile. For a canister whose code is exchanged, and perhaps put back. */
void ss_memory_set_program(ss_memory *memory, uint64_t program);

/* Around a transaction: what is leased inside belongs to it. SS_NO_HEAP. */
int ss_root_begin_scope(ss_root *root);
void ss_root_end_scope(ss_root *root);
/* What the open transaction has leased counts no more: nobody uses those structures any more, whether or not they are freed yet. */
void ss_memory_forget_leases(ss_memory *memory);

/* ---- the four operations (lock held) ---- */

int ss_memory_size_mapped(const ss_memory *memory, uint64_t *pages);

static inline int ss_memory_size(const ss_memory *memory, uint64_t *pages) {
    if (SS_UNLIKELY(memory->kind != SS_FLAT)) return ss_memory_size_mapped(memory, pages);
    *pages = memory->root->pages;
    return SS_OK;
}

/* Whether nobody changes it by this root: a file that is open for reading, a cache. Needs no lock. */
bool ss_memory_is_read_only(const ss_memory *memory);
/* That bytes [offset, offset + length) exist: SS_OUT_OF_BOUNDS else. */
int ss_memory_check_bounds(const ss_memory *memory, uint64_t offset, uint64_t length);
/* Adds zero pages; *old is the size before. SS_OUT_OF_MEMORY if it cannot; nothing changed then. */
int ss_memory_grow(ss_memory *memory, uint64_t pages, uint64_t *old);
int ss_memory_read(const ss_memory *memory, uint64_t offset, void *to, uint64_t length);
int ss_memory_write(ss_memory *memory, uint64_t offset, const void *from, uint64_t length);

/* Grows by the fewest pages that make [0, end) exist. SS_OUT_OF_MEMORY if it cannot. */
int ss_memory_ensure(ss_memory *memory, uint64_t end);
/* The growing write of docs/format.md#memory. */
int ss_memory_write_growing(ss_memory *memory, uint64_t offset, const void *from, uint64_t length);

/* ---- pins: bytes in place ---- */

/* A range of a memory as one run of bytes: in place where it lies in one piece, else a copy in the scratch. */
typedef struct ss_pin {
    uint8_t *bytes;
    uint64_t offset, length;
    uint64_t root_offset; /* direct pins: where it lies in the root */
    bool direct;
} ss_pin;

int ss_pin_range_mapped(const ss_memory *memory, uint64_t offset, uint64_t length, ss_scratch *scratch, ss_pin *pin);
/* Announces that bytes [at, at + length) of the pin will change; after the change call ss_pin_changed with the same range. */
int ss_pin_change(ss_memory *memory, ss_pin *pin, uint64_t at, uint64_t length);
int ss_pin_changed(ss_memory *memory, ss_pin *pin, uint64_t at, uint64_t length);

const uint8_t *ss_memory_direct_mapped(const ss_memory *memory, uint64_t offset, uint64_t length);

/* The bytes in place, or NULL if they do not lie in one piece inside the memory (then read them). */
static inline const uint8_t *ss_memory_direct(const ss_memory *memory, uint64_t offset, uint64_t length) {
    if (SS_UNLIKELY(memory->kind != SS_FLAT)) return ss_memory_direct_mapped(memory, offset, length);
    uint64_t bytes = memory->root->pages * SS_PAGE_SIZE;
    return SS_LIKELY(offset <= bytes && length <= bytes - offset) ? memory->root->base + offset : NULL;
}

/* SS_OUT_OF_BOUNDS past the end. */
static inline int ss_pin_range(const ss_memory *memory, uint64_t offset, uint64_t length, ss_scratch *scratch, ss_pin *pin) {
    uint64_t bytes = memory->root->pages * SS_PAGE_SIZE;
    if (SS_UNLIKELY(memory->kind != SS_FLAT || offset > bytes || length > bytes - offset)) {
        return ss_pin_range_mapped(memory, offset, length, scratch, pin);
    }
    *pin = (ss_pin){memory->root->base + offset, offset, length, offset, true};
    return SS_OK;
}

/* ---- for watchers ---- */

int ss_root_touch_watched(ss_root *root, uint64_t offset, uint64_t length);

static inline int ss_root_touch(ss_root *root, uint64_t offset, uint64_t length) {
    return SS_UNLIKELY(root->watch != 0) ? ss_root_touch_watched(root, offset, length) : SS_OK;
}

/* Sets the size of a flat root back (rollback): pages above must read as zeros when they come back. */
void ss_root_shrink(ss_root *root, uint64_t pages);

/* ---- for storages ---- */

/* Makes the bytes from root->committed up to `end` of a flat root anonymous memory, readable and writable. */
int ss_root_commit(ss_root *root, uint64_t end);
/* Puts zeros, without giving up the mapping, in place of pages first..end. */
void ss_root_zero(ss_root *root, uint64_t first, uint64_t end);
/* The lock by itself, whatever state the root is in. SS_REENTRANT, or what ended a wait; `deaf`: such a wait does not end. */
int ss_root_lock(ss_root *root, bool deaf);
void ss_root_unlock(ss_root *root);
/* With the lock held: waits until no operation reads without it. What ended the wait, if anything did; if `deaf`, nothing does. */
int ss_root_be_alone(ss_root *root, bool deaf);
/* In the child of a fork: no other thread reads. */
void ss_root_forget_sharing(ss_root *root);
/* Whether the calling thread has the lock. */
bool ss_root_is_mine(const ss_root *root);
/* Waits for the condition with the root's lock released; an errno, as pthread_cond_timedwait. */
int ss_root_wait(ss_root *root, pthread_cond_t *condition, const struct timespec *until);
/* In the child of a fork, where missing threads may hold locks: renews the locks and closes the root. */
void ss_root_forked(ss_root *root, const char *because);

#endif
