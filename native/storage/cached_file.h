/* SPDX-License-Identifier: Apache-2.0 */
/* Files as sources of a cached memory: read by pread, never mapped, without a lock. */
#ifndef SS_CACHED_FILE_H
#define SS_CACHED_FILE_H

#include "memory/cached.h"
#include "storage/wal_contents.h"

/* The first `bytes` of the file behind a descriptor, of which it makes its own; a file that became shorter meanwhile is SS_SYSTEM with
 * the rule "the file became shorter while it was read". With `log`, the memory as the last commit left it: file bytes, over them the
 * records of the log (which must stay until the memory is gone), zeros behind both. */
int ss_memory_new_cached_file(int file, uint64_t file_bytes, const ss_wal_contents *log, uint64_t bytes, uint64_t cache, ss_memory **out);

#endif
