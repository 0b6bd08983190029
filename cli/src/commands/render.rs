//! `oc realtime render`: what the operator would apply, byte for byte, without a cluster.

use realtime_core::plan::ObjectId;
use realtime_core::render::{self, Rendered};
use realtime_core::yaml;

use super::CommandError;
use crate::args::RenderArgs;
use crate::exit::Exit;
use crate::output::{self, NamedFile};
use crate::{check, report, source};

pub fn run(args: &RenderArgs) -> Result<Exit, CommandError> {
    let checked = check::all(source::read(&args.input.files, args.input.dialect.into())?);
    report::tell(&checked);
    if !report::all_valid(&checked) {
        return Ok(Exit::Failure);
    }
    let rendered: Vec<Rendered> = checked
        .iter()
        .filter_map(|one| one.valid.as_ref())
        .map(render::render)
        .collect();
    if args.output.as_os_str() == "-" {
        let texts: Vec<String> = rendered.iter().map(render::to_yaml).collect();
        output::print(texts.iter().map(String::as_str))?;
    } else {
        output::write(&args.output, &files(&rendered)?)?;
    }
    Ok(Exit::Success)
}

/// One file an object, as `machineconfig-50-realtime-worker-rt.yaml`. An object that two profiles share is one file.
fn files(rendered: &[Rendered]) -> Result<Vec<NamedFile>, CommandError> {
    let mut files: Vec<NamedFile> = Vec::new();
    for object in rendered.iter().flat_map(Rendered::objects) {
        let id = ObjectId::of(&object);
        let name = format!("{}-{}.yaml", id.kind.to_lowercase(), id.name);
        if files.iter().all(|file| file.name != name) {
            files.push(NamedFile {
                name,
                content: yaml::document(&object)?,
            });
        }
    }
    Ok(files)
}
