//! The files of a host that show what is booted, staged and deployed, written below the simulated root.
//! Must not decide anything.

use std::fs;
use std::path::Path;

use super::state::{Deployment, State};
use super::{StandinError, boot, io};

fn put(root: &Path, path: &str, text: &str) -> Result<(), StandinError> {
    let path = root.join(path);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(io("create", directory))?;
    }
    super::store::write(&path, text.as_bytes())
}

fn remove(root: &Path, path: &str) -> Result<(), StandinError> {
    let path = root.join(path);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io("remove", &path)(error))
        }
        _ => Ok(()),
    }
}

/// Everything that a boot changes. A machine that hangs keeps the files of the boot before: nothing runs on it.
pub fn write(root: &Path, state: &State) -> Result<(), StandinError> {
    let Some(booted) = state
        .booted()
        .and_then(|index| state.deployments.get(index))
    else {
        return Ok(());
    };
    if !state.boot.up {
        return Ok(());
    }
    let kernel = &booted.kernel;
    let osname = &state.osname;
    let checksum = boot::boot_checksum(booted);
    let kargs = booted.kargs.join(" ");
    let image = format!("BOOT_IMAGE=(hd0,gpt3)/ostree/{osname}-{checksum}/vmlinuz-{kernel}");
    put(root, "proc/cmdline", &format!("{image} {kargs}\n"))?;
    put(root, "proc/sys/kernel/osrelease", &format!("{kernel}\n"))?;
    let realtime = boot::is_realtime(kernel);
    let preemption = if realtime {
        "PREEMPT_RT"
    } else {
        "PREEMPT_DYNAMIC"
    };
    put(
        root,
        "proc/version",
        &format!(
            "Linux version {kernel} (stand-in) (gcc) #1 SMP {preemption} Sat Nov 21 00:00:00 UTC 2026\n"
        ),
    )?;
    put(
        root,
        "proc/sys/kernel/random/boot_id",
        &format!("{}\n", state.boot.id),
    )?;
    if realtime {
        put(root, "sys/kernel/realtime", "1\n")?;
    } else {
        remove(root, "sys/kernel/realtime")?;
    }
    put(root, "run/ostree-booted", "")?;
    let version = state
        .commits
        .get(&booted.base)
        .and_then(|commit| commit.base.version.clone());
    put(
        root,
        "etc/os-release",
        &format!(
            "NAME=\"Red Hat Enterprise Linux CoreOS\"\nID=\"rhcos\"\nID_LIKE=\"rhel fedora\"\nVARIANT_ID=coreos\n\
             OSTREE_VERSION=\"{}\"\n",
            version.unwrap_or_default()
        ),
    )?;
    modules(&root.join("usr/lib/modules"), kernel)?;
    write_deployments(root, state)
}

/// What a command changes without a boot: the staged deployment's mark and the deployments' trees.
pub fn write_deployments(root: &Path, state: &State) -> Result<(), StandinError> {
    let staged = state.deployments.iter().find(|one| one.staged);
    match staged {
        Some(one) => put(root, "run/ostree/staged-deployment", &one.id(&state.osname))?,
        None => remove(root, "run/ostree/staged-deployment")?,
    }
    let trees = root.join(format!("ostree/deploy/{}/deploy", state.osname));
    fs::create_dir_all(&trees).map_err(io("create", &trees))?;
    let known = |name: &str| {
        state
            .deployments
            .iter()
            .map(Deployment::directory)
            .any(|one| one == name)
            || state
                .orphans
                .iter()
                .any(|(checksum, serial)| name == format!("{checksum}.{serial}"))
    };
    for entry in fs::read_dir(&trees).map_err(io("read", &trees))?.flatten() {
        if !known(&entry.file_name().to_string_lossy()) {
            fs::remove_dir_all(entry.path()).map_err(io("remove", &entry.path()))?;
        }
    }
    for one in &state.deployments {
        modules(
            &trees.join(one.directory()).join("usr/lib/modules"),
            &one.kernel,
        )?;
    }
    Ok(())
}

fn modules(directory: &Path, kernel: &str) -> Result<(), StandinError> {
    let own = directory.join(kernel);
    if own.is_dir() {
        return Ok(());
    }
    if directory.is_dir() {
        fs::remove_dir_all(directory).map_err(io("remove", directory))?;
    }
    fs::create_dir_all(&own).map_err(io("create", &own))
}

/// One file for each repository.
pub fn write_repositories(
    root: &Path,
    repositories: &[(String, String)],
) -> Result<(), StandinError> {
    for (id, url) in repositories {
        put(
            root,
            &format!("etc/yum.repos.d/{id}.repo"),
            &format!("[{id}]\nname={id}\nbaseurl={url}\nenabled=1\ngpgcheck=0\n"),
        )?;
    }
    Ok(())
}
