//! Chromium and its family.
//!
//! Policies win over extensions, these over the command line, that over the profile's preferences, and these over the
//! system's settings: the order of the stores in components/prefs/pref_value_store.h, and
//! components/proxy_config/pref_proxy_config_tracker_impl.cc. Rules and defaults are those of net/docs/proxy.md.

mod brands;
mod policies;
mod preferences;
mod rules;
mod switches;
mod system;

use self::{
    brands::{Brand, Kind},
    policies::Policies,
    preferences::{InUse, Profile},
    rules::Setting,
    switches::{ResolverRules, Switches},
};
use super::{Posture, Route, Subject, Told, View};
use crate::model::{Evidence, Leak, ProxySetting, Resolves};

const MEANING: &str = "chromium";

/// What a program of the family was told, the first counts; `None` for another program.
pub fn told(subject: &Subject<'_>) -> Option<Vec<Told>> {
    let view = subject.view;
    let brand = Brand::of(subject.process, view)?;
    let switches = Switches::new(subject.arguments());
    let exe = subject.process.exe.as_deref().unwrap_or_default();
    let mut told = match brand.kind {
        Kind::Browser => browser(view, brand, exe, switches),
        Kind::Shell => resolve(view, &switch(switches), system::told(view)),
        Kind::Electron => electron(view, switches),
    };
    if let Some(rules) = switches.resolver_rules() {
        for told in &mut told {
            apply(&rules, told);
        }
    }
    Some(told)
}

/// The profiles on disk that a user of the family has, with what each was told whatever started it: the program, the
/// profile's folder, and what it says, the first counts.
pub fn profiles(view: &View) -> Vec<(String, String, Vec<Told>)> {
    let mut found = Vec::new();
    for brand in Brand::with_profiles() {
        let own = brand
            .folders
            .iter()
            .filter_map(|folder| Some((format!("{}/{folder}", view.config_home()?), true)));
        // A package sees another /etc.
        let packaged = brand
            .packaged
            .iter()
            .filter_map(|folder| Some((view.at_home(folder)?, false)));
        for (folder, sees_policies) in own.chain(packaged) {
            for profile in preferences::on_disk(view, &folder) {
                let mut places = if sees_policies {
                    managed(view, brand)
                } else {
                    Vec::new()
                };
                let read = Profile::read(view, &profile, Switches::new(&[]));
                places.extend(of_extensions(&read));
                places.extend(of_preferences(&read));
                let told = resolve(view, &places, Vec::new());
                found.push((brand.name.to_owned(), profile, told));
            }
        }
    }
    found
}

/// A place that says something, or may.
#[derive(Clone, Debug)]
enum Place {
    /// It says this.
    Says {
        /// The kind of place.
        source: &'static str,
        /// Where it is written, and what.
        detail: String,
        /// What it is.
        setting: Setting,
        /// Where to change it, in words that `ProxyServer` or the like can follow.
        change: Change,
    },
    /// It has another meaning, or may have.
    As(Told),
}

/// What to change for a place.
#[derive(Clone, Debug)]
enum Change {
    Switch,
    Policy(String),
    Extension(String),
    Preferences(String),
}

fn browser(view: &View, brand: &Brand, exe: &str, switches: Switches<'_>) -> Vec<Told> {
    let in_use = preferences::in_use(view, brand, exe, switches);
    let policies = managed(view, brand);
    let system = system::told(view);
    let services = services(view, &policies, switches, &system);
    let mut each: Vec<(String, Vec<Told>)> = Vec::new();
    for folder in &in_use.profiles {
        let profile = Profile::read(view, folder, switches);
        let mut places = policies.clone();
        places.extend(of_extensions(&profile));
        places.extend(switch(switches));
        places.extend(of_preferences(&profile));
        places.extend(recommended(view, brand));
        let mut told = resolve(view, &places, system.clone());
        leak_of_services(&mut told, &services, switches);
        if !in_use.is_certain && switches.get("profile-directory").is_none() {
            say_that_it_is_taken_for_open(&mut told);
        }
        each.push((folder.clone(), told));
    }
    let mut told = if each.is_empty() {
        let mut places = policies;
        places.extend(switch(switches));
        resolve(view, &places, system)
    } else {
        together(each, &in_use)
    };
    secure_dns(view, brand, &in_use, &mut told);
    told
}

/// What mandatory policies say.
fn managed(view: &View, brand: &Brand) -> Vec<Place> {
    let mut places = Vec::new();
    let folders = brand.policies.iter().map(|folder| (folder, true));
    for (folder, is_sure) in folders.chain(brand.maybe_policies.iter().map(|f| (f, false))) {
        let policies = Policies::read(view, &format!("{folder}/managed"));
        let unread = policies.unread.iter();
        places.extend(unread.map(|fault| Place::As(Told::unread("policy", fault))));
        if let Some(detail) = policies.overrides {
            let route = Route::Unknown(None);
            places.push(Place::As(Told::new("policy", detail, route).and(
                MEANING,
                "versions that heed it send some addresses another way than everything else",
            )));
        }
        if let Some(detail) = policies.void {
            places.push(Place::As(Told::new("policy", detail, Route::Untold)));
        }
        let Some((detail, setting)) = policies.proxy else {
            continue;
        };
        if is_sure {
            let change = Change::Policy(path_of(&detail));
            places.push(Place::Says {
                source: "policy",
                detail,
                setting,
                change,
            });
        } else {
            let told = setting.told(view, "policy", detail).and(
                MEANING,
                format!(
                    "whether {} reads policies there depends on who built it",
                    brand.name
                ),
            );
            let route = Route::Unknown(told.route.proxy().cloned());
            // What follows may count just as well.
            places.push(Place::As(Told {
                route,
                leaks: Vec::new(),
                ..told
            }));
        }
    }
    places
}

/// The file at the beginning of evidence.
fn path_of(detail: &str) -> String {
    let path = detail.split_once(": ").map_or(detail, |(path, _)| path);
    path.to_owned()
}

/// What recommended policies say counts only where there are no system settings, which on Linux there always are
/// (`GetEffectiveProxyConfig`, and `Delegate::GetLatestProxyConfig` of proxy_config_service_linux.cc; seen with 156).
fn recommended(view: &View, brand: &Brand) -> Vec<Place> {
    let says = |folder: &str| {
        let policies = Policies::read(view, &format!("{folder}/recommended"));
        let (detail, _) = policies.proxy?;
        let detail = format!(
            "{detail}; merely recommended, which on Linux does not count beside the system's settings"
        );
        Some(Place::As(Told::new("policy", detail, Route::Untold)))
    };
    brand
        .policies
        .iter()
        .filter_map(|folder| says(folder))
        .collect()
}

fn of_extensions(profile: &Profile) -> Vec<Place> {
    let unread = profile.unread.iter();
    let unread = unread.map(|fault| Place::As(Told::unread("preferences", fault)));
    let extensions = profile.extensions.iter().map(|extension| Place::Says {
        source: "extension",
        detail: format!("{}, {}", extension.name, extension.place),
        setting: extension.setting.clone(),
        change: Change::Extension(extension.name.clone()),
    });
    unread.chain(extensions).collect()
}

fn of_preferences(profile: &Profile) -> Vec<Place> {
    let own = profile.own.iter().map(|(detail, setting)| Place::Says {
        source: "preferences",
        detail: detail.clone(),
        setting: setting.clone(),
        change: Change::Preferences(path_of(detail)),
    });
    own.collect()
}

fn switch(switches: Switches<'_>) -> Vec<Place> {
    let said = switches.proxy().map(|(detail, setting)| Place::Says {
        source: "command-line",
        detail,
        setting,
        change: Change::Switch,
    });
    said.into_iter().collect()
}

/// What places say in this order, and the system after them. One that leaves it to the system overrules those between.
fn resolve(view: &View, places: &[Place], system: Vec<Told>) -> Vec<Told> {
    let mut told = Vec::new();
    let mut to_system: Option<Told> = None;
    for place in places {
        match place {
            Place::As(said) if to_system.is_none() => told.push(said.clone()),
            Place::As(said) => told.push(overruled(said.clone())),
            Place::Says {
                source,
                detail,
                setting,
                change,
            } => {
                let mut said = setting.told(view, source, detail.clone());
                if to_system.is_some() {
                    told.push(overruled(said));
                } else if *setting == Setting::System {
                    to_system = Some(said);
                } else {
                    said.advice = said
                        .route
                        .proxy()
                        .map(|proxy| advice(proxy, change, setting));
                    told.push(said);
                }
            }
        }
    }
    let mut system = system;
    for said in &mut system {
        if said.advice.is_none() {
            said.advice = said.route.proxy().map(|proxy| system_advice(proxy, said));
        }
    }
    if let Some(mut to_system) = to_system {
        let decides = system.iter_mut().find(|said| said.route != Route::Untold);
        match decides {
            Some(decides) => decides.evidence.append(&mut to_system.evidence),
            None => {
                to_system.route = Route::Direct;
                told.push(to_system.and(MEANING, "the system has no proxy settings"));
            }
        }
    }
    told.extend(system);
    told
}

fn overruled(told: Told) -> Told {
    Told {
        evidence: told.evidence,
        ..Told::default()
    }
}

/// Several profiles in one browser: what all of them were told, and otherwise what each was.
fn together(mut each: Vec<(String, Vec<Told>)>, in_use: &InUse) -> Vec<Told> {
    let postures: Vec<Posture> = each
        .iter()
        .map(|(_, told)| Posture::combine(told.iter().cloned()))
        .collect();
    let Some(first) = postures.first() else {
        return Vec::new();
    };
    let is_same = |posture: &Posture| {
        (&posture.route, &posture.others, &posture.bypass)
            == (&first.route, &first.others, &first.bypass)
    };
    if postures.iter().all(is_same) {
        let (_, told) = each.swap_remove(0);
        return told;
    }
    let which = if in_use.is_certain {
        "these profiles are open, and were told different things"
    } else {
        "one or several of these profiles are open, and were told different things"
    };
    let proxy = postures.iter().find_map(Posture::proxy).cloned();
    let route = if in_use.is_certain {
        Route::Some(proxy)
    } else {
        Route::Unknown(proxy)
    };
    let mut told = Told::new("preferences", which, route);
    for ((folder, _), posture) in each.iter().zip(postures) {
        let proxy = posture.proxy().map_or_else(
            || "no proxy".to_owned(),
            |proxy| {
                format!(
                    "{proxy}{}",
                    if posture.proxies_everything() {
                        ""
                    } else {
                        " in part"
                    }
                )
            },
        );
        told = told.and("preferences", format!("{folder}: {proxy}"));
        told.evidence.extend(posture.evidence.iter().cloned());
        told.others.extend(posture.proxy().cloned());
        told.others.extend(posture.others);
        for mut leak in posture.leaks {
            leak.what = format!("profile {folder}: {}", leak.what);
            told.leaks.push(leak);
        }
    }
    vec![told]
}

/// How the browser's own services connect: they heed neither extensions nor preferences of a profile, but everything else
/// (chrome/browser/net/system_network_context_manager.cc).
fn services(view: &View, policies: &[Place], switches: Switches<'_>, system: &[Told]) -> Posture {
    let mut places = policies.to_vec();
    places.extend(switch(switches));
    Posture::combine(resolve(view, &places, system.to_vec()))
}

/// Seen with 156: with a proxy in the profile's preferences or from an extension, Chromium asks for update.googleapis.com,
/// clients2.google.com and others itself; with the same proxy on the command line, by policy or in the environment it
/// does not.
fn leak_of_services(told: &mut [Told], services: &Posture, switches: Switches<'_>) {
    let Some(decides) = told.iter_mut().find(|told| told.route != Route::Untold) else {
        return;
    };
    let is_safe = services.proxies_everything() && services.resolves() == Resolves::Remote;
    if !is_by_profile(decides) || decides.route.proxy().is_none() || is_safe {
        return;
    }
    let are_switched_off = ["disable-background-networking", "disable-component-update"]
        .iter()
        .any(|name| switches.get(name).is_some());
    let certain = matches!(services.route, Route::Untold | Route::Direct) && !are_switched_off;
    decides.leaks.push(Leak {
        what: "names of the browser's own services (updates and others), which do not heed settings of a profile".to_owned(),
        certain,
        stop: "give the proxy on the command line (--proxy-server) or by policy instead".to_owned(),
    });
}

/// Without open files that tell.
fn say_that_it_is_taken_for_open(told: &mut [Told]) {
    let decides = told.iter_mut().find(|told| told.route != Route::Untold);
    if let Some(decides) = decides.filter(|decides| is_by_profile(decides)) {
        decides.evidence.push(Evidence::new(
            MEANING,
            "which profile is open could not be seen: this is the one that it opens by itself",
        ));
    }
}

fn is_by_profile(told: &Told) -> bool {
    let first = told.evidence.first();
    first.is_some_and(|first| ["extension", "preferences"].contains(&first.source.as_str()))
}

/// Electron apps take Chromium's switches (Electron's documentation, "Supported Command Line Switches"), and the system's
/// settings without them; an app can set a proxy itself (`session.setProxy`), which is written nowhere.
fn electron(view: &View, switches: Switches<'_>) -> Vec<Told> {
    const OWN: &str =
        "an Electron app, which may have set another proxy itself: that is written nowhere";
    let places = switch(switches);
    let is_told = !places.is_empty();
    let mut told = resolve(view, &places, system::told(view));
    for told in told.iter_mut().filter(|told| told.route != Route::Untold) {
        told.evidence.push(Evidence::new("electron", OWN));
        if !is_told {
            told.route = Route::Unknown(told.route.proxy().cloned());
        }
    }
    told
}

/// Encrypted DNS, for names that the browser resolves itself: it goes past the proxy too (net/dns/dns_transaction.cc,
/// `LOAD_BYPASS_PROXY`).
fn secure_dns(view: &View, brand: &Brand, in_use: &InUse, told: &mut [Told]) {
    let of_policy = brand
        .policies
        .iter()
        .find_map(|folder| Policies::read(view, &format!("{folder}/managed")).secure_dns);
    let of_user = || preferences::secure_dns(view, in_use.folder.as_deref()?);
    let (source, detail) = match of_policy {
        Some(detail) => ("policy", detail),
        None => match of_user() {
            Some(detail) => ("preferences", detail),
            None => return,
        },
    };
    let meaning = if detail.contains("= secure") {
        Some(
            "names that it resolves itself are asked by DNS over HTTPS, past the proxy and out of leakmon's sight",
        )
    } else if detail.contains("= automatic") {
        Some(
            "names that it resolves itself may be asked by DNS over HTTPS, past the proxy and out of leakmon's sight",
        )
    } else {
        None
    };
    let decides = told.iter_mut().find(|told| told.route != Route::Untold);
    if let Some(decides) = decides {
        let meaning = meaning.map(|meaning| Evidence::new(MEANING, meaning));
        decides.evidence.push(Evidence::new(source, detail));
        decides.evidence.extend(meaning);
    }
}

/// Rules by which no name is resolved (net/docs/proxy.md; chrome's documentation of SOCKS proxies).
fn apply(rules: &ResolverRules, told: &mut Told) {
    if told.route == Route::Untold {
        return;
    }
    let written = format!("--host-resolver-rules={}", rules.text);
    told.evidence.push(Evidence::new("command-line", written));
    if !rules.is_total {
        return;
    }
    let proxy_names: Vec<String> = told
        .route
        .proxy()
        .into_iter()
        .chain(&told.others)
        .map(|proxy| proxy.addr.to_ascii_lowercase())
        .collect();
    let is_address = |name: &str| {
        name.trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok()
    };
    let excepted: Vec<&str> = rules
        .excepted
        .iter()
        .map(String::as_str)
        .filter(|name| !proxy_names.contains(&name.to_ascii_lowercase()) && !is_address(name))
        .collect();
    let is_4 = |proxy: &ProxySetting| proxy.scheme == "socks4";
    let fails = told.route.proxy().is_some_and(is_4);
    let meaning = if fails {
        "it cannot resolve names: with a SOCKS4 proxy, which takes addresses only, pages fail, but their names do not leak"
    } else {
        "it cannot resolve names: those that do not go through the proxy fail, and do not leak"
    };
    told.evidence.push(Evidence::new(MEANING, meaning));
    told.leaks.clear();
    told.advice = None;
    let mut leak = |what: String, stop: &str| {
        told.leaks.push(Leak {
            what,
            certain: false,
            stop: stop.to_owned(),
        });
    };
    if !excepted.is_empty() {
        leak(
            format!(
                "names like {}, which --host-resolver-rules excepts",
                excepted.join(", ")
            ),
            "except the proxy alone",
        );
    }
    if fails || !matches!(told.route, Route::Everything(_)) {
        // Its probe of whether names can be resolved at all (chrome/browser/net/dns_probe_service.h; seen with 156).
        leak(
            "google.com, which it asks for when a page's name cannot be resolved, to find out why"
                .to_owned(),
            "send everything through a SOCKS5 proxy (socks5://), so that pages do not fail",
        );
    }
    if fails {
        told.advice = told.route.proxy().map(|proxy| {
            format!(
                "use {} instead: with SOCKS4 no page can be reached by its name",
                socks5(proxy)
            )
        });
    }
    let proxies = match &mut told.route {
        Route::Everything(proxy) => Some(proxy),
        Route::Some(proxy) | Route::Unknown(proxy) => proxy.as_mut(),
        Route::Untold | Route::Direct => None,
    };
    for proxy in proxies.into_iter().chain(&mut told.others) {
        proxy.resolves = Resolves::Remote;
    }
}

/// The same place, spoken to by SOCKS5.
fn socks5(proxy: &ProxySetting) -> ProxySetting {
    ProxySetting {
        scheme: "socks5".to_owned(),
        ..proxy.clone()
    }
}

const WHY: &str = "for SOCKS4 it always resolves names itself, to a SOCKS5 proxy it gives them";

fn advice(proxy: &ProxySetting, change: &Change, setting: &Setting) -> String {
    if proxy.scheme != "socks4" && proxy.resolves == Resolves::Remote {
        return blocked(proxy);
    }
    let host = socks5(proxy);
    if matches!(setting, Setting::Script(_)) {
        return format!(
            "have the script answer SOCKS5 {} in place of SOCKS: {WHY}",
            host.to_string().trim_start_matches("socks5://")
        );
    }
    match change {
        Change::Switch => format!("start it with --proxy-server={host}: {WHY}"),
        Change::Policy(path) => format!("set ProxyServer to \"{host}\" in {path}: {WHY}"),
        Change::Extension(name) => {
            format!("have the extension {name} use SOCKS5 in place of SOCKS4, or remove it: {WHY}")
        }
        Change::Preferences(path) => format!(
            "close it and set server of proxy to \"{host}\" in {path}, or start it with --proxy-server={host}, which goes before: {WHY}"
        ),
    }
}

fn system_advice(proxy: &ProxySetting, told: &Told) -> String {
    if proxy.scheme != "socks4" && proxy.resolves == Resolves::Remote {
        return blocked(proxy);
    }
    let host = socks5(proxy);
    let by_version = told.evidence.iter().any(|evidence| {
        evidence.source == "environment" && evidence.detail.contains("SOCKS_VERSION=4")
    });
    if by_version {
        format!(
            "start it without SOCKS_VERSION=4 in its environment, or with --proxy-server={host}: {WHY}"
        )
    } else {
        format!(
            "start it with --proxy-server={host}, which goes before the system's settings: {WHY}"
        )
    }
}

/// For a proxy that is given names: what keeps the browser from resolving any by mistake.
fn blocked(proxy: &ProxySetting) -> String {
    format!(
        "start it with --host-resolver-rules=\"MAP * ~NOTFOUND , EXCLUDE {}\": then it cannot resolve any name but the proxy's",
        proxy.addr
    )
}

#[cfg(test)]
mod tests;
