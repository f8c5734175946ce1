//! The programs of `examples/`, as a newcomer starts them: code that Python's own generator makes from our proto files, a
//! real sidecar, and a caller who types.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
};

use countersign::{
    audit::Record,
    clock::{Clock, ManualClock},
    directory::sample,
    grpc::proto::countersign::v1::Channel::Portal,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    question::ask,
    sidecar::{Home, PATIENT, Sidecar, eventually, manual_clock, patiently},
    tools::{python, repository, run},
};

const PHRASE: &str = "violet anchor sleeping harbor tune";

// proves: A5, A22
#[tokio::test]
async fn an_ivr_verifies_a_caller_and_the_order_backend_decides_again_until_the_call_ends() {
    let stage = Stage::set().await;
    stage.sidecar.set_passphrase(Some(sample::ELENA), PHRASE).await;
    let mut phone = stage.dial("call-1", &["2", sample::ACME, "105", "not what was agreed upon", PHRASE]);
    stage.handed_over("call-1").await;
    let said = phone.printed();
    for words in ["I need to verify who you are", "[2 tries left in this call]", "Thank you, Elena Petrova."] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains(PHRASE), "{said}");

    let placed = stage.order("call-1").await.unwrap();
    assert!(placed.contains("placed for Elena Petrova"), "{placed}");
    let book: Value = serde_json::from_str(&stage.book()).unwrap();
    assert_eq!((&book["for"], &book["amount_minor"]), (&json!(sample::ELENA), &json!(12900)));
    assert!(stage.sidecar.home.record(book["decision"].as_str().unwrap()).is_some(), "{book}");

    // Without what travelled with the call nobody is believed, and when the call has ended, nor with it.
    stage.hand_over("nothing", "CHANNEL_PHONE", "");
    let unproved = stage.order("nothing").await.unwrap_err();
    assert!(unproved.contains("exit status: 10") && unproved.contains("METHOD_PASSPHRASE"), "{unproved}");
    assert!(phone.hang_up().await.contains("[interaction ended]"));
    let late = stage.order("call-1").await.unwrap_err();
    assert!(late.contains("exit status: 10"), "{late}");
    assert_eq!(stage.book().lines().count(), 1, "nothing more was placed");
}

// proves: S6, F3
#[tokio::test]
async fn a_caller_whom_the_ivr_cannot_verify_is_offered_the_lawful_remedies() {
    let stage = Stage::set().await;
    stage.sidecar.set_passphrase(Some(sample::BEN), PHRASE).await;
    let guesses = ["a guess that is long enough", "another guess, as long", "and the third and last"];
    let mut phone = stage.dial("call-2", &["3", sample::ACME, "102", guesses[0], guesses[1], guesses[2], "yes"]);
    let said = phone.ended().await;
    assert!(said.contains("[1 tries left in this call]"), "{said}");
    assert!(said.contains("I could not verify you"), "{said}");
    assert!(said.contains("[DELIVER_TO_RECORD: ADDRESS_OF_RECORD]"), "{said}");
    assert!(said.contains("[interaction ended]") && !said.contains("transferred"), "{said}");
    let records = stage.sidecar.home.records();
    let ended = records.iter().any(|record| matches!(record, Record::InteractionEnded(_)));
    assert!(ended, "the interaction is over for everybody: {records:?}");
}

// proves: S8
#[tokio::test]
async fn the_order_backend_parks_what_is_escalated_and_places_nothing_that_is_denied() {
    let stage = Stage::set().await;
    // Who may not order, in the portal: the primary administrator is asked.
    let portal = stage.sidecar.client("portal");
    let verify = ask(Portal, "identity.verify").within("case-1").by(sample::GRACE).logged_in();
    let verified = portal.authorize(verify).await.unwrap();
    stage.hand_over("case-1", "CHANNEL_PORTAL", &verified.verification.unwrap().token);
    let parked = stage.order("case-1").await.unwrap_err();
    assert!(parked.contains("exit status: 11") && parked.contains("waits for the primary administrator"), "{parked}");

    // The same by telephone: guidance, and an end.
    stage.sidecar.set_passphrase(Some(sample::DEV), PHRASE).await;
    let mut phone = stage.dial("call-3", &["2", sample::ACME, "104", PHRASE]);
    stage.handed_over("call-3").await;
    let denied = stage.order("call-3").await.unwrap_err();
    assert!(denied.contains("exit status: 12") && denied.contains("portal.example.com/orders"), "{denied}");
    phone.hang_up().await;

    let nobody = stage.order_as("call-3", "cst_nobody").await.unwrap_err();
    assert!(nobody.contains("exit status: 1\n") && nobody.contains("UNAUTHENTICATED"), "{nobody}");
    assert_eq!(stage.book(), "", "nothing was placed");
}

#[tokio::test]
async fn the_order_backend_does_not_act_on_an_answer_that_is_too_old() {
    // A sidecar whose clock is an hour behind answers what is long over.
    let past = Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let stage = Stage::set_at(Arc::new(ManualClock::at(past))).await;
    stage.sidecar.set_passphrase(Some(sample::ELENA), PHRASE).await;
    let mut phone = stage.dial("call-4", &["2", sample::ACME, "105", PHRASE]);
    stage.handed_over("call-4").await;
    let late = stage.order("call-4").await.unwrap_err();
    assert!(late.contains("exit status: 1\n") && late.contains("too late"), "{late}");
    assert_eq!(stage.book(), "");
    phone.hang_up().await;
}

/// A sidecar, and a folder with the generated code and whatever the examples write.
struct Stage {
    sidecar: Sidecar,
    folder: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        Self::set_at(manual_clock()).await
    }

    async fn set_at(clock: Arc<dyn Clock>) -> Self {
        // Passphrases are new here, and order at once; on a busy machine an answer may be acted on for long.
        let settings = format!("{PATIENT}[policy]\ncool_off = \"0s\"\nact_within = \"30m\"\n");
        let sidecar = Sidecar::start_at(Home::new(), &settings, clock).await;
        let folder = tempfile::tempdir().unwrap();
        let proto = repository().join("proto");
        let mut generator = python();
        generator
            .args(["-m", "grpc_tools.protoc", "-I"])
            .arg(&proto)
            .arg(format!("--python_out={}", folder.path().display()))
            .arg(format!("--grpc_python_out={}", folder.path().display()))
            .arg(proto.join("countersign/v1/authorization.proto"));
        finished(generator).await.unwrap();
        Self { sidecar, folder }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = python();
        command
            .arg(repository().join("examples").join(name))
            .current_dir(&self.folder)
            .env("PYTHONPATH", self.folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("COUNTERSIGN_ADDR", self.sidecar.address().to_string())
            .env("IVR_TOKEN", self.sidecar.home.token("ivr"))
            .env("ORDERS_TOKEN", self.sidecar.home.token("orders"));
        command
    }

    /// A caller, who says these lines and stays on the line.
    fn dial(&self, call: &str, lines: &[&str]) -> Phone {
        let printed = self.folder.path().join(format!("{call}.printed"));
        let out = File::create(&printed).unwrap();
        let mut child = self
            .program("ivr.py")
            .args(["--call", call, "--attach", &attached(call)])
            .stdin(Stdio::piped())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut says = child.stdin.take().unwrap();
        for line in lines {
            writeln!(says, "{line}").unwrap();
        }
        Phone { child, says: Some(says), printed }
    }

    /// Waits until the IVR has handed this call over.
    async fn handed_over(&self, call: &str) {
        let path = self.folder.path().join(attached(call));
        eventually(async || path.exists().then_some(())).await;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// What another program than the IVR would hand over.
    fn hand_over(&self, call: &str, channel: &str, token: &str) {
        let text = json!({ "interaction": call, "channel": channel, "verification_token": token }).to_string();
        fs::write(self.folder.path().join(attached(call)), text).unwrap();
    }

    async fn order(&self, call: &str) -> Result<String, String> {
        self.order_as(call, self.sidecar.home.token("orders")).await
    }

    async fn order_as(&self, call: &str, token: &str) -> Result<String, String> {
        let mut order = self.program("order_backend.py");
        order.args(["o-1", "12900", "USD", "--attached", &attached(call)]).env("ORDERS_TOKEN", token);
        finished(order).await
    }

    /// What the order backend has placed.
    fn book(&self) -> String {
        fs::read_to_string(self.folder.path().join("orders.jsonl")).unwrap_or_default()
    }
}

fn attached(call: &str) -> String {
    format!("{call}.json")
}

/// A call to the IVR; it is over at the latest when the test ends.
struct Phone {
    child: Child,
    says: Option<ChildStdin>,
    printed: PathBuf,
}

impl Phone {
    fn printed(&self) -> String {
        fs::read_to_string(&self.printed).unwrap()
    }

    async fn hang_up(&mut self) -> String {
        drop(self.says.take());
        self.ended().await
    }

    /// Waits until the IVR has ended; all that it has said.
    async fn ended(&mut self) -> String {
        let status = eventually(async || self.child.try_wait().unwrap()).await;
        let printed = self.printed();
        assert!(status.success(), "{printed}");
        printed
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        // Over already, unless a test failed before.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs a program to its end while the sidecar goes on serving on this thread.
async fn finished(mut command: Command) -> Result<String, String> {
    patiently(tokio::task::spawn_blocking(move || run(&mut command))).await.unwrap()
}
