/* SPDX-License-Identifier: Apache-2.0 */
/* A tree of n entries is laid out from above: its height is the least at which no node is too full, each subtree gets an equal share.
 *
 *   frames    root | ... | a leaf            open nodes, one of each level
 *
 * The next entry goes into the open leaf. When that has its share it is written, and its address goes to the frame above; there the
 * next entry separates it from the next child, or the frame is full and is written too. So chunks come out in the order in which
 * nodes are completed, children before their parents.
 */
#include "structures/pack.h"

#include <stdlib.h>

#include "structures/survey_internal.h"

typedef struct frame {
    uint64_t parts, share, more; /* children, entries of each, and how many of them get one more */
    uint64_t want;               /* entries */
    uint64_t count;              /* entries so far */
    uint64_t child_count;
    uint64_t children[SS_CHILDREN];
    ss_seen_bytes keys, values; /* as they are written; layout 1: slots, in keys */
} frame;

struct ss_pack {
    ss_pack_form form;
    uint64_t left; /* entries that are to come */
    uint64_t root, chunks, nodes;
    uint32_t height, top;       /* of the open frame, and of the root */
    bool measures;              /* only sizes come, and nothing is written */
    bool separator;             /* the next entry separates two children */
    frame frames[SS_DEPTH + 1]; /* by height */
    ss_seen_bytes made;
    bool taken;
};

/* ---- shares ---- */

/* a * base^times, or UINT64_MAX if it does not fit. */
static uint64_t times_power(uint64_t a, uint64_t base, uint32_t times) {
    while (times-- > 0) {
        if (__builtin_mul_overflow(a, base, &a)) return UINT64_MAX;
    }
    return a;
}

static uint32_t height_of(const ss_pack_form *form, uint64_t count) {
    uint32_t height = 0;
    while (times_power(form->leaf + 1, form->inner + 1, height) < count + 1) height++;
    while (height > 0 && count + 1 < times_power(2, SS_MINIMUM + 1, height)) height--;
    return height;
}

static uint64_t divide_up(uint64_t a, uint64_t b) {
    return a / b + (a % b != 0);
}

/* Children of a subtree: any number will do that leaves none of them too full or too empty. */
static uint64_t parts_of(const ss_pack_form *form, uint64_t count, uint32_t height, uint64_t fewest) {
    uint64_t n = count + 1, ideal = divide_up(n, times_power(form->leaf + 1, form->inner + 1, height - 1));
    uint64_t most = n / times_power(1, SS_MINIMUM + 1, height), least = divide_up(n, times_power(1, SS_CHILDREN, height));
    if (most > SS_CHILDREN) most = SS_CHILDREN;
    uint64_t parts = ideal < most ? ideal : most;
    if (parts < least) parts = least;
    return parts < fewest ? fewest : parts;
}

/* ---- forms ---- */

static uint64_t chunks_of(uint64_t page, uint64_t run) {
    return run <= page ? 1 : 1 + divide_up(run - page, page - SS_OVERFLOW_HEADER);
}

static int check_form(const ss_pack_form *form) {
    bool fill = form->leaf >= SS_MINIMUM && form->leaf <= SS_CAPACITY && form->inner >= SS_MINIMUM && form->inner <= SS_CAPACITY;
    bool slots = form->slot_key <= UINT32_MAX && form->slot_value <= UINT32_MAX;
    bool fits = fill && slots && form->page >= SS_LEAST_PAGE && form->page < UINT64_C(1) << 40 &&
                (!form->layout_1 || form->page >= ss_node_v1_size(form->slot_key, form->slot_value));
    return fits ? SS_OK : ss_fail(SS_ARGUMENT, "the form of a packed map", 0, form->page, form->leaf);
}

/* ---- chunks ---- */

static uint64_t address_of(const ss_pack *pack, uint64_t chunk) {
    return SS_FIRST_CHUNK + chunk * (pack->form.page + SS_CHUNK_HEADER) + SS_CHUNK_HEADER;
}

/* Zeros for so many chunks, with their headers. NULL if there is no memory. */
static uint8_t *add_chunks(ss_pack *pack, uint64_t count) {
    uint64_t stride = pack->form.page + SS_CHUNK_HEADER;
    if (pack->taken) pack->made.size = 0;
    pack->taken = false;
    if (ss_seen_reserve(&pack->made, count * stride) != SS_OK) return NULL;
    uint8_t *at = pack->made.at + pack->made.size;
    memset(at, 0, (size_t)(count * stride));
    for (uint64_t i = 0; i < count; i++) ss_put64(at + i * stride, SS_ALLOCATED_CHUNK);
    pack->made.size += count * stride;
    pack->chunks += count;
    return at;
}

/* Where the run of a node is written: the first page, then what follows the heads of the others. */
typedef struct pen {
    uint8_t *at;
    uint64_t page, offset;
} pen;

static void put(pen *p, const uint8_t *from, uint64_t size) {
    uint64_t room = p->page - SS_OVERFLOW_HEADER;
    while (size > 0) {
        uint64_t index = p->offset < p->page ? 0 : (p->offset - p->page) / room + 1;
        uint64_t inside = index == 0 ? p->offset : SS_OVERFLOW_HEADER + (p->offset - p->page) % room;
        uint64_t run = p->page - inside < size ? p->page - inside : size;
        memcpy(p->at + index * (p->page + SS_CHUNK_HEADER) + SS_CHUNK_HEADER + inside, from, (size_t)run);
        p->offset += run, from += run, size -= run;
    }
}

static void put_children(pen *p, const frame *f) {
    for (uint64_t i = 0; i < f->child_count; i++) {
        uint8_t bytes[8];
        ss_put64(bytes, f->children[i]);
        put(p, bytes, sizeof bytes);
    }
}

/* The heads of overflow pages: each leads to the next chunk, the last one nowhere. */
static void link_pages(const ss_pack *pack, uint8_t *at, uint64_t first, uint64_t count) {
    uint64_t stride = pack->form.page + SS_CHUNK_HEADER;
    if (count > 1) ss_put64(at + SS_CHUNK_HEADER + SS_NODE_OVERFLOW_AT, address_of(pack, first + 1));
    for (uint64_t i = 1; i < count; i++) {
        uint8_t *page = at + i * stride + SS_CHUNK_HEADER;
        memcpy(page, SS_OVERFLOW_MAGIC, SS_MAGIC_SIZE);
        if (i + 1 < count) ss_put64(page + SS_OVERFLOW_NEXT_AT, address_of(pack, first + i + 1));
    }
}

static int write_node(ss_pack *pack, const frame *f, uint64_t *address) {
    uint64_t head = pack->form.layout_1 ? SS_NODE_V1_HEADER : SS_NODE_HEADER,
             run = head + SS_CHILD_SIZE * f->child_count + f->keys.size + f->values.size;
    uint64_t first = pack->chunks, count = pack->form.layout_1 ? 1 : chunks_of(pack->form.page, run);
    pack->nodes++;
    if (pack->measures) {
        pack->chunks += count;
        return SS_OK;
    }
    uint8_t *at = add_chunks(pack, count);
    if (at == NULL) return SS_NO_HEAP;
    uint8_t *node = at + SS_CHUNK_HEADER;
    memcpy(node, SS_NODE_MAGIC, SS_MAGIC_SIZE);
    node[SS_VERSION_AT] = pack->form.layout_1 ? 1 : 2;
    node[SS_NODE_TYPE_AT] = f->child_count > 0;
    ss_put16(node + SS_NODE_COUNT_AT, (uint16_t)f->count);
    pen p = {at, pack->form.page, head};
    if (!pack->form.layout_1) {
        link_pages(pack, at, first, count);
        put_children(&p, f);
    }
    put(&p, f->keys.at, f->keys.size);
    put(&p, f->values.at, f->values.size);
    if (pack->form.layout_1) put_children(&p, f);
    *address = address_of(pack, first);
    return SS_OK;
}

/* ---- entries ---- */

static int add_bytes(ss_seen_bytes *to, const uint8_t *from, uint64_t size, bool sized, uint64_t padded) {
    uint64_t all = (sized ? 4 : 0) + (padded > size ? padded : size);
    int status = ss_seen_reserve(to, all + 1);
    if (status != SS_OK) return status;
    uint8_t *at = to->at + to->size;
    if (sized) ss_put32(at, (uint32_t)size);
    if (size > 0) memcpy(at + (sized ? 4 : 0), from, (size_t)size);
    memset(at + (sized ? 4 : 0) + size, 0, (size_t)(all - (sized ? 4 : 0) - size));
    to->size += all;
    return SS_OK;
}

static int add_entry(ss_pack *pack, frame *f, const uint8_t *key, uint64_t key_size, const uint8_t *value, uint64_t value_size) {
    const ss_pack_form *form = &pack->form;
    bool fixed = form->key_fixed != SS_NOT_FIXED && !form->layout_1;
    bool fits = key_size <= UINT32_MAX && value_size <= UINT32_MAX && (!fixed || key_size == form->key_fixed);
    if (form->layout_1) fits = key_size <= form->slot_key && value_size <= form->slot_value;
    if (!fits) return ss_fail(SS_ARGUMENT, "an entry of a packed map", 0, key_size, value_size);
    f->count++;
    int status = add_bytes(&f->keys, key, key_size, !fixed, form->layout_1 ? form->slot_key : 0);
    ss_seen_bytes *values = form->layout_1 ? &f->keys : &f->values;
    return status == SS_OK ? add_bytes(values, value, value_size, true, form->layout_1 ? form->slot_value : 0) : status;
}

/* Opens a subtree of `count` entries down to its first leaf. */
static void open_subtree(ss_pack *pack, uint32_t height, uint64_t count, uint64_t fewest) {
    for (;; height--, fewest = SS_MINIMUM + 1) {
        frame *f = &pack->frames[height];
        f->keys.size = f->values.size = f->count = f->child_count = 0;
        pack->height = height;
        if (height == 0) {
            f->want = count;
            return;
        }
        f->parts = parts_of(&pack->form, count, height, fewest);
        uint64_t rest = count - (f->parts - 1);
        f->share = rest / f->parts;
        f->more = rest % f->parts;
        count = f->share + (0 < f->more);
    }
}

/* The open node is complete: it is written, and so are the ones above that it completes. */
static int close_node(ss_pack *pack) {
    uint64_t address = 0;
    for (;;) {
        int status = write_node(pack, &pack->frames[pack->height], &address);
        if (status != SS_OK) return status;
        if (pack->height == pack->top) {
            pack->root = address;
            return SS_OK;
        }
        frame *above = &pack->frames[++pack->height];
        above->children[above->child_count++] = address;
        if (above->child_count < above->parts) {
            pack->separator = true;
            return SS_OK;
        }
    }
}

static int too_many(void) {
    return ss_fail(SS_ARGUMENT, "more entries than were announced for a packed map", 0, 0, 0);
}

/* After entries that the open node took: a separator is followed by the next child, and a node that has its share is complete. */
static int go_on(ss_pack *pack) {
    const frame *f = &pack->frames[pack->height];
    if (pack->separator) {
        pack->separator = false;
        open_subtree(pack, pack->height - 1, f->share + (f->child_count < f->more), SS_MINIMUM + 1);
        return SS_OK;
    }
    return f->count == f->want ? close_node(pack) : SS_OK;
}

static int feed_one(ss_pack *pack, const uint8_t *key, uint64_t key_size, const uint8_t *value, uint64_t value_size) {
    if (pack->left == 0) return too_many();
    pack->left--;
    int status = add_entry(pack, &pack->frames[pack->height], key, key_size, value, value_size);
    return status == SS_OK ? go_on(pack) : status;
}

int ss_pack_feed(ss_pack *pack, uint64_t count, const uint8_t *keys, const uint64_t *key_ends, const uint8_t *values,
                 const uint64_t *value_ends) {
    uint64_t key = 0, value = 0;
    if (pack->measures) return ss_fail(SS_ARGUMENT, "entries after sizes", 0, count, 0);
    for (uint64_t i = 0; i < count; i++) {
        if (key_ends[i] < key || value_ends[i] < value) return ss_fail(SS_ARGUMENT, "ends of a column ascend", 0, i, count);
        int status = feed_one(pack, keys + key, key_ends[i] - key, values + value, value_ends[i] - value);
        if (status != SS_OK) return status;
        key = key_ends[i];
        value = value_ends[i];
    }
    return SS_OK;
}

int ss_pack_measure(ss_pack *pack, uint64_t count, const uint64_t *sums) {
    uint64_t field = pack->form.key_fixed == SS_NOT_FIXED ? 2 * SS_SIZE_FIELD : SS_SIZE_FIELD;
    if (pack->made.size > 0) return ss_fail(SS_ARGUMENT, "sizes after entries", 0, count, 0);
    pack->measures = true;
    for (uint64_t at = 0, take; at < count; at += take) {
        frame *f = &pack->frames[pack->height];
        uint64_t wanted = pack->separator ? 1 : f->want - f->count;
        if (pack->left == 0) return too_many();
        take = wanted < count - at ? wanted : count - at;
        pack->left -= take;
        f->count += take;
        f->keys.size += take * field + (sums == NULL ? 0 : sums[at + take] - sums[at]);
        int status = go_on(pack);
        if (status != SS_OK) return status;
    }
    return SS_OK;
}

uint64_t ss_pack_nodes(const ss_pack *pack) {
    return pack->nodes;
}

uint64_t ss_pack_take(ss_pack *pack, const uint8_t **bytes) {
    *bytes = pack->made.at;
    uint64_t size = pack->taken ? 0 : pack->made.size;
    pack->taken = true;
    return size;
}

int ss_pack_end(const ss_pack *pack, uint64_t *root, uint64_t *chunks) {
    *root = pack->root;
    *chunks = pack->chunks;
    return pack->left == 0 ? SS_OK : SS_ABSENT;
}

/* ---- life ---- */

int ss_pack_new(const ss_pack_form *form, uint64_t count, ss_pack **out) {
    *out = NULL;
    int status = check_form(form);
    if (status != SS_OK) return status;
    if (count > UINT64_C(1) << 60) return ss_fail(SS_ARGUMENT, "entries of a packed map", 0, count, 0);
    ss_pack *pack = calloc(1, sizeof *pack);
    if (pack == NULL) return ss_fail(SS_NO_HEAP, "packing a map", 0, sizeof *pack, 0);
    pack->form = *form;
    pack->left = count;
    pack->top = height_of(form, count);
    if (count > 0) open_subtree(pack, pack->top, count, 2);
    *out = pack;
    return SS_OK;
}

void ss_pack_free(ss_pack *pack) {
    if (pack == NULL) return;
    for (uint32_t i = 0; i <= SS_DEPTH; i++) {
        free(pack->frames[i].keys.at);
        free(pack->frames[i].values.at);
    }
    free(pack->made.at);
    free(pack);
}
