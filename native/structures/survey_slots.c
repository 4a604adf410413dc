/* SPDX-License-Identifier: Apache-2.0 */
/* A survey of a vec or heap: every slot is read once, in order; of a heap the parents too, in a second window at half the pace.
 *
 *    slot     size (0, 1, 2 or 4 bytes, little-endian) | element | anything up to the slot's end
 *    windows  elements:  ... i .......      parents:  ... (i - 1) / 2 ...
 *
 * A slot that is larger than a window is one for itself; of it the size is read, and the element if it must be looked at.
 * An element whose size or encoding is wrong is noted once, and is compared with nothing. */
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "structures/survey_internal.h"
#include "structures/survey_order.h"

#define WINDOW_BYTES (64 << 10)

/* Some slots as they lie in the memory. */
typedef struct window {
    ss_seen_bytes bytes;
    uint64_t first, count;
} window;

struct ss_slots_survey {
    ss_memory *memory;
    ss_slots_frame frame;
    ss_order terms;
    uint64_t in_window; /* slots */
    uint64_t next;
    window elements, parents;
    struct ss_elements_stats stats;
    ss_survey_notes notes, disorder;
};

static uint64_t size_of(const ss_slots_frame *f, const uint8_t *slot) {
    uint64_t size = 0;
    if (f->size_bytes == 0) return f->max_size;
    for (uint64_t i = 0; i < f->size_bytes; i++) size |= (uint64_t)slot[i] << (8 * i);
    return size;
}

/* Whether anybody looks into elements, or only at their sizes. */
static bool looks_into(const ss_slots_frame *f) {
    return f->order != SS_SEEN_ANY || f->encoding == SS_ENCODED_UTF8 || f->encoding == SS_ENCODED_BOOL;
}

/* Zeros are behind the memory: the last slot may end there. */
static int fill(ss_slots_survey *s, window *w, uint64_t address, uint64_t size) {
    uint64_t left = s->frame.bytes - address, inside = left < size ? left : size;
    int status = ss_seen_reserve(&w->bytes, size);
    if (status != SS_OK) return status;
    memset(w->bytes.at + inside, 0, (size_t)(size - inside));
    return ss_memory_read(s->memory, address, w->bytes.at, inside);
}

static int fill_large(ss_slots_survey *s, window *w, uint64_t address) {
    const ss_slots_frame *f = &s->frame;
    int status = fill(s, w, address, f->size_bytes);
    if (status != SS_OK || !looks_into(f)) return status;
    uint64_t size = size_of(f, w->bytes.at);
    return size > f->max_size ? SS_OK : fill(s, w, address, f->size_bytes + size);
}

/* The slot of an element that there is; NULL after an error of reading. */
static const uint8_t *slot_of(ss_slots_survey *s, window *w, uint64_t index, int *status) {
    const ss_slots_frame *f = &s->frame;
    if (index < w->first || index - w->first >= w->count) {
        uint64_t count = f->count - index < s->in_window ? f->count - index : s->in_window, address = f->first + index * f->slot;
        *status = f->slot > WINDOW_BYTES ? fill_large(s, w, address) : fill(s, w, address, count * f->slot);
        w->first = index, w->count = *status == SS_OK ? count : 0;
        if (*status != SS_OK) return NULL;
    }
    return w->bytes.at + (index - w->first) * f->slot;
}

static int note(ss_survey_notes *notes, int rule, uint64_t address, uint64_t found, uint64_t expected) {
    ss_survey_note made;
    (void)ss_seen_wrong(&made, rule, address, found, expected);
    return ss_notes_add(notes, &made);
}

static bool is_value(const ss_slots_frame *f, const uint8_t *slot) {
    uint64_t size = size_of(f, slot);
    return size <= f->max_size && ss_seen_is_encoded(f->encoding, slot + f->size_bytes, size);
}

static int check_element(ss_slots_survey *s, uint64_t index, const uint8_t *slot) {
    const ss_slots_frame *f = &s->frame;
    uint64_t size = size_of(f, slot), address = f->first + index * f->slot;
    if (size > f->max_size) return note(&s->notes, SS_RULE_ELEMENT_SIZE, address, size, f->max_size);
    ss_elements_count(&s->stats, size);
    if (!ss_seen_is_encoded(f->encoding, slot + f->size_bytes, size)) return note(&s->notes, SS_RULE_VALUE_ENCODING, address, index, 0);
    return SS_OK;
}

/* H1: no element is less than its parent. */
static int check_parent(ss_slots_survey *s, uint64_t index, const uint8_t *slot) {
    const ss_slots_frame *f = &s->frame;
    uint64_t above = (index - 1) / 2;
    int status = SS_OK;
    const uint8_t *parent = slot_of(s, &s->parents, above, &status);
    if (parent == NULL || !is_value(f, slot) || !is_value(f, parent)) return status;
    const uint8_t *a = slot + f->size_bytes, *b = parent + f->size_bytes;
    if (!ss_seen_ascends(f->order, &s->terms, a, size_of(f, slot), b, size_of(f, parent))) return SS_OK;
    return note(&s->disorder, SS_RULE_HEAP, f->first + index * f->slot, index, above);
}

static int step(ss_slots_survey *s, uint64_t end) {
    int status = SS_OK;
    for (; s->next < end && status == SS_OK; s->next++) {
        const uint8_t *slot = slot_of(s, &s->elements, s->next, &status);
        if (slot == NULL) return status;
        status = check_element(s, s->next, slot);
        if (status == SS_OK && s->next > 0 && s->frame.order != SS_SEEN_ANY) status = check_parent(s, s->next, slot);
    }
    return status;
}

int ss_slots_survey_step(ss_slots_survey *s, uint64_t slots) {
    if (s->next >= s->frame.count) return SS_ABSENT;
    uint64_t end = s->frame.count - s->next < slots ? s->frame.count : s->next + slots;
    int status = ss_enter_read(s->memory);
    if (status != SS_OK) return status;
    status = step(s, end);
    ss_leave_read(s->memory);
    return status != SS_OK ? status : s->next < s->frame.count ? SS_OK : SS_ABSENT;
}

static bool is_frame(const ss_slots_frame *f) {
    bool is_size = f->size_bytes == 0 || f->size_bytes == 1 || f->size_bytes == 2 || f->size_bytes == 4;
    return is_size && f->slot > 0 && f->max_size <= f->slot && f->slot - f->max_size == f->size_bytes && f->first <= f->bytes &&
           (f->count == 0 || f->count - 1 <= (f->bytes - f->first) / f->slot);
}

int ss_slots_survey_new(ss_memory *memory, const ss_slots_frame *frame, const ss_order_term *terms, uint32_t term_count, uint64_t limit,
                        ss_slots_survey **out) {
    *out = NULL;
    if (!is_frame(frame)) return ss_fail(SS_ARGUMENT, "slots that lie inside the memory", 0, frame->count, frame->slot);
    ss_slots_survey *s = calloc(1, sizeof *s);
    if (s == NULL) return ss_fail(SS_NO_HEAP, "a survey", 0, sizeof *s, 0);
    ss_memory_retain(memory);
    s->memory = memory, s->frame = *frame;
    s->in_window = frame->slot < WINDOW_BYTES ? WINDOW_BYTES / frame->slot : 1;
    s->notes.limit = s->disorder.limit = limit;
    s->stats.least = UINT64_MAX;
    int status = ss_seen_reserve(&s->elements.bytes, 1); /* a window may have no bytes, but lies somewhere */
    if (status == SS_OK) status = ss_seen_reserve(&s->parents.bytes, 1);
    if (status == SS_OK && frame->order == SS_SEEN_TERMS) status = ss_order_init(&s->terms, terms, term_count, NULL, NULL);
    if (status == SS_OK)
        *out = s;
    else
        ss_slots_survey_free(s);
    return status;
}

void ss_slots_survey_free(ss_slots_survey *s) {
    if (s == NULL) return;
    free(s->elements.bytes.at);
    free(s->parents.bytes.at);
    free(s->notes.list);
    free(s->disorder.list);
    ss_memory_release(s->memory);
    free(s);
}

const ss_survey_notes *ss_slots_survey_notes(const ss_slots_survey *s) {
    return &s->notes;
}

const ss_survey_notes *ss_slots_survey_disorder(const ss_slots_survey *s) {
    return &s->disorder;
}

const struct ss_elements_stats *ss_slots_survey_stats(const ss_slots_survey *s) {
    return &s->stats;
}
