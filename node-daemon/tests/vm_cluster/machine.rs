//! The machine from outside: boots it, and tells the hands in it what to do. Asserts nothing about the daemon.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use realtime_testing::vm::{self, Error, HOST, Outcome, Program};
use serde_json::{Value, json};

use crate::INSIDE;
use crate::hands::{ACTOR, DAEMON, KUBECONFIG, PORT};

/// All of it, alone in two minutes.
const LIMIT: Duration = Duration::from_mins(6);
/// How often it is asked whether the machine speaks.
const LOOK: Duration = Duration::from_millis(20);
/// The API server's port in the machine.
const API_SERVER: u16 = 6443;

/// The machine, running. Dropping it closes the connection, at which it switches itself off.
pub struct Machine {
    connection: TcpStream,
    lines: io::Lines<BufReader<TcpStream>>,
    running: JoinHandle<Result<Outcome, Error>>,
}

impl Machine {
    /// Boots it, with the daemon's kubeconfig. `Err`: why the machine can't be had here.
    pub fn boot(test: &str, kubeconfig: &Path, actor: &Path) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (inside, port) = kubeconfig_inside(kubeconfig);
        let program = Program {
            arguments: ["--exact", test, "--nocapture", "--test-threads=1"]
                .map(str::to_owned)
                .to_vec(),
            environment: vec![(INSIDE.to_owned(), "1".to_owned())],
            files: vec![
                (KUBECONFIG.to_owned(), inside.into_bytes(), 0o600),
                (
                    "/etc/os-release".to_owned(),
                    b"ID=\"test\"\nVERSION_ID=7.5\n".to_vec(),
                    0o644,
                ),
            ],
            programs: vec![
                (
                    env!("CARGO_BIN_EXE_realtime-node-daemon").into(),
                    DAEMON.to_owned(),
                ),
                (actor.to_owned(), ACTOR.to_owned()),
            ],
            ..Program::new(std::env::current_exe().unwrap())
        };
        let machine = vm::Machine {
            topology: (1, 3, 1),
            numa_nodes: 1,
            kernel_arguments: vec!["isolcpus=2".to_owned()],
            ports: vec![
                (API_SERVER, port),
                (PORT, listener.local_addr().unwrap().port()),
            ],
            limit: LIMIT,
            ..vm::Machine::default()
        };
        let running = std::thread::spawn(move || vm::run(&machine, &program));
        let connection = loop {
            match listener.accept() {
                Ok((connection, _)) => break connection,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
            }
            if running.is_finished() {
                return match running.join().unwrap() {
                    Err(Error::Unavailable(reason)) => Err(reason),
                    other => panic!("the machine said nothing: {other:#?}"),
                };
            }
            std::thread::sleep(LOOK);
        };
        connection.set_nonblocking(false).unwrap();
        connection.set_read_timeout(Some(LIMIT)).unwrap();
        let lines = BufReader::new(connection.try_clone().unwrap()).lines();
        Ok(Self {
            connection,
            lines,
            running,
        })
    }

    /// Has something done, and gives the answer.
    pub fn ask(&mut self, what: &Value) -> Value {
        writeln!(self.connection, "{what}").unwrap();
        let line = self.lines.next().expect("the machine is gone").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// `tell` the program of a container something.
    pub fn tell(&mut self, id: &str, word: &str, number: u32) -> i64 {
        let said = self.ask(&json!({"do": "tell", "id": id, "word": word, "number": number}));
        said.as_i64().unwrap()
    }

    /// The last lines of the daemon's log.
    pub fn log(&mut self, lines: usize) -> String {
        let log = self.ask(&json!({"do": "log"}));
        let all: Vec<&str> = log.as_str().unwrap_or_default().lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Has it switched off.
    pub fn end(self) -> Outcome {
        let Self {
            connection,
            lines,
            running,
        } = self;
        connection.shutdown(std::net::Shutdown::Both).unwrap();
        drop(lines);
        running.join().unwrap().unwrap()
    }
}

/// The kubeconfig as the daemon in the machine needs it, and the port at which the API server answers here.
fn kubeconfig_inside(path: &Path) -> (String, u16) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let cluster = &mut config["clusters"][0]["cluster"];
    let server = cluster["server"].as_str().unwrap().to_owned();
    let (_, port) = server.rsplit_once(':').unwrap();
    cluster["server"] = json!(format!("https://{HOST}:{API_SERVER}"));
    // The certificate's name: it isn't made for the machine's address.
    cluster["tls-server-name"] = json!("localhost");
    (config.to_string(), port.parse().unwrap())
}
