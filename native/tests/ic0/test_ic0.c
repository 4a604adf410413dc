/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of ic0 with a mock of the engine: "Wasm" is a C function here, which calls them as the engine would. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "ic0/ic0.h"
#include "memory/access.h"
#include "support/check.h"
#include "support/failing_heap.h"

#define PAGE UINT64_C(65536)

typedef union value {
    int32_t i32;
    int64_t i64;
    uint8_t bytes[16];
} value;

/* ---- the engine ---- */

typedef void *(*callback)(void *data, void *caller, void *values, size_t count);
static struct {
    const char *name;
    callback run;
    void *data;
    size_t params, results;
} linked[128];
static int links;
static int64_t counter;

static size_t param_count, result_count;
static int vectors;

static void *mock_trap(const char *text, size_t length) {
    (void)length;
    return (void *)(uintptr_t)text;
}
static void *mock_error(const char *text) {
    return (void *)(uintptr_t)text;
}
static void *mock_define(void *linker, const char *module, size_t module_size, const char *name, size_t name_size, const void *type,
                         void *run, void *data, void (*finalizer)(void *)) {
    (void)linker;
    (void)module;
    (void)module_size;
    (void)name_size;
    (void)type;
    (void)finalizer;
    linked[links].name = name;
    linked[links].run = (callback)(uintptr_t)run;
    linked[links].data = data;
    linked[links].params = param_count;
    linked[links].results = result_count;
    links++;
    return NULL;
}
static void *mock_functype(void *parameters, void *results) {
    (void)parameters;
    (void)results;
    return &links;
}
static void mock_delete(void *type) {
    (void)type;
}
static void *mock_valtype(uint8_t kind) {
    (void)kind;
    return &links;
}
static void mock_vector(void *out, size_t count, void *const *types) {
    (void)out;
    (void)types;
    if (vectors++ % 2 == 0)
        param_count = count;
    else
        result_count = count;
}
static void mock_get(void *context, const void *global, void *out) {
    (void)context;
    (void)global;
    memcpy((uint8_t *)out + 8, &counter, 8);
}
static void *mock_set(void *context, const void *global, const void *in) {
    (void)context;
    (void)global;
    memcpy(&counter, (const uint8_t *)in + 8, 8);
    return NULL;
}

static void (*body)(void);
static void *trapped;

static void *mock_call(void *context, const void *function, void *values, size_t count, void **trap) {
    (void)context;
    (void)function;
    (void)values;
    (void)count;
    trapped = NULL;
    body();
    *trap = trapped;
    return NULL;
}

/* ---- a message ---- */

static ss_ic0_message *m;
static ss_ic0_instance *instance;

/* Calls a function of ic0; the first result, or -99 where it trapped. */
static int64_t ask(const char *name, int64_t a, int64_t b, int64_t c, int64_t d) {
    value values[8] = {{.i64 = a}, {.i64 = b}, {.i64 = c}, {.i64 = d}};
    if (trapped != NULL) return -99;
    for (int i = 0; i < links; i++) {
        if (strcmp(linked[i].name, name) != 0) continue;
        trapped = linked[i].run(linked[i].data, NULL, values, 8);
        return trapped == NULL ? values[0].i64 : -99;
    }
    CHECK(0);
    return -99;
}

static int run(uint32_t mode, void (*what)(void)) {
    uintptr_t trap, error;
    uint64_t result;
    ss_ic0_clear(m);
    m->mode = mode;
    m->answered = 0;
    m->instruction_limit = 1000000000;
    m->reply_limit = 1000;
    body = what;
    return ss_ic0_run(m, instance, 1, 0, 0, &trap, &error, &result);
}

static const char *trap_text(void) {
    static char text[200];
    uint64_t size;
    const uint8_t *data = ss_ic0_output(m, SS_IC0_TRAP, &size);
    if (size >= sizeof text) size = sizeof text - 1;
    if (size > 0) memcpy(text, data, size);
    text[size] = 0;
    return text;
}

/* ---- tests ---- */

static const int64_t edges[] = {0, 1, PAGE - 16, PAGE - 1, PAGE, PAGE + 1, UINT32_MAX - 1, UINT32_MAX, INT64_MAX, -1};
enum { EDGES = sizeof edges / sizeof *edges };
static int64_t first, second;
static const char *asked;

static void ask_pair(void) {
    (void)ask(asked, first, second, 0, 0);
}

static int pair_fits(void) {
    uint64_t at = m->is64 ? (uint64_t)first : (uint32_t)first, size = m->is64 ? (uint64_t)second : (uint32_t)second;
    return at <= PAGE && size <= PAGE - at;
}

static void pairs_are_held_against_the_heap(void) {
    asked = "debug_print";
    for (uint32_t wide = 0; wide < 2; wide++) {
        m->is64 = wide;
        for (int i = 0; i < EDGES; i++) {
            for (int k = 0; k < EDGES; k++) {
                first = edges[i];
                second = edges[k];
                int failed = run(SS_IC0_UPDATE, ask_pair);
                CHECK_EQ(failed, !pair_fits());
                if (failed) CHECK(strcmp(trap_text(), "heap out of bounds") == 0);
            }
        }
    }
    m->is64 = 0;
}

static void ask_every_function(void) {
    for (int i = 0; i < links; i++) {
        value values[8];
        for (int k = 0; k < 8; k++) values[k].i64 = edges[(uint64_t)(first + k * second) % EDGES];
        trapped = linked[i].run(linked[i].data, NULL, values, 8);
        trapped = NULL;
    }
}

/* Whatever the arguments: no read or write outside of the buffers (the sanitizers watch), in any mode. */
static void no_argument_reaches_outside(void) {
    for (uint32_t mode = 1; mode <= SS_IC0_TASK; mode *= 2) {
        for (first = 0; first < EDGES; first++) {
            for (second = 0; second < EDGES; second++) (void)run(mode, ask_every_function);
        }
    }
    m->is64 = 1;
    for (first = 0; first < EDGES; first++) {
        for (second = 0; second < EDGES; second++) (void)run(SS_IC0_UPDATE, ask_every_function);
    }
    m->is64 = 0;
}

static void modes_are_checked_first(void) {
    asked = "accept_message";
    first = second = 0;
    CHECK_EQ(run(SS_IC0_UPDATE, ask_pair), 1);
    CHECK_EQ(m->trap_code, 504);
    CHECK(strcmp(trap_text(), "\"ic0_accept_message\" cannot be executed in update mode") == 0);
    CHECK_EQ(run(SS_IC0_INSPECT, ask_pair), 0);
    CHECK_EQ(m->accepted, 1);
}

static void work_on_stable_memory(void) {
    CHECK_EQ(ask("stable64_size", 0, 0, 0, 0), 0);
    CHECK_EQ(ask("stable64_grow", 2, 0, 0, 0), 0);
    CHECK_EQ(ask("stable64_grow", INT64_MAX, 0, 0, 0), -1);
    memcpy(ss_heap_image_base(m->heap), "hello", 5);
    (void)ask("stable64_write", (int64_t)PAGE - 2, 0, 5, 0);
    (void)ask("stable64_read", 100, (int64_t)PAGE - 2, 5, 0);
    CHECK(memcmp(ss_heap_image_base(m->heap) + 100, "hello", 5) == 0);
    (void)ask("stable_read", 200, 65534, 5, 0);
    CHECK(memcmp(ss_heap_image_base(m->heap) + 200, "hello", 5) == 0);
    (void)ask("stable64_read", 0, INT64_MAX, 0, 0); /* nothing from anywhere */
    CHECK(trapped == NULL);
    (void)ask("stable64_read", 0, (int64_t)(2 * PAGE) - 4, 5, 0);
    CHECK(trapped != NULL);
}

static void reply_twice(void) {
    memcpy(ss_heap_image_base(m->heap), "answer", 6);
    (void)ask("msg_reply_data_append", 0, 6, 0, 0);
    (void)ask("msg_reply", 0, 0, 0, 0);
    CHECK(trapped == NULL);
    (void)ask("msg_reply", 0, 0, 0, 0);
    CHECK(trapped != NULL);
}

static void too_large_a_reply(void) {
    (void)ask("msg_reply_data_append", 0, 600, 0, 0);
    (void)ask("msg_reply_data_append", 0, 600, 0, 0);
    CHECK(trapped != NULL);
}

/* The management canister is the principal of no bytes. */
static void call_the_management_canister(void) {
    value values[8] = {{.i64 = 0}, {.i64 = 0}, {.i64 = 20}, {.i64 = 4}, {.i64 = 1}, {.i64 = 2}, {.i64 = 3}, {.i64 = 4}};
    for (int made = 0; made < 3; made++) {
        for (int i = 0; i < links; i++) {
            if (strcmp(linked[i].name, "call_new") == 0) trapped = linked[i].run(linked[i].data, NULL, values, 8);
        }
        CHECK_EQ(ask("call_perform", 0, 0, 0, 0), 0);
    }
    CHECK_EQ(m->input[SS_IC0_UNDER_WAY].size, 5);
    CHECK_EQ(m->input[SS_IC0_UNDER_WAY].data[1], 3);
    m->input[SS_IC0_UNDER_WAY].size = 0;
}

static void make_calls(void) {
    value values[8] = {{.i64 = 0}, {.i64 = 10}, {.i64 = 20}, {.i64 = 4}, {.i64 = 1}, {.i64 = 2}, {.i64 = 3}, {.i64 = 4}};
    int made = 0;
    int64_t gave = 0;
    while (gave == 0 && made < 600) {
        for (int i = 0; i < links; i++) {
            if (strcmp(linked[i].name, "call_new") == 0) trapped = linked[i].run(linked[i].data, NULL, values, 8);
        }
        (void)ask("call_cycles_add", 5, 0, 0, 0);
        (void)ask("call_on_cleanup", 6, 7, 0, 0);
        gave = ask("call_perform", 0, 0, 0, 0);
        made += gave == 0;
    }
    CHECK_EQ(made, 500);
    CHECK_EQ(gave, 2);
    for (int i = 0; i < links; i++) {
        if (strcmp(linked[i].name, "call_new") == 0) trapped = linked[i].run(linked[i].data, NULL, values, 8);
    }
    (void)ask("call_cycles_add", 100, 0, 0, 0);
    CHECK_EQ(m->balance_low, 10000 - 2500 - 100);
}

static void calls_are_written_down_and_cycles_come_back(void) {
    m->balance_low = 10000;
    CHECK_EQ(run(SS_IC0_UPDATE, make_calls), 0);
    CHECK_EQ(m->balance_low, 10000 - 2500); /* that of the call that was not performed is back */
    uint64_t size;
    const uint8_t *data = ss_ic0_output(m, SS_IC0_CALLS, &size);
    CHECK_EQ(size, 500 * (sizeof(ss_ic0_call) + 14));
    ss_ic0_call call;
    memcpy(&call, data, sizeof call);
    CHECK_EQ(call.callee_size, 10);
    CHECK_EQ(call.cycles_low, 5);
    CHECK_EQ(call.cleanup_environment, 7);
}

static void spend(void) {
    (void)ask("time", 0, 0, 0, 0);
    (void)ask("debug_print", 0, 100, 0, 0);
    counter -= 1000;
    CHECK_EQ(ask("performance_counter", 0, 0, 0, 0), 500 + 100 + 100 + 1000 + 200);
}

#ifdef __linux__
static void a_failure_says_what_it_is(void) {
    static uint8_t long_input[100000];
    ss_heap_image *heap = NULL;
    allocations_left = 0;
    ss_fail(SS_CORRUPT, "of somebody else", 0, 0, 0);
    CHECK_EQ(ss_ic0_set_input(m, SS_IC0_ARGUMENT, long_input, sizeof long_input), SS_NO_HEAP);
    CHECK_EQ(ss_last_failure()->status, SS_NO_HEAP);
    allocations_left = 0;
    ss_fail(SS_CORRUPT, "of somebody else", 0, 0, 0);
    CHECK_EQ(ss_heap_image_new(PAGE, PAGE, SS_HEAP_COPYING, &heap), SS_NO_HEAP);
    CHECK_EQ(ss_last_failure()->status, SS_NO_HEAP);
}
#endif

int main(void) {
    uintptr_t functions[] = {(uintptr_t)mock_call,     (uintptr_t)mock_trap,   (uintptr_t)mock_error,   (uintptr_t)mock_define,
                             (uintptr_t)mock_functype, (uintptr_t)mock_delete, (uintptr_t)mock_valtype, (uintptr_t)mock_vector,
                             (uintptr_t)mock_get,      (uintptr_t)mock_set};
    CHECK_EQ(ss_ic0_use_engine(functions, 3), SS_ARGUMENT);
    CHECK_EQ(ss_ic0_use_engine(functions, SS_IC0_ENGINE), SS_OK);
    for (int i = 0; i < ss_ic0_count(); i++) CHECK_EQ(ss_ic0_define(1, i, 0), SS_OK);
    for (int i = 0; i < links; i++) CHECK(linked[i].params <= 8 && linked[i].results <= 1);
    m = ss_ic0_new_message();
    CHECK_EQ(ss_memory_new_flat(100, &m->stable), SS_OK);
    CHECK_EQ(ss_heap_image_new(4 * PAGE, 4 * PAGE, SS_HEAP_ANY, &m->heap), SS_OK);
    CHECK_EQ(ss_heap_image_grow(m->heap, PAGE), SS_OK);
    uint8_t globals[48] = {0};
    instance = ss_ic0_new_instance(1, globals, globals, 2);
    ss_ic0_save_globals(instance);
    CHECK_EQ(ss_ic0_restore_globals(instance), SS_OK);
    CHECK_EQ(ss_ic0_set_input(m, SS_IC0_ARGUMENT, "arg", 3), SS_OK);
    CHECK_EQ(ss_ic0_set_input(m, SS_IC0_INPUTS, "arg", 3), SS_ARGUMENT);
    CHECK_EQ(ss_ic0_set_input(m, SS_IC0_CONTROLLERS, "\3abc\1d", 6), SS_OK);
    CHECK_EQ(ss_ic0_set_input(m, SS_IC0_ENVIRONMENT, "\1\0\0\0\2\0\0\0nvv", 11), SS_OK);
    CHECK_EQ(ss_ic0_set_certificate(m, "c", 1), SS_OK);
    ss_ic0_keep_signals();

    CHECK_EQ(run(SS_IC0_UPDATE, work_on_stable_memory), 1);
    CHECK(strcmp(trap_text(), "stable memory out of bounds") == 0);
    modes_are_checked_first();
    pairs_are_held_against_the_heap();
    CHECK_EQ(run(SS_IC0_UPDATE, reply_twice), 1);
    CHECK_EQ(m->trap_code, 504);
    CHECK_EQ(run(SS_IC0_UPDATE, too_large_a_reply), 1);
    CHECK_EQ(run(SS_IC0_UPDATE, call_the_management_canister), 0);
    calls_are_written_down_and_cycles_come_back();
    CHECK_EQ(run(SS_IC0_UPDATE, spend), 0);
    CHECK_EQ(m->instructions, 1900);
    no_argument_reaches_outside();
#ifdef __linux__
    a_failure_says_what_it_is();
#endif

    ss_memory_release(m->stable);
    ss_heap_image_release(m->heap);
    ss_ic0_free_instance(instance);
    ss_ic0_free_message(m);
    return check_summary();
}
