//! Compiles the protos without `protoc`, keeps their descriptors for reflection, and lists what each method says of
//! itself (`remuda.options.v1`).

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use prost_types::FileDescriptorSet;

const PROTOS: &[&str] = &[
    "remuda/alerts/v1/alerts.proto",
    "remuda/analytics/v1/analytics.proto",
    "remuda/assistance/v1/assistance.proto",
    "remuda/audit/v1/audit.proto",
    "remuda/billing/v1/billing.proto",
    "remuda/commands/v1/approvals.proto",
    "remuda/commands/v1/commands.proto",
    "remuda/commands/v1/groups.proto",
    "remuda/diagnostics/v1/diagnostics.proto",
    "remuda/feeds/v1/feeds.proto",
    "remuda/geofences/v1/geofences.proto",
    "remuda/identity/v1/identity.proto",
    "remuda/notifications/v1/notifications.proto",
    "remuda/policies/v1/policies.proto",
    "remuda/reactors/v1/reactors.proto",
    "remuda/registry/v1/registry.proto",
    "remuda/sagas/v1/sagas.proto",
    "remuda/system/v1/system.proto",
    "remuda/telemetry/v1/telemetry.proto",
    "remuda/trips/v1/feedback.proto",
    "remuda/trips/v1/trips.proto",
    "remuda/users/v1/users.proto",
    "remuda/vehicles/v1/vehicles.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS)?;
    // Encoded by the compiler: the generated types of descriptors would drop the options.
    let encoded = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("descriptors.binpb"), &encoded)?;
    std::fs::write(out.join("methods.rs"), methods(&compiler.descriptor_pool())?)?;
    tonic_prost_build::configure().compile_fds(FileDescriptorSet::decode(encoded.as_slice())?)?;
    Ok(())
}

/// The table of all methods, as Rust.
fn methods(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut table = String::from("&[\n");
    for service in pool.services() {
        for method in service.methods() {
            let Access { permission, audited, shared, parts } = access(pool, &method)?;
            writeln!(
                table,
                "    Method {{ path: \"/{}/{}\", permission: {permission:?}, audited: {audited}, shared: {shared}, parts: {parts}, streams: {}, request: {:?} }},",
                service.full_name(),
                method.name(),
                method.is_server_streaming(),
                method.input().full_name(),
            )?;
        }
    }
    table.push(']');
    Ok(table)
}

/// What a method says of itself.
struct Access {
    permission: String,
    audited: bool,
    shared: bool,
    parts: bool,
}

fn access(pool: &DescriptorPool, method: &MethodDescriptor) -> Result<Access, Box<dyn Error>> {
    let extension =
        pool.get_extension_by_name("remuda.options.v1.access").ok_or("options.proto is missing")?;
    let name = method.full_name();
    let options: DynamicMessage = method.options();
    if !options.has_extension(&extension) {
        return Err(
            format!("{name} does not say who may call it: give it a (remuda.options.v1.access)").into()
        );
    }
    let access = options.get_extension(&extension);
    let access = access.as_message().ok_or("access is a message")?;
    let of = |field: &str| access.get_field_by_name(field).map(|value| value.into_owned());
    let permission = of("permission").and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    if permission.is_empty() {
        return Err(format!("{name} names no permission").into());
    }
    let is = |field: &str| of(field).and_then(|value| value.as_bool()).unwrap_or_default();
    Ok(Access { permission, audited: is("audited"), shared: is("shared"), parts: is("parts") })
}
