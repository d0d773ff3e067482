//! Data types shared by all modules: events, entities, layers, cursors, changes, alerts, lessons.
//!
//! Nothing here does I/O or reads a clock.

pub mod alert;
pub mod change;
pub mod compatibility;
pub mod cursor;
pub mod entity;
pub mod envelope;
pub mod event;
pub mod experience;
pub mod facts;
pub mod json;
pub mod layers;
pub mod lesson;
pub mod note;
pub mod source;
pub mod subject;
pub mod time;
pub mod trace;

pub use alert::{Alert, AlertChange, AlertSeverity, AlertState, Silence};
pub use change::Change;
pub use compatibility::Compatibility;
pub use cursor::{Cursor, Epoch};
pub use entity::{EntityType, Layer, Status};
pub use event::{Event, LogEntry, NewEvent};
pub use experience::{Experience, Outcome};
pub use facts::{Answer, Facts};
pub use layers::Snapshot;
pub use lesson::{Lesson, LessonStatus, NewLesson, Severity};
pub use note::{Note, NoteKind, Notes};
pub use source::{Service, SourceHealth, SourceStatus};
pub use trace::Traceparent;
