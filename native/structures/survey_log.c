/* SPDX-License-Identifier: Apache-2.0 */
/* A survey of a log: every end is read once, in order, and of the data what its type needs to be looked at.
 *
 *    index   ... end i-1 | end i ...       L2: end i-1 <= end i
 *    data    ... [ entry i )  ...          L3: end i lies inside
 *
 * An entry whose end is wrong is noted and not read; neither is the next one if its end is below the wrong one: that breaks L2 too.
 * One that begins at a wrong end is read with others that lie in it. Sound ones share no bytes, so texts are read only until all of them
 * together have so many times the bytes of the memory.
 */
#include <stdlib.h>

#include "structures/log.h"
#include "structures/survey_internal.h"
#include "structures/survey_order.h"

#define ENDS_AT_ONCE 8192
#define VALUE_BYTES 4096
#define TIMES_READ 16

struct ss_log_survey {
    ss_memory *index, *data;
    ss_log_frame frame;
    uint64_t next, previous; /* the next entry, and where the one before it ends */
    uint64_t left;           /* bytes of texts that may still be read */
    struct ss_elements_stats stats;
    ss_survey_notes notes;
    uint64_t first, count; /* of the ends that are at hand */
    uint8_t ends[8 * ENDS_AT_ONCE];
};

/* ---- values ---- */

/* As many of the first `size` bytes as are whole characters, if they are characters at all: of the last one some may be missing. */
static uint64_t whole_characters(const uint8_t *bytes, uint64_t size) {
    for (uint64_t i = 1; i <= 3 && i <= size; i++) {
        if (bytes[size - i] >= 0xC0) return size - i;
    }
    return size;
}

static int survey_text(ss_memory *memory, uint64_t address, uint64_t size, bool *is) {
    uint8_t bytes[VALUE_BYTES];
    *is = true;
    while (size > 0 && *is) {
        uint64_t some = size < sizeof bytes ? size : sizeof bytes;
        int status = ss_memory_read(memory, address, bytes, some);
        if (status != SS_OK) return status;
        if (some < size) some = whole_characters(bytes, some);
        *is = ss_seen_is_utf8(bytes, some);
        address += some, size -= some;
    }
    return SS_OK;
}

static int survey_value(ss_memory *memory, uint64_t address, uint64_t size, int encoding, bool *is) {
    uint8_t byte = 0;
    if (encoding == SS_ENCODED_UTF8) return survey_text(memory, address, size, is);
    int status = encoding == SS_ENCODED_BOOL && size == 1 ? ss_memory_read(memory, address, &byte, 1) : SS_OK;
    *is = ss_seen_is_encoded(encoding, &byte, size);
    return status;
}

int ss_survey_value(ss_memory *memory, uint64_t address, uint64_t size, int encoding, bool *is) {
    int status = ss_enter_read(memory);
    if (status != SS_OK) return status;
    status = survey_value(memory, address, size, encoding, is);
    ss_leave_read(memory);
    return status;
}

/* ---- entries ---- */

static int note(ss_log_survey *s, int rule, uint64_t index, uint64_t found, uint64_t expected) {
    ss_survey_note made;
    (void)ss_seen_wrong(&made, rule, SS_LOG_ENDS_AT + 8 * index, found, expected);
    return ss_notes_add(&s->notes, &made);
}

static int end_of(ss_log_survey *s, uint64_t index, uint64_t *end) {
    if (index - s->first >= s->count) {
        uint64_t left = s->frame.count - index, count = left < ENDS_AT_ONCE ? left : ENDS_AT_ONCE;
        int status = ss_memory_read(s->index, SS_LOG_ENDS_AT + 8 * index, s->ends, 8 * count);
        s->first = index, s->count = status == SS_OK ? count : 0;
        if (status != SS_OK) return status;
    }
    *end = ss_get64(s->ends + 8 * (index - s->first));
    return SS_OK;
}

static int check_type(ss_log_survey *s, uint64_t index, uint64_t start, uint64_t size) {
    bool is = size >= s->frame.least && size <= s->frame.most;
    if (s->frame.encoding == SS_ENCODED_ANY) return SS_OK;
    if (s->frame.encoding == SS_ENCODED_UTF8 && is) {
        if (size > s->left) return SS_OK;
        s->left -= size;
    }
    int status = is ? survey_value(s->data, SS_LOG_ENTRIES_AT + start, size, s->frame.encoding, &is) : SS_OK;
    return status != SS_OK || is ? status : note(s, SS_RULE_VALUE_ENCODING, index, index, 0);
}

/* L2, L3 and the type of one entry. */
static int check_entry(ss_log_survey *s, uint64_t index, uint64_t start, uint64_t end) {
    uint64_t room = s->frame.data_bytes < SS_LOG_ENTRIES_AT ? 0 : s->frame.data_bytes - SS_LOG_ENTRIES_AT, size = end - start;
    int status = end < start ? note(s, SS_RULE_ENDS_ASCEND, index, end, start) : SS_OK;
    if (s->data == NULL || status != SS_OK) return status;
    if (end > room) return note(s, SS_RULE_ENTRY_INSIDE, index, end, room);
    if (end < start) return SS_OK;
    ss_elements_count(&s->stats, size);
    return check_type(s, index, start, size);
}

/* Both memories, in one order for all logs; on one root they have one lock. */
static int enter(ss_log_survey *s) {
    bool swapped = s->data != NULL && (uintptr_t)s->data->root < (uintptr_t)s->index->root;
    ss_memory *first = swapped ? s->data : s->index, *second = swapped ? s->index : s->data;
    int status = ss_enter_read(first);
    if (status != SS_OK || second == NULL) return status;
    status = second->root == first->root ? ss_memory_refresh(second) : ss_enter_read(second);
    if (status != SS_OK) ss_leave_read(first);
    return status;
}

static void leave(ss_log_survey *s) {
    if (s->data != NULL && s->data->root != s->index->root) ss_leave_read(s->data);
    ss_leave_read(s->index);
}

static int step(ss_log_survey *s, uint64_t stop) {
    int status = SS_OK;
    while (s->next < stop && status == SS_OK) {
        uint64_t end = 0;
        status = end_of(s, s->next, &end);
        if (status != SS_OK) return status;
        status = check_entry(s, s->next, s->previous, end);
        s->previous = end;
        s->next++;
    }
    return status;
}

int ss_log_survey_step(ss_log_survey *s, uint64_t entries) {
    if (s->next >= s->frame.count) return SS_ABSENT;
    uint64_t stop = s->frame.count - s->next < entries ? s->frame.count : s->next + entries;
    int status = enter(s);
    if (status != SS_OK) return status;
    status = step(s, stop);
    leave(s);
    return status != SS_OK ? status : s->next < s->frame.count ? SS_OK : SS_ABSENT;
}

/* ---- life ---- */

int ss_log_survey_new(ss_memory *index, ss_memory *data, const ss_log_frame *frame, uint64_t limit, ss_log_survey **out) {
    *out = NULL;
    uint64_t room = frame->index_bytes < SS_LOG_ENDS_AT ? 0 : (frame->index_bytes - SS_LOG_ENDS_AT) / 8;
    if (frame->count > room) return ss_fail(SS_ARGUMENT, "ends that lie inside the index", 0, frame->count, room);
    ss_log_survey *s = calloc(1, sizeof *s);
    if (s == NULL) return ss_fail(SS_NO_HEAP, "a survey", 0, sizeof *s, 0);
    ss_memory_retain(index);
    if (data != NULL) ss_memory_retain(data);
    s->index = index, s->data = data, s->frame = *frame;
    s->notes.limit = limit;
    s->left = frame->data_bytes > UINT64_MAX / TIMES_READ ? UINT64_MAX : frame->data_bytes * TIMES_READ;
    s->stats.least = UINT64_MAX;
    *out = s;
    return SS_OK;
}

void ss_log_survey_free(ss_log_survey *s) {
    if (s == NULL) return;
    ss_memory_release(s->index);
    if (s->data != NULL) ss_memory_release(s->data);
    free(s->notes.list);
    free(s);
}

const ss_survey_notes *ss_log_survey_notes(const ss_log_survey *s) {
    return &s->notes;
}

const struct ss_elements_stats *ss_log_survey_stats(const ss_log_survey *s) {
    return &s->stats;
}
