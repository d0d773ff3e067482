//! Preamble for an agent's next prompt: the most relevant lessons, within a budget of tokens.

use chrono::{DateTime, TimeDelta, Utc};

use crate::history::lessons::LessonMatch;
use crate::model::{Lesson, Severity};

/// Half-life of recency.
const HALF_LIFE: TimeDelta = TimeDelta::days(3);

/// Weights of the score; their sum is 1.
const RELEVANCE: f64 = 0.45;
const RECENCY: f64 = 0.25;
const SEVERITY: f64 = 0.2;
const OWN: f64 = 0.1;

/// Approximate characters of one token in common languages.
const CHARS_PER_TOKEN: usize = 4;

/// A lesson with its score.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedLesson {
    /// The lesson.
    pub lesson: Lesson,
    /// Score, 0 to 1.
    pub score: f64,
}

/// Text to put before a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Preamble {
    /// The text; empty without lessons.
    pub markdown: String,
    /// Approximate number of tokens.
    pub tokens: usize,
    /// The lessons in the text.
    pub lessons: Vec<RankedLesson>,
}

/// Ranks lessons by relevance, recency, severity and confirmed use. Lessons that were used and never helped come last.
#[must_use]
pub fn rank(found: Vec<LessonMatch>, now: DateTime<Utc>) -> Vec<RankedLesson> {
    let max = found.iter().map(|found| found.relevance).fold(0.0, f64::max);
    let mut ranked: Vec<RankedLesson> = found
        .into_iter()
        .map(|LessonMatch { lesson, relevance }| {
            let relevance = if max > 0.0 { relevance / max } else { 0.0 };
            RankedLesson { score: score(&lesson, relevance, now), lesson }
        })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.lesson.lesson_key.cmp(&b.lesson.lesson_key)));
    ranked
}

fn score(lesson: &Lesson, relevance: f64, now: DateTime<Utc>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "seconds and counts are far below 2^52")]
    let (age, helped, used) = (
        (now - lesson.last_seen).num_seconds().max(0) as f64 / HALF_LIFE.num_seconds() as f64,
        lesson.helped as f64,
        (lesson.helped + lesson.not_helped) as f64,
    );
    let severity = match lesson.severity {
        Severity::High => 1.0,
        Severity::Medium => 0.6,
        Severity::Low => 0.3,
    };
    let own = if lesson.agent_id.is_some() { 1.0 } else { 0.0 };
    let sum = RELEVANCE * relevance + RECENCY * 0.5_f64.powf(age) + SEVERITY * severity + OWN * own;
    // probability that it helps, by the rule of succession: 0.5 without reports
    let usefulness = (helped + 1.0) / (used + 2.0);
    sum * (0.5 + usefulness).min(1.0) * if used >= 3.0 && helped == 0.0 { usefulness } else { 1.0 }
}

/// Renders the text for `agent` with as many of the best lessons as fit into `max_tokens`.
#[must_use]
pub fn render(agent: &str, ranked: Vec<RankedLesson>, max_tokens: usize) -> Preamble {
    let heading = format!("## Lessons from earlier runs of {}\n\n", one_line(agent));
    let budget = max_tokens.saturating_mul(CHARS_PER_TOKEN);
    let (mut markdown, mut chars) = (heading.clone(), heading.chars().count());
    let mut lessons = Vec::new();
    for one in ranked {
        let Lesson { title, text, last_seen, lesson_key, .. } = &one.lesson;
        let seen = last_seen.format("%Y-%m-%d");
        let line = format!("- **{}** ({seen}): {} `{lesson_key}`\n", one_line(title), one_line(text));
        let length = line.chars().count();
        // a long lesson does not exclude shorter ones after it
        if chars + length <= budget {
            chars += length;
            markdown.push_str(&line);
            lessons.push(one);
        }
    }
    if lessons.is_empty() {
        return Preamble { markdown: String::new(), tokens: 0, lessons };
    }
    Preamble { markdown, tokens: chars.div_ceil(CHARS_PER_TOKEN), lessons }
}

/// Joins lines, so that the text of an error cannot become a heading of the prompt.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lesson(key: &str, change: impl FnOnce(&mut Lesson)) -> LessonMatch {
        let lesson = json!({
            "lesson_key": key, "root_key": key, "agent_id": "agent:a", "rule": "r", "signature": "s", "status": "active",
            "version": 1, "severity": "medium", "title": "Title", "text": "Text\n# with a heading", "evidence": [],
            "occurrences": 1, "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:00:00Z",
            "replay_count": 0, "helped": 0, "not_helped": 0, "retirement_proposed": false, "reason": null,
            "superseded_by": null, "superseded_at": null, "ts": "2026-01-01T00:00:00Z",
        });
        let mut lesson: Lesson = serde_json::from_value(lesson).unwrap();
        change(&mut lesson);
        LessonMatch { lesson, relevance: 0.0 }
    }

    fn now() -> DateTime<Utc> {
        "2026-01-02T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_most_relevant_come_first_and_the_useless_last() {
        let found = vec![
            lesson("useless", |lesson| (lesson.severity, lesson.not_helped) = (Severity::High, 5)),
            lesson("old", |lesson| lesson.last_seen -= TimeDelta::days(30)),
            lesson("plain", |_| {}),
            lesson("severe", |lesson| lesson.severity = Severity::High),
            lesson("others", |lesson| lesson.agent_id = None),
            LessonMatch { relevance: 3.0, ..lesson("relevant", |_| {}) },
        ];
        let ranked = rank(found, now());
        let order: Vec<&str> = ranked.iter().map(|one| &*one.lesson.lesson_key).collect();
        assert_eq!(order, ["relevant", "severe", "plain", "others", "old", "useless"]);
        assert!(ranked.iter().all(|one| (0.0..=1.0).contains(&one.score)));
    }

    #[test]
    fn the_text_fits_its_budget_with_one_line_for_each_lesson() {
        let found = vec![
            lesson("long", |lesson| (lesson.text, lesson.severity) = ("x".repeat(4_000), Severity::High)),
            lesson("short", |_| {}),
        ];
        let preamble = render("agent:a", rank(found, now()), 100);
        assert_eq!(preamble.lessons.len(), 1);
        assert!(preamble.tokens <= 100 && preamble.markdown.contains("Text # with a heading `short`"));
        assert_eq!(preamble.markdown.lines().filter(|line| line.starts_with('#')).count(), 1);
        assert_eq!(render("agent:a", rank(vec![lesson("x", |_| {})], now()), 5).markdown, "");
    }
}
