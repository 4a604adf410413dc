/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one node of a map without believing it (docs/format.md#b-tree-map, "Nodes"; pictures in node_layout.h).
 *
 *  V1  Nothing is read outside of a chunk that lies whole inside the memory.
 *  V2  A chain is followed at most once around all chunks, and all nodes together take no more steps than a multiple of them.
 *  V3  Sums of numbers that were read are made of 32-bit sizes and counts of at most 11, so they do not overflow 64 bits.
 */
#include <stdlib.h>

#include "structures/survey_internal.h"

int ss_seen_check_frame(const ss_map_frame *frame) {
    uint64_t most = UINT32_MAX, derived = ss_node_v1_size(frame->slot_key, frame->slot_value);
    bool sizes = frame->slot_key <= most && frame->slot_value <= most && (frame->key_fixed == SS_NOT_FIXED || frame->key_fixed <= most);
    bool has_slots = frame->slot_key != 0 || frame->slot_value != 0;
    bool fits = sizes && frame->page >= SS_LEAST_PAGE && frame->page <= UINT64_C(1) << 40 && (!has_slots || frame->page >= derived);
    return fits && frame->bytes <= UINT64_MAX / 4 ? SS_OK : ss_fail(SS_ARGUMENT, "the frame of a map", 0, frame->page, frame->bytes);
}

void ss_seen_space_init(ss_seen_space *space, ss_memory *memory, const ss_map_frame *frame) {
    *space = (ss_seen_space){.memory = memory, .frame = *frame, .stride = frame->page + SS_CHUNK_HEADER};
    uint64_t least = SS_FIRST_CHUNK + SS_CHUNK_HEADER;
    space->chunks = frame->bytes < least ? 0 : (frame->bytes - least) / space->stride + 1;
    space->steps_left = ss_seen_steps(space);
}

int ss_seen_reserve(ss_seen_bytes *bytes, uint64_t more) {
    if (bytes->room - bytes->size >= more) return SS_OK;
    uint64_t room = bytes->size + more > bytes->room * 2 ? bytes->size + more : bytes->room * 2;
    uint8_t *at = room > SIZE_MAX / 2 ? NULL : realloc(bytes->at, (size_t)room);
    if (at == NULL) return ss_fail(SS_NO_HEAP, "a survey", 0, room, 0);
    bytes->at = at;
    bytes->room = room;
    return SS_OK;
}

void ss_seen_node_free(ss_seen_node *node) {
    free(node->first.at);
    free(node->apart.at);
    free(node->chain.at);
    *node = (ss_seen_node){0};
}

/* ---- notes ---- */

int ss_seen_wrong(ss_survey_note *note, int rule, uint64_t address, uint64_t found, uint64_t expected) {
    note->rule = rule;
    note->address = address, note->found = found, note->expected = expected;
    note->a_size = note->b_size = 0;
    return SS_CORRUPT;
}

int ss_seen_wrong_bytes(ss_survey_note *note, int rule, uint64_t address, const uint8_t *bytes, uint32_t size) {
    (void)ss_seen_wrong(note, rule, address, 0, 0);
    note->a_size = size;
    memcpy(note->a, bytes, size);
    return SS_CORRUPT;
}

int ss_notes_add(ss_survey_notes *notes, const ss_survey_note *note) {
    notes->count++;
    if (notes->kept == notes->limit) return SS_OK;
    if (notes->kept == notes->room) {
        uint64_t room = notes->room == 0 ? 16 : notes->room * 2;
        ss_survey_note *list = realloc(notes->list, (size_t)room * sizeof *list);
        if (list == NULL) return ss_fail(SS_NO_HEAP, "notes of a survey", 0, room, 0);
        notes->list = list;
        notes->room = room;
    }
    notes->list[notes->kept++] = *note;
    return SS_OK;
}

ss_survey_notes *ss_survey_notes_new(uint64_t limit) {
    ss_survey_notes *notes = calloc(1, sizeof *notes);
    if (notes != NULL) notes->limit = limit;
    return notes;
}

void ss_survey_notes_free(ss_survey_notes *notes) {
    if (notes == NULL) return;
    free(notes->list);
    free(notes);
}

/* ---- chunks ---- */

int ss_seen_index(const ss_seen_space *space, uint64_t address, uint64_t *index, ss_survey_note *note) {
    uint64_t first = SS_FIRST_CHUNK + SS_CHUNK_HEADER, end;
    if (address < first) {
        return ss_seen_wrong(note, SS_RULE_GRID, address, space->stride - 1 - (first - 1 - address) % space->stride, 0);
    }
    uint64_t rest = (address - first) % space->stride;
    if (rest != 0) return ss_seen_wrong(note, SS_RULE_GRID, address, rest, 0);
    if (!ss_add(address, space->frame.page, &end) || end > space->frame.bytes) {
        return ss_seen_wrong(note, SS_RULE_CHUNK_INSIDE, address, space->frame.page, space->frame.bytes);
    }
    *index = (address - first) / space->stride;
    return SS_OK;
}

/* The header of an allocated chunk. */
static int check_header(const uint8_t *header, uint64_t address, ss_survey_note *note) {
    uint64_t chunk = address - SS_CHUNK_HEADER;
    uint8_t allocated = header[SS_CHUNK_ALLOCATED_AT];
    bool begins = ss_get32(header) == ss_magic_number(SS_CHUNK_MAGIC, 1);
    if (!begins) return ss_seen_wrong_bytes(note, SS_RULE_CHUNK_MAGIC, chunk, header, 4);
    if (allocated != 1) return ss_seen_wrong(note, SS_RULE_ALLOCATED, chunk + SS_CHUNK_ALLOCATED_AT, allocated, 1);
    return SS_OK;
}

static int read_chunk(ss_seen_space *space, uint64_t address, ss_seen_node *node, ss_survey_note *note) {
    uint64_t index;
    int status = ss_seen_index(space, address, &index, note);
    if (status != SS_OK) return status;
    node->first.size = 0;
    status = ss_seen_reserve(&node->first, space->stride);
    if (status == SS_OK) status = ss_memory_read(space->memory, address - SS_CHUNK_HEADER, node->first.at, space->stride);
    return status == SS_OK ? check_header(node->first.at, address, note) : status;
}

/* ---- the run ---- */

static const uint8_t *page_of(const ss_seen_node *node) {
    return node->first.at + SS_CHUNK_HEADER;
}

uint64_t ss_seen_page(const ss_seen_node *node, uint64_t index) {
    return ss_get64(node->chain.at + index * 8);
}

/* The next overflow page becomes known. */
static int step(ss_seen_space *space, ss_seen_node *node, ss_survey_note *note) {
    uint64_t at = node->following, index;
    uint8_t bytes[SS_CHUNK_HEADER + SS_OVERFLOW_HEADER];
    if (space->steps_left == 0) return ss_seen_wrong(note, SS_RULE_ONCE, at, SS_REACHED_OVERFLOW, SS_REACHED_OVERFLOW);
    space->steps_left--;
    int status = ss_seen_index(space, at, &index, note);
    if (status == SS_OK) status = ss_memory_read(space->memory, at - SS_CHUNK_HEADER, bytes, sizeof bytes);
    if (status == SS_OK) status = check_header(bytes, at, note);
    if (status != SS_OK) return status;
    const uint8_t *data = bytes + SS_CHUNK_HEADER;
    if (memcmp(data, SS_OVERFLOW_MAGIC, SS_MAGIC_SIZE) != 0) {
        return ss_seen_wrong_bytes(note, SS_RULE_OVERFLOW_MAGIC, at, data, SS_MAGIC_SIZE);
    }
    if (node->page_count > space->chunks) {
        return ss_seen_wrong(note, SS_RULE_CHAIN_CIRCLE, node->address, node->page_count, space->chunks);
    }
    node->chain.size = node->page_count * 8;
    status = ss_seen_reserve(&node->chain, 8);
    if (status != SS_OK) return status;
    ss_put64(node->chain.at + node->page_count++ * 8, at);
    node->following = ss_get64(data + SS_OVERFLOW_NEXT_AT);
    return SS_OK;
}

/* Overflow pages up to this one are known. */
static int reach_page(ss_seen_space *space, ss_seen_node *node, uint64_t index, ss_survey_note *note) {
    while (index >= node->page_count) {
        if (node->following == 0) return ss_seen_wrong(note, SS_RULE_CHAIN_SHORT, node->address, node->page_count, index + 1);
        int status = step(space, node, note);
        if (status != SS_OK) return status;
    }
    return SS_OK;
}

/* That bytes [offset, offset + length) of the run are there. */
static int reach(ss_seen_space *space, ss_seen_node *node, uint64_t offset, uint64_t length, ss_survey_note *note) {
    uint64_t page = space->frame.page, end = offset + length;
    if (end <= page) return SS_OK;
    if (length > space->frame.bytes) return ss_seen_wrong(note, SS_RULE_RUN_INSIDE, node->address, length, space->frame.bytes);
    uint64_t inside = offset > page ? offset - page : 0, room = page - SS_OVERFLOW_HEADER;
    if (end - page <= inside) return SS_OK;
    int status = SS_OK;
    for (uint64_t i = inside / room; i <= (end - page - 1) / room && status == SS_OK; i++) status = reach_page(space, node, i, note);
    return status;
}

int ss_seen_node_copy(ss_seen_space *space, ss_seen_node *node, uint64_t offset, uint64_t length, uint8_t *to) {
    uint64_t page = space->frame.page, room = page - SS_OVERFLOW_HEADER;
    while (length > 0) {
        uint64_t run;
        if (offset < page) {
            run = page - offset < length ? page - offset : length;
            memcpy(to, page_of(node) + offset, (size_t)run);
        } else {
            uint64_t index = (offset - page) / room, inside = (offset - page) % room;
            run = room - inside < length ? room - inside : length;
            int status = ss_memory_read(space->memory, ss_seen_page(node, index) + SS_OVERFLOW_HEADER + inside, to, run);
            if (status != SS_OK) return status;
        }
        to += run, offset += run, length -= run;
    }
    return SS_OK;
}

static int read_run(ss_seen_space *space, ss_seen_node *node, uint64_t offset, uint64_t length, uint8_t *to, ss_survey_note *note) {
    int status = reach(space, node, offset, length, note);
    return status == SS_OK ? ss_seen_node_copy(space, node, offset, length, to) : status;
}

static int read_u32(ss_seen_space *space, ss_seen_node *node, uint64_t offset, uint32_t *number, ss_survey_note *note) {
    uint8_t bytes[4];
    if (SS_LIKELY(offset + 4 <= space->frame.page)) {
        *number = ss_get32(page_of(node) + offset);
        return SS_OK;
    }
    int status = read_run(space, node, offset, 4, bytes, note);
    if (status == SS_OK) *number = ss_get32(bytes);
    return status;
}

/* ---- keys and values ---- */

/* A key that reaches behind the first page is copied; until the node is read, `keys` has where in `apart`, and behind it NULL. */
static int take_key(ss_seen_space *space, ss_seen_node *node, uint32_t i, uint64_t offset, uint64_t size, ss_survey_note *note) {
    node->key_sizes[i] = size;
    node->keys[i] = NULL;
    if (SS_LIKELY(offset + size <= space->frame.page)) {
        node->keys[i] = page_of(node) + offset;
        return SS_OK;
    }
    int status = reach(space, node, offset, size, note);
    if (status == SS_OK) status = ss_seen_reserve(&node->apart, size + 1);
    if (status == SS_OK) status = ss_seen_node_copy(space, node, offset, size, node->apart.at + node->apart.size);
    if (status == SS_OK) node->apart.size += size;
    return status;
}

static void settle_keys(ss_seen_node *node) {
    uint64_t used = 0;
    for (uint32_t i = 0; i < node->count; i++) {
        if (node->keys[i] != NULL) continue;
        node->keys[i] = node->apart.at + used;
        used += node->key_sizes[i];
    }
}

static int read_fixed_keys(ss_seen_space *space, ss_seen_node *node, uint64_t *at, ss_survey_note *note) {
    uint64_t size = space->frame.key_fixed;
    int status = reach(space, node, *at, node->count * size, note);
    for (uint32_t i = 0; i < node->count && status == SS_OK; i++, *at += size) status = take_key(space, node, i, *at, size, note);
    return status;
}

static int read_keys(ss_seen_space *space, ss_seen_node *node, uint64_t *at, ss_survey_note *note) {
    if (space->frame.key_fixed != SS_NOT_FIXED) return read_fixed_keys(space, node, at, note);
    for (uint32_t i = 0; i < node->count; i++) {
        uint32_t size = 0;
        int status = read_u32(space, node, *at, &size, note);
        if (status == SS_OK && size > space->frame.key_max) {
            status = ss_seen_wrong(note, SS_RULE_KEY_SIZE, node->address, size, space->frame.key_max);
        }
        if (status == SS_OK) status = take_key(space, node, i, *at + 4, size, note);
        if (status != SS_OK) return status;
        *at += 4 + (uint64_t)size;
    }
    return SS_OK;
}

static int read_values(ss_seen_space *space, ss_seen_node *node, uint64_t *at, ss_survey_note *note) {
    const ss_map_frame *frame = &space->frame;
    for (uint32_t i = 0; i < node->count; i++) {
        uint32_t size = 0;
        int status = read_u32(space, node, *at, &size, note);
        if (status != SS_OK) return status;
        if (size > frame->value_max || (frame->value_fixed != SS_NOT_FIXED && size != frame->value_fixed)) {
            return ss_seen_wrong(note, SS_RULE_VALUE_SIZE, node->address, size, frame->value_max);
        }
        node->value_at[i] = *at + 4;
        node->value_sizes[i] = size;
        *at += 4 + (uint64_t)size;
    }
    return SS_OK;
}

/* The chain ends where the entries end. */
static int finish(ss_seen_space *space, ss_seen_node *node, ss_survey_note *note) {
    uint64_t page = space->frame.page, room = page - SS_OVERFLOW_HEADER;
    uint64_t needed = node->end <= page ? 0 : (node->end - page + room - 1) / room;
    int status = needed > 0 ? reach_page(space, node, needed - 1, note) : SS_OK;
    if (status != SS_OK) return status;
    if (node->following == 0 && node->page_count == needed) return SS_OK;
    return ss_seen_wrong(note, SS_RULE_CHAIN_LONG, node->address, node->page_count + 1, needed);
}

/* ---- layouts ---- */

static int check_node(const ss_map_frame *frame, uint64_t address, const uint8_t *page, ss_survey_note *note) {
    uint32_t version = page[SS_VERSION_AT], type = page[SS_NODE_TYPE_AT], count = ss_get16(page + SS_NODE_COUNT_AT);
    bool begins = memcmp(page, SS_NODE_MAGIC, SS_MAGIC_SIZE) == 0;
    if (!begins) return ss_seen_wrong_bytes(note, SS_RULE_NODE_MAGIC, address, page, SS_MAGIC_SIZE);
    bool known = version == 2 || (version == 1 && (frame->slot_value != 0 || frame->slot_key != 0));
    if (!known) return ss_seen_wrong(note, SS_RULE_LAYOUT, address + SS_VERSION_AT, version, 2);
    if (type > 1) return ss_seen_wrong(note, SS_RULE_LEAF, address + SS_NODE_TYPE_AT, type, 1);
    bool fits = count >= 1 && count <= SS_CAPACITY;
    return fits ? SS_OK : ss_seen_wrong(note, SS_RULE_COUNT, address + SS_NODE_COUNT_AT, count, SS_CAPACITY);
}

static void read_children(ss_seen_node *node, const uint8_t *at) {
    for (uint32_t i = 0; i <= node->count; i++) node->children[i] = ss_get64(at + (size_t)i * SS_CHILD_SIZE);
}

/* Slots of the largest sizes, children behind them: a page of a map that has such nodes holds 11 of them. */
static int read_slots(ss_seen_space *space, ss_seen_node *node, ss_survey_note *note) {
    const ss_map_frame *frame = &space->frame;
    uint64_t slot = 2 * SS_SIZE_FIELD + frame->slot_key + frame->slot_value, at = SS_NODE_V1_HEADER;
    for (uint32_t i = 0; i < node->count; i++, at += slot) {
        const uint8_t *bytes = page_of(node) + at;
        uint64_t key = ss_get32(bytes), value = ss_get32(bytes + SS_SIZE_FIELD + frame->slot_key);
        if (key > frame->slot_key) return ss_seen_wrong(note, SS_RULE_SLOT_KEY, node->address + at, key, frame->slot_key);
        if (value > frame->slot_value) {
            return ss_seen_wrong(note, SS_RULE_SLOT_VALUE, node->address + at + SS_SIZE_FIELD + frame->slot_key, value, frame->slot_value);
        }
        node->keys[i] = bytes + SS_SIZE_FIELD;
        node->key_sizes[i] = key;
        node->value_at[i] = at + 2 * SS_SIZE_FIELD + frame->slot_key;
        node->value_sizes[i] = value;
    }
    node->end = at;
    if (node->leaf) return SS_OK;
    read_children(node, page_of(node) + at);
    node->end += SS_CHILD_SIZE * ((uint64_t)node->count + 1);
    return SS_OK;
}

static int read_packed(ss_seen_space *space, ss_seen_node *node, ss_survey_note *note) {
    uint64_t at = SS_NODE_HEADER;
    node->following = ss_get64(page_of(node) + SS_NODE_OVERFLOW_AT);
    if (!node->leaf) {
        read_children(node, page_of(node) + at);
        at += SS_CHILD_SIZE * ((uint64_t)node->count + 1);
    }
    int status = read_keys(space, node, &at, note);
    if (status == SS_OK) status = read_values(space, node, &at, note);
    if (status != SS_OK) return status;
    node->end = at;
    settle_keys(node);
    return finish(space, node, note);
}

int ss_seen_node_read(ss_seen_space *space, uint64_t address, ss_seen_node *node, ss_survey_note *note) {
    int status = read_chunk(space, address, node, note);
    if (status == SS_OK) status = check_node(&space->frame, address, page_of(node), note);
    if (status != SS_OK) return status;
    const uint8_t *page = page_of(node);
    node->address = address;
    node->version = page[SS_VERSION_AT];
    node->leaf = page[SS_NODE_TYPE_AT] == 0;
    node->count = ss_get16(page + SS_NODE_COUNT_AT);
    node->page_count = node->following = node->apart.size = 0;
    return node->version == 1 ? read_slots(space, node, note) : read_packed(space, node, note);
}
