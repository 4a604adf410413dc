/* SPDX-License-Identifier: Apache-2.0 */
/* How much a survey of a map reads where nodes lead to each other in circles: about as much as the memory has, however large they are. */
#include "structures/node_layout.h"
#include "structures/survey.h"
#include "support/memories.h"

enum { MOST_NODES = 300 };

/* An array behind callbacks that counts what is read of it. */
typedef struct counted {
    uint8_t *bytes;
    uint64_t size, read;
} counted;

static int counted_size(void *self, uint64_t *pages) {
    *pages = ((counted *)self)->size / SS_PAGE_SIZE;
    return SS_OK;
}

static int counted_read(void *self, uint64_t offset, void *to, uint64_t length) {
    counted *from = self;
    from->read += length;
    memcpy(to, from->bytes + offset, length);
    return SS_OK;
}

static const ss_foreign_ops counted_ops = {.size = counted_size, .read = counted_read};

/* Internal nodes of `page` bytes, each with 12 children among them. */
static counted circles(uint64_t page, uint64_t nodes) {
    uint64_t stride = page + SS_CHUNK_HEADER, size = ss_round_up(SS_FIRST_CHUNK + nodes * stride + SS_CHUNK_HEADER, SS_PAGE_SIZE);
    counted made = {calloc(1, size), size, 0};
    for (uint64_t i = 0; i < nodes; i++) {
        uint8_t *chunk = made.bytes + SS_FIRST_CHUNK + i * stride, *node = chunk + SS_CHUNK_HEADER;
        ss_put64(chunk, SS_ALLOCATED_CHUNK);
        memcpy(node, SS_NODE_MAGIC "\2\1\13", 6);
        for (uint64_t child = 0; child < SS_CHILDREN; child++) {
            ss_put64(node + SS_NODE_HEADER + 8 * child, SS_FIRST_CHUNK + random_below(nodes) * stride + SS_CHUNK_HEADER);
        }
    }
    return made;
}

static void survey(counted *bytes, uint64_t page, uint64_t room) {
    ss_memory *memory;
    ss_map_survey *made;
    ss_map_frame frame = {.bytes = bytes->size,
                          .page = page,
                          .key_fixed = SS_NOT_FIXED,
                          .value_fixed = SS_NOT_FIXED,
                          .key_max = UINT32_MAX,
                          .value_max = UINT32_MAX,
                          .root = SS_FIRST_CHUNK + SS_CHUNK_HEADER,
                          .order = SS_SEEN_BYTES};
    CHECK_EQ(ss_memory_new_foreign(&counted_ops, bytes, &memory), SS_OK);
    if (!CHECK_EQ(ss_map_survey_new(memory, &frame, NULL, 0, 10, room, &made), SS_OK)) return;
    while (ss_map_survey_step(made, 10) == SS_OK) continue;
    CHECK(ss_map_survey_notes(made)->count > 0);
    CHECK(ss_map_survey_stats(made)->nodes <= ss_map_survey_stats(made)->chunks);
    ss_map_survey_free(made);
    ss_memory_release(memory);
}

/* Once to find the depth of a leaf, and once for the survey; the last chunk may be cut off. */
static void circles_are_read_twice_at_most(void) {
    static const uint64_t pages[] = {128, 1024, 60000, 1000000};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        for (uint64_t nodes = 1; nodes <= MOST_NODES && nodes * pages[i] < 10000000; nodes = nodes * 3 + 1) {
            for (uint64_t room = 0; room <= 1 << 20; room += 1 << 20) {
                counted bytes = circles(pages[i], nodes);
                survey(&bytes, pages[i], room);
                CHECK(bytes.read <= 2 * (bytes.size + pages[i] + SS_CHUNK_HEADER));
                free(bytes.bytes);
            }
        }
    }
}

int main(void) {
    circles_are_read_twice_at_most();
    return check_summary();
}
