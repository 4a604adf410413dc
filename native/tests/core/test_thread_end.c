/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread asks of the core while it ends: in a destructor of some library that runs after the core's own. */
#include <pthread.h>
#include <string.h>

#include "core/result.h"
#include "core/waiting.h"
#include "support/check.h"

static pthread_key_t key;
static ss_life *during, *after;

static int64_t use(uint8_t byte) {
    enum { LARGE = 100000 };
    uint8_t *room = ss_result_buffer(LARGE);
    if (!CHECK(room != NULL)) return 0;
    memset(room, byte, LARGE);
    int64_t size = ss_result_size(SS_OK, LARGE);
    CHECK_EQ(ss_result()[LARGE - 1], byte);
    ss_result_drop();
    return size;
}

static void use_again(void *unused) {
    (void)unused;
    CHECK(use(2) >= 100000);
    after = ss_life_of_thread();
}

static void *work(void *unused) {
    (void)unused;
    CHECK_EQ(use(1), 100000);
    during = ss_life_of_thread();
    CHECK(!ss_life_has_ended(during));
    CHECK_EQ(pthread_key_create(&key, use_again), 0); /* later than the core's keys, so its destructor comes after theirs */
    CHECK_EQ(pthread_setspecific(key, &key), 0);
    return NULL;
}

int main(void) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, work, NULL), 0);
    pthread_join(thread, NULL);
    CHECK(during != NULL && ss_life_has_ended(during));
    CHECK(after != NULL && ss_life_has_ended(after));
    ss_life_release(during);
    ss_life_release(after);
    return check_summary();
}
