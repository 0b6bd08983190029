//! The configuration file: text → values → all that is wrong with them at once, or a valid [`Config`]. Strict: a key that
//! isn't known is an error with the nearest one that is. Reads no file and starts nothing.
//!
//! A file of the Python rt-operator is accepted as it is: its five keys keep their names and meaning.

mod schema;

use std::collections::BTreeSet;

use realtime_core::api::realtime_node::RealtimeNodeSpec;
use realtime_core::cpu_set::CpuSet;
use realtime_core::input;
use realtime_core::problem::{Problem, Problems};
use realtime_core::rt::group::PodsGroup;
use realtime_core::rt::modes::{HCBS_GATE, ModeSetting};
use serde_json::Value;

/// Longest file, bytes. What is larger is no configuration.
pub const MAX_TEXT: usize = 1 << 20;
/// Where the daemon keeps its record on the host.
pub const STATE_DIRECTORY: &str = "/var/lib/realtime-node-daemon";
/// rt-operator's default: what the kernel itself gives real-time threads (`sched_rt_runtime_us`).
const CGROUP_V1_CAPACITY: i64 = 950_000;
/// A budget is microseconds of each second.
const SECOND: i64 = 1_000_000;
/// What `feature_gates` may name: what is closed by default, as it rests on something that may still change.
const GATES: [&str; 1] = [HCBS_GATE];
/// The longest path that the kernel takes.
const MAX_PATH: usize = 4095;

/// The configuration, valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `log_level`, as the log's filter takes it.
    pub log_level: Option<String>,
    /// `kube_path`: the kubeconfig.
    pub kube_path: Option<String>,
    /// `node_name`.
    pub node_name: Option<String>,
    /// The settings of pods' real-time budgets.
    pub cgroup: Cgroup,
    /// `node`: what this host shall be, without a cluster.
    pub node: Option<RealtimeNodeSpec>,
    /// `reboot`: without a cluster, whether the daemon may reboot the host.
    pub reboot: bool,
    /// `retry`: without a cluster, a word whose change allows another attempt after one that failed.
    pub retry: Option<String>,
    /// `root`: where the host's `/` is.
    pub root: String,
    /// `commands`: a directory whose programs are run and not the host's own.
    pub commands: Option<String>,
    /// `state_directory`: where the record is, on the host.
    pub state_directory: String,
}

/// rt-operator's settings of the cgroup handler, and where the pods are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// `cgroup_handler`; without it, `auto`.
    pub handler: ModeSetting,
    /// `cgroup_v1_capacity`: microseconds of each second for all pods together, 1 to 1,000,000.
    pub v1_capacity: i64,
    /// Whether the file names one of them.
    pub given: bool,
    /// `pods_group`: the kubelet's group of pods, as `/kubepods.slice`, where several kubelets share a host. `None`: found
    /// by looking.
    pub pods_group: Option<String>,
    /// `feature_gates` names [`HCBS_GATE`]: the budgets for cgroup v2 that aren't merged into Linux are looked at and told.
    pub hcbs_gate: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log_level: None,
            kube_path: None,
            node_name: None,
            cgroup: Cgroup {
                handler: ModeSetting::Auto,
                v1_capacity: CGROUP_V1_CAPACITY,
                given: false,
                pods_group: None,
                hcbs_gate: false,
            },
            node: None,
            reboot: false,
            retry: None,
            root: "/".to_owned(),
            commands: None,
            state_directory: STATE_DIRECTORY.to_owned(),
        }
    }
}

impl Config {
    /// From the text of a file: valid, or everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let value = document(text).map_err(|problem| Problems(vec![problem]))?;
        let mut problems = input::schema_problems(&value, &schema::schema());
        let config = read(&value, &mut problems);
        if problems.has_errors() {
            return Err(problems.sorted());
        }
        Ok(config)
    }
}

/// The one document of the text; an empty file has none, and is a map without keys.
fn document(text: &str) -> Result<Value, Problem> {
    if text.len() > MAX_TEXT {
        return Err(Problem::error(
            "document",
            "",
            format!("has {} bytes, more than {MAX_TEXT}", text.len()),
            "give the daemon's configuration file",
        ));
    }
    let mut documents = input::parse_documents(text)
        .map_err(|error| Problem::error("document", "", error.to_string(), "write valid YAML"))?;
    match documents.len() {
        0 => Ok(Value::Object(serde_json::Map::new())),
        1 => Ok(documents.remove(0)),
        count => Err(Problem::error(
            "document",
            "",
            format!("holds {count} documents"),
            "keep one, without `---` in between",
        )),
    }
}

/// What the shape allows, read; what it can't say, checked. A field of a wrong type was told already, and counts as absent.
fn read(value: &Value, problems: &mut Problems) -> Config {
    let text = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let defaults = Config::default();
    let config = Config {
        log_level: value
            .get("log_level")
            .and_then(|level| log_level(level, problems)),
        kube_path: text("kube_path"),
        node_name: text("node_name"),
        cgroup: cgroup(value, problems),
        node: node(value, problems),
        reboot: value
            .get("reboot")
            .and_then(Value::as_bool)
            .unwrap_or(defaults.reboot),
        retry: text("retry"),
        root: text("root").unwrap_or(defaults.root),
        commands: text("commands"),
        state_directory: text("state_directory").unwrap_or(defaults.state_directory),
    };
    for (field, path) in [
        ("kube_path", config.kube_path.as_deref()),
        ("root", Some(config.root.as_str())),
        ("commands", config.commands.as_deref()),
        ("state_directory", Some(config.state_directory.as_str())),
    ] {
        let Some(path) = path else { continue };
        if path.len() > MAX_PATH || path.contains('\0') {
            problems.push(Problem::error(field, path, "is no path", "shorten it"));
        } else if !path.starts_with('/') {
            problems.push(Problem::error(
                field,
                path,
                "is not absolute: a service has no directory of its own to start from",
                "begin it with `/`",
            ));
        } else if field == "state_directory" && path.split('/').any(|part| part == "..") {
            problems.push(Problem::error(
                field,
                path,
                "has `..` in it",
                "write it out",
            ));
        }
    }
    config
}

/// rt-operator gives its level to Python's logging, which takes names and numbers.
fn log_level(level: &Value, problems: &mut Problems) -> Option<String> {
    let number = level
        .as_i64()
        .or_else(|| level.as_str().and_then(|text| text.parse().ok()));
    let name = level.as_str().unwrap_or_default().to_ascii_uppercase();
    let filter = match (name.as_str(), number) {
        ("CRITICAL" | "FATAL" | "ERROR", _) | (_, Some(40..=50)) => "error",
        ("WARN" | "WARNING", _) | (_, Some(30..=39)) => "warn",
        ("INFO", _) | (_, Some(20..=29)) => "info",
        ("DEBUG" | "NOTSET", _) | (_, Some(0..=19)) => "debug",
        _ => {
            if !level.is_null() {
                problems.push(Problem::error(
                    "log_level",
                    level.as_str().unwrap_or(&level.to_string()),
                    "is no level",
                    "use one of: ERROR, WARN, INFO, DEBUG",
                ));
            }
            return None;
        }
    };
    // The client's own debugging shows every byte of its connection.
    Some(format!(
        "{filter},kube=warn,hyper=warn,tower=warn,rustls=warn,h2=warn"
    ))
}

fn cgroup(value: &Value, problems: &mut Problems) -> Cgroup {
    let handler = value.get("cgroup_handler").and_then(Value::as_str);
    // What it doesn't know was told by the schema.
    let handler = handler.and_then(|word| ModeSetting::parse(word).ok());
    let capacity = value
        .get("cgroup_v1_capacity")
        .filter(|capacity| !capacity.is_null());
    let number = capacity.map(|capacity| {
        capacity
            .as_i64()
            .or_else(|| capacity.as_str().and_then(|text| text.trim().parse().ok()))
    });
    let v1_capacity = match number {
        None => CGROUP_V1_CAPACITY,
        Some(Some(number)) if (1..=SECOND).contains(&number) => number,
        Some(_) => {
            let given = capacity.map(Value::to_string).unwrap_or_default();
            problems.push(Problem::error(
                "cgroup_v1_capacity",
                given.trim_matches('"'),
                "is no share of a second in microseconds",
                format!("choose 1 to {SECOND}; the kernel's own default is {CGROUP_V1_CAPACITY}"),
            ));
            CGROUP_V1_CAPACITY
        }
    };
    Cgroup {
        handler: handler.unwrap_or_default(),
        v1_capacity,
        given: handler.is_some_and(|it| it != ModeSetting::Auto) || capacity.is_some(),
        pods_group: pods_group(value, problems),
        hcbs_gate: gates(value, problems).contains(&HCBS_GATE),
    }
}

/// The names under `feature_gates`. Those that aren't known were told by the schema.
fn gates<'a>(value: &'a Value, problems: &mut Problems) -> BTreeSet<&'a str> {
    let mut gates = BTreeSet::new();
    let given = value.get("feature_gates").and_then(Value::as_array);
    for (index, gate) in given.into_iter().flatten().enumerate() {
        let Some(name) = gate.as_str() else { continue };
        if !gates.insert(name) {
            problems.push(Problem::error(
                format!("feature_gates[{index}]"),
                name,
                "stands there twice",
                "keep one of them",
            ));
        }
    }
    gates
}

fn pods_group(value: &Value, problems: &mut Problems) -> Option<String> {
    let given = value.get("pods_group").and_then(Value::as_str)?;
    if PodsGroup::parse(given).is_none() {
        problems.push(Problem::error(
            "pods_group",
            given,
            "is no group of a kubelet's pods",
            "write its path from the cgroup mount, as /kubepods or /kubepods.slice",
        ));
    }
    Some(given.to_owned())
}

fn node(value: &Value, problems: &mut Problems) -> Option<RealtimeNodeSpec> {
    let given = value.get("node").filter(|node| node.is_object())?;
    let complete = schema::with_defaults(given);
    let before = problems.0.len();
    check_node(&complete, problems);
    match serde_json::from_value::<RealtimeNodeSpec>(complete) {
        Ok(spec) => Some(spec),
        Err(error) => {
            // The schema has told it in most cases, with the field.
            if problems.0.len() == before && !problems.has_errors() {
                problems.push(Problem::error(
                    "node",
                    "",
                    error.to_string(),
                    "compare with `kubectl explain realtimenode.spec`",
                ));
            }
            None
        }
    }
}

/// What the shape of `node` can't say.
fn check_node(node: &Value, problems: &mut Problems) {
    for field in ["reserved", "isolated", "offlined", "shared"] {
        let Some(text) = node
            .get("cpu")
            .and_then(|cpu| cpu.get(field))
            .and_then(Value::as_str)
        else {
            continue;
        };
        if let Err(error) = text.parse::<CpuSet>() {
            problems.push(Problem::error(
                format!("node.cpu.{field}"),
                text,
                error.to_string(),
                "write CPUs as the kernel does, as in 0-1,8",
            ));
        }
    }
    if let Some(source) = node
        .pointer("/kernel/packages/source")
        .and_then(Value::as_object)
    {
        let given: Vec<&str> = source
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, _)| key.as_str())
            .collect();
        if given.len() != 1 {
            problems.push(Problem::error(
                "node.kernel.packages.source",
                given.join(", "),
                format!("names {} sources", given.len()),
                "name exactly one of repositories, urls, directory and image",
            ));
        }
    }
    let arguments = node.pointer("/kernel/arguments").and_then(Value::as_array);
    for (index, argument) in arguments.into_iter().flatten().enumerate() {
        if let Some(text) = argument
            .as_str()
            .filter(|text| text.contains(char::is_control))
        {
            problems.push(Problem::error(
                format!("node.kernel.arguments[{index}]"),
                text,
                "has a control character, and the kernel's command line is one line",
                "remove it; one argument an entry",
            ));
        }
    }
    if node.pointer("/kernel/provider").and_then(Value::as_str) == Some("Auto") {
        problems.push(Problem::error(
            "node.kernel.provider",
            "Auto",
            "can't be decided without an operator",
            "use NodeDaemon, or MachineConfigOperator to verify only",
        ));
    }
}
