//! Network devices as a pattern for TuneD. It searches a text with one `KEY=value` line for each udev property, sorted
//! by key, in multi-line mode: so the keys must come in that order, and each value be anchored, or `eth1` finds `eth10`.

use crate::api::realtime_profile::NetworkDevice;

/// What stands between two lines that are looked for.
const ANYTHING: &str = r"[\s\S]*";

/// One pattern for all entries; `None` for all physical devices.
///
/// A device matches when it has everything that one entry names, and no entry that only excludes names it.
pub(super) fn devices_udev_regex(devices: &[NetworkDevice]) -> Option<String> {
    let (excluding, including): (Vec<_>, Vec<_>) = devices.iter().partition(|device| {
        device.vendor_id.is_none()
            && device
                .interface_name
                .as_deref()
                .is_some_and(|name| name.starts_with('!'))
    });
    let excluded: Vec<String> = excluding
        .iter()
        .filter_map(|device| device.interface_name.as_deref()?.strip_prefix('!'))
        .map(glob)
        .collect();
    let mut patterns: Vec<String> = including
        .iter()
        .map(|device| entry(device, &excluded))
        .collect();
    if patterns.is_empty() && !excluded.is_empty() {
        patterns.push(entry(&NetworkDevice::default(), &excluded));
    }
    patterns.retain(|pattern| !pattern.is_empty());
    patterns.dedup();
    match patterns.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(
            several
                .iter()
                .map(|pattern| format!("(?:{pattern})"))
                .collect::<Vec<_>>()
                .join("|"),
        ),
    }
}

fn entry(device: &NetworkDevice, excluded: &[String]) -> String {
    let mut lines = Vec::new();
    if let Some(id) = &device.device_id {
        lines.push(format!("^ID_MODEL_ID={}$", escape(&id.to_lowercase())));
    }
    if let Some(id) = &device.vendor_id {
        lines.push(format!("^ID_VENDOR_ID={}$", escape(&id.to_lowercase())));
    }
    let name = device.interface_name.as_deref();
    let mut not = excluded.to_vec();
    not.extend(name.and_then(|name| name.strip_prefix('!')).map(glob));
    let wanted = name.filter(|name| !name.starts_with('!')).map(glob);
    if wanted.is_some() || !not.is_empty() {
        let not = match not.as_slice() {
            [] => String::new(),
            names => format!("(?!(?:{})$)", names.join("|")),
        };
        lines.push(format!(
            "^INTERFACE={not}{}$",
            wanted.unwrap_or_else(|| ".*".to_owned())
        ));
    }
    lines.join(ANYTHING)
}

/// A name with the shell wildcards `*` and `?`.
fn glob(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '*' => ".*".to_owned(),
            '?' => ".".to_owned(),
            other => escape(&other.to_string()),
        })
        .collect()
}

/// Nothing of a name means something to the regular expression, nor to TuneD's configuration file.
fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && *c != '#')
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_:-".contains(c) {
                c.to_string()
            } else {
                format!("\\{c}")
            }
        })
        .collect()
}
