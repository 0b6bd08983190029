//! What an RPM file is, by the host's own rpm. Must not install, and must not trust a file's name.

use std::io::Read as _;
use std::time::Duration;

use realtime_core::api::realtime_profile::PackagesSpec;
use realtime_core::kernel::Nevra;

use super::error::SourceError;
use crate::host::{Host, HostError};

/// rpm reads a header in milliseconds; the digest of a whole file takes a second.
const LIMIT: Duration = Duration::from_mins(2);
/// What every RPM file begins with. rpm takes a file that doesn't for a list of other files.
const MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// A source package says so by a tag of its own: its architecture is that of the machine it was built on.
const FORMAT: &str = "%{SOURCEPACKAGE} %{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\\n";

/// The package in a file. `whole`: its digests are checked, too; what was downloaded was checked by its SHA-256.
/// Signatures are not: the profile's checksum, or who may write to the directory, is what is trusted.
pub async fn package(host: &Host, path: &str, whole: bool) -> Result<Nevra, SourceError> {
    let damaged = |why: String| SourceError::Damaged {
        file: path.to_owned(),
        why,
    };
    let mut magic = [0; 4];
    if host.open(path)?.read_exact(&mut magic).is_err() || magic != MAGIC {
        return Err(damaged("it does not begin as one".to_owned()));
    }
    let asked = |result: Result<String, HostError>| match result {
        Ok(stdout) => Ok(stdout),
        Err(HostError::Failed { stderr, .. }) => Err(damaged(stderr)),
        Err(error) => Err(error.into()),
    };
    let query = ["rpm", "-qp", "--nosignature", "--queryformat", FORMAT, path];
    let stdout = asked(host.run(&query, LIMIT).await.map(|output| output.stdout))?;
    let package = stdout
        .lines()
        .next()
        .and_then(|line| line.trim().split_once(' '))
        .and_then(|(source, text)| Some((source, Nevra::parse(text)?)));
    let package = match package {
        Some(("(none)", package)) => package,
        Some(_) => return Err(damaged("it is a source package".to_owned())),
        None => return Err(damaged(format!("rpm says {:?} of it", stdout.trim()))),
    };
    if whole {
        let check = ["rpm", "--checksig", "--nosignature", path];
        // What is wrong is on stdout; rpm's exit code is what counts.
        asked(host.run(&check, LIMIT).await.map(|output| output.stdout)).map_err(|error| {
            match error {
                SourceError::Damaged { file, why } if why.is_empty() => SourceError::Damaged {
                    file,
                    why: "its digests are wrong: it was cut or changed".to_owned(),
                },
                other => other,
            }
        })?;
    }
    Ok(package)
}

/// Whether a file's name is one that can be a package's, and can be given to rpm, which takes `*` and `[` for patterns.
pub fn is_package_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+~^:-".contains(c);
    // As rpm and createrepo take it: in small letters.
    name.strip_suffix(".rpm")
        .is_some_and(|stem| stem.strip_suffix(".src").is_none())
        && !name.starts_with('-')
        && name.chars().all(plain)
}

/// Whether a file can be meant, by its name: folders and images hold far more than a kernel.
pub fn is_meant(name: &str, packages: &PackagesSpec) -> bool {
    let begins = |request: &str| {
        name.strip_prefix(request)
            .is_some_and(|rest| rest.starts_with('-'))
    };
    if packages.install.is_empty() {
        // A debug kernel is a kernel of its own.
        return begins("kernel-rt") && !begins("kernel-rt-debug");
    }
    packages.install.iter().any(|request| {
        begins(request) || Nevra::parse(request).is_some_and(|request| begins(&request.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packages() {
        assert!(is_package_name("kernel-rt-core-5.14.0-427.el9.x86_64.rpm"));
        assert!(is_package_name("a-1~rc1^git-1.noarch.rpm"));
        for wrong in [
            "a.src.rpm",
            "a.txt",
            "a[1].rpm",
            "*.rpm",
            "-a.rpm",
            "a b.rpm",
            "ä.rpm",
        ] {
            assert!(!is_package_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_is_meant() {
        let all = PackagesSpec::default();
        assert!(is_meant("kernel-rt-modules-extra-5-1.x.rpm", &all));
        assert!(!is_meant("kernel-rt-debug-core-5-1.x.rpm", &all));
        assert!(!is_meant("kernel-core-5-1.x.rpm", &all));
        let some = PackagesSpec {
            install: vec!["tuna".into(), "kernel-rt-core-5.14.0-1.el9.x86_64".into()],
            ..PackagesSpec::default()
        };
        assert!(is_meant("tuna-0.18-1.noarch.rpm", &some));
        assert!(!is_meant("tunables-1-1.noarch.rpm", &some));
        assert!(is_meant("kernel-rt-core-5.14.0-1.el9.x86_64.rpm", &some));
    }
}
