//! The way to the API server: kubeconfig, runtime, and its errors in words for people. Reads; never writes.

use std::future::Future;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::args::ClusterArgs;

/// The cluster could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig.
    #[error("kubeconfig: {0}; name one by --kubeconfig or KUBECONFIG, and a context by --context")]
    Kubeconfig(String),
    /// The client, for example a broken certificate.
    #[error("connecting: {0}")]
    Connect(String),
    /// A request.
    #[error("{action}: {}", in_words(error))]
    Request {
        /// What was asked.
        action: String,
        /// Why it failed. Not named as the source: its words are told already.
        error: Box<kube::Error>,
    },
    /// The runtime.
    #[error("starting: {0}")]
    Runtime(std::io::Error),
}

impl ClientError {
    /// For `map_err`.
    pub fn request(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |error| Self::Request {
            action,
            error: Box::new(error),
        }
    }
}

/// What the API server or the connection said, without Rust's own names.
pub fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 401 => {
            "the API server does not know you (Unauthorized); log in again".to_owned()
        }
        kube::Error::Api(status) => status.message.clone(),
        other => {
            // The innermost cause is what helps: "Connection refused", "invalid peer certificate".
            let mut innermost: &dyn std::error::Error = other;
            while let Some(cause) = innermost.source() {
                innermost = cause;
            }
            format!("the API server can't be reached: {innermost}")
        }
    }
}

/// Runs an asynchronous command on this thread alone. Offline commands never come here.
pub fn block_on<T, E: From<ClientError>>(
    command: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ClientError::Runtime)?
        .block_on(command)
}

/// A client as the flags say; without flags as `oc` would connect.
pub async fn connect(args: &ClusterArgs) -> Result<Client, ClientError> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    let told = |error: &dyn std::error::Error| ClientError::Kubeconfig(error.to_string());
    let config = match (&args.kubeconfig, &args.context) {
        (Some(path), _) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| told(&error))?;
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|error| told(&error))?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options)
            .await
            .map_err(|error| told(&error))?,
        (None, None) => Config::infer().await.map_err(|error| told(&error))?,
    };
    Client::try_from(config).map_err(|error| ClientError::Connect(error.to_string()))
}
