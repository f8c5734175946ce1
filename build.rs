//! Generates the gRPC code from `proto/` without protoc, and the descriptor set that reflection serves.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

/// What may hold a secret: `src/grpc/redact.rs` writes its `Debug` by hand.
const SECRETS: [&str; 11] = [
    "countersign.v1.Passphrase",
    "countersign.v1.PortalLogin",
    "countersign.v1.Evidence",
    "countersign.v1.Evidence.by",
    "countersign.v1.Verification",
    "countersign.v1.EndInteractionRequest",
    "countersign.v1.SetPassphraseRequest",
    "countersign.v1.SuggestPassphraseResponse",
    "countersign.v1.CompleteResetRequest",
    "countersign.v1.ReadResetResponse",
    "countersign.admin.v1.SetPassphraseRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files([
        "countersign/v1/authorization.proto",
        "countersign/v1/directory.proto",
        "countersign/v1/escalation.proto",
        "countersign/v1/passphrase.proto",
        "countersign/admin/v1/admin.proto",
    ])?;
    let files = compiler.file_descriptor_set();
    fs::write(out.join("countersign.binpb"), files.encode_to_vec())?;
    let ours = "crate::grpc::codec::SmallCodec";
    tonic_prost_build::configure().codec_path(ours).skip_debug(SECRETS).compile_fds(files)?;
    Ok(())
}
