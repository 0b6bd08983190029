//! `oc realtime watch`: a rollout as it happens. Follows the cluster's own events; only reads.

mod cluster;
mod screen;

use std::time::Duration;

use futures::StreamExt as _;
use realtime_core::status::members::of_profile;
use realtime_core::watch_view::{Verdict, View, Watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::CommandError;
use crate::args::WatchArgs;
use crate::exit::Exit;
use crate::{client, output};
use cluster::Followed;
use screen::Screen;

/// A clock that shows seconds is redrawn each second.
const TICK: Duration = Duration::from_secs(1);
/// Events come in bursts: what arrives within this time is shown at once.
const SETTLE: Duration = Duration::from_millis(50);

/// The watch could not be held.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No such profile.
    #[error("no RealtimeProfile {0}; `oc get realtimeprofiles` lists them")]
    NotFound(String),
    /// It was deleted meanwhile.
    #[error("the RealtimeProfile {0} was deleted; its nodes go back to what they were without it")]
    Deleted(String),
    /// The streams ended, which they never should.
    #[error("the API server's events ended")]
    Ended,
}

pub fn run(args: &WatchArgs) -> Result<Exit, CommandError> {
    client::block_on(watch(args))
}

async fn watch(args: &WatchArgs) -> Result<Exit, CommandError> {
    let start = Instant::now();
    let client = client::connect(&args.cluster).await?;
    let (mut followed, events) = Followed::start(&client, &args.name).await?;
    let mut events = std::pin::pin!(events);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let deadline = args.timeout.map(|timeout| start + timeout);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut screen = Screen::new();
    let mut memory = Watch::on(followed.cluster().served);
    let mut last: Option<View> = None;
    let mut settled = Instant::now();
    let mut unsettled = false;
    loop {
        tokio::select! {
            _ = &mut interrupted => return Ok(Exit::Interrupted),
            () = until(deadline) => return Ok(timed_out(args, last.as_ref())),
            event = events.next() => {
                let Some(event) = event else { return Err(WatchError::Ended.into()) };
                if let Some(trouble) = followed.take(event) {
                    screen.trouble(&trouble);
                }
                if !unsettled {
                    settled = Instant::now() + SETTLE;
                    unsettled = true;
                }
                continue;
            }
            () = tokio::time::sleep_until(settled), if unsettled => unsettled = false,
            _ = tick.tick() => {}
        }
        if !followed.is_ready() {
            continue;
        }
        let Some(profile) = followed.profile() else {
            let name = args.name.clone();
            return Err(if last.is_some() {
                WatchError::Deleted(name)
            } else {
                WatchError::NotFound(name)
            }
            .into());
        };
        let wants_realtime = profile
            .spec
            .kernel
            .as_ref()
            .and_then(|kernel| kernel.realtime);
        let progress = of_profile(&profile, followed.cluster(), wants_realtime == Some(true));
        let view = memory.view(&profile, &progress, start.elapsed());
        screen.show(last.as_ref(), &view)?;
        match view.verdict {
            Verdict::Going => last = Some(view),
            Verdict::Done => return Ok(Exit::Success),
            Verdict::Stuck => {
                output::notice(&format!("error: stuck: {}: {}", view.reason, view.message));
                return Ok(Exit::Failure);
            }
        }
    }
}

/// Never, without a deadline.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn timed_out(args: &WatchArgs, last: Option<&View>) -> Exit {
    let state = last.map_or_else(
        || "the cluster did not answer".to_owned(),
        |view| format!("{}: {}", view.reason, view.message),
    );
    output::notice(&format!(
        "error: not real-time after the time given by --timeout: {}: {state}",
        args.name
    ));
    Exit::Failure
}
