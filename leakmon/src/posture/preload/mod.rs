//! Libraries that are put in front of a program and take its connections to a proxy.
//!
//! The loader puts them there by `LD_PRELOAD` or /etc/ld.so.preload (ld.so(8)). A static program has no loader, and one
//! with raised rights is spared most of `LD_PRELOAD`: what counts is what is mapped into the program.

mod proxychains;
mod torsocks;
mod tsocks;

use super::{Fault, Route, Subject, Told, View};

const VARIABLE: &str = "LD_PRELOAD";
const FILE: &str = "/etc/ld.so.preload";
/// The evidence that a library is there.
const SOURCE: &str = "preload";

/// A library that leakmon knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    Torsocks,
    Proxychains,
    Tsocks,
}

impl Library {
    /// By its file name, as `libproxychains.so.4` or `libproxychains4.so`.
    fn of(path: &str) -> Option<Self> {
        let file = path.rsplit('/').next()?;
        let library = if file.starts_with("libtorsocks.so") {
            Self::Torsocks
        } else if file.starts_with("libproxychains") && file.contains(".so") {
            Self::Proxychains
        } else if file.starts_with("libtsocks.so") {
            Self::Tsocks
        } else {
            return None;
        };
        Some(library)
    }
}

/// A library that a place names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    library: Library,
    /// The variable or file.
    place: &'static str,
    /// As written there.
    path: String,
}

/// What such libraries were told, the one that takes a connection first before the others; nothing without one.
pub fn told(subject: &Subject<'_>) -> Vec<Told> {
    let view = subject.view;
    // That of a program that has ended is as good as none.
    let (file, doubt) = match view.text(FILE) {
        Ok(file) => (file.unwrap_or_default(), None),
        Err(Fault::Gone { .. }) => (String::new(), None),
        Err(fault) => (String::new(), Some(fault)),
    };
    let named = named(view, &file);
    // Of a program whose environment is known the memory is looked at only when there is a reason.
    if named.is_empty() && view.environment_fault().is_none() && doubt.is_none() {
        return Vec::new();
    }
    let mapped = view.mapped_files();
    let mut told = of_libraries(view, &named, &mapped);
    // What is mapped tells all that the file could.
    if let (Some(fault), true) = (doubt, mapped.is_err()) {
        told.push(Told::unread(SOURCE, fault));
    }
    told
}

/// The libraries that the loader was told of, in the order in which it loads them.
fn named(view: &View, file: &str) -> Vec<Named> {
    let variable = view.variable(VARIABLE).unwrap_or_default();
    // Whether the loader heeds the file shows in what is mapped.
    let in_variable = variable
        .split([' ', ':'])
        .map(|path| (VARIABLE, path.to_owned()));
    let in_file = file
        .split([' ', ':', '\t', '\n'])
        .map(|path| (FILE, path.to_owned()));
    let mut named: Vec<Named> = Vec::new();
    for (place, path) in in_variable.chain(in_file) {
        if let Some(library) = Library::of(&path)
            && named.iter().all(|known| known.library != library)
        {
            named.push(Named {
                library,
                place,
                path,
            });
        }
    }
    named
}

fn of_libraries(view: &View, named: &[Named], mapped: &Result<Vec<String>, Fault>) -> Vec<Told> {
    let mapped = match mapped {
        Ok(mapped) => mapped,
        Err(fault) => {
            return named
                .iter()
                .map(|named| {
                    Told::unread(
                        SOURCE,
                        format!(
                            "{} = {}: whether it is loaded is not known: {fault}",
                            named.place, named.path
                        ),
                    )
                })
                .collect();
        }
    };
    let loaded = |library| {
        mapped
            .iter()
            .map(|path| path.strip_suffix(" (deleted)").unwrap_or(path))
            .find(|path| Library::of(path) == Some(library))
    };
    let mut told: Vec<Told> = named
        .iter()
        .map(|named| match loaded(named.library) {
            Some(path) => of_library(
                view,
                named.library,
                path,
                format!("{} = {}: it is loaded", named.place, named.path),
            ),
            None => Told::new(
                SOURCE,
                format!(
                    "{} = {}: it is not loaded (the program is static or has more rights than its user, or there is no such library), and takes no connection",
                    named.place, named.path
                ),
                Route::Untold,
            ),
        })
        .collect();
    // Loaded without a word: the environment is closed to view, or was changed.
    for library in [Library::Torsocks, Library::Proxychains, Library::Tsocks] {
        if named.iter().all(|named| named.library != library)
            && let Some(path) = loaded(library)
        {
            told.push(of_library(view, library, path, format!("{path} is loaded")));
        }
    }
    told
}

/// What a library that is loaded from `path` was told.
fn of_library(view: &View, library: Library, path: &str, how: String) -> Told {
    let told = match view.environment_fault() {
        // It may name another configuration file, or overrule it.
        Some(fault) => Told::unread("environment", fault),
        None => match library {
            Library::Torsocks => torsocks::told(view, path),
            Library::Proxychains => proxychains::told(view, path),
            Library::Tsocks => tsocks::told(view),
        },
    };
    let mut all = Told::new(SOURCE, how, Route::Untold);
    all.evidence.extend(told.evidence);
    Told {
        evidence: all.evidence,
        ..told
    }
}

/// Whether a library knows a variable by name: its versions differ in which they read.
///
/// # Errors
/// When the library cannot be read.
fn knows(view: &View, library: &str, variable: &str) -> Result<bool, Fault> {
    let bytes = view.bytes(library)?.ok_or_else(|| Fault::Refused {
        path: library.to_owned(),
        reason: "it is not there any more".to_owned(),
    })?;
    let variable = variable.as_bytes();
    Ok(bytes
        .windows(variable.len())
        .any(|window| window == variable))
}

/// The content of a configuration file that a variable names, and its path; `None` when there is no such file.
///
/// # Errors
/// When it cannot be read, or when the path is relative and there is no such file: the program may have been started in
/// another folder.
fn file_of_variable(view: &View, written: &str) -> Result<(String, Option<String>), Fault> {
    let path = view.meant(written)?;
    let text = view.text(&path)?;
    if text.is_none() && !written.starts_with('/') {
        return Err(Fault::Refused {
            path: written.to_owned(),
            reason:
                "its path is relative, and the folder in which the program was started is not known"
                    .to_owned(),
        });
    }
    Ok((path, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Resolves,
        posture::{Posture, testing::Scene},
    };

    fn file(view: &View) -> String {
        view.text(FILE).ok().flatten().unwrap_or_default()
    }

    #[test]
    fn a_list_that_cannot_be_read_leaves_it_open() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/ld.so.preload")).unwrap();
        let process = crate::model::Process::unread(7, Some(0));
        let told = |view: &View| {
            let subject = Subject {
                process: &process,
                view,
                programs: &crate::posture::Programs::default(),
            };
            super::told(&subject)
        };
        let view = View::of_disk(dir.path(), Some(0));
        assert_eq!(told(&view)[0].route, Route::Unknown(None));
        // What is mapped says more than the file.
        assert!(told(&view.with(&[], &["/lib/libc.so.6"])).is_empty());
    }

    const TORSOCKS: &str = "/usr/lib/x86_64-linux-gnu/torsocks/libtorsocks.so.0.0.0";

    fn combined(variables: &[(&str, &str)], mapped: Result<Vec<String>, Fault>) -> Posture {
        let scene = Scene::new("/bin/program").variables(variables).file(
            "etc/proxychains.conf",
            "[ProxyList]\nsocks5 10.0.0.1 1080\n",
        );
        let view = scene.view();
        Posture::combine(of_libraries(&view, &named(&view, &file(&view)), &mapped))
    }

    #[test]
    fn names() {
        for (path, library) in [
            ("libtsocks.so", Some(Library::Tsocks)),
            (TORSOCKS, Some(Library::Torsocks)),
            ("/usr/lib/libproxychains4.so", Some(Library::Proxychains)),
            ("/x/libproxychains.so.4", Some(Library::Proxychains)),
            ("/x/libproxychains.txt", None),
            ("/libtsocks.so/libc.so.6", None),
            ("", None),
        ] {
            assert_eq!(Library::of(path), library, "{path}");
        }
    }

    #[test]
    fn one_that_is_loaded_counts() {
        let posture = combined(&[("LD_PRELOAD", TORSOCKS)], Ok(vec![TORSOCKS.into()]));
        assert_eq!(
            posture.proxy().unwrap().to_string(),
            "socks5://127.0.0.1:9050"
        );
        assert_eq!(posture.resolves(), Resolves::Remote);
        assert!(posture.evidence[0].detail.contains("is loaded"));
    }

    #[test]
    fn one_that_is_not_loaded_does_not_count() {
        let posture = combined(&[("LD_PRELOAD", TORSOCKS)], Ok(vec!["/bin/static".into()]));
        assert_eq!(posture.route, Route::Untold);
        assert!(posture.overruled[0].detail.contains("not loaded"));
    }

    #[test]
    fn the_first_one_takes_the_connections() {
        let both = "libproxychains.so.4:libtorsocks.so";
        let mapped = vec![TORSOCKS.to_owned(), "/lib/libproxychains.so.4".to_owned()];
        let posture = combined(&[("LD_PRELOAD", both)], Ok(mapped.clone()));
        assert_eq!(posture.proxy().unwrap().addr, "10.0.0.1");
        assert_eq!(posture.resolves(), Resolves::Local);
        let posture = combined(&[], Ok(mapped));
        assert_eq!(posture.proxy().unwrap().port, 9050, "loaded without a word");
    }

    #[test]
    fn whether_it_is_loaded_may_not_be_known() {
        let fault = Fault::Gone {
            path: "/proc/PID/maps".into(),
        };
        let posture = combined(&[("LD_PRELOAD", TORSOCKS)], Err(fault.clone()));
        assert_eq!(posture.route, Route::Unknown(None));
        assert!(combined(&[], Err(fault)).is_empty());
    }

    #[test]
    fn the_file_of_the_loader() {
        let scene = Scene::new("/bin/program").file(
            "etc/ld.so.preload",
            "/lib/other.so\n/usr/lib/libtsocks.so\n",
        );
        let view = scene.view();
        assert_eq!(named(&view, &file(&view))[0].library, Library::Tsocks);
        assert_eq!(named(&view, &file(&view))[0].place, FILE);
    }
}
