/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/access.h"

int64_t ss_access_size(ss_memory *memory) {
    uint64_t pages = 0;
    int status = ss_enter_read(memory);
    if (status != SS_OK) return status;
    status = ss_memory_size(memory, &pages);
    ss_leave_read(memory);
    return status == SS_OK ? (int64_t)pages : status;
}

int64_t ss_access_glance(ss_memory *memory) {
    ss_root *root = memory->root;
    bool mine = ss_root_is_mine(root);
    if (!mine && pthread_mutex_trylock(&root->mutex) != 0) return SS_IN_USE;
    int64_t pages = root->closed ? SS_CLOSED : (int64_t)root->pages;
    if (!mine) pthread_mutex_unlock(&root->mutex);
    return pages;
}

/* Nothing to add is no change, also if there is none allowed; only a restricted memory may grow its base by it. */
static bool changes_nothing(const ss_memory *memory, uint64_t pages) {
    return pages == 0 && (memory->kind != SS_RESTRICTED || memory->root->read_only);
}

int64_t ss_access_grow(ss_memory *memory, uint64_t pages) {
    uint64_t old = 0;
    if (changes_nothing(memory, pages)) return ss_access_size(memory);
    int status = ss_enter_write(memory);
    if (status != SS_OK) return status;
    status = ss_leave_write(memory, ss_memory_grow(memory, pages, &old));
    return status == SS_OK ? (int64_t)old : status;
}

int ss_access_read(ss_memory *memory, uint64_t offset, void *to, uint64_t length) {
    int status = ss_enter_read(memory);
    if (status != SS_OK) return status;
    status = length > 0 ? ss_memory_read(memory, offset, to, length) : ss_memory_check_bounds(memory, offset, 0);
    ss_leave_read(memory);
    return status;
}

/* Bytes under a live structure may have changed: what is known of a manager's tables is read again. Those of a virtual memory are
 * such tables only where another manager stands on it. */
static void note_raw_write(ss_memory *memory) {
    if (memory->kind != SS_VIRTUAL || atomic_load(&memory->carries)) memory->root->epoch++;
}

int ss_access_write(ss_memory *memory, uint64_t offset, const void *from, uint64_t length) {
    int status = ss_enter_write(memory);
    if (status != SS_OK) return status;
    note_raw_write(memory);
    status = length > 0 ? ss_memory_write(memory, offset, from, length) : ss_memory_check_bounds(memory, offset, 0);
    return ss_leave_write(memory, status);
}

int ss_access_write_growing(ss_memory *memory, uint64_t offset, const void *from, uint64_t length) {
    int status = ss_enter_write(memory);
    if (status != SS_OK) return status;
    note_raw_write(memory);
    return ss_leave_write(memory, ss_memory_write_growing(memory, offset, from, length));
}

const uint8_t *ss_access_base(ss_memory *memory, uint64_t *bytes) {
    const uint8_t *base = NULL;
    if (ss_enter_read(memory) != SS_OK) return NULL;
    if (memory->kind == SS_FLAT) {
        base = memory->root->base;
        *bytes = memory->root->pages * SS_PAGE_SIZE;
    } else {
        ss_fail(SS_ARGUMENT, "only a flat memory lies in one piece", 0, (uint64_t)memory->kind, SS_FLAT);
    }
    ss_leave_read(memory);
    return base;
}

uint64_t ss_access_reserved_pages(const ss_memory *memory) {
    return memory->kind == SS_FLAT ? memory->root->reserved / SS_PAGE_SIZE : 0;
}

const uint64_t *ss_access_generation(const ss_memory *memory) {
    return &memory->root->generation;
}
