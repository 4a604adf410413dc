/* SPDX-License-Identifier: Apache-2.0 */
#include "structures/order.h"

/* ---- building ---- */

static const int part_count[] = {
    [SS_ORDER_BYTES] = 0,  [SS_ORDER_LENGTH_FIRST] = 0, [SS_ORDER_OPTION] = 1, [SS_ORDER_REVERSE] = 1,
    [SS_ORDER_TUPLE2] = 2, [SS_ORDER_TUPLE3] = 3,       [SS_ORDER_FLOAT] = 0,  [SS_ORDER_CALLBACK] = 0,
};

static int bad_term(const char *rule, uint32_t index) {
    return ss_fail(SS_ARGUMENT, rule, 0, index, SS_ORDER_TERMS);
}

/* Parts point forward, so a comparison cannot run in a circle. */
static int check_term(const ss_order_term *terms, uint32_t count, uint32_t index, bool has_callback) {
    const ss_order_term *term = &terms[index];
    if (term->kind < SS_ORDER_BYTES || term->kind > SS_ORDER_CALLBACK) return bad_term("kind of an order term", index);
    for (int i = 0; i < part_count[term->kind]; i++) {
        if (term->part[i] <= (int32_t)index || term->part[i] >= (int32_t)count) return bad_term("part of an order term", index);
    }
    if (term->kind == SS_ORDER_CALLBACK && (index != 0 || !has_callback)) return bad_term("callback of an order", index);
    if (term->kind == SS_ORDER_FLOAT && term->max_size != 4 && term->max_size != 8) return bad_term("size of a float", index);
    if (term->kind == SS_ORDER_TUPLE2) {
        for (int i = 0; i < 2; i++) {
            if (terms[term->part[i]].max_size > UINT32_MAX) return bad_term("a tuple of two needs bounded parts", index);
        }
    }
    return SS_OK;
}

int ss_order_init(ss_order *order, const ss_order_term *terms, uint32_t count, ss_order_callback callback, void *self) {
    if (count == 0 || count > SS_ORDER_TERMS) return bad_term("number of order terms", count);
    for (uint32_t i = 0; i < count; i++) {
        int status = check_term(terms, count, i, callback != NULL);
        if (status != SS_OK) return status;
        order->terms[i] = terms[i];
    }
    order->count = count;
    order->callback = callback;
    order->self = self;
    uint64_t size = terms[0].max_size;
    bool is_int = terms[0].kind == SS_ORDER_BYTES && terms[0].fixed && (size == 1 || size == 2 || size == 4 || size == 8);
    order->int_size = is_int ? (uint32_t)size : 0;
    return SS_OK;
}

/* ---- taking keys apart ---- */

typedef struct span {
    const uint8_t *at;
    uint64_t size;
} span;

static int bad_key(const char *rule, span key) {
    return ss_fail(SS_CORRUPT, rule, 0, key.size, 0);
}

static uint32_t size_bytes(uint64_t max) {
    if (max <= UINT8_MAX) return 1;
    return max <= UINT16_MAX ? 2 : 4;
}

/* tuple<A,B>: A padded to its maximum, B padded to its maximum, then the size of each that is not fixed. */
static int split_tuple2(const ss_order *order, const ss_order_term *term, span key, span parts[2]) {
    const ss_order_term *a = &order->terms[term->part[0]], *b = &order->terms[term->part[1]];
    uint32_t a_bytes = a->fixed ? 0 : size_bytes(a->max_size), b_bytes = b->fixed ? 0 : size_bytes(b->max_size);
    if (key.size != a->max_size + b->max_size + a_bytes + b_bytes) return bad_key("size of a tuple of two", key);
    const uint8_t *sizes = key.at + a->max_size + b->max_size;
    parts[0] = (span){key.at, a->fixed ? a->max_size : ss_get_be(sizes, a_bytes)};
    parts[1] = (span){key.at + a->max_size, b->fixed ? b->max_size : ss_get_be(sizes + a_bytes, b_bytes)};
    bool fits = parts[0].size <= a->max_size && parts[1].size <= b->max_size;
    return fits ? SS_OK : bad_key("size of a part of a tuple of two", key);
}

/* Takes the first part off `rest`: `fixed` bytes, or as many as its size field of `bytes` bytes says. */
static int take_part(const ss_order_term *part, uint32_t bytes, span *rest, span *taken) {
    uint64_t size = part->max_size;
    if (!part->fixed) {
        if (bytes == 3 || rest->size < bytes) return bad_key("size field of a tuple of three", *rest);
        size = ss_get_be(rest->at, bytes);
        *rest = (span){rest->at + bytes, rest->size - bytes};
    }
    if (size > rest->size) return bad_key("size of a part of a tuple of three", *rest);
    *taken = (span){rest->at, size};
    *rest = (span){rest->at + size, rest->size - size};
    return SS_OK;
}

/* tuple<A,B,C>: a byte of size lengths unless A and B are fixed, A and B with their sizes, C to the end. */
static int split_tuple3(const ss_order *order, const ss_order_term *term, span key, span parts[3]) {
    const ss_order_term *a = &order->terms[term->part[0]], *b = &order->terms[term->part[1]];
    uint32_t lengths = 0;
    span rest = key;
    if (!a->fixed || !b->fixed) {
        if (key.size == 0) return bad_key("size byte of a tuple of three", key);
        lengths = key.at[0];
        rest = (span){key.at + 1, key.size - 1};
    }
    int status = take_part(a, (lengths >> 2 & 3) + 1, &rest, &parts[0]);
    if (status == SS_OK) status = take_part(b, (lengths & 3) + 1, &rest, &parts[1]);
    parts[2] = rest;
    return status;
}

/* ---- comparing ---- */

static int compare_term(const ss_order *order, int32_t index, span a, span b, int *result);

static int compare_tuple(const ss_order *order, const ss_order_term *term, span a, span b, int *result) {
    span as[3], bs[3];
    bool two = term->kind == SS_ORDER_TUPLE2;
    int status = two ? split_tuple2(order, term, a, as) : split_tuple3(order, term, a, as);
    if (status == SS_OK) status = two ? split_tuple2(order, term, b, bs) : split_tuple3(order, term, b, bs);
    *result = SS_EQUAL;
    for (int i = 0; status == SS_OK && *result == SS_EQUAL && i < part_count[term->kind]; i++) {
        status = compare_term(order, term->part[i], as[i], bs[i], result);
    }
    return status;
}

static int compare_option(const ss_order *order, const ss_order_term *term, span a, span b, int *result) {
    if (a.size == 0 || b.size == 0) return bad_key("tag of an option", a.size == 0 ? a : b);
    uint8_t some_a = a.at[a.size - 1], some_b = b.at[b.size - 1];
    if (some_a > 1 || (some_a == 0 && a.size != 1)) return bad_key("tag of an option", a);
    if (some_b > 1 || (some_b == 0 && b.size != 1)) return bad_key("tag of an option", b);
    if (some_a && some_b) return compare_term(order, term->part[0], (span){a.at, a.size - 1}, (span){b.at, b.size - 1}, result);
    *result = (int)some_a - (int)some_b;
    return SS_OK;
}

static int compare_floats(const ss_order_term *term, span a, span b, int *result) {
    if (a.size != term->max_size || b.size != term->max_size) return bad_key("size of a float", a.size != term->max_size ? a : b);
    double x, y;
    if (term->max_size == 8) {
        uint64_t bits = ss_get_be(a.at, 8);
        memcpy(&x, &bits, sizeof x);
        bits = ss_get_be(b.at, 8);
        memcpy(&y, &bits, sizeof y);
    } else {
        float narrow;
        uint32_t bits = (uint32_t)ss_get_be(a.at, 4);
        memcpy(&narrow, &bits, sizeof narrow);
        x = (double)narrow;
        bits = (uint32_t)ss_get_be(b.at, 4);
        memcpy(&narrow, &bits, sizeof narrow);
        y = (double)narrow;
    }
    *result = x < y ? SS_LESS : x > y ? SS_GREATER : x == y ? SS_EQUAL : SS_NO_ORDER;
    return SS_OK;
}

static int compare_lengths_first(span a, span b) {
    if (a.size != b.size) return a.size < b.size ? SS_LESS : SS_GREATER;
    return ss_compare_bytes(a.at, a.size, b.at, b.size);
}

static int compare_term(const ss_order *order, int32_t index, span a, span b, int *result) {
    const ss_order_term *term = &order->terms[index];
    switch (term->kind) {
        case SS_ORDER_BYTES:
            *result = ss_compare_bytes(a.at, a.size, b.at, b.size);
            return SS_OK;
        case SS_ORDER_LENGTH_FIRST:
            *result = compare_lengths_first(a, b);
            return SS_OK;
        case SS_ORDER_OPTION:
            return compare_option(order, term, a, b, result);
        case SS_ORDER_REVERSE:
            return compare_term(order, term->part[0], b, a, result);
        case SS_ORDER_FLOAT:
            return compare_floats(term, a, b, result);
        case SS_ORDER_CALLBACK:
            return order->callback(order->self, a.at, a.size, b.at, b.size, result);
        default:
            return compare_tuple(order, term, a, b, result);
    }
}

int ss_order_compare(const ss_order *order, const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size, int *result) {
    if (order->terms[0].kind == SS_ORDER_BYTES) {
        *result = ss_compare_bytes(a, a_size, b, b_size);
        return SS_OK;
    }
    return compare_term(order, 0, (span){a, a_size}, (span){b, b_size}, result);
}
