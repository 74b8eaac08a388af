//! Dots in character cells: a braille character has two columns of four.

use std::fmt::Write;

/// Bits of a braille character, by row and column of its dots (Unicode, U+2800).
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// An area of characters.
pub(super) struct Canvas {
    columns: usize,
    rows: usize,
    /// Dots of a cell, and the colour that was last in it.
    cells: Vec<(u8, usize)>,
    ascii: bool,
}

impl Canvas {
    pub fn new(columns: usize, rows: usize, ascii: bool) -> Self {
        Self { columns, rows, cells: vec![(0, 0); columns * rows], ascii }
    }

    /// The row in which a value stands.
    pub fn row_of(&self, value: f64, low: f64, high: f64) -> usize {
        self.dot((0.0, (value - low) / (high - low))).1 / 4
    }

    /// A place from (0, 0) at the lower left to (1, 1) at the upper right, as a dot from the upper left.
    fn dot(&self, (x, y): (f64, f64)) -> (usize, usize) {
        let place = |share: f64, dots: usize| (share.clamp(0.0, 1.0) * (dots - 1) as f64).round() as usize;
        (place(x, self.columns * 2), self.rows * 4 - 1 - place(y, self.rows * 4))
    }

    /// Draws a straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: usize) {
        let ((x0, y0), (x1, y1)) = (self.dot(from), self.dot(to));
        let steps = x0.abs_diff(x1).max(y0.abs_diff(y1));
        for step in 0..=steps {
            let share = if steps == 0 { 0.0 } else { step as f64 / steps as f64 };
            let between =
                |from: usize, to: usize| (from as f64 + (to as f64 - from as f64) * share).round() as usize;
            self.set(between(x0, x1), between(y0, y1), colour);
        }
    }

    fn set(&mut self, x: usize, y: usize, colour: usize) {
        if let Some((dots, last)) = self.cells.get_mut(y / 4 * self.columns + x / 2) {
            *dots |= DOTS[y % 4][x % 2];
            *last = colour;
        }
    }

    /// A row's characters, coloured by ANSI codes where there are colours.
    pub fn row(&self, row: usize, colours: Option<&[u8]>) -> String {
        let mut text = String::new();
        let mut open: Option<usize> = None;
        for (dots, colour) in &self.cells[row * self.columns..(row + 1) * self.columns] {
            let wanted = (*dots != 0).then_some(*colour);
            if let Some(codes) = colours.filter(|_| wanted.is_some() && wanted != open) {
                let _ = write!(text, "\x1b[{}m", codes[colour % codes.len()]);
                open = wanted;
            }
            text.push(match (dots, self.ascii) {
                (0, _) => ' ',
                (_, true) => '*',
                (dots, false) => char::from_u32(0x2800 + u32::from(*dots)).unwrap_or(' '),
            });
        }
        if open.is_some() {
            text.truncate(text.trim_end().len());
            text.push_str("\x1b[0m");
        }
        text
    }
}
