//! Outcomes, runs and lessons of agents.

use crate::map::context::FoldContext;
use crate::map::state::entity::Run;
use crate::map::state::slab::EntityKey;
use crate::model::layers::CurrentRun;

impl FoldContext<'_> {
    /// Records the outcome of an agent's work.
    pub(super) fn outcome(&mut self, key: EntityKey, success: bool) {
        if let Some(agent) = self.entity(key).filter(|agent| agent.failed == success) {
            agent.failed = !success;
            self.live_fields_changed(key);
        }
    }

    pub(super) fn start_run(&mut self, key: EntityKey, ids: &[String]) {
        let (time, hour) = (self.time, self.hour);
        let Some(agent) = self.entity(key) else { return };
        let id = ids.first().cloned();
        // of two publishers that report the same start, the first one counts
        let known = agent.run.as_ref().filter(|run| id.is_some() && run.current.id == id);
        let started_at = known.map_or(time, |run| run.current.started_at);
        let progress = known.and_then(|run| run.current.progress);
        agent.run = Some(Run { current: CurrentRun { id, started_at, progress }, hour });
        let agent = agent.id.to_string();
        for run in ids {
            self.state.runs.insert(run.clone(), agent.clone());
        }
        self.live_fields_changed(key);
    }

    /// Updates the progress; a run whose start was not reported starts now.
    pub(super) fn progress_run(&mut self, key: EntityKey, ids: &[String], progress: Option<f64>) {
        let (time, hour) = (self.time, self.hour);
        let Some(agent) = self.entity(key) else { return };
        let new_run = || CurrentRun { id: ids.first().cloned(), started_at: time, progress: None };
        let run = agent.run.get_or_insert_with(|| Run { current: new_run(), hour });
        run.hour = hour;
        // above 1 it is a percentage
        let fraction = |value: f64| if value > 1.0 { value / 100.0 } else { value };
        if let Some(progress) = progress.map(fraction).filter(|fraction| (0.0..=1.0).contains(fraction)) {
            run.current.progress = Some(progress);
        }
        self.live_fields_changed(key);
    }

    pub(super) fn end_run(&mut self, key: EntityKey, ids: &[String]) {
        let Some(agent) = self.entity(key) else { return };
        let is_this = |run: &mut Run| ids.is_empty() || run.current.id.as_ref().is_none_or(|id| ids.contains(id));
        if agent.run.take_if(is_this).is_some() {
            self.live_fields_changed(key);
        }
    }

    pub(super) fn lesson(&mut self, key: EntityKey, lesson: &str, open: bool, supersedes: Option<&str>) {
        let Some(agent) = self.entity(key) else { return };
        let superseded = supersedes.is_some_and(|old| agent.lessons.close(old));
        let changed = if open { agent.lessons.open(lesson) } else { agent.lessons.close(lesson) };
        if superseded || changed {
            self.live_fields_changed(key);
        }
    }
}
