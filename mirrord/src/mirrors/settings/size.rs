//! How much room something may take, as settings hold it.

use super::value::{Refusal, Value, number};

/// The units, each 1024 of the next.
const UNITS: [(char, u64); 4] = [
    ('T', 1 << 40),
    ('G', 1 << 30),
    ('M', 1 << 20),
    ('K', 1 << 10),
];

/// What stands for no bound: as in the switches, and as where something never happens. Nought is none of them: it could
/// as well mean that nothing may stay.
const NONE: [&str; 4] = ["no", "false", "off", "never"];

/// How much room there is, in bytes; `None` is as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget(pub(crate) Option<u64>);

impl Default for Budget {
    /// What a laptop can spare, and hundreds of projects fit in.
    fn default() -> Self {
        Self(Some(50 << 30))
    }
}

/// A number and a unit, or that there is no bound.
impl Value for Budget {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        if NONE.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            self.0 = None;
            return Ok(());
        }
        let bytes = bytes(text).filter(|bytes| *bytes > 0);
        self.0 = Some(bytes.ok_or_else(|| {
            let kind = "a number and one of 'K', 'M', 'G', 'T', as in '500M' or '50G', or 'no'";
            Refusal::Not(kind.to_owned())
        })?);
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let Some(bytes) = self.0 else {
            return vec![NONE[0].to_owned()];
        };
        // Every budget that can be set is so many of the smallest unit.
        let fits = UNITS.iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
        let (name, unit) = fits.unwrap_or(&UNITS[3]);
        vec![format!("{}{name}", bytes / unit)]
    }
}

fn bytes(text: &str) -> Option<u64> {
    let mut units = UNITS.into_iter();
    let (count, unit) = units.find_map(|(name, unit)| {
        let count = text.strip_suffix([name, name.to_ascii_lowercase()])?;
        Some((count, unit))
    })?;
    number(count)?.checked_mul(unit)
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
    fn a_budget_is_a_number_and_a_unit_or_none() {
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
