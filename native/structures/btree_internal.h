/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the B-tree share: btree.c (the header, lookups, insertion, and whole operations on one key), btree_open.c,
 * btree_remove.c, btree_variants.c (operations as Python calls them), btree_entry.c, btree_bulk.c, btree_check.c, cursor.c. */
#ifndef SS_BTREE_INTERNAL_H
#define SS_BTREE_INTERNAL_H

#include "core/result.h"
#include "memory/allocator.h"
#include "structures/btree.h"
#include "structures/node.h"
#include "structures/node_layout.h"

/* What an operation returns: lives in the frame of the public function, since another thread may use the tree as
 * soon as the lock is left. */
enum ss_output_kind { SS_OUTPUT_NONE, SS_OUTPUT_NUMBER, SS_OUTPUT_BYTES, SS_OUTPUT_ENTRY };

typedef struct ss_output {
    enum ss_output_kind kind;
    uint64_t number;
    ss_result_builder bytes;
} ss_output;

/* What goes along with a map and is kept right by every change of it, in the same operation: the hashes of certified.c. All
 * are called with the lock held, but for the last two. */
typedef struct ss_companion_ops {
    int (*begin)(void *self);                             /* a change begins */
    int (*touched)(void *self, ss_span key);              /* the entry of this key came, went or has another value */
    int (*replaced)(void *self);                          /* so may every entry */
    int (*settle)(void *self);                            /* the change ends well */
    int (*check)(void *self, ss_report report, void *of); /* the map is sound; is this */
    int (*detach)(void *self);
    void (*free)(void *self);
} ss_companion_ops;

/* The node where the last lookup found its key, for a change of that key: with no full node above it, an insertion that finds its key
 * there splits nothing. Good as long as nothing at all was written to the root, and the key is looked for again. */
typedef struct ss_hint {
    uint64_t address; /* SS_NULL: none */
    uint64_t generation, changes;
} ss_hint;

struct ss_btree {
    ss_handle handle; /* first: the owner of the lease */
    ss_order order;
    ss_space space;
    ss_bound key, value;
    uint32_t key_int, value_int; /* size of the number if it crosses as one, else 0 */
    /* The header as read at the beginning of the running operation. */
    uint64_t root, length;
    ss_hint hint;
    uint64_t seen_pages, seen_page_size;   /* what space.most_pages was computed from */
    ss_output *output;                     /* of the running operation */
    enum ss_change_kind change;            /* what the running operation did so far */
    const ss_companion_ops *companion_ops; /* NULL: none */
    void *companion;
};

static inline int ss_btree_touched(ss_btree *tree, ss_span key, int status) {
    if (SS_LIKELY(tree->companion_ops == NULL) || status < 0) return status;
    int noted = tree->companion_ops->touched(tree->companion, key);
    return noted == SS_OK ? status : noted;
}

/* Before a change ends: its status, unless the companion fails. */
static inline int ss_btree_settle(ss_btree *tree, int status) {
    if (SS_LIKELY(tree->companion_ops == NULL) || status < 0) return status;
    int settled = tree->companion_ops->settle(tree->companion);
    return settled == SS_OK ? status : settled;
}

/* Take the lock, read and check the header; leave with ss_leave_*. */
int ss_btree_begin_read(ss_btree *tree);
int ss_btree_begin_write(ss_btree *tree);
/* A read of about so many entries; if they are many, others need not wait for it (M6): it reads by a copy of the handle, with
 * a scratch of its own. It holds the lock to its end if that cannot be, as with an order that is a function of the user. */
typedef struct ss_btree_reading {
    ss_btree *tree; /* to be read */
    bool shared;
    ss_btree copy;
} ss_btree_reading;
int ss_btree_begin_long_read(ss_btree *tree, uint64_t entries, ss_btree_reading *reading);
void ss_btree_share_read(ss_btree *tree, uint64_t entries, ss_btree_reading *reading); /* the same, after ss_btree_begin_read */
void ss_btree_end_long_read(ss_btree_reading *reading);
/* Reads and checks the header (lock held). */
int ss_btree_read_header(ss_btree *tree);
int ss_btree_write_header(ss_btree *tree);

/* Counts a change, of the kind that `change` says. */
void ss_btree_changed(ss_btree *tree);

/* Descends to `key`. SS_OK with the node and index, or SS_ABSENT. */
int ss_btree_find_locked(ss_btree *tree, ss_span key, ss_node *node, uint32_t *index);
/* The first (or last) entry of the subtree at `address`. */
int ss_btree_find_end(ss_btree *tree, uint64_t address, bool last, ss_node *node, uint32_t *index);
/* The way down for a change that will touch one node only: *easy says that the node with the key, or the leaf where it
 * would be, was reached over nodes with `least` to `most` entries (the root may have fewer than `least`), all in position.
 * Nothing is changed; if the way is not easy, the caller starts again with the general one, which splits or refills. */
int ss_btree_probe_for_change(ss_btree *tree, ss_span key, uint32_t least, uint32_t most, ss_node *node, uint32_t *index, bool *found,
                              bool *easy);
/* Levels that a way down may have: nodes that are each reached once are no more than the memory holds. A way through fewer large ones
 * would take storage for each of them again and again. */
static inline int ss_btree_levels(const ss_btree *tree) {
    uint64_t most = tree->space.most_pages;
    return most == 0 || most > SS_DEPTH ? SS_DEPTH : (int)most;
}
/* The error of a descent that does not end within them. */
int ss_btree_too_deep(const ss_btree *tree);
/* The value of a key if it is wanted, and the address of its node (lock held). SS_ABSENT if there is none. */
int ss_btree_value_locked(ss_btree *tree, ss_span key, bool wanted, uint64_t *address, ss_span *value);
/* SS_BOUND_EXCEEDED unless the encoded key and value fit their types (and the slots of a version 1 map). */
int ss_btree_check_bounds(const ss_btree *tree, ss_span key, ss_span value);
int ss_btree_insert_locked(ss_btree *tree, ss_span key, ss_span value);
int ss_btree_remove_locked(ss_btree *tree, ss_span key);
/* Removes the first (or last) entry. */
int ss_btree_pop_locked(ss_btree *tree, bool last);
/* Replaces entry `index` of the node (found), or puts the entry there into a leaf that has room for it. */
int ss_btree_change_at(ss_btree *tree, ss_node *node, uint32_t index, bool found, const ss_entry *entry);
/* A key of the wrong size cannot be in a map of fixed-size keys; comparing it would be wrong. */
int ss_btree_check_key(const ss_btree *tree, ss_span key);

/* Whole operations, lock and all. SS_OK with the output, or SS_ABSENT. */
int ss_btree_get(ss_btree *tree, ss_span key, ss_output *output);
int ss_btree_insert(ss_btree *tree, ss_span key, ss_span value, ss_output *output);
int ss_btree_remove(ss_btree *tree, ss_span key, ss_output *output);

/* Makes the map empty (lock held). */
int ss_btree_clear_locked(ss_btree *tree);
/* What ss_btree_check does (lock held). */
int ss_btree_check_locked(ss_btree *tree, ss_report report, void *self);
/* Shows each entry from the first key >= `from` on (all of them if `from` is NULL), lock held, until `visit` returns something else than
 * SS_OK. The node is valid during the call. */
int ss_btree_each_entry(ss_btree *tree, const ss_span *from, int (*visit)(void *self, ss_node *node, uint32_t index), void *self);
/* The last key < `key`, or (`behind`) the first key > it; `also`: or the key itself. SS_ABSENT if there is none. The span is valid until
 * the scratch is reset. */
int ss_btree_neighbour(ss_btree *tree, ss_span key, bool behind, bool also, ss_span *found);
/* The last key of all. */
int ss_btree_last_key(ss_btree *tree, ss_span *found);
/* Shows each key in order (lock held) until `visit` returns something else than SS_OK; the span is valid during the call. */
int ss_btree_each_key(ss_btree *tree, int (*visit)(void *self, ss_span key), void *self);

/* Puts the value of entry `index` (or the entry) into the output of the running operation. */
int ss_btree_output(ss_btree *tree, ss_node *node, uint32_t index);
/* Puts an entry into it. */
int ss_btree_output_entry(ss_btree *tree, ss_span key, ss_span value);

/* ss_btree_fit with the lock held and the header read. */
int ss_btree_fit_locked(ss_btree *tree, struct ss_fit *fit);

/* That a chain of parent and child, or two siblings, are different nodes. */
int ss_btree_distinct(const ss_node *one, const ss_node *other);

/* ---- opening (btree_open.c) ---- */

/* What a map is opened with. */
typedef struct ss_btree_types {
    const ss_order_term *terms;
    uint32_t term_count;
    ss_order_callback callback;
    void *self; /* of the callback */
    ss_bound key, value;
} ss_btree_types;

/* Opens something else under the same lock. */
typedef int (*ss_btree_beside)(ss_btree *tree, void *self);

/* As ss_btree_open, and then `beside`: both, or nothing is changed. */
int ss_btree_open_with(ss_memory *memory, int mode, const ss_btree_types *types, ss_btree_beside beside, void *self, ss_btree **out);
/* Opens a second map on a root that `first` has locked. */
int ss_btree_open_beside(const ss_btree *first, ss_memory *memory, int mode, const ss_btree_types *types, ss_btree **out);

#endif
