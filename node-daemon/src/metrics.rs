//! The numbers of this node's real-time pods for Prometheus, over plain HTTP/1.1. Off unless an address is given.
//!
//! Budgets come from the same value as the RealtimeNode's status. Threads are read at scrape time only, one scrape after
//! the other, and off the daemon's own thread: a container that starts must not wait for a scrape. Answers `GET /metrics`
//! and nothing else; connections, their time and the text are bounded.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use realtime_core::api::realtime_node::NodePodBudgetStatus;
use realtime_core::rt::usage::metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::budget::Told;
use crate::cli::top::sampler::{SCHED_DEBUG, Sampler};
use crate::host::Host;

/// Prometheus uses one, two Prometheis two; the others wait.
const CONNECTIONS: usize = 8;
/// A client that has not asked by then, or not taken the answer, is gone.
const LIMIT: Duration = Duration::from_secs(30);
/// For the request's head alone.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// After an error of accept(2), as with too many open files: it would come again at once.
const PAUSE: Duration = Duration::from_secs(1);

/// The address can't be had.
#[derive(Debug, thiserror::Error)]
#[error("--metrics-address {address}: {source}")]
pub struct MetricsError {
    address: SocketAddr,
    source: std::io::Error,
}

/// A server that has its address.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// Serves as long as the daemon runs. Ends only with an error, before anything was served.
pub async fn serve(
    address: SocketAddr,
    told: watch::Receiver<Told>,
    host: Host,
) -> Result<Infallible, MetricsError> {
    Ok(Server::bind(address).await?.run(told, host).await)
}

impl Server {
    /// Takes the address.
    pub async fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        let failed = |source| MetricsError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "metrics are served");
        Ok(Self { listener, address })
    }

    /// Which one it is, where the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves.
    pub async fn run(self, told: watch::Receiver<Told>, host: Host) -> Infallible {
        let state = Arc::new(State {
            told: told.clone(),
            late: Mutex::default(),
            host,
            sampler: Arc::default(),
        });
        tokio::spawn(count(told, state.clone()));
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // Nobody closes it.
            let permit = room.clone().acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let state = state.clone();
                    tokio::spawn(async move {
                        connection(stream, state).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "taking a connection for metrics");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

#[derive(Debug)]
struct State {
    told: watch::Receiver<Told>,
    late: Mutex<Late>,
    host: Host,
    /// Held while threads are read: one scrape after the other.
    sampler: Arc<Mutex<Option<Sampler>>>,
}

/// Containers that began before their budget.
#[derive(Debug, Default)]
struct Late {
    total: u64,
    now: BTreeSet<[String; 3]>,
}

impl Late {
    /// Counts those that the last status had not. Gives how many there were in all.
    fn see(&mut self, status: &NodePodBudgetStatus) -> u64 {
        let now: BTreeSet<[String; 3]> = status
            .containers
            .iter()
            .filter(|one| one.assigned_before_start == Some(false))
            .map(|one| {
                [
                    one.namespace.clone(),
                    one.pod.clone(),
                    one.container.clone(),
                ]
            })
            .collect();
        let new = now.difference(&self.now).count();
        self.total = self.total.saturating_add(u64::try_from(new).unwrap_or(0));
        self.now = now;
        self.total
    }
}

/// Each status counts, also between scrapes.
async fn count(mut told: watch::Receiver<Told>, state: Arc<State>) {
    let none = NodePodBudgetStatus::default();
    loop {
        state.see(told.borrow_and_update().status().unwrap_or(&none));
        // The engine has ended: the last numbers stay.
        if told.changed().await.is_err() {
            return;
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(answer(&request, &state).await) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(LIMIT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics"),
        Err(_) => tracing::debug!("a connection for metrics took too long"),
    }
}

async fn answer(request: &Request<Incoming>, state: &Arc<State>) -> Response<Full<Bytes>> {
    let plain = |status: StatusCode, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let state = state.clone();
    // Files of /proc, maybe thousands: not on the thread on which containers are given their budgets.
    match tokio::task::spawn_blocking(move || state.text()).await {
        Ok(text) => {
            let mut response = Response::new(Full::from(text));
            let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Err(error) => {
            tracing::error!(%error, "reading metrics");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "see the daemon's log\n")
        }
    }
}

impl State {
    fn see(&self, status: &NodePodBudgetStatus) -> u64 {
        self.late
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .see(status)
    }

    fn text(&self) -> String {
        let status = self.told.borrow().status().cloned().unwrap_or_default();
        let late = self.see(&status);
        let mut held = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = match Sampler::open(&self.host) {
                Ok(sampler) => Some(sampler),
                Err(error) => {
                    tracing::debug!(%error, "no threads in the metrics");
                    None
                }
            };
        }
        let sample = held.as_mut().and_then(|sampler| match sampler.sample() {
            Ok(sample) => Some(sample),
            Err(error) => {
                tracing::warn!(%error, "no threads in the metrics");
                None
            }
        });
        if sample.is_none() {
            // What was mounted may have changed.
            *held = None;
        }
        let groups = sample.as_ref().map(|sample| sample.groups.as_slice());
        // The kernel writes down its whole scheduler for it: not where no thread could be stopped.
        let throttled = held
            .as_ref()
            .filter(|_| groups.is_some_and(|groups| !groups.is_empty()))
            .and_then(|sampler| sampler.throttled(&SCHED_DEBUG[..1]));
        drop(held);
        metrics::text(&status, late, groups, throttled.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use realtime_core::api::realtime_node::{BudgetMode, ContainerBudget, ContainerBudgetState};
    use realtime_core::rt::usage::{Group, Policy, Thread, ThreadKey};

    use super::*;

    fn status(late: &[(&str, bool)]) -> NodePodBudgetStatus {
        let containers = late.iter().map(|(pod, before)| ContainerBudget {
            namespace: "lab".to_owned(),
            pod: (*pod).to_owned(),
            container: "main".to_owned(),
            requested_microseconds: None,
            applied_microseconds: None,
            policy: None,
            priority: None,
            state: ContainerBudgetState::Applied,
            reason: None,
            message: None,
            assigned_before_start: Some(*before),
        });
        NodePodBudgetStatus {
            containers: containers.collect(),
            ..NodePodBudgetStatus::default()
        }
    }

    #[test]
    fn a_late_container_counts_once() {
        let mut late = Late::default();
        assert_eq!(late.see(&status(&[("a", false), ("b", true)])), 1);
        assert_eq!(late.see(&status(&[("a", false), ("b", true)])), 1);
        assert_eq!(late.see(&status(&[("b", true)])), 1);
        assert_eq!(late.see(&status(&[("a", false), ("c", false)])), 3);
    }

    #[test]
    fn the_document_has_every_metric_and_no_other() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/node-daemon.md");
        let document = std::fs::read_to_string(path).unwrap();
        let rows = document.lines().filter(|line| line.starts_with("| `"));
        let told: BTreeSet<&str> = rows
            .filter_map(|line| line.split('|').nth(1))
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .filter_map(|name| name.split('{').next())
            .filter(|name| name.starts_with("realtime_"))
            .collect();

        let mut status = status(&[("a", true)]);
        status.mode = Some(BudgetMode::V1Budget);
        status.capacity_microseconds = Some(1);
        status.allocated_microseconds = Some(1);
        status.containers[0].requested_microseconds = Some(1);
        status.containers[0].applied_microseconds = Some(1);
        let thread = Thread {
            key: ThreadKey { tid: 7, start: 5 },
            comm: "a".to_owned(),
            policy: Policy::Fifo,
            priority: 50,
            cpu: 0,
            used_ns: 0,
            at_ns: 0,
        };
        let group = Group {
            path: "/a".to_owned(),
            identity: None,
            pod_uid: "0f1e".to_owned(),
            id: "aa".to_owned(),
            budget_us: Some(25_000),
            threads: vec![thread],
        };
        let text = metrics::text(&status, 0, Some(&[group]), Some(&[]));
        let served: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        assert_eq!(told, served);
    }
}
