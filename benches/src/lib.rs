//! Shared by the benchmarks: prints a table.

pub mod table;
