/* SPDX-License-Identifier: Apache-2.0 */
/* One step of a lookup in place: the short way for the nodes that nearly all are.
 *
 * A probe looks at one layout-2 node that lies in one piece, by pointer, and only at bytes of its first page. What it
 * cannot settle there (another layout, a key behind the page, an order that is not that of bytes) it leaves to node.c by
 * answering SS_PROBE_HARD; so it needs no scratch, cannot fail, and trusts nothing: what it does not expect is hard too.
 *
 * The lines of a node are asked for together as soon as its address is known, so that their misses overlap.
 */
#ifndef SS_PROBE_H
#define SS_PROBE_H

#include "structures/node.h"
#include "structures/node_layout.h"

enum ss_probe_result { SS_PROBE_FOUND, SS_PROBE_CHILD, SS_PROBE_ABSENT, SS_PROBE_HARD };

/* A key, ready to be compared. */
typedef struct ss_probe_key {
    uint64_t number; /* integer keys */
    ss_span span;
} ss_probe_key;

/* What a probe has learned about a node. */
typedef struct ss_probe {
    const uint8_t *page;
    uint32_t count, index;
    bool leaf;
    uint64_t keys_at; /* offset of the first key */
    uint64_t child;   /* SS_PROBE_CHILD: its address */
} ss_probe;

enum { SS_PROBE_LINE = 64 };

/* "BTN", version 2, as the little-endian number of a node's first four bytes. */
#define SS_PROBE_MAGIC ss_magic_number(SS_NODE_MAGIC, 2)

/* The page of a node, or NULL if it does not lie in one piece. */
static inline const uint8_t *ss_probe_page(const ss_space *space, uint64_t address) {
    return ss_memory_direct(space->memory, address, space->page_size);
}

/* Asks for the first lines of a node, as many as its keys and children may fill (of a small node for some in vain). */
static inline void ss_probe_prefetch(const uint8_t *page) {
    for (int line = 0; line < 5; line++) __builtin_prefetch(page + line * SS_PROBE_LINE);
}

static inline bool ss_probe_open(ss_probe *probe, const uint8_t *page) {
    uint64_t head = ss_get64(page);
    uint32_t type = (uint32_t)(head >> (8 * SS_NODE_TYPE_AT) & 0xFF);
    probe->page = page;
    probe->count = (uint32_t)(head >> (8 * SS_NODE_COUNT_AT) & 0xFFFF);
    probe->leaf = type == 0;
    probe->keys_at = SS_NODE_HEADER + (type == 0 ? 0 : (uint64_t)SS_CHILD_SIZE * (probe->count + 1));
    return (uint32_t)head == SS_PROBE_MAGIC && type <= 1 && probe->count - 1 < SS_CAPACITY;
}

/* With `many` lookups at once it compares with as many keys as a node can have: bit i of `less` says that key i is less,
 * the first bit that is not set is the place. A loop up to the count is shorter, but its end is guessed wrong half of the
 * time; one lookup that waits for memory has the time to guess again, many that overlap their waits have not. */
static SS_ALWAYS_INLINE bool ss_probe_ints(ss_probe *probe, uint32_t size, uint64_t key, bool many) {
    const uint8_t *keys = probe->page + probe->keys_at;
    uint32_t less = 0, below = 0;
    if (many) {
        for (uint32_t i = SS_CAPACITY; i-- > 0;) less += less + (ss_get_be(keys + (size_t)i * size, size) < key);
        below = (uint32_t)__builtin_ctz(~(less & ((UINT32_C(1) << probe->count) - 1)));
    } else {
        for (uint32_t i = 0; i < probe->count; i++) below += ss_get_be(keys + (size_t)i * size, size) < key;
    }
    probe->index = below;
    return probe->index < probe->count && ss_get_be(keys + (size_t)probe->index * size, size) == key;
}

/* Keys of any size in the order of their bytes; the first that is not less ends the search, and *index says where. */
static inline enum ss_probe_result ss_probe_bytes(const ss_space *space, const uint8_t *page, uint64_t at, uint32_t count, ss_span key,
                                                  uint32_t *index) {
    uint64_t size = space->key_size;
    for (*index = 0; *index < count; ++*index) {
        if (!space->fixed_key) {
            if (at + SS_SIZE_FIELD > space->page_size) return SS_PROBE_HARD;
            size = ss_get32(page + at);
            at += SS_SIZE_FIELD;
        }
        if (at + size > space->page_size) return SS_PROBE_HARD;
        int result = ss_compare_bytes(page + at, size, key.at, key.size);
        if (result == SS_EQUAL) return SS_PROBE_FOUND;
        if (result == SS_GREATER) return SS_PROBE_ABSENT;
        at += size;
    }
    return SS_PROBE_ABSENT;
}

/* Not by way of the probe itself, which can stay in registers then. */
static inline enum ss_probe_result ss_probe_search_bytes(const ss_space *space, ss_probe *probe, ss_span key) {
    uint32_t index;
    enum ss_probe_result result = ss_probe_bytes(space, probe->page, probe->keys_at, probe->count, key, &index);
    probe->index = index;
    return result;
}

static SS_ALWAYS_INLINE enum ss_probe_result ss_probe_search(const ss_space *space, ss_probe *probe, const ss_probe_key *key, bool many) {
    uint32_t size = space->order->int_size;
    if (size == 0) return ss_probe_search_bytes(space, probe, key->span);
    if (SS_UNLIKELY(probe->keys_at + (uint64_t)SS_CAPACITY * size > space->page_size)) return SS_PROBE_HARD;
    bool found = size == 8   ? ss_probe_ints(probe, 8, key->number, many)
                 : size == 4 ? ss_probe_ints(probe, 4, key->number, many)
                             : ss_probe_ints(probe, size, key->number, many);
    return found ? SS_PROBE_FOUND : SS_PROBE_ABSENT;
}

/* The values at the end of a long leaf lie in its overflow page: asks for that while the keys are searched. */
static inline void ss_probe_prefetch_overflow(const ss_space *space, const ss_probe *probe) {
    if (!probe->leaf) return;
    uint64_t overflow = ss_get64(probe->page + SS_NODE_OVERFLOW_AT);
    if (SS_LIKELY(overflow == SS_NULL)) return;
    const uint8_t *page = ss_probe_page(space, overflow);
    for (uint64_t at = 0; page != NULL && at < space->page_size && at < 16 * SS_PROBE_LINE; at += SS_PROBE_LINE) {
        __builtin_prefetch(page + at);
    }
}

/* Looks for the key in the node whose page this is. SS_PROBE_CHILD: it can only be below probe->child. `many`: this is one
 * of several lookups at once. */
static SS_ALWAYS_INLINE enum ss_probe_result ss_probe_node(const ss_space *space, const uint8_t *page, const ss_probe_key *key, bool many,
                                                           ss_probe *probe) {
    if (SS_UNLIKELY(!ss_probe_open(probe, page))) return SS_PROBE_HARD;
    ss_probe_prefetch_overflow(space, probe);
    enum ss_probe_result result = ss_probe_search(space, probe, key, many);
    if (result != SS_PROBE_ABSENT || probe->leaf) return result;
    probe->child = ss_get64(page + SS_NODE_HEADER + (size_t)probe->index * SS_CHILD_SIZE);
    return SS_PROBE_CHILD;
}

/* The size field at `at`, where it lies in the page. */
static inline bool ss_probe_size(const ss_space *space, const ss_probe *probe, uint64_t at, uint64_t *size) {
    if (SS_UNLIKELY(at > space->page_size - SS_SIZE_FIELD)) return false;
    *size = ss_get32(probe->page + at);
    return true;
}

/* Offset of the first value, where all keys lie in the page. */
static inline bool ss_probe_values_at(const ss_space *space, const ss_probe *probe, uint64_t *at) {
    *at = probe->keys_at;
    if (space->fixed_key) {
        *at += (uint64_t)probe->count * space->key_size;
        return true;
    }
    for (uint32_t i = 0; i < probe->count; i++) {
        uint64_t size;
        if (!ss_probe_size(space, probe, *at, &size)) return false;
        *at += SS_SIZE_FIELD + size;
    }
    return true;
}

/* The value of entry probe->index, where it lies in the page; false if node.c must find it. Before it walks the sizes
 * of values it asks for the lines where they lie if all are as large as the first. */
static SS_ALWAYS_INLINE bool ss_probe_value(const ss_space *space, const ss_probe *probe, ss_span *value) {
    uint64_t at, size;
    if (!ss_probe_values_at(space, probe, &at)) return false;
    if (space->fixed_value) {
        at += probe->index * (SS_SIZE_FIELD + (uint64_t)space->value_size);
        if (!ss_probe_size(space, probe, at, &size) || size != space->value_size) return false;
    } else {
        if (!ss_probe_size(space, probe, at, &size)) return false;
        for (uint64_t i = 1, next = at; i <= probe->index && next < space->page_size; i++) {
            next += SS_SIZE_FIELD + size;
            __builtin_prefetch(probe->page + (next < space->page_size ? next : at));
        }
        for (uint32_t i = 0; i < probe->index; i++) {
            at += SS_SIZE_FIELD + size;
            if (!ss_probe_size(space, probe, at, &size)) return false;
        }
    }
    *value = (ss_span){probe->page + at + SS_SIZE_FIELD, size};
    return at + SS_SIZE_FIELD + size <= space->page_size;
}

/* Whether probes can serve a map with this order at all. */
static inline bool ss_probe_possible(const ss_space *space) {
    return space->order->terms[0].kind == SS_ORDER_BYTES && space->memory->root->foreign == false;
}

static inline ss_probe_key ss_probe_key_of(const ss_space *space, ss_span key) {
    uint32_t size = space->order->int_size;
    return (ss_probe_key){size != 0 ? ss_get_be(key.at, size) : 0, key};
}

#endif
