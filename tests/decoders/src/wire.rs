//! Payloads and frames.

use bytes::Bytes;
use remuda_wire::{Down, FrameError, Up, frame};

pub(crate) fn up(bytes: &[u8]) {
    let Ok(message) = Up::decode(&Bytes::copy_from_slice(bytes)) else { return };
    if let Up::Frames(frames) = &message {
        frames.frames.iter().for_each(|raw| frame(raw));
    }
    let again = Up::decode(&Bytes::from(message.encode()));
    assert_eq!(again.as_ref(), Ok(&message), "what was decoded encodes to something else");
}

pub(crate) fn down(bytes: &[u8]) {
    let Ok(message) = Down::decode(bytes) else { return };
    assert_eq!(
        Down::decode(&message.encode()).as_ref(),
        Ok(&message),
        "what was decoded encodes to something else"
    );
}

pub(crate) fn frame(bytes: &[u8]) {
    match frame::decode(bytes) {
        Ok(decoded) => {
            assert!(frame::is_sound(bytes), "a frame that decodes is sound");
            let again = frame::decode(&frame::encode(&decoded.header, &decoded.body));
            assert_eq!(again.as_ref(), Ok(&decoded), "what was decoded encodes to something else");
        }
        Err(FrameError::Checksum) => assert!(!frame::is_sound(bytes)),
        Err(FrameError::Unusable { .. }) => assert!(frame::is_sound(bytes)),
    }
    // Mutations hardly ever keep a checksum: the body behind a right one, too.
    if let Some(content) = bytes.len().checked_sub(4).map(|end| &bytes[..end]).filter(|c| !c.is_empty())
        && !frame::is_sound(bytes)
    {
        frame(&[content, &crc32c::crc32c(content).to_le_bytes()].concat());
    }
}
