/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cbor.h"

#include <stdbool.h>
#include <stdlib.h>

#include "core/error.h"

enum major { UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE };
enum { INDEFINITE = 31, SHARED = 28, REFERENCE = 29 };
#define UNFINISHED UINT64_MAX

/* What an item lies in. */
typedef struct frame {
    uint64_t left; /* items that are to follow; of an indefinite one, those that have come */
    uint64_t size; /* items inside, with those that references stand for */
    int64_t share; /* its number among the shared values, or -1 */
    uint8_t major;
    bool indefinite, reference;
} frame;

struct ss_cbor {
    uint64_t total, offset; /* bytes of the value, and where the walk is */
    uint64_t skip;          /* bytes of a string that are to follow */
    uint64_t argument;
    uint64_t added;
    uint64_t *shared; /* size of each shared value */
    uint64_t shared_count, shared_room;
    uint32_t depth;
    uint8_t major, info, argument_left;
    bool in_head, in_string, complete, cyclic;
    frame frames[SS_CBOR_DEPTH];
};

static int broken(const ss_cbor *walk, const char *rule, uint64_t number, uint64_t limit) {
    return ss_fail(SS_CORRUPT, rule, walk->offset, number, limit);
}

/* The value goes on behind the bytes that there are. */
static int cut_off(const ss_cbor *walk, const char *rule, uint64_t limit) {
    return ss_fail(SS_CORRUPT, rule, walk->total, walk->argument, limit);
}

static uint64_t add(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - 1 - b ? UINT64_MAX - 1 : a + b;
}

/* An item of so many items is through; so may be what it lies in. */
static int finish(ss_cbor *walk, uint64_t size) {
    while (walk->depth > 0) {
        frame *in = &walk->frames[walk->depth - 1];
        in->size = add(in->size, size);
        if (in->indefinite) {
            in->left++;
            return SS_OK;
        }
        if (--in->left > 0) return SS_OK;
        size = in->size;
        if (in->share >= 0) walk->shared[in->share] = size;
        walk->depth--;
    }
    walk->complete = true;
    return SS_OK;
}

static int share(ss_cbor *walk, int64_t *number) {
    if (walk->shared_count == walk->shared_room) {
        uint64_t room = walk->shared_room * 2 + 16;
        uint64_t *more = realloc(walk->shared, (size_t)room * sizeof *more);
        if (more == NULL) return ss_fail(SS_NO_HEAP, "sizes of shared values", 0, room, 0);
        walk->shared = more;
        walk->shared_room = room;
    }
    walk->shared[walk->shared_count] = UNFINISHED;
    *number = (int64_t)walk->shared_count++;
    return SS_OK;
}

/* `items` follow inside of the item at hand. */
static int enter(ss_cbor *walk, uint64_t items) {
    if (walk->depth == SS_CBOR_DEPTH) return broken(walk, "items nest at most 1000 deep", walk->depth, SS_CBOR_DEPTH);
    frame *in = &walk->frames[walk->depth++];
    *in = (frame){.left = items, .size = 1, .share = -1, .major = walk->major, .indefinite = walk->info == INDEFINITE};
    if (walk->major != TAG) return SS_OK;
    in->reference = walk->argument == REFERENCE;
    return walk->argument == SHARED ? share(walk, &in->share) : SS_OK;
}

static int enter_many(ss_cbor *walk, uint64_t each) {
    uint64_t rest = walk->total - walk->offset;
    if (walk->info == INDEFINITE) return enter(walk, 0);
    if (walk->argument > rest / each) return cut_off(walk, "as many items follow as the head of an array or map says", rest / each);
    return walk->argument == 0 ? finish(walk, 1) : enter(walk, walk->argument * each);
}

static int begin_string(ss_cbor *walk) {
    uint64_t rest = walk->total - walk->offset;
    if (walk->info == INDEFINITE) return enter(walk, 0);
    if (walk->argument > rest) return cut_off(walk, "as many bytes follow as the head of a string says", rest);
    walk->skip = walk->argument;
    walk->in_string = true;
    return SS_OK;
}

/* A number, which may say which shared value a reference stands for. One that lies in that value is a circle. */
static int number(ss_cbor *walk) {
    const frame *in = walk->depth > 0 ? &walk->frames[walk->depth - 1] : NULL;
    if (in == NULL || !in->reference || walk->major != UNSIGNED || walk->argument >= walk->shared_count) return finish(walk, 1);
    uint64_t size = walk->shared[walk->argument];
    if (size == UNFINISHED) {
        walk->cyclic = true;
        return finish(walk, 1);
    }
    walk->added = add(walk->added, size);
    if (walk->added <= SS_CBOR_ADDED) return finish(walk, size);
    return broken(walk, "shared references (tags 28 and 29) stand for at most 1,048,576 items", walk->added, SS_CBOR_ADDED);
}

static int end_indefinite(ss_cbor *walk) {
    const frame *in = walk->depth > 0 ? &walk->frames[walk->depth - 1] : NULL;
    if (in == NULL || !in->indefinite) return broken(walk, "a break ends an array, map or string of unknown length", 0, 0);
    if (in->major == MAP && in->left % 2 != 0) return broken(walk, "a map has a value for each key", in->left, 0);
    walk->depth--;
    return finish(walk, in->size);
}

/* Simple values below 32 have one byte; two bytes for one of them are not well-formed (RFC 8949, 3.3). */
static int simple(ss_cbor *walk) {
    if (walk->info == INDEFINITE) return end_indefinite(walk);
    bool fits = walk->info != 24 || walk->argument >= 32;
    return fits ? finish(walk, 1) : broken(walk, "a simple value of two bytes is at least 32", walk->argument, 32);
}

/* The head of an item is read. */
static int take(ss_cbor *walk) {
    const frame *in = walk->depth > 0 ? &walk->frames[walk->depth - 1] : NULL;
    bool in_chunks = in != NULL && in->indefinite && (in->major == BYTES || in->major == TEXT);
    bool is_break = walk->major == SIMPLE && walk->info == INDEFINITE;
    if (in_chunks && !is_break && (walk->major != in->major || walk->info == INDEFINITE)) {
        return broken(walk, "a string of unknown length is made of strings of its kind", walk->major, in->major);
    }
    switch ((enum major)walk->major) {
        case BYTES:
        case TEXT:
            return begin_string(walk);
        case ARRAY:
            return enter_many(walk, 1);
        case MAP:
            return enter_many(walk, 2);
        case TAG:
            return enter(walk, 1);
        case SIMPLE:
            return simple(walk);
        default:
            return number(walk);
    }
}

static int begin_head(ss_cbor *walk, uint8_t byte) {
    walk->major = byte >> 5;
    walk->info = byte & 31;
    walk->argument = walk->info;
    bool may_be_indefinite = (walk->major >= BYTES && walk->major <= MAP) || walk->major == SIMPLE;
    if (walk->info > 27 && !(walk->info == INDEFINITE && may_be_indefinite)) {
        return broken(walk, "the first byte of an item is one that CBOR knows", byte, 0);
    }
    walk->argument_left = 0;
    if (walk->info >= 24 && walk->info <= 27) walk->argument_left = (uint8_t)(1u << (walk->info - 24));
    if (walk->argument_left > 0) walk->argument = 0;
    walk->in_head = true;
    return SS_OK;
}

/* One byte of a head; the item is taken with the last. */
static int read_head(ss_cbor *walk, uint8_t byte) {
    int status = SS_OK;
    if (!walk->in_head) {
        status = begin_head(walk, byte);
    } else {
        walk->argument = walk->argument << 8 | byte;
        walk->argument_left--;
    }
    if (status != SS_OK) return status;
    walk->offset++;
    if (walk->argument_left > 0) return SS_OK;
    walk->in_head = false;
    return take(walk);
}

int ss_cbor_feed(ss_cbor *walk, const uint8_t *bytes, uint64_t size) {
    int status = SS_OK;
    for (uint64_t at = 0; status == SS_OK && !walk->complete;) {
        uint64_t some = walk->skip < size - at ? walk->skip : size - at;
        at += some;
        walk->offset += some;
        walk->skip -= some;
        if (walk->in_string && walk->skip == 0) {
            walk->in_string = false;
            status = finish(walk, 1);
        } else if (at == size) {
            break;
        } else {
            status = read_head(walk, bytes[at++]);
        }
    }
    return status;
}

static void begin(ss_cbor *walk, uint64_t total) {
    /* Not the frames, which are filled before they are read. */
    walk->total = total;
    walk->offset = walk->skip = walk->argument = walk->added = 0;
    walk->shared = NULL;
    walk->shared_count = walk->shared_room = 0;
    walk->depth = 0;
    walk->argument_left = 0;
    walk->in_head = walk->in_string = walk->complete = walk->cyclic = false;
}

ss_cbor *ss_cbor_new(uint64_t total) {
    ss_cbor *walk = malloc(sizeof *walk);
    if (walk != NULL) begin(walk, total);
    return walk;
}

void ss_cbor_free(ss_cbor *walk) {
    if (walk == NULL) return;
    free(walk->shared);
    free(walk);
}

int ss_cbor_check(const uint8_t *bytes, uint64_t size) {
    ss_cbor walk;
    begin(&walk, size);
    int status = ss_cbor_feed(&walk, bytes, size);
    if (status == SS_OK && !walk.complete) status = cut_off(&walk, "the item ends with the bytes", 0);
    free(walk.shared);
    return status == SS_OK ? walk.cyclic : status;
}
