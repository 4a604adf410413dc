// SPDX-License-Identifier: Apache-2.0
//! The same work on the Rust crate, one operation at a time, so that its turns can lie between those of the others.
//!
//! usage: crate_bench CASE CLOCK      CASE is one of those in `subjects::open`; CLOCK is `wall`, or `cpu` for the time in
//!                                    which the program runs and no other.
//!
//! Orders come as lines on the standard input, each is answered by a line:
//!
//! | order              | answer                                                                        |
//! |--------------------|-------------------------------------------------------------------------------|
//! | fresh              | `ok`: the structure is on new memories                                        |
//! | load PATH          | `ok`: the structure is on the memory image in this file                       |
//! | digest             | SHA-256 of the memories one after the other, and their pages                  |
//! | OP run LO HI       | nanoseconds, and the sum of the results, of OP on entries LO..HI              |
//! | OP pick LO HI N    | the same on picks LO..HI out of the first N entries                           |
//!
//! An order that is not understood ends the program with exit code 2.
mod stream;
mod subjects;

use ic_stable_structures::{Memory, VectorMemory};
use sha2::{Digest, Sha256};
use std::io::{BufRead, Write};
use subjects::Subject;

struct Bench {
    case: String,
    memories: [VectorMemory; 2],
    subject: Box<dyn Subject>,
}

impl Bench {
    fn open(case: &str, image: Vec<u8>) -> Option<Bench> {
        let memories = [VectorMemory::default(), VectorMemory::default()];
        *memories[0].borrow_mut() = image;
        let subject = subjects::open(case, &memories)?;
        Some(Bench { case: case.to_string(), memories, subject })
    }

    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        self.memories.iter().for_each(|memory| hash.update(&memory.borrow()[..]));
        let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        format!("{hex} {}", self.memories.iter().map(|memory| memory.size()).sum::<u64>())
    }

    fn obey(&mut self, order: &str) -> Option<String> {
        let words: Vec<&str> = order.split_whitespace().collect();
        let number = |i: usize| words.get(i)?.parse::<u64>().ok();
        let entries = match words[..] {
            ["fresh"] => return self.restart(Vec::new()),
            ["load", path] => return self.restart(std::fs::read(path).ok()?),
            ["digest"] => return Some(self.digest()),
            [_, "run", ..] => stream::run(number(2)?, number(3)?),
            [_, "pick", ..] => stream::pick(number(2)?, number(3)?, number(4)?),
            _ => return None,
        };
        let outcome = self.subject.run(words[0], &entries)?;
        Some(format!("{} {}", outcome.ns, outcome.sum))
    }

    fn restart(&mut self, image: Vec<u8>) -> Option<String> {
        *self = Bench::open(&self.case, image)?;
        Some("ok".to_string())
    }
}

fn main() {
    let case = std::env::args().nth(1).unwrap_or_default();
    let clock = std::env::args().nth(2).unwrap_or_default();
    let _ = subjects::CPU_CLOCK.set(clock == "cpu");
    let mut bench = Bench::open(&case, Vec::new()).unwrap_or_else(|| refuse(&case));
    for order in std::io::stdin().lock().lines() {
        let order = order.expect("orders are text");
        let answer = bench.obey(&order).unwrap_or_else(|| refuse(&order));
        println!("{answer}");
        std::io::stdout().flush().expect("somebody reads the answers");
    }
}

fn refuse(what: &str) -> ! {
    eprintln!("crate_bench: not understood: {what:?}");
    std::process::exit(2)
}
