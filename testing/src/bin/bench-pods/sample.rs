//! One container of one pod, timed: from the mkdir of its group to its budget, or the hook's run. What is timed does nothing
//! but what a runtime does; all else is before and after it. The kernel often starts the daemon on the CPU of the mkdir, in
//! front of who made the group, and there it goes on when the budget is written: so another CPU watches.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use k8s_openapi::api::core::v1::Pod;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::{Pid, gettid};
use realtime_core::names::HOOK_SOCKET;
use serde_json::{Value, json};

use crate::node::{BUDGET, Groups, Node, annotations, folders};

/// Longer is a failure.
const LIMIT: Duration = Duration::from_secs(10);
/// A kubelet starts a pod within a second; the first one waits for the kubelet's own start.
const STARTS: Duration = Duration::from_mins(1);
/// Between a pod's sandbox and its container are tens of milliseconds; so long is enough for the daemon to have seen it.
const SANDBOX: Duration = Duration::from_millis(15);
const RUNTIME: &str = "cpu.rt_runtime_us";

/// The pod's own group and its sandbox's, as kubelet and runtime make them some time before the container's.
fn before(node: &Node, pod: &Pod, groups: &Groups) -> anyhow::Result<PathBuf> {
    fs::create_dir(&groups.pod)?;
    let name = groups.sandbox.file_name().context("a name")?;
    let bundle = node.bundle(pod, &name.to_string_lossy(), true)?;
    fs::create_dir(&groups.sandbox)?;
    std::thread::sleep(SANDBOX);
    Ok(bundle)
}

fn after(groups: &Groups, bundles: &[PathBuf]) -> anyhow::Result<()> {
    for group in [&groups.container, &groups.sandbox, &groups.pod] {
        fs::remove_dir(group).with_context(|| group.display().to_string())?;
    }
    for bundle in bundles {
        fs::remove_dir_all(bundle)?;
    }
    Ok(())
}

/// Without hook and NRI. `made` is called with the container's id as soon as its group is there.
pub fn appearing(
    node: &Node,
    pod: &Pod,
    number: usize,
    made: impl FnOnce(&str),
) -> anyhow::Result<Duration> {
    let groups = node.groups(pod, number)?;
    let sandbox = before(node, pod, &groups)?;
    let bundle = node.bundle(pod, &groups.id, false)?;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(&groups.pod, AddWatchFlags::IN_CREATE)?;
    let (waits, ready) = mpsc::channel();

    let (began, seen) = thread::scope(|scope| {
        let (inotify, group) = (&inotify, &groups.container);
        let watcher = scope.spawn(move || {
            waits.send(gettid())?;
            drop(waits);
            wait(inotify, Instant::now(), LIMIT)?;
            until_budget(inotify, group)
        });
        leave(ready.recv()?, sched_getcpu()?)?;
        let began = Instant::now();
        fs::create_dir(&groups.container)?;
        made(&groups.id);
        let seen = watcher
            .join()
            .map_err(|_| anyhow!("the watcher panicked"))??;
        anyhow::Ok((began, seen))
    })?;
    after(&groups, &[sandbox, bundle])?;
    Ok(seen - began)
}

/// Has a thread leave a CPU, if it may run on others.
fn leave(thread: Pid, cpu: usize) -> anyhow::Result<()> {
    let mut others: CpuSet = sched_getaffinity(thread)?;
    others.unset(cpu)?;
    let any = (0..CpuSet::count()).any(|cpu| others.is_set(cpu).unwrap_or(false));
    if any {
        sched_setaffinity(thread, &others)?;
    }
    Ok(())
}

/// The container of a pod that a kubelet starts.
pub fn started(node: &Node, pod: &Pod) -> anyhow::Result<Duration> {
    let group = node.group(pod)?;
    let asked = Instant::now();
    while !group.exists() {
        ensure!(asked.elapsed() < STARTS, "the kubelet does not start it");
        std::thread::sleep(Duration::from_millis(1));
    }
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let watch = inotify.add_watch(&group, AddWatchFlags::IN_CREATE)?;
    // The first is the sandbox's, the second the container's.
    let mut made = folders(&group)?;
    ensure!(made.len() < 2, "its container came unseen");
    let began = loop {
        wait(&inotify, asked, STARTS).context("the kubelet does not start it")?;
        let now = Instant::now();
        for event in inotify.read_events()? {
            let folder = group.join(event.name.unwrap_or_default());
            if !made.contains(&folder) {
                made.push(folder);
            }
        }
        if made.len() > 1 {
            break now;
        }
    };
    inotify.rm_watch(watch)?;
    Ok(until_budget(&inotify, &made[1])? - began)
}

/// Until the kernel tells of a write after which the group has its budget: when that was seen. Who looked again and again
/// without a pause could keep the daemon from its CPU.
fn until_budget(inotify: &Inotify, group: &Path) -> anyhow::Result<Instant> {
    let began = Instant::now();
    let file = group.join(RUNTIME);
    let wanted = format!("{BUDGET}\n");
    let mut text = [0; 32];
    let open = File::open(&file)?;
    inotify.add_watch(&file, AddWatchFlags::IN_MODIFY)?;
    loop {
        let length = open.read_at(&mut text, 0)?;
        let now = Instant::now();
        if text[..length] == *wanted.as_bytes() {
            return Ok(now);
        }
        wait(inotify, began, LIMIT).context("no budget")?;
        inotify.read_events()?;
    }
}

/// For the kernel's next word.
fn wait(inotify: &Inotify, began: Instant, limit: Duration) -> anyhow::Result<()> {
    let left = limit.saturating_sub(began.elapsed());
    let mut ready = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
    ensure!(
        poll(&mut ready, PollTimeout::try_from(left)?)? > 0,
        "nothing within {limit:?}"
    );
    Ok(())
}

/// Makes a pod's groups and leaves them, as a pod that runs.
pub fn stays(node: &Node, pod: &Pod, number: usize, asks: bool) -> anyhow::Result<()> {
    let groups = node.groups(pod, number)?;
    before(node, pod, &groups)?;
    node.bundle(pod, &groups.id, false)?;
    fs::create_dir(&groups.container)?;
    let began = Instant::now();
    while asks && fs::read_to_string(groups.container.join(RUNTIME))? != format!("{BUDGET}\n") {
        ensure!(began.elapsed() < LIMIT, "no budget within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A process in the node, which stands for the containers' first.
pub struct Process {
    nsenter: Child,
    /// As this machine counts, and as the node does.
    pids: [u32; 2],
}

impl Process {
    pub fn start(node: &Node) -> anyhow::Result<Self> {
        let nsenter = node
            .real
            .command_in_namespaces("sleep")
            .arg("86400")
            .spawn()?;
        let began = Instant::now();
        loop {
            if let Some(pids) = pids(nsenter.id()) {
                return Ok(Self { nsenter, pids });
            }
            ensure!(began.elapsed() < LIMIT, "sleep does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn enter(&self, group: &Path) -> anyhow::Result<()> {
        Ok(fs::write(
            group.join("cgroup.procs"),
            self.pids[0].to_string(),
        )?)
    }

    /// Ends it.
    pub fn end(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pids[0])?;
        nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::SIGKILL)?;
        self.nsenter.wait()?;
        Ok(())
    }
}

fn pids(parent: u32) -> Option<[u32; 2]> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let outer: u32 = children.split_whitespace().next()?.parse().ok()?;
    let status = fs::read_to_string(format!("/proc/{outer}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("NSpid:"))?;
    let inner = line.split_whitespace().last()?.parse().ok()?;
    Some([outer, inner])
}

/// With the hook: the run of its program, from its start to its end. The container's bundle is not where the daemon looks
/// for it, so that nothing but the hook brings the budget.
pub fn hooked(
    node: &Node,
    program: &Path,
    process: &Process,
    pod: &Pod,
    number: usize,
) -> anyhow::Result<Duration> {
    let groups = node.groups(pod, number)?;
    let sandbox = before(node, pod, &groups)?;
    fs::create_dir(&groups.container)?;
    process.enter(&groups.container)?;
    let mut all: Value = annotations(pod, false);
    for (key, text) in pod.metadata.annotations.iter().flatten() {
        all[key] = Value::from(text.clone());
    }
    let state = json!({
        "ociVersion": "1.2.1", "id": groups.id, "status": "creating", "pid": process.pids[1],
        "bundle": "/nowhere", "annotations": all,
    })
    .to_string();
    let mut command = Command::new(program);
    command
        .args(["oci-hook", "--socket"])
        .arg(node.real.path_inside(HOOK_SOCKET))
        .stdin(Stdio::piped());

    let began = Instant::now();
    let mut child = command.spawn()?;
    // Dropped after it is written: that is its end.
    child
        .stdin
        .take()
        .context("a pipe")?
        .write_all(state.as_bytes())?;
    let status = child.wait()?;
    let took = began.elapsed();

    let has = fs::read_to_string(groups.container.join(RUNTIME))?;
    ensure!(
        status.success() && has == format!("{BUDGET}\n"),
        "the hook ended with {status}, and the group has {has}"
    );
    process.enter(&node.real.cgroup_root())?;
    after(&groups, &[sandbox])?;
    Ok(took)
}
