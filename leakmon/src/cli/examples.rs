//! What each command's `--help` and manual page end with. A test runs every command line through the parser.

pub const LEAKMON: &str = "\
Examples:
  What programs that run were told, and what will leak by it
    leakmon audit --user
  What leaks, as it happens
    sudo leakmon watch
  A minute of watching, and a page of what leaked
    sudo leakmon watch --duration 1m --json > leaks.json
    leakmon report leaks.json --html leaks.html";

pub const WATCH: &str = "\
Examples:
  The live view of the whole machine
    sudo leakmon watch
  One line for each leak, of one program
    sudo leakmon watch --plain --app Chromium
  Half a minute, as JSON; the exit code is 1 if anything leaked
    sudo leakmon watch --duration 30s --json > leaks.json
  Keep all that is seen, and look at it again
    sudo leakmon watch --duration 5m --plain --record leaks.rec
    sudo leakmon replay --all leaks.rec";

pub const RUN: &str = "\
Examples:
  Does it leak?
    sudo leakmon run -- curl -x socks5://127.0.0.1:9050 https://www.example/
  In continuous integration, a minute at most
    sudo leakmon run --format junit -o leaks.xml --duration 1m -- ./test.sh
  A browser that runs already, until it ends
    sudo leakmon run --pid 1234";

pub const AUDIT: &str = "\
Examples:
  Your own programs, without root
    leakmon audit --user
  Every user's, and what is set up on disk
    sudo leakmon audit --installed
  As JSON, for `leakmon report`
    leakmon audit --user --json > told.json";

pub const REPLAY: &str = "\
Examples:
  Every query, with its program
    leakmon replay --all leaks.rec
  In the live view
    leakmon replay --tui leaks.rec
  One program's lines, as JSON
    leakmon replay --json --app curl leaks.rec > curl.json";

pub const EXPLAIN: &str = "\
Examples:
  The first finding of a recording
    leakmon explain f1 leaks.rec
  The same of saved JSON lines, from a pipe
    leakmon explain f1 - < leaks.json";

pub const REPORT: &str = "\
Examples:
  A page for a browser
    leakmon report leaks.json --html leaks.html
  Text, of several days
    leakmon report monday.json tuesday.rec -o leaks.md
  The counts, for a program
    leakmon report leaks.json --format json > counts.json";

pub const DOCTOR: &str = "\
Examples:
  What a bug report should hold
    sudo leakmon doctor > doctor.txt";

pub const CONFIG: &str = "\
Examples:
  What counts, and where it was said
    leakmon config show
  Begin a configuration of your own
    leakmon config init ~/.config/leakmon/config.toml
  Is it right?
    leakmon config check";

pub const COMPLETIONS: &str = "\
Examples:
  For bash, in ~/.bashrc
    source <(leakmon completions bash)
  For zsh, in ~/.zshrc after compinit
    source <(leakmon completions zsh)
  For fish
    leakmon completions fish > ~/.config/fish/completions/leakmon.fish";

pub const MAN: &str = "\
Examples:
  Read the page
    leakmon man | man -l -
  Install all pages for every user
    sudo leakmon man --out /usr/local/share/man/man1";
