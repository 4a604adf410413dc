/* SPDX-License-Identifier: Apache-2.0 */
/* What memory.c, undo.c and leases.c need of each other. */
#ifndef SS_MEMORY_PRIVATE_H
#define SS_MEMORY_PRIVATE_H

#include "memory/memory.h"

static inline int ss_foreign_pages(ss_root *root, uint64_t *pages) {
    int status = root->size_known ? SS_OK : root->foreign_ops->size(root->foreign_self, &root->known_pages);
    root->size_known = status == SS_OK;
    *pages = root->known_pages;
    return status;
}

static inline int ss_root_pages(ss_root *root, uint64_t *pages) {
    if (SS_UNLIKELY(root->foreign)) return ss_foreign_pages(root, pages);
    *pages = root->pages;
    return SS_OK;
}

/* Keeps the bytes that are about to change; called only while a scope is open. SS_NO_HEAP. */
int ss_undo_record(ss_root *root, uint64_t offset, uint64_t length);
/* Ends the undo scope of an operation, and first restores every byte if it is to be undone. */
void ss_undo_end(ss_root *root, bool restore);

/* Gives one reference to a transaction's leases back; the last one frees it. NULL is allowed. */
void ss_scope_release(ss_scope *scope);
/* Frees the leases that are left on a memory that goes. */
void ss_leases_free(ss_memory *memory);

#endif
