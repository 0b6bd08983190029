//! How much and how long, where packages are fetched. Numbers only.

use std::time::Duration;

/// How much and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one package. The largest of a kernel (kernel-debug's debuginfo aside) has 150 MB.
    pub file: u64,
    /// Bytes of all packages in the cache.
    pub cache: u64,
    /// Bytes that stay free on the cache's file system: it is the host's /var, where others must go on.
    pub reserve: u64,
    /// To resolve, connect and shake hands, and until an answer begins.
    pub connect: Duration,
    /// Without a byte.
    pub stall: Duration,
    /// How often a download that broke off goes on at once; it goes on later after that.
    pub resumes: u32,
    /// RPM files in one directory or image.
    pub files: usize,
    /// Entries that are looked at in an image's folders.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file: 1 << 30,
            cache: 4 << 30,
            reserve: 256 << 20,
            connect: Duration::from_mins(1),
            stall: Duration::from_mins(1),
            resumes: 5,
            files: 512,
            entries: 50_000,
        }
    }
}
