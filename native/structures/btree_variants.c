/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on one key as they are called: each with its kinds of key and value (btree.h). */
#include "structures/btree_internal.h"

/* Encodes a number that is a key or a value. */
static int encode(uint32_t size, uint64_t number, uint8_t bytes[8], ss_span *span, const char *rule) {
    if (SS_UNLIKELY(size == 0)) return ss_fail(SS_INCOMPATIBLE, "numbers are for integer types of 1, 2, 4 or 8 bytes", 0, 0, 0);
    if (SS_UNLIKELY(size < 8 && number >> (8 * size) != 0)) {
        return ss_fail(SS_BOUND_EXCEEDED, rule, 0, number, (UINT64_C(1) << (8 * size)) - 1);
    }
    ss_put_be(bytes, size, number);
    *span = (ss_span){bytes, size};
    return SS_OK;
}

static int encode_key(const ss_btree *tree, uint64_t number, uint8_t bytes[8], ss_span *span) {
    if (tree == NULL) return ss_fail(SS_CLOSED, "no map", 0, 0, 0);
    return encode(tree->key_int, number, bytes, span, "largest integer of the key's type");
}

static int encode_value(const ss_btree *tree, uint64_t number, uint8_t bytes[8], ss_span *span) {
    if (tree == NULL) return ss_fail(SS_CLOSED, "no map", 0, 0, 0);
    return encode(tree->value_int, number, bytes, span, "largest integer of the value's type");
}

/* A key or a value as a public function gets it. */
typedef struct part {
    uint8_t bytes[8];
    ss_span span;
} part;

static int number_key(const ss_btree *tree, uint64_t number, part *key) {
    return encode_key(tree, number, key->bytes, &key->span);
}

static int number_value(const ss_btree *tree, uint64_t number, part *value) {
    return encode_value(tree, number, value->bytes, &value->span);
}

/* ---- operations that take a key: looking it up and removing it ---- */

typedef int (*key_operation)(ss_btree *tree, ss_span key, ss_output *output);

static inline int on_number(key_operation operation, ss_btree *tree, uint64_t key, ss_output *output) {
    part k;
    int status = number_key(tree, key, &k);
    return status == SS_OK ? operation(tree, k.span, output) : status;
}

static inline uint64_t number_to_number(key_operation operation, ss_btree *tree, uint64_t key) {
    ss_output output = {.kind = SS_OUTPUT_NUMBER};
    int status = on_number(operation, tree, key, &output);
    return ss_result_number(status, output.number);
}

static inline int64_t number_to_bytes(key_operation operation, ss_btree *tree, uint64_t key) {
    ss_output output = {.kind = SS_OUTPUT_BYTES};
    int status = on_number(operation, tree, key, &output);
    return ss_result_finish(&output.bytes, status);
}

static inline uint64_t bytes_to_number(key_operation operation, ss_btree *tree, ss_span key) {
    ss_output output = {.kind = SS_OUTPUT_NUMBER};
    int status = operation(tree, key, &output);
    return ss_result_number(status, output.number);
}

static inline int64_t bytes_to_bytes(key_operation operation, ss_btree *tree, ss_span key) {
    ss_output output = {.kind = SS_OUTPUT_BYTES};
    int status = operation(tree, key, &output);
    return ss_result_finish(&output.bytes, status);
}

uint64_t ss_btree_get_u64_u64(ss_btree *tree, uint64_t key) {
    return number_to_number(ss_btree_get, tree, key);
}

int64_t ss_btree_get_u64_bytes(ss_btree *tree, uint64_t key) {
    return number_to_bytes(ss_btree_get, tree, key);
}

uint64_t ss_btree_get_bytes_u64(ss_btree *tree, const uint8_t *key, uint64_t key_size) {
    return bytes_to_number(ss_btree_get, tree, (ss_span){key, key_size});
}

int64_t ss_btree_get_bytes_bytes(ss_btree *tree, const uint8_t *key, uint64_t key_size) {
    return bytes_to_bytes(ss_btree_get, tree, (ss_span){key, key_size});
}

int ss_btree_contains_u64(ss_btree *tree, uint64_t key) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    return on_number(ss_btree_get, tree, key, &output);
}

int ss_btree_contains_bytes(ss_btree *tree, const uint8_t *key, uint64_t key_size) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    return ss_btree_get(tree, (ss_span){key, key_size}, &output);
}

uint64_t ss_btree_remove_u64_u64(ss_btree *tree, uint64_t key) {
    return number_to_number(ss_btree_remove, tree, key);
}

int64_t ss_btree_remove_u64_bytes(ss_btree *tree, uint64_t key) {
    return number_to_bytes(ss_btree_remove, tree, key);
}

uint64_t ss_btree_remove_bytes_u64(ss_btree *tree, const uint8_t *key, uint64_t key_size) {
    return bytes_to_number(ss_btree_remove, tree, (ss_span){key, key_size});
}

int64_t ss_btree_remove_bytes_bytes(ss_btree *tree, const uint8_t *key, uint64_t key_size) {
    return bytes_to_bytes(ss_btree_remove, tree, (ss_span){key, key_size});
}

/* ---- insertions, with and without a result ---- */

static int insert_u64_u64(ss_btree *tree, uint64_t key, uint64_t value, ss_output *output) {
    part k, v;
    int status = number_key(tree, key, &k);
    if (status == SS_OK) status = number_value(tree, value, &v);
    return status == SS_OK ? ss_btree_insert(tree, k.span, v.span, output) : status;
}

static int insert_u64_bytes(ss_btree *tree, uint64_t key, ss_span value, ss_output *output) {
    part k;
    int status = number_key(tree, key, &k);
    return status == SS_OK ? ss_btree_insert(tree, k.span, value, output) : status;
}

static int insert_bytes_u64(ss_btree *tree, ss_span key, uint64_t value, ss_output *output) {
    part v;
    int status = number_value(tree, value, &v);
    return status == SS_OK ? ss_btree_insert(tree, key, v.span, output) : status;
}

uint64_t ss_btree_insert_u64_u64(ss_btree *tree, uint64_t key, uint64_t value) {
    ss_output output = {.kind = SS_OUTPUT_NUMBER};
    int status = insert_u64_u64(tree, key, value, &output);
    return ss_result_number(status, output.number);
}

int64_t ss_btree_insert_u64_bytes(ss_btree *tree, uint64_t key, const uint8_t *value, uint64_t value_size) {
    ss_output output = {.kind = SS_OUTPUT_BYTES};
    int status = insert_u64_bytes(tree, key, (ss_span){value, value_size}, &output);
    return ss_result_finish(&output.bytes, status);
}

uint64_t ss_btree_insert_bytes_u64(ss_btree *tree, const uint8_t *key, uint64_t key_size, uint64_t value) {
    ss_output output = {.kind = SS_OUTPUT_NUMBER};
    int status = insert_bytes_u64(tree, (ss_span){key, key_size}, value, &output);
    return ss_result_number(status, output.number);
}

int64_t ss_btree_insert_bytes_bytes(ss_btree *tree, const uint8_t *key, uint64_t key_size, const uint8_t *value, uint64_t value_size) {
    ss_output output = {.kind = SS_OUTPUT_BYTES};
    int status = ss_btree_insert(tree, (ss_span){key, key_size}, (ss_span){value, value_size}, &output);
    return ss_result_finish(&output.bytes, status);
}

int ss_btree_set_u64_u64(ss_btree *tree, uint64_t key, uint64_t value) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    return insert_u64_u64(tree, key, value, &output);
}

int ss_btree_set_u64_bytes(ss_btree *tree, uint64_t key, const uint8_t *value, uint64_t value_size) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    return insert_u64_bytes(tree, key, (ss_span){value, value_size}, &output);
}

int ss_btree_set_bytes_u64(ss_btree *tree, const uint8_t *key, uint64_t key_size, uint64_t value) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    return insert_bytes_u64(tree, (ss_span){key, key_size}, value, &output);
}

int ss_btree_set_bytes_bytes(ss_btree *tree, const uint8_t *key, uint64_t key_size, const uint8_t *value, uint64_t value_size) {
    ss_output output = {.kind = SS_OUTPUT_NONE};
    return ss_btree_insert(tree, (ss_span){key, key_size}, (ss_span){value, value_size}, &output);
}
