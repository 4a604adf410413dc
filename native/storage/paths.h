/* SPDX-License-Identifier: Apache-2.0 */
/* What the embedding language lacks of the file system. */
#ifndef SS_PATHS_H
#define SS_PATHS_H

/* Exchanges two files or folders of one file system in one step. SS_ABSENT if the system has no such call, SS_SYSTEM. */
int ss_exchange_paths(const char *one, const char *other);

#endif
