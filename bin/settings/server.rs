//! Where clients reach the server.

use cura_api::{ClientAddressHeader, InvalidProxies, TrustedProxies, UnknownHeader};

use super::process::Environment;
use super::variables::{SettingErrors, Variables};

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
    /// `ADMIN_HOST` and `ADMIN_PORT`; `None` without a port.
    pub admin: Option<(String, u16)>,
}

impl ServerSettings {
    /// Reads this section only: what asks a running server needs no other.
    ///
    /// # Errors
    /// Every setting of it that cannot be used.
    pub fn from_environment() -> Result<Self, SettingErrors> {
        let variables = Variables::from_environment()?;
        let server = Self::read(&variables, Environment::Development);
        SettingErrors::of(variables.take_faults()).map_or(Ok(server), Err)
    }

    pub(super) fn read(from: &Variables, environment: Environment) -> Self {
        let host = from.text("HOST").unwrap_or("127.0.0.1").to_owned();
        let metrics_host = from.text("METRICS_HOST").unwrap_or(&host).to_owned();
        let metrics_port = from.parsed_if_set("METRICS_PORT");
        let admin_host = from.text("ADMIN_HOST").unwrap_or("127.0.0.1").to_owned();
        let admin_port = from.parsed_if_set("ADMIN_PORT");
        Self {
            host,
            connections_per_address: from.parsed("MAX_CONNECTIONS_PER_ADDRESS", 256),
            metrics: metrics_port.map(|port| (metrics_host, port)),
            admin: admin_port.map(|port| (admin_host, port)),
            port: from.parsed("PORT", 8000),
            allowed_origins: allowed_origins(from, environment),
            trusted_proxies: trusted_proxies(from),
        }
    }
}

fn trusted_proxies(from: &Variables) -> TrustedProxies {
    let header = from.text("CLIENT_ADDRESS_HEADER").unwrap_or_default();
    let header = match header.parse() {
        _ if header.is_empty() => ClientAddressHeader::default(),
        Ok(header) => header,
        Err(UnknownHeader) => {
            from.fault("CLIENT_ADDRESS_HEADER", UnknownHeader.to_string());
            ClientAddressHeader::default()
        }
    };
    let proxies = from.text("TRUSTED_PROXIES").unwrap_or_default().parse();
    let proxies = proxies.unwrap_or_else(|error: InvalidProxies| {
        from.fault("TRUSTED_PROXIES", error.to_string());
        TrustedProxies::default()
    });
    proxies.with_header(header)
}

fn allowed_origins(from: &Variables, environment: Environment) -> Vec<String> {
    let origins: Vec<String> = match from.text("ALLOWED_ORIGINS") {
        None if environment == Environment::Development => DEVELOPMENT_ORIGINS.map(str::to_owned).into(),
        None => Vec::new(),
        Some(list) => serde_json::from_str(list).unwrap_or_else(|_| {
            let rule = "must be a JSON list of origins: [\"https://app.example\"]";
            from.fault("ALLOWED_ORIGINS", rule);
            Vec::new()
        }),
    };
    if environment == Environment::Production && origins.iter().any(|origin| origin == "*") {
        let rule = "must not contain \"*\" in production; list the origins of your pages";
        from.fault("ALLOWED_ORIGINS", rule);
    }
    origins
}
