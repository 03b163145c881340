//! Which `http.<url>.*` of git fits an address (urlmatch.c; git-config(1)).

use super::scheme_of;

/// How well a pattern fits an address; `None` when it does not (git-config(1), `http.<url>.*`): scheme, host with `*` for a
/// label, port, the beginning of the path, and the user.
pub fn fit(pattern: &str, url: &str) -> Option<(usize, usize, bool)> {
    let pattern = Address::parse(pattern)?;
    let url = Address::parse(url)?;
    let labels = |host: &str| host.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (own, other) = (labels(&pattern.host), labels(&url.host));
    let same_host = own.len() == other.len()
        && own
            .iter()
            .zip(&other)
            .all(|(own, other)| own == "*" || own == other);
    let path = pattern.path.trim_end_matches('/');
    let same_path = url
        .path
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let same_user = pattern.user.is_none() || pattern.user == url.user;
    let fits = pattern.scheme == url.scheme
        && same_host
        && pattern.port == url.port
        && same_path
        && same_user;
    let host = pattern.host.len() - pattern.host.matches('*').count();
    fits.then_some((host, path.len(), pattern.user.is_some()))
}

#[derive(Debug, PartialEq, Eq)]
struct Address {
    scheme: String,
    user: Option<String>,
    host: String,
    port: u16,
    path: String,
}

impl Address {
    fn parse(url: &str) -> Option<Self> {
        let scheme = scheme_of(url)?;
        let (_, rest) = url.split_once("://")?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (
                Some(user.split(':').next().unwrap_or(user).to_owned()),
                host,
            ),
            None => (None, authority),
        };
        let default = match scheme.as_str() {
            "https" => 443,
            "ftp" => 21,
            _ => 80,
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()?),
            _ => (host, default),
        };
        Some(Self {
            scheme,
            user,
            host: host.to_ascii_lowercase(),
            port,
            path: path.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn patterns() {
        for (pattern, url, fits) in [
            ("http://a.example", "http://a.example/r", true),
            ("http://a.example:80/", "http://A.example/r", true),
            ("http://a.example/r", "http://a.example/rs", false),
            ("http://a.example/r/", "http://a.example/r", true),
            ("https://a.example", "http://a.example", false),
            ("http://*.example", "http://a.example", true),
            ("http://*.example", "http://b.a.example", false),
            ("http://me@a.example", "http://a.example", false),
            ("http://a.example", "http://me:pw@a.example", true),
            ("a.example", "http://a.example", false),
            ("http://", "http://", true),
        ] {
            assert_eq!(fit(pattern, url).is_some(), fits, "{pattern} {url}");
        }
    }
}
