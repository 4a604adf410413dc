/* SPDX-License-Identifier: Apache-2.0 */
/* A test is a program: CHECK(claim) counts and goes on, `return check_summary();` at the end of main prints
 * "N passed, N failed" and returns the exit status. Each test is one file, so the counts may live here. */
#ifndef SS_CHECK_H
#define SS_CHECK_H

#include <inttypes.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

/* Atomic, since tests of the locks check from several threads. */
static atomic_ulong check_passed, check_failed;

static inline int check_count(int held, const char *file, int line, const char *claim) {
    if (held) {
        check_passed++;
    } else {
        check_failed++;
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, claim);
    }
    return held;
}

static inline int check_equal(int64_t got, int64_t wanted, const char *file, int line, const char *claim) {
    int held = check_count(got == wanted, file, line, claim);
    if (!held) fprintf(stderr, "    got %" PRId64 " (0x%" PRIx64 "), wanted %" PRId64 "\n", got, (uint64_t)got, wanted);
    return held;
}

/* Both are 1 if the claim holds, so that a test can leave early: `if (!CHECK(p != NULL)) return;` */
#define CHECK(claim) check_count((claim) ? 1 : 0, __FILE__, __LINE__, #claim)
#define CHECK_EQ(got, wanted) check_equal((int64_t)(got), (int64_t)(wanted), __FILE__, __LINE__, #got " == " #wanted)

/* A test that checked nothing has failed. */
static inline int check_summary(void) {
    printf("%lu passed, %lu failed\n", atomic_load(&check_passed), atomic_load(&check_failed));
    return check_failed != 0 || check_passed == 0;
}

#endif
