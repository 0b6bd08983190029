//! What the loop looks at on the host: the running kernel, the record, facts and drift. Reads, and writes the record;
//! decides nothing.

use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::RealtimeNodeSpec;
use realtime_core::api::realtime_profile::KernelProvider;
use realtime_core::audit::{MAX_DRIFT, bounded};
use realtime_core::kernel::{Boot, Record, Wanted};

use super::AgentError;
use crate::budget;
use crate::host::{Host, HostError};
use crate::observe::{self, Known, Told, Trigger, Triggers};
use crate::report::Facts;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const RELEASE: &str = "/proc/sys/kernel/osrelease";
const VERSION: &str = "/proc/version";
const COMMAND_LINE: &str = "/proc/cmdline";
const REALTIME: &str = "/sys/kernel/realtime";

/// Facts and drift, read again only when something may have changed them.
#[derive(Debug)]
pub(super) struct Eyes {
    triggers: Triggers,
    known: Option<Known>,
    /// What was found, for which spec.
    found: Option<(RealtimeNodeSpec, Facts)>,
}

impl Eyes {
    pub(super) fn new() -> Self {
        Self {
            triggers: Triggers::new(observe::triggers::INTERVAL),
            known: None,
            found: None,
        }
    }

    /// Facts and drift as of the last trigger.
    pub(super) fn facts(&mut self, host: &Host, spec: &RealtimeNodeSpec) -> Facts {
        if let Some((of, facts)) = &self.found
            && of == spec
        {
            return facts.clone();
        }
        let known = self.known.get_or_insert_with(|| observe::facts(host));
        let audited = observe::audit(host, spec, known, Told::default());
        self.triggers.watch(host, &audited.files);
        tracing::debug!(cost = ?audited.cost, drift = audited.audit.drift.len(), "audited");
        for note in &audited.audit.notes {
            tracing::debug!(area = ?note.area, "{}", note.text);
        }
        let facts = Facts {
            host: known.facts.host.clone(),
            topology: known.facts.topology.clone(),
            drift: bounded(audited.audit.drift, MAX_DRIFT),
            pods: budget::Told::default(),
        };
        self.found = Some((spec.clone(), facts.clone()));
        facts
    }

    /// Returns when something may have changed on the host. May be dropped at any time.
    pub(super) async fn changed(&mut self) {
        let trigger = self.triggers.next().await;
        tracing::debug!(%trigger, "looking again");
        self.found = None;
        if trigger == Trigger::Cpu {
            self.known = None;
        }
    }
}

/// The running kernel.
pub fn boot(host: &Host) -> Result<Boot, HostError> {
    let line = |path: &str| host.read(path).map(|text| text.trim().to_owned());
    let version = host.read_optional(VERSION)?.unwrap_or_default();
    let flag = host.read_optional(REALTIME)?;
    Ok(Boot {
        id: line(BOOT_ID)?,
        release: line(RELEASE)?,
        realtime: flag.is_some_and(|flag| flag.trim() == "1")
            || version.contains("PREEMPT_RT")
            || version.contains("PREEMPT RT"),
        command_line: line(COMMAND_LINE)?,
    })
}

/// What the spec asks of the kernel. Without a word about the kernel, whatever runs is right.
pub fn wanted(spec: &RealtimeNodeSpec, retry: Option<&str>, boot: &Boot) -> Wanted {
    let Some(kernel) = &spec.kernel else {
        return Wanted {
            realtime: boot.is_realtime(),
            ..Wanted::default()
        };
    };
    let ours = |provider| provider == KernelProvider::NodeDaemon;
    Wanted {
        realtime: kernel.realtime,
        ours: ours(kernel.provider),
        arguments_ours: ours(kernel.arguments_provider.unwrap_or(kernel.provider)),
        arguments: kernel.arguments.clone(),
        packages: kernel.packages.clone().unwrap_or_default(),
        retry: retry.map(str::to_owned),
    }
}

/// The record's path in a state directory.
pub fn record_path(state_directory: &str) -> String {
    format!("{}/record.json", state_directory.trim_end_matches('/'))
}

/// What the cluster said last, kept for `status`, `plan` and `audit` on the host. No decision of the daemon reads it.
pub fn seen_path(state_directory: &str) -> String {
    format!("{}/seen.json", state_directory.trim_end_matches('/'))
}

/// What the cluster said last.
pub fn load_seen(host: &Host, path: &str) -> Result<Option<RealtimeNode>, HostError> {
    let text = host.read_optional(path)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Keeps what the cluster said. A courtesy: that it can't be kept holds nothing up.
pub(super) fn save_seen(host: &Host, path: &str, node: &RealtimeNode) {
    let mut node = node.clone();
    node.metadata.managed_fields = None;
    let kept = serde_json::to_vec_pretty(&node)
        .map_err(|error| error.to_string())
        .and_then(|text| {
            host.write_atomically(path, &text)
                .map_err(|error| error.to_string())
        });
    if let Err(error) = kept {
        tracing::debug!(error, "what the cluster said could not be kept");
    }
}

/// The record; an empty one where there is none.
pub fn load_record(host: &Host, path: &str) -> Result<Record, AgentError> {
    match host.read_optional(path)? {
        None => Ok(Record::default()),
        Some(text) => serde_json::from_str(&text).map_err(|source| AgentError::Record {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes the record, whole or not at all.
pub fn save_record(host: &Host, path: &str, record: &Record) -> Result<(), AgentError> {
    let text = serde_json::to_vec_pretty(record).map_err(|source| AgentError::Record {
        path: path.to_owned(),
        source,
    })?;
    Ok(host.write_atomically(path, &text)?)
}
