//! Streaming to browsers: the shared ring, the frames, the filters, the WebSocket.

pub mod hub;
