/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the B-tree share: btree.c (the algorithms), btree_variants.c (operations on one key as they are called),
 * btree_bulk.c, btree_check.c and cursor.c. */
#ifndef SS_BTREE_INTERNAL_H
#define SS_BTREE_INTERNAL_H

#include "core/result.h"
#include "memory/allocator.h"
#include "structures/btree.h"
#include "structures/node.h"

/* A tree of more levels would need more than 2^64 entries. */
#define SS_DEPTH 32

enum { SS_BTREE_HEADER = 28 };

/* What an operation gives back: lives in the frame of the public function, since another thread may use the tree as
 * soon as the lock is left. */
enum ss_output_kind { SS_OUTPUT_NONE, SS_OUTPUT_NUMBER, SS_OUTPUT_BYTES, SS_OUTPUT_ENTRY };

typedef struct ss_output {
    enum ss_output_kind kind;
    uint64_t number;
    ss_result_builder bytes;
} ss_output;

struct ss_btree {
    ss_handle handle; /* first: the owner of the lease */
    ss_order order;
    ss_space space;
    ss_bound key, value;
    uint32_t key_int, value_int; /* size of the number where the lane is one, else 0 */
    /* The header as read at the beginning of the running operation. */
    uint64_t root, length;
    uint64_t seen_pages, seen_page_size; /* what space.most_pages was computed from */
    ss_output *output;                   /* of the running operation */
    enum ss_change_kind change;          /* what the running operation did so far */
};

/* Take the lock, read and check the header; leave with ss_leave_*. */
int ss_btree_begin_read(ss_btree *tree);
int ss_btree_begin_write(ss_btree *tree);
/* Reads and checks the header (lock held). */
int ss_btree_read_header(ss_btree *tree);
int ss_btree_write_header(ss_btree *tree);

/* Counts a change, of the kind that `change` says. */
void ss_btree_changed(ss_btree *tree);

/* Descends to `key`. SS_OK with the node and index, or SS_ABSENT. */
int ss_btree_find_locked(ss_btree *tree, ss_span key, ss_node *node, uint32_t *index);
/* SS_BOUND_EXCEEDED unless the encoded key and value fit their types (and the slots of a version 1 map). */
int ss_btree_check_bounds(const ss_btree *tree, ss_span key, ss_span value);
int ss_btree_insert_locked(ss_btree *tree, ss_span key, ss_span value);
int ss_btree_remove_locked(ss_btree *tree, ss_span key);
/* Replaces entry `index` of the node (found), or puts the entry there into a leaf that has room for it. */
int ss_btree_change_at(ss_btree *tree, ss_node *node, uint32_t index, bool found, const ss_entry *entry);
/* A key of the wrong size cannot be in a map of fixed-size keys; comparing it would be wrong. */
int ss_btree_check_key(const ss_btree *tree, ss_span key);

/* Whole operations, lock and all. SS_OK with the output, or SS_ABSENT. */
int ss_btree_get(ss_btree *tree, ss_span key, ss_output *output);
int ss_btree_insert(ss_btree *tree, ss_span key, ss_span value, ss_output *output);
int ss_btree_remove(ss_btree *tree, ss_span key, ss_output *output);

/* Shows each key in order (lock held) until `visit` returns something else than SS_OK; the span is valid during the call. */
int ss_btree_each_key(ss_btree *tree, int (*visit)(void *self, ss_span key), void *self);

/* Puts the value of entry `index` (or the entry) into the output of the running operation. */
int ss_btree_output(ss_btree *tree, ss_node *node, uint32_t index);

/* ss_btree_fit with the lock held and the header read. */
int ss_btree_fit_locked(ss_btree *tree, struct ss_fit *fit);

/* That a chain of parent and child, or two siblings, are different nodes. */
int ss_btree_distinct(const ss_node *one, const ss_node *other);

#endif
