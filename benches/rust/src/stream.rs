// SPDX-License-Identifier: Apache-2.0
//! The entries that both sides work on: entry i has key i of a splitmix64 stream, and value i (benches/work.py has the same).

const KEY_SEED: u64 = 42;
const PICK_SEED: u64 = 43;
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Clone, Copy)]
pub struct Entry {
    pub index: u64,
    pub key: u64,
}

/// Output i of the splitmix64 stream from `seed`.
fn splitmix(seed: u64, i: u64) -> u64 {
    let mut z = seed.wrapping_add((i + 1).wrapping_mul(GAMMA));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn entry(index: u64) -> Entry {
    Entry { index, key: splitmix(KEY_SEED, index) }
}

/// Entries lo..hi in the order of the stream.
pub fn run(lo: u64, hi: u64) -> Vec<Entry> {
    (lo..hi).map(entry).collect()
}

/// Picks lo..hi at random out of the first n entries.
pub fn pick(lo: u64, hi: u64, n: u64) -> Vec<Entry> {
    (lo..hi).map(|i| entry(splitmix(PICK_SEED, i) % n)).collect()
}
