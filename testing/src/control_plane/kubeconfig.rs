//! The text of kubeconfig files: JSON, which is YAML too. Must not touch a file.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::certificates::Pair;

/// Who the kubeconfig's user is.
pub enum User<'a> {
    /// Shows a client certificate.
    Certificate(&'a Pair),
    /// Shows a bearer token.
    Token(&'a str),
}

/// A kubeconfig with one cluster, one user and one context of the name `context`.
pub fn kubeconfig(
    context: &str,
    server: &str,
    authority: &str,
    namespace: &str,
    user: &User<'_>,
) -> Value {
    let base64 = |pem: &str| json!(ByteString(pem.as_bytes().to_vec())); // k8s-openapi's base64
    let user = match user {
        User::Certificate(pair) => json!({
            "client-certificate-data": base64(&pair.certificate),
            "client-key-data": base64(&pair.key),
        }),
        User::Token(token) => json!({ "token": token }),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": context,
            "cluster": { "server": server, "certificate-authority-data": base64(authority) },
        }],
        "users": [{ "name": context, "user": user }],
        "contexts": [{
            "name": context,
            "context": { "cluster": context, "user": context, "namespace": namespace },
        }],
        "current-context": context,
    })
}
