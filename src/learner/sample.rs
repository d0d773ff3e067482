//! Sampling by hashes of ids: the same result for the same id on every machine.

/// FNV-1a with a final mix (splitmix64), so that ids that differ in their last digit are far apart.
#[must_use]
pub fn hash(id: &str) -> u64 {
    let fnv = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Selects `pct` percent of all hashes.
#[must_use]
pub fn is_sampled(hash: u64, pct: f64) -> bool {
    const STEPS: u64 = 1_000_000;
    #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
    let fraction = (hash % STEPS) as f64 / STEPS as f64;
    fraction * 100.0 < pct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_ids_are_sampled_at_the_given_rate() {
        let ids = || (0..100_000).map(|n| hash(&format!("event-{n}")));
        let sampled = ids().filter(|hash| is_sampled(*hash, 10.0)).count();
        assert!((9_600..=10_400).contains(&sampled), "{sampled}");
        assert_eq!(ids().filter(|hash| is_sampled(*hash, 0.0)).count(), 0);
        assert_eq!(ids().filter(|hash| is_sampled(*hash, 100.0)).count(), 100_000);
    }
}
