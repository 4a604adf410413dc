/* SPDX-License-Identifier: Apache-2.0 */
/* A log opened for looking. It is read by wal.c through a table of functions that opens nothing for writing and shows the
 * file's bytes as they were when it was opened, unless there are too many to keep. */
#include "storage/wal_contents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_KEPT (UINT64_C(32) << 20)

typedef struct looked_at {
    ss_wal_contents contents; /* first: what the caller has is a pointer to it */
    char *directory, *name;
    ss_vfs vfs;
    ss_wal_location location;
    ss_wal wal;
    uint8_t *bytes; /* of the log; NULL where it is read when it is needed */
    uint64_t size;
    uint64_t room; /* of contents.spans */
} looked_at;

/* ---- the functions ---- */

static int keep(looked_at *look, int file) {
    ss_vfs_status status;
    int error = ss_vfs_status_of(&ss_vfs_system, file, &status);
    if (error != 0 || !status.regular || status.size > MOST_KEPT) return error;
    look->bytes = malloc(status.size > 0 ? (size_t)status.size : 1);
    if (look->bytes == NULL) return ENOMEM;
    size_t done = 1;
    /* One that becomes shorter meanwhile ends where it ends. */
    while (error == 0 && done > 0 && look->size < status.size) {
        error =
            ss_vfs_system.read(ss_vfs_system.self, file, look->bytes + look->size, (size_t)(status.size - look->size), look->size, &done);
        if (error == EINTR)
            error = 0, done = 1;
        else if (error == 0)
            look->size += done;
    }
    return error;
}

static int look_open(void *self, int directory, const char *name, unsigned flags, unsigned permissions, int *file) {
    (void)flags, (void)permissions;
    int error = ss_vfs_system.open(ss_vfs_system.self, directory, name, 0, 0, file);
    if (error == 0) error = keep(self, *file);
    if (error != 0 && *file >= 0) ss_vfs_system.close(ss_vfs_system.self, *file);
    return error;
}

static int look_close(void *self, int file) {
    (void)self;
    return ss_vfs_system.close(ss_vfs_system.self, file);
}

static int look_status(void *self, int file, ss_vfs_status *status) {
    const looked_at *look = self;
    int error = ss_vfs_system.status(ss_vfs_system.self, file, status);
    if (look->bytes != NULL) status->size = look->size;
    return error;
}

static int look_read(void *self, int file, void *to, size_t length, uint64_t offset, size_t *done) {
    const looked_at *look = self;
    if (look->bytes == NULL) return ss_vfs_system.read(ss_vfs_system.self, file, to, length, offset, done);
    uint64_t left = offset < look->size ? look->size - offset : 0;
    *done = length < left ? length : (size_t)left;
    memcpy(to, look->bytes + (left > 0 ? offset : 0), *done);
    return 0;
}

/* ---- the functions, of a log whose bytes are given ---- */

static int held_open(void *self, int directory, const char *name, unsigned flags, unsigned permissions, int *file) {
    (void)self, (void)directory, (void)name, (void)flags, (void)permissions;
    *file = 0;
    return 0;
}

static int held_close(void *self, int file) {
    (void)self, (void)file;
    return 0;
}

static int held_status(void *self, int file, ss_vfs_status *status) {
    const looked_at *look = self;
    (void)file;
    *status = (ss_vfs_status){.size = look->size, .links = 1, .regular = true};
    return 0;
}

/* ---- reading ---- */

static int add_span(void *self, uint64_t offset, uint64_t length, uint64_t at) {
    looked_at *look = self;
    ss_wal_contents *contents = &look->contents;
    if (contents->span_count == look->room) {
        uint64_t room = look->room * 2 > 64 ? look->room * 2 : 64;
        void *spans = room > SIZE_MAX / sizeof(ss_wal_span) ? NULL : realloc((void *)contents->spans, (size_t)room * sizeof(ss_wal_span));
        if (spans == NULL) return ss_fail(SS_NO_HEAP, "what a log holds", at, room, 0);
        contents->spans = spans;
        look->room = room;
    }
    ((ss_wal_span *)contents->spans)[contents->span_count++] = (ss_wal_span){offset, length, at};
    return SS_OK;
}

static int find_records(looked_at *look) {
    ss_wal_contents *contents = &look->contents;
    const ss_wal *wal = &look->wal;
    int status = ss_wal_find_each(&look->wal, &(ss_wal_visitor){add_span, look});
    if (status == SS_WAL_CORRUPT) contents->damage = *ss_last_failure();
    contents->generation = wal->generation;
    contents->records = wal->sequence;
    contents->base_pages = wal->base_pages;
    contents->pages = wal->pages;
    contents->end = wal->position;
    return status == SS_WAL_CORRUPT ? SS_OK : status;
}

static looked_at *new_look(void) {
    looked_at *look = calloc(1, sizeof *look);
    if (look == NULL) return NULL;
    look->vfs = (ss_vfs){.self = look, .open = look_open, .close = look_close, .status = look_status, .read = look_read};
    look->location = (ss_wal_location){.vfs = &look->vfs, .directory = -1};
    ss_wal_init(&look->wal, &look->location);
    return look;
}

static int open_names(looked_at *look, const char *path) {
    const char *slash = strrchr(path, '/');
    look->name = strdup(slash == NULL ? path : slash + 1);
    look->directory = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    if (look->name == NULL || look->directory == NULL) return ss_fail(SS_NO_HEAP, "names of a log", 0, strlen(path), 0);
    look->location.name = look->name;
    int error = ss_vfs_open_directory(&ss_vfs_system, look->directory, &look->location.directory);
    return error == 0 ? SS_OK : ss_fail_errno(error, "opening the directory of a log", 0);
}

static int keep_bytes(looked_at *look, const void *bytes, uint64_t size) {
    look->vfs.open = held_open, look->vfs.close = held_close, look->vfs.status = held_status;
    look->name = strdup("log");
    look->bytes = size < SIZE_MAX ? malloc((size_t)size + 1) : NULL;
    if (look->name == NULL || look->bytes == NULL) return ss_fail(SS_NO_HEAP, "the bytes of a log", 0, size, 0);
    if (size > 0) memcpy(look->bytes, bytes, (size_t)size);
    look->size = size;
    look->location.name = look->name;
    return SS_OK;
}

static int finish(looked_at *look, int status, ss_wal_contents **out) {
    if (status == SS_OK) status = find_records(look);
    if (look->location.directory >= 0) ss_vfs_system.close(ss_vfs_system.self, look->location.directory);
    if (status == SS_OK)
        *out = &look->contents;
    else
        ss_wal_contents_free(&look->contents);
    return status;
}

int ss_wal_contents_new(const char *path, ss_wal_contents **out) {
    *out = NULL;
    looked_at *look = new_look();
    if (look == NULL) return ss_fail(SS_NO_HEAP, "what a log holds", 0, sizeof *look, 0);
    return finish(look, open_names(look, path), out);
}

int ss_wal_contents_of(const void *bytes, uint64_t size, ss_wal_contents **out) {
    *out = NULL;
    looked_at *look = new_look();
    if (look == NULL) return ss_fail(SS_NO_HEAP, "what a log holds", 0, sizeof *look, 0);
    return finish(look, keep_bytes(look, bytes, size), out);
}

void ss_wal_contents_free(ss_wal_contents *contents) {
    looked_at *look = (looked_at *)contents;
    if (look == NULL) return;
    ss_wal_close(&look->wal);
    free((void *)contents->spans);
    free(look->bytes);
    free(look->directory);
    free(look->name);
    free(look);
}

int ss_wal_contents_fit(const ss_wal_contents *contents, uint64_t file_bytes) {
    return ss_wal_check_file(&((const looked_at *)contents)->wal, file_bytes);
}

int ss_wal_contents_read(const ss_wal_contents *contents, uint64_t at, void *to, uint64_t length) {
    const looked_at *look = (const looked_at *)contents;
    int error = ss_vfs_read_all(&look->vfs, look->wal.file, to, (size_t)length, at);
    return error == 0 ? SS_OK : ss_fail_errno(error, "reading the log", at);
}
