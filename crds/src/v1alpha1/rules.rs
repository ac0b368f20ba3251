//! The CEL rules that the API server checks at apply, each with a sentence on what to do instead.
//!
//! They take the place of `pattern`, whose message is the regular expression. Each rule looks at one aspect and lets
//! pass what another one refuses, so that one mistake gives one sentence. Every string and list that they read is
//! bounded in the schema, or the API server refuses the whole CRD for its cost.

mod archive;
mod set;

use std::borrow::Cow;

use kube::core::{Message, Rule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub(super) use self::{
    archive::{
        archive_has_no_credential, image_or_archive, path_below, trusted_archive_has_a_platform,
    },
    set::{Line, config_map_key, config_map_name, host_is_named, one_list, repository_prefix},
};

/// Host labels, path components and tags as in distribution/reference v0.6.0; upper case and a missing registry are
/// let through here, because rules of their own say so better.
const REFERENCE: &str = concat!(
    "^([a-z]+://)?",
    r"((\[[0-9A-Fa-f:.]+\]|LABEL([.]LABEL)*)(:[1-9][0-9]{0,4})?|COMPONENT)",
    "(/COMPONENT)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@.*)?$",
);
const NAMED_REGISTRY: &str =
    r"^([a-z]+://)?((localhost|\[[^\]/]+\]|LABEL([.]LABEL)+)(:[0-9]+)?|LABEL:[0-9]+)/";
const HOST: &str = r"^(\[[0-9a-f:.]+\]|LABEL([.]LABEL)*)(:[1-9][0-9]{0,4})?$";
const LABEL: &str = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?";
const COMPONENT: &str = "[A-Za-z0-9]+(([.]|_|__|-+)[A-Za-z0-9]+)*";

/// As containerd/platforms v1.0.0-rc.5 reads it, with os and architecture both named.
const PLATFORM: &str = "^[A-Za-z0-9_-]+([(][A-Za-z0-9_.%-]*([+][A-Za-z0-9_.%-]+)*[)])?/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$";

const DURATION: &str = "^([0-9]{1,6}([.][0-9]{1,9})?(ns|us|ms|s|m|h))+$";

fn matches(pattern: &str) -> String {
    let pattern =
        pattern.replace("LABEL", LABEL).replace("COMPONENT", COMPONENT).replace('\\', r"\\");
    format!("self.matches('{pattern}')")
}

// References.

pub(super) fn no_scheme() -> Rule {
    Rule::new("!self.contains('://')").message("leave out the scheme: registry.example.com/app:1.0, not https://…; plain HTTP is switched on in spec.registries")
}

pub(super) fn named_registry() -> Rule {
    Rule::new(matches(NAMED_REGISTRY)).message(
        "begin with the registry's host: docker.io/library/nginx:1.27, not nginx:1.27 (a host has a dot or a port, or is localhost)",
    )
}

pub(super) fn docker_hub() -> Rule {
    Rule::new("!self.matches('^((index|registry-1)[.]docker[.]io/|docker[.]io/[^/]+$)')").message(
        "write Docker Hub as docker.io/<owner>/<repository>, its official images as docker.io/library/<repository>",
    )
}

pub(super) fn no_default_port() -> Rule {
    Rule::new("!self.matches('^[^/]+:0*443(/|$)')")
        .message("leave out :443, it is the default port")
}

pub(super) fn lower_case() -> Rule {
    Rule::new("self.matches('^(.*://)?([^A-Z/]*/)*[^A-Z/:@]*([:@][^/]*)?$')")
        .message("write the host and the repository in lower case; only a tag may have upper case")
}

pub(super) fn reference() -> Rule {
    Rule::new(matches(REFERENCE)).message(
        "not an image reference: write host[:port]/repository:tag; the repository's parts have a-z and 0-9, inside them . _ __ or -; \
         the tag has up to 128 of A-Z a-z 0-9 _ . and -; placeholders such as {tag} are not filled in",
    )
}

pub(super) fn target_has_tag() -> Rule {
    Rule::new("self.matches(':[^/:@]*(@.*)?$')")
        .message("name the tag to publish: registry.example.com/team/app:1.0 (write :latest if you mean that)")
}

pub(super) fn target_has_no_digest() -> Rule {
    Rule::new("!self.contains('@')").message(
        "a target takes host/repository:tag without digest: the digest comes out of publishing, see status.digest",
    )
}

pub(super) fn target_repository_is_immutable() -> Rule {
    Rule::new("(self + ':').startsWith(oldSelf.substring(0, oldSelf.lastIndexOf(':') + 1))").message(
        "the registry and repository of a target cannot change, only its tag: create another MultiArchImage for another repository",
    )
}

pub(super) fn source_has_tag_or_digest() -> Rule {
    Rule::new("self.matches(':[^/:@]*$|@')")
        .message("name a tag or a digest: host/repository:tag or host/repository@sha256:… (write :latest if you mean that)")
}

pub(super) fn source_digest() -> Rule {
    Rule::new(
        "!self.contains('@') || self.matches('^[^@]*@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$')",
    )
    .message("a digest is @sha256: and 64 hex digits in lower case, or @sha512: and 128")
}

// Tags.

const TAG: &str = "^[A-Za-z0-9_][A-Za-z0-9_.-]*$";

/// The schema of a tag in a list. The rule is the list element's, so that the error's path names the one that is wrong.
pub(super) struct Tag;

impl JsonSchema for Tag {
    fn schema_name() -> Cow<'static, str> {
        "Tag".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let rule = Rule::new(matches(TAG)).message(
            "not a tag: write it alone, such as latest or 1.0, without repository; a tag has A-Z a-z 0-9 _ . and -, and begins with none of . and -",
        );
        json_schema!({
            "description": "A tag: latest, 1.0.",
            "type": "string",
            "minLength": 1,
            "maxLength": 128,
            "x-kubernetes-validations": [rule],
        })
    }
}

pub(super) fn no_additional_tag_is_the_target() -> Rule {
    Rule::new("!has(self.additionalTags) || !self.additionalTags.exists(t, self.image.endsWith(':' + t))")
        .message("additionalTags are written beside the target's own tag: leave out the one that image names already")
}

pub(super) fn platform_tags_have_arch() -> Rule {
    Rule::new("self.contains('{arch}')")
        .message("put {arch} in it, or all platforms would have one tag: \"{tag}-{arch}{variant}\"")
}

pub(super) fn platform_tags_placeholders() -> Rule {
    Rule::new(matches(
        "^([A-Za-z0-9_]|[{](tag|os|arch|variant|osVersion)[}])([A-Za-z0-9_.-]|[{](tag|os|arch|variant|osVersion)[}])*$",
    ))
    .message("made of {tag}, {os}, {arch}, {variant}, {osVersion} and the characters of a tag, beginning with none of . and -: \"{tag}-{arch}{variant}\"")
}

// Names and hosts.

pub(super) fn dns_label() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')")
        .message("a name has a-z, 0-9 and - inside, at most 63 of them: arm64-v8, not arm64/v8")
}

const DNS_SUBDOMAIN: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";

pub(super) fn dns_subdomain() -> Rule {
    Rule::new(matches(DNS_SUBDOMAIN))
        .message("not the name of a Secret or ServiceAccount: a-z, 0-9, - and . only; it is in the same namespace, so name no other")
}

pub(super) fn host() -> Rule {
    Rule::new(matches(HOST)).message(
        "write the host, with its port if the references have one, and nothing else: registry.local:5000, not http://registry.local:5000/v2",
    )
}

pub(super) fn host_lower_case() -> Rule {
    Rule::new("!self.matches('[A-Z]')").message("write the host in lower case")
}

pub(super) fn host_of_docker_hub() -> Rule {
    Rule::new("!self.matches('^(index|registry-1)[.]docker[.]io$')")
        .message("write Docker Hub as docker.io")
}

// Platforms.

/// The schema of a platform in a list. The rule is the list element's, so that the error's path names the one that is wrong.
pub(super) struct Platform;

impl JsonSchema for Platform {
    fn schema_name() -> Cow<'static, str> {
        "Platform".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let rule = Rule::new(matches(PLATFORM))
            .message("not a platform: write os/architecture or os/architecture/variant, such as linux/amd64, linux/arm/v7, windows(10.0.17763)/amd64");
        json_schema!({
            "description": "A platform: linux/amd64, linux/arm/v7, windows(10.0.17763)/amd64.",
            "type": "string",
            "minLength": 1,
            "maxLength": 128,
            "x-kubernetes-validations": [rule],
        })
    }
}

pub(super) fn trust_needs_one_platform() -> Rule {
    Rule::new("self.platformPolicy != 'Trust' || (has(self.platforms) && size(self.platforms) == 1)")
        .message("platformPolicy Trust takes your word for what the image is: give exactly one in platforms, such as [linux/arm64]")
}

// Over all sources.

pub(super) fn not_all_optional() -> Rule {
    Rule::new("size(self) == 0 || self.exists(s, !s.optional)").message(
        "at least one source must not be optional, or an index of nothing would be complete",
    )
}

// The messages of the next two find a source by the place of a `true` in a list of booleans: filter() and map() forget how
// long strings are, and the API server refuses what it can put no bound to.

pub(super) fn one_source_a_platform() -> Rule {
    // Annotations may tell two of one platform apart, as those of compression do.
    let single = |x: &str| {
        format!("has({x}.platforms) && size({x}.platforms) == 1 && !has({x}.annotations)")
    };
    let same = |x: &str, y: &str| format!("{} && {x}.platforms[0] == {y}.platforms[0]", single(x));
    let (a, only) = (single("a"), format!("self.exists_one(b, {})", same("b", "a")));
    let first = format!("self.map(a, {a} && !{only}).indexOf(true)");
    let last =
        format!("[{first}].map(i, self.map(b, {}).lastIndexOf(true))[0]", same("b", "self[i]"));
    Rule::new(format!("self.all(a, !({a}) || {only})")).message(Message::Expression(format!(
        "'sources ' + self[{first}].name + ' and ' + self[{last}].name + ' both declare ' + self[{first}].platforms[0] \
         + ', and an index has one image for each platform: keep one of them, or correct its platforms'"
    )))
}

pub(super) fn no_source_is_the_target() -> Rule {
    let same = "has(s.image) && s.image == self.target.image";
    Rule::new(format!("!self.sources.exists(s, {same})")).message(Message::Expression(format!(
        "'source ' + self.sources[self.sources.map(s, {same}).indexOf(true)].name + ' is the target itself: \
         to keep what the tag has already, leave this source out and set removalPolicy: Retain'"
    )))
}

pub(super) fn no_source_is_an_additional_tag() -> Rule {
    let repository = "self.target.image.substring(0, self.target.image.lastIndexOf(':') + 1)";
    Rule::new(format!(
        "!has(self.target.additionalTags) || !self.target.image.contains(':') \
         || !self.sources.exists(s, has(s.image) && self.target.additionalTags.exists(t, s.image == {repository} + t))"
    ))
    .message("a source is one of target.additionalTags, which would be overwritten: take it out of one of the two")
}

pub(super) fn docker_drops_attestations() -> Rule {
    Rule::new("self.target.format != 'Docker' || self.attestations == 'Drop'")
        .message("a Docker manifest list has no attestations: with target.format Docker, say attestations: Drop")
}

pub(super) fn docker_has_no_annotations() -> Rule {
    Rule::new(
        "self.target.format != 'Docker' \
         || (!has(self.annotations) && self.sources.all(s, !has(s.annotations)))",
    )
    .message("a Docker manifest list has no annotations: leave them out, or publish with target.format OCI")
}

pub(super) fn immutable_is_complete() -> Rule {
    Rule::new("self.target.tagPolicy != 'Immutable' || self.publishPolicy == 'Complete'").message(
        "an immutable tag is written once, so it must be whole: tagPolicy Immutable needs publishPolicy Complete",
    )
}

pub(super) fn certificates_need_tls() -> Rule {
    Rule::new("!self.plainHTTP || !has(self.certSecretRef)").message(
        "certSecretRef is for TLS, and plainHTTP does without it: leave out one of the two",
    )
}

pub(super) fn provider_or_secret() -> Rule {
    Rule::new("!has(self.provider) || !has(self.secretRef)").message(
        "provider gives the credential in the place of a Secret: leave out provider or secretRef",
    )
}

pub(super) fn providers_trust_the_operators_cas() -> Rule {
    let there = |image: &str| format!("{image}.image.startsWith(r.host + '/')");
    Rule::new(format!(
        "!has(self.registries) || !self.registries.exists(r, (r.plainHTTP || has(r.certSecretRef)) \
         && ((has(self.target.provider) && {}) || self.sources.exists(s, has(s.provider) && {})))",
        there("self.target"),
        there("s")
    ))
    .message(
        "where provider gives the operator's credential, TLS is by the CAs that the operator trusts: take that host out of registries",
    )
}

// Durations.

pub(super) fn duration(example: &str) -> Rule {
    Rule::new(matches(DURATION)).message(
        format!("write a duration with units, such as {example}; it cannot be negative").as_str(),
    )
}

pub(super) fn at_least_30s() -> Rule {
    Rule::new(format!("!{} || duration(self) >= duration('30s')", matches(DURATION)))
        .message("interval is at least 30s; to have a change picked up at once, set the annotation multiarch.dev/requestedAt instead")
}

pub(super) fn from_10s_to_24h() -> Rule {
    Rule::new(format!(
        "!{} || (duration(self) >= duration('10s') && duration(self) <= duration('24h'))",
        matches(DURATION)
    ))
    .message("timeout is between 10s and 24h")
}

// Annotations.

pub(super) fn annotation_keys() -> Rule {
    Rule::new("self.all(k, size(k) > 0 && size(k) <= 256)")
        .message("an annotation's key has 1 to 256 characters")
}

pub(super) fn no_buildkit_annotations() -> Rule {
    Rule::new("self.all(k, !k.startsWith('vnd.docker.reference.'))").message(
        "keys that begin with vnd.docker.reference tie BuildKit's attestations to their image, and are not set by hand",
    )
}

/// The schema of a label's key in a list.
pub(super) struct LabelKey;

impl JsonSchema for LabelKey {
    fn schema_name() -> Cow<'static, str> {
        "LabelKey".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The key of a label: org.opencontainers.image.revision.",
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
        })
    }
}
