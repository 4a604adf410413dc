/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/window.h"

#include "core/pages.h"

/* A multiple of every system's pages. */
#define PAGE UINT64_C(65536)

void ss_window_close(ss_window *window) {
    ss_pages_release(window->bytes, window->room);
    *window = (ss_window){.may_be_cloned = window->may_be_cloned};
}

/* Address space for twice the length, so that growing moves it seldom. */
static bool reserve(ss_window *window, uint64_t length) {
    if (length <= window->room) return true;
    ss_window_close(window);
    uint64_t room = 2 * length;
    void *got = ss_pages_reserve(room);
    if (got == NULL) return false;
    window->bytes = got;
    window->room = room;
    return true;
}

static bool can_store(const ss_window *window, const ss_vfs *vfs, int file) {
    return vfs->map != NULL && vfs->stores_in_place != NULL && vfs->stores_in_place(vfs->self, file, window->may_be_cloned);
}

bool ss_window_shows(ss_window *window, const ss_vfs *vfs, int file, uint64_t end, uint64_t size) {
    if (end <= window->shown && !window->is_stale) return true;
    uint64_t length = size / PAGE * PAGE;
    if (end > length || window->is_impossible) return false;
    window->is_impossible = (window->bytes == NULL && !can_store(window, vfs, file)) || !reserve(window, length) ||
                            ss_vfs_map(vfs, file, window->bytes, 0, length, SS_MAP_SHARED) != 0;
    window->shown = window->is_impossible ? 0 : length;
    window->is_stale = false;
    return !window->is_impossible;
}

void ss_window_cut(ss_window *window, uint64_t size) {
    if (window->shown > size) window->shown = size / PAGE * PAGE;
}
