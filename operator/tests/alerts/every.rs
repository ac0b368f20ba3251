//! Every metric that the operator has, each with a sample.

use std::time::Duration;

use multiarch_operator::{
    metrics::{CoverageGauges, MapWrite, Metrics, ObjectGauges, SetGauges},
    registry::shared::{Of, Use},
};

/// Metrics of which each was counted or set.
pub(crate) fn metrics() -> Metrics {
    let metrics = Metrics::new();
    metrics.ran(Duration::ZERO);
    metrics.pushed("success");
    metrics.requested("r.example.com", "HEAD", Some(200), Duration::ZERO);
    metrics.left("r.example.com", 1);
    metrics.sent(1);
    metrics.token(true);
    metrics.leads("multiarch-operator", true);
    metrics.shared(&Use { of: Of::Manifest, hit: true, kept: 1 });
    metrics.asked_provider("ecr", "success");
    metrics.show_coverage(Some(CoverageGauges::default()));
    metrics.wrote_map(MapWrite::Success);
    metrics.gauge_objects(|| {
        let (namespace, name) = ("team".into(), "app".into());
        vec![ObjectGauges {
            namespace,
            name,
            ready: 1,
            published: 1,
            missing: 0,
            nodes_missing: Some(0),
        }]
    });
    metrics.gauge_sets(|| {
        let (namespace, name) = ("team".into(), "k3s".into());
        let images = Some([("ready", 5), ("waiting", 2), ("failing", 1)]);
        vec![SetGauges { namespace, name, ready: 0, images }]
    });
    metrics.gauge_nodes(|| vec![("linux/amd64".into(), 1)]);
    metrics
}
