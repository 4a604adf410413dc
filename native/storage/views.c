/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/views.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/pages.h"

/* Views with less between them are copied as one: each copy is a mapping, of which a process has 65,530. */
#define GAP (UINT64_C(1) << 20)
#define CELL UINT64_C(4096)

/* Bytes [first, end) of the root, whole pages of the system, and their copy. */
struct kept {
    uint64_t first, end;
    uint8_t *copy;
};

/* ---- taking, dropping ---- */

static int locate(ss_view *view, const ss_memory *memory, uint64_t offset, uint64_t length) {
    uint64_t bytes = memory->root->pages * SS_PAGE_SIZE;
    if (memory->kind != SS_FLAT) return ss_fail(SS_ARGUMENT, "only a flat memory lies in one piece", 0, (uint64_t)memory->kind, SS_FLAT);
    if (length == UINT64_MAX) length = offset <= bytes ? bytes - offset : 0;
    if (offset > bytes || length > bytes - offset) return ss_fail(SS_OUT_OF_BOUNDS, "end of the memory", offset, length, bytes);
    view->bytes = memory->root->base + offset;
    view->offset = offset;
    view->length = length;
    return SS_OK;
}

static void list(ss_view *view, ss_memory *memory) {
    ss_root *root = memory->root;
    ss_memory_retain(memory);
    pthread_mutex_lock(&root->leases_mutex);
    view->memory = memory;
    view->next = root->views;
    view->link = &root->views;
    if (view->next != NULL) view->next->link = &view->next;
    root->views = view;
    pthread_mutex_unlock(&root->leases_mutex);
}

int ss_view_take(ss_view *view, ss_memory *memory, uint64_t offset, uint64_t length) {
    *view = (ss_view){0};
    int status = ss_enter_read(memory);
    if (status != SS_OK) return status;
    status = locate(view, memory, offset, length);
    if (status == SS_OK) list(view, memory);
    ss_leave_read(memory);
    return status;
}

void ss_view_drop(ss_view *view) {
    ss_memory *memory = view->memory;
    if (memory == NULL) return;
    pthread_mutex_lock(&memory->root->leases_mutex);
    *view->link = view->next;
    if (view->next != NULL) view->next->link = view->link;
    view->memory = NULL;
    pthread_mutex_unlock(&memory->root->leases_mutex);
    ss_memory_release(memory);
}

/* ---- keeping what they show ---- */

static int compare_kept(const void *a, const void *b) {
    const struct kept *one = a, *other = b;
    return (one->first > other->first) - (one->first < other->first);
}

/* One behind the other; those that overlap or nearly touch become one. Returns how many there are then. */
static size_t merge(struct kept *kept, size_t count) {
    size_t last = 0;
    if (count == 0) return 0;
    qsort(kept, count, sizeof *kept, compare_kept);
    for (size_t i = 1; i < count; i++) {
        if (kept[i].first > kept[last].end + GAP) {
            kept[++last] = kept[i];
        } else if (kept[i].end > kept[last].end) {
            kept[last].end = kept[i].end;
        }
    }
    return last + 1;
}

/* What the views show of bytes [0, shown); leases_mutex is held. */
static int collect(const ss_root *root, uint64_t shown, struct kept **kept, size_t *count) {
    uint64_t grain = (uint64_t)sysconf(_SC_PAGESIZE);
    size_t views = 0;
    *count = 0;
    for (const ss_view *view = root->views; view != NULL; view = view->next) views++;
    *kept = calloc(views + 1, sizeof **kept);
    if (*kept == NULL) return ss_fail(SS_NO_HEAP, "a list of views", 0, views, 0);
    for (const ss_view *view = root->views; view != NULL; view = view->next) {
        if (view->length == 0 || view->offset >= shown) continue;
        uint64_t end = ss_round_up(view->offset + view->length, grain);
        (*kept)[(*count)++] = (struct kept){view->offset / grain * grain, end < shown ? end : shown, NULL};
    }
    *count = merge(*kept, *count);
    return SS_OK;
}

static int refuse(uint64_t bytes) {
    return ss_fail(SS_IN_USE,
                   "views show more of the file than can be copied, and it stays open; "
                   "delete the views first, or all but what is needed of them",
                   0, bytes, SS_VIEWS_KEPT);
}

/* Of bytes [at, end) what is not zero. */
static int copy_bytes(const ss_root *root, const struct kept *kept, uint64_t at, uint64_t end, uint64_t *total) {
    static const uint8_t zeros[CELL];
    for (; at < end; at += CELL) {
        size_t length = end - at < CELL ? (size_t)(end - at) : CELL;
        if (memcmp(root->base + at, zeros, length) == 0) continue;
        *total += length;
        if (*total > SS_VIEWS_KEPT) return refuse(*total);
        memcpy(kept->copy + (at - kept->first), root->base + at, length);
    }
    return SS_OK;
}

/* Holes take no memory, and no time. */
static int copy_view(const ss_root *root, const ss_shown *shown, struct kept *kept, uint64_t *total) {
    uint64_t end = kept->end < shown->there ? kept->end : shown->there, hole, data;
    void *got = ss_pages_new(kept->end - kept->first);
    if (got == NULL) return refuse(kept->end - kept->first);
    kept->copy = got;
    int status = SS_OK;
    for (uint64_t at = kept->first; status == SS_OK && at < end; at = data) {
        if (!shown->is_same || !ss_vfs_hole(shown->vfs, shown->file, at, end, &hole, &data)) hole = data = end;
        status = copy_bytes(root, kept, at, hole, total);
    }
    return status;
}

/* In one step where the system can, so that no reader of a view sees anything in between. */
static void put_in_place(const ss_root *root, struct kept *kept) {
    uint8_t *to = root->base + kept->first;
    uint64_t length = kept->end - kept->first;
    if (ss_pages_move(kept->copy, to, length)) {
        kept->copy = NULL;
        return;
    }
    if (ss_pages_renew(to, length)) memcpy(to, kept->copy, length);
}

static int keep(const ss_root *root, const ss_shown *shown, struct kept *kept, size_t count) {
    uint64_t total = 0;
    int status = SS_OK;
    for (size_t i = 0; status == SS_OK && i < count; i++) status = copy_view(root, shown, &kept[i], &total);
    for (size_t i = 0; status == SS_OK && i < count; i++) put_in_place(root, &kept[i]);
    for (size_t i = 0; i < count; i++) {
        ss_pages_release(kept[i].copy, kept[i].end - kept[i].first);
    }
    return status;
}

int ss_views_keep(ss_root *root, const ss_shown *shown) {
    struct kept *kept = NULL;
    size_t count;
    pthread_mutex_lock(&root->leases_mutex);
    int status = collect(root, shown->bytes, &kept, &count);
    pthread_mutex_unlock(&root->leases_mutex);
    if (status == SS_OK) status = keep(root, shown, kept, count);
    free(kept);
    return status;
}
