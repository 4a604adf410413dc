/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "core/error.h"

static int exchange(const char *one, const char *other) {
#if defined(__linux__) && defined(SYS_renameat2)
    return (int)syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2u); /* RENAME_EXCHANGE; musl and old glibc have no wrapper */
#elif defined(__APPLE__)
    return renamex_np(one, other, RENAME_SWAP);
#else
    (void)one;
    (void)other;
    errno = ENOSYS;
    return -1;
#endif
}

int ss_exchange_paths(const char *one, const char *other) {
    if (exchange(one, other) == 0) return SS_OK;
    if (errno == ENOSYS || errno == EINVAL || errno == ENOTSUP) return SS_ABSENT;
    return ss_fail_errno(errno, "two folders cannot be exchanged", 0);
}
