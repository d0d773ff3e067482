//! Addresses and tokens of the services.

use std::fmt;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use url::Url;

use crate::config::defaults;
use crate::config::value::http_url;
use crate::model::Service;

/// A secret token: its `Debug` form masks it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why an endpoint is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Not a URL.
    #[error("expected a URL such as http://localhost:7014: {0}")]
    NoUrl(#[from] url::ParseError),
    /// The scheme is not `http` or `https`.
    #[error("expected an http or https URL")]
    Scheme,
    /// The URL has a query or a fragment; paths and parameters are appended to it.
    #[error("expected a URL without query and fragment")]
    Query,
    /// The token cannot be sent in a header.
    #[error("expected a token of visible ASCII characters")]
    Token,
}

/// Address and token of one service.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    token: Option<Secret>,
}

impl Endpoint {
    /// Checks an address, which may have a path (the prefix of a gateway), and a bearer token, which is sent with every
    /// request.
    ///
    /// # Errors
    /// The address or the token is invalid; the text is for the operator.
    pub fn new(url: &str, token: Option<Secret>) -> Result<Self, InvalidEndpoint> {
        let url = Url::parse(url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidEndpoint::Scheme);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidEndpoint::Query);
        }
        if token.as_ref().is_some_and(|token| !is_header_text(token.expose())) {
            return Err(InvalidEndpoint::Token);
        }
        Ok(Self { url, token })
    }

    /// The address.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The bearer token.
    #[must_use]
    pub const fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Address of a resource below this one.
    pub(super) fn resource(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

impl fmt::Debug for Endpoint {
    // a password may be part of the URL
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("host", &self.url.host_str())
            .field("port", &self.url.port_or_known_default())
            .field("token", &self.token)
            .finish()
    }
}

fn is_header_text(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Endpoints of the six services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints([Endpoint; Service::ALL.len()]);

impl Endpoints {
    /// One endpoint for each service.
    #[must_use]
    pub fn new(endpoint: impl FnMut(Service) -> Endpoint) -> Self {
        let mut endpoint = endpoint;
        Self(std::array::from_fn(|index| endpoint(Service::ALL[index])))
    }

    /// Replaces the endpoint of a service.
    pub fn set(&mut self, service: Service, endpoint: Endpoint) {
        self.0[service as usize] = endpoint;
    }

    /// The endpoint of a service.
    #[must_use]
    pub const fn get(&self, service: Service) -> &Endpoint {
        &self.0[service as usize]
    }
}

impl Default for Endpoints {
    /// The usual ports of the services, on this host, without tokens.
    fn default() -> Self {
        defaults()
    }
}

/// The two settings of a service.
struct EndpointSettings {
    title: &'static str,
    /// Variable, option and default of the address.
    url: [&'static str; 3],
    /// Variable and option of the token.
    token: [&'static str; 2],
}

const fn settings_of(service: Service) -> EndpointSettings {
    let (title, url, token) = match service {
        Service::Agents => (
            "agents service",
            ["AGENTS_SERVICE_URL", "agents-service-url", "http://localhost:7014"],
            ["AGENTS_TOKEN", "agents-token"],
        ),
        Service::Microdao => (
            "microDAO service",
            ["MICRODAO_SERVICE_URL", "microdao-service-url", "http://localhost:7015"],
            ["MICRODAO_TOKEN", "microdao-token"],
        ),
        Service::Dao => {
            ("DAO service", ["DAO_SERVICE_URL", "dao-service-url", "http://localhost:7016"], ["DAO_TOKEN", "dao-token"])
        }
        Service::Usage => (
            "usage engine",
            ["USAGE_ENGINE_URL", "usage-engine-url", "http://localhost:7013"],
            ["USAGE_TOKEN", "usage-token"],
        ),
        Service::City => (
            "city service",
            ["CITY_SERVICE_URL", "city-service-url", "http://localhost:7001"],
            ["CITY_TOKEN", "city-token"],
        ),
        Service::Space => (
            "space service",
            ["SPACE_SERVICE_URL", "space-service-url", "http://localhost:7002"],
            ["SPACE_TOKEN", "space-token"],
        ),
    };
    EndpointSettings { title, url, token }
}

impl Args for Endpoints {
    fn augment_args(command: Command) -> Command {
        Service::ALL.iter().fold(command, |command, &service| {
            let EndpointSettings { title, url: [url, url_option, default], token: [token, token_option] } =
                settings_of(service);
            let url = Arg::new(url).long(url_option).env(url).value_name(url).default_value(default);
            let token = Arg::new(token).long(token_option).env(token).value_name(token).hide_env_values(true);
            command
                .arg(url.value_parser(endpoint_url).help(format!("Address of the {title}")))
                .arg(token.value_parser(endpoint_token).help(format!("Bearer token for the {title}")))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Endpoints {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut endpoints = Vec::with_capacity(Service::ALL.len());
        for &service in Service::ALL {
            let EndpointSettings { url: [url, ..], token: [token, _], .. } = settings_of(service);
            let missing = || clap::Error::new(ErrorKind::MissingRequiredArgument);
            let url = matches.get_one::<Url>(url).cloned().ok_or_else(missing)?;
            endpoints.push(Endpoint { url, token: matches.get_one::<Secret>(token).cloned() });
        }
        let endpoints = endpoints.try_into().map_err(|_| clap::Error::new(ErrorKind::MissingRequiredArgument))?;
        Ok(Self(endpoints))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn endpoint_url(text: &str) -> Result<Url, String> {
    let url = http_url(text)?;
    Endpoint::new(url.as_str(), None).map_err(|error| error.to_string())?;
    Ok(url)
}

fn endpoint_token(text: &str) -> Result<Secret, InvalidEndpoint> {
    if is_header_text(text) { Ok(Secret::new(text)) } else { Err(InvalidEndpoint::Token) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_addresses_are_rejected() {
        for url in ["", "localhost", "ftp://host", "http://host/?a=1", "http://host/#x", "http://"] {
            assert!(Endpoint::new(url, None).is_err(), "{url}");
        }
        assert_eq!(Endpoint::new("http://h", Some(Secret::new("a\r\nb"))), Err(InvalidEndpoint::Token));
    }

    #[test]
    fn resources_are_below_the_address_and_escaped() {
        let endpoint = Endpoint::new("http://gateway/dao-service/", None).unwrap();
        let url = endpoint.resource(&["dao", "../a b/c?"], &[("agent_id", "agent:a&b")]);
        assert_eq!(url.as_str(), "http://gateway/dao-service/dao/..%2Fa%20b%2Fc%3F?agent_id=agent%3Aa%26b");
    }

    #[test]
    fn debug_output_masks_tokens_and_passwords() {
        let endpoint = Endpoint::new("http://user:hunter1@host", Some(Secret::new("hunter2"))).unwrap();
        assert!(!format!("{endpoint:?}").contains("hunter"));
    }
}
