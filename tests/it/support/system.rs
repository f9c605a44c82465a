//! The memory and the file descriptors of a process.

/// The memory of a process that is counted. The code of an unoptimised program is twice as large as that of a release, and how much
/// of it is in memory says nothing about the server. So in an unoptimised program only memory besides the code counts.
const COUNTED: &str = if cfg!(debug_assertions) { "RssAnon:" } else { "VmRSS:" };

/// The memory that a process uses at present, in KiB.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(COUNTED)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Raises this process's limit of open file descriptors to the maximum; returns that limit.
pub fn take_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}
