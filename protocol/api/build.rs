//! Compiles the protos without `protoc` and keeps their descriptors for reflection.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const PROTOS: &[&str] = &[
    "remuda/commands/v1/commands.proto",
    "remuda/identity/v1/identity.proto",
    "remuda/policies/v1/policies.proto",
    "remuda/telemetry/v1/telemetry.proto",
    "remuda/vehicles/v1/vehicles.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("descriptors.binpb"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
