//! Fetches one package over http or https into the cache: resumed where it broke off, verified while it comes, never
//! used before. Decides nothing.
//!
//! TLS is that of the Kubernetes client (docs/decisions/tls.md), with the certificates that the host trusts; proxies come
//! from the environment as curl takes them.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use realtime_core::api::realtime_profile::PackageUrl;
use realtime_core::causes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service as _;

use super::cache::{self, Part};
use super::error::SourceError;
use super::limits::Limits;
use crate::host::Host;

/// How often an address may lead on: mirrors do once or twice.
pub const REDIRECTS: usize = 5;
/// Where RHEL, Fedora and their kin keep the certificates that the host trusts.
const HOST_CERTIFICATES: &str = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";

/// The client.
pub struct Client<'a> {
    host: &'a Host,
    limits: &'a Limits,
    tls: TlsConnector,
    proxies: Matcher,
}

/// An answer whose body comes.
struct Answer {
    response: Response<Incoming>,
    _connection: Connection,
}

/// What drives a connection; ends with it.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<'a> Client<'a> {
    /// A client that trusts what the host trusts.
    pub fn new(host: &'a Host, limits: &'a Limits) -> Self {
        Self::with_proxies(host, limits, Matcher::from_env())
    }

    /// The same with other proxies than the environment's.
    pub fn with_proxies(host: &'a Host, limits: &'a Limits, proxies: Matcher) -> Self {
        let mut trusted = RootCertStore::empty();
        // One that can't be read is none that is trusted: the server that needs it is told as not trusted.
        if let Ok(bundle) = host.read_bytes(HOST_CERTIFICATES) {
            trusted.add_parsable_certificates(
                CertificateDer::pem_slice_iter(&bundle).filter_map(Result::ok),
            );
        }
        let tls = ClientConfig::builder()
            .with_root_certificates(trusted)
            .with_no_client_auth();
        Self {
            host,
            limits,
            tls: TlsConnector::from(Arc::new(tls)),
            proxies,
        }
    }

    /// Makes a package ready in the cache. `keep`: what must not make room for it.
    pub async fn fetch(&self, package: &PackageUrl, keep: &[String]) -> Result<(), SourceError> {
        let sha256 = package.sha256.as_str();
        if cache::verified(self.host, sha256).await? {
            return Ok(());
        }
        let mut resumes = 0;
        let mut from_scratch = false;
        loop {
            let mut part = Part::open(self.host, sha256).await?;
            let began = part.bytes();
            match self.go_on(package, &mut part, keep).await {
                Ok(()) => match part.finish(sha256)? {
                    Ok(()) => return Ok(()),
                    // Something else lay there from an earlier try (the file was exchanged): once more, whole.
                    Err(_) if began > 0 && !from_scratch => from_scratch = true,
                    Err(got) => {
                        return Err(SourceError::Checksum {
                            url: package.url.clone(),
                            wanted: sha256.to_owned(),
                            got,
                        });
                    }
                },
                // Only while it gets on.
                Err(SourceError::Broken { .. })
                    if part.bytes() > began && resumes < self.limits.resumes =>
                {
                    resumes += 1;
                }
                // Asked for what comes after the end: what lies there is not the file's beginning.
                Err(SourceError::Status { status: 416, .. }) if began > 0 && !from_scratch => {
                    from_scratch = true;
                    part.discard()?;
                }
                Err(error @ (SourceError::TooBig { .. } | SourceError::CacheTooSmall { .. })) => {
                    part.discard()?;
                    return Err(error);
                }
                Err(error) => {
                    if part.bytes() == 0 {
                        part.discard()?;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Fetches what is missing.
    async fn go_on(
        &self,
        package: &PackageUrl,
        part: &mut Part,
        keep: &[String],
    ) -> Result<(), SourceError> {
        let url = package.url.as_str();
        let Answer {
            response,
            _connection,
        } = self.ask(url, part.bytes()).await?;
        let (head, mut body) = response.into_parts();
        match head.status {
            StatusCode::PARTIAL_CONTENT if begins_at(&head.headers) == Some(part.bytes()) => {}
            // A server without ranges, or one that means another part.
            StatusCode::OK => part.restart()?,
            status => {
                return Err(SourceError::Status {
                    url: url.to_owned(),
                    status: status.as_u16(),
                });
            }
        }
        let rest = length(&head.headers);
        let too_big = || SourceError::TooBig {
            what: url.to_owned(),
            limit: self.limits.file,
        };
        if part.bytes().saturating_add(rest.unwrap_or(0)) > self.limits.file {
            return Err(too_big());
        }
        cache::room(self.host, url, rest.unwrap_or(0), self.limits, keep)?;
        let end = rest.map(|rest| part.bytes() + rest);
        let broken = |part: &Part, why: String| SourceError::Broken {
            url: url.to_owned(),
            got: part.bytes(),
            why,
        };
        loop {
            let frame = match timeout(self.limits.stall, body.frame()).await {
                Err(_) => return Err(stalled(url, self.limits.stall)),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(broken(part, causes::told(&error))),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            if part.bytes() + bytes.len() as u64 > self.limits.file {
                return Err(too_big());
            }
            part.push(&bytes)?;
        }
        match end {
            Some(end) if part.bytes() < end => {
                Err(broken(part, format!("{end} bytes were announced")))
            }
            _ => Ok(()),
        }
    }

    /// Asks for a file from a byte on, wherever the address leads.
    async fn ask(&self, url: &str, from: u64) -> Result<Answer, SourceError> {
        let mut uri = parsed(url, url)?;
        for _ in 0..=REDIRECTS {
            let asked = timeout(self.limits.connect, self.ask_once(&uri, url, from)).await;
            let answer = asked.map_err(|_| stalled(url, self.limits.connect))??;
            if !answer.response.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.response.headers().get(header::LOCATION);
            let Some(location) = location.and_then(|value| value.to_str().ok()) else {
                return Err(SourceError::Status {
                    url: url.to_owned(),
                    status: answer.response.status().as_u16(),
                });
            };
            uri = parsed(&joined(&uri, location), url)?;
        }
        Err(SourceError::Redirects {
            url: url.to_owned(),
            last: uri.to_string(),
        })
    }

    async fn ask_once(&self, uri: &Uri, url: &str, from: u64) -> Result<Answer, SourceError> {
        let unreachable = |error: &dyn std::error::Error| SourceError::Unreachable {
            url: url.to_owned(),
            why: causes::told(error),
        };
        let proxy = self.proxies.intercept(uri);
        let secure = uri.scheme_str() == Some("https");
        let mut request = Request::get(uri.clone()).header(header::USER_AGENT, AGENT);
        if let Some(authority) = uri.authority() {
            request = request.header(header::HOST, authority.as_str());
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        // To a proxy without a tunnel the whole address is sent, to a server what follows its name.
        if let Some(proxy) = proxy.as_ref().filter(|_| !secure) {
            if let Some(value) = proxy.basic_auth() {
                request = request.header(header::PROXY_AUTHORIZATION, value);
            }
        } else if let Some(rest) = uri.path_and_query() {
            request = request.uri(rest.as_str());
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| address(url, &error))?;
        let stream = self.connected(uri, url, proxy.as_ref(), secure).await?;
        if !secure {
            return sent(stream, request)
                .await
                .map_err(|error| unreachable(&error));
        }
        let name = uri.host().unwrap_or_default();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned()).map_err(|error| address(url, &error))?;
        let stream = self.tls.connect(name, stream.into_inner()).await;
        let stream = stream.map_err(|error| SourceError::Unreachable {
            url: url.to_owned(),
            why: untrusted(&error).unwrap_or_else(|| causes::told(&error)),
        })?;
        sent(TokioIo::new(stream), request)
            .await
            .map_err(|error| unreachable(&error))
    }

    /// A connection to the server, to the proxy, or through it.
    async fn connected(
        &self,
        uri: &Uri,
        url: &str,
        proxy: Option<&Intercept>,
        secure: bool,
    ) -> Result<TokioIo<TcpStream>, SourceError> {
        let unreachable = |why: String| SourceError::Unreachable {
            url: url.to_owned(),
            why,
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(self.limits.connect));
        let Some(proxy) = proxy else {
            let connected = connector.call(uri.clone()).await;
            return connected.map_err(|error| unreachable(causes::told(&error)));
        };
        if proxy.uri().scheme_str() != Some("http") {
            return Err(unreachable(
                "only proxies with http:// addresses are supported".to_owned(),
            ));
        }
        if !secure {
            let connected = connector.call(proxy.uri().clone()).await;
            return connected
                .map_err(|error| unreachable(format!("proxy: {}", causes::told(&error))));
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
        if let Some(value) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(value.clone());
        }
        let connected = tunnel.call(uri.clone()).await;
        connected.map_err(|error| unreachable(format!("proxy: {}", causes::told(&error))))
    }
}

fn stalled(url: &str, limit: Duration) -> SourceError {
    SourceError::Stalled {
        url: url.to_owned(),
        seconds: limit.as_secs(),
    }
}

/// Why a server's certificate isn't trusted, if that is what kept a connection from being made.
fn untrusted(error: &std::io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(why) = error else {
        return None;
    };
    let why = match why {
        CertificateError::UnknownIssuer => "this node doesn't know its issuer".to_owned(),
        // In words that stay the same from one try to the next: rustls's count the seconds.
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "by this node's clock it isn't valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is not for this server's name".to_owned()
        }
        CertificateError::Other(why) => match why.0.to_string().as_str() {
            "CaUsedAsEndEntity" => {
                "it is an authority's own; the server needs one that an authority has issued"
                    .to_owned()
            }
            why => why.to_owned(),
        },
        why => why.to_string(),
    };
    Some(format!("its certificate is not trusted ({why})"))
}

/// Who asks, in the server's log.
const AGENT: &str = concat!("realtime-node-daemon/", env!("CARGO_PKG_VERSION"));

/// Sends a request over a connection of its own.
async fn sent<S>(stream: S, request: Request<Empty<Bytes>>) -> hyper::Result<Answer>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let connection = Connection(tokio::spawn(async move {
        // How it ended is told by the body.
        let _ = connection.await;
    }));
    Ok(Answer {
        response: sender.send_request(request).await?,
        _connection: connection,
    })
}

fn address(url: &str, why: &dyn std::fmt::Display) -> SourceError {
    SourceError::Address {
        url: url.to_owned(),
        why: why.to_string(),
    }
}

/// An address that can be asked.
fn parsed(text: &str, url: &str) -> Result<Uri, SourceError> {
    let uri: Uri = text.parse().map_err(|error| address(url, &error))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(address(
            url,
            &format_args!("{text} is neither http nor https"),
        ));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.is_empty() || authority.contains('@') {
        return Err(address(
            url,
            &"it has no server's name, or a user's name and password, which would be in every log",
        ));
    }
    Ok(uri)
}

/// Where a Location leads, seen from the address that answered with it.
fn joined(from: &Uri, location: &str) -> String {
    let location = location.split('#').next().unwrap_or(location);
    if location.starts_with("http://") || location.starts_with("https://") {
        return location.to_owned();
    }
    let scheme = from.scheme_str().unwrap_or("http");
    if let Some(rest) = location.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    let authority = from.authority().map_or("", |authority| authority.as_str());
    if location.starts_with('/') {
        return format!("{scheme}://{authority}{location}");
    }
    if location.contains("://") {
        // Another scheme: refused when it is parsed.
        return location.to_owned();
    }
    let mut folder: Vec<&str> = from.path().split('/').collect();
    folder.pop();
    let mut rest = location;
    loop {
        if let Some(next) = rest.strip_prefix("../") {
            // Not above the first, which is empty.
            folder.truncate(folder.len().saturating_sub(1).max(1));
            rest = next;
        } else if let Some(next) = rest.strip_prefix("./") {
            rest = next;
        } else {
            return format!("{scheme}://{authority}{}/{rest}", folder.join("/"));
        }
    }
}

/// The first byte of `Content-Range: bytes 5-9/10`.
fn begins_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    range
        .strip_prefix("bytes ")?
        .split_once('-')?
        .0
        .trim()
        .parse()
        .ok()
}

fn length(headers: &HeaderMap<HeaderValue>) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_location_leads() {
        let from: Uri = "http://a:1/x/y.rpm?z".parse().unwrap();
        for (location, wanted) in [
            ("https://b/c.rpm#part", "https://b/c.rpm"),
            ("//b/c", "http://b/c"),
            ("/c", "http://a:1/c"),
            ("c.rpm", "http://a:1/x/c.rpm"),
            ("./c.rpm", "http://a:1/x/c.rpm"),
            ("../c.rpm", "http://a:1/c.rpm"),
            ("../../../w/c.rpm", "http://a:1/w/c.rpm"),
            ("ftp://b/c", "ftp://b/c"),
        ] {
            assert_eq!(joined(&from, location), wanted);
        }
        assert!(parsed("ftp://b/c", "u").is_err());
        assert!(parsed("http://user:word@b/c.rpm", "u").is_err());
        assert!(parsed("/c", "u").is_err());
        assert!(parsed("https://b/c.rpm", "u").is_ok());
    }

    #[test]
    fn where_a_range_begins() {
        let of = |text: &'static str| {
            begins_at(&HeaderMap::from_iter([(
                header::CONTENT_RANGE,
                HeaderValue::from_static(text),
            )]))
        };
        assert_eq!(of("bytes 5-9/10"), Some(5));
        assert_eq!(of("bytes 0-9/*"), Some(0));
        assert_eq!(of("bytes */10"), None);
        assert_eq!(of("items 5-9/10"), None);
    }
}
