//! Stands in for grubby on the host that `REALTIME_HOST_ROOT` names. Wires, and nothing else.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use realtime_testing::grubby_standin;

fn main() -> anyhow::Result<ExitCode> {
    let root = std::env::var_os("REALTIME_HOST_ROOT").context(
        "REALTIME_HOST_ROOT must name the host's root: this is no grubby for this machine",
    )?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let printed = grubby_standin::run(Path::new(&root), &arguments);
    std::io::stdout().write_all(printed.stdout.as_bytes())?;
    std::io::stderr().write_all(printed.stderr.as_bytes())?;
    Ok(ExitCode::from(printed.code))
}
