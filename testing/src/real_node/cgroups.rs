//! Where the machine's hierarchies of control groups are mounted, and where in them a node's group is.
//!
//! Must not make or remove a group: `outer.sh` does.

use std::path::{Path, PathBuf};

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Its controllers and options (`rw,cpu,cpuacct`) in the first version, nothing in the second.
    pub options: Option<String>,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.options
            .as_ref()
            .is_some_and(|options| options.split(',').any(|option| option == controller))
    }
}

/// All hierarchies of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies(pub Vec<Hierarchy>);

impl Hierarchies {
    /// From the text of `/proc/self/mountinfo`: those that are mounted as a whole.
    pub fn parse(mountinfo: &str) -> Self {
        Self(
            mountinfo
                .lines()
                .filter_map(|line| {
                    let (mount, kind) = line.split_once(" - ")?;
                    let mount: Vec<&str> = mount.split(' ').collect();
                    let kind: Vec<&str> = kind.split(' ').collect();
                    let (root, point) = (mount.get(3)?, mount.get(4)?);
                    let options = match (*root, *kind.first()?) {
                        ("/", "cgroup") => Some((*kind.get(2)?).to_owned()),
                        ("/", "cgroup2") => None,
                        _ => return None,
                    };
                    Some(Hierarchy {
                        path: PathBuf::from(point),
                        options,
                    })
                })
                .collect(),
        )
    }

    /// The hierarchy that has a controller: its own one of the first version, else the one of the second.
    pub fn of(&self, controller: &str) -> Option<&Path> {
        let first = self.0.iter().find(|hierarchy| hierarchy.has(controller));
        let second = || self.0.iter().find(|hierarchy| hierarchy.options.is_none());
        Some(&first.or_else(second)?.path)
    }

    /// Whether containers are put into groups of the first version.
    pub fn are_first_version(&self) -> bool {
        self.0.iter().any(|hierarchy| hierarchy.has("cpu"))
    }

    /// Whether runc would miss the hierarchy for huge pages, and there is one place for it.
    pub fn lack_hugetlb(&self) -> bool {
        let mut places = self.0.iter().map(|hierarchy| hierarchy.path.parent());
        let first = places.next();
        self.are_first_version()
            && !self.0.iter().any(|hierarchy| hierarchy.has("hugetlb"))
            && places.all(|place| Some(place) == first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_and_joint_mounts_of_the_first_version() {
        let separate = Hierarchies::parse(
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(separate.0.len(), 2);
        assert_eq!(separate.of("cpu"), Some(Path::new("/sys/fs/cgroup/cpu")));
        assert!(separate.are_first_version() && separate.lack_hugetlb());
        let joint = Hierarchies::parse(
            "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n\
             33 31 0:30 / /sys/fs/cgroup/hugetlb rw - cgroup cgroup rw,hugetlb\n",
        );
        assert_eq!(
            joint.of("cpuacct"),
            Some(Path::new("/sys/fs/cgroup/cpu,cpuacct"))
        );
        assert!(!joint.lack_hugetlb());
    }

    #[test]
    fn the_second_version_has_all_controllers() {
        let one = Hierarchies::parse("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert_eq!(one.of("cpu"), Some(Path::new("/sys/fs/cgroup")));
        assert!(!one.are_first_version() && !one.lack_hugetlb());
    }

    #[test]
    fn a_part_of_a_hierarchy_is_none() {
        let text = "30 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\nrubbish\n\n";
        assert_eq!(Hierarchies::parse(text), Hierarchies(Vec::new()));
    }
}
