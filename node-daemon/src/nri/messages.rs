//! The messages of ttrpc and of NRI (`nri.pkg.api.v1alpha1`), with only the fields that are read or written here: prost
//! skips all others without keeping them. Field numbers are those of ttrpc's `request.proto`, of `google.rpc.Status` and
//! of NRI's `api.proto`; they are the same from NRI 0.6 (containerd 1.7) to 0.10. Decides nothing.

use std::collections::BTreeMap;

/// The service that the runtime has.
pub const RUNTIME: &str = "nri.pkg.api.v1alpha1.Runtime";
/// The service that a plugin has.
pub const PLUGIN: &str = "nri.pkg.api.v1alpha1.Plugin";
/// The call that brings what is on the node already.
pub const SYNCHRONIZE: &str = "Synchronize";
/// `Event.START_CONTAINER`.
pub const START_CONTAINER: i32 = 6;
/// The set of events that has only [`START_CONTAINER`] in it. An empty set would mean all of them.
pub const EVENTS: i32 = 1 << (START_CONTAINER - 1);

/// Whether a call's beginning is that of Synchronize, which brings all pods and containers of the node, by megabytes. They
/// aren't read: the daemon finds them in the kernel's tree. (Go writes a message's fields in their order. If it didn't,
/// the call would be kept and answered all the same.)
pub fn is_synchronize(head: &[u8]) -> bool {
    let field = |bytes: &[u8], tag: u8, text: &str| {
        let rest = bytes.strip_prefix(&[tag])?;
        let (length, rest) = rest.split_first()?;
        let same = usize::from(*length) == text.len() && rest.starts_with(text.as_bytes());
        same.then(|| text.len() + 2)
    };
    field(head, 0x0a, PLUGIN)
        .and_then(|length| field(&head[length..], 0x12, SYNCHRONIZE))
        .is_some()
}

/// Codes of gRPC.
pub mod code {
    /// A message that can't be read.
    pub const INVALID_ARGUMENT: i32 = 3;
    /// The container must not start.
    pub const FAILED_PRECONDITION: i32 = 9;
    /// Nobody asked for that call.
    pub const UNIMPLEMENTED: i32 = 12;
}

/// A call over ttrpc.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    #[prost(string, tag = "1")]
    pub service: String,
    #[prost(string, tag = "2")]
    pub method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub payload: Vec<u8>,
    /// What is left until the caller gives up, nanoseconds; 0: it didn't say.
    #[prost(int64, tag = "4")]
    pub timeout_nano: i64,
}

/// Its answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
}

/// An error, or OK with the code 0.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RegisterPlugin {
    #[prost(string, tag = "1")]
    pub plugin_name: String,
    #[prost(string, tag = "2")]
    pub plugin_idx: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Configure {
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    #[prost(string, tag = "3")]
    pub runtime_version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Configured {
    #[prost(int32, tag = "2")]
    pub events: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Synchronized {
    /// It may go on with more of them, in a further call: a plugin that doesn't say so is closed when there are more.
    #[prost(bool, tag = "2")]
    pub more: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StateChange {
    #[prost(int32, tag = "1")]
    pub event: i32,
    #[prost(message, optional, tag = "2")]
    pub pod: Option<Pod>,
    #[prost(message, optional, tag = "3")]
    pub container: Option<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Pod {
    #[prost(string, tag = "2")]
    pub name: String,
    /// Of a static pod the hash that its directory bears, not the API's.
    #[prost(string, tag = "3")]
    pub uid: String,
    #[prost(string, tag = "4")]
    pub namespace: String,
    #[prost(btree_map = "string, string", tag = "6")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Container {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "3")]
    pub name: String,
    /// 0: the runtime doesn't say.
    #[prost(uint32, tag = "12")]
    pub pid: u32,
}
