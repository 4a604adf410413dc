/* SPDX-License-Identifier: Apache-2.0 */
#include "ic0/heap_image.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h> /* memfd_create */
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/pages.h"

#define WASM_PAGE UINT64_C(65536)
#define OS_PAGE UINT64_C(4096)
/* A commit moves the heap of a snapshot's file to our own in steps of this size: the fewer, the fewer mappings a large heap has. */
#define CHUNK UINT64_C(262144)
/* So many pages stay private after a commit or a rollback: to copy them is cheaper than the faults of dropping them, and messages tend
 * to change the same pages. With more of them all are dropped. */
#define KEPT_PRIVATE 128
/* A private page that so many messages in a row have left alone is dropped: by then its comparisons cost as much as a fault. */
#define IDLE_MESSAGES 8
/* Of a chunk that is in the image, while base still stands on the file or image of before. */
#define MOVED 2

struct ss_heap_image {
    uint8_t *base;
    uint8_t *image; /* the committed bytes; of a heap over a file only in the chunks that are owned */
    uint64_t size, committed, max, reserved;
    uint64_t mapped;  /* bytes of base that are readable and writable */
    uint64_t changed; /* pages that the last commit kept */
    uint64_t found;   /* private pages that the search has found so far */
    int file;         /* of the image; -1 for a copying heap */
    unsigned forks;   /* how many forks the image has seen that it is alone after */
    uint8_t *lower;   /* the user's file, read only; NULL without one */
    uint64_t lower_size;
    uint8_t *owned; /* over a file: for each chunk whether it has moved to the image: MOVED until its base stands there too */
    bool detached;  /* base, or a part of it, does not stand on the image: see attach */
    uint8_t *idle;  /* of a mapped heap: for each private page how many messages have left it alone */
    atomic_int references;
};

static atomic_uint forks;
static pthread_once_t watch_forks = PTHREAD_ONCE_INIT;

static void count_fork(void) {
    atomic_fetch_add(&forks, 1);
}

static void begin_watching(void) {
    (void)pthread_atfork(NULL, count_fork, count_fork);
}

/* ---- which pages differ from the image ---- */

typedef int (*run_function)(ss_heap_image *heap, uint64_t at, uint64_t length);

#ifdef __linux__

/* As in linux/fs.h of 6.7 and later; older headers lack it. */
struct scan_argument {
    uint64_t size, flags, start, end, walk_end, vector, vector_length, max_pages;
    uint64_t category_inverted, category_mask, category_any, return_mask;
};
struct scan_region {
    uint64_t start, end, categories;
};
#define SCAN_REQUEST _IOWR('f', 16, struct scan_argument)
enum { SCAN_FILE = 1 << 2, SCAN_PRESENT = 1 << 3, SCAN_SWAPPED = 1 << 4 };

/* Opened once per process: the file of a parent tells of the parent's pages. */
static int open_pagemap(void) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static int file = -1;
    static unsigned seen;
    pthread_mutex_lock(&mutex);
    unsigned now = atomic_load(&forks);
    if (file >= 0 && seen != now) {
        close(file);
        file = -1;
    }
    if (file < 0) file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    seen = now;
    int found = file;
    pthread_mutex_unlock(&mutex);
    return found;
}

/* Runs over the private pages by the kernel's own search. SS_SYSTEM if the kernel has none; nothing was done then. */
static int scan(ss_heap_image *heap, int pagemap, run_function run) {
    struct scan_region found[256];
    uint64_t start = (uint64_t)(uintptr_t)heap->base, end = start + heap->size;
    struct scan_argument ask = {.size = sizeof ask, .start = start, .end = end, .vector = (uint64_t)(uintptr_t)found};
    ask.vector_length = sizeof found / sizeof *found;
    ask.category_inverted = ask.category_mask = SCAN_FILE;
    ask.category_any = ask.return_mask = SCAN_PRESENT | SCAN_SWAPPED;
    while (ask.start < end) {
        int count = ioctl(pagemap, SCAN_REQUEST, &ask);
        if (count < 0) return SS_SYSTEM;
        for (int i = 0; i < count; i++) {
            int status = run(heap, found[i].start - start, found[i].end - found[i].start);
            if (status != SS_OK) return status;
        }
        ask.start = ask.walk_end;
    }
    return SS_OK;
}

/* A private page is present (bit 63) or swapped (62) and not of the file (61). */
static bool is_private(uint64_t entry) {
    return (entry >> 62) != 0 && (entry >> 61 & 1) == 0;
}

static int walk_entries(ss_heap_image *heap, const uint64_t *entries, uint64_t first, uint64_t count, run_function run) {
    for (uint64_t i = 0; i < count; i++) {
        if (!is_private(entries[i])) continue;
        uint64_t end = i + 1;
        while (end < count && is_private(entries[end])) end++;
        int status = run(heap, (first + i) * OS_PAGE, (end - i) * OS_PAGE);
        if (status != SS_OK) return status;
        i = end;
    }
    return SS_OK;
}

static int read_pagemap(ss_heap_image *heap, int pagemap, run_function run) {
    enum { AT_ONCE = 4096 };
    uint64_t entries[AT_ONCE], pages = heap->size / OS_PAGE, start = (uint64_t)(uintptr_t)heap->base / OS_PAGE;
    for (uint64_t first = 0; first < pages; first += AT_ONCE) {
        uint64_t count = pages - first < AT_ONCE ? pages - first : AT_ONCE;
        if (pread(pagemap, entries, count * 8, (off_t)((start + first) * 8)) != (ssize_t)(count * 8)) {
            return ss_fail_errno(errno, "the pages of the process cannot be read", 0);
        }
        int status = walk_entries(heap, entries, first, count, run);
        if (status != SS_OK) return status;
    }
    return SS_OK;
}

/* The scan may stop half way where the kernel lacks it (nothing done then), or because `run` failed. */
static int each_private_run(ss_heap_image *heap, run_function run) {
    int pagemap = open_pagemap();
    if (pagemap < 0) return ss_fail_errno(errno, "the pages of the process cannot be read", 0);
    int status = scan(heap, pagemap, run);
    return status == SS_SYSTEM ? read_pagemap(heap, pagemap, run) : status;
}

/* The same where the kernel searches by itself, which costs little; SS_SYSTEM if it does not. */
static int each_private_run_if_cheap(ss_heap_image *heap, run_function run) {
    int pagemap = open_pagemap();
    return pagemap < 0 ? SS_SYSTEM : scan(heap, pagemap, run);
}

static int new_file(void) {
    return memfd_create("ss_heap_image", MFD_CLOEXEC);
}

#else

static int each_private_run(ss_heap_image *heap, run_function run) {
    (void)heap;
    (void)run;
    return ss_fail(SS_SYSTEM, "the system does not tell which pages changed", 0, ENOSYS, 0);
}

static int each_private_run_if_cheap(ss_heap_image *heap, run_function run) {
    (void)heap;
    (void)run;
    return SS_SYSTEM;
}

static int new_file(void) {
    return -1;
}

#endif

/* ---- life ---- */

static int make_image(ss_heap_image *heap) {
    heap->image = heap->file >= 0 ? ss_pages_of_file(heap->file, heap->max, SS_PAGES_SHARED) : ss_pages_new(heap->max);
    return heap->image != NULL ? SS_OK : ss_fail(SS_OUT_OF_MEMORY, "address space for a heap: none to be had", 0, heap->max, 0);
}

static void destroy(ss_heap_image *heap) {
    ss_pages_release(heap->base, heap->reserved);
    ss_pages_release(heap->image, heap->max);
    ss_pages_release(heap->lower, heap->lower_size);
    if (heap->file >= 0) close(heap->file);
    free(heap->owned);
    free(heap->idle);
    free(heap);
}

int ss_heap_image_new(uint64_t max, uint64_t reserved, int kind, ss_heap_image **out) {
    if (max == 0 || max % WASM_PAGE != 0 || reserved < max || reserved % OS_PAGE != 0) {
        return ss_fail(SS_ARGUMENT, "the limit of a heap", 0, max, reserved);
    }
    pthread_once(&watch_forks, begin_watching);
    ss_heap_image *heap = calloc(1, sizeof *heap);
    if (heap == NULL) return ss_fail(SS_NO_HEAP, "a heap", 0, sizeof *heap, 0);
    heap->max = max;
    heap->reserved = reserved;
    atomic_init(&heap->references, 1);
    heap->forks = atomic_load(&forks);
    bool mapped = kind == SS_HEAP_MAPPED || (kind == SS_HEAP_ANY && ss_heap_image_can_map());
    heap->file = mapped ? new_file() : -1;
    heap->base = ss_pages_reserve(reserved);
    int status = SS_OK;
    if (mapped && heap->file < 0) status = ss_fail_errno(errno, "a file in memory for a heap", 0);
    if (status == SS_OK && heap->base == NULL) {
        status = ss_fail(SS_OUT_OF_MEMORY, "address space for a heap: none to be had", 0, reserved, 0);
    }
    if (status == SS_OK) status = make_image(heap);
    if (mapped) heap->idle = calloc(max / OS_PAGE, 1);
    if (status == SS_OK && mapped && heap->idle == NULL) status = ss_fail(SS_NO_HEAP, "notes on a heap", 0, max, 0);
    if (status != SS_OK) {
        destroy(heap);
        return status;
    }
    *out = heap;
    return SS_OK;
}

void ss_heap_image_retain(ss_heap_image *heap) {
    atomic_fetch_add(&heap->references, 1);
}

void ss_heap_image_release(ss_heap_image *heap) {
    if (heap != NULL && atomic_fetch_sub(&heap->references, 1) == 1) destroy(heap);
}

void ss_heap_image_release_at(ss_heap_image **at) {
    ss_heap_image *heap = *at;
    *at = NULL;
    ss_heap_image_release(heap);
}

uint8_t *ss_heap_image_base(const ss_heap_image *heap) {
    return heap->base;
}

uint64_t ss_heap_image_size(const ss_heap_image *heap) {
    return heap->size;
}

uint64_t ss_heap_image_max(const ss_heap_image *heap) {
    return heap->max;
}

uint64_t ss_heap_image_reserved(const ss_heap_image *heap) {
    return heap->reserved;
}

bool ss_heap_image_is_mapped(const ss_heap_image *heap) {
    return heap->file >= 0;
}

uint64_t ss_heap_image_changed(const ss_heap_image *heap) {
    return heap->changed;
}

/* ---- growth ---- */

static bool map_private(ss_heap_image *heap, uint64_t at, uint64_t length, int file) {
    return ss_pages_map(heap->base + at, file, at, length);
}

/* Makes the file of the image at least so long. Never shorter: after a fork it may be the other process's, too, and larger there. */
static bool extend_file(int file, uint64_t size) {
    struct stat about;
    if (fstat(file, &about) != 0) return false;
    return (uint64_t)about.st_size >= size || ftruncate(file, (off_t)size) == 0;
}

int ss_heap_image_grow(ss_heap_image *heap, uint64_t size) {
    if (size > heap->max || size % OS_PAGE != 0) return ss_fail(SS_OUT_OF_MEMORY, "limit of the heap in bytes", 0, size, heap->max);
    if (size > heap->mapped) {
        uint64_t more = size - heap->mapped;
        bool grown;
        if (heap->file >= 0) {
            grown = extend_file(heap->file, size) && map_private(heap, heap->mapped, more, heap->file);
        } else {
            grown = ss_pages_commit(heap->base + heap->mapped, more);
        }
        if (!grown) return ss_fail(SS_OUT_OF_MEMORY, "the system gives no more memory", 0, size, heap->mapped);
        heap->mapped = size;
    }
    if (size > heap->size) heap->size = size;
    return SS_OK;
}

/* ---- commit and rollback ---- */

static uint64_t chunk_length(const ss_heap_image *heap, uint64_t at) {
    return heap->mapped - at < CHUNK ? heap->mapped - at : CHUNK;
}

/* Maps the image into base where that stands on another file: an image of before a fork, or the user's file. Base holds, or is to
 * hold, the committed state: its private pages go.
 *
 * The system refuses it where the process has too many mappings. Then base is *detached*: its private pages are right, what lies
 * under them may be old. So none of them is dropped until all is mapped. */
static void attach(ss_heap_image *heap) {
    bool attached = true;
    for (uint64_t at = 0; heap->owned != NULL && at < heap->mapped; at += CHUNK) {
        uint8_t *owned = &heap->owned[at / CHUNK];
        if (*owned != MOVED) continue;
        if (map_private(heap, at, chunk_length(heap, at), heap->file)) {
            *owned = 1;
        } else {
            attached = false;
        }
    }
    if (heap->owned == NULL && heap->mapped > 0) attached = map_private(heap, 0, heap->mapped, heap->file);
    heap->detached = !attached;
}

/* After own_image: base stands on the image of before, except where it stands on the user's file. */
static void detach(ss_heap_image *heap) {
    heap->detached = true;
    for (uint64_t chunk = 0; heap->owned != NULL && chunk < heap->max / CHUNK + 1; chunk++) {
        if (heap->owned[chunk]) heap->owned[chunk] = MOVED;
    }
}

/* W3: an image that another process may see is left to it. */
static int own_image(ss_heap_image *heap) {
    unsigned now = atomic_load(&forks);
    if (heap->file < 0 || heap->forks == now) return SS_OK;
    int file = new_file();
    if (file < 0) return ss_fail_errno(errno, "a file in memory for a heap", 0);
    uint8_t *image = NULL;
    if (ftruncate(file, (off_t)heap->mapped) == 0) image = ss_pages_of_file(file, heap->max, SS_PAGES_SHARED);
    if (image == NULL) {
        close(file);
        return ss_fail(SS_OUT_OF_MEMORY, "the system gives no more memory", 0, heap->mapped, 0);
    }
    if (heap->committed > 0) memcpy(image, heap->image, heap->committed);
    ss_pages_release(heap->image, heap->max);
    close(heap->file);
    heap->file = file;
    heap->image = image;
    heap->forks = now;
    detach(heap);
    return SS_OK;
}

/* Moves the chunks of a range from the user's file to the image. The pages that base has of its own stay for keep_run. */
static int own_chunks(ss_heap_image *heap, uint64_t at, uint64_t length) {
    for (uint64_t chunk = at / CHUNK; chunk <= (at + length - 1) / CHUNK; chunk++) {
        if (heap->owned[chunk]) continue;
        uint64_t start = chunk * CHUNK, end = start + CHUNK < heap->lower_size ? start + CHUNK : heap->lower_size;
        if (start < end) memcpy(heap->image + start, heap->lower + start, end - start);
        heap->owned[chunk] = MOVED; /* base is attached when all runs are kept */
        heap->detached = true;
    }
    return SS_OK;
}

/* Whether a message has left a private page as it was. Notes it, and drops a page that is seldom written. */
static bool is_idle(ss_heap_image *heap, uint64_t page, const uint8_t *committed) {
    uint8_t *idle = &heap->idle[page / OS_PAGE];
    if (memcmp(heap->base + page, committed, OS_PAGE) != 0) {
        *idle = 0;
        return false;
    }
    if (++*idle >= IDLE_MESSAGES && !heap->detached) {
        *idle = 0;
        ss_pages_forget(heap->base + page, OS_PAGE);
    }
    return true;
}

/* Copies the pages of a run that differ. */
static void copy_changed(ss_heap_image *heap, uint64_t at, uint64_t length) {
    for (uint64_t page = at; page < at + length; page += OS_PAGE) {
        if (is_idle(heap, page, heap->image + page)) continue;
        memcpy(heap->image + page, heap->base + page, OS_PAGE);
        heap->changed++;
    }
}

static int keep_run(ss_heap_image *heap, uint64_t at, uint64_t length) {
    if (heap->owned != NULL) own_chunks(heap, at, length);
    heap->found += length / OS_PAGE;
    copy_changed(heap, at, length);
    return SS_OK;
}

/* Once the first page is kept, no lack of memory or of mappings makes it fail: half a commit would be neither state. */
static int commit_mapped(ss_heap_image *heap) {
    int status = own_image(heap);
    if (status == SS_OK) status = each_private_run(heap, keep_run);
    if (status != SS_OK) return status;
    if (heap->detached) attach(heap);
    if (heap->found > KEPT_PRIVATE && !heap->detached) ss_pages_forget(heap->base, heap->mapped);
    return SS_OK;
}

static void commit_copying(ss_heap_image *heap) {
    for (uint64_t at = 0; at < heap->size; at += OS_PAGE) {
        if (memcmp(heap->image + at, heap->base + at, OS_PAGE) == 0) continue;
        memcpy(heap->image + at, heap->base + at, OS_PAGE);
        heap->changed++;
    }
}

int ss_heap_image_commit(ss_heap_image *heap) {
    heap->changed = heap->found = 0;
    int status = SS_OK;
    if (heap->file >= 0) {
        status = commit_mapped(heap);
    } else {
        commit_copying(heap);
    }
    if (status == SS_OK) heap->committed = heap->size;
    return status;
}

/* The committed bytes of a page. */
static const uint8_t *committed_page(const ss_heap_image *heap, uint64_t page) {
    bool below = heap->owned != NULL && !heap->owned[page / CHUNK] && page < heap->lower_size;
    return (below ? heap->lower : heap->image) + page;
}

static void restore_copying(ss_heap_image *heap) {
    for (uint64_t at = 0; at < heap->committed; at += OS_PAGE) {
        const uint8_t *from = committed_page(heap, at);
        if (memcmp(heap->base + at, from, OS_PAGE) != 0) memcpy(heap->base + at, from, OS_PAGE);
    }
}

/* W1, W2: Wasm finds the end of its heap by a fault, so what is above the size must not stay accessible. */
static void close_above(ss_heap_image *heap, uint64_t size) {
    uint8_t *at = heap->base + size;
    uint64_t length = heap->mapped - size;
    if (!ss_pages_decommit(at, length)) abort();
    heap->mapped = size;
}

/* The committed bytes of a run, back into its private pages, which stay for the next message. SS_ABSENT if there are many. */
static int restore_run(ss_heap_image *heap, uint64_t at, uint64_t length) {
    heap->found += length / OS_PAGE;
    if (heap->found > KEPT_PRIVATE) return SS_ABSENT;
    for (uint64_t page = at; page < at + length; page += OS_PAGE) {
        const uint8_t *from = committed_page(heap, page);
        if (!is_idle(heap, page, from)) memcpy(heap->base + page, from, OS_PAGE);
    }
    return SS_OK;
}

static void restore_mapped(ss_heap_image *heap) {
    heap->found = 0;
    if (heap->mapped == 0 || each_private_run_if_cheap(heap, restore_run) == SS_OK) return;
    if (heap->detached) {
        restore_copying(heap);
    } else {
        ss_pages_forget(heap->base, heap->mapped);
    }
}

int ss_heap_image_rollback(ss_heap_image *heap) {
    bool smaller = heap->size > heap->committed;
    if (heap->mapped > heap->committed) close_above(heap, heap->committed);
    heap->size = heap->committed;
    if (heap->file < 0) {
        restore_copying(heap);
    } else {
        restore_mapped(heap);
    }
    return smaller ? SS_ABSENT : SS_OK;
}

/* ---- bytes from outside ---- */

static bool inside(const ss_heap_image *heap, uint64_t offset, uint64_t length) {
    return offset <= heap->size && length <= heap->size - offset;
}

int ss_heap_image_read(const ss_heap_image *heap, uint64_t offset, void *to, uint64_t length) {
    if (!inside(heap, offset, length)) return ss_fail(SS_OUT_OF_BOUNDS, "a range of the heap", offset, length, heap->size);
    if (length > 0) memcpy(to, heap->base + offset, length);
    return SS_OK;
}

int ss_heap_image_write(ss_heap_image *heap, uint64_t offset, const void *from, uint64_t length) {
    if (!inside(heap, offset, length)) return ss_fail(SS_OUT_OF_BOUNDS, "a range of the heap", offset, length, heap->size);
    if (length > 0) memcpy(heap->base + offset, from, length);
    return SS_OK;
}

static int copy_file(ss_heap_image *heap, int file, uint64_t size) {
    for (uint64_t at = 0; at < size;) {
        ssize_t got = pread(file, heap->base + at, size - at < (1u << 30) ? size - at : (1u << 30), (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return ss_fail_errno(got == 0 ? EIO : errno, "the file of a heap cannot be read", at);
        at += (uint64_t)got;
    }
    return ss_heap_image_commit(heap);
}

/* The whole pages of the file stand in for the image. */
static int stand_on(ss_heap_image *heap, int file, uint64_t size) {
    heap->lower = ss_pages_of_file(file, size, SS_PAGES_READ);
    heap->owned = calloc(1, heap->max / CHUNK + 1);
    if (heap->lower == NULL || heap->owned == NULL) return ss_fail(SS_OUT_OF_MEMORY, "a mapping of the file of a heap", 0, size, 0);
    heap->lower_size = size;
    for (uint64_t chunk = size / CHUNK + 1; chunk < heap->max / CHUNK + 1; chunk++) heap->owned[chunk] = 1;
    if (size % CHUNK == 0) heap->owned[size / CHUNK] = 1;
    if (!map_private(heap, 0, size, file)) return ss_fail(SS_OUT_OF_MEMORY, "a mapping of the file of a heap", 0, size, 0);
    heap->committed = size;
    return SS_OK;
}

int ss_heap_image_load(ss_heap_image *heap, const char *path, uint64_t size) {
    if (heap->size != 0) return ss_fail(SS_ARGUMENT, "only an empty heap begins with a file", 0, heap->size, 0);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return ss_fail_errno(errno, "the file of a heap cannot be opened", 0);
    struct stat about;
    int status = fstat(file, &about) == 0 && (uint64_t)about.st_size >= size
                     ? SS_OK
                     : ss_fail(SS_SYSTEM, "the file of a heap is short", 0, EIO, size);
    if (status == SS_OK) status = ss_heap_image_grow(heap, size);
    if (status == SS_OK && size > 0) status = heap->file >= 0 ? stand_on(heap, file, size) : copy_file(heap, file, size);
    close(file);
    return status;
}

/* ---- copies ---- */

static bool is_zero(const uint8_t *page) {
    return page[0] == 0 && memcmp(page, page + 1, OS_PAGE - 1) == 0;
}

int ss_heap_image_clone(const ss_heap_image *heap, ss_heap_image **out) {
    ss_heap_image *made = NULL;
    int status = ss_heap_image_new(heap->max, heap->reserved, heap->file >= 0 ? SS_HEAP_MAPPED : SS_HEAP_COPYING, &made);
    if (status != SS_OK) return status;
    status = ss_heap_image_grow(made, heap->size);
    for (uint64_t at = 0; status == SS_OK && at < heap->size; at += OS_PAGE) {
        if (is_zero(heap->base + at)) continue;
        memcpy(made->image + at, heap->base + at, OS_PAGE);
        if (made->file < 0) memcpy(made->base + at, heap->base + at, OS_PAGE);
    }
    if (status != SS_OK) {
        ss_heap_image_release(made);
        return status;
    }
    made->committed = heap->size;
    *out = made;
    return SS_OK;
}

/* ---- what works here ---- */

static pthread_once_t probe_once = PTHREAD_ONCE_INIT;
static bool can_map;

/* Writes one page, keeps it, writes another and takes it back: what a sandbox without pagemap gets wrong shows here. */
static void probe(void) {
    ss_heap_image *heap;
    if (ss_heap_image_new(WASM_PAGE, WASM_PAGE, SS_HEAP_MAPPED, &heap) != SS_OK) return;
    if (ss_heap_image_grow(heap, WASM_PAGE) == SS_OK) {
        volatile uint8_t *bytes = heap->base;
        bytes[0] = 7;
        bool kept = ss_heap_image_commit(heap) == SS_OK && heap->changed == 1 && heap->image[0] == 7 && bytes[0] == 7;
        bytes[OS_PAGE] = 9;
        can_map =
            kept && ss_heap_image_rollback(heap) == SS_OK && bytes[0] == 7 && bytes[OS_PAGE] == 0 && sysconf(_SC_PAGESIZE) == (long)OS_PAGE;
    }
    ss_heap_image_release(heap);
}

bool ss_heap_image_can_map(void) {
    pthread_once(&probe_once, probe);
    return can_map;
}
