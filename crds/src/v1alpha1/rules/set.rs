//! The rules of sets.

use std::borrow::Cow;

use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

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

pub(in super::super) fn config_map_key() -> Rule {
    Rule::new("self.matches('^[-._a-zA-Z0-9]+$')")
        .message("not a key of a ConfigMap: letters, digits, - _ and . only")
}
