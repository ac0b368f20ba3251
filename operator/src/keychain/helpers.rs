//! reads: a credential helper of who runs the command → the credential that it has for a server.

use std::{sync::LazyLock, time::Duration};

use serde::Deserialize;

use super::{
    KeychainError,
    config::TOKEN_USER,
    providers::{
        Limits, PluginError,
        plugin::{Program, talk},
    },
};
use crate::registry::{Credential, Origin, Proof};

/// What a helper says of a server that it has nothing for: those of Docker, and all that were made like them.
const NOTHING: [&str; 3] =
    ["credentials not found", "no credentials server URL", "no credentials username"];

/// A password may have to be typed before it answers, somewhere else.
static LIMITS: LazyLock<Limits> =
    LazyLock::new(|| Limits { time: Duration::from_mins(1), ..Limits::default() });

/// A helper, and the file that names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Helper {
    /// What follows `docker-credential-`.
    pub(super) name: String,
    /// `~/.docker/config.json`
    pub(super) file: String,
}

/// What a helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helper {
    /// Its program, which is looked for on the PATH.
    pub(super) fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }

    /// Runs it for `server`, for a minute at most. `None` where it has nothing.
    pub(super) async fn get(&self, server: &str) -> Result<Option<Credential>, KeychainError> {
        if !is_name(&self.name) {
            let why = "it is not the name of a program on the PATH".into();
            return Err(self.failed(server, PluginError::NotRun { why }));
        }
        let program = Program {
            path: self.program().into(),
            args: vec!["get".into()],
            env: Vec::new(),
            version: String::new(),
        };
        self.hear(&program, server, *LIMITS).await
    }

    async fn hear(
        &self,
        program: &Program,
        server: &str,
        limits: Limits,
    ) -> Result<Option<Credential>, KeychainError> {
        let failed = |source| self.failed(server, source);
        let (printed, ended) = talk(program, server.into(), limits).await.map_err(failed)?;
        if let Err(error) = ended {
            let printed = String::from_utf8_lossy(&printed);
            let has_none = NOTHING.iter().any(|words| printed.contains(words));
            return if has_none { Ok(None) } else { Err(failed(error)) };
        }
        let unusable = |_| failed(PluginError::Unusable { why: "is not the JSON of a credential" });
        let Answer { username, secret } = serde_json::from_slice(&printed).map_err(unusable)?;
        if username.is_empty() && secret.is_empty() {
            return Ok(None);
        }
        let proof = if username == TOKEN_USER {
            Proof::IdentityToken { username, token: secret.into() }
        } else {
            Proof::Password { username, password: secret.into() }
        };
        Ok(Some(Credential { origin: Origin::Helper(self.program()), proof, token_realm: None }))
    }

    fn failed(&self, server: &str, source: PluginError) -> KeychainError {
        let (helper, file, server) = (self.program(), self.file.clone(), server.into());
        KeychainError::Helper { helper, file, server, source }
    }
}

/// Whether a helper may be called so: a file's name, and no path.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use rstest::rstest;
    use secrecy::ExposeSecret;

    use super::*;

    /// A helper that is this shell script, called by its path.
    async fn ask(script: &str, limits: Limits) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-credential-x");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        // The PATH is the process's, which other tests share: the script is found by it in tests/cli.
        let helper = Helper { name: "x".into(), file: "config.json".into() };
        let program =
            Program { path, args: vec!["get".into()], env: Vec::new(), version: String::new() };
        let given = helper.hear(&program, "r.example", limits).await;
        let given = given.map_err(|error| error.to_string())?;
        Ok(match given.map(|credential| credential.proof) {
            None => "nothing".into(),
            Some(Proof::Password { username, password }) => {
                format!("password {username} {}", password.expose_secret())
            }
            Some(Proof::IdentityToken { username, token }) => {
                format!("identity {username} {}", token.expose_secret())
            }
            Some(Proof::RegistryToken(_)) => "registry token".into(),
        })
    }

    #[rstest]
    #[case::password(
        r#"read -r at; echo "{\"ServerURL\":\"$at\",\"Username\":\"u of $at\",\"Secret\":\"p\"}""#,
        "password u of r.example p"
    )]
    #[case::token(r#"echo '{"Username":"<token>","Secret":"t"}'"#, "identity <token> t")]
    #[case::not_found("echo credentials not found in native keychain; exit 1", "nothing")]
    #[case::no_username("echo 'no credentials username'; exit 1", "nothing")]
    #[case::empty("echo '{}'", "nothing")]
    #[case::with_more(
        r#"[ "$1" = get ] && echo '{"Username":"u","Secret":"p","x":1}'"#,
        "password u p"
    )]
    #[tokio::test]
    async fn gives(#[case] script: &str, #[case] expected: &str) {
        assert_eq!(ask(script, *LIMITS).await.as_deref(), Ok(expected));
    }

    /// None of what it printed is told.
    #[rstest]
    #[case::fails("echo hunter2; echo hunter2 >&2; exit 3", "it ended with exit code 3")]
    #[case::no_json("echo hunter2", "what it printed is not the JSON of a credential")]
    #[case::too_much("head -c 5000 /dev/zero", "it printed more than 4096 bytes")]
    #[case::for_ever("while :; do :; done", "it took longer than 1s")]
    #[tokio::test]
    async fn fails(#[case] script: &str, #[case] why: &str) {
        let time = if why.contains("longer") { 1 } else { 60 };
        let limits = Limits { time: Duration::from_secs(time), output: 4096 };
        let told = ask(script, limits).await.unwrap_err();
        assert!(told.contains(why) && !told.contains("hunter2"), "{told}");
        let named = "the credential helper docker-credential-x, which config.json names";
        assert!(told.starts_with(named), "{told}");
    }

    #[rstest]
    #[case::absent("none-such-is-on-any-path", "it could not be run")]
    #[case::path("../evil", "not the name of a program")]
    #[case::empty("", "not the name of a program")]
    #[tokio::test]
    async fn is_looked_for_on_the_path(#[case] name: &str, #[case] why: &str) {
        let helper = Helper { name: name.into(), file: "config.json".into() };
        let told = helper.get("r.example").await.unwrap_err().to_string();
        assert!(told.contains(why) && told.contains(&helper.program()), "{told}");
    }
}
