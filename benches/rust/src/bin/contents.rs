// SPDX-License-Identifier: Apache-2.0
//! What the crate reads out of a memory image.
//!
//! usage: contents IMAGE [DATA]      DATA is the second memory of a bare log.
//!
//! Each line on the standard input names a structure, `ID STRUCTURE<TYPES>` as the headers of the golden traces do (ID `-`
//! for a bare one; the data of a log are in the memory behind its index). The answer is a line `ID COUNT SHA256`, the
//! digest being over the lines `KEY VALUE` of all entries, in hexadecimal. Every key of a map is looked up too, and in the
//! end the map is emptied. What the crate does not like ends the program with its panic, a line not understood with 2.
use ic_principal::Principal;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use ic_stable_structures::storable::Blob;
use ic_stable_structures::{BTreeMap, BTreeSet, Cell, Log, Memory, MinHeap, Storable, Vec as StableVec, VectorMemory};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::io::BufRead;
use std::rc::Rc;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bytes<T: Storable>(value: &T) -> Vec<u8> {
    value.to_bytes().into_owned()
}

fn told(rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> String {
    let mut hash = Sha256::new();
    let count = rows.map(|(key, value)| hash.update(format!("{} {}\n", hex(&key), hex(&value)))).count();
    format!("{count} {}", hex(&hash.finalize()))
}

fn elements<T: Storable>(values: impl Iterator<Item = T>) -> String {
    told(values.map(|value| (Vec::new(), bytes(&value))))
}

fn map<K: Storable + Ord + Clone, V: Storable, M: Memory>(memory: M) -> String {
    let mut found = BTreeMap::<K, V, M>::load(memory);
    let answer = told(found.iter().map(|entry| (bytes(entry.key()), bytes(&entry.value()))));
    for entry in found.iter() {
        let value = found.get(entry.key()).expect("every key that is there is found");
        assert_eq!(bytes(&value), bytes(&entry.value()), "a key leads to its value");
    }
    let length = found.len();
    assert_eq!((0..length).filter(|_| found.pop_first().is_some()).count() as u64, length);
    assert!(found.is_empty() && found.pop_first().is_none());
    answer
}

fn set<K: Storable + Ord + Clone, M: Memory>(memory: M) -> String {
    told(BTreeSet::<K, M>::load(memory).iter().map(|key| (bytes(&key), Vec::new())))
}

fn vec<T: Storable, M: Memory>(memory: M) -> String {
    elements(StableVec::<T, M>::init(memory).iter())
}

fn heap<T: Storable + PartialOrd, M: Memory>(memory: M) -> String {
    elements(MinHeap::<T, M>::init(memory).into_sorted())
}

/// The crate's own iterator goes through the elements as they lie, which is nobody's business: least first.
trait Sorted<T> {
    fn into_sorted(self) -> impl Iterator<Item = T>;
}

impl<T: Storable + PartialOrd, M: Memory> Sorted<T> for MinHeap<T, M> {
    fn into_sorted(mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(move || self.pop())
    }
}

macro_rules! by_type {
    ($text:expr, $call:ident, $memory:expr, $($name:literal => ($($t:ty),+)),+ $(,)?) => {
        match $text { $($name => Some($call::<$($t),+, _>($memory)),)+ _ => None }
    };
}

fn read<M: Memory>(structure: &str, types: &str, memory: M, data: Option<M>) -> Option<String> {
    match structure {
        "btreemap" => by_type!(types, map, memory,
            "array<20>,option<blob<4>>" => ([u8; 20], Option<Blob<4>>), "blob<29>,blob<60>" => (Blob<29>, Blob<60>),
            "vec<u8>,vec<u8>" => (Vec<u8>, Vec<u8>), "option<blob<6>>,u64" => (Option<Blob<6>>, u64),
            "principal,f64" => (Principal, f64), "string,u128" => (String, u128), "string,string" => (String, String),
            "tuple<blob<8>,u16>,u8" => ((Blob<8>, u16), u8), "tuple<u32,u16>,bool" => ((u32, u16), bool),
            "tuple<u8,string,u16>,vec<u8>" => ((u8, String, u16), Vec<u8>), "u32,unit" => (u32, ()), "u64,u64" => (u64, u64),
            "u64,string" => (u64, String), "blob<10>,blob<30>" => (Blob<10>, Blob<30>), "u64,blob<100>" => (u64, Blob<100>)),
        "btreeset" => by_type!(types, set, memory, "string" => (String), "u64" => (u64)),
        "vec" => by_type!(types, vec, memory, "blob<300>" => (Blob<300>), "blob<40>" => (Blob<40>), "bool" => (bool),
            "tuple<u64,blob<5>>" => ((u64, Blob<5>)), "u64" => (u64)),
        "minheap" => by_type!(types, heap, memory, "reverse<u32>" => (Reverse<u32>),
            "tuple<u16,blob<12>>" => ((u16, Blob<12>)), "u64" => (u64)),
        "cell" if types == "vec<u8>" => Some(elements(std::iter::once(Cell::init(memory, b"none".to_vec()).get().clone()))),
        "log" | "log index" if types == "vec<u8>" => Some(elements(Log::<Vec<u8>, M, M>::init(memory, data?).iter())),
        _ => None,
    }
}

fn answer(line: &str, files: &[VectorMemory]) -> Option<String> {
    let (id, described) = line.split_once(' ')?;
    let (structure, types) = described.strip_suffix('>')?.split_once('<')?;
    let told = if id == "-" {
        read(structure, types, files[0].clone(), files.get(1).cloned())
    } else {
        let (manager, number) = (MemoryManager::init(files[0].clone()), id.parse::<u8>().ok()?);
        let following = MemoryId::new(if number < 254 { number + 1 } else { 0 });
        read(structure, types, manager.get(MemoryId::new(number)), Some(manager.get(following)))
    };
    told.map(|told| format!("{id} {told}"))
}

fn main() {
    let file = |path: String| Rc::new(RefCell::new(std::fs::read(path).expect("the image can be read")));
    let files: Vec<VectorMemory> = std::env::args().skip(1).map(file).collect();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("lines are text");
        let told = answer(&line, &files).unwrap_or_else(|| {
            eprintln!("contents: not understood: {line:?}");
            std::process::exit(2)
        });
        println!("{told}");
    }
}
