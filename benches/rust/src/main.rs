// SPDX-License-Identifier: Apache-2.0
//! The same work on the Rust crate: prints a JSON line per case with the time per operation and the digest of the memory.
//!
//! usage: crate_bench CASE SIZE        CASE is one of those in `main`; SIZE the number of operations.
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use ic_stable_structures::{BTreeMap, Cell, Log, Memory, MinHeap, Vec as StableVec, VectorMemory};
use sha2::{Digest, Sha256};
use std::time::Instant;

const SEED: u64 = 42;

/// Output i of the splitmix64 stream from the seed; the Python side makes the same keys.
fn keys(n: usize) -> Vec<u64> {
    let mut state = SEED;
    (0..n)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        })
        .collect()
}

fn digest(memory: &VectorMemory) -> String {
    let bytes = memory.borrow();
    Sha256::digest(&bytes[..]).iter().map(|b| format!("{b:02x}")).collect()
}

struct Report {
    size: usize,
}

impl Report {
    /// Runs and times one operation over everything; `done` guards the result against being optimised away.
    fn time<T>(&self, name: &str, count: usize, memory: &VectorMemory, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = std::hint::black_box(work());
        let ns = start.elapsed().as_nanos() as f64 / count.max(1) as f64;
        println!(
            "{{\"case\":\"{name}\",\"size\":{},\"count\":{count},\"ns\":{ns:.2},\"pages\":{},\"sha256\":\"{}\"}}",
            self.size,
            memory.size(),
            digest(memory)
        );
        done
    }
}

fn map_u64(report: &Report, keys: &[u64]) {
    let memory = VectorMemory::default();
    let mut map: BTreeMap<u64, u64, _> = BTreeMap::init(memory.clone());
    let n = keys.len();
    report.time("map_u64.insert", n, &memory, || {
        for (i, k) in keys.iter().enumerate() {
            map.insert(*k, i as u64);
        }
    });
    let sum = report.time("map_u64.get", n, &memory, || keys.iter().map(|k| map.get(k).unwrap()).fold(0u64, u64::wrapping_add));
    assert_eq!(sum, (0..n as u64).sum());
    let count = report.time("map_u64.iterate", n, &memory, || map.iter().map(|e| e.value()).fold(0u64, u64::wrapping_add));
    assert_eq!(count, sum);
    report.time("map_u64.remove", n, &memory, || {
        for k in keys {
            map.remove(k).unwrap();
        }
    });
}

fn map_bytes(report: &Report, keys: &[u64]) {
    let memory = VectorMemory::default();
    let manager = MemoryManager::init(memory.clone());
    let mut map: BTreeMap<Vec<u8>, Vec<u8>, _> = BTreeMap::init(manager.get(MemoryId::new(7)));
    let wide: Vec<(Vec<u8>, Vec<u8>)> = keys
        .iter()
        .map(|k| {
            let mut key = k.to_be_bytes().to_vec();
            key.resize(32, 7);
            (key, vec![*k as u8; 128])
        })
        .collect();
    let n = wide.len();
    report.time("map_bytes.insert", n, &memory, || {
        for (k, v) in &wide {
            map.insert(k.clone(), v.clone());
        }
    });
    let sum = report.time("map_bytes.get", n, &memory, || wide.iter().map(|(k, _)| map.get(k).unwrap().len()).sum::<usize>());
    assert_eq!(sum, 128 * n);
}

fn vec_u64(report: &Report, keys: &[u64]) {
    let memory = VectorMemory::default();
    let vec: StableVec<u64, _> = StableVec::new(memory.clone());
    let n = keys.len();
    report.time("vec_u64.push", n, &memory, || keys.iter().for_each(|k| vec.push(k)));
    report.time("vec_u64.get", n, &memory, || keys.iter().map(|k| vec.get(k % n as u64).unwrap()).fold(0, u64::wrapping_add));
    report.time("vec_u64.iterate", n, &memory, || vec.iter().fold(0, u64::wrapping_add));
}

fn heap_u64(report: &Report, keys: &[u64]) {
    let memory = VectorMemory::default();
    let mut heap: MinHeap<u64, _> = MinHeap::new(memory.clone());
    let n = keys.len();
    report.time("heap_u64.push", n, &memory, || keys.iter().for_each(|k| heap.push(k)));
    let mut last = 0;
    report.time("heap_u64.pop", n, &memory, || {
        while let Some(k) = heap.pop() {
            assert!(k >= last);
            last = k;
        }
    });
}

fn log_bytes(report: &Report, keys: &[u64]) {
    let (index, data) = (VectorMemory::default(), VectorMemory::default());
    let log: Log<Vec<u8>, _, _> = Log::new(index, data.clone());
    report.time("log_bytes.append", keys.len(), &data, || {
        for k in keys {
            log.append(&vec![*k as u8; 128]).unwrap();
        }
    });
}

fn cell_u64(report: &Report, keys: &[u64]) {
    let memory = VectorMemory::default();
    let mut cell: Cell<u64, _> = Cell::new(memory.clone(), 0);
    report.time("cell_u64.set", keys.len(), &memory, || {
        for k in keys {
            cell.set(*k);
        }
    });
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.len() != 3 {
        eprintln!("usage: crate_bench map_u64|map_bytes|vec_u64|heap_u64|log_bytes|cell_u64 SIZE");
        std::process::exit(2);
    }
    let size: usize = args[2].parse().expect("SIZE is a number");
    let (report, keys) = (Report { size }, keys(size));
    match args[1].as_str() {
        "map_u64" => map_u64(&report, &keys),
        "map_bytes" => map_bytes(&report, &keys),
        "vec_u64" => vec_u64(&report, &keys),
        "heap_u64" => heap_u64(&report, &keys),
        "log_bytes" => log_bytes(&report, &keys),
        "cell_u64" => cell_u64(&report, &keys),
        other => {
            eprintln!("no case {other}");
            std::process::exit(2);
        }
    }
}
