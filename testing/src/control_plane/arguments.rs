//! The command lines of etcd and kube-apiserver, which both run in the control plane's directory:
//! paths are relative to it. Must not start anything.

use super::Options;

/// Relative to the directory that both programs run in. The `:1` is no port: etcd asks for the form
/// `host:port` and takes the whole as the name of the socket.
const ETCD_CLIENTS: &str = "unix://client.sock:1";
const ETCD_PEERS: &str = "unix://peer.sock:1";

/// etcd's.
pub fn etcd() -> Vec<String> {
    // Sockets in our directory and not ports: nobody else can reach them or be in their way.
    [
        "--name=realtime".to_owned(),
        "--data-dir=etcd-data".to_owned(),
        "--unsafe-no-fsync".to_owned(), // nothing of it has to survive a crash of the machine
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={ETCD_CLIENTS}"),
        format!("--advertise-client-urls={ETCD_CLIENTS}"),
        format!("--listen-peer-urls={ETCD_PEERS}"),
        format!("--initial-advertise-peer-urls={ETCD_PEERS}"),
        format!("--initial-cluster=realtime={ETCD_PEERS}"),
    ]
    .into()
}

/// The API server's.
pub fn api_server(port: u16, options: &Options) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--allow-privileged",
        "--authorization-mode=Node,RBAC",
        "--bind-address=127.0.0.1",
        // Without one it looks for the interface of the default route, which need not exist.
        "--advertise-address=127.0.0.1",
        // Nobody reaches the API server by the Service `kubernetes`.
        "--endpoint-reconciler-type=none",
        "--client-ca-file=ca.crt",
        "--tls-cert-file=server.crt",
        "--tls-private-key-file=server.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-key-file=service-account.pub",
        "--service-account-signing-key-file=service-account.key",
        "--service-cluster-ip-range=10.96.0.0/16",
        // Nobody here makes the default ServiceAccounts that it wants for each pod.
        "--disable-admission-plugins=ServiceAccount",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(format!("--etcd-servers={ETCD_CLIENTS}"));
    arguments.push(format!("--secure-port={port}"));
    if options.audit_log {
        arguments.push("--audit-policy-file=audit-policy.yaml".to_owned());
        // Blocking is its default: a request that was answered is in the log.
        arguments.push("--audit-log-path=audit.log".to_owned());
    }
    arguments.extend_from_slice(&options.api_server_arguments);
    arguments
}
