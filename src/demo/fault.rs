//! Fault injection for the simulated services.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::Service;

/// A fault of a simulated service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Responds later than any client waits.
    Slow,
    /// Responds with 500 and a text, as the real services do when their database is unavailable.
    Down,
    /// Responds with 200 and a body that is not JSON.
    Garbage,
}

/// A service and its fault, from the command line: `agents=slow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultSetting {
    /// The service.
    pub service: Service,
    /// Its fault.
    pub fault: Fault,
}

/// Text that is not a valid fault setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected <service>=<fault> with one of agents microdao dao usage city space and one of slow down garbage")]
pub struct InvalidFault;

impl FromStr for FaultSetting {
    type Err = InvalidFault;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (service, fault) = text.split_once('=').ok_or(InvalidFault)?;
        let fault = match fault {
            "slow" => Fault::Slow,
            "down" => Fault::Down,
            "garbage" => Fault::Garbage,
            _ => return Err(InvalidFault),
        };
        Ok(Self { service: service.parse().map_err(|_| InvalidFault)?, fault })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slow => "slow",
            Self::Down => "down",
            Self::Garbage => "garbage",
        })
    }
}

/// The current fault of each service. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<[Option<Fault>; Service::ALL.len()]>>);

impl Faults {
    pub(super) fn new(settings: &[FaultSetting]) -> Self {
        let faults = Self(Arc::default());
        for setting in settings {
            faults.set(setting.service, Some(setting.fault));
        }
        faults
    }

    /// Sets or removes the fault of a service from the next request on.
    pub fn set(&self, service: Service, fault: Option<Fault>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[service as usize] = fault;
    }

    /// The current fault of a service.
    #[must_use]
    pub fn get(&self, service: Service) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[service as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_settings_are_parsed_and_displayed() {
        for fault in [Fault::Slow, Fault::Down, Fault::Garbage] {
            let setting = format!("dao={fault}").parse();
            assert_eq!(setting, Ok(FaultSetting { service: Service::Dao, fault }));
        }
        for text in ["", "dao", "dao=", "dao=late", "nobody=slow", "=slow", "dao=slow=slow"] {
            assert_eq!(text.parse::<FaultSetting>(), Err(InvalidFault), "{text}");
        }
    }
}
