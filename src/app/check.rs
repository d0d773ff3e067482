//! `living-map config check`: what a start validates before it connects to anything.

use anyhow::Context;

use super::access;
use super::settings::Settings;
use super::traces::telemetry;
use crate::alerts::open_rules;
use crate::bus::NatsError;
use crate::journal::Journal;
use crate::tls;

fn nats(settings: &Settings) -> Result<(), NatsError> {
    settings.streams.connection()?.map_or(Ok(()), |nats| nats.check())
}

/// Everything that is wrong with the settings, one entry per problem. Reads the files that they name and connects to nothing.
#[must_use]
pub fn check(settings: &Settings) -> Vec<String> {
    let mut problems = settings.problems();
    let own = [
        settings.logging.filter().map(drop),
        tls::check_system_authorities().map_err(Into::into),
        nats(settings).context("NATS cannot be used"),
        settings.journal_location().map(drop),
        settings.alerts.rules.file.as_deref().map_or(Ok(()), |path| {
            open_rules(path, settings.alerts.rules.limits).map(drop).context("ALERT_RULES cannot be used")
        }),
        settings.upstreams.adapters.authorities().read().map(drop).map_err(Into::into),
        settings.alerts.webhooks.authorities().read().map(drop).map_err(Into::into),
        telemetry(&settings.telemetry).map(drop),
    ];
    problems.extend(
        settings.storage.check().into_iter().chain(own).filter_map(Result::err).map(|error| format!("{error:#}")),
    );
    if settings.access.check().is_ok() {
        let access = access::access(&settings.access, &Journal::default());
        problems.extend(access.err().map(|error| format!("{error:#}")));
    }
    problems
}
