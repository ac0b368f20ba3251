//! The files of the image: a program, and what it and a plugin beside it look for on a system.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// Who runs it, user and group. A number, so that `runAsNonRoot` can be checked.
pub const USER: &str = "65532:65532";
/// Where the program is.
pub const PROGRAM: &str = "multiarch-operator";

const PASSWD: &str =
    "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
/// The two ways that a static glibc has in it: any other one would be a library.
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// A file or a folder of the image.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is, below the root.
    pub path: &'static str,
    /// Who may do what.
    pub mode: u32,
    /// Its bytes; none for a folder.
    pub bytes: Option<Vec<u8>>,
}

/// Everything, in the order of the paths.
#[must_use]
pub fn files(program: Vec<u8>) -> Vec<File> {
    let folder = |path| File { path, mode: 0o755, bytes: None };
    let text = |path, text: &str| File { path, mode: 0o644, bytes: Some(text.into()) };
    vec![
        folder("etc/"),
        text("etc/group", GROUP),
        text("etc/nsswitch.conf", NSSWITCH),
        text("etc/passwd", PASSWD),
        folder("etc/ssl/"),
        folder("etc/ssl/certs/"),
        text("etc/ssl/certs/ca-certificates.crt", &authorities()),
        File { path: PROGRAM, mode: 0o755, bytes: Some(program) },
        File { path: "tmp/", mode: 0o1777, bytes: None },
    ]
}

/// Mozilla's list of CAs, as PEM.
fn authorities() -> String {
    let mut pem = String::new();
    for certificate in TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = &*STANDARD.encode(certificate);
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}
