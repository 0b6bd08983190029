//! `oc realtime why`: why a pod has, or has not, real-time scheduling. Gets four objects and changes nothing; what follows
//! from them is decided in `core::rt::why`.

mod text;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client, Resource};
use realtime_core::api::{RealtimeNode, RealtimeProfile};
use realtime_core::rt::why::{Seen, Verdict, Why, why};
use realtime_core::short;
use serde::de::DeserializeOwned;

use super::CommandError;
use crate::args::{Args, Format, WhyArgs};
use crate::client::{self, ClientError, in_words};
use crate::exit::Exit;
use crate::{output, terminal};

/// The pod could not be found.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// No such pod.
    #[error("no pod {pod} in the namespace {namespace}; `oc get pods -n {namespace}` lists them")]
    NotFound {
        /// Where it was looked for.
        namespace: String,
        /// Its name.
        pod: String,
    },
}

pub fn run(args: &WhyArgs) -> Result<Exit, CommandError> {
    let asked = match Asked::of(args) {
        Ok(asked) => asked,
        // As every wrong usage: clap's words and its exit code.
        Err(text) => Args::command()
            .error(ErrorKind::ValueValidation, text)
            .exit(),
    };
    let why = client::block_on(answer(args, asked))?;
    let text = match args.output {
        Format::Json => format!("{:#}\n", serde_json::json!(why)),
        Format::Text => text::of(&why, terminal::stdout_has_colour()),
    };
    output::print([text.as_str()])?;
    Ok(match why.verdict {
        Verdict::Real => Exit::Success,
        Verdict::Waiting | Verdict::Unknown | Verdict::Refused => Exit::Failure,
    })
}

/// A pod, as it was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// `None`: the context's.
    namespace: Option<String>,
    pod: String,
}

impl Asked {
    /// `NAMESPACE/POD`, or `POD` and `-n`; with `-n` also `pod/POD`, as other commands print it.
    fn of(args: &WhyArgs) -> Result<Self, String> {
        let given = args.pod.as_str();
        let (namespace, pod) = match (given.split_once('/'), &args.namespace) {
            (None, namespace) => (namespace.clone(), given),
            (Some(("pod" | "pods" | "po", pod)), Some(namespace)) => (Some(namespace.clone()), pod),
            (Some((first, pod)), None) => (Some(first.to_owned()), pod),
            (Some((first, pod)), Some(namespace)) if first == namespace => {
                (Some(namespace.clone()), pod)
            }
            (Some(_), Some(namespace)) => {
                return Err(format!(
                    "{:?} and --namespace {:?} name two namespaces; give one",
                    short::characters(given, short::VALUE),
                    short::characters(namespace, short::VALUE)
                ));
            }
        };
        for (what, name) in [("pod", Some(pod)), ("namespace", namespace.as_deref())] {
            if let Some(name) = name
                && !is_name(name)
            {
                return Err(format!(
                    "{:?} is no {what}'s name; write NAMESPACE/POD, or POD and --namespace NAMESPACE",
                    short::characters(name, short::VALUE)
                ));
            }
        }
        Ok(Self {
            namespace,
            pod: pod.to_owned(),
        })
    }
}

/// A DNS subdomain: what an API server takes as a name, and what can't lead elsewhere in a path.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    let end = |byte: Option<u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.len() <= 253
        && text.bytes().all(plain)
        && end(text.bytes().next())
        && end(text.bytes().last())
}

async fn answer(args: &WhyArgs, asked: Asked) -> Result<Why, CommandError> {
    let client = client::connect(&args.cluster).await?;
    let namespace = asked
        .namespace
        .unwrap_or_else(|| client.default_namespace().to_owned());
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let pod = pods
        .get_opt(&asked.pod)
        .await
        .map_err(ClientError::request(format!(
            "reading the pod {namespace}/{}",
            asked.pod
        )))?;
    let Some(pod) = pod else {
        return Err(WhyError::NotFound {
            namespace,
            pod: asked.pod,
        }
        .into());
    };
    let mut hidden = Vec::new();
    let labels: Option<Namespace> = get(&client, "namespace", &namespace, &mut hidden).await?;
    let node_name = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let node: Option<RealtimeNode> = match node_name {
        Some(name) => get(&client, "RealtimeNode", name, &mut hidden).await?,
        None => None,
    };
    let profile: Option<RealtimeProfile> = match &node {
        Some(node) => get(&client, "RealtimeProfile", &node.spec.profile, &mut hidden).await?,
        None => None,
    };
    Ok(why(&Seen {
        pod: &pod,
        namespace: labels.as_ref(),
        node: node.as_ref(),
        profile: profile.as_ref(),
        hidden: &hidden,
    }))
}

/// One object of the cluster; none when it isn't there, or its kind isn't. What may not be read is told and gone without:
/// who may read a pod need not be allowed to read nodes.
async fn get<K>(
    client: &Client,
    kind: &str,
    name: &str,
    hidden: &mut Vec<String>,
) -> Result<Option<K>, ClientError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    match Api::<K>::all(client.clone()).get(name).await {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error @ kube::Error::Api(_)) if matches!(&error, kube::Error::Api(status) if status.code == 403) =>
        {
            hidden.push(format!("{kind} {name}: {}", in_words(&error)));
            Ok(None)
        }
        Err(error) => Err(ClientError::request(format!("reading the {kind} {name}"))(
            error,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn asked(words: &[&str]) -> Result<Asked, String> {
        let words = [&["oc-realtime", "why"], words].concat();
        match Args::try_parse_from(words)
            .map_err(|error| error.to_string())?
            .command
        {
            crate::args::Command::Why(args) => Asked::of(&args),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_pod_is_named_in_each_usual_way() {
        let lab = Asked {
            namespace: Some("lab".to_owned()),
            pod: "spinner-0".to_owned(),
        };
        for words in [
            &["lab/spinner-0"][..],
            &["-n", "lab", "spinner-0"],
            &["spinner-0", "--namespace=lab"],
            &["-n", "lab", "pod/spinner-0"],
            &["-n", "lab", "lab/spinner-0"],
        ] {
            assert_eq!(asked(words).as_ref(), Ok(&lab), "{words:?}");
        }
        assert_eq!(asked(&["spinner-0"]).map(|asked| asked.namespace), Ok(None));
    }

    #[test]
    fn what_is_no_name_is_said() {
        for words in [
            &["a/b/c"][..],
            &["/b"],
            &["a/"],
            &[""],
            &["A/b"],
            &["..%2f/b"],
            &["-n", "lab", "other/b"],
            &["lab/sp?nner"],
            &["lab/b#c"],
        ] {
            let told = asked(words);
            assert!(
                told.as_ref()
                    .is_err_and(|text| text.contains("give one") || text.contains("is no ")),
                "{words:?}: {told:?}"
            );
        }
        assert!(!is_name(&"a".repeat(254)));
        // Whatever was pasted there, the answer stays readable.
        let long = "x".repeat(100_000);
        let two = format!("{long}/b");
        for words in [&[&*long][..], &[&*two], &["-n", &*long, &two[1..]]] {
            let told = asked(words).unwrap_err();
            assert!(
                told.chars().count() < 300 && told.contains("xxx…\""),
                "{told}"
            );
        }
    }
}
