//! The ring that all streaming clients share.
