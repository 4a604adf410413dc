/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/contents.h"

#include "memory/magics.h"
enum { HEAD_SIZE = 64, PIECE_SIZE = 16384, LEAST_TEXT = 8 };

typedef struct signature {
    const char *magic;
    uint8_t at, size;
    const char *name, *rule;
} signature;

#define SIGNATURE(magic, at, name) {magic, at, sizeof(magic) - 1, name, "it holds " name}

static const signature signatures[] = {
    SIGNATURE(SS_MAP_MAGIC, 0, "a StableBTreeMap or StableBTreeSet"),
    SIGNATURE(SS_VEC_MAGIC, 0, "a StableVec"),
    SIGNATURE(SS_HEAP_MAGIC, 0, "a StableMinHeap"),
    SIGNATURE(SS_CELL_MAGIC, 0, "a StableCell"),
    SIGNATURE(SS_LOG_INDEX_MAGIC, 0, "the index of a StableLog"),
    SIGNATURE(SS_LOG_DATA_MAGIC, 0, "the data of a StableLog"),
    SIGNATURE(SS_MANAGER_MAGIC, 0, "a MemoryManager"),
    SIGNATURE("SQLite format 3", 0, "an SQLite database"),
    SIGNATURE("\x1f\x8b", 0, "a gzip"),
    SIGNATURE("\0asm", 0, "a wasm module"),
    SIGNATURE("DIDL", 0, "a Candid message"),
    SIGNATURE("PK\3\4", 0, "a zip archive"),
    SIGNATURE("\x28\xb5\x2f\xfd", 0, "a zstd archive"),
    SIGNATURE("\xfd"
              "7zXZ",
              0, "an xz archive"),
    SIGNATURE("BZh", 0, "a bzip2 archive"),
    SIGNATURE("\x7f"
              "ELF",
              0, "an ELF program"),
    SIGNATURE("%PDF", 0, "a PDF document"),
    SIGNATURE("\x89PNG", 0, "a PNG picture"),
    SIGNATURE("\xff\xd8\xff", 0, "a JPEG picture"),
    SIGNATURE("GIF8", 0, "a GIF picture"),
    SIGNATURE("PAR1", 0, "a Parquet file"),
    SIGNATURE("ARROW1", 0, "an Arrow file"),
    SIGNATURE("\x89HDF", 0, "an HDF5 file"),
    SIGNATURE("\x93NUMPY", 0, "a numpy array file"),
    SIGNATURE("\xd9\xd9\xf7", 0, "a CBOR document"),
    SIGNATURE("\x80\4\x95", 0, "a Python pickle"),
    SIGNATURE("\x80\5\x95", 0, "a Python pickle"),
};

static const signature text = {"", 0, 0, "text", "it holds text"};

/* How many bytes of UTF-8 follow this first one; -1 if no character of a text begins so. */
static int following(uint8_t first) {
    if (first < 0x80) return (first >= ' ' && first != 0x7f) || first == '\t' || first == '\n' || first == '\r' ? 0 : -1;
    return first < 0xc2 || first > 0xf4 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
}

static bool is_text(const uint8_t *bytes, uint64_t size) {
    if (size < LEAST_TEXT) return false;
    for (uint64_t i = 0; i < LEAST_TEXT;) {
        int more = following(bytes[i++]);
        if (more < 0) return false;
        for (; more > 0 && i < LEAST_TEXT; more--) {
            if ((bytes[i++] & 0xc0) != 0x80) return false;
        }
    }
    return true;
}

static const signature *recognise(const uint8_t *bytes, uint64_t size) {
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        const signature *known = &signatures[i];
        if ((uint64_t)known->at + known->size <= size && memcmp(bytes + known->at, known->magic, known->size) == 0) return known;
    }
    return is_text(bytes, size) ? &text : NULL;
}

const char *ss_contents_name(const uint8_t *bytes, uint64_t size) {
    const signature *found = recognise(bytes, size);
    return found != NULL ? found->name : NULL;
}

static bool is_zero(const uint8_t *bytes, uint64_t size) {
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)size - 1) == 0;
}

static int refuse(const char *rule, uint64_t address) {
    return ss_fail(SS_BAD_MAGIC, rule, address, 0, 0);
}

static int refuse_head(const uint8_t *head) {
    const signature *found = recognise(head, HEAD_SIZE);
    if (found != NULL) return refuse(found->rule, 0);
    return refuse(is_zero(head, HEAD_SIZE) ? "it holds none: it begins with zeros" : "it holds bytes of no kind that is known here", 0);
}

/* SS_OK with the first bytes; SS_ABSENT if there are no pages. */
static int read_head(const ss_memory *memory, uint8_t head[HEAD_SIZE]) {
    uint64_t pages;
    int status = ss_memory_size(memory, &pages);
    if (status != SS_OK) return status;
    return pages == 0 ? SS_ABSENT : ss_memory_read(memory, 0, head, HEAD_SIZE);
}

int ss_contents_refuse(const ss_memory *memory) {
    uint8_t head[HEAD_SIZE];
    int status = read_head(memory, head);
    if (status == SS_ABSENT) return refuse("it holds nothing: it has no pages", 0);
    return status == SS_OK ? refuse_head(head) : status;
}

/* ---- the way through a memory ---- */

typedef struct scan {
    const ss_memory *memory;
    uint64_t left;     /* bytes that may still be read */
    uint64_t hole_end; /* of the root: bytes before it, from where the scan stands, are zeros */
} scan;

/* Whether the piece at this place of the root lies in a hole of the file. */
static bool in_hole(scan *s, uint64_t place, uint64_t size) {
    const ss_root *root = s->memory->root;
    if (!(root->watch & SS_WATCH_FRESH) || root->storage_ops == NULL || root->storage_ops->data_after == NULL) return false;
    if (place >= s->hole_end || place + size > s->hole_end) s->hole_end = root->storage_ops->data_after(root->storage, place);
    return place + size <= s->hole_end;
}

static int look_at(scan *s, uint64_t offset, const uint8_t *bytes, uint64_t size) {
    if (s->left < size) return refuse("it begins with 256 MiB of zeros, and what follows was not looked at", offset);
    s->left -= size;
    if (is_zero(bytes, size)) return SS_OK;
    uint64_t at = 0;
    while (bytes[at] == 0) at++;
    return refuse("it begins with zeros, and something else follows", offset + at);
}

static int scan_piece(scan *s, uint64_t offset) {
    uint8_t copy[PIECE_SIZE];
    const uint8_t *bytes = ss_memory_direct(s->memory, offset, PIECE_SIZE);
    if (bytes != NULL) {
        return in_hole(s, (uint64_t)(bytes - s->memory->root->base), PIECE_SIZE) ? SS_OK : look_at(s, offset, bytes, PIECE_SIZE);
    }
    int status = ss_memory_read(s->memory, offset, copy, PIECE_SIZE);
    return status == SS_OK ? look_at(s, offset, copy, PIECE_SIZE) : status;
}

static bool was_never_written(const ss_root *root) {
    return (root->watch & SS_WATCH_FRESH) && root->storage_ops == NULL;
}

int ss_contents_demand_empty(const ss_memory *memory) {
    uint8_t head[HEAD_SIZE];
    uint64_t pages;
    int status = read_head(memory, head);
    if (status == SS_ABSENT) return SS_OK;
    if (status == SS_OK && !is_zero(head, HEAD_SIZE)) return refuse_head(head);
    if (status == SS_OK) status = ss_memory_size(memory, &pages);
    if (status != SS_OK || was_never_written(memory->root)) return status;
    scan s = {memory, SS_LOOKED_AT, 0};
    for (uint64_t offset = 0; status == SS_OK && offset < pages * SS_PAGE_SIZE; offset += PIECE_SIZE) status = scan_piece(&s, offset);
    return status;
}
