//! Condition types, their reasons, and pure helpers over a list of conditions.
