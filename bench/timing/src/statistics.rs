//! Comparing two samples of times.
//!
//! The measure is the AUC (Mann-Whitney's U divided by the number of pairs): how often, of one time of each kind, the
//! second is the longer one, ties by half. It is what a guesser gains who sees one time of each: at 0.5 nothing. It
//! cares for the whole distributions and not for outliers. Beside it stand the differences of the medians and of the
//! lower deciles, where there is the least noise.
//!
//! Each comes with a confidence interval of 99 %, by a bootstrap over blocks of neighbouring pairs: what disturbs a
//! machine disturbs neighbours alike, and single times would pretend to be more independent than they are.
//!
//! Two kinds are *alike* if the AUC's interval lies within 0.5 ± the band, *apart* if it lies outside, else *unclear*.

use crate::sample::TimingPair;

/// How many pairs are neighbours.
const BOOTSTRAP_BLOCK: usize = 50;
/// How many samples are drawn.
const BOOTSTRAP_SAMPLES: usize = 600;
/// The chance that an interval misses what it is about.
const SIGNIFICANCE: f64 = 0.01;

/// A figure and its confidence interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// How the second kind's times compare to the first kind's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    pub pairs: usize,
    /// The first kind's median, in nanoseconds.
    pub first_median: f64,
    pub auc: Estimate,
    /// The second median less the first one, in nanoseconds.
    pub median_difference: Estimate,
    /// The same of the lower deciles.
    pub decile_difference: Estimate,
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distinguishability {
    Indistinguishable,
    Inconclusive,
    Distinguishable,
}

impl Comparison {
    pub(crate) fn from_pairs(pairs: &[TimingPair]) -> Self {
        let (value, median) = point_estimates(pairs);
        let blocks: Vec<&[TimingPair]> = pairs.chunks(BOOTSTRAP_BLOCK).collect();
        let mut state = 0x5DEE_CE66_D1CE_4E5B_u64;
        let mut draws: [Vec<f64>; 3] = Default::default();
        for _ in 0..BOOTSTRAP_SAMPLES {
            let drawn: Vec<TimingPair> = (0..blocks.len())
                .flat_map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = usize::try_from((state >> 33) % blocks.len() as u64).unwrap_or_default();
                    blocks[at].iter().copied()
                })
                .collect();
            for (draws, figure) in draws.iter_mut().zip(point_estimates(&drawn).0) {
                draws.push(figure);
            }
        }
        let [auc, medians, deciles] = [0, 1, 2].map(|which: usize| {
            draws[which].sort_by(f64::total_cmp);
            let (low, high) =
                (quantile(&draws[which], SIGNIFICANCE / 2.0), quantile(&draws[which], 1.0 - SIGNIFICANCE / 2.0));
            Estimate { value: value[which], low, high }
        });
        Self { pairs: pairs.len(), first_median: median, auc, median_difference: medians, decile_difference: deciles }
    }

    pub(crate) fn distinguishability(&self, band: f64) -> Distinguishability {
        let Estimate { low, high, .. } = self.auc;
        if low > 0.5 - band && high < 0.5 + band {
            Distinguishability::Indistinguishable
        } else if low > 0.5 + band || high < 0.5 - band {
            Distinguishability::Distinguishable
        } else {
            Distinguishability::Inconclusive
        }
    }
}

/// AUC, difference of medians and of lower deciles; and the first median.
fn point_estimates(pairs: &[TimingPair]) -> ([f64; 3], f64) {
    let sorted = |of: fn(&TimingPair) -> f64| {
        let mut times: Vec<f64> = pairs.iter().map(of).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let (first, second) = (sorted(|pair| pair.first_nanos), sorted(|pair| pair.second_nanos));
    let differ = |q| quantile(&second, q) - quantile(&first, q);
    ([auc(&first, &second), differ(0.5), differ(0.1)], quantile(&first, 0.5))
}

/// Of two sorted samples.
fn auc(first: &[f64], second: &[f64]) -> f64 {
    let (mut below, mut upto, mut sum) = (0, 0, 0);
    for time in second {
        while below < first.len() && first[below] < *time {
            below += 1;
        }
        while upto < first.len() && first[upto] <= *time {
            upto += 1;
        }
        // Those below count whole, equal ones half.
        sum += below + upto;
    }
    sum as f64 / 2.0 / (first.len() * second.len()) as f64
}

/// Of a sorted sample, between neighbours in proportion.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = q * last as f64;
    let low = sorted[at.floor() as usize];
    let high = sorted[(at.ceil() as usize).min(last)];
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times as they are: a body, and a long tail.
    fn sample_times(count: usize, shift: f64) -> Vec<TimingPair> {
        let mut state = 7_u64;
        let mut chance = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut time = || 100_000.0 + 20_000.0 * (chance() + chance() + chance()) - 30_000.0 * chance().ln();
        (0..count).map(|_| TimingPair { first_nanos: time(), second_nanos: time() + shift }).collect()
    }

    #[test]
    fn equal_samples_are_indistinguishable_and_a_shift_is_detected() {
        let same = Comparison::from_pairs(&sample_times(4_000, 0.0));
        assert_eq!(same.distinguishability(0.03), Distinguishability::Indistinguishable, "{same:?}");
        let shifted = Comparison::from_pairs(&sample_times(4_000, 10_000.0));
        assert_eq!(shifted.distinguishability(0.03), Distinguishability::Distinguishable, "{shifted:?}");
        assert!(shifted.median_difference.low < 10_000.0 && 10_000.0 < shifted.median_difference.high, "{shifted:?}");
        let few = Comparison::from_pairs(&sample_times(100, 0.0));
        assert_eq!(few.distinguishability(0.03), Distinguishability::Inconclusive, "{few:?}");
    }

    #[test]
    fn auc_is_the_share_of_ordered_pairs() {
        assert_eq!(auc(&[1.0, 2.0], &[3.0, 4.0]), 1.0);
        assert_eq!(auc(&[3.0, 4.0], &[1.0, 2.0]), 0.0);
        assert_eq!(auc(&[1.0, 2.0, 2.0], &[2.0, 2.0]), (1.0 + 0.5 + 0.5) / 3.0);
    }

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
