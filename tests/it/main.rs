//! Integration tests: real processes, private, on free ports. One binary, so that it links once.

mod access;
mod adapters;
mod bus;
mod command_line;
mod documents;
mod drop_in;
mod faults;
mod history;
mod history_writer;
mod http;
mod journal;
mod learner;
mod limits;
mod log_jetstream;
mod log_suite;
mod log_table;
mod log_unreadable;
mod nats_cluster;
mod past;
mod replay;
mod replicas;
mod stream;
mod support;
mod support_works;
mod sync;
mod tail;
