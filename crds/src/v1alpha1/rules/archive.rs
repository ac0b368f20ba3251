//! The rules of archives.

use kube::core::Rule;

pub(in super::super) fn path_below() -> Rule {
    Rule::new("!self.matches('^/|/$|//|(^|/)[.]{1,2}(/|$)|[^ -~]')").message(
        "a path below the operator's folder for this namespace: k3s/arm64.tar.zst; not absolute, without .. and . as a part, and of printable ASCII",
    )
}

pub(in super::super) fn image_or_archive() -> Rule {
    Rule::new("has(self.image) != has(self.archive)")
        .message("a source is an image in a registry or one in an archive: give image or archive, and not both")
}

pub(in super::super) fn archive_has_no_credential() -> Rule {
    Rule::new("!has(self.archive) || !has(self.secretRef) && !has(self.provider)")
        .message("an archive is a file, which nobody logs in to: leave out secretRef and provider")
}

pub(in super::super) fn trusted_archive_has_a_platform() -> Rule {
    Rule::new("self.platformPolicy != 'Trust' || has(self.platform)").message(
        "platformPolicy Trust takes your word for what the images are: give platform, such as linux/arm64",
    )
}
