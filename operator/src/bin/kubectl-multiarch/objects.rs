//! Objects in files → tasks.
