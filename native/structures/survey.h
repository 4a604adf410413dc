/* SPDX-License-Identifier: Apache-2.0 */
/* A survey: one pass over a structure that gives all its statistics and every broken rule, believing nothing.
 *
 * What is wrong is a note, not an error: what it keeps from being read is left out, and the survey goes on. Errors are those of
 * reading (SS_SYSTEM, SS_CALLBACK ...) and SS_NO_HEAP. A survey is made in steps, so that its caller can tell how far it is and
 * be interrupted; the lock of the memory is held during a step. `bytes` of a memory that was cut off need not be whole pages.
 */
#ifndef SS_SURVEY_H
#define SS_SURVEY_H

#include "memory/manager.h"
#include "memory/memory.h"
#include "structures/order.h"

/* Rules, by the thing that `address` is of; `found` and `expected` are what the format's words call so. */
enum ss_survey_rule {
    SS_RULE_GRID,            /* a chunk's address lies on the grid of chunks */
    SS_RULE_CHUNK_INSIDE,    /* a chunk lies inside the memory */
    SS_RULE_INSIDE,          /* an address lies inside the memory */
    SS_RULE_CHUNK_MAGIC,     /* a chunk begins with CHK and version 1; the bytes are `a` */
    SS_RULE_ALLOCATED,       /* a chunk that is reached from the tree is allocated */
    SS_RULE_NODE_MAGIC,      /* a node begins with BTN */
    SS_RULE_LAYOUT,          /* a node's layout version is known */
    SS_RULE_LEAF,            /* a node is a leaf (0) or internal (1) */
    SS_RULE_COUNT,           /* a node has 1 to 11 entries */
    SS_RULE_SLOT_KEY,        /* a key fits its slot (layout 1) */
    SS_RULE_SLOT_VALUE,      /* a value fits its slot (layout 1) */
    SS_RULE_RUN_INSIDE,      /* a node's run lies inside the memory */
    SS_RULE_CHAIN_SHORT,     /* a node's chain has the pages that its entries need */
    SS_RULE_CHAIN_LONG,      /* a node's chain has no more pages than its entries need */
    SS_RULE_OVERFLOW_MAGIC,  /* an overflow page begins with NOF */
    SS_RULE_CHAIN_CIRCLE,    /* a node's chain has no cycle */
    SS_RULE_KEY_SIZE,        /* a key fits its type */
    SS_RULE_VALUE_SIZE,      /* a value fits its type */
    SS_RULE_DEPTH,           /* a tree has fewer than 32 levels */
    SS_RULE_ONCE,            /* every chunk is reached once */
    SS_RULE_MINIMUM,         /* a node has at least 5 entries */
    SS_RULE_LEAF_DEPTH,      /* all leaves have one depth */
    SS_RULE_KEY_ENCODING,    /* a key is encoded as its type; `found` is the number of the entry */
    SS_RULE_VALUE_ENCODING,  /* a value is */
    SS_RULE_ORDER,           /* keys ascend strictly: `b` comes behind `a` in the tree; found is 1 where they are equal */
    SS_RULE_FREE_MAGIC,      /* a chunk of the free list begins with CHK and version 1 */
    SS_RULE_FREE_ALLOCATED,  /* a chunk of the free list is not allocated */
    SS_RULE_FREE_CIRCLE,     /* the free list has no cycle */
    SS_RULE_LOST,            /* every chunk is in the tree or on the free list; found: its number */
    SS_RULE_BEHIND_END,      /* the free list ends behind the last chunk; found: its number */
    SS_RULE_LENGTH,          /* a map's length counts its entries */
    SS_RULE_LENGTH_LEAST,    /* it does, though parts of the tree were left out: there are at least so many */
    SS_RULE_ALLOCATED_COUNT, /* the number of allocated chunks counts them */
    SS_RULE_ELEMENT_SIZE,    /* an element fits its slot; `address` is that of its slot */
    SS_RULE_HEAP,            /* no element of a heap is less than its parent; found: its number */
    SS_RULE_ENDS_ASCEND,     /* the ends of a log's entries ascend; expected: the one before */
    SS_RULE_ENTRY_INSIDE,    /* an entry lies inside the data memory */
    /* headers */
    SS_RULE_HEADER,          /* a structure has its header: found and expected are bytes; nothing else can be said of it */
    SS_RULE_MAGIC,           /* a structure begins with its magic; the bytes are `a`, those of the magic `b` */
    SS_RULE_VERSION,         /* its version is known */
    SS_RULE_FIXED_FLAG,      /* the fixed-size flag is 0 or 1 */
    SS_RULE_ALLOCATOR_MAGIC, /* the allocator begins with BTA and version 1 */
    SS_RULE_CHUNK_SIZE,      /* the allocator's chunks have the map's page size */
    SS_RULE_VALUE_INSIDE,    /* the value of a cell lies inside the memory; expected: what there is room for */
    SS_RULE_ENDS_INSIDE,     /* the ends of all entries lie inside the index; expected: how many there is room for */
    /* the manager's tables */
    SS_RULE_BUCKET_SIZE,      /* the bucket size is not 0; nothing else can be said */
    SS_RULE_BUCKET_COUNT,     /* number of allocated buckets; nothing else can be said */
    SS_RULE_MANAGER_MAGIC,    /* it begins with MGR and version 1 */
    SS_RULE_RESERVED,         /* the reserved bytes are zero; the first that is not */
    SS_RULE_NEVER_ALLOCATED,  /* a bucket that was never allocated has no owner */
    SS_RULE_OWNER,            /* an allocated bucket belongs to a memory */
    SS_RULE_BUCKET_INSIDE,    /* a bucket in use ends inside the memory */
    SS_RULE_BUCKETS_OF_MEMORY /* a memory owns as many buckets as its size needs */
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

/* For at most `limit` notes; NULL without memory for it. Free with ss_survey_notes_free. */
ss_survey_notes *ss_survey_notes_new(uint64_t limit);
void ss_survey_notes_free(ss_survey_notes *notes);

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
    uint64_t length, allocated; /* entries and chunks, as the headers count them */
    int32_t order, key_encoding, value_encoding;
    int32_t reserved;
} ss_map_frame;

/* ---- headers ---- */

enum ss_seen_kind { SS_SEEN_MAP, SS_SEEN_VEC, SS_SEEN_HEAP, SS_SEEN_CELL, SS_SEEN_LOG_INDEX, SS_SEEN_LOG_DATA };

/* What the header of a structure says, whatever it says. */
typedef struct ss_seen_head {
    uint64_t version;
    uint64_t count;              /* elements of a vec or heap, entries of a log or map */
    uint64_t size, flag;         /* of a vec or heap: the largest element, and whether all have that size; of a cell: its value's size */
    uint64_t key_max, value_max; /* of a map; both UINT32_MAX where it is unbounded */
    uint64_t page, derived;      /* bytes of a chunk, and whether they follow from the largest key and value */
    uint64_t root, allocated, free_head, chunk_size; /* the last as the allocator says it */
} ss_seen_head;

/* Of the first `size` bytes of a memory of `nbytes`, all of them or as many as any header has. SS_CORRUPT where it has no header: that
 * is the only note then. SS_NO_HEAP. */
int ss_survey_head(enum ss_seen_kind kind, const uint8_t *bytes, uint64_t size, uint64_t nbytes, ss_seen_head *head,
                   ss_survey_notes *notes);

/* ---- the manager ---- */

struct ss_manager_stats {
    uint64_t owned[SS_MANAGER_MEMORIES + 1]; /* buckets of each memory, and of nobody */
    uint64_t needed[SS_MANAGER_MEMORIES];    /* buckets that its size takes */
    uint64_t there[SS_MANAGER_MEMORIES];     /* bytes of each memory that can be read: up to the first bucket that is cut off */
    uint64_t cut[SS_MANAGER_MEMORIES];       /* bytes of each memory that are behind the end */
};

/* Of the SS_MANAGER_TABLES_SIZE bytes of tables at the start of a memory of `nbytes`. SS_CORRUPT where the numbers of its header let
 * nothing else be said: that is the only note then. SS_NO_HEAP. O(buckets). */
int ss_survey_manager(const uint8_t *tables, uint64_t nbytes, struct ss_manager_stats *stats, ss_survey_notes *notes);

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
/* Columns of chunks / group + 1 bytes that a survey fills by number of the chunk, for pictures; each may be NULL. Of `group` chunks that
 * share a byte it has the largest: depth, share of the page that is filled, kind (1 leaf, 2 internal node, or not read). Before the first
 * step. */
void ss_map_survey_draw(ss_map_survey *survey, uint8_t *depths, uint8_t *fills, uint8_t *kinds, uint64_t group);
/* Visits some nodes of the tree: SS_OK if more are left, SS_ABSENT at the end, or an error. O(nodes). */
int ss_map_survey_step(ss_map_survey *survey, uint64_t nodes);
/* Walks the free list up to its end. O(free chunks). */
int ss_map_survey_free_list(ss_map_survey *survey);
/* After the tree: what the headers count, the free list, then every chunk. O(chunks). */
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

/* ---- elements ---- */

/* Of those that could be read. */
struct ss_elements_stats {
    uint64_t count, least, most; /* how many, and their sizes; least is UINT64_MAX while there are none */
};

/* Whether a value of `size` bytes at `address`, which are there, is encoded as enum ss_seen_encoding says, in *is. O(size). */
int ss_survey_value(ss_memory *memory, uint64_t address, uint64_t size, int encoding, bool *is);

/* ---- vecs and heaps ---- */

typedef struct ss_slots_survey ss_slots_survey;

/* Where the slots lie: all `count` of them inside of `bytes`, the last one perhaps only in part (the rest is taken as zeros). A heap has an
 * order (enum ss_seen_order), a vec SS_SEEN_ANY. */
typedef struct ss_slots_frame {
    uint64_t bytes, first, count, slot;
    uint64_t size_bytes; /* 0, 1, 2 or 4; an element has max_size bytes if it is 0, else up to max_size */
    uint64_t max_size;
    int32_t order, encoding;
} ss_slots_frame;

/* As for a map; SS_ARGUMENT for slots that do not lie inside. Of large slots only what must be looked at is read. */
int ss_slots_survey_new(ss_memory *memory, const ss_slots_frame *frame, const ss_order_term *terms, uint32_t term_count, uint64_t limit,
                        ss_slots_survey **out);
void ss_slots_survey_free(ss_slots_survey *survey);
/* Visits some slots: SS_OK if more are left, SS_ABSENT at the end, or an error. O(slots). */
int ss_slots_survey_step(ss_slots_survey *survey, uint64_t slots);
/* SS_RULE_ELEMENT_SIZE and SS_RULE_VALUE_ENCODING (`found` is the number of the element). */
const ss_survey_notes *ss_slots_survey_notes(const ss_slots_survey *survey);
/* SS_RULE_HEAP: `found` is the number of the element, `expected` that of its parent. */
const ss_survey_notes *ss_slots_survey_disorder(const ss_slots_survey *survey);
const struct ss_elements_stats *ss_slots_survey_stats(const ss_slots_survey *survey);

/* ---- logs ---- */

typedef struct ss_log_survey ss_log_survey;

/* `count` ends lie inside of `index_bytes`. Entries have from `least` to `most` bytes, unless the encoding is SS_ENCODED_ANY. */
typedef struct ss_log_frame {
    uint64_t index_bytes, data_bytes, count, least, most;
    int32_t encoding, reserved;
} ss_log_frame;

/* As for a map; SS_ARGUMENT for ends that do not lie inside. `data` may be NULL: then only the ends are held against each other. */
int ss_log_survey_new(ss_memory *index, ss_memory *data, const ss_log_frame *frame, uint64_t limit, ss_log_survey **out);
void ss_log_survey_free(ss_log_survey *survey);
/* Visits some entries: SS_OK if more are left, SS_ABSENT at the end, or an error. O(entries and their bytes that are looked at). */
int ss_log_survey_step(ss_log_survey *survey, uint64_t entries);
/* SS_RULE_ENDS_ASCEND, SS_RULE_ENTRY_INSIDE, and SS_RULE_VALUE_ENCODING (`found` is the number of the entry). */
const ss_survey_notes *ss_log_survey_notes(const ss_log_survey *survey);
const struct ss_elements_stats *ss_log_survey_stats(const ss_log_survey *survey);

#endif
