//! pure: where the operator's own credential may be asked for: in the place of a Secret, and under TLS by the operator's own CAs.

use multiarch_crds::v1alpha1::{MultiArchImageSpec, Registry};

use super::{Source, SpecError};
use crate::oci::Repository;

/// Checks what `spec` says of credential providers; `sources` are its sources, parsed.
pub(super) fn check(
    spec: &MultiArchImageSpec,
    target: &Repository,
    sources: &[Source],
) -> Result<(), SpecError> {
    let of_target = &spec.target;
    let field = || "spec.target".to_owned();
    if of_target.provider.is_some() {
        place(field, of_target.secret_ref.is_some(), target, &spec.registries)?;
    }
    for source in sources.iter().filter(|source| source.provider) {
        let field = || format!("spec.sources[{}]", source.name);
        place(field, source.secret.is_some(), source.reference.repository(), &spec.registries)?;
    }
    Ok(())
}

fn place(
    field: impl Fn() -> String,
    has_secret: bool,
    repository: &Repository,
    registries: &[Registry],
) -> Result<(), SpecError> {
    if has_secret {
        return Err(SpecError::ProviderAndSecret { field: field() });
    }
    let host = repository.host();
    let other_tls =
        |it: &Registry| it.host == host && (it.plain_http || it.cert_secret_ref.is_some());
    if registries.iter().any(other_tls) {
        return Err(SpecError::ProviderByOtherTls { field: field(), host: host.into() });
    }
    Ok(())
}
