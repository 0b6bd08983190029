//! `programs [NAME…]`: builds upstream programs (those of the control plane without arguments, all of
//! them with `all`) and prints where each is. Progress goes to the standard error. Must not start them.

use std::process::ExitCode;

use realtime_testing::programs::{self, Program};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("programs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut wanted = Vec::new();
    for name in std::env::args().skip(1) {
        if name == "all" {
            wanted.extend(Program::ALL);
            continue;
        }
        let known = || Program::ALL.map(Program::file_name).join(", ");
        wanted.push(
            Program::from_file_name(&name)
                .ok_or_else(|| anyhow::anyhow!("{name:?} is none of all, {}", known()))?,
        );
    }
    if wanted.is_empty() {
        wanted = Program::CONTROL_PLANE.to_vec();
    }
    for path in programs::ensure(&wanted)? {
        println!("{}", path.display());
    }
    Ok(())
}
