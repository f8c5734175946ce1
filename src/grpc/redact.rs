//! `Debug` for the generated messages that may hold a secret: it names the message and nothing else (A21).

use std::fmt;

use super::proto::countersign::{
    admin::v1::SetPassphraseRequest,
    v1::{
        self, CompleteResetRequest, EndInteractionRequest, Evidence, Passphrase, PortalLogin, ReadResetResponse,
        SuggestPassphraseResponse, Verification, evidence,
    },
};

macro_rules! redacted {
    ($($message:ty => $name:literal),+ $(,)?) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($name, "(…)"))
            }
        }
    )+};
}

redacted! {
    Passphrase => "Passphrase",
    PortalLogin => "PortalLogin",
    Evidence => "Evidence",
    evidence::By => "Evidence.by",
    Verification => "Verification",
    EndInteractionRequest => "EndInteractionRequest",
    SetPassphraseRequest => "SetPassphraseRequest",
    v1::SetPassphraseRequest => "SetPassphraseRequest",
    SuggestPassphraseResponse => "SuggestPassphraseResponse",
    CompleteResetRequest => "CompleteResetRequest",
    ReadResetResponse => "ReadResetResponse",
}
