//! The user's part of the TuneD profile: text that stays within its line and section, and nothing against ours.

use std::collections::BTreeMap;

use super::text::one_line;
use crate::api::realtime_profile::TunedSpec;
use crate::problem::{Problem, Problems};
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
    let kind = options.get("type").map_or(section, String::as_str);
    if section.eq_ignore_ascii_case("bootloader") || kind.trim().eq_ignore_ascii_case("bootloader")
    {
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
                || key.starts_with(['[', '#', ';']))
        {
            problems.push(Problem::error(
                field.clone(),
                key,
                "is no name of an option",
                "write the name alone, without '=', brackets and blanks around it",
            ));
        }
        check_value(&field, value, problems);
    }
}

/// TuneD takes what follows a blank and `#` as a comment, at the beginning of a value too.
fn check_value(field: &str, value: &str, problems: &mut Problems) {
    let comment = value.starts_with('#') || value.contains(" #");
    if one_line(field, value, problems) && comment {
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
    let sysctl = valid
        .sysctl
        .iter()
        .map(|(key, value)| ("sysctl", key, value, format!("spec.tuned.sysctl.{key}")));
    let sections = valid.tuned_sections.iter().flat_map(|(section, options)| {
        options.iter().map(move |(key, value)| {
            (
                section.as_str(),
                key,
                value,
                format!("spec.tuned.sections.{section}.{key}"),
            )
        })
    });
    for (section, key, value, field) in sysctl.chain(sections) {
        if section == "sysctl" && valid.pod_budget.is_some() && key.starts_with("kernel.sched_rt_")
        {
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
        let Some(old) = ours
            .get(&(section.to_owned(), key.clone()))
            .filter(|old| *old != value)
        else {
            continue;
        };
        match FIXED.iter().find(|(fixed_section, fixed_key, _)| {
            (section, key.as_str()) == (*fixed_section, *fixed_key)
        }) {
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
    for (section, options) in &valid.tuned_sections {
        for key in options
            .keys()
            .filter(|key| section == "sysctl" && valid.sysctl.contains_key(*key))
        {
            problems.push(Problem::error(
                format!("spec.tuned.sections.sysctl.{key}"),
                "",
                "is also given in spec.tuned.sysctl",
                "remove one of them",
            ));
        }
    }
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
                options.insert(
                    (section.clone(), key.trim().to_owned()),
                    value.trim().to_owned(),
                );
            }
        }
    }
    options
}
