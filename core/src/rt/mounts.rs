//! Where the cgroup hierarchies are mounted, from the text of a mountinfo file. Whatever the text, it gives what it
//! understands; whether a mount point can be reached, and whether it shows the hierarchy's root, is for others to see.

/// Longer lists are cut: no host has as many lines.
const MAX_LINES: usize = 1 << 16;

/// A mount of a cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// What of the hierarchy is shown at the point: `/` is all of it. From the reader's cgroup namespace, so the root of
    /// the hierarchy can also be `/..` or `/../..`.
    pub root: String,
    /// The mount point.
    pub point: String,
    /// Which hierarchy.
    pub hierarchy: Hierarchy,
}

/// A cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 1, with the options of its file system: among them its controllers, one (`cpu`) or several
    /// (`cpu`, `cpuacct`).
    V1(Vec<String>),
    /// Version 2, alone or beside version 1.
    V2,
}

impl CgroupMount {
    /// It may show the whole hierarchy: not a group of it mounted by itself, as containers get it.
    pub fn may_be_whole(&self) -> bool {
        self.root == "/"
            || (!self.root.is_empty() && self.root.split('/').skip(1).all(|part| part == ".."))
    }

    /// It is a version 1 hierarchy with this controller.
    pub fn has_v1(&self, controller: &str) -> bool {
        match &self.hierarchy {
            Hierarchy::V1(options) => options.iter().any(|option| option == controller),
            Hierarchy::V2 => false,
        }
    }
}

/// The cgroup mounts of a mountinfo text, the latest first: it is the one that hides others at the same point.
pub fn cgroup_mounts(mountinfo: &str) -> Vec<CgroupMount> {
    let mut mounts: Vec<_> = mountinfo
        .lines()
        .take(MAX_LINES)
        .filter_map(cgroup_mount)
        .collect();
    mounts.reverse();
    mounts
}

/// `32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu`, with any number of optional fields
/// before the `-` (proc_pid_mountinfo(5)).
fn cgroup_mount(line: &str) -> Option<CgroupMount> {
    let mut fields = line.split(' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    let mut fields = fields.skip_while(|field| *field != "-").skip(1);
    let kind = fields.next()?;
    let options = fields.nth(1)?;
    let hierarchy = match kind {
        "cgroup" => Hierarchy::V1(options.split(',').map(str::to_owned).collect()),
        "cgroup2" => Hierarchy::V2,
        _ => return None,
    };
    let mount = CgroupMount {
        root: unescaped(root),
        point: unescaped(point),
        hierarchy,
    };
    (mount.root.starts_with('/') && mount.point.starts_with('/')).then_some(mount)
}

/// The kernel writes a blank, a tab, a line's end and a backslash as three octal digits: `\040`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if first == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(text: &str, controller: &str) -> Vec<String> {
        cgroup_mounts(text)
            .into_iter()
            .filter(|mount| mount.has_v1(controller) && mount.may_be_whole())
            .map(|mount| mount.point)
            .collect()
    }

    #[test]
    fn separate_joint_and_hybrid_mounts() {
        let separate = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
            33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n\
            34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(points(separate, "cpu"), ["/sys/fs/cgroup/cpu"]);
        assert_eq!(points(separate, "cpuacct"), ["/sys/fs/cgroup/cpuacct"]);
        assert_eq!(cgroup_mounts(separate)[0].hierarchy, Hierarchy::V2);
        let joint = "36 25 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 master:2 - cgroup cgroup rw,seclabel,cpu,cpuacct\n";
        assert_eq!(points(joint, "cpu"), ["/sys/fs/cgroup/cpu,cpuacct"]);
        assert_eq!(points(joint, "cpuacct"), ["/sys/fs/cgroup/cpu,cpuacct"]);
        let everything = "30 23 0:26 / /cgroup rw - cgroup none rw,cpuset,cpu,cpuacct,memory\n";
        assert_eq!(points(everything, "cpu"), ["/cgroup"]);
        let unified = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(points(unified, "cpu"), Vec::<String>::new());
        assert_eq!(cgroup_mounts(unified)[0].point, "/sys/fs/cgroup");
    }

    #[test]
    fn a_part_of_a_hierarchy_is_not_the_whole() {
        let text = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            90 31 0:29 /kubepods/pod1/2 /run/3/cpu rw - cgroup cgroup rw,cpu\n\
            91 31 0:29 /../.. /host/sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            92 31 0:29 / /mnt/a\\040b\\134c rw - cgroup cgroup rw,cpu\n";
        assert_eq!(
            points(text, "cpu"),
            [
                "/mnt/a b\\c",
                "/host/sys/fs/cgroup/cpu",
                "/sys/fs/cgroup/cpu"
            ]
        );
    }

    #[test]
    fn a_file_system_of_another_kind_that_says_cpu_is_none() {
        let text = "1 2 0:1 / /a rw - tmpfs cgroup rw,cpu\nrubbish\n\n1 2 0:1 / b rw - cgroup cgroup rw,cpu\n";
        assert_eq!(cgroup_mounts(text), []);
    }

    fn escaped(text: &str) -> String {
        text.chars()
            .map(|char| match char {
                ' ' => "\\040".to_owned(),
                '\t' => "\\011".to_owned(),
                '\n' => "\\012".to_owned(),
                '\\' => "\\134".to_owned(),
                other => other.to_string(),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn any_text_gives_an_answer(text in "([0-9 /a-z,:\\\\\n-]|cgroup2?| - )*") {
            for mount in cgroup_mounts(&text) {
                prop_assert!(mount.point.starts_with('/') && mount.root.starts_with('/'));
            }
        }

        #[test]
        fn what_the_kernel_escapes_comes_back(
            point in "/[a-z \t\n\\\\0-9é]{0,20}",
            root in "(/[a-z \\\\0-9]{1,8}){1,3}",
            optional in prop::collection::vec("(shared|master):[0-9]{1,3}", 0..3),
            controllers in prop::sample::subsequence(vec!["cpu", "cpuacct", "memory"], 0..=3),
        ) {
            let line = format!(
                "36 35 0:29 {} {} rw,noatime {}- cgroup a\\040b rw,{}\n",
                escaped(&root),
                escaped(&point),
                optional.iter().fold(String::new(), |all, one| all + one + " "),
                controllers.join(",")
            );
            let mounts = cgroup_mounts(&line);
            prop_assert_eq!(mounts.len(), 1);
            prop_assert_eq!(&mounts[0].point, &point);
            prop_assert_eq!(&mounts[0].root, &root);
            for controller in ["cpu", "cpuacct", "memory"] {
                prop_assert_eq!(mounts[0].has_v1(controller), controllers.contains(&controller));
            }
        }
    }
}
