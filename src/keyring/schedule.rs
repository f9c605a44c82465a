//! What a rollover, a revocation or a first start does to a ring: pure functions over its listing.
