//! Figures of this process, from `/proc/self` and the kernel's accounting.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Resident memory, bytes; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    status_kb("VmRSS:") * 1024
}

/// Largest resident memory so far, bytes; 0 where the system does not tell.
pub fn peak_resident_bytes() -> u64 {
    status_kb("VmHWM:") * 1024
}

fn status_kb(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Open file handles; 0 where the system does not tell.
pub fn open_files() -> usize {
    // The directory being read is itself one of them.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1))
}

/// Processor time used so far, user and system, seconds.
#[allow(unsafe_code)]
pub fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a rusage we own; a zeroed rusage is valid if the call should fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Free and all bytes of the file system on which a path is; free is what this process may still write.
#[allow(unsafe_code)]
pub fn disk_bytes(path: &Path) -> Option<(u64, u64)> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends in a zero, and the pointer is to a statvfs that we own; it is read only when the call has filled it.
    let found = unsafe {
        if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
            return None;
        }
        found.assume_init()
    };
    // Their widths differ between systems.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    let (unit, free, total) = (found.f_frsize as u64, found.f_bavail as u64, found.f_blocks as u64);
    Some((unit.saturating_mul(free), unit.saturating_mul(total)))
}

/// How many files may be open; 0 where the system does not tell.
#[allow(unsafe_code)]
pub fn file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call only writes the struct we own.
    let told = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 };
    if told { limit.rlim_cur } else { 0 }
}

/// Raises the limit of open files as far as it goes without privileges and answers it.
#[allow(unsafe_code)]
pub fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the struct we own.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return 0;
        }
        if limit.rlim_cur < limit.rlim_max {
            let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
                limit = raised;
            }
        }
    }
    limit.rlim_cur
}

/// Checks that the process may open `needed` files.
///
/// # Errors
/// A sentence that says what to do.
pub fn require_files(needed: u64, what: &str) -> Result<(), String> {
    let limit = raise_file_limit();
    if limit >= needed {
        return Ok(());
    }
    Err(format!(
        "{what} needs {needed} file handles, this process may open {limit}; raise the limit (ulimit -n {needed}) or ask for less"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory_files_and_time() {
        assert!(resident_bytes() > 100_000);
        assert!(peak_resident_bytes() >= 100_000);
        assert!(open_files() >= 3);
        assert!(cpu_seconds() >= 0.0);
        assert!(raise_file_limit() >= 64 && file_limit() == raise_file_limit());
        let (free, total) = disk_bytes(Path::new("/")).expect("there is a disk");
        assert!(0 < total && free <= total);
        assert_eq!(disk_bytes(Path::new("/nowhere/at/all")), None);
    }

    #[test]
    fn too_few_handles_is_one_sentence() {
        let sentence = require_files(u64::MAX, "the demo with 5 vehicles").expect_err("nobody has that many");
        assert!(sentence.contains("ulimit -n"), "{sentence}");
    }
}
