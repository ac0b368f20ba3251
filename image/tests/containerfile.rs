//! The Containerfile makes what this crate makes: for the same platforms, of the same version, with the same labels, by the same compiler.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{collections::BTreeSet, fs, path::Path};

use multiarch_image::{
    layout::About,
    platform::{ALL, Platform},
};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

#[test]
fn is_for_the_same_platforms() {
    let file = read("Containerfile");
    let cases = file.lines().filter_map(|line| {
        let (when, then) = line.trim().split_once(") target=")?;
        Some((when.trim_end_matches('*').to_owned(), then.split(' ').next()?.to_owned()))
    });
    let expected = |platform: &Platform| {
        let when = format!("{}{}", platform.architecture, platform.variant.unwrap_or_default());
        (when, platform.target.to_owned())
    };
    assert_eq!(cases.collect::<BTreeSet<_>>(), ALL.iter().map(expected).collect());
    let all = ALL.map(|platform| {
        let variant = platform.variant.map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("linux/{}{variant}", platform.architecture)
    });
    assert!(file.contains(&format!("--platform {} ", all.join(","))), "the example names all");
}

#[test]
fn is_of_the_same_version_by_the_same_compiler() {
    let file = read("Containerfile");
    assert!(file.contains(&format!("\nARG VERSION={}\n", env!("CARGO_PKG_VERSION"))));
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
    let channel = channel.trim_matches('"');
    assert!(file.contains(&format!("/rust:{channel}-")), "not Rust {channel}");
}

#[test]
fn has_the_same_labels() {
    let file = read("Containerfile");
    let said: BTreeSet<_> = file
        .lines()
        .filter_map(|line| {
            let (key, value) = line.trim().trim_start_matches("LABEL ").split_once('=')?;
            let value = value.trim_end_matches(" \\").trim_matches('"');
            key.starts_with("org.opencontainers.").then(|| (key.to_owned(), value.to_owned()))
        })
        .collect();
    let about = About {
        created: 0,
        version: "$VERSION".into(),
        revision: Some("$REVISION".into()),
        source: "https://github.com/multiarch-operator/multiarch-operator".into(),
    };
    let labels = about.labels().unwrap().into_iter().map(|(key, value)| {
        let value = if key.ends_with(".created") { "$CREATED".into() } else { value };
        (key, value)
    });
    assert_eq!(said, labels.collect());
}
