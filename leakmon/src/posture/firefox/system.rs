//! `network.proxy.type` 5: the desktop's settings, else the environment's (nsUnixSystemProxySettings.cpp in
//! toolkit/system/unixproxy).

use crate::{
    model::{Evidence, ProxySetting, Resolves},
    posture::{
        Bypass, Language, Route, Told, View, bypass::split, desktop::Desktop, proxy::Written,
        without_password,
    },
};

/// What manual settings of the desktop mean (`GetProxyFromGSettings`): a proxy without a port is none, that for `http:` is
/// for `https:` too when this has none, and SOCKS is for what has none at all.
pub fn desktop(
    desktop: &Desktop,
    [http, https, socks]: [Option<&Written>; 3],
    of_socks: &dyn Fn(&Written) -> ProxySetting,
) -> Told {
    let with_port = |written: &&Written| written.port.is_some_and(|port| port != 0);
    let of_http = |written: &Written| written.setting("http", 80, Resolves::Remote);
    let http = http.filter(with_port).map(of_http);
    let https = https
        .filter(with_port)
        .map(of_http)
        .or_else(|| http.clone());
    let socks = socks.filter(with_port).map(of_socks);
    let mut proxies: Vec<ProxySetting> = Vec::new();
    for proxy in [
        https.as_ref().or(socks.as_ref()),
        http.as_ref().or(socks.as_ref()),
        socks.as_ref(),
    ]
    .into_iter()
    .flatten()
    {
        if !proxies.contains(proxy) {
            proxies.push(proxy.clone());
        }
    }
    let covers_all = socks.is_some() || http.is_some() && https.is_some();
    let mut proxies = proxies.into_iter();
    let route = match proxies.next() {
        None => Route::Direct,
        Some(proxy) if covers_all => Route::Everything(proxy),
        Some(proxy) => Route::Some(Some(proxy)),
    };
    Told {
        evidence: desktop.evidence.clone(),
        route,
        others: proxies.collect(),
        // Whole names, and ends of names after `*` (`HostIgnoredByProxy`).
        bypass: Bypass {
            rules: desktop.bypass.clone(),
            language: Language::Chromium,
        },
        ..Told::default()
    }
}

/// What the environment says (nsUnixSystemProxySettings.cpp, `GetProxyFromEnvironment`): only values that begin with
/// `http://` count, whatever the variable, and all others mean direct.
pub fn environment(view: &View) -> Told {
    const SOURCE: &str = "environment";
    if let Some(fault) = view.environment_fault() {
        return Told::unread(SOURCE, fault);
    }
    let first = |names: [&'static str; 2]| {
        names
            .into_iter()
            .find_map(|name| Some((name, view.variable(name)?)))
    };
    let all = first(["all_proxy", "ALL_PROXY"]);
    let http = first(["http_proxy", "HTTP_PROXY"]).or(all);
    let https = first(["https_proxy", "HTTPS_PROXY"]).or(all);
    let detail = |(name, value): (&str, &str)| {
        Evidence::new(SOURCE, without_password(&format!("{name}={value}")))
    };
    let mut evidence: Vec<Evidence> = Vec::new();
    for variable in [http, https].into_iter().flatten() {
        let detail = detail(variable);
        if !evidence.contains(&detail) {
            evidence.push(detail);
        }
    }
    if evidence.is_empty() {
        return Told::default();
    }
    let proxy = |variable: Option<(&str, &str)>| {
        Written::parse(variable?.1)
            .filter(|written| written.scheme.as_deref() == Some("http"))
            .map(|written| written.setting("http", 80, Resolves::Remote))
    };
    let mut others = Vec::new();
    let (route, meaning) = match (proxy(http), proxy(https)) {
        (None, None) => (
            Route::Direct,
            "Firefox takes only http:// from the environment: it goes direct",
        ),
        (Some(http), Some(https)) => {
            if http != https {
                others.push(https);
            }
            (
                Route::Everything(http),
                "Firefox leaves names to an HTTP proxy",
            )
        }
        (Some(one), None) | (None, Some(one)) => (
            Route::Some(Some(one)),
            "only one of http and https has a proxy, the other goes direct",
        ),
    };
    let mut told = Told {
        evidence,
        route,
        others,
        ..Told::default()
    };
    if let (Some((name, list)), true) =
        (first(["no_proxy", "NO_PROXY"]), told.route != Route::Direct)
    {
        told.evidence
            .push(Evidence::new(SOURCE, format!("{name}={list}")));
        if list == "*" {
            told.route = Route::Direct;
        } else {
            // Any end of a name is compared, be it a whole label or not.
            let rules = split(list, &[',']);
            told.bypass = Bypass {
                rules: rules.iter().map(|rule| format!("*{rule}")).collect(),
                language: Language::Chromium,
            };
        }
    }
    told.and("firefox", meaning)
}
