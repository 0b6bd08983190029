//! Whether a watch is answered, told once when that changes. Decides nothing.

use std::time::Duration;

use kube::runtime::watcher::{self, Event};
use realtime_core::causes;
use tokio::time::Instant;

/// Twice as long as kube waits between two tries at most, and as a try takes. A watch that goes on where it was gives
/// nothing before there is news: one that has not failed for so long is answered.
const FAILS_AGAIN: Duration = Duration::from_mins(3);

/// Of one watch.
#[derive(Debug)]
pub struct Answers {
    what: &'static str,
    /// When it failed last, until it has given something.
    failed: Option<Instant>,
}

impl Answers {
    /// Of a watch of that, as in `this node's pods`.
    pub fn of(what: &'static str) -> Self {
        Self { what, failed: None }
    }

    /// What the watch gave; says whether the API server has answered.
    pub fn hear<K>(&mut self, heard: &Result<Event<K>, watcher::Error>) -> bool {
        match heard {
            // Given before anybody is asked for a list.
            Ok(Event::Init) => false,
            Ok(_) => {
                if self.failed.take().is_some() {
                    tracing::info!("{} can be watched again", self.what);
                }
                true
            }
            Err(error) => {
                if self.is_news() {
                    let error = causes::told(error);
                    tracing::warn!(error, "{} can't be watched", self.what);
                }
                self.failed = Some(Instant::now());
                false
            }
        }
    }

    fn is_news(&self) -> bool {
        self.failed
            .is_none_or(|failed| failed.elapsed() > FAILS_AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Result<Event<()>, watcher::Error> = Err(watcher::Error::NoResourceVersion);

    #[tokio::test(start_paused = true)]
    async fn the_begin_of_a_list_is_no_answer_and_long_silence_is_one() {
        let mut answers = Answers::of("pods");
        assert!(answers.is_news() && !answers.hear(&FAILED));
        assert!(!answers.hear::<()>(&Ok(Event::Init)) && !answers.is_news());
        assert!(answers.hear::<()>(&Ok(Event::InitDone)) && answers.is_news());
        answers.hear(&FAILED);
        tokio::time::advance(FAILS_AGAIN * 2).await;
        assert!(answers.is_news());
    }
}
