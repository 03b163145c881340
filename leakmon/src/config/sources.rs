//! Where configuration comes from: the files and the environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{
    fault::{Document, Fault, Place, near},
    file::{Said, Setting},
    options::{CONFIG, Kind, OTHER_VARIABLES, Opt, PREFIX, Table, tables, truth, variable},
};
use crate::{capture::machine, posture::Programs};

/// The machine's configuration.
pub const MACHINE: &str = "/etc/leakmon.toml";
/// The user's own, below their configuration folder.
pub const BELOW_CONFIG: &str = "leakmon/config.toml";
/// Most of a configuration that is read.
const MAX_BYTES: u64 = 1024 * 1024;
/// What nobody else may do with a configuration that was not named: write it, as its group or as anybody.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// The variables that are leakmon's, as far as they say anything: an empty one is as one that is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::of(std::env::vars_os())
    }

    /// Those among these.
    #[must_use]
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let own = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            (name.starts_with(PREFIX) && !value.is_empty()).then_some((name, value))
        };
        Self(variables.into_iter().filter_map(own).collect())
    }

    /// The file that they name.
    #[must_use]
    pub fn config(&self) -> Option<PathBuf> {
        self.0.get(&variable(CONFIG)).map(PathBuf::from)
    }

    /// What they say of an option.
    ///
    /// # Errors
    /// When the option does not take the value.
    pub fn setting(&self, option: &Opt) -> Result<Option<Setting>, Fault> {
        let name = option.variable();
        let Some(value) = self.0.get(&name) else {
            return Ok(None);
        };
        let place = Place::Variable(name);
        let fault = |what: String| Fault::new(place.clone(), what);
        let values = match (option.kind, value.to_str()) {
            (Kind::Switch, _) => {
                let value = truth(&value.to_string_lossy()).map_err(fault)?;
                vec![value.to_string().into()]
            }
            (_, Some(list)) if option.is_list => list.split(',').map(OsString::from).collect(),
            _ => vec![value.clone()],
        };
        for value in &values {
            option.check(value).map_err(fault)?;
        }
        Ok(Some(Setting { values, place }))
    }

    /// Finds a variable that is nearly one of leakmon's: nobody else would tell of its misspelling. Others may have
    /// variables with the same beginning.
    ///
    /// # Errors
    /// With the right name.
    pub fn check_names(&self, tables: &[Table]) -> Result<(), Fault> {
        let options = tables.iter().flat_map(|table| &table.options);
        let mut known: Vec<String> = options.map(Opt::variable).collect();
        known.push(variable(CONFIG));
        known.extend(OTHER_VARIABLES.map(str::to_owned));
        let ends: Vec<&str> = known
            .iter()
            .filter_map(|name| name.strip_prefix(PREFIX))
            .collect();
        for name in self.0.keys() {
            let end = name.strip_prefix(PREFIX).unwrap_or_default();
            if ends.contains(&end) {
                continue;
            }
            // Short words are all near to each other.
            if let Some(right) = near(end, &ends).filter(|right| right.len() > 3) {
                let place = Place::Variable(name.clone());
                let what = format!("there is no such variable: did you mean `{PREFIX}{right}`?");
                return Err(Fault::new(place, what));
            }
        }
        Ok(())
    }
}

/// A file that somebody named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The file.
    pub path: PathBuf,
    /// How it was named.
    pub by: &'static str,
}

impl Named {
    /// The file of `--config`, else that of the environment.
    #[must_use]
    pub fn of(option: Option<&Path>, variables: &Variables) -> Option<Self> {
        let by_option = option.map(|path| Self {
            path: path.to_owned(),
            by: "--config",
        });
        by_option.or_else(|| {
            Some(Self {
                path: variables.config()?,
                by: "LEAKMON_CONFIG",
            })
        })
    }
}

/// Where configuration is looked for when no file is named: what counts most comes first.
#[must_use]
pub fn places() -> Vec<PathBuf> {
    let own = folder().map(|folder| folder.join(BELOW_CONFIG));
    own.into_iter().chain([PathBuf::from(MACHINE)]).collect()
}

/// The configuration folder of the user that runs leakmon (XDG Base Directory Specification).
fn folder() -> Option<PathBuf> {
    let absolute = |name| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))
}

/// Everything that is said off the command line.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The environment.
    pub variables: Variables,
    /// What counts most comes first.
    pub files: Vec<Said>,
}

impl Sources {
    /// Reads the file that was named, else the user's own and the machine's.
    ///
    /// # Errors
    /// With everything that is wrong in them.
    pub fn read(named: Option<&Named>, variables: Variables) -> Result<Self, Vec<Fault>> {
        let tables = tables();
        let mut faults = Vec::new();
        let mut files = Vec::new();
        let read = match named {
            Some(named) => vec![read_named(named, &tables).map(Some)],
            None => places()
                .iter()
                .map(|path| read_place(path, &tables))
                .collect(),
        };
        for read in read {
            match read {
                Ok(said) => files.extend(said),
                Err(wrong) => faults.extend(wrong),
            }
        }
        if faults.is_empty() {
            Ok(Self { variables, files })
        } else {
            Err(faults)
        }
    }

    /// What the files tell of programs: what counts more stands for what counts less.
    #[must_use]
    pub fn programs(&self) -> Programs {
        let mut programs = Programs::default();
        for file in self.files.iter().rev() {
            programs.replace_by(file.programs.clone());
        }
        programs
    }
}

fn read_named(named: &Named, tables: &[Table]) -> Result<Said, Vec<Fault>> {
    read_file(&named.path, tables)?.ok_or_else(|| {
        let place = Place::File(named.path.display().to_string());
        let by = named.by;
        vec![Fault::new(
            place,
            format!("does not exist: {by} names a file in TOML"),
        )]
    })
}

/// Reads a file that somebody named; `None` when there is none.
///
/// # Errors
/// With everything that is wrong in it.
pub fn read_file(path: &Path, tables: &[Table]) -> Result<Option<Said>, Vec<Fault>> {
    read(path, tables, |_| Ok(()))
}

/// Reads a file that nobody named: it must be of somebody whom the user of leakmon trusts.
fn read_place(path: &Path, tables: &[Table]) -> Result<Option<Said>, Vec<Fault>> {
    let own = rustix::process::geteuid().as_raw();
    read(path, tables, |metadata| {
        trusted(own, metadata.uid(), metadata.gid(), metadata.mode())
    })
}

/// Whether a user of leakmon obeys a file that was not named: one of another user could have root replace files and hide
/// leaks. sudo may keep HOME (sudoers(5), `env_keep`), and root then reads that user's.
fn trusted(user: u32, owner: u32, group: u32, mode: u32) -> Result<(), String> {
    if owner != user && owner != 0 {
        return Err(format!(
            "belongs to user {owner}, and user {user} runs leakmon: name it with --config to have it obeyed"
        ));
    }
    // A group of the same number is the owner's alone (adduser(8), USERGROUPS).
    let by_group = mode & GROUP_WRITES != 0 && group != owner;
    if by_group || mode & OTHERS_WRITE != 0 {
        return Err(
            "can be written by other users: take that from them with chmod go-w".to_owned(),
        );
    }
    Ok(())
}

fn read(
    path: &Path,
    tables: &[Table],
    is_trusted: impl FnOnce(&Metadata) -> Result<(), String>,
) -> Result<Option<Said>, Vec<Fault>> {
    let shown = path.display().to_string();
    let bytes = match bytes(path, is_trusted) {
        Ok(bytes) => bytes,
        Err(what) => return Err(vec![Fault::new(Place::File(shown), what)]),
    };
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => Said::parse(text, &shown, tables).map(Some),
        Err(error) => {
            let text = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let document = Document {
                text: &text,
                path: &shown,
            };
            Err(vec![
                document.fault(text.len(), "this is not UTF-8, and TOML is"),
            ])
        }
    }
}

/// What is in a file. It is looked at after it was opened, so that it is what is read.
fn bytes(
    path: &Path,
    is_trusted: impl FnOnce(&Metadata) -> Result<(), String>,
) -> Result<Option<Vec<u8>>, String> {
    let unread = |error: io::Error| format!("cannot be read: {}", machine::plain(&error));
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(unread(error)),
    };
    let metadata = file.metadata().map_err(unread)?;
    if metadata.is_dir() {
        return Err("is a folder, no file".to_owned());
    }
    // The empty file that there always is.
    if metadata.file_type().is_char_device() && path == Path::new("/dev/null") {
        return Ok(Some(Vec::new()));
    }
    if !metadata.is_file() {
        return Err("is no plain file".to_owned());
    }
    is_trusted(&metadata)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!(
            "is longer than any configuration: {} bytes",
            metadata.len()
        ));
    }
    Ok(Some(bytes))
}

/// A pipe that nobody writes to is not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Users that are no persons may have a home that is no folder, as /dev/null.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn named(path: &Path) -> Named {
        Named {
            path: path.to_owned(),
            by: "--config",
        }
    }

    fn fault(path: &Path) -> String {
        let faults = Sources::read(Some(&named(path)), Variables::default()).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].to_string()
    }

    #[test]
    fn a_named_file_has_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let missing = fault(&path);
        assert!(missing.contains("does not exist"), "{missing}");
        fs::write(&path, "[[program]]\nname = [\"x\"]\n").unwrap();
        let sources = Sources::read(Some(&named(&path)), Variables::default()).unwrap();
        assert_eq!(sources.programs().programs.len(), 1);
        fs::write(&path, "[[program]]\nnmae = [\"x\"]\n").unwrap();
        let wrong = fault(&path);
        assert!(wrong.contains("c.toml, line 2"), "{wrong}");
        fs::write(&path, b"[watch]\nrecord = \"\xff\"\n").unwrap();
        let wrong = fault(&path);
        assert!(
            wrong.contains("c.toml, line 2: this is not UTF-8"),
            "{wrong}"
        );
        assert!(fault(dir.path()).contains("is a folder"));
        assert!(fault(Path::new("/dev/zero")).contains("is no plain file"));
        let none = Sources::read(Some(&named(Path::new("/dev/null"))), Variables::default());
        assert_eq!(none.unwrap().programs(), Programs::default());
    }

    #[test]
    fn whose_files_are_obeyed() {
        assert_eq!(trusted(0, 0, 0, 0o644), Ok(()));
        assert_eq!(trusted(1000, 0, 0, 0o644), Ok(()));
        assert_eq!(trusted(1000, 1000, 1000, 0o664), Ok(()));
        assert!(
            trusted(0, 1000, 1000, 0o600)
                .unwrap_err()
                .contains("user 1000")
        );
        assert!(trusted(1000, 1001, 1001, 0o644).is_err());
        assert!(trusted(1000, 1000, 100, 0o664).is_err());
        assert!(trusted(0, 0, 0, 0o646).is_err());
    }

    fn variables(variables: &[(&str, &str)]) -> Variables {
        Variables::of(
            variables
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }

    fn option(table: &str, key: &str) -> Opt {
        let tables = tables();
        let table = tables.iter().find(|one| one.name == table).unwrap();
        table.option(key).unwrap().clone()
    }

    #[test]
    fn variables_set_options() {
        let set = variables(&[
            ("LEAKMON_PORT", "5300,5353"),
            ("LEAKMON_PLAIN", "1"),
            ("LEAKMON_JSON", "maybe"),
            ("LEAKMON_APP", ""),
            ("LEAKMON_PID", "1,x"),
            ("OTHER", "1"),
        ]);
        let values = |key| Some(set.setting(&option("watch", key)).unwrap()?.values);
        assert_eq!(values("port").unwrap(), ["5300", "5353"]);
        assert_eq!(values("plain").unwrap(), ["true"]);
        assert_eq!(values("app"), None);
        let wrong = |key| set.setting(&option("watch", key)).unwrap_err().to_string();
        assert_eq!(wrong("json"), "LEAKMON_JSON: 'maybe' is not true or false");
        assert_eq!(wrong("pid"), "LEAKMON_PID: 'x' is no number");
    }

    #[test]
    fn a_misspelled_variable_is_told() {
        let tables = tables();
        for (name, right) in [
            ("LEAKMON_BUFER", Some("LEAKMON_BUFFER")),
            ("LEAKMON_CONFG", Some("LEAKMON_CONFIG")),
        ]
        .into_iter()
        .chain(
            [
                "LEAKMON_LOG",
                "LEAKMON_BIN",
                "LEAKMON_LAB_REQUIRE",
                "LEAKMON_",
            ]
            .map(|name| (name, None)),
        ) {
            let said = variables(&[(name, "1")]).check_names(&tables);
            match (said, right) {
                (Ok(()), None) => {}
                (Err(fault), Some(right)) => assert!(fault.what.contains(right), "{fault}"),
                (said, _) => panic!("{name}: {said:?}"),
            }
        }
    }
}
