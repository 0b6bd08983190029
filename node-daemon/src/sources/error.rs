//! Why a package source can't be used: in words, with the remedy, and whether another try may succeed without a change
//! of the profile. Must not try anything itself.

use realtime_core::conditions::reason;
use realtime_core::kernel::Offered;

use crate::host::HostError;

/// Why a package source can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Repositories that are not enabled on the host.
    #[error(
        "These rpm repositories of kernel.packages.source are not enabled on the host: {}. {} Enable them on the host (a file in /etc/yum.repos.d with enabled=1), or name others in the profile.",
        missing.join(", "),
        if there.is_empty() { "The host has none enabled.".to_owned() } else { format!("Enabled there: {}.", there.join(", ")) }
    )]
    NotEnabled {
        /// Those that the profile names.
        missing: Vec<String>,
        /// Those that the host has enabled.
        there: Vec<String>,
    },
    /// An address that can't be asked.
    #[error("The address {url} can't be used: {why}. Correct it in the profile.")]
    Address {
        /// The address.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// No connection to the server.
    #[error(
        "{url} can't be reached: {why}. Check the server, the name service, the proxy of the daemon's environment and, for https, the certificates that the host trusts."
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What happened.
        why: String,
    },
    /// The server refused.
    #[error(
        "The server answered {status} for {url}. {}",
        if is_transient(*status) { "It may serve it later." } else { "Put the file there, or correct the address in the profile." }
    )]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server leads from one address to the next.
    #[error(
        "{url} leads on more than {} times, the last time to {last}. Correct the server, or name the file's own address in the profile.",
        super::download::REDIRECTS
    )]
    Redirects {
        /// The address.
        url: String,
        /// Where the last answer leads.
        last: String,
    },
    /// Nothing comes any more.
    #[error(
        "{url} sent nothing for {seconds} s. What came is kept, and the download goes on from there; check the server and the network."
    )]
    Stalled {
        /// The address.
        url: String,
        /// So long was waited.
        seconds: u64,
    },
    /// The connection broke in the middle.
    #[error(
        "The download of {url} broke off after {got} bytes ({why}). What came is kept, and the download goes on from there."
    )]
    Broken {
        /// The address.
        url: String,
        /// What is there.
        got: u64,
        /// What happened.
        why: String,
    },
    /// More than a package has.
    #[error(
        "{what} has more than {} MiB, more than any package that is taken. Name another file in the profile.", limit >> 20
    )]
    TooBig {
        /// The address or the path.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// All packages together are more than the cache may hold.
    #[error(
        "The packages that the profile names have together more than {} MiB, more than {} may hold. Name fewer.",
        limit >> 20,
        super::cache::FOLDER
    )]
    CacheTooSmall {
        /// The limit in bytes.
        limit: u64,
    },
    /// The disk is full.
    #[error(
        "There is no room for {what} in {folder} of the host: {} MiB are needed and {} MiB are free. Make room on that file system; it is tried again.",
        needed.div_ceil(1 << 20),
        free >> 20
    )]
    NoSpace {
        /// What does not fit.
        what: String,
        /// Where.
        folder: String,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// Another file than the one that was meant.
    #[error(
        "{url} is not the file that the profile means: its SHA-256 is {got}, and {wanted} is wanted. Nothing of it is used. Put the right file there, or correct sha256 in the profile."
    )]
    Checksum {
        /// The address.
        url: String,
        /// The profile's.
        wanted: String,
        /// The file's.
        got: String,
    },
    /// A directory that can't be used.
    #[error(
        "The directory {directory} of the host can't be used: {why}. Put the RPM files of the real-time kernel there; it is looked at again."
    )]
    Directory {
        /// The directory.
        directory: String,
        /// What is wrong.
        why: String,
    },
    /// A file that is no good package.
    #[error("{file} is no whole RPM package: {why}. Put the right file in its place.")]
    Damaged {
        /// The file, or its address.
        file: String,
        /// rpm's words.
        why: String,
    },
    /// podman is not there.
    #[error(
        "The packages come from a container image, and the host has no podman to read it. Install podman there, or name another source in the profile."
    )]
    NoPodman,
    /// An image that can't be read.
    #[error("The image {reference} can't be read: {why}. {remedy}")]
    Image {
        /// The image.
        reference: String,
        /// podman's words.
        why: String,
        /// What helps.
        remedy: &'static str,
        /// Whether another try may help.
        transient: bool,
    },
    /// An image without what is looked for.
    #[error(
        "The image {reference} has no RPM files of a kernel below {path}. Correct kernel.packages.source.image.path in the profile."
    )]
    ImageEmpty {
        /// The image.
        reference: String,
        /// Where was looked.
        path: String,
    },
    /// The host itself.
    #[error("The host's package cache can't be used: {0}. Look at the host; it is tried again.")]
    Host(#[from] HostError),
}

/// Whether a server that answers so may answer otherwise later.
fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

impl SourceError {
    /// The condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSpace { .. } => reason::NO_SPACE_IN_SYSROOT,
            Self::Checksum { .. } => reason::CHECKSUM_WRONG,
            Self::Damaged { .. } => reason::PACKAGE_DAMAGED,
            Self::ImageEmpty { .. } => reason::PACKAGES_NOT_FOUND,
            Self::NotEnabled { .. }
            | Self::Address { .. }
            | Self::Unreachable { .. }
            | Self::Status { .. }
            | Self::Redirects { .. }
            | Self::Stalled { .. }
            | Self::Broken { .. }
            | Self::TooBig { .. }
            | Self::CacheTooSmall { .. }
            | Self::Directory { .. }
            | Self::NoPodman
            | Self::Image { .. }
            | Self::Host(_) => reason::SOURCE_UNUSABLE,
        }
    }

    /// Whether another try may succeed without a change of the profile: the network, and what an administrator puts
    /// right on the host.
    pub fn transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => is_transient(*status),
            Self::Image { transient, .. } => *transient,
            Self::NotEnabled { .. }
            | Self::Unreachable { .. }
            | Self::Stalled { .. }
            | Self::Broken { .. }
            | Self::NoSpace { .. }
            | Self::Directory { .. }
            | Self::Host(_) => true,
            Self::Address { .. }
            | Self::Redirects { .. }
            | Self::TooBig { .. }
            | Self::CacheTooSmall { .. }
            | Self::Checksum { .. }
            | Self::Damaged { .. }
            | Self::NoPodman
            | Self::ImageEmpty { .. } => false,
        }
    }

    /// As the decision takes it.
    pub fn offered(&self) -> Offered {
        Offered::Failed {
            reason: self.reason(),
            message: self.to_string(),
            transient: self.transient(),
        }
    }
}
