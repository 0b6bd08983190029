//! A small HTTP server on 127.0.0.1 that serves one file and misbehaves as the first step of the path says, and a proxy
//! that writes down what it is asked. Threads, ended with the value.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What all connections share.
#[derive(Default)]
struct Shared {
    file: Vec<u8>,
    requests: AtomicU64,
    sent: AtomicU64,
    stopped: AtomicBool,
}

/// The server.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    scheme: &'static str,
}

impl Server {
    pub fn start(file: Vec<u8>) -> Self {
        Self::serve(file, None)
    }

    /// With TLS, and the certificate that is to be trusted: of 127.0.0.1 only.
    pub fn start_tls(file: Vec<u8>) -> (Self, Vec<u8>) {
        Self::start_certified(file, IsCa::ExplicitNoCa)
    }

    /// The same with the certificate of an authority, as `openssl req -x509` makes them.
    pub fn start_tls_of_authority(file: Vec<u8>) -> (Self, Vec<u8>) {
        Self::start_certified(file, IsCa::Ca(BasicConstraints::Unconstrained))
    }

    fn start_certified(file: Vec<u8>, is_ca: IsCa) -> (Self, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params
            .distinguished_name
            .push(DnType::CommonName, "package server of a test");
        let certificate = params.self_signed(&key).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        (
            Self::serve(file, Some(Arc::new(config))),
            certificate.pem().into_bytes(),
        )
    }

    fn serve(file: Vec<u8>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            file,
            ..Shared::default()
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let ours = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, tls) = (Arc::clone(&ours), tls.clone());
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    // A client that goes away in the middle is no error here.
                    let _ = match tls {
                        Some(tls) => {
                            let tls = ServerConnection::new(tls).unwrap();
                            answer(StreamOwned::new(tls, stream), &shared)
                        }
                        None => answer(stream, &shared),
                    };
                });
            }
        });
        Self {
            address,
            shared,
            scheme,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Bytes of bodies.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// The first line of a request and where its Range begins.
fn request(stream: &mut impl Read) -> Option<(String, usize)> {
    let mut lines = BufReader::with_capacity(1, stream).lines();
    let first = lines.next()?.ok()?;
    let mut from = 0;
    for line in lines {
        let line = line.ok()?.to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok()?;
        }
    }
    Some((first, from))
}

fn answer(mut stream: impl Read + Write, shared: &Shared) -> std::io::Result<()> {
    let Some((first, from)) = request(&mut stream) else {
        return Ok(());
    };
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let file = &shared.file;
    let path = first.split(' ').nth(1).unwrap_or("");
    let way = path.split('/').nth(1).unwrap_or("");
    let mut head = |text: String| {
        stream.write_all(format!("HTTP/1.1 {text}\r\nConnection: close\r\n\r\n").as_bytes())
    };
    let whole = |len: usize| format!("200 OK\r\nContent-Length: {len}");
    let rest = |from: usize| {
        if from == 0 {
            whole(file.len())
        } else {
            let (len, last) = (file.len() - from, file.len() - 1);
            format!(
                "206 Partial Content\r\nContent-Length: {len}\r\nContent-Range: bytes {from}-{last}/{}",
                file.len()
            )
        }
    };
    let body = match way {
        "plain" => {
            head(rest(from))?;
            &file[from..]
        }
        // The connection ends in the middle.
        "drop" => {
            head(rest(from))?;
            &file[from..file.len().min(from + 100_000)]
        }
        "noranges" => {
            head(whole(file.len()))?;
            &file[..]
        }
        "shifted" if from > 0 => {
            head(rest(from - 1))?;
            &file[from - 1..]
        }
        "416" if from > 0 => {
            head("416 Range Not Satisfiable\r\nContent-Length: 0".into())?;
            &[]
        }
        "416" => {
            head(whole(file.len()))?;
            &file[..]
        }
        "404" | "503" => {
            head(format!("{way} No\r\nContent-Length: 0"))?;
            &[]
        }
        "loop" => {
            head("302 Found\r\nContent-Length: 0\r\nLocation: /loop/k.rpm".into())?;
            &[]
        }
        "redirect" => {
            head("301 Moved\r\nContent-Length: 0\r\nLocation: /redirect2/k.rpm".into())?;
            &[]
        }
        "redirect2" => {
            head("307 Moved\r\nContent-Length: 0\r\nLocation: ../plain/k.rpm".into())?;
            &[]
        }
        "ftp" => {
            head("302 Found\r\nContent-Length: 0\r\nLocation: ftp://127.0.0.1/k.rpm".into())?;
            &[]
        }
        "huge" => {
            head(whole(2 << 30))?;
            &[]
        }
        "garbage" => {
            stream.write_all(b"220 this is a mail server\r\n")?;
            &[]
        }
        "stall" => {
            head(rest(from))?;
            stream.write_all(&file[from..from + 1000])?;
            stream.flush()?;
            // Until the client goes away.
            let _ = stream.read(&mut [0]);
            &[]
        }
        "chunked" | "endless" => {
            head("200 OK\r\nTransfer-Encoding: chunked".into())?;
            loop {
                for piece in file.chunks(60_000) {
                    stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
                    stream.write_all(piece)?;
                    stream.write_all(b"\r\n")?;
                }
                if way == "chunked" {
                    stream.write_all(b"0\r\n\r\n")?;
                    break;
                }
            }
            &[]
        }
        _ => &[],
    };
    stream.write_all(body)?;
    shared.sent.fetch_add(body.len() as u64, Ordering::SeqCst);
    stream.flush()
}

/// The proxy.
pub struct Proxy {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (ours, stop) = (Arc::clone(&lines), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let lines = Arc::clone(&ours);
                std::thread::spawn(move || relay(stream.unwrap(), &lines));
            }
        });
        Self {
            address,
            lines,
            stopped,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(mut client: TcpStream, lines: &Mutex<Vec<String>>) -> Option<()> {
    let (first, _) = request(&mut client)?;
    lines.lock().unwrap().push(first.clone());
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let mut server = if method == "CONNECT" {
        let server = TcpStream::connect(target).ok()?;
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
        server
    } else {
        let (authority, path) = target.strip_prefix("http://")?.split_once('/')?;
        let mut server = TcpStream::connect(authority).ok()?;
        server
            .write_all(format!("{method} /{path} HTTP/1.1\r\n\r\n").as_bytes())
            .ok()?;
        server
    };
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    std::io::copy(&mut server, &mut client).ok()?;
    client.shutdown(std::net::Shutdown::Both).ok()
}
