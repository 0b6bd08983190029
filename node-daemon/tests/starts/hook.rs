//! The OCI hook on a real node, as the profile's MachineConfig brings it: the JSON and the script are those that `core`
//! renders, and the program is the one that the daemon puts there itself.
//!
//! What differs from a host: this CRI-O reads its hooks from the node's own directory, and `/usr/local/bin` is an overlay in
//! the node's mount namespace, so that nothing of the machine is written to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use realtime_core::names::{HOOK_PROGRAM, HOOK_SOCKET};
use realtime_testing::real_node::RealNode;

use crate::on_node::{LONG, Lab};

/// On the host.
pub const SCRIPT: &str = "/usr/local/bin/realtime-oci-hook";
const JSON: &str = "/etc/containers/oci/hooks.d/99-realtime.json";

/// Script and JSON, before there is a daemon.
pub async fn bring(node: &RealNode) {
    let folder = "/run/node/overlay/programs";
    let overlay = format!(
        "mkdir -p {folder}/upper {folder}/work && mount -t overlay overlay \
         -o lowerdir=/usr/local/bin,upperdir={folder}/upper,workdir={folder}/work /usr/local/bin"
    );
    let mounted = node.exec_in_namespaces("sh", &["-c", &overlay]).await;
    mounted.expect("an overlay");
    let script = node.path_inside(SCRIPT);
    fs::write(&script, rendered(SCRIPT)).expect("the script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    let name = Path::new(JSON).file_name().expect("a name");
    fs::write(node.runtime_hooks_dir().join(name), rendered(JSON)).expect("the hook");
}

/// Until the daemon listens and its program is there.
pub async fn is_there(lab: &Lab) {
    let begun = Instant::now();
    for path in [HOOK_SOCKET, HOOK_PROGRAM] {
        while !lab.node.path_inside(path).exists() {
            assert!(begun.elapsed() < LONG, "no {path}\n{}", lab.said());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// A file that the golden story of pods' budgets puts on a host.
fn rendered(path: &str) -> String {
    let story = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../core/tests/render/pod-budget/expected/host")
        .join(path.trim_start_matches('/'));
    fs::read_to_string(&story).expect("what core renders")
}
