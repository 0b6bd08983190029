//! Connections to the hook's socket by the hundred: nobody but root has any, and even root holds up nobody else.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use realtime_core::names::HOOK_SOCKET;
use serde_json::json;

use crate::on_node::{LONG, Lab};
use crate::witness::Witness;

pub async fn flood(lab: &Lab, witness: &Witness) {
    let path = lab.node.path_inside(HOOK_SOCKET);
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < LONG, "no socket\n{}", lab.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let used = witness.used();
    let innocent = witness.innocent(lab, "during-flood");
    let flood = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let mut connections = Vec::new();
        let mut made = 0_usize;
        while begun.elapsed() < Duration::from_secs(10) {
            if let Ok(mut stream) = UnixStream::connect(&path) {
                stream.set_nonblocking(true).unwrap();
                let word = json!({
                    "id": format!("{made:064x}"), "namespace": "default", "pod": format!("none-{made}"),
                    "container": "main", "annotations": {"realtime": "true", "rt_runtime_us": "5000"},
                })
                .to_string();
                let said = match made % 5 {
                    0 => Vec::new(),
                    1 => b"\0\xff garbage\n".to_vec(),
                    2 => word.as_bytes()[..40].to_vec(),
                    3 => format!("{word}\n").into_bytes(),
                    _ => vec![b'['; 60_000],
                };
                let _ = stream.write_all(&said);
                connections.push(stream);
                made += 1;
            }
            // Some hundred of them stay.
            if connections.len() > 700 {
                connections.drain(..200);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        made
    });
    let (made, ()) = tokio::join!(flood, innocent);
    let what = format!("{} connections", made.unwrap());
    witness.modest(lab, &what, &used);
    witness.is_well(lab).await;
    witness.innocent(lab, "after-flood").await;
    lab.wait_for("only the witness", |told| told.containers.len() == 1)
        .await;
}
