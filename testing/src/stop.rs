//! How somebody ends a program of the tests: Ctrl-C, a service manager's word, or the terminal's end. Ends nothing itself.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, heard from the moment that this is made.
#[derive(Debug)]
pub struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    /// Listens. Inside of a tokio runtime only.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            signals: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }

    /// Returns at the first of them. May be dropped and asked again: none is lost.
    pub async fn asked(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}
