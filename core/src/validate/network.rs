//! Network devices: names that match what they say, and nothing that reaches beyond their line.

use super::text::one_line;
use crate::api::realtime_profile::{NetworkDevice, NetworkSpec};
use crate::problem::{Problem, Problems};
use crate::validate::valid_profile::ValidCpus;

/// Longest name of an interface: the kernel's IFNAMSIZ without its end.
const MAX_NAME: usize = 15;

/// `Some` when queues are limited.
pub(super) fn check(
    spec: Option<&NetworkSpec>,
    cpus: Option<&ValidCpus>,
    problems: &mut Problems,
) -> Option<Vec<NetworkDevice>> {
    let NetworkSpec {
        limit_queues_to_reserved,
        devices,
    } = spec?;
    let limited = limit_queues_to_reserved.unwrap_or_default();
    if limited && cpus.is_none_or(|cpus| cpus.reserved.is_empty()) {
        problems.push(Problem::error(
            "spec.network.limitQueuesToReserved",
            "true",
            "no CPUs are reserved, so there is no number of queues",
            "set spec.cpu.reserved, or remove it",
        ));
    }
    if !limited && !devices.is_empty() {
        problems.push(Problem::warning(
            "spec.network.devices",
            "",
            "has no effect without limitQueuesToReserved: true",
            "set that, or remove the devices",
        ));
    }
    for (index, device) in devices.iter().enumerate() {
        check_device(device, &format!("spec.network.devices[{index}]"), problems);
    }
    limited.then(|| devices.clone())
}

fn check_device(device: &NetworkDevice, field: &str, problems: &mut Problems) {
    let NetworkDevice {
        interface_name,
        vendor_id,
        device_id,
    } = device;
    if interface_name.is_none() && vendor_id.is_none() {
        problems.push(Problem::error(
            field,
            "",
            "names no device",
            "set interfaceName or vendorID",
        ));
    }
    if device_id.is_some() && vendor_id.is_none() {
        problems.push(Problem::error(
            field,
            "",
            "deviceID needs vendorID: device ids are the vendor's own",
            "add vendorID",
        ));
    }
    for (name, id) in [("vendorID", vendor_id), ("deviceID", device_id)] {
        let Some(id) = id else { continue };
        let hex = id.strip_prefix("0x").is_some_and(|digits| {
            digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        });
        if !hex {
            problems.push(Problem::error(
                format!("{field}.{name}"),
                id.escape_debug(),
                "is no PCI id",
                "write 0x and four hexadecimal digits, as in 0x8086",
            ));
        }
    }
    let Some(name) = interface_name else { return };
    let field = format!("{field}.interfaceName");
    if !one_line(&field, name, problems) {
        return;
    }
    let bare = name.strip_prefix('!').unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:*?-".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(allowed) {
        problems.push(Problem::error(
            field,
            name,
            "is no interface name",
            "use letters, digits, '.', '_', ':', '-' and the wildcards * and ?; a leading ! excludes",
        ));
    } else if bare.bytes().filter(|byte| *byte != b'*').count() > MAX_NAME {
        problems.push(Problem::error(
            field,
            name,
            format!("matches no interface: names have at most {MAX_NAME} characters"),
            "shorten it",
        ));
    }
}
