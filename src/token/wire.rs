//! The layout of a token, byte by byte.
