/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzzers share. A fuzz_NAME.c includes this and defines fuzz_begin and fuzz_end, once around all, and fuzz_one,
 * which makes one image and tries everything on it; `random` makes all the choices.
 *
 *   fuzz_NAME [COUNT [SEED [FIRST]]]     COUNT images (default 2000), numbered from FIRST on, chosen by random numbers
 *
 * A failure prints how to repeat it. Built with -DSS_FUZZER=ON (clang) the same program is a target of libFuzzer: its
 * bytes make the choices, so that coverage leads the search, and it has libFuzzer's options.
 */
#ifndef SS_TEST_FUZZ_H
#define SS_TEST_FUZZ_H

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "support/check.h"
#include "support/maps.h"

static void fuzz_begin(void);
static void fuzz_one(rng *random);
static void fuzz_end(void);

/* ---- claims ---- */

static uint64_t fuzz_seed, fuzz_number;

static void tell(void) {
    char text[128];
    int size = snprintf(text, sizeof text, "\nrepeat with the arguments: 1 %" PRIu64 " %" PRIu64 "\n", fuzz_seed, fuzz_number);
    if (write(STDERR_FILENO, text, (size_t)size) < 0) return;
}

static inline bool holds(bool claim, const char *what, int64_t status) {
    check_count(claim, __FILE__, __LINE__, what);
    if (claim) return true;
    const struct ss_failure *failure = ss_last_failure();
    fprintf(stderr, "    status %" PRId64 ", rule %s, at 0x%" PRIx64, status, failure->rule == NULL ? "-" : failure->rule,
            failure->address);
    tell();
    return false;
}

static inline bool is_damage(int64_t status) {
    return status == SS_CORRUPT || status == SS_BAD_MAGIC || status == SS_BAD_VERSION;
}

/* ---- choices by libFuzzer ---- */

#ifdef SS_FUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    fuzz_begin();
    atexit(fuzz_end);
    return 0;
}

/* libFuzzer keeps the bytes of what ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    rng random = {.state = 1, .bytes = bytes, .left = size};
    fuzz_one(&random);
    if (atomic_load(&check_failed) != 0) abort();
    return 0;
}

/* ---- choices by random numbers ---- */

#else

enum { SECONDS_PER_IMAGE = 20 };

static void too_slow(int signal_number) {
    (void)signal_number;
    tell();
    _exit(3);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

int main(int argc, char **argv) {
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 0) : 2000;
    uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
    fuzz_seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
    printf("%" PRIu64 " images, seed %" PRIu64 "\n", count, fuzz_seed);
    fflush(stdout);
    fuzz_begin();
    signal(SIGALRM, too_slow);
    if (__sanitizer_set_death_callback != NULL) __sanitizer_set_death_callback(tell);
    for (uint64_t i = first; i < first + count && atomic_load(&check_failed) < 10; i++) {
        fuzz_number = i;
        alarm(SECONDS_PER_IMAGE);
        rng random = {.state = fuzz_seed * UINT64_C(1000003) + i};
        random.state = rng_next(&random);
        fuzz_one(&random);
    }
    fuzz_end();
    return check_summary();
}

#endif

#endif
