//! `oc realtime validate`: every problem of every profile at once, without a cluster.

use super::CommandError;
use crate::args::{Format, ValidateArgs};
use crate::exit::Exit;
use crate::{check, output, report, source};

pub fn run(args: &ValidateArgs) -> Result<Exit, CommandError> {
    let checked = check::all(source::read(&args.input.files, args.input.dialect.into())?);
    match args.output {
        Format::Text => {
            report::tell(&checked);
            let valid: Vec<String> = checked
                .iter()
                .filter(|one| one.valid.is_some())
                .map(|one| format!("{}: valid\n", report::place(&one.place)))
                .collect();
            output::print(valid.iter().map(String::as_str))?;
        }
        Format::Json => output::print([format!("{:#}\n", report::json(&checked)).as_str()])?,
    }
    Ok(if report::all_valid(&checked) {
        Exit::Success
    } else {
        Exit::Failure
    })
}
