//! `oc realtime plan`: what applying the profiles would change on this cluster. Only reads.

mod text;

use kube::ResourceExt;
use realtime_core::cluster::Cluster;
use realtime_core::plan::{self, Plan, Wanted};
use realtime_core::render;
use realtime_core::validate::validate;
use serde_json::json;

use super::CommandError;
use crate::args::{Format, PlanArgs};
use crate::check::Checked;
use crate::client;
use crate::exit::Exit;
use crate::source::GivenProfile;
use crate::{check, output, report, snapshot, source, terminal};

pub fn run(args: &PlanArgs) -> Result<Exit, CommandError> {
    let given = source::read(&args.files, realtime_core::cluster::Dialect::default())?;
    let Some(plans) = client::block_on(plans(args, given.profiles))? else {
        return Ok(Exit::Failure);
    };
    let text = match args.output {
        Format::Json => format!("{:#}\n", json!({ "plans": plans })),
        Format::Text => {
            let style = text::Style {
                colour: terminal::stdout_has_colour(),
                diffs: !args.brief,
            };
            plans
                .iter()
                .map(|plan| text::of(plan, style))
                .collect::<Vec<_>>()
                .join("\n")
        }
    };
    output::print([text.as_str()])?;
    let changes = plans.iter().any(Plan::has_changes);
    Ok(if changes {
        Exit::Changes
    } else {
        Exit::Success
    })
}

/// `None` when a profile is invalid; that has been told then.
async fn plans(
    args: &PlanArgs,
    given: Vec<GivenProfile>,
) -> Result<Option<Vec<Plan>>, CommandError> {
    let client = client::connect(&args.cluster).await?;
    let mut cluster = snapshot::cluster(&client).await?;
    let mut given = given;
    put_in(&mut given, &mut cluster);
    let mut checked = Vec::new();
    let mut plans = Vec::new();
    for one in given {
        let place = one.place.clone();
        let Ok(profile) = &one.profile else {
            checked.push(check::one(one, &cluster));
            continue;
        };
        let profile = profile.clone();
        let validated = validate(&profile, &cluster);
        if let Some(valid) = &validated.profile {
            let rendered = render::render(valid);
            let live = snapshot::live(&client, cluster.served, &valid.name, &rendered).await?;
            let wanted = Wanted {
                given: &profile,
                profile: valid,
                rendered: &rendered,
                cluster: &cluster,
                live: &live,
                warnings: &validated.problems,
            };
            plans.push(plan::plan(&wanted).map_err(|source| CommandError::Merge {
                pool: valid.pool.name.clone(),
                source,
            })?);
        }
        checked.push(Checked {
            place,
            valid: validated.profile,
            problems: validated.problems,
        });
    }
    if report::all_valid(&checked) {
        return Ok(Some(plans));
    }
    report::tell(&checked);
    Ok(None)
}

/// The cluster as if the profiles were applied: each in the place of its namesake, whose identity it takes.
fn put_in(given: &mut [GivenProfile], cluster: &mut Cluster) {
    for one in given {
        let Ok(profile) = &mut one.profile else {
            continue;
        };
        let name = profile.name_any();
        match cluster
            .profiles
            .iter_mut()
            .find(|live| live.name_any() == name)
        {
            Some(live) => {
                profile.metadata.uid.clone_from(&live.metadata.uid);
                *live = profile.clone();
                // Others are judged by what this one says, not by what was made of what it said before.
                live.metadata.uid = None;
            }
            None => cluster.profiles.push(profile.clone()),
        }
    }
}
