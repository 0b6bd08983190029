//! From what was given to what can be rendered: every profile, every problem. The decisions are core's.

use std::collections::BTreeMap;

use realtime_core::cluster::Cluster;
use realtime_core::problem::{Problem, Problems};
use realtime_core::validate::{ValidProfile, validate, without_echoes};

use crate::source::{Given, GivenProfile, Misshapen, Place};

/// One profile, checked.
pub struct Checked {
    /// Where it stands.
    pub place: Place,
    /// What can be rendered; `None` when any problem is an error.
    pub valid: Option<ValidProfile>,
    /// All problems, warnings included.
    pub problems: Problems,
}

/// Checks all profiles against each other and everything else that was given.
pub fn all(given: Given) -> Vec<Checked> {
    let Given { profiles, cluster } = given;
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    profiles
        .into_iter()
        .map(|profile| {
            let mut checked = one(profile, &cluster);
            if let Some(name) = &checked.place.name {
                match seen.get(name) {
                    Some(first) => {
                        checked.problems.push(given_twice(name, first));
                        checked.valid = None;
                    }
                    None => drop(seen.insert(name.clone(), checked.place.clone())),
                }
            }
            checked
        })
        .collect()
}

/// Checks one profile against a cluster.
pub fn one(given: GivenProfile, cluster: &Cluster) -> Checked {
    let GivenProfile { place, profile } = given;
    match profile {
        Ok(profile) => {
            let validated = validate(&profile, cluster);
            Checked {
                place,
                valid: validated.profile,
                problems: validated.problems,
            }
        }
        Err(misshapen) => Checked {
            place,
            valid: None,
            problems: all_of(misshapen, cluster),
        },
    }
}

/// The shape's problems, and what is wrong with the rest: a field that the shape has a problem with is told once.
fn all_of(misshapen: Misshapen, cluster: &Cluster) -> Problems {
    let Misshapen {
        mut problems,
        readable,
    } = misshapen;
    if let Some(readable) = readable {
        let mut further = validate(&readable.profile, cluster).problems.0;
        further.retain(|problem| readable.concerns(problem, &problems));
        problems.0.extend(further);
    }
    without_echoes(&problems).sorted()
}

fn given_twice(name: &str, first: &Place) -> Problem {
    Problem::error(
        "metadata.name",
        name,
        format!(
            "is given twice, first in {}, document {}",
            first.file, first.document
        ),
        "give each profile once",
    )
}
