//! The rules on a short simulated period. A whole week: `cargo run --release --example learner`.

#[path = "../../../examples/learner/week.rs"]
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
mod week;

use week::WeekConfig;

#[test]
fn planted_incidents_are_found_without_noise() {
    let config = WeekConfig { agents: 40, hours: 84, per_hour: 60, seed: 7 };
    let week = week::run(&config);
    println!("{config:?}: {} experiences, {} keys, {:#?}", week.experiences, week.keys.len(), week.rules);
    for (rule, score) in week.rules.iter().map(|(rule, score)| (*rule, *score)).chain([("overall", week.overall())]) {
        assert!(score.planted > 0, "{rule}: nothing planted");
        assert!(score.precision() >= 0.95, "{rule}: {score:?}; noise {:#?}", week.noise);
        assert!(score.recall() >= 0.95, "{rule}: {score:?}; missed {:#?}", week.missed);
    }
    assert!(week.noise.is_empty(), "lessons from noise: {:#?}", week.noise);
    // the failing model is one lesson; the lessons of its agents name it as their cause
    assert_eq!(week.rules["shared_cause"].lessons, 1);
    let bursts = week.rules["error_burst"];
    assert!(bursts.folded >= config.agents / 4 && bursts.lessons - bursts.folded == bursts.planted, "{bursts:?}");
}
