/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/structure.h"

#include "memory/contents.h"

static int lock_for(ss_handle *handle, ss_memory *memory, int mode) {
    if (mode != SS_INIT && mode != SS_NEW && mode != SS_LOAD && mode != SS_INIT_OVERWRITE) {
        return ss_fail(SS_ARGUMENT, "mode of opening", 0, (uint64_t)mode, SS_INIT_OVERWRITE);
    }
    handle->writing = mode != SS_LOAD;
    int status = handle->writing ? ss_enter_write(memory) : ss_enter_read(memory);
    if (status != SS_READ_ONLY || mode == SS_NEW) return status;
    /* What is there can be loaded from a read-only memory too. */
    handle->writing = false;
    return ss_enter_read(memory);
}

static int unlock(const ss_handle *handle, ss_memory *memory, int status) {
    if (handle->writing) return ss_leave_write(memory, status);
    ss_leave_read(memory);
    return status;
}

static int take_lease(ss_handle *handle, ss_memory *memory) {
    int status = ss_memory_take_lease(memory, handle);
    if (status != SS_OK) return status;
    ss_memory_retain(memory);
    handle->memory = memory;
    return SS_OK;
}

int ss_handle_begin(ss_handle *handle, ss_memory *memory, int mode) {
    *handle = (ss_handle){0};
    int status = lock_for(handle, memory, mode);
    if (status != SS_OK) return status;
    status = take_lease(handle, memory);
    return status == SS_OK ? SS_OK : unlock(handle, memory, status);
}

int ss_handle_begin_beside(ss_handle *handle, ss_memory *memory, const ss_handle *first) {
    *handle = (ss_handle){.writing = first->writing};
    int status = ss_memory_refresh(memory);
    return status == SS_OK ? take_lease(handle, memory) : status;
}

int ss_handle_may_create(const ss_handle *handle, int mode) {
    int status = mode == SS_LOAD ? ss_contents_refuse(handle->memory) : mode == SS_INIT ? ss_contents_demand_empty(handle->memory) : SS_OK;
    if (status != SS_OK || handle->writing) return status;
    const char *rule = "there is no such structure yet";
    if (handle->memory->root->behind_writer) {
        rule =
            "there is no such structure in the file yet, but a writer has it open whose commits may be in its log; "
            "call checkpoint() there, or wait until it closes the file";
    }
    return ss_fail(SS_READ_ONLY, rule, 0, 0, 0);
}

int ss_handle_end(ss_handle *handle, int status) {
    status = unlock(handle, handle->memory, status);
    if (status != SS_OK) ss_handle_free(handle);
    return status;
}

static int detached(void) {
    return ss_fail(SS_CLOSED, "the structure gave up its memory", 0, 0, 0);
}

int ss_handle_enter_read(ss_handle *handle) {
    int status = ss_enter_read(handle->memory);
    if (SS_LIKELY(status == SS_OK && !handle->detached)) return SS_OK;
    if (status != SS_OK) return status;
    ss_leave_read(handle->memory);
    return detached();
}

int ss_handle_enter_write(ss_handle *handle) {
    int status = ss_enter_write(handle->memory);
    if (SS_LIKELY(status == SS_OK && !handle->detached)) return SS_OK;
    return status != SS_OK ? status : ss_leave_write(handle->memory, detached());
}

/* Both parts only ever grow, so their sum tells when either did. */
uint64_t ss_handle_changes(const ss_handle *handle) {
    return handle->changes + handle->memory->root->epoch;
}

static const void *this_thread(const ss_handle *handle) {
    return atomic_load_explicit(&handle->memory->root->holder, memory_order_relaxed);
}

void ss_handle_changed(ss_handle *handle, enum ss_change_kind what) {
    uint64_t before = ss_handle_changes(handle), epoch = handle->memory->root->epoch;
    const void *writer = this_thread(handle);
    ss_run *run = &handle->run;
    handle->changes++;
    if (what == SS_CHANGE_ENTRIES || run->writer != writer || run->epoch != epoch) {
        *run = (ss_run){.start = what == SS_CHANGE_ENTRIES ? before + 1 : before, .epoch = epoch, .writer = writer};
    }
    if (what == SS_CHANGE_POSITIONS) run->moved = before + 1;
    if (SS_LIKELY(handle->listening == SS_LISTENS_NOT)) return;
    if (handle->listening == SS_LISTENS_TO_ENTRIES && what != SS_CHANGE_ENTRIES && handle->listener == writer) return;
    handle->listening = SS_LISTENS_NOT;
    handle->memory->root->alarmed = true;
}

void ss_handle_listen(ss_handle *handle, enum ss_listening what) {
    const void *thread = this_thread(handle);
    if (handle->listening == SS_LISTENS_NOT) handle->listener = thread;
    if (handle->listener != thread) handle->listener = NULL;
    if (what > handle->listening) handle->listening = what;
    ss_root_listen(handle->memory->root);
}

int ss_handle_still(const ss_handle *handle, uint64_t *known) {
    const ss_run *run = &handle->run;
    uint64_t now = ss_handle_changes(handle);
    if (SS_LIKELY(*known == now)) return SS_OK;
    if (*known < run->start || run->epoch != handle->memory->root->epoch || run->writer != this_thread(handle)) {
        return ss_fail(SS_CHANGED, NULL, 0, 0, 0);
    }
    *known = now;
    return SS_ABSENT;
}

int ss_handle_detach(ss_handle *handle) {
    int status = ss_handle_enter_read(handle);
    if (status != SS_OK) return status;
    handle->detached = true;
    handle->memory->root->generation++; /* iterators are to look again */
    handle->memory->root->alarmed = true;
    ss_leave_read(handle->memory);
    ss_memory_drop_lease(handle->memory, handle);
    return SS_OK;
}

void ss_handle_free(ss_handle *handle) {
    if (handle->memory == NULL) return;
    ss_memory_drop_lease(handle->memory, handle);
    ss_memory_release(handle->memory);
    handle->memory = NULL;
}

/* ---- checks ---- */

static bool is_violation(int status) {
    return status == SS_CORRUPT || status == SS_BAD_MAGIC || status == SS_BAD_VERSION || status == SS_INCOMPATIBLE;
}

int ss_check_note(ss_check *check, int status) {
    if (SS_LIKELY(status == SS_OK) || !is_violation(status)) return status;
    if (check->first.status == SS_OK) check->first = *ss_last_failure();
    if (check->report == NULL) return status;
    check->report(check->self, ss_last_failure());
    return SS_OK;
}

int ss_check_end(const ss_check *check, int status) {
    const struct ss_failure *first = &check->first;
    if (status != SS_OK || first->status == SS_OK) return status;
    return ss_fail(SS_CORRUPT, first->rule, first->address, first->number, first->limit);
}

/* ---- sizes ---- */

int ss_memory_reserved(const ss_memory *memory, uint64_t *bytes) {
    uint64_t pages;
    int status = ss_memory_size(memory, &pages);
    if (status == SS_OK) *bytes = memory->kind == SS_VIRTUAL ? memory->bucket_count * memory->bucket_bytes : pages * SS_PAGE_SIZE;
    return status;
}
