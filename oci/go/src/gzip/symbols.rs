//! RFC 1951, section 3.2.5: the symbols of lengths and distances.

/// How many symbols distances have.
pub(super) const DISTANCES: usize = 30;
/// The first symbol of a length.
pub(super) const FIRST_LENGTH: usize = 257;

/// The symbol of a match's length less 3, counted from the first one; how many extra bits it has;
/// and these.
pub(super) fn length_symbol(length: u8) -> (usize, u32, u32) {
    let length = u32::from(length);
    match length {
        0..8 => (length as usize, 0, 0),
        255.. => (28, 0, 0),
        _ => {
            let extra_bits = length.ilog2() - 2;
            let symbol = 4 * extra_bits + (length >> extra_bits);
            (symbol as usize, extra_bits, low_bits(length, extra_bits))
        }
    }
}

/// The symbol of a match's distance less 1.
#[inline]
pub(super) fn distance_symbol(distance: u16) -> u8 {
    let index = match usize::from(distance) {
        near @ 0..256 => near,
        far => 256 + (far >> 7),
    };
    SYMBOLS.get(index).copied().unwrap_or_default()
}

/// How many extra bits a distance has with this symbol.
pub(super) fn distance_extra_bits(symbol: u8) -> u32 {
    u32::from(symbol / 2).saturating_sub(1)
}

/// The lowest `count` bits.
#[inline]
pub(super) const fn low_bits(value: u32, count: u32) -> u32 {
    value & ((1 << count) - 1)
}

/// The symbols of the first 256 distances, then those of each 128th.
static SYMBOLS: [u8; 512] = {
    let mut symbols = [0; 512];
    let mut rest: &mut [u8] = &mut symbols;
    let mut index: u32 = 0;
    while let Some((symbol, after)) = rest.split_first_mut() {
        let distance = if index < 256 {
            index
        } else {
            (index - 256) << 7
        };
        let extra_bits = (distance | 2).ilog2() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "there are 30")]
        let number = (2 * extra_bits + (distance >> extra_bits)) as u8;
        *symbol = number;
        rest = after;
        index += 1;
    }
    symbols
};
