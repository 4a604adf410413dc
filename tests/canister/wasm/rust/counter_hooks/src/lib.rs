//! The counter with its value on the heap: hooks carry it through stable memory with stable_save. `--features by_three` adds 3.
use std::cell::Cell;

const STEP: u64 = if cfg!(feature = "by_three") { 3 } else { 1 };

thread_local! {
    static VALUE: Cell<u64> = const { Cell::new(0) };
}

#[ic_cdk::update]
fn inc() -> u64 {
    VALUE.set(VALUE.get() + STEP);
    VALUE.get()
}

#[ic_cdk::query]
fn get() -> u64 {
    VALUE.get()
}

#[ic_cdk::pre_upgrade]
fn save() {
    ic_cdk::storage::stable_save((VALUE.get(),)).expect("the value does not fit");
}

#[ic_cdk::post_upgrade]
fn restore() {
    let (value,) = ic_cdk::storage::stable_restore::<(u64,)>().expect("nothing was saved");
    VALUE.set(value);
}

ic_cdk::export_candid!();
