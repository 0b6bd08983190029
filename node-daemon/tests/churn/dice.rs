//! Chance that comes again with the same seed.

use std::time::Duration;

/// `SplitMix64`: a seed gives the same row on every machine.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// One for each purpose, so that the order in which tasks run is without effect on what each does.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut dice = Self(seed ^ purpose.wrapping_mul(0xA076_1D64_78BD_642F));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let index = self.below(all.len() as u64);
        all[usize::try_from(index).unwrap()]
    }

    pub async fn pause(&mut self, at_most_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.below(at_most_ms + 1))).await;
    }

    /// A container's id.
    pub fn id(&mut self) -> String {
        let words = [self.next(), self.next(), self.next(), self.next()];
        words.map(|word| format!("{word:016x}")).concat()
    }
}
