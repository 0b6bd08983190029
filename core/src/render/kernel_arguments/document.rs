//! `docs/kernel-arguments.md` out of the catalogue. A test compares it with the committed file.

use std::fmt::Write as _;

use super::{CATALOGUE, Repeat};

/// The whole document.
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    let mut group = "";
    for entry in CATALOGUE {
        if entry.group != group {
            group = entry.group;
            let _ = write!(
                text,
                "\n## {group}\n\n| argument | when | why | source |\n|---|---|---|---|\n"
            );
        }
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            entry.form.replace('|', "\\|"),
            entry.when,
            entry.why,
            entry.source
        );
    }
    let adding: Vec<String> = CATALOGUE
        .iter()
        .filter(|entry| entry.repeat == Repeat::Adds)
        .flat_map(|entry| entry.keys.iter().map(|key| format!("`{key}`")))
        .collect();
    let _ = write!(text, "\n{}", tail(&adding.join(", ")));
    text
}

const HEAD: &str = "\
<!-- Generated from core/src/render/kernel_arguments/catalogue.rs: UPDATE_GOLDEN=1 cargo test -p realtime-core --test golden_render -->
# Kernel arguments

Every argument that the operator can write, when and why, in the order in which they are written. They are
computed from the profile and the nodes' hardware alone, so the same profile gives the same arguments before
and after CPUs are taken offline, and without asking a running node. A profile that partitions no CPUs
(no `cpu.reserved` and `cpu.isolated`) gets none but huge pages, its own `kernel.additionalArguments`, and what
it explicitly asks for with `cpu.smt: Off`, `cpu.power: UltraLowLatency` or `PerPod`.

The hardware is that of the pool's nodes; while a pool has none yet, that of the workers that may join it, so that a node
that joins boots once. What is not known then (Node Feature Discovery's labels, or RealtimeNode objects, tell it) could
change an argument later: validation says so, with the arguments' names.

ISOLATED and RESERVED stand for the CPU lists of the profile. \"x86\" includes processors of any vendor; where the
vendor isn't known, only what every x86 gets is written. ARM gets none of the x86 ones. The kernel with 64k pages
is chosen by `kernelType`, not by an argument.

kernel-parameters.txt is the kernel's Documentation/admin-guide/kernel-parameters.txt.
";

fn tail(adding: &str) -> String {
    format!(
        "\
## Your own

`kernel.additionalArguments` come last, in your order, one argument an entry. Where you give one of the arguments
above another value, yours alone is written, except for those that add up ({adding}): there both are.
The same text is never written twice, except `hugepagesz=` and `hugepages=`, which belong together in pairs.
"
    )
}
