//! A daemon started as in its pod: with the pod's token and certificate where a kubelet puts them, the environment of
//! the shipped DaemonSet, and no kubeconfig. It needs a mount namespace, and so root. Starts nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use realtime_testing::control_plane::ControlPlane;
use realtime_testing::simulated_host::Launch;
use serde_json::Value;

/// Where a pod's secrets are. A folder of ours is put over `/run`, which `/var/run` leads to.
const SECRETS: &str = "secrets/kubernetes.io/serviceaccount";

/// Puts the folder that is the first argument over /run, for what is started by it alone.
const SCRIPT: &str = "mount --bind \"$1\" /run && shift && exec \"$@\"";

/// Whether that can be done here.
pub fn can() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The same start as in a pod. Without root it stays as it is, with a kubeconfig.
pub fn inside(
    launch: Launch,
    control_plane: &ControlPlane,
    kubeconfig: &Path,
    environment: &[(String, String)],
) -> anyhow::Result<Launch> {
    let mut environment = environment.to_vec();
    if !can() {
        return Ok(Launch {
            environment,
            ..launch
        });
    }
    let name = kubeconfig.file_name().context("the pod's name")?;
    let run = control_plane.directory().join("pods").join(name);
    secrets(control_plane, kubeconfig, &run)?;
    environment.extend(address(control_plane)?);
    let Launch {
        program, arguments, ..
    } = launch;
    let mut inside: Vec<String> = [
        "--mount",
        "--propagation=private",
        "--",
        "sh",
        "-c",
        SCRIPT,
        "sh",
    ]
    .map(str::to_owned)
    .to_vec();
    let program = fs::canonicalize(&program).context("the daemon's program")?;
    inside.extend([run, program].map(|path| path.display().to_string()));
    let arguments = arguments
        .into_iter()
        .filter(|argument| !argument.starts_with("--kubeconfig="));
    inside.extend(arguments);
    Ok(Launch {
        program: PathBuf::from("unshare"),
        arguments: inside,
        environment,
    })
}

/// Where the API server is, in the words that a kubelet uses.
pub fn address(control_plane: &ControlPlane) -> anyhow::Result<Vec<(String, String)>> {
    let address = control_plane.server_url();
    let (host, port) = address
        .trim_start_matches("https://")
        .split_once(':')
        .context("the API server's address")?;
    let variables = [
        ("KUBERNETES_SERVICE_HOST", host),
        ("KUBERNETES_SERVICE_PORT", port),
        // No kubeconfig of whoever runs this.
        ("HOME", "/nonexistent"),
        ("KUBECONFIG", "/nonexistent"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Ok(variables.map(owned).into())
}

/// Puts what a kubelet would put into the pod below the folder that the daemon sees as `/run`.
pub fn secrets(control_plane: &ControlPlane, kubeconfig: &Path, run: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(kubeconfig).context("the pod's kubeconfig")?;
    let values: Value = serde_json::from_str(&text).context("the pod's kubeconfig")?;
    let token = values["users"][0]["user"]["token"]
        .as_str()
        .context("the pod's token")?;
    let folder = run.join(SECRETS);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("token"), token)?;
    fs::write(folder.join("ca.crt"), control_plane.ca())?;
    fs::write(
        folder.join("namespace"),
        realtime_testing::simulated_host::cluster::DAEMON_NAMESPACE,
    )?;
    Ok(())
}
