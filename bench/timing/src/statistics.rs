//! Statistical comparison of two samples of response times.
//!
//! The statistic is the AUC (Mann-Whitney's U divided by the number of pairs): the probability that, of one time of
//! each kind, the second is longer; ties count half. It is the advantage of an attacker who sees one time of each kind:
//! none at 0.5. It compares the whole distributions and is robust against outliers. In addition, the differences of the
//! medians and of the lower deciles, which have the least noise, are computed.
//!
//! Each estimate has a 99 % confidence interval from a bootstrap over blocks of neighbouring pairs, since disturbances
//! of the machine affect neighbours alike and single times are not independent.
//!
//! Two kinds are indistinguishable if the AUC's interval lies within 0.5 ± the allowed deviation, distinguishable if it
//! lies outside, else the result is inconclusive.

use crate::sample::TimingPair;

/// Pairs per block of the bootstrap.
const BOOTSTRAP_BLOCK: usize = 50;
/// Samples drawn by the bootstrap.
const BOOTSTRAP_SAMPLES: usize = 600;
/// The probability that an interval does not contain the true value.
const SIGNIFICANCE: f64 = 0.01;

/// An estimate and its confidence interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// The second kind's times compared with the first kind's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    pub pairs: usize,
    /// The first kind's median, in nanoseconds.
    pub first_median: f64,
    pub auc: Estimate,
    /// The second median minus the first one, in nanoseconds.
    pub median_difference: Estimate,
    /// The second lower decile minus the first one, in nanoseconds.
    pub decile_difference: Estimate,
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distinguishability {
    Indistinguishable,
    Inconclusive,
    Distinguishable,
}

impl Comparison {
    /// Computes the estimates and, by a bootstrap, their confidence intervals.
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

    /// Whether the AUC's interval lies within, outside, or across 0.5 ± `max_deviation`.
    pub(crate) fn distinguishability(&self, max_deviation: f64) -> Distinguishability {
        let Estimate { low, high, .. } = self.auc;
        if low > 0.5 - max_deviation && high < 0.5 + max_deviation {
            Distinguishability::Indistinguishable
        } else if low > 0.5 + max_deviation || high < 0.5 - max_deviation {
            Distinguishability::Distinguishable
        } else {
            Distinguishability::Inconclusive
        }
    }
}

/// AUC, difference of the medians and of the lower deciles; and the first median.
fn point_estimates(pairs: &[TimingPair]) -> ([f64; 3], f64) {
    let sorted = |time: fn(&TimingPair) -> f64| {
        let mut times: Vec<f64> = pairs.iter().map(time).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let (first, second) = (sorted(|pair| pair.first_nanos), sorted(|pair| pair.second_nanos));
    let difference = |q| quantile(&second, q) - quantile(&first, q);
    ([auc(&first, &second), difference(0.5), difference(0.1)], quantile(&first, 0.5))
}

/// The AUC of two sorted samples: the share of pairs of which the second time is longer; ties count half.
fn auc(first: &[f64], second: &[f64]) -> f64 {
    let (mut below, mut up_to, mut sum) = (0, 0, 0);
    for time in second {
        while below < first.len() && first[below] < *time {
            below += 1;
        }
        while up_to < first.len() && first[up_to] <= *time {
            up_to += 1;
        }
        // Smaller times count twice here, equal ones once; the sum is halved below.
        sum += below + up_to;
    }
    sum as f64 / 2.0 / (first.len() * second.len()) as f64
}

/// The quantile `q` of a sorted sample, interpolated linearly.
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

    /// Realistic times: a narrow body and a long tail.
    fn sample_times(count: usize, shift: f64) -> Vec<TimingPair> {
        let mut state = 7_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut time = || 100_000.0 + 20_000.0 * (uniform() + uniform() + uniform()) - 30_000.0 * uniform().ln();
        (0..count).map(|_| TimingPair { first_nanos: time(), second_nanos: time() + shift }).collect()
    }

    #[test]
    fn equal_samples_are_indistinguishable_and_a_shift_is_detected() {
        let same = Comparison::from_pairs(&sample_times(4_000, 0.0));
        assert_eq!(same.distinguishability(0.03), Distinguishability::Indistinguishable, "{same:?}");
        let shifted = Comparison::from_pairs(&sample_times(4_000, 10_000.0));
        assert_eq!(shifted.distinguishability(0.03), Distinguishability::Distinguishable, "{shifted:?}");
        assert!(shifted.median_difference.low < 10_000.0 && 10_000.0 < shifted.median_difference.high, "{shifted:?}");
    }

    #[test]
    fn few_samples_are_inconclusive() {
        let few = Comparison::from_pairs(&sample_times(100, 0.0));
        assert_eq!(few.distinguishability(0.03), Distinguishability::Inconclusive, "{few:?}");
    }

    #[test]
    fn auc_is_the_share_of_ordered_pairs_with_ties_counted_half() {
        assert_eq!(auc(&[1.0, 2.0], &[3.0, 4.0]), 1.0);
        assert_eq!(auc(&[3.0, 4.0], &[1.0, 2.0]), 0.0);
        assert_eq!(auc(&[1.0, 2.0, 2.0], &[2.0, 2.0]), (1.0 + 0.5 + 0.5) / 3.0);
    }

    #[test]
    fn quantiles_interpolate_and_are_0_of_an_empty_sample() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
