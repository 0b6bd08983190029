//! "Did you mean": the known name nearest to an unknown one. It never corrects anything itself.

/// Longest text that is compared: beyond it nobody mistyped a name.
const MAX_COMPARED: usize = 64;

/// The candidate that the text most probably stands for; none when nothing is near.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.is_empty() || given.len() > MAX_COMPARED {
        return None;
    }
    let lowered = given.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&lowered, &candidate.to_lowercase());
            (distance, candidate)
        })
        // One slip in three letters, at most three in all: more is another word.
        .filter(|(distance, candidate)| {
            *distance <= (candidate.len().max(given.len()) / 3).clamp(1, 3)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// What to do about an unknown name: the nearest one, or what there is when that is a short list.
pub fn remedy<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(candidate) = nearest(given, candidates.clone()) {
        return format!("did you mean `{candidate}`?");
    }
    let all: Vec<&str> = candidates.into_iter().collect();
    match all.len() {
        0 => "remove it".to_owned(),
        1..=16 => format!("use one of: {}", all.join(", ")),
        _ => "remove it, or look up its name".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_another_word_is_not() {
        let names = ["reserved", "isolated", "offlined", "smt"];
        assert_eq!(nearest("isolatd", names), Some("isolated"));
        assert_eq!(nearest("Isolated", names), Some("isolated"));
        assert_eq!(nearest("resrevd", names), Some("reserved"));
        assert_eq!(nearest("governor", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"isolated".repeat(100), names), None);
        assert_eq!(
            remedy("x", names),
            "use one of: reserved, isolated, offlined, smt"
        );
    }
}
