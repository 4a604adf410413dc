/* SPDX-License-Identifier: Apache-2.0 */
#include "structures/survey_order.h"

/* ---- orders ---- */

static bool is_option(const uint8_t *key, uint64_t size) {
    return size > 0 && (key[size - 1] == 1 || (size == 1 && key[0] == 0));
}

/* None, the single byte 0, then the values, with a 1 behind each. */
static bool option_ascends(const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size) {
    if (!is_option(a, a_size) || !is_option(b, b_size)) return false;
    bool a_some = !(a_size == 1 && a[0] == 0), b_some = !(b_size == 1 && b[0] == 0);
    if (a_some != b_some) return b_some;
    return ss_compare_bytes(a, a_size - 1, b, b_size - 1) == SS_LESS;
}

static bool is_padded(const uint8_t *key, uint64_t size, uint64_t width) {
    uint64_t used = key[size - 1];
    if (used > width) return false;
    for (uint64_t i = used; i < width; i++) {
        if (key[i] != 0) return false;
    }
    return true;
}

/* Width of the first part as far as two keys of one size show it: what lies behind both lengths is zero in both. */
static uint64_t pair_width(const uint8_t *a, const uint8_t *b, uint64_t size) {
    static const uint64_t second[] = {1, 2, 4, 8, 16};
    for (size_t i = 0; i < sizeof second / sizeof second[0]; i++) {
        if (size < second[i] + 2) return 0;
        uint64_t width = size - 1 - second[i];
        if (is_padded(a, size, width) && is_padded(b, size, width)) return width;
    }
    return 0;
}

/* The length at the end decides between padded parts that are equal. */
static bool pair_ascends(const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size) {
    uint64_t width = a_size != b_size || a_size == 0 ? 0 : pair_width(a, b, a_size);
    if (width == 0) return false;
    int first = ss_compare_bytes(a, a[a_size - 1], b, b[b_size - 1]);
    return first != SS_EQUAL ? first == SS_LESS : memcmp(a + width, b + width, (size_t)(a_size - 1 - width)) < 0;
}

static bool terms_ascend(const ss_order *terms, const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size) {
    int answer = SS_NO_ORDER;
    return ss_order_compare(terms, a, a_size, b, b_size, &answer) == SS_OK && answer == SS_LESS;
}

bool ss_seen_ascends(int order, const ss_order *terms, const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size) {
    switch (order) {
        case SS_SEEN_ANY:
            return true;
        case SS_SEEN_LENGTH:
            return a_size != b_size ? a_size < b_size : ss_compare_bytes(a, a_size, b, b_size) == SS_LESS;
        case SS_SEEN_REVERSED:
            return ss_compare_bytes(a, a_size, b, b_size) == SS_GREATER;
        case SS_SEEN_OPTION:
            return option_ascends(a, a_size, b, b_size);
        case SS_SEEN_PAIR:
            return pair_ascends(a, a_size, b, b_size);
        case SS_SEEN_TERMS:
            return terms_ascend(terms, a, a_size, b, b_size);
        default:
            return ss_compare_bytes(a, a_size, b, b_size) == SS_LESS;
    }
}

/* ---- encodings ---- */

/* Bytes of the character at `at`, or 0 if there is none: no surrogates, nothing longer than it need be, at most U+10FFFF. */
static uint64_t utf8_length(const uint8_t *at, uint64_t left) {
    uint8_t first = at[0], low = 0x80, high = 0xBF;
    uint64_t length = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (length == 0 || length > left) return 0;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
    if (at[1] < low || at[1] > high) return 0;
    for (uint64_t i = 2; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) return 0;
    }
    return length;
}

bool ss_seen_is_utf8(const uint8_t *bytes, uint64_t size) {
    uint64_t at = 0;
    while (at < size) {
        if (size - at >= 8 && (ss_get64(bytes + at) & UINT64_C(0x8080808080808080)) == 0) {
            at += 8;
        } else if (bytes[at] < 0x80) {
            at++;
        } else {
            uint64_t length = utf8_length(bytes + at, size - at);
            if (length == 0) return false;
            at += length;
        }
    }
    return true;
}

bool ss_seen_is_encoded(int encoding, const uint8_t *bytes, uint64_t size) {
    if (encoding == SS_ENCODED_UTF8) return ss_seen_is_utf8(bytes, size);
    if (encoding == SS_ENCODED_BOOL) return size == 1 && bytes[0] <= 1;
    return true;
}
