/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on one key as they are called: each in the lanes of its key and value (btree.h). */
#include "structures/btree_internal.h"

/* Encodes a number of the key's or value's lane. */
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

typedef int (*key_operation)(ss_btree *tree, ss_span key, ss_reply *reply);

static inline int on_number(key_operation operation, ss_btree *tree, uint64_t key, ss_reply *reply) {
    part k;
    int status = number_key(tree, key, &k);
    return status == SS_OK ? operation(tree, k.span, reply) : status;
}

static inline uint64_t number_to_number(key_operation operation, ss_btree *tree, uint64_t key) {
    ss_reply reply = {.kind = SS_REPLY_NUMBER};
    int status = on_number(operation, tree, key, &reply);
    return ss_result_number(status, reply.number);
}

static inline int64_t number_to_bytes(key_operation operation, ss_btree *tree, uint64_t key) {
    ss_reply reply = {.kind = SS_REPLY_BYTES};
    int status = on_number(operation, tree, key, &reply);
    return ss_answer_give(&reply.bytes, status);
}

static inline uint64_t bytes_to_number(key_operation operation, ss_btree *tree, ss_span key) {
    ss_reply reply = {.kind = SS_REPLY_NUMBER};
    int status = operation(tree, key, &reply);
    return ss_result_number(status, reply.number);
}

static inline int64_t bytes_to_bytes(key_operation operation, ss_btree *tree, ss_span key) {
    ss_reply reply = {.kind = SS_REPLY_BYTES};
    int status = operation(tree, key, &reply);
    return ss_answer_give(&reply.bytes, status);
}

uint64_t ss_btree_get_ii(ss_btree *tree, uint64_t key) {
    return number_to_number(ss_btree_get, tree, key);
}

int64_t ss_btree_get_ib(ss_btree *tree, uint64_t key) {
    return number_to_bytes(ss_btree_get, tree, key);
}

uint64_t ss_btree_get_bi(ss_btree *tree, const uint8_t *key, uint64_t key_size) {
    return bytes_to_number(ss_btree_get, tree, (ss_span){key, key_size});
}

int64_t ss_btree_get_bb(ss_btree *tree, const uint8_t *key, uint64_t key_size) {
    return bytes_to_bytes(ss_btree_get, tree, (ss_span){key, key_size});
}

int ss_btree_contains_i(ss_btree *tree, uint64_t key) {
    ss_reply reply = {.kind = SS_REPLY_NONE};
    return on_number(ss_btree_get, tree, key, &reply);
}

int ss_btree_contains_b(ss_btree *tree, const uint8_t *key, uint64_t key_size) {
    ss_reply reply = {.kind = SS_REPLY_NONE};
    return ss_btree_get(tree, (ss_span){key, key_size}, &reply);
}

uint64_t ss_btree_remove_ii(ss_btree *tree, uint64_t key) {
    return number_to_number(ss_btree_take, tree, key);
}

int64_t ss_btree_remove_ib(ss_btree *tree, uint64_t key) {
    return number_to_bytes(ss_btree_take, tree, key);
}

uint64_t ss_btree_remove_bi(ss_btree *tree, const uint8_t *key, uint64_t key_size) {
    return bytes_to_number(ss_btree_take, tree, (ss_span){key, key_size});
}

int64_t ss_btree_remove_bb(ss_btree *tree, const uint8_t *key, uint64_t key_size) {
    return bytes_to_bytes(ss_btree_take, tree, (ss_span){key, key_size});
}

/* ---- insertions, with and without an answer ---- */

static int insert_ii(ss_btree *tree, uint64_t key, uint64_t value, ss_reply *reply) {
    part k, v;
    int status = number_key(tree, key, &k);
    if (status == SS_OK) status = number_value(tree, value, &v);
    return status == SS_OK ? ss_btree_put(tree, k.span, v.span, reply) : status;
}

static int insert_ib(ss_btree *tree, uint64_t key, ss_span value, ss_reply *reply) {
    part k;
    int status = number_key(tree, key, &k);
    return status == SS_OK ? ss_btree_put(tree, k.span, value, reply) : status;
}

static int insert_bi(ss_btree *tree, ss_span key, uint64_t value, ss_reply *reply) {
    part v;
    int status = number_value(tree, value, &v);
    return status == SS_OK ? ss_btree_put(tree, key, v.span, reply) : status;
}

uint64_t ss_btree_insert_ii(ss_btree *tree, uint64_t key, uint64_t value) {
    ss_reply reply = {.kind = SS_REPLY_NUMBER};
    int status = insert_ii(tree, key, value, &reply);
    return ss_result_number(status, reply.number);
}

int64_t ss_btree_insert_ib(ss_btree *tree, uint64_t key, const uint8_t *value, uint64_t value_size) {
    ss_reply reply = {.kind = SS_REPLY_BYTES};
    int status = insert_ib(tree, key, (ss_span){value, value_size}, &reply);
    return ss_answer_give(&reply.bytes, status);
}

uint64_t ss_btree_insert_bi(ss_btree *tree, const uint8_t *key, uint64_t key_size, uint64_t value) {
    ss_reply reply = {.kind = SS_REPLY_NUMBER};
    int status = insert_bi(tree, (ss_span){key, key_size}, value, &reply);
    return ss_result_number(status, reply.number);
}

int64_t ss_btree_insert_bb(ss_btree *tree, const uint8_t *key, uint64_t key_size, const uint8_t *value, uint64_t value_size) {
    ss_reply reply = {.kind = SS_REPLY_BYTES};
    int status = ss_btree_put(tree, (ss_span){key, key_size}, (ss_span){value, value_size}, &reply);
    return ss_answer_give(&reply.bytes, status);
}

int ss_btree_put_ii(ss_btree *tree, uint64_t key, uint64_t value) {
    ss_reply reply = {.kind = SS_REPLY_NONE};
    return insert_ii(tree, key, value, &reply);
}

int ss_btree_put_ib(ss_btree *tree, uint64_t key, const uint8_t *value, uint64_t value_size) {
    ss_reply reply = {.kind = SS_REPLY_NONE};
    return insert_ib(tree, key, (ss_span){value, value_size}, &reply);
}

int ss_btree_put_bi(ss_btree *tree, const uint8_t *key, uint64_t key_size, uint64_t value) {
    ss_reply reply = {.kind = SS_REPLY_NONE};
    return insert_bi(tree, (ss_span){key, key_size}, value, &reply);
}

int ss_btree_put_bb(ss_btree *tree, const uint8_t *key, uint64_t key_size, const uint8_t *value, uint64_t value_size) {
    ss_reply reply = {.kind = SS_REPLY_NONE};
    return ss_btree_put(tree, (ss_span){key, key_size}, (ss_span){value, value_size}, &reply);
}
