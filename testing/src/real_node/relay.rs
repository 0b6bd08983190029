//! Makes the API server in the node's network reachable on this machine's 127.0.0.1.
//!
//! One thread of this process enters the node's network namespace; what it connects is connected in
//! there, while the socket that it accepts on was made out here and stays here. So nothing of the
//! machine's network is touched, and the relay ends with this process. Must not look at what it relays.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Relay {
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Relay {
    /// Relays what comes to `listener` to the same port of 127.0.0.1 in that network namespace.
    pub fn start(listener: TcpListener, namespace: File) -> io::Result<Self> {
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let (end, ended) = oneshot::channel();
        let (entered, result) = std::sync::mpsc::channel();
        let thread = thread::Builder::new()
            .name("real-node-relay".to_owned())
            .spawn(move || {
                let ready = setns(&namespace, CloneFlags::CLONE_NEWNET)
                    .map_err(io::Error::from)
                    // All of its sockets are made on this one thread.
                    .and_then(|()| {
                        tokio::runtime::Builder::new_current_thread()
                            .enable_io()
                            .build()
                    });
                match ready {
                    Ok(runtime) => {
                        let _ = entered.send(Ok(()));
                        runtime.block_on(async {
                            tokio::select! {
                                () = accept(listener, port) => {}
                                _ = ended => {} // also when the sender is dropped
                            }
                        });
                    }
                    Err(error) => {
                        let _ = entered.send(Err(error));
                    }
                }
            })?;
        result
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the relay's thread has ended")))?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and then it is gone too.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, port: u16) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        // An error is of one connection, or for want of files, which passes.
        let Ok((mut outside, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::spawn(async move {
            if let Ok(mut inside) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                // Small requests and answers, not streams: each is to arrive at once.
                let _ = (outside.set_nodelay(true), inside.set_nodelay(true));
                // How a connection ends is the business of its two ends.
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
    }
}
