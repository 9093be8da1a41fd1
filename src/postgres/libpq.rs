//! How the programs of Postgres itself (`pg_dump`, `pg_restore`) are told where a database is: by their environment, because a command
//! line, which every user of the machine can read, must hold no password.

use percent_encoding::percent_decode_str;
use url::Url;

/// What a parameter of the URL is called in the environment. Others mean nothing to these programs.
const PARAMETERS: [(&str, &str); 15] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("ssl-mode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("ssl-root-cert", "PGSSLROOTCERT"),
    ("ssl-ca", "PGSSLROOTCERT"),
    ("ssl-cert", "PGSSLCERT"),
    ("ssl-key", "PGSSLKEY"),
];

/// The variables that lead `pg_dump` and `pg_restore` to the database of a URL; `None` if it is none. What the URL leaves open is found as
/// ever: in `PGPASSWORD`, or in `~/.pgpass`.
pub fn libpq_environment(url: &str) -> Option<Vec<(&'static str, String)>> {
    let url = Url::parse(url).ok()?;
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .ok()
            .map(|text| text.into_owned())
    };
    let mut variables = Vec::new();
    let mut set = |name: &'static str, value: String| {
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value));
    };
    if let Some(host) = url.host_str() {
        // An IPv6 address stands in brackets, a folder of sockets is encoded.
        set("PGHOST", decoded(host.trim_start_matches('[').trim_end_matches(']'))?);
    }
    if let Some(port) = url.port() {
        set("PGPORT", port.to_string());
    }
    if !url.username().is_empty() {
        set("PGUSER", decoded(url.username())?);
    }
    if let Some(password) = url.password() {
        set("PGPASSWORD", decoded(password)?);
    }
    let database = url.path().trim_start_matches('/');
    if !database.is_empty() {
        set("PGDATABASE", decoded(database)?);
    }
    for (name, value) in url.query_pairs() {
        if let Some((_, variable)) = PARAMETERS.iter().find(|(parameter, _)| *parameter == name) {
            set(variable, value.into_owned());
        }
    }
    Some(variables)
}

/// Where a URL leads, without user and password: `cura on db.example`; `None` if it is no URL.
pub fn place_of(url: &str) -> Option<String> {
    let variables = libpq_environment(url)?;
    let of = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    };
    let database = of("PGDATABASE").or(of("PGUSER")).unwrap_or("the database");
    Some(format!("{database} on {}", of("PGHOST").unwrap_or("this machine")))
}

/// The URL of another database of the same server; `None` if it is no URL.
pub fn with_database(url: &str, database: &str) -> Option<String> {
    let mut url = Url::parse(url).ok()?;
    url.set_path(database);
    let others: Vec<(String, String)> = url
        .query_pairs()
        .into_owned()
        .filter(|(name, _)| name != "dbname")
        .collect();
    url.set_query(None);
    if !others.is_empty() {
        url.query_pairs_mut().extend_pairs(others);
    }
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_by_variables() {
        let of = |url: &str| {
            let variables = libpq_environment(url).unwrap();
            let said: Vec<String> = variables
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            said.join(" ")
        };
        assert_eq!(
            of("postgres://ada:p%40ss+w%2Ford@db.example:6543/cura?sslmode=verify-full&statement_cache_capacity=0"),
            "PGHOST=db.example PGPORT=6543 PGUSER=ada PGPASSWORD=p@ss+w/ord PGDATABASE=cura PGSSLMODE=verify-full"
        );
        assert_eq!(
            of("postgres://postgres@%2Ftmp%2Fs/cura"),
            "PGHOST=/tmp/s PGUSER=postgres PGDATABASE=cura"
        );
        assert_eq!(of("postgres://[::1]/cura"), "PGHOST=::1 PGDATABASE=cura");
        assert_eq!(
            of("postgresql:///cura?host=/run/postgresql"),
            "PGDATABASE=cura PGHOST=/run/postgresql"
        );
        assert!(libpq_environment("nowhere").is_none());
    }

    #[test]
    fn another_database_is_on_the_same_server() {
        let other = |url: &str| with_database(url, "other").unwrap();
        assert_eq!(
            other("postgres://postgres@%2Ftmp%2Fs/cura"),
            "postgres://postgres@%2Ftmp%2Fs/other"
        );
        assert_eq!(
            other("postgres://a:b@c:1/cura?sslmode=require&dbname=x"),
            "postgres://a:b@c:1/other?sslmode=require"
        );
    }
}
