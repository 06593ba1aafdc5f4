//! Codes of symbols, by how often each occurs.

/// The most symbols that an alphabet has: literals, the end of a block, and lengths.
pub(super) const MAX_SYMBOLS: usize = 286;

/// A code of symbols, by how often each of them occurs.
pub(super) struct Huffman<const SYMBOLS: usize> {
    /// How often each symbol occurs.
    pub(super) counts: [u32; SYMBOLS],
    /// How long each symbol's code is, in bits; 0 if it has none.
    pub(super) lengths: [u8; SYMBOLS],
    /// Each symbol's code as it is written: first bit lowest.
    pub(super) codes: [u16; SYMBOLS],
}

impl<const SYMBOLS: usize> Huffman<SYMBOLS> {
    pub(super) const fn new() -> Self {
        Self {
            counts: [0; SYMBOLS],
            lengths: [0; SYMBOLS],
            codes: [0; SYMBOLS],
        }
    }

    /// The number of bits that all symbols take.
    pub(super) fn size(&self) -> usize {
        let bits = |(count, length): (&u32, &u8)| *count as usize * usize::from(*length);
        self.counts.iter().zip(&self.lengths).map(bits).sum()
    }

    /// How many symbols there are if those at the end that do not occur are left out.
    pub(super) fn used(&self) -> usize {
        let last = self.counts.iter().rposition(|count| *count > 0);
        last.map_or(0, |last| last + 1)
    }

    /// Makes the code whose longest codes have `longest` bits and that is the shortest of these.
    pub(super) fn build(&mut self, longest: usize, work: &mut Work) {
        self.lengths = [0; SYMBOLS];
        work.leaves.clear();
        for (symbol, count) in (0..).zip(&self.counts) {
            if *count > 0 {
                work.leaves.push(*count << SYMBOL_BITS | symbol);
            }
        }
        if work.leaves.len() <= 2 {
            for leaf in &work.leaves {
                if let Some(length) = self.lengths.get_mut((leaf & SYMBOL_MASK) as usize) {
                    *length = 1;
                }
            }
        } else {
            work.leaves.sort_unstable();
            if usize::from(work.join()) > longest {
                work.merge(longest);
            }
            for (leaf, length) in work.leaves.iter().zip(&work.lengths) {
                if let Some(it) = self.lengths.get_mut((leaf & SYMBOL_MASK) as usize) {
                    *it = *length;
                }
            }
        }
        self.assign();
    }

    /// Numbers the codes as RFC 1951, section 3.2.2, says.
    fn assign(&mut self) {
        let mut next = [0_u16; 17];
        for length in &self.lengths {
            if let (1.., Some(after)) = (*length, next.get_mut(usize::from(*length) + 1)) {
                *after += 1;
            }
        }
        let mut code = 0;
        for first in &mut next {
            code = (code + *first) << 1;
            *first = code;
        }
        for (length, code) in self.lengths.iter().zip(&mut self.codes) {
            if let (1.., Some(next)) = (*length, next.get_mut(usize::from(*length))) {
                *code = next.reverse_bits() >> (16 - length);
                *next += 1;
            }
        }
    }
}

const SYMBOL_BITS: u32 = 9;
const SYMBOL_MASK: u32 = (1 << SYMBOL_BITS) - 1;
const MAX_LEVELS: usize = 15;

/// Room to work in.
pub(super) struct Work {
    /// Count and symbol of those that occur.
    leaves: Vec<u32>,
    /// How long the code of each leaf is.
    lengths: Vec<u8>,
    /// The weights of the nodes above others.
    weights: Vec<u32>,
    /// Which node is above each leaf.
    leaf_parents: Vec<u16>,
    /// Which node is above each node.
    node_parents: Vec<u16>,
    /// How many nodes are above each node.
    depths: Vec<u8>,
    /// The weights of the level below.
    below: Vec<u32>,
    /// The weights of the level.
    level: Vec<u32>,
    /// For each level: how many leaves are among its first items, for each number of those.
    among: [Vec<usize>; MAX_LEVELS],
}

impl Work {
    pub(super) fn new() -> Self {
        Self {
            leaves: Vec::with_capacity(MAX_SYMBOLS),
            lengths: Vec::with_capacity(MAX_SYMBOLS),
            weights: Vec::with_capacity(MAX_SYMBOLS),
            leaf_parents: Vec::with_capacity(MAX_SYMBOLS),
            node_parents: Vec::with_capacity(MAX_SYMBOLS),
            depths: Vec::with_capacity(MAX_SYMBOLS),
            below: Vec::with_capacity(2 * MAX_SYMBOLS),
            level: Vec::with_capacity(2 * MAX_SYMBOLS),
            among: [const { Vec::new() }; MAX_LEVELS],
        }
    }

    /// Finds how long the code of each leaf is if it may be of any length: always the two lightest,
    /// leaves or nodes, get a node above them. Returns the greatest length.
    ///
    /// Of two that weigh the same, the node comes first. So this is what [`merge`](Self::merge)
    /// finds too, if it allows of that length: leaves and nodes come here in the order in which they
    /// stand there, with their pairs, on any level that is high enough.
    fn join(&mut self) -> u8 {
        self.weights.clear();
        self.leaf_parents.clear();
        self.node_parents.clear();
        for parent in (0..).take(self.leaves.len() - 1) {
            let mut weight = 0;
            for _ in 0..2 {
                let leaf = self.leaves.get(self.leaf_parents.len());
                let leaf = leaf.map_or(u32::MAX, |it| it >> SYMBOL_BITS);
                let node = self.weights.get(self.node_parents.len());
                let node = node.copied().unwrap_or(u32::MAX);
                if leaf < node {
                    self.leaf_parents.push(parent);
                } else {
                    self.node_parents.push(parent);
                }
                weight += leaf.min(node);
            }
            self.weights.push(weight);
        }
        self.depths.clear();
        self.depths.resize(self.weights.len(), 0);
        let below =
            |depths: &[u8], parent: u16| depths.get(usize::from(parent)).map_or(0, |it| it + 1);
        for (node, parent) in self.node_parents.iter().enumerate().rev() {
            let depth = below(&self.depths, *parent);
            if let Some(it) = self.depths.get_mut(node) {
                *it = depth;
            }
        }
        self.lengths.clear();
        let parents = self.leaf_parents.iter();
        self.lengths
            .extend(parents.map(|it| below(&self.depths, *it)));
        self.lengths.first().copied().unwrap_or_default()
    }

    /// Finds how long the code of each leaf is, by package-merge: a level holds all leaves and, of
    /// the level below it, the items in pairs, lightest first. Of the highest level the first
    /// 2n - 2 items are taken, and with each pair its two items. A leaf's code is as long as there
    /// are levels on which it is taken.
    ///
    /// Of two that weigh the same, the pair comes first: this makes one code out of many that are
    /// equally short, and has to be as Go has it.
    fn merge(&mut self, longest: usize) {
        let leaves = self.leaves.len();
        let needed = 2 * leaves - 2;
        let levels = longest.min(leaves - 1).min(MAX_LEVELS);
        self.below.clear();
        for among in self.among.iter_mut().take(levels) {
            let count = needed.min(leaves + self.below.len() / 2);
            self.level.resize(count, 0);
            among.resize(count + 1, 0);
            let (mut leaf, mut pair) = (0, 0);
            for (item, among) in self.level.iter_mut().zip(among.iter_mut().skip(1)) {
                let leaf_weight = match self.leaves.get(leaf) {
                    Some(leaf) => leaf >> SYMBOL_BITS,
                    None => u32::MAX,
                };
                let pair_weight = match self.below.get(2 * pair..2 * pair + 2) {
                    Some([one, other]) => one + other,
                    _ => u32::MAX,
                };
                let is_leaf = leaf_weight < pair_weight;
                *item = leaf_weight.min(pair_weight);
                leaf += usize::from(is_leaf);
                pair += usize::from(!is_leaf);
                *among = leaf;
            }
            std::mem::swap(&mut self.level, &mut self.below);
        }
        let mut taken_leaves = [0; MAX_LEVELS];
        let mut taken = needed;
        for (among, leaves) in self.among.iter().take(levels).zip(&mut taken_leaves).rev() {
            *leaves = among.get(taken).copied().unwrap_or_default();
            taken = 2 * (taken - *leaves);
        }
        self.lengths.clear();
        self.lengths.extend((0..leaves).map(|leaf| {
            let levels = taken_leaves.iter().filter(|taken| leaf < **taken);
            u8::try_from(levels.count()).unwrap_or_default()
        }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// If no code is too long, the fast way finds what the general one does.
        #[test]
        fn both_ways_find_the_same_lengths(
            counts in proptest::collection::vec((0_u32..20).prop_flat_map(|bits| 1..=1_u32 << bits), 3..MAX_SYMBOLS),
        ) {
            let mut work = Work::new();
            work.leaves = counts.iter().map(|count| count << SYMBOL_BITS).collect();
            work.leaves.sort_unstable();
            let longest = work.join();
            let lengths = work.lengths.clone();
            if usize::from(longest) <= MAX_LEVELS {
                work.merge(usize::from(longest));
                prop_assert_eq!(&work.lengths, &lengths);
            }
            work.merge(MAX_LEVELS);
            prop_assert_eq!(usize::from(longest) <= MAX_LEVELS, work.lengths == lengths);
        }
    }
}
