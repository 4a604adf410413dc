/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads, each of which holds the memory that the other one waits for, as key comparisons in Python can bring about:
 * one of them gets an error, in whatever kind of wait the other one is.
 *
 *   asks     has the near memory, waits for the far one
 *   answers  has the far memory while that wait goes on, then wants the near one
 */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "core/waiting.h"
#include "storage/journal.h"
#include "support/check.h"

enum { NOTICED_S = 20 };

static ss_memory *near, *far;
static atomic_int asks_has_near, answers_has_far, transaction_is_open, reader_is_inside, reader_may_go;
static ss_held held;

static void wait_for(atomic_int *flag) {
    while (!atomic_load(flag)) usleep(200);
}

/* The far memory while the other thread waits for it, then the near one, which it has. */
static void *answers(void *of) {
    const bool *begins = of;
    if (*begins) {
        CHECK_EQ(ss_held_begin(&held, far), SS_OK);
        atomic_store(&transaction_is_open, 1);
    }
    wait_for(&asks_has_near);
    if (*begins) usleep(20000); /* it waits for the end of the transaction by now */
    CHECK_EQ(ss_enter_read(far), SS_OK);
    atomic_store(&answers_has_far, 1);
    CHECK_EQ(ss_enter_read(near), SS_REENTRANT);
    ss_leave_read(far);
    if (*begins) CHECK_EQ(ss_held_commit(&held), SS_OK);
    return NULL;
}

static pthread_t start(void *(*work)(void *), void *of) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, work, of) == 0);
    return thread;
}

static void begin(void) {
    asks_has_near = answers_has_far = transaction_is_open = reader_is_inside = reader_may_go = 0;
    CHECK_EQ(ss_memory_new_flat(10, &near), SS_OK);
    CHECK_EQ(ss_memory_new_flat(10, &far), SS_OK);
    alarm(NOTICED_S); /* whoever waits for ever ends the test */
}

static void end(void) {
    alarm(0);
    ss_memory_release(near);
    ss_memory_release(far);
}

/* It waits for the end of the other one's transaction. */
static void one_waits_for_a_transaction(void) {
    begin();
    pthread_t other = start(answers, &(bool){true});
    wait_for(&transaction_is_open);
    CHECK_EQ(ss_enter_read(near), SS_OK);
    atomic_store(&asks_has_near, 1);
    CHECK_EQ(ss_enter_read(far), SS_OK);
    ss_leave_read(far);
    ss_leave_read(near);
    pthread_join(other, NULL);
    end();
}

/* It cannot fail: a transaction that nobody holds any more is ended. */
static void one_drops_a_transaction(void) {
    begin();
    CHECK_EQ(ss_enter_read(near), SS_OK);
    atomic_store(&asks_has_near, 1);
    ss_held mine = {0};
    CHECK_EQ(ss_held_begin(&mine, far), SS_OK);
    ss_held_drop(&mine);
    pthread_t other = start(answers, &(bool){false});
    wait_for(&answers_has_far);
    usleep(20000);
    ss_memory_retain(far);
    mine.memory = far; /* as one that somebody else has ended */
    atomic_store(&mine.state, SS_ENDED);
    ss_held_drop(&mine);
    ss_leave_read(near);
    pthread_join(other, NULL);
    end();
}

static void *reads_long(void *of) {
    (void)of;
    CHECK_EQ(ss_enter_read(far), SS_OK);
    bool shared = ss_share_read(far);
    CHECK(shared);
    atomic_store(&reader_is_inside, 1);
    wait_for(&reader_may_go);
    ss_leave_shared(far, shared);
    return NULL;
}

/* While it looks about, it has given the far memory up. */
static int let_answers_in(void) {
    atomic_store(&asks_has_near, 1);
    wait_for(&answers_has_far);
    atomic_store(&reader_may_go, 1);
    return SS_OK;
}

static void one_waits_for_long_reads(void) {
    begin();
    pthread_t reader = start(reads_long, NULL);
    wait_for(&reader_is_inside);
    pthread_t other = start(answers, &(bool){false});
    ss_set_hooks(let_answers_in, NULL, ss_thread_name());
    CHECK_EQ(ss_enter_read(near), SS_OK);
    CHECK_EQ(ss_enter_write(far), SS_OK);
    ss_set_hooks(NULL, NULL, 0);
    CHECK_EQ(ss_leave_write(far, SS_OK), SS_OK);
    ss_leave_read(near);
    pthread_join(other, NULL);
    pthread_join(reader, NULL);
    end();
}

int main(void) {
    one_waits_for_a_transaction();
    one_drops_a_transaction();
    one_waits_for_long_reads();
    return check_summary();
}
