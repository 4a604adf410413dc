/* SPDX-License-Identifier: Apache-2.0 */
/* Every status that a function of the core can return, and what is known about the last failure of this thread.
 *
 * 0 is success, a positive status is a normal result that is not "yes" (a key that is absent), a negative one an
 * error. The numbers are part of the interface: a new one is added at the end, none is ever given a new meaning.
 */
#ifndef SS_ERROR_H
#define SS_ERROR_H

#include <stdint.h>

enum ss_status {
    SS_ABSENT = 1, /* no such key, or nothing left */
    SS_OK = 0,
    SS_OUT_OF_BOUNDS = -1,  /* past the end of a memory or of a sequence */
    SS_OUT_OF_MEMORY = -2,  /* a memory cannot grow (limit, disk full, table of buckets full) */
    SS_NO_HEAP = -3,        /* malloc gave nothing */
    SS_BOUND_EXCEEDED = -4, /* an encoded value is larger than its type's bound, or not of its fixed size */
    SS_INCOMPATIBLE = -5,   /* the memory holds a structure of another element type */
    SS_CORRUPT = -6,        /* a byte read from memory breaks a rule of the format */
    SS_BAD_MAGIC = -7,      /* the memory holds another kind of structure */
    SS_BAD_VERSION = -8,    /* the layout version is not known */
    SS_IN_USE = -9,         /* another live structure owns this memory */
    SS_CLOSED = -10,        /* the memory or the handle was closed */
    SS_READ_ONLY = -11,
    SS_LOCKED = -12,         /* another handle has the file open for writing */
    SS_COMMIT_UNKNOWN = -13, /* the disk failed at the commit point; opening again decides */
    SS_WAL_CORRUPT = -14,
    SS_REENTRANT = -15,   /* called back into the memory that is being worked on */
    SS_CALLBACK = -16,    /* a callback failed; its own error is kept by the binding */
    SS_CHANGED = -17,     /* the structure changed under an iterator */
    SS_SYSTEM = -18,      /* the operating system refused; `number` of the detail is errno */
    SS_ARGUMENT = -19,    /* the caller's argument makes no sense */
    SS_TRANSACTION = -20, /* a transaction is open where none may be, or the other way round */
    SS_UNORDERED = -21,   /* two keys that have no order (NaN) where one is needed */
    SS_OTHER_TASK = -22   /* the open transaction of this thread is one of another of its tasks */
};

/* What failed last in the calling thread. `rule` is a static text or NULL; `address` is the byte offset in the memory
 * that the structure was given; `number` and `limit` mean what the rule says. */
struct ss_failure {
    int32_t status;
    const char *rule;
    uint64_t address;
    uint64_t number;
    uint64_t limit;
};

void ss_record_failure(int status, const char *rule, uint64_t address, uint64_t number, uint64_t limit);

/* Records the failure and returns `status`, so that a check reads `return ss_fail(...)`. Inline, so that the compiler
 * sees that what it returns is not SS_OK. */
static inline int ss_fail(int status, const char *rule, uint64_t address, uint64_t number, uint64_t limit) {
    ss_record_failure(status, rule, address, number, limit);
    return status;
}

/* Records what the system refused and returns the status: SS_OUT_OF_MEMORY if the disk, the quota or the file is full, else
 * SS_SYSTEM. The only place that turns an errno into a status. */
int ss_fail_errno(int error, const char *rule, uint64_t address);

/* The last failure of this thread; valid until its next failing call. */
const struct ss_failure *ss_last_failure(void);

/* One sentence for a status; never NULL. */
const char *ss_status_text(int status);

#endif
