//! The rules of sets.

use std::borrow::Cow;

use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{DNS_SUBDOMAIN, matches};

/// The schema of a line of a list: whatever it says, it hurts only itself.
pub(in super::super) struct Line;

impl JsonSchema for Line {
    fn schema_name() -> Cow<'static, str> {
        "Line".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An image: rancher/pause:3.1, quay.io/coreos/etcd:v3.5.0.",
            "type": "string",
            "maxLength": 320,
        })
    }
}

pub(in super::super) fn one_list() -> Rule {
    Rule::new("has(self.images) != has(self.imagesFrom)")
        .message("the list is in images or in a ConfigMap: give images or imagesFrom, and not both")
}

pub(in super::super) fn repository_prefix() -> Rule {
    Rule::new("self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*$')").message(
        "what stands before a repository: mirror or team/mirror; a-z, 0-9, and inside a part . _ __ and -; no slash at either end",
    )
}

/// Of a host alone, which another rule holds to its form.
pub(in super::super) fn host_is_named() -> Rule {
    Rule::new("self.matches('^localhost(/|$)') || !self.matches('^[a-z0-9][a-z0-9-]*(/|$)')").message(
        "a registry's host has a dot or a port, or is localhost: harbor.example.com or harbor:5000, not harbor, which is a namespace of Docker Hub in a reference",
    )
}

pub(in super::super) fn config_map_name() -> Rule {
    Rule::new(matches(DNS_SUBDOMAIN)).message(
        "not the name of a ConfigMap: a-z, 0-9, - and . only; it is in the same namespace, so name no other",
    )
}

pub(in super::super) fn config_map_key() -> Rule {
    Rule::new("self.matches('^[-._a-zA-Z0-9]+$')")
        .message("not a key of a ConfigMap: letters, digits, - _ and . only")
}
