//! The server that is followed: its address, and how to connect to it.

use std::path::Path;
use std::time::Duration;

use living_map::tls::{CaFile, request_error};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use url::Url;

use super::show::printable;

/// Setting of the file with further authorities of the server's certificate.
const CA_FILE: &str = "--ca-file (LIVING_MAP_CA_FILE)";

/// Timeout for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The server rejected the request; a retry would be rejected too.
#[derive(Debug, thiserror::Error)]
#[error("the server rejected the request: {0}")]
pub struct Refused(pub String);

/// A server, with the client that asks it. Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`).
pub struct Server {
    /// Ends with a slash.
    base: Url,
    client: Client,
}

impl Server {
    /// A server at `url`, which may have a path. Its certificate is verified with the system's certificates and those in
    /// `ca_file`.
    ///
    /// # Errors
    /// The URL, the token or the file cannot be used.
    pub fn new(url: &Url, token: Option<&str>, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let headers = authorization(token)?.map(|value| (AUTHORIZATION, value)).into_iter().collect();
        let mut client = Client::builder().connect_timeout(CONNECT_TIMEOUT).default_headers(headers);
        client = CaFile { setting: CA_FILE, path: ca_file }.trusted_by(client)?;
        Ok(Self { base: base(url)?, client: client.build()? })
    }

    /// Address of a route below `/living-map/`.
    ///
    /// # Errors
    /// The path is not relative.
    pub fn url(&self, route: &str) -> anyhow::Result<Url> {
        Ok(self.base.join("living-map/")?.join(route)?)
    }

    /// A request for this address.
    pub fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url)
    }
}

/// Sends a request.
///
/// # Errors
/// The server cannot be reached.
pub async fn send(request: RequestBuilder) -> anyhow::Result<Response> {
    let (client, request) = request.build_split();
    let request = request?;
    let shown = shown(request.url());
    client
        .execute(request)
        .await
        .map_err(|error| anyhow::anyhow!("cannot reach {shown}: {}", request_error(error, CA_FILE)))
}

/// Error of a response that is no success, with the detail of its problem document.
pub fn failure(status: StatusCode, problem: &Value) -> anyhow::Error {
    let detail = problem["detail"].as_str().map_or_else(|| status.to_string(), printable);
    if status.is_client_error() {
        return Refused(detail).into();
    }
    anyhow::anyhow!("the server answered {}: {detail}", status.as_u16())
}

/// The address without user name, password and query.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn authorization(token: Option<&str>) -> anyhow::Result<Option<HeaderValue>> {
    let Some(token) = token else { return Ok(None) };
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value =
        value.map_err(|_| anyhow::anyhow!("LIVING_MAP_TOKEN cannot be sent: expected visible characters"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The address with `http` or `https`, without query, with a path that ends with a slash.
fn base(url: &Url) -> anyhow::Result<Url> {
    let mut base = url.clone();
    let scheme = match url.scheme() {
        "http" | "ws" => Ok("http"),
        "https" | "wss" => Ok("https"),
        _ => Err(()),
    };
    let set = scheme.and_then(|scheme| base.set_scheme(scheme));
    set.map_err(|()| anyhow::anyhow!("{url}: expected an address such as http://127.0.0.1:7017"))?;
    base.set_query(None);
    base.set_fragment(None);
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_address_is_kept() {
        for (url, expected) in [
            ("http://127.0.0.1:7017", "http://127.0.0.1:7017/living-map/snapshot"),
            ("https://map.example/", "https://map.example/living-map/snapshot"),
            ("https://map.example/map", "https://map.example/map/living-map/snapshot"),
            ("https://map.example/a/map/?x=1#y", "https://map.example/a/map/living-map/snapshot"),
            ("ws://localhost:1", "http://localhost:1/living-map/snapshot"),
            ("wss://map.example/map/", "https://map.example/map/living-map/snapshot"),
        ] {
            let base = base(&url.parse().unwrap()).unwrap();
            let server = Server { base, client: Client::new() };
            assert_eq!(server.url("snapshot").unwrap().as_str(), expected, "{url}");
        }
        assert!(base(&"ftp://map.example".parse().unwrap()).is_err());
        let secret = "https://user:secret@map.example/map/?ticket=secret".parse().unwrap();
        assert_eq!(shown(&secret), "https://map.example/map/");
    }
}
