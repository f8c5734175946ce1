//! What is asked: the only room that knows tonic and generated types.
//!
//! `admission` recognises the client system, `ask` turns messages into questions, `authorization` has them decided,
//! `answer` and `status` turn the outcome into messages; `directory`, `escalation` and `passphrase` serve the portal;
//! `server`, behind its `gate`, and `sockets` serve it.

pub mod admin;
mod admission;
mod answer;
mod ask;
mod authorization;
mod call_log;
mod codec;
pub mod connections;
mod deadline;
mod directory;
mod escalation;
mod gate;
pub mod health;
pub mod limits;
mod passphrase;
mod portal;
mod reception;
mod redact;
pub mod server;
pub mod sockets;
pub mod status;
mod system;
mod trace_context;

pub(crate) use directory::page_token;

/// Generated messages, clients and servers.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub, reason = "generated from proto/")]
pub mod proto {
    pub mod countersign {
        pub mod v1 {
            tonic::include_proto!("countersign.v1");
        }
        pub mod admin {
            pub mod v1 {
                tonic::include_proto!("countersign.admin.v1");
            }
        }
    }

    /// The descriptor set, with comments, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/countersign.binpb"));
}
