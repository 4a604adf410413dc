/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "core/cbor.h"
#include "core/error.h"
#include "support/check.h"
#include "support/memories.h"

static int check_all(const uint8_t *bytes, uint64_t size) {
    /* A copy of exactly that size, so that reading past its end is noticed. */
    uint8_t *copy = malloc(size + (size == 0));
    memcpy(copy, bytes, size);
    int status = ss_cbor_check(copy, size);
    free(copy);
    return status;
}

/* The same in pieces. */
static int feed_pieces(const uint8_t *bytes, uint64_t size) {
    ss_cbor *walk = ss_cbor_new(size);
    int status = SS_OK;
    for (uint64_t at = 0; at < size && status == SS_OK;) {
        uint64_t some = 1 + random_below(4);
        if (some > size - at) some = size - at;
        status = ss_cbor_feed(walk, bytes + at, some);
        at += some;
    }
    ss_cbor_free(walk);
    return status;
}

static void well_formed_items_are_taken(void) {
    static const struct {
        const char *bytes;
        uint64_t size;
        int status;
    } items[] = {
        {"\x00", 1, 0},
        {"\x1b\1\2\3\4\5\6\7\x08", 9, 0},
        {"\x80", 1, 0},
        {"\xa1\x01\x80", 3, 0},
        {"\x9f\x01\x9f\xff\xff", 5, 0},
        {"\xbf\x01\x02\xff", 4, 0},
        {"\x5f\x41"
         "a\x40\xff",
         5, 0},
        {"\x7f\x61"
         "a\xff",
         4, 0},
        {"\xc1\x00", 2, 0},
        {"\xf9\x00\x00", 3, 0},
        {"\xf8\x20", 2, 0},
        {"\xf8\xff", 2, 0},
        {"\xd8\x1c\x81\xd8\x1d\x00", 6, 1}, /* contains itself */
        {"\xd8\x1d\x05", 3, 0},             /* stands for nothing: the decoder says so */
        {"\xff", 1, SS_CORRUPT},
        {"\x1c", 1, SS_CORRUPT},
        {"\xdf\x00", 2, SS_CORRUPT},
        {"\x1f", 1, SS_CORRUPT},
        {"\x81", 1, SS_CORRUPT},
        {"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 9, SS_CORRUPT},
        {"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", 9, SS_CORRUPT},
        {"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", 9, SS_CORRUPT},
        {"\xbf\x01\xff", 3, SS_CORRUPT},
        {"\x5f\x61"
         "a\xff",
         4, SS_CORRUPT},
        {"\x5f\x5f\xff\xff", 4, SS_CORRUPT},
        {"\x82\xff", 2, SS_CORRUPT},
        {"", 0, SS_CORRUPT},
    };
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        CHECK_EQ(check_all((const uint8_t *)items[i].bytes, items[i].size), items[i].status);
    }
}

/* Of all first bytes and all second ones: RFC 8949, 3 and 3.3. */
static void every_head_of_a_simple_value_is_known(void) {
    for (unsigned first = 0xe0; first <= 0xff; first++) {
        for (unsigned second = 0; second <= 0xff; second++) {
            uint8_t bytes[9] = {(uint8_t)first, (uint8_t)second};
            unsigned info = first & 31;
            bool well_formed = info < 24 || (info == 24 && second >= 32) || (info > 24 && info <= 27);
            CHECK_EQ(check_all(bytes, sizeof bytes), well_formed ? 0 : SS_CORRUPT);
        }
    }
}

static void depth_is_limited(void) {
    uint8_t deep[2000];
    memset(deep, 0x81, sizeof deep);
    deep[SS_CBOR_DEPTH] = 0;
    CHECK_EQ(check_all(deep, SS_CBOR_DEPTH + 1), 0);
    deep[SS_CBOR_DEPTH] = 0x81;
    CHECK_EQ(check_all(deep, sizeof deep), SS_CORRUPT);
    CHECK_EQ(ss_last_failure()->limit, SS_CBOR_DEPTH);
}

/* [28([1, 2]), 28([29(0), 29(0)]), 28([29(1), 29(1)]), ...]: each level is twice the one below. */
static void references_are_counted(void) {
    for (uint8_t levels = 1; levels < 40; levels++) {
        uint8_t bytes[600] = {0x9f, 0xd8, 0x1c, 0x82, 1, 2};
        uint64_t size = 6;
        for (uint8_t level = 1; level < levels; level++) {
            uint8_t one[] = {0xd8, 0x1c, 0x82, 0xd8, 0x1d, 0x18, (uint8_t)(level - 1), 0xd8, 0x1d, 0x18, (uint8_t)(level - 1)};
            memcpy(bytes + size, one, sizeof one);
            size += sizeof one;
        }
        bytes[size++] = 0xff;
        CHECK_EQ(check_all(bytes, size), levels < 18 ? SS_OK : SS_CORRUPT);
        CHECK_EQ(feed_pieces(bytes, size), levels < 18 ? SS_OK : SS_CORRUPT);
    }
}

static void random_bytes_give_an_answer(void) {
    static const uint8_t heads[] = {0x00, 0x18, 0x41, 0x5f, 0x7f, 0x81, 0x82, 0x9f, 0xa1, 0xbf, 0xd8, 0x1c, 0x1d, 0xff, 0xf9, 0x9b};
    for (int round = 0; round < 100000; round++) {
        uint8_t bytes[40];
        uint64_t size = random_below(sizeof bytes);
        for (uint64_t i = 0; i < size; i++) bytes[i] = random_below(3) == 0 ? (uint8_t)random_number() : heads[random_below(sizeof heads)];
        int status = check_all(bytes, size);
        CHECK(status == 0 || status == 1 || status == SS_CORRUPT);
        /* In pieces it is the same, but for an item that does not end: that is reported only at the end. */
        if (status != SS_CORRUPT) CHECK_EQ(feed_pieces(bytes, size), SS_OK);
    }
}

int main(void) {
    well_formed_items_are_taken();
    every_head_of_a_simple_value_is_known();
    depth_is_limited();
    references_are_counted();
    random_bytes_give_an_answer();
    return check_summary();
}
