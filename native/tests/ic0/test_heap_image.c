/* SPDX-License-Identifier: Apache-2.0 */
/* Heaps that can be put back: both kinds against a plain copy, growth, copies, forks, heaps over a file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "ic0/heap_image.h"
#include "support/check.h"

#define WASM_PAGE UINT64_C(65536)
#define MAX (64 * WASM_PAGE)

static ss_heap_image *new_heap(int kind, uint64_t pages) {
    ss_heap_image *heap = NULL;
    CHECK_EQ(ss_heap_image_new(MAX, MAX + WASM_PAGE, kind, &heap), SS_OK);
    CHECK_EQ(ss_heap_image_grow(heap, pages * WASM_PAGE), SS_OK);
    CHECK_EQ(ss_heap_image_commit(heap), SS_OK);
    return heap;
}

static uint64_t state = 88172645463325252;

static uint64_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void a_rollback_gives_back_every_byte(int kind) {
    ss_heap_image *heap = new_heap(kind, 8);
    uint64_t size = 8 * WASM_PAGE;
    uint8_t *model = calloc(1, MAX), *trial = malloc(MAX);
    CHECK_EQ(ss_heap_image_is_mapped(heap), kind == SS_HEAP_MAPPED);
    for (int round = 0; round < 200; round++) {
        uint64_t now = size;
        memcpy(trial, model, size);
        for (int i = 0; i < 20; i++) {
            uint64_t at = next_random() % now;
            ss_heap_image_base(heap)[at] = trial[at] = (uint8_t)next_random();
        }
        if (round % 17 == 0 && now < MAX - WASM_PAGE) {
            now += WASM_PAGE;
            CHECK_EQ(ss_heap_image_grow(heap, now), SS_OK);
            memset(trial + now - WASM_PAGE, 0, WASM_PAGE);
            ss_heap_image_base(heap)[now - 1] = trial[now - 1] = 9;
        }
        if (next_random() % 2 == 0) {
            CHECK_EQ(ss_heap_image_commit(heap), SS_OK);
            CHECK(ss_heap_image_changed(heap) <= 21);
            size = now;
            memcpy(model, trial, size);
        } else {
            CHECK_EQ(ss_heap_image_rollback(heap), now > size ? SS_ABSENT : SS_OK);
        }
        CHECK_EQ(ss_heap_image_size(heap), size);
        CHECK(memcmp(ss_heap_image_base(heap), model, size) == 0);
    }
    free(model);
    free(trial);
    ss_heap_image_release(heap);
}

static void what_comes_back_is_zero(int kind) {
    ss_heap_image *heap = new_heap(kind, 1);
    CHECK_EQ(ss_heap_image_grow(heap, 3 * WASM_PAGE), SS_OK);
    memset(ss_heap_image_base(heap) + WASM_PAGE, 7, 2 * WASM_PAGE);
    CHECK_EQ(ss_heap_image_rollback(heap), SS_ABSENT);
    CHECK_EQ(ss_heap_image_grow(heap, 3 * WASM_PAGE), SS_OK);
    for (uint64_t at = WASM_PAGE; at < 3 * WASM_PAGE; at += 4096) CHECK_EQ(ss_heap_image_base(heap)[at], 0);
    ss_heap_image_release(heap);
}

static void a_clone_is_apart(int kind) {
    ss_heap_image *heap = new_heap(kind, 2), *other = NULL;
    ss_heap_image_base(heap)[5] = 5; /* not committed: a clone is of now */
    CHECK_EQ(ss_heap_image_clone(heap, &other), SS_OK);
    CHECK_EQ(ss_heap_image_rollback(heap), SS_OK);
    CHECK_EQ(ss_heap_image_base(other)[5], 5);
    CHECK_EQ(ss_heap_image_rollback(other), SS_OK);
    CHECK_EQ(ss_heap_image_base(other)[5], 5);
    CHECK_EQ(ss_heap_image_base(heap)[5], 0);
    ss_heap_image_release(heap);
    ss_heap_image_release(other);
}

static void limits_are_kept(int kind) {
    ss_heap_image *heap = new_heap(kind, 1), *none = NULL;
    uint8_t byte;
    CHECK_EQ(ss_heap_image_grow(heap, MAX + WASM_PAGE), SS_OUT_OF_MEMORY);
    CHECK_EQ(ss_heap_image_read(heap, WASM_PAGE, &byte, 1), SS_OUT_OF_BOUNDS);
    CHECK_EQ(ss_heap_image_read(heap, UINT64_MAX, &byte, 2), SS_OUT_OF_BOUNDS);
    CHECK_EQ(ss_heap_image_write(heap, WASM_PAGE - 1, "xy", 2), SS_OUT_OF_BOUNDS);
    CHECK_EQ(ss_heap_image_write(heap, WASM_PAGE, NULL, 0), SS_OK);
    CHECK_EQ(ss_heap_image_new(0, MAX, kind, &none), SS_ARGUMENT);
    CHECK_EQ(ss_heap_image_new(MAX, WASM_PAGE, kind, &none), SS_ARGUMENT);
    ss_heap_image_release(heap);
}

static void parent_and_child_are_apart(int kind) {
    ss_heap_image *heap = new_heap(kind, 2);
    ss_heap_image_base(heap)[0] = 1;
    CHECK_EQ(ss_heap_image_commit(heap), SS_OK);
    int pipes[2];
    CHECK_EQ(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        int good = read(pipes[0], &byte, 1) == 1 && ss_heap_image_base(heap)[0] == 1;
        ss_heap_image_base(heap)[0] = 3;
        good = good && ss_heap_image_commit(heap) == SS_OK && ss_heap_image_base(heap)[0] == 3;
        ss_heap_image_base(heap)[0] = 4;
        for (int i = 0; i < 20; i++) good = good && ss_heap_image_rollback(heap) == SS_OK && ss_heap_image_base(heap)[0] == 3;
        _exit(good ? 0 : 1);
    }
    ss_heap_image_base(heap)[0] = 2;
    CHECK_EQ(ss_heap_image_commit(heap), SS_OK);
    CHECK_EQ(write(pipes[1], "x", 1), 1);
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQ(status, 0);
    ss_heap_image_base(heap)[0] = 9;
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(ss_heap_image_rollback(heap), SS_OK);
        CHECK_EQ(ss_heap_image_base(heap)[0], 2);
    }
    ss_heap_image_release(heap);
}

/* The image of both is one file until a commit: the smaller heap must not make it short. */
static void growth_after_a_fork_takes_nothing_away(int kind) {
    ss_heap_image *heap = new_heap(kind, 3);
    int done[2];
    CHECK_EQ(pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(done[1]);
        bool right = read(done[0], &byte, 1) == 1 && ss_heap_image_grow(heap, 5 * WASM_PAGE) == SS_OK;
        for (uint64_t at = 0; at < 5 * WASM_PAGE; at += 4096) right = right && ss_heap_image_base(heap)[at] == 0;
        _exit(right ? 0 : 1);
    }
    CHECK_EQ(ss_heap_image_grow(heap, 10 * WASM_PAGE), SS_OK);
    ss_heap_image_base(heap)[8 * WASM_PAGE] = 8;
    CHECK_EQ(write(done[1], "x", 1), 1);
    int status = -1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    for (uint64_t at = 0; at < 10 * WASM_PAGE; at += 4096) CHECK_EQ(ss_heap_image_base(heap)[at], at == 8 * WASM_PAGE ? 8 : 0);
    close(done[0]);
    close(done[1]);
    ss_heap_image_release(heap);
}

static void write_file(const char *path, uint64_t pages) {
    FILE *file = fopen(path, "wb");
    uint8_t page[4096];
    for (uint64_t i = 0; i < pages * 16; i++) {
        memset(page, (int)(i % 251), sizeof page);
        CHECK_EQ(fwrite(page, 1, sizeof page, file), sizeof page);
    }
    fclose(file);
}

/* Whether the process has a page of its own there: present or swapped, and not of the file. */
static int is_private(const uint8_t *page) {
    uint64_t entry = 0;
    int pagemap = open("/proc/self/pagemap", O_RDONLY); /* not fopen: a file of whole entries, and musl reads ahead in odd sizes */
    CHECK_EQ(pread(pagemap, &entry, sizeof entry, (off_t)((uintptr_t)page / 4096 * 8)), sizeof entry);
    close(pagemap);
    return (entry >> 62) != 0 && (entry >> 61 & 1) == 0;
}

/* The first page changes in every message, the others never again: they go, by commits and by rollbacks, and their bytes stay. */
static void idle_pages_are_dropped(ss_heap_image *heap, int commits, uint64_t pages) {
    uint8_t *base = ss_heap_image_base(heap);
    for (int twice = 0; twice < 2; twice++) { /* the first commit of a heap over a file moves its chunks */
        for (uint64_t i = 0; i < pages; i++) base[i * 4096] = (uint8_t)(i + (uint64_t)twice);
        CHECK_EQ(ss_heap_image_commit(heap), SS_OK);
    }
    for (uint64_t i = 0; i < pages; i++) CHECK(is_private(base + i * 4096));
    for (int message = 0; message < 20; message++) {
        base[0]++;
        CHECK_EQ(commits ? ss_heap_image_commit(heap) : ss_heap_image_rollback(heap), SS_OK);
        CHECK_EQ(base[0], commits ? message + 2 : 1);
    }
    CHECK(is_private(base));
    for (uint64_t i = 1; i < pages; i++) {
        CHECK(!is_private(base + i * 4096));
        CHECK_EQ(base[i * 4096], i + 1);
        base[i * 4096] = 0;
    }
    CHECK_EQ(ss_heap_image_rollback(heap), SS_OK);
    for (uint64_t i = 1; i < pages; i++) CHECK_EQ(base[i * 4096], i + 1);
}

static void idle_pages_of_any_heap_are_dropped(void) {
    char path[] = "/tmp/ss_heap_XXXXXX";
    close(mkstemp(path));
    write_file(path, 8);
    for (int commits = 0; commits <= 1; commits++) {
        ss_heap_image *own = new_heap(SS_HEAP_MAPPED, 8), *over = NULL;
        CHECK_EQ(ss_heap_image_new(MAX, MAX, SS_HEAP_MAPPED, &over), SS_OK);
        CHECK_EQ(ss_heap_image_load(over, path, 8 * WASM_PAGE), SS_OK);
        idle_pages_are_dropped(own, commits, 100);
        idle_pages_are_dropped(over, commits, 100);
        ss_heap_image_release(own);
        ss_heap_image_release(over);
    }
    remove(path);
}

static void a_file_is_begun_with_and_never_written(int kind) {
    char path[] = "/tmp/ss_heap_XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0);
    close(file);
    enum { PAGES = 11 };
    write_file(path, PAGES);
    ss_heap_image *heap = NULL;
    CHECK_EQ(ss_heap_image_new(MAX, MAX, kind, &heap), SS_OK);
    CHECK_EQ(ss_heap_image_load(heap, path, (PAGES + 1) * WASM_PAGE), SS_SYSTEM);
    CHECK_EQ(ss_heap_image_load(heap, path, PAGES * WASM_PAGE), SS_OK);
    uint8_t *base = ss_heap_image_base(heap);
    for (int i = 0; i < 400; i++) {
        uint64_t page = next_random() % (PAGES * 16);
        uint8_t before = base[page * 4096 + 100], byte = (uint8_t)next_random();
        base[page * 4096 + 100] = byte;
        if (i % 3 == 0) {
            CHECK_EQ(ss_heap_image_rollback(heap), SS_OK);
            CHECK_EQ(base[page * 4096 + 100], before);
        } else {
            CHECK_EQ(ss_heap_image_commit(heap), SS_OK);
            CHECK_EQ(base[page * 4096 + 100], byte);
        }
        CHECK_EQ(base[page * 4096 + 99], page % 251);
    }
    CHECK_EQ(ss_heap_image_grow(heap, (PAGES + 2) * WASM_PAGE), SS_OK);
    base[PAGES * WASM_PAGE] = 77;
    CHECK_EQ(ss_heap_image_commit(heap), SS_OK);
    base[PAGES * WASM_PAGE] = 78;
    CHECK_EQ(ss_heap_image_rollback(heap), SS_OK);
    CHECK_EQ(base[PAGES * WASM_PAGE], 77);
    ss_heap_image_release(heap);
    FILE *again = fopen(path, "rb");
    uint8_t page[4096];
    for (uint64_t i = 0; i < PAGES * 16; i++) {
        CHECK_EQ(fread(page, 1, sizeof page, again), sizeof page);
        CHECK_EQ(page[100], i % 251);
    }
    fclose(again);
    remove(path);
}

#define MOST_MAPPINGS (UINT64_C(1) << 18)

/* Takes all mappings that the process may still have; NULL if the system allows more than a test should take. */
static uint8_t *take_mappings(void) {
    size_t pages = 2 * MOST_MAPPINGS;
    uint8_t *all = mmap(NULL, pages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) return NULL;
    for (size_t page = 1; page < pages; page += 2) {
        if (mprotect(all + page * 4096, 4096, PROT_READ) != 0) return all;
    }
    munmap(all, pages * 4096);
    return NULL;
}

static void give_mappings_back(uint8_t *all) {
    munmap(all, 2 * MOST_MAPPINGS * 4096);
}

/* In every second chunk of 256 KiB: between two that have moved one more needs no new mapping. */
static void change_pages(ss_heap_image *heap, uint8_t *model, uint64_t size, uint64_t pages) {
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t at = next_random() % size & ~(UINT64_C(1) << 18);
        ss_heap_image_base(heap)[at] = model[at] = (uint8_t)next_random();
    }
}

/* Commits and rollbacks of few and of many pages; the model is the committed state. Takes no memory: there may be none. */
static void go_on_and_compare(ss_heap_image *heap, uint8_t *model, uint8_t *trial, uint64_t size) {
    for (int round = 0; round < 60; round++) {
        memcpy(trial, model, size);
        change_pages(heap, trial, size, round % 5 == 4 ? 400 : 3);
        if (round % 3 == 0) {
            CHECK_EQ(ss_heap_image_rollback(heap), SS_OK);
        } else {
            CHECK_EQ(ss_heap_image_commit(heap), SS_OK);
            memcpy(model, trial, size);
        }
        CHECK(memcmp(ss_heap_image_base(heap), model, size) == 0);
    }
}

/* Over a file chunks move one by one, each a mapping of its own; with a fork before, all of base has to stand on another file. */
static void a_commit_is_whole_where_no_mapping_is_left(bool over_file, bool forked) {
    enum { PAGES = 60 };
    uint64_t size = PAGES * WASM_PAGE;
    char path[] = "/tmp/test_heap_image_mappings_XXXXXX";
    close(mkstemp(path));
    write_file(path, PAGES);
    ss_heap_image *heap = new_heap(SS_HEAP_MAPPED, over_file ? 0 : PAGES);
    if (over_file) CHECK_EQ(ss_heap_image_load(heap, path, size), SS_OK);
    uint8_t *model = malloc(size), *trial = malloc(size);
    memcpy(model, ss_heap_image_base(heap), size);
    change_pages(heap, model, size, 1);
    CHECK_EQ(ss_heap_image_commit(heap), SS_OK);
    if (forked) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        CHECK_EQ(waitpid(child, NULL, 0), child);
    }
    change_pages(heap, model, size, 1);
    uint8_t *mappings = take_mappings();
    if (mappings != NULL) {
        int status = ss_heap_image_commit(heap); /* a fork needs an image of its own, for which there is no mapping */
        if (!forked) CHECK_EQ(status, SS_OK);
        if (!forked) go_on_and_compare(heap, model, trial, size);
        if (forked) CHECK(memcmp(ss_heap_image_base(heap), model, size) == 0);
        give_mappings_back(mappings);
    }
    CHECK_EQ(ss_heap_image_commit(heap), SS_OK);
    go_on_and_compare(heap, model, trial, size);
    idle_pages_are_dropped(heap, 1, PAGES);
    free(model);
    free(trial);
    ss_heap_image_release(heap);
    remove(path);
}

int main(void) {
    for (int kind = SS_HEAP_MAPPED; kind <= SS_HEAP_COPYING; kind++) {
        if (kind == SS_HEAP_MAPPED && !ss_heap_image_can_map()) continue;
        a_rollback_gives_back_every_byte(kind);
        what_comes_back_is_zero(kind);
        a_clone_is_apart(kind);
        limits_are_kept(kind);
        parent_and_child_are_apart(kind);
        growth_after_a_fork_takes_nothing_away(kind);
        a_file_is_begun_with_and_never_written(kind);
    }
    if (ss_heap_image_can_map()) {
        idle_pages_of_any_heap_are_dropped();
        for (int way = 0; way < 4; way++) a_commit_is_whole_where_no_mapping_is_left((way & 1) != 0, (way & 2) != 0);
    }
    return check_summary();
}
