/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions: the first change of each line of 64 bytes keeps what the line held; rollback copies it back. From the
 * 17th changed block on it is the first change of each block of 4 KiB: many small copies cost more than a large one.
 *
 *   state          what other threads may do     changes of memory     on failure of an operation
 *   IDLE           everything                    not tracked           undo scope (undo.c)
 *   OPERATION      wait for the lock             tracked, committed    all of the operation is rolled back
 *                                                when it ends
 *   TRANSACTION    wait for the end (enter)      tracked               undo scope (undo.c)
 *
 * A memory without a log is never in OPERATION: nothing would be done with what was tracked.
 *
 * Invariants; those of the log (I2 to I6) stand in wal.c, those of the file (I7 to I9) in file_private.h
 *  I1   Uncommitted bytes exist in private memory only, where there is a log.
 *  I10  While IDLE, the memory is the committed image.
 *  T1   The bit of a block is set exactly where the block is in `changes`, and bits are set in a transaction only.
 *  T2   The old bytes of a line are in the arena before its first byte changes; blocks above the size at the beginning
 *       have none, they were zero.
 *  T3   Rollback does no input or output (but that a file without a log is cut again where it had grown), allocates
 *       nothing and cannot fail. Its cost is that of the changed blocks.
 *  T4   While `by_lines`, there are at most BY_LINES_MAX changes; else each has all lines of its block.
 *
 * The file is long because these hold only between operations, while any function here is at work they do not: all that may
 * see that state stands here.
 */
#include "storage/journal.h"

#include <errno.h>
#include <stdlib.h>

#include "core/waiting.h"

/* Sizes of the arena's pieces; the first one is kept between transactions. */
#define CHUNK_FIRST ((size_t)64) /* blocks */
#define CHUNK_LAST ((size_t)1024)
/* Lists longer than this are given back when their transaction ends. */
#define KEPT_CHANGES ((size_t)4096)
#define BY_LINES_MAX ((size_t)16)
#define ALL_LINES UINT64_MAX

enum state { IDLE, OPERATION, TRANSACTION };

struct chunk {
    struct chunk *older;
    size_t used, room; /* blocks */
    _Alignas(16) uint8_t bytes[];
};

struct journal {
    ss_root *root;
    const ss_backing_ops *backing;
    void *file;
    enum state state;
    bool doomed;         /* a change was refused half-way through an operation: only rollback is left */
    bool abandoned;      /* to be rolled back when the operation ends that is under way */
    uint64_t owner;      /* thread of the TRANSACTION */
    uint64_t owner_name; /* as the system knows it */
    uint64_t task;       /* and the task; 0: all that the thread does */
    uint64_t begun;      /* how many transactions there were, this one included */
    ss_life *life;       /* of the thread, retained; NULL: nobody knows */
    ss_held *held;
    pthread_cond_t ended;
    uint32_t patience;
    uint64_t pages;     /* of the root, at the beginning */
    ss_block_bits bits; /* made by the first transaction */
    ss_change *changes;
    size_t count, room;
    bool by_lines;
    struct chunk *arena;
};

/* ---- threads ---- */

static bool is_foreign_transaction(const struct journal *journal) {
    return journal->state == TRANSACTION && journal->owner != ss_this_thread() && !journal->root->closed;
}

static void lose(struct journal *journal);
static void leave(void *self);

/* Gives up the lock for as long as the binding looks about. */
static int poll_unlocked(ss_root *root) {
    ss_root_unlock(root);
    int status = ss_poll_signals();
    int locked = ss_root_lock(root, true);
    return status != SS_OK ? status : locked;
}

static int turn_did_not_come(const struct journal *journal) {
    const char *rule = "another thread's transaction did not end in time (milliseconds)";
    return ss_fail(SS_TRANSACTION, rule, journal->owner_name, journal->patience, 0);
}

/* Waits longer and longer, but never so long that a signal goes unheard. */
static int wait_for_end(struct journal *journal) {
    uint64_t until = ss_deadline(journal->patience), now = ss_milliseconds();
    int status = SS_OK;
    for (uint64_t slice = 1; status == SS_OK && is_foreign_transaction(journal);
         slice = 2 * slice < SS_SLICE_MS ? 2 * slice : SS_SLICE_MS) {
        if (ss_life_has_ended(journal->life)) {
            lose(journal);
            leave(journal);
            break;
        }
        if (ss_is_impatient()) return SS_ABSENT;
        if (now >= until) return turn_did_not_come(journal);
        struct timespec next = ss_after(until - now < slice ? until - now : slice);
        (void)ss_root_wait(journal->root, &journal->ended, &next);
        if (is_foreign_transaction(journal)) status = poll_unlocked(journal->root);
        now = ss_milliseconds();
    }
    return status;
}

/* Until no other thread has a transaction. */
static int wait_turn(struct journal *journal) {
    return SS_LIKELY(!is_foreign_transaction(journal)) ? SS_OK : wait_for_end(journal);
}

/* Whether the transaction belongs to some task of this thread, and may not be the running one's. */
static bool is_of_some_task(const struct journal *journal) {
    return journal->state == TRANSACTION && journal->task != 0 && !journal->root->closed;
}

/* Asks with the lock given up, so that the transaction may be another one afterwards. */
static int check_task(struct journal *journal) {
    while (is_of_some_task(journal)) {
        uint64_t begun = journal->begun, task = journal->task;
        ss_root_unlock(journal->root);
        int result = ss_compare_running_task(task);
        int status = ss_root_lock(journal->root, true);
        if (status == SS_OK) status = result < 0 ? result : wait_turn(journal);
        if (status != SS_OK) return status;
        if (!is_of_some_task(journal) || journal->begun != begun) continue;
        if (result == SS_TASK_OTHER) return ss_fail(SS_OTHER_TASK, NULL, 0, 0, 0);
        if (result == SS_TASK_SAME) break;
        lose(journal);
        leave(journal);
    }
    return SS_OK;
}

/* Until the transaction that is open, if one is, belongs to who asks. */
static int take_turn(struct journal *journal) {
    int status = wait_turn(journal);
    return status == SS_OK && SS_UNLIKELY(journal->task != 0) ? check_task(journal) : status;
}

static int enter(void *self) {
    struct journal *journal = self;
    int status = take_turn(journal);
    bool reads = journal->backing != NULL && journal->backing->read_begin != NULL && !journal->root->closed;
    if (SS_LIKELY(!reads) || status != SS_OK) return status;
    return journal->state == TRANSACTION ? journal->backing->read_on(journal->file) : journal->backing->read_begin(journal->file);
}

static void leave(void *self) {
    struct journal *journal = self;
    if (SS_UNLIKELY(journal->abandoned)) lose(journal);
    if (journal->backing == NULL || journal->backing->read_end == NULL || journal->state == TRANSACTION) return;
    journal->backing->read_end(journal->file);
}

/* ---- what changed ---- */

/* Room for one block in the arena, NULL if there is none to be had. */
static uint8_t *arena_room(struct journal *journal) {
    struct chunk *chunk = journal->arena;
    if (chunk == NULL || chunk->used == chunk->room) {
        size_t room = chunk == NULL ? CHUNK_FIRST : chunk->room * 2 < CHUNK_LAST ? chunk->room * 2 : CHUNK_LAST;
        struct chunk *newer = malloc(sizeof *newer + room * SS_BLOCK_SIZE);
        if (newer == NULL) return NULL;
        *newer = (struct chunk){.older = chunk, .room = room};
        journal->arena = chunk = newer;
    }
    return chunk->bytes + chunk->used++ * SS_BLOCK_SIZE;
}

static bool change_room(struct journal *journal) {
    if (journal->count < journal->room) return true;
    size_t room = journal->room == 0 ? 64 : journal->room * 2;
    ss_change *changes = realloc(journal->changes, room * sizeof *changes);
    if (changes == NULL) return false;
    journal->changes = changes;
    journal->room = room;
    return true;
}

/* Bytes first..end of a block, as lines. */
static uint64_t lines_of(uint64_t first, uint64_t end) {
    return ALL_LINES << first / SS_LINE_SIZE & ALL_LINES >> (63 - (end - 1) / SS_LINE_SIZE);
}

static void copy_lines(uint8_t *to, const uint8_t *from, uint64_t lines) {
    if (lines == ALL_LINES) {
        memcpy(to, from, SS_BLOCK_SIZE);
        return;
    }
    while (lines != 0) {
        unsigned first = (unsigned)__builtin_ctzll(lines), count = (unsigned)__builtin_ctzll(~(lines >> first));
        memcpy(to + first * SS_LINE_SIZE, from + first * SS_LINE_SIZE, count * SS_LINE_SIZE);
        lines &= ALL_LINES << 1 << (first + count - 1);
    }
}

static void keep_lines(struct journal *journal, ss_change *change, uint64_t lines) {
    lines &= ~change->lines;
    if (lines == 0) return;
    copy_lines(change->before, journal->root->base + change->block * SS_BLOCK_SIZE, lines);
    change->lines |= lines;
}

static void keep_whole_blocks(struct journal *journal) {
    for (size_t i = 0; i < journal->count; i++) keep_lines(journal, &journal->changes[i], ALL_LINES);
    journal->by_lines = false;
}

static int keep(struct journal *journal, uint64_t block, uint64_t lines) {
    ss_change change = {.block = block, .lines = ALL_LINES};
    if (journal->by_lines && journal->count == BY_LINES_MAX) keep_whole_blocks(journal);
    bool room = change_room(journal);
    if (room && block < journal->pages * SS_BLOCKS_PER_PAGE) {
        change.lines = 0;
        change.before = arena_room(journal);
        room = change.before != NULL;
    }
    if (!room) return ss_fail(SS_NO_HEAP, "what a transaction must remember", block * SS_BLOCK_SIZE, SS_BLOCK_SIZE, 0);
    keep_lines(journal, &change, journal->by_lines ? lines : ALL_LINES);
    journal->changes[journal->count++] = change;
    ss_block_bits_set(&journal->bits, block);
    return SS_OK;
}

/* Of a block whose bit is set, while `by_lines`. The last one is the likeliest. */
static ss_change *find_change(struct journal *journal, uint64_t block) {
    ss_change *change = journal->changes + journal->count - 1;
    while (change->block != block) change--;
    return change;
}

/* Whether nothing of these bytes, which lie in one block, is still to be kept: nearly always, in a long transaction. */
static inline bool is_kept(const struct journal *journal, uint64_t offset, uint64_t length) {
    uint64_t block = offset / SS_BLOCK_SIZE;
    return !journal->by_lines && (offset + length - 1) / SS_BLOCK_SIZE == block && ss_block_bits_has(&journal->bits, block);
}

static int touch(void *self, uint64_t offset, uint64_t length) {
    struct journal *journal = self;
    int status = SS_OK;
    if (SS_LIKELY(is_kept(journal, offset, length))) return SS_OK;
    for (uint64_t at = offset, end = offset + length; status == SS_OK && at < end;) {
        uint64_t block = at / SS_BLOCK_SIZE, start = block * SS_BLOCK_SIZE;
        uint64_t stop = end - start < SS_BLOCK_SIZE ? end : start + SS_BLOCK_SIZE;
        if (!ss_block_bits_has(&journal->bits, block)) {
            status = keep(journal, block, lines_of(at - start, stop - start));
        } else if (journal->by_lines) {
            keep_lines(journal, find_change(journal, block), lines_of(at - start, stop - start));
        }
        at = stop;
    }
    /* Nobody undoes what the operation may have written already. */
    if (status != SS_OK && !(journal->root->watch & SS_WATCH_UNDO)) journal->doomed = true;
    return status;
}

static void arena_reset(struct journal *journal) {
    while (journal->arena != NULL && journal->arena->older != NULL) {
        struct chunk *older = journal->arena->older;
        free(journal->arena);
        journal->arena = older;
    }
    if (journal->arena != NULL) journal->arena->used = 0;
}

static void forget_changes(struct journal *journal) {
    for (size_t i = 0; i < journal->count; i++) ss_block_bits_clear(&journal->bits, journal->changes[i].block);
    journal->count = 0;
    arena_reset(journal);
    if (journal->room <= KEPT_CHANGES) return;
    free(journal->changes);
    journal->changes = NULL;
    journal->room = 0;
}

/* Blocks that are not there any more have not changed. */
static void forget_above(struct journal *journal, uint64_t pages) {
    size_t kept = 0;
    for (size_t i = 0; i < journal->count; i++) {
        ss_change change = journal->changes[i];
        if (change.block < pages * SS_BLOCKS_PER_PAGE) {
            journal->changes[kept++] = change;
        } else {
            ss_block_bits_clear(&journal->bits, change.block);
        }
    }
    journal->count = kept;
}

/* ---- growth ---- */

static int grow(void *self, uint64_t old_pages, uint64_t new_pages) {
    struct journal *journal = self;
    if (journal->backing != NULL && journal->backing->grow != NULL) return journal->backing->grow(journal->file, old_pages, new_pages);
    return ss_root_commit(journal->root, new_pages * SS_PAGE_SIZE);
}

static int make_room(void *self, uint64_t offset, uint64_t length) {
    struct journal *journal = self;
    return journal->backing->make_room(journal->file, offset, length);
}

static void shrink(void *self, uint64_t old_pages, uint64_t new_pages) {
    struct journal *journal = self;
    if (journal->state != IDLE) forget_above(journal, new_pages);
    if (journal->backing != NULL && journal->backing->shrink != NULL) {
        journal->backing->shrink(journal->file, old_pages, new_pages);
    } else {
        ss_root_zero(journal->root, new_pages, old_pages);
    }
}

/* ---- beginning and end ---- */

static int start(struct journal *journal, enum state state) {
    int status = ss_block_bits_make(&journal->bits, journal->root->reserved);
    if (status != SS_OK) return status;
    journal->state = state;
    journal->by_lines = true;
    journal->pages = journal->root->pages;
    journal->root->watch |= SS_WATCH_STORAGE;
    journal->root->takes_back = state == OPERATION;
    return SS_OK;
}

static void finish(struct journal *journal) {
    forget_changes(journal);
    enum state was = journal->state;
    journal->state = IDLE;
    journal->doomed = journal->abandoned = false;
    journal->owner = journal->task = 0;
    ss_life_release(journal->life);
    journal->life = NULL;
    if (journal->held != NULL) journal->held->state = SS_ENDED;
    journal->held = NULL;
    journal->root->watch &= ~(unsigned)SS_WATCH_STORAGE;
    journal->root->takes_back = false;
    journal->root->guarded = journal->backing != NULL && journal->backing->read_begin != NULL;
    if (was != TRANSACTION) return;
    journal->root->watch &= ~(unsigned)SS_WATCH_FRESH; /* nobody asks after a transaction */
    ss_root_end_scope(journal->root);
    pthread_cond_broadcast(&journal->ended);
}

static void roll_back(struct journal *journal) {
    ss_root *root = journal->root;
    for (size_t i = 0; i < journal->count; i++) {
        const ss_change *change = &journal->changes[i];
        if (change->before != NULL) copy_lines(root->base + change->block * SS_BLOCK_SIZE, change->before, change->lines);
    }
    if (root->pages > journal->pages) ss_root_shrink(root, journal->pages);
    root->epoch++;
    root->generation++;
    finish(journal);
}

/* Of a transaction, by somebody who does not hold it. What began with it outside of the memory ends too. */
static void lose(struct journal *journal) {
    ss_held *held = journal->held;
    roll_back(journal);
    if (held != NULL) held->state = SS_LOST;
}

static int compare_changes(const void *a, const void *b) {
    const ss_change *one = a, *other = b;
    return (one->block > other->block) - (one->block < other->block);
}

/* The few of a single operation are nearly in order. */
static void insert_in_order(ss_change *changes, size_t count) {
    for (size_t i = 1; i < count; i++) {
        ss_change change = changes[i];
        size_t to = i;
        for (; to > 0 && changes[to - 1].block > change.block; to--) changes[to] = changes[to - 1];
        changes[to] = change;
    }
}

static void sort_changes(struct journal *journal) {
    if (journal->count <= BY_LINES_MAX) {
        insert_in_order(journal->changes, journal->count);
    } else {
        qsort(journal->changes, journal->count, sizeof *journal->changes, compare_changes);
    }
}

static int commit(struct journal *journal) {
    bool changed = journal->count > 0 || journal->root->pages != journal->pages;
    int status = SS_OK;
    if (changed && journal->backing != NULL && journal->backing->commit != NULL) {
        sort_changes(journal);
        status = journal->backing->commit(journal->file, journal->changes, journal->count);
    }
    if (status == SS_OK || status == SS_COMMIT_UNKNOWN) {
        finish(journal);
    } else {
        roll_back(journal);
    }
    return status;
}

/* ---- each operation ---- */

static int begin(void *self) {
    struct journal *journal = self;
    if (journal->state == TRANSACTION) {
        return journal->doomed ? ss_fail(SS_TRANSACTION, "an operation of this transaction failed half-way: roll it back", 0, 0, 0) : SS_OK;
    }
    if (journal->backing == NULL) return SS_OK;
    int status = journal->backing->begin != NULL ? journal->backing->begin(journal->file) : SS_OK;
    return status == SS_OK && journal->backing->logged ? start(journal, OPERATION) : status;
}

static int end(void *self, int status) {
    struct journal *journal = self;
    if (journal->state != OPERATION) return status;
    if (status < 0) {
        roll_back(journal);
        return status;
    }
    int committed = commit(journal);
    return committed < 0 ? committed : status;
}

static uint64_t data_after(void *self, uint64_t offset) {
    const struct journal *journal = self;
    if (journal->backing == NULL) return UINT64_MAX; /* an anonymous memory that nobody wrote to */
    return journal->backing->data_after != NULL ? journal->backing->data_after(journal->file, offset) : offset;
}

/* ---- life ---- */

static int close_storage(void *self, bool last, bool *open) {
    struct journal *journal = self;
    int status = last ? SS_OK : wait_turn(journal);
    *open = status != SS_OK;
    if (status != SS_OK) return status;
    (void)ss_root_be_alone(journal->root, true); /* others may have come in during the wait */
    if (journal->state != IDLE) {
        lose(journal);
        leave(journal);
    }
    status = journal->backing != NULL && journal->backing->close != NULL ? journal->backing->close(journal->file) : SS_OK;
    *open = status == SS_IN_USE && !last;
    return status;
}

/* A transaction of a thread that is not in the child nobody can end there. */
static bool forked(void *self) {
    struct journal *journal = self;
    (void)ss_condition_init(&journal->ended);
    return journal->state == TRANSACTION && journal->owner != ss_this_thread();
}

static void free_storage(void *self) {
    struct journal *journal = self;
    if (journal->backing != NULL && journal->backing->free != NULL) journal->backing->free(journal->file);
    ss_block_bits_free(&journal->bits);
    arena_reset(journal);
    free(journal->arena);
    free(journal->changes);
    pthread_cond_destroy(&journal->ended);
    ss_life_release(journal->life);
    free(journal);
}

static const ss_storage_ops journal_ops = {
    .grow = grow,
    .shrink = shrink,
    .touch = touch,
    .make_room = make_room,
    .data_after = data_after,
    .enter = enter,
    .leave = leave,
    .begin = begin,
    .end = end,
    .close = close_storage,
    .forked = forked,
    .free = free_storage,
};

int ss_journal_attach(ss_root *root, const ss_backing_ops *backing, void *self, uint32_t patience) {
    struct journal *journal = calloc(1, sizeof *journal);
    if (journal == NULL || ss_condition_init(&journal->ended) != 0) {
        free(journal);
        return ss_fail(SS_NO_HEAP, "journal of a memory", 0, sizeof *journal, 0);
    }
    journal->root = root;
    journal->backing = backing;
    journal->file = self;
    journal->patience = patience;
    root->storage = journal;
    root->storage_ops = &journal_ops;
    root->guarded = backing != NULL && backing->read_begin != NULL;
    return SS_OK;
}

/* ---- the public functions ---- */

/* Enters by way of the root's own memory: a damaged manager in between must not keep anybody from ending a transaction. */
static int enter_root(ss_memory **memory) {
    while ((*memory)->base != NULL) *memory = (*memory)->base;
    return ss_enter_alone(*memory);
}

static int closed(const ss_root *root) {
    return ss_fail(SS_CLOSED, root->closed_because != NULL ? root->closed_because : "the memory was closed", 0, 0, 0);
}

static int nested(void) {
    const char *rule =
        "this thread has a transaction open on the memory, and transactions do not nest: go on in that one, where a "
        "failing operation undoes itself alone, or end it first with commit() or rollback()";
    return ss_fail(SS_TRANSACTION, rule, 0, 0, 0);
}

static int begin_transaction(ss_root *root) {
    if (root->foreign) return ss_fail(SS_TRANSACTION, "a memory of callbacks has no transactions", 0, 0, 0);
    int status = root->storage == NULL ? ss_journal_attach(root, NULL, NULL, SS_PATIENCE_MS) : SS_OK;
    if (status != SS_OK) return status;
    struct journal *journal = root->storage;
    if (journal->state == TRANSACTION) return nested();
    if (journal->backing != NULL && journal->backing->begin != NULL) status = journal->backing->begin(journal->file);
    if (status == SS_OK) status = ss_root_begin_scope(root);
    if (status == SS_OK) status = start(journal, TRANSACTION);
    if (status != SS_OK) return status;
    journal->owner = ss_this_thread();
    journal->owner_name = ss_thread_name();
    journal->life = ss_life_of_thread();
    journal->begun++;
    root->guarded = true;
    return SS_OK;
}

int ss_transaction_begin(ss_memory *memory) {
    int status = enter_root(&memory);
    if (status != SS_OK) return status;
    status = begin_transaction(memory->root);
    ss_leave_read(memory);
    return status;
}

/* The transaction that this thread has open, to look at it or to end it, which works whatever has become of a snapshot. The
 * lock is held then; leave_transaction ends that. */
static int enter_transaction(ss_memory *memory, struct journal **journal) {
    ss_root *root = memory->root;
    int status = ss_root_lock(root, false);
    if (status != SS_OK) return status;
    *journal = root->storage;
    bool has_journal = !root->foreign && *journal != NULL;
    if (has_journal && !root->closed) status = take_turn(*journal);
    if (status == SS_OK && root->closed) status = closed(root);
    if (status == SS_OK && has_journal && (*journal)->state == TRANSACTION) return SS_OK;
    ss_root_unlock(root);
    return status != SS_OK ? status : ss_fail(SS_TRANSACTION, "no transaction is open", 0, 0, 0);
}

static void leave_transaction(struct journal *journal) {
    leave(journal);
    ss_root_unlock(journal->root);
}

static int commit_transaction(struct journal *journal) {
    if (!journal->doomed) return commit(journal);
    roll_back(journal);
    return ss_fail(SS_TRANSACTION, "an operation of this transaction failed half-way: it was rolled back", 0, 0, 0);
}

int ss_transaction_commit(ss_memory *memory) {
    struct journal *journal;
    int status = enter_transaction(memory, &journal);
    if (status != SS_OK) return status;
    status = commit_transaction(journal);
    leave_transaction(journal);
    return status;
}

int ss_transaction_rollback(ss_memory *memory) {
    struct journal *journal;
    int status = enter_transaction(memory, &journal);
    if (status != SS_OK) return status;
    roll_back(journal);
    leave_transaction(journal);
    return SS_OK;
}

/* ---- transactions that are held ---- */

/* Of the pointers in all ss_held, with their numbers: one thread may end what another one is just ending, or has begun again. */
static pthread_mutex_t held_mutex = PTHREAD_MUTEX_INITIALIZER;

static void lock_held(void) {
    pthread_mutex_lock(&held_mutex);
}

static void unlock_held(void) {
    pthread_mutex_unlock(&held_mutex);
}

static void watch_forks(void) {
    pthread_atfork(lock_held, unlock_held, unlock_held);
}

/* What it holds, retained, and its number; NULL if it holds none. */
static ss_memory *memory_of(ss_held *held, uint64_t *number) {
    lock_held();
    ss_memory *memory = held->memory;
    if (memory != NULL) ss_memory_retain(memory);
    *number = held->number;
    unlock_held();
    return memory;
}

/* After the lock of the root is given up: this may have been the last memory on it. */
static void let_go(ss_held *held, ss_memory *memory, uint64_t number) {
    lock_held();
    bool same = held->memory == memory && held->number == number;
    if (same) held->memory = NULL;
    unlock_held();
    if (same) ss_memory_release(memory);
}

static void hold(ss_held *held, ss_memory *memory, uint64_t number) {
    ss_memory_retain(memory);
    lock_held();
    held->memory = memory;
    held->number = number;
    unlock_held();
    atomic_store(&held->state, SS_OPEN);
}

static int begin_held(ss_held *held, ss_memory *memory, uint64_t task) {
    int status = ss_enter_alone(memory);
    if (status != SS_OK) return status;
    status = begin_transaction(memory->root);
    if (status == SS_OK) {
        struct journal *journal = memory->root->storage;
        hold(held, memory, journal->begun);
        journal->held = held;
        journal->task = task;
    }
    ss_leave_read(memory);
    return status;
}

int ss_held_begin(ss_held *held, ss_memory *memory) {
    return ss_held_begin_for(held, memory, 0, true);
}

int ss_held_begin_for(ss_held *held, ss_memory *memory, uint64_t task, bool wait) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    if (ss_held_is_open(held)) return nested();
    if (held->memory != NULL) let_go(held, held->memory, held->number);
    while (memory->base != NULL) memory = memory->base;
    bool before = ss_set_impatient(!wait);
    int status = begin_held(held, memory, task);
    (void)ss_set_impatient(before);
    return status;
}

/* Whether the transaction that is open is the one of this number; the lock is held. */
static bool is_held(const ss_held *held, const struct journal *journal, uint64_t number) {
    return journal != NULL && journal->held == held && journal->begun == number;
}

/* How one ends that is not open any more. */
static int ended(const ss_held *held, const ss_root *root) {
    if (held->state != SS_LOST) return SS_ABSENT;
    if (!root->closed) return ss_fail(SS_TRANSACTION, "the thread or task that began it has ended: it was rolled back", 0, 0, 0);
    return closed(root);
}

static int end_locked(ss_held *held, struct journal *journal, bool keep) {
    int status = SS_OK;
    if (journal->root->closed) {
        lose(journal);
        status = ended(held, journal->root);
    } else if (keep) {
        status = commit_transaction(journal);
        /* Unless somebody has begun the next one meanwhile. */
        if (status == SS_OK) (void)atomic_compare_exchange_strong(&held->state, &(int){SS_ENDED}, SS_COMMITTED);
    } else {
        roll_back(journal);
    }
    leave(journal);
    return status;
}

static int end_held(ss_held *held, bool keep) {
    uint64_t number;
    ss_memory *memory = memory_of(held, &number);
    if (memory == NULL) return SS_ABSENT;
    ss_root *root = memory->root;
    int status = ss_root_lock(root, false);
    if (status == SS_OK) {
        status = is_held(held, root->storage, number) ? end_locked(held, root->storage, keep) : ended(held, root);
        ss_root_unlock(root);
        let_go(held, memory, number);
    }
    ss_memory_release(memory);
    return status;
}

int ss_held_commit(ss_held *held) {
    return end_held(held, true);
}

int ss_held_rollback(ss_held *held) {
    return end_held(held, false);
}

void ss_held_drop(ss_held *held) {
    uint64_t number;
    ss_memory *memory = memory_of(held, &number);
    if (memory == NULL) return;
    ss_root *root = memory->root;
    bool mine = ss_root_is_mine(root);
    if (!mine) (void)ss_root_lock(root, true);
    if (is_held(held, root->storage, number)) {
        struct journal *journal = root->storage;
        journal->held = NULL;
        journal->abandoned = true;
        if (!mine) leave(journal);
    }
    if (!mine) ss_root_unlock(root);
    let_go(held, memory, number);
    ss_memory_release(memory);
}

bool ss_held_is_open(const ss_held *held) {
    return held->memory != NULL && atomic_load(&held->state) == SS_OPEN;
}

bool ss_held_was_committed(const ss_held *held) {
    return atomic_load(&held->state) == SS_COMMITTED;
}

/* ---- sizes, patience, the disk ---- */

static int may_shrink(const ss_root *root, uint64_t pages) {
    const struct journal *journal = root->storage;
    if (root->foreign) return ss_fail(SS_ARGUMENT, "a memory of callbacks cannot shrink", 0, root->pages, pages);
    if (journal != NULL && journal->state == TRANSACTION) return ss_fail(SS_TRANSACTION, "a transaction is open: end it first", 0, 0, 0);
    if (journal != NULL && journal->backing != NULL) return ss_fail(SS_ARGUMENT, "a file cannot shrink", 0, root->pages, pages);
    return pages <= root->pages ? SS_OK : ss_fail(SS_ARGUMENT, "it would grow", 0, root->pages, pages);
}

int ss_memory_shrink(ss_memory *memory, uint64_t pages) {
    int status = enter_root(&memory);
    if (status != SS_OK) return status;
    status = may_shrink(memory->root, pages);
    if (status == SS_OK && pages < memory->root->pages) ss_root_shrink(memory->root, pages);
    if (status == SS_OK) memory->root->epoch++;
    if (status == SS_OK) memory->root->generation++;
    ss_leave_read(memory);
    return status;
}

int64_t ss_transaction_changed(ss_memory *memory) {
    struct journal *journal;
    int status = enter_transaction(memory, &journal);
    if (status != SS_OK) return status;
    int64_t changed = (int64_t)journal->count;
    leave_transaction(journal);
    return changed;
}

int ss_memory_set_patience(ss_memory *memory, uint32_t milliseconds) {
    int status = enter_root(&memory);
    if (status != SS_OK) return status;
    ss_root *root = memory->root;
    if (!root->foreign && root->storage == NULL) status = ss_journal_attach(root, NULL, NULL, SS_PATIENCE_MS);
    if (status == SS_OK && !root->foreign) ((struct journal *)root->storage)->patience = milliseconds;
    ss_leave_read(memory);
    return status;
}

uint32_t ss_memory_patience(const ss_root *root) {
    if (ss_is_impatient()) return 0;
    return root->storage == NULL ? SS_PATIENCE_MS : ((const struct journal *)root->storage)->patience;
}

uint32_t ss_transaction_patience(const ss_memory *memory) {
    return ss_memory_patience(memory->root);
}

static int settle(ss_memory *memory, bool checkpoint) {
    int status = enter_root(&memory);
    if (status != SS_OK) return status;
    struct journal *journal = memory->root->storage;
    const ss_backing_ops *backing = journal != NULL ? journal->backing : NULL;
    int (*work)(void *) = backing == NULL ? NULL : checkpoint ? backing->checkpoint : backing->sync;
    if (work != NULL) {
        status =
            journal->state == TRANSACTION ? ss_fail(SS_TRANSACTION, "a transaction is open: end it first", 0, 0, 0) : work(journal->file);
    }
    ss_leave_read(memory);
    return status;
}

int ss_memory_sync(ss_memory *memory) {
    return settle(memory, false);
}

int ss_memory_checkpoint(ss_memory *memory) {
    return settle(memory, true);
}
