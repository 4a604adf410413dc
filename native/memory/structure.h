/* SPDX-License-Identifier: Apache-2.0 */
/* What all structures share: how they are opened, leased and given up, how they are checked and measured.
 *
 * A structure begins with an ss_handle. It keeps its memory alive and is the owner of its lease. It holds no copy of
 * what lies in the memory, so neither a rollback nor a write by somebody else can make it stale.
 */
#ifndef SS_STRUCTURE_H
#define SS_STRUCTURE_H

#include "core/result.h"
#include "memory/memory.h"

/* For exports: the structure may have any length. */
#define SS_ANY_LENGTH UINT64_MAX

enum ss_mode {
    SS_INIT = 0,          /* load what is there, or start over on an empty memory (contents.h) */
    SS_NEW = 1,           /* overwrite */
    SS_LOAD = 2,          /* demand one */
    SS_INIT_OVERWRITE = 4 /* load what is there, or overwrite, as the crate's init does */
};

/* What a change did. */
enum ss_change_kind {
    SS_CHANGE_VALUES = 0,    /* put other values in the place of what was there */
    SS_CHANGE_POSITIONS = 1, /* that, and entries lie elsewhere now */
    SS_CHANGE_ENTRIES = 2    /* entries came or went */
};

/* The latest changes, if one thread made them and no entry came or went. */
typedef struct ss_run {
    uint64_t start;     /* ss_handle_changes before the first of them */
    uint64_t moved;     /* the same after the last one that moved entries, or 0 */
    uint64_t epoch;     /* of the root, which has not moved since */
    const void *writer; /* identity of the thread */
} ss_run;

/* Of which changes the binding wants to hear next (M7). */
enum ss_listening {
    SS_LISTENS_NOT = 0,
    SS_LISTENS_TO_ENTRIES = 1, /* not of what the listener itself does to values */
    SS_LISTENS_TO_ALL = 2
};

typedef struct ss_handle {
    ss_memory *memory;
    uint64_t changes; /* counts the operations that changed the structure */
    ss_run run;       /* of maps, whose iterators bear overwritten values */
    bool detached;    /* given up: every operation returns SS_CLOSED */
    bool writing;     /* while opening: the lock was taken for writing */
    enum ss_listening listening;
    const void *listener; /* identity of the thread, unless there are several */
} ss_handle;

/* Opening: takes the lock (for writing if the mode may create and the memory allows it), leases the memory and keeps
 * it. On failure nothing is held. */
int ss_handle_begin(ss_handle *handle, ss_memory *memory, int mode);
/* The same for a second memory on a root that `first` has locked. */
int ss_handle_begin_beside(ss_handle *handle, ss_memory *memory, const ss_handle *first);
/* For an opening that found no such structure: SS_OK if it may create one, in this mode and over what is there. */
int ss_handle_may_create(const ss_handle *handle, int mode);
/* Ends the opening and returns its final status; on a failure lease and memory are given up. */
int ss_handle_end(ss_handle *handle, int status);

/* ss_enter_* for an operation of an open structure; SS_CLOSED after a detach. Leave with ss_leave_*. */
int ss_handle_enter_read(ss_handle *handle);
int ss_handle_enter_write(ss_handle *handle);

/* A number that differs whenever the structure may have changed in between. */
uint64_t ss_handle_changes(const ss_handle *handle);
/* Counts a change. */
void ss_handle_changed(ss_handle *handle, enum ss_change_kind what);
/* With the lock held: the binding hears of the next such change (M7). */
void ss_handle_listen(ss_handle *handle, enum ss_listening what);
/* For iterators, which know the structure as it was at `*known`. SS_OK if it is as it was; SS_ABSENT if this thread has
 * overwritten values since, and no entry came or went (then *known is made again); else SS_CHANGED. */
int ss_handle_still(const ss_handle *handle, uint64_t *known);

/* Gives up the lease, so that another structure may open the memory; the handle returns SS_CLOSED from now on. */
int ss_handle_detach(ss_handle *handle);
/* Gives up lease and memory. Works after a close and with the lock held. */
void ss_handle_free(ss_handle *handle);

/* ---- results (core/result.h) ---- */

/* Where to put `size` bytes read from `memory`; NULL (failure recorded) if the process has no memory left. */
static inline uint8_t *ss_result_reserve(ss_result_builder *builder, const ss_memory *memory, uint64_t size) {
    return ss_result_builder_reserve(builder, memory->root->foreign, size);
}

/* Reads the result from the memory. */
static inline int ss_result_read(ss_result_builder *builder, const ss_memory *memory, uint64_t offset, uint64_t size) {
    uint8_t *to = ss_result_reserve(builder, memory, size);
    return to == NULL ? SS_NO_HEAP : ss_memory_read(memory, offset, to, size);
}

/* ---- checks ---- */

/* Gets each broken rule that a check finds; the lock is held. */
typedef void (*ss_report)(void *self, const struct ss_failure *violation);

typedef struct ss_check {
    ss_report report; /* NULL: the check ends with the first violation */
    void *self;
    struct ss_failure first; /* status 0: none yet */
} ss_check;

/* Takes the status of one step of a check. SS_OK if the check should go on. */
int ss_check_note(ss_check *check, int status);
/* The status of the whole check, given that of its last step. */
int ss_check_end(const ss_check *check, int status);

/* ---- sizes ---- */

struct ss_usage {
    uint64_t live;      /* bytes of the header and of what is stored */
    uint64_t allocated; /* bytes that the structure has taken, unused rest of slots or chunks included */
    uint64_t reserved;  /* bytes of the memory; of all its buckets where it is virtual */
};

/* reserved of ss_usage. */
int ss_memory_reserved(const ss_memory *memory, uint64_t *bytes);

#endif
