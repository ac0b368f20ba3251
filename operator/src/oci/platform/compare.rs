//! Platforms compared: which is the same, which covers what is required, which agrees with what was declared.

use super::{Platform, PlatformError, Words, normalize_os};

/// The architectures that Go knows, with those that it reserves (`internal/syslist`).
const ARCHITECTURES: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "arm64",
    "arm64be",
    "armbe",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// The operating systems that Go knows, and the second preview of WASI.
const SYSTEMS: [&str; 20] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasi",
    "wasip1",
    "wasip2",
    "windows",
    "zos",
];

impl Platform {
    /// Whether both are the same platform, whatever the words.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.sort_key() == other.sort_key()
    }

    /// Whether an image of this platform serves who requires `required`: equality, where what
    /// `required` leaves out of the version is not compared. Nor is Windows' `win32k` where it is not
    /// named: containerd's matcher for Windows passes over it too, since every Windows but Nano Server
    /// has it.
    #[must_use]
    pub fn covers(&self, required: &Self) -> bool {
        let (mut own, mut required) = (self.normalized(), required.normalized());
        if !own.is_version(required.os_version.as_deref()) {
            return false;
        }
        (own.os_version, required.os_version) = (None, None);
        if own.os == "windows" && required.os_features.is_empty() {
            own.os_features.retain(|feature| feature != "win32k");
        }
        own == required
    }

    /// Whether an image of this platform takes the place of one of `old`: it is the same platform, or
    /// another revision of the same build of Windows, which changes with every update of the base
    /// image.
    #[must_use]
    pub fn replaces(&self, old: &Self) -> bool {
        let [own, old] = [self, old].map(|platform| {
            let mut platform = platform.normalized();
            if let Some(version) = platform.os_version.as_mut().filter(|_| platform.os == "windows")
            {
                let build = version.match_indices('.').nth(2).map(|(at, _)| at);
                version.truncate(build.unwrap_or(version.len()));
            }
            platform
        });
        own == old
    }

    /// Whether its `os.version` is `asked` or, on Windows, begins with it: `10.0.17763` is every
    /// revision of that build, as it is to containerd and Docker, which compare no more when they
    /// choose an image for a host.
    #[must_use]
    pub fn is_version(&self, asked: Option<&str>) -> bool {
        let (Some(asked), own) = (asked, self.os_version.as_deref()) else { return true };
        let own = own.unwrap_or_default();
        let rest = own.strip_prefix(asked);
        rest.is_some_and(|rest| {
            rest.is_empty() || (normalize_os(&self.os) == "windows" && rest.starts_with('.'))
        })
    }

    /// What is odd about its words, where Go knows no such operating system or architecture: then
    /// no image will ever have it, unless Go learns it later.
    #[must_use]
    pub fn oddity(&self) -> Option<&'static str> {
        let platform = self.normalized();
        if !ARCHITECTURES.contains(&platform.architecture.as_str()) {
            Some("no such architecture is known")
        } else if !SYSTEMS.contains(&platform.os.as_str()) {
            Some("no such operating system is known")
        } else {
            None
        }
    }

    /// Whether this, the platform of a config, is what a user declared as `declared`, the text of
    /// a source's `platforms`: a field that the text leaves out is not compared.
    ///
    /// Needs the text, since parsing fills fields in and leaves them out: `linux/armhf` says v7 and
    /// is parsed as `linux/arm`, which says nothing of the variant.
    pub fn agrees_with(&self, declared: &str) -> Result<bool, PlatformError> {
        let words = Words::of(declared)?;
        let (own, declared) = (self.normalized(), words.platform().normalized());
        Ok(own.os == declared.os
            && own.architecture == declared.architecture
            && (!words.says_variant() || own.variant == declared.variant)
            && own.is_version(declared.os_version.as_deref())
            && (declared.os_features.is_empty() || own.os_features == declared.os_features))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("linux/arm64", "linux/arm64/v8", true)]
    #[case("linux/arm", "linux/arm/v7", true)]
    #[case("linux/amd64", "linux/amd64/v1", true)]
    #[case("linux/amd64", "linux/amd64/v2", false)]
    #[case("linux/arm", "linux/arm/v6", false)]
    #[case("linux/amd64", "linux/386", false)]
    #[case("windows(10.0.17763)/amd64", "windows/amd64", false)]
    #[case("windows(10.0.17763)/amd64", "windows(10.0.20348)/amd64", false)]
    #[case("windows(10.0.17763)/amd64", "windows(10.0.17763.1)/amd64", false)]
    #[case("windows(10+a+b)/amd64", "windows(10+b+a)/amd64", true)]
    #[case("windows(10+a)/amd64", "windows(10)/amd64", false)]
    fn is_the_same(#[case] left: &str, #[case] right: &str, #[case] same: bool) {
        let (left, right) = (platform(left), platform(right));
        assert_eq!(left.same_as(&right), same);
        assert_eq!(right.same_as(&left), same);
        assert_eq!(left.sort_key() == right.sort_key(), same);
    }

    #[rstest]
    #[case("linux/arm64/v8", "linux/arm64", true)]
    #[case::never_386("linux/386", "linux/amd64", false)]
    #[case::never_386_the_other_way("linux/amd64", "linux/386", false)]
    #[case::never_older("linux/arm/v6", "linux/arm/v7", false)]
    #[case::never_newer("linux/amd64/v2", "linux/amd64", false)]
    #[case("windows(10.0.17763)/amd64", "windows/amd64", true)]
    #[case("windows/amd64", "windows(10.0.17763)/amd64", false)]
    #[case("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64", true)]
    #[case("windows(10.0.17763)/amd64", "windows(10.0.20348)/amd64", false)]
    #[case::any_revision("windows(10.0.17763.1234)/amd64", "windows(10.0.17763)/amd64", true)]
    #[case::one_revision("windows(10.0.17763.1234)/amd64", "windows(10.0.17763.1)/amd64", false)]
    #[case::one_revision_at_least(
        "windows(10.0.17763)/amd64",
        "windows(10.0.17763.1)/amd64",
        false
    )]
    #[case::whole_numbers("windows(10.0.177631)/amd64", "windows(10.0.17763)/amd64", false)]
    #[case::windows_alone("darwin(14.5)/arm64", "darwin(14)/arm64", false)]
    #[case::win32k("windows(10.0.17763.1+win32k)/amd64", "windows(10.0.17763)/amd64", true)]
    #[case::other_feature("windows(10.0.17763+x)/amd64", "windows/amd64", false)]
    #[case::a_feature_that_is_named("windows(10.0.17763)/amd64", "windows(+win32k)/amd64", false)]
    #[case::the_feature_that_is_named("windows(10+win32k)/amd64", "windows(+win32k)/amd64", true)]
    #[case::linux_has_no_win32k("linux(+win32k)/amd64", "linux/amd64", false)]
    fn serves(#[case] image: &str, #[case] required: &str, #[case] covers: bool) {
        assert_eq!(platform(image).covers(&platform(required)), covers);
    }

    #[rstest]
    #[case("linux/arm64/v8", "linux/arm64", true)]
    #[case("linux/arm/v6", "linux/arm/v7", false)]
    #[case("windows(10.0.17763.5576)/amd64", "windows(10.0.17763.5458)/amd64", true)]
    #[case("windows(10.0.17763)/amd64", "windows(10.0.17763.5458)/amd64", true)]
    #[case("windows(10.0.20348.1)/amd64", "windows(10.0.17763.1)/amd64", false)]
    #[case("windows(10.0.17763.1+win32k)/amd64", "windows(10.0.17763.1)/amd64", false)]
    #[case("windows(10.0.17763.1)/amd64", "windows/amd64", false)]
    #[case("darwin(14.5.1.1)/arm64", "darwin(14.5.1.2)/arm64", false)]
    fn takes_the_place(#[case] new: &str, #[case] old: &str, #[case] replaces: bool) {
        assert_eq!(platform(new).replaces(&platform(old)), replaces);
    }

    #[rstest]
    #[case("linux/amd46", Some("no such architecture is known"))]
    #[case("linx/amd64", Some("no such operating system is known"))]
    #[case("linux/x86_64/v3", None)]
    #[case("linux/loong64", None)]
    #[case("linux/riscv64", None)]
    #[case("macos/aarch64", None)]
    #[case("wasip1/wasm", None)]
    fn odd(#[case] text: &str, #[case] oddity: Option<&str>) {
        assert_eq!(platform(text).oddity(), oddity);
    }

    #[rstest]
    #[case("linux/arm/v6", "linux/arm", true)]
    #[case("linux/arm/v7", "linux/arm", true)]
    #[case("linux/arm/v6", "linux/arm/v7", false)]
    #[case("linux/arm/v6", "linux/armhf", false)]
    #[case("linux/arm/v7", "linux/armhf", true)]
    #[case("linux/arm", "linux/arm/v7", true)]
    #[case("linux/arm/v6", "linux/armel", true)]
    #[case("linux/arm64", "linux/arm64", true)]
    #[case("linux/arm64/v8", "linux/arm64", true)]
    #[case("linux/arm64", "linux/aarch64/v8", true)]
    #[case("linux/arm64/v9", "linux/arm64/v8", false)]
    #[case("linux/amd64/v3", "linux/amd64", true)]
    #[case("linux/amd64/v3", "linux/amd64/v1", false)]
    #[case("linux/amd64", "linux/amd64/v1", true)]
    #[case("linux/amd64", "linux/arm64", false)]
    #[case("windows/amd64", "linux/amd64", false)]
    #[case("windows(10.0.17763.1)/amd64", "windows/amd64", true)]
    #[case("windows(10.0.17763.1)/amd64", "windows(10.0.17763.1)/amd64", true)]
    #[case("windows(10.0.17763.1)/amd64", "windows(10.0.20348)/amd64", false)]
    #[case("windows(10.0.17763.1)/amd64", "windows(10.0.17763)/amd64", true)]
    #[case("windows(10.0.17763)/amd64", "windows(10.0.17763.1)/amd64", false)]
    #[case("windows(10.0.17763.1+win32k)/amd64", "windows/amd64", true)]
    #[case("windows(10.0.17763.1)/amd64", "windows(+win32k)/amd64", false)]
    fn agrees_where_declared(#[case] config: &str, #[case] declared: &str, #[case] agrees: bool) {
        assert_eq!(platform(config).agrees_with(declared), Ok(agrees));
    }
}
