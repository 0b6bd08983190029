//! The size of what goes into a status: an API object has to stay small, whatever a node looks like.

use crate::api::realtime_node::Drift;

/// Entries in a status, the last of which may say how many more there are: more than a person reads, and 20 KB at most.
pub const MAX_DRIFT: usize = 32;
/// Characters of a text.
pub const MAX_TEXT: usize = 300;

/// At most `most` entries, with `and M more` in the last; long texts are cut.
pub fn bounded(mut drift: Vec<Drift>, most: usize) -> Vec<Drift> {
    if drift.len() > most {
        let left_out = drift.split_off(most.saturating_sub(1));
        drift.extend(left_out.first().map(|first| Drift {
            area: first.area,
            wanted: "nothing that differs".to_owned(),
            found: format!(
                "and {} more: `realtime-node-daemon audit` on the node lists all",
                left_out.len()
            ),
            since: None,
        }));
    }
    for entry in &mut drift {
        cut(&mut entry.wanted);
        cut(&mut entry.found);
    }
    drift
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        // Room for the mark.
        let end = text[..end]
            .char_indices()
            .next_back()
            .map_or(0, |(last, _)| last);
        text.truncate(end);
        text.push('…');
    }
}
