//! The recordings: one interaction or event a line. Reads, and knows nothing of the stand-in.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// One line.
#[derive(Debug, Deserialize)]
pub struct Entry {
    /// The number by which everything speaks of it.
    pub n: u64,
    /// The command line of an interaction.
    pub argv: Option<String>,
    /// What happened, in an event.
    pub event: Option<String>,
    /// Beside it.
    pub note: Option<String>,
    /// Negative: killed by that signal.
    pub rc: Option<i32>,
    #[serde(default)]
    pub stdout: Option<String>,
    #[serde(default)]
    pub stderr: Option<String>,
    /// `"unchanged"` or the list.
    #[serde(default)]
    pub deployments: Option<Value>,
    /// The file of the full status.
    pub status_json: Option<String>,
}

/// A host's life.
pub struct Recording {
    pub entries: Vec<Entry>,
    directory: PathBuf,
    version: String,
}

impl Recording {
    /// `None` where the recordings are not.
    pub fn load(version: &str) -> Option<Self> {
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/rpm-ostree/real");
        let text = std::fs::read_to_string(directory.join(format!("{version}.jsonl"))).ok()?;
        let entries = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        Some(Self {
            entries,
            directory,
            version: version.to_owned(),
        })
    }

    /// A full status.
    pub fn status(&self, name: &str) -> Value {
        let path = self
            .directory
            .join("status")
            .join(format!("{}-{name}", self.version));
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap()
    }
}

/// Splits a recorded command line: words, where only a known value has a space.
pub fn words(argv: &str) -> Vec<String> {
    let known = [
        "%{NAME} %{EPOCH} %{VERSION}-%{RELEASE}.%{ARCH}\\n",
        "Managed by machine-config-operator",
        "q=\"x y\"",
    ];
    let mut text = argv.to_owned();
    for value in known {
        text = text.replace(value, &value.replace(' ', "\u{1}"));
    }
    text.split(' ')
        .map(|word| word.replace('\u{1}', " "))
        .collect()
}
