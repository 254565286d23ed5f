//! Formats numbers for people.

const UNITS: [(&str, u64); 5] =
    [("B", 1), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)];

/// Returns a count with its noun: `1 object`, `2 objects`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Returns a number of bytes in its largest decimal unit, with one fractional digit unless that is zero. Further
/// digits are cut off.
pub(crate) fn size(bytes: u64) -> String {
    let (unit, factor) = UNITS.into_iter().rev().find(|(_, factor)| bytes >= *factor).unwrap_or(("B", 1));
    let whole = bytes / factor;
    match (bytes % factor) * 10 / factor {
        0 => format!("{whole} {unit}"),
        tenths => format!("{whole}.{tenths} {unit}"),
    }
}

/// Returns untrusted text with control characters replaced, and those that change the direction of what follows.
pub(crate) fn shown(text: &str) -> String {
    let is_harmless = |one: char| {
        !one.is_control()
            && !matches!(one, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|one| if is_harmless(one) { one } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Returns a number of seconds in its two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let Some(first) = units.iter().position(|(_, length)| seconds >= *length) else { return "0s".to_owned() };
    let (unit, length) = units[first];
    let whole = format!("{}{unit}", seconds / length);
    match units.get(first + 1).map(|(unit, length_of_next)| (unit, seconds % length / length_of_next)) {
        None | Some((_, 0)) => whole,
        Some((unit, rest)) => format!("{whole} {rest}{unit}"),
    }
}

/// Returns `part` of `total` in per cent with one decimal, or `-` if `total` is 0.
pub(crate) fn ratio(part: u64, total: u64) -> String {
    let Some(per_mille) = (u128::from(part) * 1000).checked_div(u128::from(total)) else {
        return "-".to_owned();
    };
    format!("{}.{}%", per_mille / 10, per_mille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        for (count, words) in [(0, "0 objects"), (1, "1 object"), (2, "2 objects")] {
            assert_eq!(counted(count, "object"), words);
        }
    }

    #[test]
    fn sizes_have_a_unit_and_one_decimal_at_most() {
        for (bytes, words) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 KB"),
            (1_234_567, "1.2 MB"),
            (256_000_000, "256 MB"),
            (999_999_999, "999.9 MB"),
            (5_050_000_000_000, "5 TB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(size(bytes), words);
        }
    }

    #[test]
    fn what_a_terminal_obeys_is_replaced() {
        // The last one is CSI in one character.
        assert_eq!(shown("a\u{1b}[2J\nb\u{7}\u{9b}31m"), "a\u{fffd}[2J\u{fffd}b\u{fffd}\u{fffd}31m");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, words) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (61, "1m 1s"),
            (3_600, "1h"),
            (90_061, "1d 1h"),
            (86_459, "1d"),
        ] {
            assert_eq!(duration(seconds), words);
        }
    }

    #[test]
    fn ratios_are_per_cent() {
        for (part, total, words) in
            [(0, 0, "-"), (0, 3, "0.0%"), (2, 3, "66.6%"), (3, 3, "100.0%"), (u64::MAX, u64::MAX, "100.0%")]
        {
            assert_eq!(ratio(part, total), words);
        }
    }
}
