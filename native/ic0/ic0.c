/* SPDX-License-Identifier: Apache-2.0 */
#include "ic0/ic0.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "core/error.h"
#include "ic0/ic0_private.h"

/* The functions of the engine, as wasmtime's C headers declare them; the pointers are opaque here. */
static struct engine {
    void *(*func_call_unchecked)(void *context, const void *function, void *values, size_t count, void **trap);
    void *(*trap_new)(const char *text, size_t length);
    void *(*error_new)(const char *text);
    void *(*linker_define)(void *linker, const char *module, size_t module_size, const char *name, size_t name_size, const void *type,
                           void *callback, void *data, void (*finalizer)(void *));
    void *(*functype_new)(void *parameters, void *results);
    void (*functype_delete)(void *type);
    void *(*valtype_new)(uint8_t kind);
    void (*valtype_vec_new)(void *out, size_t count, void *const *types);
    void (*global_get)(void *context, const void *global, void *value);
    void *(*global_set)(void *context, const void *global, const void *value);
} engine;

/* wasmtime_val_t: kind, then the value. */
typedef struct tagged_value {
    uint8_t kind;
    uint8_t padding[7];
    int64_t i64;
    uint8_t rest[16];
} tagged_value;
_Static_assert(sizeof(tagged_value) == 32, "as wasmtime_val_t");
_Static_assert(sizeof(ss_value) == 16, "as wasmtime_val_raw_t");
enum { KIND_I32 = 0, KIND_I64 = 1, GLOBAL_SIZE = 24, VALUE_SIZE = 32 };

/* How far the counter may lag behind what functions of the host cost. */
#define MOST_LAG UINT64_C(100000)

static _Thread_local ss_ic0_message *current;
static _Thread_local ss_heap_image *next_heap;

int ss_ic0_use_engine(const uintptr_t *addresses, size_t count) {
    if (count != SS_IC0_ENGINE || sizeof engine != count * sizeof *addresses) {
        return ss_fail(SS_ARGUMENT, "functions of the engine", 0, count, SS_IC0_ENGINE);
    }
    memcpy(&engine, addresses, sizeof engine);
    return SS_OK;
}

/* ---- the engine's memories ---- */

/* wasmtime_linear_memory_t */
typedef struct linear_memory {
    void *heap;
    uint8_t *(*get)(void *heap, size_t *size, size_t *capacity);
    void *(*grow)(void *heap, size_t size);
    void (*finalizer)(void *heap);
} linear_memory;
_Static_assert(sizeof(linear_memory) == 32, "as wasmtime_linear_memory_t");

static uint8_t *get_memory(void *heap, size_t *size, size_t *capacity) {
    *size = ss_heap_image_size(heap);
    *capacity = ss_heap_image_max(heap);
    return ss_heap_image_base(heap);
}

static void *grow_memory(void *heap, size_t size) {
    return ss_heap_image_grow(heap, size) == SS_OK ? NULL : engine.error_new("the heap cannot grow so far");
}

static void release_memory(void *heap) {
    ss_heap_image_release(heap);
}

static void *new_memory(void *data, const void *type, size_t minimum, size_t maximum, size_t reserved, size_t guard, linear_memory *out) {
    (void)data;
    (void)type;
    (void)maximum;
    ss_heap_image *heap = next_heap;
    next_heap = NULL;
    if (heap == NULL || reserved + guard > ss_heap_image_reserved(heap)) return engine.error_new("no address space for a heap");
    if (ss_heap_image_size(heap) < minimum && ss_heap_image_grow(heap, minimum) != SS_OK) {
        return engine.error_new("the heap cannot have its first pages");
    }
    ss_heap_image_retain(heap);
    *out = (linear_memory){heap, get_memory, grow_memory, release_memory};
    return NULL;
}

uintptr_t ss_ic0_new_memory(void) {
    return (uintptr_t)new_memory;
}

void ss_ic0_next_heap(ss_heap_image *heap) {
    next_heap = heap;
}

/* ---- the functions ---- */

int ss_ic0_count(void) {
    return ss_ic0_function_count;
}

const char *ss_ic0_name(int index) {
    return ss_ic0_functions[index].name;
}

const char *ss_ic0_types(int index) {
    return ss_ic0_functions[index].types;
}

uint32_t ss_ic0_modes(int index) {
    return ss_ic0_functions[index].modes;
}

int ss_ic0_only_32(int index) {
    return ss_ic0_functions[index].only32;
}

const char *ss_ic0_mode_name(uint32_t mode) {
    static const char *const names[] = {"start",
                                        "init",
                                        "pre upgrade",
                                        "update",
                                        "replicated query",
                                        "non replicated query",
                                        "transform",
                                        "composite query",
                                        "reply callback",
                                        "reject callback",
                                        "composite reply callback",
                                        "composite reject callback",
                                        "cleanup",
                                        "composite cleanup",
                                        "inspect message",
                                        "system task"};
    for (unsigned bit = 0; bit < sizeof names / sizeof *names; bit++) {
        if (mode == 1u << bit) return names[bit];
    }
    return "unknown";
}

/* Called by Wasm: the mode first (P1), then the function. */
static void *enter(void *data, void *caller, void *values, size_t count) {
    (void)caller;
    (void)count;
    const ss_function *function = data;
    ss_ic0_message *m = current;
    if (m == NULL) return engine.trap_new("no message", 10);
    if ((function->modes & m->mode) == 0) {
        char text[160];
        (void)snprintf(text, sizeof text, "\"ic0_%s\" cannot be executed in %s mode", function->name, ss_ic0_mode_name(m->mode));
        return ss_ic0_trap(m, 504, text);
    }
    m->host_instructions += function->cost;
    void *trap = function->run(m, values);
    if (trap == NULL && m->host_instructions > MOST_LAG) (void)ss_ic0_used(m);
    return trap;
}

/* wasm_valtype_vec_t */
typedef struct type_vector {
    size_t count;
    void *types;
} type_vector;

/* Reads types up to the end or a '>', which is passed. */
static void read_types(const char **text, bool is64, type_vector *out) {
    void *types[16];
    size_t count = 0;
    for (; **text != '\0' && **text != '>'; ++*text) {
        bool wide = **text == 'l' || (**text == 'I' && is64);
        types[count++] = engine.valtype_new(wide ? KIND_I64 : KIND_I32);
    }
    if (**text == '>') ++*text;
    engine.valtype_vec_new(out, count, types);
}

int ss_ic0_define(uintptr_t linker, int index, int is64) {
    const ss_function *function = &ss_ic0_functions[index];
    type_vector parameters, results;
    const char *text = function->types, *name = function->name;
    read_types(&text, is64 != 0, &parameters);
    read_types(&text, is64 != 0, &results);
    void *type = engine.functype_new(&parameters, &results); /* takes both vectors */
    void *data = (void *)(uintptr_t)function;
    void *error = engine.linker_define((void *)linker, "ic0", 3, name, strlen(name), type, (void *)(uintptr_t)enter, data, NULL);
    engine.functype_delete(type);
    return error == NULL ? SS_OK : ss_fail(SS_ARGUMENT, "a function of ic0 cannot be defined", 0, (uint64_t)index, 0);
}

/* ---- messages ---- */

bool ss_ic0_append(ss_ic0_buffer *buffer, const void *data, uint64_t size) {
    if (size == 0) return true;
    if (buffer->size + size > buffer->room) {
        uint64_t room = (buffer->size + size) * 2 + 64;
        uint8_t *grown = realloc(buffer->data, room);
        if (grown == NULL) return false;
        buffer->data = grown;
        buffer->room = room;
    }
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    return true;
}

ss_ic0_message *ss_ic0_new_message(void) {
    return calloc(1, sizeof(ss_ic0_message));
}

void ss_ic0_free_message(ss_ic0_message *message) {
    if (message == NULL) return;
    for (int i = 0; i < SS_IC0_INPUTS; i++) free(message->input[i].data);
    for (int i = 0; i < SS_IC0_OUTPUTS; i++) free(message->output[i].data);
    free(message->callee.data);
    free(message->method.data);
    free(message->argument.data);
    free(message);
}

int ss_ic0_set_input(ss_ic0_message *message, int which, const void *data, uint64_t size) {
    if (which < 0 || which >= SS_IC0_INPUTS) return ss_fail(SS_ARGUMENT, "an input of a message", 0, (uint64_t)which, SS_IC0_INPUTS);
    message->input[which].size = 0;
    bool taken = ss_ic0_append(&message->input[which], data, size);
    return taken ? SS_OK : ss_fail(SS_NO_HEAP, "an input of a message", 0, size, 0);
}

int ss_ic0_set_certificate(ss_ic0_message *message, const void *data, uint64_t size) {
    message->has_certificate = data != NULL;
    return ss_ic0_set_input(message, SS_IC0_CERTIFICATE, data, data == NULL ? 0 : size);
}

const uint8_t *ss_ic0_output(const ss_ic0_message *message, int which, uint64_t *size) {
    *size = message->output[which].size;
    return message->output[which].data;
}

void ss_ic0_clear(ss_ic0_message *m) {
    for (int i = 0; i < SS_IC0_OUTPUTS; i++) m->output[i].size = 0;
    m->accepted = m->timer_set = m->certified_set = m->trap_code = 0;
    m->instructions = m->host_instructions = m->accepted_low = m->accepted_high = 0;
    m->call_open = m->has_timeout = m->has_cleanup = 0;
}

void *ss_ic0_trap(ss_ic0_message *m, uint32_t code, const char *text) {
    m->trap_code = code;
    m->output[SS_IC0_TRAP].size = 0;
    (void)ss_ic0_append(&m->output[SS_IC0_TRAP], text, strlen(text));
    return engine.trap_new(text, strlen(text));
}

/* ---- instances ---- */

void ss_ic0_rebind_instance(ss_ic0_instance *instance, uintptr_t context, const void *counter, const void *globals) {
    instance->context = context;
    memcpy(instance->counter, counter, GLOBAL_SIZE);
    if (instance->global_count > 0) memcpy(instance->globals, globals, instance->global_count * GLOBAL_SIZE);
}

ss_ic0_instance *ss_ic0_new_instance(uintptr_t context, const void *counter, const void *globals, uint64_t count) {
    ss_ic0_instance *made = calloc(1, sizeof *made);
    if (made == NULL) return NULL;
    made->global_count = count;
    made->globals = calloc(count + 1, GLOBAL_SIZE);
    made->saved = calloc(count + 1, VALUE_SIZE);
    if (made->globals == NULL || made->saved == NULL) {
        ss_ic0_free_instance(made);
        return NULL;
    }
    ss_ic0_rebind_instance(made, context, counter, globals);
    return made;
}

void ss_ic0_free_instance(ss_ic0_instance *instance) {
    if (instance == NULL) return;
    free(instance->globals);
    free(instance->saved);
    free(instance);
}

void ss_ic0_save_globals(ss_ic0_instance *instance) {
    for (uint64_t i = 0; i < instance->global_count; i++) {
        engine.global_get((void *)instance->context, instance->globals + i * GLOBAL_SIZE, instance->saved + i * VALUE_SIZE);
    }
}

int ss_ic0_restore_globals(ss_ic0_instance *instance) {
    for (uint64_t i = 0; i < instance->global_count; i++) {
        void *error = engine.global_set((void *)instance->context, instance->globals + i * GLOBAL_SIZE, instance->saved + i * VALUE_SIZE);
        if (error != NULL) return ss_fail(SS_ARGUMENT, "a global cannot be set", 0, i, instance->global_count);
    }
    return SS_OK;
}

/* ---- instructions ---- */

static int64_t get_counter(void *context, const void *counter) {
    tagged_value value = {.kind = KIND_I64};
    engine.global_get(context, counter, &value);
    return value.i64;
}

static void set_counter(void *context, const void *counter, int64_t left) {
    tagged_value value = {.kind = KIND_I64, .i64 = left};
    (void)engine.global_set(context, counter, &value);
}

uint64_t ss_ic0_used(ss_ic0_message *m) {
    int64_t left = get_counter(m->context, m->counter);
    if (m->host_instructions > 0) {
        left -= (int64_t)m->host_instructions;
        m->host_instructions = 0;
        set_counter(m->context, m->counter, left);
    }
    return (uint64_t)((int64_t)m->instruction_limit - left);
}

/* ---- running ---- */

/* Wasm may use 5 MiB of the thread's stack, and the engine and the host need some too. */
#define STACK_NEEDED (UINT64_C(6) << 20)

#ifdef __linux__
/* The first thread's stack grows up to a limit of the process. glibc counts that in; musl tells only how far it has grown. */
static uintptr_t end_of_first_stack(uintptr_t lowest, size_t size) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return size < STACK_NEEDED ? 0 : lowest;
    return limit.rlim_cur > size ? lowest + size - limit.rlim_cur : lowest;
}
#endif

/* The lowest address of this thread's stack; 0 if the system does not tell. */
static uintptr_t stack_end(void) {
    static _Thread_local uintptr_t known;
#ifdef __linux__
    pthread_attr_t attributes;
    void *lowest = NULL;
    size_t size = 0;
    if (known == 0 && pthread_getattr_np(pthread_self(), &attributes) == 0) {
        if (pthread_attr_getstack(&attributes, &lowest, &size) == 0) known = (uintptr_t)lowest;
        if (known != 0 && syscall(SYS_gettid) == getpid()) known = end_of_first_stack(known, size);
        pthread_attr_destroy(&attributes);
    }
#endif
    return known;
}

static bool stack_is_small(void) {
    char here;
    uintptr_t end = stack_end();
    return end != 0 && (uintptr_t)&here - end < STACK_NEEDED;
}

static const char SMALL_STACK[] =
    "the stack of this thread is too small for Wasm: call threading.stack_size(16 << 20) before the thread is made";

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
enum { SIGNALS = sizeof signals / sizeof *signals };
static struct sigaction of_engine[SIGNALS];
static bool signals_kept;

void ss_ic0_keep_signals(void) {
    for (int i = 0; i < SIGNALS; i++) sigaction(signals[i], NULL, &of_engine[i]);
    signals_kept = true;
}

static void put_signals(struct sigaction *before) {
    for (int i = 0; i < SIGNALS; i++) {
        sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_sigaction != of_engine[i].sa_sigaction) sigaction(signals[i], &of_engine[i], NULL);
    }
}

static void put_back_signals(const struct sigaction *before) {
    for (int i = 0; i < SIGNALS; i++) {
        if (before[i].sa_sigaction != of_engine[i].sa_sigaction) sigaction(signals[i], &before[i], NULL);
    }
}

int ss_ic0_run(ss_ic0_message *message, ss_ic0_instance *instance, uintptr_t function, int has_environment, uint64_t environment,
               uintptr_t *trap, uintptr_t *error, uint64_t *result) {
    ss_value values[1] = {{.i64 = has_environment ? (int64_t)environment : 0}};
    struct sigaction before[SIGNALS];
    void *trapped = NULL;
    ss_ic0_message *outer = current;
    *trap = *error = 0;
    *result = message->log_size = message->calls_size = 0;
    if (stack_is_small()) {
        message->trap_code = 502;
        (void)ss_ic0_append(&message->output[SS_IC0_TRAP], SMALL_STACK, sizeof SMALL_STACK - 1);
        return 1;
    }
    current = message;
    message->context = (void *)instance->context;
    message->counter = instance->counter;
    set_counter(message->context, message->counter, (int64_t)(message->instruction_limit - message->instructions));
    if (signals_kept) put_signals(before);
    void *failed = engine.func_call_unchecked(message->context, (const void *)function, values, 1, &trapped);
    if (signals_kept) put_back_signals(before);
    message->instructions = ss_ic0_used(message);
    ss_ic0_drop_call(message);
    message->log_size = message->output[SS_IC0_LOG].size;
    message->calls_size = message->output[SS_IC0_CALLS].size;
    current = outer;
    *trap = (uintptr_t)trapped;
    *error = (uintptr_t)failed;
    *result = message->is64 ? (uint64_t)values[0].i64 : (uint32_t)values[0].i32;
    return trapped != NULL || failed != NULL;
}
