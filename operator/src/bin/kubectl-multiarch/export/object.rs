//! pure: what an index is → an object that reproduces it.

use std::collections::BTreeMap;

use multiarch_crds::v1alpha1::{
    Attestations, Format, MultiArchImageSpec, PlatformPolicy, Registry, Source, Target,
};
use multiarch_operator::{
    oci::{Platform, Reference, descriptor::is_reference, media_type},
    reconcile::resolve::inspect::{Image, Inspection, Kind},
};

/// The most sources that a spec has, annotations of the index and of a source, and characters of their keys and values.
const SOURCES: usize = 64;
const OF_INDEX: usize = 64;
const OF_SOURCE: usize = 32;
const KEY: usize = 256;
const VALUE: usize = 4096;

/// An object that reproduces an index.
#[derive(Debug)]
pub(super) struct Exported {
    /// What it asks for.
    pub(super) spec: MultiArchImageSpec,
    /// What of the index is told otherwise in it, and is the same all the same.
    pub(super) notes: Vec<String>,
    /// What it does not reproduce.
    pub(super) lost: Vec<String>,
}

/// How it is reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A source for each image.
    Image,
    /// One source, published byte for byte.
    Whole,
}

/// An object that publishes what was `found` under `target`.
pub(super) fn object(
    found: &Inspection,
    target: &Reference,
    by: By,
    plain_http: &[String],
) -> Exported {
    let docker =
        matches!(found.media_type.as_str(), media_type::DOCKER_LIST | media_type::DOCKER_MANIFEST);
    let registries = plain_http.iter().map(|host| Registry {
        host: host.clone(),
        plain_http: true,
        ..Registry::default()
    });
    let spec = MultiArchImageSpec {
        target: Target {
            image: target.to_string(),
            format: if docker { Format::Docker } else { Format::Oci },
            ..Target::default()
        },
        // A Docker manifest list has none.
        attestations: if docker { Attestations::Drop } else { Attestations::Keep },
        registries: registries.collect(),
        ..MultiArchImageSpec::default()
    };
    let mut exported = Exported { spec, notes: Vec::new(), lost: Vec::new() };
    let whole = found.reference.repository().digest(&found.digest).to_string();
    if by == By::Whole || !media_type::is_index(&found.media_type) {
        let name = if media_type::is_index(&found.media_type) { "index" } else { "image" };
        exported.spec.sources =
            vec![Source { name: name.into(), image: whole, ..Source::default() }];
        if docker && !found.attestations.is_empty() {
            exported
                .lost
                .push("the attestations: a Docker manifest list is published without".into());
        }
        let refused = found.problems.iter().chain(&found.notes).filter(|it| is_refused(it.kind));
        exported
            .lost
            .extend(refused.map(|it| format!("it as it is, which is refused: {}", it.message)));
        return exported;
    }
    exported.index(found, docker);
    exported.images(found, &whole, docker);
    exported
}

impl Exported {
    /// What the index says of itself.
    fn index(&mut self, found: &Inspection, docker: bool) {
        if docker && !found.annotations.is_empty() {
            self.lost.push("the annotations of the index: a Docker manifest list has none".into());
        } else if fits(&found.annotations, OF_INDEX) {
            self.spec.annotations.clone_from(&found.annotations);
        } else {
            self.lost.push(
                "the annotations of the index: more, or longer ones, than a spec may have".into(),
            );
        }
        if let Some(subject) = &found.subject {
            self.lost.push(format!("its subject, {subject}: a new index is about nothing"));
        }
        if found.artifact_type.is_some() {
            self.lost.push("its artifactType: a new index has none".into());
        }
        for nested in &found.indexes {
            self.lost.push(format!(
                "the index {} in it: its images are listed by the index itself",
                nested.digest
            ));
        }
        if docker && !found.attestations.is_empty() {
            self.lost.push("the attestations: a Docker manifest list is published without".into());
        }
        for problem in &found.problems {
            match problem.kind {
                // Told of the image.
                Kind::WrongPlatform | Kind::BlobMissing => {}
                _ => self.lost.push(problem.message.clone()),
            }
        }
        let again = found.notes.iter().filter(|note| note.kind == Kind::ListedAgain);
        self.lost.extend(again.map(|note| note.message.clone()));
    }

    /// A source for each image, or of the index for what only that says.
    fn images(&mut self, found: &Inspection, whole: &str, docker: bool) {
        let mut done: Vec<Platform> = Vec::new();
        for image in &found.images {
            let Some(listed) = &image.listed else { continue };
            let normalized = listed.normalized();
            let platform = || {
                let same = |other: &&Image| {
                    other.listed.as_ref().is_some_and(|listed| listed.normalized() == normalized)
                };
                found.images.iter().filter(same)
            };
            // What is not there cannot be read, and is told above.
            if image.config.is_none() || done.contains(&normalized) {
                continue;
            }
            if docker && !image.annotations.is_empty() {
                self.lost
                    .push(format!("the annotations of {listed}: a Docker manifest list has none"));
            }
            let checked = platform().all(|image| image.right && image.platform.is_some());
            if !checked {
                let says = image.platform.as_ref();
                let says = says.map_or_else(|| "says none".into(), |says| format!("says {says}"));
                self.notes.push(format!(
                    "{listed} is taken on trust (platformPolicy: Trust): the config of {} {says}",
                    image.digest
                ));
            }
            let platform_policy =
                if checked { PlatformPolicy::Verify } else { PlatformPolicy::Trust };
            let source = Source {
                name: self.name(listed),
                platforms: vec![listed.to_string()],
                platform_policy,
                ..Source::default()
            };
            if platform().all(|image| is_its_own(image, docker, checked)) {
                for image in platform() {
                    let name = self.name(listed);
                    let image_of_it = found.reference.repository().digest(&image.digest);
                    let annotations =
                        if docker { BTreeMap::new() } else { image.annotations.clone() };
                    let image = image_of_it.to_string();
                    self.spec.sources.push(Source { name, image, annotations, ..source.clone() });
                }
            } else {
                self.spec.sources.push(Source { image: whole.into(), ..source });
            }
            done.push(normalized);
        }
        if self.spec.sources.len() > SOURCES {
            self.lost
                .push(format!("more than {SOURCES} platforms: a spec has so many sources at most"));
        }
    }

    /// A name for a source of `platform` that no other source has.
    fn name(&self, platform: &Platform) -> String {
        let words = platform.to_string().to_ascii_lowercase();
        let words = words.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let mut name: String = words.chars().take(58).collect();
        while name.contains("--") {
            name = name.replace("--", "-");
        }
        let name = name.trim_matches('-').to_owned();
        let is_taken = |name: &String| self.spec.sources.iter().any(|source| source.name == *name);
        let others = (2..).map(|at| format!("{name}-{at}"));
        let mut names = std::iter::once(name.clone()).chain(others);
        names.find(|name| !is_taken(name)).unwrap_or(name)
    }
}

/// Whether an index or image of which this is said is not published as it is.
fn is_refused(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::OrphanAttestation
            | Kind::WrongDescriptor
            | Kind::ForeignLayer
            | Kind::BlobMissing
            | Kind::ListedAgain
    )
}

/// Whether a source that names `image` by its digest gives all that the index says of it.
fn is_its_own(image: &Image, docker: bool, checked: bool) -> bool {
    let same_words = !checked || image.listed == image.platform;
    let annotations = docker
        || (fits(&image.annotations, OF_SOURCE)
            && !image.annotations.keys().any(|key| is_reference(key)));
    same_words && annotations && (docker || image.attestations.is_empty())
}

fn fits(annotations: &BTreeMap<String, String>, most: usize) -> bool {
    let fits = |(key, value): (&String, &String)| {
        (1..=KEY).contains(&key.chars().count()) && value.chars().count() <= VALUE
    };
    annotations.len() <= most && annotations.iter().all(fits)
}

#[cfg(test)]
mod tests;
