/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/holes.h"

#include <errno.h>
#include <unistd.h>

#include "core/pages.h"

/* Each cover is a mapping of its own, of which a process has 65,530. */
#define COVERS_MAX 10000

static int no_room(int error, uint64_t address) {
    static const char rule[] = "disk space for a hole of the file";
    if (error == ENOMEM) return ss_fail(SS_OUT_OF_MEMORY, rule, address, ENOMEM, 0); /* too many mappings */
    return ss_fail_errno(error, rule, address);
}

int ss_holes_find(ss_holes *holes, const ss_vfs *vfs, int file, uint64_t pages, uint64_t unit) {
    uint64_t begin, end;
    holes->unit = unit;
    if (!ss_vfs_hole(vfs, file, 0, pages * SS_PAGE_SIZE, &begin, &end)) return SS_OK;
    int status = ss_block_bits_make(&holes->filled, (pages / unit + 1) * SS_BLOCK_SIZE);
    if (status == SS_OK) holes->pages = pages;
    return status;
}

void ss_holes_free(ss_holes *holes) {
    ss_block_bits_free(&holes->filled);
    *holes = (ss_holes){0};
}

/* ---- covers ---- */

static int put_zeros(uint8_t *at, uint64_t length, bool writable) {
    bool done = writable ? ss_pages_renew(at, length) : ss_pages_renew_readonly(at, length);
    return done ? SS_OK : no_room(errno, 0);
}

/* Memory of our own with what the file holds from `from` on, for a file that is more holes than anything else. */
static int copy_rest(const ss_vfs *vfs, int file, uint8_t *base, uint64_t from, uint64_t size) {
    int status = put_zeros(base + from, size - from, true);
    if (status != SS_OK) return status;
    for (uint64_t at = from, begin, end; at < size; at = end) {
        if (!ss_vfs_hole(vfs, file, at, size, &begin, &end)) begin = end = size;
        int error = ss_vfs_read_all(vfs, file, base + at, (size_t)(begin - at), at);
        if (error != 0) return ss_fail_errno(error, "reading the file", at);
    }
    return SS_OK;
}

/* A shared mapping with more holes than can be covered keeps the others; stores fill them first, loads take their chance. */
int ss_holes_cover(const ss_vfs *vfs, int file, uint8_t *base, uint64_t size, int kind) {
    uint64_t grain = (uint64_t)sysconf(_SC_PAGESIZE), begin, end;
    int status = SS_OK, covers = 0;
    for (uint64_t at = 0; status == SS_OK && ss_vfs_hole(vfs, file, at, size, &begin, &end); at = end) {
        uint64_t first = ss_round_up(begin, grain), last = end / grain * grain;
        if (first >= last) continue;
        if (covers++ == COVERS_MAX) return kind == SS_MAP_PRIVATE ? copy_rest(vfs, file, base, first, size) : SS_OK;
        status = put_zeros(base + first, last - first, kind == SS_MAP_PRIVATE);
    }
    return status;
}

/* ---- filling ---- */

/* Where the file system reserves nothing: its own bytes, written once more by a call. */
static int write_again(const ss_vfs *vfs, int file, uint64_t from, uint64_t end) {
    uint8_t bytes[SS_BLOCK_SIZE];
    int error = 0;
    for (uint64_t at = from; error == 0 && at < end; at += sizeof bytes) {
        size_t length = end - at < sizeof bytes ? (size_t)(end - at) : sizeof bytes;
        error = ss_vfs_read_all(vfs, file, bytes, length, at);
        if (error == 0) error = ss_vfs_write_bytes(vfs, file, bytes, length, at);
    }
    return error;
}

static int fill_hole(const ss_vfs *vfs, int file, uint64_t begin, uint64_t end) {
    int error = ss_vfs_reserve(vfs, file, begin, end);
    if (error == EOPNOTSUPP) error = write_again(vfs, file, begin, end);
    return error == 0 ? SS_OK : no_room(error, begin);
}

static int fill_unit(const ss_holes *holes, const ss_vfs *vfs, int file, uint64_t first, uint64_t end) {
    uint64_t from = first * SS_PAGE_SIZE, size = end * SS_PAGE_SIZE, hole, data;
    int status = SS_OK;
    for (uint64_t at = from; status == SS_OK && ss_vfs_hole(vfs, file, at, size, &hole, &data); at = data) {
        status = fill_hole(vfs, file, hole, data);
    }
    if (status != SS_OK || holes->covered == NULL) return status;
    int error = ss_vfs_map(vfs, file, holes->covered + from, from, size - from, SS_MAP_SHARED);
    return error == 0 ? SS_OK : no_room(error, from);
}

int ss_holes_fill(ss_holes *holes, const ss_vfs *vfs, int file, uint64_t first, uint64_t end) {
    uint64_t pages = holes->pages, unit = holes->unit;
    for (uint64_t i = first / unit; i * unit < end && i * unit < pages; i++) {
        if (ss_block_bits_has(&holes->filled, i)) continue;
        int status = fill_unit(holes, vfs, file, i * unit, (i + 1) * unit < pages ? (i + 1) * unit : pages);
        if (status != SS_OK) return status;
        ss_block_bits_set(&holes->filled, i);
    }
    return SS_OK;
}
