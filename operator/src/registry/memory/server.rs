//! The store's second face: HTTP on a free port of the loopback.
