//! Living Map: one server that shows the current state of an agent network, its history and its alerts.
//!
//! The map is a fold over one ordered event log. A module uses only modules of lower levels; they are listed here from the
//! lowest level to the highest, as in `ARCHITECTURE.md`.

pub mod config;
pub mod instruments;
pub mod model;
pub mod tasks;
pub mod tls;

pub mod bus;
pub mod journal;
pub mod map;
pub mod upstream_health;
pub mod words;

pub mod access;
pub mod history;
pub mod telemetry;

pub mod adapters;
pub mod lease;
pub mod stream;

pub mod dead_letters;

pub mod log;

pub mod demo;
pub mod learner;
pub mod live;

pub mod alerts;
pub mod sync;

pub mod webhooks;

pub mod http;

pub mod app;
