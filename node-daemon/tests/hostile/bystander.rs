//! A pod that asks for nothing real-time, and says each second what time it is: what others do to it is seen by its silence.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::on_node::{LONG, Lab, pod};

pub const NAME: &str = "bystander";
/// The time since the machine's start, and a new process each second: the kernel must give it a moment for both.
const SAYS: &str = "while read now idle < /proc/uptime; do echo $now; sleep 1; done";
/// Seconds. A machine with two cores that starts hundreds of containers makes anybody wait for a second or two. Beside a pod that
/// forks real-time processes on 1 % of each second up to four were seen: the kernel stops them wherever they are, also while
/// another's fork waits for what they hold. What starves is silent for longer.
const MOST_SILENCE: f64 = 10.0;
/// Silence of that much each time is too much as well.
const SECONDS_A_WORD: f64 = 5.0;

pub struct Bystander {
    /// So many of its words have been looked at.
    heard: AtomicUsize,
}

impl Bystander {
    pub async fn start(lab: &Lab) -> Self {
        let command = ["sh", "-c", SAYS];
        lab.run(pod(NAME, &json!({}), &command), "Running").await;
        words(lab).await;
        Self {
            heard: AtomicUsize::new(1),
        }
    }

    /// It has gone on since the last look.
    pub async fn is_well(&self, lab: &Lab) {
        let now = uptime();
        let words = words(lab).await;
        let heard = self.heard.swap(words.len(), Ordering::Relaxed);
        // From the last one of before, and up to now.
        let mut times = words[heard - 1..].to_vec();
        let began = times[0];
        #[allow(clippy::cast_precision_loss, reason = "some thousands at most")]
        let said = (times.len() - 1) as f64;
        times.push(now);
        let silences = times.windows(2).map(|two| two[1] - two[0]);
        let longest = silences.fold(0.0, f64::max);
        let seconds = now - began;
        println!("the bystander: silent for {longest:.1} s at most in {seconds:.0} s");
        assert!(
            longest < MOST_SILENCE,
            "silent for {longest:.1} s: {times:?}\n{}",
            lab.said()
        );
        assert!(
            seconds < MOST_SILENCE + SECONDS_A_WORD * said,
            "{said} words in {seconds:.0} s: {times:?}\n{}",
            lab.said()
        );
    }
}

/// All that it has said: seconds since the machine's start.
async fn words(lab: &Lab) -> Vec<f64> {
    let begun = Instant::now();
    loop {
        let log = lab.log_of(NAME).await;
        // The kubelet may need a moment to find its log, and says so instead.
        let words: Option<Vec<f64>> = log.lines().map(|line| line.parse().ok()).collect();
        match words {
            Some(words) if !words.is_empty() => return words,
            _ => assert!(begun.elapsed() < LONG, "{NAME}: {log:?}\n{}", lab.said()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The same out here.
fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("/proc/uptime");
    let now = text.split_whitespace().next().expect("a word");
    now.parse().expect("seconds")
}
