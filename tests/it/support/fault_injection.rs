//! Starts a server whose disk and clock fail on command: `tests/faults/faults.c` is compiled here and loaded before the C library.

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::server::Server;

/// The numbers of the errors `ENOSPC`, `EIO` and `EROFS` on Linux.
pub const DISK_FULL: i64 = 28;
pub const IO_ERROR: i64 = 5;
pub const READ_ONLY: i64 = 30;

static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/faults.c");
    let library =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}.so", std::process::id()));
    let made = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .output();
    let made = made.expect("cc is installed by scripts/test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    library
});

static ORDERS: AtomicU64 = AtomicU64::new(0);

impl Server {
    /// An installation that obeys [`Self::inject`]; its server is not started.
    pub fn with_faults(environment: &[(&str, &str)]) -> Self {
        let mut server = Self::new(environment);
        server.set("LD_PRELOAD", &*LIBRARY);
        server.set("FAULTS", server.path("order"));
        server
    }

    /// Sets what fails from now on, and after how many calls (see the C file).
    pub fn inject(&self, what: &str, value: i64, after: usize) {
        let _ = std::fs::remove_file(self.path("order.done"));
        let id = ORDERS.fetch_add(1, Ordering::Relaxed) + 1;
        std::fs::write(self.path("order.new"), format!("{id} {what} {value} {after}\n")).unwrap();
        std::fs::rename(self.path("order.new"), self.path("order")).unwrap();
    }

    /// Stops the injected fault. Returns whether it has occurred.
    pub fn clear_fault(&self) -> bool {
        let _ = std::fs::remove_file(self.path("order"));
        self.path("order.done").exists()
    }
}
