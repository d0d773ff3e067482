//! Polls the upstreams and appends what they say anew to the log.
