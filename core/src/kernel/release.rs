//! What a kernel's release (`uname -r`) says: whether it is a real-time kernel's, and which package it belongs to.
//! Reads texts, decides nothing.

use super::nevra::Nevra;

/// Whether a release is a real-time kernel's: `…x86_64+rt` (RHEL 9.3 and later, also `+rt-debug`), or `.rt7.72.` in the
/// release (RHEL 8, RHEL 9 before), or `-rtNN` (mainline and Debian).
pub fn is_realtime(release: &str) -> bool {
    release.contains("+rt")
        || release.ends_with("-rt")
        || release.contains("-rt-")
        || [".rt", "-rt"].iter().any(|mark| {
            release
                .match_indices(mark)
                .any(|(at, _)| release[at + mark.len()..].starts_with(|c: char| c.is_ascii_digit()))
        })
}

/// Whether a release is that of the kernel in this package (`kernel-core`, `kernel-rt-core`).
pub fn belongs_to(release: &str, package: &Nevra) -> bool {
    let base = release.split_once('+').map_or(release, |(base, _)| base);
    base == package.version_release_architecture()
}

/// Whether a stock and a real-time kernel package are of one source version: the version and the leading numbers of the
/// release are the same (`284.11.1.el9_2` and `284.11.1.rt14.296.el9_2`; `427.24.1.el9_4` in both).
pub fn same_source(stock: &Nevra, realtime: &Nevra) -> bool {
    stock.version == realtime.version && numbers(&stock.release) == numbers(&realtime.release)
}

/// Whether a running real-time kernel's release is of the same source version as the stock kernel package.
pub fn same_source_release(stock: &Nevra, release: &str) -> bool {
    release.split_once('-').is_some_and(|(version, rest)| {
        version == stock.version && numbers(rest) == numbers(&stock.release)
    })
}

fn numbers(release: &str) -> &str {
    let mut end = 0;
    for part in release.split('.') {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            break;
        }
        end += part.len() + 1;
    }
    &release[..end.saturating_sub(1).min(release.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_real_kernels() {
        for realtime in [
            "4.18.0-147.rt24.93.el8.x86_64",
            "5.14.0-284.11.1.rt14.296.el9_2.x86_64",
            "5.14.0-427.24.1.el9_4.x86_64+rt",
            "6.12.74+deb13+1-rt-amd64",
            "6.6.20-rt25",
        ] {
            assert!(is_realtime(realtime), "{realtime}");
        }
        for stock in [
            "5.14.0-427.24.1.el9_4.x86_64",
            "6.7.4-200.fc39.x86_64",
            "5.14.0-70.rtx.x86_64",
            "",
        ] {
            assert!(!is_realtime(stock), "{stock}");
        }
    }

    #[test]
    fn versions_that_belong_together() {
        let nevra = |text: &str| Nevra::parse(text).unwrap();
        let stock = nevra("kernel-core-5.14.0-284.11.1.el9_2.x86_64");
        assert!(same_source(
            &stock,
            &nevra("kernel-rt-core-5.14.0-284.11.1.rt14.296.el9_2.x86_64")
        ));
        assert!(!same_source(
            &stock,
            &nevra("kernel-rt-core-5.14.0-284.25.1.rt14.310.el9_2.x86_64")
        ));
        assert!(same_source_release(
            &stock,
            "5.14.0-284.11.1.rt14.296.el9_2.x86_64"
        ));
        assert!(belongs_to(
            "5.14.0-427.24.1.el9_4.x86_64+rt",
            &nevra("kernel-rt-core-5.14.0-427.24.1.el9_4.x86_64")
        ));
    }
}
