//! Living Map: one server that shows a whole agent network as it lives.
//!
//! The map is a fold over one ordered log. A room (module) knows only the rooms below it.

pub mod config;
pub mod journal;
pub mod model;
pub mod tasks;
pub mod telemetry;

pub mod access;
pub mod adapters;
pub mod bus;
pub mod map;
pub mod upstream_health;

pub mod history;

pub mod lease;
pub mod log;
pub mod stream;

pub mod live;

pub mod alerts;
pub mod dead_letters;
pub mod demo;
pub mod learner;
pub mod sync;

pub mod webhooks;

pub mod http;

pub mod app;
