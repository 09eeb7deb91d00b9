//! Characters that nobody sees, or that change the order in which others are shown.
//!
//! From Unicode 16.0: the general categories Cf, Zl and Zp (`UnicodeData.txt`), `Default_Ignorable_Code_Point`
//! (`DerivedCoreProperties.txt`), which has variation selectors, tags and fillers, and the blank Braille pattern. Control
//! characters (Cc) have a rule of their own.

/// First and last of each range, in order.
const RANGES: [(char, char); 26] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether a character is one of them.
pub(crate) fn is_invisible(c: char) -> bool {
    let after = RANGES.partition_point(|(_, last)| *last < c);
    RANGES.get(after).is_some_and(|(first, _)| *first <= c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_known_and_what_is_seen_is_let_through() {
        assert!(RANGES.is_sorted_by(|one, next| one.0 <= one.1 && one.1 < next.0));
        let zero_width_joiner = '\u{200d}';
        let right_to_left_override = '\u{202e}';
        let isolate = '\u{2066}';
        let tag = '\u{e0041}';
        let variation_selector = '\u{e0100}';
        let soft_hyphen = '\u{ad}';
        for c in [
            zero_width_joiner,
            right_to_left_override,
            isolate,
            tag,
            variation_selector,
            soft_hyphen,
            '\u{2028}',
            '\u{3164}',
            '\u{feff}',
        ] {
            assert!(is_invisible(c), "{c:?}");
        }
        for c in ['a', ' ', 'é', 'ß', '漢', 'ע', 'ع', '한', '🦀', '\u{2801}'] {
            assert!(!is_invisible(c), "{c:?}");
        }
    }
}
