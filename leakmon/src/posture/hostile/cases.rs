//! Programs of every family, each with honest files.

/// The proxy of all honest files.
pub(super) const HONEST: &str = "proxy.example";
/// The same in files outside of the root; of the same length, for databases.
pub(super) const OUTSIDE: &str = "outer.example";
pub(super) const UID: u32 = 1000;

/// A program with its honest files.
pub(super) struct Case {
    pub(super) exe: &'static str,
    pub(super) arguments: &'static [&'static str],
    pub(super) variables: &'static [(&'static str, &'static str)],
    pub(super) open_files: &'static [&'static str],
    pub(super) files: &'static [(&'static str, &'static [u8])],
    /// Those of the files that, when they are there and cannot be read, leave the answer open or are named in it.
    pub(super) decide: &'static [&'static str],
    /// Whether the honest answer names the proxy.
    pub(super) is_proxied: bool,
}

pub(super) const NOTHING: Case = Case {
    exe: "",
    arguments: &[],
    variables: &[("HOME", "/home/me")],
    open_files: &[],
    files: &[],
    decide: &[],
    is_proxied: true,
};

pub(super) const PREFS: &[u8] = b"user_pref(\"network.proxy.type\", 1);\nuser_pref(\"network.proxy.socks\", \"proxy.example\");\nuser_pref(\"network.proxy.socks_port\", 1080);\n";
const DCONF: &[u8] = include_bytes!("../desktop/testdata/socks.dconf");
const SCHEMAS: &[u8] = include_bytes!("../desktop/testdata/gschemas.compiled");
const KIO: &[u8] = b"[Proxy Settings]\nProxyType=1\nsocksProxy=socks://proxy.example 1080\n";
const CHROMIUM: &str = "/home/me/.config/chromium/Default/Preferences";
const POLICY: &[u8] =
    br#"{"ProxyMode": "fixed_servers", "ProxyServer": "socks5://proxy.example:1080"}"#;
const PREFERENCES: &[u8] =
    br#"{"proxy": {"mode": "fixed_servers", "server": "socks5://proxy.example:1080"}}"#;

pub(super) const CASES: &[Case] = &[
    Case {
        exe: "/usr/lib/firefox-esr/firefox-esr",
        open_files: &["/p/.parentlock", "/p/cookies.sqlite"],
        files: &[
            ("/p/prefs.js", PREFS),
            ("/p/user.js", b"// none\n"),
            ("/p/extensions.json", b"{\"addons\": []}"),
            ("/etc/firefox/policies/policies.json", b"{\"policies\": {}}"),
            (
                "/etc/firefox/defaults/pref/a.js",
                b"pref(\"general.config.filename\", \"a.cfg\");\n",
            ),
            (
                "/usr/lib/firefox-esr/a.cfg",
                b"//\nlockPref(\"network.proxy.no_proxies_on\", \"\");\n",
            ),
            (
                "/usr/lib/firefox-esr/platform.ini",
                b"[Build]\nMilestone=128.1\n",
            ),
        ],
        decide: &[
            "/p/prefs.js",
            "/p/user.js",
            "/p/extensions.json",
            "/etc/firefox/policies/policies.json",
            "/etc/firefox/defaults/pref/a.js",
            "/usr/lib/firefox-esr/a.cfg",
        ],
        ..NOTHING
    },
    Case {
        exe: "/usr/lib/firefox-esr/firefox-esr",
        arguments: &["-P", "work"],
        open_files: &["/dev/null"],
        files: &[
            (
                "/home/me/.mozilla/firefox/profiles.ini",
                b"[Profile0]\nName=work\nIsRelative=0\nPath=/p\n",
            ),
            ("/p/prefs.js", PREFS),
        ],
        decide: &["/home/me/.mozilla/firefox/profiles.ini", "/p/prefs.js"],
        ..NOTHING
    },
    Case {
        exe: "/usr/lib/chromium/chromium",
        files: &[(CHROMIUM, PREFERENCES)],
        decide: &[CHROMIUM],
        ..NOTHING
    },
    Case {
        exe: "/usr/lib/chromium/chromium",
        files: &[("/etc/chromium/policies/managed/a.json", POLICY)],
        ..NOTHING
    },
    Case {
        exe: "/usr/lib/chromium/chromium",
        variables: &[
            ("HOME", "/home/me"),
            ("XDG_CURRENT_DESKTOP", "KDE"),
            ("KDE_SESSION_VERSION", "6"),
        ],
        files: &[("/home/me/.config/kioslaverc", KIO)],
        decide: &["/home/me/.config/kioslaverc"],
        ..NOTHING
    },
    Case {
        exe: "/usr/lib/chromium/chromium",
        variables: &[("HOME", "/home/me"), ("XDG_CURRENT_DESKTOP", "GNOME")],
        files: &[("/home/me/.config/dconf/user", DCONF)],
        decide: &["/home/me/.config/dconf/user"],
        ..NOTHING
    },
    Case {
        exe: "/opt/app/app",
        arguments: &["--proxy-server=socks5://proxy.example"],
        files: &[
            ("/opt/app/chrome_100_percent.pak", b"x"),
            ("/opt/app/resources/app.asar", b"x"),
        ],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/epiphany",
        variables: &[("HOME", "/home/me"), ("XDG_CURRENT_DESKTOP", "GNOME")],
        files: &[("/home/me/.config/dconf/user", DCONF)],
        decide: &["/home/me/.config/dconf/user"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/epiphany",
        variables: &[
            ("HOME", "/home/me"),
            ("XDG_CURRENT_DESKTOP", "GNOME"),
            ("DCONF_PROFILE", "/p/profile"),
        ],
        files: &[
            (
                "/p/profile",
                b"user-db:user\nsystem-db:site\nfile-db:/p/db\n",
            ),
            ("/usr/share/glib-2.0/schemas/gschemas.compiled", SCHEMAS),
            ("/etc/dconf/db/site", DCONF),
        ],
        decide: &["/p/profile", "/etc/dconf/db/site"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/curl",
        arguments: &["-K", "/p/more", "http://a.example"],
        files: &[
            ("/home/me/.curlrc", b"silent\n"),
            ("/p/more", b"proxy = socks5://proxy.example:1080\n"),
        ],
        decide: &["/p/more"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/wget",
        arguments: &["http://a.example"],
        files: &[("/home/me/.wgetrc", b"http_proxy = proxy.example:3128\n")],
        decide: &["/home/me/.wgetrc"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/git",
        arguments: &["fetch", "https://a.example/x"],
        files: &[
            (
                "/home/me/.gitconfig",
                b"[include]\npath = /p/more\n[includeIf \"gitdir:/p\"]\npath = /p/maybe\n",
            ),
            ("/p/more", b"[http]\nproxy = socks5://proxy.example:1080\n"),
            ("/p/maybe", b"[user]\nname = x\n"),
        ],
        decide: &["/home/me/.gitconfig", "/p/more", "/p/maybe"],
        ..NOTHING
    },
    Case {
        exe: "/usr/lib/jvm/j/bin/java",
        arguments: &["-DsocksProxyHost=proxy.example", "@/p/args", "Main"],
        files: &[
            ("/p/args", b"-DsocksProxyPort=1080\n"),
            ("/usr/lib/jvm/j/conf/net.properties", b"http.proxyHost=\n"),
        ],
        decide: &["/p/args"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/ssh",
        arguments: &["host"],
        files: &[
            ("/home/me/.ssh/config", b"Include /p/*.conf\n"),
            (
                "/p/a.conf",
                b"Host *\nProxyCommand nc -X 5 -x proxy.example:1080 %h %p\n",
            ),
        ],
        decide: &["/home/me/.ssh/config", "/p/a.conf"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/ssh",
        arguments: &["-D", "1080", "-F", "/p/config", "host"],
        files: &[("/p/config", b"Host *\nDynamicForward 1081\n")],
        is_proxied: false,
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/nc",
        arguments: &["-X", "4", "-x", "proxy.example:1080", "a.example", "1"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/python3.11",
        arguments: &["a.py"],
        variables: &[
            ("HOME", "/home/me"),
            ("all_proxy", "socks5://proxy.example"),
        ],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/yt-dlp",
        arguments: &["--proxy", "socks4://proxy.example", "https://a.example"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/x",
        variables: &[("HOME", "/home/me"), ("LD_PRELOAD", "/l/libtorsocks.so")],
        open_files: &["/l/libtorsocks.so"],
        files: &[(
            "/etc/tor/torsocks.conf",
            b"TorAddress 192.0.2.7\nTorPort 9050\n",
        )],
        decide: &["/etc/tor/torsocks.conf"],
        is_proxied: false,
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/x",
        variables: &[
            ("HOME", "/home/me"),
            ("LD_PRELOAD", "/l/libproxychains.so.4"),
        ],
        open_files: &["/l/libproxychains.so.4"],
        files: &[(
            "/etc/proxychains4.conf",
            b"[ProxyList]\nsocks5 proxy.example 1080\n",
        )],
        decide: &["/etc/proxychains4.conf"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/x",
        variables: &[("HOME", "/home/me"), ("LD_PRELOAD", "/l/libtsocks.so.1.8")],
        open_files: &["/l/libtsocks.so.1.8"],
        files: &[("/etc/tsocks.conf", b"server = proxy.example\n")],
        decide: &["/etc/tsocks.conf"],
        ..NOTHING
    },
    Case {
        exe: "/usr/sbin/privoxy",
        arguments: &["/etc/privoxy/config"],
        files: &[
            (
                "/etc/privoxy/config",
                b"actionsfile a.action\nforward-socks4 / proxy.example:1080 .\n",
            ),
            ("/etc/privoxy/a.action", b"{+block}\n"),
        ],
        decide: &["/etc/privoxy/config", "/etc/privoxy/a.action"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/tor",
        files: &[
            ("/etc/tor/torrc", b"%include /p\nSocksPort 9050\n"),
            ("/p/a", b"HTTPSProxy proxy.example:3128\n"),
        ],
        decide: &["/etc/tor/torrc", "/p/a"],
        ..NOTHING
    },
    Case {
        exe: "/usr/sbin/danted",
        files: &[(
            "/etc/danted.conf",
            b"route { from: 0/0 to: 0/0 via: proxy.example port = 1080 }\n",
        )],
        decide: &["/etc/danted.conf"],
        ..NOTHING
    },
    Case {
        exe: "/usr/bin/polipo",
        files: &[(
            "/home/me/.polipo",
            b"socksParentProxy = \"proxy.example:1080\"\n",
        )],
        decide: &["/home/me/.polipo"],
        ..NOTHING
    },
];
