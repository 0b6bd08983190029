//! A package's name, epoch, version, release and architecture. Parsing and comparing, nothing else.

use std::cmp::Ordering;
use std::fmt;

/// Longest text that is taken for a package: rpm's own names are far below.
const TEXT_LIMIT: usize = 1024;

/// Name, epoch, version, release, architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nevra {
    /// Such as `kernel-rt-core`.
    pub name: String,
    /// 0 when there is none.
    pub epoch: u32,
    /// Such as `5.14.0`.
    pub version: String,
    /// Such as `427.24.1.el9_4`.
    pub release: String,
    /// Such as `x86_64`.
    pub architecture: String,
}

impl fmt::Display for Nevra {
    /// `name-[epoch:]version-release.arch`, as rpm-ostree's JSON writes it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-", self.name)?;
        if self.epoch > 0 {
            write!(out, "{}:", self.epoch)?;
        }
        write!(
            out,
            "{}-{}.{}",
            self.version, self.release, self.architecture
        )
    }
}

impl Nevra {
    /// From `name-[epoch:]version-release.arch`. A text without all parts is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_LIMIT {
            return None;
        }
        let (rest, architecture) = text.trim().rsplit_once('.')?;
        let (rest, release) = rest.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        let (epoch, version) = match version.split_once(':') {
            Some((epoch, version)) => (epoch.parse().ok()?, version),
            None => (0, version),
        };
        let parts = [name, version, release, architecture];
        let sound = |part: &&str| {
            !part.is_empty()
                && !part.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
        };
        parts.iter().all(sound).then(|| Self {
            name: name.to_owned(),
            epoch,
            version: version.to_owned(),
            release: release.to_owned(),
            architecture: architecture.to_owned(),
        })
    }

    /// Whether a request means it, in one of the forms that dnf takes: `name[-[epoch:]version[-release]][.arch]`.
    pub fn answers(&self, request: &str) -> bool {
        let suffix = format!(".{}", self.architecture);
        [request.strip_suffix(suffix.as_str()), Some(request)]
            .into_iter()
            .flatten()
            .filter_map(|request| request.strip_prefix(self.name.as_str()))
            .any(|rest| {
                let Some(version) = rest.strip_prefix('-') else {
                    return rest.is_empty();
                };
                let epoch = format!("{}:", self.epoch);
                let version = version.strip_prefix(epoch.as_str()).unwrap_or(version);
                version == self.version || version == format!("{}-{}", self.version, self.release)
            })
    }

    /// `version-release.arch`: what a kernel's release begins with.
    pub fn version_release_architecture(&self) -> String {
        format!("{}-{}.{}", self.version, self.release, self.architecture)
    }

    /// Compares epoch, version and release as rpm does.
    pub fn compare_evr(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_versions(&self.version, &other.version))
            .then_with(|| compare_versions(&self.release, &other.release))
    }
}

/// rpm's order of versions (`rpmvercmp`): runs of digits and of letters are compared one after the other, digits as
/// numbers and newer than letters; `~` sorts before the end, `^` after it; everything else only separates.
pub fn compare_versions(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        left = skip_separators(left);
        right = skip_separators(right);
        // `~` before everything, the end among it.
        let tildes = (left.first() == Some(&b'~'), right.first() == Some(&b'~'));
        if tildes == (true, true) {
            (left, right) = (&left[1..], &right[1..]);
            continue;
        }
        if tildes != (false, false) {
            return tildes.1.cmp(&tildes.0);
        }
        match (left.first(), right.first()) {
            (None, None) => return Ordering::Equal,
            (Some(b'^'), Some(b'^')) => (left, right) = (&left[1..], &right[1..]),
            // `^` after the end and before all else.
            (Some(_), None | Some(b'^')) => return Ordering::Greater,
            (None | Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(first), Some(other)) => {
                let digits = first.is_ascii_digit();
                if digits != other.is_ascii_digit() {
                    return if digits {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    };
                }
                let (left_run, left_rest) = run(left, digits);
                let (right_run, right_rest) = run(right, digits);
                let order = if digits {
                    let (a, b) = (without_zeros(left_run), without_zeros(right_run));
                    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
                } else {
                    left_run.cmp(right_run)
                };
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (left_rest, right_rest);
            }
        }
    }
}

fn skip_separators(text: &[u8]) -> &[u8] {
    let kept = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^');
    &text[text.iter().position(kept).unwrap_or(text.len())..]
}

fn run(text: &[u8], digits: bool) -> (&[u8], &[u8]) {
    let belongs = |byte: &u8| {
        if digits {
            byte.is_ascii_digit()
        } else {
            byte.is_ascii_alphabetic()
        }
    };
    text.split_at(
        text.iter()
            .position(|byte| !belongs(byte))
            .unwrap_or(text.len()),
    )
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits
        .iter()
        .position(|digit| *digit != b'0')
        .unwrap_or(digits.len())..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_real_packages() {
        let microcode = Nevra::parse("microcode_ctl-4:20190918-3.rhcos.1.el8.x86_64").unwrap();
        assert_eq!(
            (microcode.name.as_str(), microcode.epoch),
            ("microcode_ctl", 4)
        );
        assert_eq!(
            microcode.to_string(),
            "microcode_ctl-4:20190918-3.rhcos.1.el8.x86_64"
        );
        for wrong in [
            "",
            "kernel-rt-core",
            "a-b.c",
            "-1-2.x",
            "a-x:1-2.noarch",
            "a b-1-2.x",
        ] {
            assert_eq!(Nevra::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn requests_that_mean_a_package() {
        let firmware = Nevra::parse("linux-firmware-2:20250211-151.el9_5.noarch").unwrap();
        for request in [
            "linux-firmware",
            "linux-firmware.noarch",
            "linux-firmware-20250211",
            "linux-firmware-20250211-151.el9_5",
            "linux-firmware-2:20250211-151.el9_5.noarch",
        ] {
            assert!(firmware.answers(request), "{request}");
        }
        for request in [
            "linux",
            "linux-firmware-whence",
            "linux-firmware.x86_64",
            "linux-firmware-20250212",
            "linux-firmware-1:20250211",
        ] {
            assert!(!firmware.answers(request), "{request}");
        }
    }

    /// Cases of rpm's own documentation of version comparison.
    #[test]
    fn the_order_is_rpms() {
        let ordered = [
            "1.0~rc1", "1.0", "1.0^git1", "1.0a", "1.0.1", "1.0.2", "1.0.10", "1.1", "2", "10",
        ];
        for (i, left) in ordered.iter().enumerate() {
            for (j, right) in ordered.iter().enumerate() {
                assert_eq!(compare_versions(left, right), i.cmp(&j), "{left} {right}");
            }
        }
        assert_eq!(compare_versions("1.05", "1.5"), Ordering::Equal);
        assert_eq!(compare_versions("1_0", "1.0"), Ordering::Equal);
        assert_eq!(
            compare_versions("284.25.1.rt14.310.el9_2", "284.11.1.rt14.296.el9_2"),
            Ordering::Greater
        );
    }

    proptest! {
        #[test]
        fn an_order_is_an_order(a in "[0-9a-c.~^_]{0,8}", b in "[0-9a-c.~^_]{0,8}", c in "[0-9a-c.~^_]{0,8}") {
            prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
            prop_assert_eq!(compare_versions(&a, &a), Ordering::Equal);
            if compare_versions(&a, &b) == Ordering::Less && compare_versions(&b, &c) == Ordering::Less {
                prop_assert_eq!(compare_versions(&a, &c), Ordering::Less);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            if let Some(nevra) = Nevra::parse(&text) {
                prop_assert_eq!(Nevra::parse(&nevra.to_string()), Some(nevra));
            }
            let _ = compare_versions(&text, "1");
        }
    }
}
