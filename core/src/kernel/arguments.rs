//! The kernel's command line: split as the kernel does, compared with what is wanted, and the difference as one change.
//! What was not brought by us is never taken off, except another value of an argument that holds one: that is remembered.

use std::collections::BTreeSet;

use super::record::Record;
use crate::render::kernel_arguments::{Repeat, key, repeat};

/// Longest command line that is looked at: the kernel's own limit is 2 KiB to 4 KiB.
const LINE_LIMIT: usize = 65_536;

/// The arguments of a command line, as they stand: split at blanks outside double quotes, up to a lone `--` (what follows
/// is for init). The kernel's own `BOOT_IMAGE` and `ostree` are left out: they belong to the boot loader.
pub fn split(line: &str) -> Vec<String> {
    let mut end = line.len().min(LINE_LIMIT);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quoted) = (String::new(), false);
    for c in line[..end].chars().chain([' ']) {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if word == "--" {
                    word.clear();
                    break;
                }
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.trim().is_empty() {
        // An open quote reaches to the end, as in the kernel.
        words.push(word.trim_end().to_owned());
    }
    words.retain(|word| !matches!(key(word).as_str(), "BOOT_IMAGE" | "ostree"));
    words
}

/// As the kernel understands it: without quotes, `-` and `_` the same in the name.
fn meaning(argument: &str) -> String {
    let plain: String = argument.chars().filter(|c| *c != '"').collect();
    match plain.split_once('=') {
        Some((_, value)) => format!("{}={value}", key(&plain)),
        None => key(&plain),
    }
}

fn is(left: &str, right: &str) -> bool {
    meaning(left) == meaning(right)
}

fn positional<'a>(arguments: &'a [String]) -> Vec<&'a str> {
    let place_matters = |argument: &&'a String| repeat(argument) == Repeat::Positional;
    arguments
        .iter()
        .filter(place_matters)
        .map(String::as_str)
        .collect()
}

/// Wanted arguments that are not in effect on this command line, in the order in which they are wanted.
pub fn missing(wanted: &[String], line: &str) -> Vec<String> {
    let present = split(line);
    let in_order = order_holds(&positional(wanted), &positional(&present));
    let lacks = |argument: &&String| match repeat(argument) {
        Repeat::Once => !present
            .iter()
            .rfind(|other| key(other) == key(argument))
            .is_some_and(|last| is(last, argument)),
        Repeat::Adds => !present.iter().any(|other| is(other, argument)),
        Repeat::Positional => !in_order,
    };
    wanted.iter().filter(lacks).cloned().collect()
}

fn order_holds(wanted: &[&str], present: &[&str]) -> bool {
    wanted.is_empty()
        || present
            .windows(wanted.len())
            .any(|part| part.iter().zip(wanted).all(|(left, right)| is(left, right)))
}

/// One change of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Taken off when there, once for each time that it is in the list.
    pub delete: Vec<String>,
    /// Taken off, once for each time that it is in the list: arguments whose place matters.
    pub delete_one: Vec<String>,
    /// Put on when not there.
    pub append: Vec<String>,
    /// Put on in this order, there or not: arguments whose place matters.
    pub append_always: Vec<String>,
    /// What others had there and what must come back when ours goes.
    pub replaced: Vec<String>,
}

impl Delta {
    /// Nothing to change.
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty()
            && self.delete_one.is_empty()
            && self.append.is_empty()
            && self.append_always.is_empty()
    }

    /// The one call of `rpm-ostree kargs`.
    pub fn kargs(&self) -> Vec<String> {
        let options = [
            ("--delete=", &self.delete_one),
            ("--append=", &self.append_always),
            ("--append-if-missing=", &self.append),
            ("--delete-if-present=", &self.delete),
        ];
        let mut words = vec!["kargs".to_owned()];
        for (option, arguments) in options {
            words.extend(
                arguments
                    .iter()
                    .map(|argument| format!("{option}{argument}")),
            );
        }
        words
    }

    /// Everything that comes onto the line.
    pub fn added(&self) -> impl Iterator<Item = &String> {
        self.append.iter().chain(&self.append_always)
    }
}

/// What has to change so that the wanted arguments, and none of ours besides them, are in effect.
pub fn delta(wanted: &[String], line: &str, record: &Record) -> Delta {
    let present = split(line);
    let ours = |argument: &str| record.arguments.iter().any(|other| is(other, argument));
    let stays = |argument: &str| wanted.iter().any(|other| is(other, argument));
    let mut delta = Delta::default();
    // Places on the line: one `--delete-if-present` takes one off, and what is there twice must go twice.
    let mut gone: Vec<usize> = Vec::new();
    // 1. Another value of what holds one: ours goes, that of others is remembered.
    for argument in wanted
        .iter()
        .filter(|argument| repeat(argument) == Repeat::Once)
    {
        for (at, other) in present.iter().enumerate() {
            if key(other) == key(argument) && !is(other, argument) {
                if !ours(other) && !record.replaced_arguments.contains(other) {
                    push(&mut delta.replaced, other);
                }
                gone.push(at);
            }
        }
    }
    // 2. Ours that is not wanted any more.
    for (at, other) in present.iter().enumerate() {
        if repeat(other) != Repeat::Positional && ours(other) && !stays(other) {
            gone.push(at);
        }
    }
    let mut seen = BTreeSet::new();
    gone.retain(|at| seen.insert(*at));
    delta.delete = gone.into_iter().map(|at| present[at].clone()).collect();
    // 3. Where the place matters all of ours goes and comes again, or nothing moves.
    let (wanted_order, present_order) = (positional(wanted), positional(&present));
    let leftover = present_order
        .iter()
        .any(|other| ours(other) && !stays(other));
    if leftover || !order_holds(&wanted_order, &present_order) {
        let mut own: Vec<&str> = positional(&record.arguments);
        for other in present_order {
            if let Some(at) = own.iter().position(|argument| is(argument, other)) {
                own.remove(at);
                delta.delete_one.push(other.to_owned());
            }
        }
        delta.append_always = wanted_order.into_iter().map(str::to_owned).collect();
    }
    // 4. What is wanted and not there.
    for argument in wanted {
        if repeat(argument) != Repeat::Positional
            && !present.iter().any(|other| is(other, argument))
        {
            push(&mut delta.append, argument);
        }
    }
    // 5. What others had, when nothing of ours stands in its place any more.
    for argument in &record.replaced_arguments {
        let in_the_way = wanted.iter().any(|other| key(other) == key(argument));
        if !in_the_way && !present.iter().any(|other| is(other, argument)) {
            push(&mut delta.append, argument);
        }
    }
    delta
}

fn push(list: &mut Vec<String>, argument: &str) {
    if !list.iter().any(|other| other == argument) {
        list.push(argument.to_owned());
    }
}

/// What a change brings that was not others' before: written down before it is made.
pub(super) fn brings(delta: &Delta, record: &Record) -> Vec<String> {
    delta
        .added()
        .filter(|argument| !record.replaced_arguments.contains(argument))
        .cloned()
        .collect()
}

/// The record once the change was seen.
pub(super) fn remember(record: &mut Record, brings: &[String], takes: &[String]) {
    let order_anew = brings
        .iter()
        .any(|argument| repeat(argument) == Repeat::Positional);
    if order_anew {
        record
            .arguments
            .retain(|argument| repeat(argument) != Repeat::Positional);
    }
    for argument in brings {
        if repeat(argument) == Repeat::Positional {
            record.arguments.push(argument.clone());
        } else {
            push(&mut record.arguments, argument);
        }
    }
    for argument in takes {
        push(&mut record.replaced_arguments, argument);
    }
}

/// The record of a host on which nothing is under way: what is not there is not ours, what is there again came back.
pub(super) fn settle(record: &mut Record, line: &str) {
    let mut present = split(line);
    record.arguments.retain(|argument| {
        let at = present.iter().position(|other| is(other, argument));
        at.map(|at| present.remove(at)).is_some()
    });
    let present = split(line);
    record
        .replaced_arguments
        .retain(|argument| !present.iter().any(|other| is(other, argument)));
}

#[cfg(test)]
mod tests;
