//! An executable with the shared libraries that it needs, by the word of the system's own loader.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Error;
use super::initramfs::Archive;

/// Adds an executable, and its libraries at the paths at which the loader found them.
pub fn add(archive: &mut Archive, program: &Path, guest: &str) -> Result<(), Error> {
    archive.file(guest, &stripped(program)?, 0o755);
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .map_err(Error::io("starting ldd for", program))?;
    // Of a static one it says so, and fails.
    for library in libraries(&String::from_utf8_lossy(&output.stdout)) {
        if !archive.has(&library) {
            let bytes = fs::read(&library).map_err(Error::io("reading", &library))?;
            archive.file(&library, &bytes, 0o755);
        }
    }
    Ok(())
}

/// The paths in `libc.so.6 => /lib/…/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn libraries(ldd: &str) -> Vec<String> {
    ldd.lines()
        .filter_map(|line| {
            let line = line.trim();
            let path = line.split_once(" => ").map_or(line, |(_, path)| path);
            let path = path.split_once(" (")?.0;
            path.starts_with('/').then(|| path.to_owned())
        })
        .collect()
}

/// Without debug information, a fifth of the size; as it is when there is no `strip`.
fn stripped(program: &Path) -> Result<Vec<u8>, Error> {
    let folder = tempfile::tempdir().map_err(Error::io("making a folder in", "/tmp"))?;
    let small = folder.path().join("program");
    let strip = Command::new("strip")
        .arg("-o")
        .arg(&small)
        .arg(program)
        .output();
    let path = match strip {
        Ok(output) if output.status.success() => &small,
        _ => program,
    };
    fs::read(path).map_err(Error::io("reading", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_names_paths() {
        let text = "\tlinux-vdso.so.1 (0x00007f4e)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f4e)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f4e)\n\tlibnone.so => not found\n";
        assert_eq!(
            libraries(text),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert!(libraries("\tstatically linked\n").is_empty());
    }
}
