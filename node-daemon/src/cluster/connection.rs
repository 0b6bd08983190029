//! The connection to the API server: as kube makes it, with buffers that stay small. Decides nothing.

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{ClientBuilder, ConfigExt as _};
use kube::{Client, Config, Error};
use tower::{BoxError, ServiceBuilder};

/// As much is read at once, bytes: a TLS record. Else a connection keeps what its largest answer has taken, for ever.
const READ: usize = 16 * 1024;

/// A client for the daemon. Unlike kube's own
/// - its buffers stay as they are, however large an answer or a status is;
/// - nothing is repeated: kube's repetitions would repeat an eviction that a PodDisruptionBudget holds (429) until nobody
///   waits for the answer any more; every round is repeated anyhow;
/// - requests aren't logged: those who make them say what becomes of them.
pub fn client(config: Config) -> kube::Result<Client> {
    if let Some(proxy) = &config.proxy_url {
        return Err(Error::ProxyProtocolUnsupported {
            proxy_url: Box::new(proxy.clone()),
        });
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http = legacy::Client::builder(TokioExecutor::new())
        .http1_read_buf_exact_size(READ)
        // A body is sent from where it is, and not copied behind its head.
        .http1_writev(true)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}
