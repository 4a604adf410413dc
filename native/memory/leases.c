/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: one live structure for each memory. A root or a virtual memory has the list of those on it; a restricted memory
 * takes its leases from the memory below, for its range of pages. leases_mutex protects every list of a root. */
#include <stdlib.h>

#include "memory/memory_private.h"

void ss_scope_release(ss_scope *scope) {
    if (scope != NULL && --scope->references == 0) free(scope);
}

static void free_lease(ss_lease *lease) {
    ss_scope_release(lease->scope);
    free(lease);
}

void ss_leases_free(ss_memory *memory) {
    for (ss_lease *lease = memory->leases; lease != NULL;) {
        ss_lease *next = lease->next;
        free_lease(lease);
        lease = next;
    }
}

static int take_lease_of_range(ss_memory *memory, uint64_t first, uint64_t end, const void *owner) {
    while (memory->kind == SS_RESTRICTED) {
        first = first > UINT64_MAX - memory->first ? UINT64_MAX : first + memory->first;
        end = end > memory->end - memory->first ? memory->end : end + memory->first;
        memory = memory->base;
    }
    for (const ss_lease *other = memory->leases; other != NULL; other = other->next) {
        if (other->program != memory->program || (other->scope != NULL && other->scope->forgotten)) continue;
        if (first < other->end && other->first < end) return ss_fail(SS_IN_USE, NULL, 0, other->first, other->end);
    }
    ss_lease *lease = malloc(sizeof *lease);
    if (lease == NULL) return ss_fail(SS_NO_HEAP, "a lease of a memory", 0, sizeof *lease, 0);
    ss_scope *scope = memory->root->scope;
    if (scope != NULL) scope->references++;
    *lease = (ss_lease){memory->leases, owner, memory->program, scope, first, end};
    memory->leases = lease;
    return SS_OK;
}

int ss_memory_take_lease(ss_memory *memory, const void *owner) {
    pthread_mutex_lock(&memory->root->leases_mutex);
    int status = take_lease_of_range(memory, 0, UINT64_MAX, owner);
    pthread_mutex_unlock(&memory->root->leases_mutex);
    return status;
}

void ss_memory_drop_lease(ss_memory *memory, const void *owner) {
    pthread_mutex_lock(&memory->root->leases_mutex);
    while (memory->kind == SS_RESTRICTED) memory = memory->base;
    for (ss_lease **link = &memory->leases; *link != NULL;) {
        ss_lease *lease = *link;
        if (lease->owner == owner) {
            *link = lease->next;
            free_lease(lease);
        } else {
            link = &lease->next;
        }
    }
    pthread_mutex_unlock(&memory->root->leases_mutex);
}

int ss_reservation_take(ss_reservation *reservation, ss_memory *memory) {
    int status = ss_memory_take_lease(memory, reservation);
    if (status != SS_OK) return status;
    ss_memory_retain(memory);
    reservation->memory = memory;
    return SS_OK;
}

void ss_reservation_drop(ss_reservation *reservation) {
    if (reservation->memory == NULL) return;
    ss_memory_drop_lease(reservation->memory, reservation);
    ss_memory_release_at(&reservation->memory);
}

void ss_memory_set_program(ss_memory *memory, uint64_t program) {
    pthread_mutex_lock(&memory->root->leases_mutex);
    while (memory->kind == SS_RESTRICTED) memory = memory->base;
    memory->program = program;
    pthread_mutex_unlock(&memory->root->leases_mutex);
}

int ss_root_begin_scope(ss_root *root) {
    ss_scope *scope = malloc(sizeof *scope);
    if (scope == NULL) return ss_fail(SS_NO_HEAP, "the leases of a transaction", 0, sizeof *scope, 0);
    *scope = (ss_scope){1, false};
    pthread_mutex_lock(&root->leases_mutex);
    ss_scope_release(root->scope);
    root->scope = scope;
    pthread_mutex_unlock(&root->leases_mutex);
    return SS_OK;
}

void ss_root_end_scope(ss_root *root) {
    pthread_mutex_lock(&root->leases_mutex);
    ss_scope_release(root->scope);
    root->scope = NULL;
    pthread_mutex_unlock(&root->leases_mutex);
}

void ss_memory_forget_leases(ss_memory *memory) {
    pthread_mutex_lock(&memory->root->leases_mutex);
    if (memory->root->scope != NULL) memory->root->scope->forgotten = true;
    pthread_mutex_unlock(&memory->root->leases_mutex);
}
