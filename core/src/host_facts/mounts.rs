//! `/proc/…/mountinfo`: where the cgroup hierarchies are. Never assumes a place.

/// As many mounts as are looked at: a busy node has some thousands.
const MAX_MOUNTS: usize = 65_536;

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Where, octal escapes resolved.
    pub point: String,
    /// `cgroup2`, `cgroup`, `tmpfs`, …
    pub file_system: String,
    /// The superblock's options: a cgroup v1 hierarchy names its controllers here.
    pub options: Vec<String>,
}

/// The mounts in the kernel's order; lines that aren't any are left out.
pub fn mountinfo(text: &str) -> Vec<Mount> {
    text.lines().take(MAX_MOUNTS).filter_map(mount).collect()
}

/// `36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/sda rw,errors=continue`
fn mount(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut file_system = file_system.split(' ');
    Some(Mount {
        point: unescaped(mount.split(' ').nth(4)?),
        file_system: file_system.next()?.to_owned(),
        options: file_system
            .nth(1)
            .unwrap_or_default()
            .split(',')
            .map(str::to_owned)
            .collect(),
    })
}

/// Blank, tab, newline and backslash are written as `\040` and so on.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|digits| {
            bytes[at] == b'\\'
                && digits[0] <= b'3'
                && digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
        });
        if let Some(digits) = octal {
            plain.push(digits.iter().fold(0, |value: u8, digit| {
                value.wrapping_mul(8).wrapping_add(digit - b'0')
            }));
            at += 4;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// 2 where controllers can only be in the unified hierarchy; 1 as soon as a v1 hierarchy has a controller (with a
/// unified one beside it for systemd: "hybrid", too). `None` without any.
pub fn cgroup_version(mounts: &[Mount]) -> Option<i64> {
    let v1 = |mount: &Mount| {
        mount.file_system == "cgroup"
            && !mount
                .options
                .iter()
                .any(|option| option.starts_with("name="))
    };
    if mounts.iter().any(v1) {
        Some(1)
    } else if mounts.iter().any(|mount| mount.file_system == "cgroup2") {
        Some(2)
    } else {
        None
    }
}

/// Where a controller's groups are: the v1 hierarchy that has it, else the unified one.
pub fn controller<'a>(mounts: &'a [Mount], name: &str) -> Option<&'a Mount> {
    let v1 = mounts.iter().find(|mount| {
        mount.file_system == "cgroup" && mount.options.iter().any(|option| option == name)
    });
    v1.or_else(|| mounts.iter().find(|mount| mount.file_system == "cgroup2"))
}
