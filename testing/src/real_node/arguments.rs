//! The command lines of the node's programs, which all run in its directory: paths are relative to it
//! where the program allows that. Must not start anything.

use super::{Options, network};

/// Relative to the directory that both programs run in. The `:1` is no port: etcd asks for the form
/// `host:port` and takes the whole as the name of the socket.
const ETCD_CLIENTS: &str = "unix://client.sock:1";
const ETCD_PEERS: &str = "unix://peer.sock:1";

fn owned<const N: usize>(arguments: [&str; N]) -> Vec<String> {
    arguments.map(str::to_owned).into()
}

/// etcd's.
pub fn etcd() -> Vec<String> {
    [
        "--name=node".to_owned(),
        "--data-dir=/run/node/etcd".to_owned(),
        "--unsafe-no-fsync".to_owned(), // its disk is memory
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={ETCD_CLIENTS}"),
        format!("--advertise-client-urls={ETCD_CLIENTS}"),
        format!("--listen-peer-urls={ETCD_PEERS}"),
        format!("--initial-advertise-peer-urls={ETCD_PEERS}"),
        format!("--initial-cluster=node={ETCD_PEERS}"),
    ]
    .into()
}

/// The API server's.
pub fn api_server(port: u16, options: &Options) -> Vec<String> {
    let mut arguments = owned([
        "--allow-privileged",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--bind-address=0.0.0.0",
        "--client-ca-file=ca.crt",
        "--tls-cert-file=server.crt",
        "--tls-private-key-file=server.key",
        "--kubelet-client-certificate=kubelet-client.crt",
        "--kubelet-client-key=kubelet-client.key",
        // The node's name is known to nobody but the node.
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-key-file=service-account.pub",
        "--service-account-signing-key-file=service-account.key",
    ]);
    arguments.extend([
        format!("--advertise-address={}", network::NODE_ADDRESS),
        format!("--etcd-servers={ETCD_CLIENTS}"),
        format!("--secure-port={port}"),
        format!("--service-cluster-ip-range={}", network::SERVICE_RANGE),
    ]);
    arguments.extend_from_slice(&options.api_server_arguments);
    arguments
}

/// kube-controller-manager's.
pub fn controller_manager() -> Vec<String> {
    owned([
        "--kubeconfig=controller-manager.kubeconfig",
        "--leader-elect=false", // there is one, and an election takes seconds
        "--bind-address=127.0.0.1",
        "--use-service-account-credentials",
        "--service-account-private-key-file=service-account.key",
        "--root-ca-file=ca.crt",
        "--flex-volume-plugin-dir=/run/node/volume-plugins", // it makes the directory
        // Its start is a burst of requests, which the usual limit of 20 a second would stretch to 5 s.
        "--kube-api-qps=1000",
        "--kube-api-burst=1000",
        "--node-monitor-period=1s", // a new node's taint goes with the next look at it
    ])
}

/// kube-scheduler's.
pub fn scheduler() -> Vec<String> {
    owned([
        "--kubeconfig=scheduler.kubeconfig",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    ])
}

/// kube-proxy's. The limits of connection tracking are the machine's: it isn't to touch them.
pub fn proxy(node: &str) -> Vec<String> {
    let mut arguments = owned([
        "--kubeconfig=proxy.kubeconfig",
        "--proxy-mode=nftables",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]);
    arguments.push(format!("--hostname-override={node}"));
    arguments.push(format!("--cluster-cidr={}", network::POD_RANGE));
    arguments
}

/// The kubelet's.
pub fn kubelet(node: &str) -> Vec<String> {
    let mut arguments = owned([
        "--config=kubelet.yaml",
        "--kubeconfig=kubelet.kubeconfig",
        "--root-dir=/run/node/kubelet",
        "--v=2",
    ]);
    arguments.push(format!("--hostname-override={node}"));
    arguments.push(format!("--node-ip={}", network::NODE_ADDRESS));
    arguments
}
