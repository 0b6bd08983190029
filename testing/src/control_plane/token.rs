//! Tokens of `ServiceAccount`s, from the API server's own TokenRequest.

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, PostParams};

use super::Error;

/// Longer than any test or sandbox runs.
const SECONDS: i64 = 365 * 24 * 3600;

/// A token of an account, which must exist; bound to an object, it says so, and ends with it.
pub(crate) async fn token(
    client: Client,
    namespace: &str,
    service_account: &str,
    bound_to: Option<BoundObjectReference>,
) -> Result<String, Error> {
    let name = format!("{namespace}/{service_account}");
    let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(SECONDS),
            bound_object_ref: bound_to,
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    accounts
        .create_token_request(service_account, &PostParams::default(), &request)
        .await
        .map_err(Error::kube(format!(
            "asking for a token of ServiceAccount {name}"
        )))?
        .status
        .map(|status| status.token)
        .ok_or_else(|| Error::NoToken(name))
}
