//! The parts of a program's environment that say something about proxies. The rest is not kept: it holds secrets.

/// The variables that programs read about proxies, in the spelling in which they read them.
const NAMES: [&str; 25] = [
    "ALL_PROXY",
    "AUTO_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "JAVA_TOOL_OPTIONS",
    "LD_PRELOAD",
    "NO_PROXY",
    "PROXYCHAINS_CONF_FILE",
    "PROXYCHAINS_SOCKS5_HOST",
    "PROXYCHAINS_SOCKS5_PORT",
    "PROXYRESOLV_DNS",
    "SOCKS_PROXY",
    "SOCKS_SERVER",
    "SOCKS_VERSION",
    "TORSOCKS_CONF_FILE",
    "TORSOCKS_TOR_PORT",
    "TSOCKS_CONF_FILE",
    "all_proxy",
    "auto_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "socks_proxy",
];

/// Those of the variables `NAME=value` that are about proxies, by name. Of one that is set twice the first counts, as
/// getenv(3) has it.
pub fn about_proxies<'a>(variables: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for variable in variables {
        if let Some((name, value)) = variable.split_once('=')
            && NAMES.contains(&name)
            && found.iter().all(|(known, _)| known != name)
        {
            found.push((name.to_owned(), value.to_owned()));
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use leakmon_common::PROXY_VARIABLES;

    #[test]
    fn the_rest_is_not_kept() {
        let environment = [
            "PATH=/bin",
            "all_proxy=socks5://h:1",
            "SECRET=x",
            "no_proxy_at_all=1",
            "HTTP_PROXY",
            "all_proxy=again",
            "LD_PRELOAD=a=b",
        ];
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            about_proxies(environment.into_iter()),
            [pair("LD_PRELOAD", "a=b"), pair("all_proxy", "socks5://h:1")]
        );
    }

    #[test]
    fn the_kernel_side_lets_every_name_through() {
        for name in NAMES {
            let begins = format!("{name}=");
            let begins = begins.as_bytes().first_chunk::<8>().unwrap();
            assert!(PROXY_VARIABLES.contains(begins), "{name}");
        }
    }
}
