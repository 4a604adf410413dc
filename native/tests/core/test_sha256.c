/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256: vectors of FIPS 180-4 and of NIST's examples, pieces of any size, and both ways to mix a block against each other. */
#include <stdlib.h>
#include <string.h>

#include "core/sha256.h"
#include "support/check.h"

static void hex_of(const uint8_t digest[SS_SHA256_SIZE], char text[65]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SS_SHA256_SIZE; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[64] = 0;
}

static void expect(const char *text, uint64_t length, const char *wanted) {
    uint8_t digest[SS_SHA256_SIZE];
    char got[65];
    ss_sha256 hash;
    ss_sha256_begin(&hash);
    ss_sha256_add(&hash, text, length);
    ss_sha256_end(&hash, digest);
    hex_of(digest, got);
    CHECK(strcmp(got, wanted) == 0);
}

static void test_vectors(void) {
    expect("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    CHECK(million != NULL);
    memset(million, 'a', 1000000);
    expect(million, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void test_pieces(void) {
    uint8_t bytes[300], whole[SS_SHA256_SIZE], digest[SS_SHA256_SIZE];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t length = 0; length <= sizeof bytes; length++) {
        ss_sha256 hash;
        ss_sha256_begin(&hash);
        ss_sha256_add(&hash, bytes, length);
        ss_sha256_end(&hash, whole);
        for (size_t cut = 0; cut <= length; cut += 7) {
            ss_sha256_begin(&hash);
            ss_sha256_add(&hash, bytes, cut);
            ss_sha256_add(&hash, bytes + cut, 0);
            ss_sha256_add(&hash, bytes + cut, length - cut);
            ss_sha256_end(&hash, digest);
            CHECK(memcmp(digest, whole, sizeof whole) == 0);
        }
    }
}

static void test_both_ways(void) {
    uint32_t one[8] = {1, 2, 3, 4, 5, 6, 7, 8}, other[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t blocks[5 * SS_SHA256_BLOCK];
    uint32_t seed = 7;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
        uint64_t count = (uint64_t)round % 6;
        ss_sha256_blocks(one, blocks, count);
        ss_sha256_blocks_portable(other, blocks, count);
        CHECK(memcmp(one, other, sizeof one) == 0);
    }
}

int main(void) {
    test_vectors();
    test_pieces();
    test_both_ways();
    return check_summary();
}
