//! What the cloud's command key signs (docs/uplink.md section 7): who holds a broker must not open doors.
//!
//! ```text
//! signed    = "remuda command 1" | 0 | vehicle id as text | 0 | postcard of the command's fields before the signature
//! signature = ed25519 over it, 64 bytes (RFC 8032)
//! ```

use remuda_model::VehicleId;

use crate::message::Command;

/// Tells these bytes from everything else that the key might ever sign.
const PURPOSE: &[u8] = b"remuda command 1";

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;

/// The bytes that the signature of a command to this vehicle covers; the signature it carries is not read.
pub fn signed_bytes(vehicle: &VehicleId, command: &Command) -> Vec<u8> {
    let Command { id, epoch, expires_ms, incarnation, kind, signature: _ } = command;
    let mut bytes = [PURPOSE, &[0], vehicle.as_str().as_bytes(), &[0]].concat();
    // Plain data always encodes.
    let fields = postcard::to_allocvec(&(id, epoch, expires_ms, incarnation, kind)).unwrap_or_default();
    bytes.extend(fields);
    bytes
}

#[cfg(test)]
mod tests {
    use remuda_model::{Epoch, Incarnation};

    use super::*;
    use crate::message::CommandKind;

    fn command(kind: CommandKind) -> Command {
        Command {
            id: [7; 16],
            epoch: Epoch(2),
            expires_ms: 1,
            incarnation: Incarnation(3),
            kind,
            signature: vec![9; SIGNATURE_BYTES],
        }
    }

    #[test]
    fn the_bytes_are_pinned() {
        let van = VehicleId::new("VAN1").expect("an id");
        let mut expected = b"remuda command 1\0VAN1\0".to_vec();
        expected.extend([7; 16]);
        expected.extend([2, 2, 3, 2, 80]);
        assert_eq!(signed_bytes(&van, &command(CommandKind::SpeedLimit(80))), expected);
    }

    #[test]
    fn every_field_but_the_signature_is_covered() {
        let van = VehicleId::new("VAN1").expect("an id");
        let base = command(CommandKind::Honk);
        let bytes = signed_bytes(&van, &base);
        let other = |change: &dyn Fn(&mut Command)| {
            let mut changed = base.clone();
            change(&mut changed);
            signed_bytes(&van, &changed)
        };
        assert_eq!(other(&|c| c.signature.clear()), bytes);
        assert_ne!(other(&|c| c.id[0] = 0), bytes);
        assert_ne!(other(&|c| c.epoch = Epoch(3)), bytes);
        assert_ne!(other(&|c| c.expires_ms = 2), bytes);
        assert_ne!(other(&|c| c.incarnation = Incarnation(4)), bytes);
        assert_ne!(other(&|c| c.kind = CommandKind::Reboot), bytes);
        assert_ne!(signed_bytes(&VehicleId::new("VAN2").expect("an id"), &base), bytes);
    }
}
