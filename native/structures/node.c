/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of layout 2, and what both layouts share; the pictures are in node_layout.h.
 *
 * Invariants
 *  N1  1 ≤ n ≤ 11. Leaves have no children, internal nodes n + 1.
 *  N2  A run of `end` bytes has 0 overflow pages if end ≤ page size, else ceil((end - page size) / (page size - 11)).
 *  N3  Bytes of the run behind `end` are stale and never read.
 *  N4  Keys ascend strictly by the order of their type.
 */
#include "structures/node.h"

#include "memory/allocator.h"
#include "structures/node_internal.h"

/* ---- the run ---- */

/* Address in the memory of the pointer to overflow page `index` (0 is the first). */
static uint64_t link_address(const ss_node *node, uint32_t index) {
    return index == 0 ? node->address + SS_NODE_OVERFLOW_AT : node->overflow_address[index - 1] + SS_OVERFLOW_NEXT_AT;
}

static int add_page(ss_space *space, ss_node *node, uint64_t address) {
    if (node->overflow_count == node->overflow_room) {
        uint32_t room = node->overflow_room == 0 ? 4 : node->overflow_room * 2;
        ss_pin *pins = ss_scratch_take(&space->scratch, room * sizeof *pins);
        uint64_t *addresses = ss_scratch_take(&space->scratch, room * sizeof *addresses);
        if (pins == NULL || addresses == NULL) return SS_NO_HEAP;
        if (node->overflow_count > 0) {
            memcpy(pins, node->overflow, node->overflow_count * sizeof *pins);
            memcpy(addresses, node->overflow_address, node->overflow_count * sizeof *addresses);
        }
        node->overflow = pins;
        node->overflow_address = addresses;
        node->overflow_room = room;
    }
    ss_pin *pin = &node->overflow[node->overflow_count];
    int status = ss_pin_range(space->memory, address, space->page_size, &space->scratch, pin);
    if (status == SS_OUT_OF_BOUNDS) return ss_fail(SS_CORRUPT, "an overflow page lies inside the memory", address, 0, 0);
    if (status != SS_OK) return status;
    node->overflow_address[node->overflow_count++] = address;
    return SS_OK;
}

/* The page that follows the last known one in the chain; NULL at its end. */
static uint64_t next_page(const ss_node *node) {
    if (node->version == 1) return SS_NULL;
    if (node->overflow_count == 0) return ss_get64(node->page.bytes + SS_NODE_OVERFLOW_AT);
    return ss_get64(node->overflow[node->overflow_count - 1].bytes + SS_OVERFLOW_NEXT_AT);
}

/* One step along the chain. */
static int follow(ss_space *space, ss_node *node) {
    uint64_t address = next_page(node), from = link_address(node, node->overflow_count);
    if (address == SS_NULL) return ss_fail(SS_CORRUPT, "a node's run ends inside its pages", node->address, node->overflow_count, 0);
    if (node->overflow_count >= space->most_pages) {
        return ss_fail(SS_CORRUPT, "a chain of overflow pages has no cycle", from, node->overflow_count, space->most_pages);
    }
    int status = add_page(space, node, address);
    if (status != SS_OK) return status;
    if (memcmp(node->overflow[node->overflow_count - 1].bytes, SS_OVERFLOW_MAGIC, SS_MAGIC_SIZE) == 0) return SS_OK;
    return ss_fail(SS_CORRUPT, "an overflow page begins with NOF", address, 0, 0);
}

/* Overflow pages of a run of `end` bytes (N2). */
static uint64_t pages_for(const ss_space *space, uint64_t end) {
    if (end <= space->page_size) return 0;
    uint64_t data = space->page_size - SS_OVERFLOW_HEADER;
    return (end - space->page_size + data - 1) / data;
}

static int reach(ss_space *space, ss_node *node, uint64_t end) {
    uint64_t needed = pages_for(space, end);
    if (needed > space->most_pages || (needed > 0 && node->version == 1)) {
        return ss_fail(SS_CORRUPT, "a node's run fits the memory", node->address, end, space->page_size);
    }
    while (node->overflow_count < needed) {
        int status = follow(space, node);
        if (status != SS_OK) return status;
    }
    return SS_OK;
}

/* The page of run offset `offset`, the offset in that page, and in *length at most what is left of it behind. */
static ss_pin *piece(const ss_space *space, ss_node *node, uint64_t offset, uint64_t *inside, uint64_t *length) {
    uint64_t left;
    ss_pin *pin = &node->page;
    if (SS_LIKELY(offset < space->page_size)) {
        *inside = offset;
        left = space->page_size - offset;
    } else {
        uint64_t data = space->page_size - SS_OVERFLOW_HEADER, index = (offset - space->page_size) / data;
        *inside = SS_OVERFLOW_HEADER + (offset - space->page_size) % data;
        left = space->page_size - *inside;
        pin = &node->overflow[index];
    }
    if (left < *length) *length = left;
    return pin;
}

static void copy_out(const ss_space *space, ss_node *node, uint64_t offset, uint64_t length, uint8_t *to) {
    while (length > 0) {
        uint64_t run = length, inside;
        const ss_pin *pin = piece(space, node, offset, &inside, &run);
        memcpy(to, pin->bytes + inside, (size_t)run);
        to += run;
        offset += run;
        length -= run;
    }
}

/* Bytes [offset, offset + length) of the run: in place, or copied where they lie in several pages. */
static int read_run(ss_space *space, ss_node *node, uint64_t offset, uint64_t length, ss_span *span) {
    uint64_t end;
    if (!ss_add(offset, length, &end)) return ss_fail(SS_CORRUPT, "a node's run fits the memory", node->address, length, 0);
    if (SS_UNLIKELY(end > space->page_size)) {
        int status = reach(space, node, end);
        if (status != SS_OK) return status;
    }
    uint64_t run = length, inside;
    span->size = length;
    if (length == 0) {
        span->at = node->page.bytes;
        return SS_OK;
    }
    const ss_pin *pin = piece(space, node, offset, &inside, &run);
    span->at = pin->bytes + inside;
    if (SS_LIKELY(run == length)) return SS_OK;
    uint8_t *copy = ss_scratch_take(&space->scratch, (size_t)length);
    if (copy == NULL) return SS_NO_HEAP;
    copy_out(space, node, offset, length, copy);
    span->at = copy;
    return SS_OK;
}

static int read_size(ss_space *space, ss_node *node, uint64_t offset, uint64_t *size) {
    if (SS_LIKELY(offset <= space->page_size - SS_SIZE_FIELD)) {
        *size = ss_get32(node->page.bytes + offset);
        return SS_OK;
    }
    uint8_t bytes[SS_SIZE_FIELD];
    int status = reach(space, node, offset + SS_SIZE_FIELD);
    if (status != SS_OK) return status;
    copy_out(space, node, offset, SS_SIZE_FIELD, bytes);
    *size = ss_get32(bytes);
    return SS_OK;
}

/* Writes into the run; its pages exist. */
static int put_run(ss_space *space, ss_node *node, uint64_t offset, const uint8_t *from, uint64_t length) {
    while (length > 0) {
        uint64_t run = length, inside;
        ss_pin *pin = piece(space, node, offset, &inside, &run);
        int status = ss_pin_change(space->memory, pin, inside, run);
        if (status != SS_OK) return status;
        memcpy(pin->bytes + inside, from, (size_t)run);
        status = ss_pin_changed(space->memory, pin, inside, run);
        if (status != SS_OK) return status;
        from += run;
        offset += run;
        length -= run;
    }
    return SS_OK;
}

static int move_piece(ss_space *space, ss_pin *target, uint64_t to, const ss_pin *source, uint64_t from, uint64_t length) {
    int status = ss_pin_change(space->memory, target, to, length);
    if (status != SS_OK) return status;
    memmove(target->bytes + to, source->bytes + from, (size_t)length);
    return ss_pin_changed(space->memory, target, to, length);
}

/* Towards higher offsets, last bytes first. */
static int move_up(ss_space *space, ss_node *node, uint64_t to, uint64_t from, uint64_t length) {
    while (length > 0) {
        uint64_t one = 1, from_inside, to_inside;
        const ss_pin *source = piece(space, node, from + length - 1, &from_inside, &one);
        ss_pin *target = piece(space, node, to + length - 1, &to_inside, &one);
        uint64_t from_head = source == &node->page ? 0 : SS_OVERFLOW_HEADER, to_head = target == &node->page ? 0 : SS_OVERFLOW_HEADER;
        uint64_t run = from_inside - from_head + 1;
        if (to_inside - to_head + 1 < run) run = to_inside - to_head + 1;
        if (length < run) run = length;
        int status = move_piece(space, target, to_inside + 1 - run, source, from_inside + 1 - run, run);
        if (status != SS_OK) return status;
        length -= run;
    }
    return SS_OK;
}

/* Towards lower offsets, first bytes first. */
static int move_down(ss_space *space, ss_node *node, uint64_t to, uint64_t from, uint64_t length) {
    while (length > 0) {
        uint64_t run = length, from_inside, to_inside;
        const ss_pin *source = piece(space, node, from, &from_inside, &run);
        ss_pin *target = piece(space, node, to, &to_inside, &run);
        int status = move_piece(space, target, to_inside, source, from_inside, run);
        if (status != SS_OK) return status;
        to += run;
        from += run;
        length -= run;
    }
    return SS_OK;
}

/* ---- opening ---- */

static int bad_node(const ss_node *node, const char *rule, uint64_t number, uint64_t limit) {
    return ss_fail(SS_CORRUPT, rule, node->address, number, limit);
}

static int read_header(const ss_space *space, ss_node *node) {
    const uint8_t *at = node->page.bytes;
    if (memcmp(at, SS_NODE_MAGIC, SS_MAGIC_SIZE) != 0) return bad_node(node, "a node begins with BTN", 0, 0);
    node->version = at[SS_VERSION_AT];
    node->count = ss_get16(at + SS_NODE_COUNT_AT);
    node->leaf = at[SS_NODE_TYPE_AT] == 0;
    if (node->version == 0 || node->version > 2) return bad_node(node, "a node has layout version 1 or 2", node->version, 2);
    if (at[SS_NODE_TYPE_AT] > 1) return bad_node(node, "a node is a leaf (0) or internal (1)", at[SS_NODE_TYPE_AT], 1);
    if (node->count == 0 || node->count > SS_CAPACITY) return bad_node(node, "a node has 1 to 11 entries", node->count, SS_CAPACITY);
    node->children_at = SS_NODE_HEADER;
    if (node->version == 2) return SS_OK;
    if (!space->derived) return bad_node(node, "a layout 1 node lies in a map whose header has its sizes", 1, 2);
    node->children_at = ss_node_v1_children_at(space, node->count);
    return SS_OK;
}

int ss_node_open(ss_space *space, uint64_t address, ss_node *node) {
    node->address = address;
    node->laid_out = node->keys_laid_out = false;
    node->overflow_count = node->overflow_room = 0;
    int status = ss_pin_range(space->memory, address, space->page_size, &space->scratch, &node->page);
    if (SS_UNLIKELY(status == SS_OUT_OF_BOUNDS || address < SS_FIRST_CHUNK)) {
        return bad_node(node, "a node lies inside the memory", 0, 0);
    }
    return status == SS_OK ? read_header(space, node) : status;
}

int ss_node_open_for_change(ss_space *space, uint64_t address, ss_node *node) {
    int status = ss_node_open(space, address, node);
    if (status != SS_OK) return status;
    const uint8_t *chunk = ss_memory_direct(space->memory, address - SS_CHUNK_HEADER, SS_CHUNK_HEADER);
    if (SS_LIKELY(chunk != NULL && ss_get64(chunk) == SS_ALLOCATED_CHUNK)) return SS_OK;
    return ss_chunk_check(space->memory, space->page_size, address);
}

/* ---- where keys and values lie ---- */

static uint64_t keys_at(const ss_node *node) {
    return SS_NODE_HEADER + (node->leaf ? 0 : (uint64_t)SS_CHILD_SIZE * (node->count + 1));
}

static int lay_out_keys(ss_space *space, ss_node *node) {
    if (node->keys_laid_out) return SS_OK;
    uint64_t at = keys_at(node), size = space->key_size;
    for (uint32_t i = 0; i < node->count; i++) {
        node->key_at[i] = at;
        if (!space->fixed_key) {
            int status = read_size(space, node, at, &size);
            if (status != SS_OK) return status;
            size += SS_SIZE_FIELD;
        }
        at += size;
    }
    node->key_at[node->count] = at;
    node->keys_laid_out = true;
    return SS_OK;
}

/* Fills key_at and value_at. */
static int lay_out(ss_space *space, ss_node *node) {
    if (node->laid_out) return SS_OK;
    if (node->version == 1) return ss_node_v1_lay_out(space, node);
    int status = lay_out_keys(space, node);
    uint64_t at = node->key_at[node->count], size;
    for (uint32_t i = 0; status == SS_OK && i < node->count; i++) {
        node->value_at[i] = at;
        status = read_size(space, node, at, &size);
        at += SS_SIZE_FIELD + size;
    }
    if (status != SS_OK) return status;
    node->value_at[node->count] = at;
    node->laid_out = true;
    return reach(space, node, at);
}

/* The place of a key whose field begins at `at`. */
static int key_span(ss_space *space, ss_node *node, uint64_t at, uint64_t *begin, uint64_t *size) {
    *begin = at;
    *size = space->key_size;
    if (space->fixed_key && node->version == 2) return SS_OK;
    int status = read_size(space, node, at, size);
    *begin = at + SS_SIZE_FIELD;
    if (status != SS_OK) return status;
    if (node->version == 1 && *size > space->v1_key) return bad_node(node, "a key fits its slot", *size, space->v1_key);
    if (space->fixed_key && *size != space->key_size) return bad_node(node, "a fixed-size key has its size", *size, space->key_size);
    return SS_OK;
}

int ss_node_key(ss_space *space, ss_node *node, uint32_t index, ss_span *key) {
    int status = SS_OK;
    uint64_t at, size;
    if (node->version == 1) {
        at = SS_NODE_V1_HEADER + index * ss_node_v1_stride(space);
    } else if (space->fixed_key) {
        at = keys_at(node) + (uint64_t)index * space->key_size;
    } else {
        status = lay_out_keys(space, node);
        at = node->key_at[index];
    }
    if (status == SS_OK) status = key_span(space, node, at, &at, &size);
    return status == SS_OK ? read_run(space, node, at, size, key) : status;
}

/* Where value `index` of a layout-2 node begins (its size field), by walking the sizes before it. */
static int find_value(ss_space *space, ss_node *node, uint32_t index, uint64_t *at, uint64_t *size) {
    int status = SS_OK;
    if (space->fixed_key) {
        *at = keys_at(node) + (uint64_t)node->count * space->key_size;
    } else {
        status = lay_out_keys(space, node);
        *at = node->key_at[node->count];
    }
    if (status != SS_OK) return status;
    if (space->fixed_value) {
        uint64_t guess = *at + index * (SS_SIZE_FIELD + (uint64_t)space->value_size);
        status = read_size(space, node, guess, size);
        if (status == SS_OK && *size == space->value_size) {
            *at = guess;
            return SS_OK;
        }
        /* If the values are not all of that size, the guess may lie behind the run. */
        if (status != SS_OK && status != SS_CORRUPT) return status;
    }
    for (uint32_t i = 0;; i++) {
        status = read_size(space, node, *at, size);
        if (status != SS_OK || i == index) return status;
        *at += SS_SIZE_FIELD + *size;
    }
}

static int value_span(ss_space *space, ss_node *node, uint32_t index, uint64_t *at, uint64_t *size) {
    int status;
    if (node->version == 1) {
        *at = SS_NODE_V1_HEADER + index * ss_node_v1_stride(space) + SS_SIZE_FIELD + space->v1_key;
        status = read_size(space, node, *at, size);
        if (status == SS_OK && *size > space->v1_value) status = bad_node(node, "a value fits its slot", *size, space->v1_value);
    } else if (node->laid_out) {
        *at = node->value_at[index];
        *size = node->value_at[index + 1] - *at - SS_SIZE_FIELD;
        status = SS_OK;
    } else {
        status = find_value(space, node, index, at, size);
    }
    *at += SS_SIZE_FIELD;
    return status;
}

int ss_node_value(ss_space *space, ss_node *node, uint32_t index, ss_span *value) {
    uint64_t at, size;
    int status = value_span(space, node, index, &at, &size);
    return status == SS_OK ? read_run(space, node, at, size, value) : status;
}

int ss_node_value_size(ss_space *space, ss_node *node, uint32_t index, uint64_t *size) {
    uint64_t at;
    return value_span(space, node, index, &at, size);
}

int ss_node_child(ss_space *space, ss_node *node, uint32_t index, uint64_t *child) {
    ss_span span = {NULL, 0};
    int status = read_run(space, node, node->children_at + (uint64_t)index * SS_CHILD_SIZE, SS_CHILD_SIZE, &span);
    if (status == SS_OK) *child = ss_get64(span.at);
    return status;
}

/* ---- search ---- */

/* Big-endian integer keys in one piece: count those below, without a branch per key. */
static inline void search_ints(const uint8_t *keys, uint32_t count, uint32_t size, uint64_t key, uint32_t *index, bool *found) {
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i++) below += ss_get_be(keys + (size_t)i * size, size) < key;
    *index = below;
    *found = below < count && ss_get_be(keys + (size_t)below * size, size) == key;
}

static void search_int_keys(const uint8_t *keys, uint32_t count, uint32_t size, uint64_t key, uint32_t *index, bool *found) {
    switch (size) {
        case 8:
            search_ints(keys, count, 8, key, index, found);
            return;
        case 4:
            search_ints(keys, count, 4, key, index, found);
            return;
        case 2:
            search_ints(keys, count, 2, key, index, found);
            return;
        default:
            search_ints(keys, count, 1, key, index, found);
    }
}

int ss_node_search(ss_space *space, ss_node *node, ss_span key, uint32_t *index, bool *found) {
    uint32_t int_size = space->order->int_size, low = 0, high = node->count;
    if (SS_LIKELY(int_size != 0 && node->version == 2 && key.size == int_size)) {
        uint64_t at = keys_at(node);
        if (SS_LIKELY(at + node->count * int_size <= space->page_size)) {
            search_int_keys(node->page.bytes + at, node->count, int_size, ss_get_be(key.at, int_size), index, found);
            return SS_OK;
        }
    }
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        ss_span there = {NULL, 0};
        int result, status = ss_node_key(space, node, middle, &there);
        if (status == SS_OK) status = ss_order_compare(space->order, there.at, there.size, key.at, key.size, &result);
        if (status != SS_OK) return status;
        if (result == SS_NO_ORDER) return ss_fail(SS_UNORDERED, "keys of a map are totally ordered", node->address, middle, 0);
        if (result == SS_EQUAL) {
            *index = middle;
            *found = true;
            return SS_OK;
        }
        if (result == SS_LESS) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *index = low;
    *found = false;
    return SS_OK;
}

/* ---- copies ---- */

static int copy_span(ss_space *space, ss_span *span) {
    uint8_t *copy = ss_scratch_take(&space->scratch, (size_t)span->size);
    if (copy == NULL) return SS_NO_HEAP;
    memcpy(copy, span->at, (size_t)span->size);
    span->at = copy;
    return SS_OK;
}

int ss_node_copy_entries(ss_space *space, ss_node *node, uint32_t at, uint32_t n, ss_entry *entries) {
    int status = lay_out(space, node);
    for (uint32_t i = 0; status == SS_OK && i < n; i++) {
        status = ss_node_key(space, node, at + i, &entries[i].key);
        if (status == SS_OK) status = copy_span(space, &entries[i].key);
        if (status == SS_OK) status = ss_node_value(space, node, at + i, &entries[i].value);
        if (status == SS_OK) status = copy_span(space, &entries[i].value);
    }
    return status;
}

int ss_node_copy_children(ss_space *space, ss_node *node, uint32_t at, uint32_t n, uint64_t *children) {
    int status = SS_OK;
    for (uint32_t i = 0; status == SS_OK && i < n; i++) status = ss_node_child(space, node, at + i, &children[i]);
    return status;
}

/* ---- overflow pages ---- */

static int write_link(ss_space *space, ss_node *node, uint32_t index, uint64_t address) {
    uint8_t bytes[SS_CHILD_SIZE];
    ss_pin *pin = index == 0 ? &node->page : &node->overflow[index - 1];
    uint64_t at = index == 0 ? SS_NODE_OVERFLOW_AT : SS_OVERFLOW_NEXT_AT;
    ss_put64(bytes, address);
    int status = ss_pin_change(space->memory, pin, at, SS_CHILD_SIZE);
    if (status != SS_OK) return status;
    memcpy(pin->bytes + at, bytes, SS_CHILD_SIZE);
    return ss_pin_changed(space->memory, pin, at, SS_CHILD_SIZE);
}

static int extend_chain(ss_space *space, ss_node *node, uint64_t pages) {
    static const uint8_t fresh[SS_OVERFLOW_HEADER] = SS_OVERFLOW_MAGIC;
    while (node->overflow_count < pages) {
        uint64_t address;
        int status = ss_allocator_take(space->memory, space->page_size, &address);
        if (status == SS_OK) status = ss_memory_write(space->memory, address, fresh, sizeof fresh);
        if (status == SS_OK) status = write_link(space, node, node->overflow_count, address);
        if (status == SS_OK) status = add_page(space, node, address);
        if (status != SS_OK) return status;
    }
    return SS_OK;
}

static int cut_chain(ss_space *space, ss_node *node, uint64_t pages) {
    if (node->overflow_count == pages) return SS_OK;
    while (node->overflow_count > pages) {
        uint64_t address = node->overflow_address[--node->overflow_count];
        int status = ss_allocator_give_back(space->memory, space->page_size, address);
        if (status != SS_OK) return status;
    }
    return write_link(space, node, node->overflow_count, SS_NULL);
}

int ss_node_check_chain(ss_space *space, ss_node *node) {
    int status = lay_out(space, node);
    if (status != SS_OK || node->version == 1) return status;
    for (uint32_t i = 0; status == SS_OK && i < node->overflow_count; i++) {
        status = ss_chunk_check(space->memory, space->page_size, node->overflow_address[i]);
    }
    if (status != SS_OK) return status;
    if (next_page(node) == SS_NULL) return SS_OK;
    return bad_node(node, "a chain of overflow pages ends with the run", node->overflow_count, node->overflow_count);
}

/* ---- editing layout 2 ---- */

/* `drop` bytes of the run at `at` make way for `add` bytes. */
typedef struct splice {
    uint64_t at, drop, add;
} splice;

enum { SPLICES = 3 };

static uint64_t key_field(const ss_space *space) {
    return space->fixed_key ? 0 : SS_SIZE_FIELD;
}

static void plan_splices(const ss_space *space, const ss_node *node, const ss_edit *edit, splice plan[SPLICES]) {
    uint64_t keys = 0, values = 0;
    for (uint32_t i = 0; i < edit->add; i++) {
        keys += key_field(space) + edit->entries[i].key.size;
        values += SS_SIZE_FIELD + edit->entries[i].value.size;
    }
    uint32_t end = edit->at + edit->drop;
    uint64_t dropped_keys = node->key_at[end] - node->key_at[edit->at];
    plan[0] = (splice){node->children_at + (uint64_t)edit->child_at * SS_CHILD_SIZE, (uint64_t)edit->child_drop * SS_CHILD_SIZE,
                       (uint64_t)edit->child_add * SS_CHILD_SIZE};
    plan[1] = (splice){node->key_at[edit->at], dropped_keys, keys};
    plan[2] = (splice){node->value_at[edit->at], node->value_at[end] - node->value_at[edit->at], values};
    if (edit->keep_keys) plan[1] = (splice){node->key_at[end], 0, 0};
    if (node->leaf) plan[0] = (splice){SS_NODE_HEADER, 0, 0};
}

/* The parts of the run behind each splice: where they lie and where they go. */
typedef struct parts {
    uint64_t from[SPLICES], to[SPLICES], length[SPLICES];
} parts;

static parts plan_parts(const splice plan[SPLICES], uint64_t end) {
    parts moved;
    uint64_t shift = 0;
    for (int i = 0; i < SPLICES; i++) {
        moved.from[i] = plan[i].at + plan[i].drop;
        moved.length[i] = (i + 1 < SPLICES ? plan[i + 1].at : end) - moved.from[i];
        shift += plan[i].add - plan[i].drop;
        moved.to[i] = moved.from[i] + shift;
    }
    return moved;
}

/* Moves the parts to their new places: first those that go up, last one first, then those that go down, first one first;
 * so no part is overwritten before it has moved. */
static int move_parts(ss_space *space, ss_node *node, const parts *moved) {
    int status = SS_OK;
    for (int i = SPLICES; status == SS_OK && i-- > 0;) {
        if (moved->to[i] > moved->from[i]) status = move_up(space, node, moved->to[i], moved->from[i], moved->length[i]);
    }
    for (int i = 0; status == SS_OK && i < SPLICES; i++) {
        if (moved->to[i] < moved->from[i]) status = move_down(space, node, moved->to[i], moved->from[i], moved->length[i]);
    }
    return status;
}

static int put_sized(ss_space *space, ss_node *node, uint64_t *at, ss_span span, bool with_size) {
    int status = SS_OK;
    if (with_size) {
        uint8_t size[SS_SIZE_FIELD];
        ss_put32(size, (uint32_t)span.size);
        status = put_run(space, node, *at, size, SS_SIZE_FIELD);
        *at += SS_SIZE_FIELD;
    }
    if (status == SS_OK) status = put_run(space, node, *at, span.at, span.size);
    *at += span.size;
    return status;
}

static int put_children(ss_space *space, ss_node *node, uint64_t at, const uint64_t *children, uint32_t count) {
    uint8_t bytes[SS_CHILDREN * SS_CHILD_SIZE];
    for (uint32_t i = 0; i < count; i++) ss_put64(bytes + (size_t)i * SS_CHILD_SIZE, children[i]);
    return put_run(space, node, at, bytes, (uint64_t)count * SS_CHILD_SIZE);
}

static int put_keys(ss_space *space, ss_node *node, uint64_t at, const ss_entry *entries, uint32_t count) {
    int status = SS_OK;
    for (uint32_t i = 0; status == SS_OK && i < count; i++) status = put_sized(space, node, &at, entries[i].key, !space->fixed_key);
    return status;
}

static int put_values(ss_space *space, ss_node *node, uint64_t at, const ss_entry *entries, uint32_t count) {
    int status = SS_OK;
    for (uint32_t i = 0; status == SS_OK && i < count; i++) status = put_sized(space, node, &at, entries[i].value, true);
    return status;
}

static int put_count(ss_space *space, ss_node *node, uint32_t count) {
    uint8_t bytes[2];
    node->count = count;
    ss_put16(bytes, (uint16_t)count);
    int status = ss_pin_change(space->memory, &node->page, SS_NODE_COUNT_AT, sizeof bytes);
    if (status != SS_OK) return status;
    memcpy(node->page.bytes + SS_NODE_COUNT_AT, bytes, sizeof bytes);
    return ss_pin_changed(space->memory, &node->page, SS_NODE_COUNT_AT, sizeof bytes);
}

/* Fills the gaps that move_parts left. */
static int fill_gaps(ss_space *space, ss_node *node, const splice plan[SPLICES], const parts *moved, const ss_edit *edit) {
    int status = node->leaf ? SS_OK : put_children(space, node, plan[0].at, edit->children, edit->child_add);
    if (status == SS_OK && !edit->keep_keys) status = put_keys(space, node, moved->to[1] - plan[1].add, edit->entries, edit->add);
    return status == SS_OK ? put_values(space, node, moved->to[2] - plan[2].add, edit->entries, edit->add) : status;
}

static uint8_t *lay_bytes(uint8_t *to, ss_span span, bool with_size) {
    if (with_size) {
        ss_put32(to, (uint32_t)span.size);
        to += SS_SIZE_FIELD;
    }
    memcpy(to, span.at, (size_t)span.size);
    return to + span.size;
}

/* The usual case: the node lies in one page, in place, before and after. One announcement, then plain moves. */
static int edit_in_page(ss_space *space, ss_node *node, const splice plan[SPLICES], const ss_edit *edit, uint64_t end, uint64_t new_end) {
    parts moved = plan_parts(plan, end);
    uint8_t *run = node->page.bytes;
    int status = ss_pin_change(space->memory, &node->page, SS_NODE_COUNT_AT, (end > new_end ? end : new_end) - SS_NODE_COUNT_AT);
    if (status != SS_OK) return status;
    for (int i = SPLICES; i-- > 0;) {
        if (moved.to[i] > moved.from[i]) memmove(run + moved.to[i], run + moved.from[i], (size_t)moved.length[i]);
    }
    for (int i = 0; i < SPLICES; i++) {
        if (moved.to[i] < moved.from[i]) memmove(run + moved.to[i], run + moved.from[i], (size_t)moved.length[i]);
    }
    uint8_t *children = run + plan[0].at, *keys = run + moved.to[1] - plan[1].add, *values = run + moved.to[2] - plan[2].add;
    for (uint32_t i = 0; i < edit->child_add && !node->leaf; i++) ss_put64(children + (size_t)i * SS_CHILD_SIZE, edit->children[i]);
    for (uint32_t i = 0; i < edit->add; i++) {
        if (!edit->keep_keys) keys = lay_bytes(keys, edit->entries[i].key, !space->fixed_key);
        values = lay_bytes(values, edit->entries[i].value, true);
    }
    node->count += edit->add - edit->drop;
    ss_put16(run + SS_NODE_COUNT_AT, (uint16_t)node->count);
    node->laid_out = node->keys_laid_out = false;
    return SS_OK;
}

static int edit_v2(ss_space *space, ss_node *node, const ss_edit *edit) {
    splice plan[SPLICES];
    plan_splices(space, node, edit, plan);
    uint64_t end = node->value_at[node->count], new_end = end;
    for (int i = 0; i < SPLICES; i++) new_end += plan[i].add - plan[i].drop;
    uint64_t pages = pages_for(space, new_end);
    bool in_page = node->page.direct && end <= space->page_size && new_end <= space->page_size;
    if (SS_LIKELY(in_page && next_page(node) == SS_NULL)) return edit_in_page(space, node, plan, edit, end, new_end);
    if (next_page(node) != SS_NULL) {
        return bad_node(node, "a chain of overflow pages ends with the run", node->overflow_count, node->overflow_count);
    }
    if (pages != node->overflow_count) ss_undo_begin(space->memory);
    int status = extend_chain(space, node, pages);
    parts moved = plan_parts(plan, end);
    if (status == SS_OK) status = move_parts(space, node, &moved);
    if (status == SS_OK) status = fill_gaps(space, node, plan, &moved, edit);
    if (status == SS_OK && edit->add != edit->drop) status = put_count(space, node, node->count + edit->add - edit->drop);
    if (status == SS_OK) status = cut_chain(space, node, pages);
    node->laid_out = node->keys_laid_out = false;
    return status;
}

/* ---- for layout 1 (node_v1.c) ---- */

int ss_node_put_sized(ss_space *space, ss_node *node, uint64_t *at, ss_span span) {
    return put_sized(space, node, at, span, true);
}

int ss_node_put_children(ss_space *space, ss_node *node, uint64_t at, const uint64_t *children, uint32_t count) {
    return put_children(space, node, at, children, count);
}

int ss_node_put_count(ss_space *space, ss_node *node, uint32_t count) {
    return put_count(space, node, count);
}

/* ---- editing ---- */

int ss_node_edit(ss_space *space, ss_node *node, const ss_edit *edit) {
    int status = lay_out(space, node);
    if (status != SS_OK) return status;
    if (node->count + edit->add - edit->drop > SS_CAPACITY) {
        return bad_node(node, "a node has 1 to 11 entries", node->count + edit->add - edit->drop, SS_CAPACITY);
    }
    if (node->version == 1) {
        ss_undo_begin(space->memory);
        return ss_node_v1_edit(space, node, edit);
    }
    return edit_v2(space, node, edit);
}

/* Usually a value is replaced by one of the same size, in the first page: then nothing moves, and only its bytes are announced. */
int ss_node_replace_value(ss_space *space, ss_node *node, uint32_t index, ss_span value) {
    uint64_t at, size;
    int status = value_span(space, node, index, &at, &size);
    if (status != SS_OK) return status;
    if (node->version == 1 || size != value.size || size == 0 || at + size > space->page_size) {
        ss_entry entry = {.value = value};
        ss_edit edit = {.at = index, .drop = 1, .add = 1, .entries = &entry, .keep_keys = true};
        return ss_node_edit(space, node, &edit);
    }
    status = ss_pin_change(space->memory, &node->page, at, size);
    if (status != SS_OK) return status;
    memcpy(node->page.bytes + at, value.at, (size_t)size);
    return ss_pin_changed(space->memory, &node->page, at, size);
}

/* ---- new nodes, freed nodes ---- */

int ss_node_take(ss_space *space, uint64_t *address) {
    return ss_allocator_take(space->memory, space->page_size, address);
}

uint64_t ss_node_chunks(const ss_space *space, bool leaf, uint64_t count, uint64_t bytes) {
    uint64_t children = leaf ? 0 : (count + 1) * SS_CHILD_SIZE;
    return 1 + pages_for(space, SS_NODE_HEADER + children + count * (key_field(space) + SS_SIZE_FIELD) + bytes);
}

int ss_node_fill(ss_space *space, uint64_t address, bool leaf, const ss_entry *entries, uint32_t count, const uint64_t *children) {
    uint8_t header[SS_NODE_HEADER] = SS_NODE_MAGIC;
    header[SS_VERSION_AT] = 2;
    header[SS_NODE_TYPE_AT] = !leaf;
    ss_put16(header + SS_NODE_COUNT_AT, (uint16_t)count);
    ss_node node = {.address = address, .version = 2, .leaf = leaf, .count = count, .children_at = SS_NODE_HEADER};
    int status = ss_pin_range(space->memory, address, space->page_size, &space->scratch, &node.page);
    if (status == SS_OK) status = put_run(space, &node, 0, header, sizeof header);
    uint64_t keys = keys_at(&node), values = keys;
    for (uint32_t i = 0; i < count; i++) values += key_field(space) + entries[i].key.size;
    uint64_t end = values;
    for (uint32_t i = 0; i < count; i++) end += SS_SIZE_FIELD + entries[i].value.size;
    if (status == SS_OK) status = extend_chain(space, &node, pages_for(space, end));
    if (status == SS_OK && !leaf) status = put_children(space, &node, SS_NODE_HEADER, children, count + 1);
    if (status == SS_OK) status = put_keys(space, &node, keys, entries, count);
    return status == SS_OK ? put_values(space, &node, values, entries, count) : status;
}

int ss_node_give_back(ss_space *space, ss_node *node) {
    int status = lay_out(space, node);
    for (uint32_t i = 0; status == SS_OK && i < node->overflow_count; i++) {
        status = ss_allocator_give_back(space->memory, space->page_size, node->overflow_address[i]);
    }
    return status == SS_OK ? ss_allocator_give_back(space->memory, space->page_size, node->address) : status;
}
