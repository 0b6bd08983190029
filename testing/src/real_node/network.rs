//! The addresses inside a real node's network namespace. Nobody outside it sees them, so that all real
//! nodes have the same. `inner.sh` makes the node's interface and names the node's address too.

/// The node's own.
pub const NODE_ADDRESS: &str = "10.254.0.1";

/// The addresses of pods.
pub const POD_RANGE: &str = "10.244.0.0/16";

/// The addresses of Services.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";

/// The first of them: the Service `kubernetes`.
pub const API_SERVICE_ADDRESS: &str = "10.96.0.1";
