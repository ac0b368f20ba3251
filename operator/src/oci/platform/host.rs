//! Which nodes an image runs on, as containerd chooses images for its host.

use super::Platform;

/// The builds of Windows Server from which on an older container runs on a newer host: 2022 and 2025, ascending. As containerd
/// has them (`platform_windows_compat.go`).
const STABLE: [u16; 2] = [20348, 26100];

impl Platform {
    /// Whether a node of platform `node` runs an image of this one. A node tells os and architecture, and on Windows its build: so any
    /// variant of arm and arm64 does, and of other architectures that without one, which is all that containerd takes unless its host
    /// says more.
    #[must_use]
    pub fn runs_on(&self, node: &Self) -> bool {
        let (mut image, node) = (self.normalized(), node.normalized());
        let any_variant = matches!(image.architecture.as_str(), "arm" | "arm64");
        let windows = image.os == "windows";
        if windows {
            // Every Windows but Nano Server has it, so containerd passes over it.
            image.os_features.retain(|feature| feature != "win32k");
        }
        image.os == node.os
            && image.architecture == node.architecture
            && (any_variant || image.variant == node.variant)
            && image.os_features.is_empty()
            && (!windows || is_for(image.os_version.as_deref(), node.os_version.as_deref()))
    }
}

/// Whether a Windows of version `host` runs containers of version `image`; it does, where either is not said.
fn is_for(image: Option<&str>, host: Option<&str>) -> bool {
    let (Some(image), Some((major, minor, host))) = (image, host.and_then(build)) else {
        return true;
    };
    let Some((of_major, of_minor, image)) = build(image) else { return false };
    if (of_major, of_minor) != (major, minor) {
        return false;
    }
    // The newest of the stable ones that is no newer than the host, and then the one before that.
    match STABLE.iter().rposition(|stable| *stable <= host) {
        None => image == host,
        Some(at) => (STABLE[at.saturating_sub(1)]..=host).contains(&image),
    }
}

/// Major, minor and build of `10.0.20348` and of `10.0.20348.1787`.
fn build(version: &str) -> Option<(u8, u8, u16)> {
    let mut parts = version.split('.');
    let (major, minor, build) = (parts.next()?, parts.next()?, parts.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?, build.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("linux/amd64", "linux/amd64", true)]
    #[case("linux/x86_64", "linux/amd64", true)]
    #[case("linux/amd64", "linux/arm64", false)]
    #[case("linux/386", "linux/amd64", false)]
    #[case("windows/amd64", "linux/amd64", false)]
    #[case::arm_of_any_age("linux/arm/v6", "linux/arm", true)]
    #[case::arm("linux/arm/v7", "linux/arm", true)]
    #[case::arm64("linux/arm64/v8", "linux/arm64", true)]
    #[case::arm64_of_any_age("linux/arm64/v9", "linux/arm64", true)]
    #[case::no_64_bit_for_32("linux/arm64", "linux/arm", false)]
    #[case::only_newer_than_containerd_takes("linux/amd64/v3", "linux/amd64", false)]
    #[case::as_every_amd64("linux/amd64/v1", "linux/amd64", true)]
    #[case::a_feature("linux(+x)/amd64", "linux/amd64", false)]
    #[case::linux_says_no_version("linux(1)/amd64", "linux/amd64", true)]
    // What containerd's own table of tests has, and what follows from its rule.
    #[case::any_build("windows/amd64", "windows(10.0.20348)/amd64", true)]
    #[case::no_build("windows(10.0.17763.1)/amd64", "windows/amd64", true)]
    #[case::same("windows(10.0.17763.1)/amd64", "windows(10.0.17763)/amd64", true)]
    #[case::no_revision("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64", true)]
    #[case::newer("windows(10.0.20348.1)/amd64", "windows(10.0.17763)/amd64", false)]
    #[case::before_2022_only_the_same(
        "windows(10.0.14393.1)/amd64",
        "windows(10.0.17763)/amd64",
        false
    )]
    #[case::too_old_for_2022("windows(10.0.17763.1)/amd64", "windows(10.0.20348)/amd64", false)]
    #[case::of_2022_on_a_client("windows(10.0.20348.1)/amd64", "windows(10.0.22621)/amd64", true)]
    #[case::of_2022_on_2025("windows(10.0.20348.1)/amd64", "windows(10.0.26100)/amd64", true)]
    #[case::of_2025_on_2022("windows(10.0.26100.1)/amd64", "windows(10.0.20348)/amd64", false)]
    #[case::of_2022_on_a_later_one(
        "windows(10.0.20348.1)/amd64",
        "windows(10.0.26200)/amd64",
        true
    )]
    #[case::between_on_2025("windows(10.0.25398.1)/amd64", "windows(10.0.26100)/amd64", true)]
    #[case::another_minor("windows(10.1.20348)/amd64", "windows(10.0.20348)/amd64", false)]
    #[case::no_build_at_all("windows(10)/amd64", "windows(10.0.20348)/amd64", false)]
    #[case::win32k("windows(10.0.20348+win32k)/amd64", "windows(10.0.20348)/amd64", true)]
    #[case::another_feature("windows(10.0.20348+x)/amd64", "windows(10.0.20348)/amd64", false)]
    fn runs_on_nodes(#[case] image: &str, #[case] node: &str, #[case] runs: bool) {
        let [image, node]: [Platform; 2] = [image, node].map(|text| text.parse().unwrap());
        assert_eq!(image.runs_on(&node), runs);
    }
}
