//! What the benchmarks share: running contenders side by side, and printing a table.

pub mod race;
pub mod table;
