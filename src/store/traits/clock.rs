//! The time of a store, and the state of the clock that it remembers.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    store::{ClockMark, StoreError, Written},
};

/// Reads the time of the store, and reads and writes the row of `clock`.
#[async_trait]
pub trait StoreClock: Send + Sync {
    /// Returns the store's own time.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Returns the remembered state of the clock, with the store's time of the read.
    async fn clock_mark(&self) -> Result<(Option<ClockMark>, Timestamp), StoreError>;

    /// Stores `mark`, if the stored state still is `was`.
    async fn write_clock_mark(&self, was: Option<ClockMark>, mark: ClockMark) -> Result<Written, StoreError>;
}
