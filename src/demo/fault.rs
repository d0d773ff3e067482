//! Misbehaviour of simulated services, on request.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::Service;

/// How a simulated service misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers, but so late that nobody waits for it.
    Slow,
    /// Answers 500 with a text, as the real services do when their database is gone.
    Down,
    /// Answers 200 with something that is no JSON.
    Garbage,
}

/// One service's fault, as the command line says it: `agents=slow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultSetting {
    /// Which service.
    pub service: Service,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Text that names no fault.
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

/// What is wrong with each service right now. Cheap to clone; all clones are one.
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

    /// Makes a service misbehave from the next request on; `None` makes it behave.
    pub fn set(&self, service: Service, fault: Option<Fault>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[service as usize] = fault;
    }

    /// What is wrong with a service.
    #[must_use]
    pub fn get(&self, service: Service) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[service as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_set_as_the_command_line_says_them() {
        for fault in [Fault::Slow, Fault::Down, Fault::Garbage] {
            let setting = format!("dao={fault}").parse();
            assert_eq!(setting, Ok(FaultSetting { service: Service::Dao, fault }));
        }
        for text in ["", "dao", "dao=", "dao=late", "nobody=slow", "=slow", "dao=slow=slow"] {
            assert_eq!(text.parse::<FaultSetting>(), Err(InvalidFault), "{text}");
        }
    }
}
