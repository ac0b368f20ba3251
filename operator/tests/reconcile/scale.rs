//! How many random histories are tried: all in `make soak`, a tenth in `make test`.

/// `full` in a soak, else `tenth`.
pub(crate) fn scale(full: u32, tenth: u32) -> u32 {
    let is_soak = std::env::var_os("MULTIARCH_SOAK").is_some_and(|value| !value.is_empty());
    if is_soak { full } else { tenth }
}
