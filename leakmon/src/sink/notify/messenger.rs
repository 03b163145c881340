//! The process that shows a user's notifications, at the other end of a pipe. Nothing here waits for it.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::{Bubble, Recipient};

/// Bubbles that wait for room in the pipe, which holds some hundred itself (pipe(7)).
const MAX_QUEUE: usize = 64;
/// What a messenger may say at once. It runs as a user who may not be trusted.
const MAX_SAID: usize = 1024;
/// Lines of a messenger that are passed on.
const MAX_LINES: u32 = 8;

/// A running `leakmon notify-helper`.
#[derive(Debug)]
pub struct Messenger {
    child: Child,
    /// None once it takes no more.
    pipe: Option<(ChildStdin, ChildStdout)>,
    queue: VecDeque<(Vec<u8>, u64)>,
    /// Bytes of the first in the queue that are in the pipe.
    written: usize,
    /// Findings whose bubbles had no place in the queue.
    missed: u64,
    said: Vec<u8>,
    lines_left: u32,
    troubles: Vec<String>,
}

impl Messenger {
    /// Starts it as the recipient, with nothing of this process but two pipes. It ends when its standard input does.
    ///
    /// # Errors
    /// When it cannot be started as that user.
    pub fn start(recipient: &Recipient) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("leakmon")
            .arg("notify-helper")
            .env_clear()
            .env("DBUS_SESSION_BUS_ADDRESS", &recipient.address)
            .env("XDG_RUNTIME_DIR", &recipient.folder)
            .current_dir("/")
            // Ctrl-C is for leakmon, which has still something to tell then.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Whose terminal that is may be another's business.
            .stderr(Stdio::null());
        if recipient.is_other {
            // From root this gives up all further groups too (std's CommandExt::uid).
            command.gid(recipient.gid).uid(recipient.uid);
        }
        let mut child = command.spawn()?;
        let pipe = child.stdin.take().zip(child.stdout.take());
        if let Some((stdin, stdout)) = &pipe {
            do_not_wait(stdin)?;
            do_not_wait(stdout)?;
        }
        Ok(Self {
            child,
            pipe,
            queue: VecDeque::new(),
            written: 0,
            missed: 0,
            said: Vec::new(),
            lines_left: MAX_LINES,
            troubles: Vec::new(),
        })
    }

    /// Takes a bubble to be shown.
    pub fn post(&mut self, bubble: &Bubble) {
        if self.pipe.is_none() {
            return;
        }
        if self.queue.len() >= MAX_QUEUE {
            if self.missed == 0 {
                self.troubles.push(
                    "the notifications are not taken any more; leaks are counted until they are"
                        .to_owned(),
                );
            }
            self.missed += bubble.count;
            return;
        }
        if self.missed > 0 {
            let missed = Bubble::of_missed(std::mem::take(&mut self.missed));
            self.enqueue(&missed);
        }
        self.enqueue(bubble);
    }

    fn enqueue(&mut self, bubble: &Bubble) {
        if let Ok(mut line) = serde_json::to_vec(bubble) {
            line.push(b'\n');
            self.queue.push_back((line, bubble.count));
        }
    }

    /// Hands on what the pipe takes, and gives what there is to say about it.
    pub fn pump(&mut self) -> Vec<String> {
        if let Some((stdin, stdout)) = &mut self.pipe {
            let listened = listen(stdout, &mut self.said);
            let handed = hand_on(stdin, &mut self.queue, &mut self.written);
            self.pass_on();
            if listened.and(handed).is_err() {
                self.pipe = None;
                let waiting: u64 = self.queue.drain(..).map(|(_, count)| count).sum();
                let ended = match self.child.try_wait() {
                    Ok(Some(status)) => format!(" ({status})"),
                    _ => String::new(),
                };
                self.troubles.push(format!(
                    "the process that shows the notifications has ended{ended}: there will be no more of them, {} were not shown",
                    waiting + self.missed
                ));
            }
        } else {
            // So that it does not stay behind as a zombie.
            let _ = self.child.try_wait();
        }
        std::mem::take(&mut self.troubles)
    }

    /// Lets it end when it has shown all that it was handed. Gives what there is to say about what it was not.
    pub fn close(&mut self) -> Vec<String> {
        let mut troubles = self.pump();
        let waiting: u64 = self.queue.drain(..).map(|(_, count)| count).sum();
        let missed = waiting + std::mem::take(&mut self.missed);
        if self.pipe.take().is_some() && missed > 0 {
            troubles.push(format!(
                "{missed} leaks could not be handed over to be shown"
            ));
        }
        troubles
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn pass_on(&mut self) {
        while let Some(end) = self.said.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.said.drain(..=end).collect();
            if self.lines_left > 0 {
                self.lines_left -= 1;
                let words = String::from_utf8_lossy(&line[..end]).into_owned();
                self.troubles.push(words);
            }
        }
        if self.said.len() >= MAX_SAID {
            self.said.clear();
        }
    }
}

fn do_not_wait(end: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&end)?;
    Ok(fcntl_setfl(&end, flags | OFlags::NONBLOCK)?)
}

/// Reads what is there. The end is an error: a messenger lives as long as its standard input.
fn listen(stdout: &mut ChildStdout, said: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; MAX_SAID];
    match stdout.read(&mut chunk) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(read) => {
            said.extend_from_slice(&chunk[..read]);
            Ok(())
        }
        Err(error) if is_not_now(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn hand_on(
    stdin: &mut ChildStdin,
    queue: &mut VecDeque<(Vec<u8>, u64)>,
    written: &mut usize,
) -> io::Result<()> {
    while let Some((line, _)) = queue.front() {
        match stdin.write(&line[*written..]) {
            Ok(more) => *written += more,
            Err(error) if is_not_now(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        if *written >= line.len() {
            queue.pop_front();
            *written = 0;
        }
    }
    Ok(())
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
