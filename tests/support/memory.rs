//! What is in this process's memory.

use std::{
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

/// A secret that the test itself knows in a mask only, or it would find its own copy.
#[derive(Clone)]
pub(crate) struct Planted {
    masked: Vec<u8>,
    /// What is looked for. The allocator writes where a text began that is freed, and so may whoever gets the memory next.
    needles: Vec<Vec<u8>>,
}

impl Planted {
    pub(crate) fn new() -> Self {
        Self::from_bytes(Zeroizing::new(
            (0..LENGTH)
                .map(|_| fastrand::alphanumeric() as u8)
                .collect(),
        ))
    }

    /// As another process has [masked](Self::masked) it.
    pub(crate) fn from_masked(text: &str) -> Self {
        Self::from_bytes(Zeroizing::new(text.bytes().rev().collect()))
    }

    /// What is in that file.
    pub(crate) fn in_file(path: &Path) -> Self {
        let text = Zeroizing::new(fs::read(path).unwrap());
        // The end of a line of PEM and the beginning of the next, which is in no other form of it. Lines have 64 characters.
        let begin = match text.starts_with(b"-----BEGIN") {
            true => text.iter().position(|byte| *byte == b'\n').unwrap() + 1 + 64 - NEEDLE / 2,
            false => text.len() / 2,
        };
        Self {
            masked: Vec::new(),
            needles: vec![mask(&text[begin..begin + NEEDLE])],
        }
    }

    fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Self {
        // From where base64 begins anew: every third byte.
        let middle = &bytes[MIDDLE];
        let base64 = Zeroizing::new(BASE64_STANDARD.encode(middle));
        Self {
            masked: mask(&bytes),
            needles: vec![mask(middle), mask(base64.as_bytes())],
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.masked.len());
        text.extend(self.masked.iter().map(|byte| char::from(byte ^ MASK)));
        text
    }

    /// In a form that does not count, for another process.
    pub(crate) fn masked(&self) -> String {
        self.text().chars().rev().collect()
    }

    /// How often it is in memory.
    pub(crate) fn copies(&self) -> usize {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0; 1 << 20];
        let begin = buffer.as_ptr() as u64;
        let own = begin..begin + buffer.len() as u64;
        let overlap = self.needles.iter().map(Vec::len).max().unwrap() - 1;
        let mut copies = 0;
        for part in writable().flat_map(|range| without(range, &own)) {
            let mut at = part.start;
            while at < part.end {
                let length = (part.end - at).min(buffer.len() as u64) as usize;
                let piece = &mut buffer[..length];
                // It may have been unmapped meanwhile.
                if memory.read_exact_at(piece, at).is_ok() {
                    copies += self
                        .needles
                        .iter()
                        .map(|needle| count(piece, needle))
                        .sum::<usize>();
                }
                piece.fill(0);
                if at + length as u64 == part.end {
                    break;
                }
                at += (length - overlap) as u64;
            }
        }
        copies
    }
}

fn mask(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ MASK).collect()
}

fn count(bytes: &[u8], masked: &[u8]) -> usize {
    let pages = bytes.chunks(PAGE).enumerate();
    // Most of a stack was never written to.
    let pages = pages.filter(|(_, page)| *page != &ZEROS[..page.len()]);
    pages
        .map(|(number, page)| {
            let start = number * PAGE;
            // What begins in a page may end in the next.
            let end = bytes.len().min(start + page.len() + masked.len() - 1);
            count_in_page(&bytes[start..end], masked)
        })
        .sum()
}

fn count_in_page(mut bytes: &[u8], masked: &[u8]) -> usize {
    let first = masked[0] ^ MASK;
    let mut count = 0;
    while let Some(at) = bytes.iter().position(|byte| *byte == first) {
        bytes = &bytes[at..];
        if bytes.len() < masked.len() {
            break;
        }
        let same = bytes
            .iter()
            .zip(masked)
            .all(|(byte, masked)| byte ^ MASK == *masked);
        count += usize::from(same);
        bytes = &bytes[1..];
    }
    count
}

/// What this process may write to: its heap, its stacks, and what else is mapped for it.
fn writable() -> impl Iterator<Item = Range<u64>> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let ranges: Vec<_> = maps
        .lines()
        .filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            rest.starts_with("rw").then(|| number(start)..number(end))
        })
        .collect();
    ranges.into_iter()
}

/// Without the memory that the others are read into.
fn without(range: Range<u64>, own: &Range<u64>) -> [Range<u64>; 2] {
    let cut = |at: u64| at.clamp(range.start, range.end);
    [range.start..cut(own.start), cut(own.end)..range.end]
}

/// Runs a test, and none of the others meanwhile: what one reads the others would find.
pub(crate) fn alone(test: impl Future<Output = ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test);
}

const PAGE: usize = 4096;
const ZEROS: [u8; PAGE] = [0; PAGE];

const LENGTH: usize = 256;
const MIDDLE: Range<usize> = 99..99 + NEEDLE;
const NEEDLE: usize = 36;
/// No text has such bytes.
const MASK: u8 = 0x80;
