/* SPDX-License-Identifier: Apache-2.0 */
/* Orders of encoded keys, and keys that cannot be taken apart. */
#include "structures/order.h"
#include "support/check.h"
#include "support/maps.h"

#define BYTES(fixed, max) TERM_BYTES(fixed, max)
#define TERM(kind, fixed, max, a, b, c) {kind, fixed, max, {a, b, c}, 0}

static int compare(const ss_order *order, const char *a, size_t a_size, const char *b, size_t b_size) {
    int answer = 99;
    /* Copies of the very size, so that a sanitizer sees a read behind them. */
    uint8_t *x = malloc(a_size + 1), *y = malloc(b_size + 1);
    memcpy(x + 1, a, a_size);
    memcpy(y + 1, b, b_size);
    int status = ss_order_compare(order, x + 1, a_size, y + 1, b_size, &answer);
    free(x);
    free(y);
    return status == SS_OK ? answer : status;
}

#define COMPARE(order, a, b) compare(order, a, sizeof(a) - 1, b, sizeof(b) - 1)

static void init(ss_order *order, const ss_order_term *terms, uint32_t count) {
    CHECK_EQ(ss_order_init(order, terms, count, NULL, NULL), SS_OK);
}

static void bytes_are_lexicographic(void) {
    ss_order order;
    init(&order, (ss_order_term[]){BYTES(0, SS_UNBOUNDED)}, 1);
    CHECK_EQ(COMPARE(&order, "", ""), SS_EQUAL);
    CHECK_EQ(COMPARE(&order, "", "\0"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "a", "ab"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "b", "ab"), SS_GREATER);
    CHECK_EQ(COMPARE(&order, "\x7f", "\x80"), SS_LESS);
    CHECK_EQ(order.int_size, 0);
}

static void fixed_integers_are_known(void) {
    static const uint64_t sizes[] = {0, 1, 2, 3, 4, 5, 8, 16};
    static const uint32_t wanted[] = {0, 1, 2, 0, 4, 0, 8, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ss_order order;
        init(&order, (ss_order_term[]){BYTES(1, sizes[i])}, 1);
        CHECK_EQ(order.int_size, wanted[i]);
        init(&order, (ss_order_term[]){BYTES(0, sizes[i])}, 1);
        CHECK_EQ(order.int_size, 0);
    }
}

static void a_principal_compares_its_length_first(void) {
    ss_order order;
    init(&order, (ss_order_term[]){TERM(SS_ORDER_LENGTH_FIRST, 0, 29, -1, -1, -1)}, 1);
    CHECK_EQ(COMPARE(&order, "\xff", "\0\0"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "ab", "aa"), SS_GREATER);
    CHECK_EQ(COMPARE(&order, "", ""), SS_EQUAL);
}

static void none_comes_first(void) {
    ss_order order;
    init(&order, (ss_order_term[]){TERM(SS_ORDER_OPTION, 0, SS_UNBOUNDED, 1, -1, -1), BYTES(0, SS_UNBOUNDED)}, 2);
    CHECK_EQ(COMPARE(&order, "\0", "\1"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "a\1", "\0"), SS_GREATER);
    CHECK_EQ(COMPARE(&order, "\0", "\0"), SS_EQUAL);
    CHECK_EQ(COMPARE(&order, "a\1", "b\1"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "", "\0"), SS_CORRUPT);
    CHECK_EQ(COMPARE(&order, "a\2", "\0"), SS_CORRUPT);
    CHECK_EQ(COMPARE(&order, "\0", "a\0"), SS_CORRUPT);
    CHECK_EQ(COMPARE(&order, "a\0", "\0"), SS_CORRUPT);
    CHECK_EQ(COMPARE(&order, "\0", ""), SS_CORRUPT);
    CHECK_EQ(COMPARE(&order, "\0", "a\2"), SS_CORRUPT);
}

static void reverse_turns_round_what_lies_below(void) {
    ss_order order;
    init(&order,
         (ss_order_term[]){TERM(SS_ORDER_REVERSE, 0, SS_UNBOUNDED, 1, -1, -1), TERM(SS_ORDER_OPTION, 0, SS_UNBOUNDED, 2, -1, -1),
                           TERM(SS_ORDER_REVERSE, 0, SS_UNBOUNDED, 3, -1, -1), BYTES(0, SS_UNBOUNDED)},
         4);
    CHECK_EQ(COMPARE(&order, "\0", "a\1"), SS_GREATER);
    CHECK_EQ(COMPARE(&order, "a\1", "b\1"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "", "b\1"), SS_CORRUPT);
}

static void a_tuple_of_two_compares_its_parts(void) {
    ss_order order;
    /* blob<2>, u16: A padded to 2, B, then A's size. */
    init(&order, (ss_order_term[]){TERM(SS_ORDER_TUPLE2, 1, 5, 1, 2, -1), BYTES(0, 2), BYTES(1, 2)}, 3);
    CHECK_EQ(COMPARE(&order, "a\0\0\1\1", "a\0\0\2\1"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "a\0\xff\xff\1", "ab\0\0\2"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "a\0\0\1\2", "a\0\0\1\1"), SS_GREATER);
    CHECK_EQ(COMPARE(&order, "zz\0\0\0", "aa\0\0\0"), SS_EQUAL);
    CHECK_EQ(COMPARE(&order, "a\0\0\1\3", "a\0\0\1\1"), SS_CORRUPT);
    CHECK_EQ(COMPARE(&order, "a\0\0\1", "a\0\0\1\1"), SS_CORRUPT);
    CHECK_EQ(COMPARE(&order, "", "a\0\0\1\1"), SS_CORRUPT);
}

static void a_size_of_a_tuple_of_two_takes_as_many_bytes_as_its_bound(void) {
    ss_order order;
    static char a[300 + 4], b[300 + 4];
    /* blob<300>, bool with a blob<1>: sizes of 2 and of 1 bytes. */
    init(&order, (ss_order_term[]){TERM(SS_ORDER_TUPLE2, 1, 304, 1, 2, -1), BYTES(0, 300), BYTES(0, 1)}, 3);
    a[301] = b[301] = 1;
    a[302] = 1;
    b[303] = 1;
    CHECK_EQ(compare(&order, a, sizeof a, b, sizeof b), SS_GREATER);
    a[301] = 2;
    CHECK_EQ(compare(&order, a, sizeof a, b, sizeof b), SS_CORRUPT);
}

static void a_tuple_of_three_carries_its_sizes(void) {
    ss_order order;
    /* string, u8, bytes */
    init(&order,
         (ss_order_term[]){TERM(SS_ORDER_TUPLE3, 0, SS_UNBOUNDED, 1, 2, 3), BYTES(0, SS_UNBOUNDED), BYTES(1, 1), BYTES(0, SS_UNBOUNDED)},
         4);
    CHECK_EQ(COMPARE(&order, "\0\1a\5x", "\0\1a\5y"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "\0\1a\5", "\0\1a\4zzzz"), SS_GREATER);
    CHECK_EQ(COMPARE(&order, "\0\2ab\1", "\0\1b\1"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "\4\0\1a\5x", "\0\1a\5x"), SS_EQUAL);
    CHECK_EQ(COMPARE(&order, "\xC\0\0\0\1a\5x", "\0\1a\5x"), SS_EQUAL);
    CHECK_EQ(COMPARE(&order, "\x8\0\0\1a\5x", "\0\1a\5x"), SS_CORRUPT);
    CHECK_EQ(COMPARE(&order,
                     "\xC\xff\xff\xff\xff"
                     "a\5x",
                     "\0\1a\5x"),
             SS_CORRUPT);
    CHECK_EQ(COMPARE(&order, "", "\0\1a\5x"), SS_CORRUPT);
    CHECK_EQ(COMPARE(&order, "\0", "\0\1a\5x"), SS_CORRUPT);
    CHECK_EQ(COMPARE(&order, "\0\1a", "\0\1a\5x"), SS_CORRUPT);
    /* u8, u8, u8: no sizes at all */
    init(&order, (ss_order_term[]){TERM(SS_ORDER_TUPLE3, 1, 3, 1, 2, 3), BYTES(1, 1), BYTES(1, 1), BYTES(1, 1)}, 4);
    CHECK_EQ(COMPARE(&order, "\1\2\3", "\1\2\4"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "\1", "\1\2\4"), SS_CORRUPT);
}

static void floats_may_have_no_order(void) {
    ss_order order;
    init(&order, (ss_order_term[]){TERM(SS_ORDER_FLOAT, 1, 8, -1, -1, -1)}, 1);
    static const char zero[] = "\0\0\0\0\0\0\0\0", minus_zero[] = "\x80\0\0\0\0\0\0\0", one[] = "\x3f\xf0\0\0\0\0\0\0";
    static const char minus_one[] = "\xbf\xf0\0\0\0\0\0\0", nan[] = "\x7f\xf8\0\0\0\0\0\0";
    CHECK_EQ(COMPARE(&order, zero, minus_zero), SS_EQUAL);
    CHECK_EQ(COMPARE(&order, minus_one, one), SS_LESS);
    CHECK_EQ(COMPARE(&order, one, minus_zero), SS_GREATER);
    CHECK_EQ(COMPARE(&order, nan, nan), SS_NO_ORDER);
    CHECK_EQ(COMPARE(&order, nan, one), SS_NO_ORDER);
    CHECK_EQ(COMPARE(&order, "", one), SS_CORRUPT);
    init(&order, (ss_order_term[]){TERM(SS_ORDER_FLOAT, 1, 4, -1, -1, -1)}, 1);
    CHECK_EQ(COMPARE(&order, "\xbf\x80\0\0", "\x3f\x80\0\0"), SS_LESS);
    CHECK_EQ(COMPARE(&order, "\x7f\xc0\0\0", "\x3f\x80\0\0"), SS_NO_ORDER);
    CHECK_EQ(COMPARE(&order, "\x7f\xc0\0", "\x3f\x80\0\0"), SS_CORRUPT);
}

static int answering(void *self, const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size, int *result) {
    const int *answer = self;
    (void)a;
    (void)b;
    *result = a_size == b_size ? SS_EQUAL : SS_LESS;
    return *answer;
}

static void a_callback_decides_and_may_fail(void) {
    ss_order order;
    int answer = SS_OK;
    ss_order_term terms[] = {TERM(SS_ORDER_CALLBACK, 0, SS_UNBOUNDED, -1, -1, -1)};
    CHECK_EQ(ss_order_init(&order, terms, 1, answering, &answer), SS_OK);
    CHECK_EQ(COMPARE(&order, "a", "b"), SS_EQUAL);
    CHECK_EQ(COMPARE(&order, "b", "aa"), SS_LESS);
    answer = SS_CALLBACK;
    CHECK_EQ(COMPARE(&order, "a", "b"), SS_CALLBACK);
    CHECK_EQ(ss_order_init(&order, terms, 1, NULL, NULL), SS_ARGUMENT);
}

static void terms_that_make_no_sense_are_refused(void) {
    ss_order order;
    static const struct {
        ss_order_term terms[3];
        uint32_t count;
    } bad[] = {
        {{BYTES(0, 1)}, 0},
        {{BYTES(0, 1)}, SS_ORDER_TERMS + 1},
        {{TERM(-1, 0, 1, -1, -1, -1)}, 1},
        {{TERM(SS_ORDER_CALLBACK + 1, 0, 1, -1, -1, -1)}, 1},
        {{TERM(SS_ORDER_OPTION, 0, 1, 0, -1, -1)}, 1},
        {{TERM(SS_ORDER_OPTION, 0, 1, 1, -1, -1)}, 1},
        {{TERM(SS_ORDER_OPTION, 0, 1, -1, -1, -1)}, 1},
        {{TERM(SS_ORDER_OPTION, 0, 1, 1, -1, -1), TERM(SS_ORDER_REVERSE, 0, 1, 0, -1, -1)}, 2},
        {{TERM(SS_ORDER_OPTION, 0, 1, 1, -1, -1), TERM(SS_ORDER_CALLBACK, 0, 1, -1, -1, -1)}, 2},
        {{TERM(SS_ORDER_FLOAT, 1, 5, -1, -1, -1)}, 1},
        {{TERM(SS_ORDER_TUPLE2, 1, 5, 1, 2, -1), BYTES(0, SS_UNBOUNDED), BYTES(0, 1)}, 3},
        {{TERM(SS_ORDER_TUPLE3, 1, 5, 1, 2, 3), BYTES(0, 1), BYTES(0, 1)}, 3},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(ss_order_init(&order, bad[i].terms, bad[i].count, answering, NULL), SS_ARGUMENT);
    }
}

/* Random bytes as keys of every order: an answer or SS_CORRUPT, and the two ways round agree. */
static void random_keys_never_read_outside_and_are_antisymmetric(void) {
    ss_order_term shapes[][6] = {
        {TERM(SS_ORDER_OPTION, 0, SS_UNBOUNDED, 1, -1, -1), TERM(SS_ORDER_REVERSE, 0, SS_UNBOUNDED, 2, -1, -1), BYTES(0, SS_UNBOUNDED)},
        {TERM(SS_ORDER_TUPLE2, 1, 8, 1, 2, -1), BYTES(0, 3), TERM(SS_ORDER_OPTION, 0, 3, 3, -1, -1),
         TERM(SS_ORDER_LENGTH_FIRST, 0, 2, -1, -1, -1)},
        {TERM(SS_ORDER_TUPLE3, 0, SS_UNBOUNDED, 1, 2, 3), BYTES(0, SS_UNBOUNDED), TERM(SS_ORDER_OPTION, 0, SS_UNBOUNDED, 4, -1, -1),
         TERM(SS_ORDER_TUPLE3, 0, SS_UNBOUNDED, 4, 5, 5), BYTES(1, 1), BYTES(0, 2)},
    };
    uint32_t counts[] = {3, 4, 6};
    rng random = {.state = 5};
    for (int round = 0; round < 60000; round++) {
        ss_order order;
        char keys[2][12];
        size_t shape = rng_below(&random, 3), sizes[2];
        init(&order, shapes[shape], counts[shape]);
        for (int i = 0; i < 2; i++) {
            sizes[i] = shape == 1 && rng_below(&random, 8) != 0 ? 8 : rng_below(&random, sizeof keys[i] + 1);
            for (size_t j = 0; j < sizes[i]; j++) keys[i][j] = (char)rng_below(&random, rng_below(&random, 4) == 0 ? 256 : 3);
        }
        int there = compare(&order, keys[0], sizes[0], keys[1], sizes[1]), back = compare(&order, keys[1], sizes[1], keys[0], sizes[0]);
        if (there != back && there != -back) CHECK(there == SS_CORRUPT || back == SS_CORRUPT);
    }
}

int main(void) {
    bytes_are_lexicographic();
    fixed_integers_are_known();
    a_principal_compares_its_length_first();
    none_comes_first();
    reverse_turns_round_what_lies_below();
    a_tuple_of_two_compares_its_parts();
    a_size_of_a_tuple_of_two_takes_as_many_bytes_as_its_bound();
    a_tuple_of_three_carries_its_sizes();
    floats_may_have_no_order();
    a_callback_decides_and_may_fail();
    terms_that_make_no_sense_are_refused();
    random_keys_never_read_outside_and_are_antisymmetric();
    return check_summary();
}
