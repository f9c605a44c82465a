//! The refresh rule (DESIGN 4.2): a pure function of (row, presented, now, policy).
