/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/error.h"
#include "support/check.h"

/* The numbers are part of the interface, so the ends of the enum are written out here. */
static void every_status_has_a_text(void) {
    for (int status = SS_UNORDERED; status <= SS_ABSENT; status++) {
        CHECK(ss_status_text(status) != NULL && strcmp(ss_status_text(status), "unknown status") != 0);
    }
    CHECK(strcmp(ss_status_text(12345), "unknown status") == 0);
}

static void the_last_failure_is_what_was_recorded(void) {
    CHECK_EQ(ss_fail(SS_CORRUPT, "a rule", 1, 2, 3), SS_CORRUPT);
    const struct ss_failure *failure = ss_last_failure();
    CHECK_EQ(failure->status, SS_CORRUPT);
    CHECK(strcmp(failure->rule, "a rule") == 0);
    CHECK(failure->address == 1 && failure->number == 2 && failure->limit == 3);
}

static void a_full_disk_is_one_status_and_all_else_another(void) {
    for (int error = 1; error < 134; error++) {
        bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
        CHECK_EQ(ss_fail_errno(error, "a rule", 7), full ? SS_OUT_OF_MEMORY : SS_SYSTEM);
        CHECK(ss_last_failure()->number == (uint64_t)error && ss_last_failure()->address == 7 && ss_last_failure()->limit == 0);
    }
}

int main(void) {
    every_status_has_a_text();
    the_last_failure_is_what_was_recorded();
    a_full_disk_is_one_status_and_all_else_another();
    return check_summary();
}
