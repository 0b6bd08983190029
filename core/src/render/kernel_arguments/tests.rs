//! The rules of repetition; which arguments there are is in the golden stories and in the properties.

use super::*;

fn merged(arguments: &[&str]) -> Vec<String> {
    without_repetition(arguments.iter().map(|a| (*a).to_owned()).collect())
}

#[test]
fn of_a_single_value_the_last_stands() {
    assert_eq!(
        merged(&["skew_tick=1", "nohz=on", "skew_tick=0"]),
        ["nohz=on", "skew_tick=0"]
    );
    assert_eq!(
        merged(&["nohz_full=1-2", "nohz-full=3"]),
        ["nohz-full=3"],
        "the kernel takes - for _"
    );
}

#[test]
fn what_adds_up_stays_and_the_same_text_is_written_once() {
    assert_eq!(
        merged(&[
            "intel_iommu=on",
            "intel_iommu=sm_on",
            "intel_iommu=on",
            "console=tty0",
            "console=ttyS0",
            "console=tty0"
        ]),
        [
            "intel_iommu=on",
            "intel_iommu=sm_on",
            "console=tty0",
            "console=ttyS0"
        ]
    );
}

#[test]
fn pairs_of_hugepages_stay_pairs() {
    let pairs = [
        "hugepagesz=1G",
        "hugepages=4",
        "hugepagesz=2M",
        "hugepages=4",
    ];
    assert_eq!(merged(&pairs), pairs);
}

#[test]
fn each_key_is_in_the_catalogue_once() {
    let mut keys: Vec<_> = CATALOGUE.iter().flat_map(|entry| entry.keys).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

#[test]
fn sizes_in_the_kernels_form() {
    for (kib, text) in [
        (64, "64K"),
        (2048, "2M"),
        (524_288, "512M"),
        (1 << 20, "1G"),
        (16 << 20, "16G"),
    ] {
        assert_eq!(emit::size_text(kib), text);
    }
}
