//! The images of the tests, made here out of files of this machine: archives as `docker save` writes
//! them, which both runtimes import. Must not fetch anything.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::Error;

/// An image with one layer.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// With registry and tag, `realtime.test/busybox:1`: a tag other than `latest`, so that no runtime
    /// asks the registry, which doesn't exist.
    pub name: String,
    /// The path in the image, without the leading slash, and the file out here. All become executable.
    pub files: Vec<(String, PathBuf)>,
    /// The path in the image and where the link points.
    pub links: Vec<(String, String)>,
    /// What runs when the pod names no command.
    pub entrypoint: Vec<String>,
}

/// The image with only `/pause`.
pub fn pause(work: &Path) -> Result<Image, Error> {
    Ok(Image {
        name: super::PAUSE_IMAGE.to_owned(),
        files: vec![(
            "pause".to_owned(),
            compile(work, "pause", include_str!("pause.c"))?,
        )],
        entrypoint: vec!["/pause".to_owned()],
        ..Image::default()
    })
}

/// The image with Debian's static busybox as all its commands, and `first-act` (see its source).
pub fn busybox(work: &Path) -> Result<Image, Error> {
    let listed = run(Command::new("busybox").arg("--list"))?;
    let links = listed
        .lines()
        .filter(|applet| *applet != "busybox")
        .map(|applet| (format!("bin/{applet}"), "busybox".to_owned()))
        .collect();
    Ok(Image {
        name: super::BUSYBOX_IMAGE.to_owned(),
        files: vec![
            ("bin/busybox".to_owned(), find("busybox")?),
            (
                "bin/first-act".to_owned(),
                compile(work, "first-act", include_str!("first-act.c"))?,
            ),
        ],
        links,
        entrypoint: vec!["/bin/sh".to_owned()],
    })
}

impl Image {
    /// Writes the archive `work/NAME.tar` and returns its path. `work` is for this alone.
    pub fn archive(&self, work: &Path) -> Result<PathBuf, Error> {
        let plain = self.name.replace(['/', ':'], "_");
        let (root, parts) = (work.join(format!("{plain}.root")), work.join(&plain));
        for directory in [&root, &parts] {
            fs::create_dir(directory).map_err(Error::io("creating", directory))?;
        }
        for directory in ["etc", "proc", "sys", "dev", "tmp", "bin"] {
            let path = root.join(directory);
            fs::create_dir(&path).map_err(Error::io("creating", &path))?;
        }
        for (inside, outside) in &self.files {
            let path = root.join(inside);
            make_parent(&path)?;
            fs::copy(outside, &path)
                .and_then(|_| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
                .map_err(Error::io("copying into an image", outside))?;
        }
        for (inside, target) in &self.links {
            let path = root.join(inside);
            make_parent(&path)?;
            symlink(target, &path).map_err(Error::io("linking", &path))?;
        }

        let layer = parts.join("layer.tar");
        pack(&root, &layer)?;
        let digest = sha256(&fs::read(&layer).map_err(Error::io("reading", &layer))?);
        let configuration = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "Env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"],
                "WorkingDir": "/",
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        })
        .to_string();
        let name = format!("{}.json", sha256(configuration.as_bytes()));
        let manifest = json!([{
            "Config": name, "RepoTags": [self.name], "Layers": ["layer.tar"],
        }]);
        for (name, content) in [
            (name.as_str(), configuration),
            ("manifest.json", manifest.to_string()),
        ] {
            let path = parts.join(name);
            fs::write(&path, content).map_err(Error::io("writing", &path))?;
        }
        let archive = work.join(format!("{plain}.tar"));
        pack(&parts, &archive)?;
        Ok(archive)
    }
}

/// As Go and the registries call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn make_parent(path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), |parent| {
        fs::create_dir_all(parent).map_err(Error::io("creating", parent))
    })
}

/// The same bytes for the same files.
fn pack(directory: &Path, archive: &Path) -> Result<(), Error> {
    run(Command::new("tar")
        .args(["--create", "--sort=name", "--mtime=@0", "--numeric-owner"])
        .args(["--owner=0", "--group=0", "--format=pax"])
        .args(["--pax-option=delete=atime,delete=ctime", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(directory)
        .args(
            fs::read_dir(directory)
                .map_err(Error::io("reading", directory))?
                .flatten()
                .map(|entry| entry.file_name()),
        ))?;
    Ok(())
}

/// A static program, so that it needs nothing else in its image.
pub fn compile(work: &Path, name: &str, source: &str) -> Result<PathBuf, Error> {
    let (program, file) = (work.join(name), work.join(format!("{name}.c")));
    fs::write(&file, source).map_err(Error::io("writing", &file))?;
    run(Command::new("cc")
        .args(["-std=gnu99", "-Os", "-Wall", "-static", "-o"])
        .arg(&program)
        .arg(&file))?;
    Ok(program)
}

fn find(program: &str) -> Result<PathBuf, Error> {
    std::env::var_os("PATH")
        .and_then(|path| {
            std::env::split_paths(&path)
                .map(|directory| directory.join(program))
                .find(|path| path.is_file())
        })
        .ok_or_else(|| {
            Error::io("looking for", Path::new(program))(io::Error::from(io::ErrorKind::NotFound))
        })
}

/// What the command prints; its standard error is in the error.
pub fn run(command: &mut Command) -> Result<String, Error> {
    let ran = command.output();
    let failed = |reason| Error::Command {
        command: format!("{command:?}"),
        reason,
    };
    let output = ran.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    Err(failed(format!(
        "{}: {}",
        output.status,
        lines[lines.len().saturating_sub(10)..].join("\n")
    )))
}

fn sha256(data: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(data) {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
