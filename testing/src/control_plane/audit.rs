//! The API server's audit log: who asked what, how often. Reads only; the launcher switches it on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

/// The policy: one line of metadata for each request. A watch has two stages (it started, it
/// ended), everything else the last one only.
pub const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n";

/// One request that the API server has answered; for a watch: that it has begun to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As the API server knows the user: `admin`, `system:serviceaccount:<namespace>:<name>`, …
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub verb: String,
    /// The API group; empty for the core group and for paths that are no resource.
    pub group: String,
    /// The plural, with `/<subresource>` where there is one; empty for paths that are no resource.
    pub resource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty for lists.
    pub name: String,
    /// The HTTP status.
    pub code: u16,
    /// The program that asked.
    pub user_agent: String,
}

impl Request {
    /// Whether it was one that changes something.
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }
}

/// How often each user asked with each verb: `(user, verb)` to the number of requests.
pub type Counts = BTreeMap<(String, String), usize>;

/// Counts requests by user and verb.
pub fn count<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Counts {
    let mut counts = Counts::new();
    for request in requests {
        *counts
            .entry((request.user.clone(), request.verb.clone()))
            .or_default() += 1;
    }
    counts
}

/// Reads the log in its order. A last line that is still being written is left out.
pub fn read(path: &Path) -> io::Result<Vec<Request>> {
    let mut requests = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        if let Ok(event) = serde_json::from_str::<Event>(&line?) {
            requests.extend(event.into_request());
        }
    }
    Ok(requests)
}

/// The fields of `audit.k8s.io/v1 Event` that are used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectReference,
    #[serde(default)]
    response_status: ResponseStatus,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectReference {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl Event {
    fn into_request(self) -> Option<Request> {
        let stage = if self.verb == "watch" {
            "ResponseStarted"
        } else {
            "ResponseComplete"
        };
        // A watch that is refused never starts.
        let refused = self.verb == "watch"
            && self.stage == "ResponseComplete"
            && self.response_status.code >= 400;
        if self.stage != stage && self.stage != "Panic" && !refused {
            return None;
        }
        let object = self.object_ref;
        let resource = match object.subresource.as_str() {
            "" => object.resource,
            subresource => format!("{}/{subresource}", object.resource),
        };
        Some(Request {
            user: self.user.username,
            verb: self.verb,
            group: object.api_group,
            resource,
            namespace: object.namespace,
            name: object.name,
            code: self.response_status.code,
            user_agent: self.user_agent,
        })
    }
}
