//! What is gauged when it is scraped: the objects and the nodes that there are then.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::gauge::ConstGauge,
};

/// What the gauges show of one object: 1 True, 0 False, -1 Unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectGauges {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The condition Ready.
    pub ready: i64,
    /// The condition Published.
    pub published: i64,
    /// How many required platforms are missing.
    pub missing: i64,
    /// How many platforms of nodes are missing, where nodes are looked at.
    pub nodes_missing: Option<i64>,
}

/// What the gauges show of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetGauges {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The condition Ready.
    pub ready: i64,
    /// How many images of its list are `ready`, `waiting` and `failing`, where it was read.
    pub images: Option<[(&'static str, i64); 3]>,
}

type ListFn<T> = dyn Fn() -> Vec<T> + Send + Sync;

/// Who lists what.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) objects: OnceLock<Box<ListFn<ObjectGauges>>>,
    pub(super) nodes: OnceLock<Box<ListFn<(String, usize)>>>,
    pub(super) sets: OnceLock<Box<ListFn<SetGauges>>>,
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lists")
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ObjectLabels {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SetLabels {
    namespace: String,
    name: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlatformLabels {
    platform: String,
}

/// The gauges of these, made at each scrape.
#[derive(Debug)]
pub(super) struct AtScrape(pub(super) Arc<Lists>);

impl Collector for AtScrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let objects = self.0.objects.get().map(|list| list()).unwrap_or_default();
        let of = |object: &ObjectGauges| {
            let (namespace, name) = (object.namespace.clone(), object.name.clone());
            ObjectLabels { namespace, name }
        };
        let mut gauge = |name: &str, help: &str, value: fn(&ObjectGauges) -> Option<i64>| {
            let samples = objects.iter().filter_map(|o| Some((of(o), value(o)?)));
            family(&mut encoder, name, help, samples)
        };
        let values = "1 True, 0 False, -1 Unknown";
        let help = format!("Condition Ready of an object: {values}");
        gauge("resource_ready", &help, |o| Some(o.ready))?;
        let help = format!("Condition Published of an object: {values}");
        gauge("resource_published", &help, |o| Some(o.published))?;
        let help = "Required platforms that an object lacks";
        gauge("platforms_missing", help, |o| Some(o.missing))?;
        let help = "Platforms of nodes that the published index of an object lacks";
        gauge("nodes_missing", help, |o| o.nodes_missing)?;
        let nodes = self.0.nodes.get().map(|list| list()).unwrap_or_default();
        let nodes = nodes.into_iter().map(|(platform, nodes)| {
            (PlatformLabels { platform }, i64::try_from(nodes).unwrap_or(i64::MAX))
        });
        let help = "Nodes of a platform that counts; 0 for an hour after the last one";
        family(&mut encoder, "node_platforms", help, nodes)?;
        let sets = self.0.sets.get().map(|list| list()).unwrap_or_default();
        let ready = sets.iter().map(|set| {
            let (namespace, name) = (set.namespace.clone(), set.name.clone());
            (ObjectLabels { namespace, name }, set.ready)
        });
        let help = format!("Condition Ready of a set: {values}");
        family(&mut encoder, "set_ready", &help, ready)?;
        let images = sets.iter().flat_map(|set| {
            set.images.into_iter().flatten().map(|(state, images)| {
                let (namespace, name) = (set.namespace.clone(), set.name.clone());
                (SetLabels { namespace, name, state }, images)
            })
        });
        family(&mut encoder, "set_images", "Images of a set's list that are so", images)
    }
}

/// One gauge with its samples; nothing without them.
fn family<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (L, i64)>,
) -> Result<(), fmt::Error> {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let kind = ConstGauge::new(0_i64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in samples {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
