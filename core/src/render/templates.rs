//! The text templates, compiled in, read once. Turns a context into text and decides nothing.

use std::sync::LazyLock;

use handlebars::{Handlebars, no_escape};
use serde::Serialize;

/// A template of `core/templates`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Template {
    Crio,
    MixedCpus,
    OciHook,
    OciHookScript,
    OfflineCpus,
    HugepagesUnit,
    HugepagesScript,
    Irqbalance,
    RpsSysctl,
    RpsRules,
    Tuned,
}

impl Template {
    const ALL: [Self; 11] = [
        Self::Crio,
        Self::MixedCpus,
        Self::OciHook,
        Self::OciHookScript,
        Self::OfflineCpus,
        Self::HugepagesUnit,
        Self::HugepagesScript,
        Self::Irqbalance,
        Self::RpsSysctl,
        Self::RpsRules,
        Self::Tuned,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Crio => "crio.conf",
            Self::MixedCpus => "mixed-cpus.json",
            Self::OciHook => "oci-hook.json",
            Self::OciHookScript => "oci-hook.sh",
            Self::OfflineCpus => "offline-cpus.service",
            Self::HugepagesUnit => "hugepages.service",
            Self::HugepagesScript => "hugepages.sh",
            Self::Irqbalance => "irqbalance.service",
            Self::RpsSysctl => "rps.sysctl",
            Self::RpsRules => "rps.rules",
            Self::Tuned => "tuned.conf",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Crio => include_str!("../../templates/crio.conf.hbs"),
            Self::MixedCpus => include_str!("../../templates/mixed-cpus.json.hbs"),
            Self::OciHook => include_str!("../../templates/oci-hook.json.hbs"),
            Self::OciHookScript => include_str!("../../templates/oci-hook.sh.hbs"),
            Self::OfflineCpus => include_str!("../../templates/offline-cpus.service.hbs"),
            Self::HugepagesUnit => include_str!("../../templates/hugepages.service.hbs"),
            Self::HugepagesScript => include_str!("../../templates/hugepages.sh.hbs"),
            Self::Irqbalance => include_str!("../../templates/irqbalance.service.hbs"),
            Self::RpsSysctl => include_str!("../../templates/rps.sysctl.hbs"),
            Self::RpsRules => include_str!("../../templates/rps.rules.hbs"),
            Self::Tuned => include_str!("../../templates/tuned.conf.hbs"),
        }
    }
}

static REGISTRY: LazyLock<Handlebars<'static>> = LazyLock::new(|| {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(no_escape);
    for template in Template::ALL {
        let registered = registry.register_template_string(template.name(), template.text());
        debug_assert!(registered.is_ok(), "{}: {registered:?}", template.name());
    }
    registry
});

/// The text of a template. Templates and contexts are both ours and a test renders each, so an error is a bug in
/// this crate; the text then says so, instead of ending the operator.
pub(super) fn text(template: Template, context: &impl Serialize) -> String {
    match REGISTRY.render(template.name(), context) {
        Ok(text) => text,
        Err(error) => {
            debug_assert!(false, "{}: {error}", template.name());
            format!(
                "# realtime-operator: template {}: {error}\n",
                template.name()
            )
        }
    }
}

/// A value for a line of a configuration file, without what could begin another line. `validate` refuses such
/// values; a renderer that is total drops the characters.
pub(super) fn one_line(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).collect()
}
