//! The user's part of the TuneD profile: text that stays within its line and section, and nothing against ours.

use std::collections::BTreeMap;

use super::text::one_line;
use crate::api::realtime_profile::TunedSpec;
use crate::problem::{Problem, Problems};
use crate::render::{TUNED_ENABLED, parameter_path};
use crate::validate::ValidProfile;

/// Options of our own TuneD profile that follow from the CPU sets: another value would contradict the kernel arguments.
const FIXED: [(&str, &str, &str); 2] = [
    ("scheduler", "isolated_cores", "spec.cpu.isolated"),
    (
        "irqbalance",
        "banned_cpus",
        "spec.interrupts.balanceOnIsolated",
    ),
];

/// The plugin that sets kernel parameters.
const SYSCTL: &str = "sysctl";

/// The section of an INI file whose options hold for all others.
const DEFAULTS: &str = "DEFAULT";

/// What of `spec.tuned` is used.
pub(super) struct Tuned {
    pub include: Vec<String>,
    pub sysctl: BTreeMap<String, String>,
    pub sections: BTreeMap<String, BTreeMap<String, String>>,
}

pub(super) fn check(spec: Option<&TunedSpec>, problems: &mut Problems) -> Tuned {
    let empty = TunedSpec::default();
    let TunedSpec {
        include,
        sysctl,
        sections,
    } = spec.unwrap_or(&empty);
    let include = include
        .clone()
        .unwrap_or_else(|| vec!["openshift-node".to_owned()]);
    for (index, name) in include.iter().enumerate() {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric())
            || !name.bytes().all(allowed)
        {
            problems.push(Problem::error(
                format!("spec.tuned.include[{index}]"),
                name.escape_debug(),
                "is no name of a TuneD profile",
                "use letters, digits, '.', '_' and '-'",
            ));
        }
    }
    for (name, value) in sysctl {
        check_sysctl(name, value, problems);
    }
    for (section, options) in sections {
        check_section(section, options, problems);
    }
    Tuned {
        include,
        sysctl: sysctl.clone(),
        sections: sections.clone(),
    }
}

fn check_sysctl(name: &str, value: &str, problems: &mut Problems) {
    let field = format!("spec.tuned.sysctl.{}", name.escape_debug());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    let dotted =
        name.contains(['.', '/']) && !name.starts_with(['.', '/']) && !name.ends_with(['.', '/']);
    if !dotted || name.contains("..") || !name.bytes().all(allowed) {
        problems.push(Problem::error(
            field.clone(),
            name.escape_debug(),
            "is no name of a kernel parameter",
            "write it as sysctl does, as in vm.swappiness; wildcards are not taken",
        ));
    }
    check_value(&field, value, problems);
    if value.trim().is_empty() {
        problems.push(Problem::error(
            field.clone(),
            value,
            "has no value",
            "write one, or remove the parameter",
        ));
    }
    if value.contains("${") {
        problems.push(Problem::error(
            field,
            value,
            "holds `${`, which TuneD replaces: a kernel parameter would get another value than stands here",
            "write the value itself",
        ));
    }
}

fn check_section(section: &str, options: &BTreeMap<String, String>, problems: &mut Problems) {
    let field = format!("spec.tuned.sections.{}", section.escape_debug());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if section.is_empty() || !section.bytes().all(allowed) {
        problems.push(Problem::error(
            field.clone(),
            section.escape_debug(),
            "is no name of a TuneD section",
            "use letters, digits, '_', '-' and '.'",
        ));
    }
    if section == DEFAULTS {
        problems.push(Problem::error(
            field,
            section,
            "is the section whose options TuneD's reader puts into every other one, ours too",
            "put the options into the sections that are meant",
        ));
        return;
    }
    let kind = kind_of(section, options);
    if section.eq_ignore_ascii_case("bootloader") || kind.eq_ignore_ascii_case("bootloader") {
        problems.push(Problem::error(
            field,
            kind,
            "sets kernel arguments, which would come in a second MachineConfig, with a second reboot",
            "put them into spec.kernel.additionalArguments",
        ));
        return;
    }
    for (key, value) in options {
        let field = format!("{field}.{}", key.escape_debug());
        if key.trim_start().to_ascii_lowercase().starts_with("cmdline") {
            problems.push(Problem::error(
                field.clone(),
                value.escape_debug(),
                "is an option that sets kernel arguments",
                "put them into spec.kernel.additionalArguments",
            ));
        }
        if section == "main" && key == "include" {
            problems.push(Problem::error(
                field.clone(),
                value.escape_debug(),
                "is given elsewhere",
                "use spec.tuned.include",
            ));
        }
        if one_line(&field, key, problems)
            && (key.is_empty()
                || key != key.trim()
                || key.contains('=')
                || key.starts_with(['[', ';'])
                || holds_comment(key))
        {
            problems.push(Problem::error(
                field.clone(),
                key,
                "is no name of an option",
                "write the name alone, without '=', '#', brackets and blanks around it",
            ));
        }
        check_value(&field, value, problems);
    }
}

/// The plugin that a section is for: by its option `type`, else by its name.
fn kind_of<'s>(section: &'s str, options: &'s BTreeMap<String, String>) -> &'s str {
    options.get("type").map_or(section, |kind| kind.trim())
}

/// TuneD takes what follows a blank of any sort and `#` as a comment, at the beginning of a value too.
fn holds_comment(text: &str) -> bool {
    let pairs = text.chars().zip(text.chars().skip(1));
    let mut blank_before = pairs.filter(|(before, _)| before.is_whitespace());
    text.starts_with('#') || blank_before.any(|(_, next)| next == '#')
}

fn check_value(field: &str, value: &str, problems: &mut Problems) {
    if one_line(field, value, problems) && holds_comment(value) {
        problems.push(Problem::error(
            field,
            value,
            "TuneD reads the rest from `#` on as a comment",
            "leave out `#`",
        ));
    }
}

/// The user's options against those that we render without them.
pub(super) fn check_against_ours(valid: &ValidProfile, problems: &mut Problems) {
    if valid.sysctl.is_empty() && valid.tuned_sections.is_empty() {
        return;
    }
    let ours = rendered_options(&ValidProfile {
        sysctl: BTreeMap::new(),
        tuned_sections: BTreeMap::new(),
        ..valid.clone()
    });
    for given in given_options(valid) {
        let Given {
            section,
            kind,
            key,
            value,
            field,
        } = given;
        let path = option_id(kind, key);
        if kind == SYSCTL && valid.pod_budget.is_some() && path.1.starts_with("kernel/sched_rt_") {
            problems.push(Problem::error(
                field,
                value,
                "takes away what spec.podBudget gives out",
                "remove it, or the budget",
            ));
            continue;
        }
        if problems.0.iter().any(|problem| problem.field == field) {
            continue;
        }
        let of_section = |(name, key): &(String, String)| name == section && key != "enabled";
        if key == "enabled" && !TUNED_ENABLED.contains(&value.trim()) && ours.keys().any(of_section)
        {
            problems.push(Problem::warning(
                field,
                value,
                "switches off what follows from the rest of the profile in this section",
                "remove it unless that is meant",
            ));
            continue;
        }
        let fixed = FIXED.iter().find(|(fixed_kind, fixed_key, _)| {
            (path.0.as_str(), path.1.as_str()) == (*fixed_kind, *fixed_key)
        });
        // A second section of another plugin is for other devices than ours: it replaces nothing.
        let place = if fixed.is_some() || kind == SYSCTL {
            path
        } else {
            option_id(section, key)
        };
        let Some(old) = ours.get(&place).filter(|old| *old != value) else {
            continue;
        };
        match fixed {
            Some((_, _, owner)) => problems.push(Problem::error(
                field,
                value,
                format!("contradicts {owner}, which makes it {old}"),
                format!("remove it, or change {owner}"),
            )),
            None => problems.push(Problem::warning(
                field,
                value,
                format!("replaces {old}, which follows from the rest of the profile"),
                "remove it unless that is meant",
            )),
        }
    }
    check_parameters(valid, problems);
}

/// A kernel parameter has one value, however its name is written and whichever section sets it; and TuneD can set it.
fn check_parameters(valid: &ValidProfile, problems: &mut Problems) {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for given in given_options(valid) {
        if given.kind != SYSCTL || !given.key.contains(['.', '/']) {
            continue;
        }
        let (_, path) = option_id(given.kind, given.key);
        let by_tuned = given.key.replace('.', "/");
        if by_tuned != path {
            problems.push(Problem::warning(
                given.field.clone(),
                given.value,
                format!("TuneD takes every '.' of a name for '/': it sets /proc/sys/{by_tuned}, not /proc/sys/{path}"),
                "set it by a file in /etc/sysctl.d, from a MachineConfig of your own",
            ));
        }
        match first.get(&path) {
            Some(other) => problems.push(Problem::error(
                given.field,
                given.value,
                format!("is also given in {other}"),
                "remove one of them",
            )),
            None => drop(first.insert(path, given.field)),
        }
    }
}

/// One option of the user's.
struct Given<'v> {
    section: &'v str,
    kind: &'v str,
    key: &'v String,
    value: &'v String,
    field: String,
}

fn given_options(valid: &ValidProfile) -> impl Iterator<Item = Given<'_>> {
    let sysctl = valid.sysctl.iter().map(|(key, value)| Given {
        section: SYSCTL,
        kind: SYSCTL,
        key,
        value,
        field: format!("spec.tuned.sysctl.{key}"),
    });
    let sections = valid.tuned_sections.iter().flat_map(|(section, options)| {
        options.iter().map(move |(key, value)| Given {
            section,
            kind: kind_of(section, options),
            key,
            value,
            field: format!("spec.tuned.sections.{section}.{key}"),
        })
    });
    sysctl.chain(sections)
}

/// What says whether two options are the same: the plugin and the option, a kernel parameter however it is written.
fn option_id(kind: &str, key: &str) -> (String, String) {
    let key = if kind == SYSCTL {
        parameter_path(key)
    } else {
        key.to_owned()
    };
    (kind.to_owned(), key)
}

/// Our own TuneD profile, read back from what is rendered: section and option, with the value.
fn rendered_options(valid: &ValidProfile) -> BTreeMap<(String, String), String> {
    let mut options = BTreeMap::new();
    let rendered = crate::render::render(valid);
    let data = rendered
        .tuned
        .iter()
        .flat_map(|tuned| &tuned.spec.profile)
        .map(|profile| &profile.data);
    for text in data {
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                name.clone_into(&mut section);
            } else if let Some((key, value)) =
                line.split_once('=').filter(|_| !line.starts_with('#'))
            {
                options.insert(option_id(&section, key.trim()), value.trim().to_owned());
            }
        }
    }
    options
}
