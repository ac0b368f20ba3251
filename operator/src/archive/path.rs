//! Names within an archive: which are harmless, and where a link leads.

/// How long a name may be, as systems have it.
pub(super) const LONGEST: usize = 4096;

/// `name` in its one spelling: without `.`, doubled slashes and one at the end; empty for the root.
pub(super) fn normal(name: &str) -> Result<String, &'static str> {
    check(name)?;
    if name.split('/').any(|part| part == "..") {
        return Err("has a path with `..`");
    }
    Ok(joined(name.split('/')))
}

/// Where the symbolic link `from` leads, which is in its normal spelling.
pub(super) fn linked(from: &str, to: &str) -> Result<String, &'static str> {
    check(to)?;
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            ".." if parts.pop().is_none() => return Err("is a link that leads out of the archive"),
            "" | "." | ".." => {}
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn check(name: &str) -> Result<(), &'static str> {
    if name.starts_with('/') {
        return Err("has an absolute path");
    }
    if name.contains('\0') {
        return Err("has a path with a null byte");
    }
    if name.len() > LONGEST {
        return Err("has a path of more than 4096 bytes");
    }
    Ok(())
}

fn joined<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for part in parts.filter(|part| !matches!(*part, "" | ".")) {
        if !joined.is_empty() {
            joined.push('/');
        }
        joined.push_str(part);
    }
    joined
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("manifest.json", Ok("manifest.json"))]
    #[case("./a//b/./c/", Ok("a/b/c"))]
    #[case("./", Ok(""))]
    #[case("", Ok(""))]
    #[case("a/..b/...", Ok("a/..b/..."))]
    #[case("/etc/passwd", Err("has an absolute path"))]
    #[case("a/../b", Err("has a path with `..`"))]
    #[case("..", Err("has a path with `..`"))]
    #[case("a\0b", Err("has a path with a null byte"))]
    #[case(&"a".repeat(4097), Err("has a path of more than 4096 bytes"))]
    fn names(#[case] name: &str, #[case] expected: Result<&str, &'static str>) {
        assert_eq!(normal(name), expected.map(String::from));
    }

    #[rstest]
    #[case("id/layer.tar", "../abc.tar", Ok("abc.tar"))]
    #[case("id/layer.tar", "./x/../y", Ok("id/y"))]
    #[case("layer.tar", "y", Ok("y"))]
    #[case("id/layer.tar", "../../etc/passwd", Err("is a link that leads out of the archive"))]
    #[case("layer.tar", "..", Err("is a link that leads out of the archive"))]
    #[case("id/layer.tar", "/etc/passwd", Err("has an absolute path"))]
    fn links(#[case] from: &str, #[case] to: &str, #[case] expected: Result<&str, &'static str>) {
        assert_eq!(linked(from, to), expected.map(String::from));
    }
}
