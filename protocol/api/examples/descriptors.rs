//! Writes the descriptor set to standard output, for generators and for `buf breaking`.

use std::io::{Write, stdout};

fn main() -> std::io::Result<()> {
    stdout().write_all(remuda_api::DESCRIPTORS)
}
