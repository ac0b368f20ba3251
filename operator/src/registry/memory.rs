//! A registry in memory, for tests: one store with two faces, the port and an HTTP server that can be told to lie.
