/* SPDX-License-Identifier: Apache-2.0 */
/* Undo scopes: what M5 of memory.h promises. A log of the bytes that an operation changes, newest last:
 *
 *   [old bytes of the 1st change][offset 8][length 8] [old bytes of the 2nd][offset 8][length 8] ...
 *
 * The length stands behind the bytes, because a rollback reads the log from its end.
 */
#include <stdlib.h>

#include "memory/memory_private.h"

/* A log larger than this is given back when its scope ends. */
#define UNDO_KEPT ((size_t)256 * 1024)
#define UNDO_TRAILER ((size_t)16)
/* The log of many steps is long when it is larger than this part of the memory (and than what is kept anyway). Until then
 * a record for each change costs less than the bits that say what has one. */
#define UNDO_LONG 64

void ss_undo_begin(ss_memory *memory) {
    ss_root *root = memory->root;
    if (root->undo.active) return;
    root->undo.active = true;
    root->undo.used = 0;
    root->undo.pages = root->pages;
    if (!root->takes_back) root->watch |= SS_WATCH_UNDO;
}

int ss_undo_begin_many(ss_memory *memory) {
    ss_undo *undo = &memory->root->undo;
    uint64_t pages;
    int status = ss_root_pages(memory->root, &pages);
    if (status != SS_OK || (undo->active && undo->used > 0)) return status;
    ss_undo_begin(memory);
    undo->pages = pages;
    undo->many = true;
    return SS_OK;
}

static int undo_room(ss_undo *undo, size_t more) {
    if (undo->room - undo->used >= more) return SS_OK;
    size_t room = undo->room * 2 > undo->used + more ? undo->room * 2 : undo->used + more + 4096;
    uint8_t *log = realloc(undo->log, room);
    if (log == NULL) return ss_fail(SS_NO_HEAP, "undo log of an operation", 0, room, 0);
    undo->log = log;
    undo->room = room;
    return SS_OK;
}

/* Appends bytes that are about to change. */
static int undo_append(ss_root *root, uint64_t offset, uint64_t length) {
    ss_undo *undo = &root->undo;
    if (length > SIZE_MAX / 4) return ss_fail(SS_NO_HEAP, "undo log of an operation", offset, length, 0);
    int status = undo_room(undo, (size_t)length + UNDO_TRAILER);
    if (status != SS_OK) return status;
    uint8_t *at = undo->log + undo->used;
    if (root->foreign) {
        status = root->foreign_ops->read(root->foreign_self, offset, at, length);
        if (status != SS_OK) return status;
    } else {
        memcpy(at, root->base + offset, (size_t)length);
    }
    ss_put64(at + length, offset);
    ss_put64(at + length + 8, length);
    undo->used += (size_t)length + UNDO_TRAILER;
    return SS_OK;
}

/* Whether from here on lines are recorded, each once; what the log has stays as it is, older and so restored last. */
static bool undo_is_long(const ss_undo *undo) {
    return undo->many && undo->used > UNDO_KEPT && undo->used > undo->pages * (SS_PAGE_SIZE / UNDO_LONG);
}

static int undo_begin_lines(ss_undo *undo) {
    uint64_t words = undo->pages * (SS_PAGE_SIZE / SS_UNDO_LINE / 64) + 1;
    undo->kept = undo->pages > UINT64_MAX / SS_PAGE_SIZE ? NULL : calloc((size_t)words, sizeof *undo->kept);
    return undo->kept != NULL ? SS_OK : ss_fail(SS_NO_HEAP, "undo log of an operation of many steps", 0, words * 8, 0);
}

static bool line_is_kept(const ss_undo *undo, uint64_t line) {
    return undo->kept[line / 64] >> (line % 64) & 1;
}

/* A record for each run of lines that are not in the log yet. */
static int undo_append_lines(ss_root *root, uint64_t offset, uint64_t length) {
    ss_undo *undo = &root->undo;
    uint64_t end = (offset + length - 1) / SS_UNDO_LINE + 1;
    for (uint64_t line = offset / SS_UNDO_LINE; line < end; line++) {
        uint64_t first = line;
        while (line < end && !line_is_kept(undo, line)) line++;
        if (line == first) continue;
        int status = undo_append(root, first * SS_UNDO_LINE, (line - first) * SS_UNDO_LINE);
        if (status != SS_OK) return status;
        for (uint64_t i = first; i < line; i++) undo->kept[i / 64] |= UINT64_C(1) << (i % 64);
    }
    return SS_OK;
}

/* Pages that the operation itself added need no record: they go, or (many steps on a foreign memory) become zeros. */
int ss_undo_record(ss_root *root, uint64_t offset, uint64_t length) {
    ss_undo *undo = &root->undo;
    if (!root->foreign || undo->many) {
        uint64_t end = undo->pages * SS_PAGE_SIZE;
        if (offset >= end) return SS_OK;
        if (length > end - offset) length = end - offset;
    }
    if (length == 0) return SS_OK;
    int status = undo->kept == NULL && undo_is_long(undo) ? undo_begin_lines(undo) : SS_OK;
    if (status != SS_OK) return status;
    return undo->kept != NULL ? undo_append_lines(root, offset, length) : undo_append(root, offset, length);
}

/* Pages that a foreign memory grew by stay; of writes to them there is no record in a scope of many steps. */
static int zero_new_pages(ss_root *root) {
    static const uint8_t zeros[SS_PAGE_SIZE];
    if (!root->foreign || !root->undo.many) return SS_OK;
    uint64_t pages = 0;
    int status = ss_root_pages(root, &pages);
    for (uint64_t page = root->undo.pages; status == SS_OK && page < pages; page++) {
        status = root->foreign_ops->write(root->foreign_self, page * SS_PAGE_SIZE, zeros, SS_PAGE_SIZE);
    }
    return status;
}

/* Newest first, so that the oldest record of a byte wins. Where a foreign memory refuses, the rest stays in the log. */
static int undo_restore(ss_root *root) {
    ss_undo *undo = &root->undo;
    int status = zero_new_pages(root);
    while (status == SS_OK && undo->used > 0) {
        uint8_t *trailer = undo->log + undo->used - UNDO_TRAILER;
        uint64_t offset = ss_get64(trailer), length = ss_get64(trailer + 8);
        uint8_t *bytes = trailer - length;
        if (root->foreign) {
            status = root->foreign_ops->write(root->foreign_self, offset, bytes, length);
        } else {
            memcpy(root->base + offset, bytes, (size_t)length);
        }
        if (status == SS_OK) undo->used = (size_t)(bytes - undo->log);
    }
    if (!root->foreign) ss_root_shrink(root, undo->pages);
    return status;
}

static void undo_forget(ss_undo *undo) {
    if (undo->room > UNDO_KEPT) {
        free(undo->log);
        undo->log = NULL;
        undo->room = 0;
    }
    undo->used = 0;
    undo->many = false;
}

/* A foreign memory that refused to be put back is put back before its next operation, which fails where it refuses again. */
static int settle_undo(void *self) {
    ss_root *root = self;
    int status = undo_restore(root);
    if (status != SS_OK) return status;
    undo_forget(&root->undo);
    root->storage_ops = NULL;
    root->storage = NULL;
    root->guarded = false;
    root->epoch++;
    return SS_OK;
}

static void leave_unsettled(void *self) {
    (void)self;
}

static const ss_storage_ops unsettled = {.enter = settle_undo, .leave = leave_unsettled};

void ss_undo_end(ss_root *root, bool restore) {
    ss_undo *undo = &root->undo;
    int status = SS_OK;
    if (restore) {
        struct ss_failure reason = *ss_last_failure();
        status = undo_restore(root);
        root->epoch++;
        ss_fail(reason.status, reason.rule, reason.address, reason.number, reason.limit);
    }
    undo->active = false;
    free(undo->kept);
    undo->kept = NULL;
    root->watch &= ~(unsigned)SS_WATCH_UNDO;
    if (status == SS_OK) {
        undo_forget(undo);
    } else {
        root->storage_ops = &unsettled;
        root->storage = root;
        root->guarded = true;
    }
}
