//! Names that a kubelet knows, and those that OpenShift refuses. Tables only.
//!
//! Source: Kubernetes 1.34 (its managers' option checks, eviction signals, crypto/tls by way of component-base); the
//! refusals are the Machine Config Operator's.

/// What OpenShift refuses by name, and why.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("cgroupDriver", "it must be that of CRI-O, systemd"),
    ("clusterDNS", "the cluster's DNS operator gives it"),
    ("clusterDomain", "the cluster's DNS operator gives it"),
    (
        "featureGates",
        "they are the cluster's, in its FeatureGate object",
    ),
    ("failSwapOn", "swap is OpenShift's to decide"),
];

/// Keys of the file's own header, and what they must say.
pub(super) const HEADER: &[(&str, &str)] = &[
    ("apiVersion", "kubelet.config.k8s.io/v1beta1"),
    ("kind", "KubeletConfiguration"),
];

pub(super) const CPU_OPTIONS: [&str; 4] = [
    "full-pcpus-only",
    "distribute-cpus-across-numa",
    "strict-cpu-reservation",
    "prefer-align-cpus-by-uncorecache",
];
/// They need a feature gate, which OpenShift doesn't let one set.
pub(super) const CPU_OPTIONS_ALPHA: [&str; 2] = ["align-by-socket", "distribute-cpus-across-cores"];
pub(super) const TOPOLOGY_OPTIONS: [&str; 2] =
    ["prefer-closest-numa-nodes", "max-allowable-numa-nodes"];
/// Options by the first Kubernetes that takes them without a feature gate (1.27 is OpenShift 4.14).
pub(super) const OPTIONS_SINCE: [(&str, (u32, u32)); 5] = [
    ("prefer-closest-numa-nodes", (1, 28)),
    ("max-allowable-numa-nodes", (1, 31)),
    ("distribute-cpus-across-numa", (1, 33)),
    ("strict-cpu-reservation", (1, 33)),
    ("prefer-align-cpus-by-uncorecache", (1, 34)),
];
pub(super) const SIGNALS: [&str; 9] = [
    "memory.available",
    "allocatableMemory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "pid.available",
];
pub(super) const RESERVABLE: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pid"];
pub(super) const ENFORCEMENTS: [&str; 6] = [
    "none",
    "pods",
    "system-reserved",
    "kube-reserved",
    "system-reserved-compressible",
    "kube-reserved-compressible",
];
/// Those of Go's crypto/tls, which the kubelet knows by name.
pub(super) const CIPHERS: [&str; 24] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];
