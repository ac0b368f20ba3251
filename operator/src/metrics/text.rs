//! pure: `OpenMetrics` → Prometheus text 0.0.4.

use std::collections::HashMap;

/// `OpenMetrics` as text 0.0.4: counters are named as their samples, info is a gauge, and there is
/// neither a unit nor an end.
pub(super) fn of_open(open: &str) -> String {
    let mut suffix = String::new();
    let mut renamed = HashMap::new();
    for line in open.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            match kind {
                "counter" => renamed.insert(name, (format!("{name}_total"), "counter")),
                "info" => renamed.insert(name, (format!("{name}_info"), "gauge")),
                _ => None,
            };
        }
    }
    for line in open.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let mut words = line.splitn(4, ' ');
        let of = (words.next(), words.next(), words.next(), words.next());
        let (line, end) = match of {
            (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), rest) => {
                let (name, kind) = renamed
                    .get(name)
                    .map_or((name, None), |(name, kind)| (name.as_str(), Some(*kind)));
                let rest = if what == "TYPE" { kind.or(rest) } else { rest };
                (format!("# {what} {name} {}", rest.unwrap_or_default()), "\n")
            }
            _ => (line.to_owned(), "\n"),
        };
        suffix.push_str(&line);
        suffix.push_str(end);
    }
    suffix
}
