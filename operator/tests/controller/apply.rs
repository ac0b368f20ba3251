//! How an API server merges what is applied: as structured-merge-diff does.

use serde_json::{Map, Value};

/// What `live` becomes when a manager that has applied `last` before applies `body`. In lists that are maps (by `name` or `host`) or sets (of scalars), and in
/// objects, stays what others have put there.
pub(crate) fn applied(body: &Value, last: &Value, live: &Value) -> Value {
    match (body, live) {
        (Value::Object(says), Value::Object(there)) => {
            let kept = there.iter().filter(|(key, _)| last.get(key.as_str()).is_none());
            let mut merged: Map<_, _> = kept.map(|(key, it)| (key.clone(), it.clone())).collect();
            for (key, value) in says {
                merged.insert(key.clone(), applied(value, &last[key], &live[key]));
            }
            Value::Object(merged)
        }
        (Value::Array(says), Value::Array(there)) => {
            let mut merged = Vec::new();
            for it in there {
                let before = find(last.as_array(), it);
                match (find(Some(says), it), before) {
                    (Some(said), before) => {
                        merged.push(applied(said, before.unwrap_or(&Value::Null), it));
                    }
                    (None, None) => merged.push(it.clone()),
                    (None, Some(_)) => {}
                }
            }
            merged.extend(says.iter().filter(|said| find(Some(there), said).is_none()).cloned());
            Value::Array(merged)
        }
        _ => body.clone(),
    }
}

/// The item of `list` that is the same as `of`.
fn find<'a>(list: Option<&'a Vec<Value>>, of: &Value) -> Option<&'a Value> {
    let key = |it: &Value| it.get("name").or_else(|| it.get("host")).cloned();
    list?.iter().find(|it| match (key(it), key(of)) {
        (None, None) => *it == of,
        (a, b) => a == b,
    })
}
