//! The unified hierarchy, where this machine has one (also beside version 1).

use std::fs;
use std::path::{Path, PathBuf};

use realtime_node_daemon::cgroup::{Mounts, V2};
use realtime_node_daemon::host::Host;
use realtime_testing::skip;

use super::bench::{put, remove_left_behind};
use super::task::{LIMIT, Task, within};

struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        for path in [
            self.0.join("pod/container"),
            self.0.join("pod"),
            self.0.clone(),
        ] {
            within(LIMIT, || fs::remove_dir(&path).is_ok() || !path.exists());
        }
    }
}

#[test]
fn threads_and_groups_of_version_2() {
    let host = Host::new("/", None);
    let Some(mount) = Mounts::read(&host).unwrap().v2 else {
        return skip::skip("this machine has no cgroup v2");
    };
    if !rustix::process::geteuid().is_root() {
        return skip::skip("groups are made by root only");
    }
    remove_left_behind(Path::new(&mount));
    let v2 = V2::open(&host, &mount).unwrap();
    let top = format!("/realtime-kernel-tables-{}", std::process::id());
    let group = Group(PathBuf::from(format!("{mount}{top}")));
    let (pod, container) = (format!("{top}/pod"), format!("{top}/pod/container"));
    fs::create_dir_all(group.0.join("pod/container")).unwrap();
    assert_eq!(
        v2.groups_below(&top).unwrap(),
        [pod.clone(), container.clone()]
    );
    assert!(!v2.populated(&pod).unwrap());
    let task = Task::sleeper();
    put(
        &group.0.join("pod/container/cgroup.procs"),
        &task.pid().to_string(),
    )
    .unwrap();
    assert!(v2.populated(&pod).unwrap() && v2.populated("/").unwrap());
    assert_eq!(v2.processes(&container).unwrap(), [task.pid()]);
    assert_eq!(v2.threads(&container).unwrap(), [task.pid()]);
    assert!(v2.threads(&pod).unwrap().is_empty());
    assert_eq!(v2.group_of(task.pid()).unwrap(), Some(container.clone()));
    task.end();
    assert!(within(LIMIT, || !v2.populated(&pod).unwrap()));
    drop(group);
    assert_eq!(v2.groups_below(&top).unwrap(), Vec::<String>::new());
    assert!(v2.threads(&container).unwrap().is_empty());
    assert!(!v2.populated(&container).unwrap());
}
