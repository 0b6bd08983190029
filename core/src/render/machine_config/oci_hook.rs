//! The OCI hook that asks the node daemon for a container's budget before the container's first instruction: what makes
//! CRI-O run it, and the script that it runs. Must not name a file that the same MachineConfig doesn't bring: CRI-O
//! drops a hook whose program isn't there when it reads the directory, and a hook that can't be run fails the container.

use serde_json::json;

use super::files::{HostFile, MODE_DATA, MODE_PROGRAM};
use crate::names;
use crate::render::templates::{Template, text};
use crate::rt::request;

/// One of the two directories that OpenShift's CRI-O reads (the other is `/run/containers/oci/hooks.d`). The name is
/// the same for every profile: a second file would run the hook twice.
const HOOK: &str = "/etc/containers/oci/hooks.d/99-realtime.json";
const SCRIPT: &str = "/usr/local/bin/realtime-oci-hook";
/// Seconds until the runtime kills the hook, and fails the container: five times what the program takes at most, since
/// on a starved node it also has to be loaded.
const TIMEOUT_SECONDS: u32 = 10;

/// The hook and its script.
pub(super) fn files(profile: &str) -> [HostFile; 2] {
    let hook = json!({"script": SCRIPT, "timeout": TIMEOUT_SECONDS, "keys": keys()});
    let script = json!({
        "profile": profile,
        "program": names::HOOK_PROGRAM,
        "realtime": request::REALTIME,
        "required": request::REQUIRED,
    });
    [
        HostFile {
            path: HOOK.to_owned(),
            mode: MODE_DATA,
            contents: text(Template::OciHook, &hook),
        },
        HostFile {
            path: SCRIPT.to_owned(),
            mode: MODE_PROGRAM,
            contents: text(Template::OciHookScript, &script),
        },
    ]
}

/// One expression for all keys by which a pod asks: each entry of `when.annotations` must be met by some annotation, so
/// several would ask for all of them. Without a backslash, which JSON and a shell would each read in their own way.
fn keys() -> String {
    let quoted = |key: &str| key.replace('.', "[.]");
    format!(
        "^({}|{}|({}|{})([.].+)?)$",
        quoted(request::REALTIME),
        quoted(request::RT_RUNTIME_US),
        quoted(request::RUNTIME_US),
        quoted(request::SCHEDULER),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn matches(key: &str) -> bool {
        regex_lite::Regex::new(&keys()).unwrap().is_match(key)
    }

    fn asks(key: &str) -> bool {
        request::asks(&BTreeMap::from([(key.to_owned(), "true".to_owned())]))
    }

    #[test]
    fn the_hook_runs_for_the_keys_by_which_a_pod_asks_and_for_no_others() {
        let ours = [
            "realtime",
            "rt_runtime_us",
            "realtime.openshift.io/runtime-us",
            "realtime.openshift.io/runtime-us.main",
            "realtime.openshift.io/scheduler",
            "realtime.openshift.io/scheduler.main",
        ];
        for key in ours {
            assert!(matches(key) && asks(key), "{key}");
        }
        let others = [
            "",
            "x-realtime",
            "realtime2",
            "realtime.openshift.io/required",
            "realtime-openshift.io/scheduler",
            "realtime.openshift.io/runtime-usage",
            "kubernetes.io/realtime",
        ];
        for key in others {
            assert!(!matches(key) && !asks(key), "{key}");
        }
    }

    #[test]
    fn the_hook_is_json_and_names_the_script_that_comes_with_it() {
        let [hook, script] = files("fast");
        let hook: serde_json::Value = serde_json::from_str(&hook.contents).unwrap();
        assert_eq!(hook["hook"]["path"], script.path);
        assert_eq!(hook["stages"], json!(["createRuntime"]));
        assert_eq!(hook["when"]["annotations"][keys()], ".*");
        assert_eq!(script.mode, MODE_PROGRAM);
        assert!(script.contents.contains("RealtimeProfile fast"));
    }

    proptest! {
        #[test]
        fn the_expression_and_the_contract_agree(key in "(realtime|rt_runtime_us|realtime[.]openshift[.]io/)?[a-z.-]{0,3}(runtime-us|scheduler|required)?([.][a-z0-9]{1,5})?") {
            prop_assert_eq!(matches(&key), asks(&key), "{}", key);
        }
    }
}
