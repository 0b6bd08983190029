//! `plan`: the steps from here, as far as they can be foreseen, by asking `core::kernel::next` again and again with what
//! each step would leave behind. Changes nothing, downloads nothing.

mod foresee;

use std::fmt::Write as _;

use realtime_core::api::realtime_node::NodePhase;
use realtime_core::kernel::{self, Step, System};
use serde_json::{Value, json};

use super::{Answer, CliError, Exit, observe, status, wanted, wish};
use crate::agent;
use crate::config::Config;
use crate::host::Host;
use foresee::{Foreseen, foresee};

/// A whole switch has about twenty.
const STEPS: usize = 60;

pub(super) async fn answer(host: &Host, config: &Config) -> Result<Answer, CliError> {
    let boot = agent::boot(host)?;
    let wish = wish(host, config)?.ok_or(CliError::NoWish)?;
    let wanted = wanted(&wish, &boot);
    let mut observed = observe(host, config, boot).await?;
    if let System::Other(why) = &observed.system
        && wanted.ours
    {
        return Err(CliError::NotThisHost(why.clone()));
    }
    observed.node.cluster = wish.cluster;
    let first = kernel::next(&wanted, &observed);
    let mut steps: Vec<(Step, NodePhase)> = Vec::new();
    let mut next = first.clone();
    let mut end = None;
    for _ in 0..STEPS {
        if !matches!(next.step, Step::Rest | Step::Save(_)) {
            steps.push((next.step.clone(), next.phase));
        }
        match foresee(&wanted, &mut observed, &next.step) {
            Foreseen::Goes => {}
            Foreseen::Ends(words) => {
                end = words.map(str::to_owned);
                break;
            }
        }
        next = kernel::next(&wanted, &observed);
    }
    // Looking at the source after which nothing follows is nothing that a person plans for.
    while end.is_none() && matches!(steps.last(), Some((Step::Prepare, _))) {
        steps.pop();
    }
    let message = next
        .conditions
        .first()
        .map(|condition| condition.message.clone())
        .unwrap_or_default();
    let last = end.unwrap_or_else(|| format!("Then {:?}: {message}", next.phase));
    let mut text = String::new();
    for (number, (step, _)) in (1..).zip(&steps) {
        // Writing to a String never fails.
        let _ = writeln!(text, "{number:>3}. {}", words(step));
    }
    let exit = if steps.is_empty() {
        let _ = writeln!(text, "Nothing to do. {:?}: {message}", next.phase);
        Exit::Success
    } else {
        let _ = writeln!(text, "{last}");
        Exit::Differs
    };
    let steps: Vec<Value> = steps
        .iter()
        .map(|(step, phase)| {
            let argv = match step {
                Step::Run(command) => Some(command.argv()),
                _ => None,
            };
            json!({"step": agent::name(step), "phase": phase, "argv": argv, "words": words(step)})
        })
        .collect();
    Ok(Answer {
        text,
        json: json!({
            "phase": first.phase,
            "conditions": status::conditions(&first.conditions),
            "steps": steps,
            "end": last,
        }),
        exit,
    })
}

/// A step for a person.
fn words(step: &Step) -> String {
    match step {
        Step::Rest => "nothing".to_owned(),
        Step::Wait { seconds } => format!("look again after {seconds} s"),
        Step::WantTurn => "ask the operator for a turn, and wait for it".to_owned(),
        Step::TakeTurn => "take the turn".to_owned(),
        Step::ReturnTurn => "give the turn back".to_owned(),
        Step::Prepare => "make the packages ready".to_owned(),
        Step::Save(_) => "write down what was done".to_owned(),
        Step::Run(command) => command.line(),
        Step::Cordon => "cordon the node".to_owned(),
        Step::Drain => "drain the node".to_owned(),
        Step::Uncordon => "uncordon the node".to_owned(),
        Step::Reboot => "systemctl reboot".to_owned(),
    }
}
