/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions on an anonymous memory, against a plain copy of its bytes; threads; a heap that runs out.
 * Needs a large address space: a memory of 64 GiB. */

/* The journal once more with an allocator that fails on demand; each of its functions must have another name then. */
#include <stdlib.h>
static void *test_malloc(size_t size);
static void *test_realloc(void *old, size_t size);
#define malloc test_malloc
#define realloc test_realloc
#define ss_journal_attach heap_journal_attach
#define ss_transaction_begin heap_transaction_begin
#define ss_transaction_commit heap_transaction_commit
#define ss_transaction_rollback heap_transaction_rollback
#define ss_transaction_patience heap_transaction_patience
#define ss_held_begin heap_held_begin
#define ss_held_begin_for heap_held_begin_for
#define ss_held_commit heap_held_commit
#define ss_held_rollback heap_held_rollback
#define ss_held_drop heap_held_drop
#define ss_held_is_open heap_held_is_open
#define ss_held_was_committed heap_held_was_committed
#define ss_memory_shrink heap_memory_shrink
#define ss_transaction_changed heap_transaction_changed
#define ss_memory_set_patience heap_memory_set_patience
#define ss_memory_patience heap_memory_patience
#define ss_memory_sync heap_memory_sync
#define ss_memory_checkpoint heap_memory_checkpoint
#include "storage/journal.c"
#undef malloc
#undef realloc
#undef ss_journal_attach
#undef ss_transaction_begin
#undef ss_transaction_commit
#undef ss_transaction_rollback
#undef ss_transaction_patience
#undef ss_held_begin
#undef ss_held_begin_for
#undef ss_held_commit
#undef ss_held_rollback
#undef ss_held_drop
#undef ss_held_is_open
#undef ss_held_was_committed
#undef ss_memory_shrink
#undef ss_transaction_changed
#undef ss_memory_set_patience
#undef ss_memory_patience
#undef ss_memory_sync
#undef ss_memory_checkpoint
int ss_transaction_begin(ss_memory *memory);
int ss_transaction_commit(ss_memory *memory);
int ss_transaction_rollback(ss_memory *memory);
int ss_memory_set_patience(ss_memory *memory, uint32_t milliseconds);
int ss_memory_sync(ss_memory *memory);

#include <time.h>
#include <unistd.h>

#include "support/check.h"

static long allocations_left = -1;

static bool allocation_fails(void) {
    if (allocations_left < 0) return false;
    return allocations_left-- == 0;
}

static void *test_malloc(size_t size) {
    return allocation_fails() ? NULL : malloc(size);
}

static void *test_realloc(void *old, size_t size) {
    return allocation_fails() ? NULL : realloc(old, size);
}

#define LIMIT 40

static ss_memory *new_memory(uint64_t pages) {
    ss_memory *memory;
    uint64_t old;
    CHECK_EQ(ss_memory_new_flat(LIMIT, &memory), SS_OK);
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    CHECK_EQ(ss_leave_write(memory, ss_memory_grow(memory, pages, &old)), SS_OK);
    return memory;
}

static int grow_by(ss_memory *memory, uint64_t pages) {
    uint64_t old;
    int status = ss_enter_write(memory);
    return status != SS_OK ? status : ss_leave_write(memory, ss_memory_grow(memory, pages, &old));
}

static int fill(ss_memory *memory, uint64_t offset, int byte, uint64_t length) {
    uint8_t bytes[20000];
    memset(bytes, byte, length);
    int status = ss_enter_write(memory);
    return status != SS_OK ? status : ss_leave_write(memory, ss_memory_write(memory, offset, bytes, length));
}

static uint64_t random_state = 1;

static uint64_t below(uint64_t limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

/* ---- against a model ---- */

struct model {
    uint64_t pages;
    uint8_t bytes[LIMIT * SS_PAGE_SIZE];
};

static struct model now, at_begin, at_scope;

/* One operation of several steps in an undo scope, which fails at its end one time in four. */
static void random_operation(ss_memory *memory) {
    uint64_t old;
    at_scope = now;
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    ss_undo_begin(memory);
    for (uint64_t steps = below(4); steps-- > 0;) {
        uint8_t bytes[9000];
        /* Often short and within a few blocks, which then change again and again. */
        uint64_t length = below(below(2) == 0 ? 200 : sizeof bytes);
        uint64_t offset = below((below(2) == 0 ? 1 : now.pages) * SS_PAGE_SIZE - length) / (below(3) == 0 ? 8 : 1);
        if (below(5) == 0 && now.pages < LIMIT) {
            CHECK_EQ(ss_memory_grow(memory, 1, &old), SS_OK);
            memset(now.bytes + now.pages * SS_PAGE_SIZE, 0, SS_PAGE_SIZE);
            now.pages++;
        }
        memset(bytes, (int)below(256), sizeof bytes);
        CHECK_EQ(ss_memory_write(memory, offset, bytes, length), SS_OK);
        memcpy(now.bytes + offset, bytes, length);
    }
    bool fails = below(4) == 0;
    if (fails) now = at_scope;
    CHECK_EQ(ss_leave_write(memory, fails ? SS_BOUND_EXCEEDED : SS_OK), fails ? SS_BOUND_EXCEEDED : SS_OK);
}

static void a_memory_is_as_its_model_whatever_is_rolled_back(void) {
    ss_memory *memory = new_memory(1);
    now = (struct model){.pages = 1};
    for (int transaction = 0; transaction < 150; transaction++) {
        at_begin = now;
        if (now.pages == LIMIT) break;
        CHECK_EQ(ss_transaction_begin(memory), SS_OK);
        for (uint64_t operations = below(below(4) == 0 ? 20 : 5); operations-- > 0;) random_operation(memory);
        if (below(2) == 0) {
            CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
            now = at_begin;
        } else {
            CHECK_EQ(ss_transaction_commit(memory), SS_OK);
        }
        CHECK_EQ(memory->root->pages, now.pages);
        CHECK(memcmp(memory->root->base, now.bytes, now.pages * SS_PAGE_SIZE) == 0);
        CHECK_EQ(memory->root->watch, 0);
    }
    ss_memory_release(memory);
}

/* ---- rules ---- */

static void begin_and_end_come_in_pairs(void) {
    ss_memory *memory = new_memory(1);
    CHECK_EQ(ss_transaction_commit(memory), SS_TRANSACTION);
    CHECK_EQ(ss_transaction_rollback(memory), SS_TRANSACTION);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(ss_transaction_begin(memory), SS_TRANSACTION);
    CHECK_EQ(ss_memory_sync(memory), SS_OK);
    CHECK_EQ(ss_transaction_commit(memory), SS_OK);
    CHECK_EQ(ss_transaction_commit(memory), SS_TRANSACTION);
    ss_memory_release(memory);
}

static void closing_rolls_back(void) {
    ss_memory *memory = new_memory(1);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(fill(memory, 0, 7, 100), SS_OK);
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    CHECK_EQ(memory->root->base[0], 0);
    CHECK_EQ(ss_transaction_commit(memory), SS_CLOSED);
    ss_memory_release(memory);
    memory = new_memory(1);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    ss_memory_release(memory);
}

static void a_rollback_tells_those_who_remember(void) {
    ss_memory *memory = new_memory(1);
    uint64_t epoch = memory->root->epoch;
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK(memory->root->epoch > epoch);
    ss_memory_release(memory);
}

static void a_transaction_reaches_memories_above(void) {
    ss_memory *memory = new_memory(4), *part;
    CHECK_EQ(ss_memory_new_restricted(memory, 1, 3, &part), SS_OK);
    CHECK_EQ(ss_transaction_begin(part), SS_OK);
    CHECK_EQ(fill(part, 0, 9, 10), SS_OK);
    CHECK_EQ(memory->root->base[SS_PAGE_SIZE], 9);
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK_EQ(memory->root->base[SS_PAGE_SIZE], 0);
    ss_memory_release(part);
    ss_memory_release(memory);
}

/* ---- a heap that runs out ---- */

static int write_far_apart(ss_memory *memory, bool scope) {
    int status = ss_enter_write(memory);
    if (status != SS_OK) return status;
    if (scope) ss_undo_begin(memory);
    for (uint64_t at = 0; status == SS_OK && at < 3000; at++) {
        status = ss_memory_write(memory, at % 512 * SS_BLOCK_SIZE + at, "x", 1);
    }
    return ss_leave_write(memory, status);
}

static void heap_runs_out(bool scope) {
    for (long allowed = 0;; allowed++) {
        ss_memory *memory = new_memory(32);
        CHECK_EQ(heap_transaction_begin(memory), SS_OK);
        CHECK_EQ(fill(memory, 5, 1, 10), SS_OK);
        allocations_left = allowed;
        int status = write_far_apart(memory, scope);
        allocations_left = -1;
        if (status == SS_OK) {
            CHECK(allowed > 3);
            ss_memory_release(memory);
            return;
        }
        CHECK_EQ(status, SS_NO_HEAP);
        CHECK_EQ(fill(memory, 100, 2, 10), scope ? SS_OK : SS_TRANSACTION);
        CHECK_EQ(heap_transaction_commit(memory), scope ? SS_OK : SS_TRANSACTION);
        CHECK_EQ(memory->root->base[5], scope ? 1 : 0);
        CHECK_EQ(memory->root->base[100], scope ? 2 : 0);
        CHECK_EQ(memory->root->base[511 * SS_BLOCK_SIZE + 511], 0);
        ss_memory_release(memory);
    }
}

static void an_operation_without_heap_is_undone_alone(void) {
    heap_runs_out(true);
}

static void without_an_undo_scope_it_takes_the_transaction_with_it(void) {
    heap_runs_out(false);
}

/* ---- threads ---- */

struct worker {
    ss_memory *memory;
    ss_memory *other;
    int number;
    int status;
};

/* Both ends of the memory count together; anybody who sees them differ looks into another's transaction. */
static void *count_both(void *argument) {
    struct worker *worker = argument;
    ss_memory *memory = worker->memory;
    for (int round = 0; round < 300; round++) {
        uint64_t first, last;
        if (!CHECK_EQ(ss_transaction_begin(memory), SS_OK)) return NULL;
        for (int end = 0; end < 2; end++) {
            uint64_t offset = end == 0 ? 0 : 2 * SS_PAGE_SIZE - 8, value;
            CHECK_EQ(ss_enter_write(memory), SS_OK);
            CHECK_EQ(ss_memory_read(memory, offset, &value, 8), SS_OK);
            value++;
            CHECK_EQ(ss_leave_write(memory, ss_memory_write(memory, offset, &value, 8)), SS_OK);
        }
        CHECK_EQ(round % 3 == 2 ? ss_transaction_rollback(memory) : ss_transaction_commit(memory), SS_OK);
        CHECK_EQ(ss_enter_read(memory), SS_OK);
        CHECK_EQ(ss_memory_read(memory, 0, &first, 8), SS_OK);
        CHECK_EQ(ss_memory_read(memory, 2 * SS_PAGE_SIZE - 8, &last, 8), SS_OK);
        ss_leave_read(memory);
        CHECK_EQ(first, last);
    }
    return NULL;
}

static void other_threads_see_whole_transactions_only(void) {
    ss_memory *memory = new_memory(2);
    pthread_t threads[4];
    struct worker workers[4];
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){.memory = memory};
        CHECK_EQ(pthread_create(&threads[i], NULL, count_both, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    CHECK_EQ(ss_get64(memory->root->base), 4 * 200);
    ss_memory_release(memory);
}

/* Each holds a transaction on one memory and asks for the other's. */
static void *cross(void *argument) {
    struct worker *worker = argument;
    CHECK_EQ(ss_transaction_begin(worker->memory), SS_OK);
    usleep(50000);
    worker->status = fill(worker->other, 0, 1, 1);
    CHECK_EQ(ss_transaction_rollback(worker->memory), SS_OK);
    return NULL;
}

static void threads_that_wait_for_each_other_come_free(void) {
    ss_memory *one = new_memory(1), *two = new_memory(1);
    CHECK_EQ(ss_memory_set_patience(one, 200), SS_OK);
    CHECK_EQ(ss_memory_set_patience(two, 10000), SS_OK);
    struct worker a = {.memory = one, .other = two}, b = {.memory = two, .other = one};
    pthread_t threads[2];
    CHECK_EQ(pthread_create(&threads[0], NULL, cross, &a), 0);
    CHECK_EQ(pthread_create(&threads[1], NULL, cross, &b), 0);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    CHECK_EQ(a.status, SS_OK);
    CHECK_EQ(b.status, SS_TRANSACTION);
    ss_memory_release(one);
    ss_memory_release(two);
}

static void *begin_and_go(void *argument) {
    struct worker *worker = argument;
    CHECK_EQ(ss_transaction_begin(worker->memory), SS_OK);
    CHECK_EQ(fill(worker->memory, 0, 3, 5), SS_OK);
    return NULL;
}

static void a_transaction_whose_thread_has_ended_is_rolled_back(void) {
    ss_memory *memory = new_memory(1);
    CHECK_EQ(ss_memory_set_patience(memory, 10000), SS_OK);
    for (int round = 0; round < 3; round++) {
        struct worker worker = {.memory = memory};
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, begin_and_go, &worker), 0);
        pthread_join(thread, NULL);
        if (round == 1) CHECK_EQ(ss_transaction_rollback(memory), SS_TRANSACTION);
        if (round == 2) CHECK_EQ(ss_memory_close(memory), SS_OK);
        CHECK_EQ(memory->root->base[0], round == 0 ? 3 : 0);
        if (round < 2) CHECK_EQ(fill(memory, 8, 4, 5), SS_OK);
        CHECK_EQ(memory->root->base[0], 0);
    }
    ss_memory_release(memory);
}

/* ---- cost ---- */

static double microseconds(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3;
}

/* By the best of many, so that a busy machine does not make it fail; a cost that grew with the memory would be far
 * above (20 µs is the promise, and sanitizers are slow). */
static void rollback_costs_what_changed_not_what_there_is(void) {
    ss_memory *memory;
    CHECK_EQ(ss_memory_new_flat(SS_MAX_PAGES, &memory), SS_OK);
    CHECK_EQ(grow_by(memory, 1 << 20), SS_OK);
    double best = 1e9;
    for (int round = 0; round < 200; round++) {
        CHECK_EQ(ss_transaction_begin(memory), SS_OK);
        for (uint64_t i = 0; i < 10; i++) CHECK_EQ(fill(memory, i * 6 * SS_PAGE_SIZE * 1000, 5, 8), SS_OK);
        double start = microseconds();
        CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
        double took = microseconds() - start;
        if (took < best) best = took;
    }
    printf("rollback of 10 blocks of a memory of 64 GiB: %.1f us\n", best);
    CHECK(best < 100);
    ss_memory_release(memory);
}

int main(void) {
    a_memory_is_as_its_model_whatever_is_rolled_back();
    begin_and_end_come_in_pairs();
    closing_rolls_back();
    a_rollback_tells_those_who_remember();
    a_transaction_reaches_memories_above();
    an_operation_without_heap_is_undone_alone();
    without_an_undo_scope_it_takes_the_transaction_with_it();
    other_threads_see_whole_transactions_only();
    threads_that_wait_for_each_other_come_free();
    a_transaction_whose_thread_has_ended_is_rolled_back();
    rollback_costs_what_changed_not_what_there_is();
    return check_summary();
}
