//! The memory and the file descriptors of a process.

/// The memory that a process uses at present, in KiB. The code of an unoptimised program is twice as large as that of a release, and
/// how much of it is in memory says nothing about the server. So for an unoptimised program only memory besides the code counts:
/// neither pages of a mapped file nor the copies of such pages that the loader has relocated.
pub fn resident(pid: u32) -> u64 {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let amount = |line: &str| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
    if !cfg!(debug_assertions) {
        return amount(read("status").lines().find(|line| line.starts_with("VmRSS:")).unwrap());
    }
    let mut of_file = false;
    let mut sum = 0;
    for line in read("smaps").lines() {
        // The first line of a mapping: addresses, access, offset, device, inode, and the path of the file.
        if !line.split_whitespace().next().unwrap().ends_with(':') {
            of_file = line.split_whitespace().nth(5).is_some_and(|path| path.starts_with('/'));
        } else if line.starts_with("Anonymous:") && !of_file {
            sum += amount(line);
        }
    }
    sum
}

/// Raises this process's limit of open file descriptors to the maximum; returns that limit.
pub fn take_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}
