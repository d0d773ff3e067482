//! Clients of the six upstream services.
