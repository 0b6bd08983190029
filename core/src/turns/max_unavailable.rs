//! How many nodes of a pool may be out of service at once, as the Machine Config Operator counts it.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// `maxUnavailable` of a pool of `nodes`: a number, or a percentage that is rounded down. Never less than 1, and 1 when
/// nothing is said or it can't be read.
pub fn max_unavailable(setting: Option<&IntOrString>, nodes: usize) -> usize {
    let count = match setting {
        Some(IntOrString::Int(count)) => usize::try_from(*count).ok(),
        Some(IntOrString::String(text)) => match text.strip_suffix('%') {
            Some(percent) => percent
                .parse::<usize>()
                .ok()
                .and_then(|percent| Some(nodes.checked_mul(percent)? / 100)),
            None => text.parse().ok(),
        },
        None => None,
    };
    count.unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_down_and_one_is_the_least() {
        let text = |text: &str| Some(IntOrString::String(text.to_owned()));
        for (setting, nodes, wanted) in [
            (None, 10, 1),
            (Some(IntOrString::Int(3)), 10, 3),
            (Some(IntOrString::Int(0)), 10, 1),
            (Some(IntOrString::Int(-4)), 10, 1),
            (text("10%"), 19, 1),
            (text("10%"), 20, 2),
            (text("100%"), 7, 7),
            (text("1%"), 7, 1),
            (text("2"), 7, 2),
            (text("nonsense"), 7, 1),
        ] {
            assert_eq!(
                max_unavailable(setting.as_ref(), nodes),
                wanted,
                "{setting:?} of {nodes}"
            );
        }
    }
}
