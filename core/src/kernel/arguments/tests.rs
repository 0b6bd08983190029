//! Command lines as the kernel splits them, and changes that rpm-ostree would make.

use proptest::prelude::*;

use super::*;

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What `rpm-ostree kargs` makes of a line: deletions, then additions, then deletions of what was there before.
fn applied(line: &str, delta: &Delta) -> String {
    let original: Vec<String> = line
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let mut words = original.clone();
    let remove = |words: &mut Vec<String>, argument: &String| {
        if let Some(at) = words.iter().position(|word| word == argument) {
            words.remove(at);
        }
    };
    delta
        .delete_one
        .iter()
        .for_each(|argument| remove(&mut words, argument));
    words.extend(delta.append_always.iter().cloned());
    words.extend(
        delta
            .append
            .iter()
            .filter(|argument| !original.contains(argument))
            .cloned(),
    );
    for argument in delta
        .delete
        .iter()
        .filter(|argument| original.contains(argument))
    {
        // Each takes one away.
        remove(&mut words, argument);
    }
    words.join(" ")
}

/// A change, and the record after it was seen.
fn change(line: &str, wanted: &[String], record: &mut Record) -> String {
    let delta = delta(wanted, line, record);
    let after = applied(line, &delta);
    let brings = brings(&delta, record);
    remember(record, &brings, &delta.replaced);
    settle(record, &after);
    after
}

#[test]
fn split_as_the_kernel_does() {
    assert_eq!(
        split(
            "BOOT_IMAGE=(hd0)/vmlinuz  root=UUID=0 q=\"x y\" \"p=1 2\" ostree=/ostree/boot.1/os/0 rw -- init=arg"
        ),
        list(&["root=UUID=0", "q=\"x y\"", "\"p=1 2\"", "rw"])
    );
    assert_eq!(split("open=\"to the end"), list(&["open=\"to the end"]));
    assert_eq!(split(""), list(&[]));
}

#[test]
fn only_what_is_in_effect_counts() {
    let wanted = list(&["isolcpus=2-3", "nohz_full=2-3", "q=x y"]);
    assert!(missing(&wanted, "nohz-full=2-3 isolcpus=2-3 q=\"x y\"").is_empty());
    // The last one of an argument that holds one value wins.
    assert_eq!(
        missing(&wanted, "isolcpus=2-3 isolcpus=9 nohz_full=2-3 q=\"x y\""),
        list(&["isolcpus=2-3"])
    );
    let pages = list(&[
        "hugepagesz=2M",
        "hugepages=4",
        "hugepagesz=1G",
        "hugepages=4",
    ]);
    assert!(
        missing(
            &pages,
            "a hugepagesz=2M hugepages=4 b hugepagesz=1G hugepages=4"
        )
        .is_empty()
    );
    assert_eq!(
        missing(
            &pages,
            "hugepagesz=1G hugepages=4 hugepagesz=2M hugepages=4"
        )
        .len(),
        4
    );
}

#[test]
fn one_call_of_kargs() {
    let record = Record {
        arguments: list(&["skew_tick=1", "hugepagesz=2M", "hugepages=4"]),
        ..Record::default()
    };
    let wanted = list(&["isolcpus=2-3", "hugepagesz=1G", "hugepages=8"]);
    let delta = delta(
        &wanted,
        "quiet isolcpus=9 skew_tick=1 hugepagesz=2M hugepages=4",
        &record,
    );
    assert_eq!(
        delta.kargs(),
        list(&[
            "kargs",
            "--delete=hugepagesz=2M",
            "--delete=hugepages=4",
            "--append=hugepagesz=1G",
            "--append=hugepages=8",
            "--append-if-missing=isolcpus=2-3",
            "--delete-if-present=isolcpus=9",
            "--delete-if-present=skew_tick=1",
        ])
    );
    assert_eq!(delta.replaced, list(&["isolcpus=9"]));
}

/// rpm-ostree takes one off for each time that it is told so.
#[test]
fn what_is_there_twice_goes_twice() {
    let mut record = Record::default();
    let wanted = list(&["isolcpus=2-3"]);
    let line = "isolcpus=9 quiet isolcpus=9";
    assert_eq!(
        delta(&wanted, line, &record).kargs(),
        list(&[
            "kargs",
            "--append-if-missing=isolcpus=2-3",
            "--delete-if-present=isolcpus=9",
            "--delete-if-present=isolcpus=9",
        ])
    );
    let line = change(line, &wanted, &mut record);
    assert_eq!(line, "quiet isolcpus=2-3");
    assert!(delta(&wanted, &line, &record).is_empty());
}

#[test]
fn what_was_replaced_comes_back() {
    let mut record = Record::default();
    let wanted = list(&["isolcpus=2-3", "console=ttyS1"]);
    let line = change("quiet isolcpus=9 console=ttyS0", &wanted, &mut record);
    assert_eq!(line, "quiet console=ttyS0 isolcpus=2-3 console=ttyS1");
    assert_eq!(record.replaced_arguments, list(&["isolcpus=9"]));
    let line = change(&line, &[], &mut record);
    assert_eq!(line, "quiet console=ttyS0 isolcpus=9");
    assert_eq!(record, Record::default());
}

fn argument() -> impl Strategy<Value = String> {
    prop::sample::select(list(&[
        "quiet",
        "rw",
        "isolcpus=1",
        "isolcpus=2",
        "nohz_full=1",
        "console=a",
        "console=b",
        "skew_tick=1",
    ]))
}

/// Huge pages come as pairs, of which the place matters.
fn pages() -> impl Strategy<Value = Vec<String>> {
    prop::sample::select(vec![
        list(&[]),
        list(&["hugepagesz=1G", "hugepages=4"]),
        list(&["hugepagesz=2M", "hugepages=4"]),
        list(&[
            "hugepagesz=2M",
            "hugepages=4",
            "hugepagesz=1G",
            "hugepages=4",
        ]),
    ])
}

proptest! {
    #[test]
    fn any_line_is_split(line in "\\PC{0,60}") {
        for word in split(&line) {
            prop_assert!(!word.is_empty());
        }
        let _ = delta(&split(&line), &line, &Record::default());
    }

    /// There is one change; after it all is in effect and there is nothing more to change; without ours the line is what
    /// it was, up to its order.
    #[test]
    fn there_and_back(
        before in prop::collection::btree_set(argument(), 0..6),
        first in prop::collection::btree_set(argument(), 0..5),
        second in prop::collection::btree_set(argument(), 0..5),
        first_pages in pages(),
        second_pages in pages(),
    ) {
        // One value of what holds one, in a wanted list and on a sane line.
        let sane = |set: std::collections::BTreeSet<String>| -> Vec<String> {
            let mut kept: Vec<String> = Vec::new();
            for argument in set {
                if repeat(&argument) != Repeat::Once || !kept.iter().any(|other| key(other) == key(&argument)) {
                    kept.push(argument);
                }
            }
            kept
        };
        let before = sane(before);
        let (mut first, mut second) = (sane(first), sane(second));
        first.extend(first_pages);
        second.extend(second_pages);
        let mut record = Record::default();
        let mut line = before.join(" ");
        for wanted in [&first, &second] {
            line = change(&line, wanted, &mut record);
            prop_assert!(missing(wanted, &line).is_empty(), "{line}");
            prop_assert!(delta(wanted, &line, &record).is_empty(), "{line} {record:?} {:?}", delta(wanted, &line, &record));
        }
        line = change(&line, &[], &mut record);
        let sorted = |line: &str| { let mut words = split(line); words.sort(); words };
        prop_assert_eq!(sorted(&line), sorted(&before.join(" ")));
        prop_assert_eq!(record, Record::default());
    }
}
