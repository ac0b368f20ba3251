//! pure: a spec → the target, the sources and the policies, parsed once into types that cannot be wrong.

mod error;
mod format;
mod provider;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use multiarch_crds::v1alpha1::{
    ArchiveSource, Attestations, Format, MultiArchImageSpec, PlatformPolicy, PublishPolicy,
    Referrers, RemovalPolicy, Source as SourceSpec, TagPolicy,
};

use super::tags::Template;
use crate::oci::{
    Platform, Prefix, Reference,
    descriptor::is_reference,
    platform::PlatformError,
    reference::{self, Repository},
};

pub use self::error::SpecError;

/// What a spec asks for.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The target: a repository and a tag, never a digest.
    pub target: Reference,
    /// Tags of the target's repository that name the same index.
    pub additional_tags: Vec<String>,
    /// What each image of the index is tagged as.
    pub platform_tags: Option<Template>,
    /// What the index is.
    pub format: Format,
    /// An image that is the one source becomes an index of one, although nothing is said of it; an index stays what it is.
    pub wraps: bool,
    /// Whether one source that is published as it is may be of the other format: no spec says so.
    pub any_format: bool,
    /// What happens when something else moves a tag.
    pub tag_policy: TagPolicy,
    /// Name of the Secret that may push to the target.
    pub push_secret: Option<String>,
    /// Whether credential providers give what pushes to the target.
    pub push_provider: bool,
    /// The sources, in the order of the spec.
    pub sources: Vec<Source>,
    /// Platforms that the index must have beside those that the sources have.
    pub required: Vec<Platform>,
    /// When an index is published.
    pub publish_policy: PublishPolicy,
    /// What becomes of a published platform that no source provides any more.
    pub removal_policy: RemovalPolicy,
    /// Annotations of the index.
    pub annotations: BTreeMap<String, String>,
    /// Labels that all images must have in common.
    pub equal_labels: Vec<String>,
    /// What becomes of attestation manifests.
    pub attestations: Attestations,
    /// What becomes of referrers of images that are copied.
    pub referrers: Referrers,
    /// How long one run may take.
    pub timeout: Duration,
    /// Hosts that are spoken to without TLS.
    pub plain_http: BTreeSet<String>,
    /// Hosts with certificates of their own, and the names of the Secrets that have them.
    pub certificates: BTreeMap<String, String>,
    /// Secrets with credentials for reading sources.
    pub pull_secrets: Vec<String>,
    /// Name of the `ServiceAccount` whose Secrets read sources, too.
    pub account: Option<String>,
}

/// One source.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in the spec.
    pub name: String,
    /// The manifest that it names.
    pub reference: Reference,
    /// The platforms that the user declared.
    pub declared: Vec<Declared>,
    /// The user's word stands and no config is read.
    pub trust: bool,
    /// Neither its absence nor its failure holds the index back.
    pub optional: bool,
    /// What the index says of its images.
    pub annotations: BTreeMap<String, String>,
    /// Name of the Secret that may read it.
    pub secret: Option<String>,
    /// Whether credential providers give what reads it.
    pub provider: bool,
}

/// A platform in the user's words: what the words leave out is not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The words.
    pub text: String,
    /// Their parse.
    pub platform: Platform,
}

impl Sources {
    /// Parses and checks `spec`.
    pub fn parse(spec: &MultiArchImageSpec) -> Result<Self, SpecError> {
        let target: Reference =
            spec.target.image.parse().map_err(|source| SpecError::Target { source })?;
        if target.tag().is_none() || target.digest().is_some() {
            return Err(SpecError::TargetNotTag { reference: target });
        }
        let tags = &spec.target.additional_tags;
        for tag in tags {
            let wrong = |why| Err(SpecError::AdditionalTag { tag: tag.clone(), why });
            if !reference::is_tag(tag) {
                return wrong("is no tag: it has up to 128 of A-Z a-z 0-9 _ . and -");
            } else if target.tag() == Some(tag) {
                return wrong("is the target's own tag: leave it out here");
            }
        }
        let template = spec.target.platform_tags.as_deref().map(Template::parse).transpose();
        let platform_tags = template.map_err(|why| SpecError::PlatformTags { why })?;
        let mut names = BTreeSet::new();
        let mut sources = Vec::with_capacity(spec.sources.len());
        for source in &spec.sources {
            if !names.insert(&source.name) {
                return Err(SpecError::DuplicateName { name: source.name.clone() });
            }
            sources.push(Source::parse(source, &target, tags)?);
        }
        format::check(spec)?;
        provider::check(spec, target.repository(), &sources)?;
        let mut certificates = BTreeMap::new();
        for registry in &spec.registries {
            let Some(secret) = &registry.cert_secret_ref else { continue };
            let host = registry.host.clone();
            if registry.plain_http {
                return Err(SpecError::CertificatesWithoutTls { host });
            }
            certificates.insert(host, secret.name.clone());
        }
        Ok(Self {
            additional_tags: tags.clone(),
            platform_tags,
            format: spec.target.format,
            wraps: false,
            any_format: false,
            tag_policy: spec.target.tag_policy,
            push_secret: spec.target.secret_ref.as_ref().map(|secret| secret.name.clone()),
            push_provider: spec.target.provider.is_some(),
            sources,
            required: platforms(&spec.required_platforms, "spec.requiredPlatforms")?
                .into_iter()
                .map(|declared| declared.platform)
                .collect(),
            publish_policy: spec.publish_policy,
            removal_policy: spec.removal_policy,
            annotations: spec.annotations.clone(),
            equal_labels: spec.equal_labels.clone(),
            attestations: spec.attestations,
            referrers: spec.referrers,
            timeout: spec.timeout.into(),
            plain_http: spec
                .registries
                .iter()
                .filter(|registry| registry.plain_http)
                .map(|registry| registry.host.clone())
                .collect(),
            certificates,
            pull_secrets: spec
                .image_pull_secrets
                .iter()
                .map(|secret| secret.name.clone())
                .collect(),
            account: spec.service_account_name.clone(),
            target,
        })
    }

    /// Checks that all images are in `allowed`, where the operator's admin names any. What is in an archive is on no
    /// registry.
    pub fn check_allowed(&self, allowed: &[Prefix]) -> Result<(), SpecError> {
        let target = ("spec.target.image".to_owned(), &self.target);
        let sources = self
            .sources
            .iter()
            .filter(|source| source.reference.repository().archive().is_none())
            .map(|source| (format!("spec.sources[{}].image", source.name), &source.reference));
        let outside = |(_, reference): &(String, &Reference)| {
            !allowed.iter().any(|prefix| prefix.covers(reference.repository()))
        };
        match [target].into_iter().chain(sources).find(outside) {
            Some((field, reference)) if !allowed.is_empty() => {
                Err(SpecError::NotAllowed { field, reference: reference.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The source called `name`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// The tag of the target.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.target.tag().unwrap_or_default()
    }

    /// Whether the one source is published as it is: nothing is chosen from it or said of it.
    #[must_use]
    pub fn mirrors(&self) -> bool {
        let as_it_is = |source: &Source| {
            !source.trust && source.declared.is_empty() && source.annotations.is_empty()
        };
        matches!(self.sources.as_slice(), [one] if as_it_is(one)) && self.annotations.is_empty()
    }

    /// Whether the object says how `repository`'s registry is trusted.
    #[must_use]
    pub fn has_own_tls(&self, repository: &Repository) -> bool {
        let names = |repository: &Repository| self.certificates.contains_key(repository.host());
        self.plain_http(repository) || (repository.archive().is_none() && names(repository))
    }

    /// Whether the object says that `repository`'s registry is spoken to without TLS.
    #[must_use]
    pub fn plain_http(&self, repository: &Repository) -> bool {
        repository.archive().is_none() && self.plain_http.contains(repository.host())
    }
}

impl Declared {
    /// The platform that `text` says.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let platform: Platform = text.parse()?;
        if platform.is_unknown() {
            let why = "this is what attestations have in the place of a platform".into();
            return Err(PlatformError { text: text.into(), why });
        }
        Ok(Self { text: text.into(), platform })
    }
}

impl Source {
    /// What is said of `reference` when its registry answers 404, or its archive does not have it.
    #[must_use]
    pub fn absence(reference: &Reference) -> String {
        if reference.repository().archive().is_some() {
            let what =
                if reference.digest().is_some() { "of this digest" } else { "that is called so" };
            return format!("{reference}: the archive is not there, or has no image {what}");
        }
        format!("{reference} is not there (HTTP 404)")
    }

    fn parse(spec: &SourceSpec, target: &Reference, tags: &[String]) -> Result<Self, SpecError> {
        let name = spec.name.clone();
        let reference = match &spec.archive {
            Some(archive) => in_archive(archive, spec)?,
            None => spec
                .image
                .parse()
                .map_err(|source| SpecError::Image { name: name.clone(), source })?,
        };
        if reference == *target {
            return Err(SpecError::SourceIsTarget { name, reference });
        }
        if tags.iter().any(|tag| target.repository().tag(tag) == reference) {
            return Err(SpecError::SourceIsTag { name, reference });
        }
        if let Some(key) = spec.annotations.keys().find(|key| is_reference(key)) {
            return Err(SpecError::Annotation { name, key: key.clone() });
        }
        let declared = platforms(&spec.platforms, &format!("spec.sources[{name}].platforms"))?;
        let trust = spec.platform_policy == PlatformPolicy::Trust;
        if trust && declared.len() != 1 {
            return Err(SpecError::TrustWithoutPlatform { name, platforms: declared.len() });
        }
        Ok(Self {
            name,
            reference,
            declared,
            trust,
            optional: spec.optional,
            annotations: spec.annotations.clone(),
            secret: spec.secret_ref.as_ref().map(|secret| secret.name.clone()),
            provider: spec.provider.is_some(),
        })
    }
}

/// The image of `source` that `archive` names.
fn in_archive(archive: &ArchiveSource, source: &SourceSpec) -> Result<Reference, SpecError> {
    let name = source.name.clone();
    if !source.image.is_empty() || source.secret_ref.is_some() || source.provider.is_some() {
        return Err(SpecError::ArchiveAndMore { name });
    }
    let wrong = |source| SpecError::ArchiveImage { name, source };
    let image: Reference = archive.image.parse().map_err(wrong)?;
    Ok(image.in_archive(&archive.path))
}

fn platforms(texts: &[String], field: &str) -> Result<Vec<Declared>, SpecError> {
    texts
        .iter()
        .map(|text| {
            let declared = Declared::parse(text);
            declared.map_err(|source| SpecError::Platform { field: field.into(), source })
        })
        .collect()
}

#[cfg(test)]
mod tests;
