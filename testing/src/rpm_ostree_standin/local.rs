//! Local packages: `.rpm` files, of which only the header is read, and text files that say that they stand in for one.
//! Must not unpack anything.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::boot::hex;
use super::package::Package;
use super::state::{State, Version};

/// A text file that begins so stands in for a package.
pub const MARK: &str = "stand-in package: ";

/// A local file's package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalPackage {
    /// What it is.
    pub package: Package,
    /// SHA-256 of the content; of the header in a real one.
    pub sha256: String,
}

/// What came of an argument that names a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opened {
    /// A package.
    Package(Box<LocalPackage>),
    /// The client can't open or download it: the text after `Handling argument`.
    Unopened(String),
    /// The daemon can't read it.
    Unreadable(String),
}

/// Whether an argument is a file or an address and not a name.
pub fn is_file(argument: &str) -> bool {
    argument.starts_with("http://")
        || argument.starts_with("https://")
        || argument.starts_with("file://")
        || has_rpm_suffix(argument)
}

fn has_rpm_suffix(argument: &str) -> bool {
    Path::new(argument)
        .extension()
        .is_some_and(|extension| extension == "rpm")
}

/// Where a file is that a command names: an absolute path is the simulated host's, where it is there.
pub fn locate(root: &Path, directory: &Path, name: &str) -> std::path::PathBuf {
    let on_host = root.join(name.trim_start_matches('/'));
    if name.starts_with('/') && on_host.exists() {
        return on_host;
    }
    directory.join(name)
}

/// Opens a file, or downloads it from what the state says is served. `out` gets the client's progress.
pub fn open(
    state: &State,
    root: &Path,
    directory: &Path,
    argument: &str,
    out: &mut Vec<String>,
) -> Opened {
    let path = if argument.starts_with("http://") || argument.starts_with("https://") {
        match download(state, argument) {
            Ok(path) => {
                out.push(format!("Downloading {argument}...done"));
                path
            }
            Err(text) => {
                out.push(format!("Downloading {argument}...failed"));
                return Opened::Unopened(format!("{argument}: {text}"));
            }
        }
    } else {
        locate(
            root,
            directory,
            argument.strip_prefix("file://").unwrap_or(argument),
        )
    };
    match read(&path) {
        Ok(package) => Opened::Package(Box::new(package)),
        Err(ReadError::Io(source)) => Opened::Unopened(format!("{argument}: {source}")),
        Err(ReadError::Format(text)) => Opened::Unreadable(text.to_owned()),
    }
}

fn download(state: &State, url: &str) -> Result<std::path::PathBuf, String> {
    let authority = super::repositories::authority(url);
    let known = state
        .files
        .keys()
        .chain(state.web.keys())
        .any(|one| super::repositories::authority(one) == authority);
    if !known {
        let refused = "tcp connect error: Connection refused (os error 111)";
        return Err(match state.version {
            Version::V2023_2 => format!(
                "error sending request for url ({url}): error trying to connect: {refused}: error trying to connect: \
                 {refused}: {refused}: Connection refused (os error 111)"
            ),
            Version::V2024_7 => format!(
                "error sending request for url ({url}): client error (Connect): {refused}: Connection refused (os \
                 error 111)"
            ),
        });
    }
    let found = state.files.iter().find_map(|(prefix, directory)| {
        let name = url.strip_prefix(prefix.as_str())?.trim_start_matches('/');
        let path = directory.join(name);
        path.is_file().then_some(path)
    });
    found.ok_or_else(|| format!("HTTP status client error (404 Not Found) for url ({url})"))
}

/// Why a file is no package.
#[derive(Debug)]
pub enum ReadError {
    /// It can't be read.
    Io(std::io::Error),
    /// It isn't one; rpm-ostree's text.
    Format(&'static str),
}

/// Reads a package file.
pub fn read(path: &Path) -> Result<LocalPackage, ReadError> {
    let content = std::fs::read(path).map_err(ReadError::Io)?;
    if content.starts_with(&[0xed, 0xab, 0xee, 0xdb]) {
        return read_rpm(&content);
    }
    let first = content
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let nevra = std::str::from_utf8(first)
        .ok()
        .and_then(|line| line.strip_prefix(MARK));
    let package = nevra.and_then(|nevra| Package::from_nevra(nevra.trim()));
    match package {
        Some(package) if content.ends_with(b"\n") => Ok(LocalPackage {
            package,
            sha256: hex(&[&content]),
        }),
        Some(_) => Err(ReadError::Format("Reading rpm2cpio: truncated gzip input")),
        None => Err(ReadError::Format(
            "Reading rpm2cpio: Unrecognized archive format",
        )),
    }
}

/// Size of the lead, the part before the first header.
const LEAD: usize = 96;

fn read_rpm(content: &[u8]) -> Result<LocalPackage, ReadError> {
    const BAD: ReadError = ReadError::Format("Reading rpm2cpio: Unrecognized archive format");
    let signature = Header::at(content, LEAD).ok_or(BAD)?;
    // The signature is padded to eight bytes.
    let start = signature.end.next_multiple_of(8);
    let header = Header::at(content, start).ok_or(BAD)?;
    // Tag 1000 of the signature, or 270 for a long one, is the size of header and payload.
    let size = signature.number(1000);
    if size.is_some_and(|size| content.len() - start < size as usize) {
        return Err(ReadError::Format("Reading rpm2cpio: truncated gzip input"));
    }
    let text = |tag| header.text(tag);
    let (Some(name), Some(version), Some(release), Some(arch)) =
        (text(1000), text(1001), text(1002), text(1022))
    else {
        return Err(BAD);
    };
    let epoch = header.number(1003).unwrap_or(0);
    let nevra = format!("{name}-{epoch}:{version}-{release}.{arch}");
    let package = Package::from_nevra(&nevra).ok_or(BAD)?;
    Ok(LocalPackage {
        package,
        sha256: hex(&[content.get(start..header.end).unwrap_or_default()]),
    })
}

/// One header of a package file: an index of 16-byte entries and a store.
struct Header<'a> {
    index: &'a [u8],
    store: &'a [u8],
    end: usize,
}

impl<'a> Header<'a> {
    fn at(content: &'a [u8], start: usize) -> Option<Self> {
        let head = content.get(start..start + 16)?;
        if !head.starts_with(&[0x8e, 0xad, 0xe8]) {
            return None;
        }
        let entries = number(head.get(8..12)?)? as usize;
        let size = number(head.get(12..16)?)? as usize;
        let index_end = start
            .checked_add(16)?
            .checked_add(entries.checked_mul(16)?)?;
        let end = index_end.checked_add(size)?;
        Some(Self {
            index: content.get(start + 16..index_end)?,
            store: content.get(index_end..end)?,
            end,
        })
    }

    fn offset(&self, tag: u32) -> Option<usize> {
        self.index
            .chunks_exact(16)
            .find(|entry| entry.get(0..4).and_then(number) == Some(tag))
            .and_then(|entry| entry.get(8..12).and_then(number))
            .map(|offset| offset as usize)
    }

    fn text(&self, tag: u32) -> Option<String> {
        let rest = self.store.get(self.offset(tag)?..)?;
        let text = rest.split(|byte| *byte == 0).next()?;
        String::from_utf8(text.to_vec()).ok()
    }

    fn number(&self, tag: u32) -> Option<u32> {
        let offset = self.offset(tag)?;
        number(self.store.get(offset..offset + 4)?)
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "headers of a few bytes")]
mod tests {
    use super::*;

    #[test]
    fn a_text_file_stands_in_for_a_package() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.rpm");
        std::fs::write(&path, "stand-in package: tuned-rt-2.20-1.el9.noarch\n").unwrap();
        assert_eq!(read(&path).unwrap().package.name, "tuned-rt");
        std::fs::write(&path, "garbage").unwrap();
        assert!(
            matches!(read(&path), Err(ReadError::Format(text)) if text.contains("Unrecognized"))
        );
        std::fs::write(&path, "stand-in package: tuned-rt-2.20-1.el9.noarch").unwrap();
        assert!(matches!(read(&path), Err(ReadError::Format(text)) if text.contains("truncated")));
    }

    #[test]
    fn a_real_files_header_is_read() {
        let header = |entries: &[(u32, u32, &[u8])]| {
            let mut store = Vec::new();
            let mut index = Vec::new();
            for (tag, kind, value) in entries {
                for number in [*tag, *kind, store.len() as u32, 1] {
                    index.extend(number.to_be_bytes());
                }
                store.extend_from_slice(value);
            }
            let mut bytes = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
            bytes.extend((entries.len() as u32).to_be_bytes());
            bytes.extend((store.len() as u32).to_be_bytes());
            bytes.extend(index);
            bytes.extend(store);
            bytes
        };
        let main = header(&[
            (1003, 4, &4_u32.to_be_bytes()),
            (1000, 6, b"microcode_ctl\0"),
            (1001, 6, b"20230808\0"),
            (1002, 6, b"2.el9\0"),
            (1022, 6, b"noarch\0"),
        ]);
        let mut content = vec![0xed, 0xab, 0xee, 0xdb];
        content.resize(LEAD, 0);
        content.extend(header(&[(1000, 4, &(main.len() as u32 + 2).to_be_bytes())]));
        content.resize(content.len().next_multiple_of(8), 0);
        content.extend(&main);
        content.extend(b"xx");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.rpm");
        std::fs::write(&path, &content).unwrap();
        assert_eq!(
            read(&path).unwrap().package.nevra(),
            "microcode_ctl-4:20230808-2.el9.noarch"
        );
        std::fs::write(&path, &content[..content.len() - 1]).unwrap();
        assert!(matches!(read(&path), Err(ReadError::Format(text)) if text.contains("truncated")));
    }
}
