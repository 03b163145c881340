//! A web server that holds its answers back until it is told to go on, so that a program that lives for the moment of a
//! request can be looked at. It takes requests as an HTTP proxy too, and on another port it keeps whoever connects.

use crate::lab::Lab;
use crate::program::Program;
use crate::servers::wait_listening;
use crate::{LIMIT, wait};
use std::fs;
use std::path::PathBuf;

/// The port where it says nothing at all, as a server that does not answer.
pub const SILENT_PORT: u16 = 22;

/// Arguments: the folder of the pages, the file that lets the answers go. A request is announced on standard error before it
/// is held, with the target as it was sent: an HTTP proxy is given the whole address.
const SERVER: &str = r#"
import http.server, os, socket, sys, threading, time

pages, go = sys.argv[1:3]

def hold(what):
    print("held", what, file=sys.stderr, flush=True)
    while not os.path.exists(go):
        time.sleep(0.02)

class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        hold(self.path)
        if "://" in self.path:
            self.path = "/" + self.path.split("/", 3)[3]
        super().do_GET()

    def log_message(self, *what):
        pass

def keep(connection):
    hold("silently")
    connection.close()

def silent():
    listener = socket.create_server(("", int(sys.argv[3])))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=keep, args=(connection,), daemon=True).start()

threading.Thread(target=silent, daemon=True).start()
os.chdir(pages)
http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
"#;

/// The running server.
#[derive(Debug)]
pub struct Stall {
    program: Program,
    pages: PathBuf,
    go: PathBuf,
}

impl Stall {
    /// Starts it on the server's side, in the place of the lab's web server.
    #[must_use]
    pub fn start(lab: &Lab) -> Self {
        let pages = lab.dir().join("held");
        fs::create_dir(&pages).expect("a folder can be made");
        let go = lab.dir().join("go");
        let mut program = Program::spawn(
            lab.command_on_server("/usr/bin/python3")
                .args(["-c", SERVER])
                .args([&pages, &go])
                .arg(SILENT_PORT.to_string()),
        );
        wait_listening(&mut program, 80);
        wait_listening(&mut program, SILENT_PORT);
        Self { program, pages, go }
    }

    /// Puts a page there.
    pub fn page(&self, path: &str, text: &str) {
        let path = self.pages.join(path);
        let folder = path.parent().expect("a page is in a folder");
        fs::create_dir_all(folder).expect("a folder can be made");
        fs::write(path, text).expect("a page can be written");
    }

    /// The targets of the requests so far.
    #[must_use]
    pub fn held(&self) -> Vec<String> {
        let text = self.program.stderr.text();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .filter_map(|line| Some(line.strip_prefix("held ")?.to_owned()))
            .collect()
    }

    /// Waits until there are more than so many requests.
    #[must_use]
    pub fn wait_for_more_than(&self, count: usize) -> bool {
        wait::until_true(LIMIT, || self.held().len() > count)
    }

    /// Lets all answers go, until [`Self::hold`].
    pub fn release(&self) {
        fs::write(&self.go, "").expect("a file can be written");
    }

    /// Holds answers back again.
    pub fn hold(&self) {
        // It need not have been released.
        let _ = fs::remove_file(&self.go);
    }
}
