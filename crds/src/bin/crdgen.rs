//! Writes every CRD of this crate to its file beside Cargo.toml, and to the chart.

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, text) in multiarch_crds::files()? {
        fs::write(directory.join(multiarch_crds::CHART).join(&file), &text)?;
        fs::write(directory.join(file), text)?;
    }
    Ok(())
}
