/* SPDX-License-Identifier: Apache-2.0 */
/* Memories and forks: the child has the bytes of the parent, and its locks as they were, but one thread only.
 *
 * A root whose lock was free in the parent, or held by the thread that forks, goes on in the child with bytes of its own.
 * Of one that another thread was working on nobody knows the state: it is closed there. Files are always closed there (file.c).
 */
#ifndef SS_FORKS_H
#define SS_FORKS_H

#include "memory/memory.h"

void ss_forks_list(ss_root *root);
void ss_forks_unlist(ss_root *root);

#endif
