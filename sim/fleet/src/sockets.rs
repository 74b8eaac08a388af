//! File handles: a socket per vehicle, checked before the first one is opened.

use std::io;

/// Handles that are not vehicles' sockets: outbox segments, logs, the runtime, and in a demo the cloud's files.
pub const HANDLES_BESIDE: u64 = 256;

/// This process cannot have as many sockets as vehicles were asked for.
#[derive(Debug, thiserror::Error)]
#[error(
    "{vehicles} vehicles need {needed} file handles and this process may have {limit}; raise it (ulimit -Hn) or ask \
     for at most {possible} vehicles"
)]
pub struct TooFewHandles {
    vehicles: usize,
    needed: u64,
    limit: u64,
    possible: u64,
}

/// Raises the soft limit to the hard one and checks that `handles_per_vehicle` fit for so many vehicles.
pub fn reserve(vehicles: usize, handles_per_vehicle: u64) -> Result<(), TooFewHandles> {
    // Where the limit cannot be read there is none to keep.
    let limit = raise_limit().unwrap_or(u64::MAX);
    let needed = (vehicles as u64).saturating_mul(handles_per_vehicle).saturating_add(HANDLES_BESIDE);
    if needed <= limit {
        return Ok(());
    }
    let possible = limit.saturating_sub(HANDLES_BESIDE) / handles_per_vehicle.max(1);
    Err(TooFewHandles { vehicles, needed, limit, possible })
}

#[allow(unsafe_code, reason = "the standard library has no call for resource limits")]
fn raise_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live rlimit, which they read or fill.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: see above.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0;
    Ok(if raised { limit.rlim_cur } else { before })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_vehicles_are_refused_in_one_sentence() {
        assert!(reserve(10, 1).is_ok());
        let sentence = reserve(usize::MAX, 2).expect_err("nobody has that many").to_string();
        assert!(sentence.contains("file handles") && !sentence.contains('\n'), "{sentence}");
    }
}
