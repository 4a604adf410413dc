/* SPDX-License-Identifier: Apache-2.0 */
/* What a memory holds before a structure is made in it: nothing at all, or something that must not be overwritten.
 *
 * A memory is empty when it has no pages or when every byte of it is zero. Holes of a file that nobody wrote to since it
 * was opened are known to be zeros without being read, and so is an anonymous memory that was never written to. Of the
 * rest at most SS_LOOKED_AT bytes are read; a memory that has more zeros than that is taken for one that is in use.
 */
#ifndef SS_CONTENTS_H
#define SS_CONTENTS_H

#include "memory/memory.h"

#define SS_LOOKED_AT (UINT64_C(256) << 20)

/* What begins with these bytes, as in "a StableVec" or "an SQLite database"; NULL if nobody knows. */
const char *ss_contents_name(const uint8_t *bytes, uint64_t size);
/* SS_OK if the memory is empty; else SS_BAD_MAGIC, and the failure's rule says what is there. Lock held. O(bytes up to
 * the first that is not zero). */
int ss_contents_demand_empty(const ss_memory *memory);
/* SS_BAD_MAGIC, and the rule says what is there. Lock held. O(1). */
int ss_contents_refuse(const ss_memory *memory);

#endif
