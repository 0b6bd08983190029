//! Where the packages come from: repositories, addresses with a checksum, a directory, a container image. Makes files
//! ready on the host and says what they are; decides nothing about the kernel.

use realtime_core::kernel::{Offered, Wanted};

use crate::host::Host;

pub mod repositories;

/// Makes what a profile names ready on the host.
pub async fn prepare(host: &Host, wanted: &Wanted) -> Offered {
    let _ = (host, wanted);
    Offered::Repositories
}
