//! Comparisons: recorded and own, up to a consistent renaming of checksums. Must not run anything.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A one-to-one renaming of checksums, by their first eight digits.
#[derive(Default)]
pub struct Names {
    forth: BTreeMap<String, String>,
    back: BTreeMap<String, String>,
    full: BTreeMap<String, String>,
}

fn short(checksum: &str) -> String {
    checksum
        .trim_start_matches("sha256:")
        .chars()
        .take(8)
        .collect()
}

impl Names {
    /// Whether the recorded checksum is our own one; a pair not seen yet is learnt.
    pub fn same(&mut self, recorded: &str, own: &str) -> bool {
        let (a, b) = (short(recorded), short(own));
        match (self.forth.get(&a), self.back.get(&b)) {
            (None, None) => {
                self.forth.insert(a.clone(), b.clone());
                self.back.insert(b, a.clone());
                if own.len() >= 64 {
                    self.full
                        .insert(a, own.trim_start_matches("sha256:").to_owned());
                }
                true
            }
            (Some(known), _) => {
                if own.len() >= 64 {
                    self.full
                        .entry(a)
                        .or_insert_with(|| own.trim_start_matches("sha256:").to_owned());
                }
                *known == b
            }
            _ => false,
        }
    }

    /// Our checksum for a recorded one in a command line.
    pub fn own(&self, recorded: &str) -> Option<String> {
        self.full.get(&short(recorded)).cloned()
    }
}

fn is_checksum(word: &str) -> bool {
    (word.len() == 64 || word.len() == 128) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn tokens(text: &str) -> Vec<&str> {
    text.split_inclusive(|c: char| !c.is_ascii_alphanumeric())
        .flat_map(|part| {
            let cut = part
                .trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
                .len();
            let (word, separator) = part.split_at(cut);
            [word, separator]
        })
        .filter(|part| !part.is_empty())
        .collect()
}

/// Whether two texts are the same but for checksums.
pub fn same_text(names: &mut Names, recorded: &str, own: &str) -> bool {
    let (recorded, own) = (tokens(recorded), tokens(own));
    recorded.len() == own.len()
        && recorded.iter().zip(&own).all(|(a, b)| {
            if is_checksum(a) && is_checksum(b) && a.len() == b.len() {
                a == b || names.same(a, b)
            } else {
                a == b
            }
        })
}

/// Standard error: of a usage error only the last line; the order of kernels and of dependency problems is not fixed.
pub fn same_stderr(names: &mut Names, recorded: &str, own: &str) -> bool {
    let normal = |text: &str| -> String {
        let text = text.trim_end();
        if text.contains("Usage:") {
            return text.lines().last().unwrap_or_default().to_owned();
        }
        if let Some((head, tail)) = text.split_once("usr/lib/modules: ") {
            let mut kernels: Vec<&str> = tail.split(' ').collect();
            kernels.sort_unstable();
            return format!("{head}usr/lib/modules: {}", kernels.join(" "));
        }
        if let Some((head, _)) = text.split_once("Hardlinking ") {
            // The file's checksum and path are the package's.
            return head.to_owned();
        }
        if let Some((head, tail)) = text.split_once("problems detected:\n") {
            let mut problems: Vec<String> = tail
                .split(" Problem ")
                .filter_map(|one| one.split_once(": ").map(|(_, rest)| rest.trim().to_owned()))
                .collect();
            problems.sort_unstable();
            return format!("{head}{}", problems.join("\n"));
        }
        text.to_owned()
    };
    same_text(names, &normal(recorded), &normal(own))
}

/// Lines that mean something to a caller.
const FIXED: [&str; 12] = [
    "No changes.",
    "No change.",
    "Deployments unchanged.",
    "No upgrade available.",
    "No updates available.",
    "No active transaction.",
    "Cancelled.",
    "Exiting because of",
    "Use \"rpm-ostree override reset\"",
    "Run \"systemctl reboot\"",
    "Changes queued",
    "Moving '",
];

/// The lines of standard output that a caller may rely on.
pub fn essential(argv: &[String], stdout: &str) -> String {
    let kargs = argv.get(1).is_some_and(|word| word == "kargs") && stdout.contains("root=");
    let ostree = argv.first().is_some_and(|word| word == "ostree");
    if argv.first().is_some_and(|word| word == "rpm") {
        let mut lines: Vec<&str> = stdout.lines().collect();
        lines.sort_unstable();
        return lines.join("\n");
    }
    if kargs || ostree {
        return stdout.to_owned();
    }
    if argv.get(1).is_some_and(|word| word == "status") && stdout.starts_with("State:") {
        return status_text(stdout);
    }
    let sections = [
        "Inactive base",
        "Upgraded:",
        "Downgraded:",
        "Removed:",
        "Added:",
    ];
    let mut lines = Vec::new();
    let mut inside = false;
    for line in stdout.lines() {
        inside = sections.iter().any(|section| line.starts_with(section))
            || inside && line.starts_with("  ");
        if inside || FIXED.iter().any(|fixed| line.starts_with(fixed)) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// The text form without what is not fixed: times, bus names, and the order of removed packages.
fn status_text(stdout: &str) -> String {
    let lines = stdout.lines().map(|line| {
        if let Some((head, _)) = line.split_once("dbus:") {
            return head.to_owned();
        }
        if let Some((head, tail)) = line.split_once("RemovedBasePackages: ") {
            let mut names: Vec<&str> = tail.split(' ').collect();
            names.sort_unstable();
            return format!("{head}RemovedBasePackages: {}", names.join(" "));
        }
        match line.split_once(" (2026-") {
            Some((head, _)) if head.contains("Version: ") => head.to_owned(),
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A deployment in the recording's short form, out of our full status.
pub fn summary(index: usize, full: &Value) -> Value {
    let mut short = Map::new();
    let text = |key: &str| full.get(key).and_then(Value::as_str);
    let flags: Vec<&str> = ["booted", "staged", "pinned", "finalization-locked"]
        .into_iter()
        .filter(|flag| full.get(*flag) == Some(&Value::Bool(true)))
        .collect();
    short.insert("index".to_owned(), json!(index));
    short.insert("serial".to_owned(), full["serial"].clone());
    let flags = if flags.is_empty() {
        Vec::new()
    } else {
        vec![flags.join("+")]
    };
    short.insert("flags".to_owned(), json!(flags));
    short.insert("version".to_owned(), full["version"].clone());
    short.insert(
        "origin".to_owned(),
        json!(text("origin").or_else(|| text("container-image-reference"))),
    );
    let linux = full
        .pointer("/layered-commit-meta/ostree.linux")
        .or_else(|| full.pointer("/base-commit-meta/ostree.linux"));
    short.insert(
        "ostree.linux".to_owned(),
        linux.cloned().unwrap_or_else(|| json!("None")),
    );
    for key in [
        "checksum",
        "base-checksum",
        "pending-base-checksum",
        "pending-base-version",
        "requested-packages",
        "packages",
        "requested-local-packages",
        "requested-base-removals",
        "requested-base-local-replacements",
        "requested-base-remote-replacements",
        "base-local-replacements",
        "base-remote-replacements",
    ] {
        if let Some(value) = full.get(key)
            && !is_empty(value)
        {
            short.insert(key.to_owned(), value.clone());
        }
    }
    let mut removals: Vec<String> = full["base-removals"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one[0].as_str().map(str::to_owned))
        .collect();
    removals.sort();
    // The recording's short form names only the NEVRAs of local replacements.
    if let Some(pairs) = short
        .get("base-local-replacements")
        .and_then(Value::as_array)
    {
        let names: Vec<Value> = pairs
            .iter()
            .map(|pair| json!([pair[0][0], pair[1][0]]))
            .collect();
        short.insert("base-local-replacements".to_owned(), json!(names));
    }
    if !removals.is_empty() {
        short.insert("base-removals".to_owned(), json!(removals));
    }
    Value::Object(short)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Null => true,
        _ => false,
    }
}

/// Compares the recorded short list with ours.
pub fn same_list(names: &mut Names, recorded: &Value, own: &Value) -> Result<(), String> {
    let empty = Vec::new();
    let recorded = recorded.as_array().unwrap_or(&empty);
    let own: Vec<Value> = own["deployments"]
        .as_array()
        .unwrap_or(&empty)
        .iter()
        .enumerate()
        .map(|(index, full)| summary(index, full))
        .collect();
    if recorded.len() != own.len() {
        return Err(format!(
            "{} deployments, recorded {}: {}",
            own.len(),
            recorded.len(),
            list_text(&own)
        ));
    }
    for (a, b) in recorded.iter().zip(&own) {
        let mut a = a.clone();
        if let Some(removals) = a.get_mut("base-removals").and_then(Value::as_array_mut) {
            removals.sort_by_key(ToString::to_string);
        }
        same_value(names, "", &a, b)?;
    }
    Ok(())
}

fn list_text(list: &[Value]) -> String {
    let texts: Vec<String> = list
        .iter()
        .map(|one| format!("{}.{} {}", one["checksum"], one["serial"], one["flags"]))
        .collect();
    texts.join("; ")
}

/// Keys whose values are times, or follow from the faked content.
const ANY_VALUE: [&str; 15] = [
    "timestamp",
    "base-timestamp",
    "pending-base-timestamp",
    "rpmostree.state-sha512",
    "rpmostree.inputhash",
    "ostree.composefs.digest.v0",
    "ostree.container.image-config",
    "ostree.manifest",
    "ostree.ref-binding",
    "ostree.tar-filtered",
    "rpm-diff",
    "update-sha256",
    "deployment",
    "1",
    "advisories",
];

/// Compares full values: the same keys, the same types, the same values up to renamed checksums.
pub fn same_value(
    names: &mut Names,
    path: &str,
    recorded: &Value,
    own: &Value,
) -> Result<(), String> {
    let key = path.rsplit('/').next().unwrap_or_default();
    let kind = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    };
    if kind(recorded) != kind(own) {
        return Err(format!("{path}: {own}, recorded {recorded}"));
    }
    if ANY_VALUE.contains(&key) && path.contains('/') && key != "1" {
        return Ok(());
    }
    match (recorded, own) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                let other = b
                    .get(key)
                    .ok_or_else(|| format!("{path}/{key} is missing, recorded {value}"))?;
                same_value(names, &format!("{path}/{key}"), value, other)?;
            }
            match b.iter().find(|(key, _)| !a.contains_key(*key)) {
                Some((key, value)) => Err(format!("{path}/{key} is not recorded: {value}")),
                None => Ok(()),
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            let (mut a, mut b) = (a.clone(), b.clone());
            if key == "base-removals" {
                a.sort_by_key(ToString::to_string);
                b.sort_by_key(ToString::to_string);
            }
            if a.len() != b.len() {
                return Err(format!("{path}: {own}, recorded {recorded}"));
            }
            a.iter()
                .zip(&b)
                .try_for_each(|(a, b)| same_value(names, &format!("{path}/-"), a, b))
        }
        (Value::String(a), Value::String(b))
            if key.ends_with("checksum") || key.ends_with("digest") =>
        {
            if names.same(a, b) {
                Ok(())
            } else {
                Err(format!("{path}: {b}, recorded {a}: not the same renaming"))
            }
        }
        (Value::String(a), Value::String(b)) => {
            if same_text(names, a, b) || path.ends_with("transaction/-") {
                Ok(())
            } else {
                Err(format!("{path}: {b}, recorded {a}"))
            }
        }
        (a, b) => {
            if a == b || path.ends_with("/timestamp") {
                Ok(())
            } else {
                Err(format!("{path}: {b}, recorded {a}"))
            }
        }
    }
}
