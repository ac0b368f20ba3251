//! values.yaml, as its comments document it: the chart's README is made of this.

use std::fmt::Write;

/// A value that has a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documented {
    /// Its path, `a.b`.
    pub path: String,
    /// What the comment says.
    pub text: String,
    /// Its default as YAML on one line; `None` where values below it are documented.
    pub default: Option<String>,
}

/// What the comments of `yaml` document, in order. A comment stands above its key; a key without one is a part of the
/// default of the one above it.
pub fn documented(yaml: &str) -> Result<Vec<Documented>, String> {
    let (mut all, mut comment, mut above) = (Vec::<Node>::new(), Vec::new(), Vec::new());
    for (number, line) in yaml.lines().enumerate() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(words) = text.strip_prefix('#') {
            comment.push(words.trim());
        } else if text.is_empty() {
            comment.clear();
        } else if let (false, Some((key, _))) = (text.starts_with('-'), text.split_once(':')) {
            above.retain(|(of, _): &(usize, String)| *of < indent);
            above.push((indent, key.to_owned()));
            let path: Vec<_> = above.iter().map(|(_, key)| key.as_str()).collect();
            let path = path.join(".");
            if comment.is_empty() {
                let known = all.iter().any(|node| path.starts_with(&format!("{}.", node.path)));
                known
                    .then_some(())
                    .ok_or_else(|| format!("line {}: {path} has no comment", number + 1))?;
            } else {
                let parent = path.rsplit_once('.').map(|(parent, _)| parent.to_owned());
                if let Some(parent) =
                    all.iter_mut().find(|node| Some(&node.path) == parent.as_ref())
                {
                    parent.is_section = true;
                }
                all.push(Node { path, text: comment.join(" "), is_section: false });
            }
            comment.clear();
        }
    }
    let values: serde_json::Value =
        serde_saphyr::from_str(yaml).map_err(|error| format!("it is no YAML: {error}"))?;
    let documented = |node: Node| {
        let pointer = format!("/{}", node.path.replace('.', "/"));
        let default = values.pointer(&pointer).map(flow).filter(|_| !node.is_section);
        Documented { path: node.path, text: node.text, default }
    };
    Ok(all.into_iter().map(documented).collect())
}

struct Node {
    path: String,
    text: String,
    is_section: bool,
}

/// YAML on one line, as people write it.
fn flow(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(map) => {
            let inside: Vec<_> =
                map.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{{}}}", inside.join(", "))
        }
        serde_json::Value::Array(all) => {
            let inside: Vec<_> = all.iter().map(flow).collect();
            format!("[{}]", inside.join(", "))
        }
        serde_json::Value::String(text) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            let safe = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
            if safe && text.chars().all(plain) { text.clone() } else { format!("{text:?}") }
        }
        other => other.to_string(),
    }
}

/// A table of all values, each section with a line of its own.
#[must_use]
pub fn table(all: &[Documented]) -> String {
    let mut text = String::from("| value | default | |\n| --- | --- | --- |\n");
    for Documented { path, text: words, default } in all {
        let words = words.replace('|', "\\|");
        let _ = match default {
            None => writeln!(text, "| **{path}** | | **{words}** |"),
            Some(default) => {
                let default = default.replace('|', "\\|");
                writeln!(text, "| `{path}` | `{default}` | {words} |")
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_comments_and_defaults() {
        let yaml = "# All of\n# it.\na:\n  # One.\n  b: 1\n  # A map.\n  c:\n    d: \"x y\"\n    e: []\n\n# Alone.\nf: \"\"\n# A list.\ng:\n- h: 1\n  i: j\n";
        let all = documented(yaml).unwrap();
        let short: Vec<_> = all
            .iter()
            .map(|value| format!("{} {} {:?}", value.path, value.text, value.default.as_deref()))
            .collect();
        let expected = [
            r"a All of it. None",
            r#"a.b One. Some("1")"#,
            r#"a.c A map. Some("{d: \"x y\", e: []}")"#,
            r#"f Alone. Some("\"\"")"#,
            r#"g A list. Some("[{h: 1, i: j}]")"#,
        ];
        assert_eq!(short, expected);
        assert!(documented("# A.\na: 1\n\nb: 2\n").unwrap_err().contains("b has no comment"));
    }
}
