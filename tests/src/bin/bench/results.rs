//! What came of all turns, and how it is compared.

use crate::{
    figures::{Figure, Sample},
    repositories::Kind,
};

/// One way to do a piece of work on a repository, and what each turn took.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) repository: String,
    pub(crate) kind: Kind,
    pub(crate) work: &'static str,
    pub(crate) way: &'static str,
    /// By round; nothing where it failed.
    pub(crate) turns: Vec<Option<Sample>>,
    /// What the last failure said.
    pub(crate) failure: Option<String>,
}

impl Outcome {
    /// Returns the median of a figure over all rounds; nothing if none was right.
    pub(crate) fn median(&self, figure: Figure) -> Option<f64> {
        median(self.turns.iter().flatten().map(figure).collect())
    }

    /// Returns the least and the most of a figure.
    pub(crate) fn range(&self, figure: Figure) -> Option<(f64, f64)> {
        let figures = || self.turns.iter().flatten().map(figure);
        let first = figures().next()?;
        Some((
            figures().fold(first, f64::min),
            figures().fold(first, f64::max),
        ))
    }

    /// Returns the figure that 95 of 100 rounds do not exceed: of fewer than 20 rounds the most.
    pub(crate) fn p95(&self, figure: Figure) -> Option<f64> {
        let mut figures: Vec<_> = self.turns.iter().flatten().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let rank = (figures.len() * 95).div_ceil(100);
        figures.get(rank.checked_sub(1)?).copied()
    }

    /// Returns the median of this figure as a multiple of the other's, each round compared with itself.
    pub(crate) fn ratio(&self, figure: Figure, other: &Self, others: Figure) -> Option<f64> {
        let rounds = self.turns.iter().zip(&other.turns);
        let ratios = rounds.filter_map(|(own, other)| {
            let other = others(other.as_ref()?);
            (other > 0.0).then_some(figure(own.as_ref()?) / other)
        });
        median(ratios.collect())
    }

    /// Returns the median of the difference, each round compared with itself.
    pub(crate) fn difference(&self, figure: Figure, other: &Self) -> Option<f64> {
        let rounds = self.turns.iter().zip(&other.turns);
        let differences =
            rounds.filter_map(|(own, other)| Some(figure(own.as_ref()?) - figure(other.as_ref()?)));
        median(differences.collect())
    }
}

/// Returns the outcomes of each piece of work on each repository, in the order in which it was done.
pub(crate) fn by_work(outcomes: &[Outcome]) -> Vec<&[Outcome]> {
    let same = |a: &Outcome, b: &Outcome| (&a.repository, a.work) == (&b.repository, b.work);
    outcomes.chunk_by(same).collect()
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (first, second) = (figures.len().checked_sub(1)? / 2, figures.len() / 2);
    Some((figures[first] + figures[second]) / 2.0)
}
