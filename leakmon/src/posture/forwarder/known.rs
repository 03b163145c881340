//! Programs that are known as proxies or resolvers by name alone: what they were told is not read.

/// File names of programs, and what they are.
const PROXIES: [(&str, &str); 27] = [
    ("3proxy", "3proxy, a proxy"),
    ("brook", "brook, a proxy"),
    ("clash", "clash, a proxy"),
    ("clash-meta", "clash, a proxy"),
    ("cntlm", "cntlm, an HTTP proxy"),
    ("gost", "gost, a proxy"),
    ("hev-socks5-server", "hev-socks5-server, a SOCKS proxy"),
    ("hysteria", "hysteria, a proxy"),
    ("i2pd", "i2pd, a proxy into I2P"),
    ("microsocks", "microsocks, a SOCKS proxy"),
    ("mihomo", "mihomo, a proxy"),
    ("naive", "naive, a proxy"),
    ("redsocks", "redsocks, a transparent proxy"),
    ("sing-box", "sing-box, a proxy"),
    ("squid", "squid, an HTTP proxy"),
    ("srelay", "srelay, a SOCKS proxy"),
    ("ss-local", "ss-local, a SOCKS proxy of shadowsocks"),
    ("ss-redir", "ss-redir, a transparent proxy of shadowsocks"),
    ("ss-server", "ss-server, a server of shadowsocks"),
    ("sslocal", "sslocal, a SOCKS proxy of shadowsocks"),
    ("ssserver", "ssserver, a server of shadowsocks"),
    ("tinyproxy", "tinyproxy, an HTTP proxy"),
    ("trojan", "trojan, a proxy"),
    ("trojan-go", "trojan-go, a proxy"),
    ("v2ray", "v2ray, a proxy"),
    ("wireproxy", "wireproxy, a proxy into WireGuard"),
    ("xray", "xray, a proxy"),
];

/// Programs that ask name servers what other programs asked them.
const RESOLVERS: [&str; 18] = [
    "AdGuardHome",
    "coredns",
    "dnscrypt-proxy",
    "dnsdist",
    "dnsmasq",
    "dnsproxy",
    "kresd",
    "named",
    "nscd",
    "nsncd",
    "pdns_recursor",
    "pdnsd",
    "pihole-FTL",
    "smartdns",
    "stubby",
    "systemd-resolved",
    "unbound",
    "unscd",
];

/// What a program of that file name is; `None` for one that is not known as a proxy or resolver.
pub fn role(program: &str) -> Option<String> {
    let proxy = PROXIES.iter().find(|(name, _)| *name == program);
    let proxy = proxy.map(|(_, role)| (*role).to_owned());
    proxy.or_else(|| {
        RESOLVERS
            .contains(&program)
            .then(|| format!("{program}, a resolver"))
    })
}

/// Whether a program of that file name answers DNS: one of these, or tor on its DNSPort.
pub fn is_resolver(program: &str) -> bool {
    program == "tor" || RESOLVERS.contains(&program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (program, expected) in [
            ("microsocks", Some("microsocks, a SOCKS proxy")),
            ("dnsmasq", Some("dnsmasq, a resolver")),
            ("curl", None),
            ("", None),
        ] {
            assert_eq!(role(program).as_deref(), expected, "{program}");
        }
    }
}
