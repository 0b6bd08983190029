//! An initramfs as the kernel takes it: a cpio archive of the `newc` kind, not compressed (unpacking costs the emulated
//! machine more than loading). Knows nothing of what is in it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_000;

/// An archive in the making.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    paths: BTreeSet<String>,
}

impl Archive {
    /// Adds a file and the folders above it. The first of a path stays.
    pub fn file(&mut self, path: &str, contents: &[u8], mode: u32) {
        self.add(path, contents, FILE | (mode & 0o7777));
    }

    /// Whether a path is in it.
    pub fn has(&self, path: &str) -> bool {
        self.paths.contains(path.trim_start_matches('/'))
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", &[], 0);
        self.bytes
    }

    fn add(&mut self, path: &str, contents: &[u8], mode: u32) {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            if self.paths.insert(folder.to_owned()) {
                self.entry(folder, &[], FOLDER);
            }
        }
        if self.paths.insert(path.to_owned()) {
            self.entry(path, contents, mode);
        }
    }

    /// A header of 13 numbers of 8 hexadecimal digits, the name with a zero byte, the contents; each padded to 4 bytes.
    fn entry(&mut self, name: &str, contents: &[u8], mode: u32) {
        self.entries += 1;
        let size = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let numbers = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        let mut header = "070701".to_owned();
        for number in numbers {
            // Writing to a String can't fail.
            let _ = write!(header, "{number:08x}");
        }
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_their_files_and_all_is_aligned() {
        let mut archive = Archive::default();
        archive.file("/bin/sh", b"abcde", 0o755);
        archive.file("bin/sh", b"again", 0o755);
        assert!(archive.has("/bin/sh") && archive.has("bin") && !archive.has("/b"));
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let names: Vec<usize> = ["bin\0", "bin/sh\0", "abcde", "TRAILER!!!\0"]
            .iter()
            .map(|name| text.find(name).unwrap())
            .collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(text.matches("070701").count(), 3);
        assert!(!text.contains("again"));
    }
}
