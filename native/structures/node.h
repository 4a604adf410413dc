/* SPDX-License-Identifier: Apache-2.0 */
/* One node of a B-tree, searched and edited where it lies (layouts 1 and 2; pictures in node_layout.h).
 *
 * A node's bytes are one *run*: its first page, then the data parts of its overflow pages. Everything below addresses
 * the run; which page a byte is in, and whether that page lies in place or in the scratch, is settled in node.c.
 * An opened node is valid until the scratch is reset or its chunk is freed; after an edit it describes the new content.
 */
#ifndef SS_NODE_H
#define SS_NODE_H

#include "memory/memory.h"
#include "structures/order.h"

#define SS_CAPACITY 11 /* entries of a full node */
#define SS_MINIMUM 5   /* entries of the emptiest node that is not the root */
#define SS_CHILDREN (SS_CAPACITY + 1)
#define SS_LEAST_PAGE UINT64_C(128)
/* A tree of more levels would need more than 2^64 entries. */
#define SS_DEPTH 32

/* What all nodes of a map share. */
typedef struct ss_space {
    ss_memory *memory;
    ss_scratch scratch;
    const ss_order *order;
    uint64_t page_size;  /* bytes of a chunk; from the map's header */
    uint64_t most_pages; /* pages that fit the memory: no chain is longer */
    bool derived;        /* the header gives sizes for layout 1, as below */
    uint32_t v1_key, v1_value;
    bool fixed_key;    /* keys have no size field in layout 2 */
    uint32_t key_size; /* of a fixed key */
    bool fixed_value;  /* every value has value_size bytes */
    uint32_t value_size;
} ss_space;

typedef struct ss_span {
    const uint8_t *at;
    uint64_t size;
} ss_span;

typedef struct ss_entry {
    ss_span key, value;
} ss_entry;

typedef struct ss_node {
    uint64_t address;
    uint32_t count;
    uint8_t version;
    bool leaf;
    bool keys_laid_out, laid_out; /* key_at, and value_at too, are filled */
    uint64_t children_at;         /* offset in the run of the first child */
    ss_pin page;                  /* the first page */
    ss_pin *overflow;             /* further pages, as far as they were needed */
    uint64_t *overflow_address;
    uint32_t overflow_count, overflow_room;
    uint64_t key_at[SS_CAPACITY + 1];   /* offset of each key's field; [count] is where the values begin */
    uint64_t value_at[SS_CAPACITY + 1]; /* offset of each value's size field; [count] is the end of the run */
} ss_node;

/* Entries [at, at + drop) are replaced by `add` entries, children [child_at, child_at + child_drop) by `child_add`.
 * The new bytes must not lie in the node. keep_keys: drop == add, and only the values are replaced. */
typedef struct ss_edit {
    uint32_t at, drop, add;
    const ss_entry *entries;
    uint32_t child_at, child_drop, child_add;
    const uint64_t *children;
    bool keep_keys;
} ss_edit;

/* Opens the node at `address` and checks its header. */
int ss_node_open(ss_space *space, uint64_t address, ss_node *node);
/* The same, and that its chunk is allocated: for nodes that will be changed. */
int ss_node_open_for_change(ss_space *space, uint64_t address, ss_node *node);

/* Where `key` is or would be: *index, *found. */
int ss_node_search(ss_space *space, ss_node *node, ss_span key, uint32_t *index, bool *found);

int ss_node_child(ss_space *space, ss_node *node, uint32_t index, uint64_t *child);
/* The bytes of a key or a value: in place, or in the scratch where they do not lie in one piece. */
int ss_node_key(ss_space *space, ss_node *node, uint32_t index, ss_span *key);
int ss_node_value(ss_space *space, ss_node *node, uint32_t index, ss_span *value);
/* Number of bytes of value `index`, without reading them. */
int ss_node_value_size(ss_space *space, ss_node *node, uint32_t index, uint64_t *size);

/* Copies of entries [at, at + n) and of the children in the scratch, for edits that move them to another node. */
int ss_node_copy_entries(ss_space *space, ss_node *node, uint32_t at, uint32_t n, ss_entry *entries);
int ss_node_copy_children(ss_space *space, ss_node *node, uint32_t at, uint32_t n, uint64_t *children);

/* Applies the edit; allocates or frees overflow pages as docs/format.md#b-tree-map says. Begins an undo scope where it does so. */
int ss_node_edit(ss_space *space, ss_node *node, const ss_edit *edit);
/* Gives entry `index` another value. As ss_node_edit. */
int ss_node_replace_value(ss_space *space, ss_node *node, uint32_t index, ss_span value);
/* Allocates a chunk for a node; it must be filled by ss_node_fill before anything reads it. */
int ss_node_take(ss_space *space, uint64_t *address);
/* Chunks that ss_node_fill takes for so many entries, whose keys and values have so many bytes together. */
uint64_t ss_node_chunks(const ss_space *space, bool leaf, uint64_t count, uint64_t bytes);
/* Writes a new layout-2 node into the chunk at `address`. */
int ss_node_fill(ss_space *space, uint64_t address, bool leaf, const ss_entry *entries, uint32_t count, const uint64_t *children);
/* Frees the overflow pages first to last, then the chunk. */
int ss_node_give_back(ss_space *space, ss_node *node);

/* Follows the chain to its end: SS_CORRUPT unless it has exactly the pages that the run needs and each is allocated. */
int ss_node_check_chain(ss_space *space, ss_node *node);

#endif
