//! Runs the command on a terminal (pty(7)).

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use yatagarasu_testing::PATIENCE;

/// A terminal of 100 columns and 40 rows with a command on it.
pub(crate) struct Terminal {
    master: File,
    received: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    child: Child,
}

impl Terminal {
    /// Starts `command` on a new terminal.
    pub(crate) fn start(command: &mut Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        // Nor may a command that another test starts hold it.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(open(path, flags, Mode::empty()).unwrap());
        let [stdin, stdout, stderr] = [(); 3].map(|()| slave.try_clone().unwrap());
        let child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
        // This process must not hold the other end: reading would never end.
        drop(slave);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        let master = File::from(master);
        let mut reader = master.try_clone().unwrap();
        let (send, received) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of the command is an error here (EIO).
            while let Ok(length) = reader.read(&mut buffer) {
                if length == 0 || send.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { master, received, seen: Vec::new(), child }
    }

    /// Types something.
    pub(crate) fn say(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until what the command has printed since the last call is as wanted. Returns it.
    pub(crate) fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = String::from_utf8_lossy(&self.seen).into_owned();
            if wanted(&text) {
                self.seen.clear();
                return text;
            }
            match self.received.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(more) => self.seen.extend(more),
                Err(RecvTimeoutError::Timeout) => panic!("not as wanted: {text:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it has ended: {text:?}"),
            }
        }
    }

    /// Waits until the command ends. Returns its exit status and what it has printed since.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        while let Ok(more) = self.received.recv_timeout(PATIENCE) {
            self.seen.extend(more);
        }
        (status, String::from_utf8_lossy(&self.seen).into_owned())
    }

    /// Sends the command the signal of Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
