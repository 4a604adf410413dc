// SPDX-License-Identifier: Apache-2.0
//! Reads a `CertifiedMap[str, str]` with the Rust crate: `certified-reader IMAGE [KEY]`.
//!
//! IMAGE is a memory with a memory manager; memory 0 is the map, memory 1 its hashes (docs/format.md#certified-map). The program computes
//! the root hash from the entries, compares it with the one that is stored, and prints it. With KEY it goes down the records to the bucket
//! of that key and up again, as a canister would for a witness, and prints the value.
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{BTreeMap, VectorMemory};
use sha2::{Digest, Sha256};
use std::{cell::RefCell, env, fs, process, rc::Rc};

type Memory = VirtualMemory<VectorMemory>;
type Hash = [u8; 32];
type Hashes = BTreeMap<Vec<u8>, [u8; 88], Memory>;
type Entries = BTreeMap<String, String, Memory>;

/// What is known of a subtree: 44 bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Edge {
    count: u64,
    position: u32,
    hash: Hash,
}

fn edge(bytes: &[u8]) -> Edge {
    Edge {
        count: u64::from_be_bytes(bytes[..8].try_into().unwrap()),
        position: u32::from_be_bytes(bytes[8..12].try_into().unwrap()),
        hash: bytes[12..44].try_into().unwrap(),
    }
}

fn hashed(separator: &str, parts: &[&[u8]]) -> Hash {
    let mut sha = Sha256::new();
    sha.update([separator.len() as u8]);
    sha.update(separator);
    parts.iter().for_each(|part| sha.update(part));
    sha.finalize().into()
}

fn entry_hash(key: &[u8], value: &[u8]) -> Hash {
    hashed("ic-hashtree-labeled", &[key, &hashed("ic-hashtree-leaf", &[value])])
}

/// Bit `position` of a key: for each byte a 1 and its eight bits, at the end a 0.
fn bit(key: &[u8], position: usize) -> bool {
    match (key.get(position / 9), position % 9) {
        (None, _) => false,
        (Some(_), 0) => true,
        (Some(byte), n) => byte >> (8 - n) & 1 == 1,
    }
}

/// The hash of entries in order: they fork at the first position where the first and the last key differ.
fn subtree_hash(entries: &[(Vec<u8>, Hash)]) -> Hash {
    match entries {
        [] => hashed("ic-hashtree-empty", &[]),
        [(_, hash)] => *hash,
        [(first, _), .., (last, _)] => {
            let position = (0..).find(|&n| bit(first, n) != bit(last, n)).unwrap();
            let middle = entries.partition_point(|(key, _)| !bit(key, position));
            hashed("ic-hashtree-fork", &[&subtree_hash(&entries[..middle]), &subtree_hash(&entries[middle..])])
        }
    }
}

/// The key of the record of the subtree that forks at `position` and has `key` in it.
fn record_key(key: &[u8], position: u32) -> Vec<u8> {
    let (whole, bits) = (position as usize / 9, position as usize % 9);
    let mut prefix = key[..whole.min(key.len())].to_vec();
    if bits > 0 && whole < key.len() {
        prefix.push(key[whole] & (0xff00u16 >> (bits - 1)) as u8);
    }
    prefix.extend(position.to_be_bytes());
    prefix
}

/// Goes down to the bucket of a key, and checks each hash on the way.
fn prove(entries: &Entries, hashes: &Hashes, key: &String, root: Edge) {
    let (mut edge_here, mut bits) = (root, 0);
    while edge_here.count > 8 {
        let record = hashes.get(&record_key(key.as_bytes(), edge_here.position)).expect("no record: the key is not in the map");
        let sides = [edge(&record[..44]), edge(&record[44..])];
        assert_eq!(edge_here.hash, hashed("ic-hashtree-fork", &[&sides[0].hash, &sides[1].hash]), "a record has another hash");
        bits = edge_here.position as usize + 1;
        edge_here = sides[bit(key.as_bytes(), bits - 1) as usize];
    }
    let same = |other: &[u8]| (0..bits).all(|n| bit(other, n) == bit(key.as_bytes(), n));
    let bucket: Vec<_> = entries.iter().map(|entry| entry.into_pair()).filter(|(other, _)| same(other.as_bytes())).collect();
    let leaves: Vec<_> = bucket.iter().map(|(k, v)| (k.as_bytes().to_vec(), entry_hash(k.as_bytes(), v.as_bytes()))).collect();
    assert_eq!((subtree_hash(&leaves), leaves.len() as u64), (edge_here.hash, edge_here.count), "a bucket has another hash");
    println!("{}", bucket.iter().find(|(other, _)| other == key).expect("the key is not in the map").1);
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let image = fs::read(arguments.get(1).unwrap_or_else(|| process::exit(2))).expect("the image cannot be read");
    let manager = MemoryManager::init(Rc::new(RefCell::new(image)));
    let entries = Entries::init(manager.get(MemoryId::new(0)));
    let hashes = Hashes::init(manager.get(MemoryId::new(1)));
    let root = edge(&hashes.get(&vec![]).expect("there are no hashes"));
    let leaves: Vec<_> = entries
        .iter()
        .map(|entry| entry.into_pair())
        .map(|(key, value)| (key.as_bytes().to_vec(), entry_hash(key.as_bytes(), value.as_bytes())))
        .collect();
    assert_eq!((root.hash, root.count), (subtree_hash(&leaves), leaves.len() as u64), "the hashes are not those of the entries");
    println!("{}", root.hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    if let Some(key) = arguments.get(2) {
        prove(&entries, &hashes, key, root);
    }
}
