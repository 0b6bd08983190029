//! Tiny packages named as the real kernels are, built by the real rpmbuild, and a commands folder with the real rpm and
//! dnf on an install root. Must not touch this machine's own packages.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;

use realtime_testing::skip;

/// Where Debian has the real programs.
const RPM: &str = "/usr/bin/rpm";
const RPMBUILD: &str = "/usr/bin/rpmbuild";

/// Whether the programs are there; says loudly when they aren't.
pub fn programs_are_there(programs: &[&str]) -> bool {
    let missing: Vec<&&str> = programs
        .iter()
        .filter(|path| !Path::new(path).exists())
        .collect();
    if !missing.is_empty() {
        skip(&format!(
            "not installed: {missing:?}; run hack/setup.sh test"
        ));
    }
    missing.is_empty()
}

/// rpm and rpmbuild are there.
pub fn rpm_is_there() -> bool {
    programs_are_there(&[RPM, RPMBUILD])
}

/// A package to be built.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub release: &'a str,
    /// Lines of the spec: Provides, Requires, Epoch …
    pub tags: &'a [&'a str],
    /// The kernel whose image and modules it holds.
    pub kernel: Option<&'a str>,
    /// Bytes of something that can't be compressed.
    pub filler: usize,
}

impl<'a> Package<'a> {
    pub fn new(name: &'a str, version: &'a str, release: &'a str) -> Self {
        Self {
            name,
            version,
            release,
            tags: &[],
            kernel: None,
            filler: 0,
        }
    }

    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.x86_64.rpm", self.name, self.version, self.release)
    }

    /// Builds it into a folder, and gives its path.
    pub fn build(&self, folder: &Path) -> PathBuf {
        let Self {
            name,
            version,
            release,
            tags,
            kernel,
            filler,
        } = self;
        let work = tempfile::tempdir().unwrap();
        let top = work.path();
        std::fs::write(top.join("filler"), noise(*filler)).unwrap();
        let (install, scripts, files) = match kernel {
            Some(kernel) => (
                format!(
                    "echo image > %{{buildroot}}/boot/vmlinuz-{kernel}\necho initramfs > %{{buildroot}}/boot/initramfs-{kernel}.img"
                ),
                // As kernel-core's scripts do through kernel-install; in Lua, since the root has no shell.
                format!(
                    "%posttrans -p <lua>\nlocal entry = io.open(\"/boot/loader/entries/0123-{kernel}.conf\", \"w\")\n\
                     entry:write(\"title Linux ({kernel})\\nversion {kernel}\\nlinux /vmlinuz-{kernel}\\ninitrd /initramfs-{kernel}.img\\noptions root=UUID=0 ro quiet\\n\")\n\
                     entry:close()\n\n%preun -p <lua>\nos.remove(\"/boot/loader/entries/0123-{kernel}.conf\")\n\n"
                ),
                format!("/boot/vmlinuz-{kernel}\n/boot/initramfs-{kernel}.img"),
            ),
            None => (String::new(), String::new(), String::new()),
        };
        let spec = format!(
            "Name: {name}\nVersion: {version}\nRelease: {release}\nSummary: stands in for the real one in tests\nLicense: MIT\nAutoReqProv: no\n{}\n\
             %description\nTiny.\n%install\nmkdir -p %{{buildroot}}/usr/share/tiny %{{buildroot}}/boot\n\
             cp %{{_topdir}}/filler %{{buildroot}}/usr/share/tiny/{name}-{version}-{release}\n{install}\n{scripts}\
             %files\n/usr/share/tiny/{name}-{version}-{release}\n{files}\n",
            tags.join("\n")
        );
        std::fs::write(top.join("tiny.spec"), spec).unwrap();
        let built = Command::new(RPMBUILD)
            .args(["-bb", "--quiet", "--target", "x86_64"])
            .arg("--define")
            .arg(format!("_topdir {}", top.display()))
            .args([
                "--define",
                "debug_package %{nil}",
                "--define",
                "_build_id_links none",
            ])
            .arg(top.join("tiny.spec"))
            .output()
            .unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        let target = folder.join(self.file_name());
        std::fs::create_dir_all(folder).unwrap();
        std::fs::copy(top.join("RPMS/x86_64").join(self.file_name()), &target).unwrap();
        target
    }
}

/// Bytes that can't be compressed, the same each time.
pub fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// Puts a shell script into a commands folder. Another process writes it: what this one had open for writing, a child of
/// another test's thread has open, too, until it is another program, and so long nobody can run it ("Text file busy").
pub fn script(commands: &Path, name: &str, text: &str) {
    let words = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(words.path(), format!("#!/bin/sh\n{text}\n")).unwrap();
    let mut install = Command::new("install");
    install.arg("-m755").arg(words.path());
    let installed = install.arg(commands.join(name)).status();
    assert!(installed.unwrap().success(), "{name}");
}

/// The real rpm: the files that it is asked of lie below the root, and so does its database.
pub const RPM_SCRIPT: &str = r#"
case $1 in -qa) exec /usr/bin/rpm --root "$REALTIME_HOST_ROOT" "$@" ;; esac
n=$#
while [ "$n" -gt 0 ]; do
    a=$1; shift; n=$((n - 1))
    case $a in /*) a=$REALTIME_HOST_ROOT$a ;; esac
    set -- "$@" "$a"
done
exec /usr/bin/rpm "$@""#;

/// The real dnf on the root: its database, its caches, its repositories. Package files that it is given lie there.
pub const DNF_SCRIPT: &str = r#"
echo "$*" >> "$REALTIME_HOST_ROOT/dnf.log"
root=$REALTIME_HOST_ROOT
n=$#
while [ "$n" -gt 0 ]; do
    a=$1; shift; n=$((n - 1))
    case $a in /*.rpm) a=$root$a ;; esac
    set -- "$@" "$a"
done
exec /usr/bin/dnf --installroot="$root" --releasever=9 --forcearch=x86_64 \
    --setopt=reposdir="$root/etc/yum.repos.d" --setopt=metadata_expire=1h "$@""#;
