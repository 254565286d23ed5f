//! Popularity: requests for the object of rank k are in proportion to 1 / k^s.

use crate::random::Random;

/// A Zipf distribution over a number of ranks.
#[derive(Debug)]
pub struct Zipf {
    /// For each rank, the sum of the weights up to it.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Distributes requests over `ranks` ranks. The greater `exponent`, the more of them go to the first.
    pub fn new(exponent: f64, ranks: u32) -> Self {
        let mut sum = 0.0;
        let weights = (1..=ranks).map(|rank| f64::from(rank).powf(-exponent));
        let cumulative = weights.map(|weight| {
            sum += weight;
            sum
        });
        Self { cumulative: cumulative.collect() }
    }

    /// Returns the number of ranks.
    pub fn ranks(&self) -> u32 {
        u32::try_from(self.cumulative.len()).expect("as many as it was made for")
    }

    /// Returns a random rank, counted from zero.
    pub fn rank(&self, random: &mut Random) -> u32 {
        let total = self.cumulative.last().copied().unwrap_or_default();
        let drawn = random.fraction() * total;
        let rank = self.cumulative.partition_point(|&sum| sum <= drawn);
        u32::try_from(rank).expect("less than the number of ranks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANKS: u32 = 10_000;
    const DRAWS: u32 = 200_000;

    /// Compares the shares of the first ranks, and of all others together, with the closed form.
    #[track_caller]
    fn check(exponent: f64) {
        let (zipf, mut random) = (Zipf::new(exponent, RANKS), Random::new(7));
        let mut counts = [0_u32; 21];
        for _ in 0..DRAWS {
            let rank = zipf.rank(&mut random);
            assert!(rank < RANKS);
            counts[usize::try_from(rank).unwrap().min(20)] += 1;
        }
        let weight = |rank: u32| 1.0 / f64::from(rank).powf(exponent);
        let total: f64 = (1..=RANKS).map(weight).sum();
        let mut shares: Vec<f64> = (1..=20).map(|rank| weight(rank) / total).collect();
        shares.push(1.0 - shares.iter().sum::<f64>());
        for (rank, (&count, share)) in counts.iter().zip(shares).enumerate() {
            let expected = share * f64::from(DRAWS);
            let deviation = (expected * (1.0 - share)).sqrt();
            let off = (f64::from(count) - expected).abs();
            assert!(off < 4.5 * deviation, "s = {exponent}, rank {rank}: {count}, not {expected:.0}");
        }
    }

    #[test]
    fn the_first_ranks_are_drawn_as_often_as_the_closed_form_says() {
        check(0.0);
        check(0.7);
        check(0.9);
        check(1.1);
    }

    #[test]
    fn one_rank_is_always_drawn() {
        let (zipf, mut random) = (Zipf::new(0.9, 1), Random::new(7));
        assert_eq!(zipf.ranks(), 1);
        assert!((0..1_000).all(|_| zipf.rank(&mut random) == 0));
    }
}
