//! What the benchmarks share: printing a table.

pub mod table;
