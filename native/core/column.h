/* SPDX-License-Identifier: Apache-2.0 */
/* Many keys or values in one call: items back to back, as numpy or a joined list of bytes holds them. */
#ifndef SS_COLUMN_H
#define SS_COLUMN_H

#include "core/bytes.h"
#include "core/error.h"

/* Items that come in. With `native` they are numbers of `size` (1, 2, 4, 8) bytes in this machine's byte order, and
 * `bias` is XORed to each (the top bit of a signed type keeps the order); else they are encodings. `ends` says where
 * each item ends, or is NULL if all have `size` bytes.
 *
 * While a call lasts, other threads may change the bytes at `data`, unless `stable` says that nobody does; `ends` is the
 * caller's own. So the core reads a number once, and encodings in a copy (ss_column_part): what is checked is what is used. */
typedef struct ss_column {
    const uint8_t *data;
    const uint64_t *ends;
    uint32_t size;
    int32_t native;
    uint64_t bias;
    int32_t stable;
} ss_column;

/* Room for fixed-size items that go out, in the same two forms. */
typedef struct ss_output_column {
    uint8_t *data;
    uint32_t size;
    int32_t native;
    uint64_t bias;
} ss_output_column;

static inline uint64_t ss_native_get(const uint8_t *at, uint32_t size) {
    switch (size) {
        case 8:
            return ss_get64(at);
        case 4:
            return ss_get32(at);
        case 2:
            return ss_get16(at);
        default:
            return at[0];
    }
}

static inline void ss_native_put(uint8_t *at, uint32_t size, uint64_t v) {
    memcpy(at, &v, size); /* little-endian: the low bytes come first */
}

/* The number of a native item. */
static inline uint64_t ss_column_number(const ss_column *column, uint64_t i) {
    return ss_native_get(column->data + i * column->size, column->size) ^ column->bias;
}

/* Item i as bytes: in place, or encoded into the buffer. */
static inline const uint8_t *ss_column_item(const ss_column *column, uint64_t i, uint8_t buffer[8], uint64_t *size) {
    *size = column->size;
    if (column->native) {
        ss_put_be(buffer, column->size, ss_column_number(column, i));
        return buffer;
    }
    if (column->ends == NULL) return column->data + i * column->size;
    uint64_t begin = i == 0 ? 0 : column->ends[i - 1];
    *size = column->ends[i] - begin;
    return column->data + begin;
}

/* Items first..end of a column, which nobody changes: item i of the column is item i - first of `items`. */
typedef struct ss_column_part {
    ss_column items;
    uint64_t first, end;
    uint8_t *copy; /* of bytes and ends; NULL if the column itself does */
    size_t room;
} ss_column_part;

#define SS_COLUMN_BYTES (UINT64_C(1) << 18)

/* Makes it the part that begins at item `first`, of at most `most_bytes` but one item at least. Begins as {0}. SS_NO_HEAP. */
int ss_column_take(ss_column_part *part, const ss_column *column, uint64_t first, uint64_t count, uint64_t most_bytes);
/* Makes it the whole column, also of numbers: for what reads an item more than once. Begins as {0}. SS_NO_HEAP. */
int ss_column_copy(ss_column_part *part, const ss_column *column, uint64_t count);
void ss_column_drop(ss_column_part *part);

/* Item i, counted from the part before on, is in the part afterwards. */
static inline int ss_column_reach(ss_column_part *part, const ss_column *column, uint64_t i, uint64_t count) {
    return SS_LIKELY(i < part->end) ? SS_OK : ss_column_take(part, column, i, count, SS_COLUMN_BYTES);
}

/* Puts an encoding into place i; false if it has not the size of the items. */
static inline bool ss_output_column_store(const ss_output_column *column, uint64_t i, const uint8_t *bytes, uint64_t size) {
    if (size != column->size) return false;
    uint8_t *at = column->data + i * column->size;
    if (column->native) {
        ss_native_put(at, column->size, ss_get_be(bytes, column->size) ^ column->bias);
    } else {
        memcpy(at, bytes, (size_t)size);
    }
    return true;
}

/* The same from place i on for `count` encodings of that size, each `stride` bytes behind the one before. */
static inline void ss_output_column_store_run(const ss_output_column *column, uint64_t i, const uint8_t *bytes, uint64_t stride,
                                              uint32_t count) {
    uint8_t *at = column->data + i * column->size;
    uint64_t bias = column->bias;
    if (column->native && column->size == 8) { /* as most are; what the loop does then is known before it begins */
        for (uint32_t k = 0; k < count; k++, at += 8, bytes += stride) ss_put64(at, ss_get_be(bytes, 8) ^ bias);
        return;
    }
    for (uint32_t k = 0; k < count; k++, bytes += stride) (void)ss_output_column_store(column, i + k, bytes, column->size);
}

#endif
