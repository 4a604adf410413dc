/* SPDX-License-Identifier: Apache-2.0 */
/* A survey: one pass over a structure that gives all its statistics and every broken rule, believing nothing.
 *
 * What is wrong is a note, not an error: what it keeps from being read is left out, and the survey goes on. Errors are those of
 * reading (SS_SYSTEM, SS_CALLBACK ...) and SS_NO_HEAP. A survey is made in steps, so that its caller can tell how far it is and
 * be interrupted; the lock of the memory is held during a step. `bytes` of a memory that was cut off need not be whole pages.
 */
#ifndef SS_SURVEY_H
#define SS_SURVEY_H

#include "memory/memory.h"
#include "structures/order.h"

/* Rules, by the thing that `address` is of; `found` and `expected` are what the format's words call so. */
enum ss_survey_rule {
    SS_RULE_GRID,           /* a chunk's address lies on the grid of chunks */
    SS_RULE_CHUNK_INSIDE,   /* a chunk lies inside the memory */
    SS_RULE_INSIDE,         /* an address lies inside the memory */
    SS_RULE_CHUNK_MAGIC,    /* a chunk begins with CHK and version 1; the bytes are `a` */
    SS_RULE_ALLOCATED,      /* a chunk that is reached from the tree is allocated */
    SS_RULE_NODE_MAGIC,     /* a node begins with BTN */
    SS_RULE_LAYOUT,         /* a node's layout version is known */
    SS_RULE_LEAF,           /* a node is a leaf (0) or internal (1) */
    SS_RULE_COUNT,          /* a node has 1 to 11 entries */
    SS_RULE_SLOT_KEY,       /* a key fits its slot (layout 1) */
    SS_RULE_SLOT_VALUE,     /* a value fits its slot (layout 1) */
    SS_RULE_RUN_INSIDE,     /* a node's run lies inside the memory */
    SS_RULE_CHAIN_SHORT,    /* a node's chain has the pages that its entries need */
    SS_RULE_CHAIN_LONG,     /* a node's chain has no more pages than its entries need */
    SS_RULE_OVERFLOW_MAGIC, /* an overflow page begins with NOF */
    SS_RULE_CHAIN_CIRCLE,   /* a node's chain has no cycle */
    SS_RULE_KEY_SIZE,       /* a key fits its type */
    SS_RULE_VALUE_SIZE,     /* a value fits its type */
    SS_RULE_DEPTH,          /* a tree has fewer than 32 levels */
    SS_RULE_ONCE,           /* every chunk is reached once */
    SS_RULE_MINIMUM,        /* a node has at least 5 entries */
    SS_RULE_LEAF_DEPTH,     /* all leaves have one depth */
    SS_RULE_KEY_ENCODING,   /* a key is encoded as its type; `found` is the number of the entry */
    SS_RULE_VALUE_ENCODING, /* a value is */
    SS_RULE_ORDER,          /* keys ascend strictly: `b` comes behind `a` in the tree; found is 1 where they are equal */
    SS_RULE_FREE_MAGIC,     /* a chunk of the free list begins with CHK and version 1 */
    SS_RULE_FREE_ALLOCATED, /* a chunk of the free list is not allocated */
    SS_RULE_FREE_CIRCLE,    /* the free list has no cycle */
    SS_RULE_LOST,           /* every chunk is in the tree or on the free list; found: its number */
    SS_RULE_BEHIND_END,     /* the free list ends behind the last chunk; found: its number */
    SS_RULE_ELEMENT_SIZE,   /* an element fits its slot; `address` is that of its slot */
    SS_RULE_HEAP            /* no element of a heap is less than its parent; found: its number */
};

#define SS_NOTE_BYTES 40

typedef struct ss_survey_note {
    uint64_t address, found, expected;
    int32_t rule;
    uint32_t a_size, b_size; /* of what `a` and `b` are the first bytes of */
    uint8_t a[SS_NOTE_BYTES], b[SS_NOTE_BYTES];
} ss_survey_note;

/* The first notes, and how many there are of all. */
typedef struct ss_survey_notes {
    ss_survey_note *list;
    uint64_t kept, room, limit, count;
} ss_survey_notes;

/* Orders of encoded keys that a survey can hold them against. */
enum ss_seen_order {
    SS_SEEN_ANY, /* nothing is compared */
    SS_SEEN_BYTES,
    SS_SEEN_LENGTH,   /* by length, then by bytes */
    SS_SEEN_REVERSED, /* descending bytes */
    SS_SEEN_OPTION,   /* none (the byte 0) first, then bytes with a 1 behind them */
    SS_SEEN_PAIR,     /* tuple<blob<N>, fixed> of a width that the two keys show */
    SS_SEEN_TERMS     /* by terms of a type, which need no callback */
};

/* What each key or value must be beside having its size. */
enum ss_seen_encoding {
    SS_ENCODED_ANY,  /* the type is not known */
    SS_ENCODED_SIZE, /* nothing: all bytes of that size are values */
    SS_ENCODED_UTF8,
    SS_ENCODED_BOOL
};

#define SS_NOT_FIXED UINT64_MAX

/* How the nodes of a map lie and what is known of their entries: all that a survey is given. */
typedef struct ss_map_frame {
    uint64_t bytes;                /* of the memory */
    uint64_t page;                 /* bytes of a chunk without its header; at least 128 */
    uint64_t slot_key, slot_value; /* of layout-1 nodes; both 0: there are none */
    uint64_t key_fixed;            /* the one size of keys that have no size field, or SS_NOT_FIXED */
    uint64_t key_max, value_max;
    uint64_t value_fixed; /* or SS_NOT_FIXED */
    uint64_t root, free_head;
    int32_t order, key_encoding, value_encoding;
    int32_t reserved;
} ss_map_frame;

/* ---- maps: the whole tree and all chunks ---- */

typedef struct ss_map_survey ss_map_survey;

#define SS_DEPTHS 32

struct ss_map_stats {
    uint64_t entries, nodes, overflow_pages, free_chunks, lost_chunks, live, layout_1_nodes;
    uint64_t nodes_by_depth[SS_DEPTHS], fill[12];
    uint64_t key_least, key_most, value_least, value_most;
    uint64_t depths;        /* levels that have nodes */
    uint64_t broken_orders; /* neighbours that do not ascend, */
    uint64_t equal_keys;    /* and those of them that are equal */
    uint64_t skipped;       /* subtrees that were left out */
    uint64_t end_of_chunks; /* address of the end of the free list; 0 while it is not known */
    uint64_t chunks;        /* that fit the memory */
    int32_t sound;          /* no subtree was left out */
    int32_t reserved;
};

/* `terms` are those of SS_SEEN_TERMS. At most `limit` notes of each kind are kept (of the order, and of all else); `room` is what the
 * survey may need for a slice of a level, in bytes: 0 for a walk in the order of the keys. */
int ss_map_survey_new(ss_memory *memory, const ss_map_frame *frame, const ss_order_term *terms, uint32_t term_count, uint64_t limit,
                      uint64_t room, ss_map_survey **out);
void ss_map_survey_free(ss_map_survey *survey);
/* Columns of chunks + 1 bytes that a survey fills by number of the chunk, for pictures; each may be NULL. Before the first step. */
void ss_map_survey_draw(ss_map_survey *survey, uint8_t *depths, uint8_t *fills, uint8_t *leaves);
/* Visits some nodes of the tree: SS_OK if more are left, SS_ABSENT at the end, or an error. O(nodes). */
int ss_map_survey_step(ss_map_survey *survey, uint64_t nodes);
/* Walks the free list up to its end. O(free chunks). */
int ss_map_survey_free_list(ss_map_survey *survey);
/* After the tree: the free list, then every chunk. O(chunks). */
int ss_map_survey_chunks(ss_map_survey *survey);
const struct ss_map_stats *ss_map_survey_stats(const ss_map_survey *survey);
const ss_survey_notes *ss_map_survey_notes(const ss_map_survey *survey);
const ss_survey_notes *ss_map_survey_disorder(const ss_map_survey *survey);
/* What chunk i was reached as: 0, or one of these. */
enum ss_reached { SS_REACHED_NODE = 1, SS_REACHED_OVERFLOW = 2, SS_REACHED_FREE = 3 };
void ss_map_survey_reached(const ss_map_survey *survey, uint64_t first, uint64_t count, uint8_t *to);

/* ---- maps: entries in batches ---- */

typedef struct ss_entries ss_entries;

/* Columns, valid until the next call: keys and values one behind the other with the end of each, the node that each is of and its
 * number in it. */
typedef struct ss_entries_batch {
    uint64_t count;
    const uint8_t *keys, *values;
    const uint64_t *key_ends, *value_ends, *nodes;
    const uint8_t *numbers;
} ss_entries_batch;

/* In the order of the keys, O(n) and one node of each level in memory; or (`chunks` not NULL) the nodes of these chunks in ascending
 * order of address. Values are left out where `keys_only`; their ends are those that they would have. */
int ss_entries_new(ss_memory *memory, const ss_map_frame *frame, const uint64_t *chunks, uint64_t chunk_count, bool keys_only,
                   ss_entries **out);
void ss_entries_free(ss_entries *entries);
/* About so many bytes, and at least one entry: SS_OK, SS_ABSENT at the end, or an error. */
int ss_entries_next(ss_entries *entries, uint64_t bytes, ss_entries_batch *batch);
/* What could not be read so far. */
const ss_survey_notes *ss_entries_notes(const ss_entries *entries);

/* ---- vecs and heaps ---- */

typedef struct ss_slots_survey ss_slots_survey;

#define SS_MOST_SURVEYED_SLOT (UINT64_C(1) << 20)

/* Where the slots lie: all `count` of them inside of `bytes`, the last one perhaps only in part (the rest is taken as zeros). A heap has an
 * order (enum ss_seen_order), a vec SS_SEEN_ANY. */
typedef struct ss_slots_frame {
    uint64_t bytes, first, count, slot;
    uint64_t size_bytes; /* 0, 1, 2 or 4; an element has max_size bytes if it is 0, else up to max_size */
    uint64_t max_size;
    int32_t order, encoding;
} ss_slots_frame;

/* As for a map; SS_ARGUMENT for slots that do not lie inside, or are larger than SS_MOST_SURVEYED_SLOT. */
int ss_slots_survey_new(ss_memory *memory, const ss_slots_frame *frame, const ss_order_term *terms, uint32_t term_count, uint64_t limit,
                        ss_slots_survey **out);
void ss_slots_survey_free(ss_slots_survey *survey);
/* Visits some slots: SS_OK if more are left, SS_ABSENT at the end, or an error. O(slots). */
int ss_slots_survey_step(ss_slots_survey *survey, uint64_t slots);
/* SS_RULE_ELEMENT_SIZE and SS_RULE_VALUE_ENCODING (`found` is the number of the element). */
const ss_survey_notes *ss_slots_survey_notes(const ss_slots_survey *survey);
/* SS_RULE_HEAP: `found` is the number of the element, `expected` that of its parent. */
const ss_survey_notes *ss_slots_survey_disorder(const ss_slots_survey *survey);

#endif
