/* SPDX-License-Identifier: Apache-2.0 */
/* A manager divides one memory into buckets and gives them to up to 255 virtual memories. */
#ifndef SS_MANAGER_H
#define SS_MANAGER_H

#include "memory/structure.h"

#define SS_MANAGER_MEMORIES 255
#define SS_MANAGER_BUCKETS 32768
#define SS_MANAGER_FREE 255 /* owner of a bucket that no memory has */

/* Offsets; the picture is in manager.c. */
enum {
    SS_MANAGER_ALLOCATED_AT = 4,
    SS_MANAGER_BUCKET_PAGES_AT = 6,
    SS_MANAGER_RESERVED_AT = 8,
    SS_MANAGER_SIZES_AT = 40,
    SS_MANAGER_OWNERS_AT = SS_MANAGER_SIZES_AT + 8 * SS_MANAGER_MEMORIES,
    SS_MANAGER_TABLES_SIZE = SS_MANAGER_OWNERS_AT + SS_MANAGER_BUCKETS
};

typedef struct ss_manager ss_manager;

struct ss_manager_info {
    uint32_t bucket_pages; /* as stored */
    uint32_t allocated_buckets;
    uint64_t base_pages; /* size of the memory below */
};

/* Opens the manager on `base`, which it leases whole and keeps alive. bucket_pages counts only for a new one: what is
 * stored wins. Free with ss_manager_free; the virtual memories keep what they need of it. */
int ss_manager_open(ss_memory *base, int mode, uint32_t bucket_pages, ss_manager **out);
void ss_manager_free(ss_manager *manager);
void ss_manager_free_at(ss_manager **at);

/* The memory `id` (0 to 254): one and the same object while anybody holds it. The caller releases it. */
int ss_manager_get(ss_manager *manager, uint32_t id, ss_memory **out);

int ss_manager_info(ss_manager *manager, struct ss_manager_info *out);
/* The sizes in pages of the memories 0 to 254 and the owners of all the buckets. */
int ss_manager_tables(ss_manager *manager, uint64_t sizes[SS_MANAGER_MEMORIES], uint8_t owners[SS_MANAGER_BUCKETS]);
int ss_manager_usage(ss_manager *manager, struct ss_usage *out);
int ss_manager_check(ss_manager *manager, ss_report report, void *self);

#endif
