//! The Ignition config, version 3.2.0, through the Ignition developers' own types. Which files there are says `files`.

use ignition_config::v3_2::{Config, File, Ignition, Resource, Storage, Systemd, Unit};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::files::{HostFile, HostUnit, files, units};
use crate::validate::ValidProfile;

/// What everybody writes; the Machine Config Operator accepts it since 4.7 and converts it where needed.
const VERSION: &str = "3.2.0";

/// What may not stand as it is in the data part of a `data:` URL (RFC 2397: the characters of a URI, `%` and `#`
/// excepted).
const DATA: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The config as JSON, without the nulls that the types print for what isn't set: server-side apply would own them.
pub(super) fn config(profile: &ValidProfile) -> Value {
    let mut config = Config::new(Ignition {
        version: Some(VERSION.to_owned()),
        ..Ignition::default()
    });
    let files: Vec<File> = files(profile).into_iter().map(file).collect();
    if !files.is_empty() {
        config.storage = Some(Storage {
            files: Some(files),
            ..Storage::default()
        });
    }
    let units: Vec<Unit> = units(profile).into_iter().map(unit).collect();
    if !units.is_empty() {
        config.systemd = Some(Systemd { units: Some(units) });
    }
    // A struct of strings, numbers and lists always becomes JSON.
    let mut value = serde_json::to_value(&config).unwrap_or_default();
    drop_nulls(&mut value);
    value
}

fn file(file: HostFile) -> File {
    let HostFile {
        path,
        mode,
        contents,
    } = file;
    File {
        contents: Some(Resource {
            source: Some(format!("data:,{}", utf8_percent_encode(&contents, DATA))),
            ..Resource::default()
        }),
        mode: Some(mode),
        overwrite: Some(true),
        ..File::new(path)
    }
}

fn unit(unit: HostUnit) -> Unit {
    let HostUnit { name, contents } = unit;
    Unit {
        contents: Some(contents),
        enabled: Some(true),
        ..Unit::new(name)
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
