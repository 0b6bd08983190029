//! The client's and the daemon's part of a command: what is refused before it begins, who carries it out, who waits.
//! A transaction that takes time belongs to a process of its own, so that a killed client does not end it.

use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::command::Command;
use super::fault::{Fault, Step};
use super::local::{self, Opened};
use super::state::{State, Transaction, Version};
use super::store::{self, Store};
use super::transact::{self, Done, Request};
use super::{
    StandinError, boot, host_files, io, other_programs, repositories, status, status_text,
};

/// How often a waiting process looks at the state.
pub const POLL: Duration = Duration::from_millis(20);

const NOT_OSTREE: &str = "error: This system was not booted via libostree.\nCurrently, most rpm-ostree commands only \
                          work on ostree-based host systems.\n";

const DAEMON_DIED: &str = "error: Bus owner changed, aborting. This likely means the daemon crashed; check logs with `journalctl -xe`.";

/// What a program prints and returns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The exit code; negative: killed by that signal.
    pub code: i32,
    /// Standard output without the last line's end.
    pub stdout: String,
    /// Standard error without the last line's end.
    pub stderr: String,
}

impl Output {
    pub(super) fn success(stdout: &str) -> Self {
        Self {
            stdout: stdout.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn failure(stderr: &str) -> Self {
        Self {
            code: 1,
            stderr: stderr.to_owned(),
            ..Self::default()
        }
    }
}

/// Milliseconds since 1970.
pub fn now_milliseconds() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How the executable runs a client.
pub struct Caller<'a> {
    /// The executable that carries transactions out, with the arguments that make it do so.
    pub worker: Option<&'a Path>,
    /// SIGINT came.
    pub interrupted: &'a dyn Fn() -> bool,
}

/// In this process: transactions are carried out here.
pub fn run_in_process(
    store: &Store,
    argv: &[&str],
    directory: &Path,
) -> Result<Output, StandinError> {
    let caller = Caller {
        worker: None,
        interrupted: &|| false,
    };
    run(store, argv, directory, &caller)
}

/// Runs a program by the name in `argv[0]`.
pub fn run(
    store: &Store,
    argv: &[&str],
    directory: &Path,
    caller: &Caller,
) -> Result<Output, StandinError> {
    let (program, arguments) = argv.split_first().unwrap_or((&"rpm-ostree", &[]));
    let program = Path::new(program)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or(program);
    let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
    match program {
        "rpm-ostree" => rpm_ostree(store, &arguments, directory, caller),
        "ostree" => other_programs::ostree(store, &arguments, caller.worker.is_some()),
        "rpm" => other_programs::rpm(store, &arguments, directory),
        other => Err(StandinError::Refused(format!(
            "the stand-in is none for {other}: it is one for rpm-ostree, ostree and rpm"
        ))),
    }
}

fn rpm_ostree(
    store: &Store,
    arguments: &[String],
    directory: &Path,
    caller: &Caller,
) -> Result<Output, StandinError> {
    let state = store.load()?;
    let command = match Command::parse(arguments, state.version != Version::V2023_2) {
        Ok(command) => command,
        Err(refusal) => return Ok(Output::failure(&refusal)),
    };
    if command == Command::Version {
        let text = state.version.text();
        return Ok(Output::success(&format!(
            "rpm-ostree:\n Version: '{text}'\n Git: stand-in\n Features:\n  - rust"
        )));
    }
    if !store.root().join("run/ostree-booted").exists() {
        return Ok(Output::failure(NOT_OSTREE.trim_end()));
    }
    let cannot_start = store.change(|state| {
        state.clients += 1;
        Ok(state.take_fault(|fault| match fault {
            Fault::DaemonCannotStart(text) => Some(text.clone()),
            _ => None,
        }))
    })?;
    if let Some(text) = cannot_start {
        return Ok(Output {
            code: 1,
            stdout: "× rpm-ostreed.service - rpm-ostree System Management Daemon (stand-in)"
                .to_owned(),
            stderr: format!("{text}\nerror: Loading sysroot: exit status: 1"),
        });
    }
    match &command {
        Command::Status {
            json,
            booted,
            pending_77,
        } => show_status(&current(state), *json, *booted, *pending_77),
        Command::ShowKargs { index, running } => Ok(show_kargs(&state, *index, *running)),
        Command::DbList(revision, names) => Ok(db_list(&state, revision, names)),
        Command::Reload => Ok(Output::default()),
        Command::Cancel => cancel(store),
        _ => change(store, command, arguments, directory, caller),
    }
}

/// The state with a foreign transaction that has ended taken away.
fn current(mut state: State) -> State {
    if !is_running(&state) {
        state.transaction = None;
    }
    state
}

/// Whether a transaction runs.
pub fn is_running(state: &State) -> bool {
    state
        .transaction
        .as_ref()
        .is_some_and(|one| match (one.until, one.worker) {
            (Some(until), _) => until > now_milliseconds(),
            (None, Some(worker)) => is_alive(worker),
            (None, None) => true,
        })
}

/// Whether a process lives; one that has ended and isn't waited for does not.
fn is_alive(process: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{process}/stat")) else {
        return false;
    };
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    !after_name.trim_start().starts_with(['Z', 'X'])
}

fn show_status(
    state: &State,
    json: bool,
    booted: bool,
    pending_77: bool,
) -> Result<Output, StandinError> {
    let text = if json {
        serde_json::to_string_pretty(&status::status(state, booted))
            .map_err(|error| StandinError::Refused(error.to_string()))?
    } else {
        status_text::status(state)
    };
    let pending = state.booted() != Some(0) && state.deployments.len() > 1;
    Ok(Output {
        code: if pending_77 && pending { 77 } else { 0 },
        ..Output::success(&text)
    })
}

fn show_kargs(state: &State, index: Option<i64>, running: bool) -> Output {
    let index = if running {
        state.booted().unwrap_or(0)
    } else {
        let count = state.deployments.len();
        match usize::try_from(index.unwrap_or(0)) {
            Ok(index) if index < count => index,
            _ => {
                let index = index.unwrap_or(0);
                return Output::failure(&format!(
                    "error: Out of range deployment index {index}, expected < {count}"
                ));
            }
        }
    };
    let kargs = state.deployments.get(index).map(|one| one.kargs.join(" "));
    Output::success(&kargs.unwrap_or_default())
}

fn db_list(state: &State, revision: &str, names: &[String]) -> Output {
    let deployed = state
        .deployments
        .iter()
        .find(|one| one.checksum.starts_with(revision))
        .map(|one| &one.packages);
    let commit = state
        .commits
        .values()
        .find(|one| one.base.checksum.starts_with(revision));
    let Some(packages) = deployed
        .or(commit.map(|one| &one.base.packages))
        .filter(|_| !revision.is_empty())
    else {
        return Output::failure(&format!("error: Refspec '{revision}' not found"));
    };
    let mut lines = vec![format!("ostree commit: {revision}")];
    let fits = |name: &str| names.is_empty() || names.iter().any(|one| one == name);
    lines.extend(
        packages
            .iter()
            .filter(|one| fits(&one.name))
            .map(|one| format!(" {}", one.nevra())),
    );
    Output::success(&lines.join("\n"))
}

fn cancel(store: &Store) -> Result<Output, StandinError> {
    let running = store.change(|state| {
        if !is_running(state) {
            state.transaction = None;
        }
        Ok(state.transaction.as_mut().map(|one| {
            one.cancelled = true;
            // A foreign one obeys at once.
            one.until = one.until.map(|_| 0);
            (one.id, one.title.clone())
        }))
    })?;
    let Some((id, title)) = running else {
        return Ok(Output::success("No active transaction."));
    };
    while store
        .load()?
        .transaction
        .is_some_and(|one| one.id == id && one.until != Some(0))
    {
        std::thread::sleep(POLL);
    }
    Ok(Output::success(&format!(
        "Cancelling transaction: {title}\nCancelled."
    )))
}

/// What the lock decided.
enum Begun {
    Refused(Output),
    Joined(u64),
    Ended(Box<Done>),
    Runs(u64),
}

fn change(
    store: &Store,
    command: Command,
    arguments: &[String],
    directory: &Path,
    caller: &Caller,
) -> Result<Output, StandinError> {
    let state = store.load()?;
    let mut request = Request {
        title: arguments
            .iter()
            .fold(String::new(), |text, one| text + one + " "),
        client: std::env::var("RPMOSTREE_CLIENT_ID").unwrap_or_else(|_| "cli".to_owned()),
        files: std::collections::BTreeMap::new(),
        progress: Vec::new(),
        repositories: repositories::enabled(store.root()),
        now: now_milliseconds() / 1000,
        command,
    };
    for argument in request
        .command
        .files()
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>()
    {
        let opened = local::open(
            &state,
            store.root(),
            directory,
            &argument,
            &mut request.progress,
        );
        if let Opened::Unopened(text) = opened {
            let prefix = match state.version {
                Version::V2024_7 if request.command.method() == Some("UpdateDeployment") => {
                    "Updating deployment: "
                }
                _ => "",
            };
            return Ok(Output {
                stdout: request.progress.join("\n"),
                ..Output::failure(&format!(
                    "error: {prefix}Preparing D-Bus arguments: Handling argument {text}"
                ))
            });
        }
        request.files.insert(argument, opened);
    }
    let begun = store.change(|state| Ok(begin(state, store, &request)))?;
    let (id, joined) = match begun {
        Begun::Refused(output) => return Ok(output),
        Begun::Ended(done) => {
            host_files::write_deployments(store.root(), &store.load()?)?;
            return end(store, *done);
        }
        Begun::Joined(id) => (id, true),
        Begun::Runs(id) => (id, false),
    };
    if joined {
        let output = wait(store, id, None, caller)?;
        return Ok(only_the_rest(state.version, &request.title, output));
    }
    let text =
        serde_json::to_vec(&request).map_err(|error| StandinError::Refused(error.to_string()))?;
    store::write(&store.request(id), &text)?;
    let Some(worker) = caller.worker else {
        carry(store, id)?;
        return wait(store, id, None, caller);
    };
    let child = spawn(store, worker, id)?;
    wait(store, id, Some(child), caller)
}

fn begin(state: &mut State, store: &Store, request: &Request) -> Begun {
    if !is_running(state) {
        state.transaction = None;
    }
    let method = request.command.method().unwrap_or("Transaction");
    if let Some(running) = &state.transaction {
        if running.method == method && running.title == request.title {
            return Begun::Joined(running.id);
        }
        return Begun::Refused(transact::refused(
            state.version,
            &request.command,
            &transact::busy(running),
        ));
    }
    let locked = state.take_fault(|fault| matches!(fault, Fault::SysrootLocked).then_some(()));
    if locked.is_some() {
        let message = "System transaction in progress";
        return Begun::Refused(transact::refused(state.version, &request.command, message));
    }
    // Tried on a copy first: what is refused, or only moves deployments, takes no time.
    let mut copy = state.clone();
    let done = transact::perform(&mut copy, store.root(), request);
    match done.work.map(|work| work + state.slow) {
        Some(work) if work > 0 => {}
        _ => {
            *state = copy;
            if done.reboots {
                boot::reboot(state, &boot::Reboot::orderly());
            }
            return Begun::Ended(Box::new(done));
        }
    }
    state.transactions += 1;
    state.transaction = Some(Transaction {
        id: state.transactions,
        method: method.to_owned(),
        title: request.title.clone(),
        sender: 100 + state.clients,
        client: request.client.clone(),
        cancelled: false,
        until: None,
        worker: Some(std::process::id()),
    });
    Begun::Runs(state.transactions)
}

fn end(store: &Store, done: Done) -> Result<Output, StandinError> {
    if done.reboots {
        host_files::write(store.root(), &store.load()?)?;
    }
    Ok(done.output)
}

/// The progress that a client sees that joined late.
fn only_the_rest(version: Version, title: &str, mut output: Output) -> Output {
    let from = output.stdout.find("Writing OSTree commit");
    let rest = from
        .and_then(|from| output.stdout.get(from..))
        .unwrap_or_default()
        .to_owned();
    output.stdout = match version {
        Version::V2023_2 => rest,
        Version::V2024_7 => format!("Attaching to existing transaction: {title}\n{rest}"),
    };
    output
}

fn spawn(store: &Store, worker: &Path, id: u64) -> Result<Child, StandinError> {
    use std::os::unix::process::CommandExt as _;
    let child = Process::new(worker)
        .arg("--as")
        .arg("worker")
        .arg("--state")
        .arg(store.file())
        .arg(id.to_string())
        .env(super::ROOT_VARIABLE, store.root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own: signals to the client's group don't reach it.
        .process_group(0)
        .spawn()
        .map_err(io("run", worker))?;
    let pid = child.id();
    store.change(|state| {
        if let Some(one) = state.transaction.as_mut().filter(|one| one.id == id) {
            one.worker = Some(pid);
        }
        Ok(())
    })?;
    Ok(child)
}

/// Carries a begun transaction out: takes its time, then does all at once. Ends early when it is cancelled, or gone
/// because the host went down.
pub fn carry(store: &Store, id: u64) -> Result<(), StandinError> {
    let path = store.request(id);
    let text = std::fs::read(&path).map_err(io("read", &path))?;
    let mut request: Request =
        serde_json::from_slice(&text).map_err(|source| StandinError::State { path, source })?;
    let pid = std::process::id();
    let ours = |state: &State| state.transaction.as_ref().is_some_and(|one| one.id == id);
    let work = store.change(|state| {
        if let Some(one) = state.transaction.as_mut().filter(|one| one.id == id) {
            one.worker = Some(pid);
        }
        let done = transact::perform(&mut state.clone(), store.root(), &request);
        Ok(done.work.unwrap_or(0))
    })?;
    let began = now_milliseconds();
    loop {
        let state = store.load()?;
        if !ours(&state) {
            return Ok(());
        }
        // Looked up each time: who makes a transaction last can let it end.
        let lasts = work.saturating_add(state.slow);
        if now_milliseconds() - began >= i64::try_from(lasts).unwrap_or(i64::MAX) {
            break;
        }
        if state.transaction.is_some_and(|one| one.cancelled) {
            break;
        }
        std::thread::sleep(POLL);
    }
    request.now = now_milliseconds() / 1000;
    let rebooted = store.change(|state| {
        if !ours(state) {
            return Ok(false);
        }
        let cancelled = state.transaction.as_ref().is_some_and(|one| one.cancelled);
        let done = if cancelled {
            let output = Output::failure(match state.slow_at {
                Step::Initramfs => {
                    "error: bwrap(rpmostree-dracut-wrapper): Operation was cancelled"
                }
                _ => "error: Operation was cancelled",
            });
            Done {
                output,
                work: None,
                reboots: false,
            }
        } else {
            transact::perform(state, store.root(), &request)
        };
        state.transaction = None;
        if done.reboots {
            boot::reboot(state, &boot::Reboot::orderly());
        }
        let text =
            serde_json::to_vec(&done).map_err(|error| StandinError::Refused(error.to_string()))?;
        store::write(&store.result(id), &text)?;
        Ok(done.reboots)
    })?;
    let state = store.load()?;
    if rebooted {
        host_files::write(store.root(), &state)
    } else {
        host_files::write_deployments(store.root(), &state)
    }
}

fn read_result(store: &Store, id: u64) -> Option<Done> {
    let text = std::fs::read(store.result(id)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Waits for a transaction's result.
fn wait(
    store: &Store,
    id: u64,
    mut child: Option<Child>,
    caller: &Caller,
) -> Result<Output, StandinError> {
    let mut interrupted = false;
    loop {
        // The order matters: a result is written before the transaction is taken out of the state.
        let state = store.load()?;
        if let Some(done) = read_result(store, id) {
            if let Some(mut child) = child.take() {
                // It has only to end; its exit status says nothing that the result doesn't.
                let _ = child.wait();
            }
            return Ok(if interrupted {
                let stderr =
                    "Caught SIGINT, cancelling transaction\nerror: Operation was cancelled";
                Output::failure(stderr)
            } else {
                done.output
            });
        }
        let ours = state.transaction.as_ref().filter(|one| one.id == id);
        let Some(ours) = ours else {
            // The host went down, and the client with it.
            return Ok(Output {
                code: -15,
                ..Output::default()
            });
        };
        let ended = child
            .as_mut()
            .is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
        let gone = ended || ours.worker.is_some_and(|worker| !is_alive(worker));
        if gone
            && read_result(store, id).is_none()
            && store.load()?.transaction.is_some_and(|one| one.id == id)
        {
            store.change(|state| {
                state.transaction = None;
                Ok(())
            })?;
            return Ok(Output::failure(DAEMON_DIED));
        }
        if !interrupted && (caller.interrupted)() {
            interrupted = true;
            store.change(|state| {
                if let Some(one) = state.transaction.as_mut().filter(|one| one.id == id) {
                    one.cancelled = true;
                }
                Ok(())
            })?;
        }
        std::thread::sleep(POLL);
    }
}
