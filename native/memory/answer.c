/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/answer.h"

#include <stdlib.h>

#include "core/result.h"

uint8_t *ss_answer_room(ss_answer *answer, const ss_memory *memory, uint64_t size) {
    answer->size = size;
    if (SS_LIKELY(!memory->root->foreign)) return ss_result_room((size_t)size);
    free(answer->copy);
    answer->copy = malloc(size == 0 ? 1 : (size_t)size);
    if (answer->copy == NULL) ss_fail(SS_NO_HEAP, "an answer", 0, size, 0);
    return answer->copy;
}

int ss_answer_read(ss_answer *answer, const ss_memory *memory, uint64_t offset, uint64_t size) {
    uint8_t *room = ss_answer_room(answer, memory, size);
    return room == NULL ? SS_NO_HEAP : ss_memory_read(memory, offset, room, size);
}

int64_t ss_answer_give(ss_answer *answer, int status) {
    if (SS_UNLIKELY(answer->copy != NULL)) {
        uint8_t *room = status == SS_OK ? ss_result_room((size_t)answer->size) : NULL;
        if (status == SS_OK && room == NULL) status = SS_NO_HEAP;
        if (room != NULL) memcpy(room, answer->copy, (size_t)answer->size);
        free(answer->copy);
        answer->copy = NULL;
    }
    return ss_result_size(status, answer->size);
}
