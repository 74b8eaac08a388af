//! Helvetica, which every reader of PDF has: its encoding and widths.

/// Widths of the characters from blank to tilde, thousandths of the size (Adobe's metrics of Helvetica).
const WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278,
    500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469,
    556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500,
    278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

/// Characters that Windows-1252 has beside Latin-1, with their bytes.
const BESIDE: &[(char, u8)] = &[
    ('€', 0x80),
    ('‚', 0x82),
    ('ƒ', 0x83),
    ('„', 0x84),
    ('…', 0x85),
    ('†', 0x86),
    ('‡', 0x87),
    ('ˆ', 0x88),
    ('‰', 0x89),
    ('Š', 0x8a),
    ('‹', 0x8b),
    ('Œ', 0x8c),
    ('Ž', 0x8e),
    ('‘', 0x91),
    ('’', 0x92),
    ('“', 0x93),
    ('”', 0x94),
    ('•', 0x95),
    ('–', 0x96),
    ('—', 0x97),
    ('˜', 0x98),
    ('™', 0x99),
    ('š', 0x9a),
    ('›', 0x9b),
    ('œ', 0x9c),
    ('ž', 0x9e),
    ('Ÿ', 0x9f),
];

/// A text as bytes of WinAnsiEncoding; a question mark for what it does not have.
pub(super) fn encoded(text: &str) -> Vec<u8> {
    let byte = |c: char| match c {
        ' '..='~' | '\u{a0}'..='ÿ' => u8::try_from(u32::from(c)).unwrap_or(b'?'),
        _ => BESIDE.iter().find(|(known, _)| *known == c).map_or(b'?', |(_, byte)| *byte),
    };
    text.chars().map(byte).collect()
}

/// How wide a text is at a size, points. Characters beyond ASCII count as an average one.
pub(super) fn width(text: &[u8], size: f32) -> f32 {
    let of =
        |byte: &u8| byte.checked_sub(b' ').and_then(|i| WIDTHS.get(usize::from(i))).copied().unwrap_or(556);
    f32::from(text.iter().map(of).fold(0_u16, u16::saturating_add)) * size / 1_000.0
}
