//! The metrics of the coverage maps, which only the process shows that writes them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use tokio::time::Instant;

/// What the gauges show of the coverage maps.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoverageGauges {
    /// Since when the oldest change waits to be written.
    pub since: Option<Instant>,
    /// How many keys they have.
    pub entries: usize,
    /// How many there are.
    pub maps: usize,
    /// How many keys they have no room for.
    pub left_out: usize,
}

/// What became of a write of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapWrite {
    /// It was written.
    Success,
    /// Something else had written it.
    Conflict,
    /// The API server refused, or did not answer.
    Failure,
}

const RESULTS: [MapWrite; 3] = [MapWrite::Success, MapWrite::Conflict, MapWrite::Failure];

#[derive(Clone, Debug, Default)]
pub(super) struct Shown(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    gauges: Option<CoverageGauges>,
    writes: [u64; RESULTS.len()],
}

impl Shown {
    pub(super) fn show(&self, gauges: Option<CoverageGauges>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).gauges = gauges;
    }

    pub(super) fn wrote(&self, result: MapWrite) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.writes[result as usize] += 1;
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(gauges) = state.gauges else { return Ok(()) };
        let pending = gauges.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        let help = "Age of the oldest change of the coverage maps that is not written yet";
        let pending = ConstGauge::new(pending);
        let kind = pending.metric_type();
        let unit = Unit::Seconds;
        pending.encode(encoder.encode_descriptor(
            "coverage_pending",
            help,
            Some(&unit),
            kind,
        )?)?;
        let counts = [
            ("coverage_entries", "Keys in the coverage maps", gauges.entries),
            ("coverage_maps", "Coverage maps", gauges.maps),
            ("coverage_left_out", "Keys that the coverage maps have no room for", gauges.left_out),
        ];
        for (name, help, count) in counts {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        let help = "Writes of coverage maps, by result";
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut writes = encoder.encode_descriptor("coverage_writes", help, None, kind)?;
        for result in RESULTS {
            let labels = [("result", result.name())];
            let count = ConstCounter::new(state.writes[result as usize]);
            count.encode(writes.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl MapWrite {
    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Conflict => "conflict",
            Self::Failure => "failure",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Format, Metrics};

    #[tokio::test(start_paused = true)]
    async fn only_who_writes_shows_them() {
        let metrics = Metrics::new();
        let lines = || {
            let text = metrics.render(Format::Text);
            let lines = text.lines().filter(|line| line.starts_with("multiarch_coverage_"));
            lines.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(), [""; 0]);
        let gauges =
            CoverageGauges { since: Some(Instant::now()), entries: 7, maps: 2, left_out: 1 };
        metrics.show_coverage(Some(gauges));
        metrics.wrote_map(MapWrite::Success);
        tokio::time::advance(Duration::from_secs(90)).await;
        let expected = [
            "multiarch_coverage_pending_seconds 90.0",
            "multiarch_coverage_entries 7",
            "multiarch_coverage_maps 2",
            "multiarch_coverage_left_out 1",
            r#"multiarch_coverage_writes_total{result="success"} 1"#,
            r#"multiarch_coverage_writes_total{result="conflict"} 0"#,
            r#"multiarch_coverage_writes_total{result="failure"} 0"#,
        ];
        assert_eq!(lines(), expected);
        metrics.show_coverage(Some(CoverageGauges::default()));
        assert_eq!(lines()[0], "multiarch_coverage_pending_seconds 0.0");
        metrics.show_coverage(None);
        assert_eq!(lines(), [""; 0]);
    }
}
