//! A bounded set of CPU ids: parsing, printing and set arithmetic. Decides nothing about what a set is for.
//!
//! The bound is checked before memory is taken: a range costs the same whatever its ends are.

use std::fmt;
use std::str::FromStr;

/// Bits of a word.
const WORD: u32 = 64;

/// Longest text that is read at all, bytes. Every second CPU of 4096 takes 10 KB; the API allows 4 KB.
const MAX_TEXT: usize = 16 * 1024;

/// A set of CPU ids 0 to [`CpuSet::MAX`].
///
/// Equal sets are equal values: the words end with one that isn't zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuSet {
    words: Vec<u64>,
}

/// Why a text is not a CPU set. Items are shown shortened.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
pub enum CpuSetError {
    /// Longer than any set needs.
    #[error("the CPU list has {0} bytes, more than {MAX_TEXT}")]
    TooLong(usize),
    /// Nothing between two commas, or at an end.
    #[error("item {0} of the CPU list is empty")]
    EmptyItem(usize),
    /// Neither a number nor a range of two numbers: signs, blanks and strides included.
    #[error("`{0}` is neither a CPU number nor a range such as 2-5")]
    NotANumber(String),
    /// Larger than [`CpuSet::MAX`].
    #[error("CPU {0} is beyond 4095, the largest id that is supported")]
    TooLarge(String),
    /// A range that ends before it begins.
    #[error("the range {0}-{1} ends before it begins")]
    Reversed(u32, u32),
    /// Not a hexadecimal mask.
    #[error("`{0}` is not a hexadecimal CPU mask")]
    NotAMask(String),
}

impl CpuSet {
    /// The largest id: the usual CONFIG_NR_CPUS of shipped kernels is 4096 (8192 is the most on x86).
    pub const MAX: u32 = 4095;

    /// All ids from `first` to `last`, both included; ids beyond [`CpuSet::MAX`] are left out.
    pub fn range(first: u32, last: u32) -> Self {
        let mut set = Self::default();
        set.insert_range(first, last.min(Self::MAX));
        set
    }

    /// The set of a hexadecimal mask, with or without commas between the words, as in `smp_affinity`.
    pub fn from_hex_mask(text: &str) -> Result<Self, CpuSetError> {
        let refused = || CpuSetError::NotAMask(shown(text));
        if text.len() > MAX_TEXT {
            return Err(CpuSetError::TooLong(text.len()));
        }
        let digits: Vec<u32> = text
            .chars()
            .filter(|character| *character != ',')
            .map(|character| character.to_digit(16).ok_or_else(refused))
            .collect::<Result<_, _>>()?;
        if digits.is_empty() {
            return Err(refused());
        }
        let mut set = Self::default();
        for (position, digit) in digits.iter().rev().enumerate() {
            for bit in 0..4 {
                if digit & (1 << bit) == 0 {
                    continue;
                }
                let id = u32::try_from(position * 4 + bit).unwrap_or(u32::MAX);
                if id > Self::MAX {
                    return Err(CpuSetError::TooLarge(id.to_string()));
                }
                set.insert_range(id, id);
            }
        }
        Ok(set)
    }

    /// The ids in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..WORD * u32::try_from(self.words.len()).unwrap_or(0)).filter(|id| self.contains(*id))
    }

    /// How many ids.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether the id is in the set.
    pub fn contains(&self, id: u32) -> bool {
        self.words
            .get((id / WORD) as usize)
            .is_some_and(|word| word >> (id % WORD) & 1 == 1)
    }

    /// The smallest id.
    pub fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// The largest id.
    pub fn last(&self) -> Option<u32> {
        let word = self.words.last()?;
        let below = u32::try_from(self.words.len() - 1).ok()? * WORD;
        Some(below + (WORD - 1 - word.leading_zeros()))
    }

    /// Ids in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine | theirs)
    }

    /// Ids in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine & theirs)
    }

    /// Ids in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine & !theirs)
    }

    /// Whether no id is in both sets.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.words
            .iter()
            .zip(&other.words)
            .all(|(mine, theirs)| mine & theirs == 0)
    }

    /// Whether every id of this set is in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).is_empty()
    }

    /// Lower-case hexadecimal in words of 8 digits, most significant first, without commas: `00000003`.
    pub fn to_hex_mask(&self) -> String {
        self.hex_words().concat()
    }

    /// As [`CpuSet::to_hex_mask`] with commas between the words: the kernel's form in `smp_affinity`.
    pub fn to_hex_mask_words(&self) -> String {
        self.hex_words().join(",")
    }

    fn hex_words(&self) -> Vec<String> {
        let mut words: Vec<String> = self
            .words
            .iter()
            .rev()
            .flat_map(|word| [word >> 32, word & 0xffff_ffff])
            .skip_while(|half| *half == 0)
            .map(|half| format!("{half:08x}"))
            .collect();
        if words.is_empty() {
            words.push("00000000".to_owned());
        }
        words
    }

    fn combine(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        let length = self.words.len().max(other.words.len());
        let word = |set: &Self, index: usize| set.words.get(index).copied().unwrap_or(0);
        let mut set = Self {
            words: (0..length)
                .map(|index| with(word(self, index), word(other, index)))
                .collect(),
        };
        set.trim();
        set
    }

    /// The caller has checked that `last` is at most `MAX`; a reversed range adds nothing.
    fn insert_range(&mut self, first: u32, last: u32) {
        if first > last {
            return;
        }
        let needed = (last / WORD + 1) as usize;
        if self.words.len() < needed {
            self.words.resize(needed, 0);
        }
        for (index, word) in self.words.iter_mut().enumerate().take(needed) {
            let low = u32::try_from(index)
                .unwrap_or(u32::MAX)
                .saturating_mul(WORD);
            let high = low.saturating_add(WORD - 1);
            if high < first {
                continue;
            }
            let from = first.max(low) - low;
            let to = last.min(high) - low;
            *word |= (u64::MAX >> (WORD - 1 - (to - from))) << from;
        }
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }
}

/// The kernel's list form without strides; empty text is the empty set. Repeated ids are fine, as for the kernel.
impl FromStr for CpuSet {
    type Err = CpuSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEXT {
            return Err(CpuSetError::TooLong(text.len()));
        }
        let mut set = Self::default();
        if text.is_empty() {
            return Ok(set);
        }
        for (index, item) in text.split(',').enumerate() {
            if item.is_empty() {
                return Err(CpuSetError::EmptyItem(index + 1));
            }
            let (first, last) = match item.split_once('-') {
                Some((first, last)) => (id(first, item)?, id(last, item)?),
                None => (id(item, item)?, id(item, item)?),
            };
            if first > last {
                return Err(CpuSetError::Reversed(first, last));
            }
            set.insert_range(first, last);
        }
        Ok(set)
    }
}

/// One id: decimal digits only, so that `+1`, ` 1` and `1:2` are refused rather than read generously.
fn id(text: &str, item: &str) -> Result<u32, CpuSetError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CpuSetError::NotANumber(shown(item)));
    }
    match text.parse::<u32>() {
        Ok(id) if id <= CpuSet::MAX => Ok(id),
        _ => Err(CpuSetError::TooLarge(shown(text))),
    }
}

/// At most 40 characters: enough to recognise an item.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The kernel's list form, `0-3,8`: the shortest one, ranges from two ids on.
impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ids = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = ids.next() {
            let mut last = first;
            while let Some(next) = ids.next_if(|next| *next == last + 1) {
                last = next;
            }
            f.write_str(separator)?;
            separator = ",";
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// Ids beyond [`CpuSet::MAX`] are left out: text is checked by `FromStr`, where they are an error.
impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut set = Self::default();
        for id in ids.into_iter().filter(|id| *id <= Self::MAX) {
            set.insert_range(id, id);
        }
        set
    }
}

#[cfg(test)]
#[path = "cpu_set/tests.rs"]
mod tests;
