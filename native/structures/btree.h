/* SPDX-License-Identifier: Apache-2.0 */
/* The ordered map over nodes (docs/format.md#b-tree-map; header layout and invariants in btree.c).
 *
 * Every function below takes the lock of the memory for its duration. Keys and values cross as encoded bytes, or, if the
 * type is an unsigned big-endian integer of 1, 2, 4 or 8 bytes, as a number. The end of a name says what crosses, first the
 * key, then the value: _u64 a number, _bytes encoded bytes. How results come back stands in result.h. A call with another
 * argument than the types have fails with SS_INCOMPATIBLE.
 */
#ifndef SS_BTREE_H
#define SS_BTREE_H

#include "core/column.h"
#include "core/result.h"
#include "memory/structure.h"
#include "structures/order.h"

/* Offsets in the header; the picture is in btree.c. */
enum { SS_BTREE_FIRST_AT = 4, SS_BTREE_SECOND_AT = 8, SS_BTREE_ROOT_AT = 12, SS_BTREE_LENGTH_AT = 20, SS_BTREE_HEADER = 28 };
/* The second number of a header whose first is the page size; and the page size of maps with an unbounded type. */
#define SS_BTREE_PAGE_SIZE_MARK UINT32_MAX
#define SS_BTREE_DEFAULT_PAGE UINT64_C(1024)

typedef struct ss_btree ss_btree;

/* Bound of an encoded type: max_size is SS_UNBOUNDED if there is none. */
typedef struct ss_bound {
    uint64_t max_size;
    int32_t fixed;
    int32_t reserved;
} ss_bound;

/* Opens the map in `memory` (SS_INIT: what is there, or a new one). Keys are ordered by the terms; `callback` may be
 * NULL if no term asks for it. */
int ss_btree_open(ss_memory *memory, int mode, const ss_order_term *terms, uint32_t term_count, ss_order_callback callback, void *self,
                  ss_bound key, ss_bound value, ss_btree **out);
void ss_btree_free(ss_btree *tree);
void ss_btree_free_at(ss_btree **at);
int ss_btree_detach(ss_btree *tree);

/* Entries; or a negative status. O(1). */
int64_t ss_btree_length(ss_btree *tree);
/* Counts what changed the map, so that iterators notice. */
uint64_t ss_btree_changes(ss_btree *tree);
int ss_btree_clear(ss_btree *tree);

/* O(log n). Result: the value, or nothing. */
uint64_t ss_btree_get_u64_u64(ss_btree *tree, uint64_t key);
int64_t ss_btree_get_u64_bytes(ss_btree *tree, uint64_t key);
uint64_t ss_btree_get_bytes_u64(ss_btree *tree, const uint8_t *key, uint64_t key_size);
int64_t ss_btree_get_bytes_bytes(ss_btree *tree, const uint8_t *key, uint64_t key_size);
/* SS_OK or SS_ABSENT. */
int ss_btree_contains_u64(ss_btree *tree, uint64_t key);
int ss_btree_contains_bytes(ss_btree *tree, const uint8_t *key, uint64_t key_size);

/* O(log n). Result: the value that was replaced, or nothing. */
uint64_t ss_btree_insert_u64_u64(ss_btree *tree, uint64_t key, uint64_t value);
int64_t ss_btree_insert_u64_bytes(ss_btree *tree, uint64_t key, const uint8_t *value, uint64_t value_size);
uint64_t ss_btree_insert_bytes_u64(ss_btree *tree, const uint8_t *key, uint64_t key_size, uint64_t value);
int64_t ss_btree_insert_bytes_bytes(ss_btree *tree, const uint8_t *key, uint64_t key_size, const uint8_t *value, uint64_t value_size);

/* The same without the result, for item assignment. */
int ss_btree_set_u64_u64(ss_btree *tree, uint64_t key, uint64_t value);
int ss_btree_set_u64_bytes(ss_btree *tree, uint64_t key, const uint8_t *value, uint64_t value_size);
int ss_btree_set_bytes_u64(ss_btree *tree, const uint8_t *key, uint64_t key_size, uint64_t value);
int ss_btree_set_bytes_bytes(ss_btree *tree, const uint8_t *key, uint64_t key_size, const uint8_t *value, uint64_t value_size);

/* O(log n). Result: the value that the key has already, and nothing is changed; or nothing, and the entry is inserted. */
int64_t ss_btree_get_or_insert(ss_btree *tree, const uint8_t *key, uint64_t key_size, const uint8_t *value, uint64_t value_size);

/* O(log n). Result: the value that was removed, or nothing. */
uint64_t ss_btree_remove_u64_u64(ss_btree *tree, uint64_t key);
int64_t ss_btree_remove_u64_bytes(ss_btree *tree, uint64_t key);
uint64_t ss_btree_remove_bytes_u64(ss_btree *tree, const uint8_t *key, uint64_t key_size);
int64_t ss_btree_remove_bytes_bytes(ss_btree *tree, const uint8_t *key, uint64_t key_size);

/* O(log n). Result in bytes, whatever the types: the size of the key in 8 bytes, the key, the value; or nothing. */
int64_t ss_btree_pop_first(ss_btree *tree);
int64_t ss_btree_pop_last(ss_btree *tree);
int64_t ss_btree_first(ss_btree *tree);
int64_t ss_btree_last(ss_btree *tree);

/* Where a key is or would be, so that a change after a look needs no second way down. Made by ss_btree_locate. */
typedef struct ss_position {
    uint64_t changes; /* of the map when it was made; a changed map makes the position useless, not wrong */
    uint64_t address; /* of the node */
    uint32_t index;
    int32_t found;
    int32_t direct; /* the entry can be put there without splitting a node */
} ss_position;

/* O(log n). Result: the value of the key, or nothing. */
int64_t ss_btree_locate(ss_btree *tree, const uint8_t *key, uint64_t key_size, ss_position *position);
/* What the key must have for a change to happen. */
enum ss_expect { SS_EXPECT_ANYTHING, SS_EXPECT_NOTHING, SS_EXPECT_VALUE };

/* Sets the value of the key that `position` was made for; O(1) if the map is as it was, else O(log n). Result: the changes of
 * the map after that; nothing if the key does not have what is expected (`old`, for SS_EXPECT_VALUE): it stays as it is.
 * The position is made again. */
uint64_t ss_btree_set_at(ss_btree *tree, ss_position *position, const uint8_t *key, uint64_t key_size, const uint8_t *value,
                         uint64_t value_size, int expect, const uint8_t *old, uint64_t old_size);

/* Many keys in one call. All or nothing: where one entry fails, none is changed. The bytes are those of the loop.
 *
 * found[i] says whether key i is there; what is absent leaves its position in `values` as it is. */
int ss_btree_get_many(ss_btree *tree, const ss_column *keys, uint64_t count, const ss_output_column *values, uint8_t *found);
/* The same for values of any size. Result: count 8-byte ends, then the values. */
int64_t ss_btree_get_many_bytes(ss_btree *tree, const ss_column *keys, uint64_t count, uint8_t *found);
/* How many keys were new, or a negative status. */
int64_t ss_btree_insert_many(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count);
/* found[i] says whether key i was there; how many were, or a negative status. */
int64_t ss_btree_remove_many(ss_btree *tree, const ss_column *keys, uint64_t count, uint8_t *found);
/* Of strictly ascending keys: those that are there are removed, the others inserted with their values; found[i] says which
 * key i was. How many were new, or a negative status. */
int64_t ss_btree_toggle_many(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count, uint8_t *found);
/* Removes every key that is not among these, which ascend strictly. How many were removed, or a negative status. */
int64_t ss_btree_retain_many(ss_btree *tree, const ss_column *keys, uint64_t count);
/* Fills an empty map from strictly ascending keys with full nodes, bottom up. SS_ARGUMENT if they do not ascend, or
 * where the map is not empty. The bytes differ from those of insertions; everything else holds. O(n). */
int ss_btree_build(ss_btree *tree, const ss_column *keys, const ss_column *values, uint64_t count);

/* Walks everything. SS_OK, or the first (with `report`: each) broken rule as SS_CORRUPT. O(n). */
int ss_btree_check(ss_btree *tree, ss_report report, void *self);
/* Sizes of what a sound map holds, in bytes. */
struct ss_fit {
    uint64_t entries, key_least, key_most, value_least, value_most;
    int32_t key_fixed;      /* keys are laid out as those of a type of fixed size */
    int32_t order_demanded; /* for the search only */
};

/* Whether the map is sound, whatever its types, and its entries are of the types that it is opened with. SS_OK; SS_CORRUPT:
 * it is damaged; SS_INCOMPATIBLE: it is sound, and of other types, which have the sizes in `fit`. O(n). */
int ss_btree_fit(ss_btree *tree, struct ss_fit *fit);
/* O(1). */
int ss_btree_usage(ss_btree *tree, struct ss_usage *usage);

#endif
