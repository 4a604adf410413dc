/* SPDX-License-Identifier: Apache-2.0 */
/* One node as a survey sees it: parsed as untrusted input. Layouts in node_layout.h. */
#ifndef SS_SURVEY_INTERNAL_H
#define SS_SURVEY_INTERNAL_H

#include "structures/node.h"
#include "structures/node_layout.h"
#include "structures/survey.h"

/* The chunks of a map: a grid of equal steps from byte 100 on. */
typedef struct ss_seen_space {
    ss_memory *memory;
    ss_map_frame frame;
    uint64_t stride, chunks;
    uint64_t steps_left; /* along chains, of all nodes: ends what chains of hostile nodes share */
} ss_seen_space;

/* Steps that the chains of all nodes may take together; sound ones have as many as there are chunks, at most. */
static inline uint64_t ss_seen_steps(const ss_seen_space *space) {
    return space->chunks * 16 + 1024;
}

/* SS_ARGUMENT if no map can lie like this. */
int ss_seen_check_frame(const ss_map_frame *frame);
void ss_seen_space_init(ss_seen_space *space, ss_memory *memory, const ss_map_frame *frame);

/* Bytes whose room stays from node to node. */
typedef struct ss_seen_bytes {
    uint8_t *at;
    uint64_t size, room;
} ss_seen_bytes;

int ss_seen_reserve(ss_seen_bytes *bytes, uint64_t more);

/* An opened node. Keys point into `first` or `apart`; values are where they lie in the run. Begins as {0}; what it holds is used
 * again for the next node. */
typedef struct ss_seen_node {
    uint64_t address, end;
    uint32_t count, version;
    bool leaf;
    uint64_t children[SS_CHILDREN];
    const uint8_t *keys[SS_CAPACITY];
    uint64_t key_sizes[SS_CAPACITY];
    uint64_t value_at[SS_CAPACITY], value_sizes[SS_CAPACITY];
    ss_seen_bytes first; /* the chunk with its header */
    ss_seen_bytes apart; /* keys that do not lie in the first page */
    ss_seen_bytes chain; /* addresses of overflow pages, 8 bytes each */
    uint64_t page_count, following;
} ss_seen_node;

void ss_seen_node_free(ss_seen_node *node);
/* Reads the node with every rule on its own bytes: SS_OK; SS_CORRUPT and the broken rule in *note; an error of reading. */
int ss_seen_node_read(ss_seen_space *space, uint64_t address, ss_seen_node *node, ss_survey_note *note);
/* Bytes of a node that was read: they are there. */
int ss_seen_node_copy(ss_seen_space *space, ss_seen_node *node, uint64_t offset, uint64_t length, uint8_t *to);
uint64_t ss_seen_page(const ss_seen_node *node, uint64_t index);

/* The number of the chunk whose data are at `address`; SS_CORRUPT off the grid or outside. */
int ss_seen_index(const ss_seen_space *space, uint64_t address, uint64_t *index, ss_survey_note *note);
/* A note of numbers, as SS_CORRUPT. */
int ss_seen_wrong(ss_survey_note *note, int rule, uint64_t address, uint64_t found, uint64_t expected);
int ss_seen_wrong_bytes(ss_survey_note *note, int rule, uint64_t address, const uint8_t *bytes, uint32_t size);
int ss_notes_add(ss_survey_notes *notes, const ss_survey_note *note);

/* One more element that could be read. */
static inline void ss_elements_count(struct ss_elements_stats *stats, uint64_t size) {
    stats->count++;
    if (size < stats->least) stats->least = size;
    if (size > stats->most) stats->most = size;
}

#endif
