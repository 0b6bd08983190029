//! The kernel's command line, computed from the profile and the hardware's facts alone.
//!
//! Never from what a node has online at the moment: offlining CPUs must not change the answer, and
//! with it cost a second reboot. Written once, in one MachineConfig, one argument an entry.

mod catalogue;
mod document;
mod emit;
mod pstate;

pub use catalogue::{CATALOGUE, Entry, Repeat};
pub use document::markdown;

use crate::validate::ValidProfile;

/// Every argument that we can emit, in the order in which it is emitted.
pub fn catalogue() -> &'static [Entry] {
    CATALOGUE
}

/// What follows from the profile and the hardware, without the user's additional arguments.
/// `validate` compares these with the additional ones.
pub fn computed(profile: &ValidProfile) -> Vec<String> {
    CATALOGUE
        .iter()
        .flat_map(|entry| (entry.emit)(profile))
        .collect()
}

/// All arguments of a profile, one an entry, in a stable order:
/// 1. huge pages, 2. base, 3. vendor, 4. isolation and real time, 5. power, 6. the user's, in the user's order.
///
/// Of an argument that holds one value only the last stands, as for the kernel itself: the user's wins over ours.
pub fn kernel_arguments(profile: &ValidProfile) -> Vec<String> {
    let mut arguments = computed(profile);
    arguments.extend(
        profile
            .kernel
            .additional_arguments
            .iter()
            .map(|argument| without_control_characters(argument))
            .filter(|argument| !argument.is_empty()),
    );
    without_repetition(arguments)
}

/// How often an argument may stand on the command line: by its key, where ours; a foreign key may repeat
/// with another value (`console=`).
pub fn repeat(argument: &str) -> Repeat {
    let key = key(argument);
    CATALOGUE
        .iter()
        .find(|entry| entry.keys.contains(&key.as_str()))
        .map_or(Repeat::Adds, |entry| entry.repeat)
}

/// The name of an argument as the kernel compares it: up to `=`, `-` and `_` being the same, and without the quotation
/// marks around the whole argument, which the kernel takes away.
pub fn key(argument: &str) -> String {
    let bare = argument.strip_prefix('"').unwrap_or(argument);
    let name = match bare.split_once('=') {
        Some((name, _)) => name,
        None => bare.strip_suffix('"').unwrap_or(bare),
    };
    name.replace('-', "_")
}

fn without_repetition(arguments: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(arguments.len());
    for argument in arguments {
        match repeat(&argument) {
            Repeat::Adds if kept.contains(&argument) => continue,
            Repeat::Once => {
                let key = key(&argument);
                kept.retain(|other| self::key(other) != key);
            }
            Repeat::Adds | Repeat::Positional => {}
        }
        kept.push(argument);
    }
    kept
}

/// `validate` refuses control characters; a renderer that is total drops what reaches it all the same.
fn without_control_characters(argument: &str) -> String {
    argument
        .chars()
        .filter(|c| !c.is_control())
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests;
