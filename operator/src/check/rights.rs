//! pure: what an operator with these flags must be allowed to do.

use std::fmt;

use k8s_openapi::api::authorization::v1::ResourceAttributes;
use multiarch_crds::GROUP;

use super::{RESOURCE, SETS_RESOURCE};

/// One thing that it must be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    /// Where; `None` is everywhere.
    namespace: Option<String>,
    name: Option<String>,
    /// What does not work without it.
    purpose: &'static str,
}

/// What is needed.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// The namespaces that are watched; all of them where there is none.
    pub namespaces: &'a [String],
    /// The namespaces whose Secrets are needed; those that are watched where it is `None`.
    pub secrets: Option<&'a [String]>,
    /// Whether the platforms of nodes are looked at.
    pub nodes: bool,
    /// Whether sets of images are kept.
    pub sets: bool,
    /// Namespace and name of each Lease that it stands for.
    pub leases: &'a [(String, String)],
    /// The namespace of the coverage maps, where it keeps them.
    pub maps: Option<&'a str>,
}

type Rule = (&'static str, &'static str, &'static str, &'static [&'static str], &'static str);

/// Wherever objects are watched.
const EVERYWHERE: [Rule; 5] = [
    (GROUP, RESOURCE, "", &["get", "list", "watch"], "no object is seen"),
    (GROUP, RESOURCE, "", &["patch"], "deletionPolicy: Delete does not work"),
    (GROUP, RESOURCE, "status", &["patch"], "no object has a status"),
    ("", "serviceaccounts", "", &["get"], "serviceAccountName does not work"),
    ("", "namespaces", "", &["get"], "a namespace that is deleted waits for registries"),
];
/// The same, where sets are kept.
const SETS: [Rule; 4] = [
    (GROUP, SETS_RESOURCE, "", &["get", "list", "watch"], "no set is seen"),
    (GROUP, SETS_RESOURCE, "status", &["patch"], "no set has a status"),
    (GROUP, RESOURCE, "", &["create", "delete"], "sets have no objects"),
    ("", "configmaps", "", &["get"], OF_LISTS),
];
const OF_LISTS: &str = "imagesFrom of sets does not work";
const EVENTS: Rule = ("events.k8s.io", "events", "", &["create"], "no Events tell what happens");
const SECRETS: Rule = ("", "secrets", "", &["get"], "objects have no credentials");
const NODES: Rule = ("", "nodes", "", &["list", "watch"], "NodesCovered stays Unknown");
const LEASE: [Rule; 2] = [
    ("coordination.k8s.io", "leases", "", &["create"], "no replica works"),
    ("coordination.k8s.io", "leases", "", &["get", "update"], "no replica works"),
];

const MAPS: Rule = (
    "",
    "configmaps",
    "",
    &["get", "list", "watch", "create", "update", "delete"],
    "admission policies do not see what is published",
);

/// All that `needs` takes.
#[must_use]
pub fn rights(needs: Needs<'_>) -> Vec<Right> {
    let watched = places(needs.namespaces);
    let secrets = match needs.secrets {
        None => watched.clone(),
        Some(listed) => listed.iter().cloned().map(Some).collect(),
    };
    let mut all = Vec::new();
    for place in &watched {
        let of_sets: &[Rule] = if needs.sets { &SETS } else { &[] };
        for rule in EVERYWHERE.iter().chain(of_sets).chain([&EVENTS]) {
            all.extend(of_rule(rule, place.as_deref(), None));
        }
    }
    for place in &secrets {
        all.extend(of_rule(&SECRETS, place.as_deref(), None));
    }
    if needs.nodes {
        all.extend(of_rule(&NODES, None, None));
    }
    for (at, (namespace, name)) in needs.leases.iter().enumerate() {
        let [create, others] = &LEASE;
        // It is not by name, so that one of them is all of one namespace.
        if !needs.leases[..at].iter().any(|(other, _)| other == namespace) {
            all.extend(of_rule(create, Some(namespace), None));
        }
        all.extend(of_rule(others, Some(namespace), Some(name)));
    }
    if let Some(namespace) = needs.maps {
        all.extend(of_rule(&MAPS, Some(namespace), None));
    }
    all
}

fn places(namespaces: &[String]) -> Vec<Option<String>> {
    if namespaces.is_empty() {
        return vec![None];
    }
    namespaces.iter().cloned().map(Some).collect()
}

fn of_rule<'a>(
    &(group, resource, subresource, verbs, purpose): &'a Rule,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
) -> impl Iterator<Item = Right> + 'a {
    verbs.iter().map(move |verb| Right {
        verb,
        group,
        resource,
        subresource,
        namespace: namespace.map(ToOwned::to_owned),
        name: name.map(ToOwned::to_owned),
        purpose,
    })
}

impl Right {
    /// As the API server is asked.
    #[must_use]
    pub fn attributes(&self) -> ResourceAttributes {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ResourceAttributes {
            verb: some(self.verb),
            group: some(self.group),
            resource: some(self.resource),
            subresource: some(self.subresource),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            ..ResourceAttributes::default()
        }
    }

    /// What follows, and what to do.
    #[must_use]
    pub fn remedy(&self) -> String {
        let purpose = self.purpose;
        match (self.resource, &self.namespace) {
            ("leases", _) => format!(
                "{purpose}; rbac.create and leaderElection of the chart give the right to this Lease, and coverageMaps.enabled that to multiarch-coverage"
            ),
            _ if SETS.iter().any(|(.., of_sets)| *of_sets == purpose) => {
                format!("{purpose}; rbac.create and sets.enabled of the chart give it")
            }
            ("configmaps", _) => format!(
                "{purpose}; rbac.create and coverageMaps.enabled of the chart give it in the namespace of the Leases"
            ),
            ("nodes", _) => {
                format!("{purpose}; rbac.create and nodePlatforms.enabled of the chart give it")
            }
            ("secrets", Some(namespace)) => format!(
                "{purpose} in {namespace}; rbac.secretNamespaces of the chart, or a RoleBinding there, gives it"
            ),
            ("secrets", None) => format!(
                "{purpose}; rbac.secrets of the chart gives it everywhere (Cluster) or by namespace (PerNamespace)"
            ),
            _ => format!("{purpose}; rbac.create and rbac.scope of the chart give it"),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            // They are in none.
            None if self.resource == NODES.1 => Ok(()),
            None => f.write_str(" in all namespaces"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(needs: Needs<'_>) -> Vec<String> {
        rights(needs).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn of_the_whole_cluster() {
        let own = |name: &str| ("multiarch-system".to_owned(), name.to_owned());
        let leases = [own("multiarch-operator"), own("multiarch-coverage")];
        let maps = Some("multiarch-system");
        let needs = Needs {
            namespaces: &[],
            secrets: None,
            nodes: true,
            sets: true,
            leases: &leases,
            maps,
        };
        let expected = [
            "get multiarchimages in all namespaces",
            "list multiarchimages in all namespaces",
            "watch multiarchimages in all namespaces",
            "patch multiarchimages in all namespaces",
            "patch multiarchimages/status in all namespaces",
            "get serviceaccounts in all namespaces",
            "get namespaces in all namespaces",
            "get multiarchimagesets in all namespaces",
            "list multiarchimagesets in all namespaces",
            "watch multiarchimagesets in all namespaces",
            "patch multiarchimagesets/status in all namespaces",
            "create multiarchimages in all namespaces",
            "delete multiarchimages in all namespaces",
            "get configmaps in all namespaces",
            "create events in all namespaces",
            "get secrets in all namespaces",
            "list nodes",
            "watch nodes",
            "create leases in multiarch-system",
            "get leases multiarch-operator in multiarch-system",
            "update leases multiarch-operator in multiarch-system",
            "get leases multiarch-coverage in multiarch-system",
            "update leases multiarch-coverage in multiarch-system",
            "get configmaps in multiarch-system",
            "list configmaps in multiarch-system",
            "watch configmaps in multiarch-system",
            "create configmaps in multiarch-system",
            "update configmaps in multiarch-system",
            "delete configmaps in multiarch-system",
        ];
        assert_eq!(shown(needs), expected);
    }

    #[test]
    fn of_namespaces_and_the_secrets_of_some() {
        let (both, one) = (["a".to_owned(), "b".to_owned()], ["a".to_owned()]);
        let needs = Needs {
            namespaces: &both,
            secrets: None,
            nodes: false,
            sets: false,
            leases: &[],
            maps: None,
        };
        let all = shown(needs);
        assert_eq!(all.len(), 18);
        assert!(all.iter().all(|right| right.ends_with(" in a") || right.ends_with(" in b")));
        let secrets = |secrets| {
            let all = shown(Needs { secrets, ..needs });
            all.into_iter().filter(|right| right.contains("secrets")).collect::<Vec<_>>()
        };
        assert_eq!(secrets(Some(&one)), ["get secrets in a"]);
        assert_eq!(secrets(Some(&[])), [""; 0]);
    }

    #[test]
    fn each_says_what_to_do() {
        let namespaces = ["a".to_owned()];
        for namespaces in [&[][..], &namespaces] {
            let leases = [("n".to_owned(), "l".to_owned())];
            let needs = Needs {
                namespaces,
                secrets: None,
                nodes: true,
                sets: true,
                leases: &leases,
                maps: Some("n"),
            };
            for right in rights(needs) {
                assert!(right.remedy().contains("rbac."), "{right}: {}", right.remedy());
                let asked = right.attributes();
                assert_eq!(asked.verb.as_deref(), Some(right.verb));
                assert_eq!(asked.group.is_none(), right.group.is_empty());
            }
        }
    }
}
