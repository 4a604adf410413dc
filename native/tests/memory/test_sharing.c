/* SPDX-License-Identifier: Apache-2.0 */
/* Long reads let others in: they run beside each other and beside short reads, and whoever changes anything waits for their end. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/waiting.h"
#include "storage/journal.h"
#include "structures/cursor.h"
#include "structures/vec.h"
#include "support/files.h"
#include "support/maps.h"

static const ss_order_term u64_order = TERM_BYTES(1, 8);
static const ss_bound u64_bound = {8, 1, 0};

/* ---- one long read ---- */

typedef struct long_read {
    ss_memory *memory;
    useconds_t microseconds;
    atomic_bool inside, ended;
    pthread_t thread;
} long_read;

static void *read_long(void *of) {
    long_read *self = of;
    CHECK_EQ(ss_enter_read(self->memory), SS_OK);
    bool shared = ss_share_read(self->memory);
    CHECK(shared);
    atomic_store(&self->inside, true);
    usleep(self->microseconds);
    atomic_store(&self->ended, true);
    ss_leave_shared(self->memory, shared);
    return NULL;
}

static void begin_reading(long_read *reading, ss_memory *memory, useconds_t microseconds) {
    *reading = (long_read){.memory = memory, .microseconds = microseconds};
    CHECK(pthread_create(&reading->thread, NULL, read_long, reading) == 0);
    while (!atomic_load(&reading->inside)) usleep(100);
}

static void end_reading(long_read *reading) {
    pthread_join(reading->thread, NULL);
}

static ss_memory *new_memory(void) {
    ss_memory *memory = NULL;
    CHECK_EQ(ss_memory_new_flat(1000, &memory), SS_OK);
    CHECK_EQ(grow(memory, 1), SS_OK);
    return memory;
}

static void reads_go_on_beside_it(void) {
    ss_memory *memory = new_memory();
    long_read one, other;
    begin_reading(&one, memory, 300000);
    CHECK_EQ(has(memory, 0, ""), 1);
    begin_reading(&other, memory, 1000);
    end_reading(&other);
    CHECK(!atomic_load(&one.ended));
    end_reading(&one);
    ss_memory_release(memory);
}

static int begin_and_roll_back(ss_memory *memory) {
    int status = ss_transaction_begin(memory);
    return status == SS_OK ? ss_transaction_rollback(memory) : status;
}

static int put_text(ss_memory *memory) {
    return put(memory, 0, "text");
}

static int shrink(ss_memory *memory) {
    return ss_memory_shrink(memory, 0);
}

static void changes_wait_for_its_end(void) {
    int (*const changes[])(ss_memory *) = {put_text, begin_and_roll_back, shrink, ss_memory_checkpoint, ss_memory_close};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        ss_memory *memory = new_memory();
        long_read reading;
        begin_reading(&reading, memory, 30000);
        CHECK_EQ(changes[i](memory), SS_OK);
        CHECK(atomic_load(&reading.ended));
        end_reading(&reading);
        ss_memory_release(memory);
    }
}

/* ---- waits that end early ---- */

static unsigned polls;
static int poll_answer;

static int poll_signals(void) {
    polls++;
    return poll_answer;
}

static int other_task(uint64_t task) {
    (void)task;
    return SS_TASK_OTHER;
}

static void a_wait_hears_signals(void) {
    ss_memory *memory = new_memory();
    long_read reading;
    ss_set_hooks(poll_signals, other_task, ss_thread_name());
    begin_reading(&reading, memory, 500000);
    polls = 0;
    poll_answer = SS_CALLBACK;
    uint64_t before = ss_milliseconds();
    CHECK_EQ(put(memory, 0, "text"), SS_CALLBACK);
    CHECK_EQ(ss_memory_close(memory), SS_CALLBACK);
    CHECK_EQ(ss_transaction_begin(memory), SS_CALLBACK);
    CHECK(polls == 3 && ss_milliseconds() - before < 450);
    CHECK_EQ(has(memory, 0, "text"), 0);
    poll_answer = SS_OK;
    CHECK_EQ(put(memory, 0, "text"), SS_OK);
    CHECK(atomic_load(&reading.ended));
    CHECK_EQ(has(memory, 0, "text"), 1);
    end_reading(&reading);
    ss_set_hooks(NULL, NULL, 0);
    ss_memory_release(memory);
}

static void the_impatient_do_not_wait(void) {
    ss_memory *memory = new_memory();
    ss_held held = {0};
    long_read reading;
    begin_reading(&reading, memory, 50000);
    CHECK_EQ(ss_held_begin_for(&held, memory, 0, false), SS_ABSENT);
    CHECK(!atomic_load(&reading.ended));
    end_reading(&reading);
    CHECK_EQ(ss_held_begin_for(&held, memory, 0, false), SS_OK);
    CHECK_EQ(ss_held_rollback(&held), SS_OK);
    ss_memory_release(memory);
}

static void a_transaction_is_not_shared(void) {
    ss_memory *memory = new_memory();
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(ss_enter_read(memory), SS_OK);
    CHECK(!ss_share_read(memory));
    ss_leave_shared(memory, false);
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    ss_memory_release(memory);
}

static void the_child_of_a_fork_has_the_memory(void) {
    ss_memory *memory = new_memory();
    long_read reading;
    begin_reading(&reading, memory, 100000);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(put(memory, 0, "text") == SS_OK && has(memory, 0, "text") == 1 ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    end_reading(&reading);
    CHECK_EQ(has(memory, 0, "text"), 0);
    ss_memory_release(memory);
}

/* ---- a storm ---- */

enum { ENTRIES = 1000, READERS = 3, COMMITS = 80 };

typedef struct storm {
    ss_memory *memory;
    ss_btree *map;
    ss_vec *vec;
    atomic_bool over;
} storm;

/* All are the same number, no smaller than the last one. */
static uint64_t check_values(const uint64_t *values, int64_t count, uint64_t last) {
    if (!CHECK_EQ(count, ENTRIES)) return last;
    for (int i = 1; i < ENTRIES; i++) {
        if (!CHECK(values[i] == values[0])) return last;
    }
    CHECK(values[0] >= last);
    return values[0];
}

static int64_t export_map(storm *on, const ss_output_column *out) {
    ss_cursor *cursor;
    int status = ss_cursor_open(on->map, SS_FROM_FIRST, NULL, 0, SS_TO_LAST, NULL, 0, &cursor);
    if (!CHECK_EQ(status, SS_OK)) return status;
    int64_t taken = ss_cursor_export(cursor, ENTRIES, NULL, out);
    ss_cursor_free(cursor);
    return taken;
}

static void *read_in_storm(void *of) {
    storm *on = of;
    uint64_t keys[ENTRIES], values[ENTRIES], last = 0;
    uint8_t found[ENTRIES];
    for (uint64_t i = 0; i < ENTRIES; i++) keys[i] = i;
    ss_output_column out = {(uint8_t *)values, 8, 1, 0};
    ss_column column = {(const uint8_t *)keys, NULL, 8, 1, 1, 0};
    while (!atomic_load(&on->over)) {
        CHECK_EQ(ss_btree_get_many(on->map, &column, ENTRIES, &out, found), SS_OK);
        last = check_values(values, ENTRIES, last);
        int64_t taken = export_map(on, &out);
        if (taken != SS_CHANGED) last = check_values(values, taken, last);
        CHECK_EQ(ss_vec_export_ints(on->vec, 0, ENTRIES, SS_ANY_LENGTH, values, 0), SS_OK);
        last = check_values(values, ENTRIES, last);
        CHECK_EQ(ss_btree_check(on->map, NULL, NULL), SS_OK);
        CHECK(ss_btree_get_u64_u64(on->map, 7) < SS_ASK);
    }
    return NULL;
}

static void write_state(storm *on, uint64_t number) {
    for (uint64_t i = 0; i < ENTRIES; i++) {
        CHECK(ss_btree_set_u64_u64(on->map, i, number) >= 0);
        CHECK_EQ(ss_vec_set_u64(on->vec, i, number), SS_OK);
    }
}

/* Growth beside the map moves the manager's tables. */
static void write_in_storm(storm *on, ss_memory *beside) {
    for (uint64_t number = 2; number < COMMITS; number++) {
        CHECK_EQ(ss_transaction_begin(on->memory), SS_OK);
        CHECK_EQ(grow(beside, 1), SS_OK);
        write_state(on, number % 5 == 0 ? 1000000 : number);
        CHECK_EQ(number % 5 == 0 ? ss_transaction_rollback(on->memory) : ss_transaction_commit(on->memory), SS_OK);
        if (number % 16 == 0) CHECK_EQ(ss_memory_checkpoint(on->memory), SS_OK);
    }
}

static void read_beside_a_writer(ss_memory *memory) {
    storm on = {.memory = memory};
    ss_memory *under[3];
    ss_manager *manager;
    pthread_t readers[READERS];
    CHECK_EQ(ss_manager_open(memory, SS_INIT, 1, &manager), SS_OK);
    for (uint32_t i = 0; i < 3; i++) CHECK_EQ(ss_manager_get(manager, i, &under[i]), SS_OK);
    CHECK_EQ(ss_btree_open(under[0], SS_INIT, &u64_order, 1, NULL, NULL, u64_bound, u64_bound, &on.map), SS_OK);
    CHECK_EQ(ss_vec_open(under[1], SS_INIT, 8, 1, &on.vec), SS_OK);
    for (uint64_t i = 0; i < ENTRIES; i++) CHECK_EQ(ss_vec_push_u64(on.vec, 1), SS_OK);
    write_state(&on, 1);
    for (int i = 0; i < READERS; i++) CHECK(pthread_create(&readers[i], NULL, read_in_storm, &on) == 0);
    write_in_storm(&on, under[2]);
    atomic_store(&on.over, true);
    for (int i = 0; i < READERS; i++) pthread_join(readers[i], NULL);
    ss_btree_free(on.map);
    ss_vec_free(on.vec);
    for (uint32_t i = 0; i < 3; i++) ss_memory_release(under[i]);
    ss_manager_free(manager);
    ss_memory_release(memory);
}

static void test_storm(void) {
    ss_memory *memory;
    CHECK_EQ(ss_memory_new_flat(100000, &memory), SS_OK);
    read_beside_a_writer(memory);
    CHECK_EQ(ss_file_open(path_of("storm"), SS_FILE_CREATE, SS_DURABLE_NORMAL, 100000, &memory), SS_OK);
    read_beside_a_writer(memory);
}

int main(void) {
    make_directory();
    reads_go_on_beside_it();
    changes_wait_for_its_end();
    a_wait_hears_signals();
    the_impatient_do_not_wait();
    a_transaction_is_not_shared();
    the_child_of_a_fork_has_the_memory();
    test_storm();
    remove_directory();
    return check_summary();
}
