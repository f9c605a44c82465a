//! Strict JSON (RFC 7493): one object, no duplicate keys, no lone surrogates, at most 8 deep; checked without allocating.
