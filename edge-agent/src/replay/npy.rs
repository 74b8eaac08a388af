//! NumPy's `.npy` files, version 1 and 2, one-dimensional or flattened (numpy.lib.format): what captures are made of.

use std::path::Path;

use super::{ReplayError, read};

/// The values of an array, in C order.
pub(crate) type Column<T> = Vec<T>;

const MAGIC: &[u8] = b"\x93NUMPY";

/// The data of a file whose element type is `descr`.
fn data(file: &Path, descr: &str) -> Result<Vec<u8>, ReplayError> {
    let wrong = |what: &str| ReplayError::Format { file: file.to_path_buf(), what: what.to_owned() };
    let bytes = read(file)?;
    let version =
        bytes.strip_prefix(MAGIC).and_then(|rest| rest.first()).ok_or_else(|| wrong("no NumPy file"))?;
    let (length, begin) = match version {
        1 => (bytes.get(8..10).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))), 10),
        2 => (bytes.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize), 12),
        _ => return Err(wrong("a NumPy file of a version that is not known here")),
    };
    let end = length.map(|length| begin + length).filter(|end| *end <= bytes.len());
    let end = end.ok_or_else(|| wrong("a NumPy file that was cut off"))?;
    let header = String::from_utf8_lossy(&bytes[begin..end]);
    if !header.contains(&format!("'descr': '{descr}'")) || !header.contains("'fortran_order': False") {
        return Err(wrong(&format!("not an array of {descr} in C order: {}", header.trim())));
    }
    Ok(bytes[end..].to_vec())
}

fn eights(file: &Path, descr: &str) -> Result<Vec<[u8; 8]>, ReplayError> {
    let data = data(file, descr)?;
    let (chunks, rest) = data.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(ReplayError::Format {
            file: file.to_path_buf(),
            what: "a NumPy file that was cut off".into(),
        });
    }
    Ok(chunks.to_vec())
}

/// Little-endian doubles.
pub(crate) fn doubles(file: &Path) -> Result<Column<f64>, ReplayError> {
    Ok(eights(file, "<f8")?.into_iter().map(f64::from_le_bytes).collect())
}

/// Little-endian integers.
pub(crate) fn integers(file: &Path) -> Result<Column<i64>, ReplayError> {
    Ok(eights(file, "<i8")?.into_iter().map(i64::from_le_bytes).collect())
}

/// Byte strings of eight, zero-padded.
pub(crate) fn payloads(file: &Path) -> Result<Vec<[u8; 8]>, ReplayError> {
    eights(file, "|S8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        file
    }

    fn npy(descr: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn arrays_are_read() {
        let data = [1.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat();
        assert_eq!(doubles(file(&npy("<f8", &data)).path()).expect("read"), [1.5, -2.0]);
        assert_eq!(payloads(file(&npy("|S8", b"abcdefgh")).path()).expect("read"), [*b"abcdefgh"]);
    }

    #[test]
    fn what_is_no_such_array_is_told() {
        for bytes in [
            b"hello".to_vec(),
            npy("<f4", &[0; 8]),
            npy("<f8", &[0; 7]),
            b"\x93NUMPY\x01\x00\xff\xff".to_vec(),
        ] {
            assert!(doubles(file(&bytes).path()).is_err());
        }
    }
}
