//! The measured process: its time and memory by the kernel's count, its rounds by its own, its requests by the API
//! server's audit log. Reads only, but for the start and the end of the process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use realtime_core::names::OPERATOR_NAMESPACE;
use realtime_testing::control_plane::ControlPlane;
use realtime_testing::sandbox::OPERATOR_ACCOUNT;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::Cluster;

/// The kernel counts a process' time in these (USER_HZ, 100 on every architecture here).
const TICKS_A_SECOND: u32 = 100;
/// How often it is asked whether it has settled: a request that costs it tenths of a millisecond.
const POLL: Duration = Duration::from_millis(100);
/// Until the caches hold 5,000 nodes; for a machine that is starved.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// The name of the program, and so of its log.
const NAME: &str = "operator";

/// A running operator.
pub struct Operator {
    pid: u32,
    address: SocketAddr,
    log: PathBuf,
    /// From its start to its filled caches.
    pub ready_after: Duration,
}

/// What the kernel says of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    pub resident_kib: u64,
    pub peak_kib: u64,
}

impl Usage {
    pub fn memory(&self) -> String {
        let (now, peak) = crate::megabytes(self);
        format!("{now:.0} MB / {peak:.0} MB")
    }
}

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub usage: Usage,
    rounds: u64,
    requests: BTreeMap<(String, String), usize>,
}

/// What lies between two moments.
pub struct Spent {
    pub cpu: Duration,
    pub rounds: u64,
    pub memory: String,
    requests: BTreeMap<(String, String), usize>,
}

impl Operator {
    /// Starts it as it would run in the cluster: same program, same rights.
    pub async fn start(control_plane: &ControlPlane, binary: &Path) -> anyhow::Result<Self> {
        let kubeconfig = control_plane
            .kubeconfig_for(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT)
            .await?;
        let arguments = [
            format!("KUBECONFIG={}", kubeconfig.display()),
            binary.display().to_string(),
            "--listen=127.0.0.1:0".to_owned(),
        ];
        let old = control_plane.directory().join(format!("{NAME}.log"));
        if old.exists() {
            std::fs::remove_file(&old)?;
        }
        let started = Instant::now();
        let log = control_plane.run_program(NAME, Path::new("env"), &arguments)?;
        loop {
            let printed = std::fs::read_to_string(&log).unwrap_or_default();
            if printed.contains("caches are filled") {
                let ready_after = started.elapsed();
                let pid = control_plane.program_pid(NAME).context("its process id")?;
                let address = printed
                    .lines()
                    .find_map(|line| line.strip_prefix("listening on http://"))
                    .context("its address")?
                    .parse()?;
                return Ok(Self {
                    pid,
                    address,
                    log,
                    ready_after,
                });
            }
            ensure!(
                control_plane.runs(NAME) && started.elapsed() < READY_LIMIT,
                "the operator ended or never became ready:\n{printed}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As a rollout of its Deployment ends it: the Lease is released.
    pub async fn stop(&self, control_plane: &ControlPlane) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.pid)?), Signal::SIGTERM)?;
        let asked = Instant::now();
        while control_plane.runs(NAME) {
            ensure!(asked.elapsed() < READY_LIMIT, "the operator does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(control_plane.kill_program(NAME)?)
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.pid);
            std::fs::read_to_string(&path).context(path)
        };
        let (status, stat) = (read("status")?, read("stat")?);
        let kib = |field: &str| -> anyhow::Result<u64> {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(field))
                .with_context(|| field.to_owned())?;
            Ok(line
                .trim_start_matches(':')
                .trim()
                .trim_end_matches(" kB")
                .parse()?)
        };
        // proc(5): after the name in parentheses, utime and stime are fields 14 and 15 of all, 12 and 13 of the rest.
        let rest = stat.rsplit_once(')').context("stat")?.1;
        let mut ticks = rest.split_whitespace().skip(11);
        let mut next = || -> anyhow::Result<u32> { Ok(ticks.next().context("stat")?.parse()?) };
        let ticks = next()? + next()?;
        Ok(Usage {
            cpu: Duration::from_secs(1) * ticks / TICKS_A_SECOND,
            resident_kib: kib("VmRSS")?,
            peak_kib: kib("VmHWM")?,
        })
    }

    pub fn snapshot(&self, cluster: &Cluster) -> anyhow::Result<Snapshot> {
        let rounds = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current()
                .block_on(self.metric("realtime_operator_reconciles_total"))
        })?;
        Ok(Snapshot {
            usage: self.usage()?,
            rounds,
            ..Self::snapshot_of_requests(cluster)?
        })
    }

    /// The requests alone: what is left to compare with when the process has ended.
    pub fn snapshot_of_requests(cluster: &Cluster) -> anyhow::Result<Snapshot> {
        let user = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}");
        let mut requests = BTreeMap::new();
        for request in cluster.control_plane.audit_requests()? {
            if request.user == user {
                // The others are of everyday life: gone, changed meanwhile, busy.
                ensure!(
                    ![401, 403, 422].contains(&request.code),
                    "refused: {request:?}"
                );
                *requests
                    .entry((request.verb, request.resource))
                    .or_default() += 1;
            }
        }
        Ok(Snapshot {
            requests,
            ..Snapshot::default()
        })
    }

    /// Waits until nothing was written and no round was made for `quiet`; says when the last was, after `since`, or
    /// that there is no end of it.
    pub async fn settled(
        &self,
        since: Instant,
        quiet: Duration,
        limit: Duration,
    ) -> anyhow::Result<String> {
        let mut known = None;
        let mut last = Instant::now();
        while last.elapsed() < quiet {
            let now = Some((
                self.metric("realtime_operator_writes_total").await?,
                self.metric("realtime_operator_reconciles_total").await?,
            ));
            if now != known {
                (known, last) = (now, Instant::now());
            }
            if since.elapsed() > limit {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(20)..].join("\n");
                eprintln!("it does not settle; the end of its log:\n{tail}");
                return Ok(format!("NOT within {}", crate::seconds(limit)));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(crate::seconds(last.duration_since(since)))
    }

    /// The sum of a counter over its labels.
    async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let mut stream = TcpStream::connect(self.address).await?;
        let request = b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        answer
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with([' ', '{']))
            .filter_map(|rest| rest.rsplit_once(' '))
            .map(|(_, value)| value.parse::<u64>().context("a counter"))
            .sum()
    }
}

impl Snapshot {
    pub fn since(&self, before: &Self) -> Spent {
        let mut requests = self.requests.clone();
        for (key, count) in &mut requests {
            *count -= before.requests.get(key).copied().unwrap_or_default();
        }
        requests.retain(|_, count| *count > 0);
        Spent {
            cpu: self.usage.cpu.saturating_sub(before.usage.cpu),
            rounds: self.rounds - before.rounds,
            memory: self.usage.memory(),
            requests,
        }
    }
}

impl Spent {
    fn select(&self, wanted: impl Fn(&str, &str) -> bool) -> String {
        let mut of_kind = BTreeMap::<&str, usize>::new();
        for ((verb, resource), count) in &self.requests {
            if wanted(verb, resource) {
                *of_kind.entry(resource.as_str()).or_default() += count;
            }
        }
        let total: usize = of_kind.values().sum();
        let main = of_kind.iter().max_by_key(|(_, count)| **count);
        match main {
            Some((kind, count)) if of_kind.len() > 1 => format!("{total} ({count} {kind})"),
            Some((kind, _)) => format!("{total} ({kind})"),
            None => "0".to_owned(),
        }
    }

    /// Everything that changes an object, the Lease left out.
    pub fn writes(&self) -> String {
        self.select(|verb, resource| is_write(verb) && resource != "leases")
    }

    /// Reads past the caches, and lists.
    pub fn reads(&self) -> String {
        self.select(|verb, resource| !is_write(verb) && verb != "watch" && resource != "leases")
    }

    /// What goes on for ever: a watch ends after minutes and is started anew.
    pub fn upkeep(&self) -> String {
        let watches = self.select(|verb, _| verb == "watch");
        let leases = self.select(|_, resource| resource == "leases");
        format!("{watches}, {leases}")
    }
}

fn is_write(verb: &str) -> bool {
    ["create", "update", "patch", "delete", "deletecollection"].contains(&verb)
}
