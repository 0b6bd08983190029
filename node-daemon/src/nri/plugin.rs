//! What the plugin answers to each call of the runtime. A container that asks for nothing is answered at once; one that
//! asks waits for the door, within a bound. Never lets a container fail that hasn't said `required`: also not over a call
//! that can't be understood. Touches neither socket nor groups.

use std::time::Duration;

use prost::Message as _;
use realtime_core::rt::group::{ContainerId, PodUid};
use realtime_core::rt::identity::Identity;
use realtime_core::rt::request::{REQUIRED, asks, required};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::messages::{
    Configure, Configured, EVENTS, PLUGIN, Request, Response, START_CONTAINER, SYNCHRONIZE,
    StateChange, Status, Synchronized, code,
};
use super::wire::Message;
use crate::budget::door::{Announced, Answer, Door, Knock};

/// A container waits this long at most. The runtime gives a plugin 2 s by default, then closes the connection to it; and
/// it asks for one container after the other, so all others on the node wait as well.
pub const LONGEST_WAIT: Duration = Duration::from_millis(1500);
/// When nobody has answered for [`SILENCE`], a container waits only this long: a hundred of them at once would else keep
/// the node's other containers waiting for minutes. An answer takes a few milliseconds.
pub const SHORT_WAIT: Duration = Duration::from_millis(50);
/// See [`SHORT_WAIT`]: longer than the loop tries again what the kernel refuses for a moment (2 s).
pub const SILENCE: Duration = Duration::from_secs(4);
/// As many bytes of words as fit an answer and an Event (1024).
const MAX_WORDS: usize = 700;

/// How long the loop behind the door hasn't answered.
#[derive(Debug, Default)]
pub struct Patience {
    /// When the first container knocked that got no answer, if none got one since.
    silent_since: Option<Instant>,
}

/// The plugin, in one connection or over several.
#[derive(Debug)]
pub struct Plugin {
    door: Door,
    patience: Patience,
}

/// A call's answer, and what else it means.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub response: Response,
    /// With the answer the runtime has taken the plugin in.
    pub ready: bool,
}

impl Patience {
    /// How long the next one waits at most. One that would rather not start has the full time.
    pub fn wait(&self, now: Instant, required: bool) -> Duration {
        match self.silent_since {
            Some(since) if !required && now.duration_since(since) >= SILENCE => SHORT_WAIT,
            _ => LONGEST_WAIT,
        }
    }

    /// Somebody who knocked then got an answer, or none. Whether a silence begins with it.
    pub fn knocked(&mut self, then: Instant, answered: bool) -> bool {
        let before = self.silent_since;
        self.silent_since = if answered {
            None
        } else {
            Some(before.unwrap_or(then))
        };
        before.is_none() && !answered
    }
}

impl Plugin {
    /// One that knocks at this door.
    pub fn new(door: Door) -> Self {
        Self {
            door,
            patience: Patience::default(),
        }
    }

    /// Whether there is anybody behind the door.
    pub fn is_useful(&self) -> bool {
        !self.door.is_closed()
    }

    /// Answers a call.
    pub async fn answer(&mut self, call: &Message) -> Answered {
        let not_yet = |response| Answered {
            response,
            ready: false,
        };
        if call.cut {
            return synchronized();
        }
        let request = match Request::decode(&*call.body) {
            Ok(request) => request,
            Err(error) => {
                return not_yet(failed(
                    code::INVALID_ARGUMENT,
                    &format!("the call can't be read: {error}"),
                ));
            }
        };
        if request.service != PLUGIN {
            return not_yet(failed(code::UNIMPLEMENTED, "there is no such service here"));
        }
        match request.method.as_str() {
            "Configure" => {
                let runtime = Configure::decode(&*request.payload).unwrap_or_default();
                tracing::info!(
                    runtime = runtime.runtime_name,
                    version = runtime.runtime_version,
                    "registered as a plugin (NRI) with the container runtime"
                );
                not_yet(with(&Configured { events: EVENTS }))
            }
            SYNCHRONIZE => synchronized(),
            "StateChange" => not_yet(self.changed(&request).await),
            "Shutdown" => not_yet(Response::default()),
            other => not_yet(failed(
                code::UNIMPLEMENTED,
                &format!("{} isn't done here", cut(other, 64)),
            )),
        }
    }

    async fn changed(&mut self, request: &Request) -> Response {
        let event = match StateChange::decode(&*request.payload) {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "an event of the container runtime (NRI) can't be read");
                return Response::default();
            }
        };
        let (Some(pod), Some(container)) = (event.pod, event.container) else {
            return Response::default();
        };
        if event.event != START_CONTAINER || !asks(&pod.annotations) {
            return Response::default();
        }
        let required = required(&pod.annotations);
        let outcome = match ContainerId::new(&container.id) {
            Err(error) => Err(error.to_string()),
            Ok(id) => {
                let announced = Announced {
                    id,
                    identity: Identity {
                        namespace: pod.namespace,
                        pod: pod.name,
                        uid: PodUid::new(&pod.uid).ok(),
                        container: Some(container.name),
                    },
                    annotations: pod.annotations,
                    pid: Some(container.pid).filter(|pid| *pid != 0),
                };
                self.knock(announced, required, left(request)).await
            }
        };
        match outcome {
            Err(reason) if required => failed(
                code::FAILED_PRECONDITION,
                &format!("not started, since its pod has {REQUIRED}: \"true\": {reason}"),
            ),
            // The loop tells the pod of a refusal.
            Ok(()) | Err(_) => Response::default(),
        }
    }

    /// Knocks and waits. An error says why the container doesn't have what it asks for.
    async fn knock(
        &mut self,
        announced: Announced,
        required: bool,
        left: Duration,
    ) -> Result<(), String> {
        let now = Instant::now();
        let wait = self.patience.wait(now, required).min(left);
        let (answer, answered) = oneshot::channel();
        let identity = announced.identity.clone();
        let knock = Knock { announced, answer };
        let answer = timeout(wait, async {
            self.door.send(knock).await.ok()?;
            answered.await.ok()
        })
        .await;
        let silence = self.patience.knocked(now, matches!(answer, Ok(Some(_))));
        match answer {
            Ok(Some(Answer::Applied | Answer::NotAsked)) => Ok(()),
            Ok(Some(Answer::Refused(reason))) => Err(reason),
            Ok(None) => Err(
                "the node's real-time daemon is ending; the container is tried again".to_owned(),
            ),
            Err(_) => {
                if silence {
                    let Identity { namespace, pod, .. } = identity;
                    tracing::warn!(
                        namespace,
                        pod,
                        ?wait,
                        "a container waited for its real-time budget in vain: the daemon is busy with others. Those that \
                         follow wait shorter, until there is an answer again"
                    );
                }
                Err(format!(
                    "the node's real-time daemon didn't answer within {} ms; the container is tried again. Its log on \
                     the node says what it is busy with",
                    wait.as_millis()
                ))
            }
        }
    }
}

/// Nothing is to be changed, and more may come.
fn synchronized() -> Answered {
    Answered {
        response: with(&Synchronized { more: true }),
        ready: true,
    }
}

/// What the caller waits, with time for the way back: three quarters of what it says.
fn left(request: &Request) -> Duration {
    match u64::try_from(request.timeout_nano) {
        Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos / 4 * 3),
        _ => LONGEST_WAIT,
    }
}

fn with(message: &impl prost::Message) -> Response {
    Response {
        status: None,
        payload: message.encode_to_vec(),
    }
}

fn failed(code: i32, words: &str) -> Response {
    Response {
        status: Some(Status {
            code,
            message: cut(words, MAX_WORDS),
        }),
        payload: Vec::new(),
    }
}

/// The beginning of a text, in whole characters.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(bytes)])
}
