//! A reader's desk: command lines are typed as they stand on a page, with something real for each placeholder.

use crate::pages::CommandLine;
use leakmon_lab::lab::{PAGE, SERVER, SOCKS_PORT};
use leakmon_lab::program::Finished;
use leakmon_lab::tmux::Terminal;
use leakmon_lab::{LIMIT, Lab, Leakmon, Program, cgroup, leakmon, need, wait};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A word on a page that stands for what the reader has.
#[derive(Clone, Copy, Debug)]
pub struct Placeholder {
    /// The word before it; nothing where that may be any.
    pub after: &'static str,
    /// Itself; nothing where it may be any.
    pub word: &'static str,
    /// What is typed instead.
    typed: Typed,
}

#[derive(Clone, Copy, Debug)]
enum Typed {
    /// These words.
    Words(&'static str),
    /// A path where nothing is yet.
    New,
    /// A recording with a leak; where there is one in the line already, saved JSON lines.
    Saved,
    /// Both.
    BothSaved,
    /// A configuration.
    Configuration,
    /// The lab's cgroup, where its hierarchy is mounted for who types.
    Cgroup,
    /// A process that goes on.
    Process,
    /// A program that leaks.
    Leaking,
}

/// The first that fits counts.
const PLACEHOLDERS: &[Placeholder] = &[
    // No page is read for half a minute. What happens meanwhile, happens many times a second here.
    Placeholder {
        after: "--duration",
        word: "",
        typed: Typed::Words("2s"),
    },
    Placeholder {
        after: "--record",
        word: "FILE",
        typed: Typed::New,
    },
    Placeholder {
        after: "--out",
        word: "FOLDER",
        typed: Typed::New,
    },
    Placeholder {
        after: "--config",
        word: "FILE",
        typed: Typed::Configuration,
    },
    Placeholder {
        after: "check",
        word: "FILE…",
        typed: Typed::Configuration,
    },
    Placeholder {
        after: "init",
        word: "FILE",
        typed: Typed::New,
    },
    Placeholder {
        after: "--cgroup",
        word: "PATH",
        typed: Typed::Cgroup,
    },
    Placeholder {
        after: "--pid",
        word: "",
        typed: Typed::Process,
    },
    Placeholder {
        after: "",
        word: "FILE…",
        typed: Typed::BothSaved,
    },
    Placeholder {
        after: "",
        word: "FILE",
        typed: Typed::Saved,
    },
    Placeholder {
        after: "",
        word: "FINDING",
        typed: Typed::Words("f1"),
    },
    Placeholder {
        after: "--",
        word: "BROWSER",
        typed: Typed::Leaking,
    },
    Placeholder {
        after: "--",
        word: "COMMAND",
        typed: Typed::Leaking,
    },
];

/// A user that nobody is, and who may call sudo.
const NOBODY: &str = "65534";

/// How the shell of a command line is started: among the lab's client, in its namespaces, where there are cgroups and a
/// sudoers file of the lab's. The mount namespace is that of `ip netns exec`. Arguments: the lab's folder, the folder to
/// be in, who types, what is typed. A reader's shell goes on after Ctrl-C.
const SIT_DOWN: &str = r#"
lab=$1 folder=$2 user=$3 typed=$4
mkdir -p "$lab/cgroups" && mount -t cgroup2 cgroups "$lab/cgroups" && mount --bind "$lab/sudoers" /etc/sudoers || exit 90
cd "$folder" || exit 91
set -- env -i PATH="$lab/bin:$PATH" HOME="$folder" LANG=C.UTF-8 TERM="$TERM" sh -c 'trap : INT; eval "$0"' "$typed"
[ "$user" = root ] || set -- setpriv --reuid="$user" --regid="$user" --clear-groups "$@"
exec "$@"
"#;

/// A leak after the other, as long as the lab is there. It does not wait for anything, so `sleep` only leaves time to others.
const LEAK_AND_LEAK: &str =
    r#"while :; do curl -s -o /dev/null --max-time 5 -x "$0" "$1"; sleep 0.2; done"#;
/// One, by a process that then ends.
const LEAK_ONCE: &str = r#"curl -sS -o /dev/null --max-time 15 -x "$0" "$1""#;

/// What a line on standard error begins with when something went wrong: clap's, tracing's and Rust's words.
const WRONG: &[&str] = &["error:", "ERROR ", "thread '"];
/// What leakmon says of the name of a command or an option as a sentence has it, without what has to follow. It knows the
/// name, then.
const NAME_ALONE: &[&str] = &[
    "the following required arguments were not provided",
    "a value is required for",
    "Usage: leakmon",
];

/// Everything that a reader has.
#[derive(Debug)]
pub struct Desk<'a> {
    lab: &'a Lab,
    leaking: Program,
    recording: PathBuf,
    json: PathBuf,
    number: AtomicU32,
    used: Mutex<Vec<bool>>,
}

impl<'a> Desk<'a> {
    /// Makes what placeholders stand for.
    pub fn set_up(lab: &'a Lab) -> Self {
        let bin = lab.dir().join("bin");
        fs::create_dir(&bin).expect("a folder can be made");
        // The one in the target folder may be below a home that others cannot read.
        fs::copy(leakmon::binary(), bin.join("leakmon")).expect("the agent can be copied");
        let sudoers = lab.dir().join("sudoers");
        let rules = format!(
            "Defaults env_reset, !use_pty, secure_path=\"{}:{}\"\nnobody ALL=(root) NOPASSWD: ALL\n",
            bin.display(),
            need::PATH
        );
        fs::write(&sudoers, rules).expect("a file can be written");
        // sudo takes no other.
        fs::set_permissions(&sudoers, Permissions::from_mode(0o440)).expect("root may do so");

        fs::write(lab.dir().join("sit-down"), SIT_DOWN).expect("a file can be written");

        let (recording, json) = (lab.dir().join("run.leakmon"), lab.dir().join("run.json"));
        let path = recording.to_str().expect("a path that is text");
        let agent = Leakmon::watch(lab, &["--record", path]);
        let leaking = lab.start("sh", &["-c", LEAK_AND_LEAK, &proxy(), &url()]);
        let found = agent.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
        let run = agent.stop();
        assert!(found, "{}", run.said());
        fs::write(&json, run.text).expect("a file can be written");
        for path in [&recording, &json] {
            fs::set_permissions(path, Permissions::from_mode(0o644)).expect("root may do so");
        }
        Self {
            lab,
            leaking,
            recording,
            json,
            number: AtomicU32::new(0),
            used: Mutex::new(vec![false; PLACEHOLDERS.len()]),
        }
    }

    /// Placeholders that were in no command line.
    pub fn unused(&self) -> Vec<Placeholder> {
        let used = self.used.lock().expect("nobody panics with it");
        let both = PLACEHOLDERS.iter().zip(used.iter());
        both.filter(|(_, used)| !**used)
            .map(|(own, _)| *own)
            .collect()
    }

    fn new_path(&self, what: &str) -> PathBuf {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        self.lab.dir().join(format!("{what}-{number}"))
    }

    /// A folder to be in, into which everybody may write.
    pub fn folder(&self) -> PathBuf {
        let folder = self.new_path("folder");
        fs::create_dir(&folder).expect("a folder can be made");
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("root may do so");
        folder
    }

    /// Types a command line of a page in a folder, and says what is wrong with what comes of it.
    pub fn type_in(&self, folder: &Path, line: &CommandLine) -> Result<(), String> {
        let command = &line.text;
        // `run` ends with the process that it follows, which has to be its own then.
        let follows = command.contains(" run --pid ");
        let followed = follows.then(|| self.lab.hold("sh", &["-c", LEAK_ONCE, &proxy(), &url()]));
        let pid = followed
            .as_ref()
            .map_or(self.leaking.pid(), |held| held.pid());
        let typed = self.filled_in(command, folder, pid);
        let end = Ending::of(&typed);
        let finished = if end.is_on_terminal {
            self.on_terminal(folder, &typed, &end)
        } else {
            let program = self.spawn(folder, &typed);
            if let Some(held) = followed {
                wait::until_true(LIMIT, || {
                    program.stderr.text().contains("leakmon: following ")
                });
                let _ = held.run(LIMIT);
            }
            self.to_its_end(program, &end)
        };
        let is_name = |ended: &Ended| {
            let mut phrases = NAME_ALONE.iter();
            !line.in_block && phrases.any(|phrase| ended.complaints.contains(phrase))
        };
        let fault = finished.and_then(|ended| {
            if is_name(&ended) {
                Ok(())
            } else {
                ended.judged(&end)
            }
        });
        fault.map_err(|fault| {
            format!(
                "typed as `{typed}`: {fault}\nCorrect the page or leakmon. If it needs what is not here, give PLACEHOLDERS in \
                 typed.rs something real for it; if another test or CI runs it, say which in ELSEWHERE of documented.rs."
            )
        })
    }

    /// The command line with something real for each placeholder.
    fn filled_in(&self, command: &str, folder: &Path, pid: u32) -> String {
        let mut typed: Vec<String> = Vec::new();
        let mut before = "";
        for word in command.split(' ') {
            let fits = |own: &Placeholder| {
                (own.after.is_empty() || own.after == before)
                    && (own.word.is_empty() || own.word == word)
            };
            let place = PLACEHOLDERS.iter().position(fits);
            typed.push(match place {
                Some(place) => {
                    self.used.lock().expect("nobody panics with it")[place] = true;
                    let has_one = typed.iter().any(|word| Path::new(word) == self.recording);
                    self.real(PLACEHOLDERS[place].typed, folder, pid, has_one)
                }
                None => word.to_owned(),
            });
            before = word;
        }
        typed.join(" ")
    }

    fn real(&self, typed: Typed, folder: &Path, pid: u32, has_recording: bool) -> String {
        let text = |path: &Path| path.to_str().expect("a path that is text").to_owned();
        match typed {
            Typed::Words(words) => words.to_owned(),
            Typed::New => text(&self.new_path("new")),
            Typed::Saved if has_recording => text(&self.json),
            Typed::Saved => text(&self.recording),
            Typed::BothSaved => format!("{} {}", text(&self.recording), text(&self.json)),
            Typed::Configuration => {
                let path = folder.join("told.toml");
                fs::write(&path, "[[program]]\nname = \"mytool\"\n")
                    .expect("a file can be written");
                text(&path)
            }
            Typed::Cgroup => {
                let root = cgroup::v2_mount().expect("it was found before");
                let below = self.lab.cgroup().strip_prefix(root);
                let below = below.expect("it is in the hierarchy");
                text(&self.lab.dir().join("cgroups").join(below))
            }
            Typed::Process => pid.to_string(),
            Typed::Leaking => format!("curl -sS -o /dev/null -x {} {}", proxy(), url()),
        }
    }

    fn who(typed: &str) -> &'static str {
        if typed.split(' ').any(|word| word == "sudo") {
            NOBODY
        } else {
            "root"
        }
    }

    /// Types it where its output goes into a pipe. Its shell leads a group of processes, as at a terminal.
    fn spawn(&self, folder: &Path, typed: &str) -> Program {
        let mut command = self.lab.command("sh");
        command
            .env("TERM", "dumb")
            .arg(self.lab.dir().join("sit-down"));
        command
            .args([self.lab.dir(), folder])
            .args([Self::who(typed), typed]);
        Program::spawn(command.process_group(0))
    }

    fn to_its_end(&self, mut program: Program, end: &Ending) -> Result<Ended, String> {
        if !end.by_itself {
            let is_watching = wait::until_true(LIMIT, || {
                program.stderr.text().contains("leakmon: watching") || program.try_wait().is_some()
            });
            // Whatever it is to show or keep, this is something.
            if is_watching && program.try_wait().is_none() {
                self.wait_for_leaks();
                let group = i32::try_from(program.pid()).ok().and_then(Pid::from_raw);
                let group = group.expect("a process has an id");
                let _ = kill_process_group(group, Signal::INT);
            }
        }
        let ended = wait::until_true(PATIENCE, || program.try_wait().is_some());
        if !ended {
            return Err(format!("it does not end\n{}", program.said()));
        }
        let Finished {
            status,
            stdout,
            stderr,
        } = program.finish(LIMIT);
        Ok(Ended {
            code: status.code(),
            complaints: stderr.clone(),
            said: format!("{}\n{stderr}", String::from_utf8_lossy(&stdout)),
        })
    }

    fn wait_for_leaks(&self) {
        let before = self.lab.dns_log().len();
        self.lab.wait_dns(LIMIT, |log| log.len() >= before + 2);
    }

    /// Types it on a terminal, and presses Ctrl-C when the live view is there.
    fn on_terminal(&self, folder: &Path, typed: &str, end: &Ending) -> Result<Ended, String> {
        let script = self.new_path("typed");
        let namespace = self.lab.client().name();
        let (lab, folder) = (self.lab.dir().display(), folder.display());
        let quoted = typed.replace('\'', r"'\''");
        let enter = format!(
            "exec ip netns exec {namespace} sh {} {lab} {folder} {} '{quoted}'\n",
            self.lab.dir().join("sit-down").display(),
            Self::who(typed)
        );
        fs::write(&script, enter).expect("a file can be written");
        let terminal = Terminal::open(self.lab, (100, 30), &[]);
        terminal.run(&format!("sh {}; echo code $?", script.display()));
        let is_over = || code(&terminal.text()).is_some();
        if !end.by_itself {
            let shown = wait::until_true(LIMIT, || terminal.text().contains("? help") || is_over());
            if shown && !is_over() {
                self.wait_for_leaks();
                terminal.press(&["C-c"]);
            }
        }
        wait::until_true(PATIENCE, is_over);
        let said = terminal.text();
        Ok(Ended {
            code: code(&said),
            complaints: said.clone(),
            said,
        })
    }
}

/// A few seconds are those of `--duration`.
const PATIENCE: Duration = Duration::from_secs(60);

fn proxy() -> String {
    format!("socks5://{}:{SOCKS_PORT}", SERVER.0)
}

fn url() -> String {
    format!("http://{PAGE}/")
}

/// The exit code that the shell of a terminal has written.
fn code(screen: &str) -> Option<i32> {
    screen
        .lines()
        .find_map(|line| line.strip_prefix("code ")?.trim().parse().ok())
}

/// How a command line is to end, by what the pages promise.
#[derive(Debug)]
struct Ending {
    /// Otherwise the reader ends it.
    by_itself: bool,
    /// It has the live view, so it needs a terminal.
    is_on_terminal: bool,
    /// Exit codes.
    codes: &'static [i32],
}

impl Ending {
    fn of(typed: &str) -> Self {
        let words: Vec<&str> = typed.split(' ').collect();
        let has = |word: &str| words.contains(&word);
        let has_end = !has("watch") || has("--duration");
        let is_shown = has("watch") && !["--plain", "--json", ">", "|"].into_iter().any(has);
        let tells_leaks = ["run", "replay", "audit"].into_iter().any(has) || has("--duration");
        Self {
            by_itself: has_end && !has("--tui"),
            is_on_terminal: is_shown || has("--tui"),
            codes: if tells_leaks { &[0, 1] } else { &[0] },
        }
    }
}

/// What came of a command line.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    /// Its standard error; on a terminal all of the screen.
    complaints: String,
    said: String,
}

impl Ended {
    fn judged(self, end: &Ending) -> Result<(), String> {
        let is_right = self.code.is_some_and(|code| end.codes.contains(&code));
        if !is_right {
            let (code, codes) = (self.code, end.codes);
            return Err(format!(
                "exit code {code:?} instead of {codes:?}\n{}",
                self.said
            ));
        }
        let mut lines = self.complaints.lines();
        let wrong = lines.find(|line| WRONG.iter().any(|word| line.trim_start().starts_with(word)));
        wrong.map_or(Ok(()), |line| {
            Err(format!("it says: {line}\n{}", self.said))
        })
    }
}
