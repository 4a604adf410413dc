/* SPDX-License-Identifier: Apache-2.0 */
/* One function of ic0 after the other, then the table of them: name, types, modes, cost. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "ic0/ic0_private.h"
#include "memory/access.h"

typedef unsigned __int128 u128;

enum {
    S = SS_IC0_START,
    I = SS_IC0_INIT,
    G = SS_IC0_PRE_UPGRADE,
    U = SS_IC0_UPDATE,
    RQ = SS_IC0_REPLICATED_QUERY,
    NRQ = SS_IC0_QUERY,
    TQ = SS_IC0_TRANSFORM,
    CQ = SS_IC0_COMPOSITE_QUERY,
    RY = SS_IC0_REPLY,
    RT = SS_IC0_REJECT,
    CRY = SS_IC0_COMPOSITE_REPLY,
    CRT = SS_IC0_COMPOSITE_REJECT,
    C = SS_IC0_CLEANUP,
    CC = SS_IC0_COMPOSITE_CLEANUP,
    F = SS_IC0_INSPECT,
    T = SS_IC0_TASK,
    STAR = I | G | U | RQ | NRQ | TQ | CQ | RY | RT | CRY | CRT | C | CC | F | T,
    ANSWERS = U | RQ | NRQ | TQ | CQ | RY | RT | CRY | CRT,
    CALLS = U | CQ | RY | RT | CRY | CRT | T,
    PAYS = U | RY | RT | T,
    BURNS = I | G | U | RQ | RY | RT | C | T
};

#define MOST_PRINCIPAL 29
#define MOST_METHOD 20000
#define MOST_PAYLOAD (UINT64_C(10) << 20)
#define MOST_UNDER_WAY 500
#define MOST_LOG (UINT64_C(2) << 20)
#define PAGES_32 65536

/* ---- values of every width ---- */

/* An address-sized argument: 32 bits in a 32-bit canister. */
static uint64_t address(const ss_ic0_message *m, const ss_value *value) {
    return m->is64 ? (uint64_t)value->i64 : (uint64_t)(uint32_t)value->i32;
}

static void *give_address(const ss_ic0_message *m, ss_value *a, uint64_t value) {
    a[0].i64 = m->is64 ? (int64_t)value : (int64_t)(uint32_t)value;
    return NULL;
}

static void *give_32(ss_value *a, uint32_t value) {
    a[0].i64 = (int64_t)value;
    return NULL;
}

static void *give_64(ss_value *a, uint64_t value) {
    a[0].i64 = (int64_t)value;
    return NULL;
}

static u128 join(uint64_t low, uint64_t high) {
    return ((u128)high << 64) | low;
}

static void split(u128 value, uint64_t *low, uint64_t *high) {
    *low = (uint64_t)value;
    *high = (uint64_t)(value >> 64);
}

static u128 balance(const ss_ic0_message *m) {
    return join(m->balance_low, m->balance_high);
}

static void set_balance(ss_ic0_message *m, u128 value) {
    split(value, &m->balance_low, &m->balance_high);
}

/* ---- ranges of the heap ---- */

static bool in_heap(const ss_ic0_message *m, uint64_t at, uint64_t size) {
    uint64_t all = ss_heap_image_size(m->heap);
    return at <= all && size <= all - at;
}

static void *heap_out_of_bounds(ss_ic0_message *m) {
    return ss_ic0_trap(m, 502, "heap out of bounds");
}

static void *no_memory(ss_ic0_message *m) {
    return ss_ic0_trap(m, 502, "the test's process has no memory left");
}

static uint8_t *heap_at(const ss_ic0_message *m, uint64_t at) {
    return ss_heap_image_base(m->heap) + at;
}

/* Appends a range of the heap, which is known to be inside. */
static bool take(ss_ic0_message *m, ss_ic0_buffer *to, uint64_t at, uint64_t size) {
    m->host_instructions += size;
    return ss_ic0_append(to, size > 0 ? heap_at(m, at) : NULL, size);
}

static void *copy_out(ss_ic0_message *m, const ss_value *a, const ss_ic0_buffer *from) {
    uint64_t to = address(m, &a[0]), offset = address(m, &a[1]), size = address(m, &a[2]);
    if (!in_heap(m, to, size)) return heap_out_of_bounds(m);
    if (offset > from->size || size > from->size - offset) return ss_ic0_trap(m, 504, "ic0.*_copy: offset + size is beyond the data");
    m->host_instructions += size;
    if (size > 0) memcpy(heap_at(m, to), from->data + offset, size);
    return NULL;
}

static void *store_128(ss_ic0_message *m, uint64_t to, u128 value) {
    uint64_t halves[2];
    if (!in_heap(m, to, sizeof halves)) return heap_out_of_bounds(m);
    split(value, &halves[0], &halves[1]);
    memcpy(heap_at(m, to), halves, sizeof halves);
    return NULL;
}

static void *fit_64(ss_ic0_message *m, ss_value *a, u128 value) {
    if (value >> 64 != 0) return ss_ic0_trap(m, 502, "cycles amount exceeds 64-bit representation");
    return give_64(a, (uint64_t)value);
}

/* ---- bytes that were given ---- */

#define GIVEN(name, which)                                     \
    static void *name##_size(ss_ic0_message *m, ss_value *a) { \
        return give_address(m, a, m->input[which].size);       \
    }                                                          \
    static void *name##_copy(ss_ic0_message *m, ss_value *a) { \
        return copy_out(m, a, &m->input[which]);               \
    }
GIVEN(msg_arg_data, SS_IC0_ARGUMENT)
GIVEN(msg_caller, SS_IC0_CALLER)
GIVEN(msg_method_name, SS_IC0_METHOD)
GIVEN(msg_reject_msg, SS_IC0_REJECT_MESSAGE)
GIVEN(canister_self, SS_IC0_SELF)
GIVEN(subnet_self, SS_IC0_SUBNET)
GIVEN(root_key, SS_IC0_ROOT_KEY)

static void *nothing_size(ss_ic0_message *m, ss_value *a) {
    return give_address(m, a, 0);
}

static void *nothing_copy(ss_ic0_message *m, ss_value *a) {
    static const ss_ic0_buffer nothing = {0};
    return copy_out(m, a, &nothing);
}

static void *certificate_present(ss_ic0_message *m, ss_value *a) {
    return give_32(a, m->has_certificate);
}

static void *certificate_size(ss_ic0_message *m, ss_value *a) {
    if (!m->has_certificate) return ss_ic0_trap(m, 504, "ic0.data_certificate_size: there is no certificate");
    return give_address(m, a, m->input[SS_IC0_CERTIFICATE].size);
}

static void *certificate_copy(ss_ic0_message *m, ss_value *a) {
    if (!m->has_certificate) return ss_ic0_trap(m, 504, "ic0.data_certificate_copy: there is no certificate");
    return copy_out(m, a, &m->input[SS_IC0_CERTIFICATE]);
}

/* ---- facts ---- */

static void *msg_reject_code(ss_ic0_message *m, ss_value *a) {
    return give_32(a, (uint32_t)m->reject_code);
}

static void *msg_deadline(ss_ic0_message *m, ss_value *a) {
    return give_64(a, m->deadline);
}

static void *canister_status(ss_ic0_message *m, ss_value *a) {
    return give_32(a, (uint32_t)m->status);
}

static void *canister_version(ss_ic0_message *m, ss_value *a) {
    return give_64(a, m->version);
}

static void *time_now(ss_ic0_message *m, ss_value *a) {
    return give_64(a, m->time);
}

static void *in_replicated_execution(ss_ic0_message *m, ss_value *a) {
    return give_32(a, (m->mode & (NRQ | CQ | CRY | CRT | CC | TQ | F)) == 0);
}

static void *performance_counter(ss_ic0_message *m, ss_value *a) {
    uint32_t which = (uint32_t)a[0].i32;
    if (which > 1) return ss_ic0_trap(m, 504, "ic0.performance_counter: there is no counter of this type");
    uint64_t used = ss_ic0_used(m);
    return give_64(a, which == 0 ? used : used + m->instructions_before);
}

static void *is_controller(ss_ic0_message *m, ss_value *a) {
    uint64_t at = address(m, &a[0]), size = address(m, &a[1]);
    const ss_ic0_buffer *all = &m->input[SS_IC0_CONTROLLERS];
    if (!in_heap(m, at, size)) return heap_out_of_bounds(m);
    if (size > MOST_PRINCIPAL) return ss_ic0_trap(m, 504, "ic0.is_controller: these bytes are not a principal");
    for (uint64_t i = 0; i < all->size; i += UINT64_C(1) + all->data[i]) {
        if (all->data[i] == size && memcmp(all->data + i + 1, heap_at(m, at), size) == 0) return give_32(a, 1);
    }
    return give_32(a, 0);
}

static void *global_timer_set(ss_ic0_message *m, ss_value *a) {
    uint64_t old = m->timer;
    m->timer = (uint64_t)a[0].i64;
    m->timer_set = 1;
    return give_64(a, old);
}

static void *certified_data_set(ss_ic0_message *m, ss_value *a) {
    uint64_t at = address(m, &a[0]), size = address(m, &a[1]);
    if (size > 32) return ss_ic0_trap(m, 504, "ic0.certified_data_set: at most 32 bytes");
    if (!in_heap(m, at, size)) return heap_out_of_bounds(m);
    m->output[SS_IC0_CERTIFIED].size = 0;
    m->certified_set = 1;
    return take(m, &m->output[SS_IC0_CERTIFIED], at, size) ? NULL : no_memory(m);
}

static void *accept_message(ss_ic0_message *m, ss_value *a) {
    (void)a;
    if (m->accepted) return ss_ic0_trap(m, 504, "ic0.accept_message: the message is accepted already");
    m->accepted = 1;
    return NULL;
}

static void *debug_print(ss_ic0_message *m, ss_value *a) {
    uint64_t at = address(m, &a[0]), size = address(m, &a[1]);
    ss_ic0_buffer *log = &m->output[SS_IC0_LOG];
    if (!in_heap(m, at, size)) return heap_out_of_bounds(m);
    if (log->size + size > MOST_LOG) {
        m->host_instructions += size;
        return NULL;
    }
    uint32_t length = (uint32_t)size;
    return ss_ic0_append(log, &length, sizeof length) && take(m, log, at, size) ? NULL : no_memory(m);
}

static void *trap(ss_ic0_message *m, ss_value *a) {
    uint64_t at = address(m, &a[0]), size = address(m, &a[1]);
    if (!in_heap(m, at, size)) return heap_out_of_bounds(m);
    void *made = ss_ic0_trap(m, 503, "");
    (void)take(m, &m->output[SS_IC0_TRAP], at, size);
    return made;
}

/* ---- the answer ---- */

static void *answered(ss_ic0_message *m, const char *text) {
    return ss_ic0_trap(m, 504, text);
}

static void *msg_reply_data_append(ss_ic0_message *m, ss_value *a) {
    uint64_t at = address(m, &a[0]), size = address(m, &a[1]);
    ss_ic0_buffer *answer = &m->output[SS_IC0_RESPONSE];
    if (m->answered) return answered(m, "ic0.msg_reply_data_append: the call is already replied");
    if (!in_heap(m, at, size)) return heap_out_of_bounds(m);
    if (size > m->reply_limit || answer->size > m->reply_limit - size) {
        return ss_ic0_trap(m, 504, "ic0.msg_reply_data_append: the reply is larger than the platform allows");
    }
    return take(m, answer, at, size) ? NULL : no_memory(m);
}

static void close_answer(ss_ic0_message *m, uint32_t how) {
    m->answered = how;
    m->available_low = m->available_high = 0;
}

static void *msg_reply(ss_ic0_message *m, ss_value *a) {
    (void)a;
    if (m->answered) return answered(m, "ic0.msg_reply: the call is already replied");
    close_answer(m, 1);
    return NULL;
}

static void *msg_reject(ss_ic0_message *m, ss_value *a) {
    uint64_t at = address(m, &a[0]), size = address(m, &a[1]);
    ss_ic0_buffer *answer = &m->output[SS_IC0_RESPONSE];
    if (m->answered) return answered(m, "ic0.msg_reject: the call is already replied");
    if (!in_heap(m, at, size)) return heap_out_of_bounds(m);
    if (size > m->reply_limit) return ss_ic0_trap(m, 504, "ic0.msg_reject: the message is larger than the platform allows");
    answer->size = 0;
    close_answer(m, 2);
    return take(m, answer, at, size) ? NULL : no_memory(m);
}

/* ---- cycles ---- */

static void *msg_cycles_available(ss_ic0_message *m, ss_value *a) {
    return fit_64(m, a, join(m->available_low, m->available_high));
}

static void *msg_cycles_available128(ss_ic0_message *m, ss_value *a) {
    return store_128(m, address(m, &a[0]), join(m->available_low, m->available_high));
}

static void *msg_cycles_refunded(ss_ic0_message *m, ss_value *a) {
    return fit_64(m, a, join(m->refunded_low, m->refunded_high));
}

static void *msg_cycles_refunded128(ss_ic0_message *m, ss_value *a) {
    return store_128(m, address(m, &a[0]), join(m->refunded_low, m->refunded_high));
}

static u128 accept_cycles(ss_ic0_message *m, u128 most) {
    u128 available = join(m->available_low, m->available_high), taken = most < available ? most : available;
    split(available - taken, &m->available_low, &m->available_high);
    split(join(m->accepted_low, m->accepted_high) + taken, &m->accepted_low, &m->accepted_high);
    set_balance(m, balance(m) + taken);
    return taken;
}

static void *msg_cycles_accept(ss_ic0_message *m, ss_value *a) {
    return give_64(a, (uint64_t)accept_cycles(m, (uint64_t)a[0].i64));
}

static void *msg_cycles_accept128(ss_ic0_message *m, ss_value *a) {
    uint64_t to = address(m, &a[2]);
    if (!in_heap(m, to, 16)) return heap_out_of_bounds(m);
    return store_128(m, to, accept_cycles(m, join((uint64_t)a[1].i64, (uint64_t)a[0].i64)));
}

static void *cycles_burn128(ss_ic0_message *m, ss_value *a) {
    u128 most = join((uint64_t)a[1].i64, (uint64_t)a[0].i64), have = balance(m), burned = most < have ? most : have;
    uint64_t to = address(m, &a[2]);
    if (!in_heap(m, to, 16)) return heap_out_of_bounds(m);
    set_balance(m, have - burned);
    return store_128(m, to, burned);
}

static void *canister_cycle_balance(ss_ic0_message *m, ss_value *a) {
    return fit_64(m, a, balance(m));
}

static void *canister_cycle_balance128(ss_ic0_message *m, ss_value *a) {
    return store_128(m, address(m, &a[0]), balance(m));
}

/* ---- calls ---- */

void ss_ic0_drop_call(ss_ic0_message *m) {
    if (m->call_open) set_balance(m, balance(m) + join(m->call.cycles_low, m->call.cycles_high));
    m->call_open = 0;
}

static void *call_new(ss_ic0_message *m, ss_value *a) {
    uint64_t callee = address(m, &a[0]), callee_size = address(m, &a[1]), method = address(m, &a[2]), method_size = address(m, &a[3]);
    ss_ic0_drop_call(m);
    if (!in_heap(m, callee, callee_size) || !in_heap(m, method, method_size)) return heap_out_of_bounds(m);
    if (callee_size > MOST_PRINCIPAL) return ss_ic0_trap(m, 504, "ic0.call_new: the callee is not a principal");
    if (method_size > MOST_METHOD) return ss_ic0_trap(m, 504, "ic0.call_new: the name of the method is too long");
    m->callee.size = m->method.size = m->argument.size = 0;
    if (!take(m, &m->callee, callee, callee_size) || !take(m, &m->method, method, method_size)) return no_memory(m);
    m->call = (ss_ic0_call){.reply_function = address(m, &a[4]),
                            .reply_environment = address(m, &a[5]),
                            .reject_function = address(m, &a[6]),
                            .reject_environment = address(m, &a[7])};
    m->call_open = 1;
    return NULL;
}

static void *no_call(ss_ic0_message *m, const char *text) {
    return ss_ic0_trap(m, 504, text);
}

static void *call_on_cleanup(ss_ic0_message *m, ss_value *a) {
    if (!m->call_open) return no_call(m, "ic0.call_on_cleanup called when no call is under construction.");
    if (m->call.has_cleanup)
        return ss_ic0_trap(m, 504, "ic0.call_on_cleanup can be called at most once between `ic0.call_new` and `ic0.call_perform`");
    m->call.has_cleanup = 1;
    m->call.cleanup_function = address(m, &a[0]);
    m->call.cleanup_environment = address(m, &a[1]);
    return NULL;
}

static void *call_data_append(ss_ic0_message *m, ss_value *a) {
    uint64_t at = address(m, &a[0]), size = address(m, &a[1]);
    if (!m->call_open) return no_call(m, "ic0.call_data_append called when no call is under construction.");
    if (!in_heap(m, at, size)) return heap_out_of_bounds(m);
    if (size > MOST_PAYLOAD || m->argument.size > MOST_PAYLOAD - size) {
        return ss_ic0_trap(m, 504, "ic0.call_data_append: the argument is larger than the platform allows");
    }
    return take(m, &m->argument, at, size) ? NULL : no_memory(m);
}

static void *call_with_best_effort_response(ss_ic0_message *m, ss_value *a) {
    if (!m->call_open) return no_call(m, "ic0.call_with_best_effort_response called when no call is under construction.");
    if (m->call.has_timeout) return ss_ic0_trap(m, 504, "ic0.call_with_best_effort_response: a timeout is set already");
    m->call.has_timeout = 1;
    m->call.timeout = (uint32_t)a[0].i32;
    return NULL;
}

static void *add_cycles(ss_ic0_message *m, u128 cycles) {
    u128 have = balance(m);
    if (cycles > have) return ss_ic0_trap(m, 504, "ic0.call_cycles_add: more cycles than the canister has");
    set_balance(m, have - cycles);
    split(join(m->call.cycles_low, m->call.cycles_high) + cycles, &m->call.cycles_low, &m->call.cycles_high);
    return NULL;
}

static void *call_cycles_add(ss_ic0_message *m, ss_value *a) {
    if (!m->call_open) return no_call(m, "ic0.call_cycles_add called when no call is under construction.");
    return add_cycles(m, (uint64_t)a[0].i64);
}

static void *call_cycles_add128(ss_ic0_message *m, ss_value *a) {
    if (!m->call_open) return no_call(m, "ic0.call_cycles_add128 called when no call is under construction.");
    return add_cycles(m, join((uint64_t)a[1].i64, (uint64_t)a[0].i64));
}

/* How many calls to the callee under construction are under way, and the place of the number; NULL if there is no entry yet. */
static uint8_t *under_way(ss_ic0_message *m, uint32_t *count) {
    ss_ic0_buffer *all = &m->input[SS_IC0_UNDER_WAY];
    *count = 0;
    for (uint64_t i = 0; i < all->size; i += 5 + (uint64_t)all->data[i]) {
        uint8_t *number = all->data + i + 1 + all->data[i];
        if (all->data[i] != m->callee.size) continue;
        if (m->callee.size > 0 && memcmp(all->data + i + 1, m->callee.data, m->callee.size) != 0) continue;
        memcpy(count, number, sizeof *count);
        return number;
    }
    return NULL;
}

static bool count_call(ss_ic0_message *m, uint8_t *place, uint32_t count) {
    count++;
    if (place != NULL) {
        memcpy(place, &count, sizeof count);
        return true;
    }
    uint8_t size = (uint8_t)m->callee.size;
    ss_ic0_buffer *all = &m->input[SS_IC0_UNDER_WAY];
    return ss_ic0_append(all, &size, 1) && ss_ic0_append(all, m->callee.data, size) && ss_ic0_append(all, &count, sizeof count);
}

static void *call_perform(ss_ic0_message *m, ss_value *a) {
    ss_ic0_buffer *out = &m->output[SS_IC0_CALLS];
    uint32_t count;
    if (!m->call_open) return no_call(m, "ic0.call_perform called when no call is under construction.");
    uint8_t *place = under_way(m, &count);
    if (count >= MOST_UNDER_WAY) {
        ss_ic0_drop_call(m);
        return give_32(a, 2);
    }
    m->call.callee_size = m->callee.size;
    m->call.method_size = m->method.size;
    m->call.argument_size = m->argument.size;
    m->call_open = 0;
    if (!count_call(m, place, count) || !ss_ic0_append(out, &m->call, sizeof m->call) ||
        !ss_ic0_append(out, m->callee.data, m->callee.size) || !ss_ic0_append(out, m->method.data, m->method.size) ||
        !ss_ic0_append(out, m->argument.data, m->argument.size)) {
        return no_memory(m);
    }
    return give_32(a, 0);
}

/* ---- stable memory ---- */

static void *stable_out_of_bounds(ss_ic0_message *m) {
    return ss_ic0_trap(m, 502, "stable memory out of bounds");
}

static void *too_large(ss_ic0_message *m) {
    return ss_ic0_trap(m, 502, "32 bit stable memory api used on a memory larger than 4GB");
}

/* A failure of the memory itself, not of the canister. */
static void *stable_failed(ss_ic0_message *m, int64_t status) {
    return status == SS_OUT_OF_BOUNDS ? stable_out_of_bounds(m) : ss_ic0_trap(m, 502, ss_status_text((int)status));
}

static void *stable64_size(ss_ic0_message *m, ss_value *a) {
    int64_t pages = ss_access_size(m->stable);
    return pages < 0 ? stable_failed(m, pages) : give_64(a, (uint64_t)pages);
}

static void *stable64_grow(ss_ic0_message *m, ss_value *a) {
    int64_t old = ss_access_grow(m->stable, (uint64_t)a[0].i64);
    return give_64(a, old < 0 ? UINT64_MAX : (uint64_t)old);
}

static void *read_stable(ss_ic0_message *m, uint64_t to, uint64_t offset, uint64_t size) {
    if (size == 0) return NULL;
    if (!in_heap(m, to, size)) return heap_out_of_bounds(m);
    m->host_instructions += size;
    int status = ss_access_read(m->stable, offset, heap_at(m, to), size);
    return status == SS_OK ? NULL : stable_failed(m, status);
}

static void *write_stable(ss_ic0_message *m, uint64_t offset, uint64_t from, uint64_t size) {
    if (size == 0) return NULL;
    if (!in_heap(m, from, size)) return heap_out_of_bounds(m);
    m->host_instructions += size;
    int status = ss_access_write(m->stable, offset, heap_at(m, from), size);
    return status == SS_OK ? NULL : stable_failed(m, status);
}

static void *stable64_read(ss_ic0_message *m, ss_value *a) {
    return read_stable(m, (uint64_t)a[0].i64, (uint64_t)a[1].i64, (uint64_t)a[2].i64);
}

static void *stable64_write(ss_ic0_message *m, ss_value *a) {
    return write_stable(m, (uint64_t)a[0].i64, (uint64_t)a[1].i64, (uint64_t)a[2].i64);
}

static void *stable_size(ss_ic0_message *m, ss_value *a) {
    int64_t pages = ss_access_size(m->stable);
    if (pages > PAGES_32) return too_large(m);
    return pages < 0 ? stable_failed(m, pages) : give_32(a, (uint32_t)pages);
}

static void *stable_grow(ss_ic0_message *m, ss_value *a) {
    int64_t pages = ss_access_size(m->stable);
    uint32_t more = (uint32_t)a[0].i32;
    if (pages > PAGES_32) return too_large(m);
    if (pages < 0) return stable_failed(m, pages);
    int64_t old = pages + (int64_t)more > PAGES_32 ? -1 : ss_access_grow(m->stable, more);
    return give_32(a, old < 0 ? UINT32_MAX : (uint32_t)old);
}

static void *stable_read(ss_ic0_message *m, ss_value *a) {
    if (a[2].i32 != 0 && ss_access_size(m->stable) > PAGES_32) return too_large(m);
    return read_stable(m, (uint32_t)a[0].i32, (uint32_t)a[1].i32, (uint32_t)a[2].i32);
}

static void *stable_write(ss_ic0_message *m, ss_value *a) {
    if (a[2].i32 != 0 && ss_access_size(m->stable) > PAGES_32) return too_large(m);
    return write_stable(m, (uint32_t)a[0].i32, (uint32_t)a[1].i32, (uint32_t)a[2].i32);
}

/* ---- prices ---- */

static void *cost_call(ss_ic0_message *m, ss_value *a) {
    u128 bytes = (u128)(uint64_t)a[0].i64 + (uint64_t)a[1].i64 + (UINT64_C(2) << 20); /* room is paid for the largest reply */
    return store_128(m, address(m, &a[2]), m->prices.call_base + bytes * m->prices.call_byte);
}

static void *cost_create_canister(ss_ic0_message *m, ss_value *a) {
    return store_128(m, address(m, &a[0]), m->prices.create_canister);
}

static void *cost_http_request(ss_ic0_message *m, ss_value *a) {
    u128 price = (u128)(uint64_t)a[0].i64 * m->prices.http_request_byte + (u128)(uint64_t)a[1].i64 * m->prices.http_response_byte;
    return store_128(m, address(m, &a[2]), price + m->prices.http_base);
}

/* 0, or 1 for a curve and 2 for a key that there is not. */
static void *cost_of_key(ss_ic0_message *m, ss_value *a, uint32_t curves, uint64_t price) {
    static const char *const keys[] = {"key_1", "test_key_1", "dfx_test_key"};
    uint64_t at = address(m, &a[0]), size = address(m, &a[1]), to = address(m, &a[3]);
    if (!in_heap(m, at, size) || !in_heap(m, to, 16)) return heap_out_of_bounds(m);
    if ((uint32_t)a[2].i32 >= curves) return give_32(a, 1);
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (size == strlen(keys[i]) && memcmp(heap_at(m, at), keys[i], size) == 0) {
            (void)store_128(m, to, price);
            return give_32(a, 0);
        }
    }
    return give_32(a, 2);
}

static void *cost_sign_with_ecdsa(ss_ic0_message *m, ss_value *a) {
    return cost_of_key(m, a, 1, m->prices.sign);
}

static void *cost_sign_with_schnorr(ss_ic0_message *m, ss_value *a) {
    return cost_of_key(m, a, 2, m->prices.sign);
}

static void *cost_vetkd_derive_key(ss_ic0_message *m, ss_value *a) {
    return cost_of_key(m, a, 1, m->prices.derive);
}

/* ---- environment variables ---- */

typedef struct variable {
    ss_ic0_buffer name, value; /* not owned */
} variable;

static bool variable_at(const ss_ic0_message *m, uint64_t *at, variable *out) {
    const ss_ic0_buffer *all = &m->input[SS_IC0_ENVIRONMENT];
    uint32_t sizes[2];
    if (*at >= all->size) return false;
    memcpy(sizes, all->data + *at, sizeof sizes);
    out->name = (ss_ic0_buffer){all->data + *at + 8, sizes[0], 0};
    out->value = (ss_ic0_buffer){all->data + *at + 8 + sizes[0], sizes[1], 0};
    *at += 8 + (uint64_t)sizes[0] + sizes[1];
    return true;
}

static uint64_t count_variables(const ss_ic0_message *m) {
    uint64_t at = 0, count = 0;
    variable each;
    while (variable_at(m, &at, &each)) count++;
    return count;
}

static bool variable_number(const ss_ic0_message *m, uint64_t index, variable *out) {
    uint64_t at = 0;
    do {
        if (!variable_at(m, &at, out)) return false;
    } while (index-- > 0);
    return true;
}

static bool variable_named(const ss_ic0_message *m, uint64_t name, uint64_t size, variable *out) {
    uint64_t at = 0;
    while (variable_at(m, &at, out)) {
        if (out->name.size == size && memcmp(out->name.data, heap_at(m, name), size) == 0) return true;
    }
    return false;
}

static void *env_var_count(ss_ic0_message *m, ss_value *a) {
    return give_address(m, a, count_variables(m));
}

static void *env_var_name_size(ss_ic0_message *m, ss_value *a) {
    variable found;
    if (!variable_number(m, address(m, &a[0]), &found)) return ss_ic0_trap(m, 504, "ic0.env_var_name_size: index out of bounds");
    return give_address(m, a, found.name.size);
}

static void *env_var_name_copy(ss_ic0_message *m, ss_value *a) {
    variable found;
    if (!variable_number(m, address(m, &a[0]), &found)) return ss_ic0_trap(m, 504, "ic0.env_var_name_copy: index out of bounds");
    return copy_out(m, a + 1, &found.name);
}

static void *env_var_name_exists(ss_ic0_message *m, ss_value *a) {
    uint64_t name = address(m, &a[0]), size = address(m, &a[1]);
    variable found;
    if (!in_heap(m, name, size)) return heap_out_of_bounds(m);
    return give_32(a, variable_named(m, name, size, &found));
}

static void *env_var_value_size(ss_ic0_message *m, ss_value *a) {
    uint64_t name = address(m, &a[0]), size = address(m, &a[1]);
    variable found;
    if (!in_heap(m, name, size)) return heap_out_of_bounds(m);
    if (!variable_named(m, name, size, &found)) return ss_ic0_trap(m, 504, "ic0.env_var_value_size: there is no such variable");
    return give_address(m, a, found.value.size);
}

static void *env_var_value_copy(ss_ic0_message *m, ss_value *a) {
    uint64_t name = address(m, &a[0]), size = address(m, &a[1]);
    variable found;
    if (!in_heap(m, name, size)) return heap_out_of_bounds(m);
    if (!variable_named(m, name, size, &found)) return ss_ic0_trap(m, 504, "ic0.env_var_value_copy: there is no such variable");
    return copy_out(m, a + 2, &found.value);
}

/* ---- the table ---- */

/* 500 is what the platform counts for most functions. */
const ss_function ss_ic0_functions[] = {
    {"msg_arg_data_size", ">I", I | U | RQ | NRQ | TQ | CQ | RY | CRY | F, msg_arg_data_size, 500, 0},
    {"msg_arg_data_copy", "III>", I | U | RQ | NRQ | TQ | CQ | RY | CRY | F, msg_arg_data_copy, 500, 0},
    {"msg_caller_size", ">I", STAR, msg_caller_size, 500, 0},
    {"msg_caller_copy", "III>", STAR, msg_caller_copy, 500, 0},
    {"msg_caller_info_data_size", ">I", STAR & ~(I | G | T | TQ), nothing_size, 500, 0},
    {"msg_caller_info_data_copy", "III>", STAR & ~(I | G | T | TQ), nothing_copy, 500, 0},
    {"msg_caller_info_signer_size", ">I", STAR & ~(I | G | T | TQ), nothing_size, 500, 0},
    {"msg_caller_info_signer_copy", "III>", STAR & ~(I | G | T | TQ), nothing_copy, 500, 0},
    {"msg_reject_code", ">i", RY | RT | CRY | CRT | C, msg_reject_code, 500, 0},
    {"msg_reject_msg_size", ">I", RT | CRT, msg_reject_msg_size, 500, 0},
    {"msg_reject_msg_copy", "III>", RT | CRT, msg_reject_msg_copy, 500, 0},
    {"msg_deadline", ">l", U | RQ | NRQ | CQ | RY | RT | CRY | CRT, msg_deadline, 500, 0},
    {"msg_reply_data_append", "II>", ANSWERS, msg_reply_data_append, 500, 0},
    {"msg_reply", ">", ANSWERS, msg_reply, 500, 0},
    {"msg_reject", "II>", ANSWERS, msg_reject, 500, 0},
    {"msg_cycles_available", ">l", U | RQ | RT | RY, msg_cycles_available, 500, 1},
    {"msg_cycles_available128", "I>", U | RQ | RT | RY, msg_cycles_available128, 500, 0},
    {"msg_cycles_refunded", ">l", RT | RY, msg_cycles_refunded, 500, 1},
    {"msg_cycles_refunded128", "I>", RT | RY, msg_cycles_refunded128, 500, 0},
    {"msg_cycles_accept", "l>l", U | RQ | RT | RY, msg_cycles_accept, 500, 1},
    {"msg_cycles_accept128", "llI>", U | RQ | RT | RY, msg_cycles_accept128, 500, 0},
    {"cycles_burn128", "llI>", BURNS, cycles_burn128, 100, 0},
    {"canister_self_size", ">I", STAR, canister_self_size, 500, 0},
    {"canister_self_copy", "III>", STAR, canister_self_copy, 500, 0},
    {"canister_cycle_balance", ">l", STAR, canister_cycle_balance, 500, 1},
    {"canister_cycle_balance128", "I>", STAR, canister_cycle_balance128, 500, 0},
    {"canister_liquid_cycle_balance128", "I>", STAR, canister_cycle_balance128, 500, 0},
    {"canister_status", ">i", STAR, canister_status, 500, 0},
    {"canister_version", ">l", STAR, canister_version, 500, 0},
    {"subnet_self_size", ">I", STAR, subnet_self_size, 500, 0},
    {"subnet_self_copy", "III>", STAR, subnet_self_copy, 500, 0},
    {"msg_method_name_size", ">I", F, msg_method_name_size, 500, 0},
    {"msg_method_name_copy", "III>", F, msg_method_name_copy, 500, 0},
    {"accept_message", ">", F, accept_message, 500, 0},
    {"call_new", "IIIIIIII>", CALLS, call_new, 1500, 0},
    {"call_on_cleanup", "II>", CALLS, call_on_cleanup, 500, 0},
    {"call_data_append", "II>", CALLS, call_data_append, 500, 0},
    {"call_with_best_effort_response", "i>", CALLS, call_with_best_effort_response, 500, 0},
    {"call_cycles_add", "l>", PAYS, call_cycles_add, 500, 1},
    {"call_cycles_add128", "ll>", PAYS, call_cycles_add128, 500, 0},
    {"call_perform", ">i", CALLS, call_perform, 5000, 0},
    {"stable64_size", ">l", STAR | S, stable64_size, 20, 0},
    {"stable64_grow", "l>l", STAR | S, stable64_grow, 100, 0},
    {"stable64_write", "lll>", STAR | S, stable64_write, 20, 0},
    {"stable64_read", "lll>", STAR | S, stable64_read, 20, 0},
    {"stable_size", ">i", STAR | S, stable_size, 20, 1},
    {"stable_grow", "i>i", STAR | S, stable_grow, 100, 1},
    {"stable_write", "iii>", STAR | S, stable_write, 20, 1},
    {"stable_read", "iii>", STAR | S, stable_read, 20, 1},
    {"root_key_size", ">I", BURNS, root_key_size, 500, 0},
    {"root_key_copy", "III>", BURNS, root_key_copy, 500, 0},
    {"certified_data_set", "II>", I | G | U | RY | RT | T, certified_data_set, 500, 0},
    {"data_certificate_present", ">i", STAR, certificate_present, 500, 0},
    {"data_certificate_size", ">I", NRQ | CQ, certificate_size, 500, 0},
    {"data_certificate_copy", "III>", NRQ | CQ, certificate_copy, 500, 0},
    {"time", ">l", STAR, time_now, 500, 0},
    {"global_timer_set", "l>l", I | G | U | RY | RT | C | T, global_timer_set, 500, 0},
    {"performance_counter", "i>l", STAR | S, performance_counter, 200, 0},
    {"is_controller", "II>i", STAR | S, is_controller, 1000, 0},
    {"in_replicated_execution", ">i", STAR | S, in_replicated_execution, 500, 0},
    {"cost_call", "llI>", STAR | S, cost_call, 500, 0},
    {"cost_create_canister", "I>", STAR | S, cost_create_canister, 500, 0},
    {"cost_http_request", "llI>", STAR | S, cost_http_request, 500, 0},
    {"cost_sign_with_ecdsa", "IIiI>i", STAR | S, cost_sign_with_ecdsa, 500, 0},
    {"cost_sign_with_schnorr", "IIiI>i", STAR | S, cost_sign_with_schnorr, 500, 0},
    {"cost_vetkd_derive_key", "IIiI>i", STAR | S, cost_vetkd_derive_key, 500, 0},
    {"env_var_count", ">I", STAR, env_var_count, 500, 0},
    {"env_var_name_size", "I>I", STAR, env_var_name_size, 500, 0},
    {"env_var_name_copy", "IIII>", STAR, env_var_name_copy, 500, 0},
    {"env_var_name_exists", "II>i", STAR, env_var_name_exists, 500, 0},
    {"env_var_value_size", "II>I", STAR, env_var_value_size, 500, 0},
    {"env_var_value_copy", "IIIII>", STAR, env_var_value_copy, 500, 0},
    {"debug_print", "II>", STAR | S, debug_print, 100, 0},
    {"trap", "II>", STAR | S, trap, 500, 0},
};
const int ss_ic0_function_count = sizeof ss_ic0_functions / sizeof *ss_ic0_functions;
