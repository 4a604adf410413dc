//! The counter of the platform's tutorial on stable structures: value and history survive an upgrade, what lies on the heap does not.
//! `--features by_three` is the next version, which adds 3.
use ic_stable_structures::{
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
    DefaultMemoryImpl, StableBTreeMap, StableCell,
};
use std::cell::{Cell, RefCell};

type Memory = VirtualMemory<DefaultMemoryImpl>;

const STEP: u64 = if cfg!(feature = "by_three") { 3 } else { 1 };
const MOST: u64 = 100;

thread_local! {
    static MANAGER: RefCell<MemoryManager<DefaultMemoryImpl>> = RefCell::new(MemoryManager::init(DefaultMemoryImpl::default()));
    static VALUE: RefCell<StableCell<u64, Memory>> = RefCell::new(StableCell::init(memory(0), 0));
    /// How often each name counted.
    static NAMES: RefCell<StableBTreeMap<String, u64, Memory>> = RefCell::new(StableBTreeMap::init(memory(1)));
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn memory(id: u8) -> Memory {
    MANAGER.with_borrow(|manager| manager.get(MemoryId::new(id)))
}

fn add(by: u64) -> u64 {
    CALLS.set(CALLS.get() + 1);
    VALUE.with_borrow_mut(|cell| {
        let value = *cell.get() + by;
        cell.set(value);
        value
    })
}

#[ic_cdk::update]
fn inc() -> u64 {
    add(STEP)
}

/// Writes first and checks after: where it traps, the platform undoes what it wrote.
#[ic_cdk::update]
fn inc_as(name: String, times: u64) -> u64 {
    NAMES.with_borrow_mut(|names| {
        let before = names.get(&name).unwrap_or(0);
        names.insert(name, before + times);
    });
    let value = add(STEP * times);
    assert!(value <= MOST, "that is too much");
    value
}

#[ic_cdk::query]
fn get() -> u64 {
    VALUE.with_borrow(|cell| *cell.get())
}

/// On the heap: an upgrade begins anew.
#[ic_cdk::query]
fn calls_since_upgrade() -> u64 {
    CALLS.get()
}

ic_cdk::export_candid!();
