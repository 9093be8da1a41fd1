//! Where clients reach the server.

use cura_api::{ClientAddressHeader, InvalidProxies, TrustedProxies, UnknownHeader};

use super::process::Environment;
use super::variables::{SettingError, Variables, wrong};

/// Web pages of local development servers, and the mobile app in a simulator.
const DEVELOPMENT_ORIGINS: [&str; 4] = [
    "http://localhost",
    "http://localhost:3000",
    "http://localhost:5173",
    "capacitor://localhost",
];

/// Section "Server".
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// `HOST`
    pub host: String,
    /// `PORT`
    pub port: u16,
    /// `ALLOWED_ORIGINS`
    pub allowed_origins: Vec<String>,
    /// `TRUSTED_PROXIES` and `CLIENT_ADDRESS_HEADER`
    pub trusted_proxies: TrustedProxies,
    /// `MAX_CONNECTIONS_PER_ADDRESS`; 0 is no limit.
    pub connections_per_address: usize,
    /// `METRICS_HOST` and `METRICS_PORT`; `None` without a port.
    pub metrics: Option<(String, u16)>,
}

impl ServerSettings {
    pub(super) fn read(from: &Variables, environment: Environment) -> Result<Self, SettingError> {
        let host = from.text("HOST").unwrap_or("127.0.0.1").to_owned();
        let metrics_host = from.text("METRICS_HOST").unwrap_or(&host).to_owned();
        let metrics_port = from.text("METRICS_PORT").map(|_| from.parsed("METRICS_PORT", 0));
        Ok(Self {
            host,
            connections_per_address: from.parsed("MAX_CONNECTIONS_PER_ADDRESS", 256)?,
            metrics: metrics_port.transpose()?.map(|port| (metrics_host, port)),
            port: from.parsed("PORT", 8000)?,
            allowed_origins: allowed_origins(from, environment)?,
            trusted_proxies: trusted_proxies(from)?,
        })
    }
}

fn trusted_proxies(from: &Variables) -> Result<TrustedProxies, SettingError> {
    let header = match from.text("CLIENT_ADDRESS_HEADER") {
        None => ClientAddressHeader::default(),
        Some(name) => name
            .parse()
            .map_err(|error: UnknownHeader| wrong("CLIENT_ADDRESS_HEADER", error.to_string()))?,
    };
    let proxies: TrustedProxies = from
        .text("TRUSTED_PROXIES")
        .unwrap_or_default()
        .parse()
        .map_err(|error: InvalidProxies| wrong("TRUSTED_PROXIES", error.to_string()))?;
    Ok(proxies.with_header(header))
}

fn allowed_origins(from: &Variables, environment: Environment) -> Result<Vec<String>, SettingError> {
    let origins: Vec<String> = match from.text("ALLOWED_ORIGINS") {
        None if environment == Environment::Development => DEVELOPMENT_ORIGINS.map(str::to_owned).into(),
        None => Vec::new(),
        Some(list) => serde_json::from_str(list).map_err(|_| {
            wrong(
                "ALLOWED_ORIGINS",
                "must be a JSON list of origins: [\"https://app.example\"]",
            )
        })?,
    };
    if environment == Environment::Production && origins.iter().any(|origin| origin == "*") {
        return Err(wrong(
            "ALLOWED_ORIGINS",
            "must not contain \"*\" in production; list the origins of your pages",
        ));
    }
    Ok(origins)
}
