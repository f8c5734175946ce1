//! The config: every key is documented with its default, and nothing half-made starts.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use countersign::{
    client::{Assertion, Rpc, Shown, token},
    config::{Audit, Config, ConfigError, Limits, Log, Place, Policy, Stop, Verify},
    interaction::Channel,
    redis::{Login, Mode, Server},
};
use jiff::SignedDuration;

const EXAMPLE: &str = include_str!("../../config/example.toml");

mod postgres;

const DIGEST: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";
const OTHER: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000bb";

/// A file that starts, in a directory of its own.
struct Setup {
    home: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("countersign.toml")
    }

    fn parse(&self, text: &str) -> Result<Config, ConfigError> {
        self.parse_with(text, &[])
    }

    fn parse_with(&self, text: &str, overrides: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let overrides: Vec<_> = overrides.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Config::parse(text, &self.path(), &overrides)
    }

    /// The error without the path of the file.
    fn refusal(&self, text: &str) -> String {
        self.refusal_with(text, &[])
    }

    fn refusal_with(&self, text: &str, overrides: &[(&str, &str)]) -> String {
        let error = match self.parse_with(text, overrides) {
            Ok(_) => panic!("starts, and should not:\n{text}"),
            Err(error) => error.to_string(),
        };
        error.replace(&format!("{}/", self.home.path().display()), "")
    }
}

const SOUND: &str = "listen.tcp = '127.0.0.1:0'
data.directory = 'data'
keys.directory = 'keys'
";

fn client(lines: &str) -> String {
    format!("{SOUND}[[client]]\n{lines}")
}

fn sound_client() -> String {
    client(&format!("name = 'ivr'\ntoken_digests = ['{DIGEST}']\nrpcs = ['Authorize']\nchannels = ['phone']\n"))
}

fn with(lines: &str) -> String {
    format!("{}{lines}", sound_client())
}

#[test]
fn the_example_starts_and_its_values_are_the_defaults() {
    let setup = Setup::new();
    let config = setup.parse(EXAMPLE).unwrap();
    assert_eq!(config.policy, Policy::default());
    assert_eq!(config.audit, Audit::default());
    assert_eq!(config.verify, Verify::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.stop, Stop::default());
    assert_eq!(config.log, Log::default());
    assert_eq!(config.data.directory, setup.home.path().join("data"));
    assert_eq!(config.data.shared_directory, None);
    let sharing = setup.parse(&shared("'people'")).unwrap();
    assert_eq!(sharing.data.shared_directory, Some(setup.home.path().join("people")));
    let minimal = setup.parse(&sound_client()).unwrap();
    assert_eq!(minimal.policy, config.policy);
    assert_eq!(minimal.verify, config.verify);
}

#[test]
fn the_example_documents_every_key_with_its_default() {
    let setup = Setup::new();
    // A section that is left out stands as a comment.
    let example = EXAMPLE.replace("# [redis]", "[redis]").replace("# [postgres]", "[postgres]");
    let example = ["redis", "postgres"]
        .into_iter()
        .fold(example, |example, scheme| example.replace(&format!("# url = \"{scheme}"), &format!("url = \"{scheme}")));
    let ways = [
        ("notices", &["locale", "attempts", "first_pause", "patience"][..]),
        ("notices.webhook", &["url", "secret_file", "ca_file"][..]),
        ("notices.smtp", &["host", "tls", "port", "username", "password_file", "ca_file", "from"][..]),
    ];
    for (section, key) in ways.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (section, key))) {
        let comment = comment_of(section, key);
        assert!(comment.contains("Default: ") || comment.contains("Required"), "[{section}] {key}");
    }
    for section in [
        "redis", "postgres", "listen", "data", "keys", "client", "policy", "audit", "verify", "limits", "stop",
        "metrics", "log",
    ] {
        let header = if section == "client" { "[[client]]".to_owned() } else { format!("[{section}]") };
        let asked = example.replacen(&header, &format!("{header}\nno_such_key = 1"), 1);
        let Err(ConfigError::UnknownKey { key, known, .. }) = setup.parse(&asked) else {
            panic!("[{section}] takes a key that does not exist");
        };
        assert!(key.starts_with(section) && key.ends_with(".no_such_key"), "{key}");
        assert!(!known.is_empty(), "[{section}] has keys");
        for key in known {
            let comment = comment_of(section, &key);
            assert!(
                comment.contains("Default: ") || comment.contains("Required"),
                "[{section}] {key}: its comment names neither a default nor that it is required"
            );
        }
    }
}

/// The comment above a key, which may itself be commented out.
fn comment_of(section: &str, key: &str) -> String {
    let mut comment = String::new();
    let mut inside = false;
    for line in EXAMPLE.lines() {
        let bare = line.trim_start_matches("# ");
        let line = line.strip_prefix("# ").filter(|bare| bare.starts_with('[')).unwrap_or(line);
        if line.starts_with('[') {
            inside = line.trim_matches(['[', ']']) == section;
            comment.clear();
        } else if inside && bare.split_once(" = ").is_some_and(|(name, _)| name == key) {
            return comment;
        } else if line.starts_with('#') {
            comment.push_str(bare);
            comment.push(' ');
        } else {
            comment.clear();
        }
    }
    panic!("[{section}] {key} is not in config/example.toml");
}

fn redis(lines: &str) -> String {
    with(&format!("[redis]\n{lines}"))
}

#[test]
fn without_a_redis_section_everything_is_embedded_and_with_one_the_cache_shares_its_server() {
    let setup = Setup::new();
    assert_eq!(setup.parse(&sound_client()).unwrap().redis, None);
    let one = setup.parse(&redis("url = 'redis://localhost/2'")).unwrap().redis.unwrap();
    assert_eq!(one.counters, one.cache);
    assert_eq!((&one.counters.mode, one.counters.database, &one.counters.login), (&Mode::Standalone, 2, &None));
    assert_eq!(one.counters.response_timeout, Duration::from_millis(500));
    let lines = "url = 'redis://a:1,redis://b'\nmode = 'sentinel'\nmaster = 'm'\ncache_url = 'redis://c'";
    let two = setup.parse(&redis(lines)).unwrap().redis.unwrap();
    assert_eq!(two.counters.mode, Mode::Sentinel { master: "m".into(), login: None });
    let server = |host: &str, port| Server::Tcp { host: host.into(), port, tls: false };
    assert_eq!(two.counters.servers, [server("a", 1), server("b", 6379)]);
    assert_eq!((two.cache.mode, two.cache.servers), (Mode::Standalone, vec![server("c", 6379)]));
    let from_variable = [("COUNTERSIGN_REDIS__URL", "redis://d"), ("COUNTERSIGN_REDIS__MODE", "cluster")];
    let three = setup.parse_with(&sound_client(), &from_variable).unwrap().redis.unwrap();
    assert_eq!((three.counters.mode, three.counters.servers), (Mode::Cluster, vec![server("d", 6379)]));
}

// proves: A21
#[test]
fn the_file_of_redis_s_password_is_ours_alone_and_nothing_of_it_is_told() {
    let setup = Setup::new();
    let file = setup.home.path().join("secret");
    let lines = redis("url = 'redis://a'\nusername = 'u'\npassword_file = 'secret'");
    for (content, mode, expected) in [
        ("hunter2\n", 0o644, "secret is open to others (mode 0644); chmod it to 0600"),
        ("hunter2\n", 0o640, "secret is open to others (mode 0640); chmod it to 0600"),
        ("", 0o600, "secret is empty"),
        ("\n", 0o600, "secret is empty"),
        ("hunter2\nhunter2\n", 0o600, "secret has more than one line"),
    ] {
        fs::write(&file, content).unwrap();
        chmod(&file, mode);
        let refusal = setup.refusal(&lines);
        assert!(refusal.contains(&format!("redis.password_file: {expected}")), "{refusal}");
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
    fs::write(&file, "hunter2\n").unwrap();
    for mode in [0o600, 0o400] {
        chmod(&file, mode);
        let config = setup.parse(&lines).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"), "the password can be printed");
        let login = config.redis.unwrap().counters.login.unwrap();
        assert_eq!(login, Login { username: Some("u".into()), password_file: file.clone() });
    }
    fs::write(setup.home.path().join("ca.pem"), "hunter2").unwrap();
    let refusal = setup.refusal(&redis("url = 'rediss://a'\nca_file = 'ca.pem'"));
    assert!(refusal.contains("redis.ca_file: ca.pem holds no certificate in PEM form"), "{refusal}");
}

#[test]
fn a_client_has_what_its_section_says() {
    let setup = Setup::new();
    let drawn = token::draw().unwrap();
    let digest = token::TokenDigest::of(&drawn);
    let config = setup
        .parse(&client(&format!(
            "name = 'desk'\ngroup = 'centre'\ntoken_digests = ['{digest}']\nrpcs = ['Authorize', 'BatchAuthorize']
channels = ['phone', 'chat']\nasserts = ['agent_id']\naccepts_tokens_from = ['desk']\ndebug = true"
        )))
        .unwrap();
    let shown = Shown { bearer: Some(&drawn), peer_uid: None };
    let desk = config.clients.identify(&shown).expect("the token is known");
    assert_eq!((desk.name.as_str(), desk.group.as_str(), desk.debug), ("desk", "centre", true));
    assert_eq!(desk.rpcs, [Rpc::Authorize, Rpc::BatchAuthorize].into());
    assert_eq!(desk.channels, [Channel::Phone, Channel::Chat].into());
    assert_eq!(desk.asserts, [Assertion::AgentId].into());
    assert_eq!(desk.accepts_tokens_from, ["desk".to_owned()].into());
    assert_eq!(config.clients.identify(&Shown { bearer: Some("cst_guess"), peer_uid: None }).map(|_| ()), None);
}

#[test]
fn a_setting_that_will_not_do_is_refused_with_line_and_key() {
    let setup = Setup::new();
    let digests = |digests: &str| client(&format!("name = 'a'\ntoken_digests = [{digests}]\nrpcs = ['Authorize']"));
    let second = |lines: &str| with(&format!("[[client]]\n{lines}"));
    let table = [
        // The file.
        ("listen = ", "countersign.toml:1: "),
        ("tcp = 1", "listen.tcp is missing"),
        (&with("colour = 'red'"), "countersign.toml:9: unknown key `client.ivr.colour`; known here: name, group"),
        (&format!("paint = 1\n{}", sound_client()), ":1: unknown key `paint`; known here: listen, data, keys, policy"),
        (&with("[log]\nlevel = 'info'"), ":10: unknown key `log.level`; known here: format, filter"),
        (&with("[[log]]\nformat = 'json'"), "log: must be a section, and this is a list"),
        // Listeners.
        (&sound_client().replace("127.0.0.1:0", "0.0.0.0:7443"), ":1: listen.tcp: only loopback addresses"),
        (&sound_client().replace("127.0.0.1:0", "[::]:7443"), ":1: listen.tcp: only loopback addresses"),
        (&sound_client().replace("127.0.0.1:0", "localhost"), ":1: listen.tcp: must be an address and a port"),
        (&sound_client().replace("'127.0.0.1:0'", "7443"), "listen.tcp: must be text, and this is a number"),
        (&with("[policy]\nbundle = 'nowhere'"), ":10: policy.bundle: must be the directory of a policy bundle"),
        // Directories.
        (&sound_client().replace("data.directory = 'data'\n", ""), "data.directory is missing"),
        (&sound_client().replace("keys.directory = 'keys'\n", ""), "keys.directory is missing"),
        (&sound_client().replace("'keys'", "'data/keys'"), ":3: keys.directory: must lie outside data.directory"),
        (&sound_client().replace("'keys'", "'data'"), ":3: keys.directory: must lie outside data.directory"),
        (&sound_client().replace("'keys'", "'other/../data/keys'"), ":3: keys.directory: must lie outside"),
        (&shared("'data'"), ":4: data.shared_directory: must lie apart from data.directory, which one sidecar"),
        (&shared("'data/people'"), ":4: data.shared_directory: must lie apart from data.directory"),
        (
            &shared("'people'").replace("'data'", "'people/one'"),
            ":4: data.shared_directory: must lie apart from data.directory",
        ),
        (&shared("'keys'"), ":3: keys.directory: must lie outside data.shared_directory"),
        (&shared("''"), ":4: data.shared_directory: must be the path of a directory"),
        (&shared("true"), "data.shared_directory: must be text, and this is true or false"),
        // Clients.
        (SOUND, "client is missing: without a client system nobody may ask"),
        (&client("rpcs = ['Authorize']"), "client.name is missing"),
        (&client("name = 'The IVR'"), ":5: client.name: must be 1 to 64 of a-z"),
        (&client("name = 'a'\nrpcs = ['Authorize']"), "client.a.token_digests is missing: a client is recognised by"),
        (&digests("''"), ":6: client.a.token_digests: must be \"sha256:\" and 64 hex digits"),
        (&digests(&format!("'{DIGEST}', '{DIGEST}'")), "client.a.token_digests: a digest stands twice"),
        (&digests(&format!("'{DIGEST}', '{OTHER}', '{DIGEST}'")), "client.a.token_digests: at most two"),
        (&digests(&format!("'{DIGEST}'")), "client.a.channels is missing"),
        (&client(&format!("name = 'a'\ntoken_digests = ['{DIGEST}']")), "client.a.rpcs is missing"),
        (&client(&format!("name = 'a'\ntoken_digests = ['{DIGEST}']\nrpcs = []")), "client.a.rpcs is missing"),
        (
            &sound_client().replace("'Authorize'", "'Autorize'"),
            "client.ivr.rpcs: `Autorize` is unknown; known: Authorize,",
        ),
        (
            &sound_client().replace("'phone'", "'PHONE'"),
            "client.ivr.channels: `PHONE` is unknown; known: phone, portal",
        ),
        (&sound_client().replace("'phone'", "'phone', 'phone'"), "client.ivr.channels: an entry stands twice"),
        (&with("asserts = ['attestation']"), "client.ivr.asserts: \"attestation\" needs \"calling_number\""),
        (
            &sound_client().replace("'Authorize'", "'ApproveEscalation'"),
            "client.ivr.asserts is missing: one of its RPCs is on behalf of who is logged in",
        ),
        (
            &sound_client().replace("'Authorize'", "'GetContact'"),
            "client.ivr.asserts is missing: one of its RPCs names an actor",
        ),
        (
            &client(&format!(
                "name = 'a'\ntoken_digests = ['{DIGEST}']\nrpcs = ['ListEscalations']\nasserts = ['portal_login']"
            )),
            "client.a.channels is missing",
        ),
        (&with("roles = ['it_admin']"), "client.ivr.roles: is for a system that acts by itself"),
        (
            &with("roles = ['it_admin', 'it_admin']").replace("'Authorize'", "'GetContact'"),
            "client.ivr.roles: an entry stands twice",
        ),
        (
            &sound_client().replace("'Authorize'", "'Authorize', 'StartReset', 'ReadReset'"),
            "client.ivr.rpcs: \"ReadReset\" tells one-time codes",
        ),
        (
            &sound_client().replace("'Authorize'", "'ReadReset', 'CompleteReset'"),
            "client.ivr.rpcs: \"ReadReset\" tells one-time codes",
        ),
        (&with("accepts_tokens_from = ['irv']"), "client.ivr.accepts_tokens_from: there is no client `irv`"),
        (&with("unix_uid = 1000"), "client.ivr.unix_uid: needs listen.unix"),
        (&with("debug = 'yes'"), "client.ivr.debug: must be true or false, and this is text"),
        (&second("name = 'ivr'"), ":10: client.name: two clients have this name"),
        (
            &second(&format!("name = 'b'\ntoken_digests = ['{DIGEST}']")),
            "client.b.token_digests: a digest stands twice: each token names one client",
        ),
        (
            &second(&format!(
                "name = 'b'\ngroup = 'far'\ntoken_digests = ['{OTHER}']\nrpcs = ['Authorize']\nchannels = ['phone']
accepts_tokens_from = ['ivr']"
            )),
            "client.b.accepts_tokens_from: client `ivr` is of group `default`",
        ),
        // Values.
        (&with("[policy]\nfresh_within = '0s'"), ":10: policy.fresh_within: must be a duration from 1s to 4h"),
        (&with("[policy]\nfresh_within = 10"), "such as \"10m\", and this is a number"),
        (&with("[policy]\nlogin_max_age = 'long'"), "policy.login_max_age: must be a duration"),
        (&with("[policy]\nact_within = '2h'"), "policy.act_within: must be a duration"),
        (&with("[policy]\ncool_off = '-1s'"), "policy.cool_off: must be a duration"),
        (&with("[audit]\nmax_records = 0"), "audit.max_records: must be a whole number from 1000 to"),
        (&with("[audit]\nreserve_mib = 0.5"), "audit.reserve_mib: must be a whole number"),
        (&with("[audit]\nmax_age = '1s'"), "audit.max_age: must be a duration"),
        (&with("[verify]\nmemory_kib = 8192"), "verify.memory_kib: must be a whole number from 19456 to 262144"),
        (&with("[verify]\niterations = 1"), "verify.iterations: must be a whole number from 2"),
        (&with("[verify]\nworkers = 0"), "verify.workers: must be"),
        (&with("[verify]\nqueue = 99999999999999999999"), "verify.queue: must be"),
        (&with("[verify]\nfloor = '1ms'"), "verify.floor: must be a duration from 50ms to 2s"),
        (&with("[limits]\nrequest_bytes = 1"), "limits.request_bytes: must be"),
        (&with("[limits]\ndeadline = '1ms'"), "limits.deadline: must be"),
        (&with("[limits]\nconcurrent_calls = -1"), "limits.concurrent_calls: must be"),
        (&with("[limits]\nheader_bytes = 100"), "limits.header_bytes: must be a whole number from 2048 to 262144"),
        (&with("[limits]\nstreams_per_connection = 0"), "limits.streams_per_connection: must be"),
        (&with("[stop]\nnotice = '2m'"), "stop.notice: must be a duration from 0s to 1m"),
        (&with("[stop]\ndrain = '0s'"), "stop.drain: must be a duration from 100ms to 5m"),
        (&with("[metrics]\nlisten = '0.0.0.0:9464'"), ":10: metrics.listen: must be a loopback address"),
        (&with("[metrics]\nlisten = 9464"), "metrics.listen: must be text, and this is a number"),
        (&with("[metrics]\nlisten = 'localhost'"), "metrics.listen: must be an address and a port"),
        // Redis.
        (&redis(""), "redis.url is missing: without it there is no Redis"),
        (&redis("url = 'localhost'"), ":10: redis.url: must be redis://host:port, rediss://host:port with TLS"),
        (&redis("url = 'redis://:hunter2@localhost'"), ":10: redis.url: must hold no user and no password"),
        (&redis("url = 'redis://a,redis://b'"), ":10: redis.url: several addresses need the mode"),
        (&redis("url = 'redis://a/1'\nmode = 'cluster'"), ":10: redis.url: a Cluster has the database 0 only"),
        (&redis("url = 'redis+unix:///s'\nmode = 'cluster'"), ":10: redis.url: a Unix socket needs the mode"),
        (&redis("url = 'redis://a'\nmode = 'clustr'"), ":11: redis.mode: must be \"standalone\", \"sentinel\" or"),
        (&redis("url = 'redis://a'\nmode = 'sentinel'"), "redis.master is missing: sentinels are asked"),
        (&redis("url = 'redis://a'\nmode = 'sentinel'\nmaster = ''"), ":12: redis.master: must be the name"),
        (&redis("url = 'redis://a'\nmaster = 'm'"), ":11: redis.master: needs the mode \"sentinel\""),
        (&redis("url = 'redis://a'\nusername = 'u'"), ":11: redis.username: needs redis.password_file"),
        (&redis("url = 'redis://a'\npassword_file = 'none'"), "redis.password_file: none cannot be read: No such file"),
        (&redis("url = 'redis://a'\nsentinel_password_file = 'p'"), "redis.sentinel_password_file: needs the mode"),
        (
            &redis("url = 'redis://a'\nsentinel_username = 'u'"),
            ":11: redis.sentinel_username: needs redis.sentinel_pass",
        ),
        (&redis("url = 'redis://a'\nca_file = 'ca.pem'"), ":11: redis.ca_file: needs TLS: write rediss://"),
        (&redis("url = 'rediss://a'\nca_file = 'ca.pem'"), "redis.ca_file: ca.pem cannot be read: No such file"),
        (&redis("url = 'rediss://a'\nkey_file = 'k'"), ":11: redis.key_file: needs redis.certificate_file"),
        (&redis("url = 'rediss://a'\ncertificate_file = 'c'"), ":11: redis.certificate_file: needs redis.key_file"),
        (
            &redis("url = 'redis://a'\ncertificate_file = 'c'\nkey_file = 'k'"),
            ":11: redis.certificate_file: needs TLS: write rediss://",
        ),
        (
            &redis("url = 'rediss://a'\ncertificate_file = 'c'\nkey_file = 'k'"),
            "redis.certificate_file: c cannot be read: No such file",
        ),
        (&redis("url = 'rediss://a/#insecure'"), ":10: redis.url: must hold no fragment"),
        (&redis("url = 'redis://a'\ncache_mode = 'cluster'"), ":11: redis.cache_mode: needs redis.cache_url"),
        (&redis("url = 'redis://a'\ncache_url = 'a'"), ":11: redis.cache_url: must be redis://"),
        (
            &redis("url = 'redis://a'\nresponse_timeout = '6s'"),
            ":11: redis.response_timeout: must be a duration from 20ms",
        ),
        (&redis("url = 'redis://a'\nconnect_timeout = '0s'"), "redis.connect_timeout: must be a duration"),
        (
            &redis("url = 'redis://a'\npassword = 'hunter2'"),
            ":11: unknown key `redis.password`; known here: url, mode,",
        ),
        (&with("[log]\nformat = 'xml'"), "log.format: must be \"pretty\" or \"json\""),
        (&with("[log]\nfilter = 'countersign=loud'"), "log.filter: is no filter"),
    ];
    for (text, expected) in table {
        let refusal = setup.refusal(text);
        assert!(refusal.contains(expected), "{text}\nis refused with\n  {refusal}\nand not with\n  {expected}");
        assert!(!refusal.contains("sha256:0"), "a digest is quoted: {refusal}");
        assert!(!refusal.contains("hunter2"), "a password is quoted: {refusal}");
    }
}

#[test]
fn a_system_that_acts_by_itself_needs_no_channel() {
    let rpcs = "['ListEscalations', 'GetEscalation', 'GetPassphraseStatus', 'AssignRole']";
    let system = format!("name = 'a'\ntoken_digests = ['{DIGEST}']\nrpcs = {rpcs}\nroles = ['it_admin']");
    let config = Setup::new().parse(&client(&system)).unwrap();
    assert!(config.clients.find("a").unwrap().channels.is_empty());
}

#[test]
fn the_environment_overrides_the_file_and_its_errors_name_the_variable() {
    let setup = Setup::new();
    let config = setup
        .parse_with(
            &with("[verify]\nqueue = 3"),
            &[
                ("COUNTERSIGN_VERIFY__QUEUE", "4"),
                ("COUNTERSIGN_VERIFY__FLOOR", "300ms"),
                ("COUNTERSIGN_POLICY__ACT_WITHIN", "30s"),
                ("COUNTERSIGN_TOKEN", "cst_x"),
            ],
        )
        .unwrap();
    assert_eq!((config.verify.queue, config.verify.floor), (4, Duration::from_millis(300)));
    assert_eq!(config.policy.act_within, SignedDuration::from_secs(30));

    let table = [
        ("COUNTERSIGN_VERIFY__QUEUE", "many", "COUNTERSIGN_VERIFY__QUEUE: verify.queue: must be a whole number"),
        ("COUNTERSIGN_VERIFY__QUEU", "4", "COUNTERSIGN_VERIFY__QUEU: unknown key `verify.queu`; known here: workers"),
        ("COUNTERSIGN_VERIFI__QUEUE", "4", "COUNTERSIGN_VERIFI__QUEUE: unknown key `verifi`"),
        ("COUNTERSIGN_QUEUE", "4", "COUNTERSIGN_QUEUE: sets nothing"),
        ("COUNTERSIGN_LISTEN__TCP", "0.0.0.0:1", "COUNTERSIGN_LISTEN__TCP: listen.tcp: only loopback"),
        ("COUNTERSIGN_KEYS__DIRECTORY", "data", "COUNTERSIGN_KEYS__DIRECTORY: keys.directory: must lie outside"),
        ("COUNTERSIGN_CLIENT__NAME", "x", "COUNTERSIGN_CLIENT__NAME: clients are set in the file only"),
    ];
    for (name, value, expected) in table {
        let refusal = setup.refusal_with(&sound_client(), &[(name, value)]);
        assert!(refusal.starts_with(expected), "{name}={value} is refused with {refusal}");
    }
}

#[test]
fn a_directory_that_strangers_can_enter_is_refused() {
    let setup = Setup::new();
    let run = setup.home.path().join("run");
    let with_socket = sound_client().replace("listen.tcp = '127.0.0.1:0'", "listen.unix = 'run/c.sock'");
    assert!(setup.refusal(&with_socket).contains("its directory run does not exist"));

    fs::create_dir(&run).unwrap();
    for (mode, sound) in [(0o755, false), (0o770, false), (0o701, false), (0o750, true), (0o700, true)] {
        chmod(&run, mode);
        assert_eq!(setup.parse(&with_socket).is_ok(), sound, "a socket in a directory of mode {mode:o}");
    }
    let peer = with_socket.replace(&format!("token_digests = ['{DIGEST}']"), "unix_uid = 7");
    let config = setup.parse(&peer).unwrap();
    assert_eq!(config.listen.unix, Some(run.join("c.sock")));
    assert!(config.clients.identify(&Shown { bearer: None, peer_uid: Some(7) }).is_some());
    let twice = format!("{peer}[[client]]\nname = 'b'\nunix_uid = 7");
    assert!(setup.refusal(&twice).contains("client.b.unix_uid: two clients have this user id"));

    let keys = setup.home.path().join("keys");
    fs::create_dir(&keys).unwrap();
    chmod(&keys, 0o750);
    let refusal = setup.refusal(&sound_client());
    assert!(refusal.contains("keys.directory: keys is open to others (mode 0750); chmod it to 0700"), "{refusal}");
}

/// Sound, but for a shared directory on line 4.
fn shared(directory: &str) -> String {
    sound_client().replace("[[client]]", &format!("data.shared_directory = {directory}\n[[client]]"))
}

#[test]
fn a_link_does_not_hide_that_the_keys_lie_in_the_data() {
    let setup = Setup::new();
    let data = setup.home.path().join("data");
    fs::create_dir(&data).unwrap();
    chmod(&data, 0o700);
    std::os::unix::fs::symlink(&data, setup.home.path().join("elsewhere")).unwrap();
    let refusal = setup.refusal(&sound_client().replace("'keys'", "'elsewhere/keys'"));
    assert!(refusal.contains("keys.directory: must lie outside data.directory"), "{refusal}");
}

#[test]
fn a_missing_file_is_named() {
    let setup = Setup::new();
    let error = Config::load(&setup.path(), &[]).map(|_| ()).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { path, .. } if path == setup.path()));
    let missing = setup.parse("").map(|_| ()).unwrap_err();
    assert!(matches!(missing, ConfigError::Missing { place: Place::File(path), .. } if path == setup.path()));
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
