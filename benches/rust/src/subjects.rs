// SPDX-License-Identifier: Apache-2.0
//! The structures of the crate, each with the operations that are timed.
use crate::stream::Entry;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{BTreeMap, BTreeSet, Cell, Log, MinHeap, Vec as StableVec, VectorMemory};
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

const WIDE_KEY: usize = 32;
const WIDE_VALUE: usize = 128;
const MANAGED_ID: u8 = 7;

/// What an operation took, and a sum over its results: keeps them from being optimised away, and Python compares it.
pub struct Outcome {
    pub ns: u128,
    pub sum: u64,
}

pub trait Subject {
    /// Runs one operation on all entries; None where the structure has no such operation.
    fn run(&mut self, operation: &str, entries: &[Entry]) -> Option<Outcome>;
}

pub fn open(case: &str, memories: &[VectorMemory; 2]) -> Option<Box<dyn Subject>> {
    let memory = memories[0].clone();
    Some(match case {
        "map_u64" => Box::new(Numbers(BTreeMap::init(memory))),
        "map_bytes" => Box::new(Wide(BTreeMap::init(MemoryManager::init(memory).get(MemoryId::new(MANAGED_ID))))),
        "set_u64" => Box::new(Set(BTreeSet::init(memory))),
        "vec_u64" => Box::new(Row(StableVec::init(memory))),
        "heap_u64" => Box::new(Heap(MinHeap::init(memory))),
        "log_bytes" => Box::new(Journal(Log::init(memory, memories[1].clone()))),
        "cell_u64" => Box::new(Single(Cell::init(memory, 0))),
        _ => return None,
    })
}

/// Set once: whether only the time counts in which this thread runs.
pub static CPU_CLOCK: OnceLock<bool> = OnceLock::new();

fn clock(results: impl Iterator<Item = u64>) -> Option<Outcome> {
    let (start, cpu_start) = (Instant::now(), cpu_ns());
    let sum = black_box(results.fold(0, u64::wrapping_add));
    let ns = if *CPU_CLOCK.get()? { cpu_ns() - cpu_start } else { start.elapsed().as_nanos() };
    Some(Outcome { ns, sum })
}

fn cpu_ns() -> u128 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `now` and nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as u128 * 1_000_000_000 + now.tv_nsec as u128
}

fn wide_key(entry: &Entry) -> Vec<u8> {
    let mut key = entry.key.to_be_bytes().to_vec();
    key.resize(WIDE_KEY, 7);
    key
}

fn wide_value(entry: &Entry) -> Vec<u8> {
    vec![entry.key as u8; WIDE_VALUE]
}

struct Numbers(BTreeMap<u64, u64, VectorMemory>);

impl Subject for Numbers {
    fn run(&mut self, operation: &str, entries: &[Entry]) -> Option<Outcome> {
        let map = &mut self.0;
        match operation {
            "insert" => clock(entries.iter().map(|e| map.insert(e.key, e.index).unwrap_or(0))),
            "get" => clock(entries.iter().map(|e| map.get(&e.key).unwrap())),
            "iterate" => clock(map.iter().map(|e| e.value())),
            "remove" => clock(entries.iter().map(|e| map.remove(&e.key).unwrap())),
            _ => None,
        }
    }
}

struct Wide(BTreeMap<Vec<u8>, Vec<u8>, VirtualMemory<VectorMemory>>);

impl Subject for Wide {
    fn run(&mut self, operation: &str, entries: &[Entry]) -> Option<Outcome> {
        let map = &mut self.0;
        let keys: Vec<_> = entries.iter().map(wide_key).collect();
        match operation {
            "insert" => {
                let pairs: Vec<_> = keys.into_iter().zip(entries.iter().map(wide_value)).collect();
                clock(pairs.into_iter().map(|(k, v)| map.insert(k, v).map_or(0, |old| old.len() as u64)))
            }
            "get" => clock(keys.iter().map(|k| map.get(k).unwrap()[0] as u64)),
            "iterate" => clock(map.iter().map(|e| e.value()[0] as u64)),
            "remove" => clock(keys.iter().map(|k| map.remove(k).unwrap()[0] as u64)),
            _ => None,
        }
    }
}

struct Set(BTreeSet<u64, VectorMemory>);

impl Subject for Set {
    fn run(&mut self, operation: &str, entries: &[Entry]) -> Option<Outcome> {
        let set = &mut self.0;
        match operation {
            "insert" => clock(entries.iter().map(|e| set.insert(e.key) as u64)),
            "contains" => clock(entries.iter().map(|e| set.contains(&e.key) as u64)),
            "iterate" => clock(set.iter()),
            "remove" => clock(entries.iter().map(|e| set.remove(&e.key) as u64)),
            _ => None,
        }
    }
}

struct Row(StableVec<u64, VectorMemory>);

impl Subject for Row {
    fn run(&mut self, operation: &str, entries: &[Entry]) -> Option<Outcome> {
        let row = &mut self.0;
        match operation {
            "push" => clock(entries.iter().map(|e| {
                row.push(&e.key);
                1
            })),
            "get" => clock(entries.iter().map(|e| row.get(e.index).unwrap())),
            "set" => clock(entries.iter().map(|e| {
                row.set(e.index, &e.index);
                1
            })),
            "iterate" => clock(row.iter()),
            "pop" => clock(entries.iter().map(|_| row.pop().unwrap())),
            _ => None,
        }
    }
}

struct Heap(MinHeap<u64, VectorMemory>);

impl Subject for Heap {
    fn run(&mut self, operation: &str, entries: &[Entry]) -> Option<Outcome> {
        let heap = &mut self.0;
        match operation {
            "push" => clock(entries.iter().map(|e| {
                heap.push(&e.key);
                1
            })),
            "pop" => clock(entries.iter().map(|_| heap.pop().unwrap())),
            _ => None,
        }
    }
}

struct Journal(Log<Vec<u8>, VectorMemory, VectorMemory>);

impl Subject for Journal {
    fn run(&mut self, operation: &str, entries: &[Entry]) -> Option<Outcome> {
        let log = &mut self.0;
        match operation {
            "append" => {
                let items: Vec<_> = entries.iter().map(wide_value).collect();
                clock(items.iter().map(|item| log.append(item).unwrap()))
            }
            "get" => clock(entries.iter().map(|e| log.get(e.index).unwrap()[0] as u64)),
            "iterate" => clock(log.iter().map(|item| item[0] as u64)),
            _ => None,
        }
    }
}

struct Single(Cell<u64, VectorMemory>);

impl Subject for Single {
    fn run(&mut self, operation: &str, entries: &[Entry]) -> Option<Outcome> {
        let cell = &mut self.0;
        match operation {
            "set" => clock(entries.iter().map(|e| cell.set(e.key))),
            "get" => clock(entries.iter().map(|_| *black_box(cell.get()))),
            _ => None,
        }
    }
}
