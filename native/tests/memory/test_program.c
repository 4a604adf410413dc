/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that take over a memory from each other: leases of programs and transactions, what a transaction changed, shrinking. */
#include <string.h>

#include "memory/manager.h"
#include "storage/journal.h"
#include "structures/vec.h"
#include "support/check.h"

static ss_memory *new_memory(uint64_t pages) {
    ss_memory *memory;
    uint64_t old;
    CHECK_EQ(ss_memory_new_flat(1000, &memory), SS_OK);
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    CHECK_EQ(ss_leave_write(memory, ss_memory_grow(memory, pages, &old)), SS_OK);
    return memory;
}

static void put(ss_memory *memory, uint64_t offset, uint8_t byte) {
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    CHECK_EQ(ss_leave_write(memory, ss_memory_write(memory, offset, &byte, 1)), SS_OK);
}

static uint8_t byte_at(ss_memory *memory, uint64_t offset) {
    uint8_t byte = 0xEE;
    CHECK_EQ(ss_enter_read(memory), SS_OK);
    CHECK_EQ(ss_memory_read(memory, offset, &byte, 1), SS_OK);
    ss_leave_read(memory);
    return byte;
}

static void another_program_may_lease_what_the_first_has(void) {
    ss_memory *memory = new_memory(0);
    ss_vec *old, *new, *third;
    CHECK_EQ(ss_vec_open(memory, SS_INIT, 8, 1, &old), SS_OK);
    CHECK_EQ(ss_vec_open(memory, SS_INIT, 8, 1, &new), SS_IN_USE);
    ss_memory_set_program(memory, 2);
    CHECK_EQ(ss_vec_open(memory, SS_LOAD, 8, 1, &new), SS_OK);
    CHECK_EQ(ss_vec_open(memory, SS_LOAD, 8, 1, &third), SS_IN_USE);
    ss_memory_set_program(memory, 0);
    CHECK_EQ(ss_vec_open(memory, SS_LOAD, 8, 1, &third), SS_IN_USE);
    ss_vec_free(old);
    CHECK_EQ(ss_vec_open(memory, SS_LOAD, 8, 1, &third), SS_OK);
    ss_vec_free(third);
    ss_vec_free(new);
    ss_memory_release(memory);
}

/* Through a restricted memory too, whose leases are kept by its base. */
static void a_restricted_memory_is_of_the_program_of_its_base(void) {
    ss_memory *memory = new_memory(0), *part;
    ss_vec *old, *new;
    CHECK_EQ(ss_memory_new_restricted(memory, 0, 10, &part), SS_OK);
    CHECK_EQ(ss_vec_open(part, SS_INIT, 8, 1, &old), SS_OK);
    ss_memory_set_program(part, 7);
    CHECK_EQ(ss_vec_open(memory, SS_LOAD, 8, 1, &new), SS_OK);
    ss_vec_free(old);
    ss_vec_free(new);
    ss_memory_release(part);
    ss_memory_release(memory);
}

static void leases_of_a_transaction_can_be_forgotten_with_it(void) {
    ss_memory *memory = new_memory(0);
    ss_manager *leaked, *again, *kept;
    for (int forget = 0; forget < 2; forget++) {
        CHECK_EQ(ss_transaction_begin(memory), SS_OK);
        CHECK_EQ(ss_manager_open(memory, SS_INIT, 1, &leaked), SS_OK);
        CHECK_EQ(ss_manager_open(memory, SS_INIT, 1, &again), SS_IN_USE);
        if (forget) ss_memory_forget_leases(memory);
        CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
        int status = ss_manager_open(memory, SS_INIT, 1, &kept);
        CHECK_EQ(status, forget ? SS_OK : SS_IN_USE);
        ss_manager_free(leaked);
        if (!forget) continue;
        CHECK_EQ(ss_manager_open(memory, SS_INIT, 1, &again), SS_IN_USE); /* kept counts, and outlived the transaction's end */
        ss_manager_free(kept);
    }
    ss_memory_forget_leases(memory); /* no transaction: nothing */
    ss_memory_release(memory);
}

static void leases_from_before_a_transaction_are_not_forgotten_with_it(void) {
    ss_memory *memory = new_memory(0);
    ss_vec *vec, *other;
    CHECK_EQ(ss_vec_open(memory, SS_INIT, 8, 1, &vec), SS_OK);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    ss_memory_forget_leases(memory);
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK_EQ(ss_vec_open(memory, SS_INIT, 8, 1, &other), SS_IN_USE);
    ss_vec_free(vec);
    ss_memory_release(memory);
}

static void a_transaction_tells_how_much_it_changed(void) {
    ss_memory *memory = new_memory(2);
    CHECK_EQ(ss_transaction_changed(memory), SS_TRANSACTION);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(ss_transaction_changed(memory), 0);
    put(memory, 0, 1);
    put(memory, 100, 1);
    put(memory, SS_BLOCK_SIZE, 1);
    CHECK_EQ(ss_transaction_changed(memory), 2);
    CHECK_EQ(ss_transaction_commit(memory), SS_OK);
    CHECK_EQ(ss_transaction_changed(memory), SS_TRANSACTION);
    ss_memory_release(memory);
}

static void a_memory_shrinks_outside_of_transactions(void) {
    ss_memory *memory = new_memory(3);
    uint64_t old;
    put(memory, 2 * SS_PAGE_SIZE, 9);
    put(memory, 5, 4);
    CHECK_EQ(ss_memory_shrink(memory, 4), SS_ARGUMENT);
    CHECK_EQ(ss_transaction_begin(memory), SS_OK);
    CHECK_EQ(ss_memory_shrink(memory, 1), SS_TRANSACTION);
    CHECK_EQ(ss_transaction_rollback(memory), SS_OK);
    CHECK_EQ(ss_memory_shrink(memory, 1), SS_OK);
    CHECK_EQ(ss_enter_write(memory), SS_OK);
    CHECK_EQ(ss_leave_write(memory, ss_memory_grow(memory, 2, &old)), SS_OK);
    CHECK_EQ(old, 1);
    CHECK_EQ(byte_at(memory, 2 * SS_PAGE_SIZE), 0);
    CHECK_EQ(byte_at(memory, 5), 4);
    ss_memory_release(memory);
}

int main(void) {
    another_program_may_lease_what_the_first_has();
    a_restricted_memory_is_of_the_program_of_its_base();
    leases_of_a_transaction_can_be_forgotten_with_it();
    leases_from_before_a_transaction_are_not_forgotten_with_it();
    a_transaction_tells_how_much_it_changed();
    a_memory_shrinks_outside_of_transactions();
    return check_summary();
}
