//! A private `PostgreSQL`.
