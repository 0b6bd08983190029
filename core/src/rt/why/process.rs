//! Whether a container's process may call `sched_setscheduler` itself, by its security context. Facts of the kernel
//! (`user_check_sched_setscheduler` in kernel/sched/syscalls.c): without CAP_SYS_NICE in the initial user namespace a
//! thread gets a real-time policy only up to its RLIMIT_RTPRIO, which is 0 in containers: Kubernetes can't raise it.

use k8s_openapi::api::core::v1::{PodSpec, SecurityContext};

/// May it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    /// As root with the capability.
    Yes,
    /// It has not the capability.
    NoCapability,
    /// It has the capability in a user namespace of its own, where it doesn't count.
    UserNamespace,
    /// Kubernetes adds capabilities to root only: exec by another user drops them, unless the program's file has them.
    NotRoot {
        /// Not even the file's capability counts: no_new_privs.
        no_new_privileges: bool,
    },
}

/// By what is written in the pod. A container that the image runs as another user is not seen here.
pub(super) fn may(spec: &PodSpec, container: &str) -> May {
    let own = context(spec, container);
    let pod = spec.security_context.as_ref();
    let capable = own.is_some_and(has_sys_nice);
    if !capable {
        return May::NoCapability;
    }
    if spec.host_users == Some(false) {
        return May::UserNamespace;
    }
    let user = own
        .and_then(|own| own.run_as_user)
        .or_else(|| pod.and_then(|pod| pod.run_as_user));
    let not_root = own
        .and_then(|own| own.run_as_non_root)
        .or_else(|| pod.and_then(|pod| pod.run_as_non_root));
    if user.is_some_and(|user| user != 0) || (user.is_none() && not_root == Some(true)) {
        return May::NotRoot {
            no_new_privileges: own.is_some_and(|own| own.allow_privilege_escalation == Some(false)),
        };
    }
    May::Yes
}

/// The name of a seccomp profile that an administrator made. The runtimes' own profile lets the calls pass (containerd,
/// CRI-O and Docker list them among what is always allowed).
pub(super) fn own_seccomp_profile<'a>(spec: &'a PodSpec, container: &str) -> Option<&'a str> {
    let own = context(spec, container).and_then(|own| own.seccomp_profile.as_ref());
    let pod = spec
        .security_context
        .as_ref()
        .and_then(|pod| pod.seccomp_profile.as_ref());
    let profile = own.or(pod)?;
    (profile.type_ == "Localhost").then(|| profile.localhost_profile.as_deref().unwrap_or("?"))
}

/// Whether the kubelet runs a program in it from time to time, or at its beginning or end.
pub(super) fn has_exec_probe(spec: &PodSpec, container: &str) -> bool {
    let all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    all.filter(|one| one.name == container).any(|one| {
        let probes = [
            &one.liveness_probe,
            &one.readiness_probe,
            &one.startup_probe,
        ];
        let lifecycle = one.lifecycle.iter();
        probes
            .into_iter()
            .flatten()
            .any(|probe| probe.exec.is_some())
            || lifecycle
                .flat_map(|hooks| [&hooks.post_start, &hooks.pre_stop])
                .flatten()
                .any(|hook| hook.exec.is_some())
    })
}

fn context<'a>(spec: &'a PodSpec, container: &str) -> Option<&'a SecurityContext> {
    let ephemeral = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .find(|one| one.name == container)
        .map(|one| one.security_context.as_ref());
    let mut all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    ephemeral.or_else(|| {
        Some(
            all.find(|one| one.name == container)?
                .security_context
                .as_ref(),
        )
    })?
}

/// As the runtimes read it: a capability that is dropped by name is gone, whatever was added.
fn has_sys_nice(context: &SecurityContext) -> bool {
    if context.privileged == Some(true) {
        return true;
    }
    let listed = |names: &Option<Vec<String>>, wanted: &[&str]| {
        names.iter().flatten().any(|name| {
            let name = name.to_ascii_uppercase();
            wanted.contains(&name.strip_prefix("CAP_").unwrap_or(&name))
        })
    };
    context.capabilities.as_ref().is_some_and(|capabilities| {
        listed(&capabilities.add, &["SYS_NICE", "ALL"])
            && !listed(&capabilities.drop, &["SYS_NICE"])
    })
}
