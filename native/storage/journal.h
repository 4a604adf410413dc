/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions on a flat memory: which 4 KiB blocks changed, and what they held before.
 *
 * A transaction belongs to its memory, to the thread that began it, and to the task of that thread where it has tasks.
 * Until it ends, every operation of other threads on any memory over the same root waits; after the patience of the root
 * (30 seconds at first) it fails with SS_TRANSACTION instead, so threads that wait for each other come free. Operations of
 * other tasks of the thread fail with SS_OTHER_TASK at once: a thread that waits for itself would wait for ever. Where
 * the thread has ended, nobody will end the transaction: the next operation of anybody rolls it back.
 *
 * Whoever begins one by way of an ss_held has it in hand before it is open: that structure ends it from any
 * thread, and at the latest with its own life.
 *
 * An operation that fails inside a transaction is undone alone, and the transaction goes on.
 */
#ifndef SS_JOURNAL_H
#define SS_JOURNAL_H

#include "storage/blocks.h"

#define SS_LINE_SIZE (SS_BLOCK_SIZE / 64)
#define SS_PATIENCE_MS UINT32_C(30000)

/* A block that a transaction changed. */
typedef struct ss_change {
    uint64_t block;
    uint64_t lines;  /* of 64 bytes, one bit each: nothing changed outside of them */
    uint8_t *before; /* what these lines held, each at its place; NULL: zeros, the block lies above the size at the beginning */
} ss_change;

/* What lies below the transactions: a file. Members may be NULL. The root's lock is held in each. */
typedef struct ss_backing_ops {
    /* Outside a transaction each public operation is one of its own. */
    bool logged;
    /* Before the first change of an operation, and at the beginning of a transaction: is all as we left it? */
    int (*begin)(void *self);
    /* As in ss_storage_ops. */
    int (*grow)(void *self, uint64_t old_pages, uint64_t new_pages);
    void (*shrink)(void *self, uint64_t old_pages, uint64_t new_pages);
    int (*make_room)(void *self, uint64_t offset, uint64_t length);
    uint64_t (*data_after)(void *self, uint64_t offset);
    /* Makes the changed blocks (ascending, inside the memory) and the size of the root last. SS_COMMIT_UNKNOWN where
     * nobody can know, the root is closed then; after any other failure they are as before and are rolled back. */
    int (*commit)(void *self, const ss_change *changes, size_t count);
    /* Around each operation, or transaction, of a memory that another process may change. */
    int (*read_begin)(void *self);
    void (*read_end)(void *self);
    /* Before each later operation of such a transaction: whether it still has what it began with. */
    int (*read_on)(void *self);
    int (*sync)(void *self);
    int (*checkpoint)(void *self);
    int (*close)(void *self);
    void (*free)(void *self);
} ss_backing_ops;

/* Puts a journal over `backing` (NULL: none) at a root that has no storage yet. The journal owns `self` from then on. */
int ss_journal_attach(ss_root *root, const ss_backing_ops *backing, void *self, uint32_t patience);

/* What holds a transaction: one at a time. All zeros before its first use. */
typedef struct ss_held {
    _Atomic(ss_memory *) memory; /* of the root, retained; NULL: it holds none */
    uint64_t number;             /* of the transaction on that memory; it changes with the pointer */
    atomic_int state;            /* of enum ss_held_state */
} ss_held;
/* ended: rolled back, or by way of the memory; lost: rolled back by somebody else */
enum ss_held_state { SS_OPEN, SS_ENDED, SS_LOST, SS_COMMITTED };

/* As ss_transaction_begin. */
int ss_held_begin(ss_held *held, ss_memory *memory);
/* The same for a task of the thread, by its number, if it is not 0. SS_ABSENT if somebody is in the way and `wait`
 * is false. */
int ss_held_begin_for(ss_held *held, ss_memory *memory, uint64_t task, bool wait);
/* End it, from any thread; of several that try at once one does. SS_ABSENT where it was ended already, SS_CLOSED or SS_TRANSACTION where it
 * was lost. */
int ss_held_commit(ss_held *held);
int ss_held_rollback(ss_held *held);
/* Rolls it back if it is open, and cannot fail; if this thread is in the middle of an operation, with its end. */
void ss_held_drop(ss_held *held);
bool ss_held_is_open(const ss_held *held);
/* Whether the last one that it held was committed by ss_held_commit. */
bool ss_held_was_committed(const ss_held *held);
/* How long operations on the memory wait, in milliseconds. */
uint32_t ss_transaction_patience(const ss_memory *memory);

/* Begins a transaction of the calling thread. SS_TRANSACTION if it has one. On a memory that is open for reading it
 * is a snapshot: what other processes commit is seen after its end. */
int ss_transaction_begin(ss_memory *memory);
/* Ends it; after any failure but SS_COMMIT_UNKNOWN everything is rolled back. SS_TRANSACTION if none is open. */
int ss_transaction_commit(ss_memory *memory);
int ss_transaction_rollback(ss_memory *memory);
/* Sets the size back outside of transactions; pages that come back are zeros. SS_ARGUMENT on a file, which never shrinks. */
int ss_memory_shrink(ss_memory *memory, uint64_t pages);
/* How many blocks the open transaction has changed so far. */
int64_t ss_transaction_changed(ss_memory *memory);

/* How long operations wait for another thread's transaction or another process. */
int ss_memory_set_patience(ss_memory *memory, uint32_t milliseconds);
/* For backings; the lock is held. */
uint32_t ss_memory_patience(const ss_root *root);

/* Everything committed so far survives a power loss. */
int ss_memory_sync(ss_memory *memory);
/* And the file alone holds it: the log is empty. SS_LOCKED if readers do not make room in time. */
int ss_memory_checkpoint(ss_memory *memory);

#endif
