//! `plan`: the steps from here, as far as they can be foreseen, by asking `core::kernel::next` again and again with what
//! each step would leave behind. Changes nothing, downloads nothing.

mod foresee;

use std::fmt::Write as _;

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
    let mut steps: Vec<Value> = Vec::new();
    let mut text = String::new();
    let mut next = first.clone();
    let mut end = None;
    for _ in 0..STEPS {
        if !matches!(next.step, Step::Rest | Step::Save(_)) {
            let words = words(&next.step);
            // Writing to a String never fails.
            let _ = writeln!(text, "{:>3}. {words}", steps.len() + 1);
            let argv = match &next.step {
                Step::Run(command) => Some(command.argv()),
                _ => None,
            };
            steps.push(json!({
                "step": agent::name(&next.step), "phase": next.phase, "argv": argv, "words": words,
            }));
        }
        match foresee(&wanted, &mut observed, &next.step) {
            Foreseen::Goes => {}
            Foreseen::Ends(words) => {
                end = words;
                break;
            }
        }
        next = kernel::next(&wanted, &observed);
    }
    let message = next
        .conditions
        .first()
        .map(|condition| condition.message.clone())
        .unwrap_or_default();
    let last = end.unwrap_or_else(|| format!("Then {:?}: {message}", next.phase));
    if steps.is_empty() {
        let _ = writeln!(text, "Nothing to do. {:?}: {message}", next.phase);
    } else {
        let _ = writeln!(text, "{last}");
    }
    let exit = if steps.is_empty() {
        Exit::Success
    } else {
        Exit::Differs
    };
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
