/* SPDX-License-Identifier: Apache-2.0 */
#include "core/error.h"

#include <errno.h>
#include <stddef.h>

static _Thread_local struct ss_failure last_failure;

static const struct {
    int status;
    const char *text;
} texts[] = {
    {SS_ABSENT, "absent"},
    {SS_OK, "success"},
    {SS_OUT_OF_BOUNDS, "access out of bounds"},
    {SS_OUT_OF_MEMORY, "the memory cannot grow"},
    {SS_NO_HEAP, "the process has no memory left"},
    {SS_BOUND_EXCEEDED, "the encoded value exceeds its type's bound"},
    {SS_INCOMPATIBLE, "the memory holds elements of another type"},
    {SS_CORRUPT, "the memory breaks a rule of the format"},
    {SS_BAD_MAGIC, "the memory is not empty, and does not hold this structure"},
    {SS_BAD_VERSION, "the layout version is not known"},
    {SS_IN_USE, "another live structure uses this memory"},
    {SS_CLOSED, "closed"},
    {SS_READ_ONLY, "the memory is read-only"},
    {SS_LOCKED, "the file is open for writing elsewhere"},
    {SS_COMMIT_UNKNOWN, "the disk failed while the commit was made durable"},
    {SS_WAL_CORRUPT, "the write-ahead log is damaged"},
    {SS_REENTRANT, "called back into a memory that is being worked on"},
    {SS_CALLBACK, "a callback failed"},
    {SS_CHANGED, "the structure changed during iteration"},
    {SS_SYSTEM, "the operating system refused"},
    {SS_ARGUMENT, "invalid argument"},
    {SS_TRANSACTION, "not possible in the current state of the transaction"},
    {SS_UNORDERED, "the keys have no order"},
    {SS_OTHER_TASK, "another asyncio task of this thread has a transaction open on the memory"},
};

void ss_record_failure(int status, const char *rule, uint64_t address, uint64_t number, uint64_t limit) {
    last_failure = (struct ss_failure){status, rule, address, number, limit};
}

int ss_fail_errno(int error, const char *rule, uint64_t address) {
    int full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    return ss_fail(full ? SS_OUT_OF_MEMORY : SS_SYSTEM, rule, address, (uint64_t)error, 0);
}

const struct ss_failure *ss_last_failure(void) {
    return &last_failure;
}

const char *ss_status_text(int status) {
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].status == status) return texts[i].text;
    }
    return "unknown status";
}
