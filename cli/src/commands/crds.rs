//! `oc realtime crds`: our three kinds as the cluster needs them. Offline.

use realtime_core::{api, yaml};

use super::CommandError;
use crate::args::CrdsArgs;
use crate::exit::Exit;
use crate::output::{self, NamedFile};

pub fn run(args: &CrdsArgs) -> Result<Exit, CommandError> {
    let files = api::crds()
        .iter()
        .map(|crd| {
            Ok(NamedFile {
                name: format!("{}.yaml", crd.spec.names.plural),
                content: yaml::document(crd)?,
            })
        })
        .collect::<Result<Vec<_>, CommandError>>()?;
    output::write(&args.output, &files)?;
    Ok(Exit::Success)
}
