//! File handles: checked before the first is opened.

use std::io;

/// This process may not open what it needs.
#[derive(Debug, thiserror::Error)]
#[error("the agent needs {needed} file handles and this process may have {limit}; raise it (ulimit -n)")]
pub struct TooFewHandles {
    needed: u64,
    limit: u64,
}

/// Raises the soft limit as far as needed and checks that it suffices.
pub fn reserve(needed: u64) -> Result<(), TooFewHandles> {
    // Where the limit cannot be read there is none to keep.
    let limit = raise_limit(needed).unwrap_or(u64::MAX);
    if needed <= limit { Ok(()) } else { Err(TooFewHandles { needed, limit }) }
}

#[allow(unsafe_code, reason = "the standard library has no call for resource limits")]
fn raise_limit(needed: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live rlimit, which they read or fill.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= needed {
        return Ok(limit.rlim_cur);
    }
    let before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: see above.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0;
    Ok(if raised { limit.rlim_cur } else { before })
}
