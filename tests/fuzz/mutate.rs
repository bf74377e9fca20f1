//! Mutations of a corpus, in an order that only the seed decides.

/// What numbers tend to go wrong at.
const EDGES: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0xffff_ffff, i64::MAX.cast_unsigned(), u64::MAX - 1, u64::MAX];

/// Gives input after input.
pub struct Mutator<'a> {
    state: u64,
    corpus: &'a [Vec<u8>],
    longest: usize,
}

impl<'a> Mutator<'a> {
    pub fn new(seed: u64, corpus: &'a [Vec<u8>], longest: usize) -> Self {
        Self { state: seed, corpus, longest }
    }

    /// One of the corpus, changed in one to eight places.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.pick().to_vec();
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(self.longest);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let span = (1 + self.below(16)).min(input.len() - at);
        match self.below(7) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                let bytes: Vec<u8> = (0..=self.below(8)).map(|_| self.byte()).collect();
                input.splice(at..at, bytes);
            }
            2 => drop(input.drain(at..at + span)),
            3 => {
                let edge = EDGES[self.below(EDGES.len())].to_le_bytes();
                let width = (1 << self.below(4)).min(input.len() - at);
                input[at..at + width].copy_from_slice(&edge[..width]);
            }
            4 => {
                let copy = input[at..at + span].to_vec();
                let place = self.below(input.len() + 1);
                input.splice(place..place, copy);
            }
            5 => input.truncate(at),
            _ => {
                let other = self.pick();
                let from = self.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
        }
    }

    fn pick(&mut self) -> &'a [u8] {
        &self.corpus[self.below(self.corpus.len())]
    }

    fn byte(&mut self) -> u8 {
        let [byte, ..] = self.next_word().to_le_bytes();
        byte
    }

    /// `end` is small and not 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("usize is at most 64 bits wide");
        usize::try_from(self.next_word() % end).expect("below a usize")
    }

    /// SplitMix64.
    fn next_word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
