//! What a CPU set accepts, refuses and prints.

use std::collections::BTreeSet;

use proptest::collection::btree_set;
use proptest::prelude::*;

use super::*;

fn set(text: &str) -> CpuSet {
    text.parse().expect(text)
}

fn refusal(text: &str) -> CpuSetError {
    text.parse::<CpuSet>().expect_err(text)
}

#[test]
fn reads_and_prints_the_kernels_lists() {
    for (given, printed, count) in [
        ("", "", 0),
        ("0", "0", 1),
        ("0-3,8", "0-3,8", 5),
        ("8,0-3", "0-3,8", 5),
        ("1,2", "1-2", 2),
        ("3,3,3-3", "3", 1),
        ("0-5,2-9", "0-9", 10),
        ("007", "7", 1),
        ("63,64", "63-64", 2),
        ("0-4095", "0-4095", 4096),
    ] {
        assert_eq!(set(given).to_string(), printed);
        assert_eq!(set(given).len(), count);
    }
}

#[test]
fn refuses_each_fault_by_name() {
    assert_eq!(
        refusal("2-5000000"),
        CpuSetError::TooLarge("5000000".into())
    );
    assert_eq!(refusal("4096"), CpuSetError::TooLarge("4096".into()));
    assert!(matches!(
        refusal("99999999999999999999"),
        CpuSetError::TooLarge(_)
    ));
    assert_eq!(refusal("5-2"), CpuSetError::Reversed(5, 2));
    assert_eq!(refusal("1,,2"), CpuSetError::EmptyItem(2));
    assert_eq!(refusal(","), CpuSetError::EmptyItem(1));
    assert_eq!(refusal("1,"), CpuSetError::EmptyItem(2));
    for text in [
        " 1", "1 ", "+1", "-1", "1-", "-", "1-2-3", "0-7:1/2", "a", "0x1", "1\n", "all", "N", "٣",
        "1.5",
    ] {
        assert!(
            matches!(refusal(text), CpuSetError::NotANumber(_)),
            "{text:?}"
        );
    }
    assert_eq!(refusal(&"1,".repeat(20_000)), CpuSetError::TooLong(40_000));
}

#[test]
fn masks_are_the_kernels() {
    assert_eq!(set("0-1").to_hex_mask(), "00000003");
    assert_eq!(set("").to_hex_mask(), "00000000");
    assert_eq!(set("32").to_hex_mask(), "0000000100000000");
    assert_eq!(
        set("0,32,95").to_hex_mask_words(),
        "80000000,00000001,00000001"
    );
    assert_eq!(CpuSet::from_hex_mask("3"), Ok(set("0-1")));
    assert!(CpuSet::from_hex_mask("").is_err());
    assert!(CpuSet::from_hex_mask("0x3").is_err());
    assert!(CpuSet::from_hex_mask(&"f".repeat(2000)).is_err());
}

#[test]
fn ends_are_found() {
    assert_eq!((set("").first(), set("").last()), (None, None));
    assert_eq!(
        (set("3-70").first(), set("3-70").last()),
        (Some(3), Some(70))
    );
    assert_eq!(CpuSet::range(0, u32::MAX).last(), Some(CpuSet::MAX));
    assert!(CpuSet::range(5, 2).is_empty());
    assert!(CpuSet::from_iter([4096, u32::MAX]).is_empty());
}

fn ids() -> impl Strategy<Value = BTreeSet<u32>> {
    prop_oneof![
        btree_set(0..=CpuSet::MAX, 0..80),
        btree_set(0..130u32, 0..80)
    ]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,64}") {
        let _ = text.parse::<CpuSet>();
        let _ = CpuSet::from_hex_mask(&text);
    }

    #[test]
    fn list_like_text_that_is_read_round_trips(text in "[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?){0,8}") {
        if let Ok(set) = text.parse::<CpuSet>() {
            prop_assert_eq!(set.to_string().parse::<CpuSet>(), Ok(set));
        }
    }

    #[test]
    fn lists_and_masks_round_trip(ids in ids()) {
        let set: CpuSet = ids.iter().copied().collect();
        prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), ids.clone());
        prop_assert_eq!(set.len(), ids.len());
        prop_assert_eq!(set.last(), ids.last().copied());
        prop_assert_eq!(set.to_string().parse::<CpuSet>(), Ok(set.clone()));
        prop_assert_eq!(CpuSet::from_hex_mask(&set.to_hex_mask()), Ok(set.clone()));
        prop_assert_eq!(CpuSet::from_hex_mask(&set.to_hex_mask_words()), Ok(set));
    }

    #[test]
    fn arithmetic_is_that_of_sets(left in ids(), right in ids()) {
        let (a, b): (CpuSet, CpuSet) = (left.iter().copied().collect(), right.iter().copied().collect());
        let back = |set: CpuSet| set.iter().collect::<BTreeSet<_>>();
        prop_assert_eq!(back(a.union(&b)), &left | &right);
        prop_assert_eq!(back(a.intersection(&b)), &left & &right);
        prop_assert_eq!(back(a.difference(&b)), &left - &right);
        prop_assert_eq!(a.is_disjoint(&b), left.is_disjoint(&right));
        prop_assert_eq!(a.is_subset(&b), left.is_subset(&right));
        prop_assert!(a.difference(&a).is_empty());
        prop_assert_eq!(a.difference(&a), CpuSet::default());
    }
}
