//! Leader election by a Lease: of two replicas only the one that holds it may write.
//! Knows nothing of profiles; who acts asks [`Leadership::holds`] before each write.
//!
//! Before what two leaders must never do at once, [`Leadership::renew_now`] asks the API server itself: see
//! docs/decisions/turns.md.
//!
//! A replica believes in its own lead only until its renew deadline, by its own monotonic clock, so
//! that a process that was stopped for a minute doesn't act on a lead that has passed on.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt as _};
use realtime_core::causes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Longer than any process lives.
const FOR_EVER: Duration = Duration::from_hours(24 * 365 * 30);

/// The Lease's name.
pub const LEASE_NAME: &str = "realtime-operator";

/// How long a lead lasts and how often it is renewed.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Others take over when the Lease hasn't changed for so long.
    pub lease: Duration,
    /// Who couldn't renew for so long no longer acts. Shorter than `lease`.
    pub renew_deadline: Duration,
    /// Between two attempts to renew or to take over.
    pub retry: Duration,
}

impl Default for Timing {
    /// What OpenShift asks of its operators, so that a short outage of the API server deposes
    /// nobody and an idle cluster sees few writes. A graceful stop releases at once.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(137),
            renew_deadline: Duration::from_secs(107),
            retry: Duration::from_secs(26),
        }
    }
}

impl Timing {
    /// The same proportions for another lease duration, of at least a second.
    pub fn scaled_to(lease: Duration) -> Self {
        let lease = lease.max(Duration::from_secs(1));
        Self {
            lease,
            renew_deadline: lease * 3 / 4,
            retry: lease / 5,
        }
    }
}

/// Who leads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership {
    until: Arc<Mutex<Option<Instant>>>,
    /// The lead's name: no other lead, of any replica at any time, has the same.
    term: Arc<Mutex<String>>,
    changes: watch::Receiver<bool>,
    /// Requests to renew now; `None` where there is no Lease.
    renewals: Option<mpsc::Sender<oneshot::Sender<bool>>>,
}

impl Leadership {
    /// For one replica without a Lease.
    pub fn always() -> Self {
        // The sender may go: the value stays.
        let (_, changes) = watch::channel(true);
        let far = Instant::now() + FOR_EVER;
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            until: Arc::new(Mutex::new(Some(far))),
            term: Arc::new(Mutex::new(format!("no-lease-{random:016x}"))),
            changes,
            renewals: None,
        }
    }

    /// Renews the Lease now and says whether this replica holds it: whoever takes over does so after this.
    pub async fn renew_now(&self) -> bool {
        let Some(renewals) = &self.renewals else {
            return self.holds();
        };
        let (reply, answer) = oneshot::channel();
        // An error says that the election has ended.
        renewals.send(reply).await.is_ok() && answer.await.unwrap_or(false) && self.holds()
    }

    /// The name of the present lead.
    pub fn term(&self) -> String {
        let term = self.term.lock().unwrap_or_else(PoisonError::into_inner);
        term.clone()
    }

    /// Whether this replica may act, now.
    pub fn holds(&self) -> bool {
        self.until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| Instant::now() < until)
    }

    /// Waits until this replica leads.
    pub async fn acquired(&mut self) {
        // An error says that the election has ended: then it leads or it never will.
        if self.changes.wait_for(|leads| *leads).await.is_err() && !self.holds() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until this replica no longer leads.
    pub async fn lost(&mut self) {
        if self.changes.wait_for(|leads| !*leads).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A replica that stands for election.
pub struct Candidate {
    leases: Api<Lease>,
    identity: String,
    timing: Timing,
    until: Arc<Mutex<Option<Instant>>>,
    term: Arc<Mutex<String>>,
    changes: watch::Sender<bool>,
    renewals: mpsc::Receiver<oneshot::Sender<bool>>,
    /// The Lease's version when it last changed, and when that was seen here: clocks of others
    /// aren't trusted.
    seen: Option<(String, Instant)>,
}

impl Candidate {
    /// Stands for election in a namespace under a name of its own.
    pub fn new(
        client: Client,
        namespace: &str,
        identity: String,
        timing: Timing,
    ) -> (Self, Leadership) {
        let until = Arc::new(Mutex::new(None));
        let term = Arc::<Mutex<String>>::default();
        let (sender, receiver) = watch::channel(false);
        let (ask, renewals) = mpsc::channel(16);
        let leadership = Leadership {
            until: Arc::clone(&until),
            term: Arc::clone(&term),
            changes: receiver,
            renewals: Some(ask),
        };
        let candidate = Self {
            leases: Api::namespaced(client, namespace),
            identity,
            timing,
            until,
            term,
            changes: sender,
            renewals,
            seen: None,
        };
        (candidate, leadership)
    }

    /// Stands until `stop` completes, then releases the Lease if it is held.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        // Whoever waits for the answer of the attempt that comes: each began to wait before it.
        let mut waiting: Vec<oneshot::Sender<bool>> = Vec::new();
        loop {
            let asked = Instant::now();
            let attempt = tokio::time::timeout(self.timing.retry, self.attempt());
            let outcome = tokio::select! {
                () = &mut stop => break,
                outcome = attempt => outcome,
            };
            let renewed = matches!(outcome, Ok(Ok(Some(_))));
            match outcome {
                Ok(Ok(Some(version))) => {
                    if !*self.changes.borrow() {
                        *self.term.lock().unwrap_or_else(PoisonError::into_inner) = version;
                    }
                    self.set(Some(asked + self.timing.renew_deadline));
                }
                Ok(Ok(None)) => self.set(None),
                // Not renewed: the lead goes on until its deadline.
                Ok(Err(error)) => tracing::warn!(
                    error = causes::told(&error),
                    "the Lease can't be read or written"
                ),
                Err(_) => tracing::warn!("the Lease can't be read or written in time"),
            }
            for reply in waiting.drain(..) {
                // Who asked may have gone.
                let _ = reply.send(renewed);
            }
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(self.timing.retry) => {}
                Some(reply) = self.renewals.recv() => waiting.push(reply),
            }
            while let Ok(reply) = self.renewals.try_recv() {
                waiting.push(reply);
            }
            self.end_when_passed();
        }
        self.release().await;
    }

    /// Who couldn't renew until its deadline no longer leads.
    fn end_when_passed(&self) {
        let passed = self
            .until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| Instant::now() >= until);
        if passed {
            self.set(None);
        }
    }

    fn set(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        let leads = until.is_some();
        let changed = self.changes.send_if_modified(|now| {
            let changed = *now != leads;
            *now = leads;
            changed
        });
        if changed {
            tracing::info!(identity = %self.identity, leads, "leadership");
        }
    }

    /// Takes or renews the Lease if that is allowed; the resourceVersion that it got when it is held.
    async fn attempt(&mut self) -> kube::Result<Option<String>> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self.leases.get_opt(LEASE_NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(LEASE_NAME.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(LeaseSpec {
                    acquire_time: Some(now.clone()),
                    lease_transitions: Some(0),
                    ..self.spec(now)
                }),
            };
            return settled(self.leases.create(&PostParams::default(), &lease).await);
        };

        let version = lease.resource_version().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => Instant::now(),
        };
        self.seen = Some((version, since));

        let spec = lease.spec.take().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let ours = holder == self.identity;
        let term = spec
            .lease_duration_seconds
            .map_or(self.timing.lease, |seconds| {
                Duration::from_secs(u64::try_from(seconds).unwrap_or(1))
            });
        if !ours && !holder.is_empty() && since.elapsed() < term {
            return Ok(None);
        }
        lease.spec = Some(LeaseSpec {
            acquire_time: if ours {
                spec.acquire_time
            } else {
                Some(now.clone())
            },
            lease_transitions: Some(
                spec.lease_transitions
                    .unwrap_or(0)
                    .saturating_add(i32::from(!ours)),
            ),
            ..self.spec(now)
        });
        // The resourceVersion in it makes this fail when another replica was quicker.
        settled(
            self.leases
                .replace(LEASE_NAME, &PostParams::default(), &lease)
                .await,
        )
    }

    fn spec(&self, now: MicroTime) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(
                i32::try_from(self.timing.lease.as_secs()).unwrap_or(i32::MAX),
            ),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    /// Lets another replica take over at once.
    async fn release(&self) {
        let held = *self.changes.borrow();
        self.set(None);
        if !held {
            return;
        }
        let release = async {
            let mut lease = self.leases.get(LEASE_NAME).await?;
            if let Some(spec) = lease
                .spec
                .as_mut()
                .filter(|spec| spec.holder_identity.as_deref() == Some(self.identity.as_str()))
            {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
                self.leases
                    .replace(LEASE_NAME, &PostParams::default(), &lease)
                    .await?;
            }
            Ok::<(), kube::Error>(())
        };
        match tokio::time::timeout(Duration::from_secs(5), release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    error = causes::told(&error),
                    "the Lease could not be released; it ends by itself"
                );
            }
            Err(_) => {
                tracing::warn!("the Lease could not be released in time; it ends by itself");
            }
        }
    }
}

/// The resourceVersion of a write of the Lease that went through; losing a race is no error.
fn settled(result: kube::Result<Lease>) -> kube::Result<Option<String>> {
    match result {
        Ok(lease) => Ok(Some(lease.resource_version().unwrap_or_default())),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}
