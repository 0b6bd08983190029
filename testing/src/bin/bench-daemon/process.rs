//! A process by the kernel's count: memory, time, threads and their CPUs. Reads /proc; decides nothing.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// The kernel counts a process' time in these (USER_HZ, 100 on every architecture here).
const TICKS_A_SECOND: u32 = 100;

/// What the kernel says of a process at one moment.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Resident memory, KiB: `VmRSS`.
    pub resident: u64,
    /// What of it is the process's alone: heap, stacks, written parts of files. `RssAnon`.
    pub anonymous: u64,
    /// What of it are mapped files: the program and its libraries, which other processes may share. `RssFile`.
    pub files: u64,
    /// Resident memory with each shared page divided by those who share it, KiB: `Pss`.
    pub proportional: u64,
    /// The largest resident memory so far, KiB: `VmHWM`.
    pub peak: u64,
    /// utime and stime, in steps of 10 ms.
    pub ticks: Duration,
    /// Time on a CPU by the scheduler's own count, which is exact. Threads that ended are not in it.
    pub on_cpu: Duration,
    /// How often a thread that waited was woken and waited again.
    pub voluntary: u64,
    /// How often a thread had to give way.
    pub involuntary: u64,
    /// Each thread: its name and its CPUs.
    pub threads: Vec<(String, String)>,
}

impl Usage {
    /// Of a process that runs.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).context(path)
        };
        let (status, stat) = (read("status")?, read("stat")?);
        let number = |name: &str| field(&status, name)?.parse::<u64>().context("a number");
        // proc(5): after the name in parentheses, utime and stime are fields 14 and 15 of all, 12 and 13 of the rest.
        let rest = stat.rsplit_once(')').context("stat")?.1;
        let mut ticks = rest.split_whitespace().skip(11);
        let mut next = || -> anyhow::Result<u32> { Ok(ticks.next().context("stat")?.parse()?) };
        let mut usage = Self {
            resident: number("VmRSS")?,
            anonymous: number("RssAnon")?,
            files: number("RssFile")?,
            proportional: field(&read("smaps_rollup")?, "Pss")?.parse()?,
            peak: number("VmHWM")?,
            ticks: Duration::from_secs(1) * (next()? + next()?) / TICKS_A_SECOND,
            ..Self::default()
        };
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let folder = thread?.path();
            // A thread may end while it is looked at.
            let (Ok(status), Ok(scheduled)) = (
                fs::read_to_string(folder.join("status")),
                fs::read_to_string(folder.join("schedstat")),
            ) else {
                continue;
            };
            let nanoseconds = scheduled.split_whitespace().next().context("schedstat")?;
            usage.on_cpu += Duration::from_nanos(nanoseconds.parse()?);
            usage.voluntary += field(&status, "voluntary_ctxt_switches")?.parse::<u64>()?;
            usage.involuntary += field(&status, "nonvoluntary_ctxt_switches")?.parse::<u64>()?;
            usage.threads.push((
                field(&status, "Name")?.to_owned(),
                field(&status, "Cpus_allowed_list")?.to_owned(),
            ));
        }
        usage.threads.sort();
        Ok(usage)
    }
}

/// The value of `Name: value`, without its unit.
fn field<'a>(text: &'a str, name: &str) -> anyhow::Result<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.trim().trim_end_matches(" kB"))
        .with_context(|| name.to_owned())
}
