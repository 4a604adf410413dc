/* SPDX-License-Identifier: Apache-2.0 */
/* The survey of a map: its tree level by level, in slices, then its chunks.
 *
 *   slices[d]     nodes of level d that are to be visited: each an address, and which child of which parent it is
 *   parents       of a slice: key 0 | ... | key n-1 bound its nodes, so child i lies between two of them; the first and the last child have
 *                 a bound that lies in a slice above, whose keys stay until this one is done
 *
 * Nodes of a slice are visited in ascending order of address. Their children become the next slice; when that has all the room it
 * may have, or the slice is done, it is visited, and only then the rest of the slice above. So a tree whose levels fit the room is
 * read level by level, each in one sweep, and a larger one in as few sweeps as there is room for. Without room for more than the
 * children of one node it is a walk in the order of the keys.
 *
 *  V4  Each chunk is entered once: `reached` has two bits for it. What would be entered again is a note, so the survey ends.
 *  V5  Keys that are neighbours in the tree are compared exactly once: in a leaf with each other, at its ends with what bounds it;
 *      where a subtree is left out, what bounds it with each other.
 */
#include <stdlib.h>

#include "memory/allocator.h"
#include "structures/btree.h"
#include "structures/survey_internal.h"
#include "structures/survey_order.h"

#define ROOT_PARENT 0
#define NOWHERE UINT32_MAX
/* Nodes that are read to find the depth of the leaves. */
#define LEAF_TRIES 256

/* Nodes ahead for which memory is fetched: of the parent, and of its keys. */
#define FAR_AHEAD 8
#define NEAR_AHEAD 4

typedef struct item {
    uint64_t address;
    uint32_t parent, child;
} item;

/* Where a key lies: 4 bytes of size and the key. */
typedef struct key_place {
    uint64_t at;    /* in the keys of a slice */
    uint32_t slice; /* its number, or NOWHERE: the tree ends there */
} key_place;

typedef struct parent {
    uint64_t keys_at; /* in the slice's keys */
    key_place low, high;
    uint64_t address, high_address; /* of the nodes that have its keys, and the last bound */
    uint64_t last;                  /* number of the last child */
} parent;

typedef struct slice {
    ss_seen_bytes items, parents, keys;
    uint64_t next;
} slice;

typedef struct bounds {
    key_place low_place, high_place;
    const uint8_t *low, *high; /* or NULL */
    uint64_t low_size, high_size, high_address;
} bounds;

struct ss_map_survey {
    ss_seen_space space;
    ss_order terms;
    uint64_t room;
    struct ss_map_stats stats;
    ss_survey_notes notes, disorder;
    uint64_t *reached; /* 32 chunks in each word */
    slice slices[SS_DEPTHS + 2];
    uint32_t depth;
    uint64_t leaf_depth;
    ss_seen_node node;
    uint8_t *depths, *fills, *kinds;
    uint64_t group; /* chunks that share a byte of them */
};

/* ---- notes ---- */

static int tell(ss_map_survey *s, int rule, uint64_t address, uint64_t found, uint64_t expected) {
    ss_survey_note note;
    (void)ss_seen_wrong(&note, rule, address, found, expected);
    return ss_notes_add(&s->notes, &note);
}

/* What kept something from being read becomes a note; errors of reading stay errors. */
static int tell_or_fail(ss_map_survey *s, int status, const ss_survey_note *note) {
    return status == SS_CORRUPT ? ss_notes_add(&s->notes, note) : status;
}

static uint32_t shown(uint8_t *to, const uint8_t *key, uint64_t size) {
    memcpy(to, key, (size_t)(size < SS_NOTE_BYTES ? size : SS_NOTE_BYTES));
    return (uint32_t)size;
}

/* Holds two neighbours against the order. */
static int check_pair(ss_map_survey *s, uint64_t address, const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size) {
    if (SS_LIKELY(ss_seen_ascends(s->space.frame.order, &s->terms, a, a_size, b, b_size))) return SS_OK;
    bool equal = a_size == b_size && (a_size == 0 || memcmp(a, b, (size_t)a_size) == 0);
    ss_survey_note note;
    (void)ss_seen_wrong(&note, SS_RULE_ORDER, address, equal, 0);
    note.a_size = shown(note.a, a, a_size);
    note.b_size = shown(note.b, b, b_size);
    s->stats.broken_orders++;
    s->stats.equal_keys += equal;
    return ss_notes_add(&s->disorder, &note);
}

/* ---- chunks that were reached ---- */

static unsigned reached_as(const ss_map_survey *s, uint64_t index) {
    return (unsigned)(s->reached[index / 32] >> (index % 32 * 2) & 3);
}

/* SS_CORRUPT and a note where the address is none of a chunk, or the chunk was reached before. */
static int mark(ss_map_survey *s, uint64_t address, unsigned as, ss_survey_note *note) {
    uint64_t index;
    int status = ss_seen_index(&s->space, address, &index, note);
    if (status != SS_OK) return status;
    unsigned before = reached_as(s, index);
    if (before != 0) return ss_seen_wrong(note, SS_RULE_ONCE, address, before, as);
    s->reached[index / 32] |= (uint64_t)as << (index % 32 * 2);
    return SS_OK;
}

/* ---- slices ---- */

static item *items_of(const slice *l) {
    return (item *)(void *)l->items.at;
}

static uint64_t item_count(const slice *l) {
    return l->items.size / sizeof(item);
}

static int add_item(slice *l, uint64_t address, uint32_t above, uint32_t child) {
    int status = ss_seen_reserve(&l->items, sizeof(item));
    if (status != SS_OK) return status;
    memcpy(l->items.at + l->items.size, &(item){address, above, child}, sizeof(item));
    l->items.size += sizeof(item);
    return SS_OK;
}

static int add_key(slice *l, const uint8_t *key, uint64_t size) {
    int status = ss_seen_reserve(&l->keys, SS_SIZE_FIELD + size);
    if (status != SS_OK) return status;
    ss_put32(l->keys.at + l->keys.size, (uint32_t)size);
    if (size > 0) memcpy(l->keys.at + l->keys.size + SS_SIZE_FIELD, key, (size_t)size);
    l->keys.size += SS_SIZE_FIELD + size;
    return SS_OK;
}

static uint32_t parent_count(const slice *l) {
    return (uint32_t)(l->parents.size / sizeof(parent));
}

static const uint8_t *key_of(const ss_map_survey *s, key_place place, uint64_t *size) {
    if (place.slice == NOWHERE) return NULL;
    const uint8_t *field = s->slices[place.slice].keys.at + place.at;
    *size = ss_get32(field);
    return field + SS_SIZE_FIELD;
}

/* Of an item of the slice at hand. */
static bounds bounds_of(const ss_map_survey *s, const item *one) {
    const slice *l = &s->slices[s->depth];
    parent above;
    memcpy(&above, l->parents.at + (size_t)one->parent * sizeof above, sizeof above);
    bounds found = {.low_place = above.low, .high_place = above.high, .high_address = above.high_address};
    key_place key = {above.keys_at, s->depth};
    for (uint32_t i = 0; i < one->child; i++) {
        found.low_place = key;
        key.at += SS_SIZE_FIELD + (uint64_t)ss_get32(l->keys.at + key.at);
    }
    if (one->child < above.last) {
        found.high_place = key;
        found.high_address = above.address;
    }
    found.low = key_of(s, found.low_place, &found.low_size);
    found.high = key_of(s, found.high_place, &found.high_size);
    return found;
}

/* Items lie in the order of their addresses, so those of one parent are far apart: what bounds the next ones is fetched meanwhile. */
static void prefetch_bounds(const slice *l) {
    uint64_t count = item_count(l);
    if (l->next + FAR_AHEAD < count) __builtin_prefetch(l->parents.at + (size_t)items_of(l)[l->next + FAR_AHEAD].parent * sizeof(parent));
    if (l->next + NEAR_AHEAD >= count) return;
    parent above;
    memcpy(&above, l->parents.at + (size_t)items_of(l)[l->next + NEAR_AHEAD].parent * sizeof above, sizeof above);
    __builtin_prefetch(l->keys.at + above.keys_at);
    __builtin_prefetch(l->keys.at + above.keys_at + 64);
}

#define DIGIT_BITS 11
#define DIGITS (64 / DIGIT_BITS + 1)

static unsigned digit_of(const item *one, unsigned digit) {
    return (unsigned)(one->address >> (digit * DIGIT_BITS)) & ((1U << DIGIT_BITS) - 1);
}

/* How many items come before those with each value of a digit; false if all items have one value. */
static bool places_of(const item *items, uint64_t count, unsigned digit, uint64_t *places) {
    memset(places, 0, sizeof *places << DIGIT_BITS);
    for (uint64_t i = 0; i < count; i++) places[digit_of(&items[i], digit)]++;
    if (places[digit_of(&items[0], digit)] == count) return false;
    uint64_t before = 0;
    for (size_t i = 0; i < (size_t)1 << DIGIT_BITS; i++) {
        uint64_t here = places[i];
        places[i] = before;
        before += here;
    }
    return true;
}

/* Sorts the items by address, digit by digit from the last on. Those of one address stay in the order of parents and children. */
static int sort_items(slice *l) {
    uint64_t count = item_count(l), places[1 << DIGIT_BITS];
    ss_seen_bytes sorted = {0};
    int status = ss_seen_reserve(&sorted, l->items.size);
    if (status != SS_OK) return status;
    sorted.size = l->items.size;
    for (unsigned digit = 0; digit < DIGITS; digit++) {
        const item *items = items_of(l);
        if (!places_of(items, count, digit, places)) continue;
        for (uint64_t i = 0; i < count; i++) {
            memcpy(sorted.at + places[digit_of(&items[i], digit)]++ * sizeof(item), &items[i], sizeof(item));
        }
        ss_seen_bytes before = l->items;
        l->items = sorted;
        sorted = before;
    }
    free(sorted.at);
    return SS_OK;
}

static void clear_slice(slice *l) {
    l->items.size = l->parents.size = l->keys.size = l->next = 0;
}

/* A survey may live on for what it found; a large tree's slices would be most of its memory. */
static void free_slices(ss_map_survey *s) {
    for (size_t i = 0; i < sizeof s->slices / sizeof s->slices[0]; i++) {
        free(s->slices[i].items.at);
        free(s->slices[i].parents.at);
        free(s->slices[i].keys.at);
        s->slices[i] = (slice){0};
    }
}

static uint64_t room_of(const slice *l) {
    return l->items.size + l->parents.size + l->keys.size;
}

/* The children of the node, with the keys between them. */
static int add_children(ss_map_survey *s, slice *l, const bounds *around) {
    const ss_seen_node *node = &s->node;
    uint32_t above = parent_count(l);
    int status = ss_seen_reserve(&l->parents, sizeof(parent));
    if (status != SS_OK) return status;
    parent made = {l->keys.size, around->low_place, around->high_place, node->address, around->high_address, node->count};
    memcpy(l->parents.at + l->parents.size, &made, sizeof made);
    l->parents.size += sizeof made;
    for (uint32_t i = 0; i < node->count && status == SS_OK; i++) status = add_key(l, node->keys[i], node->key_sizes[i]);
    for (uint32_t i = 0; i <= node->count && status == SS_OK; i++) status = add_item(l, node->children[i], above, i);
    return status;
}

/* ---- one node ---- */

static void range_with(uint64_t *least, uint64_t *most, uint64_t size) {
    if (size < *least) *least = size;
    if (size > *most) *most = size;
}

static void count_node(ss_map_survey *s) {
    const ss_seen_node *node = &s->node;
    struct ss_map_stats *stats = &s->stats;
    stats->nodes++;
    stats->nodes_by_depth[s->depth]++;
    if (stats->depths <= s->depth) stats->depths = s->depth + 1;
    stats->fill[node->count]++;
    stats->entries += node->count;
    stats->overflow_pages += node->page_count;
    uint64_t live = node->leaf ? 7 : 7 + 8 * ((uint64_t)node->count + 1);
    for (uint32_t i = 0; i < node->count; i++) {
        range_with(&stats->key_least, &stats->key_most, node->key_sizes[i]);
        range_with(&stats->value_least, &stats->value_most, node->value_sizes[i]);
        live += 8 + node->key_sizes[i] + node->value_sizes[i];
    }
    stats->live += node->version == 1 ? live : node->end;
    stats->layout_1_nodes += node->version == 1;
}

static uint8_t share(uint64_t used, uint64_t page) {
    uint64_t part = used >= page ? 255 : 255 * used / page;
    return (uint8_t)(part < 1 ? 1 : part);
}

static uint64_t number_of(const ss_map_survey *s, uint64_t address) {
    return (address - SS_FIRST_CHUNK - SS_CHUNK_HEADER) / s->space.stride;
}

static void draw(const ss_map_survey *s, uint8_t *column, uint64_t address, uint8_t value) {
    if (column == NULL) return;
    uint8_t *at = &column[number_of(s, address) / s->group];
    if (*at < value) *at = value;
}

static void draw_node(ss_map_survey *s) {
    const ss_seen_node *node = &s->node;
    uint64_t page = s->space.frame.page, left = node->end;
    draw(s, s->depths, node->address, (uint8_t)s->depth);
    draw(s, s->kinds, node->address, node->leaf ? 1 : 2);
    if (s->fills == NULL) return;
    draw(s, s->fills, node->address, share(left, page));
    left -= left < page ? left : page;
    for (uint64_t i = 0; i < node->page_count; i++) {
        uint64_t used = left < page - SS_OVERFLOW_HEADER ? left : page - SS_OVERFLOW_HEADER;
        draw(s, s->fills, ss_seen_page(node, i), share(used + SS_OVERFLOW_HEADER, page));
        left -= used;
    }
}

static int mark_chain(ss_map_survey *s) {
    ss_survey_note note;
    for (uint64_t i = 0; i < s->node.page_count; i++) {
        int status = tell_or_fail(s, mark(s, ss_seen_page(&s->node, i), SS_REACHED_OVERFLOW, &note), &note);
        if (status != SS_OK) return status;
    }
    return SS_OK;
}

static int check_node(ss_map_survey *s) {
    const ss_seen_node *node = &s->node;
    int status = SS_OK;
    if (node->count < SS_MINIMUM && node->address != s->space.frame.root) {
        status = tell(s, SS_RULE_MINIMUM, node->address, node->count, SS_MINIMUM);
    }
    if (node->leaf && s->leaf_depth == UINT64_MAX) s->leaf_depth = s->depth;
    if (status == SS_OK && node->leaf && s->depth != s->leaf_depth) {
        status = tell(s, SS_RULE_LEAF_DEPTH, node->address, s->depth, s->leaf_depth);
    }
    return status == SS_OK ? mark_chain(s) : status;
}

static int check_value_encoding(ss_map_survey *s, uint32_t i) {
    ss_seen_node *node = &s->node;
    ss_seen_bytes value = {0};
    int status = ss_seen_reserve(&value, node->value_sizes[i] + 1);
    if (status == SS_OK) status = ss_seen_node_copy(&s->space, node, node->value_at[i], node->value_sizes[i], value.at);
    if (status == SS_OK && !ss_seen_is_encoded(s->space.frame.value_encoding, value.at, node->value_sizes[i])) {
        status = tell(s, SS_RULE_VALUE_ENCODING, node->address, i, 0);
    }
    free(value.at);
    return status;
}

/* A value in the first page is looked at where it lies. */
static int check_value(ss_map_survey *s, uint32_t i) {
    const ss_seen_node *node = &s->node;
    if (s->space.frame.value_encoding == SS_ENCODED_SIZE) return SS_OK;
    if (node->value_at[i] + node->value_sizes[i] > s->space.frame.page) return check_value_encoding(s, i);
    const uint8_t *at = node->first.at + SS_CHUNK_HEADER + node->value_at[i];
    if (ss_seen_is_encoded(s->space.frame.value_encoding, at, node->value_sizes[i])) return SS_OK;
    return tell(s, SS_RULE_VALUE_ENCODING, node->address, i, 0);
}

/* Of layout 1, whose slots take any size; in layout 2 a node of other sizes is not read. */
static bool has_size(const ss_seen_node *node, uint64_t size, uint64_t fixed, uint64_t most) {
    return node->version != 1 || (size <= most && (fixed == SS_NOT_FIXED || size == fixed));
}

static int check_encodings(ss_map_survey *s) {
    const ss_map_frame *frame = &s->space.frame;
    const ss_seen_node *node = &s->node;
    int status = SS_OK;
    for (uint32_t i = 0; i < node->count && status == SS_OK; i++) {
        uint64_t key = node->key_sizes[i], value = node->value_sizes[i];
        if (frame->key_encoding != SS_ENCODED_ANY &&
            !(has_size(node, key, frame->key_fixed, frame->key_max) && ss_seen_is_encoded(frame->key_encoding, node->keys[i], key))) {
            status = tell(s, SS_RULE_KEY_ENCODING, node->address, i, 0);
        }
        if (status != SS_OK || frame->value_encoding == SS_ENCODED_ANY) continue;
        bool sized = has_size(node, value, frame->value_fixed, frame->value_max);
        status = sized ? check_value(s, i) : tell(s, SS_RULE_VALUE_ENCODING, node->address, i, 0);
    }
    return status;
}

/* V5 for a leaf. */
static int check_order(ss_map_survey *s, const bounds *around) {
    const ss_seen_node *node = &s->node;
    uint32_t last = node->count - 1;
    int status = SS_OK;
    if (s->space.frame.order == SS_SEEN_ANY) return SS_OK;
    if (around->low != NULL) status = check_pair(s, node->address, around->low, around->low_size, node->keys[0], node->key_sizes[0]);
    for (uint32_t i = 0; i < last && status == SS_OK; i++) {
        status = check_pair(s, node->address, node->keys[i], node->key_sizes[i], node->keys[i + 1], node->key_sizes[i + 1]);
    }
    if (status != SS_OK || around->high == NULL) return status;
    return check_pair(s, around->high_address, node->keys[last], node->key_sizes[last], around->high, around->high_size);
}

/* V5 for a subtree that is left out. */
static int leave_out(ss_map_survey *s, const bounds *around, const ss_survey_note *note) {
    s->stats.sound = 0;
    s->stats.skipped++;
    int status = ss_notes_add(&s->notes, note);
    if (status != SS_OK || around->low == NULL || around->high == NULL) return status;
    return check_pair(s, around->high_address, around->low, around->low_size, around->high, around->high_size);
}

static int read_node(ss_map_survey *s, uint64_t address, ss_survey_note *note) {
    if (s->depth == SS_DEPTHS) return ss_seen_wrong(note, SS_RULE_DEPTH, address, s->depth, SS_DEPTHS);
    int status = mark(s, address, SS_REACHED_NODE, note);
    if (status != SS_OK) return status;
    status = ss_seen_node_read(&s->space, address, &s->node, note);
    if (status == SS_CORRUPT) draw(s, s->kinds, address, 2);
    return status;
}

static int visit(ss_map_survey *s, slice *here, slice *below) {
    item one = items_of(here)[here->next++];
    prefetch_bounds(here);
    bounds around = bounds_of(s, &one);
    ss_survey_note note;
    int status = read_node(s, one.address, &note);
    if (status == SS_CORRUPT) return leave_out(s, &around, &note);
    if (status != SS_OK) return status;
    count_node(s);
    draw_node(s);
    status = check_node(s);
    if (status == SS_OK) status = check_encodings(s);
    if (status != SS_OK) return status;
    return s->node.leaf ? check_order(s, &around) : add_children(s, below, &around);
}

/* ---- the tree ---- */

/* Whether the slice below may have more. All slices share the room, and so does what sorting the last one takes. One of leaves gets
 * all that is left, others the half, so that the levels below them have some. */
static bool has_room(const ss_map_survey *s) {
    const slice *below = &s->slices[s->depth + 1];
    uint64_t above = 0;
    for (uint32_t i = 0; i <= s->depth; i++) above += room_of(&s->slices[i]);
    uint64_t left = s->room > above ? s->room - above : 0;
    if (s->depth + 1 != s->leaf_depth) left /= 2;
    return room_of(below) + below->items.size < left;
}

int ss_map_survey_step(ss_map_survey *s, uint64_t nodes) {
    int status = ss_enter_read(s->space.memory);
    if (status != SS_OK) return status;
    bool shared = ss_share_read(s->space.memory);
    while (nodes > 0 && status == SS_OK) {
        slice *here = &s->slices[s->depth], *below = &s->slices[s->depth + 1];
        bool more = here->next < item_count(here);
        if (more && (item_count(below) == 0 || has_room(s))) {
            status = visit(s, here, below);
            nodes--;
        } else if (item_count(below) > 0) {
            if (s->room > 0) status = sort_items(below);
            s->depth++;
        } else {
            clear_slice(here);
            if (s->depth == 0)
                status = SS_ABSENT;
            else
                s->depth--;
        }
    }
    if (status == SS_ABSENT) free_slices(s);
    ss_leave_shared(s->space.memory, shared);
    return status;
}

/* The depth of the first leaf in the order of the keys that can be read, if it is soon found: that of all leaves. Nodes may lead to each
 * other in a circle: no more are read than there are chunks, however large these are. */
static uint64_t find_leaf(ss_map_survey *s, uint64_t address, uint64_t depth, uint32_t *tries) {
    ss_survey_note note;
    uint64_t children[SS_CHILDREN];
    if (depth == SS_DEPTHS || *tries == 0) return UINT64_MAX;
    --*tries;
    if (ss_seen_node_read(&s->space, address, &s->node, &note) != SS_OK) return UINT64_MAX;
    if (s->node.leaf) return depth;
    uint32_t count = s->node.count;
    memcpy(children, s->node.children, sizeof children);
    for (uint32_t i = 0; i <= count; i++) {
        uint64_t found = find_leaf(s, children[i], depth + 1, tries);
        if (found != UINT64_MAX) return found;
    }
    return UINT64_MAX;
}

/* ---- chunks ---- */

static int free_chunk(ss_map_survey *s, uint64_t chunk, uint64_t *following, ss_survey_note *note) {
    uint8_t header[SS_CHUNK_HEADER];
    uint64_t end;
    if (chunk < SS_FIRST_CHUNK || (chunk - SS_FIRST_CHUNK) % s->space.stride != 0) {
        return ss_seen_wrong(note, SS_RULE_GRID, chunk, s->space.stride, 0);
    }
    if (!ss_add(chunk, SS_CHUNK_HEADER, &end) || end > s->space.frame.bytes) {
        return ss_seen_wrong(note, SS_RULE_INSIDE, chunk, SS_CHUNK_HEADER, s->space.frame.bytes);
    }
    int status = ss_memory_read(s->space.memory, chunk, header, sizeof header);
    if (status != SS_OK) return status;
    if (ss_get32(header) != ss_magic_number(SS_CHUNK_MAGIC, 1)) return ss_seen_wrong_bytes(note, SS_RULE_FREE_MAGIC, chunk, header, 4);
    if (header[SS_CHUNK_ALLOCATED_AT] != 0) {
        return ss_seen_wrong(note, SS_RULE_FREE_ALLOCATED, chunk, header[SS_CHUNK_ALLOCATED_AT], 0);
    }
    *following = ss_get64(header + SS_CHUNK_NEXT_AT);
    return SS_OK;
}

/* Chunks of the free list; *end is the address of its end. */
static int walk_free(ss_map_survey *s, uint64_t *end, ss_survey_note *note) {
    uint64_t chunk = s->space.frame.free_head, following = 0;
    for (uint64_t i = 0; i <= s->space.chunks; i++) {
        int status = free_chunk(s, chunk, &following, note);
        if (status != SS_OK) return status;
        if (following == 0) {
            *end = chunk;
            return SS_OK;
        }
        status = mark(s, chunk + SS_CHUNK_HEADER, SS_REACHED_FREE, note);
        if (status != SS_OK) return status;
        s->stats.free_chunks++;
        chunk = following;
    }
    return ss_seen_wrong(note, SS_RULE_FREE_CIRCLE, chunk, s->space.chunks, s->space.chunks);
}

/* What the headers of the map and its allocator count. */
static int check_counts(ss_map_survey *s) {
    uint64_t length = s->space.frame.length, allocated = s->space.frame.allocated, entries = s->stats.entries;
    uint64_t used = s->stats.nodes + s->stats.overflow_pages;
    int status = SS_OK;
    if (!s->stats.sound) return entries > length ? tell(s, SS_RULE_LENGTH_LEAST, SS_BTREE_LENGTH_AT, length, entries) : SS_OK;
    if (entries != length) status = tell(s, SS_RULE_LENGTH, SS_BTREE_LENGTH_AT, length, entries);
    if (status != SS_OK || allocated == used) return status;
    return tell(s, SS_RULE_ALLOCATED_COUNT, SS_ALLOCATOR_OFFSET + SS_ALLOCATOR_COUNT_AT, allocated, used);
}

/* Every chunk below the end of the free list was reached, and none behind it. */
static int check_reached(ss_map_survey *s, uint64_t below) {
    int status = SS_OK;
    for (uint64_t i = 0; i < below && status == SS_OK; i++) {
        if (reached_as(s, i) != 0) continue;
        s->stats.lost_chunks++;
        if (s->stats.sound) status = tell(s, SS_RULE_LOST, SS_FIRST_CHUNK + i * s->space.stride, i, below);
    }
    for (uint64_t i = below; i < s->space.chunks && status == SS_OK; i++) {
        if (s->reached[i / 32] == 0)
            i |= 31;
        else if (reached_as(s, i) != 0)
            status = tell(s, SS_RULE_BEHIND_END, SS_FIRST_CHUNK + i * s->space.stride, i, below);
    }
    return status;
}

int ss_map_survey_free_list(ss_map_survey *s) {
    ss_survey_note note;
    int status = ss_enter_read(s->space.memory);
    if (status != SS_OK) return status;
    bool shared = ss_share_read(s->space.memory);
    status = tell_or_fail(s, walk_free(s, &s->stats.end_of_chunks, &note), &note);
    ss_leave_shared(s->space.memory, shared);
    return status;
}

int ss_map_survey_chunks(ss_map_survey *s) {
    int status = check_counts(s);
    if (status != SS_OK || (s->space.frame.root == SS_NULL && s->space.chunks == 0)) return status;
    status = ss_map_survey_free_list(s);
    if (status != SS_OK || s->stats.end_of_chunks == 0) return status;
    return check_reached(s, (s->stats.end_of_chunks - SS_FIRST_CHUNK) / s->space.stride);
}

/* ---- life ---- */

/* The root as the only child of nothing. */
static int begin(ss_map_survey *s) {
    slice *top = &s->slices[0];
    if (s->space.frame.root == SS_NULL) return SS_OK;
    int status = ss_enter_read(s->space.memory);
    if (status != SS_OK) return status;
    bool shared = ss_share_read(s->space.memory);
    uint32_t tries = s->space.chunks < LEAF_TRIES ? (uint32_t)s->space.chunks : LEAF_TRIES;
    s->leaf_depth = find_leaf(s, s->space.frame.root, 0, &tries);
    s->space.steps_left = ss_seen_steps(&s->space);
    ss_leave_shared(s->space.memory, shared);
    status = ss_seen_reserve(&top->parents, sizeof(parent));
    if (status != SS_OK) return status;
    parent none = {.low = {.slice = NOWHERE}, .high = {.slice = NOWHERE}};
    memcpy(top->parents.at, &none, sizeof none);
    top->parents.size = sizeof none;
    return add_item(top, s->space.frame.root, ROOT_PARENT, 0);
}

int ss_map_survey_new(ss_memory *memory, const ss_map_frame *frame, const ss_order_term *terms, uint32_t term_count, uint64_t limit,
                      uint64_t room, ss_map_survey **out) {
    *out = NULL;
    int status = ss_seen_check_frame(frame);
    if (status != SS_OK) return status;
    ss_map_survey *s = calloc(1, sizeof *s);
    if (s == NULL) return ss_fail(SS_NO_HEAP, "a survey", 0, sizeof *s, 0);
    ss_seen_space_init(&s->space, memory, frame);
    ss_memory_retain(memory);
    s->room = room;
    s->leaf_depth = UINT64_MAX;
    s->notes.limit = s->disorder.limit = limit;
    s->stats.sound = 1;
    s->stats.key_least = s->stats.value_least = UINT64_MAX;
    s->stats.chunks = s->space.chunks;
    s->reached = calloc((size_t)(s->space.chunks / 32 + 2), sizeof *s->reached);
    if (s->reached == NULL) status = ss_fail(SS_NO_HEAP, "marks of a survey", 0, s->space.chunks, 0);
    if (status == SS_OK && frame->order == SS_SEEN_TERMS) status = ss_order_init(&s->terms, terms, term_count, NULL, NULL);
    if (status == SS_OK) status = begin(s);
    if (status == SS_OK)
        *out = s;
    else
        ss_map_survey_free(s);
    return status;
}

void ss_map_survey_free(ss_map_survey *s) {
    if (s == NULL) return;
    free_slices(s);
    ss_seen_node_free(&s->node);
    free(s->notes.list);
    free(s->disorder.list);
    free(s->reached);
    ss_memory_release(s->space.memory);
    free(s);
}

void ss_map_survey_draw(ss_map_survey *s, uint8_t *depths, uint8_t *fills, uint8_t *kinds, uint64_t group) {
    s->depths = depths, s->fills = fills, s->kinds = kinds, s->group = group;
}

const struct ss_map_stats *ss_map_survey_stats(const ss_map_survey *s) {
    return &s->stats;
}

const ss_survey_notes *ss_map_survey_notes(const ss_map_survey *s) {
    return &s->notes;
}

const ss_survey_notes *ss_map_survey_disorder(const ss_map_survey *s) {
    return &s->disorder;
}

void ss_map_survey_reached(const ss_map_survey *s, uint64_t first, uint64_t count, uint8_t *to) {
    for (uint64_t i = 0; i < count; i++) to[i] = first + i < s->space.chunks ? (uint8_t)reached_as(s, first + i) : 0;
}
