//! What `inspect` prints for people.

use std::fmt::Write;

use multiarch_operator::{
    oci::{Digest, Platform},
    reconcile::resolve::inspect::{Image, Inspection, Problem},
};

use super::{Item, Report};
use crate::output::{Columns, Table, bytes as size, plain};

impl Table for Report {
    fn table(&self) -> String {
        // What failed is on standard error.
        let found = self.items.iter().filter_map(|item| match item {
            Item::Found(found) => Some(found),
            Item::Failed { .. } => None,
        });
        let of_each = found.map(|found| one(found, self.layers));
        of_each.collect::<Vec<_>>().join("\n")
    }
}

fn one(found: &Inspection, layers: bool) -> String {
    let mut text = format!("{}\n", found.reference);
    let mut head = Columns::default();
    head.row(["digest".into(), found.digest.to_string()]);
    head.row(["media type".into(), found.media_type.clone()]);
    head.row(["size".into(), size(found.size)]);
    if let Some(artifact_type) = &found.artifact_type {
        head.row(["artifact type".into(), artifact_type.clone()]);
    }
    if let Some(subject) = &found.subject {
        head.row(["about".into(), subject.to_string()]);
    }
    for (key, value) in &found.annotations {
        head.row(["annotation".into(), format!("{key}={value}")]);
    }
    for nested in &found.indexes {
        head.row(["lists the index".into(), nested.digest.to_string()]);
    }
    text.push_str(&head.indented(2));
    if !found.images.is_empty() {
        let _ = write!(text, "\n{}", images(found));
    }
    if layers {
        for image in &found.images {
            let _ = write!(text, "\n{}", layers_of(image));
        }
    }
    if !found.attestations.is_empty() {
        let mut rows = Columns::new(["ATTESTATION", "OF", "SAYS"]);
        for attestation in &found.attestations {
            let about = attestation.about.as_ref();
            rows.row([
                attestation.digest.to_string(),
                about.map_or_else(|| "-".into(), |about| called(found, about)),
                attestation.predicates.join(", "),
            ]);
        }
        let _ = write!(text, "\n{}", rows.text());
    }
    if !found.referrers.is_empty() {
        let mut rows = Columns::new(["REFERRER", "OF", "TYPE"]);
        for referrer in &found.referrers {
            let tag = referrer.tag.as_ref().map(|tag| format!("tag {tag}"));
            rows.row([
                referrer.digest.to_string(),
                called(found, &referrer.subject),
                referrer.artifact_type.clone().or(tag).unwrap_or_default(),
            ]);
        }
        let _ = write!(text, "\n{}", rows.text());
    }
    told(&mut text, "WRONG", &found.problems);
    if !found.missing.is_empty() {
        let _ = write!(text, "\nMISSING\n  {}\n", found.missing.join(", "));
    }
    told(&mut text, "NOTE", &found.notes);
    if !found.failures.is_empty() {
        text.push_str("\nNOT READ\n");
        for failure in &found.failures {
            let _ = writeln!(text, "  {}", plain(failure));
        }
    }
    text
}

fn images(found: &Inspection) -> String {
    let mut rows = Columns::new(["PLATFORM", "CONFIG SAYS", "LAYERS", "SIZE", "DIGEST"]);
    for image in &found.images {
        let words = |platform: &Option<Platform>| {
            platform.as_ref().map_or_else(|| "-".into(), ToString::to_string)
        };
        let of_index = found.images.len() > 1 || image.listed.is_some();
        let listed = if of_index { words(&image.listed) } else { words(&image.platform) };
        rows.row([
            listed,
            words(&image.platform),
            image.layers.len().to_string(),
            size(image.layers_size()),
            image.digest.to_string(),
        ]);
    }
    rows.text()
}

fn layers_of(image: &Image) -> String {
    let said = image.said().map_or_else(|| image.digest.to_string(), ToString::to_string);
    let mut rows = Columns::default();
    for layer in &image.layers {
        let elsewhere = if layer.urls.is_empty() { "" } else { "elsewhere" };
        let (digest, media_type) = (layer.digest.to_string(), layer.media_type.clone());
        rows.row([digest, size(layer.size), media_type, elsewhere.into()]);
    }
    format!("LAYERS OF {}\n{}", plain(&said), rows.indented(2))
}

/// What `digest` is in it, for people.
fn called(found: &Inspection, digest: &Digest) -> String {
    if *digest == found.digest && found.images.iter().all(|image| image.digest != *digest) {
        return "the index".into();
    }
    let image = found.images.iter().find(|image| image.digest == *digest);
    let said = image.and_then(Image::said);
    said.map_or_else(|| digest.to_string(), ToString::to_string)
}

fn told(text: &mut String, heading: &str, problems: &[Problem]) {
    if problems.is_empty() {
        return;
    }
    let _ = write!(text, "\n{heading}\n");
    for problem in problems {
        let _ = writeln!(text, "  {:?}: {}", problem.kind, plain(&problem.message));
    }
}
