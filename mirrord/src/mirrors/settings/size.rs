//! Sizes on disk: a number and one of the units `K`, `M`, `G`, `T`. `bytesize` would read `1K` as 1000 bytes, and print
//! `46.6 GiB`.

use super::value::{Refusal, Value, parse_number};

/// The units, the largest first.
const UNITS: [(char, u64); 4] = [
    ('T', 1 << 40),
    ('G', 1 << 30),
    ('M', 1 << 20),
    ('K', 1 << 10),
];

/// The words for no limit: those for 'no', and 'never'. `0` is none of them, because it could also mean that nothing may
/// be kept.
const NO_LIMIT: [&str; 4] = ["no", "false", "off", "never"];

/// A limit in bytes; None is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget(pub(crate) Option<u64>);

impl Default for Budget {
    /// A laptop can spare that much, and hundreds of projects fit in.
    fn default() -> Self {
        Self(Some(50 << 30))
    }
}

/// A number and a unit, or `no`.
impl Value for Budget {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        if NO_LIMIT.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            self.0 = None;
            return Ok(());
        }
        let bytes = parse_size(text).filter(|bytes| *bytes > 0);
        self.0 = Some(bytes.ok_or_else(|| {
            let kind = "a number and one of 'K', 'M', 'G', 'T', as in '500M' or '50G', or 'no'";
            Refusal::Expected(kind.to_owned())
        })?);
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let Some(bytes) = self.0 else {
            return vec![NO_LIMIT[0].to_owned()];
        };
        // Every budget that can be set is a multiple of the smallest unit.
        let fits = UNITS.iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
        let (name, unit) = fits.unwrap_or(&UNITS[3]);
        vec![format!("{}{name}", bytes / unit)]
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let mut units = UNITS.into_iter();
    let (count, unit) = units.find_map(|(name, unit)| {
        let count = text.strip_suffix([name, name.to_ascii_lowercase()])?;
        Some((count, unit))
    })?;
    parse_number(count)?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Option<u64>> {
        let mut budget = Budget(Some(7));
        budget.set(text).ok().map(|()| budget.0)
    }

    #[test]
    fn a_budget_is_a_number_and_a_unit_or_no_limit() {
        let table = [
            ("1K", 1 << 10, "1K"),
            ("1k", 1 << 10, "1K"),
            ("500M", 500 << 20, "500M"),
            ("2048M", 2 << 30, "2G"),
            ("50g", 50 << 30, "50G"),
            ("3T", 3 << 40, "3T"),
            ("1536G", 1536 << 30, "1536G"),
        ];
        for (text, bytes, written) in table {
            assert_eq!(read(text), Some(Some(bytes)), "{text}");
            assert_eq!(Budget(Some(bytes)).lines(), [written], "{text}");
        }
        for text in ["no", "No", "off", "false", "never"] {
            assert_eq!(read(text), Some(None), "{text}");
        }
        assert_eq!(Budget(None).lines(), ["no"]);
        for text in [
            "",
            "G",
            "50",
            "0",
            "0G",
            "-1G",
            "+1G",
            "1.5G",
            "1 G",
            " 1G",
            "1GB",
            "1GiB",
            "50P",
            "yes",
            "99999999999999999999G",
            "99999999T",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_budget_is_read_as_it_was_written(kibibytes in 1..=u64::MAX >> 10) {
            let budget = Budget(Some(kibibytes << 10));
            prop_assert_eq!(read(&budget.lines()[0]), Some(budget.0));
        }
    }
}
