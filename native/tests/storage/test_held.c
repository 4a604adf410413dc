/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions that are held: from other threads, within operations, and when the holder goes; waits, tasks and forks. */
#include <sys/wait.h>
#include <unistd.h>

#include "core/waiting.h"
#include "storage/journal.h"
#include "support/check.h"

static ss_memory *new_memory(void) {
    ss_memory *memory;
    uint64_t old;
    CHECK_EQ(ss_memory_new_flat(10, &memory), SS_OK);
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    CHECK_EQ(ss_leave_write(memory, ss_memory_grow(memory, 1, &old)), SS_OK);
    return memory;
}

static int put(ss_memory *memory, uint8_t byte) {
    int status = ss_enter_write(memory);
    return status != SS_OK ? status : ss_leave_write(memory, ss_memory_write(memory, 0, &byte, 1));
}

static uint8_t got(ss_memory *memory) {
    return memory->root->base[0];
}

static void one_ends_once(void) {
    ss_memory *memory = new_memory();
    ss_held held = {0};
    CHECK_EQ(ss_held_commit(&held), SS_ABSENT);
    ss_held_drop(&held);
    for (int round = 0; round < 3; round++) {
        CHECK_EQ(ss_held_begin(&held, memory), SS_OK);
        CHECK_EQ(ss_held_begin(&held, memory), SS_TRANSACTION);
        CHECK(ss_held_is_open(&held));
        CHECK_EQ(put(memory, (uint8_t)(round + 1)), SS_OK);
        if (round == 0) CHECK_EQ(ss_held_commit(&held), SS_OK);
        if (round == 1) CHECK_EQ(ss_held_rollback(&held), SS_OK);
        if (round == 2) CHECK_EQ(ss_transaction_commit(memory), SS_OK);
        CHECK(!ss_held_is_open(&held));
        CHECK(ss_held_was_committed(&held) == (round == 0));
        CHECK_EQ(ss_held_rollback(&held), SS_ABSENT);
        CHECK_EQ(got(memory), round == 2 ? 3 : 1);
    }
    ss_memory_release(memory);
}

static ss_held shared;
static atomic_int committed, rolled_back;

static void *commit_it(void *unused) {
    int status = ss_held_commit(&shared);
    CHECK(status == SS_OK || status == SS_ABSENT);
    if (status == SS_OK) committed++;
    return unused;
}

static void *roll_it_back(void *unused) {
    int status = ss_held_rollback(&shared);
    CHECK(status == SS_OK || status == SS_ABSENT);
    if (status == SS_OK) rolled_back++;
    return unused;
}

/* All wait for the lock, and get it one after the other; meanwhile the next transaction begins, on another memory. */
static void of_many_that_end_one_at_once_one_does(void) {
    ss_memory *memories[] = {new_memory(), new_memory()};
    void *(*const ends[])(void *) = {commit_it, roll_it_back, commit_it};
    pthread_t threads[3];
    for (int round = 0; round < 1000; round++) {
        ss_memory *memory = memories[round % 2];
        CHECK_EQ(ss_held_begin(&shared, memory), SS_OK);
        CHECK_EQ(put(memory, (uint8_t)(round % 200 + 1)), SS_OK);
        CHECK_EQ(ss_enter_read(memory), SS_OK);
        committed = rolled_back = 0;
        for (int i = 0; i < 3; i++) CHECK_EQ(pthread_create(&threads[i], NULL, ends[i], NULL), 0);
        usleep(100);
        ss_leave_read(memory);
        if (round % 3 == 0) {
            while (ss_held_is_open(&shared)) usleep(10);
            CHECK_EQ(ss_held_begin(&shared, memories[(round + 1) % 2]), SS_OK);
        }
        for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
        CHECK(committed + rolled_back >= 1);
        if (round % 3 != 0) CHECK(committed + rolled_back == 1 && !ss_held_is_open(&shared));
        if (ss_held_is_open(&shared)) CHECK_EQ(ss_held_rollback(&shared), SS_OK);
        CHECK_EQ(put(memory, 0), SS_OK);
    }
    for (int i = 0; i < 2; i++) ss_memory_release(memories[i]);
}

static void a_closed_memory_says_so(void) {
    ss_memory *memory = new_memory();
    ss_held held = {0};
    CHECK_EQ(ss_held_begin(&held, memory), SS_OK);
    CHECK_EQ(ss_memory_close(memory), SS_OK);
    ss_memory_release(memory);
    CHECK_EQ(ss_held_commit(&held), SS_CLOSED);
}

static void *drop_it(void *held) {
    ss_held_drop(held);
    return NULL;
}

static void any_thread_ends_it(void) {
    ss_memory *memory = new_memory();
    ss_held held = {0};
    pthread_t thread;
    CHECK_EQ(ss_held_begin(&held, memory), SS_OK);
    CHECK_EQ(put(memory, 9), SS_OK);
    CHECK_EQ(pthread_create(&thread, NULL, drop_it, &held), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(got(memory), 0);
    CHECK_EQ(put(memory, 8), SS_OK);
    ss_memory_release(memory);
}

static void within_an_operation_it_ends_with_it(void) {
    ss_memory *memory = new_memory();
    ss_held held = {0};
    CHECK_EQ(ss_held_begin(&held, memory), SS_OK);
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    CHECK_EQ(ss_memory_write(memory, 0, "x", 1), SS_OK);
    CHECK_EQ(ss_held_commit(&held), SS_REENTRANT);
    ss_held_drop(&held);
    CHECK_EQ(got(memory), 'x');
    CHECK_EQ(ss_leave_write(memory, SS_OK), SS_OK);
    CHECK_EQ(got(memory), 0);
    CHECK_EQ(put(memory, 8), SS_OK);
    CHECK_EQ(ss_transaction_rollback(memory), SS_TRANSACTION);
    ss_memory_release(memory);
}

/* ---- waits ---- */

static int polls;

static int poll_twice(void) {
    return ++polls < 2 ? SS_OK : SS_CALLBACK;
}

static uint64_t running;

static int compare(uint64_t task) {
    return running == task ? SS_TASK_SAME : running == 99 ? SS_TASK_GONE : SS_TASK_OTHER;
}

struct waiter {
    ss_memory *memory;
    int status, impatient;
};

static void *wait_for_it(void *of) {
    struct waiter *waiter = of;
    ss_held held = {0};
    ss_set_hooks(poll_twice, compare, ss_thread_name());
    waiter->impatient = ss_held_begin_for(&held, waiter->memory, 0, false);
    waiter->status = put(waiter->memory, 7);
    ss_set_hooks(NULL, compare, 0); /* another thread may get the name of this one */
    return NULL;
}

static void a_wait_ends_when_the_binding_says_so(void) {
    ss_memory *memory = new_memory();
    ss_held held = {0};
    struct waiter waiter = {.memory = memory};
    pthread_t thread;
    CHECK_EQ(ss_held_begin(&held, memory), SS_OK);
    CHECK_EQ(pthread_create(&thread, NULL, wait_for_it, &waiter), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(waiter.impatient, SS_ABSENT);
    CHECK_EQ(waiter.status, SS_CALLBACK);
    CHECK_EQ(ss_held_commit(&held), SS_OK);
    CHECK_EQ(got(memory), 0);
    ss_memory_release(memory);
}

static void a_transaction_belongs_to_its_task(void) {
    ss_memory *memory = new_memory();
    ss_held held = {0}, other = {0};
    running = 3;
    CHECK_EQ(ss_held_begin_for(&held, memory, 3, true), SS_OK);
    CHECK_EQ(put(memory, 1), SS_OK);
    running = 4;
    CHECK_EQ(put(memory, 2), SS_OTHER_TASK);
    CHECK_EQ(ss_held_begin_for(&other, memory, 4, false), SS_OTHER_TASK);
    CHECK_EQ(ss_transaction_commit(memory), SS_OTHER_TASK);
    running = 99; /* of a task that knows that the other has ended */
    CHECK_EQ(put(memory, 5), SS_OK);
    CHECK_EQ(ss_held_commit(&held), SS_TRANSACTION);
    CHECK_EQ(ss_held_begin(&held, memory), SS_OK);
    CHECK_EQ(put(memory, 6), SS_OK);
    CHECK_EQ(ss_held_commit(&held), SS_OK);
    CHECK_EQ(got(memory), 6);
    ss_memory_release(memory);
}

/* ---- threads that wait for each other's locks ---- */

struct crossing {
    ss_memory *mine, *theirs;
    atomic_int *arrived;
    int status;
};

/* Until so many threads have come (barriers are not everywhere). */
static void meet(atomic_int *arrived, int count) {
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < count) usleep(1000);
}

enum { RING = 3 };

static void *cross(void *of) {
    struct crossing *crossing = of;
    CHECK_EQ(ss_enter_read(crossing->mine), SS_OK);
    meet(crossing->arrived, RING);
    crossing->status = ss_enter_read(crossing->theirs);
    if (crossing->status == SS_OK) ss_leave_read(crossing->theirs);
    ss_leave_read(crossing->mine);
    return NULL;
}

static void of_a_ring_of_threads_one_gives_way(void) {
    ss_memory *memories[RING];
    struct crossing crossings[RING];
    pthread_t threads[RING];
    atomic_int all = 0;
    for (int i = 0; i < RING; i++) memories[i] = new_memory();
    for (int i = 0; i < RING; i++) {
        crossings[i] = (struct crossing){memories[i], memories[(i + 1) % RING], &all, 1};
        CHECK_EQ(pthread_create(&threads[i], NULL, cross, &crossings[i]), 0);
    }
    int gave_way = 0;
    for (int i = 0; i < RING; i++) {
        pthread_join(threads[i], NULL);
        gave_way += crossings[i].status == SS_REENTRANT;
        CHECK(crossings[i].status == SS_REENTRANT || crossings[i].status == SS_OK);
    }
    CHECK_EQ(gave_way, 1);
    for (int i = 0; i < RING; i++) ss_memory_release(memories[i]);
}

/* ---- forks ---- */

static void *hold(void *of) {
    struct crossing *crossing = of;
    CHECK_EQ(ss_enter_read(crossing->mine), SS_OK);
    meet(crossing->arrived, 2);
    meet(crossing->arrived, 4);
    ss_leave_read(crossing->mine);
    return NULL;
}

static void a_child_closes_what_was_in_use_and_has_the_rest(void) {
    ss_memory *busy = new_memory(), *idle = new_memory();
    atomic_int both = 0;
    struct crossing crossing = {.mine = busy, .arrived = &both};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, hold, &crossing), 0);
    meet(&both, 2);
    pid_t child = fork();
    if (child == 0) {
        bool right = put(busy, 1) == SS_CLOSED && put(idle, 1) == SS_OK && got(idle) == 1;
        ss_memory_release(busy);
        ss_memory_release(idle);
        _exit(right ? 0 : 1);
    }
    int status = -1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    meet(&both, 4);
    pthread_join(thread, NULL);
    CHECK_EQ(put(busy, 2), SS_OK);
    CHECK_EQ(got(idle), 0);
    ss_memory_release(busy);
    ss_memory_release(idle);
}

int main(void) {
    one_ends_once();
    of_many_that_end_one_at_once_one_does();
    a_closed_memory_says_so();
    any_thread_ends_it();
    within_an_operation_it_ends_with_it();
    a_wait_ends_when_the_binding_says_so();
    a_transaction_belongs_to_its_task();
    of_a_ring_of_threads_one_gives_way();
    a_child_closes_what_was_in_use_and_has_the_rest();
    return check_summary();
}
