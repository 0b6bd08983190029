//! The first processor of `/proc/cpuinfo`: on each architecture another list of keys.

/// What is used of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuInfo {
    /// `vendor_id` (x86, s390), or `CPU implementer` (ARM).
    pub vendor: Option<String>,
    /// `cpu family` (x86).
    pub family: Option<i64>,
    /// `model` (x86).
    pub model: Option<i64>,
    /// Whether the `flags` (x86) have `hypervisor`.
    pub hypervisor: Option<bool>,
}

/// Reads up to the first empty line: the processors of a machine are alike in all of these.
pub fn cpuinfo(text: &str) -> CpuInfo {
    let mut info = CpuInfo::default();
    for line in text.lines().take_while(|line| !line.trim().is_empty()) {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match key.trim() {
            "vendor_id" | "CPU implementer" if !value.is_empty() => {
                info.vendor = Some(value.chars().take(64).collect());
            }
            "cpu family" => info.family = value.parse().ok(),
            "model" => info.model = value.parse().ok(),
            "flags" => {
                info.hypervisor = Some(value.split_whitespace().any(|flag| flag == "hypervisor"));
            }
            _ => {}
        }
    }
    info
}
