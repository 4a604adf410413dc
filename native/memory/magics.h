/* SPDX-License-Identifier: Apache-2.0 */
/* With which three bytes each part of the format begins (docs/format.md); the fourth byte is the version of its layout.
 * Typed here and nowhere else: Python has them by the cdef file.
 */
#ifndef SS_MAGICS_H
#define SS_MAGICS_H

#include <stdint.h>

#define SS_MANAGER_MAGIC "MGR"
#define SS_MAP_MAGIC "BTR"
#define SS_ALLOCATOR_MAGIC "BTA"
#define SS_CHUNK_MAGIC "CHK"
#define SS_NODE_MAGIC "BTN"
#define SS_OVERFLOW_MAGIC "NOF"
#define SS_VEC_MAGIC "SVC"
#define SS_HEAP_MAGIC "SMH"
#define SS_CELL_MAGIC "SCL"
#define SS_LOG_INDEX_MAGIC "GLI"
#define SS_LOG_DATA_MAGIC "GLD"

enum { SS_MAGIC_SIZE = 3, SS_VERSION_AT = 3 };

/* Magic and version as the little-endian number of the first four bytes. */
static inline uint32_t ss_magic_number(const char *magic, uint8_t version) {
    return (uint32_t)(uint8_t)magic[0] | (uint32_t)(uint8_t)magic[1] << 8 | (uint32_t)(uint8_t)magic[2] << 16 | (uint32_t)version << 24;
}

#endif
