/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a file, and over them what its log holds:
 *
 *   memory    |---- file -----------------|---- zeros, where the log says that it grew ----|
 *   records        |--1--|   |--2--|                       |--3--|        oldest first: the last one that has a byte is right
 *
 * `starts` has the places of all spans in order, so that a fetch finds the ones that it needs: with the longest span, those
 * that may reach into a range are the ones that start at most so far before it.
 */
#include "storage/cached_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct source {
    int file;
    uint64_t file_bytes, bytes;
    const ss_wal_contents *log;
    uint64_t *starts; /* numbers of the log's spans, by place */
    uint64_t longest;
} source;

static int read_file(const source *s, uint64_t offset, uint64_t length, uint8_t *to) {
    while (length > 0) {
        size_t most = length < (UINT64_C(1) << 30) ? (size_t)length : (size_t)1 << 30;
        ssize_t done = pread(s->file, to, most, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return ss_fail_errno(errno, "reading the file", offset);
        if (done == 0) return ss_fail(SS_SYSTEM, "the file became shorter while it was read", offset, (uint64_t)EIO, s->file_bytes);
        to += done, offset += (uint64_t)done, length -= (uint64_t)done;
    }
    return SS_OK;
}

/* ---- the log ---- */

static _Thread_local const ss_wal_span *sorted_spans;

static int by_place(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    uint64_t p = sorted_spans[x].offset, q = sorted_spans[y].offset;
    return p != q ? (p > q) - (p < q) : (x > y) - (x < y);
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int sort_spans(source *s) {
    if (s->log == NULL || s->log->span_count == 0) return SS_OK;
    s->starts = malloc((size_t)s->log->span_count * sizeof *s->starts);
    if (s->starts == NULL) return ss_fail(SS_NO_HEAP, "what a log holds", 0, s->log->span_count, 0);
    for (uint64_t i = 0; i < s->log->span_count; i++) {
        s->starts[i] = i;
        if (s->log->spans[i].length > s->longest) s->longest = s->log->spans[i].length;
    }
    sorted_spans = s->log->spans;
    qsort(s->starts, (size_t)s->log->span_count, sizeof *s->starts, by_place);
    return SS_OK;
}

/* The first of `starts` whose span begins at `place` or behind it. */
static uint64_t first_from(const source *s, uint64_t place) {
    uint64_t low = 0, high = s->log->span_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (s->log->spans[s->starts[middle]].offset < place)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int lay_span(const source *s, const ss_wal_span *span, uint64_t offset, uint64_t length, uint8_t *to) {
    uint64_t first = span->offset > offset ? span->offset : offset;
    uint64_t span_end = span->offset + span->length, end = span_end < offset + length ? span_end : offset + length;
    if (first >= end) return SS_OK;
    return ss_wal_contents_read(s->log, span->at + (first - span->offset), to + (first - offset), end - first);
}

/* Those that may reach into the range, in the order in which they were written. */
static int lay_log(const source *s, uint64_t offset, uint64_t length, uint8_t *to) {
    if (s->starts == NULL) return SS_OK;
    uint64_t first = first_from(s, offset > s->longest ? offset - s->longest : 0), end = first_from(s, offset + length);
    if (first >= end) return SS_OK;
    uint64_t *mine = malloc((size_t)(end - first) * sizeof *mine);
    if (mine == NULL) return ss_fail(SS_NO_HEAP, "what a log holds", offset, end - first, 0);
    memcpy(mine, s->starts + first, (size_t)(end - first) * sizeof *mine);
    qsort(mine, (size_t)(end - first), sizeof *mine, by_number);
    int status = SS_OK;
    for (uint64_t i = 0; i < end - first && status == SS_OK; i++) status = lay_span(s, &s->log->spans[mine[i]], offset, length, to);
    free(mine);
    return status;
}

/* ---- as a source ---- */

static int fetch_file(void *self, uint64_t offset, uint64_t length, void *to) {
    const source *s = self;
    uint64_t there = offset < s->file_bytes ? s->file_bytes - offset : 0;
    if (there > length) there = length;
    int status = read_file(s, offset, there, to);
    if (status != SS_OK) return status;
    memset((uint8_t *)to + there, 0, (size_t)(length - there));
    return lay_log(s, offset, length, to);
}

/* The file's own data, or the first span of the log, whichever comes first. */
static int data_of_file(void *self, uint64_t offset, uint64_t *begin, uint64_t *end) {
    const source *s = self;
    *begin = UINT64_MAX, *end = UINT64_MAX;
    if (s->log != NULL) return SS_ABSENT; /* all of it is read */
#ifdef SEEK_DATA
    off_t first = lseek(s->file, (off_t)offset, SEEK_DATA);
    if (first < 0) return errno == ENXIO ? SS_OK : SS_ABSENT;
    off_t last = lseek(s->file, first, SEEK_HOLE);
    *begin = (uint64_t)first;
    *end = last < 0 ? UINT64_MAX : (uint64_t)last;
    return SS_OK;
#else
    (void)offset;
    return SS_ABSENT;
#endif
}

static void free_source(void *self) {
    source *s = self;
    if (s->file >= 0) close(s->file);
    free(s->starts);
    free(s);
}

int ss_memory_new_cached_file(int file, uint64_t file_bytes, const ss_wal_contents *log, uint64_t bytes, uint64_t cache, ss_memory **out) {
    *out = NULL;
    source *s = calloc(1, sizeof *s);
    if (s == NULL) return ss_fail(SS_NO_HEAP, "a file to look at", 0, sizeof *s, 0);
    *s = (source){fcntl(file, F_DUPFD_CLOEXEC, 0), file_bytes, bytes, log, NULL, 0};
    int status = s->file < 0 ? ss_fail_errno(errno, "opening the file", 0) : sort_spans(s);
    if (status != SS_OK) {
        free_source(s);
        return status;
    }
    return ss_memory_new_cached((ss_cached_source){s, fetch_file, data_of_file, free_source, true}, bytes, cache, out);
}
