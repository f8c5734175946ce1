//! A small TCP proxy in front of a server: it delays, cuts after a request was forwarded, swallows answers, or holds up scripts.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Stands between a connection under test and its server. Its threads end with their connections.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    mode: AtomicUsize,
    delay_ms: AtomicU64,
    connections: AtomicU64,
    answers_cut: AtomicU64,
    scripts_held: AtomicU64,
    stopped: AtomicUsize,
}

/// What it does with what it is given, from now on and for every connection.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Passes all on.
    Pass,
    /// Passes all on, answers only after so long.
    Delay(Duration),
    /// Passes requests on, and closes the connection in place of the first bytes of an answer: the request has run.
    CutAnswers,
    /// As `CutAnswers`, on connections that have been sent a script only: others are made, and greet, as ever.
    CutScripts,
    /// Passes requests on, and answers nothing.
    SwallowAnswers,
    /// Holds up whatever runs a script, and what comes after it on that connection, until the mode is another.
    HoldScripts,
    /// Closes every connection at once.
    Refuse,
}

impl Proxy {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) == 1 {
                    return;
                }
                if let Ok(client) = client {
                    serve(client, server, &shared);
                }
            }
        });
        Self { port, state }
    }

    pub fn set(&self, mode: Mode) {
        let (mode, delay) = match mode {
            Mode::Pass => (PASS, Duration::ZERO),
            Mode::Delay(delay) => (PASS, delay),
            Mode::CutAnswers => (CUT, Duration::ZERO),
            Mode::CutScripts => (CUT_SCRIPTS, Duration::ZERO),
            Mode::SwallowAnswers => (SWALLOW, Duration::ZERO),
            Mode::HoldScripts => (HOLD_SCRIPTS, Duration::ZERO),
            Mode::Refuse => (REFUSE, Duration::ZERO),
        };
        self.state.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
        self.state.mode.store(mode, Ordering::SeqCst);
    }

    /// How many connections were made through it.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many scripts were held up.
    pub fn scripts_held(&self) -> u64 {
        self.state.scripts_held.load(Ordering::SeqCst)
    }

    /// How many answers were cut.
    pub fn answers_cut(&self) -> u64 {
        self.state.answers_cut.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stopped.store(1, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl State {
    /// Waits until scripts may pass.
    fn hold(&self) {
        if self.mode.load(Ordering::SeqCst) == HOLD_SCRIPTS {
            self.scripts_held.fetch_add(1, Ordering::SeqCst);
        }
        while self.mode.load(Ordering::SeqCst) == HOLD_SCRIPTS && self.stopped.load(Ordering::SeqCst) == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn serve(client: TcpStream, server: u16, state: &Arc<State>) {
    state.connections.fetch_add(1, Ordering::SeqCst);
    if state.mode.load(Ordering::SeqCst) == REFUSE {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (requests, answers) = ((client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client));
    let ran_script = Arc::new(AtomicBool::new(false));
    let runs_script = Arc::clone(&ran_script);
    let holding = Arc::clone(state);
    thread::spawn(move || {
        pass(requests.0, requests.1, |bytes| {
            if bytes.windows(SCRIPT.len()).any(|window| window == SCRIPT) {
                runs_script.store(true, Ordering::SeqCst);
                holding.hold();
            }
            Fate::Pass
        });
    });
    let state = Arc::clone(state);
    thread::spawn(move || {
        pass(answers.0, answers.1, |_| {
            thread::sleep(Duration::from_millis(state.delay_ms.load(Ordering::SeqCst)));
            match state.mode.load(Ordering::SeqCst) {
                PASS | HOLD_SCRIPTS => Fate::Pass,
                CUT_SCRIPTS if !ran_script.load(Ordering::SeqCst) => Fate::Pass,
                SWALLOW => Fate::Swallow,
                _ => {
                    state.answers_cut.fetch_add(1, Ordering::SeqCst);
                    Fate::Cut
                }
            }
        });
    });
}

/// What becomes of some bytes.
enum Fate {
    Pass,
    Swallow,
    Cut,
}

/// Copies until the end, or until `fate` cuts; then both ends are closed.
fn pass(mut from: TcpStream, mut to: TcpStream, fate: impl Fn(&[u8]) -> Fate) {
    let mut bytes = [0; 16_384];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        match fate(&bytes[..read]) {
            Fate::Swallow => {}
            Fate::Pass if to.write_all(&bytes[..read]).is_ok() => {}
            Fate::Pass | Fate::Cut => break,
        }
    }
    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
}

const PASS: usize = 0;
const CUT: usize = 1;
const SWALLOW: usize = 2;
const REFUSE: usize = 3;
const CUT_SCRIPTS: usize = 4;
const HOLD_SCRIPTS: usize = 5;
const SCRIPT: &[u8] = b"EVALSHA";
