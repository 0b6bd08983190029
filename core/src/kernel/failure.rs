//! What a failed command's words mean for what comes next. Words are matched by parts, never as a whole: prefixes differ
//! between versions (rpm-ostree-measured.md, section 2). No word here is ever a proof of what was staged.

use super::record::CommandFailure;

/// What kind of failure it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another program holds the lock, or the program that does the work went away: later.
    Busy,
    /// These packages are in no repository.
    NotFound(Vec<String>),
    /// The cache holds a damaged package, or old metadata: it can be thrown away.
    Cache,
    /// A repository or an address can't be reached.
    Network,
    /// The packages do not fit together.
    Depsolve,
    /// `/sysroot` is full.
    NoSpace,
    /// `LockLayering=true`.
    Locked,
    /// Anything else, a request that was answered already among it: look again, try again a few times.
    Other,
}

pub(super) fn kind(failure: &CommandFailure) -> Kind {
    let words = failure.stderr.as_str();
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if has(&[
        "Transaction in progress",
        "System transaction in progress",
        "Reboot initiated, cannot start new transaction",
        "Waiting for sysroot lock",
        "waiting for transaction lock",
    ]) {
        return Kind::Busy;
    }
    let missing = not_found(words);
    if !missing.is_empty() {
        return Kind::NotFound(missing);
    }
    // What a repository has is not even known: no package of it is in a cache, and no metadata to throw away.
    if has(&["repomd.xml"]) {
        return Kind::Network;
    }
    if has(&[
        "Unrecognized archive format",
        "truncated gzip input",
        "Status code: 404",
        "Status code: 416",
    ]) {
        return Kind::Cache;
    }
    if has(&[
        "min-free-space",
        "No space left on device",
        "Failed writing received data to disk",
        "needs more space",
        "Insufficient space in download directory",
    ]) {
        return Kind::NoSpace;
    }
    if has(&[
        "Could not depsolve",
        "nothing provides",
        "conflicting requests",
    ]) {
        return Kind::Depsolve;
    }
    if has(&["LockLayering=true"]) {
        return Kind::Locked;
    }
    if has(&[
        "cannot update repo",
        "All mirrors were tried",
        "Cannot download",
        "Curl error",
        "Failed to download metadata",
        "No enabled repositories",
    ]) {
        return Kind::Network;
    }
    Kind::Other
}

/// Names in `Packages not found: a, b` (rpm-ostree), `No match for argument: a` and `Unable to find a match: a b` (dnf).
fn not_found(words: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in words.lines() {
        let list = [
            "Packages not found: ",
            "No match for argument: ",
            "Unable to find a match: ",
        ]
        .iter()
        .find_map(|mark| line.find(mark).map(|at| &line[at + mark.len()..]));
        for name in list.into_iter().flat_map(|list| list.split([',', ' '])) {
            let name = name.trim();
            if !name.is_empty() && !names.iter().any(|other| other == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// The last words of a failure, short enough for a condition.
pub(super) fn tail(failure: &CommandFailure) -> String {
    const LIMIT: usize = 600;
    let words = failure.stderr.trim();
    let mut start = words.len().saturating_sub(LIMIT);
    while !words.is_char_boundary(start) {
        start += 1;
    }
    let code = match failure.code {
        Some(code) => format!("exit code {code}"),
        None => "killed or not started".to_owned(),
    };
    let cut = if start > 0 { "…" } else { "" };
    format!("`{}` ({code}): {cut}{}", failure.command, &words[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(stderr: &str) -> Kind {
        kind(&CommandFailure {
            stderr: stderr.to_owned(),
            ..Default::default()
        })
    }

    /// Words of the real program, from its recordings.
    #[test]
    fn real_words() {
        assert_eq!(
            of("error: Packages not found: kernel-rt-core, kernel-rt-kvm\n"),
            Kind::NotFound(vec!["kernel-rt-core".into(), "kernel-rt-kvm".into()])
        );
        assert_eq!(
            of(
                "error: Updating deployment: GDBus.Error:org.gtk.GDBus.UnmappedGError.Quark._g_2dio_2derror_2dquark.Code26: Transaction in progress: override remove kernel"
            ),
            Kind::Busy
        );
        assert_eq!(of("error: System transaction in progress"), Kind::Busy);
        assert_eq!(
            of(
                "error: importing RPMs: creating importer: Reading rpm2cpio: Unrecognized archive format"
            ),
            Kind::Cache
        );
        assert_eq!(
            of(
                "error: Cannot download X.rpm: All mirrors were tried; Last error: Status code: 404 for http://x (IP: 127.0.0.1)"
            ),
            Kind::Cache
        );
        assert_eq!(
            of(
                "error: Updating rpm-md repo 'r': cannot update repo 'r': Cannot download repomd.xml: Cannot download repodata/repomd.xml: All mirrors were tried; Last error: Curl error (7): Couldn't connect"
            ),
            Kind::Network
        );
        // Scene H: the whole repository is gone. Files are installed without it, and that needs no clean cache.
        assert_eq!(
            of(
                "error: Updating rpm-md repo 'r': cannot update repo 'r': Cannot download repomd.xml: Cannot download repodata/repomd.xml: All mirrors were tried; Last error: Status code: 404 for http://x/repodata/repomd.xml (IP: 127.0.0.1)"
            ),
            Kind::Network
        );
        assert_eq!(
            of(
                "error: importing RPMs: Importing package 'X': ostree-tar: min-free-space-percent '3%' would be exceeded, at least 60.0\u{a0}MB requested"
            ),
            Kind::NoSpace
        );
        assert_eq!(
            of("error: Could not depsolve transaction; 1 problem detected:\n Problem: x"),
            Kind::Depsolve
        );
        assert_eq!(
            of("error: Package/capability 'kernel-rt-core' is already requested"),
            Kind::Other
        );
        assert_eq!(of("error: Bus owner changed, aborting."), Kind::Other);
        assert_eq!(
            of("Error: Unable to find a match: kernel-rt-kvm"),
            Kind::NotFound(vec!["kernel-rt-kvm".into()])
        );
    }
}
