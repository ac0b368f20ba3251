//! What a config is refused for is said by file, provider and field.

use rstest::rstest;
use std::os::unix::fs::PermissionsExt;

use super::*;

const GOOD: &str = "\
kind: CredentialProviderConfig
apiVersion: kubelet.config.k8s.io/v1
providers:
- name: ecr-credential-provider
  matchImages: ['*.dkr.ecr.*.amazonaws.com']
  defaultCacheDuration: 12h
  apiVersion: credentialprovider.kubelet.k8s.io/v1
";

fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), text).unwrap();
    let plugin = folder.path().join("ecr-credential-provider");
    fs::write(&plugin, "").unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn read(folder: &tempfile::TempDir) -> Result<Vec<Provider>, String> {
    let path = folder.path().join("config.yaml");
    Provider::read(&path, folder.path()).map_err(|error| error.to_string())
}

#[test]
fn reads_all_of_a_provider() {
    let more = "  args: [get-credentials, '']\n  env: [{name: AWS_PROFILE, value: builds}, {name: EMPTY}]\n";
    let folder = folder(&format!("{GOOD}{more}"));
    let [ecr] = read(&folder).unwrap().try_into().unwrap();
    assert_eq!(ecr.name, "ecr-credential-provider");
    assert_eq!(ecr.life, Duration::from_hours(12));
    let Program { path, args, env, version } = &ecr.program;
    assert_eq!(*path, folder.path().join("ecr-credential-provider"));
    assert_eq!(*args, ["get-credentials", ""]);
    let expected = [("AWS_PROFILE", "builds"), ("EMPTY", "")];
    assert_eq!(*env, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(version, "credentialprovider.kubelet.k8s.io/v1");
    let shown = format!("{ecr:?}");
    assert!(shown.contains("ecr-credential-provider") && !shown.contains("builds"), "{shown}");
}

#[rstest]
#[case::syntax("providers: [", "", &["config.yaml", "line"])]
#[case::twice("apiVersion: kubelet", "kind: CredentialProviderConfig\napiVersion: kubelet", &["kind"])]
#[case::kind("kind: CredentialProviderConfig", "kind: Pod", &["config.yaml is no usable CredentialProviderConfig", "kind"])]
#[case::version("kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v2", &["apiVersion", "kubelet.config.k8s.io/", "v1, v1beta1, v1alpha1"])]
#[case::of_a_plugin("credentialprovider.kubelet.k8s.io/v1", "client.authentication.k8s.io/v1", &["providers[ecr-credential-provider]", "apiVersion", "credentialprovider.kubelet.k8s.io/"])]
#[case::unknown("matchImages", "matchImage", &["providers[ecr-credential-provider]", "`matchImage`", "`matchImages`"])]
#[case::pattern("*.dkr.ecr.*.amazonaws.com", "https://r.io", &["providers[ecr-credential-provider]", "matchImages has \"https://r.io\"", "leave out the scheme"])]
#[case::duration("12h", "12 hours", &["providers[ecr-credential-provider]", "defaultCacheDuration"])]
#[case::tokens("  defaultCacheDuration", "  tokenAttributes: {serviceAccountTokenAudience: x, cacheType: Token, requireServiceAccount: true}\n  defaultCacheDuration", &["providers[ecr-credential-provider]", "tokenAttributes", "not supported", "--credential-provider-allow"])]
#[case::without_name("- name: ecr-credential-provider\n  matchImages", "- matchImages", &["providers[0]", "`name`"])]
#[case::name("ecr-credential-provider", "../ecr", &["providers[../ecr]", "no slash"])]
#[case::absent("ecr-credential-provider", "gcr-credential-provider", &["no plugin for the provider gcr-credential-provider", "No such file"])]
#[case::number("12h\n", "12h\n  args: [31415]\n", &["put it in quotes"])]
#[case::secret("12h\n", "12h\n  env: [{name: PIN, value: 31415}]\n", &["put it in quotes"])]
#[case::variable("12h\n", "12h\n  env: [{name: A=B, value: '31415'}]\n", &["env has what is no name"])]
fn says_what_is_wrong(#[case] from: &str, #[case] to: &str, #[case] words: &[&str]) {
    let text = if to.is_empty() { from.to_owned() } else { GOOD.replacen(from, to, 1) };
    assert_ne!(text, GOOD);
    let said = read(&folder(&text)).unwrap_err();
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    assert!(!said.contains("31415"), "{said}");
}

/// What the page for admins shows is taken as it is.
#[test]
fn takes_the_examples_of_the_documentation() {
    let page = include_str!("../../../../../docs/cloud-registries.md");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut names = Vec::new();
    for block in blocks.filter(|block| block.starts_with("kind: CredentialProviderConfig")) {
        names.extend(parse(block, Path::new("/plugins")).unwrap().into_iter().map(|it| it.name));
    }
    assert_eq!(names, ["ecr-credential-provider", "auth-provider-gcp", "acr-credential-provider"]);
}

#[test]
fn says_what_is_wrong_with_files() {
    let folder = folder(GOOD);
    let at = |path: &str| {
        let read = Provider::read(&folder.path().join(path), folder.path());
        read.unwrap_err().to_string()
    };
    assert!(at("absent.yaml").starts_with("failed to read /"), "{}", at("absent.yaml"));
    fs::create_dir_all(folder.path().join("empty/folder.yaml")).unwrap();
    assert!(at("empty").ends_with("/empty has no file that ends in .json, .yaml or .yml"));
    // As a ConfigMap is mounted.
    fs::create_dir_all(folder.path().join("mounted/..data")).unwrap();
    fs::write(folder.path().join("mounted/..data/a.yaml"), GOOD).unwrap();
    let link = folder.path().join("mounted/a.yaml");
    std::os::unix::fs::symlink("..data/a.yaml", link).unwrap();
    assert_eq!(Provider::read(&folder.path().join("mounted"), folder.path()).unwrap().len(), 1);
    fs::write(folder.path().join("mounted/b.json"), serde_json::json!({}).to_string()).unwrap();
    assert!(at("mounted").contains("/mounted/b.json is no usable"), "{}", at("mounted"));
    let plugin = folder.path().join("ecr-credential-provider");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(at("config.yaml").ends_with("chmod +x"), "{}", at("config.yaml"));
    fs::remove_file(&plugin).unwrap();
    fs::create_dir(&plugin).unwrap();
    assert!(at("config.yaml").ends_with("is no file"), "{}", at("config.yaml"));
}
